"""Emergency passes: neither credit nor limits refuse or stop, for a while; everything is billed."""

from datetime import timedelta

import pytest

from jhub_usage.actions import (
    admissions,
    check,
    exemptions,
    limits,
    listings,
    modes,
    passes,
    rates,
    stops,
    views,
    wallets,
)
from jhub_usage.domain.admission import PersonKey
from jhub_usage.domain.errors import BadInput, Conflict, NotFound
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.passes import Pass, excuse, valid

from .world import BORN, POLICY, T0


@pytest.fixture(autouse=True)
def every_invariant_holds_in_the_end(world):
    yield
    assert failed(world.look(check.check)) == []


def person(name="ada"):
    return PersonKey(name, sum(name.encode()), BORN)


def give(world, name="ada", *, note="a deadline", **more) -> int:
    more = more or {"hours": 24}
    return world.act(passes.give_to, person(name), hub_id="hub", note=note, **more)


def plan(world):
    return world.act(stops.plan, "hub", policy=POLICY)


def confirm(world, session_id) -> bool:
    return world.act(stops.confirm, session_id, policy=POLICY)


def reason_of(world, name="ada", **more):
    decision = world.admit(world.ask(name, **more))
    return decision.decision, decision.reason.code


def actions_of(world):
    return [row["action"] for row in world.look(views.audit_rows)][::-1]


# -- giving ---------------------------------------------------------------------------------------


def test_given_listed_and_revoked(world):
    first = give(world)
    second = give(world, "bob", expires_at=T0 + timedelta(days=7))
    shown = world.look(passes.listed)
    assert [(p["id"], p["person"], p["state"], p["note"]) for p in shown] == [
        (second, "bob", "valid", "a deadline"), (first, "ada", "valid", "a deadline"),
    ]  # fmt: skip
    ada = world.look(passes.listed)[1]["person_id"]
    assert world.look(passes.active, ada, world.now) == Pass(first, T0 + timedelta(days=1))
    world.wait(minutes=60)
    world.act(passes.revoke, first)
    assert world.look(passes.active, ada, world.now) is None
    world.wait(minutes=60 * 24 * 7)
    assert [p["state"] for p in world.look(passes.listed)] == ["expired", "revoked"]
    for pass_id in (first, second):
        with pytest.raises(Conflict, match="not valid any more"):
            world.act(passes.revoke, pass_id)
    with pytest.raises(NotFound):
        world.act(passes.revoke, 99)
    assert [a for a in actions_of(world) if a.startswith("pass.")] == [
        "pass.given", "pass.given", "pass.revoked",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"hours": 0}, "1 to 168 hours"),
        ({"hours": 169}, "1 to 168 hours"),
        ({"hours": True}, "1 to 168 hours"),
        ({"hours": 1, "expires_at": T0 + timedelta(hours=1)}, "or until when"),
        ({"hours": None}, "or until when"),
        ({"expires_at": T0}, "ends in the future"),
        ({"expires_at": T0 + timedelta(days=7, seconds=1)}, "at most 7 days"),
        ({"hours": 1, "note": " "}, "needs a reason"),
        ({"hours": 1, "note": "x" * 2001}, "longer than"),
    ],
)
def test_passes_that_can_not_be(world, more, text):
    before = world.look(views.catalog).version
    with pytest.raises(BadInput, match=text):
        give(world, **more)
    assert world.look(passes.listed) == []
    assert world.look(views.catalog).version == before


def test_a_name_that_nobody_knows_is_no_new_person(world):
    with pytest.raises(NotFound, match="nobody called 'typo'"):
        world.act(passes.give_to, PersonKey("typo"), hub_id="hub", note="x", hours=1)
    with pytest.raises(NotFound):
        world.act(passes.give, 99, note="x", hours=1)
    assert world.look(listings.people_page, "hub") == []


# -- starting -------------------------------------------------------------------------------------


def test_a_start_that_the_wallet_can_not_pay(world):
    lab = world.wallet("lab", pays_for="*")
    assert reason_of(world) == ("refused", "wallet")
    pass_id = give(world)
    ask = world.ask()
    advised = world.look(admissions.advise, ask, policy=POLICY, cache=world.cache)
    assert (advised.decision, advised.reason.code) == ("admitted", "pass")
    decision = world.admit(ask)
    assert decision.may_start and decision.reason.code == "pass"
    assert decision.reason.details["pass_id"] == pass_id
    assert decision.reason.details["instead_of"] == "wallet"
    assert "Without it: The wallet lab has" in decision.reason.text
    assert decision.hold_micro == 1_000_000 and decision.billed
    stored = world.look(views.decision, ask.session_id)
    assert (stored["decision"], stored["reason"]) == ("admitted", "pass")
    assert world.admit(ask) == decision  # asked again: the same answer
    world.tell(ask.session_id, "started")
    world.wait(minutes=60)
    world.end(ask.session_id)
    assert world.balance(lab) == -4_000_000  # billed: below its overdraft
    assert reason_of(world, "bob") == ("refused", "wallet")  # it is ada's alone


def test_limits_at_once_and_per_period(world):
    world.wallet("lab", 1000, pays_for="*")
    world.act(limits.add, Limit("person", "gpus", 1000, person="*"))
    world.act(limits.add, Limit("person", "gpu_hours", 3_600_000, person="*", period="day"))
    world.run()
    assert reason_of(world, server="b") == ("refused", "limit")
    give(world)
    world.run(server="b")
    world.wait(minutes=90)
    assert reason_of(world, server="c") == ("admitted", "pass")
    assert reason_of(world, "bob") == ("admitted", "ok")


def test_what_a_pass_does_not_excuse(world):
    lab = world.wallet("lab", 100, pays_for="ada")
    give(world)
    give(world, "bob")
    assert reason_of(world, "bob") == ("refused", "no_wallet")
    assert reason_of(world, wallet_name="nothing") == ("refused", "wallet_choice")
    world.act(wallets.change, lab, closed=True)
    assert reason_of(world) == ("refused", "wallet_closed")
    world.act(wallets.change, lab, closed=False)
    world.act(rates.add, "gpu", None)
    assert reason_of(world) == ("refused", "no_rate")


def test_it_says_pass_only_where_it_was_needed(world):
    world.wallet("lab", 100, pays_for="*")
    give(world)
    assert reason_of(world) == ("admitted", "ok")


def test_exempt_people_are_bound_by_limits_unless_they_have_a_pass(world):
    world.act(exemptions.set_exempt, "person", "ada", True)
    world.act(limits.add, Limit("everyone", "gpus", 0))
    assert reason_of(world) == ("refused", "limit")
    give(world)
    decision = world.admit(world.ask())
    assert (decision.reason.code, decision.billed) == ("pass", False)


def test_observe_would_not_have_refused_it(observing):
    observing.wallet("lab", pays_for="*")
    assert reason_of(observing) == ("observed", "wallet")
    give(observing)
    assert reason_of(observing) == ("admitted", "pass")


def test_each_process_learns_of_it_at_the_next_start(world):
    """The catalog carries passes: nothing more is asked at a start, and nothing is stale."""
    world.wallet("lab", pays_for="*")
    assert reason_of(world) == ("refused", "wallet")
    first = give(world, hours=1)
    assert reason_of(world) == ("admitted", "pass")
    world.act(passes.revoke, first)
    assert reason_of(world) == ("refused", "wallet")
    give(world, hours=1)
    assert reason_of(world) == ("admitted", "pass")
    world.wait(minutes=60)  # expired, although nothing changed in the catalog
    assert reason_of(world) == ("refused", "wallet")


# -- stopping -------------------------------------------------------------------------------------


def test_an_empty_wallet_stops_nobody_until_the_pass_expires(world):
    world.wallet("lab", 1, pays_for="*")
    session_id = world.run()
    give(world, hours=2)
    for _ in range(11):
        world.wait(minutes=10)
        assert plan(world).warned == () and plan(world).orders == ()
    view = world.session(session_id)
    shown = world.look(listings.meters_of, [view], policy=POLICY)[session_id]
    assert shown["ends_at"] == T0 + timedelta(minutes=130)  # the expiry and the usual lead
    world.wait(minutes=10)
    assert plan(world).warned == (session_id,)
    world.wait(minutes=9)
    assert plan(world).orders == ()
    world.wait(minutes=1)
    assert [o.session_id for o in plan(world).orders] == [session_id]
    assert confirm(world, session_id)


def test_a_pass_takes_a_warning_and_an_order_back(world):
    world.wallet("lab", 1, pays_for="*")
    session_id = world.run()
    world.wait(minutes=10)
    assert plan(world).warned == (session_id,)
    world.wait(minutes=15)
    assert len(plan(world).orders) == 1
    pass_id = give(world)
    assert not confirm(world, session_id)  # asked right before the try
    assert plan(world).orders == ()
    assert world.session(session_id).warned_at is None
    world.act(passes.revoke, pass_id)
    assert plan(world).warned == (session_id,)


def test_only_its_persons_servers_go_on(world):
    world.wallet("lab", 2, pays_for="*")
    ada, bob = world.run("ada"), world.run("bob")
    give(world)
    world.wait(minutes=20)
    assert plan(world).warned == (bob,)
    world.wait(minutes=10)
    assert [o.session_id for o in plan(world).orders] == [bob]
    world.end(bob, "wallet_empty")
    world.wait(minutes=60)
    assert plan(world).orders == () and world.session(ada).state == "running"


def test_the_hours_of_one_server_still_count(world):
    world.wallet("lab", 1, pays_for="*")
    world.act(limits.add, Limit("profile", "session_hours", 3600, profile="gpu"))
    session_id = world.run()
    give(world)
    world.wait(minutes=51)
    assert plan(world).warned == (session_id,)
    world.wait(minutes=10)
    assert [o.reason for o in plan(world).orders] == ["session_limit"]
    assert confirm(world, session_id)


def test_a_limit_per_period_stops_nobody_until_the_pass_expires(world):
    world.wallet("lab", 1000, pays_for="*")
    world.act(limits.add, Limit("person", "gpu_hours", 3_600_000, person="ada", period="week"))
    session_id = world.run()
    give(world, hours=3)
    world.wait(minutes=100)
    assert plan(world).warned == () and plan(world).orders == ()
    world.wait(minutes=80)
    assert plan(world).warned == (session_id,)
    world.wait(minutes=10)
    assert [o.reason for o in plan(world).orders] == ["period_limit"]
    again = give(world, hours=1)
    assert not confirm(world, session_id)
    world.act(passes.revoke, again)
    assert plan(world).warned == (session_id,)


def test_in_mode_off_there_is_nothing_to_excuse(world):
    world.wallet("lab", pays_for="*")
    give(world)
    world.act(modes.set_mode, "off")
    assert reason_of(world) == ("admitted", "off")


# -- rules ----------------------------------------------------------------------------------------


def test_of_several_passes_the_one_that_lasts_longest_counts():
    held = {1: (Pass(1, T0), Pass(2, T0 + timedelta(hours=2)), Pass(3, T0 + timedelta(hours=1)))}
    assert valid(held, 1, T0).id == 2
    assert valid(held, 1, T0 + timedelta(hours=2)) is None  # it ends at that instant
    assert valid(held, 2, T0) is None and valid({}, None, T0) is None


@pytest.mark.parametrize("code", ["ok", "off", "no_wallet", "no_rate", "wallet_closed", "catch_up"])
def test_other_reasons_stay_as_they_are(code):
    from jhub_usage.domain.admission import Reason

    reason = Reason(code, "text")
    assert excuse(reason, Pass(1, T0)) is reason
    assert excuse(Reason("wallet", "text"), None).code == "wallet"
