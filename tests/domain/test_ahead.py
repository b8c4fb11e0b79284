"""Looking ahead over boundaries: dry instants, what expires next, starts near one (rules 14, 15).

Here 4 credits an hour run, and a day has 24 of them: 96 credits.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jhub_usage.domain.advance import advance
from jhub_usage.domain.ahead import BOUNDARIES, Outlook, dry_at, least_available, outlook
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.instants import HOUR_US
from jhub_usage.domain.periods import PERIODS, Calendar
from jhub_usage.domain.sessions import Meter
from jhub_usage.domain.wallets import Wallet, available

NOW = datetime(2026, 11, 20, 18, tzinfo=UTC)
DAYS, HOUR, MICROSECOND = Calendar.of("UTC"), timedelta(hours=1), timedelta(microseconds=1)
#: A micro-credit at 4 credits an hour.
TICK = timedelta(microseconds=900)
M = 1_000_000


def at(text):
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


def wallet(balance, left=0, allowance=None, overdraft=0):
    overdraft = overdraft if overdraft is None else overdraft * M
    return Wallet(1, "lab", balance * M, overdraft, None, False, allowance, left * M, NOW)


def allowance(amount, period="day", cap=0):
    return Allowance(amount * M, period, cap if cap is None else cap * M)


def running(since=NOW, per_hour=4, hold=0, id="s", **more):
    return Meter(id, per_hour * M, 0, hold * M, 0, since, since + 7 * HOUR / 60,
                 billed_from_at=since, **more)  # fmt: skip


def starting(hold, since=NOW, id="a"):
    return Meter(id, 4 * M, 0, hold * M, 0, since, since + timedelta(minutes=7))


@pytest.mark.parametrize(
    ("story", "held", "meters", "dry"),
    [
        ("without an allowance: 5 hours of money", wallet(20), [running()],
         NOW + 5 * HOUR + TICK),
        ("with one that comes too late", wallet(20, 20, allowance(96)), [running()],
         NOW + 5 * HOUR + TICK),
        ("a day of money, then half a day each day", wallet(24, 24, allowance(48)), [running()],
         at("11-21T12") + TICK),
        ("enough for every day", wallet(24, 24, allowance(96)), [running()], None),
        ("a micro-credit a day too little is owed at the boundary, and missing a day later",
         wallet(24, 24, Allowance(96 * M - 1, "day")), [running()], at("11-23") - TICK),
        ("what is carried helps for a while", wallet(24, 24, allowance(72, cap=None)),
         [running()], at("11-21T18") + TICK),
        ("permanent credit pays what is missing, day by day", wallet(72, 24, allowance(72)),
         [running()], at("11-23T18") + TICK),
        ("what expires was all there was", wallet(90, 90, allowance(1)), [running()],
         at("11-21T00:15") + TICK),
        ("a boundary may make it dry at once", wallet(90, 90, Allowance(0, "day")),
         [replace(starting(hold=1), sighted=True)], at("11-21")),
        ("zero is not dry", wallet(90, 90, Allowance(0, "day")), [], None),
        ("a debt that the next boundary repays is one now", wallet(-1, 0, allowance(96)), [], NOW),
        ("the overdraft of a debtor", wallet(-20, 0, allowance(24), overdraft=60), [running()],
         at("11-21T10") + TICK),
        ("two of them", wallet(48, 48, allowance(96)), [running(), running(id="b")],
         at("11-21T12") + TICK),
        ("one whose limit comes first", wallet(24, 24, allowance(48)),
         [running(limit_at=at("11-21T12"))], None),
        ("and one whose limit comes later", wallet(24, 24, allowance(48)),
         [running(limit_at=at("11-21T12:01"))], at("11-21T12") + TICK),
        ("a pod that is stuck costs no more", wallet(24, 24, allowance(48)),
         [running(pays_until_at=at("11-21T12"))], None),
        ("a start that never came frees its hold", wallet(24, 24, allowance(48)),
         [starting(hold=4), running()], at("11-21T12") + TICK),
        ("one month, then weeks of nothing", wallet(96, 0, allowance(0, "month")), [running()],
         NOW + 24 * HOUR + TICK),
        ("246 hours of November and all of December are paid", wallet(984, 984,
         allowance(2976, "month")), [running(limit_at=at("12-31T12"))], None),
    ],
)  # fmt: skip
def test_dry_over_boundaries(story, held, meters, dry):
    assert dry_at(held, meters, NOW, DAYS) == dry, story


def test_a_month_that_is_just_enough_and_one_that_is_not():
    """31 days are 2976 credits; who owes one at new year has one less in January."""
    enough = wallet(984, 984, allowance(2976, "month"))
    assert dry_at(enough, [running()], NOW, DAYS) is None
    short = replace(enough, allowance=allowance(2975, "month"))
    assert dry_at(short, [running()], NOW, DAYS) == at("12-31T23:45") + TICK
    owing = replace(enough, allowance=Allowance(2976 * M - 1, "month"))
    assert dry_at(owing, [running()], NOW, DAYS) == at("12-31") + 32 * 24 * HOUR - TICK


def test_longer_days_need_more():
    """A day of 25 hours is one credit an hour short."""
    berlin = Calendar.of("Europe/Berlin")
    autumn = at("10-24T12")
    held = replace(wallet(60, 60, allowance(96)), advanced_until=autumn)
    meters = [running(autumn)]
    assert dry_at(held, meters, autumn, berlin) == at("10-25T22") + TICK
    ends = replace(meters[0], limit_at=at("10-25T20"))
    assert dry_at(held, [ends], autumn, berlin) is None


def test_without_a_calendar_no_allowance_is_looked_at():
    held = wallet(24, 24, allowance(96))
    assert dry_at(held, [running()], NOW) == NOW + 6 * HOUR + TICK
    assert dry_at(held, [running()], NOW, DAYS) is None


def test_record_only_wallets_never_run_dry():
    assert dry_at(wallet(-9, 0, allowance(1), overdraft=None), [running()], NOW, DAYS) is None


def test_two_months_of_days_are_looked_over():
    """Who runs dry on the 100th day is told in time, not now."""
    held = wallet(24 + BOUNDARIES + 10, 24, allowance(95))
    assert dry_at(held, [running()], NOW, DAYS) is None
    sooner = replace(held, balance_micro=held.balance_micro - 20 * M)
    assert dry_at(sooner, [running()], NOW, DAYS) is not None


@pytest.mark.parametrize(
    ("story", "held", "meters", "then"),
    [
        ("no allowance", wallet(20), [running()], None),
        ("unused", wallet(20, 20, allowance(30)), [], Outlook(20 * M, at("11-21"), 30 * M, 20 * M)),
        (
            "carried",
            wallet(20, 20, allowance(30, cap=None)),
            [],
            Outlook(20 * M, at("11-21"), 30 * M, 0),
        ),
        (
            "up to a cap",
            wallet(20, 20, allowance(30, cap=5)),
            [],
            Outlook(20 * M, at("11-21"), 30 * M, 15 * M),
        ),
        (
            "what runs has used a part",
            wallet(20, 20, allowance(30)),
            [running(NOW - 2 * HOUR)],
            Outlook(12 * M, at("11-21"), 30 * M, 12 * M),
        ),
        (
            "and more than there was",
            wallet(20, 4, allowance(30)),
            [running(NOW - 2 * HOUR)],
            Outlook(0, at("11-21"), 30 * M, 0),
        ),
        (
            "permanent credit does not expire",
            wallet(90, 20, allowance(30)),
            [],
            Outlook(20 * M, at("11-21"), 30 * M, 20 * M),
        ),
        (
            "a week",
            wallet(20, 20, allowance(30, "week")),
            [],
            Outlook(20 * M, at("11-23"), 30 * M, 20 * M),
        ),
    ],
)
def test_what_the_next_boundary_brings(story, held, meters, then):
    assert outlook(held, meters, NOW, DAYS) == then, story


# -- a start near a boundary ----------------------------------------------------------------------

NIGHT = at("11-20T23:50")


@pytest.mark.parametrize(
    ("story", "held", "meters", "span", "then"),
    [
        ("no allowance", wallet(20), [], 15, None),
        ("no boundary in the hold's window", wallet(20, 20, allowance(1)), [], 9, None),
        ("10 minutes are charged, the rest expires, the hold goes on",
         wallet(20, 20, Allowance(0, "day")), [], 15, (at("11-21"), -333_334, 0)),
        ("the next day pays for the rest", wallet(20, 20, allowance(1)), [], 15,
         (at("11-21"), 666_666, 0)),
        ("at the very end of the window", wallet(20, 20, Allowance(0, "day")), [], 10,
         (at("11-21"), -333_334, 0)),
        ("no limit: never too little", wallet(20, 20, allowance(1), overdraft=None), [], 15, None),
        ("a running server needs its lead", wallet(20, 20, allowance(1)),
         [running(NIGHT - HOUR, hold=1)], 15, (at("11-21"), 666_666, 666_666)),
        ("one whose start is not known yet counts from its admission",
         wallet(20, 20, allowance(1)), [starting(hold=1, since=NIGHT - timedelta(minutes=6))], 15,
         (at("11-21"), 666_666, 666_666)),
        ("one that never came does not count",
         wallet(20, 20, allowance(1)), [starting(hold=1, since=NIGHT - HOUR)], 15,
         (at("11-21"), 666_666, 0)),
    ],
)  # fmt: skip
def test_a_start_must_pass_at_each_boundary_of_its_window(story, held, meters, span, then):
    new = starting(hold=1, since=NIGHT, id="new")
    found = least_available(held, meters, new, NIGHT, timedelta(minutes=span), 600, DAYS)
    assert found == then, story


def test_the_worst_of_several_boundaries():
    """A hold of three days: the last night is the one that is too short of money."""
    new = replace(starting(hold=288, since=NIGHT, id="new"))
    held = wallet(400, 200, allowance(50))
    span = timedelta(days=3)
    found = least_available(held, [], new, NIGHT, span, 600, DAYS)
    each = [
        available(a.wallet, a.meters, day)
        for day in (at("11-21"), at("11-22"), at("11-23"))
        for a in [advance(held, [replace(new, billed_from_at=NIGHT)], day, DAYS)]
    ]
    assert found[:2] == min(zip((at("11-21"), at("11-22"), at("11-23")), each, strict=True),
                            key=lambda x: x[1])  # fmt: skip


# -- for any wallet -------------------------------------------------------------------------------

MINUTES = st.integers(0, 4 * 1440)
METERS = st.lists(
    st.builds(
        lambda n, per_hour, fee, hold, since, state, deadline, limit, stuck: Meter(
            f"s{n}", per_hour, fee, hold, 0, NOW - timedelta(minutes=since),
            NOW + timedelta(minutes=deadline),
            billed_from_at=NOW - timedelta(minutes=since) if state == "running" else None,
            sighted=state == "sighted",
            limit_at=NOW + timedelta(minutes=limit) if limit and state == "running" else None,
            pays_until_at=NOW + timedelta(minutes=stuck) if stuck and state == "running" else None,
        ),
        st.integers(0, 9), st.sampled_from([0, 1, 700, 4 * M, 40 * M, HOUR_US]), st.integers(0, M),
        st.integers(0, 5 * M), st.integers(0, 300),
        st.sampled_from(["running"] * 3 + ["sighted", ""]),
        st.integers(-5, 3000), st.none() | MINUTES, st.none() | MINUTES,
    ),
    max_size=3, unique_by=lambda m: m.session_id,
)  # fmt: skip
WALLETS = st.builds(
    lambda balance, left, made, overdraft: Wallet(
        1, "w", balance, overdraft, None, False, made, max(0, min(left, balance)), NOW
    ),
    st.integers(-M, 400 * M), st.integers(0, 400 * M),
    st.builds(Allowance, st.integers(0, 200 * M), st.sampled_from(PERIODS),
              st.none() | st.sampled_from([0, 0, M, 150 * M])),
    st.sampled_from([0, 0, 5 * M]),
)  # fmt: skip
ZONES = st.sampled_from(["UTC", "Asia/Taipei", "America/Havana"]).map(Calendar.of)


def free(held, meters, calendar, when):
    """What is available then: everything due is booked, limits end what they end."""
    capped = [
        m if m.limit_at is None
        else replace(m, pays_until_at=min(m.limit_at, m.pays_until_at or m.limit_at))
        for m in meters
    ]  # fmt: skip
    ahead = advance(held, capped, when, calendar)
    return available(ahead.wallet, ahead.meters, when)


@given(WALLETS, METERS, ZONES, st.lists(MINUTES, max_size=8))
@settings(max_examples=300, deadline=None)
def test_dry_is_exact_to_the_microsecond(held, meters, calendar, looks):
    """Dry then, not a microsecond before, and at no other instant before either."""
    # at the first look somebody has booked what the meters say
    began = advance(held, meters, NOW, calendar)
    held, meters = began.wallet, list(began.meters)
    dry = dry_at(held, meters, NOW, calendar)
    until = dry or NOW + timedelta(days=9)
    if dry is not None:
        assert free(held, meters, calendar, dry) < 0
        if dry > NOW:
            assert free(held, meters, calendar, dry - MICROSECOND) >= 0
    marks = [x for _, x in calendar.boundaries("day", NOW, min(until, NOW + timedelta(days=9)))]
    marks += [m.start_deadline_at for m in meters] + [m.limit_at for m in meters if m.limit_at]
    marks += [NOW + timedelta(minutes=x) for x in looks]
    for mark in marks:
        for when in (mark - MICROSECOND, mark, mark + MICROSECOND):
            if NOW <= when < until:
                assert free(held, meters, calendar, when) >= 0, when


@given(WALLETS, METERS, ZONES, st.integers(0, 70 * 24))
@settings(max_examples=200, deadline=None)
def test_what_is_said_to_be_far_away_is(held, meters, calendar, hours):
    """No dry instant is in sight: none within the boundaries that are looked over."""
    began = advance(held, meters, NOW, calendar)
    held, meters = began.wallet, list(began.meters)
    if dry_at(held, meters, NOW, calendar) is None:
        when = NOW + hours * HOUR
        seen = list(calendar.boundaries(held.allowance.period, NOW, when))
        if len(seen) <= BOUNDARIES - 1:
            assert free(held, meters, calendar, when) >= 0
