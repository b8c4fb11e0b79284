"""Limits per period on both databases: at admission, while servers run, and as they are shown."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from jhub_usage.actions import (
    admissions,
    check,
    exemptions,
    hubs,
    limit_uses,
    limits,
    listings,
    modes,
    ownership,
    stops,
    usage,
    views,
    wallets,
)
from jhub_usage.domain.admission import PersonKey, Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.limits import Limit
from jhub_usage.store import period_use

from .world import BORN, CPU, POLICY, T0

HOURS = 3_600_000


def limit(world, hours, *, period="month", resource="gpu_hours", **whom) -> int:
    """Set a limit in hours or credits; for one person unless somebody else is named."""
    amount = int(hours * (10**6 if resource == "credits" else HOURS))
    subject = {
        (True, True): "wallet_person", (False, True): "person", (True, False): "wallet",
    }.get(("wallet_id" in whom, "person" in whom), "group")  # fmt: skip
    return world.act(limits.add, Limit(subject, resource, amount, period=period, **whom))


def ran(world, minutes, person="ada", **more):
    """A server that ran so long and ended."""
    session_id = world.run(person, **more)
    world.wait(minutes=minutes)
    world.end(session_id)
    return session_id


def refused(world, person="ada", **more) -> bool:
    """Whether another start would be refused now by a limit; asks read-only and under the gate."""
    ask = world.ask(person, "another", **more)
    told = world.look(admissions.advise, ask, policy=POLICY, cache=world.cache)
    decision = world.admit(ask)
    assert told.reason == decision.reason
    if decision.may_start:
        world.tell(ask.session_id, "void", reason="cancelled")
    assert decision.reason.code in ("ok", "exempt", "limit")
    return decision.reason.code == "limit"


def plan(world):
    return world.act(stops.plan, "hub", policy=POLICY)


def confirm(world, session_id):
    return world.act(stops.confirm, session_id, policy=POLICY)


def sound(world):
    assert failed(world.look(check.check)) == []


# -- before a start -------------------------------------------------------------------------------


def test_a_persons_hours_of_a_month(world):
    world.wallet("lab", 1000, pays_for="*")
    limit_id = limit(world, 2, person="ada")
    ran(world, 105)
    assert not refused(world)  # a quarter of an hour is left, as its minimum run needs
    ran(world, 1)
    decision = world.admit(world.ask())
    assert (decision.decision, decision.reason.code) == ("refused", "limit")
    assert decision.reason.text == (
        "The limit for ada is 2 GPU-hours per month; 1.767 are used in November 2026 and the first "
        "15 min of this server need 0.25 more. It begins anew on 2026-12-01 (00:00 UTC). Until "
        "then, choose a smaller profile or ask an administrator."
    )
    assert decision.reason.details == {
        "limit_id": limit_id, "resource": "gpu_hours", "limit": 2 * HOURS, "used": 106 * 60_000,
        "set_aside": 0, "asked": 900_000, "period": "month", "of": "2026-11",
        "begins_anew_at": "2026-12-01T00:00:00Z",
    }  # fmt: skip
    assert not refused(world, "bob") and not refused(world, shape=CPU)
    world.now = datetime(2026, 12, 1, tzinfo=UTC)
    assert not refused(world)
    sound(world)


def test_what_still_runs_counts_up_to_now(world):
    world.wallet("lab", 1000, pays_for="*")
    limit(world, 2, person="*")
    world.run()
    world.wait(minutes=94)
    assert not refused(world)  # 94 used, ten set aside for its warning, 15 asked: 119 of 120
    world.wait(minutes=2)
    assert refused(world) and not refused(world, "bob")


def test_a_server_over_the_months_end_counts_in_each_what_it_used_there(world):
    world.now = datetime(2026, 11, 30, 23, tzinfo=UTC)
    world.wallet("lab", 1000, pays_for="*")
    limit(world, 1, person="ada")
    running = world.run()
    world.wait(minutes=59)
    assert refused(world)  # used 59, a minute set aside
    world.wait(minutes=31)
    assert not refused(world)  # 30 in December, ten set aside, 15 asked
    world.end(running)
    world.wait(minutes=1)
    ran(world, 15)
    assert not refused(world)  # 45 used and 15 asked
    ran(world, 1)
    assert refused(world)
    sound(world)


def test_starts_in_one_transaction_see_each_other(world):
    world.wallet("lab", 1000, pays_for="*")
    limit(world, 1, person="*")
    asks = [world.ask(person, str(n)) for n in range(6) for person in ("ada", "bob")]
    decided = world.admit(*asks)
    for person in (0, 1):
        assert [d.decision for d in decided[person::2]] == ["admitted"] * 4 + ["refused"] * 2
    assert "0.25 are set aside" not in decided[0].reason.text
    assert "1 are set aside for servers that run" in decided[-1].reason.text
    # those that never come free what they took
    world.wait(minutes=8)
    assert not refused(world)


@pytest.mark.parametrize("each", [False, True])
def test_a_groups_hours(world, each):
    world.wallet("lab", 1000, pays_for="*")
    limit(world, 1, group="physics", each=each, period="day")
    ran(world, 50, groups=("physics", "all"))
    assert refused(world, groups=("physics",))
    assert refused(world, "bob", groups=("physics",)) is not each
    assert not refused(world, "ada")  # not in the group now
    assert not refused(world, "ada", groups=("physics2",))


def test_the_members_share_of_a_wallet(world):
    """Set for one within the wallet, and for each; other wallets do not count."""
    lab, other = world.wallet("lab", 1000, pays_for="*"), world.wallet("other", 1000)
    for person in ("ada", "bob"):
        key = PersonKey(person, sum(person.encode()), BORN)
        world.act(ownership.set_role, other, key, "spender", hub_id="hub")
    limit(world, 1, wallet_id=lab, person="ada")
    limit(world, 2, wallet_id=lab, person="*")
    ran(world, 50)
    ran(world, 50, "bob")
    assert refused(world) and not refused(world, "bob")
    assert not refused(world, wallet_name="other")
    ran(world, 300, wallet_name="other")
    ran(world, 60, "bob")
    assert refused(world, "bob") and not refused(world, "bob", wallet_name="other")
    told = world.admit(world.ask()).reason.text
    assert "The limit for ada within the wallet lab is 1 GPU-hours" in told
    assert told.endswith("ask the wallet's manager.")


def test_a_wallets_credits_of_a_week(world):
    """Credits are those that usage costs; what is given back as goodwill is not used anew."""
    lab = world.wallet("lab", 1000, pays_for="*")
    limit(world, 5, resource="credits", period="week", wallet_id=lab)
    session_id = ran(world, 61)
    assert refused(world) and refused(world, "bob")
    (charge,) = world.entries(session_id=session_id)
    world.act(wallets.refund, charge["id"], 4_000_000, policy=POLICY, note="sorry")
    assert refused(world)
    assert not refused(world, shape=CPU)  # costs nothing
    world.now = datetime(2026, 11, 23, tzinfo=UTC)  # Monday
    assert not refused(world)


def test_who_is_exempt_has_hours_too_and_no_credits(world):
    world.wallet("lab", 1000, pays_for="*")
    world.act(exemptions.set_exempt, "person", "ada", True)
    limit(world, 0, resource="credits", person="ada")
    hours = limit(world, 1, person="ada")
    ran(world, 61)
    decision = world.admit(world.ask())
    assert (decision.decision, decision.reason.code) == ("refused", "limit")
    assert decision.reason.details["limit_id"] == hours
    world.act(limits.remove, hours)
    assert not refused(world)


def test_observed_starts_count_and_are_recorded(observing):
    observing.wallet("lab", 1000, pays_for="*")
    limit(observing, 0.5, person="ada")
    first, second, third = observing.admit(*(observing.ask("ada", str(n)) for n in range(3)))
    assert [d.decision for d in (first, second, third)] == ["admitted", "admitted", "observed"]
    assert third.reason.code == "limit" and third.reason.details["set_aside"] == 1_800_000


def test_switched_off_nothing_is_refused_and_everything_counts(world):
    world.wallet("lab", 1000, pays_for="*")
    limit(world, 1, person="ada")
    world.act(modes.set_mode, "off")
    ran(world, 61)
    assert world.admit(world.ask("ada", "b")).reason.code == "off"
    world.act(modes.set_mode, "enforce")
    assert refused(world)


def test_the_strictest_of_all_is_named(world):
    lab = world.wallet("lab", 1000, pays_for="*")
    loose = limit(world, 2, person="ada", period="day")
    strict = limit(world, 1.9, wallet_id=lab)
    world.act(limits.add, Limit("everyone", "gpus", 1000))
    ran(world, 115)
    assert world.admit(world.ask()).reason.details["limit_id"] == strict
    world.act(limits.remove, strict)
    assert world.admit(world.ask()).reason.details["limit_id"] == loose


def test_a_day_is_as_long_as_the_clocks_say(ready_url):
    """The 25th of October 2026 has 25 hours in Berlin, and counts all of them."""
    from .world import World

    berlin = Policy(timezone="Europe/Berlin")
    world = World(ready_url)
    world.now = datetime(2026, 10, 24, 22, tzinfo=UTC)  # midnight in Berlin
    world.act(hubs.install, "hub", timezone="Europe/Berlin")
    world.wallet("lab", 1000, pays_for="*")
    limit(world, 24.5, person="ada", period="day")
    session_id = world.run()
    world.wait(minutes=24 * 60 + 20)
    ask = world.ask("ada", "b")
    decision = world.act(admissions.admit, ask, policy=berlin, cache=world.cache)
    assert decision.reason.details["used"] == (24 * 60 + 20) * 60_000
    assert "(00:00 Europe/Berlin)" in decision.reason.text
    ends = decision.reason.details["begins_anew_at"]
    assert ends == "2026-10-25T23:00:00Z"
    world.wait(minutes=40)
    decision = world.act(admissions.admit, world.ask("ada", "c"), policy=berlin, cache=world.cache)
    assert decision.may_start
    world.end(session_id)
    sound(world)
    world.close()


def test_a_limit_of_the_same_kind_is_replaced_and_another_period_is_another(world):
    first = limit(world, 1, person="ada")
    assert limit(world, 2, person="ada") == first
    assert limit(world, 2, person="ada", period="day") != first
    assert limit(world, 2, person="ada", resource="core_hours") != first
    held = world.look(views.catalog).limits
    assert [(x.resource, x.amount, x.period) for x in held] == [
        ("gpu_hours", 2 * HOURS, "month"), ("gpu_hours", 2 * HOURS, "day"),
        ("core_hours", 2 * HOURS, "month"),
    ]  # fmt: skip
    audit = [a for a in world.look(views.audit_rows) if a["action"] == "limit.set"]
    assert len(audit) == 4 and audit[-1]["after"]["period"] == "month"


def statements(world, ask) -> int:
    """How many an admission makes."""
    count = []
    event = (world.db.engine, "before_cursor_execute", lambda *_: count.append(1))
    sa.event.listen(*event)
    world.admit(ask)
    sa.event.remove(*event)
    return len(count)


def test_who_has_no_such_limit_pays_nothing_for_it(world):
    world.wallet("lab", 1000, pays_for="*")
    for person in ("ada", "bob", "cy"):
        world.admit(world.ask(person, "warm"))
    before = statements(world, world.ask("bob", "a"))
    limit(world, 100, person="ada")
    world.admit(world.ask("cy", "a"))  # the catalog was read anew
    assert statements(world, world.ask("bob", "b")) == before
    assert statements(world, world.ask("ada", "b")) == before + 1


# -- while servers run ----------------------------------------------------------------------------


def test_warned_ordered_confirmed_and_told_which_limit(world):
    lab = world.wallet("lab", 1000, pays_for="*")
    limit_id = limit(world, 2, wallet_id=lab, person="*")
    session_id = world.run()
    world.wait(minutes=109)
    assert plan(world).warned == ()
    world.wait(minutes=2)
    assert plan(world).warned == (session_id,)
    view = world.session(session_id)
    assert (view.warned_reason, view.stop_ordered_at) == ("period_limit", None)
    assert view.stop_at == T0 + timedelta(minutes=121)
    told = world.look(listings.meters_of, [view], policy=POLICY)[session_id]
    assert (told["ends_at"], told["ends_reason"]) == (view.stop_at, "period_limit")
    assert told["ends_limit"].id == limit_id
    world.wait(minutes=10)
    (order,) = plan(world).orders
    assert (order.session_id, order.reason) == (session_id, "period_limit")
    assert confirm(world, session_id)
    world.end(session_id)
    assert world.session(session_id).end_reason == "period_limit"
    # which it was stays known, as it was
    world.act(limits.add, Limit("wallet_person", "gpu_hours", 9 * HOURS, person="*",
                                wallet_id=lab, period="month"))  # fmt: skip
    limit_then = world.look(listings.stop_limit, session_id)
    assert (limit_then.id, limit_then.amount, limit_then.person) == (limit_id, 2 * HOURS, "*")
    sound(world)


TAKEN_BACK = {
    "raised": lambda world, limit_id: limit(world, 9, person="ada"),
    "lifted": lambda world, limit_id: world.act(limits.remove, limit_id),
    "begun anew": lambda world, limit_id: setattr(
        world, "now", datetime(2026, 11, 21, 0, 0, tzinfo=UTC)
    ),
}


@pytest.mark.parametrize("how", TAKEN_BACK)
@pytest.mark.parametrize("ordered", [False, True])
def test_a_warning_and_an_order_are_taken_back(world, how, ordered):
    world.now = datetime(2026, 11, 20, 21, 40, tzinfo=UTC)
    world.wallet("lab", 1000, pays_for="*")
    period = "day" if how == "begun anew" else "month"
    limit_id = limit(world, 2, person="ada", period=period)
    session_id = world.run()
    world.wait(minutes=112)
    assert plan(world).warned == (session_id,)
    if ordered:
        world.wait(minutes=10)
        assert len(plan(world).orders) == 1 and confirm(world, session_id)
    TAKEN_BACK[how](world, limit_id)
    if ordered:
        assert not confirm(world, session_id)
    assert plan(world).orders == ()
    view = world.session(session_id)
    assert (view.warned_at, view.stop_ordered_at, view.stop_reason) == (None, None, None)


def test_nobody_is_warned_of_a_limit_that_begins_anew_before_they_could_be_stopped(world):
    world.now = datetime(2026, 11, 20, 22, 30, tzinfo=UTC)
    world.wallet("lab", 1000, pays_for="*")
    session_id = world.run()
    world.wait(minutes=82)  # 23:52
    limit(world, 1, person="ada", period="day")
    assert plan(world).warned == ()
    told = world.look(listings.meters_of, [world.session(session_id)], policy=POLICY)
    assert told[session_id]["ends_reason"] == "wallet_empty"
    world.wait(minutes=59)  # 00:51: an hour of the new day is near
    assert plan(world).warned == (session_id,)


def test_within_its_minimum_run_a_server_is_left_alone(world):
    world.wallet("lab", 1000, pays_for="*")
    session_id = world.run()
    world.wait(minutes=2)
    limit(world, 0, person="ada")
    assert plan(world).warned == ()
    world.wait(minutes=4)
    assert plan(world).warned == (session_id,)
    world.wait(minutes=9)
    assert plan(world).orders == ()
    world.wait(minutes=2)
    assert len(plan(world).orders) == 1


def test_a_groups_servers_share_its_hours(world):
    """Two run: each has half of what is left. The CPU server of a third goes on."""
    world.wallet("lab", 1000, pays_for="*")
    limit(world, 4, group="physics")
    ids = [world.run(person, groups=("physics",)) for person in ("ada", "bob")]
    ids.append(world.run("cy", groups=("physics",), shape=CPU))
    guest = world.run("guest", groups=("all",))
    world.wait(minutes=111)
    assert set(plan(world).warned) == set(ids[:2])
    world.end(ids[0])
    plan(world)
    assert world.session(ids[1]).warned_at is None  # alone it has longer
    assert world.session(guest).warned_at is None


def test_another_start_leaves_a_running_server_time_for_its_warning(world):
    world.wallet("lab", 1000, pays_for="*")
    limit(world, 2, group="physics")
    ada = world.run(groups=("physics",))
    world.wait(minutes=94)
    world.run("bob", groups=("physics",))  # 94 + 10 + 15 of 120
    assert plan(world).warned == ()
    world.wait(minutes=2)
    assert plan(world).warned == (ada,)
    assert not world.admit(world.ask("cy", groups=("physics",))).may_start


def test_a_server_that_no_wallet_pays_for_is_held_to_its_hours(world):
    world.act(exemptions.set_exempt, "person", "ada", True)
    limit(world, 1, person="*")
    session_id = world.run()
    assert world.session(session_id).wallet_id is None
    world.wait(minutes=51)
    assert plan(world).warned == (session_id,)
    told = world.look(listings.meters_of, [world.session(session_id)], policy=POLICY)
    assert told[session_id]["ends_reason"] == "period_limit"
    world.wait(minutes=10)
    assert len(plan(world).orders) == 1 and confirm(world, session_id)


def test_observe_records_what_would_have_been_stopped(observing):
    observing.wallet("lab", 1000, pays_for="*")
    limit_id = limit(observing, 1, person="ada")
    session_id = observing.run()
    for _ in range(7):
        observing.wait(minutes=10)
        assert plan(observing).orders == ()
    view = observing.session(session_id)
    assert (view.stop_reason, view.warned_at) == ("period_limit", None)
    (told,) = observing.look(listings.would_be_stopped)
    assert (told["session_id"], told["reason"]) == (session_id, "period_limit")
    assert observing.look(listings.stop_limit, session_id).id == limit_id


def test_what_comes_first_ends_it(world):
    lab = world.wallet("lab", 8, pays_for="*")
    limit(world, 3, person="ada")
    session_id = world.run()
    world.wait(minutes=111)
    plan(world)
    assert world.session(session_id).warned_reason == "wallet_empty"
    world.act(wallets.grant, lab, 90_000_000, policy=POLICY)
    world.wait(minutes=60)
    plan(world)
    assert world.session(session_id).warned_reason == "period_limit"


def test_another_hubs_servers_count_and_are_theirs_to_stop(world):
    world.wallet("lab", 1000, pays_for="*")
    limit(world, 1, person="ada")
    world.run()
    world.wait(minutes=70)
    seen = world.act(stops.plan, "another hub", policy=POLICY)
    assert (seen.warned, seen.orders) == ((), ())


# -- what is read ---------------------------------------------------------------------------------


def test_every_scope_reads_what_is_its_own(world):
    """Ended and open, by person, wallet, both, and group; of this month and of this day."""
    lab, other = world.wallet("lab", 1000, pays_for="ada"), world.wallet("other", 99, pays_for="*")
    world.now = T0 - timedelta(days=3)
    ran(world, 60, groups=("physics", "all"))
    ran(world, 60, "bob", groups=("all",))
    world.now = T0
    ran(world, 30, groups=("physics",))
    world.run(server="open", groups=("physics",))
    world.run("bob", groups=("all",), shape=CPU)
    world.wait(minutes=10)
    ada, bob = (world.session(i).person_id for i in _open(world))
    days = {"month": ("2026-11-01", "2026-11-30"), "day": ("2026-11-20", "2026-11-20")}
    expected = {
        ("person", ada): (90, 30, 1), ("person", bob): (60, 0, 1),
        ("wallet", lab): (90, 30, 1), ("wallet", other): (60, 0, 1),
        ("wallet_person", lab, ada): (90, 30, 1), ("wallet_person", lab, bob): (0, 0, 0),
        ("group", "physics", None): (90, 30, 1), ("group", "all", None): (120, 0, 1),
        ("group", "all", ada): (60, 0, 0), ("group", "all", bob): (60, 0, 1),
        ("group", "nobody", None): (0, 0, 0), ("person", 999): (0, 0, 0),
    }  # fmt: skip

    def read(scopes):
        use = world.look(period_use.read, scopes, days)
        return {
            s: (*(use.used(s, p).gpu_us // 60_000_000_000 for p in days), len(use.open.get(s, ())))
            for s in scopes
        }

    assert read(list(expected)) == expected
    for scope, sums in expected.items():  # and alone
        assert read([scope]) == {scope: sums}
    assert read([("wallet_person", lab, "*")]) == {("wallet_person", lab, "*"): (0, 0, 0)}
    use = world.look(period_use.read, [("wallet_person", lab, "*")], days)
    assert set(use.open) == {("wallet_person", lab, ada)}
    assert world.look(period_use.read, [], days) == period_use.PeriodUse()


def _open(world) -> list[str]:
    found = world.look(views.session_views, open_only=True)
    return [v.id for v in sorted(found, key=lambda v: v.person)]


def test_sums_beyond_64_bits_are_exact(world):
    """A month of a large cluster, in thousandths times microseconds."""
    world.wallet("lab", 1000, pays_for="*")
    session_id = ran(world, 60)
    who = world.session(session_id).person_id
    from jhub_usage.store import tables as t

    large = 2**62 + 1
    rows = [
        {"day": f"2026-11-{day:02d}", "person_id": who, "wallet_id": 0, "group_name": "big",
         "gpu_us": large, "cpu_us": large, "cost_micro": -7}
        for day in range(1, 20)
    ]  # fmt: skip
    with world.db.write() as tx:
        tx.execute(t.use_days.insert(), rows)
    scope = ("group", "big", None)
    use = world.look(period_use.read, [scope], {"month": ("2026-11-01", "2026-11-30")})
    used = use.used(scope, "month")
    assert (used.gpu_us, used.cpu_us, used.cost_micro) == (19 * large, 19 * large, -133)
    with world.db.write() as tx:
        usage.rebuild(tx, policy=POLICY, actor=SYSTEM)
    sound(world)


# -- what is shown --------------------------------------------------------------------------------


def shown(found):
    return [(u.limit.subject, u.person, u.used / HOURS, u.aside / HOURS) for u in found]


def test_what_of_each_limit_is_used(world):
    lab = world.wallet("lab", 1000, pays_for="*")
    limit(world, 20, wallet_id=lab, person="*")
    limit(world, 10, wallet_id=lab, person="bob", period="week")
    limit(world, 50, wallet_id=lab, period="day")
    limit(world, 30, group="physics")
    limit(world, 30, group="physics", each=True, resource="core_hours")
    limit(world, 5, person="bob", resource="credits")
    ran(world, 60, groups=("physics",))
    ran(world, 30, "bob", groups=("physics",))
    world.run(server="b")
    world.wait(minutes=6)
    ada = world.session(_open(world)[0]).person_id

    def mine(name, who, groups, wallet_ids):
        return world.look(limit_uses.mine, who, name, groups, wallet_ids, policy=POLICY)

    assert shown(mine("ada", ada, ("physics",), {lab})) == [
        ("wallet_person", "", 1.1, 0.15), ("wallet", "", 1.6, 0.15), ("group", "", 1.5, 0),
        ("group", "", 4, 0),
    ]  # fmt: skip
    assert shown(mine("ada", ada, (), ())) == []
    assert shown(mine("new", None, ("physics",), {lab}))[0] == ("wallet_person", "", 0, 0)
    (use, *_) = mine("ada", ada, (), {lab})
    assert (use.of.label, use.of.ends_at) == ("2026-11", datetime(2026, 12, 1, tzinfo=UTC))
    within = world.look(limit_uses.of_wallet, lab, policy=POLICY, hub_id="hub")
    assert shown(within) == [
        ("wallet_person", "ada", 1.1, 0.15), ("wallet_person", "bob", 0.5, 0),
        ("wallet_person", "", 0.5, 0), ("wallet", "", 1.6, 0.15),
    ]  # fmt: skip
    single = world.look(limit_uses.of_all, policy=POLICY, hub_id="hub")
    assert [(u.limit.subject, u.limit.resource) for u in single] == [
        ("wallet_person", "gpu_hours"), ("wallet", "gpu_hours"), ("group", "gpu_hours"),
        ("person", "credits"),
    ]  # fmt: skip
    assert single[-1].used == 2_000_000
