"""Days, weeks and months: where each begins, whatever the clocks do (rule 2)."""

import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jhub_usage.domain.errors import BadInput
from jhub_usage.domain.periods import (
    DAY,
    MONTH,
    PERIODS,
    WEEK,
    Calendar,
    first_day,
    label_of_day,
    next_label,
)

HOUR, MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)
#: Zones of the continents, which follow what clocks in the street do.
ZONES = sorted(z for z in available_timezones() if "/" in z and not z.startswith(("Etc", "posix")))


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("story", "zone", "period", "label", "begins", "ends"),
    [
        ("a day in UTC", "UTC", DAY, "2026-11-20", "2026-11-20", "2026-11-21"),
        ("Taipei is 8 hours ahead", "Asia/Taipei", DAY, "2026-11-20", "2026-11-19T16",
         "2026-11-20T16"),
        ("a day of 23 hours", "Europe/Berlin", DAY, "2026-03-29", "2026-03-28T23", "2026-03-29T22"),
        ("and one of 25", "Europe/Berlin", DAY, "2026-10-25", "2026-10-24T22", "2026-10-25T23"),
        ("midnight does not exist: the day begins at the skip", "America/Sao_Paulo", DAY,
         "2018-11-04", "2018-11-04T03", "2018-11-05T02"),
        ("nor in Beirut", "Asia/Beirut", DAY, "2026-03-29", "2026-03-28T22", "2026-03-29T21"),
        ("midnight comes twice: the first one counts", "America/Havana", DAY, "2026-11-01",
         "2026-11-01T04", "2026-11-02T05"),
        ("clocks fall back into the day before", "America/Asuncion", DAY, "2024-03-24",
         "2024-03-24T04", "2024-03-25T04"),
        ("half an hour of change", "Australia/Lord_Howe", DAY, "2026-04-05", "2026-04-04T13",
         "2026-04-05T13:30"),
        ("quarters of an hour", "Asia/Kathmandu", DAY, "2026-01-01", "2025-12-31T18:15",
         "2026-01-01T18:15"),
        ("a whole day is skipped: it lasts no time", "Pacific/Apia", DAY, "2011-12-30",
         "2011-12-30T10", "2011-12-30T10"),
        ("the day before is whole", "Pacific/Apia", DAY, "2011-12-29", "2011-12-29T10",
         "2011-12-30T10"),
        ("so is the one after", "Pacific/Apia", DAY, "2011-12-31", "2011-12-30T10",
         "2011-12-31T10"),
        ("weeks begin on Monday", "UTC", WEEK, "2026-W47", "2026-11-16", "2026-11-23"),
        ("over a change of clocks", "Europe/Berlin", WEEK, "2026-W13", "2026-03-22T23",
         "2026-03-29T22"),
        ("and over new year", "UTC", WEEK, "2026-W53", "2026-12-28", "2027-01-04"),
        ("a year may begin in the last week of the one before", "UTC", WEEK, "2027-W01",
         "2027-01-04", "2027-01-11"),
        ("a month", "UTC", MONTH, "2026-11", "2026-11-01", "2026-12-01"),
        ("ahead of UTC it begins in the one before", "Pacific/Kiritimati", MONTH, "2026-11",
         "2026-10-31T10", "2026-11-30T10"),
        ("behind it ends in the one after", "Pacific/Niue", MONTH, "2026-11", "2026-11-01T11",
         "2026-12-01T11"),
        ("with a leap day", "Asia/Taipei", MONTH, "2028-02", "2028-01-31T16", "2028-02-29T16"),
        ("with a change of clocks", "America/New_York", MONTH, "2026-03", "2026-03-01T05",
         "2026-04-01T04"),
        ("a month that is a day short", "Pacific/Apia", MONTH, "2011-12", "2011-12-01T10",
         "2011-12-31T10"),
    ],
)  # fmt: skip
def test_where_a_period_begins_and_ends(story, zone, period, label, begins, ends):
    calendar = Calendar.of(zone)
    begins, ends = at(begins), at(ends)
    assert calendar.begins(period, label) == begins, story
    assert calendar.ends(period, label) == ends, story
    assert calendar.label(period, ends) != label
    if begins < ends:
        assert calendar.label(period, begins) == label
        assert calendar.label(period, ends - MICROSECOND) == label
        assert calendar.label(period, begins - MICROSECOND) != label
        assert calendar.next_boundary(period, begins)[1] == ends
        assert calendar.last_boundary(period, begins) == begins
        assert calendar.last_boundary(period, ends - MICROSECOND) == begins


def test_a_skipped_day_begins_and_ends_at_one_boundary():
    """Apia went from Thursday to Saturday; its Friday has a grant of its own."""
    calendar = Calendar.of("Pacific/Apia")
    skip = at("2011-12-30T10")
    found = list(calendar.boundaries(DAY, skip - 36 * HOUR, skip + 36 * HOUR))
    assert found == [
        ("2011-12-29", skip - 24 * HOUR),
        ("2011-12-30", skip),
        ("2011-12-31", skip),
        ("2012-01-01", skip + 24 * HOUR),
    ]
    assert calendar.label(DAY, skip) == "2011-12-31"
    days = [day for day, _, _ in calendar.cuts(skip - 36 * HOUR, skip + 36 * HOUR)]
    assert days == ["2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01"]


def test_midnight_twice_is_one_boundary():
    """In Havana clocks go back from one to midnight: the second one begins nothing."""
    calendar = Calendar.of("America/Havana")
    first = at("2026-11-01T04")
    assert [x for x, _ in calendar.boundaries(DAY, first - HOUR, first + 3 * HOUR)] == [
        "2026-11-01"
    ]
    # an hour after it began the street says midnight again, and it is the same day
    assert calendar.label(DAY, first + HOUR) == "2026-11-01"


def test_a_day_does_not_begin_again_where_clocks_fall_back_over_midnight():
    """St John's went back to 23:01 of the day before a minute after midnight."""
    calendar = Calendar.of("America/St_Johns")
    midnight = at("2006-10-29T02:30")
    assert calendar.begins(DAY, "2006-10-29") == midnight
    street = (midnight + 10 * timedelta(minutes=1)).astimezone(ZoneInfo("America/St_Johns"))
    assert street.date() == date(2006, 10, 28)
    assert calendar.label(DAY, midnight + 10 * timedelta(minutes=1)) == "2006-10-29"


@pytest.mark.parametrize(
    ("period", "label", "then"),
    [
        (DAY, "2026-12-31", "2027-01-01"),
        (DAY, "2028-02-28", "2028-02-29"),
        (WEEK, "2026-W53", "2027-W01"),
        (WEEK, "2027-W52", "2028-W01"),
        (MONTH, "2026-12", "2027-01"),
        (MONTH, "2027-01", "2027-02"),
    ],
)
def test_labels_follow_each_other(period, label, then):
    assert next_label(period, label) == then


@pytest.mark.parametrize(
    ("period", "label"),
    [
        (DAY, "2026-02-30"), (DAY, "2026-1-1"), (DAY, "20261120"), (DAY, "2026-W47"), (DAY, ""),
        (WEEK, "2026-W54"), (WEEK, "2027-W53"), (WEEK, "2026-W7"), (WEEK, "2026W47"),
        (WEEK, "2026-11-16"), (MONTH, "2026-13"), (MONTH, "2026-1"), (MONTH, "202611"),
        (MONTH, "2026-11-01"), ("year", "2026"), ("", "2026-11"),
    ],
)  # fmt: skip
def test_a_label_that_is_none(period, label):
    with pytest.raises(BadInput):
        first_day(period, label)


def test_a_naive_instant_has_no_day():
    with pytest.raises(BadInput):
        Calendar.of("UTC").label(DAY, datetime(2026, 11, 20))


# -- a change of the zone -------------------------------------------------------------------------


def test_a_change_of_zone_waits_for_the_next_month():
    """Announced boundaries stay: the rest of November has the old midnights."""
    before = Calendar.of("UTC")
    after = before.with_zone("Asia/Taipei", at("2026-11-20T09"))
    assert after.zones == (("", "UTC"), ("2026-12", "Asia/Taipei"))
    for label in ("2026-11-20", "2026-11-30", "2026-12-01"):
        assert after.begins(DAY, label) == before.begins(DAY, label)
    assert after.begins(MONTH, "2026-12") == at("2026-12-01")
    # the first of December is eight hours short, and from then on Taipei's midnights count
    assert after.begins(DAY, "2026-12-02") == at("2026-12-01T16")
    assert after.begins(MONTH, "2027-01") == at("2026-12-31T16")
    assert after.zone_at(at("2026-11-30T23:59")) == "UTC"
    assert after.zone_at(at("2026-12-01")) == "Asia/Taipei"


def test_a_zone_that_is_taken_back_before_it_came():
    calendar = Calendar.of("UTC").with_zone("Asia/Taipei", at("2026-11-20"))
    assert calendar.with_zone("UTC", at("2026-11-21")) == Calendar.of("UTC")
    assert calendar.with_zone("Asia/Taipei", at("2026-11-21")) == calendar
    other = calendar.with_zone("Europe/Berlin", at("2026-11-21"))
    assert other.zones == (("", "UTC"), ("2026-12", "Europe/Berlin"))


def test_the_month_in_which_it_is_changed_is_that_of_the_zone_in_force():
    """Taipei has December already, eight hours before UTC has."""
    late = at("2026-11-30T20")
    assert Calendar.of("Asia/Taipei").with_zone("UTC", late).zones[-1] == ("2027-01", "UTC")
    assert Calendar.of("UTC").with_zone("Asia/Taipei", late).zones[-1] == ("2026-12", "Asia/Taipei")


@pytest.mark.parametrize(
    ("behind", "ahead", "first"),
    [
        ("Pacific/Pago_Pago", "Pacific/Kiritimati", "2026-12-01T11"),
        ("Etc/GMT+12", "Pacific/Tongatapu", "2026-12-01T12"),
    ],
)
def test_a_zone_more_than_a_day_ahead_begins_its_second_day_not_before_its_first(
    behind, ahead, first
):
    """The other side of the date line: the second of December would begin before the first."""
    calendar = Calendar.of(behind).with_zone(ahead, at("2026-11-20"))
    first = at(first)
    assert calendar.begins(MONTH, "2026-12") == calendar.begins(DAY, "2026-12-01") == first
    assert calendar.ends(DAY, "2026-12-01") == first
    assert calendar.label(DAY, first - MICROSECOND) == "2026-11-30"
    assert calendar.label(DAY, first) == "2026-12-02"
    assert calendar.label(MONTH, first - MICROSECOND) == "2026-11"
    assert calendar.last_boundary(MONTH, first - MICROSECOND) < first


def test_a_zone_that_is_none():
    with pytest.raises(BadInput):
        Calendar.of("UTC").with_zone("Mars/Olympus", at("2026-11-20"))


# -- for any zone and any instant -----------------------------------------------------------------

INSTANTS = st.datetimes(
    datetime(1995, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)
)  # fmt: skip
CALENDARS = st.builds(
    lambda first, second, when: Calendar.of(first).with_zone(second, when),
    st.sampled_from(ZONES), st.sampled_from(ZONES), INSTANTS,
)  # fmt: skip


@given(CALENDARS, INSTANTS, st.sampled_from(PERIODS))
@settings(max_examples=300, deadline=None)
def test_each_label_begins_once_and_after_the_one_before(calendar, since, period):
    """Labels are never skipped, never come twice and never go back, by any clock."""
    span = {DAY: 40, WEEK: 120, MONTH: 200}[period] * 24 * HOUR
    found = list(calendar.boundaries(period, since, since + span))
    labels = [calendar.label(period, since), *(label for label, _ in found)]
    assert labels == sorted(set(labels))
    assert all(b == next_label(period, a) for a, b in pairwise(labels))
    instants = [instant for _, instant in found]
    assert instants == sorted(instants)
    assert all(since < x <= since + span for x in instants)
    for label, instant in found:
        assert calendar.begins(period, label) == instant
        # every instant lies in the label that began last, even where two begin at once
        last = max(x for x, other in found if other == instant)
        assert calendar.label(period, instant) == last
        assert calendar.label(period, instant - MICROSECOND) < label


@given(CALENDARS, INSTANTS, st.integers(0, 100 * 86_400_000_000))
@settings(deadline=None)
def test_days_cut_a_window_into_parts_that_are_the_whole(calendar, since, us):
    until = since + us * MICROSECOND
    parts = list(calendar.cuts(since, until))
    edges = [since, *(end for _, _, end in parts)]
    assert [begin for _, begin, _ in parts] == edges[:-1]
    assert edges[-1] == until
    assert all(begin < end for _, begin, end in parts)
    for day, begin, end in parts:
        assert calendar.label(DAY, begin) == calendar.label(DAY, end - MICROSECOND) == day


@given(st.sampled_from(ZONES), INSTANTS)
@settings(max_examples=200, deadline=None)
def test_a_day_begins_when_the_street_first_shows_it(zone, since):
    """Against a look at the clock in the street every minute of a day."""
    calendar, street, minute = Calendar.of(zone), ZoneInfo(zone), timedelta(minutes=1)
    since = since.replace(second=0, microsecond=0)
    day = since.astimezone(street).date()
    if calendar.label(DAY, since) != day.isoformat():
        return  # the street has gone back over midnight
    looks = (since + n * minute for n in range(27 * 60))
    shown = next(x for x in looks if x.astimezone(street).date() > day)
    then = shown.astimezone(street).date()
    assert calendar.begins(DAY, then.isoformat()) == shown
    # a day that the street never shows begins where it is skipped
    assert calendar.ends(DAY, day.isoformat()) == shown


@given(INSTANTS, st.sampled_from(PERIODS))
@settings(deadline=None)
def test_labels_say_what_the_day_is(instant, period):
    day = instant.date()
    label = label_of_day(period, day)
    assert Calendar.of("UTC").label(period, instant) == label
    assert first_day(period, label) <= day < first_day(period, next_label(period, label))


def test_boundaries_of_all_zones_over_years():
    """Every zone of the world over a run of years: no label is lost, none comes twice."""
    some = random.Random(7).sample(ZONES, 60)
    for zone in [*some, "Pacific/Apia", "Pacific/Kwajalein", "America/Nuuk", "Antarctica/Troll"]:
        calendar = Calendar.of(zone)
        labels = [x for x, _ in calendar.boundaries(DAY, at("2009-12-31T12"), at("2013-12-31T12"))]
        assert len(labels) == len(set(labels)) in (1460, 1461, 1462), zone
