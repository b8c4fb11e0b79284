"""A name is forgotten while its owner, or somebody else, is at it at the same instant."""

import threading
import time

import sqlalchemy as sa

from jhub_usage.actions import admissions, privacy, views
from jhub_usage.domain.audit import SYSTEM, Actor
from jhub_usage.domain.errors import Conflict
from jhub_usage.store import people
from jhub_usage.store import tables as t
from jhub_usage.store.engine import Database

from . import work
from .conftest import ask

BY = Actor("person", "operator", "10.0.0.1")
ROUNDS = 6


def forget(race, person_id):
    def act(tx):
        return privacy.pseudonymise(tx, person_id, hub_id="hub", actor=BY)

    try:
        return work._with_retries(race.url, act)
    except Conflict:
        return None


def known(race, name) -> int:
    """Somebody who had a start once: our id."""
    (decision,) = race.admit([ask(name)])
    assert decision.may_start
    race.empty()
    with race.db.read() as tx:
        return people.by_name(tx, "hub", name).id


def test_a_start_is_either_in_the_way_or_of_somebody_new(race):
    race.wallet("lab", 1000, profile="lab")
    for n in range(ROUNDS):
        name = f"ada{n}"
        person_id = known(race, name)
        both = [lambda p=person_id: forget(race, p), lambda x=name: start(race, x)]
        done, (decision,) = work._at_once(time.time() + 0.05, both)
        assert decision.may_start
        with race.db.read() as tx:
            s = t.sessions_.c
            owner = tx.scalar(sa.select(s.person_id).where(s.id == decision.session_id))
            who = people.by_ids(tx, [person_id])[person_id]
        if done is None:
            assert owner == person_id and who.name == name and who.current
        else:
            assert owner != person_id and who.name == f"person-{person_id}"
        race.empty()
    race.check()


def admit(tx, race, name):
    return admissions.admit_many(
        tx, [ask(name)], policy=work.POLICY, cache=work.cache_of(race.url), actor=SYSTEM
    )


def start(race, name):
    return work._with_retries(race.url, lambda tx: admit(tx, race, name))


def test_two_who_forget_the_same_name_leave_one_row(race):
    race.wallet("lab", 1000, profile="lab")
    for n in range(ROUNDS):
        person_id = known(race, f"ada{n}")
        done = work._at_once(time.time() + 0.05, [lambda p=person_id: forget(race, p)] * 2)
        assert {d.name for d in done} == {f"person-{person_id}"}
        assert sorted(d.already for d in done) == [False, True]
        with race.db.read() as tx:
            rows = views.audit_rows(tx, subject_kind="person", subject_id=str(person_id))
        assert [r["action"] for r in rows] == ["person.pseudonymised"]
    race.check()


def test_nobodys_start_waits_while_tables_are_read(pg_race):
    """The gate is taken last: a reading that takes long, or hangs, holds no admission up."""
    race = pg_race
    race.wallet("lab", 1000, profile="lab")
    person_id = known(race, "ada")
    with race.db.write() as tx:
        tx.execute(
            t.audit.insert().values(
                at=tx.now(), action="x", subject_kind="x", subject_id="x", actor_kind="person",
                actor_name="ada", actor_id=person_id, address="",
            )
        )  # fmt: skip
    held, begun = threading.Event(), threading.Event()

    def hold_its_row():
        with race.db.write() as tx:
            tx.execute(t.audit.update().where(t.audit.c.action == "x").values(action="y"))
            held.set()
            assert begun.wait(30)

    holder = threading.Thread(target=hold_its_row)
    holder.start()
    assert held.wait(30)
    forgetting = threading.Thread(target=forget, args=(race, person_id))
    forgetting.start()
    try:
        while not waits(race):  # until it hangs on that row
            assert forgetting.is_alive()
        hurried = Database(race.url, lock_timeout_s=1, statement_timeout_s=1)
        with hurried.write() as tx:
            (decision,) = admit(tx, race, "bob")
        hurried.dispose()
        assert decision.may_start and forgetting.is_alive()
    finally:
        begun.set()
        holder.join()
        forgetting.join()
    with race.db.read() as tx:
        assert people.by_ids(tx, [person_id])[person_id].name == f"person-{person_id}"


def waits(race) -> bool:
    with race.db.read() as tx:
        return bool(
            tx.scalar(
                sa.text(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                    "AND datname = current_database() AND query LIKE 'UPDATE jhub_usage_audit%'"
                )
            )
        )
