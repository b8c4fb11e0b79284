"""Apply and export against real databases: idempotent, all or nothing, audited, a round trip."""

import sys
import time
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jhub_usage.actions import hubs, limits, plans, views, wallets
from jhub_usage.actions.check import check
from jhub_usage.adapters import files
from jhub_usage.domain.admission import PersonKey, Policy
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.audit import Actor
from jhub_usage.domain.declared import Problems
from jhub_usage.domain.declaring import declare
from jhub_usage.domain.errors import Conflict
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.limits import Limit
from jhub_usage.store import people
from jhub_usage.store import tables as t
from jhub_usage.store.engine import Database

from .story import Story

HUB, POLICY, BY = "hub", Policy(), Actor("cli", "tester")

LAB = """
mode: enforce
groups: [physics, maths]
wallets:
  - name: lab
    title: The "lab" o'brien ☃
    overdraft: 12.5
    starting_credit: "0.000001"
    allowance: {amount: 100.5, period: month, carry: full}
    people: {ada: manager, bob: spender}
    groups: [chemistry]
  - {name: old, closed: true, mode: observe, overdraft: unlimited}
  - {name: ~ada, owner: ada}
group_wallets:
  name: "{group}"
  starting_credit: 500
  allowance: {amount: 7, period: week, carry: 2, per: member}
people:
  - {person: cy, wallet: lab}
  - {person: cy, wallet: maths}
  - {person: ada, wallet: maths, role: manager}
rates:
  - {resource: gpu, model: H100, price: 6.5, starts_at: 2020-01-01T00:00:00+01:00}
  - {resource: memory, profile: big, price: 0.002}
rules:
  - {person: cy, profile: big, wallet: lab}
  - {target: personal, starting_grant: 25, overdraft: 3}
limits:
  - {resource: gpus, amount: 1.5, group: physics, each: true}
  - {resource: session_hours, amount: 100 s, profile: big}
  - {resource: memory, amount: 0.5, person: "*", wallet: lab}
exemptions: [{person: root}, {profile: free}]
"""


def opened(url, clock=None) -> Database:
    db = Database(url, clock=clock, statement_timeout_s=60)
    db.upgrade()
    with db.write() as tx:
        hubs.install(tx, HUB, actor=BY)
    return db


def read(text):
    return declare(files.parse(text.encode(), "test.yaml"))


def put(db, text):
    with db.write() as tx:
        return plans.apply(tx, read(text), HUB, policy=POLICY, actor=BY)


def out(db) -> str:
    with db.read() as tx:
        return files.dump_yaml(plans.export(tx, HUB))


def everything(db) -> dict:
    """Every row of every table."""
    with db.read() as tx:
        return {
            table.name: sorted(map(str, tx.execute(table.select())))
            for table in t.metadata.sorted_tables
        }


def audited(db) -> list[str]:
    with db.read() as tx:
        return list(tx.execute(sa.select(t.audit.c.action).order_by(t.audit.c.id)).scalars())


def test_apply_twice_is_apply_once(db_url):
    db = opened(db_url)
    plan = put(db, LAB)
    once = everything(db)
    again = put(db, LAB)
    assert again.changes == [] and again.summary() == "Nothing to change."
    assert everything(db) == once
    # one audit row for each thing that changed; the rules are one list
    rules = [x for x in plan.changes if x.kind == "rule"]
    assert len(audited(db)) == len(plan.changes) - len(rules) + 1
    with db.read() as tx:
        assert failed(check(tx)) == []
        lab = wallets.find(tx, "lab")
        assert (lab.balance_micro, lab.overdraft_micro) == (100_500_001, 12_500_000)
        maths = wallets.find(tx, "maths")
        assert (maths.balance_micro, maths.left_micro) == (514_000_000, 14_000_000)
        assert maths.allowance == Allowance(14_000_000, "week", 4_000_000)
        assert wallets.find(tx, "old").closed
    db.dispose()


def test_a_dry_run_changes_nothing(db_url):
    db = opened(db_url)
    before = everything(db)
    with db.read() as tx:
        plan = plans.plan(tx, read(LAB), HUB)
    assert len(plan.changes) > 20
    assert everything(db) == before
    assert [str(x) for x in put(db, LAB).lines] == [str(x) for x in plan.lines]
    db.dispose()


def test_export_and_apply_make_the_same(db_url, tmp_path):
    db = opened(db_url)
    put(db, LAB)
    text = out(db)
    other = opened(f"sqlite:///{tmp_path / 'other.sqlite'}")
    put(other, text)
    assert out(other) == text
    assert put(other, text).changes == []
    assert put(db, text).changes == []
    # JSON is YAML: the same document in that form
    with db.read() as tx:
        as_json = files.dump_json(plans.export(tx, HUB))
    assert put(other, as_json).changes == []
    for each in (db, other):
        each.dispose()


NAMES = st.text(
    st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Cn")), min_size=1, max_size=30
).filter(lambda s: s == s.strip() and not s.startswith("~"))
AMOUNTS = st.integers(0, 10**15).map(lambda n: f"{n // 10**6}.{n % 10**6:06d}")


@settings(
    max_examples=40, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    wallets_=st.lists(
        st.tuples(NAMES, NAMES, AMOUNTS, st.lists(NAMES, max_size=3), st.lists(NAMES, max_size=3)),
        max_size=4, unique_by=lambda w: unicodedata.normalize("NFC", w[0]),
    ),
    profiles=st.lists(st.tuples(NAMES, AMOUNTS), max_size=3),
)  # fmt: skip
def test_any_names_and_amounts_survive_the_round_trip(wallets_, profiles, tmp_path_factory):
    document = {
        "wallets": [
            {"name": n, "title": title, "overdraft": amount, "people": members, "groups": groups}
            for n, title, amount, members, groups in wallets_
        ],
        "rates": [
            {"resource": "gpu", "profile": p, "price": a, "starts_at": f"20{n:02d}-01-01T00:00:00Z"}
            for n, (p, a) in enumerate(profiles, 10)
        ],
        "rules": [{"wallet": w[0], "group": g} for w in wallets_ for g in w[4]],
        "exemptions": [{"person": w[1]} for w in wallets_[:1]],
    }
    folder = tmp_path_factory.mktemp("round")
    first = opened(f"sqlite:///{folder / 'a.sqlite'}")
    second = opened(f"sqlite:///{folder / 'b.sqlite'}")
    try:
        put(first, files.dump_yaml(document))
        text = out(first)
        put(second, text)
        assert out(second) == text
        assert put(first, text).changes == []
    finally:
        first.dispose()
        second.dispose()


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ("rates: [{resource: gpu, price: 9, starts_at: 1970-01-01T00:00:00Z}]", Problems),
        ("wallets: [{name: ~ada, owner: bob}]", Problems),
        ("wallets: [{name: lab, owner: ada}]", Problems),
        ("wallets: [{name: ~ada2, owner: ada}]", Problems),
        ("limits: [{resource: gpus, amount: 1, wallet: nope}]", Problems),
        ("people: [{person: x, wallet: nope}, {person: ada, wallet: lab, role: manager}]\n"
         "wallets: [{name: lab, people: {ada: spender}}]", Problems),
    ],
)  # fmt: skip
def test_what_contradicts_the_database_changes_nothing(bad, kind, db_url):
    db = opened(db_url)
    put(db, LAB)
    before = everything(db)
    with pytest.raises(kind) as caught:
        put(db, "wallets: [{name: first, starting_credit: 5}]\n" + bad
            if "wallets" not in bad else bad)  # fmt: skip
    assert "test.yaml, line" in str(caught.value)
    assert everything(db) == before
    db.dispose()


def test_a_failure_at_the_very_end_undoes_all(db_url):
    """A price that was quoted already can not be replaced; everything before it is taken back."""
    story = Story(db_url)
    story.admit(1, "ada")
    story.later(hours=1)
    before = everything(story.db)
    late = (story.now - timedelta(hours=2)).isoformat()
    text = f"{LAB}\n---\nrates: [{{resource: gpu, price: 9, starts_at: '{late}'}}]"
    with pytest.raises(Conflict, match="already quoted"):
        put(story.db, text)
    assert everything(story.db) == before
    story.db.dispose()


def test_an_expected_person_is_the_one_that_the_hub_shows(db_url):
    db = opened(db_url)
    put(db, LAB)
    shown = PersonKey("ada", 7, datetime(2026, 1, 1, tzinfo=UTC))
    with db.read() as tx:
        expected = people.by_name(tx, HUB, "ada")
        assert people.find(tx, HUB, shown).id == expected.id
        assert expected.wallet_id == wallets.find(tx, "~ada").id
    db.dispose()


def test_a_wallet_of_somebody_gone_is_left_out(db_url):
    db = opened(db_url)
    put(db, LAB + "  \n")
    with db.write() as tx:
        tx.execute(t.people.update().where(t.people.c.name == "ada").values(current=False))
    text = out(db)
    assert "~ada" not in text and "ada: manager" not in text
    # and a list of people does not take out whom no file can name
    put(db, "wallets: [{name: lab, people: {bob: spender}}]")
    with db.read() as tx:
        m = t.wallet_members.c
        lab = wallets.find(tx, "lab").id
        assert tx.scalar(sa.select(sa.func.count()).where(m.wallet_id == lab)) == 2
    db.dispose()


def test_rules_and_limits_that_are_applied_decide(db_url):
    story = Story(db_url)
    put(story.db, """
mode: enforce
wallets: [{name: lab, starting_credit: 100}]
rules: [{wallet: lab}]
limits: [{resource: gpus, amount: 1, person: "*"}]
""")  # fmt: skip
    assert story.admit(1, "ada").wallet_name == "lab"
    refused = story.admit(2, "ada")
    assert (refused.decision, refused.reason.code) == ("refused", "limit")
    story.db.dispose()


def test_limits_of_a_wallets_manager_are_left_to_them(db_url):
    db = opened(db_url)
    put(db, "wallets: [{name: lab}]\nlimits: [{resource: gpus, amount: 4, wallet: lab}]")
    with db.write() as tx:
        lab = wallets.find(tx, "lab").id
        limits.add(tx, Limit("wallet", "gpus", 2000, wallet_id=lab, by_manager=True), actor=BY)
    assert out(db).count("gpus") == 1
    put(db, "limits: []")
    with db.read() as tx:
        (left,) = views.catalog(tx).limits
    assert (left.amount, left.by_manager) == (2000, True)
    db.dispose()


ALLOWED = "wallets: [{{name: lab, allowance: {}}}]"


def allowance_of(story) -> tuple:
    """(the wallet's allowance, what the wallet shows now)."""
    with story.db.read() as tx:
        (lab,) = views.wallet_views(tx, ids=[wallets.find(tx, "lab").id])
        return lab.allowance, lab.balance_micro // 10**6


def test_an_allowance_is_given_changed_and_taken_away(db_url):
    """What the dry run says is what happens, and applied again nothing does."""
    story = Story(db_url)  # the 30th of October

    def put_allowance(text) -> list[str]:
        declared = read(ALLOWED.format(text))
        with story.db.read() as tx:
            said = [str(x) for x in plans.plan(tx, declared, HUB).lines]
        assert [str(x) for x in put(story.db, ALLOWED.format(text)).lines] == said
        before = everything(story.db)
        assert put(story.db, ALLOWED.format(text)).lines == [] and everything(story.db) == before
        return said

    assert put_allowance("{amount: 100, period: month}") == [
        "+ wallet lab: overdraft 0",
        "+ allowance lab: 100 per month, keeps nothing; from now on",
    ]
    assert allowance_of(story) == (Allowance(10**8, "month", 0), 100)
    assert put_allowance("{amount: 120, period: month, carry: 20}") == [
        "~ allowance lab: 100 -> 120 per month, keeps nothing -> keeps 20; from the next month on"
    ]
    assert allowance_of(story) == (Allowance(120 * 10**6, "month", 20 * 10**6), 100)
    story.later(days=2)
    assert allowance_of(story)[1] == 140
    (gone,) = put_allowance("none")
    assert gone.startswith("- allowance lab: was 120 per month, keeps 20; what is left expires")
    assert "allowance" not in out(story.db)
    # what is left of it is told, so giving it again refills nothing before its end
    assert put_allowance("{amount: 50, period: month}") == [
        "+ allowance lab: 50 per month, keeps nothing; from the next month on"
    ]
    assert allowance_of(story)[1] == 140
    put_allowance("none")
    story.later(days=31)
    assert allowance_of(story)[1] == 0
    assert put_allowance("{amount: 50, period: month}") == [
        "+ allowance lab: 50 per month, keeps nothing; from now on"
    ]
    assert allowance_of(story)[1] == 50
    assert audited(story.db).count("wallet.allowance_set") == 4
    assert audited(story.db).count("wallet.allowance_removed") == 2
    with story.db.read() as tx:
        assert failed(check(tx)) == []
    story.db.dispose()


def test_an_allowance_for_each_person_follows_who_is_there(db_url):
    story = Story(db_url)
    each = "{name: '{group}', groups: [lab], allowance: {amount: 10, period: month, per: member}}"
    people_ = "wallets: [{{name: lab, people: {{{}}}}}]"
    put(story.db, f"group_wallets: {each}\n" + people_.format("ada: manager, bob: spender"))
    assert allowance_of(story) == (Allowance(20 * 10**6, "month", 0), 20)
    # somebody who was added by hand counts the next time
    with story.db.write() as tx:
        cy = people.resolve(tx, HUB, [PersonKey("cy")], tx.now)[PersonKey("cy")].id
        wallets.set_member(tx, wallets.find(tx, "lab").id, cy, "spender", actor=BY)
    (line,) = put(story.db, f"group_wallets: {each}").lines
    assert str(line) == (
        "~ allowance lab: 20 -> 30 per month, keeps nothing (3 x 10); from the next month on"
    )
    put(story.db, f"group_wallets: {each}\n" + people_.format(""))
    assert allowance_of(story)[0] == Allowance(0, "month", 0)
    story.db.dispose()


def test_three_thousand_people_and_two_hundred_groups(db_url, capsys):
    lines = ["group_wallets: {name: 'lab-{group}', starting_credit: 500, overdraft: 12.5,",
             "  allowance: {amount: 2, period: day, carry: full, per: member}}"]  # fmt: skip
    lines += ["groups:"] + [f"  - g{n}" for n in range(200)] + ["people:"]
    lines += [f"  - {{person: p{n}, wallet: lab-g{n % 200}}}" for n in range(3000)]
    text = "\n".join(lines)
    db = opened(db_url)
    times = []
    for _ in range(2):
        begun = time.monotonic()
        plan = put(db, text)
        times.append(time.monotonic() - begun)
    assert plan.changes == []
    with db.read() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(t.wallet_members)) == 3000
        # 500 for each group, 2 for each person
        total = 200 * 500 * 10**6 + 3000 * 2 * 10**6
        assert tx.scalar(sa.select(sa.func.sum(t.wallets_.c.balance_micro))) == total
        assert tx.scalar(sa.select(sa.func.count()).select_from(t.rules_)) == 201
        assert failed(check(tx)) == []
    with capsys.disabled():
        sys.stdout.write(f"\n3,000 people, 200 groups on {db.url.drivername}: "
                         f"{times[0]:.2f} s, again {times[1]:.2f} s ")  # fmt: skip
    assert times[0] < 60
    db.dispose()
