"""What a wallet has available, and the exact instant at which it runs dry (rules 11 to 15)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jhub_usage.domain.ahead import dry_at
from jhub_usage.domain.instants import HOUR_US, after
from jhub_usage.domain.sessions import Meter
from jhub_usage.domain.wallets import (
    Wallet,
    admission_available,
    available,
    beyond_hold_reserve,
    burn_per_hour,
)

T0 = datetime(2026, 11, 20, 9, tzinfo=UTC)


def minutes(n):
    return T0 + timedelta(minutes=n)


def running(per_hour=4_000_000, hold=1_000_000, since=0, charged=0, **more):
    return Meter("s", per_hour, 0, hold, charged, minutes(since), minutes(since + 7),
                 billed_from_at=minutes(since), **more)  # fmt: skip


def starting(hold=1_000_000, **more):
    return Meter("a", 4_000_000, 0, hold, 0, T0, minutes(7), **more)


def wallet(balance, overdraft=0):
    return Wallet(1, "lab", balance, overdraft)


@pytest.mark.parametrize(
    ("story", "balance", "overdraft", "meters", "minute", "left"),
    [
        ("nothing runs", 5_000_000, 0, [], 0, 5_000_000),
        ("an overdraft adds", 5_000_000, 2_000_000, [], 0, 7_000_000),
        ("a hold is set aside", 5_000_000, 0, [running()], 0, 4_000_000),
        ("and used up", 5_000_000, 0, [running()], 15, 4_000_000),
        ("and then it costs", 5_000_000, 0, [running()], 60, 1_000_000),
        ("what is charged is not claimed again", 3_000_000, 0, [running(charged=2_000_000)], 60,
         1_000_000),
        ("each of two", 5_000_000, 0, [running(), running()], 30, 1_000_000),
        ("below nothing", 0, 0, [running()], 30, -2_000_000),
        ("no overdraft limit: record only", -9, None, [running()], 60, None),
    ],
)  # fmt: skip
def test_available(story, balance, overdraft, meters, minute, left):
    assert available(wallet(balance, overdraft), meters, minutes(minute)) == left, story


def test_admission_sees_less_than_stopping():
    """Someone whose start is not known yet may have run since their admission."""
    meters = [starting(sighted=True)]
    assert available(wallet(5_000_000), meters, minutes(60)) == 4_000_000
    assert admission_available(wallet(5_000_000), meters, minutes(60)) == 1_000_000
    assert admission_available(wallet(0, None), meters, minutes(60)) is None


def test_burn_counts_what_runs():
    ended = running(billed_until_at=minutes(1))
    assert burn_per_hour([running(), running(), starting(), ended], minutes(5)) == 8_000_000


@pytest.mark.parametrize(("minute", "reserve"), [(0, 0), (15, 0), (16, 666_666), (600, 666_666)])
def test_what_must_stay_free_for_those_beyond_their_hold(minute, reserve):
    """10 minutes of 4 credits an hour (rule 15)."""
    assert beyond_hold_reserve([running(), starting()], minutes(minute), 600) == reserve


@pytest.mark.parametrize(
    ("story", "balance", "meters", "dry"),
    [
        ("nothing runs", 5_000_000, [], None),
        ("in debt already", -1, [], 0),
        ("zero is not dry", 0, [], None),
        ("75 minutes of money, and a microsecond's worth more", 5_000_000, [running()],
         timedelta(minutes=75, microseconds=900)),
        ("two burn twice as fast", 5_000_000, [running(), running()],
         timedelta(minutes=37.5, microseconds=900)),  # each is rounded on its own
        ("a limit ends it first", 5_000_000, [running(limit_at=minutes(60))], None),
        ("a hold that lapses makes room", 500_000, [starting()], 0),
        ("free of charge", 0, [running(per_hour=0, hold=0)], None),
    ],
)  # fmt: skip
def test_dry(story, balance, meters, dry):
    found = dry_at(wallet(balance), meters, T0)
    if isinstance(dry, timedelta):
        dry = T0 + dry
    elif dry == 0:
        dry = T0
    assert found == dry, story


def test_record_only_wallets_never_run_dry():
    assert dry_at(wallet(-(10**12), None), [running()], T0) is None


def test_dry_again_after_a_hold_lapsed():
    """A lapsing hold frees the wallet; then the running one empties it."""
    meters = [starting(), running(hold=0)]
    assert dry_at(wallet(1_200_000), meters, T0) == after(minutes(3), 900)
    assert dry_at(wallet(1_600_000), meters, T0) == after(minutes(24), 900)


METERS = st.builds(
    lambda per_hour, fee, hold, charged, since, state, deadline, limit: Meter(
        "s", per_hour, fee, hold, charged, after(T0, -since), after(T0, deadline),
        billed_from_at=after(T0, -since) if state == "running" else None,
        sighted=state == "sighted",
        limit_at=after(T0, limit) if limit and state == "running" else None,
    ),
    per_hour=st.integers(0, 40 * HOUR_US), fee=st.integers(0, 5), hold=st.integers(0, 60),
    charged=st.integers(0, 20), since=st.integers(0, 30), deadline=st.integers(-5, 60),
    state=st.sampled_from(["running", "running", "starting", "sighted"]),
    limit=st.none() | st.integers(1, 60),
)  # fmt: skip


@given(st.integers(-50, 300), st.lists(METERS, max_size=4))
def test_dry_is_exact_to_the_microsecond(balance, meters):
    """Against brute force: prices so high that every microsecond costs whole micro-credits."""

    def left(us):
        at = after(T0, us)
        return balance - sum(
            m.claim(at if m.limit_at is None else min(at, m.limit_at)) for m in meters
        )

    slow = next((us for us in range(400) if left(us) < 0), None)
    found = dry_at(wallet(balance), meters, T0)
    if slow is not None:
        assert found == after(T0, slow)
    else:
        assert found is None or found >= after(T0, 400)


@given(st.lists(METERS, max_size=4), st.integers(0, 300), st.integers(0, 100), st.data())
def test_settling_any_of_them_never_changes_available(meters, us, balance, data):
    at = after(T0, us)
    before = available(wallet(balance), meters, at)
    charges = [data.draw(st.integers(0, max(0, m.cost(at) - m.charged_micro))) for m in meters]
    settled = [
        replace(m, charged_micro=m.charged_micro + c) for m, c in zip(meters, charges, strict=True)
    ]
    assert available(wallet(balance - sum(charges)), settled, at) == before
