"""Counting what ended sessions used, per day: for limits per period and for charts (rule 27).

Open sessions are not in here; whoever sums adds them from their rows. So nothing is written while
a session runs, and everything can be counted anew from the sessions.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import sqlalchemy as sa

from ..domain.admission import Policy
from ..domain.audit import Actor
from ..domain.periods import Calendar
from ..domain.sessions import ENDED
from ..domain.usage import NOTHING, per_day
from ..store import audit, periods, sessions, usage
from ..store import tables as t
from ..store.engine import Tx

_S, _G = t.sessions_.c, t.session_groups.c
PAGE = 2000

Sums = tuple[Mapping[tuple, tuple], Mapping[tuple, tuple]]


def closed(tx: Tx, row, *, policy: Policy, before=None) -> None:
    """Count a session that ended; ``before`` is its row as it was counted, if it was."""
    periods.closed_through(tx)  # whoever counts everything anew waits for us, or we for them
    calendar = periods.calendar(tx, policy.timezone)
    groups = list(tx.execute(sa.select(_G.group_name).where(_G.session_id == row.id)).scalars())
    counters, rollups = _empty(), _empty()
    for part, sign in ((before, -1), (row, 1)):
        if part is not None and part.billed_until_at is not None:
            _count(part, groups, calendar, sign, counters, rollups)
    changed = [{k: v for k, v in sums.items() if v != NOTHING} for sums in (counters, rollups)]
    usage.add(tx, *changed)


def _empty() -> dict:
    return defaultdict(lambda: NOTHING)


def _count(row, groups: Iterable[str], calendar: Calendar, sign: int, counters, rollups) -> None:
    size, wallet_id = usage.size(row), row.wallet_id or 0
    for day, spent in per_day(sessions.meter(row), size, row.billed_until_at, calendar):
        spent = spent if sign > 0 else -spent
        counters[(day, row.person_id, wallet_id, "")] += spent
        for group in groups:
            counters[(day, row.person_id, 0, group)] += spent
        key = (day, row.hub_id, row.person_id, wallet_id, row.profile, row.gpu_model, row.node)
        rollups[key] += spent


def recount(tx: Tx, calendar: Calendar) -> Sums:
    """Counters and rollups as the sessions say, from scratch: the numbers per key."""
    counters, rollups = _recount(tx, calendar)
    return (
        {k: tuple(getattr(v, n) for n in usage.COUNTED) for k, v in counters.items()},
        {k: v.values() for k, v in rollups.items()},
    )


def stored(tx: Tx) -> Sums:
    """Counters and rollups as they are."""
    return usage.all_counters(tx), usage.all_rollups(tx)


def compared(tx: Tx, timezone: str = "UTC") -> Iterator[tuple[str, int, list[str]]]:
    """Counters and rollups against the sessions: (invariant, how many, what differs).

    A row of nothing is as good as none.
    """
    counted = recount(tx, periods.calendar(tx, timezone))
    for name, want, have in zip(("usage.counters", "usage.rollups"), counted, stored(tx),
                                strict=True):  # fmt: skip
        differ = []
        for key in sorted(want.keys() | have.keys(), key=str):
            said, held = want.get(key, ()), have.get(key, ())
            if any(said) != any(held) or (any(said) and said != held):
                differ.append(f"{' '.join(map(str, key))}: {held}, sessions say {said}")
        yield name, len(want), differ


def _recount(tx: Tx, calendar: Calendar) -> tuple[dict, dict]:
    counters, rollups, last = _empty(), _empty(), ""
    while True:
        rows = list(
            tx.execute(
                sa.select(t.sessions_)
                .where(_S.state == ENDED, _S.id > last)
                .order_by(_S.id)
                .limit(PAGE)
            )
        )
        if not rows:
            return counters, rollups
        groups = defaultdict(list)
        ids = _G.session_id.between(rows[0].id, rows[-1].id)
        for g in tx.execute(sa.select(_G.session_id, _G.group_name).where(ids)):
            groups[g.session_id].append(g.group_name)
        for row in rows:
            _count(row, groups[row.id], calendar, 1, counters, rollups)
        last = rows[-1].id


def rebuild(tx: Tx, *, policy: Policy, actor: Actor) -> tuple[int, int]:
    """Count everything anew: rows of counters and of rollups. Changes no answer.

    Holds the books alone, so that no session ends meanwhile.
    """
    calendar = periods.calendar(tx, policy.timezone)
    counters, rollups = _count_anew(tx, calendar)
    audit.write(
        tx, "rollup.rebuilt", "rollup", "all", actor=actor, now=tx.now(),
        after={"counters": len(counters), "rollups": len(rollups)},
    )  # fmt: skip
    return len(counters), len(rollups)


def _count_anew(tx: Tx, calendar: Calendar) -> tuple[dict, dict]:
    periods.closed_through(tx, alone=True)
    counters, rollups = _recount(tx, calendar)
    tx.execute(t.use_days.delete())
    tx.execute(t.rollup_days.delete())
    usage.add(tx, counters, rollups)
    return counters, rollups


def first_count(tx: Tx, calendar: Calendar) -> None:
    """Count what there is when the tables are new."""
    _count_anew(tx, calendar)
