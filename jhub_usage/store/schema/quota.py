"""Periods and books, usage per day, requests, passes, maintenance, metered quantities."""

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table

from ...domain import wallets
from ..types import BigId, Instant, Json, Whole
from .base import PREFIX, metadata, one_of
from .core import entries, notes, people, wallets_

# Which zone's midnights begin the periods, from a month on. A change is never in the past.
zones = Table(
    PREFIX + "zones",
    metadata,
    Column("first_month", sa.String(7), primary_key=True),
    Column("zone", sa.String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
)

# Up to which month the books are closed. One row, which posters lock shared, the closer alone.
books = Table(
    PREFIX + "books",
    metadata,
    Column("id", sa.Integer, primary_key=True, autoincrement=False),
    Column("closed_through", sa.String(7), nullable=False, server_default=""),
    CheckConstraint("id = 1", name="one_row"),
)

# The act of closing a month.
months = Table(
    PREFIX + "months",
    metadata,
    Column("label", sa.String(7), primary_key=True),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("closed_at", Instant, nullable=False),
    Column("actor_kind", sa.String(16), nullable=False),
    Column("actor_id", BigId, ForeignKey(people.c.id)),
    Column("facts", Json, nullable=False),
)

# What people and wallets were called when a month was closed. Erasable.
month_names = Table(
    PREFIX + "month_names",
    metadata,
    Column("label", sa.String(7), ForeignKey(months.c.label), primary_key=True),
    Column("kind", sa.String(16), primary_key=True),
    Column("subject_id", BigId, primary_key=True, autoincrement=False),
    Column("name", sa.String(255), nullable=False),
    Column("title", sa.String(255), nullable=False, server_default=""),
    one_of("kind", ("person", "wallet")),
)

# Usage of ended sessions per day, for limits per period: one row per person and wallet (0: none),
# and one per person and group of the session (wallet 0). Counted by when it happened.
use_days = Table(
    PREFIX + "use_days",
    metadata,
    Column("day", sa.String(10), primary_key=True),
    Column("person_id", BigId, ForeignKey(people.c.id), primary_key=True, autoincrement=False),
    Column("wallet_id", BigId, primary_key=True, autoincrement=False),
    Column("group_name", sa.String(255), primary_key=True),
    Column("gpu_us", Whole, nullable=False),
    Column("cpu_us", Whole, nullable=False),
    Column("cost_micro", Whole, nullable=False),
    Index(None, "wallet_id", "day"),
    Index(None, "group_name", "day"),
    Index(None, "person_id", "day"),
)

# Rollups: usage of ended sessions per day. A cache that can be dropped and rebuilt.
rollup_days = Table(
    PREFIX + "rollup_days",
    metadata,
    Column("day", sa.String(10), primary_key=True),
    Column("hub_id", sa.String(64), primary_key=True),
    Column("person_id", BigId, primary_key=True, autoincrement=False),
    Column("wallet_id", BigId, primary_key=True, autoincrement=False),
    Column("profile", sa.String(255), primary_key=True),
    Column("gpu_model", sa.String(255), primary_key=True),
    Column("node", sa.String(255), primary_key=True),
    Column("starts", Whole, nullable=False),
    Column("elapsed_us", Whole, nullable=False),
    Column("gpu_us", Whole, nullable=False),
    Column("cpu_us", Whole, nullable=False),
    Column("memory_us", Whole, nullable=False),
    Column("cost_micro", Whole, nullable=False),
    Index(None, "wallet_id", "day"),
    Index(None, "person_id", "day"),
)

# Who asked for credit, and what came of it.
credit_requests = Table(
    PREFIX + "credit_requests",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("wallet_id", BigId, ForeignKey(wallets_.c.id), nullable=False),
    Column("person_id", BigId, ForeignKey(people.c.id), nullable=False),
    Column("amount_micro", Whole, nullable=False),
    Column("note_id", BigId, ForeignKey(notes.c.id)),
    Column("state", sa.String(16), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("decided_at", Instant),
    Column("decided_kind", sa.String(16)),
    Column("decided_id", BigId, ForeignKey(people.c.id)),
    Column("granted_micro", Whole),
    Column("answer_id", BigId, ForeignKey(notes.c.id)),
    Column("entry_id", BigId, ForeignKey(entries.c.id)),
    one_of("state", wallets.REQUEST_STATES),
    CheckConstraint("amount_micro > 0", name="amount"),
    Index(None, "wallet_id", "state"),
    Index(None, "person_id", "created_at"),
)

# Whose managers see and decide a request: fixed when it is made, by the groups that the person had.
credit_request_wallets = Table(
    PREFIX + "credit_request_wallets",
    metadata,
    Column("request_id", BigId, ForeignKey(credit_requests.c.id), primary_key=True,
           autoincrement=False),
    Column("wallet_id", BigId, ForeignKey(wallets_.c.id), primary_key=True, autoincrement=False),
    Index(None, "wallet_id"),
)  # fmt: skip

# An emergency pass: until it expires, this person's starts are not refused.
passes = Table(
    PREFIX + "passes",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("person_id", BigId, ForeignKey(people.c.id), nullable=False),
    Column("note_id", BigId, ForeignKey(notes.c.id)),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    Column("actor_kind", sa.String(16), nullable=False),
    Column("actor_id", BigId, ForeignKey(people.c.id)),
    Index(None, "person_id", "expires_at"),
)

# Windows in which a node is worked on: what runs there then is not billed.
maintenance = Table(
    PREFIX + "maintenance",
    metadata,
    Column("id", BigId, primary_key=True),
    Column("node", sa.String(255), nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("note_id", BigId, ForeignKey(notes.c.id)),
    Column("created_at", Instant, nullable=False),
    Column("cancelled_at", Instant),
    # Everything that overlapped it has ended and was given back.
    Column("done_at", Instant),
    Column("actor_kind", sa.String(16), nullable=False),
    Column("actor_id", BigId, ForeignKey(people.c.id)),
    CheckConstraint("ends_at > starts_at", name="window"),
    Index(None, "node", "starts_at"),
)

# Metered quantities round cumulatively per wallet, resource and month (rule 31).
metered = Table(
    PREFIX + "metered",
    metadata,
    Column("wallet_id", BigId, ForeignKey(wallets_.c.id), primary_key=True),
    Column("resource", sa.String(64), primary_key=True),
    Column("period", sa.String(7), primary_key=True),
    # Exact cost so far in millionths of a micro-credit, and what of it was charged.
    Column("exact_pico", Whole, nullable=False),
    Column("charged_micro", Whole, nullable=False),
)
