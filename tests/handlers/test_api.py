"""What the API does with money, names and people, beyond who may ask."""

import asyncio
import re
from datetime import timedelta
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from jhub_usage.actions import listings, ownership, views, wallets
from jhub_usage.domain.admission import PersonKey
from jhub_usage.scopes import ACCESS
from jhub_usage.store import tables as t

from .fakes import CREATED, Role
from .world import CREDIT, World, person

SCOPE = "custom:jhub-usage:"
ADMIN = Role("admin-token", "operator", (ACCESS, SCOPE + "admin"))
MANAGE = Role("manage-token", "accountant", (ACCESS, SCOPE + "manage"))
BOTH = pytest.mark.parametrize("site_url", ["sqlite", "postgres"], indirect=True)
BROWSER = Role("root-browser", "root", browser=True, admin=True)
ADA, MIA, EVE = (Role(f"{n}-token", n) for n in ("ada", "mia", "eve"))


@pytest.fixture
async def world(site):
    for role in (ADMIN, MANAGE, BROWSER, ADA, MIA, EVE):
        site.login(role)
    return World(site)


def balance(site, wallet_id: int) -> int:
    return site.look(views.wallet_views, ids=[wallet_id])[0].balance_micro


# -- keys ---------------------------------------------------------------------------------------


async def test_the_same_key_grants_once(world):
    site, path = world.site, f"api/wallets/{world.other}/grant"
    body, key = {"amount": "12.50", "note": "November"}, {"Idempotency-Key": "k1"}
    first = await site.ask(ADMIN, "POST", path, body, headers=key)
    again = await site.ask(ADMIN, "POST", path, body, headers=key)
    assert first.status == again.status == 201
    assert first.json == again.json
    assert balance(site, world.other) == 12_500_000


@BOTH
async def test_the_same_key_for_something_else_is_a_conflict(world):
    site, path = world.site, f"api/wallets/{world.other}/grant"
    key = {"Idempotency-Key": "k1"}
    await site.ask(ADMIN, "POST", path, {"amount": "1", "note": "a"}, headers=key)
    for other in ({"amount": "2", "note": "a"}, {"amount": "1", "note": "b"}):
        answer = await site.ask(ADMIN, "POST", path, other, headers=key)
        assert (answer.status, answer.code) == (409, "key_reused")
    answer = await site.ask(
        ADMIN, "POST", f"api/wallets/{world.lab}/grant", {"amount": "1", "note": "a"}, headers=key
    )
    assert (answer.status, answer.code) == (409, "key_reused")
    assert balance(site, world.other) == CREDIT


async def test_keys_of_two_people_do_not_meet(world):
    site, path = world.site, f"api/wallets/{world.other}/grant"
    body, key = {"amount": "1", "note": "a"}, {"Idempotency-Key": "k1"}
    for role in (ADMIN, MANAGE):
        assert (await site.ask(role, "POST", path, body, headers=key)).status == 201
    assert balance(site, world.other) == 2 * CREDIT


@BOTH
async def test_the_same_key_many_times_at_once(world):
    site, path = world.site, f"api/wallets/{world.other}/grant"
    body, key = {"amount": "1", "note": "a"}, {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(
        *(site.ask(ADMIN, "POST", path, body, headers=key) for _ in range(8))
    )
    assert {a.status for a in answers} == {201}
    assert len({a.text for a in answers}) == 1
    assert balance(site, world.other) == CREDIT


# -- money --------------------------------------------------------------------------------------

BAD_AMOUNTS = [
    ({"amount": "-3"}, "more than nothing"),
    ({"amount": "0"}, "more than nothing"),
    ({"amount": "abc"}, "is not a number"),
    ({"amount": "NaN"}, "is not a number"),
    ({"amount": "1e30"}, "beyond 1,000,000,000"),
    ({"amount": "0.0000001"}, "more than six decimals"),
    ({"amount_micro": -1}, "more than nothing"),
    ({"amount_micro": 10**18}, "beyond 1,000,000,000"),
    ({"amount": "1", "amount_micro": 1}, "not both"),
    ({}, "“amount” is missing"),
]


@pytest.mark.parametrize("amount, problem", BAD_AMOUNTS)
async def test_bad_amounts_change_nothing(world, amount, problem):
    site = world.site
    before = site.look(listings.entries, limit=1000)
    answer = await site.ask(
        ADMIN, "POST", f"api/wallets/{world.lab}/grant", {**amount, "note": "x"}
    )
    assert answer.status == 400
    assert problem in answer.json["error"]["message"]
    assert site.look(listings.entries, limit=1000) == before


async def test_a_float_is_refused_before_it_can_round(world):
    answer = await world.site.ask(
        ADMIN, "POST", f"api/wallets/{world.lab}/grant", raw='{"amount": 0.1, "note": "x"}'
    )
    assert answer.status == 400
    assert 'write amounts as text, like "0.1"' in answer.json["error"]["message"]


@pytest.mark.parametrize("raw", ["", "{", "[]", "null", '"x"', "{" * 100_000, '{"amount": NaN}'])
async def test_bodies_that_are_no_json_object(world, raw):
    answer = await world.site.ask(ADMIN, "POST", f"api/wallets/{world.lab}/grant", raw=raw)
    assert answer.status == 400
    assert answer.code == "bad_input"


@BOTH
async def test_refund_gives_back_no_more_than_was_charged(world):
    site, path = world.site, f"api/entries/{world.charge_id}/refund"
    charge = next(e for e in site.look(listings.entries, session_id=world.ended))
    too_much = {"amount_micro": -charge["amount_micro"] + 1, "note": "x"}
    assert (await site.ask(ADMIN, "POST", path, too_much)).status == 409
    assert (await site.ask(ADMIN, "POST", path, {"note": "all of it"})).status == 201
    assert (await site.ask(ADMIN, "POST", path, {"note": "again"})).status == 409
    assert (await site.ask(ADMIN, "POST", f"api/entries/{world.grant_id}/refund",
                           {"note": "x"})).status == 400  # fmt: skip


async def test_a_manager_moves_credit_between_wallets_that_they_manage(world):
    site, path = world.site, f"api/wallets/{world.lab}/transfer"
    body = {"to": "other", "amount": "5", "note": "x"}
    assert (await site.ask(MIA, "POST", path, body)).status == 201
    assert balance(site, world.other) == 5 * CREDIT
    # the same words for one that is not theirs and for none at all
    for name in ("empty", "nowhere"):
        answer = await site.ask(MIA, "POST", path, {**body, "to": name})
        assert answer.status == 403
        assert answer.json["error"]["message"] == "There is no wallet of that name that you manage."
    assert (await site.ask(ADA, "POST", path, body)).status == 403
    much = await site.ask(MIA, "POST", path, {**body, "amount": "5000"})
    assert much.status == 409


async def test_closed_wallets_take_no_transfer(world):
    site = world.site
    answer = await site.ask(ADMIN, "PATCH", f"api/wallets/{world.other}", {"closed": True})
    assert answer.status == 200
    body = {"to": "other", "amount": "5", "note": "x"}
    answer = await site.ask(ADMIN, "POST", f"api/wallets/{world.lab}/transfer", body)
    assert answer.status == 409
    shown = await site.ask(ADMIN, "GET", f"api/wallets/{world.other}")
    assert shown.json["wallet"]["closed"] is True


# -- members ------------------------------------------------------------------------------------


async def test_a_manager_adds_spenders_and_appoints_nobody(world):
    site, base = world.site, f"api/wallets/{world.lab}/members"
    site.hub.add("new")
    assert (await site.ask(MIA, "PUT", f"{base}/new", {"role": "spender"})).status == 200
    assert (await site.ask(MIA, "PUT", f"{base}/new", {"role": "manager"})).status == 403
    assert (await site.ask(MIA, "PUT", f"{base}/mia", {"role": "spender"})).status == 403
    assert (await site.ask(MIA, "DELETE", f"{base}/mia")).status == 403
    assert (await site.ask(MIA, "DELETE", f"{base}/new")).status == 200
    assert (await site.ask(MIA, "DELETE", f"{base}/new")).status == 404
    assert (await site.ask(MANAGE, "PUT", f"{base}/new", {"role": "manager"})).status == 200


async def test_a_spender_sees_their_own_in_a_wallet(world):
    site = world.site
    world.start("mia", "hers")
    mine = await site.ask(ADA, "GET", f"api/wallets/{world.lab}")
    assert {s["person"] for s in mine.json["running"]} == {"ada"}
    assert mine.json["members"] == [] and mine.json["limits"] == []
    assert mine.json["wallet"]["role"] == "spender"
    entries = (await site.ask(ADA, "GET", f"api/wallets/{world.lab}/entries")).json["entries"]
    assert {e["kind"] for e in entries} == {"charge"}
    hers = await site.ask(MIA, "GET", f"api/wallets/{world.lab}")
    assert {s["person"] for s in hers.json["running"]} == {"ada", "mia"}
    assert {m["person"] for m in hers.json["members"]} == {"ada", "mia"}
    entries = (await site.ask(MIA, "GET", f"api/wallets/{world.lab}/entries")).json["entries"]
    assert {e["kind"] for e in entries} == {"charge", "grant"}


async def test_a_group_gives_spending_only(world):
    site = world.site
    site.act(wallets.set_group, world.lab, "vision")
    site.hub.add("gus", groups=("vision",))
    gus = site.login(Role("gus-token", "gus", groups=("vision",)))
    assert (await site.ask(gus, "GET", f"api/wallets/{world.lab}")).json["wallet"]["role"] == (
        "spender"
    )
    assert (await site.ask(gus, "PUT", f"api/wallets/{world.lab}/members/x",
                           {"role": "spender"})).status == 403  # fmt: skip
    # whoever leaves the group sees nothing more
    site.hub.add("gus", groups=())
    site.service.identities._held.clear()
    assert (await site.ask(gus, "GET", f"api/wallets/{world.lab}")).status == 403


@BOTH
async def test_a_recreated_user_has_nothing_of_the_old_one(world):
    site = world.site
    assert (await site.ask(ADA, "GET", "api/me")).json["running"]
    site.hub.add("ada", created_at=CREATED + timedelta(days=30))
    # at once, while what the Hub said of the old one's token may still be kept
    new = site.login(Role("new-ada-token", "ada"))
    me = (await site.ask(new, "GET", "api/me")).json
    assert me["running"] == me["recent"] == []
    assert (await site.ask(new, "GET", f"api/sessions/{world.running}")).status == 403
    assert (await site.ask(new, "GET", f"api/wallets/{world.lab}/entries")).status == 403


async def test_names_are_compared_whole(world):
    """A prefix of a name, other case, or a pattern is another person."""
    site = world.site
    for name in ("ad", "ADA", "a%", "ada ", "ada2", "_da"):
        role = site.login(Role(f"{name}-token".replace(" ", "_"), name))
        site.hub.add(name)
        assert (await site.ask(role, "GET", f"api/sessions/{world.running}")).status == 403, name
        answer = await site.ask(ADMIN, "GET", f"api/sessions?person={quote(name)}")
        assert answer.json["sessions"] == [], name
    assert len((await site.ask(ADMIN, "GET", "api/sessions?person=ada")).json["sessions"]) == 2


async def test_a_service_has_no_usage_of_its_own(world):
    service = world.site.login(Role("svc", scopes=(SCOPE + "read",), kind="service"))
    assert (await world.site.ask(service, "GET", "api/me")).status == 403
    assert (await world.site.ask(service, "GET", "api/sessions")).status == 200


async def test_a_user_that_the_hub_forgot(world):
    role = world.site.login(Role("ghost-token", "ghost"))
    del world.site.hub.users["ghost"]
    answer = await world.site.ask(role, "GET", "api/me")
    assert answer.status == 403


# -- lists --------------------------------------------------------------------------------------


@BOTH
async def test_lists_go_on_with_cursors(world):
    site = world.site
    for number in range(5):
        world.grant(world.other, number + 1)
    for path, field, key in (
        (f"api/wallets/{world.other}/entries?limit=2", "entries", "id"),
        ("api/wallets?limit=1", "wallets", "name"),
        ("api/sessions?limit=1", "sessions", "id"),
        ("api/people?limit=1", "people", "id"),
        ("api/audit?limit=3", "audit", "id"),
        ("api/decisions?limit=1&decision=admitted", "decisions", "session_id"),
    ):
        whole = (await site.ask(ADMIN, "GET", re.sub(r"limit=\d", "limit=200", path))).json
        seen, cursor = [], ""
        while True:
            page = (await site.ask(ADMIN, "GET", path + cursor)).json
            seen += [row[key] for row in page[field]]
            if page["next"] is None:
                break
            cursor = "&cursor=" + page["next"]
        assert seen == [row[key] for row in whole[field]], path
        assert len(seen) == len(set(seen)) > 1, path


async def test_cursors_that_are_not_ours(world):
    for cursor in ("zzz", "WzFd", "W10", "eyJhIjoxfQ"):
        answer = await world.site.ask(ADMIN, "GET", f"api/sessions?cursor={cursor}")
        assert answer.status == 400, cursor


@BOTH
async def test_search_of_wallets_takes_signs_as_they_are(world):
    site = world.site
    site.act(wallets.create, "100% of it")
    names = [w["name"] for w in
             (await site.ask(ADMIN, "GET", "api/wallets?search=%25")).json["wallets"]]  # fmt: skip
    assert names == ["100% of it"]


# -- rules, limits, rates, quotes ----------------------------------------------------------------


async def test_rules_keep_their_order(world):
    site = world.site
    body = {"rules": [{"target": "wallet", "wallet": "lab", "group": "g"}, {"target": "personal"}]}
    assert (await site.ask(ADMIN, "PUT", "api/rules", body)).status == 200
    first = {"target": "wallet", "wallet": "other", "person": "zoe", "position": 1}
    assert (await site.ask(ADMIN, "POST", "api/rules", first)).status == 201
    rules = (await site.ask(ADMIN, "GET", "api/rules")).json["rules"]
    assert [r["wallet"] for r in rules] == ["other", "lab", None]
    bad = {"rules": [{"target": "wallet"}]}
    assert (await site.ask(ADMIN, "PUT", "api/rules", bad)).status == 400
    bad = {"rules": [{"target": "wallet", "wallet": "nowhere"}]}
    assert (await site.ask(ADMIN, "PUT", "api/rules", bad)).status == 404
    assert (await site.ask(ADMIN, "GET", "api/rules")).json["rules"] == rules


async def test_limits_in_human_units(world):
    site = world.site
    limit = {"subject": "profile", "profile": "gpu", "resource": "session_hours", "amount": "1.5"}
    assert (await site.ask(ADMIN, "POST", "api/limits", limit)).status == 201
    shown = (await site.ask(ADMIN, "GET", "api/limits")).json["limits"][0]
    assert (shown["amount"], shown["shown"]) == (5400, "1.5 hours per session")
    for amount in ("-1", "x", "0.0000001", "1e99"):
        answer = await site.ask(ADMIN, "POST", "api/limits", {**limit, "amount": amount})
        assert answer.status == 400, amount


async def test_the_past_of_a_price_is_not_rewritten(world):
    body = {"resource": "gpu", "price": "1", "starts_at": "2020-01-01T00:00:00Z"}
    assert (await world.site.ask(ADMIN, "POST", "api/rates", body)).status == 409
    naive = {**body, "starts_at": "2030-01-01T00:00:00"}
    assert (await world.site.ask(ADMIN, "POST", "api/rates", naive)).status == 400


async def test_a_quote_says_what_admission_would(world):
    site = world.site
    shape = {"gpus": [{"model": "A100", "count": 2}]}
    mine = (await site.ask(ADA, "POST", "api/quote", {"shape": shape})).json
    assert mine["decision"] == "admitted" and mine["wallet"] == "lab"
    assert mine["per_hour_micro"] == 8 * CREDIT
    poor = (await site.ask(EVE, "POST", "api/quote", {"shape": shape})).json
    assert poor["decision"] == "refused" and poor["reason"] == "wallet"
    other = {"shape": shape, "person": "eve"}
    assert (await site.ask(ADA, "POST", "api/quote", other)).status == 403
    assert (await site.ask(ADMIN, "POST", "api/quote", other)).json["decision"] == "refused"
    silly = {"shape": {"gpus": [{"count": 10**9}]}}
    assert (await site.ask(ADA, "POST", "api/quote", silly)).status == 400


# -- browsers -----------------------------------------------------------------------------------


async def test_a_browsers_write_needs_the_pages_token(world):
    site, path = world.site, f"api/wallets/{world.other}/grant"
    body = {"amount": "1", "note": "x"}
    forged = await site.ask(BROWSER, "POST", path, body, headers={"X-XSRFToken": "wrong"})
    assert (forged.status, forged.code) == (403, "stale_page")
    assert balance(site, world.other) == 0
    assert (await site.ask(BROWSER, "POST", path, body)).status == 201
    fetched = await site.ask(BROWSER, "GET", "api/me", headers={"Sec-Fetch-Mode": "cors"})
    assert fetched.status == 403, "a fetch without the page's token is not answered"


async def test_entries_name_who_made_them(world):
    site = world.site
    site.hub.add("operator")
    await site.ask(ADMIN, "POST", f"api/wallets/{world.other}/grant",
                   {"amount": "1", "note": "why"})  # fmt: skip
    entries = (await site.ask(ADMIN, "GET", f"api/wallets/{world.other}/entries")).json["entries"]
    assert (entries[0]["actor"], entries[0]["note"]) == ("operator", "why")


# -- the database is away -------------------------------------------------------------------------


async def test_before_the_database_is_there(make_site):
    site = await make_site(connect=False)
    for role in (ADMIN, BROWSER):
        site.login(role)
    answer = await site.ask(ADMIN, "GET", "api/me")
    assert (answer.status, answer.code) == (503, "not_ready")
    assert answer.headers["Retry-After"] == "5"
    page = await site.ask(BROWSER, "GET", "")
    assert page.status == 503
    assert "what they use is still recorded" in page.text
    health = await site.ask(None, "GET", "health")
    assert health.status == 200 and health.json["database"] is False
    status = await site.ask(ADMIN, "GET", "api/status")
    assert status.json["database"]["reachable"] is False
    assert (await site.ask(BROWSER, "GET", "admin/configuration")).status == 200


async def test_the_database_goes_and_comes_back(make_site, postgres, pg_url):
    site = await make_site(database_url=pg_url, lock_timeout_s=0.5, statement_timeout_s=1.0)
    site.login(ADMIN)
    assert (await site.ask(ADMIN, "GET", "api/wallets")).status == 200
    postgres.stop()
    answer = await site.ask(ADMIN, "GET", "api/wallets")
    assert (answer.status, answer.code) == (503, "database_unavailable")
    assert (await site.ask(None, "GET", "health")).status == 200
    postgres.start()
    assert (await site.ask(ADMIN, "GET", "api/wallets")).status == 200


async def test_the_hub_is_away(world):
    world.site.hub.away = True
    world.site.service.identities._held.clear()
    answer = await world.site.ask(ADMIN, "GET", "api/me")
    assert (answer.status, answer.code) == (503, "hub_unavailable")


def test_people_are_found_by_account_not_by_name(db_url):
    """`owns` rests on this: one name, two accounts."""
    from jhub_usage.actions import hubs
    from jhub_usage.config import Settings
    from jhub_usage.context import Context
    from jhub_usage.domain.audit import SYSTEM
    from jhub_usage.store import people

    ctx = Context.from_settings(Settings(database_url=db_url))
    try:
        ctx.db.upgrade()
        ctx.act(hubs.install, "hub", actor=SYSTEM)
        old, new = person("ada"), PersonKey("ada", None, CREATED + timedelta(days=1))
        first = ctx.act(lambda tx, *, actor: people.resolve(tx, "hub", [old], tx.now())[old].id,
                        actor=SYSTEM)  # fmt: skip
        assert ctx.look(ownership.person_id, "hub", old) == first
        assert ctx.look(ownership.person_id, "hub", new) is None
        second = ctx.act(lambda tx, *, actor: people.resolve(tx, "hub", [new], tx.now())[new].id,
                         actor=SYSTEM)  # fmt: skip
        assert second != first
        current = sa.select(sa.func.count()).where(t.people.c.name == "ada", t.people.c.current)
        assert ctx.look(lambda tx: tx.scalar(current)) == 1
    finally:
        ctx.close()
