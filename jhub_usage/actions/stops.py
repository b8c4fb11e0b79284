"""Warning and stopping: what the service decides under the wallet's lock (rule 14).

The service looks (Hub, database), plans here, and asks again before every try: a top-up in between
takes the order back. Does not talk to the Hub.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from ..domain import stops
from ..domain.admission import Policy, effective_mode
from ..domain.audit import Actor
from ..domain.instants import iso
from ..domain.limits import PERIOD_LIMIT
from ..domain.passes import holds_back
from ..domain.sessions import RUNNING
from ..domain.wallets import Wallet
from ..store import audit, catalog, periods, sessions, wallets
from ..store import tables as t
from ..store.engine import Tx
from . import advancing, passes, period_limits

_S = t.sessions_.c
#: Stands for none: what no wallet pays for still has a limit on its hours.
NO_WALLET = Wallet(0, "", 0, None)
#: Ordering a stop again does not need another decision for so long.
GUARD_RELEASE_S = 3600


@dataclass(frozen=True)
class Order:
    """A server that must be stopped now."""

    session_id: str
    person: str
    server_name: str
    reason: str
    hub_started_at: datetime | None
    tries: int


@dataclass(frozen=True)
class Plan:
    """One pass: what was newly warned, what is ordered to stop, and if the guard held it back."""

    warned: tuple[str, ...]
    orders: tuple[Order, ...]
    guarded: int = 0


def plan(tx: Tx, hub_id: str, *, policy: Policy, actor: Actor) -> Plan:
    """Warn whom the end nears, order stops that are due, unless there are too many at once."""
    gate = catalog.lock_gate(tx)
    running_here = sa.select(_S.wallet_id).where(_S.state == RUNNING, _S.hub_id == hub_id)
    wallet_ids = set(tx.execute(running_here.distinct()).scalars()) - {None}
    locked = wallets.lock(tx, wallet_ids)
    # read after the locks: what ended meanwhile is left alone
    rows = list(tx.execute(sa.select(t.sessions_).where(_S.state == RUNNING)))
    mine = [r for r in rows if r.hub_id == hub_id]
    meters = sessions.open_meters(tx, wallet_ids)
    unpaid = [sessions.meter(r) for r in mine if r.wallet_id is None]
    now = tx.now()
    ahead = advancing.book(tx, locked, meters, now, policy=policy, actor=actor)
    # nobody is stopped on books that are far behind
    locked = {i: a.wallet for i, a in ahead.items() if a is not None}
    meters |= {i: list(a.meters) for i, a in ahead.items() if a is not None}
    calendar = periods.calendar(tx, policy.timezone)
    endings = {}
    if gate[0] != "off":
        endings = period_limits.endings(tx, mine, policy=policy, calendar=calendar, now=now)
    passed = passes.until(tx, mine, now)
    warn, stop = [], []
    for wallet_id, wallet in [*locked.items(), (None, NO_WALLET)]:
        mode = effective_mode(gate[0], wallet.mode)
        # sessions of other hubs count for the wallet, and are theirs to stop
        by_id = {r.id: r for r in rows if r.wallet_id == wallet_id}
        running = [
            stops.Running(
                m,
                by_id[m.session_id].warned_at if m.session_id in by_id else None,
                by_id[m.session_id].protected_until_at if m.session_id in by_id else None,
                endings.get(m.session_id),
                passed.get(m.session_id),
            )
            for m in (unpaid if wallet_id is None else meters[wallet_id])
        ]
        dues = []
        if mode != "off":
            at = advancing.clamped(now, [wallet])
            dues = stops.wallet_dues(
                wallet, running, at, policy.warn_lead_s, calendar, observed=mode == "observe"
            )
        due_ids = {d.session_id for d in dues} if mode == "enforce" else set()
        for row in by_id.values():
            # credit arrived: the warning is over, and so is an order that rested on it
            if row.warned_at is not None and row.id not in due_ids and row.hub_id == hub_id:
                _clear(tx, row.id)
        for due in dues:
            row = by_id.get(due.session_id)
            if row is None or row.hub_id != hub_id:
                continue
            if mode == "observe":
                _observe(tx, row, due, actor=actor, now=now)
                continue
            if due.warn or row.stop_at != due.stop_at or row.warned_reason != due.reason:
                warn.append((row, due))
            if due.stop and row.stop_ordered_at is None:
                stop.append((row, due))
    for row, due in warn:
        values = {"warned_reason": due.reason, "stop_at": due.stop_at}
        if due.warn:
            values["warned_at"] = now
        tx.execute(t.sessions_.update().where(_S.id == row.id).values(**values))
    guarded = _guard(tx, len(stop), len(mine), now)
    if not guarded:
        for row, due in stop:
            tx.execute(
                t.sessions_.update()
                .where(_S.id == row.id)
                .values(stop_ordered_at=now, stop_reason=due.reason)
            )
            audit.write(
                tx, "server.stop_ordered", "session", row.id, actor=actor, now=now,
                after=_why(due),
            )  # fmt: skip
    orders = tuple(_orders(tx, hub_id))
    return Plan(tuple(r.id for r, d in warn if d.warn), orders, len(stop) if guarded else 0)


def confirm(tx: Tx, session_id: str, *, policy: Policy, actor: Actor) -> bool:
    """Asked before every try: is it still right to stop this server? Takes a wrong order back."""
    gate = catalog.read_gate(tx)
    row = sessions.get(tx, session_id)
    if row is None or row.state != RUNNING or row.stop_ordered_at is None:
        return False
    wallet = wallets.lock(tx, [row.wallet_id]).get(row.wallet_id, NO_WALLET)
    row = sessions.lock(tx, session_id)
    if row.state != RUNNING or row.stop_ordered_at is None:
        return False
    if wallet is NO_WALLET:
        meters = [sessions.meter(row)]
    else:
        meters = sessions.open_meters(tx, [wallet.id])[wallet.id]
    now = tx.now()
    if wallet is not NO_WALLET:
        ahead = advancing.book(
            tx, {wallet.id: wallet}, {wallet.id: meters}, now, policy=policy, actor=actor
        )[wallet.id]
        if ahead is None:
            return False
        wallet, meters = ahead.wallet, ahead.meters
    ending = None
    if row.stop_reason == PERIOD_LIMIT:
        calendar = periods.calendar(tx, policy.timezone)
        found = period_limits.endings(tx, [row], policy=policy, calendar=calendar, now=now)
        ending = found.get(session_id)
    still = (
        effective_mode(gate[0], wallet.mode) == "enforce"
        and not holds_back(row.stop_reason, passes.active(tx, row.person_id, now))
        and stops.may_stop(wallet, meters, session_id, row.stop_reason, now, ending)
        and (row.protected_until_at is None or now >= row.protected_until_at)
    )
    if not still:
        _clear(tx, session_id)
        audit.write(
            tx, "server.stop_withdrawn", "session", session_id, actor=actor, now=now,
            before={"reason": row.stop_reason},
        )  # fmt: skip
        return False
    tx.execute(t.sessions_.update().where(_S.id == session_id).values(stop_tries=_S.stop_tries + 1))
    return True


def guard_state(tx: Tx) -> dict:
    """Whether the guard against mass stops waits for a person: tripped_at, count."""
    g = t.gate.c
    row = tx.execute(sa.select(g.guard_tripped_at, g.guard_count, g.guard_released_until_at)).one()
    return {
        "tripped_at": row.guard_tripped_at,
        "count": row.guard_count,
        "released_until_at": row.guard_released_until_at,
    }


def release_guard(tx: Tx, *, actor: Actor) -> None:
    """A person says that the stops are right: they may go on for an hour."""
    catalog.lock_gate(tx)
    now = tx.now()
    before = guard_state(tx)
    until_at = now + timedelta(seconds=GUARD_RELEASE_S)
    tx.execute(
        t.gate.update().values(
            guard_tripped_at=None, guard_count=None, guard_released_until_at=until_at
        )
    )
    audit.write(
        tx, "stops.released", "stops", "all", actor=actor, now=now,
        before={"count": before["count"], "released_until_at": iso(before["released_until_at"])},
        after={"count": None, "released_until_at": iso(until_at)},
    )  # fmt: skip


def _guard(tx: Tx, stopping: int, running: int, now: datetime) -> bool:
    state = guard_state(tx)
    released = state["released_until_at"] is not None and now < state["released_until_at"]
    if released:
        return False
    if not stops.guard_trips(stopping, running):
        if state["tripped_at"] is not None and stopping == 0:
            # what was due has resolved itself
            tx.execute(t.gate.update().values(guard_tripped_at=None, guard_count=None))
        return state["tripped_at"] is not None and stopping > 0
    tx.execute(
        t.gate.update().values(guard_tripped_at=state["tripped_at"] or now, guard_count=stopping)
    )
    return True


def _orders(tx: Tx, hub_id: str):
    rows = tx.execute(
        sa.select(
            _S.id, t.people.c.name, _S.server_name, _S.stop_reason, _S.hub_started_at,
            _S.stop_tries,
        )
        .join(t.people, t.people.c.id == _S.person_id)
        .where(
            _S.hub_id == hub_id,
            _S.state == RUNNING,
            _S.stop_ordered_at.is_not(None),
        )
    )  # fmt: skip
    for r in rows:
        yield Order(r.id, r.name, r.server_name, r.stop_reason, r.hub_started_at, r.stop_tries)


def _observe(tx: Tx, row, due, *, actor: Actor, now: datetime) -> None:
    """Observe mode: record once that this server would have been stopped. Nobody was warned."""
    if not due.over or row.stop_reason is not None:
        return
    tx.execute(t.sessions_.update().where(_S.id == row.id).values(stop_reason=due.reason))
    audit.write(tx, "server.would_stop", "session", row.id, actor=actor, now=now, after=_why(due))


def _why(due: stops.Due) -> dict:
    """The reason, and the limit as it was: which one it is stays known when it is changed."""
    if due.ending is None:
        return {"reason": due.reason}
    return {"reason": due.reason, "of": due.ending.of.label, "limit": asdict(due.ending.limit)}


def _clear(tx: Tx, session_id: str) -> None:
    tx.execute(
        t.sessions_.update()
        .where(_S.id == session_id)
        .values(
            warned_at=None, warned_reason=None, stop_at=None, stop_ordered_at=None,
            stop_reason=None,
        )
    )  # fmt: skip
