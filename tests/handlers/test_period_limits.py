"""Limits per period at the doors: a manager sets shares, everybody sees what binds them."""

from datetime import UTC, datetime

import pytest

from jhub_usage.actions import limits, stops
from jhub_usage.domain.limits import Limit
from jhub_usage.scopes import ACCESS

from .fakes import Role
from .world import World

SCOPE = "custom:jhub-usage:"
ADMIN = Role("admin-token", "operator", (ACCESS, SCOPE + "admin"))
ADA, MIA, EVE = (Role(f"{n}-token", n) for n in ("ada", "mia", "eve"))
BROWSERS = {n: Role(f"{n}-browser", n, browser=True) for n in ("ada", "mia", "eve")}
HOUR = 3_600_000


@pytest.fixture
async def world(make_site):
    # about noon where midnights are counted, so that no period ends meanwhile
    ahead = 12 - datetime.now(UTC).hour
    site = await make_site(timezone=f"Etc/GMT{-ahead:+d}" if ahead else "UTC")
    for role in (ADMIN, ADA, MIA, EVE, *BROWSERS.values()):
        site.login(role)
    return World(site)


def share(amount="20", **more):
    return {"resource": "gpu_hours", "amount": amount, "period": "day", "person": "ada"} | more


async def test_a_manager_sets_a_share_and_both_see_what_is_used(world):
    site, path = world.site, f"api/wallets/{world.lab}"
    made = await site.ask(MIA, "POST", f"{path}/limits", share())
    assert made.status == 201
    assert (await site.ask(MIA, "POST", f"{path}/limits", share("2"))).json == made.json
    for role in (ADA, EVE):
        assert (await site.ask(role, "POST", f"{path}/limits", share())).status == 403
    (mine,) = (await site.ask(ADA, "GET", "api/limits/use")).json["uses"]
    assert mine["limit"] | {"id": 0} == {
        "id": 0, "subject": "wallet_person", "resource": "gpu_hours", "amount": 2 * HOUR,
        "period": "day", "shown": "2 GPU-hours", "cap": "2 GPU-hours per day",
        "whom": "ada within the wallet lab", "person": "ada", "group": "", "wallet": "lab",
        "wallet_id": world.lab, "profile": "", "each": False, "by_manager": True,
    }  # fmt: skip
    assert 0 < mine["used"] <= HOUR + 60_000 and 0 < mine["set_aside"] <= 900_000
    assert " of 2 GPU-hours on " in mine["text"]
    (seen,) = (await site.ask(MIA, "GET", path)).json["limit_uses"]
    assert seen["limit"] == mine["limit"] and 0 <= seen["used"] - mine["used"] < 60_000
    assert (await site.ask(ADA, "GET", path)).json["limit_uses"][0]["limit"] == mine["limit"]
    for role in (MIA, EVE):
        assert (await site.ask(role, "GET", "api/limits/use")).json["uses"] == []


async def test_a_manager_tightens_what_an_administrator_set_and_never_widens_it(world):
    site, path = world.site, f"api/wallets/{world.lab}/limits"
    first = (await site.ask(ADMIN, "POST", path, share("10"))).json["id"]
    second = (await site.ask(MIA, "POST", path, share("1000"))).json["id"]
    held = (await site.ask(ADMIN, "GET", f"api/wallets/{world.lab}")).json["limits"]
    assert [(x["id"], x["amount"], x["by_manager"]) for x in held] == [
        (first, 10 * HOUR, False), (second, 1000 * HOUR, True),
    ]  # fmt: skip
    refused = await site.ask(MIA, "DELETE", f"{path}/{first}")
    assert (refused.status, refused.code) == (403, "not_allowed")
    assert "An administrator set this limit" in refused.json["error"]["message"]
    page = (await site.ask(BROWSERS["mia"], "GET", f"wallets/{world.lab}")).text
    assert "set by an administrator" in page and f"limits/{first}" not in page
    assert f"limits/{second}" in page
    assert (await site.ask(MIA, "DELETE", f"{path}/{second}")).status == 200
    await site.ask(MIA, "POST", path, share("1"))
    for x in (await site.ask(ADMIN, "GET", f"api/wallets/{world.lab}")).json["limits"]:
        assert (await site.ask(ADMIN, "DELETE", f"{path}/{x['id']}")).status == 200


async def test_shares_for_each_are_told_by_person_to_the_manager_only(world):
    site, path = world.site, f"api/wallets/{world.lab}"
    await site.ask(MIA, "POST", f"{path}/limits", share(person="*"))
    world.start("mia", "b")
    seen = (await site.ask(MIA, "GET", path)).json["limit_uses"]
    assert [u["person"] for u in seen] == ["ada", "mia"]
    (mine,) = (await site.ask(ADA, "GET", path)).json["limit_uses"]
    assert mine["person"] is None and 0 <= mine["used"] - seen[0]["used"] < 60_000


async def test_pages_show_them(world):
    site = world.site
    for limit in (
        Limit("wallet_person", "gpu_hours", 2 * HOUR, person="*", wallet_id=world.lab,
              period="day"),
        Limit("wallet", "credits", 50_000_000, wallet_id=world.lab, period="week"),
        Limit("wallet", "gpus", 4000, wallet_id=world.lab),
    ):  # fmt: skip
        site.act(limits.add, limit)
    home = (await site.ask(BROWSERS["ada"], "GET", "")).text
    assert "Your limits" in home and "each person within the wallet lab" in home
    assert "of 2 GPU-hours on " in home and "of 50 credits in the week from " in home
    assert "begins anew in" in home and "<progress" in home
    assert "Your limits" not in (await site.ask(BROWSERS["eve"], "GET", "")).text
    of_ada = (await site.ask(BROWSERS["ada"], "GET", f"wallets/{world.lab}")).text
    assert "Limits within this wallet" in of_ada and "of 2 GPU-hours" in of_ada
    of_mia = (await site.ask(BROWSERS["mia"], "GET", f"wallets/{world.lab}")).text
    assert "each person within the wallet lab: 2 GPU-hours per day" in of_mia
    assert "the wallet lab: 4 GPUs at once" in of_mia and "<span>ada</span>" in of_mia
    admin = (await site.ask(ADMIN, "GET", "admin/limits")).text
    assert "50 credits per week" in admin and "of 50 credits in the week from" in admin


async def test_a_refusal_and_an_end_name_the_limit(world):
    site = world.site
    await site.ask(MIA, "POST", f"api/wallets/{world.lab}/limits", share("0.1"))
    refused = world.start("ada", "b", expect="refused")
    told = (await site.ask(ADA, "GET", f"api/sessions/{refused}")).json["decision"]
    assert told["reason"] == "limit"
    assert told["text"].startswith(
        "The limit for ada within the wallet lab is 0.1 GPU-hours per day; "
    )
    site.act(limits.remove, 1)
    running = world.start("ada", "c", ago_s=3000)
    site.act(limits.add, Limit("person", "gpu_hours", 0, person="ada", period="day"))
    site.act(stops.plan, "hub", policy=site.policy)
    (session,) = [
        s for s in (await site.ask(ADA, "GET", "api/me")).json["running"] if s["id"] == running
    ]
    assert session["ends_reason"] == "period_limit" and session["warned_at"] is not None
    assert session["ends_limit"] == "0 GPU-hours per day for ada"
    page = (await site.ask(BROWSERS["ada"], "GET", "")).text
    assert "limit used up" in page and "0 GPU-hours per day for ada" in page


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (share(period="year"), "must be one of day, week, month"),
        ({k: v for k, v in share().items() if k != "period"}, "needs a period: day, week, month"),
        (share(resource="gpus"), "gpus has no period"),
        (share("0.0000001"), "finer than"),
        (share("-1"), "negative"),
        (share("1.23456789", resource="credits"), "finer than credits are counted"),
    ],
)
async def test_what_can_not_be(world, body, says):
    answer = await world.site.ask(MIA, "POST", f"api/wallets/{world.lab}/limits", body)
    assert answer.status == 400 and says in answer.json["error"]["message"]


async def test_everybodys_hours_are_not_limited_per_period(world):
    body = {"subject": "everyone", "resource": "gpu_hours", "amount": "1", "period": "day"}
    answer = await world.site.ask(ADMIN, "POST", "api/limits", body)
    assert answer.status == 400 and "is limited for a person" in answer.json["error"]["message"]
