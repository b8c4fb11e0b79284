"""A clock that jumps, and a service that was away: nothing is lost, nothing is booked for good that
did not happen (rules 3, 14, 16, 17).

ada's wallet has 100 credits a day and 500 that stay; her server costs 4 an hour.
"""

from datetime import UTC, datetime, timedelta

import pytest

from jhub_usage.actions import advancing, allowances, catching_up, check, sessions, stops, wallets
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.errors import CatchUpNeeded
from jhub_usage.domain.invariants import failed
from jhub_usage.store import tables as t

from .world import POLICY, World

CREDIT = 10**6
DAY = timedelta(days=1)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def furnished(world):
    """The wallet's id; it is eight in the evening of the 20th."""
    world.now = at("2026-11-20T20")
    wallet_id = world.wallet("lab", 500, pays_for="*")
    daily = Allowance(100 * CREDIT, "day")
    world.act(allowances.set_allowance, wallet_id, daily, policy=POLICY)
    return wallet_id


@pytest.fixture
def lab(world):
    return furnished(world)


def passing(world):
    """The service's pass: the names of wallets that it leaves alone."""
    return world.act(advancing.advance_due, policy=POLICY)[3]


def stands(world, wallet_id):
    """(balance, left of the allowance) as stored, in credits."""
    with world.db.read() as tx:
        row = tx.execute(t.wallets_.select().where(t.wallets_.c.id == wallet_id)).one()
    return row.balance_micro / CREDIT, row.allowance_left_micro / CREDIT


def ledger(world):
    with world.db.read() as tx:
        rows = tx.execute(t.entries.select().order_by(t.entries.c.id))
        return [
            (r.kind, r.amount_micro / CREDIT, f"{r.effective_at:%m-%dT%H:%M}", r.period)
            for r in rows
        ]


def everything(world):
    with world.db.read() as tx:
        return {
            x.name: sorted(map(str, tx.execute(x.select())))
            for x in (t.wallets_, t.entries, t.sessions_, t.audit)
        }


def holds(world):
    assert failed(world.look(check.check)) == []


def test_two_minutes_of_2036(world, lab):
    """Whatever comes in those minutes: nothing is booked, nobody is stopped, nothing is lost."""
    one = world.run("ada")
    before = everything(world)
    world.now = at("2036-11-20T20")
    assert passing(world) == ("lab",)
    for act, *what in (
        (wallets.grant, lab, CREDIT),
        (allowances.remove_allowance, lab),
        (sessions.settle, one, world.now),
        (advancing.opened, [lab]),
    ):
        with pytest.raises(CatchUpNeeded):
            world.act(act, *what, policy=POLICY)
    with pytest.raises(CatchUpNeeded):
        world.end(one)  # the spool keeps it and tells it again
    plan = world.act(stops.plan, "hub", policy=POLICY)
    assert (plan.warned, plan.orders) == ((), ())
    assert everything(world) == before
    refused = world.admit(world.ask("bob"))
    assert (refused.decision, refused.reason.code) == ("refused", "catch_up")
    world.now = at("2026-11-20T20:02")
    assert passing(world) == ()
    world.act(wallets.grant, lab, CREDIT, policy=POLICY)
    world.end(one)
    assert ledger(world)[2:] == [
        ("grant", 1, "11-20T20:02", "2026-11"),
        ("charge", -0.133333, "11-20T20:02", "2026-11"),
    ]
    holds(world)


def test_a_wallet_that_a_clock_put_ahead_goes_on_when_the_operator_says_so(world, lab):
    """Nothing was due for it, so credit that came in 2036 put it there: it would wait ten years."""
    world.now = at("2036-06-01")
    world.act(wallets.grant, lab, CREDIT, policy=POLICY)
    world.now = at("2026-11-20T20:02")
    assert world.look(catching_up.ahead_of_clock) == ["lab"]
    assert world.act(catching_up.put_back, policy=POLICY) == ["lab"]
    once = everything(world)
    assert world.act(catching_up.put_back, policy=POLICY) == []
    assert world.look(catching_up.ahead_of_clock) == [] and everything(world) == once
    one = world.run("ada")
    assert world.session(one).admitted_at == world.now
    world.now = at("2026-11-21T20:02")
    assert passing(world) == ()
    assert ledger(world)[2:] == [
        ("grant", 1, "06-01T00:00", "2036-06"),
        ("charge", -15.866666, "11-21T00:00", "2026-11"),
        ("grant", 15.866666, "11-21T00:00", "2026-11"),
    ]
    world.end(one)
    holds(world)


def test_a_boundary_that_was_booked_ahead_does_not_come_again(world, lab):
    """Ten days ahead with a server that ran: what is booked there stays, and is waited for."""
    world.run("ada")
    world.now += 10 * DAY
    assert passing(world) == ()
    once = ledger(world)
    world.now -= 9 * DAY
    assert world.look(catching_up.ahead_of_clock) == ["lab"]
    assert world.act(catching_up.put_back, policy=POLICY) == []
    world.now += 9 * DAY
    assert passing(world) == () and ledger(world) == once
    holds(world)


def test_an_end_that_was_told_in_2036_is_told_again(world, lab):
    """The instant of the sighting counts, not when it could be written down."""
    one = world.run("ada")
    world.now = at("2026-11-20T22")
    ended_at = world.now
    world.now = at("2036-11-20T20")
    with pytest.raises(CatchUpNeeded):
        world.end(one, at=ended_at)
    world.now = at("2026-11-20T22:01")
    world.end(one, at=ended_at)
    assert ledger(world)[-1] == ("charge", -8, "11-20T22:00", "2026-11")
    holds(world)


def test_an_hour_back_after_a_boundary(world, lab):
    """What is booked then is booked after the boundary: now is never before it (rule 3)."""
    world.now = at("2026-11-30T23")
    one = world.run("ada")
    world.now = at("2026-12-01T00:10")
    assert passing(world) == ()
    turned = ledger(world)
    assert turned[-2:] == [
        ("charge", -4, "12-01T00:00", "2026-11"),
        ("grant", 4, "12-01T00:00", "2026-12"),
    ]
    world.now = at("2026-11-30T23:10")
    assert passing(world) == ()
    world.act(wallets.grant, lab, 2 * CREDIT, policy=POLICY)
    (charge,) = (e for e in world.entries(wallet_id=lab) if e["kind"] == "charge")
    world.act(wallets.refund, charge["id"], CREDIT, policy=POLICY)
    world.act(sessions.settle, one, world.now, policy=POLICY)
    two = world.run("bob")
    assert ledger(world)[len(turned) :] == [
        ("grant", 2, "12-01T00:00", "2026-12"),
        ("refund", 1, "12-01T00:00", "2026-12"),
    ]
    assert stands(world, lab) == (603, 100)
    world.now = at("2026-12-01T00:40")
    world.end(one)
    world.end(two)
    # bob's server ran from ten past eleven by the clock of then: so it is told, and so it costs
    assert stands(world, lab)[0] == pytest.approx(603 - 4 * 40 / 60 - 4 * 1.5, abs=0.00001)
    holds(world)


def test_forward_over_a_boundary_and_back(world, lab):
    """What was charged too far comes back when the session ends, what expired stays as it was."""
    one = world.run("ada")
    world.now = at("2026-11-21T03")  # five hours too far, for a minute
    assert passing(world) == ()
    assert stands(world, lab) == (600, 100)  # 16 of 100 were used up to midnight, and came again
    world.now = at("2026-11-20T21")
    (row,) = world.look(lambda tx: tx.execute(t.sessions_.select()).all())
    assert (row.settled_until, row.charged_micro) == (at("2026-11-21"), 16 * CREDIT)
    world.act(wallets.grant, lab, CREDIT, policy=POLICY)
    world.end(one)
    assert ledger(world)[2:] == [
        ("charge", -16, "11-21T00:00", "2026-11"),
        ("grant", 16, "11-21T00:00", "2026-11"),
        ("grant", 1, "11-21T00:00", "2026-11"),
        ("correction", 12, "11-20T21:00", "2026-11"),
    ]
    # one hour was used of the allowance of the 20th; what came back is permanent credit
    assert stands(world, lab) == (613, 100)
    world.now = at("2026-11-21T10")
    assert passing(world) == ()
    assert stands(world, lab) == (613, 100)
    holds(world)


def test_forward_over_a_boundary_and_back_while_it_goes_on(world, lab):
    """The session outlives the jump: it is charged once, whatever the clock said between."""
    one = world.run("ada")
    world.now = at("2026-11-21T03")
    assert passing(world) == ()
    for hour in ("2026-11-20T21", "2026-11-20T23:59", "2026-11-21T00:00:01", "2026-11-21T05"):
        world.now = at(hour)
        assert passing(world) == ()
        holds(world)
    world.end(one)
    assert [e for e in ledger(world) if e[0] == "charge"] == [
        ("charge", -16, "11-21T00:00", "2026-11"),
        ("charge", -20, "11-21T05:00", "2026-11"),
    ]
    assert stands(world, lab) == (580, 80)
    holds(world)


def away(world, lab, looks):
    """A month in which somebody looked at these days, and two servers ran."""
    one = world.run("ada", number=1)
    for day in range(1, 32):
        world.now = at("2026-11-20T20") + day * DAY
        if day == 9:
            world.act(wallets.grant, lab, 7 * CREDIT, policy=POLICY)
        if day == 12:
            two = world.run("bob", number=2)
        if day == 19:
            world.end(one, at=world.now - timedelta(hours=3))
        if day in looks:
            passing(world)
    world.end(two)
    passing(world)
    holds(world)
    named = {one: "one", two: "two"}
    return sorted(
        (e["key"] if e["session_id"] is None else named[e["session_id"]], e["kind"],
         e["amount_micro"], e["effective_at"], e["period"])
        for e in world.entries(wallet_id=lab, limit=1000)
        if e["kind"] != "grant" or e["key"].startswith("allowance:")
    )  # fmt: skip


@pytest.mark.parametrize("looks", [(), (1,), (5, 30), (10, 11, 12, 13)])
def test_a_service_that_is_off_for_a_month(world, lab, looks, tmp_path):
    """It catches up to the same entries as one that looked every day."""
    found = away(world, lab, set(looks))
    charges = [e for e in found if e[1] == "charge"]
    # 19 days less three hours, and 19 days; a slice for each day that they saw
    assert sum(e[2] for e in charges) == -4 * CREDIT * ((19 * 24 - 3) + 19 * 24)
    assert [len([e for e in charges if e[0] == n]) for n in ("one", "two")] == [20, 20]
    on_time = World(f"sqlite:///{tmp_path / 'on-time.sqlite'}")
    try:
        assert away(on_time, furnished(on_time), range(40)) == found
        assert stands(on_time, lab) == stands(world, lab)
    finally:
        on_time.close()


@pytest.mark.parametrize(("days", "late"), [(62, False), (63, True)])
def test_more_than_62_days_need_the_operator(world, lab, days, late):
    """From the first boundary on; then the operator's command books the very same."""
    world.now = at("2026-11-20T20")
    one = world.run("ada")
    world.now = at("2026-11-21") + days * DAY
    assert passing(world) == (("lab",) if late else ())
    if late:
        assert [e[0] for e in ledger(world)] == ["grant", "grant"]
        world.act(catching_up.catch_up, policy=POLICY)
    charges = [e for e in ledger(world) if e[0] == "charge"]
    assert len(charges) == days + 1
    assert charges[0] == ("charge", -16, "11-21T00:00", "2026-11")
    assert all(amount == -96 for _, amount, _, _ in charges[1:])
    world.end(one)
    holds(world)


def test_the_operator_books_far_ahead_in_one_word(world, lab):
    """``far=True`` is what the operator's command says; without it nothing moves."""
    world.run("ada")
    world.now = at("2027-06-01")
    assert world.act(advancing.advance_due, policy=POLICY)[1:] == (0, 0, ("lab",))
    last, count, entries, late = world.act(advancing.advance_due, policy=POLICY, far=True)
    assert (last, count, late) == (0, 1, ())
    assert entries == 193 * 2  # 193 midnights: a slice and a grant each
    holds(world)


def test_allowances_that_begin_at_one_instant_are_each_booked(world, lab):
    """Behind a clock that went back, now stands still at what is booked: each act has its own."""
    one = world.run("ada")
    world.now = at("2026-11-20T21")
    world.end(one)
    world.now = at("2026-11-21T00:00:10")
    assert passing(world) == ()
    world.now = at("2026-11-20T23:30")
    for amount in (50, 50, 70, 70):
        daily = Allowance(amount * CREDIT, "day", None)
        world.act(allowances.set_allowance, lab, daily, policy=POLICY, begin_now=True)
    assert stands(world, lab) == (840, 340)
    assert [e[:3] for e in ledger(world)[-4:]] == [
        ("grant", amount, "11-21T00:00") for amount in (50, 50, 70, 70)
    ]
    holds(world)
