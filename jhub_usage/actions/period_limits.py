"""Limits per period as they stand: for decisions about starts, and for stopping.

Reads after the locks, and only where such a limit applies. The rules are in
``domain.period_limits``; what people are shown of it is in ``limit_uses``.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

import sqlalchemy as sa

from ..domain import period_limits as rules
from ..domain.admission import Ask, Policy, hold_span_s
from ..domain.limits import PER_PERIOD, Limit, session_limit_s
from ..domain.period_limits import Ending, Held, Open, Window
from ..domain.periods import Calendar
from ..store import catalog, people, period_use
from ..store import tables as t
from ..store.engine import Tx
from ..store.period_use import OpenRow

_G = t.session_groups.c


def min_run_us(policy: Policy, limit_s: int | None) -> int:
    """The microseconds that a session may run whatever is used up meanwhile."""
    return hold_span_s(policy, limit_s) * 1_000_000


def as_open(row: OpenRow, policy: Policy) -> Open:
    """An open session as the rules see it."""
    return Open(row.meter, row.size, min_run_us(policy, row.limit_s))


def days_of(windows: Iterable[Window]) -> dict[str, tuple[str, str]]:
    """The first and the last day of each, by kind of period."""
    return {of.period: of.days for of in windows}


# -- before a start -------------------------------------------------------------------------------


def held(
    tx: Tx,
    asks: Iterable[tuple[Ask, int, int | None]],
    config: catalog.Catalog,
    *,
    policy: Policy,
    now: datetime,
) -> Held:
    """What is taken of the limits per period that these asks fall under.

    Each ask comes with the id of its person and that of the wallet that pays, if one does.
    """
    limits, calendar = config.limits, config.calendar(policy.timezone)
    if not any(x.per_period for x in limits):
        return Held(now)
    scopes: dict[tuple, set[str]] = {}
    longest = 0
    for ask, person_id, wallet_id in asks:
        mine = [x for x in limits if x.applies(ask.person.name, ask.groups, wallet_id, ask.profile)]
        longest = max(longest, min_run_us(policy, session_limit_s(mine)))
        for limit in mine:
            if limit.per_period:
                scopes.setdefault(limit.scope(person_id), set()).add(limit.period)
    if not scopes:
        return Held(now)
    until = now + timedelta(microseconds=longest)
    windows = {
        period: rules.windows(calendar, period, now, until)
        for period in sorted(set().union(*scopes.values()))
    }
    use = period_use.read(tx, scopes, days_of(w[0] for w in windows.values()))
    lead_us = policy.warn_lead_s * 1_000_000
    taken = {}
    for scope, kinds in scopes.items():
        running = [as_open(row, policy) for row in use.open.get(scope, ())]
        for of in (w for period in kinds for w in windows[period]):
            ended = use.used(scope, of.period) if of.begins_at <= now else rules.NOTHING
            sums = (rules.taken(x, of, now, lead_us) for x in running)
            taken[scope, of.label] = sum(sums, rules.Taken(ended))
    return Held(now, windows, taken)


# -- while sessions run ---------------------------------------------------------------------------


def endings(
    tx: Tx, rows: Iterable, *, policy: Policy, calendar: Calendar, now: datetime
) -> dict[str, Ending]:
    """When limits per period end these sessions, if nothing changes; only those that they end.

    A row has ``id``, ``person_id``, ``wallet_id`` and ``profile``.
    """
    limits = catalog.limits(tx, PER_PERIOD)
    rows = list(rows)
    if not limits or not rows:
        return {}
    names = {i: p.name for i, p in people.by_ids(tx, {r.person_id for r in rows}).items()}
    groups = _groups(tx, limits, [r.id for r in rows])
    bound = [
        (row, limit, limit.scope(row.person_id))
        for row in rows
        for limit in limits
        if limit.applies(names[row.person_id], groups.get(row.id, ()), row.wallet_id, row.profile)
    ]
    windows = {x.period: rules.window(calendar, x.period, now) for x in limits}
    use = period_use.read(tx, {scope for *_, scope in bound}, days_of(windows.values()))
    opened: dict[tuple, dict[str, Open]] = {}
    over: dict[tuple, datetime | None] = {}
    found: dict[str, list[Ending]] = {}
    for row, limit, scope in bound:
        of = windows[limit.period]
        if scope not in opened:
            here = (as_open(x, policy) for x in use.open.get(scope, ()))
            opened[scope] = {x.meter.session_id: x for x in here}
        mine = opened[scope].get(row.id)
        if mine is None:
            continue
        if (limit.id, scope) not in over:
            ended, all_open = use.used(scope, of.period), list(opened[scope].values())
            over[limit.id, scope] = rules.over_at(limit, ended, all_open, of, now)
        ends = rules.ending(limit, over[limit.id, scope], mine, of)
        if ends is not None:
            found.setdefault(row.id, []).append(ends)
    return {session_id: rules.soonest(ends) for session_id, ends in found.items()}


def _groups(tx: Tx, limits: Iterable[Limit], ids: Collection[str]) -> dict[str, set[str]]:
    """The groups of sessions, as far as limits name them."""
    named, found = {x.group for x in limits if x.group}, {}
    if named:
        query = sa.select(_G.session_id, _G.group_name).where(
            _G.session_id.in_(list(ids)), _G.group_name.in_(sorted(named))
        )
        for r in tx.execute(query):
            found.setdefault(r.session_id, set()).add(r.group_name)
    return found
