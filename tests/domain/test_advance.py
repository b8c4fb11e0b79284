"""What is due for a wallet, boundary by boundary (rules 3, 5, 8, 16, 17)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jhub_usage.domain.advance import FAR, Slice, Turn, advance, next_slice
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.periods import PERIODS, Calendar
from jhub_usage.domain.sessions import Meter
from jhub_usage.domain.wallets import Wallet, allowance_left, available

UTC_DAYS, TAIPEI = Calendar.of("UTC"), Calendar.of("Asia/Taipei")
HOUR, MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)
M = 1_000_000


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def wallet(balance=0, left=0, allowance=None, until="2026-11-20"):
    return Wallet(1, "lab", balance * M, 0, None, False, allowance, left * M, at(until))


def allowance(amount, period="day", cap=0):
    return Allowance(amount * M, period, cap if cap is None else cap * M)


def meter(begin, *, end=None, id="s", per_hour=1, fee=0, **more):
    """A session of one credit an hour."""
    begin = at(begin)
    end, charged = end and at(end), more.pop("charged", 0) * M
    return Meter(id, per_hour * M, fee * M, 0, charged, begin, begin + HOUR,
                 billed_from_at=begin, billed_until_at=end, **more)  # fmt: skip


def shown(ahead):
    """What is due, as people would tell it: (instant, what, credits)."""
    for due in ahead.due:
        if isinstance(due, Slice):
            yield due.at.strftime("%m-%dT%H"), due.session_id, -due.amount_micro / M
        else:
            yield due.at.strftime("%m-%dT%H"), due.label, due.net_micro / M


STORIES = {
    "nothing runs, no allowance": (
        wallet(5), [], "2027-02-01", [], (5, 0)),
    "an allowance that nobody uses": (
        wallet(8, 8, allowance(8)), [], "2026-12-24", [], (8, 8)),
    "one that is full": (
        wallet(12, 12, allowance(8, cap=4)), [], "2026-12-24", [], (12, 12)),
    "one that is carried in full": (
        wallet(8, 8, allowance(8, cap=None)), [], "2026-11-22T12",
        [("11-21T00", "2026-11-21", 8), ("11-22T00", "2026-11-22", 8)], (24, 24)),
    "a part was used": (
        wallet(3, 3, allowance(8)), [], "2026-11-22T12",
        [("11-21T00", "2026-11-21", 5)], (8, 8)),
    "it expires, and a smaller one comes": (
        wallet(9, 9, allowance(2)), [], "2026-11-21",
        [("11-21T00", "2026-11-21", -7)], (2, 2)),
    "a day before the boundary": (
        wallet(3, 3, allowance(8)), [], "2026-11-20T23:59:59.999999", [], (3, 3)),
    "a session over midnight: charged, then expired, then granted": (
        wallet(20, 8, allowance(8)), [meter("2026-11-20T20")], "2026-11-21T02",
        [("11-21T00", "s", -4), ("11-21T00", "2026-11-21", 4)], (20, 8)),
    "one that uses more than the day has": (
        wallet(10, 8, allowance(8)), [meter("2026-11-20T12")], "2026-11-22T01",
        [("11-21T00", "s", -12), ("11-21T00", "2026-11-21", 8), ("11-22T00", "s", -24),
         ("11-22T00", "2026-11-22", 8)], (-10, 0)),
    "two sessions at one boundary": (
        wallet(8, 8, allowance(8)), [meter("2026-11-20T20"), meter("2026-11-20T21", id="b")],
        "2026-11-21T01",
        [("11-21T00", "s", -4), ("11-21T00", "b", -3), ("11-21T00", "2026-11-21", 7)], (8, 8)),
    "a month end cuts where no allowance is": (
        wallet(99), [meter("2026-11-29T12")], "2026-12-01T05",
        [("12-01T00", "s", -36)], (63, 0)),
    "days are not cut where no allowance is": (
        wallet(99), [meter("2026-11-20T12")], "2026-11-29", [], (99, 0)),
    "each month end": (
        wallet(9000), [meter("2026-11-29")], "2027-02-01",
        [("12-01T00", "s", -48), ("01-01T00", "s", -744), ("02-01T00", "s", -744)], (7464, 0)),
    "an end that is known is charged up to it": (
        wallet(20, 8, allowance(8)), [meter("2026-11-20T20", end="2026-11-20T22:30")],
        "2026-11-20T23", [("11-20T22", "s", -2.5)], (17.5, 5.5)),
    "learnt late, before the boundary that came since": (
        wallet(20, 8, allowance(8)), [meter("2026-11-20T20", end="2026-11-20T23")],
        "2026-11-21T02", [("11-20T23", "s", -3), ("11-21T00", "2026-11-21", 3)], (20, 8)),
    "an end at the very boundary belongs to what ends there": (
        wallet(20, 8, allowance(8)), [meter("2026-11-20T20", end="2026-11-21")],
        "2026-11-21", [("11-21T00", "s", -4), ("11-21T00", "2026-11-21", 4)], (20, 8)),
    "the fee goes with the first slice": (
        wallet(20, 8, allowance(8)), [meter("2026-11-20T20", fee=1)], "2026-11-22",
        [("11-21T00", "s", -5), ("11-21T00", "2026-11-21", 5), ("11-22T00", "s", -24),
         ("11-22T00", "2026-11-22", 8)], (4, 4)),
    "one that begins at a boundary belongs to what begins there": (
        wallet(20, 8, allowance(8)), [meter("2026-11-21", end="2026-11-21T03", fee=1)],
        "2026-11-21T05", [("11-21T03", "s", -4)], (16, 4)),
    "and so does the fee of one that lasted no time": (
        wallet(20, 5, allowance(8)), [meter("2026-11-21", end="2026-11-21", fee=1)],
        "2026-11-21T05", [("11-21T00", "2026-11-21", 3), ("11-21T00", "s", -1)], (22, 7)),
    "one that lasted no time, within a day": (
        wallet(20, 8, allowance(8)), [meter("2026-11-20T09", end="2026-11-20T09", fee=1)],
        "2026-11-20T10", [("11-20T09", "s", -1)], (19, 7)),
    "what is settled already is not charged again": (
        wallet(20, 8, allowance(8)),
        [meter("2026-11-20T20", charged=2, settled_until=at("2026-11-20T22"))],
        "2026-11-21", [("11-21T00", "s", -2), ("11-21T00", "2026-11-21", 2)], (20, 8)),
    "what was corrected is not charged again": (
        wallet(20, 8, allowance(8)),
        [meter("2026-11-20T20", charged=0, settled_until=at("2026-11-20T22"))],
        "2026-11-21", [("11-21T00", "s", -2), ("11-21T00", "2026-11-21", 2)], (20, 8)),
    "a stuck pod costs nothing beyond its bound": (
        wallet(20, 8, allowance(8)), [meter("2026-11-20T20", pays_until_at=at("2026-11-20T21"))],
        "2026-11-22", [("11-20T21", "s", -1), ("11-21T00", "2026-11-21", 1)], (20, 8)),
    "what is not billed": (
        wallet(20, 8, allowance(8)), [meter("2026-11-20T20", billed=False)], "2026-11-22",
        [], (20, 8)),
    "what has no start": (
        wallet(20, 8, allowance(8)), [replace(meter("2026-11-20T20"), billed_from_at=None)],
        "2026-11-22", [], (20, 8)),
    "what costs nothing has no slices": (
        wallet(20, 8, allowance(8)), [meter("2026-11-20T20", per_hour=0)], "2026-11-22",
        [], (20, 8)),
    "but its fee is due": (
        wallet(20, 8, allowance(8)), [meter("2026-11-20T20", per_hour=0, fee=1)], "2026-11-23",
        [("11-21T00", "s", -1), ("11-21T00", "2026-11-21", 1)], (20, 8)),
    "a week": (
        wallet(3, 3, allowance(8, "week")), [], "2026-11-24",
        [("11-23T00", "2026-W48", 5)], (8, 8)),
    "a month": (
        wallet(3, 3, allowance(8, "month")), [meter("2026-11-30T23")], "2026-12-02",
        [("12-01T00", "s", -1), ("12-01T00", "2026-12", 6)], (8, 8)),
    "a week and the end of a month": (
        wallet(800, 800, allowance(800, "week")), [meter("2026-11-30")], "2026-12-07",
        [("12-01T00", "s", -24), ("12-07T00", "s", -144), ("12-07T00", "2026-W50", 168)],
        (800, 800)),
}  # fmt: skip


@pytest.mark.parametrize("story", STORIES)
def test_what_is_due(story):
    before, meters, now, due, after = STORIES[story]
    ahead = advance(before, meters, at(now), UTC_DAYS)
    assert list(shown(ahead)) == due
    held = (ahead.wallet.balance_micro / M, ahead.wallet.left_micro / M)
    assert held == after
    # asked again, nothing is due
    running = [m for m in ahead.meters if m.billed_until_at is None]
    assert advance(ahead.wallet, running, at(now), UTC_DAYS).due == ()


def test_boundaries_are_those_of_the_zone():
    ahead = advance(wallet(3, 3, allowance(8)), [], at("2026-11-20T16"), TAIPEI)
    assert list(shown(ahead)) == [("11-20T16", "2026-11-21", 5)]
    assert ahead.wallet.advanced_until == at("2026-11-20T16")


def test_a_skipped_day_has_its_grant():
    """Two periods begin at one instant in Apia; where everything is carried both count."""
    before = wallet(0, 0, allowance(8, cap=None), until="2011-12-29T12")
    ahead = advance(before, [], at("2011-12-30T12"), Calendar.of("Pacific/Apia"))
    assert list(shown(ahead)) == [("12-30T10", "2011-12-30", 8), ("12-30T10", "2011-12-31", 8)]


@pytest.mark.parametrize("period", PERIODS)
def test_looks_around_a_change_of_zone_over_the_date_line_lose_nothing(period):
    """Every half hour or once at the end: the same, though the new zone is 25 hours ahead."""
    calendar = Calendar.of("Pacific/Pago_Pago").with_zone("Pacific/Kiritimati", at("2026-11-20"))
    held, end = wallet(0, 0, allowance(1, period, None)), at("2026-12-09")
    late, found, now = advance(held, [], end, calendar), [], held.advanced_until
    while now < end:
        now += HOUR / 2
        ahead = advance(held, [], now, calendar)
        held, found = ahead.wallet, [*found, *ahead.due]
    assert tuple(found) == late.due and held == late.wallet
    assert len(found) == {"day": 20, "week": 3, "month": 1}[period]


def test_a_boundary_that_changes_nothing_is_past_all_the_same():
    """Or what is booked next would be taken for what was there before it."""
    ahead = advance(wallet(8, 8, allowance(8)), [], at("2026-11-25T12"), UTC_DAYS)
    assert not ahead.due
    assert ahead.wallet.advanced_until == at("2026-11-25")


def test_a_clock_that_goes_back_undoes_nothing():
    ahead = advance(wallet(3, 3, allowance(8)), [], at("2026-11-21T00:30"), UTC_DAYS)
    assert len(ahead.due) == 1
    again = advance(ahead.wallet, [], at("2026-11-20T23:30"), UTC_DAYS)
    assert again.due == ()
    assert again.wallet == ahead.wallet


def test_an_end_that_lies_behind_a_clock_that_went_back_is_charged():
    ended = meter("2026-11-20T20", end="2026-11-20T23")
    ahead = advance(wallet(20), [ended], at("2026-11-20T22"), UTC_DAYS)
    assert list(shown(ahead)) == [("11-20T23", "s", -3)]
    # also over the end of a month, which what still runs has not reached again
    meters = [meter("2026-11-30T20", end="2026-12-01T01"), meter("2026-11-30T20", id="b")]
    ahead = advance(wallet(20), meters, at("2026-11-30T23"), UTC_DAYS)
    assert list(shown(ahead)) == [("12-01T00", "s", -4), ("12-01T01", "s", -1)]


@pytest.mark.parametrize(
    ("story", "daily", "meters", "behind", "far"),
    [
        ("nothing to book", 8, [], timedelta(days=9000), False),
        ("62 days after the first boundary", 8, [meter("2026-11-20T12")], FAR, False),
        ("a microsecond more", 8, [meter("2026-11-20T12")], FAR + MICROSECOND, True),
        ("with nothing but an allowance", 9, [], FAR + MICROSECOND, True),
        ("a session that ended is a fact", None, [meter("2026-11-20", end="2026-11-20T03")],
         timedelta(days=900), False),
        ("what its end left over expires by the clock alone", 8,
         [meter("2026-11-20", end="2026-11-20T03")], FAR + MICROSECOND, True),
    ],
)  # fmt: skip
def test_so_much_at_once_needs_a_person(story, daily, meters, behind, far):
    """A clock that says 2036 for two minutes must not book ten years (rule 3)."""
    now = at("2026-11-21") + behind
    made = daily and allowance(daily)
    ahead = advance(wallet(8, 8, made), meters, now, UTC_DAYS)
    assert ahead.too_far(now) is far, story


def test_a_slice_is_what_its_ends_cost():
    """Any cutting sums to the same total (rule 5): a third of a micro-credit is not lost."""
    m = Meter("s", 1, 0, 0, 0, at("2026-11-20"), at("2026-11-21"), billed_from_at=at("2026-11-20"))
    amounts = []
    for hours in (0.4, 0.9, 1.3, 2.9, 3.0):
        part = next_slice(m, at("2026-11-20") + hours * HOUR)
        amounts.append(part.amount_micro)
        m = replace(m, settled_until=part.end, charged_micro=m.charged_micro + part.amount_micro)
    assert amounts == [0, 0, 1, 1, 1]


# -- for any wallet -------------------------------------------------------------------------------

BEGIN = at("2026-10-20T05:30")
MINUTES = st.integers(0, 90 * 1440)
SESSIONS = st.lists(
    st.builds(
        lambda n, begin, length, per_hour, fee: Meter(
            f"s{n}", per_hour, fee, 0, 0, BEGIN, BEGIN,
            billed_from_at=BEGIN + timedelta(minutes=begin),
            billed_until_at=None if length is None
            else BEGIN + timedelta(minutes=begin + length),
        ),
        st.integers(0, 9), MINUTES, st.none() | MINUTES, st.integers(0, 10**7), st.integers(0, 9),
    ),
    max_size=3, unique_by=lambda m: m.session_id,
)  # fmt: skip
WALLETS = st.builds(
    lambda balance, left, made: Wallet(
        1, "w", balance, 0, None, False, made, max(0, min(left, balance)), BEGIN
    ),
    st.integers(-(10**9), 10**9), st.integers(0, 10**9),
    st.none() | st.builds(Allowance, st.integers(0, 10**9), st.sampled_from(PERIODS),
                          st.none() | st.integers(0, 10**9)),
)  # fmt: skip
ZONES = st.sampled_from(["UTC", "Asia/Taipei", "Europe/Berlin", "America/Havana"]).map(Calendar.of)


@given(WALLETS, SESSIONS, MINUTES, ZONES)
@settings(deadline=None)
def test_what_is_booked_sums_up(before, meters, minutes, calendar):
    now = BEGIN + timedelta(minutes=minutes)
    ahead = advance(before, meters, now, calendar)
    slices = [d for d in ahead.due if isinstance(d, Slice)]
    turns = [d for d in ahead.due if isinstance(d, Turn)]
    moved = sum(d.net_micro for d in turns) - sum(d.amount_micro for d in slices)
    assert ahead.wallet.balance_micro == before.balance_micro + moved
    assert 0 <= ahead.wallet.left_micro <= max(0, ahead.wallet.balance_micro)
    assert all(t.net_micro for t in turns)
    assert len({t.label for t in turns}) == len(turns)
    for m, then in zip(meters, ahead.meters, strict=True):
        mine = [d for d in slices if d.session_id == m.session_id]
        assert sum(d.amount_micro for d in mine) == then.charged_micro
        assert then.charged_micro == (m.cost(then.settled_until) if then.settled_until else 0)
        assert all(a.end == b.begin for a, b in pairwise(mine))
        for d in mine:
            first = calendar.label("month", d.begin)
            assert d.begin == d.end or calendar.label("month", d.end - MICROSECOND) == first
        if m.billed_until_at is not None:
            assert then.charged_micro == m.cost(m.billed_until_at)


@given(WALLETS, SESSIONS, MINUTES, ZONES)
@settings(deadline=None)
def test_booking_changes_what_is_free_only_where_allowances_turn(before, meters, minutes, calendar):
    """Settling never changes available (rule 11): only grants and expiries do."""
    now = BEGIN + timedelta(minutes=minutes)
    running = [replace(m, billed_until_at=None) for m in meters]
    ahead = advance(before, running, now, calendar)
    turns = [d.net_micro for d in ahead.due if isinstance(d, Turn)]
    free = available(before, running, now)
    assert available(ahead.wallet, ahead.meters, now) == free + sum(turns)
    if before.allowance is None:
        left = allowance_left(before, running, now)
        assert allowance_left(ahead.wallet, ahead.meters, now) == left


@given(WALLETS, SESSIONS, MINUTES, st.lists(MINUTES, max_size=4), ZONES)
@settings(deadline=None)
def test_any_looks_in_between_book_the_same(before, meters, minutes, looks, calendar):
    """A service that was down catches up to the same entries (rule 17)."""
    running = [replace(m, billed_until_at=None) for m in meters]
    wanted = advance(before, running, BEGIN + timedelta(minutes=minutes), calendar)
    wallet, found = before, []
    for look in [*sorted(x for x in looks if x < minutes), minutes]:
        ahead = advance(wallet, running, BEGIN + timedelta(minutes=look), calendar)
        wallet, running, found = ahead.wallet, ahead.meters, [*found, *ahead.due]
    assert found == list(wanted.due)
    assert (wallet, running) == (wanted.wallet, wanted.meters)
