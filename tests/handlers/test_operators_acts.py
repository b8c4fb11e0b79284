"""Refunds by filter, maintenance and emergency passes: who may, what is written, what is shown."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from bs4 import BeautifulSoup

from jhub_usage.actions import listings, sessions, views
from jhub_usage.domain.instants import iso
from jhub_usage.loops import apply_maintenance
from jhub_usage.scopes import ACCESS

from .fakes import Role
from .world import World

SCOPE = "custom:jhub-usage:"
ADA = Role("ada-token", "ada")
MIA = Role("mia-token", "mia")  # manages the wallet lab
READER = Role("reader-token", "reader", (ACCESS, SCOPE + "read"))
MANAGER = Role("manager-token", "accountant", (ACCESS, SCOPE + "manage"))
ROOT = Role("root-browser", "root", browser=True, admin=True)
LOOKER = Role("reader-browser", "reader", (ACCESS, SCOPE + "read"), browser=True)
NODE = "gpu-07"


@pytest.fixture
async def world(make_site):
    site = await make_site(timezone="Europe/Berlin")
    for role in (ADA, MIA, READER, MANAGER, ROOT, LOOKER):
        site.login(role)
    made = World(site)
    made.site.act(_put_on_node, made.ended)
    return made


def _put_on_node(tx, session_id, *, actor):
    from jhub_usage.store import tables as t

    tx.execute(t.sessions_.update().where(t.sessions_.c.id == session_id).values(node=NODE))


def audited(world, since=0):
    rows = world.site.look(views.audit_rows, limit=500)
    return [r for r in reversed(rows) if r["id"] > since]


def last_id(world):
    return audited(world)[-1]["id"]


def window(world, begin_s=-3600, end_s=60):
    now = world.site.look(lambda tx: tx.now())
    return [iso(now + timedelta(seconds=s)) for s in (begin_s, end_s)]


async def preview(world, role=MANAGER, **asked):
    return await world.site.ask(role, "POST", "api/refunds/preview", asked)


async def refund(world, role=MANAGER, *, key="", note="broken", expected=None, **asked):
    if expected is None:
        seen = (await preview(world, **asked)).json
        expected = (seen["count"], seen["total_micro"])
    body = {**asked, "note": note, "expected_count": expected[0],
            "expected_total_micro": expected[1]}  # fmt: skip
    headers = {"Idempotency-Key": key} if key else None
    return await world.site.ask(role, "POST", "api/refunds", body, headers=headers)


def text_of(answer) -> str:
    return BeautifulSoup(answer.text, "html.parser").find("main").get_text(" ", strip=True)


# -- refunds --------------------------------------------------------------------------------------


async def test_a_preview_then_a_refund(world):
    before = last_id(world)
    seen = await preview(world, wallet="lab")
    assert seen.status == 200
    (line,) = seen.json["lines"]
    assert (line["session_id"], line["person"], line["node"]) == (world.ended, "ada", NODE)
    assert seen.json["total_micro"] == line["amount_micro"] == line["left_micro"] > 0
    assert [x["session_id"] for x in seen.json["open"]] == [world.running]
    assert audited(world, before) == []  # looking writes nothing
    done = await refund(world, wallet="lab")
    assert (done.status, done.json["count"]) == (201, 1)
    (row,) = audited(world, before)
    assert (row["action"], row["actor_name"]) == ("refunds.made", "accountant")
    assert row["after"] == {
        "wallet": "lab", "percent": 100, "sessions": 1, "entries": 1,
        "amount_micro": line["amount_micro"],
    }  # fmt: skip
    (made,) = (await world.site.ask(READER, "GET", "api/refunds")).json["refunds"]
    assert (made["count"], made["filter"]["wallet"]) == (1, "lab")
    again = await refund(world, wallet="lab")
    assert (again.status, again.code) == (409, "conflict")
    shown = (await world.site.ask(ADA, "GET", f"api/sessions/{world.ended}")).json
    assert shown["entries"][0]["note"] == "broken"


async def test_what_changed_since_the_preview_is_refused(world):
    before = last_id(world)
    answer = await refund(world, wallet="lab", expected=(1, 1))
    assert answer.status == 409 and "Look at the preview again" in answer.json["error"]["message"]
    assert answer.json["error"]["count"] == 1
    assert audited(world, before) == []


async def test_a_retried_refund_is_done_once(world):
    before = last_id(world)
    seen = (await preview(world, node=NODE)).json
    expected = (seen["count"], seen["total_micro"])
    first = await refund(world, node=NODE, key="k", expected=expected)
    again = await refund(world, node=NODE, key="k", expected=expected)
    assert first.status == again.status == 201 and first.json == again.json
    assert len(audited(world, before)) == 1
    other = await refund(world, node=NODE, key="k", expected=(0, 0))
    assert (other.status, other.code) == (409, "key_reused")


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({}, "Say what is to be given back"),
        ({"begins_at": "2026-11-20T09:00:00Z"}, "both, or none"),
        ({"begins_at": "2026-11-20T09:00:00", "ends_at": "2026-11-20T10:00:00Z"}, "no time zone"),
        ({"node": "n", "percent": 0}, "at least 1"),
        ({"node": "n", "percent": 101}, "at most 100"),
        ({"server": "n"}, "There is no field"),
    ],
)
async def test_what_can_not_be_asked(world, asked, text):
    answer = await preview(world, **asked)
    assert answer.status == 400 and text in answer.json["error"]["message"]


async def test_names_that_nobody_has(world):
    for asked in ({"person": "nobody"}, {"wallet": "nothing"}):
        assert (await preview(world, **asked)).status == 404
    assert (await preview(world, node="nowhere")).json["count"] == 0


async def test_a_session_is_waived(world):
    before = last_id(world)
    path = f"api/sessions/{world.ended}/waive"
    done = await world.site.ask(MANAGER, "POST", path, {"note": "our mistake"})
    assert done.status == 201 and done.json["count"] == 1
    (row,) = audited(world, before)
    assert (row["action"], row["subject_id"]) == ("session.waived", world.ended)
    again = await world.site.ask(MANAGER, "POST", path, {"note": "again"})
    assert again.status == 409
    running = f"api/sessions/{world.running}/waive"
    assert (await world.site.ask(MANAGER, "POST", running, {"note": "x"})).status == 409


# -- maintenance ----------------------------------------------------------------------------------


async def enter(world, role=MANAGER, node=NODE, begin_s=-1800, end_s=60, **more):
    starts_at, ends_at = window(world, begin_s, end_s)
    body = {"node": node, "starts_at": starts_at, "ends_at": ends_at, "note": "disks", **more}
    return await world.site.ask(role, "POST", "api/maintenance", body)


async def test_a_maintenance_from_entering_to_refusing_to_cancel(world):
    before = last_id(world)
    made = await enter(world)
    assert made.status == 201
    path = f"api/maintenance/{made.json['id']}"
    (held,) = (await world.site.ask(READER, "GET", "api/maintenance")).json["maintenance"]
    assert (held["node"], held["state"], held["sessions"], held["given_micro"]) == (
        NODE, "running", 1, 0,
    )  # fmt: skip
    numbers = await apply_maintenance(world.site.service)
    assert numbers == {"sessions": 1, "entries": 1}
    assert await apply_maintenance(world.site.service) == {"sessions": 0, "entries": 0}
    (held,) = (await world.site.ask(READER, "GET", "api/maintenance")).json["maintenance"]
    assert held["given_micro"] > 0
    shown = (await world.site.ask(ADA, "GET", f"api/sessions/{world.ended}")).json
    assert shown["maintenance"]["node"] == NODE
    assert 1790 <= shown["maintenance"]["unbilled_s"] <= 1801
    assert (await world.site.ask(MANAGER, "DELETE", path)).status == 409
    assert (await world.site.ask(MANAGER, "POST", f"{path}/finish")).status == 200
    assert (await world.site.ask(MANAGER, "POST", f"{path}/finish")).status == 409
    assert [r["action"] for r in audited(world, before)] == [
        "maintenance.added", "maintenance.applied", "maintenance.finished",
    ]  # fmt: skip
    page = await world.site.ask(ROOT, "GET", f"sessions/{world.ended}")
    assert f"maintenance of {NODE}" in text_of(page)


async def test_a_maintenance_is_cancelled(world):
    made = await enter(world, node="gpu-99")
    before = last_id(world)
    path = f"api/maintenance/{made.json['id']}"
    assert (await world.site.ask(MANAGER, "DELETE", path)).status == 200
    assert [r["action"] for r in audited(world, before)] == ["maintenance.cancelled"]
    assert (await world.site.ask(MANAGER, "DELETE", path)).status == 409
    assert (await world.site.ask(MANAGER, "DELETE", "api/maintenance/999")).status == 404
    assert await apply_maintenance(world.site.service) == {}
    assert (await enter(world, begin_s=60, end_s=-60)).status == 400


# -- passes ---------------------------------------------------------------------------------------


async def give(world, person="ada", role=MANAGER, **more):
    body = {"person": person, "hours": 2, "note": "a deadline"} | more
    body = {name: value for name, value in body.items() if value is not None}
    return await world.site.ask(role, "POST", "api/passes", body)


async def test_a_pass_is_given_shown_and_revoked(world):
    before = last_id(world)
    made = await give(world)
    assert made.status == 201
    (held,) = (await world.site.ask(READER, "GET", "api/passes")).json["passes"]
    assert (held["person"], held["state"], held["note"]) == ("ada", "valid", "a deadline")
    assert held["actor"] == "accountant"
    mine = (await world.site.ask(ADA, "GET", "api/me")).json
    assert mine["pass_until"] == held["expires_at"]
    assert (await world.site.ask(MIA, "GET", "api/me")).json["pass_until"] is None
    path = f"api/passes/{held['id']}"
    assert (await world.site.ask(MANAGER, "DELETE", path)).status == 200
    assert (await world.site.ask(MANAGER, "DELETE", path)).status == 409
    assert (await world.site.ask(ADA, "GET", "api/me")).json["pass_until"] is None
    assert [r["action"] for r in audited(world, before)] == ["pass.given", "pass.revoked"]


async def test_passes_that_can_not_be(world):
    ahead = window(world, end_s=8 * 86400)[1]
    for more, status in (
        ({"hours": None}, 400),
        ({"expires_at": ahead}, 400),
        ({"hours": None, "expires_at": ahead}, 400),
        ({"hours": None, "expires_at": window(world)[0]}, 400),
        ({"hours": 169}, 400),
        ({"hours": 0}, 400),
        ({"note": " "}, 400),
        ({"person": "nobody"}, 404),
    ):
        assert (await give(world, **more)).status == status, more
    assert (await world.site.ask(READER, "GET", "api/passes")).json["passes"] == []
    # whom the Hub knows may have one before they ever started anything
    assert (await give(world, person="reader")).status == 201


# -- roles and pages ------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [ADA, MIA, READER], ids=lambda role: role.user)
async def test_only_who_manages_may(world, role):
    """Not even whoever manages the wallet, nor whoever sees everything."""
    made, held = (await enter(world)).json["id"], (await give(world)).json["id"]
    before = last_id(world)
    for answer in (
        await preview(world, role, wallet="lab"),
        await refund(world, role, wallet="lab", expected=(1, 1)),
        await world.site.ask(role, "POST", f"api/sessions/{world.ended}/waive", {"note": "x"}),
        await enter(world, role),
        await world.site.ask(role, "POST", f"api/maintenance/{made}/finish"),
        await world.site.ask(role, "DELETE", f"api/maintenance/{made}"),
        await give(world, role=role),
        await world.site.ask(role, "DELETE", f"api/passes/{held}"),
    ):
        assert answer.status == 403
    assert audited(world, before) == []
    expected = 200 if role is READER else 403
    for path in ("refunds", "maintenance", "passes"):
        assert (await world.site.ask(role, "GET", f"api/{path}")).status == expected


async def test_the_page_of_refunds(world):
    site = world.site
    text = text_of(await site.ask(ROOT, "GET", "admin/refunds"))
    assert "Nothing was given back by filter yet" in text and "Preview" not in text
    answer = await site.ask(ROOT, "GET", "admin/refunds?wallet=lab&percent=50")
    soup = BeautifulSoup(answer.text, "html.parser")
    assert "to 1 server that has ended" in text_of(answer)
    assert "Still running: not included" in text_of(answer)
    form = soup.find("form", attrs={"data-api": "POST refunds"})
    sent = {i["name"]: i.get("value") for i in form.find_all("input")}
    seen = (await preview(world, wallet="lab", percent=50)).json
    assert sent == {
        "wallet": "lab", "percent": "50", "expected_count": "1", "note": "",
        "expected_total_micro": str(seen["total_micro"]),
    }  # fmt: skip
    await refund(world, wallet="lab", percent=50)
    assert "wallet lab, 50 %" in text_of(await site.ask(ROOT, "GET", "admin/refunds"))
    # who only looks sees what it would be, and no button
    looked = await site.ask(LOOKER, "GET", "admin/refunds?wallet=lab")
    assert "to 1 server" in text_of(looked) and "POST refunds" not in looked.text


async def test_the_pages_window_is_in_the_hubs_zone(world):
    now = world.site.look(lambda tx: tx.now()).replace(second=0, microsecond=0)
    begin, end = now - timedelta(days=1), now + timedelta(minutes=5)
    local = [at.astimezone(ZoneInfo("Europe/Berlin")).isoformat()[:16] for at in (begin, end)]
    answer = await world.site.ask(ROOT, "GET", f"admin/refunds?begins={local[0]}&ends={local[1]}")
    soup = BeautifulSoup(answer.text, "html.parser")
    form = soup.find("form", attrs={"data-api": "POST refunds"})
    sent = {i["name"]: i.get("value") for i in form.find_all("input")}
    assert (sent["begins_at"], sent["ends_at"]) == (iso(begin), iso(end))
    assert soup.find(id="refund-begins")["value"] == local[0]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("begins=2026-07-01T12:00", "both, or none"),
        ("begins=yesterday&ends=2026-12-01T12:00", "is not a time"),
        ("node=n&percent=x", "from 1 to 100 percent"),
        ("node=n&percent=0", "from 1 to 100 percent"),
        ("wallet=nothing", "There is no wallet"),
        ("person=nobody", "There is nobody called"),
        ("node=nowhere", "There is nothing to give back"),
        ("end_reason=%3Cscript%3E", "There is nothing to give back"),
    ],
)
async def test_the_page_says_what_is_wrong(world, query, text):
    answer = await world.site.ask(ROOT, "GET", f"admin/refunds?{query}")
    assert answer.status == 200 and text in text_of(answer)


async def test_pages_of_maintenance_and_passes(world):
    site = world.site
    assert "No maintenance was entered yet" in text_of(
        await site.ask(ROOT, "GET", "admin/maintenance")
    )
    assert "Nobody was given a pass yet" in text_of(await site.ask(ROOT, "GET", "admin/passes"))
    await enter(world)
    await give(world)
    shown = await site.ask(ROOT, "GET", "admin/maintenance")
    assert NODE in text_of(shown) and "End now" in shown.text and "Cancel" in shown.text
    shown = await site.ask(ROOT, "GET", "admin/passes")
    assert "a deadline" in text_of(shown) and "Revoke" in shown.text
    for path in ("admin/maintenance", "admin/passes"):
        shown = await site.ask(LOOKER, "GET", path)
        assert shown.status == 200
        main = BeautifulSoup(shown.text, "html.parser").find("main")
        assert not main.find_all("form", attrs={"data-api": True}), path


async def test_the_button_on_the_session_page(world):
    path = f"sessions/{world.ended}"
    assert f"POST {path}/waive" in (await world.site.ask(ROOT, "GET", path)).text
    assert "waive" not in (await world.site.ask(LOOKER, "GET", path)).text
    running = await world.site.ask(ROOT, "GET", f"sessions/{world.running}")
    assert "/waive" not in running.text
    await world.site.ask(MANAGER, "POST", f"api/{path}/waive", {"note": "x"})
    assert "/waive" not in (await world.site.ask(ROOT, "GET", path)).text


# -- a correction by an amount --------------------------------------------------------------------


async def test_a_charge_is_corrected_once_its_server_ended(world):
    """While it runs, what is charged of it is part of its claim: the answer says what to do."""
    site = world.site
    long = world.start("ada", "long", ago_s=3 * 3600)
    now = site.look(lambda tx: tx.now())
    site.act(sessions.settle, long, now - timedelta(hours=1), policy=site.policy)
    entry_id = site.look(listings.entries, session_id=long)[0]["id"]
    path, body = f"api/entries/{entry_id}/correct", {"amount": "0.5", "note": "a slow node"}
    before = last_id(world)
    refused = await site.ask(MANAGER, "POST", path, body)
    assert refused.status == 409 and "still runs: correct it when it has ended" in refused.text
    assert last_id(world) == before
    world.end(long)
    done = await site.ask(MANAGER, "POST", path, body)
    assert done.status == 201
    assert [r["action"] for r in audited(world, before)][-1] == "wallet.corrected"


async def test_entries_are_corrected_on_the_pages(world):
    """Where the refusal to cancel a maintenance sends people: the wallet's page."""
    for path in (f"wallets/{world.lab}", f"sessions/{world.ended}"):
        main = BeautifulSoup((await world.site.ask(ROOT, "GET", path)).text, "html.parser")
        form = main.find("form", attrs={"data-api": "POST entries/{entry_id}/correct"})
        assert {f["name"] for f in form.find_all("input")} == {"entry_id", "amount", "note"}
        assert "has ended" in form.text
        buttons = main.find_all("button", attrs={"data-open": "correct-form"})
        assert str(world.charge_id) in {b["data-set-entry_id"] for b in buttons}, path
        assert "correct-form" not in (await world.site.ask(LOOKER, "GET", path)).text
