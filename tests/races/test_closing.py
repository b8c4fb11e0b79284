"""A month never closes under a posting: what came first is in it, what came later is not."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from jhub_usage.actions import admissions, months, privacy, sessions, statements
from jhub_usage.domain.admission import PersonKey
from jhub_usage.domain.audit import SYSTEM, Actor
from jhub_usage.domain.periods import MONTH, UTC_CALENDAR, label_of_day
from jhub_usage.domain.sightings import Sighting
from jhub_usage.domain.statements import canonical
from jhub_usage.store import catalog, ledger, people
from jhub_usage.store import tables as t
from jhub_usage.store import wallets as wallet_rows
from jhub_usage.store.engine import Database
from tests.support.processes import wait_until

from . import closing, work
from .conftest import ask

THIS = UTC_CALENDAR.label(MONTH, datetime.now(UTC))
BEGUN = UTC_CALENDAR.begins(MONTH, THIS)
LAST = label_of_day(MONTH, UTC_CALENDAR.day(BEGUN - timedelta(days=1)))


def since_last_month(race, count, prefix="p"):
    """Sessions that run since two days before this month began."""
    asks = [ask(f"{prefix}{n}") for n in range(count)]
    with race.db.write() as tx:
        admissions.admit_many(
            tx, asks, policy=work.POLICY, cache=catalog.CatalogCache(), actor=SYSTEM
        )
        for asked in asks:
            begin = Sighting(asked.session_id, "started", BEGUN - timedelta(days=2), "adopted")
            sessions.record(tx, begin, policy=work.POLICY, actor=SYSTEM)
    return [a.session_id for a in asks]


def booked(race):
    with race.db.read() as tx:
        e = t.entries.c
        rows = tx.execute(sa.select(e.period, e.session_id, e.kind, e.amount_micro, e.elapsed_us))
        return list(rows)


@pytest.mark.parametrize("closers", [1, 2])
def test_posters_against_the_closer(race, closers):
    """Ends, corrections and refunds from three processes, while others close the month."""
    lab = race.wallet("lab", 100_000, profile="lab")
    ended, corrected = since_last_month(race, 12), since_last_month(race, 6, "q")
    known = BEGUN - timedelta(hours=12)
    work._with_retries(race.url, lambda tx: [sessions.record(
        tx, Sighting(i, "ended", known, "poll_exit", "stopped"), policy=work.POLICY, actor=SYSTEM)
        for i in corrected])  # fmt: skip
    with race.db.read() as tx:
        e = t.entries.c
        charges = list(tx.execute(sa.select(e.id).where(e.kind == "charge")).scalars())
    jobs = [
        (closing.end, [(i, BEGUN - timedelta(hours=n + 1)) for n, i in enumerate(ended)]),
        (closing.correct, [(i, known - timedelta(hours=n)) for n, i in enumerate(corrected, 1)]),
        (closing.refund, charges),
    ]
    done = race.run(*jobs, *[(closing.close, LAST)] * closers)
    assert done[:3] == [12, 6, len(charges)] and len(set(done[3:])) == 1
    race.check()
    # whichever month each was booked in: every session was charged exactly what it cost
    for n, session_id in enumerate(ended):
        mine = [r for r in booked(race) if r.session_id == session_id and r.kind != "refund"]
        assert -sum(r.amount_micro for r in mine) == (48 - n - 1) * 4_000_000
        assert sum(r.elapsed_us for r in mine) == (48 - n - 1) * 3_600_000_000
    with race.db.read() as tx:
        act = tx.execute(sa.select(t.months)).one()
        late = [r for r in tx.execute(sa.select(t.entries)) if r.posted_at > act.closed_at]
        assert all(r.period == THIS for r in late)
        made = statements.statement(tx, lab, LAST, policy=work.POLICY)
        held = act.facts["entries"]
        assert {k["kind"]: k["entries"] for k in made["kinds"]} == {
            kind: sums["count"] for kind, sums in held.items()
        }
        again = statements.statement(tx, lab, LAST, policy=work.POLICY)
        assert canonical(again) == canonical(made)


# -- the two orders, one by one, on PostgreSQL: there both can be open at once ---------------------


class Two:
    """Two transactions of a database, each on a thread of its own."""

    def __init__(self, race):
        self.race = race
        self.lab = race.wallet("lab", 10)
        self.watch = Database(race.url)

    def post(self, tx, key="late") -> int:
        """A grant of the month before, as what becomes known late is."""
        wallet_rows.lock(tx, [self.lab])
        entry = ledger.NewEntry(self.lab, "grant", 5, f"grant:{key}", BEGUN - timedelta(days=1))
        return ledger.post(tx, entry, actor=SYSTEM, now=tx.now())[0]

    def close(self, tx):
        return months.close(tx, LAST, policy=work.POLICY, actor=SYSTEM)

    def waiting(self) -> bool:
        with self.watch.read() as tx:
            return bool(tx.scalar(sa.text(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                "AND datname = current_database()")))  # fmt: skip

    def while_open(self, first, second) -> None:
        """``second`` begins while ``first`` is done but not committed, and has to wait for it."""
        errors = []

        def run():
            try:
                with self.race.db.write() as tx:
                    second(tx)
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        with self.race.db.write() as tx:
            first(tx)
            thread.start()
            assert wait_until(self.waiting, timeout_s=4, every_s=0.02), errors
        thread.join(timeout=10)
        assert not errors and not thread.is_alive()

    def periods(self):
        return {r.amount_micro: r.period for r in booked(self.race) if r.kind == "grant"}


@pytest.fixture
def two(pg_race):
    made = Two(pg_race)
    with pg_race.db.write() as tx:  # the month before has something in it
        made.post(tx, "early")
    yield made
    made.watch.dispose()
    pg_race.check()


def test_the_closer_waits_for_who_posts_and_has_it_in_the_month(two):
    two.while_open(lambda tx: two.post(tx), two.close)
    with two.race.db.read() as tx:
        facts = tx.execute(sa.select(t.months.c.facts)).scalar()
    assert facts["entries"]["grant"] == {"count": 2, "amount_micro": 10}
    assert two.periods()[5] == LAST


def test_who_posts_waits_for_the_closer_and_books_in_the_open_month(two):
    two.while_open(two.close, lambda tx: two.post(tx))
    last = [r for r in booked(two.race) if r.amount_micro == 5]
    assert sorted(r.period for r in last) == sorted([LAST, THIS])


def test_a_name_that_is_forgotten_meanwhile_is_not_kept(two):
    """Whoever forgets a person waits for the books, so the month has the new name."""
    with two.race.db.write() as tx:
        (olga,) = people.resolve(tx, "hub", [PersonKey("olga")], tx.now()).values()
        entry = ledger.NewEntry(two.lab, "grant", 7, "grant:olga", BEGUN - timedelta(days=1))
        by = Actor("person", "olga", person_id=olga.id)
        wallet_rows.lock(tx, [two.lab])
        ledger.post(tx, entry, actor=by, now=tx.now())

    def forget(tx):
        privacy.pseudonymise(tx, olga.id, hub_id="hub", actor=SYSTEM)

    two.while_open(two.close, forget)
    with two.race.db.read() as tx:
        n = t.month_names.c
        names = list(tx.execute(sa.select(n.name).where(n.kind == "person")).scalars())
    assert names == [f"person-{olga.id}"]
