"""Giving back by filter: exact to the micro-credit, once, never more than was charged."""

from datetime import timedelta
from itertools import pairwise

import pytest

from jhub_usage.actions import check, rates, refunds, sessions, views, wallets
from jhub_usage.domain.errors import BadInput, Conflict, KeyReused, NotFound
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.refunds import Filter

from .world import CPU, POLICY, T0

NODE = "gpu-07"


@pytest.fixture(autouse=True)
def every_invariant_holds_in_the_end(world):
    yield
    assert failed(world.look(check.check)) == []


def run(world, person="ada", server="", *, hours=2, node=NODE, reason="stopped", **more) -> str:
    """The id of a session that ran so long on a node, at 4 credits an hour."""
    session_id = world.run(person, server, **more)
    world.tell(session_id, "seen", node=node)
    world.wait(minutes=60 * hours)
    world.end(session_id, reason)
    return session_id


def preview(world, **asked):
    return world.look(refunds.preview, Filter(**asked), hub_id="hub")


def refund(world, note="the node was broken", key=None, expected=None, **asked):
    return world.act(
        refunds.refund, Filter(**asked), note=note, policy=POLICY, hub_id="hub", key=key,
        expected=expected,
    )  # fmt: skip


def actions_of(world):
    return [row["action"] for row in world.look(views.audit_rows)][::-1]


def refunds_of(world, session_id):
    return [e for e in world.entries(session_id=session_id)[::-1] if e["kind"] == "refund"]


def window(begin, end):
    """A window in minutes after the story's begin."""
    return {"begins_at": T0 + timedelta(minutes=begin), "ends_at": T0 + timedelta(minutes=end)}


def test_a_node_broke_and_everyone_who_was_on_it_has_the_time_back(world):
    lab = world.wallet("lab", 100, pays_for="*")
    before = run(world, "bob")  # over before anything broke
    ada = run(world, "ada")
    world.now = T0 + timedelta(hours=3)
    cy, other = world.run("cy"), run(world, "dan", node="gpu-08", hours=1)
    world.tell(cy, "seen", node=NODE)
    # broken from 11:30 to 13:00: ada ran 11:00 to 13:00
    found = preview(world, node=NODE, **window(150, 240))
    assert [(x.session_id, x.amount_micro, x.within_us, x.left_micro) for x in found.lines] == [
        (ada, 6_000_000, 90 * 60 * 10**6, 8_000_000)
    ]
    assert [x.session_id for x in found.open] == [cy]  # still runs: not included
    assert (found.count, found.total_micro, found.nothing) == (1, 6_000_000, 0)
    assert world.balance(lab) == 80_000_000  # looking writes nothing
    done = refund(world, node=NODE, expected=(1, 6_000_000), **window(150, 240))
    assert (done.count, done.entries, done.total_micro) == (1, 1, 6_000_000)
    assert world.balance(lab) == 86_000_000
    (entry,) = refunds_of(world, ada)
    assert (entry["goodwill"], entry["note"]) == (True, "the node was broken")
    assert entry["corrects_id"] == world.entries(session_id=ada)[-1]["id"]
    for untouched in (before, cy, other):
        assert refunds_of(world, untouched) == []
    assert world.session(ada).charged_micro == 8_000_000  # a gift: its cost stays what it was
    assert actions_of(world).count("refunds.made") == 1


def test_the_fee_of_a_start_belongs_to_its_first_instant(world):
    world.act(rates.add, "start", 250_000)
    world.wallet("lab", 100, pays_for="*")
    ada = run(world, hours=1)
    total = {span: preview(world, **window(*span)).total_micro for span in
             [(-60, 0), (-60, 1), (0, 60), (1, 60), (30, 60), (59, 600), (60, 600)]}  # fmt: skip
    minute = 4_000_000 // 60
    assert total == {
        (-60, 0): 0,
        (-60, 1): 250_000 + minute,
        (0, 60): 4_250_000,
        (1, 60): 4_000_000 - minute,
        (30, 60): 2_000_000,
        (59, 600): 4_000_000 - 4_000_000 * 59 // 60,
        (60, 600): 0,
    }
    world.act(refunds.waive, ada, note="x", policy=POLICY)
    assert preview(world, **window(0, 60)).lines == ()


def test_a_start_that_lasted_no_time_has_its_fee_back(world):
    world.act(rates.add, "start", 250_000)
    world.wallet("lab", 100, pays_for="*")
    ada = run(world, hours=0)
    assert preview(world, **window(-1, 0)).total_micro == 0
    assert refund(world, **window(0, 1)).total_micro == 250_000
    assert len(refunds_of(world, ada)) == 1


def test_windows_next_to_each_other_give_back_exactly_the_cost(world):
    """Nothing is lost or given twice where windows, and months, cut a session."""
    world.act(rates.add, "cpu", 333_333)
    lab = world.wallet("lab", 100, pays_for="*")
    ada = world.run(shape=CPU)
    for minutes in (7, 50, 13):
        world.wait(minutes=minutes, seconds=11)
        world.act(sessions.settle, ada, world.now, policy=POLICY)
    world.wait(minutes=90, seconds=1)
    world.end(ada)
    charged = world.session(ada).charged_micro
    cuts = [0, 3, 7, 11, 61, 62, 100, 170]
    given = [refund(world, **window(*cut)).total_micro for cut in pairwise(cuts)]
    assert sum(given) == charged
    assert world.balance(lab) == 100_000_000
    assert preview(world, wallet="lab").lines == ()


def test_a_share_is_rounded_down_once(world):
    world.act(rates.add, "cpu", 1)
    world.wallet("lab", 100, pays_for="*")
    ada = world.run(shape=CPU)  # 2 micro-credits an hour
    for _ in range(3):
        world.wait(minutes=90)
        world.act(sessions.settle, ada, world.now, policy=POLICY)
    world.end(ada)
    assert [-e["amount_micro"] for e in world.entries(session_id=ada)] == [3, 3, 3]
    assert preview(world, person="ada", percent=50).total_micro == 4  # of 9
    done = refund(world, person="ada", percent=50)
    assert (done.total_micro, done.entries) == (4, 3)
    assert preview(world, person="ada", percent=99).total_micro == 4  # of the 5 that are left
    assert preview(world, person="ada", percent=1).lines == ()


def test_refunds_never_exceed_the_charge_whatever_is_asked(world):
    lab = world.wallet("lab", 100, pays_for="*")
    ada = run(world)
    charge = world.entries(session_id=ada)[0]["id"]
    world.act(wallets.refund, charge, 7_000_000, policy=POLICY, note="by hand")
    assert refund(world, **window(0, 60)).total_micro == 1_000_000  # 4 were asked, 1 is left
    with pytest.raises(Conflict, match="nothing to give back"):
        refund(world, person="ada")
    assert world.balance(lab) == 100_000_000


def test_each_filter_finds_what_it_names(world):
    lab, other = world.wallet("lab", 100, pays_for="*"), world.wallet("other", 100, pays_for="eve")
    ada = run(world, "ada", "a", hours=1, reason="died")
    eve = run(world, "eve", "b", hours=1, node="gpu-08", profile="large")
    every = {ada, eve}
    for asked, expected in (
        ({"node": NODE}, {ada}),
        ({"node": "gpu-0"}, set()),
        ({"profile": "large"}, {eve}),
        ({"end_reason": "died"}, {ada}),
        ({"person": "eve"}, {eve}),
        ({"wallet": "lab"}, {ada}),
        (window(0, 600), every),
        ({"wallet": "lab", "person": "eve"}, set()),
        ({"wallet": "other", "node": "gpu-08", **window(70, 80)}, {eve}),
    ):
        assert {x.session_id for x in preview(world, **asked).lines} == expected, asked
    for asked in ({"person": "nobody"}, {"wallet": "nothing"}):
        with pytest.raises(NotFound):
            preview(world, **asked)
    done = refund(world, **window(0, 600))
    assert (done.count, world.balance(lab), world.balance(other)) == (2, 10**8, 10**8)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({}, "Say what is to be given back"),
        ({"percent": 50}, "Say what is to be given back"),
        ({"begins_at": T0}, "both, or none"),
        ({"begins_at": T0, "ends_at": T0}, "ends after it begins"),
        ({"node": "n", "percent": 0}, "from 1 to 100"),
        ({"node": "n", "percent": 101}, "from 1 to 100"),
        ({"node": "n", "percent": True}, "from 1 to 100"),
        ({"node": "n\n"}, "can not be seen|begin or end with a blank"),
    ],
)
def test_what_can_not_be_asked(world, asked, text):
    for verb in (preview, refund):
        with pytest.raises(BadInput, match=text):
            verb(world, **asked)


def test_a_reason_is_needed(world):
    world.wallet("lab", 100, pays_for="*")
    ada = run(world)
    for note in ("", "  ", "x" * 2001):
        with pytest.raises(BadInput):
            refund(world, note=note, person="ada")
        with pytest.raises(BadInput):
            world.act(refunds.waive, ada, note=note, policy=POLICY)
    assert refunds_of(world, ada) == []


def test_the_same_key_is_the_same_batch(world):
    lab = world.wallet("lab", 100, pays_for="*")
    run(world, "ada")
    first = refund(world, key="k", expected=(1, 8_000_000), node=NODE)
    run(world, "bob")  # a retry does not take in what came later
    again = refund(world, key="k", expected=(1, 8_000_000), node=NODE, note="said otherwise")
    assert again == first
    assert world.balance(lab) == 92_000_000
    assert actions_of(world).count("refunds.made") == 1
    with pytest.raises(KeyReused):
        refund(world, key="k", node=NODE, percent=50)
    assert refund(world, key="k2", node=NODE).count == 1


def test_what_changed_since_the_preview_is_not_given(world):
    lab = world.wallet("lab", 100, pays_for="*")
    run(world, "ada")
    seen = preview(world, node=NODE)
    bob = run(world, "bob")
    with pytest.raises(Conflict, match="It changed since the preview: now it is 16 for 2 sessions"):
        refund(world, node=NODE, expected=(seen.count, seen.total_micro))
    assert world.balance(lab) == 84_000_000 and refunds_of(world, bob) == []
    assert "refunds.made" not in actions_of(world)


def test_each_persons_words_can_be_erased_alone(world):
    world.wallet("lab", 100, pays_for="*")
    mine = [run(world, "ada", str(n), hours=1) for n in range(2)] + [run(world, "bob", hours=1)]
    refund(world, node=NODE)
    notes = [refunds_of(world, session_id)[0]["note_id"] for session_id in mine]
    assert notes[0] == notes[1] != notes[2]


def test_too_many_at_once(world, monkeypatch):
    monkeypatch.setattr("jhub_usage.domain.refunds.MOST_SESSIONS", 2)
    world.wallet("lab", 100, pays_for="*")
    for name in ("a", "b"):
        run(world, name)
    assert preview(world, node=NODE).count == 2
    run(world, "c")
    for verb in (preview, refund):
        with pytest.raises(BadInput, match="More than 2 sessions fit: narrow it"):
            verb(world, node=NODE)


def test_what_is_not_billed_or_not_over_is_left_alone(world):
    world.wallet("lab", 100, pays_for="*")
    ada = world.run("ada")
    world.tell(ada, "seen", node=NODE)
    world.wait(minutes=90)
    world.act(sessions.settle, ada, world.now, policy=POLICY)  # a slice, as at a month's end
    assert preview(world, node=NODE).lines == ()
    with pytest.raises(Conflict):
        refund(world, node=NODE)
    with pytest.raises(Conflict, match="not over"):
        world.act(refunds.waive, ada, note="x", policy=POLICY)
    never = world.admit(world.ask("bob")).session_id
    world.tell(never, "void", reason="cancelled")
    with pytest.raises(Conflict, match="charged nothing"):
        world.act(refunds.waive, never, note="x", policy=POLICY)
    with pytest.raises(NotFound):
        world.act(refunds.waive, "nothing", note="x", policy=POLICY)


def test_one_failed_start_is_waived_by_hand(world):
    """Beyond those that are waived by themselves, three a day."""
    lab = world.wallet("lab", 100, pays_for="*")
    failed_starts = []
    for _ in range(4):
        session_id = world.admit(world.ask()).session_id
        world.tell(session_id, "started")
        world.wait(minutes=15)
        world.end(session_id, "start_failed")
        failed_starts.append(session_id)
    assert world.balance(lab) == 99_000_000
    done = world.act(refunds.waive, failed_starts[3], note="our mistake", policy=POLICY, key="k")
    again = world.act(refunds.waive, failed_starts[3], note="our mistake", policy=POLICY, key="k")
    assert done == again and done.total_micro == 1_000_000
    assert world.balance(lab) == 100_000_000
    (entry,) = refunds_of(world, failed_starts[3])
    assert (entry["goodwill"], entry["note"]) == (True, "our mistake")
    assert actions_of(world).count("session.waived") == 1
    with pytest.raises(Conflict, match="given back already"):
        world.act(refunds.waive, failed_starts[3], note="once more", policy=POLICY)
    # what people waive by hand does not use up what is waived by itself
    world.now = T0 + timedelta(days=1)
    session_id = world.admit(world.ask()).session_id
    world.tell(session_id, "started")
    world.wait(minutes=15)
    world.end(session_id, "start_failed")
    assert world.balance(lab) == 100_000_000
