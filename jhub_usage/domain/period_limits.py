"""Limits per period: what is taken of them, whether a start still fits, whom they end (rule 21).

Used is what happened within the period, by the clock: of ended sessions what was counted, of open
ones what they used by now. Besides, an open session takes what is left of its minimum run, so that
starts at the same time see each other. Exact: thousandths times microseconds, and micro-credits.
Does not see the database; who falls under which limit is said by ``Limit.scope``.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from fractions import Fraction

from .ahead import first_time
from .instants import after, span_text
from .limits import Breach, Limit, unit_text, value_text, whom_text
from .periods import DAY, MONTH, Calendar, first_day, next_label
from .sessions import Meter
from .usage import NOTHING, Size, Used, used

#: How many of what is reckoned are one of the limit's own unit.
FINE = {"gpu_hours": 1_000_000, "core_hours": 1_000_000, "credits": 1}


@dataclass(frozen=True)
class Window:
    """One period: ``[begins_at, ends_at)``, and where the midnight is that ends it."""

    period: str
    label: str
    begins_at: datetime
    ends_at: datetime
    zone: str = "UTC"

    @property
    def first_day(self) -> date:
        return first_day(self.period, self.label)

    @property
    def next_day(self) -> date:
        """The day on which the next one begins."""
        return first_day(self.period, next_label(self.period, self.label))

    @property
    def days(self) -> tuple[str, str]:
        """Its first and its last day."""
        last = date.fromordinal(self.next_day.toordinal() - 1)
        return self.first_day.isoformat(), last.isoformat()

    def text(self) -> str:
        """For people: ``in November 2026``."""
        if self.period == MONTH:
            return f"in {self.first_day:%B %Y}"
        if self.period == DAY:
            return f"on {self.label}"
        return f"in the week from {self.first_day.isoformat()}"


def window(calendar: Calendar, period: str, at: datetime) -> Window:
    """The period that an instant lies in."""
    return _window(calendar, period, calendar.label(period, at))


def _window(calendar: Calendar, period: str, label: str) -> Window:
    begins_at, ends_at = calendar.begins(period, label), calendar.ends(period, label)
    return Window(period, label, begins_at, ends_at, calendar.zone_at(after(ends_at, -1)))


def windows(calendar: Calendar, period: str, at: datetime, until: datetime) -> tuple[Window, ...]:
    """The period of ``at`` and those that begin before ``until``."""
    found = [window(calendar, period, at)]
    while found[-1].ends_at < until:
        found.append(_window(calendar, period, next_label(period, found[-1].label)))
    return tuple(found)


@dataclass(frozen=True)
class Open:
    """An open session, and the microseconds that it may run whatever is used up meanwhile."""

    meter: Meter
    size: Size
    min_run_us: int


@dataclass(frozen=True)
class Taken:
    """What is used of a limit, and what is set aside besides."""

    used: Used = NOTHING
    aside: Used = NOTHING

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(self.used + other.used, self.aside + other.aside)


def fine(resource: str, spent: Used) -> int:
    """What counts of usage against a limit on a resource."""
    if resource == "gpu_hours":
        return spent.gpu_us
    return spent.cpu_us if resource == "core_hours" else spent.cost_micro


def coarse(resource: str, amount: int) -> int:
    """The same in the limit's own unit, rounded up."""
    return -(-amount // FINE[resource])


def cap(limit: Limit) -> int:
    """The amount of a limit, as finely as it is reckoned."""
    return limit.amount * FINE[limit.resource]


def draws(resource: str, held: Open, *, running: bool = False) -> bool:
    """Whether a session takes anything of this resource; while it runs, the start is paid."""
    if resource == "gpu_hours":
        return held.size.gpu_milli > 0
    if resource == "core_hours":
        return held.size.cpu_milli > 0
    fee = 0 if running else held.meter.fee_micro
    return held.meter.billed and held.meter.per_hour_micro + fee > 0


# -- before a start -------------------------------------------------------------------------------


def taken(held: Open, of: Window, now: datetime, lead_us: int = 0) -> Taken:
    """What a session takes of a period as admission sees it.

    A start that is not known yet counts from its admission (rule 13). A session beyond its minimum
    run has ``lead_us`` set aside, so that another start does not end it at once (rule 15).
    """
    meter = held.meter
    if meter.billed_from_at is None:
        if meter.expired(now):
            return Taken()
        meter = replace(meter, billed_from_at=meter.admitted_at)
    sure = after(meter.billed_from_at, held.min_run_us)
    if sure <= now:
        sure = after(now, lead_us)
    if meter.limit_at is not None:
        sure = min(sure, meter.limit_at)
    by_now = min(now, of.ends_at)
    spent = used(meter, held.size, of.begins_at, by_now)
    in_all = used(meter, held.size, of.begins_at, max(by_now, min(sure, of.ends_at)))
    return Taken(spent, in_all + -spent)


@dataclass(frozen=True)
class Held:
    """What is taken of limits at one instant, by (scope, label of the period)."""

    at: datetime
    #: By the kind of period: the current one and what minimum runs reach into.
    windows: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)
    taken: Mapping[tuple, Taken] = field(default_factory=dict)


@dataclass(frozen=True)
class PeriodBreach(Breach):
    """A limit per period that a start would break: the period, and what is set aside for others."""

    aside: int
    of: Window
    asked_us: int

    @property
    def room(self) -> Fraction:
        return Fraction(self.limit.amount - self.used - self.aside, self.asked)


def breaches(limits: Iterable[Limit], held: Held, new: Open, person_id: int) -> list[PeriodBreach]:
    """Limits per period that a session would break by its minimum run alone.

    That may reach into the next period: it must fit into both.
    """
    found = []
    for limit in limits:
        if not limit.per_period or not draws(limit.resource, new):
            continue
        for of in held.windows.get(limit.period, ()):
            own = taken(new, of, held.at)
            need = fine(limit.resource, own.used + own.aside)
            if not need and of.begins_at > held.at:
                continue
            need = max(need, 1)  # where nothing is left, nothing starts
            have = held.taken[limit.scope(person_id), of.label]
            spent, aside = (fine(limit.resource, x) for x in (have.used, have.aside))
            if spent + aside + need > cap(limit):
                spent, need, aside = (coarse(limit.resource, x) for x in (spent, need, aside))
                found.append(PeriodBreach(limit, spent, need, aside, of, new.min_run_us))
    return found


def counted(limits: Iterable[Limit], held: Held, new: Open, person_id: int) -> Held:
    """The same with a session that was let in: the next ask of the transaction sees it."""
    if not held.windows:
        return held
    scopes = {x.scope(person_id) for x in limits if x.per_period}
    every = {of.label: of for windows_of in held.windows.values() for of in windows_of}
    more = {
        (scope, label): there + taken(new, every[label], held.at)
        for (scope, label), there in held.taken.items()
        if scope in scopes
    }
    return replace(held, taken={**held.taken, **more}) if more else held


def refusal_text(breach: PeriodBreach, wallet: str = "") -> str:
    """Why a limit per period refuses, for people."""
    limit, of = breach.limit, breach.of
    used_text, aside_text, asked_text, cap_value = (
        value_text(limit.resource, n)
        for n in (breach.used, breach.aside, breach.asked, limit.amount)
    )
    parts = [f"{used_text} are used {of.text()}"]
    if breach.aside:
        parts.append(f"{aside_text} are set aside for servers that run")
    if breach.asked_us:
        first = span_text(breach.asked_us)
        parts.append(f"the first {first} of this server need {asked_text} more")
    else:
        parts.append("nothing is left")
    return (
        f"The limit for {whom_text(limit, wallet)} is {cap_value} {unit_text(limit)}; "
        f"{', '.join(parts[:-1])} and {parts[-1]}. {begins_anew_text(of)} Until then, choose a "
        "smaller profile or ask "
        + ("the wallet's manager." if limit.wallet_id is not None else "an administrator.")
    )


def begins_anew_text(of: Window) -> str:
    """For people: when the count is at nothing again."""
    return f"It begins anew on {of.next_day.isoformat()} (00:00 {of.zone})."


# -- while sessions run ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Ending:
    """When a limit per period ends a session, if nothing changes."""

    at: datetime
    limit: Limit
    of: Window


def claimed(held: Open, of: Window, at: datetime, now: datetime) -> Used:
    """What a session has taken of a period by ``at``, as stopping sees it.

    At least its minimum run; a start that is not known yet takes that and no more.
    """
    meter = held.meter
    if meter.billed_from_at is None:
        if meter.expired(at):
            return NOTHING
        meter, at = replace(meter, billed_from_at=now), now
    until = max(at, after(meter.billed_from_at, held.min_run_us))
    if meter.limit_at is not None:
        until = min(until, meter.limit_at)
    return used(meter, held.size, of.begins_at, min(until, of.ends_at))


def over_at(
    limit: Limit, ended: Used, running: Sequence[Open], of: Window, now: datetime
) -> datetime | None:
    """The first instant from now on, within the period, at which more than the cap is taken."""
    room = cap(limit) - fine(limit.resource, ended)
    counted = [x for x in running if draws(limit.resource, x)]

    def over(us: int) -> bool:
        at = after(now, us)
        return room < sum(fine(limit.resource, claimed(x, of, at, now)) for x in counted)

    return first_time(over, now, of.ends_at, [x.meter for x in counted])


def ending(limit: Limit, over: datetime | None, held: Open, of: Window) -> Ending | None:
    """When the limit ends this session, whose minimum run it leaves alone; None if it does not."""
    meter = held.meter
    if (
        over is None
        or meter.billed_from_at is None
        or not draws(limit.resource, held, running=True)
    ):
        return None
    at = max(over, after(meter.billed_from_at, held.min_run_us))
    return None if at >= of.ends_at else Ending(at, limit, of)


def soonest(endings: Collection[Ending]) -> Ending | None:
    """The one that comes first; of several at once the oldest limit's."""
    return min(endings, key=lambda e: (e.at, e.limit.id), default=None)


def shown(
    limit: Limit, ended: Used, running: Sequence[Open], of: Window, now: datetime
) -> tuple[int, int]:
    """(used, set aside) of a limit by now, in its own unit."""
    spent, claims = ended, ended
    for held in running:
        spent += used(held.meter, held.size, of.begins_at, min(now, of.ends_at))
        claims += claimed(held, of, now, now)
    have, in_all = fine(limit.resource, spent), fine(limit.resource, claims)
    return coarse(limit.resource, have), coarse(limit.resource, max(0, in_all - have))
