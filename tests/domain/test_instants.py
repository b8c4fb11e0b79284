"""Instants are aware and UTC; spans are exact, also where a zone changes its clocks (rule 2)."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jhub_usage.domain import instants
from jhub_usage.domain.errors import BadInput
from jhub_usage.domain.instants import elapsed_us, iso, parse_instant, require_utc

BERLIN = ZoneInfo("Europe/Berlin")
ANY = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1))


def test_a_naive_instant_is_an_error():
    with pytest.raises(BadInput, match="no time zone"):
        require_utc(datetime(2026, 11, 20, 9))
    with pytest.raises(BadInput, match="no time zone"):
        parse_instant("2026-11-20T09:00:00")
    with pytest.raises(BadInput, match="must be an instant"):
        require_utc("2026-11-20")


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-20T09:30:00Z", "2026-11-20T09:30:00Z"),
        ("2026-11-20T09:30:00.123456+08:00", "2026-11-20T01:30:00.123456Z"),
        (" 2026-11-20 09:30:00-05:30 ", "2026-11-20T15:00:00Z"),
    ],
)
def test_an_offset_is_kept_as_the_instant_it_meant(text, utc):
    assert iso(parse_instant(text)) == utc


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "12", None])
def test_unreadable_times(text):
    with pytest.raises(BadInput):
        parse_instant(text)


@pytest.mark.parametrize(
    ("begin", "end", "hours"),
    [
        # clocks go forward at 01:00 UTC: from 1:30 to 3:30 on the wall is one hour
        (datetime(2026, 3, 29, 1, 30), datetime(2026, 3, 29, 3, 30), 1),
        # and back: from 1:30 to 3:30 on the wall are three
        (datetime(2026, 10, 25, 1, 30), datetime(2026, 10, 25, 3, 30), 3),
    ],
)  # fmt: skip
def test_zone_arithmetic_goes_through_utc(begin, end, hours):
    begin, end = begin.replace(tzinfo=BERLIN), end.replace(tzinfo=BERLIN)
    wrong = (end - begin).total_seconds() / 3600
    assert wrong == 2  # aware minus aware in one zone
    assert elapsed_us(require_utc(begin), require_utc(end)) == hours * instants.HOUR_US


def test_elapsed_is_never_less_than_none():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert elapsed_us(now, now - timedelta(seconds=5)) == 0


@given(ANY, st.integers(-14 * 60, 14 * 60))
def test_microseconds_since_1970_are_exact(at, offset_minutes):
    aware = at.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    if aware.astimezone(UTC) < instants.EPOCH:
        return
    assert instants.from_micros(instants.to_micros(aware)) == aware


@pytest.mark.parametrize(
    ("at", "zone", "month"),
    [
        (datetime(2026, 12, 31, 16, tzinfo=UTC), "UTC", "2026-12"),
        (datetime(2026, 12, 31, 16, tzinfo=UTC), "Asia/Taipei", "2027-01"),
        (datetime(2026, 12, 31, 15, 59, 59, 999999, tzinfo=UTC), "Asia/Taipei", "2026-12"),
    ],
)
def test_months_belong_to_a_zone(at, zone, month):
    assert instants.month_of(at, zone) == month


@given(st.integers(2000, 2100), st.integers(1, 12))
def test_months_follow_each_other_without_a_gap(year, month):
    name = f"{year:04d}-{month:02d}"
    after = instants.next_month(name)
    for zone in ("UTC", "Europe/Berlin", "Asia/Taipei"):
        end = instants.month_begin(after, zone)
        assert instants.month_of(end, zone) == after
        assert instants.month_of(end - timedelta(microseconds=1), zone) == name


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "UTC\0"])
def test_unknown_zones(zone):
    with pytest.raises(BadInput, match="time zone"):
        instants.zone_of(zone)


@pytest.mark.parametrize("month", ["2026", "2026-13", "November", "2026-11-01"])
def test_unknown_months(month):
    with pytest.raises(BadInput, match="month"):
        instants.month_begin(month)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (5400, "1 h 30 min"),
     (86400, "1 d"), (97200, "1 d 3 h"), (-5, "0 s")],
)  # fmt: skip
def test_spans_for_people(seconds, text):
    assert instants.span_text(seconds * 1_000_000) == text
