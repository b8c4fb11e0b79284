"""Asking for credit over the API and the pages: who sees what, who decides, one audit row each."""

import asyncio

import pytest
from bs4 import BeautifulSoup

from jhub_usage.actions import listings, views, wallets
from jhub_usage.scopes import ACCESS

from .fakes import Role
from .world import CREDIT, World

SCOPE = "custom:jhub-usage:"
BOTH = pytest.mark.parametrize("site_url", ["sqlite", "postgres"], indirect=True)
ADMIN = Role("admin-token", "operator", (ACCESS, SCOPE + "admin"))
MANAGE = Role("manage-token", "accountant", (ACCESS, SCOPE + "manage"))
READ = Role("read-token", "auditor", (ACCESS, SCOPE + "read"))
ROOT = Role("root-browser", "root", browser=True, admin=True)
READER = Role("reader-browser", "reader", (ACCESS, SCOPE + "read"), browser=True)
ADA, MIA, EVE = (Role(f"{n}-token", n) for n in ("ada", "mia", "eve"))
ADA_PAGE, MIA_PAGE, EVE_PAGE = (
    Role(f"{n}-browser", n, browser=True) for n in ("ada", "mia", "eve")
)  # fmt: skip
ASK = {"wallet": "lab", "amount": "12.50", "note": "a deadline"}


@pytest.fixture
async def world(site):
    for role in (ADMIN, MANAGE, READ, ROOT, READER, ADA, MIA, EVE, ADA_PAGE, MIA_PAGE, EVE_PAGE):
        site.login(role)
    made = World(site)
    made.grant(made.other, 50)
    return made


def balance(world, wallet_id: int) -> int:
    return world.site.look(views.wallet_views, ids=[wallet_id])[0].balance_micro


async def ids(world, role, query="") -> list[int]:
    answer = await world.site.ask(role, "GET", f"api/requests{query}")
    assert answer.status == 200, answer.text
    return [r["id"] for r in answer.json["requests"]]


async def decide(world, role, request_id, verb="grant", **body):
    return await world.site.ask(role, "POST", f"api/requests/{request_id}/{verb}", body)


async def one(world, request_id, role=ADMIN) -> dict:
    return (await world.site.ask(role, "GET", f"api/requests/{request_id}")).json


async def text_of(world, role, path="") -> BeautifulSoup:
    answer = await world.site.ask(role, "GET", path)
    assert answer.status == 200, answer.text
    return BeautifulSoup(answer.text, "html.parser").find("main")


def forms_of(soup) -> list[str]:
    return [f["data-api"] for f in soup.find_all("form", attrs={"data-api": True})]


# -- the way of a request -------------------------------------------------------------------------


@BOTH
async def test_from_asking_to_granting(world):
    """Each write leaves one audit row; who asked and who decides see the same state."""
    site = world.site
    seen = len(site.look(views.audit_rows, limit=1000))

    def audited() -> list[str]:
        nonlocal seen
        rows = site.look(views.audit_rows, limit=1000)
        new, seen = rows[: len(rows) - seen], len(rows)
        return [f"{r['actor_name']} {r['action']} {r['subject_kind']}" for r in new]

    made = await site.ask(ADA, "POST", "api/requests", ASK)
    request_id = made.json["id"]
    assert made.status == 201 and audited() == ["ada request.asked request"]
    waits = await one(world, request_id, ADA)
    assert waits == await one(world, request_id, MIA) == await one(world, request_id, READ)
    assert (waits["state"], waits["amount_micro"], waits["note"], waits["person"]) == (
        "open", 12_500_000, "a deadline", "ada",
    )  # fmt: skip
    given = await decide(world, MIA, request_id, amount="10", note="for June", **{"from": "other"})
    assert given.status == 201 and audited() == ["mia request.granted request"]
    done = await one(world, request_id, ADA)
    assert (done["state"], done["granted_micro"], done["decided_by"], done["answer"]) == (
        "granted", 10 * CREDIT, "mia", "for June",
    )  # fmt: skip
    assert done["entry_id"] == given.json["entry_id"]
    assert (balance(world, world.other), balance(world, world.lab)) == (
        40 * CREDIT, 100 * CREDIT + 10 * CREDIT + charged(world),
    )  # fmt: skip
    second = (await site.ask(ADA, "POST", "api/requests", ASK)).json["id"]
    third = (await site.ask(ADA, "POST", "api/requests", ASK)).json["id"]
    audited()
    assert (await decide(world, MIA, second, "decline", note="no more")).status == 200
    assert audited() == ["mia request.declined request"]
    assert (await decide(world, ADA, third, "withdraw")).status == 200
    assert audited() == ["ada request.withdrawn request"]
    for over, verb in ((request_id, "decline"), (second, "grant"), (third, "grant")):
        late = await decide(world, ADMIN, over, verb, note="x")
        assert (late.status, late.code) == (409, "conflict")
    assert audited() == []


def charged(world) -> int:
    """What the lab was charged in the world's own story; below zero."""
    rows = world.site.look(listings.entries, wallet_id=world.lab, limit=1000)
    return sum(e["amount_micro"] for e in rows if e["kind"] == "charge")


@BOTH
async def test_asked_twice_with_one_key_it_is_asked_once(world):
    site, key = world.site, {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(
        *(site.ask(ADA, "POST", "api/requests", ASK, headers=key) for _ in range(4))
    )
    assert {a.status for a in answers} == {201} and len({a.text for a in answers}) == 1
    (request_id,) = await ids(world, ADA)
    path, body = f"api/requests/{request_id}/grant", {"amount": "1", "from": "other"}
    answers = await asyncio.gather(
        *(site.ask(MIA, "POST", path, body, headers=key) for _ in range(4))
    )
    assert {a.status for a in answers} == {201} and len({a.text for a in answers}) == 1
    assert balance(world, world.other) == 49 * CREDIT


async def test_new_credit_is_made_by_right_only(world):
    by_manager, by_right = (world.ask_credit("ada") for _ in range(2))
    before = balance(world, world.lab)
    refused = await decide(world, MIA, by_manager)
    assert refused.status == 400 and "new credit needs" in refused.json["error"]["message"]
    for name in ("empty", "nowhere"):  # the same words for one that is not hers and for none
        refused = await decide(world, MIA, by_manager, **{"from": name})
        assert refused.status == 403
        assert (
            refused.json["error"]["message"] == "There is no wallet of that name that you manage."
        )
    assert balance(world, world.lab) == before
    assert (await decide(world, MANAGE, by_right)).status == 201
    assert balance(world, world.lab) == before + 10 * CREDIT
    assert (await decide(world, MANAGE, by_manager, **{"from": "nowhere"})).status == 404
    assert (await decide(world, MANAGE, by_manager, **{"from": "other"})).status == 201
    assert balance(world, world.other) == 40 * CREDIT


async def test_nobody_decides_their_own_without_the_right(world):
    """A manager asks for her lab: she sees it and can take it back, no more."""
    asked = (await world.site.ask(MIA, "POST", "api/requests", ASK)).json["id"]
    for verb, body in (("grant", {"from": "other"}), ("decline", {"note": "x"})):
        assert (await decide(world, MIA, asked, verb, **body)).status == 403
    assert (await decide(world, MIA, asked, "withdraw")).status == 200
    own = (await world.site.ask(ROOT, "POST", "api/requests", {**ASK, "wallet": "empty"})).json[
        "id"
    ]
    assert (await decide(world, ROOT, own)).status == 201


# -- who sees what --------------------------------------------------------------------------------


async def test_a_stranger_sees_nothing_and_can_not_probe(world):
    request_id = world.ask_credit("ada")
    assert await ids(world, EVE) == []
    for verb, body in (("", None), ("/grant", {}), ("/decline", {"note": "x"}), ("/withdraw", {})):
        method = "POST" if verb else "GET"
        there = await world.site.ask(EVE, method, f"api/requests/{request_id}{verb}", body)
        nowhere = await world.site.ask(EVE, method, f"api/requests/999999{verb}", body)
        assert there.status == nowhere.status == 403
        assert there.text == nowhere.text
    closed = await world.site.ask(EVE, "POST", "api/requests", ASK)
    missing = await world.site.ask(EVE, "POST", "api/requests", {**ASK, "wallet": "nowhere"})
    assert closed.status == missing.status == 403 and closed.text == missing.text
    assert "a deadline" not in str(await text_of(world, EVE_PAGE))
    assert (await one(world, request_id))["state"] == "open"


async def test_lists_show_ones_own_and_what_one_decides(world):
    site = world.site
    own = site.act(wallets.create, "~ada", owner_id=world.person_id("ada"))
    site.act(wallets.set_group, world.other, "vision")
    for_lab, for_own = world.ask_credit("ada"), world.ask_credit("ada", wallet_id=own)
    foreign = world.ask_credit("eve", wallet_id=world.empty)
    hers = world.ask_credit("mia")
    assert await ids(world, ADA) == [for_own, for_lab]
    assert await ids(world, MIA) == [hers, for_own, for_lab]
    assert await ids(world, MIA, "?mine=true") == [hers]
    assert await ids(world, EVE) == [foreign]
    for role in (ADMIN, MANAGE, READ):
        assert await ids(world, role) == [hers, foreign, for_own, for_lab]
        assert await ids(world, role, "?mine=true") == []
    assert await ids(world, READ, f"?wallet_id={world.lab}") == [hers, for_lab]
    assert await ids(world, ADA, f"?wallet_id={world.empty}") == []
    await decide(world, ADMIN, for_own, "decline", note="x")
    assert await ids(world, READ, "?state=declined") == [for_own]
    assert await ids(world, ADA, "?state=open") == [for_lab]
    service = site.login(Role("svc", scopes=(SCOPE + "read",), kind="service"))
    assert len(await ids(world, service)) == 4
    assert await ids(world, service, "?mine=true") == []
    assert (await site.ask(service, "POST", "api/requests", ASK)).status == 403


async def test_a_group_makes_one_a_spender_who_may_ask(world):
    site = world.site
    site.act(wallets.set_group, world.lab, "vision")
    gus = site.login(Role("gus-token", "gus", groups=("vision",)))
    site.hub.add("gus", groups=("vision",))
    asked = await site.ask(gus, "POST", "api/requests", ASK)
    assert asked.status == 201
    assert await ids(world, MIA) == await ids(world, gus) == [asked.json["id"]]


async def test_pages_of_a_list(world):
    asked = [world.ask_credit("ada") for _ in range(3)]
    seen, query = [], "?limit=1"
    while True:
        page = (await world.site.ask(READ, "GET", f"api/requests{query}")).json
        seen += [r["id"] for r in page["requests"]]
        if page["next"] is None:
            break
        query = f"?limit=1&cursor={page['next']}"
    assert seen == asked[::-1]


@pytest.mark.parametrize(
    "body, problem",
    [
        ({"amount": "0"}, "more than nothing"),
        ({"amount": "-1"}, "more than nothing"),
        ({"amount": "x"}, "is not a number"),
        ({"amount": "1e10"}, "beyond 1,000,000,000"),
        ({"amount_micro": 5}, "not both"),
        ({"note": ""}, "must not be empty"),
        ({"note": "x" * 2001}, "longer than 2000"),
        ({"wallet": ""}, "must not be empty"),
        ({"more": 1}, "There is no field"),
    ],
)
async def test_bad_requests(world, body, problem):
    answer = await world.site.ask(ADA, "POST", "api/requests", ASK | body)
    assert answer.status == 400 and problem in answer.json["error"]["message"]
    assert await ids(world, ADA) == []


# -- pages ----------------------------------------------------------------------------------------


async def test_my_usage_offers_to_ask_and_shows_the_answer(world):
    site = world.site
    site.act(wallets.create, "second")
    page = await text_of(world, ADA_PAGE)
    form = page.find("form", attrs={"data-api": "POST requests"})
    assert [o["value"] for o in form.find_all("option")] == ["lab"]
    assert not form.find_parent("details").has_attr("open")
    first, second = world.ask_credit("ada", note="for\nfriday"), world.ask_credit("ada")
    await decide(world, MIA, first, amount="4", note="less", **{"from": "other"})
    page = await text_of(world, ADA_PAGE)
    assert "$4.00 of it" in page.text and "mia: less" in page.text and "waits for" in page.text
    assert f"POST requests/{second}/withdraw" in forms_of(page)
    assert f"POST requests/{first}/withdraw" not in forms_of(page)
    assert "Requests that wait for you" not in page.text


async def test_a_link_leads_to_the_form_for_a_wallet(world):
    site = world.site
    site.act(wallets.change, world.empty, title="Empty")
    link = (await text_of(world, EVE_PAGE, f"sessions/{world.refused}")).find(
        "a", string="Ask for credit"
    )
    assert link["href"] == f"/services/usage/?wallet={world.empty}#ask"
    page = await text_of(world, EVE_PAGE, f"?wallet={world.empty}")
    assert page.find("details", id="ask").has_attr("open")
    assert page.find("option", selected=True)["value"] == "empty"
    assert page.find("a", href="#ask")
    # what is not open to one is not chosen by a link either
    page = await text_of(world, EVE_PAGE, f"?wallet={world.lab}")
    assert not page.find("details", id="ask").has_attr("open")
    # nobody else's refusal asks them to ask
    assert "Ask for credit" not in str(await text_of(world, ROOT, f"sessions/{world.refused}"))


async def test_wallets_without_a_limit_need_no_credit(world):
    world.site.act(wallets.change, world.lab, overdraft_micro=None)
    page = await text_of(world, ADA_PAGE)
    assert not forms_of(page) and "Your requests for credit" not in page.text
    assert "Ask for credit" not in (await text_of(world, ADA_PAGE, f"wallets/{world.lab}")).text


async def test_a_manager_decides_on_the_wallets_page_and_on_hers(world):
    request_id = world.ask_credit("ada", note="sixteen GPUs")
    world.ask_credit("mia", note="my own")
    for path in ("", f"wallets/{world.lab}"):
        page = await text_of(world, MIA_PAGE, path)
        assert "ada" in page.text and "sixteen GPUs" in page.text
        form = page.find("form", attrs={"data-api": f"POST requests/{request_id}/grant"})
        assert form.find("input", attrs={"name": "amount"})["value"] == "10"
        # the wallet that it is for can not pay for it
        assert [o.text for o in form.find_all("option")] == ["other ($50.00 free)"]
        waiting = [f for f in forms_of(page) if f.endswith(("/grant", "/decline"))]
        assert waiting == [f"POST requests/{request_id}/{v}" for v in ("grant", "decline")]
    assert "sixteen" not in (await text_of(world, MIA_PAGE, f"wallets/{world.other}")).text
    assert "sixteen" not in (await text_of(world, READER, f"wallets/{world.lab}")).text
    by_right = await text_of(world, ROOT, f"wallets/{world.lab}")
    assert "sixteen" in by_right.text and "my own" in by_right.text


async def test_a_manager_who_has_nothing_to_give(world):
    world.ask_credit("ada")
    world.site.act(wallets.remove_member, world.other, world.person_id("mia"))
    page = await text_of(world, MIA_PAGE, f"wallets/{world.lab}")
    assert "An administrator can grant it" in page.text
    assert not any(f.endswith("/grant") for f in forms_of(page))
    assert any(f.endswith("/decline") for f in forms_of(page))


async def test_the_page_of_all_requests(world):
    first, second = world.ask_credit("ada", note="first"), world.ask_credit("mia", note="second")
    decided = world.ask_credit("ada", note="third")
    await decide(world, ADMIN, decided, "decline", note="because")
    page = await text_of(world, ROOT, "admin/requests")
    assert page.text.index("first") < page.text.index("second") < page.text.index("third")
    assert f"POST requests/{first}/grant" in forms_of(page)
    assert "because" in page.text
    tab = page.find("nav").find("a", attrs={"aria-current": "page"})
    assert " ".join(tab.text.split()) == "Requests 2 open"
    assert "2 open" in " ".join((await text_of(world, ROOT)).find("nav").text.split())
    reads = await text_of(world, READER, "admin/requests")
    assert "first" in reads.text and not forms_of(reads)
    await decide(world, ADMIN, second)
    for number in range(21):
        request_id = world.ask_credit("eve", wallet_id=world.empty, note=f"number {number}")
        await decide(world, ADMIN, request_id, "decline", note="no")
    page = await text_of(world, ROOT, "admin/requests")
    older = page.find("a", string="Older")["href"]
    assert "third" not in page.text
    assert "third" in (await text_of(world, ROOT, f"admin/requests{older}")).text
