"""Boundaries that were wrong: what is booked, in which month, and whose word counts."""

from datetime import UTC, datetime, timedelta

import pytest

from jhub_usage.actions import (
    allowances,
    check,
    corrections,
    maintenance,
    rates,
    refunds,
    sessions,
    usage,
    views,
    wallets,
)
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.audit import Actor
from jhub_usage.domain.errors import BadInput, Conflict, NotFound
from jhub_usage.domain.invariants import failed

from .test_months import close
from .world import POLICY, T0

BY = Actor("person", "olga", "10.0.0.1")
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def every_invariant_holds_in_the_end(world):
    yield
    assert failed(world.look(check.check)) == []


@pytest.fixture
def lab(world):
    return world.wallet("lab", 100, pays_for="*")


def ran(world, minutes=60, *, evidence="poll_exit", reason="stopped", **more) -> str:
    session_id = world.run(**more)
    world.wait(minutes=minutes)
    world.end(session_id, reason, evidence=evidence)
    return session_id


def at(minute):
    return T0 + timedelta(minutes=minute)


def correct(world, session_id, started=None, ended=None, note="the log says so", **more):
    with world.db.write() as tx:
        return corrections.correct_boundaries(
            tx, session_id, started_at=started, ended_at=ended, note=note, policy=POLICY,
            actor=BY, **more,
        )  # fmt: skip


def preview(world, session_id, started=None, ended=None):
    return world.look(
        corrections.preview, session_id, policy=POLICY, started_at=started, ended_at=ended
    )


def booked(world, session_id):
    return [(e["kind"], e["amount_micro"], e["period"], e["elapsed_us"])
            for e in world.entries(session_id=session_id)[::-1]]  # fmt: skip


def evidence(world, session_id, name="ended"):
    mark = world.session(session_id).boundaries[name]
    return mark["at"], mark["evidence"]


MINUTE = 60 * 10**6


@pytest.mark.parametrize(
    ("started", "ended", "amount", "minutes"),
    [
        (None, 30, 2_000_000, -30),
        (None, 90, -2_000_000, 30),
        (15, None, 1_000_000, -15),
        (15, 75, 0, 0),
        (30, 45, 3_000_000, -45),
        (60, None, 4_000_000, -60),
    ],
)
def test_what_is_booked(world, lab, started, ended, amount, minutes):
    session_id = ran(world)
    world.wait(minutes=60)
    told = [None if m is None else at(m) for m in (started, ended)]
    foretold = preview(world, session_id, *told)
    done = correct(world, session_id, *told)
    assert foretold == done
    assert (done.amount_micro, done.net_micro, done.billed_us) == (amount, amount, minutes * MINUTE)
    entries = booked(world, session_id)
    assert entries[0] == ("charge", -4_000_000, "2026-11", 60 * MINUTE)
    assert entries[1:] == ([("correction", amount, "2026-11", minutes * MINUTE)] if amount else [])
    assert world.balance(lab) == 96_000_000 + amount
    view = world.session(session_id)
    assert view.charged_micro == view.cost_micro == 4_000_000 - amount
    for name, minute in (("started", started), ("ended", ended)):
        if minute is not None:
            assert evidence(world, session_id, name) == (at(minute), "operator")


def test_the_same_again_changes_nothing(world, lab):
    session_id = ran(world)
    assert correct(world, session_id, None, at(30)).changes
    before = (booked(world, session_id), len(world.look(views.audit_rows)))
    again = correct(world, session_id, None, at(30))
    assert not again.changes and again.amount_micro == 0
    assert (booked(world, session_id), len(world.look(views.audit_rows))) == before


def test_an_operator_may_vouch_for_what_is_known(world, lab):
    """The end stays; but now it is an operator's word, which nothing corrects by itself."""
    session_id = ran(world, evidence="last_seen")
    done = correct(world, session_id, None, at(60))
    assert done.changes and done.amount_micro == 0 and len(booked(world, session_id)) == 1
    world.tell(session_id, "ended", at=at(20), evidence="terminated_at")
    assert evidence(world, session_id) == (at(60), "operator")


def test_one_audit_row_says_who_and_what(world, lab):
    session_id = ran(world)
    correct(world, session_id, None, at(30))
    (row,) = [r for r in world.look(views.audit_rows) if r["action"] == "session.corrected"]
    assert (row["actor_name"], row["address"], row["subject_id"]) == (
        "olga", "10.0.0.1", session_id,
    )  # fmt: skip
    assert row["before"]["ended_at"] == "2026-11-20T10:00:00Z"
    assert row["after"]["ended_at"] == "2026-11-20T09:30:00Z"
    assert row["after"]["amount_micro"] == 2_000_000
    (entry, _) = world.entries(session_id=session_id)
    assert entry["note"] == "the log says so" and "note" not in row["after"]


def test_a_reason_without_an_entry_stands_in_the_audit(world, lab):
    world.act(rates.add, "gpu", 0)
    session_id = ran(world)
    correct(world, session_id, None, at(30), note="free, but shorter")
    (row,) = [r for r in world.look(views.audit_rows) if r["action"] == "session.corrected"]
    assert row["after"]["note"] == "free, but shorter"
    assert world.session(session_id).elapsed_us == 30 * MINUTE


@pytest.mark.parametrize("note", ["", "  "])
def test_a_correction_needs_a_reason(world, lab, note):
    session_id = ran(world)
    with pytest.raises(BadInput, match="needs a reason"):
        correct(world, session_id, None, at(30), note=note)


def test_what_can_not_be_corrected(world, lab):
    running = world.run()
    with pytest.raises(Conflict, match="not over"):
        correct(world, running, None, at(0))
    with pytest.raises(NotFound):
        correct(world, "00000000-0000-4000-8000-000000000000", None, at(0))
    ask = world.ask(server="void")
    world.admit(ask)
    world.end(ask.session_id, "start_failed")
    with pytest.raises(Conflict, match="never ran"):
        correct(world, ask.session_id, at(0), at(0))
    world.wait(minutes=60)
    world.end(running)
    for told, text in (
        ((None, None), "Say when"),
        ((None, at(61)), "lies ahead"),
        ((at(-1), None), "asked for"),
        ((at(50), at(40)), "before its start"),
    ):
        with pytest.raises(BadInput, match=text):
            correct(world, running, *told)
        with pytest.raises(BadInput, match=text):
            preview(world, running, *told)
    assert len(booked(world, running)) == 1


def test_what_changed_since_the_preview_is_not_booked(world, lab):
    session_id = ran(world)
    told = preview(world, session_id, None, at(30)).net_micro
    correct(world, session_id, None, at(45))
    with pytest.raises(Conflict, match="now it is 1"):
        correct(world, session_id, None, at(30), expected_micro=told)
    assert correct(world, session_id, None, at(30), expected_micro=1_000_000).changes


def test_again_and_again(world, lab):
    """Each revision books the difference to the one before; what is charged is always the cost."""
    world.act(rates.add, "start", 250_000)
    session_id = ran(world)
    world.wait(minutes=600)
    for minute in (30, 61, 59, 0, 200, 60):
        correct(world, session_id, None, at(minute))
        view = world.session(session_id)
        assert view.charged_micro == view.cost_micro == 250_000 + 4_000_000 * minute // 60
        assert world.balance(lab) == 100_000_000 - view.charged_micro
    entries = booked(world, session_id)
    assert len(entries) == 7 and sum(e[3] for e in entries) == 60 * MINUTE


def test_what_was_corrected_by_hand_is_part_of_what_was_charged(world, lab):
    """Rule 26: cost(boundaries now) - S, and S has the corrections in it."""
    session_id = ran(world)
    (charge,) = world.entries(session_id=session_id)
    world.act(wallets.correct, charge["id"], 500_000, policy=POLICY, note="it was slow")
    assert preview(world, session_id, None, at(30)).amount_micro == 1_500_000
    correct(world, session_id, None, at(30))
    assert world.balance(lab) == 98_000_000


def test_sessions_over_several_slices(world, lab):
    """A start that was later than the first slice; an end that was earlier than the last one."""
    session_id = world.run()
    for _ in range(3):
        world.wait(minutes=60)
        world.act(sessions.settle, session_id, world.now, policy=POLICY)
    world.end(session_id, evidence="last_seen")
    correct(world, session_id, at(90), at(100))
    assert world.balance(lab) == 100_000_000 - 4_000_000 * 10 // 60


# -- months ----------------------------------------------------------------------------------------


def test_after_the_month_is_closed_it_is_negative_usage_in_the_open_one(world, lab):
    session_id = ran(world)
    world.now = DECEMBER + timedelta(days=3)
    close(world, "2026-11")
    assert preview(world, session_id, None, at(30)).month == "2026-12"
    assert correct(world, session_id, None, at(30)).month == "2026-12"
    assert booked(world, session_id)[1] == ("correction", 2_000_000, "2026-12", -30 * MINUTE)
    # usage charts and limits go by when it happened
    counters, _ = world.look(usage.stored)
    assert {key[0]: numbers for key, numbers in counters.items()} == {
        "2026-11-20": (1000 * 30 * MINUTE, 4000 * 30 * MINUTE, 2_000_000)
    }


def test_usage_moves_to_the_days_on_which_it_was(world, lab):
    world.now = T0 + timedelta(hours=14)  # 23:00
    session_id = ran(world, 120)
    correct(world, session_id, world.now - timedelta(minutes=70), None)
    counters, rollups = world.look(usage.stored)
    assert {k[0]: v[0] for k, v in counters.items()} == {
        "2026-11-20": 1000 * 10 * MINUTE, "2026-11-21": 1000 * 60 * MINUTE,
    }  # fmt: skip
    assert sum(v[0] for v in rollups.values()) == 1  # it is still one start
    correct(world, session_id, world.now - timedelta(minutes=30), None)
    counters, rollups = world.look(usage.stored)
    assert {k[0]: v[0] for k, v in counters.items() if any(v)} == {"2026-11-21": 1000 * 30 * MINUTE}
    assert {k[0]: v[0] for k, v in rollups.items() if any(v)} == {"2026-11-21": 1}


def test_an_allowance_is_not_reckoned_again(world):
    """What a correction gives back is permanent; what it charges uses what is left of it."""
    lab = world.wallet("lab", pays_for="*", overdraft_micro=10**8)
    world.act(allowances.set_allowance, lab, Allowance(10_000_000, "month", 0), policy=POLICY)
    session_id = ran(world)
    world.now = DECEMBER + timedelta(hours=1)
    correct(world, session_id, None, at(30))
    held = world.look(wallets.find, lab)
    assert (held.balance_micro, held.left_micro) == (12_000_000, 10_000_000)
    correct(world, session_id, None, at(75))
    held = world.look(wallets.find, lab)
    assert (held.balance_micro, held.left_micro) == (9_000_000, 7_000_000)


# -- gifts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "ended", "taken", "balance"),
    [
        (1_000_000, 30, 0, 99_000_000),
        (3_000_000, 30, 1_000_000, 100_000_000),
        (None, 30, 2_000_000, 100_000_000),
        (None, 0, 4_000_000, 100_000_000),
        (3_000_000, 90, 0, 97_000_000),
    ],
)
def test_gifts_never_exceed_what_is_charged(world, lab, given, ended, taken, balance):
    session_id = ran(world)
    (charge,) = world.entries(session_id=session_id)
    world.act(wallets.refund, charge["id"], given, policy=POLICY)
    world.wait(minutes=60)
    foretold = preview(world, session_id, None, at(ended))
    assert foretold.taken_back_micro == taken
    before = world.balance(lab)
    done = correct(world, session_id, None, at(ended))
    assert world.balance(lab) == balance == before + done.net_micro
    gifts = sum(e["amount_micro"] for e in world.entries(session_id=session_id) if e["goodwill"])
    assert 0 <= gifts <= world.session(session_id).charged_micro
    with pytest.raises(Conflict, match="Only"):  # nor can more be given afterwards
        world.act(wallets.refund, charge["id"], 4_000_001, policy=POLICY)


def failed_start(world, minutes=30, **more):
    session_id = world.admit(world.ask(**more)).session_id
    world.tell(session_id, "started")
    world.wait(minutes=minutes)
    world.end(session_id, "start_failed", evidence="poll_exit")
    return session_id


def test_what_was_taken_back_of_a_refund_is_not_told_as_given(world, lab):
    """The session's page offers to give back what is charged less what was given."""
    session_id = ran(world)
    (charge,) = [e["id"] for e in world.entries(session_id=session_id)]
    world.act(wallets.refund, charge, 3_000_000, policy=POLICY, note="sorry")
    correct(world, session_id, ended=at(30))
    view = world.session(session_id)
    assert (view.charged_micro, view.refunded_micro) == (2_000_000, 2_000_000)
    correct(world, session_id, ended=at(60))
    view = world.session(session_id)
    assert (view.charged_micro, view.refunded_micro) == (4_000_000, 2_000_000)
    batch = world.act(refunds.waive, session_id, note="all of it", policy=POLICY)
    assert batch.total_micro == view.charged_micro - view.refunded_micro
    assert world.balance(lab) == 100_000_000


def test_a_failed_start_stays_free_however_long_it_was(world, lab):
    session_id = failed_start(world)
    assert world.balance(lab) == 100_000_000
    world.wait(minutes=60)
    for minute, moved in ((10, (1_333_333 + 1, 1_333_333 + 1, 0)), (60, (-3_333_334, 0, 3_333_334)),
                          (45, (1_000_000, 1_000_000, 0))):  # fmt: skip
        told = preview(world, session_id, None, at(minute))
        assert (told.amount_micro, told.taken_back_micro, told.waived_micro) == moved
        assert correct(world, session_id, None, at(minute)).net_micro == 0
        assert world.balance(lab) == 100_000_000


def test_a_start_beyond_the_days_waivers_is_not_waived_by_a_correction(world, lab):
    for number in range(4):
        session_id = failed_start(world, 15, server=str(number))
    assert world.balance(lab) == 99_000_000
    world.wait(minutes=60)
    correct(world, session_id, None, at(75))
    assert world.balance(lab) == 98_000_000


def test_what_was_waived_by_hand(world, lab):
    session_id = ran(world)
    world.act(refunds.waive, session_id, note="sorry", policy=POLICY)
    world.wait(minutes=60)
    correct(world, session_id, None, at(30))
    assert world.balance(lab) == 100_000_000
    correct(world, session_id, None, at(90))
    assert world.balance(lab) == 96_000_000  # two were given back; four more were used


def test_maintenance_is_looked_at_again(world, lab):
    session_id = world.run()
    world.tell(session_id, "seen", node="n1")
    world.wait(minutes=120)
    world.end(session_id, evidence="last_seen")

    def apply():
        with world.db.write() as tx:
            return maintenance.apply_due(tx, policy=POLICY, actor=BY).total_micro

    with world.db.write() as tx:
        maintenance.add(tx, "n1", at(60), at(180), note="disk", actor=BY)
    assert apply() == 4_000_000
    world.now += timedelta(days=5)
    apply()
    assert not world.look(maintenance.something_is_due)
    correct(world, session_id, None, at(90))
    assert world.look(maintenance.something_is_due)
    assert apply() == -2_000_000
    assert world.balance(lab) == 96_000_000
    correct(world, session_id, None, at(240))
    assert apply() == 6_000_000


# -- what becomes known by itself ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "told", "minute", "ends"),
    [
        ("last_seen", "post_stop_hook", 70, 70),
        ("last_seen", "poll_exit", 65, 65),
        ("poll_exit", "terminated_at", 55, 55),
        ("post_stop_hook", "terminated_at", 59, 59),
        ("post_stop_hook", "poll_exit", 30, 60),
        ("terminated_at", "post_stop_hook", 70, 60),
        ("terminated_at", "last_seen", 10, 60),
        ("terminated_at", "terminated_at", 10, 60),
        ("last_seen", "hub_restart", 10, 60),
        ("last_seen", "elsewhere", 10, 60),
    ],
)
def test_better_evidence_of_an_end(world, lab, known, told, minute, ends):
    session_id = ran(world, evidence=known)
    world.wait(minutes=60)
    world.tell(session_id, "ended", at=at(minute), evidence=told, reason="stopped")
    assert evidence(world, session_id) == (at(ends), told if ends != 60 else known)
    assert world.balance(lab) == 100_000_000 - 4_000_000 * ends // 60
    rows = [r for r in world.look(views.audit_rows) if r["action"] == "session.corrected"]
    assert [r["actor_kind"] for r in rows] == (["system"] if ends != 60 else [])
    before = booked(world, session_id)
    world.tell(session_id, "ended", at=at(minute), evidence=told, reason="stopped")
    assert booked(world, session_id) == before


def test_better_evidence_of_the_same_instant_is_noted(world, lab):
    session_id = ran(world, evidence="poll_exit")
    world.tell(session_id, "ended", at=at(60), evidence="terminated_at")
    assert evidence(world, session_id) == (at(60), "terminated_at")
    assert len(booked(world, session_id)) == 1


def test_an_operator_has_the_last_word(world, lab):
    session_id = ran(world, evidence="last_seen")
    correct(world, session_id, None, at(40))
    world.tell(session_id, "ended", at=at(20), evidence="terminated_at")
    assert evidence(world, session_id) == (at(40), "operator")


def test_an_end_before_the_start_or_ahead_is_somebodys_clock(world, lab):
    early, late = (ran(world, server=name, evidence="last_seen") for name in "ab")
    world.tell(early, "ended", at=at(-5), evidence="terminated_at")
    assert evidence(world, early) == (at(0), "terminated_at")
    world.tell(late, "ended", at=at(999), evidence="terminated_at")
    assert evidence(world, late) == (world.now, "terminated_at")


def test_why_it_ended_is_learnt_along(world, lab):
    """Gone without a trace, until its hub tells what happened; a start that failed is waived."""
    gone = ran(world, server="a", evidence="last_seen", reason="lost")
    world.tell(gone, "ended", at=at(60), evidence="post_stop_hook", reason="stopped")
    assert world.session(gone).end_reason == "stopped"
    session_id = world.admit(world.ask(server="b")).session_id
    world.tell(session_id, "started")
    world.wait(minutes=15)
    world.end(session_id, "lost", evidence="last_seen")
    assert world.balance(lab) == 95_000_000
    world.wait(minutes=15)
    world.tell(session_id, "ended", at=at(90), evidence="terminated_at", reason="start_failed")
    assert world.session(session_id).end_reason == "start_failed"
    assert world.session(session_id).charged_micro == 2_000_000
    assert world.balance(lab) == 96_000_000
    died = ran(world, server="c", evidence="poll_exit", reason="died")
    world.tell(died, "ended", at=world.now, evidence="terminated_at", reason="stopped")
    assert world.session(died).end_reason == "died"  # that was known


def test_a_stop_that_was_accepted_bounds_a_later_end(world, lab):
    session_id = world.admit(world.ask(grace_s=30)).session_id
    world.tell(session_id, "started")
    world.wait(minutes=58.5)
    world.tell(session_id, "stop_accepted")
    world.end(session_id, evidence="last_seen")
    world.wait(minutes=600)
    world.tell(session_id, "ended", at=at(300), evidence="terminated_at")
    view = world.session(session_id)
    assert view.charged_micro == 4_000_000  # its grace and a minute
    assert view.platform_us == 240 * MINUTE


def test_late_evidence_in_a_closed_month(world, lab):
    session_id = ran(world, evidence="last_seen", reason="lost")
    world.now = DECEMBER + timedelta(days=3)
    close(world, "2026-11")
    world.tell(session_id, "ended", at=at(45), evidence="terminated_at", reason="died")
    entry = world.entries(session_id=session_id)[0]
    assert (entry["kind"], entry["period"], entry["elapsed_us"]) == (
        "correction", "2026-12", -15 * MINUTE,
    )  # fmt: skip
    assert entry["note"] == "It ended at 2026-11-20T09:45:00Z, as became known later."
    assert entry["actor_kind"] == "system"
