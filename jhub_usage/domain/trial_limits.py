"""Trying limits on starts that were: whom would they have refused? By the rules of admission.

Start after start, with what had been let in and not refused before it: sessions at once, and what
was used and set aside of each period. Pure; what people would have done otherwise is not guessed,
and hours per session refuse nobody.
"""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from . import limits as limits_
from . import period_limits
from .instants import HOUR_US, after, elapsed_us
from .limits import AT_ONCE, PER_PERIOD, Breach, Limit
from .period_limits import Held, Open, Taken, Window
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
            then.let_in(start)
    return found


def since(limits: Iterable[Limit], calendar: Calendar, begin: datetime) -> datetime:
    """From when on starts are to be known: where the longest period begins that ``begin`` is in."""
    kinds = {x.period for x in limits if x.per_period}
    return min([begin, *(calendar.last_boundary(kind, begin) for kind in kinds)])


@dataclass
class _Scope:
    """What runs in the scope of one limit: sessions whose start was seen, and those before it."""

    started: dict[str, Past] = field(default_factory=dict)
    asked: dict[str, Past] = field(default_factory=dict)
    #: What those that started take of a limit at once.
    at_once: int = 0


@dataclass
class _Most:
    """What can be taken of one period at most as time goes on, without looking at what runs.

    In the units of ``period_limits.fine``, times an hour: a price is per hour.
    """

    at: datetime
    most: int
    #: What a microsecond may add.
    rate: int

    def by(self, now: datetime) -> int:
        return self.most + self.rate * elapsed_us(self.at, now)

    def add(self, rate: int, lasts_us: int, once: int, now: datetime) -> None:
        """One more runs from now on: by its rate, and what it may take all at once."""
        self.most, self.at = self.by(now), now
        self.most += rate * lasts_us + once
        self.rate += rate


@dataclass
class _Then:
    """What ran, and what was used of each period, as time goes on."""

    limits: Sequence[Limit]
    calendar: Calendar
    lead_us: int
    #: By (place of the limit, its scope).
    scopes: dict[tuple, _Scope] = field(default_factory=lambda: defaultdict(_Scope))
    #: By (scope, label of the period): what sessions used that are over.
    ended: dict[tuple, Used] = field(default_factory=lambda: defaultdict(lambda: NOTHING))
    #: What comes next of those let in, as (instant, order, what, start).
    coming: list[tuple[datetime, int, str, Past]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)
    #: By (place of the limit, its scope, label of the period).
    most: dict[tuple, _Most] = field(default_factory=dict)

    def let_in(self, start: Past) -> None:
        """It counts from now on: until it was met, then until it is over."""
        for place, limit in self._applying(start):
            scope = limit.scope(start.person_id)
            self.scopes[place, scope].asked[start.session_id] = start
            if limit.per_period and start.run is not None:
                self._may_take(place, limit, scope, start)
        begun = start.run and start.run.meter.billed_from_at
        if begun is not None:
            self._expect(begun, "started", start)
        if start.over_at is not None:
            self._expect(start.over_at, "over", start)

    def _may_take(self, place: int, limit: Limit, scope: tuple, start: Past) -> None:
        """Add a start to what may be taken; of periods that nobody asked about that is not kept."""
        at, until = start.decided_at, after(start.decided_at, start.run.min_run_us)
        for of in period_limits.windows(self.calendar, limit.period, at, until):
            held = self.most.get((place, scope, of.label))
            if held is not None:
                held.add(*_may_add(limit.resource, start.run, self.lead_us), at)

    def _fits(self, place: int, limit: Limit, start: Past, new: Open) -> bool:
        """Whether a start fits whatever became of what runs: then nothing need be summed up."""
        at, scope = start.decided_at, limit.scope(start.person_id)
        until = after(at, start.run.min_run_us)
        for of in period_limits.windows(self.calendar, limit.period, at, until):
            held = self.most.get((place, scope, of.label))
            if held is None:
                return False
            own = period_limits.taken(new, of, at)
            need = max(1, period_limits.fine(limit.resource, own.used + own.aside))
            if held.by(at) + need * HOUR_US > period_limits.cap(limit) * HOUR_US:
                return False
        return True

    def _expect(self, at: datetime, what: str, start: Past) -> None:
        heapq.heappush(self.coming, (at, next(self._order), what, start))

    def breach(self, start: Past) -> Breach | None:
        self._go_on(start.decided_at)
        applying = self._applying(start)
        use: dict[tuple, dict[str, int]] = {}
        for place, limit in applying:
            if not limit.per_period:
                scope = limit.scope(start.person_id)
                use.setdefault(scope, {})[limit.resource] = self._at_once(place, limit, start)
        per_period = []
        if start.run is not None:
            new = replace(start.run, meter=_as_asked(start))
            near = [
                (place, x)
                for place, x in applying
                if x.per_period and not self._fits(place, x, start, new)
            ]
            held = self._held(start, near)
            per_period = period_limits.breaches([x for _, x in near], held, new, start.person_id)
        return limits_.strictest_breach(
            [x for _, x in applying], use, start.shape, start.person_id, per_period
        )

    def _applying(self, start: Past) -> list[tuple[int, Limit]]:
        return [(n, x) for n, x in enumerate(self.limits) if _applies(x, start)]

    def _go_on(self, at: datetime) -> None:
        """Sessions begin and end, up to an instant."""
        while self.coming and self.coming[0][0] <= at:
            _, _, what, start = heapq.heappop(self.coming)
            for place, limit in self._applying(start):
                here = self.scopes[place, limit.scope(start.person_id)]
                asks = 0 if limit.per_period else limits_.asked(limit.resource, start.shape)
                if what == "started":
                    if here.asked.pop(start.session_id, None) is not None:
                        here.started[start.session_id] = start
                        here.at_once += asks
                elif here.started.pop(start.session_id, None) is not None:
                    here.at_once -= asks
                else:
                    here.asked.pop(start.session_id, None)
            if what == "over":
                for scope, of in self._periods_of(start):
                    run = start.run
                    spent = used(run.meter, run.size, of.begins_at, of.ends_at)
                    self.ended[scope, of.label] += spent

    def _periods_of(self, start: Past) -> Iterator[tuple[tuple, Window]]:
        """The scopes that a session counts in, and the periods that it reached into."""
        if start.run is None or start.run.meter.billed_from_at is None:
            return
        mine = {
            (x.scope(start.person_id), x.period) for _, x in self._applying(start) if x.per_period
        }
        begin = start.run.meter.billed_from_at
        until = max(start.run.meter.billed_until_at or start.over_at, after(begin, 1))
        for scope, period in mine:
            for of in period_limits.windows(self.calendar, period, begin, until):
                yield scope, of

    def _before_their_start(self, here: _Scope, at: datetime) -> list[Past]:
        """Those that nobody met yet; one that nobody will meet any more is forgotten."""
        counted = []
        for session_id, start in list(here.asked.items()):
            if not (start.run and _as_asked(start).expired(at)):
                counted.append(start)
            elif start.run.meter.billed_from_at is None:
                del here.asked[session_id]
        return counted

    def _at_once(self, place: int, limit: Limit, start: Past) -> int:
        """What is in use in the limit's scope when a start comes."""
        here = self.scopes[place, limit.scope(start.person_id)]
        waiting = self._before_their_start(here, start.decided_at)
        return here.at_once + sum(limits_.asked(limit.resource, r.shape) for r in waiting)

    def _held(self, start: Past, applying: Iterable[tuple[int, Limit]]) -> Held:
        """What was taken of the periods that a start reaches into, as was known when it came.

        ``applying`` are limits per period.
        """
        at, windows, taken = start.decided_at, {}, {}
        for place, limit in applying:
            if limit.period not in windows:
                until = after(at, start.run.min_run_us)
                windows[limit.period] = period_limits.windows(
                    self.calendar, limit.period, at, until
                )
            scope = limit.scope(start.person_id)
            here = self.scopes[place, scope]
            counted = (*here.started.values(), *self._before_their_start(here, at))
            running = [replace(r.run, meter=_as_known(r, at)) for r in counted if r.run is not None]
            for of in windows[limit.period]:
                mine = (period_limits.taken(x, of, at, self.lead_us) for x in running)
                ended = self.ended.get((scope, of.label), NOTHING)
                total = taken[scope, of.label] = sum(mine, Taken(ended))
                most = period_limits.fine(limit.resource, total.used + total.aside)
                self.most[place, scope, of.label] = held = _Most(at, most * HOUR_US, 0)
                for r in (*here.started.values(), *here.asked.values()):
                    if r.run is not None:
                        held.add(*_may_add(limit.resource, r.run, self.lead_us), at)
        return Held(at, windows, taken)


def _may_add(resource: str, run: Open, lead_us: int) -> tuple[int, int, int]:
    """(per microsecond, microseconds besides those that pass, once) of ``_Most``, generously.

    Besides: its minimum run, which a later start moves into a period, and the lead after it. Once:
    the fee, and what rounding hides.
    """
    if resource == "credits":
        rate = run.meter.per_hour_micro
    else:
        rate = (run.size.gpu_milli if resource == "gpu_hours" else run.size.cpu_milli) * HOUR_US
    return rate, run.min_run_us + lead_us, (run.meter.fee_micro + 2) * HOUR_US


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
