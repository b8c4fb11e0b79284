"""Scenarios by which the rules of money and time were found, each as a story on both databases.

Those that have a place of their own are named in tests/domain/test_stories.py; here are the others.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from jhub_usage.actions import (
    advancing,
    allowances,
    check,
    hubs,
    limits,
    sessions,
    stops,
    sync,
    views,
    wallets,
)
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.errors import KeyReused
from jhub_usage.domain.instants import EPOCH
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.wallets import available
from jhub_usage.store import ledger
from jhub_usage.store import sessions as session_rows
from jhub_usage.store import tables as t
from jhub_usage.store import wallets as wallet_rows

from .world import POLICY

CREDIT = 10**6


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def meters(world, wallet_id):
    with world.db.read() as tx:
        return wallet_rows.read(tx, [wallet_id])[wallet_id], session_rows.open_meters(
            tx, [wallet_id]
        )[wallet_id]


def left(world, wallet_id):
    return available(*meters(world, wallet_id), world.now)


def row(world, session_id):
    with world.db.read() as tx:
        return session_rows.get(tx, session_id)


def holds(world):
    assert failed(world.look(check.check)) == []


def test_a_month_end_does_not_count_a_hold_twice(world):
    """A hold of 24 hours, and the month ends within it (rule 11).

    Without what was charged already the slice would come on top of the hold: 48 credits of money
    that is there would be missing, and the server would be killed.
    """
    policy = replace(POLICY, hold_session_limit=True)
    lab = world.wallet("lab", 96, pays_for="*")
    world.act(limits.add, Limit("profile", "session_hours", 24 * 3600, profile="gpu"))
    world.now = at("2026-11-30T12")
    decision = world.admit(world.ask("ada"), policy=policy)
    assert (decision.decision, decision.hold_micro) == ("admitted", 96 * CREDIT)
    one = decision.session_id
    world.tell(one, "started")
    world.tell(one, "ready")
    assert left(world, lab) == 0
    world.now = at("2026-12-01T01")
    world.act(advancing.advance_due, policy=policy)
    assert world.balance(lab) == 48 * CREDIT
    assert left(world, lab) == 0
    wallet, (meter,) = meters(world, lab)
    without_s = wallet.balance_micro - max(meter.cost(world.now), meter.hold(world.now))
    assert without_s == -48 * CREDIT, "the looser formula would find the wallet dry"
    for hours in (2, 11, 12):
        world.now = at("2026-12-01") + timedelta(hours=hours, seconds=-1)
        plan = world.act(stops.plan, "hub", policy=policy)
        assert {o.reason for o in plan.orders} <= {"session_limit"}
    world.now = at("2026-12-01T12")
    world.end(one)
    assert world.balance(lab) == 0
    holds(world)


def test_a_container_that_restarts_is_the_same_session(world):
    """Out of memory: Kubernetes starts the container again in its pod, ``startedAt`` jumps (6)."""
    lab = world.wallet("lab", 100, pays_for="*")
    one = world.run()
    world.wait(minutes=30)
    world.tell(one, "started", restart_count=1)
    world.wait(minutes=30)
    world.tell(one, "started", restart_count=3)
    world.tell(one, "started", restart_count=2)  # told late
    world.end(one)
    assert world.session(one).restart_count == 3
    assert world.balance(lab) == 96 * CREDIT
    assert row(world, one).billed_from_at == world.now - timedelta(hours=1)


def test_an_end_in_whole_seconds_is_not_before_a_start_in_fractions(world):
    """Kubernetes rounds down: it ends in the second in which it started (rule 6)."""
    lab = world.wallet("lab", 100, pays_for="*")
    world.wait(seconds=0.9)
    decision = world.admit(world.ask())
    world.tell(decision.session_id, "started")
    world.end(decision.session_id, at=world.now.replace(microsecond=0), reason="died",
              evidence="terminated_at")  # fmt: skip
    held = row(world, decision.session_id)
    assert held.ended_at == held.started_at == world.now
    assert world.balance(lab) == 100 * CREDIT
    holds(world)


def test_a_start_that_is_learnt_late_still_has_its_warning(world):
    """It ran for hours before anybody knew: the wallet was dry in the past (rule 14)."""
    world.wallet("lab", 4, pays_for="*")
    decision = world.admit(world.ask())
    began = world.now
    world.wait(minutes=300)
    world.tell(decision.session_id, "started", at=began)
    plan = world.act(stops.plan, "hub", policy=POLICY)
    assert plan.warned == (decision.session_id,)
    assert plan.orders == ()
    world.wait(minutes=9, seconds=59)
    assert world.act(stops.plan, "hub", policy=POLICY).orders == ()
    world.wait(seconds=1)
    orders = world.act(stops.plan, "hub", policy=POLICY).orders
    assert [o.session_id for o in orders] == [decision.session_id]


def test_another_ones_start_does_not_kill_a_running_server(world):
    """What is left would pay bob's hold, but not ada's ten minutes besides (rule 15)."""
    lab = world.wallet("lab", 4, pays_for="*")
    world.run("ada")
    world.wait(minutes=40)
    assert left(world, lab) == pytest.approx(1.333333 * CREDIT, abs=1)
    refused = world.admit(world.ask("bob"))
    assert (refused.decision, refused.reason.code) == ("refused", "wallet")
    assert "so that they are not stopped at once" in refused.reason.text
    world.act(wallets.grant, lab, CREDIT, policy=POLICY)
    assert world.admit(world.ask("bob")).decision == "admitted"


def test_a_rate_is_there_once(world):
    """Two without model and profile are one key: no NULL slips past the constraint (rule 30)."""
    same = {"resource": "gpu", "model": "", "profile": "", "price_micro": 1, "starts_at": EPOCH,
            "created_at": world.now}  # fmt: skip
    with pytest.raises(sa.exc.IntegrityError), world.db.write() as tx:
        tx.execute(t.rates_.insert().values(**same))


def test_less_overdraft_and_a_closed_wallet_still_settle(world):
    """A charge is a fact: no constraint stands in its way (rule 18)."""
    lab = world.wallet("lab", 1, pays_for="*", overdraft_micro=20 * CREDIT)
    one = world.run()
    world.wait(minutes=180)
    world.act(wallets.change, lab, overdraft_micro=0, closed=True)
    assert world.admit(world.ask("bob")).reason.code == "wallet_closed"
    world.end(one)
    assert world.balance(lab) == -11 * CREDIT
    holds(world)


def test_a_look_touches_its_own_hub_only(world):
    """Another hub's look that misses our servers says nothing about them (rule 29)."""
    world.wallet("lab", 100, pays_for="*")
    world.act(hubs.install, "other")
    one = world.run()
    world.wait(minutes=5)
    world.act(sync.note_look, "other", world.now, seen=(), missed=(one,))
    assert row(world, one).missed_at is None
    assert world.look(sync.open_servers, "other") == []
    world.act(sync.note_look, "hub", world.now, seen=(), missed=(one,))
    assert row(world, one).missed_at == world.now


def test_slices_are_unique_by_session_and_start(world):
    """Whatever key somebody takes, a slice is charged once (rule 24)."""
    lab = world.wallet("lab", 100, pays_for="*")
    one = world.run()
    world.wait(minutes=60)
    world.act(sessions.settle, one, world.now, policy=POLICY)
    (charge,) = (e for e in world.entries(wallet_id=lab) if e["kind"] == "charge")
    begin = world.now - timedelta(hours=1)
    again = ledger.NewEntry(lab, "charge", -CREDIT, charge["key"], world.now, one, begin, world.now)
    with pytest.raises(KeyReused):
        world.act(ledger.post, again, now=world.now)
    other = replace(again, key=f"charge:{one}:other")
    with pytest.raises(sa.exc.IntegrityError):
        world.act(ledger.post, other, now=world.now)
    holds(world)


def test_charges_then_expiry_then_the_grant(world):
    """One boundary, one net entry, after what ran up to it (rule 16)."""
    lab = world.wallet("lab", pays_for="*")
    world.now = at("2026-11-30T20")
    allowance = Allowance(10 * CREDIT, "month", 2 * CREDIT)
    world.act(allowances.set_allowance, lab, allowance, policy=POLICY)
    world.run("ada")
    world.now = at("2026-12-01T01")
    world.act(advancing.advance_due, policy=POLICY)
    booked = [(e["kind"], e["amount_micro"] // CREDIT) for e in world.entries(wallet_id=lab)]
    # granted before the charge it would have been 12 - 16, expired before it 2 - 16
    assert booked[::-1] == [("grant", 10), ("charge", -16), ("grant", 10)]
    (view,) = world.look(views.wallet_views, ids=[lab])
    assert view.balance_micro == 4 * CREDIT
    holds(world)


def test_what_started_at_the_boundary_belongs_to_the_new_period(world):
    """Kubernetes speaks in whole seconds, so midnight sharp comes (found by random lives)."""
    lab = world.wallet("lab", 5, pays_for="*")
    world.act(allowances.set_allowance, lab, Allowance(10 * CREDIT, "day"), policy=POLICY)
    with world.db.write() as tx:
        values = {"resource": "start", "model": "", "profile": "", "price_micro": CREDIT,
                  "starts_at": EPOCH, "created_at": EPOCH}  # fmt: skip
        tx.execute(t.rates_.insert().values(**values))
        tx.execute(t.gate.update().values(config_version=t.gate.c.config_version + 1))
    world.now = at("2026-11-20T23:59:50")
    decisions = [world.admit(world.ask("ada", name)) for name in "ab"]
    world.now = at("2026-11-21T00:00:03")
    for d in decisions:
        world.tell(d.session_id, "started", at=at("2026-11-21"))
    world.end(decisions[0].session_id, at=at("2026-11-21"))
    world.now = at("2026-11-21T01")
    world.end(decisions[1].session_id)
    booked = [
        (e["kind"], e["amount_micro"] // CREDIT, f"{e['effective_at']:%dT%H}")
        for e in world.entries(wallet_id=lab)
        if e["kind"] == "charge"
    ]
    assert sorted(booked) == [("charge", -5, "21T01"), ("charge", -1, "21T00")]
    # what was there at midnight was whole: nothing had been used of it before
    assert world.balance(lab) == 9 * CREDIT
    holds(world)


def test_told_ahead_by_a_clock_it_is_still_cut_at_the_month(world):
    """A server seen a minute into December by a clock that then went back (rules 3, 24)."""
    lab = world.wallet("lab", 100, pays_for="*")
    world.now = at("2026-11-30T23")
    one = world.run("ada")
    world.now = at("2026-12-01T00:01")
    world.tell(one, "seen")
    world.now = at("2026-11-30T23:59")
    world.run("ada")  # a new start of the same server: the old one was alive when it was seen
    charges = [e for e in world.entries(wallet_id=lab) if e["session_id"] == one]
    assert sorted(e["period"] for e in charges) == ["2026-11", "2026-12"]
    assert sum(e["amount_micro"] for e in charges) == -(4 * CREDIT * 61 // 60)
    holds(world)
