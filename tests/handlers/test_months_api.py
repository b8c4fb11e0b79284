"""Months, statements and corrected boundaries over HTTP: who sees and does what, and the pages."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from bs4 import BeautifulSoup

from jhub_usage.actions import months, ownership, statements, sync, views, wallets
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.statements import canonical, checksum
from jhub_usage.looks import months as looks
from jhub_usage.scopes import ACCESS

from .fakes import Role
from .world import CREDIT, World, person

T0 = datetime(2026, 10, 30, 12, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
SCOPE = "custom:jhub-usage:"
ADMIN = Role("admin-token", "operator", (ACCESS, SCOPE + "admin"))
MANAGE = Role("manage-token", "accountant", (ACCESS, SCOPE + "manage"))
READ = Role("read-token", "reader", (ACCESS, SCOPE + "read"))
ROOT = Role("root-browser", "root", browser=True, admin=True)
MIA, ADA, EVE = (Role(f"{name}-token", name) for name in ("mia", "ada", "eve"))
ADA_BROWSER = Role("ada-browser", "ada", browser=True)


class Clock:
    now = T0


@pytest.fixture
async def world(make_site):
    """The lab in October: ada's servers ended and one that runs, mia's server; November came."""
    site = await make_site()
    for role in (ADMIN, MANAGE, READ, ROOT, MIA, ADA, EVE, ADA_BROWSER):
        site.login(role)
    clock = Clock()
    site.service.ctx.db.clock = lambda: clock.now
    made = World(site)
    made.clock = clock
    made.mias = made.start("mia", ago_s=1800)
    made.end(made.mias)
    clock.now = NOVEMBER + timedelta(days=3)
    return made


def close(world, label="2026-10"):
    ctx = world.site.service.ctx
    months.prepare(ctx.act, policy=ctx.policy, actor=SYSTEM)
    return world.site.act(months.close, label, policy=ctx.policy)


async def ask(world, role, method, path, body=None, expect=200, **more):
    answer = await world.site.ask(role, method, path, body, **more)
    assert answer.status == expect, (answer.status, answer.text[:500])
    return answer


async def page(world, role, path):
    return BeautifulSoup((await ask(world, role, "GET", path)).text, "html.parser")


# -- months ----------------------------------------------------------------------------------------


async def test_from_open_to_closed(world):
    found = (await ask(world, READ, "GET", "api/months")).json["months"]
    assert [(m["month"], m["state"], m["over"]) for m in found] == [
        ("2026-11", "open", False), ("2026-10", "open", True),
    ]  # fmt: skip
    (text,) = found[1]["waits_for"]  # the running one is settled by whoever closes
    assert world.running in text
    done = (await ask(world, ADMIN, "POST", "api/months/2026-10/close")).json
    # ada's hour, mia's half, and the one that runs since noon of the 30th
    assert (done["month"], done["entries"], done["without_hubs"]) == ("2026-10", 4, [])
    assert done["amount_micro"] == (100 - 4 - 2 - 36 * 4) * CREDIT
    again = await ask(world, ADMIN, "POST", "api/months/2026-10/close")
    assert again.json == done
    first = (await ask(world, MANAGE, "GET", "api/months")).json["months"][1]
    assert (first["state"], first["actor"], first["charged_micro"]) == (
        "closed", "operator", -150 * CREDIT,
    )  # fmt: skip
    assert {k["kind"]: k["count"] for k in first["kinds"]} == {"charge": 3, "grant": 1}


async def test_what_is_missing_is_told(world):
    world.site.act(sync.note_look, "hub", T0, seen=(), missed=())
    answer = await ask(world, ADMIN, "POST", "api/months/2026-10/close", expect=409)
    assert answer.code == "conflict" and "hub (last 2026-10-30T12:00:00Z)" in answer.text
    assert len(answer.json["error"]["waits_for"]) == 1
    body = {"without_hubs": ["hub"]}
    done = await ask(world, ADMIN, "POST", "api/months/2026-10/close", body)
    assert done.json["without_hubs"] == ["hub"]
    answer = await ask(world, ADMIN, "POST", "api/months/2026-11/close", expect=409)
    assert "is not over" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("2026-13", 400), ("2026-1", 404), ("2026-1x", 404), ("0000-01", 400)],
)
async def test_what_is_no_month(world, path, status):
    await ask(world, ADMIN, "POST", f"api/months/{path}/close", expect=status)
    await ask(world, ADMIN, "GET", f"api/months/{path}", expect=status)
    await ask(world, ADMIN, "GET", f"api/wallets/1/statements/{path}", expect=status)


async def test_only_an_administrator_closes(world):
    for role in (READ, MANAGE, MIA, ADA, EVE):
        await ask(world, role, "POST", "api/months/2026-10/close", expect=403)
    for role in (MIA, ADA, EVE):
        await ask(world, role, "GET", "api/months", expect=403)
        await ask(world, role, "GET", "api/months/2026-10", expect=403)


async def test_the_wallets_of_a_month(world):
    close(world)
    found = (await ask(world, READ, "GET", "api/months/2026-10")).json
    (row,) = found["wallets"]
    assert (row["wallet"], row["opening_micro"], row["credit_micro"], row["charged_micro"]) == (
        "lab", 0, 100 * CREDIT, -150 * CREDIT,
    )  # fmt: skip
    assert row["closing_micro"] == -50 * CREDIT and found["next"] is None
    for n in range(3):
        world.grant(world.site.act(wallets.create, f"w{n}"), 1)
    part = (await ask(world, READ, "GET", "api/months/2026-11?limit=2")).json
    rest = (await ask(world, READ, "GET", f"api/months/2026-11?limit=2&cursor={part['next']}")).json
    assert [w["wallet"] for w in part["wallets"] + rest["wallets"]] == ["w0", "w1", "w2"]


# -- by itself -------------------------------------------------------------------------------------


async def test_the_service_closes_months_by_itself(world):
    service = world.site.service
    world.clock.now = NOVEMBER + timedelta(days=3, seconds=-1)
    assert await looks.run(service) == {"closed": []}
    world.clock.now = NOVEMBER + timedelta(days=3)
    assert await looks.run(service) == {"closed": ["2026-10"]}
    assert await looks.run(service) == {"closed": []}
    (row,) = [r for r in world.site.look(views.audit_rows) if r["action"] == "month.closed"]
    assert row["actor_kind"] == "system"


async def test_what_it_waits_for_is_a_warning(world):
    world.site.act(sync.note_look, "hub", T0, seen=(), missed=())
    service = world.site.service
    runner = service.loops
    (loop,) = [x for x in runner._loops if x.name == "months"]
    assert loop.leased
    await runner.one_pass(loop)
    assert loop.failures == 0 and runner.warnings[-1]["code"] == "month"
    assert "2026-10 can not be closed yet." in runner.warnings[-1]["text"]
    world.site.act(sync.note_look, "hub", world.clock.now, seen=(), missed=())
    await runner.one_pass(loop)
    assert loop.notes == {"closed": ["2026-10"]} and runner.warnings == []


async def test_it_can_be_switched_off(make_site):
    site = await make_site(close_months=False)
    world = World(site)
    db = site.service.ctx.db
    db.clock = lambda: datetime.now(UTC) + timedelta(days=50)
    assert await looks.run(site.service) == {"closed": []}
    assert world.running


# -- statements ------------------------------------------------------------------------------------


async def test_the_same_bytes_over_http(world):
    close(world)
    path = f"api/wallets/{world.lab}/statements/2026-10"
    first = await ask(world, READ, "GET", path)
    policy = world.site.policy
    made = world.site.look(statements.statement, world.lab, "2026-10", policy=policy)
    assert first.text.encode() == canonical(made)
    assert first.headers["Content-Disposition"] == (
        f'attachment; filename="statement-{world.lab}-2026-10.json"'
    )
    world.site.act(wallets.change, world.lab, title="Another", closed=True)
    world.site.act(wallets.refund, world.charge_id, None, policy=policy)
    assert (await ask(world, READ, "GET", path)).text == first.text
    later = (await ask(world, MANAGE, "GET", f"api/wallets/{world.lab}/statements/2026-11")).json
    assert (later["state"], later["opening_micro"]) == ("open", made["closing_micro"])
    assert [e["corrects_month"] for e in later["entries"]] == ["2026-10"]
    assert later["pending_micro"] == -72 * 4 * CREDIT


async def test_as_a_table(world):
    close(world)
    answer = await ask(world, MIA, "GET", f"api/wallets/{world.lab}/statements/2026-10?format=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [(r["kind"], r["person"], r["amount"]) for r in rows] == [
        ("grant", "", "100"), ("charge", "ada", "-4"), ("charge", "mia", "-2"),
        ("charge", "ada", "-144"),
    ]  # fmt: skip
    bad = await ask(world, MIA, "GET", f"api/wallets/{world.lab}/statements/2026-10?format=pdf",
                    expect=400)  # fmt: skip
    assert "one of json, csv" in bad.text


async def test_who_sees_what(world):
    close(world)
    path = f"api/wallets/{world.lab}/statements/2026-10"
    for role in (MIA, READ, MANAGE, ADMIN):
        found = (await ask(world, role, "GET", path)).json
        assert {x["person"] for x in found["sessions"]} == {"ada", "mia"}
        assert found["only_person"] is None
    mine = (await ask(world, ADA, "GET", path)).json
    assert {x["person"] for x in mine["sessions"]} == {"ada"} and mine["only_person"] == "ada"
    assert mine["opening_micro"] is None and {e["kind"] for e in mine["entries"]} == {"charge"}
    assert "mia" not in (await ask(world, ADA, "GET", path + "?format=csv")).text
    for wallet_id in (world.lab, world.other, 99):
        await ask(world, EVE, "GET", f"api/wallets/{wallet_id}/statements/2026-10", expect=403)
    await ask(world, READ, "GET", "api/wallets/99/statements/2026-10", expect=404)


async def test_the_statement_of_an_open_month_names_who_looks(world):
    """A spender of whom nothing was booked yet."""
    site = world.site
    site.act(ownership.set_role, world.lab, person("eve"), "spender", hub_id="hub")
    found = (await ask(world, EVE, "GET", f"api/wallets/{world.lab}/statements/2026-11")).json
    assert (found["only_person"], found["entries"], found["pending"]) == ("eve", [], [])
    soup = await page(world, EVE, f"wallets/{world.lab}/statements/2026-11")
    assert "Only what is for servers of eve" in soup.text


# -- boundaries ------------------------------------------------------------------------------------


def at(minutes):
    """Minutes after the begin of ada's server that ended."""
    return (T0 + timedelta(minutes=minutes - 60)).isoformat().replace("+00:00", "Z")


async def test_look_then_correct(world):
    path = f"api/sessions/{world.ended}/boundaries"
    told = {"ended_at": at(30)}
    foretold = (await ask(world, MANAGE, "POST", path + "/preview", told)).json
    assert (foretold["amount_micro"], foretold["net_micro"], foretold["month"]) == (
        2 * CREDIT, 2 * CREDIT, "2026-10",
    )  # fmt: skip
    assert (foretold["after"]["ended_at"], foretold["changes"]) == (at(30), True)
    rows = len(world.site.look(views.audit_rows))
    answer = await ask(world, MANAGE, "POST", path, told, expect=400)
    assert "note" in answer.text
    wrong = told | {"note": "x", "expected_micro": 1}
    await ask(world, MANAGE, "POST", path, wrong, expect=409)
    body = told | {"note": "the pod's log", "expected_micro": 2 * CREDIT}
    done = (await ask(world, MANAGE, "POST", path, body)).json
    assert done == foretold
    again = (await ask(world, MANAGE, "POST", path, told | {"note": "again"})).json
    assert (again["changes"], again["amount_micro"]) == (False, 0)
    assert len(world.site.look(views.audit_rows)) == rows + 1
    shown = (await ask(world, ADA, "GET", f"api/sessions/{world.ended}")).json
    (ended,) = [b for b in shown["boundaries"] if b["name"] == "ended"]
    assert (ended["at"], ended["evidence"]) == (at(30), "operator")


async def test_a_retry_by_key_is_answered_the_same(world):
    path, body = f"api/sessions/{world.ended}/boundaries", {"started_at": at(15), "note": "x"}
    headers = {"Idempotency-Key": "mine"}
    first = await ask(world, MANAGE, "POST", path, body, headers=headers)
    again = await ask(world, MANAGE, "POST", path, body, headers=headers)
    assert first.json["changes"] and again.text == first.text


async def test_who_may_correct(world):
    for path in ("boundaries", "boundaries/preview"):
        body = {"ended_at": at(30)} | ({"note": "x"} if path == "boundaries" else {})
        for role in (READ, MIA, ADA, EVE):
            await ask(world, role, "POST", f"api/sessions/{world.ended}/{path}", body, expect=403)
        await ask(world, MANAGE, "POST", f"api/sessions/{world.running}/{path}", body, expect=409)
        body["ended_at"] = "2026-10-30T10:00:00"
        await ask(world, MANAGE, "POST", f"api/sessions/{world.ended}/{path}", body, expect=400)


# -- pages -----------------------------------------------------------------------------------------


async def test_the_page_of_months(world):
    soup = await page(world, ROOT, "admin/months")
    assert "A month closes by itself 3 days after its end" in soup.text
    assert "not settled through its end" in soup.text
    assert soup.find("form", attrs={"data-api": "POST months/2026-10/close"}) is None
    months.prepare(world.site.service.ctx.act, policy=world.site.policy, actor=SYSTEM)
    soup = await page(world, ROOT, "admin/months")
    assert soup.find("form", attrs={"data-api": "POST months/2026-10/close"})
    reader = await page(world, READ, "admin/months")
    assert not reader.find_all("form", attrs={"data-api": True})
    close(world)
    soup = await page(world, ROOT, "admin/months")
    assert soup.find("form", attrs={"data-api": "POST months/2026-10/close"}) is None
    inside = await page(world, READ, "admin/months/2026-10")
    links = [a["href"] for a in inside.find_all("a")]
    assert f"/services/usage/wallets/{world.lab}/statements/2026-10" in links


async def test_a_hub_that_is_gone_is_left_out_by_the_page(world):
    world.site.act(sync.note_look, "hub", T0, seen=(), missed=())
    soup = await page(world, ROOT, "admin/months")
    button = soup.find("button", attrs={"data-open": "without-hub"})
    assert (button["data-set-month"], button["data-set-without_hubs"]) == ("2026-10", "hub")
    reader = await page(world, READ, "admin/months")
    assert reader.find("button", attrs={"data-open": "without-hub"}) is None


async def test_the_page_of_a_statement(world):
    close(world)
    soup = await page(world, READ, f"wallets/{world.lab}/statements/2026-10")
    text = " ".join(soup.get_text(" ").split())
    assert "The lab, October 2026 closed" in text
    for words in ("Balance before $0.00", "Charges (3) -$150.00", "Balance after -$50.00",
                  "this statement does not change any more", "GPU hours 37.50"):  # fmt: skip
        assert words in text, words
    policy = world.site.policy
    made = world.site.look(statements.statement, world.lab, "2026-10", policy=policy)
    assert checksum(made) in text
    mine = await page(world, ADA_BROWSER, f"wallets/{world.lab}/statements/2026-10")
    assert "mia" not in mine.find("main").text.replace("the wallet's managers", "")
    opened = await page(world, READ, f"wallets/{world.lab}/statements/2026-11")
    assert "Not booked yet" in opened.text and "SHA-256" not in opened.text
    wallet = await page(world, ADA_BROWSER, f"wallets/{world.lab}")
    labels = [a.text for a in wallet.find_all("a") if "/statements/" in a["href"]]
    assert labels == ["November 2026, open", "October 2026"]


async def test_the_form_on_the_page_of_a_session(world):
    path = f"sessions/{world.ended}"
    soup = await page(world, ROOT, path)
    assert soup.find(id="boundaries").find("form")["method"] == "get"
    assert soup.find("form", attrs={"data-api": f"POST sessions/{world.ended}/boundaries"}) is None
    for role in (READ, ADA_BROWSER):
        assert (await page(world, role, path)).find(id="boundaries") is None
    assert (await page(world, ROOT, f"sessions/{world.running}")).find(id="boundaries") is None
    soup = await page(world, ROOT, path + "?started=&ended=2026-10-30T11:30:00")
    form = soup.find("form", attrs={"data-api": f"POST sessions/{world.ended}/boundaries"})
    sent = {f["name"]: f.get("value", "") for f in form.find_all("input")}
    assert sent == {"ended_at": at(30), "expected_micro": str(2 * CREDIT), "note": ""}
    assert "Back to the wallet" in soup.text and soup.find(id="boundaries").has_attr("open")
    soup = await page(world, ROOT, path + "?ended=2026-10-30T10:00:00")
    assert "before its start" in soup.find(id="boundaries").find(role="alert").text
    soup = await page(world, ROOT, path + "?ended=tomorrow")
    assert "is not a time" in soup.text


async def test_the_form_speaks_the_hubs_time(make_site):
    site = await make_site(timezone="Asia/Taipei")
    site.login(ROOT)
    world = World(site)
    begun = site.look(views.session_views, ids=[world.ended])[0].boundaries["started"]["at"]
    local = (begun + timedelta(hours=8, minutes=30)).strftime("%Y-%m-%dT%H:%M:%S")
    answer = await site.ask(ROOT, "GET", f"sessions/{world.ended}?ended={local}")
    soup = BeautifulSoup(answer.text, "html.parser")
    form = soup.find("form", attrs={"data-api": f"POST sessions/{world.ended}/boundaries"})
    ended = form.find("input", attrs={"name": "ended_at"})["value"]
    assert datetime.fromisoformat(ended) == (begun + timedelta(minutes=30)).replace(microsecond=0)
