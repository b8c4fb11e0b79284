"""Trying limits on starts that were: whom would they have refused? By the rules of admission.

Start after start, with what had been let in and not refused before it: sessions at once, and what
was used and set aside of each period. Pure; what people would have done otherwise is not guessed,
and hours per session refuse nobody.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from . import limits as limits_
from . import period_limits
from .instants import after
from .limits import AT_ONCE, PER_PERIOD, Breach, Limit
from .period_limits import Held, Taken, Window
from .periods import Calendar
from .trial import LET_IN, Past
from .usage import NOTHING, Used, used


def refused(
    starts: Iterable[Past],
    limits: Sequence[Limit],
    begin: datetime,
    calendar: Calendar,
    lead_us: int = 0,
) -> list[tuple[Past, Breach]]:
    """Whose starts these limits, in force from ``begin`` on, would have refused, in order.

    With the strictest limit of each. A start that would have been refused uses nothing afterwards.
    ``starts`` go back to where the first period begins (``since``); ``lead_us`` is set aside for
    sessions beyond their minimum run.
    """
    then = _Then([x for x in limits if x.resource in AT_ONCE + PER_PERIOD], calendar, lead_us)
    found = []
    for start in sorted(starts, key=lambda s: (s.decided_at, s.session_id)):
        if start.decision not in LET_IN:
            continue
        breach = then.breach(start) if start.decided_at >= begin else None
        if breach is not None:
            found.append((start, breach))
        else:
            then.running.append(start)
    return found


def since(limits: Iterable[Limit], calendar: Calendar, begin: datetime) -> datetime:
    """From when on starts are to be known: where the longest period begins that ``begin`` is in."""
    kinds = {x.period for x in limits if x.per_period}
    return min([begin, *(calendar.last_boundary(kind, begin) for kind in kinds)])


@dataclass
class _Then:
    """What ran, and what was used of each period, as time goes on."""

    limits: Sequence[Limit]
    calendar: Calendar
    lead_us: int
    running: list[Past] = field(default_factory=list)
    #: By (scope, label of the period): what sessions used that are over.
    ended: dict[tuple, Used] = field(default_factory=lambda: defaultdict(lambda: NOTHING))

    def breach(self, start: Past) -> Breach | None:
        self._let_end(start.decided_at)
        applying = [x for x in self.limits if _applies(x, start)]
        use = {x.scope(start.person_id): self._at_once(x, start) for x in applying}
        per_period = []
        if start.run is not None and any(x.per_period for x in applying):
            held = self._held(start, applying)
            new = replace(start.run, meter=_as_asked(start))
            per_period = period_limits.breaches(applying, held, new, start.person_id)
        return limits_.strictest_breach(applying, use, start.shape, start.person_id, per_period)

    def _let_end(self, at: datetime) -> None:
        over = [r for r in self.running if r.over_at is not None and r.over_at <= at]
        if not over:
            return
        self.running = [r for r in self.running if r.over_at is None or r.over_at > at]
        for start in over:
            for scope, of in self._periods_of(start):
                run = start.run
                spent = used(run.meter, run.size, of.begins_at, of.ends_at)
                self.ended[scope, of.label] += spent

    def _periods_of(self, start: Past) -> Iterator[tuple[tuple, Window]]:
        """The scopes that a session counts in, and the periods that it reached into."""
        if start.run is None or start.run.meter.billed_from_at is None:
            return
        mine = {
            (x.scope(start.person_id), x.period)
            for x in self.limits
            if x.per_period and _applies(x, start)
        }
        begin = start.run.meter.billed_from_at
        until = max(start.run.meter.billed_until_at or start.over_at, after(begin, 1))
        for scope, period in mine:
            for of in period_limits.windows(self.calendar, period, begin, until):
                yield scope, of

    def _counted(self, limit: Limit, start: Past) -> list[Past]:
        """What runs in the limit's scope when a start comes; a start that nothing met does not."""
        scope = limit.scope(start.person_id)
        return [
            r
            for r in self.running
            if _applies(limit, r)
            and limit.scope(r.person_id) == scope
            and not (r.run and _as_known(r, start.decided_at).expired(start.decided_at))
        ]

    def _at_once(self, limit: Limit, start: Past) -> Mapping[str, int]:
        shapes = [r.shape for r in self._counted(limit, start)]
        return {name: sum(limits_.asked(name, shape) for shape in shapes) for name in AT_ONCE}

    def _held(self, start: Past, applying: Iterable[Limit]) -> Held:
        """What was taken of the periods that a start reaches into, as was known when it came."""
        at, windows, taken = start.decided_at, {}, {}
        for limit in applying:
            if not limit.per_period:
                continue
            if limit.period not in windows:
                until = after(at, start.run.min_run_us)
                windows[limit.period] = period_limits.windows(
                    self.calendar, limit.period, at, until
                )
            scope = limit.scope(start.person_id)
            running = [
                replace(r.run, meter=_as_known(r, at))
                for r in self._counted(limit, start)
                if r.run is not None
            ]
            for of in windows[limit.period]:
                mine = (period_limits.taken(x, of, at, self.lead_us) for x in running)
                ended = self.ended.get((scope, of.label), NOTHING)
                taken[scope, of.label] = sum(mine, Taken(ended))
        return Held(at, windows, taken)


def _applies(limit: Limit, start: Past) -> bool:
    return limit.applies(start.person, start.groups, start.wallet_id, start.profile)


def _as_asked(start: Past):
    """The meter of a start as it was when it was asked for."""
    return replace(
        start.run.meter, admitted_at=start.decided_at, billed_from_at=None, billed_until_at=None,
        pays_until_at=None, settled_until=None, charged_micro=0,
    )  # fmt: skip


def _as_known(start: Past, at: datetime):
    """The meter of a session that runs at an instant: what lies ahead is not known yet."""
    meter = start.run.meter
    if meter.billed_from_at is None or meter.billed_from_at > at:
        return _as_asked(start)
    if meter.billed_until_at is not None and meter.billed_until_at > at:
        meter = replace(meter, billed_until_at=None)
    return meter
