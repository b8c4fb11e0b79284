"""Months close in their order, once, for good, and only when nothing is missing (rule 26)."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from jhub_usage.actions import (
    advancing,
    allowances,
    check,
    hubs,
    months,
    privacy,
    sessions,
    sync,
    views,
    wallets,
)
from jhub_usage.domain.admission import Policy
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.audit import SYSTEM, Actor
from jhub_usage.domain.errors import BadInput, CatchUpNeeded, Conflict, NotFound
from jhub_usage.domain.invariants import failed
from jhub_usage.store import ledger
from jhub_usage.store import months as month_rows
from jhub_usage.store import tables as t

from .world import CPU, POLICY, T0

DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
BY = Actor("cli", "olga")


@pytest.fixture(autouse=True)
def every_invariant_holds_in_the_end(world):
    yield
    assert failed(world.look(check.check)) == []


def prepare(world, policy=POLICY):
    def act(action, *args, **more):
        with world.db.write() as tx:
            return action(tx, *args, **more)

    months.prepare(act, policy=policy, actor=SYSTEM)


def close(world, label, *, prepared=True, policy=POLICY, **more):
    if prepared:
        prepare(world, policy)
    with world.db.write() as tx:
        return months.close(tx, label, actor=BY, policy=policy, **more)


def listed(world, policy=POLICY):
    return [(m.label, m.state) for m in world.look(months.listed, policy=policy)]


def looked(world, hub="hub"):
    """The hub was compared with what runs, now."""
    world.act(sync.note_look, hub, world.now, seen=(), missed=())


def periods_of(world, **which):
    return [(e["kind"], e["amount_micro"], e["period"]) for e in world.entries(**which)][::-1]


def waits(world, label) -> str:
    with pytest.raises(Conflict) as error:
        close(world, label)
    return error.value.message


def test_a_month_closes_and_what_comes_later_is_booked_in_the_next(world):
    lab = world.wallet("lab", 100, pays_for="*")
    first = world.run()
    world.wait(minutes=60)
    world.end(first)
    charge = world.entries(session_id=first)[0]["id"]
    world.now = DECEMBER + timedelta(days=3)
    done = close(world, "2026-11")
    assert (done.starts_at, done.ends_at) == (datetime(2026, 11, 1, tzinfo=UTC), DECEMBER)
    assert done.closed_at == world.now and (done.actor_kind, done.actor_id) == ("cli", None)
    assert done.facts["entries"] == {
        "grant": {"count": 1, "amount_micro": 100_000_000},
        "charge": {"count": 1, "amount_micro": -4_000_000},
    }
    assert (done.facts["sessions"], done.facts["currency"]) == (1, "USD")
    world.act(wallets.refund, charge, 1_000_000, policy=POLICY)
    world.act(wallets.correct, charge, 500_000, policy=POLICY, note="late")
    assert periods_of(world, wallet_id=lab)[2:] == [
        ("refund", 1_000_000, "2026-12"), ("correction", 500_000, "2026-12"),
    ]  # fmt: skip
    rows = [r for r in world.look(views.audit_rows) if r["action"] == "month.closed"]
    assert [(r["subject_id"], r["actor_name"]) for r in rows] == [("2026-11", "olga")]
    assert rows[0]["after"]["entries"] == 2
    assert rows[0]["after"]["amount_micro"] == 96_000_000


def test_closing_again_is_the_same_act(world):
    world.wallet("lab", 1)
    world.now = DECEMBER
    done = close(world, "2026-11")
    world.wait(minutes=5)
    again = close(world, "2026-11", prepared=False)
    assert again == done
    actions = [r["action"] for r in world.look(views.audit_rows)]
    assert actions.count("month.closed") == 1


def test_a_month_that_goes_on_does_not_close(world):
    world.wallet("lab", 1)
    world.now = DECEMBER - timedelta(microseconds=1)
    assert "is not over: it ends at 2026-12-01T00:00:00Z" in waits(world, "2026-11")
    assert listed(world) == [("2026-11", "open")]
    world.now = DECEMBER
    assert listed(world) == [("2026-12", "open"), ("2026-11", "closable")]
    close(world, "2026-11")
    assert listed(world) == [("2026-12", "open"), ("2026-11", "closed")]


@pytest.mark.parametrize("label", ["2026-13", "2026-1", "november", "2026-11-20", ""])
def test_what_is_no_month(world, label):
    world.wallet("lab", 1)
    with pytest.raises(BadInput):
        close(world, label)


def test_months_close_in_their_order(world):
    world.wallet("lab", 100, pays_for="*")
    ran = world.run()
    world.wait(minutes=60)
    world.end(ran)
    world.now = DECEMBER + timedelta(days=40)
    world.act(wallets.grant, 1, 1, policy=POLICY)
    assert "there is nothing in 2026-10" in waits(world, "2026-10").lower()
    assert waits(world, "2026-12") == "Months close in their order: 2026-11 goes before 2026-12."
    assert dict(listed(world))["2026-12"] == "open"
    close(world, "2026-11")
    assert "these books begin later" in waits(world, "2026-10")
    close(world, "2026-12")
    assert [m.label for m in world.look(months.listed, policy=POLICY)] == [
        "2027-01", "2026-12", "2026-11",
    ]  # fmt: skip


def test_empty_months_between_are_closed_along(world):
    """Nobody did anything in spring."""
    lab = world.wallet("lab", 100)
    world.now = datetime(2027, 4, 10, tzinfo=UTC)
    world.act(wallets.grant, lab, 5, policy=POLICY)
    world.now = datetime(2027, 5, 4, tzinfo=UTC)
    assert "2026-11 goes before 2027-04" in waits(world, "2027-04")
    close(world, "2026-11")
    close(world, "2027-04")
    found = {m.label: m for m in world.look(months.listed, policy=POLICY)}
    assert {label: m.state for label, m in found.items()} == {
        "2027-05": "open", **dict.fromkeys(
            ["2026-11", "2026-12", "2027-01", "2027-02", "2027-03", "2027-04"], "closed"
        )
    }  # fmt: skip
    assert found["2027-01"].entries == {} and found["2027-04"].count == 1
    (row,) = [r for r in world.look(views.audit_rows) if r["subject_id"] == "2027-04"]
    assert row["after"]["months"] == 5


def test_nothing_at_all_is_not_closed(world):
    assert "nothing was booked" in waits(world, "2026-11")
    assert world.look(months.listed, policy=POLICY) == []
    assert world.look(months.due, 0, policy=POLICY) is None


def test_a_running_session_is_settled_through_the_end_first(world):
    world.wallet("lab", 100, pays_for="*")
    world.now = DECEMBER - timedelta(hours=2)
    ran = world.run()
    world.now = DECEMBER + timedelta(hours=1)
    with pytest.raises(Conflict, match=f"not settled through its end: {ran}"):
        close(world, "2026-11", prepared=False)
    close(world, "2026-11")
    world.end(ran)
    assert periods_of(world, session_id=ran) == [
        ("charge", -8_000_000, "2026-11"), ("charge", -4_000_000, "2026-12"),
    ]  # fmt: skip


def test_what_costs_nothing_and_a_stuck_pod_are_not_waited_for(world):
    world.wallet("lab", 100, pays_for="*")
    free = world.run("bob", shape=CPU)
    stuck = world.run(grace_s=30)
    world.tell(stuck, "stop_accepted")
    world.now = DECEMBER + timedelta(hours=1)
    close(world, "2026-11")
    world.end(stuck)
    world.end(free)
    # what the wallet pays of the stuck pod ended with its grace, in November
    (charge,) = world.entries(session_id=stuck)
    assert (charge["period"], charge["amount_micro"]) == ("2026-11", -100_000)


def test_a_start_that_may_still_turn_out_to_be_one_is_waited_for(world):
    world.wallet("lab", 100, pays_for="*")
    world.now = DECEMBER - timedelta(seconds=30)
    lost, sighted = world.ask("ada", "a"), world.ask("ada", "b")
    world.admit(lost, sighted)
    world.now = DECEMBER
    assert "started in it is not known yet" in waits(world, "2026-11")
    world.wait(minutes=30)  # past the deadline: the one that nothing showed holds nothing
    world.tell(sighted.session_id, "seen")
    text = waits(world, "2026-11")
    assert sighted.session_id in text and lost.session_id not in text
    world.tell(sighted.session_id, "started", at=DECEMBER - timedelta(seconds=10))
    close(world, "2026-11")
    world.end(sighted.session_id)
    # told later than the month was closed: booked when it is learnt
    world.tell(lost.session_id, "started", at=DECEMBER - timedelta(seconds=20))
    world.end(lost.session_id)
    assert [p for _, _, p in periods_of(world, session_id=sighted.session_id)] == [
        "2026-11", "2026-12",
    ]  # fmt: skip
    assert [p for _, _, p in periods_of(world, session_id=lost.session_id)] == ["2026-12"] * 2


def test_allowances_are_booked_through_the_end_first(world):
    lab = world.wallet("lab")
    world.act(allowances.set_allowance, lab, Allowance(2_000_000, "day", None), policy=POLICY)
    world.now = DECEMBER + timedelta(days=1)
    world.wallet("other", 1)
    with pytest.raises(Conflict, match=r"allowances of these wallets are not booked .*: lab"):
        close(world, "2026-11", prepared=False)
    close(world, "2026-11")


def test_books_that_are_far_behind_are_a_persons_matter(world):
    lab = world.wallet("lab", 100, pays_for="*")
    world.act(allowances.set_allowance, lab, Allowance(2_000_000, "month", 0), policy=POLICY)
    world.run()
    world.now = DECEMBER + timedelta(days=90)
    with pytest.raises(CatchUpNeeded):
        prepare(world)
    with pytest.raises(Conflict, match="not settled"):
        close(world, "2026-11", prepared=False)
    world.act(advancing.advance_due, policy=POLICY, far=True)
    close(world, "2026-11")


def test_every_hub_is_heard_of_since_the_end(world):
    world.wallet("lab", 1)
    world.act(hubs.install, "other")
    looked(world)
    looked(world, "other")
    world.act(hubs.install, "never")  # its service never ran
    world.now = DECEMBER + timedelta(days=3)
    text = waits(world, "2026-11")
    assert "hub (last 2026-11-20T09:00:00Z), other (last 2026-11-20T09:00:00Z)" in text
    looked(world)
    (november,) = [m for m in world.look(months.listed, policy=POLICY) if m.label == "2026-11"]
    assert (november.state, november.hubs_behind) == ("open", ("other",))
    with pytest.raises(NotFound, match="no hub 'nowhere'; known are hub, never, other"):
        close(world, "2026-11", without_hubs=["nowhere"])
    done = close(world, "2026-11", without_hubs=["other", "hub"])
    assert done.facts["without_hubs"] == ["other"]
    assert set(done.facts["hubs"]) == {"hub", "other"}


def test_a_hub_that_was_left_out_is_not_waited_for_until_it_is_heard_of(world):
    lab = world.wallet("lab", 1)
    world.act(hubs.install, "old")
    looked(world, "old")
    world.now = DECEMBER
    close(world, "2026-11", without_hubs=["old"])
    world.now = DECEMBER + timedelta(days=10)
    world.act(wallets.grant, lab, 1, policy=POLICY)
    world.now = datetime(2027, 1, 1, tzinfo=UTC)
    assert close(world, "2026-12").facts["without_hubs"] == ["old"]
    world.now = datetime(2027, 1, 20, tzinfo=UTC)
    looked(world, "old")
    world.now = datetime(2027, 2, 1, tzinfo=UTC)
    world.act(wallets.grant, lab, 1, policy=POLICY)
    assert "old (last 2027-01-20" in waits(world, "2027-01")


@pytest.mark.parametrize(
    ("zone", "end"),
    [
        ("UTC", datetime(2026, 12, 1, tzinfo=UTC)),
        ("Asia/Taipei", datetime(2026, 11, 30, 16, tzinfo=UTC)),
        ("America/Los_Angeles", datetime(2026, 12, 1, 8, tzinfo=UTC)),
        ("Pacific/Kiritimati", datetime(2026, 11, 30, 10, tzinfo=UTC)),
    ],
)
def test_the_end_of_a_month_is_midnight_in_the_zone_of_the_hub(world, zone, end):
    policy = Policy(timezone=zone)
    lab = world.wallet("lab")
    world.now = end - timedelta(hours=1)
    world.act(wallets.grant, lab, 100_000_000, policy=policy)
    world.now = end - timedelta(microseconds=1)
    with pytest.raises(Conflict, match="is not over"):
        close(world, "2026-11", policy=policy)
    world.now = end
    done = close(world, "2026-11", policy=policy)
    assert (done.ends_at, done.facts["timezone"]) == (end, zone)


def test_a_month_with_a_change_of_clocks_is_an_hour_longer(world):
    """Berlin's October of 2026 has 745 hours; November begins at 23:00 UTC of the 31st."""
    policy = Policy(timezone="Europe/Berlin")
    world.now = datetime(2026, 10, 10, tzinfo=UTC)
    lab = world.act(wallets.create, "lab")
    world.act(wallets.grant, lab, 100_000_000, policy=policy)
    world.now = T0
    done = close(world, "2026-10", policy=policy)
    assert done.starts_at == datetime(2026, 9, 30, 22, tzinfo=UTC)
    assert done.ends_at == datetime(2026, 10, 31, 23, tzinfo=UTC)
    assert done.ends_at - done.starts_at == timedelta(hours=745)


def test_a_zone_that_changes_counts_from_the_next_month_on(world):
    lab = world.wallet("lab", 1)
    world.act(hubs.install, "hub", timezone="UTC")
    world.act(hubs.install, "hub", timezone="Asia/Taipei")
    policy = Policy(timezone="Asia/Taipei")
    world.now = DECEMBER
    done = close(world, "2026-11", policy=policy)
    assert (done.ends_at, done.facts["timezone"]) == (DECEMBER, "UTC")
    world.act(wallets.grant, lab, 1, policy=policy)
    world.now = datetime(2026, 12, 31, 16, tzinfo=UTC)
    done = close(world, "2026-12", policy=policy)
    assert (done.starts_at, done.ends_at) == (DECEMBER, world.now)
    assert done.facts["timezone"] == "Asia/Taipei"


def test_a_clock_that_goes_back_does_not_make_entries_look_late(world):
    lab = world.wallet("lab")
    world.now = DECEMBER + timedelta(days=5)
    with world.db.write() as tx:
        early = ledger.NewEntry(lab, "grant", 5, "grant:early", T0)
        ledger.post(tx, early, actor=SYSTEM, now=tx.now())
    world.now = DECEMBER + timedelta(days=4)
    assert close(world, "2026-11").closed_at == DECEMBER + timedelta(days=5)


def test_by_itself_some_days_after_the_end(world):
    world.wallet("lab", 1)

    def due(days):
        return world.look(months.due, days, policy=POLICY)

    world.now = DECEMBER + timedelta(days=3, microseconds=-1)
    assert (due(3), due(2), due(0)) == (None, "2026-11", "2026-11")
    world.now = DECEMBER + timedelta(days=3)
    assert due(3) == "2026-11"
    close(world, "2026-11")
    assert due(3) is None
    world.now = datetime(2027, 1, 4, tzinfo=UTC)
    assert due(3) == "2026-12"


def test_names_are_kept_as_they_were_and_forgotten_with_the_person(world):
    world.wallet("lab", 100, pays_for="ada", title="The lab")
    world.wallet("empty")
    ran = world.run("ada")
    world.wait(minutes=60)
    world.end(ran)
    world.now = DECEMBER
    close(world, "2026-11")
    who = world.session(ran).person_id

    def names(kind, ids):
        return world.look(month_rows.names, "2026-11", kind, ids)

    assert names("person", [who]) == {who: ("ada", "")}
    assert names("wallet", [1, 2]) == {1: ("lab", "The lab"), 2: ("empty", "")}
    world.act(wallets.change, 1, title="Another")
    assert names("wallet", [1])[1] == ("lab", "The lab")
    world.act(privacy.pseudonymise, who, hub_id="hub")
    assert names("person", [who]) == {who: (f"person-{who}", "")}


def test_what_was_booked_behind_the_back_of_an_act_is_found(world):
    """`check` compares what a closed month holds with what the act says."""
    lab = world.wallet("lab", 1)
    world.now = DECEMBER
    close(world, "2026-11")
    with world.db.write() as tx:
        row = dict(tx.row(sa.select(t.entries)))
        row.pop("id")
        # it looks as if it had been there before
        tx.execute(t.entries.insert().values(**row | {"key": "grant:sly", "amount_micro": 7}))
        tx.execute(t.wallets_.update().where(t.wallets_.c.id == lab)
                   .values(balance_micro=t.wallets_.c.balance_micro + 7))  # fmt: skip
    assert [c.name for c in failed(world.look(check.check))] == ["months.held"]
    with world.db.write() as tx:
        tx.execute(t.months.update().values(facts={}))
        tx.execute(t.books.update().values(closed_through=""))
    assert [c.name for c in failed(world.look(check.check))] == ["months.closed"]
    with world.db.write() as tx:
        tx.execute(t.books.update().values(closed_through="2026-11"))


def test_a_session_settled_by_hand_beyond_nothing_is_no_obstacle(world):
    world.wallet("lab", 100, pays_for="*")
    ran = world.run()
    world.wait(minutes=30)
    world.act(sessions.settle, ran, world.now, policy=POLICY)
    world.wait(minutes=30)
    world.end(ran)
    world.now = DECEMBER
    assert close(world, "2026-11", prepared=False).facts["entries"]["charge"]["count"] == 2
