"""Stories of allowances, on both databases: what is left, what expires, what comes, and when."""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from jhub_usage.actions import (
    advancing,
    allowances,
    catching_up,
    check,
    hubs,
    views,
    wallets,
)
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.errors import BadInput, CatchUpNeeded, Conflict, NotFound
from jhub_usage.domain.invariants import failed
from jhub_usage.store import tables as t

from .world import POLICY, World

CREDIT = 10**6


def credits(amount, period="month", carry=0) -> Allowance:
    return Allowance(int(amount * CREDIT), period, None if carry is None else int(carry * CREDIT))


def allow(world, wallet_id, *what, policy=POLICY, begin_now=None, **carry):
    return world.act(
        allowances.set_allowance, wallet_id, credits(*what, **carry), policy=policy,
        begin_now=begin_now,
    )  # fmt: skip


def end_allowance(world, wallet_id):
    world.act(allowances.remove_allowance, wallet_id, policy=POLICY)


def at(world, text):
    world.now = datetime.fromisoformat(text).replace(tzinfo=UTC)


def view(world, wallet_id):
    (found,) = world.look(views.wallet_views, ids=[wallet_id])
    return found


def stands(world, wallet_id):
    """(balance, what is left of the allowance), as anybody sees it now."""
    found = view(world, wallet_id)
    left = found.outlook.left_micro if found.outlook else 0
    return found.balance_micro / CREDIT, left / CREDIT


def advance(world, policy=POLICY):
    """The service's pass."""
    after_id, late = 0, []
    while True:
        after_id, _, _, behind = world.act(advancing.advance_due, after_id, policy=policy)
        late += behind
        if not after_id:
            return late


def booked(world, wallet_id, kinds=("grant", "expiry")):
    """(kind, amount, when) of the entries of the allowance, the oldest first."""
    entries = world.entries(wallet_id=wallet_id, limit=1000)[::-1]
    return [
        (e["kind"], e["amount_micro"] / CREDIT, f"{e['effective_at']:%Y-%m-%d %H:%M}")
        for e in entries
        if e["kind"] in kinds and e["key"].startswith("allowance:")
    ]


def rows(world):
    with world.db.read() as tx:
        return {
            table.name: sorted(map(str, tx.execute(table.select())))
            for table in (t.wallets_, t.entries, t.audit, t.sessions_)
        }


def holds(world):
    """Every invariant of `check`."""
    assert failed(world.look(check.check)) == []


def test_a_month_of_work(world):
    """It comes, is used first, a part of what is left is kept, and the next one comes."""
    lab = world.wallet("lab", pays_for="*")
    entry = allow(world, lab, 100, carry=20)
    assert entry and stands(world, lab) == (100, 100)
    one = world.run()
    world.wait(minutes=600)
    # nothing is written while it runs, and yet the balance is exact
    found = view(world, lab)
    assert (found.balance_micro, found.available_micro) == (100 * CREDIT, 60 * CREDIT)
    assert asdict(found.outlook) == {
        "left_micro": 60 * CREDIT, "next_at": datetime(2026, 12, 1, tzinfo=UTC),
        "granted_micro": 100 * CREDIT, "expires_micro": 40 * CREDIT,
    }  # fmt: skip
    world.end(one)
    assert stands(world, lab) == (60, 60)
    at(world, "2026-11-30 23:59:59.999999")
    assert stands(world, lab) == (60, 60)
    before = rows(world)
    at(world, "2026-12-01")
    # seen at once, written by whoever comes first
    assert stands(world, lab) == (120, 120) and rows(world) == before
    advance(world)
    assert stands(world, lab) == (120, 120)
    assert booked(world, lab)[1:] == [("grant", 60, "2026-12-01 00:00")]
    (last, *_) = world.entries(wallet_id=lab)
    assert last["note"] == "100 granted, 40 of the last one expired"
    assert (last["key"], last["period"]) == (f"allowance:{lab}:2026-12", "2026-12")
    holds(world)


def test_what_runs_over_the_boundary_is_charged_first(world):
    """Two hours of the old month are paid by what would have expired, two by the new one."""
    lab = world.wallet("lab", pays_for="*")
    allow(world, lab, 10)
    at(world, "2026-11-30 22:00")
    one = world.run()
    at(world, "2026-12-01 02:00")
    assert stands(world, lab) == (10, 2)
    world.end(one)
    assert stands(world, lab) == (2, 2)
    charges = [e for e in world.entries(wallet_id=lab) if e["kind"] == "charge"]
    assert [(e["amount_micro"], e["period"]) for e in charges] == [
        (-8 * CREDIT, "2026-12"), (-8 * CREDIT, "2026-11")
    ]  # fmt: skip
    # 10 of the last one: 8 used, 2 expired
    assert booked(world, lab)[1:] == [("grant", 8, "2026-12-01 00:00")]
    holds(world)


@pytest.mark.parametrize(("carry", "after"), [(0, 100), (20, 120), (60, 160), (None, 160)])
def test_what_is_kept(world, carry, after):
    lab = world.wallet("lab", pays_for="*")
    allow(world, lab, 100, carry=carry)
    one = world.run()
    world.wait(minutes=600)
    world.end(one)
    assert stands(world, lab) == (60, 60)
    at(world, "2026-12-01")
    assert stands(world, lab) == (after, after)
    advance(world)
    assert stands(world, lab) == (after, after)
    holds(world)


def test_other_credit_is_used_last_and_stays(world):
    lab = world.wallet("lab", 50, pays_for="*")
    allow(world, lab, 100)
    one = world.run()
    world.wait(minutes=600)
    world.end(one)
    assert stands(world, lab) == (110, 60)
    at(world, "2026-12-01")
    assert stands(world, lab) == (150, 100)
    one = world.run()
    world.wait(minutes=60 * 30)
    world.end(one)
    assert stands(world, lab) == (30, 0)
    at(world, "2027-01-01")
    assert stands(world, lab) == (130, 100)
    advance(world)
    assert booked(world, lab)[1:] == [
        ("grant", 40, "2026-12-01 00:00"), ("grant", 100, "2027-01-01 00:00")
    ]  # fmt: skip
    holds(world)


def test_debt_is_repaid_first(world):
    lab = world.wallet("lab", pays_for="*", overdraft_micro=200 * CREDIT)
    one = world.run()
    world.wait(minutes=450)
    world.end(one)
    assert stands(world, lab) == (-30, 0)
    allow(world, lab, 100, carry=None)
    assert stands(world, lab) == (70, 70)
    one = world.run()
    world.wait(minutes=60 * 45)
    world.end(one)
    assert stands(world, lab) == (-110, 0)
    at(world, "2026-12-01")
    assert stands(world, lab) == (-10, 0)
    at(world, "2027-01-01")
    assert stands(world, lab) == (90, 90)
    advance(world)
    assert stands(world, lab) == (90, 90)
    holds(world)


def test_an_allowance_is_not_saved_by_moving_it_a_minute_before_it_expires(world):
    """Only permanent credit moves, also while servers run, which use the allowance first."""
    lab, other = world.wallet("lab", 10, pays_for="*"), world.wallet("other")
    allow(world, lab, 100)
    at(world, "2026-11-30 23:59")

    def move(amount):
        world.act(wallets.transfer, lab, other, int(amount * CREDIT), policy=POLICY)

    with pytest.raises(Conflict, match="An allowance can not be moved"):
        move(10.000001)
    world.run()
    with pytest.raises(Conflict):
        move(10.000001)
    move(10)
    assert stands(world, lab) == (100, 100) and world.balance(other) == 10 * CREDIT
    # what was moved is permanent there, and what a transfer brings is so here
    at(world, "2026-12-01 00:01")
    world.act(wallets.transfer, other, lab, 4 * CREDIT, policy=POLICY)
    balance, left = stands(world, lab)
    assert balance - left == pytest.approx(4 + 4 * 1 / 60)  # and a minute that is claimed
    holds(world)


def test_a_grant_and_a_refund_after_it_expired_are_permanent(world):
    lab = world.wallet("lab", pays_for="*")
    allow(world, lab, 100)
    one = world.run()
    world.wait(minutes=600)
    world.end(one)
    (charge, *_) = world.entries(wallet_id=lab)
    at(world, "2026-12-03")
    world.act(wallets.refund, charge["id"], None, policy=POLICY, note="the node was slow")
    assert stands(world, lab) == (140, 100)
    world.act(wallets.grant, lab, 5 * CREDIT, policy=POLICY)
    at(world, "2027-03-01")
    assert stands(world, lab) == (145, 100)
    holds(world)


# -- taken away, changed ---------------------------------------------------------------------------


def test_an_allowance_that_is_taken_away_lasts_until_its_end(world):
    lab = world.wallet("lab", 5)
    entry = allow(world, lab, 100, carry=None)
    world.wait(minutes=5)
    end_allowance(world, lab)
    assert stands(world, lab) == (105, 100)
    told = allowances.facts(view(world, lab))
    assert (told["amount_micro"], told["next_micro"]) == (0, 0)
    assert told["left_micro"] == told["expires_micro"] == 100 * CREDIT
    with pytest.raises(NotFound, match="no allowance"):
        end_allowance(world, lab)
    at(world, "2026-12-01")
    assert stands(world, lab) == (5, 0)
    advance(world)
    assert booked(world, lab) == [
        ("grant", 100, "2026-11-20 09:00"), ("expiry", -100, "2026-12-01 00:00")
    ]  # fmt: skip
    assert world.entries(wallet_id=lab)[0]["note"] is None and entry
    assert allowances.facts(view(world, lab)) is None
    at(world, "2027-06-01")
    before = rows(world)
    assert advance(world) == [] and rows(world) == before
    holds(world)


def test_taking_it_away_and_giving_it_again_refills_nothing(world):
    lab = world.wallet("lab", pays_for="*")
    allow(world, lab, 100)
    one = world.run()
    world.wait(minutes=600)
    world.end(one)
    end_allowance(world, lab)
    assert allow(world, lab, 100) is None
    assert stands(world, lab) == (60, 60)
    at(world, "2026-12-01")
    assert stands(world, lab) == (100, 100)
    holds(world)


def test_one_that_is_used_up_goes_at_once(world):
    lab = world.wallet("lab", pays_for="*")
    allow(world, lab, 4)
    one = world.run()
    world.wait(minutes=60)
    world.end(one)
    end_allowance(world, lab)
    assert view(world, lab).allowance is None
    holds(world)


def test_a_change_waits_for_the_next_period_unless_it_is_told_to_begin(world):
    lab = world.wallet("lab")
    allow(world, lab, 100)
    assert allow(world, lab, 40, carry=10) is None
    assert stands(world, lab) == (100, 100)
    at(world, "2026-12-01")
    assert stands(world, lab) == (50, 50)
    # a boundary of its own: what is left beyond the cap expires, the amount comes
    entry = allow(world, lab, 200, begin_now=True)
    assert entry and stands(world, lab) == (200, 200)
    assert world.entries(wallet_id=lab)[0]["note"] == "200 granted, 50 of the last one expired"
    # the same again is nothing new
    before = rows(world)
    assert allow(world, lab, 200) is None and rows(world) == before
    assert stands(world, lab) == (200, 200)
    holds(world)


class Ticking(World):
    """Its clock goes on a microsecond whenever somebody reads it."""

    @property
    def now(self):
        self._now += timedelta(microseconds=1)
        return self._now

    @now.setter
    def now(self, instant):
        self._now = instant


@pytest.mark.parametrize("reads", range(4))
@pytest.mark.parametrize("period", ["month", "day"])
@pytest.mark.parametrize("begin_now", [False, True])
def test_a_boundary_that_passes_during_a_change_is_not_skipped(
    ready_sqlite_url, reads, period, begin_now
):
    """Between two looks at the clock of one action."""
    world = Ticking(ready_sqlite_url)
    lab = world.wallet("lab")
    allow(world, lab, 100, carry=None)
    world.now = datetime(2026, 12, 1, tzinfo=UTC) - timedelta(microseconds=reads + 1)
    allow(world, lab, 40, period, carry=None, begin_now=begin_now)
    at(world, "2026-12-01 00:00:01")
    advance(world)
    begun = booked(world, lab)[1:]
    assert len(begun) == 1 + begin_now, begun
    assert sum(key.startswith(f"allowance:{lab}:2026-12") for key in
               (e["key"] for e in world.entries(wallet_id=lab))) == 1  # fmt: skip
    holds(world)
    world.close()


def test_another_period_begins_where_it_begins(world):
    lab = world.wallet("lab", pays_for="*")
    allow(world, lab, 10, "month")
    allow(world, lab, 10, "day", carry=None)
    at(world, "2026-11-23 08:00")  # a Monday
    assert stands(world, lab) == (40, 40)
    allow(world, lab, 7, "week", carry=None)
    at(world, "2026-11-29 23:59")
    assert stands(world, lab) == (40, 40)
    at(world, "2026-11-30")
    assert stands(world, lab) == (47, 47)
    allow(world, lab, 1, "month", carry=None)
    at(world, "2026-12-01")
    assert stands(world, lab) == (48, 48)
    advance(world)
    assert [when for *_, when in booked(world, lab)] == [
        "2026-11-20 09:00", "2026-11-21 00:00", "2026-11-22 00:00", "2026-11-23 00:00",
        "2026-11-30 00:00", "2026-12-01 00:00",
    ]  # fmt: skip
    holds(world)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Allowance(0, "month", 0), "more than nothing"),
        (Allowance(-1, "month", 0), "at least 0"),
        (Allowance(1, "year", 0), "one of day, week, month"),
        (Allowance(1, "day", -1), "carry cap must be at least 0"),
        (Allowance(10**16, "day", 0), "beyond 1,000,000,000"),
    ],
)
def test_one_that_makes_no_sense_changes_nothing(world, wanted, words):
    lab = world.wallet("lab", 1)
    before = rows(world)
    with pytest.raises(BadInput, match=words):
        world.act(allowances.set_allowance, lab, wanted, policy=POLICY)
    with pytest.raises(NotFound):
        world.act(allowances.set_allowance, 999, credits(1), policy=POLICY)
    assert rows(world) == before


def test_each_change_leaves_one_audit_row(world):
    lab = world.wallet("lab", 1)
    allow(world, lab, 100, carry=20)
    allow(world, lab, 100, carry=20)
    world.wait(minutes=1)
    allow(world, lab, 120, begin_now=True)
    end_allowance(world, lab)
    with world.db.read() as tx:
        told = list(tx.execute(
            sa.select(t.audit.c.action, t.audit.c.before, t.audit.c.after)
            .where(t.audit.c.action.like("wallet.allowance%")).order_by(t.audit.c.id)
        ))  # fmt: skip
    assert [x.action for x in told] == ["wallet.allowance_set"] * 2 + ["wallet.allowance_removed"]
    assert told[1].before["amount_micro"] == 100 * CREDIT
    assert told[1].after["amount_micro"] == told[2].before["amount_micro"] == 120 * CREDIT


# -- nothing to do, and much to do -----------------------------------------------------------------


def test_a_wallet_that_nobody_uses_writes_no_rows(world):
    """Neither the service nor a look; and after a year an action is not held for far behind."""
    lab = world.wallet("lab", 3)
    allow(world, lab, 100)
    before = rows(world)
    for text in ("2026-12-01", "2026-12-24 18:00", "2027-01-01", "2027-11-20"):
        at(world, text)
        assert advance(world) == []
        assert stands(world, lab) == (103, 100)
    assert rows(world) == before
    world.act(wallets.grant, lab, CREDIT, policy=POLICY)
    assert stands(world, lab) == (104, 100) and len(booked(world, lab)) == 1
    holds(world)


def test_what_is_kept_up_to_a_cap_stops_growing(world):
    lab = world.wallet("lab")
    allow(world, lab, 10, "day", carry=15)
    at(world, "2026-11-23")
    assert advance(world) == [] and stands(world, lab) == (25, 25)
    before = rows(world)
    at(world, "2026-12-20")
    assert advance(world) == [] and rows(world) == before
    assert [amount for _, amount, _ in booked(world, lab)] == [10, 10, 5]
    holds(world)


def life(world, *, late):
    """Five weeks of a lab; the service looks every day, or ``late`` at the end only."""
    lab, keeps = world.wallet("lab", 30, pays_for="ada"), world.wallet("keeps", pays_for="*")
    allow(world, lab, 400, "week", carry=50)
    allow(world, keeps, 30, "day", carry=None)
    one, two = world.run("ada", number=1), world.run("bob", number=2)
    for day in range(36):
        world.wait(minutes=24 * 60)
        if not late:
            advance(world)
        if day == 20:
            world.end(one)
    world.end(two)
    advance(world)
    holds(world)
    names = {one: "one", two: "two"}
    return sorted(
        (e["wallet"], e["kind"], e["amount_micro"], e["effective_at"], e["period"],
         names.get(e["session_id"], ""), e["note"] or "",
         e["key"].replace(one, "one").replace(two, "two"))
        for wallet_id in (lab, keeps)
        for e in world.entries(wallet_id=wallet_id, limit=1000)
        if e["kind"] == "charge" or e["key"].startswith("allowance:")
    )  # fmt: skip


def test_a_service_that_was_away_for_a_month_catches_up_to_the_same_entries(world, tmp_path):
    on_time = World(f"sqlite:///{tmp_path / 'on-time.sqlite'}")
    try:
        entries = life(on_time, late=False)
        assert life(world, late=True) == entries and len(entries) > 40
    finally:
        on_time.close()


def test_more_than_62_days_are_for_a_person(world):
    """A clock that says 2036 for two minutes books nothing and starts nothing."""
    lab, other = world.wallet("lab", 5, pays_for="*"), world.wallet("other", 5)
    allow(world, lab, 10, carry=None)
    one = world.run("ada")
    before = rows(world)
    at(world, "2036-01-01")
    assert advance(world) == ["lab"]
    for act in (wallets.grant, allowances.remove_allowance):
        amount = (CREDIT,) if act is wallets.grant else ()
        with pytest.raises(CatchUpNeeded, match="jhub-usage advance"):
            world.act(act, lab, *amount, policy=POLICY)
    with pytest.raises(CatchUpNeeded):
        allow(world, lab, 1)
    with pytest.raises(CatchUpNeeded):
        world.act(wallets.transfer, other, lab, CREDIT, policy=POLICY)
    assert rows(world) == before
    refused = world.admit(world.ask("bob"))
    assert (refused.decision, refused.reason.code) == ("refused", "catch_up")
    # the clock is put right, and all goes on as if nothing had been
    at(world, "2026-12-01 00:00:30")
    assert advance(world) == []
    assert booked(world, lab)[1:] == [("grant", 10, "2026-12-01 00:00")]
    world.end(one)
    holds(world)


def test_a_person_books_what_is_due_however_far(world):
    lab, idle = world.wallet("lab", pays_for="*"), world.wallet("idle")
    allow(world, lab, 10, "week", carry=None)
    allow(world, idle, 10)
    one = world.run("ada")
    at(world, "2027-04-01 12:00")
    before = rows(world)
    last, due = world.look(catching_up.foreseen, policy=POLICY)
    assert (last, rows(world)) == (0, before)
    (told,) = due
    assert (told.wallet, told.too_far) == ("lab", True)
    assert f"{told.since_at:%Y-%m-%d}" == "2026-11-23"
    last, count, entries = world.act(catching_up.catch_up, policy=POLICY)
    assert (last, count, entries) == (0, 1, told.entries)
    # 19 Mondays, 18 of them and 5 first days of months cut the session
    assert len(booked(world, lab)) - 1 == 19 and told.allowances_micro == 190 * CREDIT
    charged = sum(e["amount_micro"] for e in world.entries(wallet_id=lab, limit=1000)
                  if e["kind"] == "charge")  # fmt: skip
    assert told.charges_micro == -charged
    assert told.balance_micro == view(world, lab).balance_micro
    assert entries == len(world.entries(wallet_id=lab, limit=1000)) - 1
    assert world.act(catching_up.catch_up, policy=POLICY) == (0, 0, 0)
    assert world.look(catching_up.foreseen, policy=POLICY) == (0, [])
    with world.db.read() as tx:
        told = tx.execute(t.audit.select().where(t.audit.c.action == "ledger.advanced")).all()
    assert [x.after for x in told] == [{"wallets": 1, "entries": entries}]
    world.end(one)
    holds(world)


def test_a_clock_that_goes_forward_and_back_books_each_boundary_once(world):
    lab = world.wallet("lab", pays_for="*")
    allow(world, lab, 100)
    at(world, "2026-11-30 20:00")
    one = world.run()
    at(world, "2026-12-01 00:00:10")
    advance(world)
    once = booked(world, lab)
    at(world, "2026-11-30 23:00")  # an hour back: the boundary is booked already
    assert stands(world, lab) == (100, 100)
    assert advance(world) == [] and booked(world, lab) == once
    world.act(wallets.grant, lab, CREDIT, policy=POLICY)
    allow(world, lab, 100, carry=1)
    world.end(one)  # told an hour before what was charged: the rest comes back, for good
    assert stands(world, lab) == (105, 100)
    at(world, "2026-12-01 00:00:20")
    assert advance(world) == [] and booked(world, lab) == once
    assert stands(world, lab) == (105, 100)
    at(world, "2027-01-01")
    assert stands(world, lab) == (106, 101)
    holds(world)


def test_another_zone_counts_from_the_next_month_on(world):
    """No boundary that was announced moves, and each comes once."""
    world.act(hubs.install, "hub", timezone="UTC")
    day, month = world.wallet("day"), world.wallet("month")
    allow(world, day, 10, "day", carry=None)
    allow(world, month, 10, "month", carry=None)
    at(world, "2026-11-29 12:00")
    tokyo = replace(POLICY, timezone="Asia/Tokyo")
    world.act(hubs.install, "hub", timezone="Asia/Tokyo")
    assert view(world, month).outlook.next_at == datetime(2026, 12, 1, tzinfo=UTC)
    at(world, "2026-12-03 00:00")
    advance(world, tokyo)
    assert [when for *_, when in booked(world, day)][-4:] == [
        "2026-11-30 00:00", "2026-12-01 00:00", "2026-12-01 15:00", "2026-12-02 15:00"
    ]  # fmt: skip
    assert view(world, month).outlook.next_at == datetime(2026, 12, 31, 15, tzinfo=UTC)
    at(world, "2027-01-01 00:00")
    advance(world, tokyo)
    assert [when for *_, when in booked(world, month)][1:] == [
        "2026-12-01 00:00", "2026-12-31 15:00"
    ]  # fmt: skip
    keys = [e["key"] for e in world.entries(wallet_id=month)]
    assert keys[:2] == [f"allowance:{month}:2027-01", f"allowance:{month}:2026-12"]
    holds(world)


# -- starts and ends -------------------------------------------------------------------------------


def test_credit_that_is_about_to_expire_starts_nothing(world):
    """The first 15 minutes cost a credit, and of those five are after midnight."""
    lab = world.wallet("lab", pays_for="*")
    allow(world, lab, 100)
    end_allowance(world, lab)
    at(world, "2026-11-30 23:50")
    refused = world.admit(world.ask())
    assert (refused.decision, refused.reason.code) == ("refused", "wallet")
    at(world, "2026-11-30 23:44:59")
    assert world.admit(world.ask()).may_start


def test_a_wallet_is_dry_when_it_expires_and_not_before_it_comes(world):
    lab, rich = world.wallet("lab", pays_for="ada"), world.wallet("rich", pays_for="*")
    allow(world, lab, 100)
    allow(world, rich, 4 * 24 * 40)  # more than a month of it
    world.run("ada"), world.run("bob")
    assert view(world, lab).dry_at == world.now + timedelta(hours=25, microseconds=900)
    assert view(world, rich).dry_at is None
    end_allowance(world, rich)
    assert f"{view(world, rich).dry_at:%Y-%m-%d %H:%M}" == "2026-12-01 00:00"
