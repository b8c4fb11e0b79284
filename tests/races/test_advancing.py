"""Services, starts, ends and grants that meet at a boundary which nobody has booked yet.

Whoever comes first books it; each entry is there once, and is the one that the pure rule says.
"""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from jhub_usage.actions import admissions, allowances, rules, sessions, wallets
from jhub_usage.domain.advance import Slice, advance
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.instants import to_micros
from jhub_usage.domain.periods import UTC_CALENDAR
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store import catalog
from jhub_usage.store import sessions as session_rows
from jhub_usage.store import tables as t
from jhub_usage.store import wallets as wallet_rows
from jhub_usage.store.engine import Database

from . import advancing_work, work
from .conftest import ask

CREDIT = 10**6
E = t.entries.c
LABS = 6


class Past:
    """Wallets with allowances and what runs on them, 40 days before the race."""

    def __init__(self, race):
        self.race = race
        self.now = datetime.now(UTC) - timedelta(days=40)
        self.db = Database(race.url, clock=lambda: self.now)
        self.labs = []
        for number in range(LABS):
            wallet_id = self.act(wallets.create, f"lab-{number}")
            self.act(rules.add, Rule(0, "wallet", wallet_id, profile=f"lab-{number}"))
            self.labs.append(wallet_id)
            period, carry = [("day", None), ("day", CREDIT), ("week", 0)][number % 3]
            self.act(
                allowances.set_allowance, wallet_id,
                Allowance(5000 * CREDIT, period, carry), policy=work.POLICY,
            )  # fmt: skip
        self.running = []
        for number in range(LABS):
            self.now += timedelta(seconds=7)
            asked = ask(f"p{number}", profile=f"lab-{number}")
            cache = catalog.CatalogCache()
            done = self.act(admissions.admit, asked, policy=work.POLICY, cache=cache)
            assert done.may_start, done.reason
            begin = Sighting(asked.session_id, "started", self.now, "start_returned")
            self.act(sessions.record, begin, policy=work.POLICY)
            self.running.append(asked.session_id)
        self.db.dispose()

    def act(self, action, *args, **more):
        with self.db.write() as tx:
            return action(tx, *args, actor=SYSTEM, **more)

    def due(self) -> dict[str, tuple]:
        """What is due up to now, by key: (amount, when)."""
        expected = {}
        with self.race.db.read() as tx:
            meters = session_rows.open_meters(tx, self.labs)
            for wallet in wallet_rows.read(tx, self.labs).values():
                ahead = advance(wallet, meters[wallet.id], tx.now(), UTC_CALENDAR)
                for due in ahead.due:
                    if isinstance(due, Slice):
                        key = f"charge:{due.session_id}:{to_micros(due.begin)}"
                        expected[key] = (-due.amount_micro, due.end)
                    else:
                        key = f"allowance:{wallet.id}:{due.label}"
                        expected[key] = (due.net_micro, due.at)
        return expected


@pytest.fixture
def past(race):
    return Past(race)


def booked(race, like: str) -> dict[str, tuple]:
    with race.db.read() as tx:
        rows = tx.execute(
            sa.select(E.key, E.amount_micro, E.effective_at).where(E.key.like(like))
        ).all()
    assert len({r.key for r in rows}) == len(rows)
    return {r.key: (r.amount_micro, r.effective_at) for r in rows}


def test_services_that_meet_at_a_boundary_book_it_once(race, past):
    expected = past.due()
    assert len(expected) > 200
    done = race.run(*[(advancing_work.advance, 3)] * 4)
    assert sum(done) == len(expected)
    entries = booked(race, "%")
    assert {k: v for k, v in entries.items() if ":at:" not in k} == expected
    race.check()


def test_starts_ends_and_grants_that_come_at_the_same_time(race, past):
    """They book what is due first, so it does not matter who is first."""
    expected = past.due()
    now = datetime.now(UTC)
    asks = [[ask(f"q{n}", profile=f"lab-{n % LABS}")] for n in range(LABS * 2)]
    ends = past.running[: LABS // 2]
    decided, _, _, *_ = race.run(
        (work.admit, asks),
        (work.end, ends, now),
        (advancing_work.grant, past.labs * 2),
        (advancing_work.advance, 2),
    )
    assert all(d.may_start for d in decided)
    entries = booked(race, "%")
    assert {k: entries.get(k) for k in expected} == expected
    grants = [k for k in entries if k.startswith("grant:")]
    assert len(grants) == LABS * 2
    # what ended was charged for its last part besides, and nothing else was booked
    ended = [k for k in entries if k.startswith("charge:") and k not in expected]
    assert len(ended) >= len(ends) and {k.split(":")[1] for k in ended} == set(ends)
    rest = [k for k in entries if k not in expected and not k.startswith(("grant:", "charge:"))]
    assert all(":at:" in k for k in rest)
    race.check()


def test_without_the_wallets_lock_it_would_be_noticed(pg_race):
    """The broken copy: those who read what is due do not wait for each other."""
    past = Past(pg_race)
    assert len(past.due()) > 200
    done = pg_race.run(*[(advancing_work.advance_unlocked, 3)] * 4)
    assert "IntegrityError" in [x for part in done for x in part]
