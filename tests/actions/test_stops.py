"""Warning, ordering and taking back; the guard; observe mode (rules 14 and 23)."""

from jhub_usage.actions import exemptions, limits, modes, rules, stops, views, wallets
from jhub_usage.domain.limits import Limit

from .world import POLICY


def plan(world):
    return world.act(stops.plan, "hub", policy=POLICY)


def confirm(world, session_id):
    return world.act(stops.confirm, session_id, policy=POLICY)


def test_warned_then_ordered_then_confirmed(world):
    world.wallet("lab", 2, pays_for="*")
    session_id = world.run()
    world.wait(minutes=19)
    assert plan(world).warned == ()
    world.wait(minutes=2)
    assert plan(world).warned == (session_id,)
    view = world.session(session_id)
    assert (view.warned_reason, view.stop_ordered_at) == ("wallet_empty", None)
    world.wait(minutes=9)
    assert plan(world).orders == ()
    world.wait(minutes=2)
    (order,) = plan(world).orders
    assert (order.session_id, order.person, order.reason) == (session_id, "ada", "wallet_empty")
    assert confirm(world, session_id) and confirm(world, session_id)
    assert plan(world).orders[0].tries == 2  # until it is gone
    world.end(session_id)
    assert world.session(session_id).end_reason == "wallet_empty"
    assert plan(world).orders == () and not confirm(world, session_id)


def test_a_top_up_between_the_decision_and_the_stop(world):
    lab = world.wallet("lab", 1, pays_for="*")
    session_id = world.run()
    world.wait(minutes=10)
    plan(world)
    world.wait(minutes=11)
    assert [o.session_id for o in plan(world).orders] == [session_id]
    world.act(wallets.grant, lab, 10_000_000, policy=POLICY)
    assert not confirm(world, session_id)
    assert plan(world).orders == ()
    view = world.session(session_id)
    assert (view.warned_at, view.stop_ordered_at, view.stop_reason) == (None, None, None)


def test_a_top_up_ends_a_warning(world):
    lab = world.wallet("lab", 1, pays_for="*")
    session_id = world.run()
    world.wait(minutes=10)
    assert plan(world).warned == (session_id,)
    world.act(wallets.grant, lab, 10_000_000, policy=POLICY)
    plan(world)
    assert world.session(session_id).warned_at is None


def test_a_lowered_overdraft_still_gives_the_whole_lead(world):
    lab = world.wallet("lab", 0, pays_for="*", overdraft_micro=50_000_000)
    session_id = world.run()
    world.wait(minutes=300)
    world.act(wallets.change, lab, overdraft_micro=0)
    assert plan(world).warned == (session_id,)
    world.wait(minutes=9)
    assert plan(world).orders == ()
    world.wait(minutes=1)
    assert len(plan(world).orders) == 1


def test_a_session_limit(world):
    world.wallet("lab", 1000, pays_for="*")
    world.act(limits.add, Limit("profile", "session_hours", 3600, profile="gpu"))
    session_id = world.run()
    world.wait(minutes=51)
    assert plan(world).warned == (session_id,)
    world.wait(minutes=10)
    assert [o.reason for o in plan(world).orders] == ["session_limit"]
    assert confirm(world, session_id)


def test_many_at_once_wait_for_a_person(world):
    lab = world.wallet("lab", 10, pays_for="*")
    ids = {world.run("ada", str(n)) for n in range(7)}
    world.act(wallets.correct, world.entries(wallet_id=lab)[0]["id"], -10_000_000,
              policy=POLICY, note="it was never theirs")  # fmt: skip
    world.wait(minutes=20)
    assert set(plan(world).warned) == ids
    world.wait(minutes=11)
    for _ in range(3):
        guarded = plan(world)
        assert (guarded.guarded, guarded.orders) == (7, ())
    assert world.look(stops.guard_state)["count"] == 7
    world.act(stops.release_guard)
    assert {o.session_id for o in plan(world).orders} == ids
    (audit,) = [a for a in world.look(views.audit_rows) if a["action"] == "stops.released"]
    assert audit["before"] == {"count": 7, "released_until_at": None}


def test_five_at_once_need_nobody(world):
    world.wallet("lab", 5, pays_for="*")
    for n in range(5):
        world.run("ada", str(n))
    world.wait(minutes=14)
    plan(world)
    world.wait(minutes=11)
    assert len(plan(world).orders) == 5


def test_observe_records_what_would_have_been_stopped_and_stops_nothing(observing):
    observing.wallet("lab", 1, pays_for="*")
    session_id = observing.run()
    for _ in range(4):
        observing.wait(minutes=10)
        seen = plan(observing)
        assert (seen.warned, seen.orders) == ((), ())
    view = observing.session(session_id)
    assert (view.stop_reason, view.warned_at, view.stop_ordered_at) == ("wallet_empty", None, None)
    told = [a for a in observing.look(views.audit_rows) if a["action"] == "server.would_stop"]
    assert [a["subject_id"] for a in told] == [session_id]
    # switched on, they are warned like anybody
    observing.act(modes.set_mode, "enforce")
    assert plan(observing).warned == (session_id,)
    assert plan(observing).orders == ()


def test_one_switch_takes_every_order_back(world):
    world.wallet("lab", 1, pays_for="*")
    session_id = world.run()
    world.wait(minutes=10)
    plan(world)
    world.wait(minutes=11)
    assert plan(world).orders
    world.act(modes.set_mode, "off")
    assert not confirm(world, session_id)
    assert plan(world).orders == ()


def test_another_hubs_servers_are_theirs_to_stop(world):
    world.wallet("lab", 1, pays_for="*")
    world.run()
    world.wait(minutes=30)
    plan(world)
    world.wait(minutes=11)
    other = world.act(stops.plan, "another hub", policy=POLICY)
    assert (other.warned, other.orders) == ((), ())


def test_a_session_that_no_wallet_pays_for_still_has_its_limit(world):
    """Exempt from paying is not exempt from the hours of a profile."""
    world.act(rules.replace, [])
    world.act(exemptions.set_exempt, "person", "ada", True)
    world.act(limits.add, Limit("profile", "session_hours", 3600, profile="gpu"))
    session_id = world.run()
    assert world.session(session_id).wallet_id is None
    world.wait(minutes=49)
    assert plan(world).warned == ()
    world.wait(minutes=2)
    assert plan(world).warned == (session_id,)
    assert world.session(session_id).warned_reason == "session_limit"
    world.wait(minutes=10)
    assert [o.reason for o in plan(world).orders] == ["session_limit"]
    assert confirm(world, session_id)
    world.act(limits.remove, world.look(views.catalog).limits[0].id)
    assert confirm(world, session_id), "the limit was frozen when it was admitted"
    world.end(session_id)
    assert not confirm(world, session_id) and world.entries(session_id=session_id) == []


def test_switched_off_a_warning_goes(world):
    world.wallet("lab", 1, pays_for="*")
    session_id = world.run()
    world.wait(minutes=10)
    assert plan(world).warned == (session_id,)
    world.act(modes.set_mode, "off")
    assert plan(world).orders == ()
    assert world.session(session_id).warned_at is None


def test_switched_to_observe_what_was_due_is_told_once(world):
    world.wallet("lab", 1, pays_for="*")
    session_id = world.run()
    world.wait(minutes=10)
    assert plan(world).warned == (session_id,)
    world.wait(minutes=30)
    world.act(modes.set_mode, "observe")
    for _ in range(3):
        assert plan(world).orders == ()
    told = [a for a in world.look(views.audit_rows) if a["action"] == "server.would_stop"]
    assert len(told) == 1
