"""The pages: whole for everybody, safe with hostile names, usable without seeing."""

import json
import re
from datetime import UTC, datetime

import pytest
from bs4 import BeautifulSoup

from jhub_usage.actions import exemptions, limits, requests, stops, wallets
from jhub_usage.actions import modes as mode_actions
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.periods import MONTH, UTC_CALENDAR
from jhub_usage.handlers.look import json_in_html
from jhub_usage.handlers.routes import PAGE_ROUTES
from jhub_usage.scopes import ACCESS
from jhub_usage.store import tables as t

from .fakes import Role
from .world import World

HOSTILE = """</script><script>alert(1)</script>"'<img src=x onerror=alert(2)>{{7*7}}"""
ROOT = Role("root-browser", "root", browser=True, admin=True)
MIA = Role("mia-browser", "mia", browser=True)
NEW = Role("new-browser", "new", browser=True)
READER = Role("reader-browser", "reader", (ACCESS, "custom:jhub-usage:read"), browser=True)


@pytest.fixture
async def world(site):
    for role in (ROOT, MIA, NEW, READER):
        site.login(role)
    for name in ("ada", "eve"):
        site.hub.add(name)
    made = World(site)
    for person in ("ada", "mia"):
        made.ask_credit(person, note=HOSTILE)
    site.act(requests.decline, made.ask_credit("ada"), note=HOSTILE, by_right=True)
    return made


def paths(world) -> list[str]:
    found = []
    for route in PAGE_ROUTES:
        path = route.path.replace("{wallet_id:int}", str(world.lab))
        path = path.replace("{label:month}", UTC_CALENDAR.label(MONTH, datetime.now(UTC)))
        if "{session_id" in path:
            found += [f"sessions/{s}" for s in (world.running, world.ended, world.refused)]
        else:
            found.append(path)
    return [*found, "nothing/here", "wallets/999999"]


async def page(site, role, path) -> BeautifulSoup:
    answer = await site.ask(role, "GET", path)
    assert answer.status in (200, 404), (path, answer.status, answer.text[-500:])
    answer.soup = BeautifulSoup(answer.text, "html.parser")
    return answer


async def test_every_page_is_sound(world):
    """Scripts carry this answer's nonce, nothing is inline, every field has a name for people."""
    nonces = set()
    for path in paths(world):
        answer = await page(world.site, ROOT, path)
        csp = answer.headers["Content-Security-Policy"]
        nonce = re.search(r"'nonce-([^']+)'", csp).group(1)
        nonces.add(nonce)
        assert "unsafe" not in csp and "default-src 'none'" in csp
        assert "frame-ancestors 'none'" in csp
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        soup = answer.soup
        for script in soup.find_all("script"):
            assert script.get("nonce") == nonce, (path, str(script)[:200])
        for tag in soup.find_all(True):
            inline = [a for a in tag.attrs if a == "style" or a.startswith("on")]
            assert not inline, (path, tag.name, inline)
        main = soup.find("main")
        labels = {label.get("for") for label in main.find_all("label")}
        for field in main.find_all(["input", "select", "textarea"]):
            if field.get("type") != "hidden":
                assert field.get("id") in labels, (path, str(field))
        for table in main.find_all("table"):
            assert table.find("caption"), path
        ids = [tag["id"] for tag in soup.find_all(id=True)]
        assert len(ids) == len(set(ids)), (path, sorted(i for i in ids if ids.count(i) > 1))
        assert main.find(["h1"]), path
    assert len(nonces) == len(paths(world))


async def test_hostile_names_stay_text(world):
    """In wallets, notes, titles, groups, profiles, servers, and the name of who looks."""
    site = world.site
    evil = Role("evil-browser", HOSTILE, browser=True, admin=True)
    site.login(evil)
    wallet = site.act(wallets.create, HOSTILE, title=HOSTILE)
    site.act(wallets.grant, wallet, 10**8, policy=site.policy, note=HOSTILE)
    site.act(wallets.set_group, wallet, HOSTILE)
    site.act(limits.add, Limit("profile", "gpus", 9000, profile=HOSTILE))
    site.act(limits.add, Limit("wallet", "servers", 9, wallet_id=wallet))
    site.act(exemptions.set_exempt, "profile", HOSTILE, True)
    site.act(wallets.change, wallet, mode="observe")
    session = world.start("mia", HOSTILE[:200], profile=HOSTILE)
    for path in [*paths(world), f"wallets/{wallet}", f"sessions/{session}"]:
        answer = await page(site, evil, path)
        scripts = [s.string or "" for s in answer.soup.find_all("script")]
        assert not any(s.startswith("alert") for s in scripts), path
        assert not answer.soup.find("img", src="x"), path
        assert "49" not in re.findall(r"onerror=alert\(2\)>(\d+)", answer.text), path
        data = json.loads(answer.soup.find("script", id="usage-page").string)
        assert data["api"] == "/services/usage/api/"
    # the Hub's own script holds the name, and must stay one script
    assert "</script><script>alert" not in (await site.ask(evil, "GET", "")).text


def test_json_in_html_can_not_end_its_element():
    text = json_in_html({"a": "</script><!--&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text)["a"] == "</script><!--&\u2028"


async def test_what_a_newcomer_sees(world):
    """Somebody about whom nothing is known: no error, and what to do."""
    answer = await page(world.site, NEW, "")
    text = answer.soup.find("main").get_text(" ", strip=True)
    assert "Nothing of yours is running" in text and "Start a server" in text
    assert "No server of yours has ended yet" in text
    links = answer.soup.find("nav", {"aria-label": "Usage"}).find_all("a")
    assert [a["href"] for a in links] == ["/services/usage/", "/services/usage/usage"], (
        "no admin's pages are offered"
    )


async def test_empty_lists_say_what_to_do(site):
    site.login(ROOT)
    for path, words in (
        ("admin", "No server is running"),
        ("admin/wallets", "There is no wallet yet"),
        ("admin/requests", "Nobody waits for an answer"),
        ("admin/limits", "There are no limits"),
        ("admin/decisions", "There is no such decision"),
        ("admin/modes", "Every wallet follows the switch"),
        ("admin/audit", "Nothing was changed yet"),
    ):
        assert words in (await page(site, ROOT, path)).text, path


async def test_a_refund_by_nothing_says_what_is_missing(site):
    """The form that is sent as it stands, without a filter, is not answered with silence."""
    site.login(ROOT)
    empty = "admin/refunds?node=&begins=&ends=&end_reason=&profile=&person=&wallet=&percent=100"
    soup = (await page(site, ROOT, empty)).soup
    assert "Say what is to be given back" in soup.find(role="alert", id="preview").text
    assert soup.find("form", role="search")["action"] == "#preview"
    assert (await page(site, ROOT, "admin/refunds")).soup.find(id="preview") is None


async def test_observe_mode_reports_whom_it_would_have_stopped(site):
    """On the page and in the API: which servers enforce would have ended, and why."""
    world = World(site, mode="enforce")
    spent = world.start("ada", "spent", ago_s=90_000)  # 25 h at 4 credits: more than there is
    site.act(mode_actions.set_mode, "observe")
    site.act(stops.plan, "hub", policy=site.policy)
    site.login(ROOT)
    (told,) = (await site.ask(ROOT, "GET", "api/decisions")).json["would_stop"]
    assert (told["session_id"], told["reason"], told["person"]) == (spent, "wallet_empty", "ada")
    shown = (await page(site, ROOT, "admin/decisions")).soup.find("main").get_text(" ", strip=True)
    assert "Would have been stopped" in shown and "ada" in shown and "spent" in shown


async def test_a_manager_sees_the_forms_they_may_use(world):
    forms = {
        form["data-api"].replace(str(world.lab), "N")
        for form in (await page(world.site, MIA, f"wallets/{world.lab}")).soup.find_all(
            "form", attrs={"data-api": True}
        )
    }
    assert "POST wallets/N/transfer" in forms
    assert not any("wallets/N/grant" in f or "PATCH" in f or "groups" in f for f in forms)


async def test_a_reader_sees_no_form_that_changes(world):
    for path in ("admin", "admin/wallets", "admin/requests", "admin/rates", "admin/rules",
                 "admin/limits", f"wallets/{world.lab}"):  # fmt: skip
        soup = (await page(world.site, READER, path)).soup
        assert not soup.find_all("form", attrs={"data-api": True}), path


async def test_every_form_calls_a_route_that_exists(world):
    """A form's address and method are in the table, and its fields in that route's body."""
    from jhub_usage.handlers.routes import API_ROUTES, pattern

    site = world.site
    site.act(limits.add, Limit("wallet", "servers", 9, wallet_id=world.lab))
    site.act(exemptions.set_exempt, "profile", "x", True)
    site.act(wallets.change, world.other, mode="observe")
    seen = set()
    for path in paths(world):
        soup = (await page(site, ROOT, path)).soup
        for form in soup.find_all("form", attrs={"data-api": True}):
            method, address = form["data-api"].split(" ")
            bare = "api/" + re.sub(r"{\w+}", lambda m: PATHS.get(m[0], "x"), address)
            routes = [
                r for r in API_ROUTES if r.method == method and re.fullmatch(pattern(r.path), bare)
            ]
            assert len(routes) == 1, (path, form["data-api"])
            names = {
                f["name"]
                for f in form.find_all(["input", "select", "textarea"])
                if f.get("name") and f.get("data-kind") != "path"
            }
            known = set((routes[0].body or {}).get("properties", {}))
            assert names <= known, (path, form["data-api"], names - known)
            assert form.get("data-done"), (path, form["data-api"])
            assert form.find(class_="usage-form-error"), (path, form["data-api"])
            seen.add(routes[0].name)
    assert len(seen) > 15


PATHS = {"{entry_id}": "1", "{request_id}": "1", "{wallet_id}": "1", "{kind}": "person",
         "{month}": "2026-10"}  # fmt: skip


async def test_the_guard_waits_for_a_person(world):
    site = world.site
    site.act(lambda tx, *, actor: tx.execute(
        t.gate.update().values(guard_tripped_at=tx.now(), guard_count=17)))  # fmt: skip
    soup = (await page(site, ROOT, "admin")).soup
    assert "17 servers are due to be stopped at once. None was stopped." in soup.get_text()
    assert soup.find("form", attrs={"data-api": "POST stops/release"})
    assert site.look(stops.guard_state)["tripped_at"] is not None


async def test_modes_are_told_to_the_person(world):
    site = world.site
    for mode, words in (("observe", "only watches"), ("off", "switched off")):
        site.act(mode_actions.set_mode, mode)
        assert words in (await page(site, MIA, "")).text


async def test_times_are_local_with_utc_beside(make_site):
    site = await make_site(timezone="Asia/Taipei")
    site.login(ROOT)
    World(site)
    time = (await page(site, ROOT, "admin/audit")).soup.find("time")
    assert time["title"].endswith("UTC") and time["datetime"].endswith("Z")
    utc, local = time["datetime"][11:13], time.get_text()[-5:-3]
    assert (int(utc) + 8) % 24 == int(local)


async def test_a_demo_says_so(make_site):
    for demo in (True, False):
        site = await make_site(demo=demo)
        site.login(ROOT)
        assert ("This is a demonstration" in (await page(site, ROOT, "")).text) == demo


async def test_statics_are_served_and_named_by_content(world):
    soup = (await page(world.site, ROOT, "")).soup
    ours = [s["src"] for s in soup.find_all("script", src=re.compile("/services/usage/static"))]
    assert len(ours) == 1 and "?v=" in ours[0]
    answer = await world.site.ask(None, "GET", ours[0].removeprefix("/services/usage/"))
    assert answer.status == 200
    for outside in ("static/../app.py", "static/%2e%2e/app.py", "static//etc/passwd"):
        assert (await world.site.ask(None, "GET", outside)).status in (403, 404)
