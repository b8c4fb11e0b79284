"""People on their page and in the API; a name is forgotten by an administrator only."""

import re

import pytest
from bs4 import BeautifulSoup

from jhub_usage.actions import views
from jhub_usage.scopes import ACCESS
from jhub_usage.store import people

from .fakes import Role
from .world import World

SCOPE = "custom:jhub-usage:"
ADMIN = Role("admin-token", "operator", (ACCESS, SCOPE + "admin"))
ROOT = Role("root-browser", "root", browser=True, admin=True)
READER = Role("reader-browser", "reader", (ACCESS, SCOPE + "read"), browser=True)
EVE = Role("eve-token", "eve")
BOTH = pytest.mark.parametrize("site_url", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
async def world(site):
    for role in (ADMIN, ROOT, READER, EVE):
        site.login(role)
    return World(site)


def number(world, name) -> int:
    return world.site.look(people.by_name, "hub", name).id


async def page(world, role, path="admin/people") -> BeautifulSoup:
    answer = await world.site.ask(role, "GET", path)
    assert answer.status == 200, answer.text
    return BeautifulSoup(answer.text, "html.parser").find("main")


@BOTH
async def test_a_name_is_forgotten(world):
    site, eve = world.site, number(world, "eve")
    answer = await site.ask(ADMIN, "POST", f"api/people/{eve}/pseudonymise", {})
    assert answer.json == {"id": eve, "name": f"person-{eve}", "already": False, "left": []}
    again = await site.ask(ADMIN, "POST", f"api/people/{eve}/pseudonymise", {})
    assert again.json == answer.json | {"already": True}
    listed = (await site.ask(ADMIN, "GET", "api/people")).json["people"]
    assert "eve" not in {p["name"] for p in listed}
    (held,) = [p for p in listed if p["id"] == eve]
    assert held["pseudonymised_at"] and not held["current"] and held["created_at"] is None
    # what was hers is nobody's who can still log in
    assert (await site.ask(EVE, "GET", f"api/sessions/{world.refused}")).status == 403
    assert (await site.ask(EVE, "GET", "api/me")).json["refused"] == []
    (row,) = site.look(views.audit_rows, limit=1)
    assert (row["action"], row["actor_name"]) == ("person.pseudonymised", "operator")


async def test_what_is_in_the_way_is_said(world):
    site, before = world.site, len(world.site.look(views.audit_rows, limit=500))
    answer = await site.ask(ADMIN, "POST", f"api/people/{number(world, 'ada')}/pseudonymise", {})
    assert (answer.status, answer.code) == (409, "conflict")
    assert "ada has an open server" in answer.text
    answer = await site.ask(ADMIN, "POST", "api/people/999/pseudonymise", {})
    assert answer.status == 404
    # operator is known only once they changed something
    await site.ask(ADMIN, "POST", "api/wallets", {"name": "new"})
    me = number(world, "operator")
    answer = await site.ask(ADMIN, "POST", f"api/people/{me}/pseudonymise", {})
    assert answer.status == 409 and "another administrator" in answer.text
    assert len(site.look(views.audit_rows, limit=500)) == before + 1


async def test_the_page_lists_and_finds_people(world):
    shown = await page(world, READER)
    rows = {row.find("td").get_text(" ", strip=True): row for row in shown.select("tbody tr")}
    assert set(rows) == {"ada", "eve", "mia"}
    cells = {c["data-label"]: c.get_text(" ", strip=True) for c in rows["ada"].find_all("td")}
    assert cells["Sessions"] == "2" and re.search(r"\d\d:\d\d", cells["Last session"])
    link = rows["ada"].find("a")["href"].removeprefix("/services/usage/")
    assert "ada" in (await page(world, READER, link)).get_text()
    assert not shown.find_all("form", attrs={"data-api": True}), "a reader changes nothing"
    found = await page(world, READER, "admin/people?search=D")
    assert [a.get_text() for a in found.select("tbody a")] == ["ada"]
    assert "Nobody has that" in (await page(world, READER, "admin/people?search=%25")).get_text()


async def test_the_page_offers_to_forget_and_says_what_that_means(world):
    eve = number(world, "eve")
    form = (await page(world, ROOT)).find(
        "form", attrs={"data-api": f"POST people/{eve}/pseudonymise"}
    )
    assert "This can not be undone" in form["data-confirm"]
    assert "somebody new" in form["data-confirm"]
    answer = await world.site.ask(ROOT, "POST", f"api/people/{eve}/pseudonymise", {})
    assert answer.status == 200
    shown = await page(world, ROOT)
    assert not shown.find("form", attrs={"data-api": f"POST people/{eve}/pseudonymise"})
    assert "name forgotten" in shown.get_text() and "eve" not in shown.get_text().split()
    audit = (await page(world, ROOT, "admin/audit")).get_text(" ")
    assert "person.pseudonymised" in audit and f"person-{eve}" in audit
