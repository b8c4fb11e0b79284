"""Whom to warn, whom to stop and when; never within a hold, never many at once (rule 14)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jhub_usage.domain.limits import Limit
from jhub_usage.domain.period_limits import Ending, Window
from jhub_usage.domain.sessions import Meter
from jhub_usage.domain.stops import REASONS, Running, guard_trips, may_stop, wallet_dues
from jhub_usage.domain.wallets import Wallet

T0 = datetime(2026, 11, 20, 9, tzinfo=UTC)
LEAD = 600
#: 4 credits an hour since 0, the first 15 minutes held.
METER = Meter("s", 4_000_000, 0, 1_000_000, 0, T0, T0 + timedelta(minutes=7), billed_from_at=T0)


def minutes(n):
    return T0 + timedelta(minutes=n)


def due(balance, minute, warned=None, meter=METER, overdraft=0, protected=None):
    running = Running(
        meter,
        None if warned is None else minutes(warned),
        None if protected is None else minutes(protected),
    )
    dues = wallet_dues(Wallet(1, "lab", balance, overdraft), [running], minutes(minute), LEAD)
    if not dues:
        return "-"
    (found,) = dues
    what = "warn" if found.warn else "stop" if found.stop else "wait"
    return f"{what} {round((found.stop_at - T0).total_seconds() / 60, 3):g}"


@pytest.mark.parametrize(
    ("story", "arguments", "what"),
    [
        ("an hour of money: quiet", {"balance": 4_000_000, "minute": 0}, "-"),
        ("until ten minutes before", {"balance": 4_000_000, "minute": 49}, "-"),
        ("then a warning", {"balance": 4_000_000, "minute": 50.5}, "warn 60.5"),
        ("that stands", {"balance": 4_000_000, "minute": 55, "warned": 50}, "wait 60"),
        ("until it is over", {"balance": 4_000_000, "minute": 61, "warned": 50}, "stop 61"),
        ("a top-up takes it back", {"balance": 9_000_000, "minute": 61, "warned": 50}, "-"),
        ("learnt late: still the whole lead", {"balance": -5_000_000, "minute": 30}, "warn 40"),
        ("no stop before it is over", {"balance": -5_000_000, "minute": 39, "warned": 30},
         "wait 40"),
        ("but then", {"balance": -5_000_000, "minute": 40, "warned": 30}, "stop 40"),
        ("within the hold it runs on, whatever the wallet says",
         {"balance": -5_000_000, "minute": 1}, "-"),
        ("the hold's end is near", {"balance": -5_000_000, "minute": 6}, "warn 16"),
        ("and not stopped at its last instant", {"balance": -5_000_000, "minute": 15, "warned": 1},
         "wait 15"),
        ("but beyond", {"balance": -5_000_000, "minute": 15.1, "warned": 1}, "stop 15.1"),
        ("nothing limits it", {"balance": -10**9, "minute": 999, "overdraft": None}, "-"),
        ("servers from before the install are left alone for a day",
         {"balance": -5_000_000, "minute": 60, "warned": 30, "protected": 1440}, "wait 1440"),
        ("a session limit", {"balance": 10**9, "minute": 55,
                             "meter": replace(METER, limit_at=minutes(60))}, "warn 65"),
        ("its end", {"balance": 10**9, "minute": 60, "warned": 45,
                         "meter": replace(METER, limit_at=minutes(60))}, "stop 60"),
        ("what comes first counts", {"balance": 4_000_000, "minute": 35, "warned": 20,
                                         "meter": replace(METER, limit_at=minutes(30))}, "stop 30"),
        ("not billed, so no wallet stops it",
         {"balance": -1, "minute": 99, "meter": replace(METER, billed=False)}, "-"),
        ("its start is not known", {"balance": -1, "minute": 99,
                                        "meter": replace(METER, billed_from_at=None)}, "-"),
    ],
)  # fmt: skip
def test_warn_and_stop(story, arguments, what):
    assert due(**arguments) == what, story


def ends(minute, *, anew=24 * 60):
    """A limit per period that ends a session at a minute, and begins anew at another."""
    limit = Limit("person", "gpu_hours", 1, person="ada", period="day", id=7)
    return Ending(minutes(minute), limit, Window("day", "2026-11-20", T0, minutes(anew)))


@pytest.mark.parametrize(
    ("story", "minute", "warned", "ending", "more", "what"),
    [
        ("far away", 40, None, ends(60), {}, "-"),
        ("near: a warning", 50.5, None, ends(60), {}, "period_limit warn 60.5"),
        ("used up", 60, 50, ends(60), {}, "period_limit stop 60"),
        ("learnt late: the whole lead", 90, None, ends(60), {}, "period_limit warn 100"),
        ("it begins anew before anybody could be stopped", 90, None, ends(60, anew=100), {}, "-"),
        ("just not", 90, None, ends(60, anew=100.1), {}, "period_limit warn 100"),
        ("warned in time it is stopped before that", 90, 80, ends(90, anew=91), {},
         "period_limit stop 90"),
        ("protected beyond that", 90, 80, ends(90, anew=100), {"protected": 120}, "-"),
        ("the wallet is empty before", 55, 40, ends(60), {"balance": 3_600_000},
         "wallet_empty stop 55"),
        ("or only as the limit begins anew", 90, None, ends(60, anew=95), {"balance": 6_000_000},
         "wallet_empty warn 100"),
        ("of two at once any", 60, 50, ends(60), {"limit_at": minutes(60)},
         "period_limit stop 60"),
    ],
)  # fmt: skip
def test_limits_per_period(story, minute, warned, ending, more, what):
    protected = more.get("protected")
    running = Running(
        replace(METER, limit_at=more.get("limit_at")),
        None if warned is None else minutes(warned),
        None if protected is None else minutes(protected),
        ending,
    )
    wallet = Wallet(1, "lab", more.get("balance", 10**9), 0)
    dues = wallet_dues(wallet, [running], minutes(minute), LEAD)
    told = "-"
    for due in dues:
        verb = "warn" if due.warn else "stop" if due.stop else "wait"
        told = f"{due.reason} {verb} {round((due.stop_at - T0).total_seconds() / 60, 3):g}"
        assert due.reason in REASONS
        assert (due.ending is ending) is (due.reason == "period_limit")
    assert told == what, story


def test_observed_nobody_is_warned_so_nobody_is_warned_late():
    """In the last minutes of a period it is told what would have been stopped all the same."""
    wallet, running = Wallet(1, "lab", 10**9, 0), [Running(METER, ending=ends(60, anew=65))]
    assert wallet_dues(wallet, running, minutes(61), LEAD) == []
    (due,) = wallet_dues(wallet, running, minutes(61), LEAD, observed=True)
    assert (due.reason, due.over) == ("period_limit", True)
    (due,) = wallet_dues(wallet, running, minutes(59), LEAD, observed=True)
    assert not due.over


@pytest.mark.parametrize(
    ("story", "ending", "allowed"),
    [("used up", ends(60), True), ("raised", ends(60.1), False), ("lifted", None, False)],
)
def test_a_limit_per_period_is_asked_again(story, ending, allowed):
    wallet = Wallet(1, "lab", 10**9, 0)
    assert may_stop(wallet, [METER], "s", "period_limit", minutes(60), ending) is allowed, story


def test_a_session_whose_money_is_up_is_over_although_nobody_was_warned():
    """Observe mode warns nobody and records this."""
    poor = Wallet(1, "lab", -1, 0)
    (found,) = wallet_dues(poor, [Running(METER)], minutes(30), LEAD)
    assert (found.warn, found.stop, found.over) == (True, False, True)
    (found,) = wallet_dues(poor, [Running(METER)], minutes(14), LEAD)
    assert (found.warn, found.stop, found.over) == (True, False, False)


@given(
    st.integers(-(10**7), 10**7),
    st.lists(st.tuples(st.integers(-120, 0), st.integers(0, 3 * 10**6)), min_size=1, max_size=4),
    st.integers(0, 180),
    st.integers(0, 180),
)
def test_nobody_is_stopped_within_a_hold_or_a_lead(balance, sessions, now, before):
    meters = [
        replace(METER, session_id=str(n), hold_micro=hold, billed_from_at=minutes(since))
        for n, (since, hold) in enumerate(sessions)
    ]
    warned = minutes(now - before)
    wallet = Wallet(1, "lab", balance, 0)
    running = [Running(m, warned) for m in meters]
    for found in wallet_dues(wallet, running, minutes(now), LEAD):
        meter = meters[int(found.session_id)]
        if found.stop:
            assert meter.beyond_hold(minutes(now))
            assert minutes(now) >= warned + timedelta(seconds=LEAD)
            assert may_stop(wallet, meters, meter.session_id, found.reason, minutes(now))


@pytest.mark.parametrize(
    ("story", "balance", "minute", "reason", "allowed"),
    [
        ("still dry", -1, 60, "wallet_empty", True),
        ("topped up meanwhile", 10_000_000, 60, "wallet_empty", False),
        ("exactly nothing left is not dry", 4_000_000, 60, "wallet_empty", False),
        ("within its hold", -1, 15, "wallet_empty", False),
        ("no limit", -1, 60, "session_limit", False),
    ],
)
def test_asked_again_before_the_stop(story, balance, minute, reason, allowed):
    wallet = Wallet(1, "lab", balance, 0)
    assert may_stop(wallet, [METER], "s", reason, minutes(minute)) is allowed, story
    assert not may_stop(wallet, [METER], "another", reason, minutes(minute))


@pytest.mark.parametrize(
    ("stopping", "running", "trips"),
    [(5, 5, False), (6, 6, True), (6, 59, True), (6, 60, False), (10, 100, False), (11, 100, True),
     (0, 0, False)],
)  # fmt: skip
def test_many_at_once_wait_for_a_person(stopping, running, trips):
    assert guard_trips(stopping, running) is trips
