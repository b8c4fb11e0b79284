"""Instants are UTC and aware; windows are half-open; elapsed time is counted in microseconds.

Zone arithmetic converts to UTC first: aware minus aware within one zone is wrong across a
change of clocks. Nothing here reads a clock.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .errors import BadInput

HOUR_US = 3_600_000_000
SECOND_US = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def require_utc(at: datetime, *, what: str = "time") -> datetime:
    """An aware instant, in UTC. A naive one is an error: nobody can tell what it meant."""
    if not isinstance(at, datetime):
        raise BadInput(f"The {what} must be an instant, not {at!r}.")
    if at.tzinfo is None or at.utcoffset() is None:
        raise BadInput(f"The {what} {at.isoformat()} has no time zone: write it like +00:00 or Z.")
    return at.astimezone(UTC)


def parse_instant(text: str, *, what: str = "time") -> datetime:
    """ISO 8601 with an offset -> UTC. Raises BadInput for naive or unreadable text."""
    try:
        at = datetime.fromisoformat(str(text).strip())
    except ValueError:
        raise BadInput(
            f"The {what} {str(text)[:40]!r} is not an ISO time like 2026-11-20T09:30:00Z."
        ) from None
    return require_utc(at, what=what)


def micros(delta: timedelta) -> int:
    """A span as whole microseconds, exactly."""
    return (delta.days * 86400 + delta.seconds) * SECOND_US + delta.microseconds


def elapsed_us(begin: datetime, end: datetime) -> int:
    """Microseconds from begin to end, never less than none."""
    return max(0, micros(end - begin))


def after(at: datetime, us: int) -> datetime:
    """The instant ``us`` microseconds after ``at``."""
    return at + timedelta(microseconds=us)


def to_micros(at: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return micros(require_utc(at) - EPOCH)


def from_micros(us: int) -> datetime:
    """The instant that many microseconds after 1970."""
    return EPOCH + timedelta(microseconds=us)


def iso(at: datetime | None) -> str | None:
    """UTC as ``2026-11-20T09:30:00.123456Z``; None stays None."""
    if at is None:
        return None
    return require_utc(at).isoformat().replace("+00:00", "Z")


def zone_of(name: str) -> ZoneInfo:
    """A zone by its IANA name, or BadInput."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput(
            f"There is no time zone {name[:60]!r}: use a name like Europe/Berlin."
        ) from None


def month_of(at: datetime, zone: str = "UTC") -> str:
    """The calendar month of an instant in a zone, as ``2026-11``."""
    return require_utc(at).astimezone(zone_of(zone)).strftime("%Y-%m")


def month_begin(month: str, zone: str = "UTC") -> datetime:
    """The instant at which a month begins in a zone, in UTC."""
    try:
        year, number = (int(part) for part in month.split("-"))
        local = datetime(year, number, 1, tzinfo=zone_of(zone))
    except ValueError:
        raise BadInput(f"{month[:20]!r} is not a month like 2026-11.") from None
    return local.astimezone(UTC)


def next_month(month: str) -> str:
    """``2026-12`` -> ``2027-01``."""
    year, number = (int(part) for part in month.split("-"))
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"


def span_text(us: int) -> str:
    """A span for people: ``2 d 3 h``, ``45 min``, ``12 s``."""
    seconds = max(0, us) // SECOND_US
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    if days >= 730:
        return f"{days // 365} years"
    if days >= 100:
        return f"{days} d"
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min"
    return f"{seconds} s"
