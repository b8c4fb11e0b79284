"""What can be given back: ended sessions that fit a filter, their charges and what was returned.

Reads only; who writes a refund holds the wallets' locks and reads all of this after them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from ..domain.refunds import Charge, Filter, Window
from ..domain.sessions import ENDED
from . import tables as t
from .engine import Tx
from .sessions import IS_OPEN

_S, _E, _P, _W = t.sessions_.c, t.entries.c, t.people.c, t.wallets_.c
#: Keys of one IN list.
CHUNK = 1000
#: Refunds for maintenance, and what takes them or any gift back, are known by their keys.
MAINTENANCE = "refund:maintenance:"
TAKEN_BACK, GIFT = "correction:maintenance:", "correction:gift:"

_ENDED = sa.and_(_S.state == ENDED, _S.billed, _S.charged_micro > 0, _S.wallet_id.is_not(None))
#: Written out, so that the planner sees that the index on nodes fits.
_SOMEWHERE = _S.node != sa.literal_column("''")

_ROW = (
    sa.select(t.sessions_, _P.name.label("person"), _W.name.label("wallet"))
    .join(t.people, _P.id == _S.person_id)
    .join(t.wallets_, _W.id == _S.wallet_id)
    .where(_S.billed)
)


def _fits(asked: Filter, person_id: int | None, wallet_id: int | None) -> list:
    conditions = []
    for column, value in (
        (_S.node, asked.node),
        (_S.profile, asked.profile),
        (_S.end_reason, asked.end_reason),
        (_S.person_id, person_id),
        (_S.wallet_id, wallet_id),
    ):
        if value not in ("", None):
            conditions.append(column == value)
    if asked.node:
        conditions.append(_SOMEWHERE)
    if asked.window is not None:
        conditions += overlaps(asked.window)
    return conditions


def overlaps(window: Window) -> list:
    """Conditions on sessions that were billed at some instant of a window; the fee is at one."""
    begin, end = window
    last = sa.func.coalesce(_S.billed_until_at, end)
    return [_S.billed_from_at < end, last >= begin]


def wallets_of(tx: Tx, asked: Filter, person_id: int | None, wallet_id: int | None) -> set[int]:
    """The wallets that paid for the ended sessions that fit."""
    query = sa.select(_S.wallet_id).where(_ENDED, *_fits(asked, person_id, wallet_id))
    return set(tx.execute(query.distinct()).scalars())


def ended(
    tx: Tx, asked: Filter, person_id: int | None, wallet_id: int | None, *, limit: int
) -> list:
    """Ended sessions that fit and were charged, by when they were admitted, with names."""
    query = _ROW.where(_ENDED, *_fits(asked, person_id, wallet_id))
    return list(tx.execute(query.order_by(_S.admitted_at, _S.id).limit(limit)))


def still_open(
    tx: Tx, asked: Filter, person_id: int | None, wallet_id: int | None, *, limit: int
) -> list:
    """Sessions that fit and have begun, but are not over."""
    query = _ROW.where(IS_OPEN, _S.billed_from_at.is_not(None), *_fits(asked, person_id, wallet_id))
    return list(tx.execute(query.order_by(_S.admitted_at, _S.id).limit(limit)))


def by_ids(tx: Tx, ids: Sequence[str]) -> list:
    """These sessions, with names, whatever their state."""
    found = []
    for part in _chunks(ids):
        found += tx.execute(_ROW.where(_S.id.in_(part)))
    return found


def on_node(tx: Tx, node: str, window: Window, *, or_corrected: bool = False) -> list:
    """Ended, billed sessions that ran on a node within a window.

    ``or_corrected``: also those whose boundaries were corrected, which may have lain in it before.
    """
    within = sa.and_(*overlaps(window))
    if or_corrected:
        within = sa.or_(within, _S.revision > 0)
    query = _ROW.where(_S.state == ENDED, _SOMEWHERE, _S.node == node, within)
    return list(tx.execute(query.order_by(_S.admitted_at, _S.id)))


def nodes_since(tx: Tx, since: datetime) -> list[str]:
    """Nodes that sessions admitted since then ran on."""
    query = sa.select(_S.node).where(_S.admitted_at >= since, _SOMEWHERE).distinct()
    return list(tx.execute(query.order_by(_S.node)).scalars())


def may_run_on(tx: Tx, node: str, before: datetime) -> bool:
    """Whether something that is not over may have begun on a node before an instant.

    A pod whose node nobody has told yet may be there, too.
    """
    unknown = sa.and_(_S.node == "", _S.pod_name != "")
    began = sa.func.coalesce(_S.billed_from_at, _S.admitted_at)
    here = sa.exists().where(IS_OPEN, _S.billed, sa.or_(_S.node == node, unknown), began < before)
    return bool(tx.scalar(sa.select(here)))


@dataclass(frozen=True)
class Given:
    """A refund for maintenance, and what was taken back of it."""

    id: int
    charge_id: int
    amount_micro: int
    taken_micro: int = 0

    @property
    def net_micro(self) -> int:
        return max(0, self.amount_micro - self.taken_micro)


@dataclass
class Money:
    """What one session was charged, entry by entry, and what of it was given back."""

    #: Slices in their order, then what corrections of its boundaries charged besides.
    charges: list[Charge] = field(default_factory=list)
    #: Refunds for maintenance, oldest first.
    maintenance: list[Given] = field(default_factory=list)
    #: Refunds for other reasons, less what was taken back of them.
    others_micro: int = 0
    #: All gifts, less what was taken back of them.
    given_micro: int = 0

    def left_micro(self, charged_micro: int) -> int:
        """What is left of all that the session was charged."""
        return max(0, charged_micro - self.given_micro)


_MONEY = (
    sa.select(
        _E.id, _E.session_id, _E.kind, _E.amount_micro, _E.key, _E.slice_start, _E.slice_end,
        _E.corrects_id, _E.goodwill,
    )
    .where(_E.kind.in_(("charge", "refund", "correction")))
    .order_by(_E.slice_start, _E.id)
)  # fmt: skip


def money_of(tx: Tx, ids: Sequence[str]) -> dict[str, Money]:
    """Charges and gifts of each session."""
    found = {session_id: Money() for session_id in ids}
    other = t.entries.alias("other")
    for part in _chunks(ids):
        back = {
            entry_id: int(amount)
            for entry_id, amount in tx.execute(
                sa.select(_E.id, sa.func.sum(other.c.amount_micro))
                .join(other, other.c.corrects_id == _E.id)
                .where(_E.session_id.in_(part))
                .group_by(_E.id)
            )
        }
        rows = list(tx.execute(_MONEY.where(_E.session_id.in_(part))))
        taken = _taken(rows)
        of_charge: dict[int, int] = defaultdict(int)
        for e in rows:
            if e.kind == "refund":
                of_charge[e.corrects_id] += taken[e.id]
        besides: dict[str, list[Charge]] = defaultdict(list)
        for e in rows:
            money = found[e.session_id]
            if e.goodwill:
                money.given_micro += e.amount_micro
            if e.kind == "charge":
                money.charges.append(
                    Charge(
                        e.id, e.slice_start, e.slice_end, -e.amount_micro, back.get(e.id, 0),
                        of_charge[e.id],
                    )
                )  # fmt: skip
            elif e.kind == "refund" and e.key.startswith(MAINTENANCE):
                money.maintenance.append(Given(e.id, e.corrects_id, e.amount_micro, taken[e.id]))
            elif e.kind == "refund":
                money.others_micro += e.amount_micro - taken[e.id]
            elif not e.goodwill and e.corrects_id is None and e.amount_micro < 0:
                besides[e.session_id].append(
                    Charge(e.id, None, None, -e.amount_micro, back.get(e.id, 0), of_charge[e.id])
                )
        for session_id, charges in besides.items():
            found[session_id].charges += charges
    return found


def _taken(rows: Iterable) -> dict[int, int]:
    """Refund -> what was taken back of it. What people correct by hand stays as they said.

    A correction of boundaries takes of all gifts together: of those for maintenance first, the
    newest first. They are given again by themselves where that time is charged again.
    """
    found: dict[int, int] = defaultdict(int)
    refunds: dict[str, list] = defaultdict(list)
    for e in sorted(rows, key=lambda e: e.id):
        if e.kind == "refund":
            refunds[e.session_id].append(e)
        elif not e.goodwill or e.kind != "correction":
            continue
        elif e.key.startswith(TAKEN_BACK):
            found[e.corrects_id] -= e.amount_micro
        elif e.key.startswith(GIFT):
            over = -e.amount_micro
            for r in sorted(refunds[e.session_id], key=_first_taken):
                part = max(0, min(over, r.amount_micro - found[r.id]))
                found[r.id] += part
                over -= part
    return found


def _first_taken(refund) -> tuple[bool, int]:
    return not refund.key.startswith(MAINTENANCE), -refund.id


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    held = list(ids)
    for begin in range(0, len(held), CHUNK):
        yield held[begin : begin + CHUNK]
