"""One session's meter as a function of time: cost, hold, claim, end (rules 5 to 8, 11 to 13)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jhub_usage.domain.instants import HOUR_US, after
from jhub_usage.domain.sessions import Meter, billed_end, hold_for

T0 = datetime(2026, 11, 20, 9, tzinfo=UTC)
#: 4 credits an hour, a fee of 0.25, 15 minutes held.
ADMITTED = Meter("s", 4_000_000, 250_000, 1_250_000, 0, T0, T0 + timedelta(minutes=7))
RUNNING = replace(ADMITTED, billed_from_at=T0 + timedelta(minutes=5))


def minutes(n):
    return T0 + timedelta(minutes=n)


@pytest.mark.parametrize(
    ("minute", "cost", "hold", "claim"),
    [
        # admitted at 0, must have started by 7, starts at 5
        (0, 0, 1_250_000, 1_250_000),
        (4, 0, 1_250_000, 1_250_000),
        (5, 250_000, 1_250_000, 1_250_000),  # the fee is due with the first billed instant
        (8, 450_000, 1_250_000, 1_250_000),  # the deadline means nothing to one that started
        (20, 1_250_000, 1_250_000, 1_250_000),  # the hold is used up
        (35, 2_250_000, 1_250_000, 2_250_000),
        (65, 4_250_000, 1_250_000, 4_250_000),
    ],
)
def test_a_session_from_admission_on(minute, cost, hold, claim):
    at = minutes(minute)
    assert (RUNNING.cost(at), RUNNING.hold(at), RUNNING.claim(at)) == (cost, hold, claim)


@pytest.mark.parametrize(
    ("minute", "sighted", "claim"),
    [(0, False, 1_250_000), (6.99, False, 1_250_000), (7, False, 0), (999, False, 0),
     (7, True, 1_250_000), (999, True, 1_250_000)],
)  # fmt: skip
def test_a_hold_that_nothing_confirmed_ends_by_itself(minute, sighted, claim):
    """A hub that dies right after admission leaks nothing (rule 12)."""
    assert replace(ADMITTED, sighted=sighted).claim(minutes(minute)) == claim


@pytest.mark.parametrize(
    ("minute", "sighted", "claim"),
    [
        (0, False, 1_250_000),
        (6, False, 1_250_000),
        (7, False, 0),
        (
            60,
            True,
            4_250_000,
        ),  # not known to have started: admission counts from 0, stopping does not
    ],
)
def test_admission_counts_a_start_that_is_not_known_yet(minute, sighted, claim):
    meter = replace(ADMITTED, sighted=sighted)
    assert meter.admission_claim(minutes(minute)) == claim
    assert meter.claim(minutes(minute)) <= 1_250_000
    assert not meter.beyond_hold(minutes(minute))


@pytest.mark.parametrize("charged", [0, 300_000, 2_000_000])
def test_settling_never_changes_what_balance_and_claim_leave(charged):
    at = minutes(40)
    assert RUNNING.claim(at) - replace(RUNNING, charged_micro=charged).claim(at) == charged


def test_what_is_not_billed_claims_nothing():
    free = replace(RUNNING, billed=False, hold_micro=0)
    assert free.cost(minutes(500)) == free.claim(minutes(500)) == free.admission_claim(T0) == 0


def test_cost_stands_still_after_the_end():
    ended = replace(RUNNING, billed_until_at=minutes(35))
    assert ended.cost(minutes(35)) == ended.cost(minutes(9999)) == 2_250_000
    assert ended.hold(minutes(9999)) == 0


@given(
    st.integers(0, 10**10), st.integers(0, 10**8), st.integers(0, 10**10), st.integers(0, 10**11)
)
def test_the_hold_ends_at_the_first_microsecond_beyond_it(per_hour, fee, hold, elapsed):
    meter = replace(RUNNING, per_hour_micro=per_hour, fee_micro=fee, hold_micro=hold)
    ends = meter.hold_ends_at()
    if ends is None:
        assert not meter.beyond_hold(after(meter.billed_from_at, elapsed))
        return
    if ends.year < 9000:
        assert meter.beyond_hold(ends)
    if ends > meter.billed_from_at:
        assert not meter.beyond_hold(after(ends, -1))


def test_no_hold_ends_that_did_not_begin():
    assert ADMITTED.hold_ends_at() is None
    assert replace(RUNNING, billed=False).hold_ends_at() is None


@pytest.mark.parametrize(
    ("per_hour", "fee", "span", "hold"),
    [(4_000_000, 0, 900, 1_000_000), (4_000_000, 250_000, 900, 1_250_000), (0, 0, 900, 0),
     (1, 0, 3599, 0), (10**15, 0, 86400, 24 * 10**15)],
)  # fmt: skip
def test_what_is_held(per_hour, fee, span, hold):
    assert hold_for(per_hour, fee, span) == hold


@pytest.mark.parametrize(
    ("ended", "accepted", "grace", "paid_until", "platform_minutes"),
    [
        (60, None, 30, 60, 0),
        (60, 59, 30, 60, 0),
        (61, 59, 60, 61, 0),
        # three days on a dead node are not the user's
        (59 + 3 * 1440, 59, 60, 61, 3 * 1440 - 2),
        (59 + 3 * 1440, 59, 0, 60, 3 * 1440 - 1),
        (58, 59, 30, 58, 0),  # it was gone before the stop was accepted
    ],
)
def test_a_stuck_pod_is_the_platforms(ended, accepted, grace, paid_until, platform_minutes):
    until, platform_us = billed_end(
        minutes(ended), accepted if accepted is None else minutes(accepted), grace
    )
    assert until == minutes(paid_until)
    assert platform_us == platform_minutes * HOUR_US // 60
