"""A name is gone from every row, and nothing else changed. What is old goes, the rest stays."""

import json
import uuid
from datetime import timedelta

import pytest
import sqlalchemy as sa

from jhub_usage.actions import (
    allowances,
    exemptions,
    keys,
    limits,
    months,
    ownership,
    payers,
    privacy,
    refunds,
    requests,
    rules,
    statements,
    trials,
    views,
    wallets,
)
from jhub_usage.actions.check import check
from jhub_usage.domain.admission import PersonKey
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.audit import SYSTEM, Actor
from jhub_usage.domain.errors import Conflict, NotFound
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.privacy import ERASED, Keep, Renamed
from jhub_usage.domain.refunds import Filter
from jhub_usage.domain.rules import Rule
from jhub_usage.store import erasing, people
from jhub_usage.store import tables as t

from .world import BORN, POLICY

NAME = "zéphyrine o'zz"
DAY = 24 * 60
BY = Actor("person", "operator", "10.0.0.1")


def forget(world, person_id, actor=BY):
    with world.db.write() as tx:
        return privacy.pseudonymise(tx, person_id, hub_id="hub", actor=actor)


def who(world, name=NAME):
    return world.look(people.by_name, "hub", name)


def rows(world, table, *columns) -> list:
    query = sa.select(*columns) if columns else sa.select(table)
    return sorted(map(str, world.look(lambda tx: list(tx.execute(query)))))


def found(world, word) -> set[str]:
    """Where a word stands, in any case: every column of every table, JSON decoded."""
    places = set()
    for table in t.metadata.sorted_tables:
        for row in world.look(lambda tx, table=table: tx.rows(sa.select(table))):
            for column, value in row.items():
                text = json.dumps(value, ensure_ascii=False, default=str)
                if word.lower() in text.lower():
                    places.add(f"{table.name.removeprefix(t.PREFIX)}.{column}")
    return places


def put(world, table, **values) -> int:
    with world.db.write() as tx:
        return tx.execute(table.insert().values(**values)).inserted_primary_key[0]


def note(world, text, **values) -> int:
    return put(world, t.notes, text=text, **values)


def live(world) -> int:
    """Somebody with everything that can hold a name; their id. Nothing of theirs is open."""
    lab = world.wallet("lab", 100)
    world.act(rules.add, Rule(0, "personal", person=NAME, starting_grant_micro=50_000_000))
    world.act(rules.add, Rule(9, "wallet", wallet_id=lab))
    for subject, wallet_id in (("person", None), ("wallet_person", lab)):
        world.act(limits.add, Limit(subject, "gpus", 3000, person=NAME, wallet_id=wallet_id))
    world.act(exemptions.set_exempt, "person", NAME, True)
    world.act(exemptions.set_exempt, "person", NAME, False)
    places = {"namespace": f"hub-{NAME}", "pod_name": f"jupyter-{NAME}--gpu"}
    for server in ("", f"{NAME} at night"):
        session = world.run(NAME, server, groups=(NAME, "physics"))
        world.tell(session, "seen", **places)
        world.wait(minutes=40)
        world.end(session)
    their = who(world).id
    own = who(world).wallet_id
    world.admit(world.ask(NAME, f"{NAME} 2", wallet_name="lab"))  # not open to them
    world.act(limits.add, Limit("person", "gpus", 0, person=NAME))
    world.admit(world.ask(NAME, "big", groups=(NAME,)))  # refused: names the limit for them
    world.tell(world.admit(world.ask("bob", wallet_name=f"~{NAME}")).session_id, "void")
    world.act(limits.add, Limit("person", "gpus", 4000, person=NAME))
    gone = world.act(limits.add, Limit("person", "servers", 9, person=NAME))
    world.act(limits.remove, gone)
    void = world.admit(world.ask(NAME, "never"))
    assert void.may_start
    world.tell(void.session_id, "void", reason=f"said {NAME[:20]}")
    bob = world.look(people.by_name, "hub", "bob").id
    world.act(wallets.set_member, own, bob, "spender")
    world.act(wallets.set_member, lab, their, "spender")
    world.admit(world.ask("bob", wallet_name="nowhere"))  # told what is open: their wallet, too
    me = Actor("person", NAME, "192.0.2.7", their)
    with world.db.write() as tx:
        wallets.grant(tx, lab, 5_000_000, policy=POLICY, actor=me, note="I had it left over")
        wallets.change(tx, own, actor=me, title=f"{NAME}'s credit")
    # as long as nobody knew their number
    old = Actor("person", NAME, "192.0.2.8")
    with world.db.write() as tx:
        wallets.change(tx, lab, actor=old, title="The lab")
        keys.once(tx, f"person:{their}", "POST /x", "k1", {}, lambda tx: {"person": NAME})
        keys.once(tx, "person:999", "POST /x", "k2", {}, lambda tx: {"person": NAME})
    with world.db.write() as tx:
        wallets.grant(tx, own, 7_000_000, policy=POLICY, note="a prize for good work", actor=BY)
    world.act(wallets.grant, lab, 1_000_000, policy=POLICY, note=f"told by {NAME.upper()}, twice")
    world.wait(minutes=16 * DAY)
    world.act(months.close, "2026-11", policy=POLICY, without_hubs=["hub"])
    now = world.now
    put(world, t.credit_requests, wallet_id=lab, person_id=their, amount_micro=5, state="open",
        note_id=note(world, "my thesis"), answer_id=note(world, "not now"),
        created_at=now)  # fmt: skip
    asked = world.act(requests.ask, lab, bob, 5, note="bob's own words")
    with world.db.write() as tx:
        requests.grant(tx, asked, policy=POLICY, actor=me, by_right=True, note="fine with me")
    by = {"created_at": now, "actor_kind": "person", "actor_id": their}
    later = now + timedelta(hours=1)
    put(world, t.passes, person_id=their, note_id=note(world, "deadline"), expires_at=later, **by)
    put(world, t.maintenance, node="n1", starts_at=now, ends_at=later,
        note_id=note(world, "I move it"), **by)  # fmt: skip
    note(world, f"about {NAME}", person_id=their)
    return their


KEPT_MONEY = {
    "entries": (t.entries,),
    "wallets": (t.wallets_, t.wallets_.c.id, t.wallets_.c.balance_micro),
    "sessions": (
        t.sessions_,
        *(
            c
            for c in t.sessions_.c
            if c.name not in ("server_name", "pod_name", "namespace", "end_reason")
        ),
    ),
}


def test_a_name_is_gone_from_every_row_and_no_money_moved(world):
    their = live(world)
    there = found(world, NAME)
    assert there >= {
        "people.name", "wallets.name", "wallets.title", "notes.text", "sessions.server_name",
        "sessions.namespace", "sessions.pod_name", "sessions.end_reason", "admissions.text",
        "admissions.details", "admissions.server_name", "admissions.void_reason", "rules.person",
        "limits.person", "audit.actor_name", "audit.subject_id", "audit.before", "audit.after",
        "client_keys.answer", "month_names.name", "month_names.title", "session_groups.group_name",
    }  # fmt: skip
    before = {name: rows(world, *columns) for name, columns in KEPT_MONEY.items()}
    audit_ids = {r["id"] for r in world.look(views.audit_rows, limit=1000)}

    done = forget(world, their)

    assert done.name == f"person-{their}" and not done.left and not done.already
    assert found(world, NAME) == set()
    assert found(world, "zéphyrine") == set()
    assert found(world, "192.0.2") == set()
    assert {name: rows(world, *columns) for name, columns in KEPT_MONEY.items()} == before
    assert failed(world.look(check)) == []
    (row,) = [r for r in world.look(views.audit_rows, limit=1000) if r["id"] not in audit_ids]
    assert (row["action"], row["subject_kind"], row["subject_id"]) == (
        "person.pseudonymised", "person", str(their),
    )  # fmt: skip
    assert (row["actor_name"], row["address"]) == ("operator", "10.0.0.1")
    assert row["after"]["name"] == f"person-{their}"
    assert row["before"]["rules"][0]["person"] == f"person-{their}"


def test_what_stays_is_still_told(world):
    their = live(world)
    forget(world, their)
    (own,) = world.look(
        views.wallet_views, ids=[world.look(people.by_ids, [their])[their].wallet_id]
    )
    assert (own.name, own.title, own.owner) == (f"~person-{their}", "", f"person-{their}")
    assert own.closed and own.balance_micro > 0
    sessions = world.look(views.session_views, person_id=their)
    assert {s.person for s in sessions} == {f"person-{their}"}
    assert {s.server_name for s in sessions} == {"", ERASED}
    decisions = world.look(views.decisions, person_id=their)
    assert {d["text"] for d in decisions} == {ERASED}
    assert {d["reason"] for d in decisions} >= {"ok", "wallet_choice", "limit"}
    of_bob = world.look(views.decisions, person_id=world.look(people.by_name, "hub", "bob").id)
    assert any(f"~person-{their}" in d["text"] for d in of_bob)
    assert all(d["text"] != ERASED for d in of_bob)
    texts = set(rows(world, t.notes, t.notes.c.text))
    assert {f"('told by person-{their}, twice',)", "('Starting credit.',)",
            '("bob\'s own words",)'} <= texts  # fmt: skip
    for words in ("a prize", "left over", "my thesis", "not now", "fine with me", "deadline",
                  "I move it", "about"):  # fmt: skip
        assert not any(words in text for text in texts), words
    groups = set(rows(world, t.session_groups, t.session_groups.c.group_name))
    assert groups == {f"('person-{their}',)", "('physics',)"}
    assert rows(world, t.wallet_members, t.wallet_members.c.person_id) == [
        f"({world.look(people.by_name, 'hub', 'bob').id},)"
    ]
    states = rows(world, t.credit_requests, t.credit_requests.c.state)
    assert states == ["('granted',)", "('withdrawn',)"]
    assert world.look(lambda tx: tx.scalar(sa.select(t.passes.c.revoked_at))) == world.now
    actors = {r["actor_name"] for r in world.look(views.audit_rows, limit=1000)}
    assert f"person-{their}" in actors


def test_the_statement_of_a_closed_month_is_the_same_but_for_names_and_words(world):
    their = live(world)
    own = who(world).wallet_id
    before = world.look(statements.statement, own, "2026-11", policy=POLICY)
    forget(world, their)
    after = world.look(statements.statement, own, "2026-11", policy=POLICY)
    assert before["people"][0]["person"] == NAME
    assert NAME not in json.dumps(after, ensure_ascii=False, default=str)
    assert after["people"][0]["person"] == f"person-{their}"
    changed = {path for path, a, b in differences(before, after)}
    assert changed == {"wallet.name", "wallet.title", "people.person", "sessions.person",
                       "sessions.server_name", "entries.note"}  # fmt: skip


def differences(a, b, path=""):
    if isinstance(a, dict) and a.keys() == b.keys():
        for key in a:
            yield from differences(a[key], b[key], f"{path}.{key}".strip("."))
    elif isinstance(a, list) and len(a) == len(b):
        for one, other in zip(a, b, strict=True):
            yield from differences(one, other, path)
    elif a != b:
        yield path, a, b


def test_again_changes_nothing(world):
    their = live(world)
    forget(world, their)
    before = {table.name: rows(world, table) for table in t.metadata.sorted_tables}
    assert forget(world, their).already
    assert {table.name: rows(world, table) for table in t.metadata.sorted_tables} == before


@pytest.mark.parametrize("same_account", [True, False])
def test_who_comes_back_inherits_nothing(world, same_account):
    """Not even the same account of the Hub, which would take its name back otherwise."""
    their = live(world)
    own = who(world).wallet_id
    forget(world, their)
    world.act(rules.add, Rule(0, "personal", starting_grant_micro=2_000_000))
    number = sum(NAME.encode()) if same_account else 77
    session = world.run(NAME, number=number, born=BORN)
    new = who(world)
    assert new.id != their and new.wallet_id != own
    assert world.balance(new.wallet_id) == 2_000_000  # as anybody: they can not be known again
    assert world.look(ownership.roles_of, "hub", PersonKey(NAME, number, BORN), ()) == {
        new.wallet_id: "manager"
    }
    assert [s.id for s in world.look(views.session_views, person_id=new.id)] == [session]
    assert world.look(people.by_ids, [their])[their].name == f"person-{their}"


def test_an_open_server_is_in_the_way_and_nothing_is_written(world):
    world.wallet("lab", 100, pays_for="*")
    session = world.run("ada")
    before = {table.name: rows(world, table) for table in t.metadata.sorted_tables}
    with pytest.raises(Conflict, match=r"ada has an open server\. Stop what runs"):
        forget(world, who(world, "ada").id)
    world.admit(world.ask("ada", "second"))
    with pytest.raises(Conflict, match="ada has 2 open servers"):
        forget(world, who(world, "ada").id)
    world.wait(minutes=20)  # the second never started, and holds nothing any more
    with pytest.raises(Conflict, match="ada has an open server"):
        forget(world, who(world, "ada").id)
    world.end(session)
    assert before["jhub_usage_people"] == rows(world, t.people)
    forget(world, who(world, "ada").id)
    assert {s.state for s in world.look(views.session_views)} == {"ended", "void"}
    assert failed(world.look(check)) == []


def test_nobody_forgets_themselves_and_strangers_are_not_found(world):
    world.wallet("lab", 100, pays_for="*")
    world.end(world.run("ada"))
    ada = who(world, "ada").id
    with pytest.raises(Conflict, match="ask another administrator"):
        forget(world, ada, Actor("person", "ada", "", ada))
    with pytest.raises(NotFound):
        forget(world, 999)
    with world.db.write() as tx, pytest.raises(NotFound):
        privacy.pseudonymise(tx, ada, hub_id="other", actor=BY)
    # at a shell of the same name
    forget(world, ada, Actor("cli", "ada", "hub-1"))
    assert found(world, "ada") == set()


def test_the_name_of_somebody_who_has_it_now_is_left_to_them(world):
    """A former ada is forgotten; rules, limits and changes that mean the present one stay."""
    lab = world.wallet("lab", 100, pays_for="*")
    world.act(limits.add, Limit("person", "gpus", 9000, person="ada"))
    world.end(world.run("ada", number=1))
    first = who(world, "ada").id
    world.wait(minutes=10)
    world.end(world.run("ada", number=2))
    second = who(world, "ada").id
    world.act(rules.add, Rule(0, "wallet", wallet_id=lab, person="ada"))
    with pytest.raises(Conflict, match=f"by --id \\({first}, {second}\\)"):
        world.look(privacy.find, "hub", "ada")
    assert world.look(privacy.find, "hub", "ada", first).id == first
    forget(world, first)
    assert who(world, "ada").id == second
    catalog = world.look(views.catalog)
    assert [r.person for r in catalog.rules if r.person] == ["ada"]
    assert [x.person for x in catalog.limits] == ["ada"]
    told = {r["action"]: r["after"] for r in reversed(world.look(views.audit_rows))}
    assert told["rule.added"]["person"] == "ada"  # of the time in which it means the second
    assert told["limit.set"]["person"] == f"person-{first}"


def test_former_names_are_forgotten_too(world):
    """A rename follows; what was written under the old name is theirs as well."""
    world.act(rules.add, Rule(0, "personal", starting_grant_micro=50_000_000))
    world.end(world.run("maiden", number=5))
    their = who(world, "maiden").id
    with world.db.write() as tx:
        own = people.by_ids(tx, [their])[their].wallet_id
        wallets.change(tx, own, actor=Actor("person", "maiden", "", their), title="mine")
    world.end(world.run("married", number=5))
    world.act(wallets.grant, own, 10**6, policy=POLICY, note="x")
    forget(world, their)
    assert found(world, "maiden") == found(world, "married") == set()


def test_a_former_name_is_known_from_a_closed_month(world):
    """They never did anything here and have no wallet, so only what was closed tells it."""
    lab = world.wallet("lab", 100, pays_for="*")
    world.end(world.run("maiden", number=5))
    their = who(world, "maiden").id
    world.act(wallets.grant, lab, 10**6, policy=POLICY, note="for maiden")
    world.wait(minutes=16 * DAY)
    world.act(months.close, "2026-11", policy=POLICY, without_hubs=["hub"])
    world.end(world.run("married", number=5))
    forget(world, their)
    assert found(world, "maiden") == found(world, "married") == set()


@pytest.mark.parametrize("name", ["period", "begun", "amount_micro", "sessions", "person"])
def test_who_is_called_like_a_word_of_ours_breaks_no_answer(world, name):
    """What a batch gave back and which allowance there was are read from changes."""
    lab = world.wallet("lab", 5000, pays_for="*")
    world.act(allowances.set_allowance, lab, Allowance(10**6, "week"), policy=POLICY)
    for who_ran in (name, "bob"):
        session = world.run(who_ran)
        world.wait(minutes=60)
        world.end(session)

    def give_back():
        return world.act(
            refunds.refund, Filter(person="bob"), note="sorry", policy=POLICY, hub_id="hub", key="k"
        )

    first, tried = give_back(), world.look(trials.month, "2026-11")
    assert tried.same and tried.wallets
    forget(world, who(world, name).id)
    assert give_back() == first
    assert world.look(trials.month, "2026-11").wallets == tried.wallets


def test_things_of_others_that_bear_the_name_are_told(world):
    world.act(wallets.create, "ada-lab", title="The lab of ada")
    world.act(wallets.create, "canada")
    lab = world.wallet("lab", 100, pays_for="*")
    world.act(wallets.set_group, lab, "ada")
    world.end(world.run("ada"))
    done = forget(world, who(world, "ada").id)
    assert done.left == ("the title of the wallet ada-lab", "the hub group ada")
    assert world.look(wallets.find, "ada-lab").name == "ada-lab"


def test_the_new_name_of_a_wallet_is_free(world):
    world.act(rules.add, Rule(0, "personal", starting_grant_micro=50_000_000))
    world.end(world.run("ada"))
    their = who(world, "ada").id
    world.end(world.run(f"person-{their}"))
    forget(world, their)
    own = world.look(people.by_ids, [their])[their].wallet_id
    assert world.look(wallets.find, own).name == f"~person-{their}-2"


def test_what_is_written_while_tables_are_read_is_found_under_the_gate(world):
    """The first reading is before the gate; the second one takes what came since, and only that."""
    world.act(rules.add, Rule(0, "personal", starting_grant_micro=50_000_000))
    world.end(world.run("ada"))
    ada = who(world, "ada")
    names = Renamed(("ada",), "person-1", "~ada", "~person-1")
    whose = erasing.Whose(ada.id, ada.wallet_id, names)
    with world.db.write() as tx:
        erasing.everywhere(tx, whose, erasing.Mark())
        mark = erasing.mark(tx)
        assert not +erasing.everywhere(tx, whose, mark)
    with world.db.write() as tx:
        wallets.grant(tx, ada.wallet_id, 10**6, policy=POLICY, note="well done", actor=BY)
    world.act(wallets.grant, world.wallet("lab"), 10**6, policy=POLICY, note="thanks to Ada")
    world.admit(world.ask("bob", wallet_name="~ada"))
    world.act(limits.add, Limit("person", "gpus", 4000, person="ada"))
    with world.db.write() as tx:
        keys.once(tx, "person:999", "POST /x", "k", {}, lambda tx: {"person": "ada"})
        found_now = erasing.everywhere(tx, whose, mark)
    assert found_now == {"decisions": 1, "notes": 2, "audit_rows": 1, "client_keys": 1}


# -- retention ------------------------------------------------------------------------------------


def retained(world, keep, actor=SYSTEM, limit=2) -> dict[str, int]:
    """Batches until nothing is due, as the service does it."""
    total: dict[str, int] = {}
    for _ in range(100):
        with world.db.write() as tx:
            gone = privacy.retain(tx, keep, actor=actor, limit=limit)
        assert all(number <= limit for number in gone.values())
        for kind, number in gone.items():
            total[kind] = total.get(kind, 0) + number
        if not any(number == limit for number in gone.values()):
            return total
    raise AssertionError("the batches do not end")


def past(world) -> tuple[str, str]:
    """Forty days ago: five refusals, keys and changes, an ended, a void and a running session."""
    world.wallet("lab", 5000, pays_for="*")
    ended, void = world.run("ada"), world.admit(world.ask("cy")).session_id
    world.wait(minutes=30)
    world.end(ended)
    world.tell(void, "void", reason="cancelled")
    running = world.run("bob")
    world.act(limits.add, Limit("everyone", "gpus", 1000))
    for number in range(5):
        assert not world.admit(world.ask("ada", f"s{number}")).may_start
        with world.db.write() as tx:
            keys.once(tx, "person:1", "POST /x", f"k{number}", {}, lambda tx: {})
            tx.execute(
                t.audit.insert().values(
                    at=tx.now(), action="read", subject_kind="session", subject_id=ended,
                    actor_kind="person", actor_name="x", address="",
                )
            )  # fmt: skip
    world.tell(str(uuid.uuid4()), "void", reason="given up")  # a tombstone
    world.wait(minutes=40 * DAY)
    return ended, running


def count(world, table, *where) -> int:
    query = sa.select(sa.func.count()).select_from(table).where(*where)
    return world.look(lambda tx: tx.scalar(query))


def test_nothing_goes_unless_it_is_said(world):
    past(world)
    before = {table.name: rows(world, table) for table in t.metadata.sorted_tables}
    assert retained(world, Keep()) == {}
    assert {table.name: rows(world, table) for table in t.metadata.sorted_tables} == before


def test_old_decisions_go_and_what_became_a_session_stays(world):
    ended, running = past(world)
    new = world.admit(world.ask("ada", "today"))
    assert new.decision == "refused"
    keep = Keep(decisions_days=30)
    assert world.look(privacy.due, keep) == {"decisions": 6}
    kept = {name: rows(world, *columns) for name, columns in KEPT_MONEY.items()}
    assert retained(world, keep) == {"decisions": 6}
    left = rows(world, t.admissions_, t.admissions_.c.session_id)
    assert {ended, running, new.session_id} <= {row[2:-3] for row in left} and len(left) == 4
    assert {name: rows(world, *columns) for name, columns in KEPT_MONEY.items()} == kept
    assert failed(world.look(check)) == []
    assert retained(world, keep) == {"decisions": 0}


def test_a_start_that_was_let_in_stays_whatever_was_said_of_it(observing):
    """Observed, or let in while the database was away: there is a session, so there is a reason."""
    world = observing
    world.wallet("lab", pays_for="*")
    session = world.run("ada")
    world.wait(minutes=30)
    world.end(session)
    assert world.look(views.decision, session)["decision"] == "observed"
    world.wait(minutes=40 * DAY)
    assert retained(world, Keep(decisions_days=30)) == {"decisions": 0}
    assert failed(world.look(check)) == []


def test_changes_reads_and_keys_have_times_of_their_own(world):
    past(world)
    reads, changes = t.audit.c.action == "read", t.audit.c.action != "read"
    old = count(world, t.audit, changes)
    assert world.look(privacy.due, Keep(audit_days=30)) == {"audit": old}
    assert retained(world, Keep(reads_days=30, client_keys_days=30)) == {
        "reads": 5, "client_keys": 5,
    }  # fmt: skip
    told = count(world, t.audit, changes) - old
    assert told == 3  # one row for each transaction that took some of the log away
    assert retained(world, Keep(audit_days=30)) == {"audit": old}
    assert count(world, t.audit, reads) == 0
    assert {r["action"] for r in world.look(views.audit_rows)} == {"retention.applied"}
    assert failed(world.look(check)) == []


def test_changes_that_answers_rest_on_stay(world):
    """A retry of a refund of many sessions is known again by its row, however late it comes."""
    world.wallet("lab", 5000, pays_for="*")
    session = world.run("ada")
    world.wait(minutes=60)
    world.end(session)
    lab = world.look(wallets.find, "lab").id
    world.act(allowances.set_allowance, lab, Allowance(10**6, "month"), policy=POLICY)

    def give_back():
        return world.act(
            refunds.refund, Filter(person="ada"), note="sorry", policy=POLICY, hub_id="hub", key="k"
        )

    first = give_back()
    world.wait(minutes=40 * DAY)
    retained(world, Keep(audit_days=30))
    actions = {r["action"] for r in world.look(views.audit_rows)}
    assert actions == {"refunds.made", "wallet.allowance_set", "retention.applied"}
    assert give_back() == first
    assert failed(world.look(check)) == []


def test_the_day_of_the_cutoff_is_kept(world):
    past(world)
    assert world.look(privacy.due, Keep(decisions_days=40)) == {"decisions": 0}
    world.wait(minutes=DAY)
    assert world.look(privacy.due, Keep(decisions_days=40)) == {"decisions": 6}


def test_who_does_it_by_hand_is_told(world):
    past(world)
    keep = Keep(client_keys_days=30)
    before = count(world, t.audit)
    assert retained(world, keep, actor=SYSTEM) == {"client_keys": 5}
    assert count(world, t.audit) == before  # that is no change of anything
    with world.db.write() as tx:
        keys.once(tx, "person:1", "POST /x", "k", {}, lambda tx: {})
    world.wait(minutes=40 * DAY)
    assert retained(world, keep, actor=Actor("cli", "root", "hub-1")) == {"client_keys": 1}
    (row,) = world.look(views.audit_rows, limit=1)
    assert (row["action"], row["actor_name"]) == ("retention.applied", "root")
    assert row["before"] == {"client_keys": 1}
    assert row["after"] == {"client_keys_before": "2027-01-09T00:00:00Z"}


def test_a_key_is_forgotten_and_its_entry_still_is_the_same(world):
    """The entry keeps its own key: a retry after months grants nothing twice."""
    lab = world.wallet("lab")

    def grant():
        def change(tx):
            done = wallets.grant(tx, lab, 10**6, policy=POLICY, actor=BY, key="k1")
            return {"entry_id": done}

        with world.db.write() as tx:
            return keys.once(tx, "person:1", "POST /grant", "k1", {}, change)

    first = grant()
    world.wait(minutes=40 * DAY)
    assert retained(world, Keep(client_keys_days=30)) == {"client_keys": 1}
    assert grant() == first
    assert world.balance(lab) == 10**6


def test_personal_names_are_still_free(world):
    """`payers` names the next wallet; forgetting gives the old name back."""
    world.act(rules.add, Rule(0, "personal", starting_grant_micro=50_000_000))
    world.end(world.run("ada"))
    forget(world, who(world, "ada").id)
    assert world.look(payers.personal_name, "ada") == "~ada"
