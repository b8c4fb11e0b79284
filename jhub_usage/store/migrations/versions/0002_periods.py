"""Allowances, limits per period, months that close, rollups, requests, passes and maintenance.

Only adds: the previous release runs on these tables, too. No table is rebuilt, since that would
drop the triggers of the ledger.

Revision: 0002
"""

import sqlalchemy as sa
from alembic import op

from jhub_usage.store import types

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "jhub_usage_books",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("closed_through", sa.String(length=7), server_default="", nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_jhub_usage_books_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_books")),
    )
    op.create_table(
        "jhub_usage_rollup_days",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("hub_id", sa.String(length=64), nullable=False),
        sa.Column("person_id", types.BigId, autoincrement=False, nullable=False),
        sa.Column("wallet_id", types.BigId, autoincrement=False, nullable=False),
        sa.Column("profile", sa.String(length=255), nullable=False),
        sa.Column("gpu_model", sa.String(length=255), nullable=False),
        sa.Column("node", sa.String(length=255), nullable=False),
        sa.Column("starts", sa.BigInteger(), nullable=False),
        sa.Column("elapsed_us", sa.BigInteger(), nullable=False),
        sa.Column("gpu_us", sa.BigInteger(), nullable=False),
        sa.Column("cpu_us", sa.BigInteger(), nullable=False),
        sa.Column("memory_us", sa.BigInteger(), nullable=False),
        sa.Column("cost_micro", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day",
            "hub_id",
            "person_id",
            "wallet_id",
            "profile",
            "gpu_model",
            "node",
            name=op.f("pk_jhub_usage_rollup_days"),
        ),
    )
    op.create_index(
        op.f("ix_jhub_usage_rollup_days_person_id_day"),
        "jhub_usage_rollup_days",
        ["person_id", "day"],
        unique=False,
    )
    op.create_index(
        op.f("ix_jhub_usage_rollup_days_wallet_id_day"),
        "jhub_usage_rollup_days",
        ["wallet_id", "day"],
        unique=False,
    )
    op.create_table(
        "jhub_usage_zones",
        sa.Column("first_month", sa.String(length=7), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("created_at", types.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("first_month", name=op.f("pk_jhub_usage_zones")),
    )
    op.create_table(
        "jhub_usage_months",
        sa.Column("label", sa.String(length=7), nullable=False),
        sa.Column("starts_at", types.Instant(), nullable=False),
        sa.Column("ends_at", types.Instant(), nullable=False),
        sa.Column("closed_at", types.Instant(), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", types.BigId, nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["jhub_usage_people.id"], name=op.f("fk_jhub_usage_months_actor_id")
        ),
        sa.PrimaryKeyConstraint("label", name=op.f("pk_jhub_usage_months")),
    )
    op.create_table(
        "jhub_usage_use_days",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("person_id", types.BigId, autoincrement=False, nullable=False),
        sa.Column("wallet_id", types.BigId, autoincrement=False, nullable=False),
        sa.Column("group_name", sa.String(length=255), nullable=False),
        sa.Column("gpu_us", sa.BigInteger(), nullable=False),
        sa.Column("cpu_us", sa.BigInteger(), nullable=False),
        sa.Column("cost_micro", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["jhub_usage_people.id"], name=op.f("fk_jhub_usage_use_days_person_id")
        ),
        sa.PrimaryKeyConstraint(
            "day", "person_id", "wallet_id", "group_name", name=op.f("pk_jhub_usage_use_days")
        ),
    )
    op.create_index(
        op.f("ix_jhub_usage_use_days_group_name_day"),
        "jhub_usage_use_days",
        ["group_name", "day"],
        unique=False,
    )
    op.create_index(
        op.f("ix_jhub_usage_use_days_person_id_day"),
        "jhub_usage_use_days",
        ["person_id", "day"],
        unique=False,
    )
    op.create_index(
        op.f("ix_jhub_usage_use_days_wallet_id_day"),
        "jhub_usage_use_days",
        ["wallet_id", "day"],
        unique=False,
    )
    op.create_table(
        "jhub_usage_maintenance",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("node", sa.String(length=255), nullable=False),
        sa.Column("starts_at", types.Instant(), nullable=False),
        sa.Column("ends_at", types.Instant(), nullable=False),
        sa.Column("note_id", types.BigId, nullable=True),
        sa.Column("created_at", types.Instant(), nullable=False),
        sa.Column("cancelled_at", types.Instant(), nullable=True),
        sa.Column("done_at", types.Instant(), nullable=True),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", types.BigId, nullable=True),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_jhub_usage_maintenance_window")),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["jhub_usage_people.id"], name=op.f("fk_jhub_usage_maintenance_actor_id")
        ),
        sa.ForeignKeyConstraint(
            ["note_id"], ["jhub_usage_notes.id"], name=op.f("fk_jhub_usage_maintenance_note_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_maintenance")),
    )
    op.create_index(
        op.f("ix_jhub_usage_maintenance_node_starts_at"),
        "jhub_usage_maintenance",
        ["node", "starts_at"],
        unique=False,
    )
    op.create_table(
        "jhub_usage_metered",
        sa.Column("wallet_id", types.BigId, nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.Column("exact_pico", sa.BigInteger(), nullable=False),
        sa.Column("charged_micro", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["wallet_id"], ["jhub_usage_wallets.id"], name=op.f("fk_jhub_usage_metered_wallet_id")
        ),
        sa.PrimaryKeyConstraint(
            "wallet_id", "resource", "period", name=op.f("pk_jhub_usage_metered")
        ),
    )
    op.create_table(
        "jhub_usage_month_names",
        sa.Column("label", sa.String(length=7), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", types.BigId, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("title", sa.String(length=255), server_default="", nullable=False),
        sa.CheckConstraint(
            "kind IN ('person', 'wallet')", name=op.f("ck_jhub_usage_month_names_kind")
        ),
        sa.ForeignKeyConstraint(
            ["label"], ["jhub_usage_months.label"], name=op.f("fk_jhub_usage_month_names_label")
        ),
        sa.PrimaryKeyConstraint(
            "label", "kind", "subject_id", name=op.f("pk_jhub_usage_month_names")
        ),
    )
    op.create_table(
        "jhub_usage_passes",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("person_id", types.BigId, nullable=False),
        sa.Column("note_id", types.BigId, nullable=True),
        sa.Column("created_at", types.Instant(), nullable=False),
        sa.Column("expires_at", types.Instant(), nullable=False),
        sa.Column("revoked_at", types.Instant(), nullable=True),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", types.BigId, nullable=True),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["jhub_usage_people.id"], name=op.f("fk_jhub_usage_passes_actor_id")
        ),
        sa.ForeignKeyConstraint(
            ["note_id"], ["jhub_usage_notes.id"], name=op.f("fk_jhub_usage_passes_note_id")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["jhub_usage_people.id"], name=op.f("fk_jhub_usage_passes_person_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_passes")),
    )
    op.create_index(
        op.f("ix_jhub_usage_passes_person_id_expires_at"),
        "jhub_usage_passes",
        ["person_id", "expires_at"],
        unique=False,
    )
    op.create_table(
        "jhub_usage_credit_requests",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("wallet_id", types.BigId, nullable=False),
        sa.Column("person_id", types.BigId, nullable=False),
        sa.Column("amount_micro", sa.BigInteger(), nullable=False),
        sa.Column("note_id", types.BigId, nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", types.Instant(), nullable=False),
        sa.Column("decided_at", types.Instant(), nullable=True),
        sa.Column("decided_kind", sa.String(length=16), nullable=True),
        sa.Column("decided_id", types.BigId, nullable=True),
        sa.Column("granted_micro", sa.BigInteger(), nullable=True),
        sa.Column("answer_id", types.BigId, nullable=True),
        sa.Column("entry_id", types.BigId, nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'granted', 'declined', 'withdrawn')",
            name=op.f("ck_jhub_usage_credit_requests_state"),
        ),
        sa.CheckConstraint("amount_micro > 0", name=op.f("ck_jhub_usage_credit_requests_amount")),
        sa.ForeignKeyConstraint(
            ["answer_id"],
            ["jhub_usage_notes.id"],
            name=op.f("fk_jhub_usage_credit_requests_answer_id"),
        ),
        sa.ForeignKeyConstraint(
            ["decided_id"],
            ["jhub_usage_people.id"],
            name=op.f("fk_jhub_usage_credit_requests_decided_id"),
        ),
        sa.ForeignKeyConstraint(
            ["entry_id"],
            ["jhub_usage_entries.id"],
            name=op.f("fk_jhub_usage_credit_requests_entry_id"),
        ),
        sa.ForeignKeyConstraint(
            ["note_id"], ["jhub_usage_notes.id"], name=op.f("fk_jhub_usage_credit_requests_note_id")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["jhub_usage_people.id"],
            name=op.f("fk_jhub_usage_credit_requests_person_id"),
        ),
        sa.ForeignKeyConstraint(
            ["wallet_id"],
            ["jhub_usage_wallets.id"],
            name=op.f("fk_jhub_usage_credit_requests_wallet_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_credit_requests")),
    )
    op.create_index(
        op.f("ix_jhub_usage_credit_requests_person_id_created_at"),
        "jhub_usage_credit_requests",
        ["person_id", "created_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_jhub_usage_credit_requests_wallet_id_state"),
        "jhub_usage_credit_requests",
        ["wallet_id", "state"],
        unique=False,
    )
    op.create_table(
        "jhub_usage_credit_request_wallets",
        sa.Column("request_id", types.BigId, autoincrement=False, nullable=False),
        sa.Column("wallet_id", types.BigId, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["jhub_usage_credit_requests.id"],
            name=op.f("fk_jhub_usage_credit_request_wallets_request_id"),
        ),
        sa.ForeignKeyConstraint(
            ["wallet_id"],
            ["jhub_usage_wallets.id"],
            name=op.f("fk_jhub_usage_credit_request_wallets_wallet_id"),
        ),
        sa.PrimaryKeyConstraint(
            "request_id", "wallet_id", name=op.f("pk_jhub_usage_credit_request_wallets")
        ),
    )
    op.create_index(
        op.f("ix_jhub_usage_credit_request_wallets_wallet_id"),
        "jhub_usage_credit_request_wallets",
        ["wallet_id"],
        unique=False,
    )
    op.add_column("jhub_usage_entries", sa.Column("elapsed_us", sa.BigInteger(), nullable=True))
    op.add_column(
        "jhub_usage_limits",
        sa.Column("period", sa.String(length=8), server_default="", nullable=False),
    )
    op.add_column(
        "jhub_usage_limits",
        sa.Column("by_manager", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column(
        "jhub_usage_people", sa.Column("pseudonymised_at", types.Instant(), nullable=True)
    )
    op.add_column(
        "jhub_usage_wallets", sa.Column("allowance_micro", sa.BigInteger(), nullable=True)
    )
    op.add_column(
        "jhub_usage_wallets", sa.Column("allowance_period", sa.String(length=8), nullable=True)
    )
    op.add_column(
        "jhub_usage_wallets", sa.Column("allowance_carry_micro", sa.BigInteger(), nullable=True)
    )
    op.add_column(
        "jhub_usage_wallets",
        sa.Column("allowance_left_micro", sa.BigInteger(), server_default="0", nullable=False),
    )
    op.create_index(
        "ix_jhub_usage_sessions_node",
        "jhub_usage_sessions",
        ["node", "billed_from_at"],
        unique=False,
        postgresql_where=sa.text("node <> ''"),
        sqlite_where=sa.text("node <> ''"),
    )
    op.execute("INSERT INTO jhub_usage_books (id, closed_through) VALUES (1, '')")


def downgrade():

    op.drop_index("ix_jhub_usage_sessions_node", table_name="jhub_usage_sessions")
    op.drop_column("jhub_usage_wallets", "allowance_left_micro")
    op.drop_column("jhub_usage_wallets", "allowance_carry_micro")
    op.drop_column("jhub_usage_wallets", "allowance_period")
    op.drop_column("jhub_usage_wallets", "allowance_micro")
    op.drop_column("jhub_usage_people", "pseudonymised_at")
    op.drop_column("jhub_usage_limits", "by_manager")
    op.drop_column("jhub_usage_limits", "period")
    op.drop_column("jhub_usage_entries", "elapsed_us")
    op.drop_index(
        op.f("ix_jhub_usage_credit_request_wallets_wallet_id"),
        table_name="jhub_usage_credit_request_wallets",
    )
    op.drop_table("jhub_usage_credit_request_wallets")
    op.drop_index(
        op.f("ix_jhub_usage_credit_requests_wallet_id_state"),
        table_name="jhub_usage_credit_requests",
    )
    op.drop_index(
        op.f("ix_jhub_usage_credit_requests_person_id_created_at"),
        table_name="jhub_usage_credit_requests",
    )
    op.drop_table("jhub_usage_credit_requests")
    op.drop_index(op.f("ix_jhub_usage_passes_person_id_expires_at"), table_name="jhub_usage_passes")
    op.drop_table("jhub_usage_passes")
    op.drop_table("jhub_usage_month_names")
    op.drop_table("jhub_usage_metered")
    op.drop_index(
        op.f("ix_jhub_usage_maintenance_node_starts_at"), table_name="jhub_usage_maintenance"
    )
    op.drop_table("jhub_usage_maintenance")
    op.drop_index(op.f("ix_jhub_usage_use_days_wallet_id_day"), table_name="jhub_usage_use_days")
    op.drop_index(op.f("ix_jhub_usage_use_days_person_id_day"), table_name="jhub_usage_use_days")
    op.drop_index(op.f("ix_jhub_usage_use_days_group_name_day"), table_name="jhub_usage_use_days")
    op.drop_table("jhub_usage_use_days")
    op.drop_table("jhub_usage_months")
    op.drop_table("jhub_usage_zones")
    op.drop_index(
        op.f("ix_jhub_usage_rollup_days_wallet_id_day"), table_name="jhub_usage_rollup_days"
    )
    op.drop_index(
        op.f("ix_jhub_usage_rollup_days_person_id_day"), table_name="jhub_usage_rollup_days"
    )
    op.drop_table("jhub_usage_rollup_days")
    op.drop_table("jhub_usage_books")
