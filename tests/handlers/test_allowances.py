"""Allowances over the API and on the pages, and the service's own pass that books them on time."""

import re
from datetime import timedelta

import pytest
from bs4 import BeautifulSoup

from jhub_usage.actions import allowances, catching_up, check, listings
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.invariants import failed
from jhub_usage.scopes import ACCESS
from jhub_usage.store import tables as t

from .fakes import Role
from .world import CREDIT, World

SCOPE = "custom:jhub-usage:"
MANAGE = Role("manage-token", "accountant", (ACCESS, SCOPE + "manage"))
READ = Role("read-token", "reader", (ACCESS, SCOPE + "read"))
ROOT = Role("root-browser", "root", browser=True, admin=True)
ADA = Role("ada-browser", "ada", browser=True)
MIA = Role("mia-token", "mia")
BOTH = pytest.mark.parametrize("site_url", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
async def world(site):
    for role in (MANAGE, READ, ROOT, ADA, MIA):
        site.login(role)
    return World(site)


def allow(world, wallet_id, credits, period="month", carry=0):
    kept = None if carry is None else carry * CREDIT
    world.site.act(
        allowances.set_allowance, wallet_id, Allowance(credits * CREDIT, period, kept),
        policy=world.site.policy,
    )  # fmt: skip


def long_ago(world, wallet_id, days: int):
    """Nothing was booked for so many days."""
    with world.site.service.ctx.db.write() as tx:
        w = t.wallets_.c
        then = tx.now() - timedelta(days=days)
        tx.execute(t.wallets_.update().where(w.id == wallet_id).values(advanced_until=then))


async def shown(world, wallet_id) -> dict | None:
    answer = await world.site.ask(READ, "GET", f"api/wallets/{wallet_id}")
    return answer.json["wallet"]["allowance"]


async def page(world, role, path) -> str:
    """What stands on a page, in one line."""
    answer = await world.site.ask(role, "GET", path)
    assert answer.status == 200, answer.text[-500:]
    main = BeautifulSoup(answer.text, "html.parser").find("main")
    return main.get_text(" ", strip=True).replace("\xa0", " ")


# -- the API ---------------------------------------------------------------------------------------


@BOTH
async def test_an_allowance_by_the_api(world):
    path = f"api/wallets/{world.other}/allowance"
    ask = world.site.ask
    done = await ask(MANAGE, "PUT", path, {"amount": "100", "period": "month", "carry": "20.5"})
    assert (done.status, done.json["id"]) == (200, world.other) and done.json["entry_id"]
    held = await shown(world, world.other)
    assert held.pop("next_at").endswith("-01T00:00:00Z")
    assert held == {
        "amount_micro": 100 * CREDIT, "period": "month", "carry_micro": 20_500_000,
        "left_micro": 100 * CREDIT, "next_micro": 100 * CREDIT, "expires_micro": 79_500_000,
    }  # fmt: skip
    # changed: with the next month; told to begin: at once
    changed = {"amount_micro": 7 * CREDIT, "period": "week", "carry_all": True}
    assert (await ask(MANAGE, "PUT", path, changed)).json["entry_id"] is None
    held = await shown(world, world.other)
    assert (held["left_micro"], held["carry_micro"], held["expires_micro"]) == (10**8, None, 0)
    begun = (await ask(MANAGE, "PUT", path, changed | {"begin_now": True})).json["entry_id"]
    assert begun and (await shown(world, world.other))["left_micro"] == 107 * CREDIT
    # taken away: what is left expires
    assert (await ask(MANAGE, "DELETE", path)).json == {"id": world.other}
    held = await shown(world, world.other)
    assert (held["amount_micro"], held["next_micro"], held["expires_micro"]) == (0, 0, 107 * CREDIT)
    again = await ask(MANAGE, "DELETE", path)
    assert (again.status, again.code) == (404, "not_found")
    assert await shown(world, world.lab) is None
    assert failed(world.site.look(check.check)) == []


async def test_begun_at_once_again_with_the_same_key_is_once(world):
    path = f"api/wallets/{world.other}/allowance"
    body = {"amount": "5", "period": "day", "carry_all": True, "begin_now": True}
    for _ in range(2):
        answer = await world.site.ask(MANAGE, "PUT", path, body, headers={"Idempotency-Key": "k"})
        assert answer.status == 200
    assert (await shown(world, world.other))["left_micro"] == 5 * CREDIT


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"period": "month"}, "“amount” is missing"),
        ({"amount": "1"}, "“period” is missing"),
        ({"amount": "1", "period": "year"}, "one of day, week, month"),
        ({"amount": "1", "amount_micro": 1, "period": "day"}, "not both"),
        ({"amount": "1", "period": "day", "carry": "1", "carry_all": True}, "not both"),
        ({"amount": "0", "period": "day"}, "more than nothing"),
        ({"amount": "-1", "period": "day"}, "at least 0"),
        ({"amount": "1", "period": "day", "carry": "-1"}, "carry cap must be at least 0"),
    ],
)
async def test_what_makes_no_sense(world, body, words):
    answer = await world.site.ask(MANAGE, "PUT", f"api/wallets/{world.lab}/allowance", body)
    assert (answer.status, answer.code) == (400, "bad_input")
    assert words in answer.json["error"]["message"]
    assert await shown(world, world.lab) is None


async def test_a_manager_of_the_wallet_may_not_give_it_credit(world):
    path = f"api/wallets/{world.lab}/allowance"
    for method, body in (("PUT", {"amount": "1", "period": "day"}), ("DELETE", None)):
        assert (await world.site.ask(MIA, method, path, body)).status == 403
    assert (await world.site.ask(MANAGE, "PUT", "api/wallets/999/allowance",
                                 {"amount": "1", "period": "day"})).status == 404  # fmt: skip


# -- pages -----------------------------------------------------------------------------------------


async def test_what_is_left_stands_wherever_a_balance_stands(world):
    allow(world, world.lab, 500, carry=20)
    # the one running server of ada's is paid by it, and costs while we look
    words = await page(world, ADA, f"wallets/{world.lab}")
    assert "is left of the monthly $500.00; $4" in words
    assert "of it expires on 1 " in words and "when $500.00 comes." in words
    card = await page(world, ADA, "")
    assert re.search(r"Of this month’s allowance \$(500\.00|499\.\d\d) ", card)
    assert "Expires 1 " in card and "Comes then $500.00" in card
    listed = await page(world, ROOT, "admin/wallets")
    for part in (
        "is left of the monthly $500.00; $4",
        "of it expires on 1 ",
        "when $500.00 comes.",
    ):
        assert part in listed
    mine = (await world.site.ask(ADA, "GET", "api/me")).json["wallets"]
    assert [w["allowance"]["amount_micro"] for w in mine] == [500 * CREDIT]
    asked = (await world.site.ask(ADA, "POST", "api/quote", {"shape": {"cpu_milli": 1000}})).json
    assert asked["wallet"] == "lab" and asked["allowance"]["next_micro"] == 500 * CREDIT
    assert asked["allowance"]["next_at"] == mine[0]["allowance"]["next_at"]


async def test_the_statement_of_this_month_says_what_is_left(world):
    """Its balance is the one of now; what a spender sees of it has none."""
    month = world.site.look(lambda tx: tx.now())
    path = f"wallets/{world.lab}/statements/{month:%Y-%m}"
    assert "is left of" not in await page(world, ROOT, path)
    allow(world, world.lab, 500, carry=20)
    assert "when $500.00 comes." in await page(world, ROOT, path)
    assert "is left of" not in await page(world, ADA, path)


async def test_its_entries_say_which_one_they_are_of(world):
    allow(world, world.other, 10, "day", carry=5)
    long_ago(world, world.other, 1)
    world.grant(world.other, 1)  # books what is due
    begin = world.site.look(lambda tx: tx.now())
    day = f"{begin.day} {begin:%B %Y}"
    entries = (await world.site.ask(READ, "GET", f"api/wallets/{world.other}/entries")).json
    assert [(e["about"], e["note"]) for e in entries["entries"]] == [
        ("", "test"),
        (f"Allowance for {day}", "10 granted, 5 of the last one expired"),
        ("Allowance, begun at once", None),
    ]
    assert f"Allowance for {day} 10 granted, 5 of the last" in await page(
        world, ROOT, f"wallets/{world.other}"
    )


async def test_the_form_shows_what_is_set(world):
    async def form():
        answer = await world.site.ask(ROOT, "GET", f"wallets/{world.other}")
        soup = BeautifulSoup(answer.text, "html.parser")
        found = soup.find("form", {"data-api": f"PUT wallets/{world.other}/allowance"})
        chosen = [o["value"] for o in found.find_all("option", selected=True)]
        return {i["name"]: i.get("value") for i in found.find_all("input")}, chosen, soup

    fields, chosen, soup = await form()
    assert (fields["amount"], chosen) == ("", ["month", ""])
    assert soup.find(id="allowance-now").has_attr("checked")
    take = {"data-api": f"DELETE wallets/{world.other}/allowance"}
    assert soup.find("form", take) is None
    allow(world, world.other, 10, "week", carry=3)
    fields, chosen, soup = await form()
    assert (fields["amount"], fields["carry"], chosen) == ("10", "3", ["week", "some"])
    assert not soup.find(id="allowance-now").has_attr("checked")
    assert soup.find("form", take) is not None
    allow(world, world.other, 10, "week", carry=None)
    assert (await form())[1] == ["week", "all"]
    # who may not change it has no form
    assert "What is left at the end" not in await page(world, READ, f"wallets/{world.lab}")


# -- the service's own pass ------------------------------------------------------------------------


async def one_pass(world) -> dict:
    loops = world.site.service.loops
    (loop,) = [x for x in loops._loops if x.name == "advance"]
    await loops.one_pass(loop)
    assert (loop.failures, loop.last_error) == (0, "")
    return loop.notes


@BOTH
async def test_the_service_books_on_time(world):
    allow(world, world.other, 10, "day", carry=None)
    allow(world, world.empty, 10, "day")
    assert await one_pass(world) == {"wallets": 0, "entries": 0}
    long_ago(world, world.other, 3)
    long_ago(world, world.empty, 3)  # nothing to expire, nothing to write
    assert await one_pass(world) == {"wallets": 1, "entries": 3}
    assert await one_pass(world) == {"wallets": 0, "entries": 0}
    kinds = [e["kind"] for e in world.site.look(listings.entries, wallet_id=world.other)]
    assert kinds == ["grant"] * 4
    assert world.site.service.loops.warnings == []


async def test_many_wallets_are_booked_in_batches(world, monkeypatch):
    monkeypatch.setattr("jhub_usage.actions.advancing.BATCH", 1)
    for wallet_id in (world.other, world.empty, world.lab):
        allow(world, wallet_id, 10, "day", carry=None)
        long_ago(world, wallet_id, 1)
    assert await one_pass(world) == {"wallets": 3, "entries": 3}


async def test_a_wallet_that_is_too_far_behind_is_told(world):
    allow(world, world.other, 10, "day", carry=None)
    long_ago(world, world.other, 100)
    assert await one_pass(world) == {"wallets": 0, "entries": 0, "behind": 1, "named": ["other"]}
    (warning,) = world.site.service.loops.warnings
    assert warning["code"] == "catch_up"
    assert "The books of the wallet other are more than 62 days behind" in warning["text"]
    told = await page(world, ROOT, "admin/configuration")
    assert "jhub-usage advance" in told and "wallet other" in told
    assert (await world.site.ask(READ, "GET", "api/status")).json["warnings"] == [warning]
    long_ago(world, world.other, 1)
    assert await one_pass(world) == {"wallets": 1, "entries": 1}
    assert world.site.service.loops.warnings == []


async def test_a_wallet_that_a_clock_has_put_ahead_is_told(world):
    long_ago(world, world.other, -100)
    assert await one_pass(world) == {
        "wallets": 0, "entries": 0, "ahead": 1, "ahead_named": ["other"]
    }  # fmt: skip
    (warning,) = world.site.service.loops.warnings
    assert warning["code"] == "clock_ahead"
    assert "the books of the wallet other more than a day ahead" in warning["text"]
    assert "jhub-usage advance" in await page(world, ROOT, "admin/configuration")
    assert world.site.act(catching_up.put_back, policy=world.site.policy) == ["other"]
    assert await one_pass(world) == {"wallets": 0, "entries": 0}
    assert world.site.service.loops.warnings == []
