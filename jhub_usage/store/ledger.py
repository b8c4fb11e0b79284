"""The ledger: one way in. An entry and the wallet's cached balance change together.

The caller holds the wallet's lock.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ..domain.audit import Actor
from ..domain.errors import KeyReused
from ..domain.instants import month_of
from ..domain.money import require_amount
from . import tables as t
from .engine import Tx

_E = t.entries.c
MAX_KEY = 255


@dataclass(frozen=True)
class NewEntry:
    """An entry to be posted. ``key`` is natural: the same key with other content is an error."""

    wallet_id: int
    kind: str
    amount_micro: int
    key: str
    #: None: when it is posted; such a retry is the same entry whenever it comes.
    effective_at: datetime | None = None
    session_id: str | None = None
    slice_start: datetime | None = None
    slice_end: datetime | None = None
    corrects_id: int | None = None
    goodwill: bool = False
    counter_wallet_id: int | None = None
    note: str = ""


def post(
    tx: Tx, entry: NewEntry, *, actor: Actor, now: datetime, timezone: str = "UTC"
) -> tuple[int, bool]:
    """Post an entry: (its id, whether it is new). Raises KeyReused for other content."""
    if entry.kind not in ("charge", "refund"):
        require_amount(entry.amount_micro)  # usage is a fact, and so is giving it back
    held = tx.execute(sa.select(t.entries).where(_E.key == entry.key)).one_or_none()
    if held is not None:
        same = (
            held.wallet_id == entry.wallet_id
            and held.kind == entry.kind
            and held.amount_micro == entry.amount_micro
            and entry.effective_at in (None, held.effective_at)
            and held.session_id == entry.session_id
            and held.corrects_id == entry.corrects_id
            and held.counter_wallet_id == entry.counter_wallet_id
        )
        if not same:
            raise KeyReused(f"The key {entry.key!r} was already used for another entry.")
        return held.id, False
    effective_at = entry.effective_at or now
    made = tx.execute(
        t.entries.insert().values(
            wallet_id=entry.wallet_id,
            kind=entry.kind,
            amount_micro=entry.amount_micro,
            key=entry.key,
            effective_at=effective_at,
            posted_at=now,
            period=month_of(effective_at, timezone),
            session_id=entry.session_id,
            slice_start=entry.slice_start,
            slice_end=entry.slice_end,
            corrects_id=entry.corrects_id,
            goodwill=entry.goodwill,
            counter_wallet_id=entry.counter_wallet_id,
            actor_kind=actor.kind,
            actor_id=actor.person_id,
            note_id=note(tx, entry.note),
        )
    )
    tx.execute(
        t.wallets_.update()
        .where(t.wallets_.c.id == entry.wallet_id)
        .values(balance_micro=t.wallets_.c.balance_micro + entry.amount_micro)
    )
    return made.inserted_primary_key[0], True


def note(tx: Tx, text: str) -> int | None:
    """Keep words that somebody wrote where they can be erased; returns their id."""
    if not text:
        return None
    return tx.execute(t.notes.insert().values(text=text)).inserted_primary_key[0]


def refunded(tx: Tx, entry_id: int) -> int:
    """What was already given back of a charge, in micro-credits."""
    return int(
        tx.scalar(
            sa.select(sa.func.coalesce(sa.func.sum(_E.amount_micro), 0)).where(
                _E.corrects_id == entry_id
            )
        )
    )
