"""A request for credit is decided once, whoever decides it at the same time (rule 24)."""

from collections import Counter

import pytest
import sqlalchemy as sa

from jhub_usage.actions import ownership, requests, wallets
from jhub_usage.domain.admission import PersonKey
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.store import tables as t

from . import asking, work

CREDIT = 10**6


class Office:
    """A lab that ada spends from, and managers of it who each have a purse to grant from."""

    def __init__(self, race, managers=("mia", "kim", "pat")):
        self.race = race
        self.lab = race.wallet("lab", 0)
        self.purses = {}
        self.member(self.lab, "ada", "spender")
        for name in managers:
            self.purses[name] = race.wallet(f"purse of {name}", 100)
            self.member(self.lab, name, "manager")
            self.member(self.purses[name], name, "manager")
        self.people = {n: self.who(n) for n in ("ada", "root", *managers)}

    def member(self, wallet_id, name, role):
        with self.race.db.write() as tx:
            ownership.set_role(tx, wallet_id, PersonKey(name), role, hub_id="hub", actor=SYSTEM)

    def who(self, name) -> int:
        with self.race.db.write() as tx:
            actor = ownership.acting(tx, SYSTEM, "hub", PersonKey(name))
            return actor.person_id

    def ask(self, number=1, credits=10) -> list[int]:
        with self.race.db.write() as tx:
            return [
                requests.ask(
                    tx, self.lab, self.people["ada"], credits * CREDIT, note="x", actor=SYSTEM
                )
                for _ in range(number)
            ]

    def grants(self, ids, *, amount=None, times=1, by=None) -> list:
        """Calls in which each manager grants these from a purse of their own, and root by right."""
        names = by or [*self.purses, "root"]
        return [
            (asking.grant, self.people[n], ids, amount, self.purses.get(n), times) for n in names
        ]

    def states(self) -> Counter:
        with self.race.db.read() as tx:
            return Counter(tx.execute(sa.select(t.credit_requests.c.state)).scalars())

    def audited(self) -> Counter:
        with self.race.db.read() as tx:
            c = t.audit.c
            rows = tx.execute(sa.select(c.action).where(c.action.like("request.%")))
            return Counter(rows.scalars())

    def spent(self) -> int:
        return sum(100 * CREDIT - self.race.balance(p) for p in self.purses.values())


@pytest.fixture
def office(race):
    made = Office(race)
    yield made
    race.check()


def test_who_grant_the_same_request_at_once_grant_it_once(office):
    """Three managers and an administrator, each twice, each from elsewhere: one of them did."""
    (request,) = office.ask()
    done = [x for part in office.race.run(*office.grants([request], times=2)) for x in part]
    entries = [x for x in done if isinstance(x, int)]
    # the winner's second try is told the same; everybody else that it is done
    assert len(entries) == 2 and len(set(entries)) == 1
    assert Counter(x for x in done if not isinstance(x, int)) == {"conflict": 6}
    assert office.race.balance(office.lab) == 10 * CREDIT
    assert office.spent() in (0, 10 * CREDIT)
    assert office.audited() == {"request.asked": 1, "request.granted": 1}


def test_parts_are_not_added_up(office):
    (request,) = office.ask()
    calls = [call for part in (4, 5, 6) for call in office.grants([request], amount=part * CREDIT,
                                                                  by=["root"])]  # fmt: skip
    office.race.run(*calls)
    with office.race.db.read() as tx:
        granted = tx.scalar(sa.select(t.credit_requests.c.granted_micro))
    assert office.race.balance(office.lab) == granted in (4 * CREDIT, 5 * CREDIT, 6 * CREDIT)
    assert office.audited()["request.granted"] == 1


def test_granted_or_declined_or_taken_back(office):
    """Of three that happen at once to each of three requests, one did; money says which."""
    ids, people = office.ask(3), office.people
    office.race.run(
        *office.grants(ids, by=["mia"]),
        (asking.decline, people["kim"], ids[::-1]),
        (asking.withdraw, people["ada"], ids),
    )
    states = office.states()
    assert states["open"] == 0 and sum(states.values()) == 3
    assert office.race.balance(office.lab) == states["granted"] * 10 * CREDIT == office.spent()
    told = office.audited()
    assert told.pop("request.asked") == 3
    assert told == {f"request.{state}": n for state, n in states.items() if n}


def test_a_purse_is_not_overdrawn_by_what_it_grants(office):
    ids = office.ask(3, credits=60)
    done = office.race.run(*office.grants(ids, by=["mia"], times=2))
    assert Counter(type(x) for part in done for x in part) == {int: 2, str: 4}
    assert office.race.balance(office.purses["mia"]) == 40 * CREDIT
    assert office.states() == {"granted": 1, "open": 2}


def test_purses_in_both_directions_do_not_lock_each_other_out(office):
    """A grant locks two wallets; a transfer the other way locks the same two."""
    ids = office.ask(3, credits=1)
    with office.race.db.write() as tx:
        wallets.grant(tx, office.lab, 50 * CREDIT, policy=work.POLICY, actor=SYSTEM)
    back = (work.move, "transfer", (office.lab, office.purses["mia"], CREDIT), 6)
    done = office.race.run(*office.grants(ids, by=["mia"], times=2), back, back)
    assert all(isinstance(x, int) for x in done[0]), done[0]
    assert Counter(x for part in done[1:] for x in part) == {"done": 12}
    assert office.race.balance(office.lab) == (50 + 3 - 12) * CREDIT


def test_three_wait_however_many_are_asked_at_once(office):
    ask = (asking.ask, office.lab, office.people["ada"], 4)
    done = office.race.run(ask, ask, ask)
    assert Counter(x for part in done for x in part) == {"done": 3, "conflict": 9}
    assert office.states() == {"open": 3}
