"""Every route is asked as every role, and answers as the table says; every write is audited."""

from datetime import timedelta

import pytest

from jhub_usage.actions import (
    limits,
    maintenance,
    passes,
    refunds,
    request_lists,
    requests,
    rules,
)
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.instants import iso
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.periods import MONTH, UTC_CALENDAR
from jhub_usage.domain.refunds import Filter
from jhub_usage.domain.rules import Rule
from jhub_usage.handlers import access
from jhub_usage.handlers.routes import ROUTES
from jhub_usage.scopes import ACCESS
from jhub_usage.store import ledger

from .fakes import Role
from .world import World

SCOPE = "custom:jhub-usage:"
PEOPLE = (
    Role("plain-token", "eve"),
    Role("owner-token", "ada"),
    Role("manager-token", "mia"),
    Role("admin-ui-token", "support", (ACCESS, "admin-ui", "list:users", "read:users")),
    Role("read-token", "reader", (ACCESS, SCOPE + "read")),
    Role("manage-token", "accountant", (ACCESS, SCOPE + "manage")),
    Role("admin-token", "operator", (ACCESS, SCOPE + "admin")),
    Role("hub-admin-token", "root", (ACCESS, "admin:users"), admin=True),
    # the flag of the person does not count on a token, nor does a scope with a filter
    Role("hub-admin-weak-token", "root", (ACCESS, "admin:users!user=root", "admin-ui"), admin=True),
    Role("hub-admin-browser", "root", browser=True, admin=True),
    Role("plain-browser", "eve", browser=True),
    Role("owner-browser", "ada", browser=True),
)
OTHERS = (
    Role("read-service", "exporter", (SCOPE + "read",), kind="service"),
    Role("plain-service", "idler", ("list:users",), kind="service"),
    # a user's token that was not made for this service
    Role("foreign-token", "eve", ("read:users!user=eve",)),
)
ROLES = PEOPLE + OTHERS

EVERYBODY = {r.name for r in ROLES}
WELCOME = {r.name for r in PEOPLE} | {"read-service"}
ADMINS = {"admin-token", "hub-admin-token", "hub-admin-browser"}
READERS = {"read-token", "read-service"} | ADMINS
MANAGERS = {"manage-token"} | ADMINS
OWNERS = {"owner-token", "owner-browser"}

#: Written out, so that a change of the table that opens something is seen here.
ALLOWED = {
    access.ANYONE: EVERYBODY | {"nobody"},
    access.SIGNED_IN: WELCOME,
    access.PERSON: WELCOME - {"read-service"},
    access.OWN_USAGE: WELCOME,
    access.MY_SESSION: READERS | OWNERS | {"manager-token"},
    access.MY_WALLET: READERS | MANAGERS | OWNERS | {"manager-token"},
    access.MANAGED_WALLET: MANAGERS | {"manager-token"},
    access.MY_REQUEST: READERS | MANAGERS | OWNERS | {"manager-token"},
    access.DECIDED_REQUEST: MANAGERS | {"manager-token"},
    access.ASKED_REQUEST: OWNERS,
    access.NEED_READ: READERS,
    access.NEED_READ_OR_MANAGE: READERS | MANAGERS,
    access.NEED_MANAGE: MANAGERS,
    access.NEED_ADMIN: ADMINS,
}

#: A body for each write that is right; `test_every_write_is_audited` uses them too.
BODIES = {
    "POST /api/quote": {"shape": {"cpu_milli": 1000}},
    "POST /api/trials/month": {"month": "2026-01"},
    "POST /api/wallets": {"name": "new-{n}", "overdraft": "5"},
    "PATCH /api/wallets/{wallet_id:int}": {"title": "Title {n}"},
    "PUT /api/wallets/{wallet_id:int}/members/{name}": {"role": "spender"},
    "POST /api/wallets/{wallet_id:int}/limits": {"resource": "gpus", "amount": "{n}"},
    "POST /api/wallets/{wallet_id:int}/grant": {"amount": "1.5", "note": "test"},
    "PUT /api/wallets/{wallet_id:int}/allowance": {"amount": "{n}", "period": "month"},
    "POST /api/wallets/{wallet_id:int}/metered": {
        "resource": "tokens",
        "quantity": "1.5",
        "price": "0.0000004",
        "key": "{n}",
    },
    "POST /api/wallets/{wallet_id:int}/transfer": {"to": "other", "amount": "1", "note": "test"},
    "POST /api/entries/{entry_id:int}/refund": {"amount_micro": 1, "note": "test"},
    "POST /api/entries/{entry_id:int}/correct": {"amount_micro": -1, "note": "test"},
    "POST /api/requests": {"wallet": "empty", "amount": "1", "note": "test"},
    "POST /api/requests/{request_id:int}/grant": {"amount_micro": 1, "from": "other"},
    "POST /api/requests/{request_id:int}/decline": {"note": "test"},
    "POST /api/refunds/preview": {"wallet": "lab"},
    "POST /api/sessions/{session_id:uuid}/waive": {"note": "test"},
    "POST /api/maintenance": {
        "node": "n{n}",
        "note": "test",
        "starts_at": "2026-12-01T08:00:00Z",
        "ends_at": "2026-12-01T10:00:00Z",
    },
    "POST /api/passes": {"person": "ada", "hours": 2, "note": "test"},
    "POST /api/rates": {"resource": "gpu", "model": "M{n}", "price": "1.25"},
    "POST /api/rules": {"target": "wallet", "wallet": "lab", "person": "p{n}"},
    "PUT /api/rules": {"rules": [{"target": "wallet", "wallet": "lab", "person": "p{n}"}]},
    "POST /api/limits": {"subject": "everyone", "resource": "servers", "amount": "{n}"},
    "PUT /api/modes": {"mode": "{mode}"},
    "PUT /api/modes/wallets/{wallet_id:int}": {"mode": "{mode}"},
}


class Asker:
    """Fills the table's paths with things of the world, new ones for what is deleted."""

    def __init__(self, site, world) -> None:
        self.site, self.world, self.n = site, world, 10
        self.asks, self.request_id = "ada", None
        self.gone_id = world.person_id("eve")  # nothing of hers is open

    def path(self, route) -> str:
        self.n += 1
        values = {
            "{wallet_id:int}": str(self.world.lab),
            "{session_id:uuid}": self.world.running,
            "{kind:kind}": "profile",
            "{name}": f"name%20{self.n}",
            "{entry_id:int}": str(self.world.charge_id),
            "{person_id:int}": str(self.gone_id),
        }
        if "{limit_id:int}" in route.path:
            limit = Limit(
                "wallet_person", "gpus", 1, person=f"p{self.n}", wallet_id=self.world.lab,
                by_manager=True,
            )  # fmt: skip
            values["{limit_id:int}"] = str(self.site.act(limits.add, limit))
        if "{rule_id:int}" in route.path:
            rule = Rule(0, "personal", person=f"p{self.n}")
            values["{rule_id:int}"] = str(self.site.act(rules.add, rule))
        if route.path.endswith(("/waive", "/boundaries", "/boundaries/preview")):
            values["{session_id:uuid}"] = self.ended()
        if "{label:month}" in route.path:
            values["{label:month}"] = self.month()
        if "{maintenance_id:int}" in route.path:
            values["{maintenance_id:int}"] = str(self.maintenance())
        if "{pass_id:int}" in route.path:
            ada = self.world.person_id("ada")
            values["{pass_id:int}"] = str(self.site.act(passes.give, ada, note="test", hours=1))
        if "{request_id:int}" in route.path:
            values["{request_id:int}"] = str(self.request())
        path = route.path
        for name, value in values.items():
            path = path.replace(name, value)
        assert "{" not in path, path
        return path

    def month(self) -> str:
        """The month before this one, with something in it, so that it can be closed."""
        with self.site.service.ctx.db.write() as tx:
            begun = UTC_CALENDAR.last_boundary(MONTH, tx.now())
            before = begun - timedelta(days=1)
            entry = ledger.NewEntry(self.world.other, "grant", 1, "grant:last month", before)
            ledger.post(tx, entry, actor=SYSTEM, now=tx.now())
        return UTC_CALENDAR.label(MONTH, before)

    def ended(self) -> str:
        """A session that was charged, for each of those who give back."""
        self.world.grant(self.world.lab, 4)  # what it costs
        session_id = self.world.start("ada", f"s{self.n}", ago_s=3600)
        self.world.end(session_id)
        return session_id

    def maintenance(self) -> int:
        begin = self.site.look(lambda tx: tx.now()) - timedelta(hours=1)
        end = begin + timedelta(hours=2)
        return self.site.act(maintenance.add, f"n{self.n}", begin, end, note="test")

    def refund(self) -> dict:
        self.ended()
        found = self.site.look(refunds.preview, Filter(wallet="lab"), hub_id="hub")
        return {
            "wallet": "lab", "note": "test", "expected_count": found.count,
            "expected_total_micro": found.total_micro,
        }  # fmt: skip

    def request(self) -> int:
        """A new open request for credit; the one before is decided, since few wait at a time."""
        site = self.site
        held = self.request_id and site.look(request_lists.one, self.request_id)
        if held and held["state"] == "open":
            site.act(requests.decline, held["id"], note="another one comes", by_right=True)
        wallet_id = self.world.lab if self.asks == "ada" else self.world.empty

        self.request_id = self.world.ask_credit(self.asks, wallet_id=wallet_id)
        return self.request_id

    def body(self, route):
        def fill(value):
            if isinstance(value, dict):
                return {k: fill(v) for k, v in value.items()}
            if isinstance(value, list):
                return [fill(v) for v in value]
            if isinstance(value, str):
                mode = "observe" if self.n % 2 else "enforce"
                return value.replace("{n}", str(self.n)).replace("{mode}", mode)
            return value

        if route.name == "POST /api/refunds":
            return self.refund()
        if "/boundaries" in route.path:
            earlier = self.site.look(lambda tx: tx.now()) - timedelta(minutes=30)
            note = {} if route.path.endswith("preview") else {"note": "test"}
            return {"ended_at": iso(earlier)} | note
        return fill(BODIES.get(route.name, {}))

    async def prepare(self, route) -> str:
        """The path, once there is something to delete."""
        path = self.path(route)
        if route.method == "DELETE" and ("{name}" in route.path or "/allowance" in route.path):
            put = next(
                r for r in ROUTES if r.method == "PUT" and r.path.split("{n")[0] in route.path
                and r.path == route.path
            )  # fmt: skip
            made = await self.site.ask(ADMIN, "PUT", path, self.body(put))
            assert made.status == 200, made.text
        return path


ADMIN = next(r for r in ROLES if r.name == "admin-token")


@pytest.fixture
async def world(make_site):
    site = await make_site()
    for role in ROLES:
        site.login(role)
    world = World(site)
    # everybody may ask credit for `empty`, and `other` can pay for what is granted
    site.act(rules.add, Rule(0, "wallet", world.empty, profile="any"))
    world.grant(world.other, 100)
    return world


@pytest.mark.parametrize("need", list(ALLOWED), ids=lambda need: need.text[:24])
async def test_every_route_as_every_role(world, need):
    """The largest test of this file is a table: routes of one need, times roles."""
    site = world.site
    asker = Asker(site, world)
    routes = [r for r in ROUTES if r.need == need]
    assert routes, "a need that no route has"
    # one charge bears many one-micro refunds and corrections only while something is left of it
    for route in routes:
        for role in (None, *ROLES):
            path = await asker.prepare(route)
            answer = await site.ask(role, route.method, path, asker.body(route))
            name = role.name if role else "nobody"
            what = f"{route.name} as {name}: {answer.status} {answer.text[:200]}"
            if name in ALLOWED[need]:
                assert answer.status == route.status, what
            elif role is None and route.template:
                assert answer.status == 302, what
                assert "/hub/api/oauth2/authorize" in answer.headers["Location"], what
            elif role is None:
                assert answer.status == 401, what
                assert answer.code == "not_signed_in", what
            else:
                assert answer.status == 403, what


def test_every_need_is_in_the_matrix():
    assert {r.need for r in ROUTES} == set(ALLOWED)


async def test_other_peoples_things_and_missing_ones_answer_the_same(world):
    site, eve = world.site, PEOPLE[0]
    gone = "00000000-0000-4000-8000-000000000000"
    answers = [
        await site.ask(eve, "GET", f"api/sessions/{world.running}"),
        await site.ask(eve, "GET", f"api/sessions/{gone}"),
        await site.ask(eve, "GET", f"api/wallets/{world.lab}"),
        await site.ask(eve, "GET", "api/wallets/999999"),
    ]
    assert {a.status for a in answers} == {403}
    assert answers[0].text == answers[1].text
    assert answers[2].text == answers[3].text
    reader = next(r for r in ROLES if r.name == "read-token")
    assert (await site.ask(reader, "GET", f"api/sessions/{gone}")).status == 404
    assert (await site.ask(reader, "GET", "api/wallets/999999")).status == 404


async def test_one_sees_ones_own_refused_start(world):
    answer = await world.site.ask(PEOPLE[0], "GET", f"api/sessions/{world.refused}")
    assert answer.status == 200
    assert answer.json["session"] is None
    assert answer.json["decision"]["reason"] == "wallet"


async def test_methods_that_are_not_in_the_table(world):
    for method in ("POST", "DELETE", "PATCH"):
        answer = await world.site.ask(ADMIN, method, "api/me")
        assert answer.status == 405
        assert answer.code == "method_not_allowed"
        assert answer.headers["Allow"] == "GET"
    answer = await world.site.ask(ADMIN, "GET", "api/nothing/here")
    assert (answer.status, answer.code) == (404, "not_found")
    assert (await world.site.ask(ADMIN, "GET", "nothing")).status == 404
