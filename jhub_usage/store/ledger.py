"""The ledger: one way in. An entry and the wallet's cached balance change together.

The caller holds the wallet's lock.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ..domain.allowances import LEAVES, SPARES, TURNS, USES
from ..domain.audit import Actor
from ..domain.errors import KeyReused
from ..domain.instants import elapsed_us
from ..domain.money import require_amount
from . import periods
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
    #: Of words that are kept already: several entries of a person may say the same.
    note_id: int | None = None
    #: Billed microseconds that it adds; those of the slice where there is one.
    elapsed_us: int | None = None
    #: How it changes what is left of the allowance (domain.allowances); None: by its kind.
    how: str | None = None

    @property
    def moves(self) -> str:
        """How it changes what is left of the wallet's allowance."""
        if self.how is not None:
            return self.how
        if self.kind == "charge":
            return USES
        return SPARES if self.kind == "correction" and self.amount_micro < 0 else LEAVES


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
    (row,) = _rows(tx, [entry], actor, now, timezone)
    made = tx.execute(t.entries.insert().values(**row))
    _move(tx, entry)
    return made.inserted_primary_key[0], True


def has(tx: Tx, key: str) -> bool:
    """Whether there is an entry of this key."""
    return tx.scalar(sa.select(_E.id).where(_E.key == key)) is not None


def taken(tx: Tx, keys: Collection[str]) -> set[str]:
    """Those of some keys that entries have."""
    return set(tx.execute(sa.select(_E.key).where(_E.key.in_(list(keys)))).scalars())


def _row(
    tx: Tx, entry: NewEntry, actor: Actor, now: datetime, timezone: str, note_id: int | None
) -> dict:
    effective_at = entry.effective_at or now
    spent = entry.elapsed_us
    if spent is None and entry.slice_start is not None:
        spent = elapsed_us(entry.slice_start, entry.slice_end)
    return {
        "wallet_id": entry.wallet_id,
        "kind": entry.kind,
        "amount_micro": entry.amount_micro,
        "key": entry.key,
        "effective_at": effective_at,
        "posted_at": now,
        # a slice that ends with its month belongs to it
        "period": periods.booked_in(tx, entry.slice_start or effective_at, timezone),
        "session_id": entry.session_id,
        "slice_start": entry.slice_start,
        "slice_end": entry.slice_end,
        "corrects_id": entry.corrects_id,
        "goodwill": entry.goodwill,
        "counter_wallet_id": entry.counter_wallet_id,
        "elapsed_us": spent,
        "actor_kind": actor.kind,
        "actor_id": actor.person_id,
        "note_id": note_id,
    }


def _rows(
    tx: Tx, entries: Sequence[NewEntry], actor: Actor, now: datetime, timezone: str
) -> list[dict]:
    """The rows of entries, their words kept at once."""
    said = [e.note for e in entries if e.note and e.note_id is None]
    kept = iter(notes(tx, said))
    return [
        _row(tx, e, actor, now, timezone, e.note_id or (next(kept) if e.note else None))
        for e in entries
    ]


def post_due(
    tx: Tx, entries: Sequence[NewEntry], *, actor: Actor, now: datetime, timezone: str = "UTC"
) -> None:
    """Entries of what was due, at once. The caller holds the wallets and stores their balances."""
    rows = _rows(tx, entries, actor, now, timezone)
    if rows:
        tx.execute(t.entries.insert(), rows if len(rows) > 1 else rows[0])


def post_turns(
    tx: Tx, entries: Sequence[NewEntry], *, actor: Actor, now: datetime, timezone: str = "UTC"
) -> list[int]:
    """The same, and their ids in the same order. The keys are new."""
    rows = _rows(tx, entries, actor, now, timezone)
    if not rows:
        return []
    insert = t.entries.insert().returning(_E.id, sort_by_parameter_order=True)
    return list(tx.execute(insert, rows).scalars())


def post_gifts(
    tx: Tx, entries: Sequence[NewEntry], *, actor: Actor, now: datetime, timezone: str = "UTC"
) -> None:
    """Refunds, many at once, and the balances. The caller holds the wallets; the keys are new."""
    post_due(tx, entries, actor=actor, now=now, timezone=timezone)
    totals: dict[int, int] = {}
    for entry in entries:
        totals[entry.wallet_id] = totals.get(entry.wallet_id, 0) + entry.amount_micro
    w = t.wallets_.c
    for wallet_id, total in sorted(totals.items()):
        moved = t.wallets_.update().where(w.id == wallet_id)
        tx.execute(moved.values(balance_micro=w.balance_micro + total))


def _move(tx: Tx, entry: NewEntry) -> None:
    """The balance and what is left of the allowance, as ``domain.allowances.moved`` has it."""
    w, how = t.wallets_.c, entry.moves
    balance, left = w.balance_micro + entry.amount_micro, w.allowance_left_micro
    values = {"balance_micro": balance}
    if how == USES and entry.amount_micro < 0:
        left = left + entry.amount_micro
        values["allowance_left_micro"] = sa.case((left > 0, left), else_=0)
    elif how in (SPARES, TURNS):
        left = left + entry.amount_micro if how == TURNS else left
        least = sa.case((left < balance, left), else_=balance)
        values["allowance_left_micro"] = sa.case((least > 0, least), else_=0)
    tx.execute(t.wallets_.update().where(w.id == entry.wallet_id).values(**values))


def note(tx: Tx, text: str) -> int | None:
    """Keep words that somebody wrote where they can be erased; returns their id."""
    if not text:
        return None
    return tx.execute(t.notes.insert().values(text=text)).inserted_primary_key[0]


def notes(tx: Tx, texts: Sequence[str]) -> list[int]:
    """Keep several; their ids in the same order."""
    if len(texts) < 2:
        return [note(tx, text) for text in texts]
    insert = t.notes.insert().returning(t.notes.c.id, sort_by_parameter_order=True)
    return list(tx.execute(insert, [{"text": text} for text in texts]).scalars())


def refunded(tx: Tx, entry_id: int) -> int:
    """What was already given back of a charge, in micro-credits."""
    return int(
        tx.scalar(
            sa.select(sa.func.coalesce(sa.func.sum(_E.amount_micro), 0)).where(
                _E.corrects_id == entry_id
            )
        )
    )


def refundable(tx: Tx, charge) -> int:
    """What may still be given back of a charge (its row): never more than is left of it, nor than
    its session was charged in all, corrections included, less what was given already."""
    left = max(0, -charge.amount_micro - refunded(tx, charge.id))
    if charge.session_id is None:
        return left
    s = t.sessions_.c
    gifts = sa.select(sa.func.coalesce(sa.func.sum(_E.amount_micro), 0)).where(
        _E.session_id == charge.session_id, _E.goodwill
    )
    row = tx.execute(
        sa.select(s.charged_micro, gifts.scalar_subquery().label("given")).where(
            s.id == charge.session_id
        )
    ).one()
    return max(0, min(left, row.charged_micro - int(row.given)))
