"""Maintenance of a node: what ran there meanwhile is given back exactly once, never too much."""

from datetime import timedelta

import pytest

from jhub_usage.actions import (
    check,
    corrections,
    listings,
    maintenance,
    rates,
    refunds,
    sessions,
    views,
)
from jhub_usage.actions import wallets as wallet_actions
from jhub_usage.domain.errors import BadInput, Conflict, NotFound
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.maintenance import LOOK_AGAIN
from jhub_usage.store import maintenance as rows

from .world import POLICY, T0

NODE = "gpu-07"


@pytest.fixture(autouse=True)
def every_invariant_holds_in_the_end(world):
    yield
    assert failed(world.look(check.check)) == []


def at(minutes):
    return T0 + timedelta(minutes=minutes)


def add(world, begin, end, node=NODE) -> int:
    """A window, in minutes after the story's begin."""
    return world.act(maintenance.add, node, at(begin), at(end), note="new disks")


def start(world, person="ada", node=NODE, **more) -> str:
    session_id = world.run(person, **more)
    world.tell(session_id, "seen", node=node)
    return session_id


def ran(world, person="ada", minutes=120, node=NODE, **more) -> str:
    session_id = start(world, person, node, **more)
    world.wait(minutes=minutes)
    world.end(session_id)
    return session_id


def apply(world, **more):
    return world.act(maintenance.apply_due, policy=POLICY, **more)


def given(world, session_id) -> int:
    return sum(e["amount_micro"] for e in world.entries(session_id=session_id) if e["goodwill"])


def states(world):
    return {m["id"]: m["state"] for m in world.look(maintenance.listed)}


def actions_of(world):
    return [row["action"] for row in world.look(views.audit_rows)][::-1]


def test_a_window_that_lies_ahead(world):
    lab = world.wallet("lab", 100, pays_for="*")
    first = add(world, 60, 90)
    assert states(world) == {first: "planned"} and not world.look(maintenance.something_is_due)
    ada, elsewhere = start(world), start(world, "bob", "gpu-08")
    world.wait(minutes=75)
    assert world.look(maintenance.something_is_due)
    assert apply(world).entries == 0  # it still runs: nothing is booked yet
    told = world.look(maintenance.unbilled, ada)
    assert told == {"node": NODE, "unbilled_us": 15 * 60 * 10**6}
    world.wait(minutes=45)
    world.end(ada)
    world.end(elsewhere)
    assert world.balance(lab) == 84_000_000
    done = apply(world)
    assert (done.sessions, done.entries, done.total_micro) == (1, 1, 2_000_000)
    assert world.balance(lab) == 86_000_000
    entry = world.entries(session_id=ada)[0]
    assert entry["note"] == f"Not billed for 30 min: maintenance of {NODE}."
    assert entry["goodwill"] and world.session(ada).charged_micro == 8_000_000
    for _ in range(3):
        assert apply(world).entries == 0
    assert world.look(maintenance.unbilled, ada)["unbilled_us"] == 30 * 60 * 10**6
    assert world.look(maintenance.unbilled, elsewhere) is None
    assert actions_of(world).count("maintenance.applied") == 1
    (shown,) = world.look(maintenance.listed)
    assert (shown["sessions"], shown["given_micro"], shown["note"]) == (1, 2_000_000, "new disks")


def test_a_window_that_is_entered_afterwards(world):
    lab = world.wallet("lab", 100, pays_for="*")
    ada = ran(world)
    world.wait(minutes=60 * 24 * 20)
    add(world, 30, 60)
    assert apply(world).total_micro == 2_000_000
    assert (given(world, ada), world.balance(lab)) == (2_000_000, 94_000_000)


def test_what_ended_within_the_window_is_not_kept_waiting_for_its_end(world):
    world.wallet("lab", 100, pays_for="*")
    add(world, 60, 600)
    ada = ran(world)
    assert apply(world).total_micro == 4_000_000
    assert given(world, ada) == 4_000_000


def test_windows_that_overlap_give_back_once(world):
    world.wallet("lab", 100, pays_for="*")
    add(world, 30, 60)
    ada = ran(world)
    assert apply(world).total_micro == 2_000_000
    add(world, 45, 75)  # half of it is given already
    assert apply(world).total_micro == 1_000_000
    add(world, 0, 120)
    assert apply(world).total_micro == 5_000_000
    add(world, 10, 20)
    assert apply(world).entries == 0
    assert given(world, ada) == 8_000_000 == world.session(ada).charged_micro


def test_the_fee_of_a_start_and_months_that_cut_a_session(world):
    world.act(rates.add, "start", 250_000)
    world.act(rates.add, "cpu", 333_333)
    world.wallet("lab", 100, pays_for="*")
    ada = start(world)
    for minutes in (17, 29):
        world.wait(minutes=minutes, seconds=1)
        world.act(sessions.settle, ada, world.now, policy=POLICY)
    world.wait(minutes=74)
    world.end(ada)
    cost = world.session(ada)
    add(world, -10, 40)
    first = apply(world).total_micro
    assert first == 250_000 + cost.per_hour_micro * 40 // 60
    add(world, 40, 600)
    assert first + apply(world).total_micro == cost.charged_micro == given(world, ada)


def test_never_more_than_what_is_left_of_the_charge(world):
    lab = world.wallet("lab", 100, pays_for="*")
    ada = ran(world)
    charge = world.entries(session_id=ada)[0]["id"]
    world.act(wallet_actions.refund, charge, 7_500_000, policy=POLICY, note="by hand")
    add(world, 0, 60)
    assert apply(world).total_micro == 500_000
    assert world.balance(lab) == 100_000_000
    assert apply(world).entries == 0
    with pytest.raises(Conflict):
        world.act(refunds.waive, ada, note="x", policy=POLICY)


def test_what_people_take_back_by_hand_stays_taken_back(world):
    world.wallet("lab", 100, pays_for="*")
    ada = ran(world)
    add(world, 0, 60)
    apply(world)
    gift = world.entries(session_id=ada)[0]["id"]
    world.act(wallet_actions.correct, gift, -4_000_000, policy=POLICY, note="the wrong node")
    assert apply(world).entries == 0


def test_cancelled_before_it_begins_nothing_happens(world):
    world.wallet("lab", 100, pays_for="*")
    first = add(world, 60, 90)
    world.act(maintenance.cancel, first)
    ada = ran(world)
    assert apply(world).entries == 0 and given(world, ada) == 0
    assert states(world) == {first: "cancelled"}
    for verb in (maintenance.cancel, maintenance.finish):
        with pytest.raises(Conflict, match="cancelled already"):
            world.act(verb, first)
        with pytest.raises(NotFound):
            world.act(verb, 99)
    add(world, 60, 90)  # the same once more
    assert apply(world).total_micro == 2_000_000


def test_once_something_was_given_back_it_can_not_be_cancelled(world):
    world.wallet("lab", 100, pays_for="*")
    first = add(world, 30, 60)
    ran(world)
    apply(world)
    before = actions_of(world)
    with pytest.raises(Conflict, match="for 1 session the cost was given back already"):
        world.act(maintenance.cancel, first)
    assert actions_of(world) == before
    # one that gives nothing beyond it can go, and so can the first as long as another covers it
    second = add(world, 40, 50)
    apply(world)
    world.act(maintenance.cancel, second)
    third = add(world, 0, 120)
    world.act(maintenance.cancel, first)
    assert apply(world).total_micro == 6_000_000
    assert states(world) == {first: "cancelled", second: "cancelled", third: "over"}


def test_work_that_is_over_early(world):
    world.wallet("lab", 100, pays_for="*")
    first = add(world, 0, 600)
    ada = start(world)
    with pytest.raises(Conflict, match="running"):
        world.act(maintenance.finish, first)  # it begins right now
    bob = start(world, "bob")
    world.wait(minutes=30)
    world.end(bob)
    assert apply(world).total_micro == 2_000_000
    assert world.act(maintenance.finish, first) == world.now
    world.wait(minutes=90)
    world.end(ada)
    assert apply(world).total_micro == 2_000_000  # not for the 90 minutes after it
    with pytest.raises(Conflict, match="over: only one that is running"):
        world.act(maintenance.finish, first)
    assert given(world, ada) == given(world, bob) == 2_000_000


@pytest.mark.parametrize(
    ("node", "begin", "end", "note", "text"),
    [
        ("", 0, 60, "x", "must not be empty"),
        ("a\nb", 0, 60, "x", "can not be seen"),
        (NODE, 60, 60, "x", "ends after it begins"),
        (NODE, 60, 0, "x", "ends after it begins"),
        (NODE, 0, 60 * 24 * 31 + 1, "x", "at most 31 days"),
        (NODE, 0, 60, " ", "needs a reason"),
        (NODE, 0, 60, "x" * 2001, "longer than 2000"),
    ],
)
def test_windows_that_can_not_be(world, node, begin, end, note, text):
    with pytest.raises(BadInput, match=text):
        world.act(maintenance.add, node, at(begin), at(end), note=note)
    assert world.look(maintenance.listed) == []


def test_the_same_window_twice_is_a_mistake(world):
    first = add(world, 0, 60)
    with pytest.raises(Conflict, match=f"it is number {first}"):
        add(world, 0, 60)
    add(world, 0, 60, node="gpu-08")


def test_many_sessions_take_several_transactions(world):
    world.wallet("lab", 100, pays_for="*")
    mine = [start(world, f"p{n}") for n in range(5)]
    world.wait(minutes=60)
    for session_id in mine:
        world.end(session_id)
    add(world, 0, 60)
    done = [apply(world, limit=2) for _ in range(4)]
    assert [(d.sessions, d.more) for d in done] == [(2, True), (2, True), (1, False), (0, False)]
    assert {given(world, s) for s in mine} == {4_000_000}


def test_a_window_is_looked_at_until_nothing_can_come(world):
    """A server that is open, a pod whose node is not told yet, a start that is learnt late."""
    world.wallet("lab", 100, pays_for="*")
    first = add(world, 0, 60)
    ada = start(world)
    unknown = world.run("bob", pod_name="jupyter-bob")
    world.wait(minutes=60)
    world.now += LOOK_AGAIN
    apply(world)
    assert world.look(maintenance.something_is_due)
    world.end(ada)
    assert apply(world).total_micro == 4_000_000
    apply(world)
    assert world.look(maintenance.something_is_due)  # bob's pod may be there
    world.end(unknown, node=NODE)
    assert apply(world).total_micro == 4_000_000
    apply(world)
    assert not world.look(maintenance.something_is_due)
    (shown,) = world.look(maintenance.listed)
    assert (shown["id"], shown["given_micro"]) == (first, 8_000_000) and shown["done_at"]


def test_a_session_that_ended_earlier_than_was_known(world):
    """Its boundaries are corrected: what was given for time that never was is taken back."""
    lab = world.wallet("lab", 100, pays_for="*")
    ada = start(world)
    world.wait(minutes=120)
    world.act(sessions.settle, ada, world.now, policy=POLICY)
    world.act(sessions.settle, ada, world.now, policy=POLICY)
    add(world, 60, 600)
    # the end that is told late lies before what is charged already
    world.tell(ada, "ended", at=at(90), reason="stopped", evidence="terminated_at")
    assert world.session(ada).charged_micro == 6_000_000
    assert apply(world).total_micro == 2_000_000
    assert (given(world, ada), world.balance(lab)) == (2_000_000, 96_000_000)
    assert world.act(refunds.waive, ada, note="x", policy=POLICY).total_micro == 4_000_000
    assert world.balance(lab) == 100_000_000
    assert apply(world).entries == 0


def correct(world, session_id, minutes):
    world.act(
        corrections.correct_boundaries, session_id, note="x", policy=POLICY, ended_at=at(minutes)
    )


def test_an_end_that_is_corrected_after_it_was_given_back(world):
    """To an earlier instant, to a later one, and back: always exactly what the window cost."""
    lab = world.wallet("lab", 100, pays_for="*")
    add(world, 60, 200)
    ada = ran(world, minutes=120)
    world.wait(minutes=60)
    assert apply(world).total_micro == 4_000_000
    for ended, charged, had in (
        (90, 6_000_000, 2_000_000),
        (30, 2_000_000, 0),
        (150, 10_000_000, 6_000_000),
        (70, 4_666_666, 666_666),
        (180, 12_000_000, 8_000_000),
    ):
        correct(world, ada, ended)
        apply(world)
        assert apply(world).entries == 0
        assert (world.session(ada).charged_micro, given(world, ada)) == (charged, had), ended
        assert world.balance(lab) == 100_000_000 - charged + had
        assert failed(world.look(check.check)) == []


@pytest.mark.parametrize("by_hand", [0, 1_500_000])
@pytest.mark.parametrize("ends", [(60, 30), (60, 30, 90, 10), (10, 110, 60)])
def test_an_end_that_is_corrected_again_and_again_and_back(world, ends, by_hand):
    """However often it was taken back: what it cost within the window is not billed in the end."""
    lab = world.wallet("lab", 100, pays_for="*")
    session_id = ran(world)
    add(world, 0, 80)
    apply(world)
    if by_hand:
        (charge,) = [e["id"] for e in world.entries(session_id=session_id) if e["kind"] == "charge"]
        world.act(wallet_actions.refund, charge, by_hand, policy=POLICY)
    before = world.balance(lab)
    assert before == 100_000_000 - 8_000_000 + 5_333_333 + by_hand

    def correct(minute):
        world.act(corrections.correct_boundaries, session_id, ended_at=at(minute),
                  note="its log", policy=POLICY)  # fmt: skip

    for minute in ends:
        correct(minute)
        assert given(world, session_id) <= world.session(session_id).charged_micro
    correct(120)
    apply(world)
    # what people gave stays taken back where it was more than all that was charged
    least = min(ends) * 4_000_000 // 60
    assert world.balance(lab) == before - max(0, by_hand - least)
    assert apply(world).entries == 0


def test_a_window_that_is_done_with_opens_again_for_a_corrected_end(world):
    world.wallet("lab", 100, pays_for="*")
    add(world, 60, 200)
    ada = ran(world, minutes=120)
    apply(world)
    world.now += LOOK_AGAIN + timedelta(hours=2)
    apply(world)
    assert not world.look(maintenance.something_is_due)
    correct(world, ada, 61)
    assert world.look(maintenance.something_is_due)
    apply(world)
    assert given(world, ada) == 66_666
    assert not apply(world).entries and not world.look(maintenance.something_is_due)


def test_a_session_that_was_given_back_otherwise_is_left_so(world):
    lab = world.wallet("lab", 100, pays_for="*")
    add(world, 60, 200)
    ada = ran(world, minutes=120)
    apply(world)
    world.act(refunds.waive, ada, note="x", policy=POLICY)
    correct(world, ada, 30)
    for _ in range(2):
        apply(world)
        assert world.balance(lab) == 100_000_000
    assert given(world, ada) == world.session(ada).charged_micro == 2_000_000


def test_windows_are_looked_at_again_where_boundaries_change(world):
    world.wallet("lab", 100, pays_for="*")
    add(world, 0, 60)
    ran(world)
    apply(world)
    world.now += LOOK_AGAIN
    apply(world)
    assert not world.look(maintenance.something_is_due)

    def changed(tx, begin, end, node=NODE):
        rows.look_again(tx, node, at(begin), at(end))

    for begin, end, node in ((60, 120, NODE), (-60, 0, NODE), (0, 60, "gpu-08"), (0, 60, "")):
        with world.db.write() as tx:
            changed(tx, begin, end, node)
        assert not world.look(maintenance.something_is_due)
    with world.db.write() as tx:
        changed(tx, 59, 120)
    assert world.look(maintenance.something_is_due)
    assert apply(world).entries == 0


def test_exempt_people_and_sessions_without_a_node_have_nothing_back(world):
    from jhub_usage.actions import exemptions

    world.wallet("lab", 100, pays_for="*")
    world.act(exemptions.set_exempt, "person", "root", True)
    root, nowhere = ran(world, "root"), ran(world, "ada", node="")
    add(world, 0, 600)
    assert apply(world).entries == 0
    assert world.look(maintenance.unbilled, root) is None
    assert world.look(maintenance.unbilled, nowhere) is None
    assert world.look(listings.totals)["servers"] == 0
