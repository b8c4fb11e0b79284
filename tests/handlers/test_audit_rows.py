"""Every write leaves exactly one audit row: who, from where, what, before and after.

Driven by the table of routes, so a route that is added fails here until it has a recipe: one line
in ``WRITES`` that says how it is asked so that it changes something.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from jhub_usage.actions import (
    allowances,
    exemptions,
    limits,
    maintenance,
    passes,
    refunds,
    rules,
    views,
    wallets,
)
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.instants import iso
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.refunds import Filter
from jhub_usage.domain.rules import Rule
from jhub_usage.handlers.base import SAFE
from jhub_usage.handlers.reads import ASKS
from jhub_usage.handlers.routes import ROUTES
from jhub_usage.scopes import ACCESS
from jhub_usage.store import ledger, people, periods
from jhub_usage.store import tables as t
from jhub_usage.store.ledger import NewEntry

from .fakes import Role
from .world import World

ADMIN = Role("admin-token", "operator", (ACCESS, "custom:jhub-usage:admin"))
ADA, MIA = Role("ada-token", "ada"), Role("mia-token", "mia")
#: A token that was not made for this service opens nothing, whatever a route needs.
STRANGER = Role("stranger-token", "eve", ("read:users!user=eve",))
ADDRESS = "10.1.2.3"


# -- recipes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Write:
    """How a route is asked so that it changes something, once."""

    #: What the audit row must tell: ("after",) of a creation, ("before",) of a deletion, or both.
    tells: tuple[str, ...]
    #: Or a function of the world that makes it.
    body: dict | Callable | None = None
    by: Role = ADMIN
    #: Asked again without a key it does the same again, rightly: why.
    acts_again: str = ""
    #: Values of the path; a function of the world makes the thing that is named.
    path: Mapping = field(default_factory=dict)


def creates(body=None, **more) -> Write:
    return _write(("after",), body, **more)


def changes(body=None, **more) -> Write:
    return _write(("before", "after"), body, **more)


def removes(body=None, **more) -> Write:
    return _write(("before",), body, **more)


def asks(body, **more) -> Write:
    return _write((), body, **more)


def _write(tells, body, *, by=ADMIN, acts_again="", **path) -> Write:
    return Write(tells, body, by, acts_again, path)


#: What a path names unless its recipe says otherwise.
USUAL = {
    "wallet_id": lambda world: world.lab,
    "session_id": lambda world: world.running,
    "entry_id": lambda world: world.charge_id,
    "kind": "profile",
}


def a_limit(world) -> int:
    return world.site.act(limits.add, Limit("wallet", "servers", 9, wallet_id=world.lab))


def a_rule(world) -> int:
    return world.site.act(rules.add, Rule(0, "personal", person="somebody"))


def a_group(world) -> str:
    world.site.act(wallets.set_group, world.lab, "physics")
    return "physics"


def an_exemption(world) -> str:
    world.site.act(exemptions.set_exempt, "profile", "cpu", True)
    return "cpu"


def somebody_gone(world) -> int:
    """Eve: nothing of hers is open, and one refused start."""
    return world.site.look(people.by_name, "hub", "eve").id


def ended(world) -> str:
    return world.ended


def ended_before(world) -> dict:
    """A minute before it did."""
    (view,) = world.site.look(views.session_views, ids=[world.ended])
    return {"ended_at": iso(view.boundaries["ended"]["at"] - timedelta(minutes=1))}


def what_is_refunded(world) -> dict:
    found = world.site.look(refunds.preview, Filter(wallet="lab"), hub_id="hub")
    return {
        "wallet": "lab", "note": "why", "expected_count": found.count,
        "expected_total_micro": found.total_micro,
    }  # fmt: skip


def a_maintenance(world) -> int:
    begin = world.site.look(lambda tx: tx.now()) - timedelta(hours=1)
    end = begin + timedelta(hours=2)
    return world.site.act(maintenance.add, "gpu-07", begin, end, note="why")


def a_pass(world) -> int:
    return world.site.act(passes.give, world.person_id("ada"), note="why", hours=1)


def a_request(world) -> int:
    return world.ask_credit("ada")


def with_an_allowance(world) -> int:
    allowance, policy = Allowance(10**6, "month"), world.site.policy
    world.site.act(allowances.set_allowance, world.lab, allowance, policy=policy)
    return world.lab


def a_month_over(world) -> str:
    """The month of something that was booked ten weeks ago."""

    def book(tx, *, actor):
        at = tx.now() - timedelta(weeks=10)
        entry = NewEntry(world.lab, "grant", 10**6, "grant:of-old", effective_at=at)
        ledger.post(tx, entry, actor=actor, now=at)
        return periods.calendar(tx).label("month", at)

    return world.site.act(book)


PAID = {"amount": "1", "note": "why"}
WINDOW = {"starts_at": "2026-12-01T08:00:00Z", "ends_at": "2026-12-01T10:00:00Z"}

WRITES = {
    "POST /api/wallets": creates({"name": "new", "title": "New", "overdraft": "5"}),
    "PATCH /api/wallets/{wallet_id:int}": changes({"title": "T", "closed": True, "overdraft": "5"}),
    "PUT /api/wallets/{wallet_id:int}/members/{name}": creates({"role": "spender"}, name="zoë b"),
    "DELETE /api/wallets/{wallet_id:int}/members/{name}": removes(name="ada"),
    "PUT /api/wallets/{wallet_id:int}/groups/{name}": creates({}, name="chem"),
    "DELETE /api/wallets/{wallet_id:int}/groups/{name}": removes(name=a_group),
    "POST /api/wallets/{wallet_id:int}/limits": creates({"resource": "gpus", "amount": "7"}),
    "DELETE /api/wallets/{wallet_id:int}/limits/{limit_id:int}": removes(limit_id=a_limit),
    "POST /api/wallets/{wallet_id:int}/grant": creates(PAID),
    "POST /api/wallets/{wallet_id:int}/metered": creates(
        {"resource": "disk", "quantity": "2", "price": "0.5", "key": "event 1"}
    ),
    "POST /api/wallets/{wallet_id:int}/transfer": creates({"to": "other", **PAID}, by=MIA),
    "POST /api/entries/{entry_id:int}/refund": creates(PAID),
    "POST /api/entries/{entry_id:int}/correct": creates({"amount": "-1", "note": "why"}),
    "PUT /api/wallets/{wallet_id:int}/allowance": creates({"amount": "5", "period": "month"}),
    "DELETE /api/wallets/{wallet_id:int}/allowance": removes(wallet_id=with_an_allowance),
    "POST /api/requests": creates({"wallet": "lab", **PAID}, by=ADA),
    "POST /api/requests/{request_id:int}/grant": creates({}, request_id=a_request),
    "POST /api/requests/{request_id:int}/decline": changes({"note": "no"}, request_id=a_request),
    "POST /api/requests/{request_id:int}/withdraw": changes({}, by=ADA, request_id=a_request),
    "POST /api/rates": creates({"resource": "gpu", "model": "H100", "price": "1.25"}),
    "PUT /api/rules": changes({"rules": [{"target": "wallet", "wallet": "lab", "person": "p"}]}),
    "POST /api/rules": creates({"target": "personal", "person": "p", "position": 1}),
    "DELETE /api/rules/{rule_id:int}": removes(rule_id=a_rule),
    "POST /api/limits": creates({"subject": "everyone", "resource": "servers", "amount": "99"}),
    "DELETE /api/limits/{limit_id:int}": removes(limit_id=a_limit),
    "PUT /api/modes": changes({"mode": "observe"}),
    "PUT /api/modes/wallets/{wallet_id:int}": changes({"mode": "observe"}),
    "PUT /api/exemptions/{kind:kind}/{name}": creates({}, name="gpu"),
    "DELETE /api/exemptions/{kind:kind}/{name}": removes(name=an_exemption),
    "POST /api/refunds": creates(what_is_refunded),
    "POST /api/sessions/{session_id:uuid}/waive": creates({"note": "why"}, session_id=ended),
    "POST /api/sessions/{session_id:uuid}/boundaries": creates(
        lambda world: {**ended_before(world), "note": "why"}, session_id=ended
    ),
    "POST /api/maintenance": creates({"node": "gpu-07", **WINDOW, "note": "why"}),
    "POST /api/maintenance/{maintenance_id:int}/finish": changes({}, maintenance_id=a_maintenance),
    "DELETE /api/maintenance/{maintenance_id:int}": removes(maintenance_id=a_maintenance),
    "POST /api/passes": creates({"person": "ada", "hours": 2, "note": "why"}),
    "DELETE /api/passes/{pass_id:int}": removes(pass_id=a_pass),
    "POST /api/stops/release": changes({}, acts_again="the hour begins anew"),
    "POST /api/months/{label:month}/close": creates({}, label=a_month_over),
    "POST /api/people/{person_id:int}/pseudonymise": removes({}, person_id=somebody_gone),
}
#: What carries a body and only asks. As `ASKS` of the service has it, which notes such looks.
READ_ONLY = {
    "POST /api/quote": asks({"shape": {"cpu_milli": 1000}}),
    "POST /api/refunds/preview": asks({"person": "ada"}),
    "POST /api/sessions/{session_id:uuid}/boundaries/preview": asks(ended_before, session_id=ended),
    "POST /api/trials/month": asks({"month": "2026-01"}),
}

ROUTES_THAT_WRITE = [r for r in ROUTES if r.method not in SAFE and r.name not in READ_ONLY]


# -- the tests ------------------------------------------------------------------------------------


@pytest.fixture
async def world(make_site):
    site = await make_site()
    for role in (ADMIN, ADA, MIA, STRANGER):
        site.login(role)
    return World(site)


def everything(site) -> dict[str, list[str]]:
    """Every row of every table."""
    return {
        table.name: site.look(lambda tx, table=table: sorted(map(str, tx.execute(table.select()))))
        for table in t.metadata.sorted_tables
    }


def audit_after(site, last_id: int) -> list:
    query = sa.select(t.audit).where(t.audit.c.id > last_id).order_by(t.audit.c.id)
    return site.look(lambda tx: tx.rows(query))


def filled(route, recipe: Write, world) -> str:
    """The route's path with the things that the recipe names."""

    def value(match) -> str:
        named = recipe.path.get(match[1], USUAL.get(match[1]))
        assert named is not None, f"the recipe of {route.name} does not say {match[1]}"
        return quote(str(named(world) if callable(named) else named), safe="")

    return re.sub(r"{(\w+)(?::\w+)?}", value, route.path)


def sent(recipe: Write, world) -> dict | None:
    return recipe.body(world) if callable(recipe.body) else recipe.body


@pytest.mark.parametrize("route", ROUTES_THAT_WRITE, ids=lambda route: route.name)
async def test_a_write_leaves_one_audit_row(world, route):
    recipe = WRITES.get(route.name)
    assert recipe is not None, (
        f"recipe missing: say in WRITES of {__name__} how {route.name} is asked so that it "
        "changes something, like `creates({...}, by=ADA, wallet_id=...)`"
    )
    site, path = world.site, filled(route, recipe, world)
    body = sent(recipe, world)
    key = {"Idempotency-Key": "once"} if route.keyed else {}

    async def ask(role, body):
        return await site.ask(
            role,
            route.method,
            path,
            body,
            headers={"X-Forwarded-For": f"6.6.6.6, {ADDRESS}", "X-Real-Ip": "6.6.6.6", **key},
        )

    # refused: nothing is written
    before = everything(site)
    answer = await ask(STRANGER, body)
    assert answer.status == 403, answer.text
    if route.body is not None:
        answer = await ask(recipe.by, {"no such field": 1})
        assert answer.status == 400, answer.text
    assert everything(site) == before

    # done: one row
    last_id = max((r["id"] for r in audit_after(site, 0)), default=0)
    done = await ask(recipe.by, body)
    assert done.status == route.status, done.text
    found = audit_after(site, last_id)
    assert len(found) == 1, [(r["action"], r["subject_kind"], r["subject_id"]) for r in found]
    (row,) = found
    name = recipe.by.user or recipe.by.name
    assert (row["actor_kind"], row["actor_name"]) == ("person", name)
    assert row["actor_id"] == site.look(people.by_name, "hub", name).id
    assert row["address"] == ADDRESS
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", row["action"]), row["action"]
    assert row["subject_kind"] and row["subject_id"]
    for side in recipe.tells:
        assert row[side], f"{row['action']} does not tell what was {side}"
    if len(recipe.tells) == 2:
        assert set(row["before"]) == set(row["after"]), f"{row['action']}: not of the same things"
        assert row["before"] != row["after"]

    # the same again: nothing is written
    if recipe.acts_again:
        return
    before = everything(site)
    again = await ask(recipe.by, body)
    if route.keyed:
        assert (again.status, again.json) == (done.status, done.json)
    else:
        assert again.status in (route.status, 404, 409), again.text
    assert everything(site) == before, f"{route.name} again has written something"


@pytest.mark.parametrize("name", READ_ONLY)
async def test_what_only_asks_writes_nothing(world, name):
    """Looks by a right at other people's usage are noted by setting, see test_reads."""
    (route,) = [r for r in ROUTES if r.name == name]
    recipe = READ_ONLY[name]
    path, body = filled(route, recipe, world), sent(recipe, world)
    before = everything(world.site)
    answer = await world.site.ask(ADMIN, route.method, path, body)
    assert answer.status == route.status, answer.text
    assert everything(world.site) == before


def test_every_recipe_is_for_a_route_that_writes():
    assert set(WRITES) <= {r.name for r in ROUTES_THAT_WRITE}
    assert {name.removeprefix("POST /") for name in READ_ONLY} == ASKS
