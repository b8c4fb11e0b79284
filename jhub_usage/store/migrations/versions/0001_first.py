"""The first tables: hubs, people, wallets, sessions, admissions, the ledger and its rules.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op

from jhub_usage.store import triggers, types

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "jhub_usage_client_keys",
        sa.Column("actor", sa.String(length=300), nullable=False),
        sa.Column("route", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("created_at", types.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("actor", "route", "key", name=op.f("pk_jhub_usage_client_keys")),
    )
    op.create_table(
        "jhub_usage_exemptions",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("created_at", types.Instant(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('person', 'group', 'profile')", name=op.f("ck_jhub_usage_exemptions_kind")
        ),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_jhub_usage_exemptions")),
    )
    op.create_table(
        "jhub_usage_gate",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("config_version", sa.BigInteger(), nullable=False),
        sa.Column("installed_at", types.Instant(), nullable=False),
        sa.Column("guard_tripped_at", types.Instant(), nullable=True),
        sa.Column("guard_count", sa.Integer(), nullable=True),
        sa.Column("guard_released_until_at", types.Instant(), nullable=True),
        sa.CheckConstraint(
            "mode IN ('off', 'observe', 'enforce')", name=op.f("ck_jhub_usage_gate_mode")
        ),
        sa.CheckConstraint("id = 1", name=op.f("ck_jhub_usage_gate_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_gate")),
    )
    op.create_table(
        "jhub_usage_hubs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("installed_at", types.Instant(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("facts_at", types.Instant(), nullable=True),
        sa.Column("reconciled_at", types.Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_hubs")),
    )
    op.create_table(
        "jhub_usage_leases",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("until_at", types.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_jhub_usage_leases")),
    )
    op.create_table(
        "jhub_usage_rates",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("resource", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("profile", sa.String(length=255), nullable=False),
        sa.Column("price_micro", sa.BigInteger(), nullable=True),
        sa.Column("starts_at", types.Instant(), nullable=False),
        sa.Column("created_at", types.Instant(), nullable=False),
        sa.CheckConstraint(
            "price_micro IS NULL OR price_micro >= 0", name=op.f("ck_jhub_usage_rates_price")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_rates")),
        sa.UniqueConstraint(
            "resource",
            "model",
            "profile",
            "starts_at",
            name=op.f("uq_jhub_usage_rates_resource_model_profile_starts_at"),
        ),
    )
    op.create_table(
        "jhub_usage_people",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("hub_id", sa.String(length=64), nullable=False),
        sa.Column("hub_user_id", sa.BigInteger(), nullable=True),
        sa.Column("hub_created_at", types.Instant(), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("created_at", types.Instant(), nullable=False),
        sa.Column("granted_start", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(
            ["hub_id"], ["jhub_usage_hubs.id"], name=op.f("fk_jhub_usage_people_hub_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_people")),
        sa.UniqueConstraint(
            "hub_id",
            "hub_user_id",
            "hub_created_at",
            name=op.f("uq_jhub_usage_people_hub_id_hub_user_id_hub_created_at"),
        ),
    )
    op.create_index(
        "uq_jhub_usage_people_current_name",
        "jhub_usage_people",
        ["hub_id", "name"],
        unique=True,
        postgresql_where=sa.text("current"),
        sqlite_where=sa.text("current"),
    )
    op.create_table(
        "jhub_usage_audit",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("at", types.Instant(), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject_kind", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.String(length=255), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_name", sa.String(length=255), nullable=False),
        sa.Column("actor_id", types.BigId, nullable=True),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["jhub_usage_people.id"], name=op.f("fk_jhub_usage_audit_actor_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_audit")),
    )
    op.create_index(op.f("ix_jhub_usage_audit_at"), "jhub_usage_audit", ["at"], unique=False)
    op.create_index(
        op.f("ix_jhub_usage_audit_subject_kind_subject_id"),
        "jhub_usage_audit",
        ["subject_kind", "subject_id"],
        unique=False,
    )
    op.create_table(
        "jhub_usage_notes",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("person_id", types.BigId, nullable=True),
        sa.ForeignKeyConstraint(
            ["person_id"], ["jhub_usage_people.id"], name=op.f("fk_jhub_usage_notes_person_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_notes")),
    )
    op.create_table(
        "jhub_usage_wallets",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("title", sa.String(length=255), server_default="", nullable=False),
        sa.Column("owner_id", types.BigId, nullable=True),
        sa.Column("balance_micro", sa.BigInteger(), nullable=False),
        sa.Column("overdraft_micro", sa.BigInteger(), nullable=True),
        sa.Column("mode", sa.String(length=16), nullable=True),
        sa.Column("created_at", types.Instant(), nullable=False),
        sa.Column("closed_at", types.Instant(), nullable=True),
        sa.Column("advanced_until", types.Instant(), nullable=False),
        sa.CheckConstraint(
            "mode IS NULL OR mode IN ('off', 'observe', 'enforce')",
            name=op.f("ck_jhub_usage_wallets_mode"),
        ),
        sa.CheckConstraint(
            "overdraft_micro IS NULL OR overdraft_micro >= 0",
            name=op.f("ck_jhub_usage_wallets_overdraft"),
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["jhub_usage_people.id"], name=op.f("fk_jhub_usage_wallets_owner_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_wallets")),
        sa.UniqueConstraint("name", name=op.f("uq_jhub_usage_wallets_name")),
        sa.UniqueConstraint("owner_id", name=op.f("uq_jhub_usage_wallets_owner_id")),
    )
    op.create_table(
        "jhub_usage_admissions",
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("decided_at", types.Instant(), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("hub_id", sa.String(length=64), nullable=True),
        sa.Column("person_id", types.BigId, nullable=True),
        sa.Column("server_name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("wallet_id", types.BigId, nullable=True),
        sa.Column("profile", sa.String(length=255), server_default="", nullable=False),
        sa.Column("mode", sa.String(length=16), server_default="", nullable=False),
        sa.Column("shape", sa.JSON(), nullable=False),
        sa.Column("quote", sa.JSON(), nullable=False),
        sa.Column("hold_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("available_micro", sa.BigInteger(), nullable=True),
        sa.Column("rule_id", types.BigId, nullable=True),
        sa.Column("requested_at", types.Instant(), nullable=True),
        sa.Column("voided_at", types.Instant(), nullable=True),
        sa.Column("void_reason", sa.String(length=32), nullable=True),
        sa.CheckConstraint(
            "decision IN ('admitted', 'refused', 'observed', 'failed_open', 'void')",
            name=op.f("ck_jhub_usage_admissions_decision"),
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["jhub_usage_people.id"], name=op.f("fk_jhub_usage_admissions_person_id")
        ),
        sa.ForeignKeyConstraint(
            ["wallet_id"],
            ["jhub_usage_wallets.id"],
            name=op.f("fk_jhub_usage_admissions_wallet_id"),
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_jhub_usage_admissions")),
    )
    op.create_index(
        op.f("ix_jhub_usage_admissions_decided_at"),
        "jhub_usage_admissions",
        ["decided_at"],
        unique=False,
    )
    op.create_index(
        "ix_jhub_usage_admissions_not_admitted",
        "jhub_usage_admissions",
        ["decided_at"],
        unique=False,
        postgresql_where=sa.text("decision <> 'admitted'"),
        sqlite_where=sa.text("decision <> 'admitted'"),
    )
    op.create_index(
        op.f("ix_jhub_usage_admissions_person_id_decided_at"),
        "jhub_usage_admissions",
        ["person_id", "decided_at"],
        unique=False,
    )
    op.create_table(
        "jhub_usage_limits",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("subject", sa.String(length=16), nullable=False),
        sa.Column("person", sa.String(length=255), nullable=False),
        sa.Column("group_name", sa.String(length=255), nullable=False),
        sa.Column("wallet_id", types.BigId, nullable=True),
        sa.Column("profile", sa.String(length=255), nullable=False),
        sa.Column("resource", sa.String(length=32), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("each", sa.Boolean(), nullable=False),
        sa.Column("created_at", types.Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["wallet_id"], ["jhub_usage_wallets.id"], name=op.f("fk_jhub_usage_limits_wallet_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_limits")),
    )
    op.create_table(
        "jhub_usage_rules",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("person", sa.String(length=255), nullable=False),
        sa.Column("group_name", sa.String(length=255), nullable=False),
        sa.Column("profile", sa.String(length=255), nullable=False),
        sa.Column("target", sa.String(length=16), nullable=False),
        sa.Column("wallet_id", types.BigId, nullable=True),
        sa.Column("starting_grant_micro", sa.BigInteger(), nullable=False),
        sa.Column("overdraft_micro", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["wallet_id"], ["jhub_usage_wallets.id"], name=op.f("fk_jhub_usage_rules_wallet_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_rules")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "jhub_usage_sessions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("hub_id", sa.String(length=64), nullable=False),
        sa.Column("person_id", types.BigId, nullable=False),
        sa.Column("server_name", sa.String(length=255), nullable=False),
        sa.Column("wallet_id", types.BigId, nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("billed", sa.Boolean(), nullable=False),
        sa.Column("profile", sa.String(length=255), nullable=False),
        sa.Column("spawner", sa.String(length=255), server_default="", nullable=False),
        sa.Column("cpu_milli", sa.BigInteger(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("gpu_milli", sa.BigInteger(), nullable=False),
        sa.Column("gpu_count", sa.Integer(), nullable=False),
        sa.Column("gpus", sa.JSON(), nullable=False),
        sa.Column("gpu_model", sa.String(length=255), server_default="", nullable=False),
        sa.Column("node_model", sa.String(length=255), server_default="", nullable=False),
        sa.Column("per_hour_micro", sa.BigInteger(), nullable=False),
        sa.Column("fee_micro", sa.BigInteger(), nullable=False),
        sa.Column("quote_lines", sa.JSON(), nullable=False),
        sa.Column("quoted_at", types.Instant(), nullable=False),
        sa.Column("hold_micro", sa.BigInteger(), nullable=False),
        sa.Column("billed_from", sa.String(length=16), nullable=False),
        sa.Column("grace_s", sa.Integer(), nullable=False),
        sa.Column("limit_s", sa.BigInteger(), nullable=True),
        sa.Column("requested_at", types.Instant(), nullable=False),
        sa.Column("admitted_at", types.Instant(), nullable=False),
        sa.Column("start_deadline_at", types.Instant(), nullable=False),
        sa.Column("scheduled_at", types.Instant(), nullable=True),
        sa.Column("scheduled_evidence", sa.String(length=32), nullable=True),
        sa.Column("started_at", types.Instant(), nullable=True),
        sa.Column("started_evidence", sa.String(length=32), nullable=True),
        sa.Column("ready_at", types.Instant(), nullable=True),
        sa.Column("ready_evidence", sa.String(length=32), nullable=True),
        sa.Column("stop_accepted_at", types.Instant(), nullable=True),
        sa.Column("stop_accepted_evidence", sa.String(length=32), nullable=True),
        sa.Column("ended_at", types.Instant(), nullable=True),
        sa.Column("ended_evidence", sa.String(length=32), nullable=True),
        sa.Column("end_reason", sa.String(length=32), nullable=True),
        sa.Column("seen_at", types.Instant(), nullable=True),
        sa.Column("missed_at", types.Instant(), nullable=True),
        sa.Column("billed_from_at", types.Instant(), nullable=True),
        sa.Column("billed_until_at", types.Instant(), nullable=True),
        sa.Column("platform_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("charged_micro", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("settled_until", types.Instant(), nullable=True),
        sa.Column("revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("protected_until_at", types.Instant(), nullable=True),
        sa.Column("warned_at", types.Instant(), nullable=True),
        sa.Column("warned_reason", sa.String(length=32), nullable=True),
        sa.Column("stop_at", types.Instant(), nullable=True),
        sa.Column("stop_ordered_at", types.Instant(), nullable=True),
        sa.Column("stop_reason", sa.String(length=32), nullable=True),
        sa.Column("stop_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("hub_started_at", types.Instant(), nullable=True),
        sa.Column("namespace", sa.String(length=255), server_default="", nullable=False),
        sa.Column("pod_name", sa.String(length=255), server_default="", nullable=False),
        sa.Column("pod_uid", sa.String(length=64), server_default="", nullable=False),
        sa.Column("node", sa.String(length=255), server_default="", nullable=False),
        sa.Column("restart_count", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "state IN ('admitted', 'running', 'ended', 'void')",
            name=op.f("ck_jhub_usage_sessions_state"),
        ),
        sa.CheckConstraint(
            "cpu_milli >= 0 AND memory_bytes >= 0 AND gpu_milli >= 0",
            name=op.f("ck_jhub_usage_sessions_shape"),
        ),
        sa.CheckConstraint(
            "ended_at IS NULL OR started_at IS NULL OR ended_at >= started_at",
            name=op.f("ck_jhub_usage_sessions_ends_after_start"),
        ),
        sa.CheckConstraint(
            "per_hour_micro >= 0 AND fee_micro >= 0 AND hold_micro >= 0",
            name=op.f("ck_jhub_usage_sessions_quote"),
        ),
        sa.ForeignKeyConstraint(
            ["hub_id"], ["jhub_usage_hubs.id"], name=op.f("fk_jhub_usage_sessions_hub_id")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["jhub_usage_people.id"], name=op.f("fk_jhub_usage_sessions_person_id")
        ),
        sa.ForeignKeyConstraint(
            ["wallet_id"], ["jhub_usage_wallets.id"], name=op.f("fk_jhub_usage_sessions_wallet_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_sessions")),
    )
    op.create_index(
        "ix_jhub_usage_sessions_admitted", "jhub_usage_sessions", ["admitted_at"], unique=False
    )
    op.create_index(
        "ix_jhub_usage_sessions_open_server",
        "jhub_usage_sessions",
        ["hub_id", "person_id", "server_name"],
        unique=False,
        postgresql_where=sa.text("state IN ('admitted', 'running')"),
        sqlite_where=sa.text("state IN ('admitted', 'running')"),
    )
    op.create_index(
        "ix_jhub_usage_sessions_open_wallet",
        "jhub_usage_sessions",
        ["wallet_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('admitted', 'running')"),
        sqlite_where=sa.text("state IN ('admitted', 'running')"),
    )
    op.create_index(
        "ix_jhub_usage_sessions_person",
        "jhub_usage_sessions",
        ["person_id", "admitted_at"],
        unique=False,
    )
    op.create_index(
        "ix_jhub_usage_sessions_quoted", "jhub_usage_sessions", ["quoted_at"], unique=False
    )
    op.create_index(
        "ix_jhub_usage_sessions_wallet",
        "jhub_usage_sessions",
        ["wallet_id", "admitted_at"],
        unique=False,
    )
    op.create_table(
        "jhub_usage_wallet_groups",
        sa.Column("wallet_id", types.BigId, nullable=False),
        sa.Column("group_name", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["wallet_id"],
            ["jhub_usage_wallets.id"],
            name=op.f("fk_jhub_usage_wallet_groups_wallet_id"),
        ),
        sa.PrimaryKeyConstraint(
            "wallet_id", "group_name", name=op.f("pk_jhub_usage_wallet_groups")
        ),
    )
    op.create_index(
        op.f("ix_jhub_usage_wallet_groups_group_name"),
        "jhub_usage_wallet_groups",
        ["group_name"],
        unique=False,
    )
    op.create_table(
        "jhub_usage_wallet_members",
        sa.Column("wallet_id", types.BigId, nullable=False),
        sa.Column("person_id", types.BigId, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.CheckConstraint(
            "role IN ('manager', 'spender')", name=op.f("ck_jhub_usage_wallet_members_role")
        ),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["jhub_usage_people.id"],
            name=op.f("fk_jhub_usage_wallet_members_person_id"),
        ),
        sa.ForeignKeyConstraint(
            ["wallet_id"],
            ["jhub_usage_wallets.id"],
            name=op.f("fk_jhub_usage_wallet_members_wallet_id"),
        ),
        sa.PrimaryKeyConstraint(
            "wallet_id", "person_id", name=op.f("pk_jhub_usage_wallet_members")
        ),
    )
    op.create_index(
        op.f("ix_jhub_usage_wallet_members_person_id"),
        "jhub_usage_wallet_members",
        ["person_id"],
        unique=False,
    )
    op.create_table(
        "jhub_usage_entries",
        sa.Column("id", types.BigId, nullable=False),
        sa.Column("wallet_id", types.BigId, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("amount_micro", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("effective_at", types.Instant(), nullable=False),
        sa.Column("posted_at", types.Instant(), nullable=False),
        sa.Column("period", sa.String(length=7), nullable=False),
        sa.Column("session_id", sa.String(length=36), nullable=True),
        sa.Column("slice_start", types.Instant(), nullable=True),
        sa.Column("slice_end", types.Instant(), nullable=True),
        sa.Column("corrects_id", types.BigId, nullable=True),
        sa.Column("goodwill", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("counter_wallet_id", types.BigId, nullable=True),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", types.BigId, nullable=True),
        sa.Column("note_id", types.BigId, nullable=True),
        sa.CheckConstraint(
            "kind IN ('grant', 'charge', 'refund', 'correction', 'transfer', 'expiry')",
            name=op.f("ck_jhub_usage_entries_kind"),
        ),
        sa.ForeignKeyConstraint(
            ["actor_id"], ["jhub_usage_people.id"], name=op.f("fk_jhub_usage_entries_actor_id")
        ),
        sa.ForeignKeyConstraint(
            ["corrects_id"],
            ["jhub_usage_entries.id"],
            name=op.f("fk_jhub_usage_entries_corrects_id"),
        ),
        sa.ForeignKeyConstraint(
            ["counter_wallet_id"],
            ["jhub_usage_wallets.id"],
            name=op.f("fk_jhub_usage_entries_counter_wallet_id"),
        ),
        sa.ForeignKeyConstraint(
            ["note_id"], ["jhub_usage_notes.id"], name=op.f("fk_jhub_usage_entries_note_id")
        ),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["jhub_usage_sessions.id"],
            name=op.f("fk_jhub_usage_entries_session_id"),
        ),
        sa.ForeignKeyConstraint(
            ["wallet_id"], ["jhub_usage_wallets.id"], name=op.f("fk_jhub_usage_entries_wallet_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jhub_usage_entries")),
        sa.UniqueConstraint("key", name=op.f("uq_jhub_usage_entries_key")),
        sa.UniqueConstraint(
            "session_id", "slice_start", name=op.f("uq_jhub_usage_entries_session_id_slice_start")
        ),
    )
    op.create_index(
        op.f("ix_jhub_usage_entries_corrects_id"),
        "jhub_usage_entries",
        ["corrects_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_jhub_usage_entries_period_wallet_id"),
        "jhub_usage_entries",
        ["period", "wallet_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_jhub_usage_entries_session_id"), "jhub_usage_entries", ["session_id"], unique=False
    )
    op.create_index(
        op.f("ix_jhub_usage_entries_wallet_id_id"),
        "jhub_usage_entries",
        ["wallet_id", "id"],
        unique=False,
    )
    op.create_table(
        "jhub_usage_session_groups",
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("group_name", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["jhub_usage_sessions.id"],
            name=op.f("fk_jhub_usage_session_groups_session_id"),
        ),
        sa.PrimaryKeyConstraint(
            "session_id", "group_name", name=op.f("pk_jhub_usage_session_groups")
        ),
    )
    op.create_index(
        op.f("ix_jhub_usage_session_groups_group_name"),
        "jhub_usage_session_groups",
        ["group_name"],
        unique=False,
    )
    triggers.create(op.get_bind())


def downgrade():
    op.drop_table("jhub_usage_session_groups")
    op.drop_table("jhub_usage_entries")
    op.drop_table("jhub_usage_wallet_members")
    op.drop_table("jhub_usage_wallet_groups")
    op.drop_table("jhub_usage_sessions")
    op.drop_table("jhub_usage_rules")
    op.drop_table("jhub_usage_limits")
    op.drop_table("jhub_usage_admissions")
    op.drop_table("jhub_usage_wallets")
    op.drop_table("jhub_usage_notes")
    op.drop_table("jhub_usage_audit")
    op.drop_table("jhub_usage_people")
    op.drop_table("jhub_usage_rates")
    op.drop_table("jhub_usage_leases")
    op.drop_table("jhub_usage_hubs")
    op.drop_table("jhub_usage_gate")
    op.drop_table("jhub_usage_exemptions")
    op.drop_table("jhub_usage_client_keys")
    triggers.drop(op.get_bind())
