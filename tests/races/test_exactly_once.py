"""The session's UUID is the key: retries, voids and late COMMITs (rule 20)."""

from collections import Counter
from datetime import timedelta

import pytest

from jhub_usage.actions import admissions, sessions
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.errors import DatabaseUnavailable
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store import catalog
from jhub_usage.store.engine import Database

from . import work
from .conftest import PROCESSES, ask


def decide(db, asked):
    with db.write() as tx:
        return admissions.admit(
            tx, asked, policy=work.POLICY, cache=catalog.CatalogCache(), actor=SYSTEM
        )


def void(db, session_id):
    with db.write() as tx:
        sessions.void(tx, session_id, reason="timed_out", actor=SYSTEM)


def state_of(db, session_id):
    from jhub_usage.store import sessions as rows

    with db.read() as tx:
        row = rows.get(tx, session_id)
        return row and row.state


def test_the_same_starts_from_every_process(race):
    race.wallet("lab", 6, profile="lab")
    asks = [ask(f"p{n}") for n in range(12)]
    done = race.run(*((work.admit, [[a] for a in asks]) for _ in range(PROCESSES)))
    answers = {}
    for decision in (d for decisions in done for d in decisions):
        answers.setdefault(decision.session_id, set()).add((decision.decision, decision.hold_micro))
    assert all(len(found) == 1 for found in answers.values()), answers
    assert Counter(a for (found,) in answers.values() for a in (found,))
    assert race.open_sessions() == 6
    race.check()


def test_the_same_start_twice_in_one_batch(race):
    race.wallet("lab", 1, profile="lab")
    asked = ask("ada")
    with race.db.write() as tx:
        decisions = admissions.admit_many(
            tx, [asked, asked], policy=work.POLICY, cache=catalog.CatalogCache(), actor=SYSTEM
        )
    assert [d.decision for d in decisions] == ["admitted", "admitted"]
    assert race.open_sessions() == 1


@pytest.fixture
def cut_off(pg_race, fault_proxy):
    """A database whose next COMMIT is done, but never answered."""
    pg_race.wallet("lab", 1, profile="lab")
    db = Database(fault_proxy.url(pg_race.url.rsplit("/", 1)[1]), pool_size=1)
    with db.read() as tx:
        catalog.read_gate(tx)
    fault_proxy.drop_reply_after(b"COMMIT")
    yield db
    db.dispose()


def test_a_lost_reply_and_the_same_question_again(pg_race, cut_off):
    asked = ask("ada")
    with pytest.raises(DatabaseUnavailable):
        decide(cut_off, asked)
    assert pg_race.open_sessions() == 1  # it was done
    again = decide(cut_off, asked)
    assert (again.decision, again.hold_micro) == ("admitted", 10**6)
    assert pg_race.open_sessions() == 1
    assert decide(cut_off, ask("bob")).decision == "refused"  # the one credit is held once
    pg_race.check()


def test_a_void_after_a_lost_reply(pg_race, cut_off):
    asked = ask("ada")
    with pytest.raises(DatabaseUnavailable):
        decide(cut_off, asked)
    void(cut_off, asked.session_id)
    assert state_of(pg_race.db, asked.session_id) == "void"
    assert decide(cut_off, asked).decision == "void"
    assert not decide(cut_off, asked).may_start
    assert decide(cut_off, ask("bob")).decision == "admitted"  # nothing is held any more
    pg_race.check()


def test_a_void_that_comes_before_a_late_commit(race):
    race.wallet("lab", 1, profile="lab")
    asked = ask("ada")
    void(race.db, asked.session_id)
    assert decide(race.db, asked).decision == "void"
    assert race.open_sessions() == 0
    race.check()


def test_voids_that_race_with_their_admissions(race):
    """Whichever comes first: in the end nothing runs and nothing is held."""
    race.wallet("lab", 1000, profile="lab")
    asks = [ask(f"p{n}") for n in range(24)]
    ids = [a.session_id for a in asks]
    race.run((work.admit, [[a] for a in asks]), (work.void, ids), (work.void, ids[::-1]))
    assert race.open_sessions() == 0
    assert {decide(race.db, a).decision for a in asks} == {"void"}
    race.check()


def test_a_void_does_not_undo_a_start(race):
    race.wallet("lab", 1, profile="lab")
    asked = ask("ada")
    at = decide(race.db, asked).decided_at
    with race.db.write() as tx:
        sighting = Sighting(asked.session_id, "started", at, "start_returned")
        sessions.record(tx, sighting, policy=work.POLICY, actor=SYSTEM)
    void(race.db, asked.session_id)
    assert state_of(race.db, asked.session_id) == "running"


def test_a_fail_open_start_and_a_late_commit_merge(race):
    race.wallet("lab", 1, profile="lab")
    asked = ask("ada")
    decided = decide(race.db, asked)
    for _ in range(2):
        with race.db.write() as tx:
            merged = admissions.fail_open(
                tx, asked, decided.decided_at - timedelta(seconds=3), policy=work.POLICY,
                cache=catalog.CatalogCache(), actor=SYSTEM,
            )  # fmt: skip
        assert merged.decision == "admitted"
    assert race.open_sessions() == 1


def test_a_fail_open_start_overrules_a_refusal(race):
    """The server did start: that is a fact, whatever was decided too late."""
    race.wallet("lab", 0, profile="lab")
    asked = ask("ada")
    refused = decide(race.db, asked)
    assert refused.decision == "refused"
    with race.db.write() as tx:
        made = admissions.fail_open(
            tx, asked, refused.decided_at, policy=work.POLICY, cache=catalog.CatalogCache(),
            actor=SYSTEM,
        )  # fmt: skip
    assert (made.decision, made.reason.code) == ("failed_open", "wallet")
    assert race.open_sessions() == 1
    race.check()
