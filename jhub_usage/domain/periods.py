"""Days, weeks and months: where each begins, through changes of clocks and of the zone.

Periods are known by labels (``2026-11-20``, ``2026-W47``, ``2026-11``); each label begins exactly
once. A change of zone takes hold where the next month begins, so weeks and months stay whole days
and no boundary that was announced moves. Weeks begin on Monday. Reads no clock.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from .errors import BadInput
from .instants import require_utc, zone_of

DAY, WEEK, MONTH = "day", "week", "month"
PERIODS = (DAY, WEEK, MONTH)
_ONE = timedelta(days=1)


def _month_label(day: date) -> str:
    return f"{day.year:04d}-{day.month:02d}"


def _zone_name(zones: tuple[tuple[str, str], ...], month: str) -> str:
    name = zones[0][1]
    for first, zone in zones:
        if first > month:
            break
        name = zone
    return name


@functools.lru_cache(maxsize=8192)
def _begins(zones: tuple[tuple[str, str], ...], day: date) -> datetime:
    """Midnight of a day, by the zone in force on the day before: it is where that one ends.

    Where clocks skip midnight, it is the instant of the skip. A zone that is more than a day ahead
    of the one before would begin its second day before the first: that one lasts no time, then.
    """
    return max(_midnight(zones, day), _midnight(zones, day - _ONE))


def _midnight(zones: tuple[tuple[str, str], ...], day: date) -> datetime:
    zone = zone_of(_zone_name(zones, _month_label(day - _ONE)))
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


@functools.lru_cache(maxsize=8192)
def first_day(period: str, label: str) -> date:
    """The first day of a label, or BadInput."""
    require_period(period)
    try:
        if period == DAY:
            found = date.fromisoformat(label)
        elif period == WEEK:
            found = date.fromisoformat(f"{label}-1")
        else:
            found = date.fromisoformat(f"{label}-01")
        if label_of_day(period, found) == label:
            return found
    except ValueError:
        pass
    like = {DAY: "2026-11-20", WEEK: "2026-W47", MONTH: "2026-11"}[period]
    raise BadInput(f"{str(label)[:20]!r} is not a {period} like {like}.")


def label_of_day(period: str, day: date) -> str:
    """The label of the period that a day is in."""
    if period == DAY:
        return day.isoformat()
    if period == WEEK:
        year, week, _ = day.isocalendar()
        return f"{year:04d}-W{week:02d}"
    return _month_label(day)


@functools.lru_cache(maxsize=8192)
def next_label(period: str, label: str) -> str:
    """The label after this one."""
    day = first_day(period, label)
    if period == DAY:
        return (day + _ONE).isoformat()
    if period == WEEK:
        return label_of_day(WEEK, day + 7 * _ONE)
    return _month_label((day + 31 * _ONE).replace(day=1))


def require_period(period: str) -> str:
    """``day``, ``week`` or ``month``, or BadInput."""
    if period not in PERIODS:
        raise BadInput(f"A period is one of {', '.join(PERIODS)}, not {str(period)[:40]!r}.")
    return period


@dataclass(frozen=True)
class Calendar:
    """Which zone's midnights count, from which month on: ``((first month, zone), ...)``, sorted.

    The first zone counts for all time before it, too.
    """

    zones: tuple[tuple[str, str], ...] = (("", "UTC"),)

    @classmethod
    def of(cls, zone: str) -> "Calendar":
        """One zone for all time."""
        return cls((("", zone),))

    def day(self, at: datetime) -> date:
        """The day that an instant lies in."""
        at = require_utc(at)
        guess = at.astimezone(zone_of(_zone_name(self.zones, _month_label(at.date())))).date()
        while _begins(self.zones, guess) > at:
            guess -= _ONE
        while _begins(self.zones, guess + _ONE) <= at:
            guess += _ONE
        return guess

    def label(self, period: str, at: datetime) -> str:
        """The label of the period that an instant lies in."""
        return label_of_day(period, self.day(at))

    def begins(self, period: str, label: str) -> datetime:
        """The instant at which a label's period begins."""
        return _begins(self.zones, first_day(period, label))

    def ends(self, period: str, label: str) -> datetime:
        """The instant at which it ends, which is where the next one begins."""
        return self.begins(period, next_label(period, label))

    def next_boundary(self, period: str, after: datetime) -> tuple[str, datetime]:
        """The first boundary after an instant: (label that begins there, instant)."""
        label = next_label(period, self.label(period, after))
        return label, self.begins(period, label)

    def last_boundary(self, period: str, until: datetime) -> datetime:
        """The last boundary up to and including an instant."""
        return self.begins(period, self.label(period, until))

    def boundaries(
        self, period: str, after: datetime, until: datetime
    ) -> Iterator[tuple[str, datetime]]:
        """Every boundary in ``(after, until]``: (label that begins there, instant)."""
        label, at = self.next_boundary(period, after)
        while at <= until:
            yield label, at
            label = next_label(period, label)
            at = self.begins(period, label)

    def cuts(self, begin: datetime, end: datetime) -> Iterator[tuple[str, datetime, datetime]]:
        """A window cut at midnights: (day, begin, end) of each part that is not empty."""
        day = self.day(begin)
        while begin < end:
            until = min(_begins(self.zones, day + _ONE), end)
            if until > begin:
                yield day.isoformat(), begin, until
            begin, day = max(begin, until), day + _ONE

    def with_zone(self, zone: str, now: datetime) -> "Calendar":
        """The calendar after a change of the setting: from the next month on."""
        zone_of(zone)
        first = next_label(MONTH, self.label(MONTH, now))
        kept = tuple(z for z in self.zones if z[0] < first)
        if _zone_name(kept, first) == zone:
            return Calendar(kept)
        return Calendar((*kept, (first, zone)))

    def zone_at(self, at: datetime) -> str:
        """The zone whose midnights count at an instant."""
        return _zone_name(self.zones, self.label(MONTH, at))


UTC_CALENDAR = Calendar()
