"""What is due for wallets is booked first, by whoever takes their locks (rule 17).

``opened`` begins every action that moves money; ``advance_due`` is the service's own pass, on
time. Both write what ``domain.advance`` says, so it does not matter who comes first.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from ..domain.admission import Policy
from ..domain.advance import Advanced, Slice, advance
from ..domain.allowance_words import boundary_text
from ..domain.allowances import TURNS
from ..domain.audit import Actor
from ..domain.errors import CatchUpNeeded
from ..domain.instants import to_micros
from ..domain.periods import MONTH, PERIODS, Calendar
from ..domain.sessions import Meter
from ..domain.wallets import Wallet
from ..store import ledger, periods, sessions
from ..store import tables as t
from ..store import wallets as rows
from ..store.engine import Tx
from ..store.ledger import NewEntry

_W, _S = t.wallets_.c, t.sessions_.c
#: So many wallets are locked at once by the service's pass: an admission may wait for them.
BATCH = 100


def opened(
    tx: Tx, wallet_ids: Iterable[int | None], *, policy: Policy, actor: Actor, far: bool = False
) -> tuple[dict[int, Wallet], datetime]:
    """Lock wallets (sorted) and book what is due: (wallets as they are then, now).

    Raises CatchUpNeeded when so much time is to be caught up that a person must say so.
    """
    locked = rows.lock(tx, wallet_ids)
    # read after the locks: a statement that waited for one still sees the time before the wait
    meters, now = sessions.open_meters_now(tx, locked)
    ahead = book(tx, locked, meters, now, policy=policy, actor=actor, far=far)
    late = [n for n, a in ahead.items() if a is None]
    if late:
        raise CatchUpNeeded(locked[late[0]].name)
    return {n: a.wallet for n, a in ahead.items()}, clamped(now, locked.values())


def clamped(now: datetime, wallets: Iterable[Wallet]) -> datetime:
    """``now``, never before what is booked already (rule 3)."""
    return max([now, *(w.advanced_until for w in wallets if w.advanced_until is not None)])


def ahead_of(
    wallet: Wallet, meters: Sequence[Meter], now: datetime, calendar: Calendar
) -> Advanced:
    """The wallet with everything due applied, for looking only."""
    return advance(wallet, meters, clamped(now, [wallet]), calendar)


def book(
    tx: Tx,
    locked: Mapping[int, Wallet],
    meters: Mapping[int, Sequence[Meter]],
    now: datetime,
    *,
    policy: Policy,
    actor: Actor,
    far: bool = False,
    quiet: bool = False,
) -> dict[int, Advanced | None]:
    """Book what is due for locked wallets; None for one that is too far behind.

    ``quiet``: a wallet that no boundary changed is not written to at all.
    """
    calendar = periods.calendar(tx, policy.timezone)
    found: dict[int, Advanced | None] = {}
    entries: list[NewEntry] = []
    wallets, settled = [], []
    for wallet_id, wallet in locked.items():
        at = clamped(now, [wallet])
        ahead = advance(wallet, meters.get(wallet_id, ()), at, calendar)
        if ahead.too_far(at) and not far:
            found[wallet_id] = None
            continue
        found[wallet_id] = ahead
        if not ahead.due and (quiet or ahead.wallet.advanced_until == wallet.advanced_until):
            continue
        entries += [e for e in (_entry(wallet_id, due) for due in ahead.due) if e is not None]
        until = ahead.wallet.advanced_until
        cut = {d.session_id for d in ahead.due if isinstance(d, Slice)}
        # slices up to a boundary are not taken back by a clock that jumps, either
        begun = calendar.last_boundary(MONTH, at)
        until = max([until, *(d.at for d in ahead.due if d.at == begun)])
        wallets.append(
            {
                "w_id": wallet_id,
                "balance_micro": ahead.wallet.balance_micro,
                "allowance_left_micro": ahead.wallet.left_micro,
                "advanced_until": until,
            }
        )
        settled += [
            {
                "s_id": m.session_id,
                "settled_until": m.settled_until,
                "charged_micro": m.charged_micro,
            }
            for m in ahead.meters
            if m.session_id in cut
        ]
    ledger.post_due(tx, entries, actor=actor, now=now, timezone=policy.timezone)
    for statement, values in ((_WALLET, wallets), (_SESSION, settled)):
        if values:
            tx.execute(statement, values if len(values) > 1 else values[0])
    return found


_WALLET = (
    t.wallets_.update()
    .where(_W.id == sa.bindparam("w_id"))
    .values({c.name: sa.bindparam(c.name) for c in
             (_W.balance_micro, _W.allowance_left_micro, _W.advanced_until)})
)  # fmt: skip
_SESSION = (
    t.sessions_.update()
    .where(_S.id == sa.bindparam("s_id"))
    .values({c.name: sa.bindparam(c.name) for c in (_S.settled_until, _S.charged_micro)})
)


def _entry(wallet_id: int, due) -> NewEntry | None:
    if not isinstance(due, Slice):
        return NewEntry(
            wallet_id=wallet_id,
            kind="grant" if due.net_micro > 0 else "expiry",
            amount_micro=due.net_micro,
            key=f"allowance:{wallet_id}:{due.label}",
            effective_at=due.at,
            how=TURNS,
            note=boundary_text(due.granted_micro, due.expired_micro),
        )
    if not due.amount_micro:
        return None
    return NewEntry(
        wallet_id=wallet_id,
        kind="charge",
        amount_micro=-due.amount_micro,
        key=f"charge:{due.session_id}:{to_micros(due.begin)}",
        effective_at=due.end,
        session_id=due.session_id,
        slice_start=due.begin,
        slice_end=due.end,
    )


def due_wallets(tx: Tx, now: datetime, *, policy: Policy, after_id: int = 0) -> list[int]:
    """Ids of wallets that a boundary up to ``now`` changes, a batch of them above ``after_id``."""
    calendar = periods.calendar(tx, policy.timezone)
    month = calendar.last_boundary(MONTH, now)
    rests = _W.allowance_left_micro - _W.allowance_carry_micro
    expires = sa.case((rests > 0, rests), else_=0)
    changes = sa.or_(
        _W.allowance_carry_micro.is_(None), _W.allowance_micro != expires
    )  # what a boundary changes where nothing runs
    last = {p: calendar.last_boundary(p, now) for p in PERIODS}
    behind = sa.or_(
        *(sa.and_(_W.allowance_period == p, _W.advanced_until < at) for p, at in last.items())
    )
    runs = sa.exists().where(_S.wallet_id == _W.id, sessions.IS_OPEN, _S.billed)
    begun = sa.func.coalesce(_S.settled_until, _S.billed_from_at)
    charge = sa.exists().where(
        _S.wallet_id == _W.id, sessions.IS_OPEN, _S.billed, begun < month,
        sa.or_(_S.per_hour_micro > 0, _S.fee_micro > 0),
    )  # fmt: skip
    query = (
        sa.select(_W.id)
        .where(_W.id > after_id, sa.or_(charge, sa.and_(behind, sa.or_(changes, runs))))
        .order_by(_W.id)
        .limit(BATCH)
    )
    return list(tx.execute(query).scalars())


def advance_due(
    tx: Tx, after_id: int = 0, *, policy: Policy, actor: Actor, far: bool = False
) -> tuple[int, int, int, tuple[str, ...]]:
    """One batch of the service's pass: (last id seen, wallets, entries, those too far behind).

    The last id is 0 when there are no more.
    """
    ids = due_wallets(tx, tx.now(), policy=policy, after_id=after_id)
    if not ids:
        return 0, 0, 0, ()
    locked = rows.lock(tx, ids)
    meters, now = sessions.open_meters_now(tx, locked)
    ahead = book(tx, locked, meters, now, policy=policy, actor=actor, far=far, quiet=True)
    late = tuple(locked[n].name for n, a in ahead.items() if a is None)
    booked = [a for a in ahead.values() if a is not None and a.due]
    last = ids[-1] if len(ids) == BATCH else 0
    return last, len(booked), sum(len(a.due) for a in booked), late
