"""Refunds that race: by overlapping filters, for maintenance, by hand. Never more than was charged.

Each charge has at most its own amount back, whoever comes first, and every wallet is right.
"""

from collections import Counter, defaultdict
from datetime import timedelta
from unittest import mock

import pytest
import sqlalchemy as sa

from jhub_usage.actions import admissions, maintenance, sessions
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.refunds import Charge
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store import catalog
from jhub_usage.store import tables as t

from . import giving, work
from .conftest import ask

NODE = "gpu-07"
COUNT = 12


@pytest.fixture
def ended(race):
    """Sessions of two wallets that ran on one node for an hour, at 4 credits each."""
    lab, other = race.wallet("lab", 1000, profile="lab"), race.wallet("other", 1000, profile="x")
    asks = [ask(f"p{n % 4}", profile="lab" if n % 2 else "x") for n in range(COUNT)]
    with race.db.write() as tx:
        admissions.admit_many(
            tx, asks, policy=work.POLICY, cache=catalog.CatalogCache(), actor=SYSTEM
        )
        now = tx.now()
        begin = now - timedelta(hours=1)
        for asked in asks:
            told = (("started", begin, ""), ("ready", begin, ""), ("ended", now, "died"))
            for kind, at, reason in told:
                seen = Sighting(asked.session_id, kind, at, "test", reason, {"node": NODE})
                sessions.record(tx, seen, policy=work.POLICY, actor=SYSTEM)
    race.begin, race.end, race.wallets = begin, now, (lab, other)
    race.ids = [a.session_id for a in asks]
    return race


def books(race):
    """(charge -> amount, charge -> given back)."""
    e = t.entries.c
    with race.db.read() as tx:
        charges = dict(tx.execute(sa.select(e.id, -e.amount_micro).where(e.kind == "charge")).all())
        back = defaultdict(int)
        for charge_id, amount in tx.execute(
            sa.select(e.corrects_id, e.amount_micro).where(e.kind == "refund")
        ):
            back[charge_id] += amount
    return charges, back


def left(race) -> int:
    charges, back = books(race)
    assert all(back[c] <= amount for c, amount in charges.items()), (charges, back)
    return sum(charges.values()) - sum(back.values())


def minutes(race, begin, end):
    first = race.begin
    return {"begins_at": first + timedelta(minutes=begin),
            "ends_at": first + timedelta(minutes=end)}  # fmt: skip


def overlapping(race):
    return [
        {"node": NODE, **minutes(race, 0, 30)},
        {"wallet": "lab", **minutes(race, 20, 50)},
        {"person": "p1", "percent": 70},
        {"node": NODE, **minutes(race, 10, 40), "percent": 90},
        {"wallet": "other", "percent": 60},
        {"end_reason": "died", **minutes(race, 45, 60)},
    ]


def test_overlapping_filters_at_once(ended):
    filters = overlapping(ended)
    done = ended.run(*[(giving.by_filters, filters[n:] + filters[:n], "") for n in range(4)])
    came_of = Counter(x for part in done for x in part)
    assert set(came_of) <= {"done", "conflict"} and came_of["done"] >= 4, came_of
    left(ended)
    ended.check()
    # asked for all that is left, everything is given back exactly
    ended.run(*[(giving.by_filters, [{"node": NODE}], "")] * 4)
    assert left(ended) == 0
    assert [ended.balance(w) for w in ended.wallets] == [1000 * 10**6] * 2
    ended.check()


def test_the_same_batch_from_every_process_is_one(ended):
    asked = {"node": NODE, **minutes(ended, 0, 30), "percent": 30}
    before = left(ended)
    done = ended.run(*[(giving.by_filters, [asked] * 2, "k")] * 4)
    assert done == [["done"] * 2] * 4
    given = before - left(ended)
    with ended.db.read() as tx:
        a = t.audit.c
        rows = list(tx.execute(sa.select(a.after).where(a.action == "refunds.made")).scalars())
    assert [row["amount_micro"] for row in rows] == [given] and given > 0
    ended.check()


def test_filters_maintenance_and_people_at_once(ended):
    with ended.db.write() as tx:
        window = minutes(ended, 15, 45)
        maintenance.add(tx, NODE, *window.values(), note="test", actor=SYSTEM)
    charges, _ = books(ended)
    ended.run(
        (giving.by_maintenance, 8),
        (giving.by_maintenance, 8),
        (giving.by_filters, overlapping(ended), ""),
        (giving.by_hand, ended.ids[::3], list(charges)),
    )
    left(ended)
    ended.check()
    with ended.db.read() as tx:
        assert maintenance.something_is_due(tx)
    ended.run((giving.by_maintenance, 8))
    ended.check()


def test_boundaries_that_move_while_it_is_given_back(ended):
    """Earlier and later again: what was given back is never more than what is charged then."""
    with ended.db.write() as tx:
        maintenance.add(tx, NODE, *minutes(ended, 15, 45).values(), note="test", actor=SYSTEM)
    charges, _ = books(ended)
    ends = [ended.begin + timedelta(minutes=m) for m in (40, 50, 10, 60, 30)]
    came_of = ended.run(
        (giving.by_boundaries, ended.ids, ends),
        (giving.by_maintenance, 20),
        (giving.by_filters, overlapping(ended) * 2, ""),
        (giving.by_hand, ended.ids[::3], list(charges)),
    )
    assert set(came_of[0]) == {"done"}
    ended.check()
    within(ended)
    ended.run((giving.by_maintenance, 20))
    ended.check()
    within(ended)
    # back to what they were: not a credit more or less than they cost, given back or not
    ended.run((giving.by_boundaries, ended.ids, [ended.begin + timedelta(hours=1)]))
    with ended.db.read() as tx:
        s = t.sessions_.c
        costs = dict(tx.execute(sa.select(s.id, s.charged_micro).where(s.state == "ended")).all())
    assert set(costs.values()) == {4_000_000}
    ended.check()


def within(race):
    """No charge has more refunds than it is, no session more gifts than it was charged."""
    e, s = t.entries.c, t.sessions_.c
    with race.db.read() as tx:
        of_charge = dict(
            tx.execute(
                sa.select(e.corrects_id, sa.func.sum(e.amount_micro))
                .where(e.kind == "refund")
                .group_by(e.corrects_id)
            ).all()
        )
        amounts = dict(
            tx.execute(sa.select(e.id, -e.amount_micro).where(e.id.in_(of_charge))).all()
        )
        gifts = dict(
            tx.execute(
                sa.select(e.session_id, sa.func.sum(e.amount_micro))
                .where(e.goodwill)
                .group_by(e.session_id)
            ).all()
        )
        charged = dict(tx.execute(sa.select(s.id, s.charged_micro)).all())
    assert of_charge and all(back <= amounts[n] for n, back in of_charge.items())
    assert gifts and all(0 <= back <= charged[i] for i, back in gifts.items())


def test_a_maintenance_that_is_applied_twice_gives_once(ended):
    with ended.db.write() as tx:
        maintenance.add(tx, NODE, *minutes(ended, 0, 30).values(), note="test", actor=SYSTEM)
        maintenance.add(tx, NODE, *minutes(ended, 15, 45).values(), note="test", actor=SYSTEM)
    ended.run(*[(giving.by_maintenance, 8)] * 4)
    charges, back = books(ended)
    # three quarters of an hour of each
    assert {back[c] for c in charges} == {3_000_000}
    ended.check()


def test_cancelled_or_given_back_never_both(ended):
    with ended.db.write() as tx:
        one = maintenance.add(tx, NODE, *minutes(ended, 0, 30).values(), note="x", actor=SYSTEM)
    before = left(ended)
    came_of, *_ = ended.run(
        (giving.cancel, one), (giving.by_maintenance, 1), (giving.by_maintenance, 1)
    )
    given = before - left(ended)
    assert (came_of == "done") == (given == 0), (came_of, given)
    ended.run((giving.by_maintenance, 8))
    assert (before - left(ended) == 0) == (came_of == "done")
    ended.check()


def test_the_race_sees_what_is_not_checked_under_the_lock(ended):
    """A batch that thinks that nothing was given back yet gives too much: the books tell."""
    with mock.patch.object(Charge, "left_micro", property(lambda self: self.amount_micro)):
        asked = {"node": NODE}
        with mock.patch("jhub_usage.store.refunds.Money.left_micro", lambda self, charged: charged):
            for _ in range(2):
                assert giving.by_filters(ended.url, [asked], "", 0) == ["done"]
    with pytest.raises(AssertionError):
        left(ended)
