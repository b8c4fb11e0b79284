"""Hubs, people, wallets, sessions, decisions, the ledger, and what is configured."""

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, UniqueConstraint, text

from ...domain import admission, sessions, wallets
from ..types import BigId, Instant, Json, Whole
from .base import OPEN_STATES, PREFIX, metadata, one_of

# The gate: one row per database. Its lock orders admissions; its version dates every cache.
gate = Table(
    PREFIX + "gate",
    metadata,
    Column("id", sa.Integer, primary_key=True, autoincrement=False),
    Column("mode", sa.String(16), nullable=False),
    Column("config_version", Whole, nullable=False),
    Column("installed_at", Instant, nullable=False),
    Column("guard_tripped_at", Instant),
    Column("guard_count", sa.Integer),
    Column("guard_released_until_at", Instant),
    one_of("mode", admission.MODES),
    CheckConstraint("id = 1", name="one_row"),
)

hubs = Table(
    PREFIX + "hubs",
    metadata,
    Column("id", sa.String(64), primary_key=True),
    Column("installed_at", Instant, nullable=False),
    Column("facts", Json, nullable=False),
    Column("facts_at", Instant),
    Column("reconciled_at", Instant),
)

people = Table(
    PREFIX + "people",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("hub_id", sa.String(64), ForeignKey(hubs.c.id), nullable=False),
    Column("hub_user_id", Whole),
    Column("hub_created_at", Instant),
    # Erasable. Several people may have had a name; one of them has it now.
    Column("name", sa.String(255), nullable=False),
    Column("current", sa.Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("granted_start", sa.Boolean, nullable=False, server_default=sa.false()),
    Column("pseudonymised_at", Instant),
    UniqueConstraint("hub_id", "hub_user_id", "hub_created_at"),
    Index("uq_jhub_usage_people_current_name", "hub_id", "name", unique=True,
          postgresql_where=text("current"), sqlite_where=text("current")),
)  # fmt: skip

wallets_ = Table(
    PREFIX + "wallets",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("name", sa.String(255), nullable=False, unique=True),
    Column("title", sa.String(255), nullable=False, server_default=""),
    # A personal wallet belongs to one person; the others have members.
    Column("owner_id", BigId, ForeignKey(people.c.id), unique=True),
    Column("balance_micro", Whole, nullable=False),
    Column("overdraft_micro", Whole),
    Column("mode", sa.String(16)),
    Column("created_at", Instant, nullable=False),
    Column("closed_at", Instant),
    # Everything that was due before this instant is booked.
    Column("advanced_until", Instant, nullable=False),
    # The recurring grant: an amount of None is none, a carry cap of None carries everything.
    Column("allowance_micro", Whole),
    Column("allowance_period", sa.String(8)),
    Column("allowance_carry_micro", Whole),
    # How much of the balance is what is left of the allowance; the rest is permanent credit.
    Column("allowance_left_micro", Whole, nullable=False, server_default="0"),
    CheckConstraint("overdraft_micro IS NULL OR overdraft_micro >= 0", name="overdraft"),
    CheckConstraint("mode IS NULL OR mode IN ('off', 'observe', 'enforce')", name="mode"),
)

wallet_members = Table(
    PREFIX + "wallet_members",
    metadata,
    Column("wallet_id", BigId, ForeignKey(wallets_.c.id), primary_key=True),
    Column("person_id", BigId, ForeignKey(people.c.id), primary_key=True),
    Column("role", sa.String(16), nullable=False),
    one_of("role", wallets.ROLES),
    Index(None, "person_id"),
)

wallet_groups = Table(
    PREFIX + "wallet_groups",
    metadata,
    Column("wallet_id", BigId, ForeignKey(wallets_.c.id), primary_key=True),
    Column("group_name", sa.String(255), primary_key=True),
    Index(None, "group_name"),
)

# Words that people wrote: reasons of entries, notes. Erasable, so no immutable row holds them.
notes = Table(
    PREFIX + "notes",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("text", sa.Text, nullable=False),
    Column("person_id", BigId, ForeignKey(people.c.id)),
)

sessions_ = Table(
    PREFIX + "sessions",
    metadata,
    Column("id", sa.String(36), primary_key=True),
    Column("hub_id", sa.String(64), ForeignKey(hubs.c.id), nullable=False),
    Column("person_id", BigId, ForeignKey(people.c.id), nullable=False),
    Column("server_name", sa.String(255), nullable=False),
    Column("wallet_id", BigId, ForeignKey(wallets_.c.id)),
    Column("state", sa.String(16), nullable=False),
    Column("mode", sa.String(16), nullable=False),
    Column("billed", sa.Boolean, nullable=False),
    Column("profile", sa.String(255), nullable=False),
    Column("spawner", sa.String(255), nullable=False, server_default=""),
    # shape, frozen
    Column("cpu_milli", Whole, nullable=False),
    Column("memory_bytes", Whole, nullable=False),
    Column("gpu_milli", Whole, nullable=False),
    Column("gpu_count", sa.Integer, nullable=False),
    Column("gpus", Json, nullable=False),
    Column("gpu_model", sa.String(255), nullable=False, server_default=""),
    Column("node_model", sa.String(255), nullable=False, server_default=""),
    # quote, frozen
    Column("per_hour_micro", Whole, nullable=False),
    Column("fee_micro", Whole, nullable=False),
    Column("quote_lines", Json, nullable=False),
    Column("quoted_at", Instant, nullable=False),
    Column("hold_micro", Whole, nullable=False),
    Column("billed_from", sa.String(16), nullable=False),
    Column("grace_s", sa.Integer, nullable=False),
    Column("limit_s", Whole),
    # boundaries, each with its evidence
    Column("requested_at", Instant, nullable=False),
    Column("admitted_at", Instant, nullable=False),
    Column("start_deadline_at", Instant, nullable=False),
    Column("scheduled_at", Instant),
    Column("scheduled_evidence", sa.String(32)),
    Column("started_at", Instant),
    Column("started_evidence", sa.String(32)),
    Column("ready_at", Instant),
    Column("ready_evidence", sa.String(32)),
    Column("stop_accepted_at", Instant),
    Column("stop_accepted_evidence", sa.String(32)),
    Column("ended_at", Instant),
    Column("ended_evidence", sa.String(32)),
    Column("end_reason", sa.String(32)),
    # When it was first seen, and when a look first missed it; in between it was there at every
    # look of its hub (``hubs.reconciled_at``), which is not written here.
    Column("seen_at", Instant),
    Column("missed_at", Instant),
    Column("billed_from_at", Instant),
    Column("billed_until_at", Instant),
    Column("platform_us", Whole, nullable=False, server_default="0"),
    # money so far
    Column("charged_micro", Whole, nullable=False, server_default="0"),
    Column("settled_until", Instant),
    Column("revision", sa.Integer, nullable=False, server_default="0"),
    # stopping
    Column("protected_until_at", Instant),
    Column("warned_at", Instant),
    Column("warned_reason", sa.String(32)),
    Column("stop_at", Instant),
    Column("stop_ordered_at", Instant),
    Column("stop_reason", sa.String(32)),
    Column("stop_tries", sa.Integer, nullable=False, server_default="0"),
    # where it runs
    Column("hub_started_at", Instant),
    Column("namespace", sa.String(255), nullable=False, server_default=""),
    Column("pod_name", sa.String(255), nullable=False, server_default=""),
    Column("pod_uid", sa.String(64), nullable=False, server_default=""),
    Column("node", sa.String(255), nullable=False, server_default=""),
    Column("restart_count", sa.Integer, nullable=False, server_default="0"),
    one_of("state", sessions.STATES),
    CheckConstraint("ended_at IS NULL OR started_at IS NULL OR ended_at >= started_at",
                    name="ends_after_start"),
    CheckConstraint("cpu_milli >= 0 AND memory_bytes >= 0 AND gpu_milli >= 0", name="shape"),
    CheckConstraint("per_hour_micro >= 0 AND fee_micro >= 0 AND hold_micro >= 0", name="quote"),
    Index("ix_jhub_usage_sessions_open_wallet", "wallet_id", postgresql_where=OPEN_STATES,
          sqlite_where=OPEN_STATES),
    Index("ix_jhub_usage_sessions_open_server", "hub_id", "person_id", "server_name",
          postgresql_where=OPEN_STATES, sqlite_where=OPEN_STATES),
    Index("ix_jhub_usage_sessions_person", "person_id", "admitted_at"),
    Index("ix_jhub_usage_sessions_wallet", "wallet_id", "admitted_at"),
    Index("ix_jhub_usage_sessions_admitted", "admitted_at"),
    Index("ix_jhub_usage_sessions_quoted", "quoted_at"),
    Index("ix_jhub_usage_sessions_node", "node", "billed_from_at",
          postgresql_where=text("node <> ''"), sqlite_where=text("node <> ''")),
)  # fmt: skip

# The person's groups when the session was admitted, frozen by name.
session_groups = Table(
    PREFIX + "session_groups",
    metadata,
    Column("session_id", sa.String(36), ForeignKey(sessions_.c.id), primary_key=True),
    Column("group_name", sa.String(255), primary_key=True),
    Index(None, "group_name"),
)

# Every decision, refusals too. A row with decision 'void' and no session is a tombstone.
admissions_ = Table(
    PREFIX + "admissions",
    metadata,
    Column("session_id", sa.String(36), primary_key=True),
    Column("decided_at", Instant, nullable=False),
    Column("decision", sa.String(16), nullable=False),
    Column("reason", sa.String(32), nullable=False),
    Column("text", sa.Text, nullable=False),
    Column("details", Json, nullable=False),
    Column("hub_id", sa.String(64)),
    Column("person_id", BigId, ForeignKey(people.c.id)),
    Column("server_name", sa.String(255), nullable=False, server_default=""),
    Column("wallet_id", BigId, ForeignKey(wallets_.c.id)),
    Column("profile", sa.String(255), nullable=False, server_default=""),
    Column("mode", sa.String(16), nullable=False, server_default=""),
    Column("shape", Json, nullable=False),
    Column("quote", Json, nullable=False),
    Column("hold_micro", Whole, nullable=False, server_default="0"),
    Column("available_micro", Whole),
    Column("rule_id", BigId),
    Column("requested_at", Instant),
    Column("voided_at", Instant),
    Column("void_reason", sa.String(32)),
    one_of("decision", admission.DECISIONS),
    Index(None, "decided_at"),
    Index(None, "person_id", "decided_at"),
    Index("ix_jhub_usage_admissions_not_admitted", "decided_at",
          postgresql_where=text("decision <> 'admitted'"),
          sqlite_where=text("decision <> 'admitted'")),
)  # fmt: skip

# The ledger. Append-only by triggers. The natural key is compared with the content.
entries = Table(
    PREFIX + "entries",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("wallet_id", BigId, ForeignKey(wallets_.c.id), nullable=False),
    Column("kind", sa.String(16), nullable=False),
    Column("amount_micro", Whole, nullable=False),
    Column("key", sa.String(255), nullable=False, unique=True),
    Column("effective_at", Instant, nullable=False),
    Column("posted_at", Instant, nullable=False),
    Column("period", sa.String(7), nullable=False),
    Column("session_id", sa.String(36), ForeignKey(sessions_.c.id)),
    Column("slice_start", Instant),
    Column("slice_end", Instant),
    Column("corrects_id", BigId, ForeignKey(PREFIX + "entries.id")),
    # goodwill refunds leave S alone, corrections change it (rule 11)
    Column("goodwill", sa.Boolean, nullable=False, server_default=sa.false()),
    Column("counter_wallet_id", BigId, ForeignKey(wallets_.c.id)),
    # Billed microseconds that the entry adds, negative where a correction takes some back.
    Column("elapsed_us", Whole),
    Column("actor_kind", sa.String(16), nullable=False),
    Column("actor_id", BigId, ForeignKey(people.c.id)),
    Column("note_id", BigId, ForeignKey(notes.c.id)),
    one_of("kind", wallets.ENTRY_KINDS),
    UniqueConstraint("session_id", "slice_start"),
    Index(None, "wallet_id", "id"),
    Index(None, "session_id"),
    Index(None, "corrects_id"),
    Index(None, "period", "wallet_id"),
)

rates_ = Table(
    PREFIX + "rates",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("resource", sa.String(32), nullable=False),
    Column("model", sa.String(255), nullable=False),
    Column("profile", sa.String(255), nullable=False),
    Column("price_micro", Whole),
    Column("starts_at", Instant, nullable=False),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("resource", "model", "profile", "starts_at"),
    CheckConstraint("price_micro IS NULL OR price_micro >= 0", name="price"),
)

# A decision names its rule for good, so an id is never given out twice, on SQLite neither.
rules_ = Table(
    PREFIX + "rules",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("position", sa.Integer, nullable=False),
    Column("person", sa.String(255), nullable=False),
    Column("group_name", sa.String(255), nullable=False),
    Column("profile", sa.String(255), nullable=False),
    Column("target", sa.String(16), nullable=False),
    Column("wallet_id", BigId, ForeignKey(wallets_.c.id)),
    Column("starting_grant_micro", Whole, nullable=False),
    Column("overdraft_micro", Whole),
    sqlite_autoincrement=True,
)

limits_ = Table(
    PREFIX + "limits",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("subject", sa.String(16), nullable=False),
    Column("person", sa.String(255), nullable=False),
    Column("group_name", sa.String(255), nullable=False),
    Column("wallet_id", BigId, ForeignKey(wallets_.c.id)),
    Column("profile", sa.String(255), nullable=False),
    Column("resource", sa.String(32), nullable=False),
    Column("amount", Whole, nullable=False),
    Column("each", sa.Boolean, nullable=False),
    # For an amount per period: day, week or month.
    Column("period", sa.String(8), nullable=False, server_default=""),
    # Set by a manager of the wallet: one beside those that administrators set, all of which bind.
    Column("by_manager", sa.Boolean, nullable=False, server_default=sa.false()),
    Column("created_at", Instant, nullable=False),
)

# Recorded, not billed: people, groups and profiles.
exemptions = Table(
    PREFIX + "exemptions",
    metadata,
    Column("kind", sa.String(16), primary_key=True),
    Column("name", sa.String(255), primary_key=True),
    Column("created_at", Instant, nullable=False),
    one_of("kind", ("person", "group", "profile")),
)

audit = Table(
    PREFIX + "audit",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("action", sa.String(64), nullable=False),
    Column("subject_kind", sa.String(32), nullable=False),
    Column("subject_id", sa.String(255), nullable=False),
    Column("actor_kind", sa.String(16), nullable=False),
    # Erasable, as is the address.
    Column("actor_name", sa.String(255), nullable=False),
    Column("actor_id", BigId, ForeignKey(people.c.id)),
    Column("address", sa.String(64), nullable=False),
    Column("before", Json),
    Column("after", Json),
    Index(None, "at"),
    Index(None, "subject_kind", "subject_id"),
)

# Keys that clients chose for writes that they may retry, with what was answered.
client_keys = Table(
    PREFIX + "client_keys",
    metadata,
    Column("actor", sa.String(300), primary_key=True),
    Column("route", sa.String(255), primary_key=True),
    Column("key", sa.String(255), primary_key=True),
    Column("body_hash", sa.String(64), nullable=False),
    Column("answer", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
)

# Who does the periodic work of a hub right now; two at once are harmless.
leases = Table(
    PREFIX + "leases",
    metadata,
    Column("name", sa.String(128), primary_key=True),
    Column("holder", sa.String(128), nullable=False),
    Column("until_at", Instant, nullable=False),
)
