"""Boundaries, settlement, ends and waivers, whatever order they are told in (rules 5 to 8)."""

from datetime import timedelta

import pytest

from jhub_usage.actions import check, rates, sessions, views, wallets
from jhub_usage.domain.errors import Conflict
from jhub_usage.domain.invariants import failed

from .world import POLICY, T0


@pytest.fixture(autouse=True)
def every_invariant_holds_in_the_end(world):
    yield
    assert failed(world.look(check.check)) == []


def settle(world, session_id, until=None):
    world.act(sessions.settle, session_id, until or world.now, policy=POLICY)


def charges(world, session_id):
    return [-e["amount_micro"] for e in world.entries(session_id=session_id)
            if e["kind"] == "charge"][::-1]  # fmt: skip


def test_slices_sum_to_the_whole(world):
    lab = world.wallet("lab", 100, pays_for="*")
    world.act(rates.add, "start", 250_000)
    session_id = world.run()
    for seconds in (0, 1, 0.000001, 59, 1000, 0):
        world.wait(seconds=seconds)
        settle(world, session_id)
        settle(world, session_id)
    world.wait(minutes=1)
    world.end(session_id)
    elapsed_us = 1_000_000 + 1 + 59_000_000 + 1_000_000_000 + 60_000_000
    whole = 250_000 + 4_000_000 * elapsed_us // 3_600_000_000
    assert sum(charges(world, session_id)) == whole
    assert world.balance(lab) == 100_000_000 - whole


def test_a_settlement_at_the_first_instant_does_not_stop_the_next_one(world):
    """The fee alone would take the natural key of the slice that begins there."""
    world.wallet("lab", 100, pays_for="*")
    world.act(rates.add, "start", 250_000)
    session_id = world.run()
    settle(world, session_id)
    world.wait(minutes=15)
    settle(world, session_id)
    world.end(session_id)
    assert charges(world, session_id) == [1_250_000]


def test_a_session_that_lasted_no_time_costs_its_fee(world):
    world.wallet("lab", 100, pays_for="*")
    world.act(rates.add, "start", 250_000)
    session_id = world.run()
    world.end(session_id)
    assert charges(world, session_id) == [250_000]


def test_what_lies_ahead_is_not_charged(world):
    world.wallet("lab", 100, pays_for="*")
    session_id = world.run()
    world.wait(minutes=15)
    settle(world, session_id, T0 + timedelta(days=30))
    assert charges(world, session_id) == [1_000_000]


def test_a_start_that_never_got_a_container_costs_nothing(world):
    lab = world.wallet("lab", 1, pays_for="*")
    ask = world.ask()
    world.admit(ask)
    world.wait(minutes=5)
    world.end(ask.session_id, reason="start_failed")
    assert world.session(ask.session_id).state == "void"
    assert world.balance(lab) == 1_000_000
    assert world.admit(ask).decision == "void"  # a late retry starts nothing
    assert world.admit(world.ask("bob")).decision == "admitted"


def test_a_failed_start_is_charged_and_given_back_three_times_a_day(world):
    lab = world.wallet("lab", 100, pays_for="*")
    for number in range(5):
        decision = world.admit(world.ask("ada", str(number)))
        world.tell(decision.session_id, "started")
        world.wait(minutes=15)
        if number == 0:
            settle(world, decision.session_id, world.now - timedelta(minutes=5))
        world.end(decision.session_id, reason="start_failed")
    assert world.balance(lab) == 98_000_000  # two of five were not waived
    refunds = [e for e in world.entries(wallet_id=lab) if e["kind"] == "refund"]
    assert sum(e["amount_micro"] for e in refunds) == 3_000_000
    world.wait(minutes=24 * 60)
    decision = world.admit(world.ask("ada", "tomorrow"))
    world.tell(decision.session_id, "started")
    world.wait(minutes=15)
    world.end(decision.session_id, reason="start_failed")
    assert world.balance(lab) == 98_000_000


def test_a_server_that_died_when_it_was_ready_is_not_waived(world):
    lab = world.wallet("lab", 100, pays_for="*")
    session_id = world.run()
    world.wait(minutes=15)
    world.end(session_id, reason="died")
    assert world.balance(lab) == 99_000_000


def test_a_stuck_pod_is_booked_to_the_platform(world):
    lab = world.wallet("lab", 100, pays_for="*")
    decision = world.admit(world.ask(grace_s=30))
    world.tell(decision.session_id, "started")
    world.wait(minutes=58.5)
    world.tell(decision.session_id, "stop_accepted")
    world.wait(minutes=3 * 1440)
    world.end(decision.session_id)
    assert world.balance(lab) == 96_000_000
    assert world.session(decision.session_id).platform_us == (3 * 86400 - 90) * 10**6


@pytest.mark.parametrize(
    ("billed_from", "credits"), [("scheduled", 4), ("container", 3), ("ready", 2)]
)
def test_billed_from(world, billed_from, credits):
    lab = world.wallet("lab", 100, pays_for="*")
    decision = world.admit(world.ask(billed_from=billed_from))
    for kind in ("scheduled", "started", "ready"):
        world.tell(decision.session_id, kind)
        world.wait(minutes=15)
    world.wait(minutes=15)
    world.end(decision.session_id)
    assert world.balance(lab) == (100 - credits) * 10**6


def test_a_container_that_is_slow_to_be_ready_keeps_its_hold(world):
    """Billed from ready: it started, so its hold does not lapse with the deadline."""
    world.wallet("lab", 1, pays_for="*")
    decision = world.admit(world.ask(billed_from="ready"))
    world.tell(decision.session_id, "started")
    world.wait(minutes=30)
    assert world.admit(world.ask("bob")).decision == "refused"


def test_everything_told_twice_and_backwards(world):
    lab = world.wallet("lab", 100, pays_for="*")
    session_id = world.run()
    world.wait(minutes=60)
    for _ in range(3):
        for kind in ("ended", "stop_accepted", "seen", "ready", "started", "scheduled", "void"):
            world.tell(session_id, kind)
    assert world.balance(lab) == 96_000_000
    assert world.session(session_id).state == "ended"


def test_refunds_are_goodwill_and_corrections_are_not(world):
    """What was charged for a session (S) counts corrections and leaves goodwill out (rule 11)."""
    lab = world.wallet("lab", 100, pays_for="*")
    session_id = world.run()
    world.wait(minutes=60)
    world.end(session_id)
    charge = world.entries(session_id=session_id)[0]["id"]
    refund = world.act(wallets.refund, charge, 1_000_000, policy=POLICY, key="r")
    assert world.act(wallets.refund, charge, 1_000_000, policy=POLICY, key="r") == refund
    assert world.session(session_id).charged_micro == 4_000_000
    world.act(wallets.correct, charge, 500_000, policy=POLICY, note="it hung")
    assert world.session(session_id).charged_micro == 3_500_000
    world.act(wallets.correct, refund, -1_000_000, policy=POLICY, note="given in error")
    assert world.session(session_id).charged_micro == 3_500_000
    assert world.balance(lab) == 96_500_000
    with pytest.raises(Conflict, match=r"Only 2\.5 of this charge"):
        world.act(wallets.refund, charge, 2_500_001, policy=POLICY)


def test_a_charge_has_no_upper_bound(world):
    """An absurd price is a fact as well; the session must be able to end."""
    lab = world.wallet("lab", overdraft_micro=None, pays_for="*")
    world.act(rates.add, "gpu", 10**15)
    session_id = world.run()
    world.wait(minutes=180)
    world.end(session_id)
    assert world.session(session_id).charged_micro == 3 * 10**15
    assert world.balance(lab) == -3 * 10**15


def test_looking_writes_nothing(world):
    lab = world.wallet("lab", 100, pays_for="*")
    session_id = world.run()
    world.wait(minutes=30)
    assert world.session(session_id).cost_micro == 2_000_000
    (view,) = world.look(views.wallet_views, ids=[lab])
    assert (view.balance_micro, view.available_micro) == (100_000_000, 98_000_000)
    assert view.burn_per_hour_micro == 4_000_000
    assert view.dry_at == T0 + timedelta(hours=25, microseconds=900)
    assert charges(world, session_id) == []


def test_a_stuck_pod_does_not_eat_the_wallet_while_it_is_stuck(world):
    """Rule 8 holds at every instant, not only at the end: three days on a dead node."""
    lab = world.wallet("lab", 100, pays_for="*")
    session_id = world.run()
    world.wait(minutes=60)
    world.tell(session_id, "stop_accepted")
    paid = 4_000_000 * (3600 + world.ask().grace_s + 60) // 3600
    for _ in range(3):
        world.wait(minutes=24 * 60)
        (view,) = world.look(views.wallet_views, ids=[lab])
        assert view.available_micro == 100_000_000 - paid
        assert (view.burn_per_hour_micro, view.dry_at) == (0, None)
        assert world.session(session_id).cost_micro == paid
        # settled meanwhile, it stays what it is
        settle(world, session_id)
        (again,) = world.look(views.wallet_views, ids=[lab])
        assert again.available_micro == view.available_micro
    world.end(session_id)
    ended = world.session(session_id)
    assert ended.charged_micro == ended.cost_micro == paid and ended.platform_us > 2 * 86400 * 10**6
