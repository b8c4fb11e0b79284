"""What of limits per period is used, as pages, the API and the shell show it. Read only.

A person sees the limits that bind them, also those that a group or a wallet has together: what is
used of those is what their own starts are refused by.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from ..domain import period_limits as rules
from ..domain.admission import Policy
from ..domain.limits import EACH, PER_PERIOD, Limit
from ..domain.period_limits import Window
from ..store import catalog, people, period_use, periods
from ..store.engine import Tx
from .period_limits import as_open, days_of


@dataclass(frozen=True)
class LimitUse:
    """What of a limit is used by ``at``, and set aside for what runs, in the limit's own unit."""

    limit: Limit
    #: Whose use it is, where each person has their own; else empty.
    person: str
    used: int
    aside: int
    of: Window
    at: datetime


def mine(
    tx: Tx,
    person_id: int | None,
    name: str,
    groups: Collection[str],
    wallet_ids: Collection[int],
    *,
    policy: Policy,
) -> list[LimitUse]:
    """Of the limits that bind a person who spends from these wallets; their own use of each."""
    binding = [
        (x, person_id or 0)
        for x in catalog.limits(tx, PER_PERIOD)
        if (x.wallet_id is None or x.wallet_id in wallet_ids)
        and x.applies(name, groups, x.wallet_id, "")
    ]
    return _uses(tx, binding, policy)


def of_wallet(tx: Tx, wallet_id: int, *, policy: Policy, hub_id: str) -> list[LimitUse]:
    """Of the limits within a wallet; where each person has one, of everybody who used some."""
    within = [x for x in catalog.limits(tx, PER_PERIOD) if x.wallet_id == wallet_id]
    return _uses(tx, _whose(tx, within, hub_id), policy)


def of_all(tx: Tx, *, policy: Policy, hub_id: str) -> list[LimitUse]:
    """Of every limit that is not for each person alone."""
    single = [x for x in catalog.limits(tx, PER_PERIOD) if not x.each and x.person != EACH]
    return _uses(tx, _whose(tx, single, hub_id), policy)


def _whose(tx: Tx, limits: Iterable[Limit], hub_id: str) -> list[tuple[Limit, int | str]]:
    """Each limit with the id of the person whom it names: 0 for nobody, ``*`` for each."""
    found: list[tuple[Limit, int | str]] = []
    for limit in limits:
        who = people.by_name(tx, hub_id, limit.person) if limit.person not in ("", EACH) else None
        found.append((limit, EACH if limit.person == EACH else who.id if who else 0))
    return found


def _uses(tx: Tx, wanted: list[tuple[Limit, int | str]], policy: Policy) -> list[LimitUse]:
    if not wanted:
        return []
    calendar, now = periods.calendar(tx, policy.timezone), tx.now()
    windows = {x.period: rules.window(calendar, x.period, now) for x, _ in wanted}
    scopes = {x.scope(who) for x, who in wanted}
    use = period_use.read(tx, scopes, days_of(windows.values()))
    there = {*use.open, *(scope for scope, _ in use.ended)}
    each = {s for s in there if s[0] == "wallet_person" and (*s[:-1], EACH) in scopes}
    names = {i: p.name for i, p in people.by_ids(tx, {s[-1] for s in each}).items()}
    found = []
    for limit, who in wanted:
        of = windows[limit.period]
        whose = [("", limit.scope(who))]
        if who == EACH:
            mine = [s for s in each if s[:-1] == limit.scope(who)[:-1]]
            whose = sorted((names[s[-1]], s) for s in mine)
        for name, scope in whose:
            ended = use.used(scope, of.period)
            running = [as_open(row, policy) for row in use.open.get(scope, ())]
            used, aside = rules.shown(limit, ended, running, of, now)
            if used or aside or who != EACH:
                found.append(LimitUse(limit, name, used, aside, of, now))
    return found
