"""Looks at other people's usage leave a row where the setting says so; one's own never do."""

import sqlite3

import pytest
import sqlalchemy as sa

from jhub_usage.actions import ownership, views
from jhub_usage.handlers.reads import NOT_NOTED
from jhub_usage.handlers.routes import ROUTES
from jhub_usage.scopes import ACCESS
from jhub_usage.store import people
from jhub_usage.store import tables as t

from .fakes import Role
from .world import World, person

READ = "custom:jhub-usage:read"
READER = Role("reader-token", "reader", (ACCESS, READ))
PAGES = Role("reader-browser", "reader", (ACCESS, READ), browser=True)
#: Reads by right, manages `lab` and `other`, and has a session on it.
MIA = Role("mia-token", "mia", (ACCESS, READ))
PLAIN_MIA, ADA = Role("plain-mia-token", "mia"), Role("ada-token", "ada")
SERVICE = Role("exporter-token", "exporter", (READ,), kind="service")
EVERYBODY = (READER, PAGES, MIA, PLAIN_MIA, ADA, SERVICE)


@pytest.fixture
async def made(make_site):
    async def make(**settings) -> World:
        site = await make_site(**settings)
        for role in EVERYBODY:
            site.login(role)
        return World(site)

    return make


async def look(world, role, path, method="GET", body=None) -> list[tuple]:
    """(subject, its id, what else is told) of the rows that one look leaves."""
    before = {r["id"] for r in world.site.look(views.audit_rows, limit=500)}
    # what the sender writes itself is not believed, only what the Hub's proxy adds at the end
    sent = {"X-Forwarded-For": "6.6.6.6, 10.1.2.3", "X-Real-Ip": "6.6.6.6"}
    answer = await world.site.ask(role, method, path, body, headers=sent)
    assert answer.status == 200, (path, answer.status, answer.text)
    new = [r for r in world.site.look(views.audit_rows, limit=500) if r["id"] not in before]
    for row in new:
        assert (row["action"], row["actor_kind"], row["actor_name"], row["address"]) == (
            "read", "person", role.user, "10.1.2.3",
        )  # fmt: skip
        assert row["actor_id"] == number(world, role.user)
        assert row["after"]["route"].startswith(f"{method} /{path.split('?')[0].split('/')[0]}")
    return [
        (r["subject_kind"], r["subject_id"], {k: v for k, v in r["after"].items() if k != "route"})
        for r in new
    ]


def number(world, name) -> int:
    return world.site.look(people.by_name, "hub", name).id


async def test_looks_by_a_right_are_noted(made):
    world = await made(audit_reads=True)
    lab, ada = str(world.lab), str(number(world, "ada"))
    asked = world.ask_credit("ada")
    month = f"{world.site.look(lambda tx: tx.now()):%Y-%m}"
    of_lab, of_ended = ("wallet", lab, {}), ("session", world.ended, {})
    for role, path, row in (
        (READER, f"api/sessions/{world.ended}", of_ended),
        (PAGES, f"sessions/{world.ended}", of_ended),
        (MIA, f"api/sessions/{world.refused}", ("session", world.refused, {})),
        (READER, f"api/wallets/{lab}", of_lab),
        (READER, f"api/wallets/{lab}/entries?limit=5", of_lab),
        (PAGES, f"wallets/{lab}", of_lab),
        (READER, f"api/wallets/{lab}/statements/{month}", ("wallet", lab, {"label": month})),
        (READER, "api/sessions?person=ada&state=ended", ("person", ada, {"state": "ended"})),
        (PAGES, "admin/sessions?person=ada&state=", ("person", ada, {})),
        (READER, f"api/sessions?wallet_id={lab}", ("wallet", lab, {"wallet_id": lab})),
        (READER, "api/decisions?person=ada", ("person", ada, {})),
        (READER, "api/sessions", ("list", "sessions", {})),
        (READER, "api/people?search=a", ("list", "people", {"search": "a"})),
        (PAGES, "admin/people", ("list", "people", {})),
        (PAGES, "admin", ("list", "admin", {})),
        (READER, "api/wallets", ("list", "wallets", {})),
        (READER, "api/stops", ("list", "stops", {})),
        (READER, "api/requests", ("list", "requests", {})),
        (READER, f"api/requests/{asked}", ("request", str(asked), {})),
    ):
        assert await look(world, role, path) == [row], path
    quote = {"shape": {"cpu_milli": 1000}, "person": "ada"}
    assert await look(world, READER, "api/quote", "POST", quote) == [("person", ada, {})]
    tried = await look(world, READER, "api/trials/month", "POST", {"month": "2026-01"})
    assert tried == [("list", "trials/month", {})]


async def test_ones_own_things_and_what_is_configured_are_not(made):
    world = await made(audit_reads=True)
    mine = world.start("mia")
    # a right does not make one's own things other people's
    for role in (MIA, PLAIN_MIA):
        for path in (
            "api/me", "", f"api/sessions/{mine}", f"sessions/{mine}", f"api/wallets/{world.lab}",
            f"api/wallets/{world.lab}/entries", f"wallets/{world.lab}",
            f"api/sessions/{world.running}",  # of a wallet that she manages
        ):  # fmt: skip
            assert await look(world, role, path) == [], path
    asked = world.ask_credit("ada")  # which she may decide
    for path in (
        "api/sessions?person=mia", "api/decisions?person=mia", "api/sessions?person=nobody",
        f"api/sessions?wallet_id={world.lab}", f"api/requests/{asked}", "api/requests?mine=true",
        "api/rates", "api/rules",
    ):  # fmt: skip
        assert await look(world, MIA, path) == [], path
    for path in (f"api/sessions/{world.ended}", f"api/wallets/{world.lab}", "api/me"):
        assert await look(world, ADA, path) == [], path
    quote = {"shape": {"cpu_milli": 1000}}
    assert await look(world, MIA, "api/quote", "POST", quote) == []
    assert await look(world, MIA, "api/quote", "POST", {**quote, "person": "mia"}) == []
    # programs have no name that could be asked why
    assert await look(world, SERVICE, "api/sessions") == []


async def test_a_spender_who_sees_all_of_a_wallet_by_a_right_is_noted(made):
    world = await made(audit_reads=True)
    both = Role("ada-reads-token", "ada", (ACCESS, READ))
    world.site.login(both)
    assert await look(world, ADA, f"api/wallets/{world.lab}/entries") == []
    assert await look(world, both, f"api/wallets/{world.lab}/entries") == [
        ("wallet", str(world.lab), {})
    ]


async def test_words_in_the_address_of_a_page_do_not_hide_a_look(made):
    """A page that has no such filter shows everything all the same; so does one with a mistake."""
    world = await made(audit_reads=True)
    browser = Role("mia-browser", "mia", (ACCESS, READ), browser=True)
    world.site.login(browser)
    ada, long = world.person_id("ada"), "x" * 250
    world.site.act(ownership.set_role, world.empty, person(long), "spender", hub_id="hub")
    for path, row in (
        (f"wallets/{world.empty}?mine=True", ("wallet", str(world.empty))),
        ("admin?mine=True", ("list", "admin")),
        ("admin/wallets?person=mia", ("list", "wallets")),
        ("admin/people?person=nobody", ("list", "people")),
        (f"admin/decisions?wallet_id={world.lab}", ("list", "decisions")),
        ("usage?person=mia&wallet=nowhere", ("list", "usage")),
        ("usage?person=ada", ("person", str(ada))),
        ("admin/refunds?person=mia", ("list", "refunds")),
        ("admin/refunds?person=ada", ("person", str(ada))),
        (f"admin/sessions?person={long}", ("person", str(world.person_id(long)))),
    ):
        assert [(kind, id) for kind, id, _ in await look(world, browser, path)] == [row], path
    for path in ("usage?person=mia", "admin/sessions?person=mia", "admin/sessions?person=nobody"):
        assert await look(world, browser, path) == [], path


async def test_nothing_is_noted_unless_it_is_asked_for(made):
    world = await made()
    for path in (f"api/sessions/{world.ended}", f"api/wallets/{world.lab}", "api/people"):
        assert await look(world, READER, path) == []


async def test_the_same_look_is_noted_once_a_minute(made):
    """A page that looks by itself every few seconds does not fill the log; another look does."""
    world = await made(audit_reads=True)
    path = f"api/sessions/{world.ended}"
    assert len(await look(world, READER, path)) == 1
    assert await look(world, READER, path) == []
    assert len(await look(world, READER, f"api/sessions/{world.running}")) == 1
    assert len(await look(world, READER, "api/people?search=a")) == 1
    assert len(await look(world, READER, "api/people?search=b")) == 1
    other = Role("reader-two-token", "reader-two", (ACCESS, READ))
    world.site.login(other)
    assert len(await look(world, other, path)) == 1

    def a_minute_ago(tx, *, actor):
        at = tx.now()
        for row in tx.rows(sa.select(t.audit.c.id, t.audit.c.at)):
            before = row["at"] - (at - row["at"]) - at.resolution * 60_000_001
            tx.execute(t.audit.update().where(t.audit.c.id == row["id"]).values(at=before))

    world.site.act(a_minute_ago)
    assert len(await look(world, READER, path)) == 1


async def test_what_can_not_be_noted_is_not_shown(made, site_url):
    """Somebody else writes and writes: reading works, noting does not."""
    world = await made(audit_reads=True, lock_timeout_s=0.1, statement_timeout_s=0.2)
    other = sqlite3.connect(site_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for role, path in ((READER, f"api/sessions/{world.ended}"), (PAGES, f"wallets/{world.lab}")):
        answer = await world.site.ask(role, "GET", path)
        assert answer.status == 503 and "Looks at this are recorded" in answer.text
        assert "A100" not in answer.text and "The lab" not in answer.text
    assert (await world.site.ask(ADA, "GET", f"api/sessions/{world.ended}")).status == 200
    assert (await world.site.ask(READER, "GET", "api/rates")).status == 200
    other.execute("ROLLBACK")
    other.close()
    assert len(await look(world, READER, f"api/sessions/{world.ended}")) == 1


async def test_what_is_not_shown_is_not_noted(made):
    world = await made(audit_reads=True)
    before = len(world.site.look(views.audit_rows, limit=500))
    gone = "00000000-0000-4000-8000-000000000000"
    for path in (f"api/sessions/{gone}", "api/wallets/999999", "wallets/999999"):
        assert (await world.site.ask(READER, "GET", path)).status == 404
    assert (await world.site.ask(ADA, "GET", "api/people")).status == 403
    assert len(world.site.look(views.audit_rows, limit=500)) == before


def test_what_is_not_noted_is_there():
    assert {r.path for r in ROUTES} >= NOT_NOTED
