"""Trying rules on a month by the API."""

import pytest

from jhub_usage.scopes import ACCESS

from .fakes import Role
from .world import World

SCOPE = "custom:jhub-usage:"
READ = Role("read-token", "auditor", (ACCESS, SCOPE + "read"))
ADA = Role("ada-token", "ada")


@pytest.fixture
async def world(site):
    for role in (READ, ADA):
        site.login(role)
    return World(site)


def this_month(site) -> str:
    return f"{site.look(lambda tx: tx.now()):%Y-%m}"


async def test_a_month_as_it_was_and_under_other_rules(world):
    site, label = world.site, this_month(world.site)
    answer = await site.ask(READ, "POST", "api/trials/month", {"month": label})
    assert answer.status == 200 and answer.json["same"], answer.json
    lab = next(w for w in answer.json["wallets"] if w["wallet"] == "lab")
    assert lab["charged_micro"] == lab["tried_micro"] > 0
    body = {
        "month": label,
        "rates": [{"resource": "gpu", "price": "400"}],
        "limits": [{"resource": "gpus", "amount": "0", "person": "ada"}],
        "rules": [{"target": "wallet", "wallet": "other"}],
    }
    tried = (await site.ask(READ, "POST", "api/trials/month", body)).json
    lab = next(w for w in tried["wallets"] if w["wallet"] == "lab")
    assert lab["tried_micro"] > 50 * lab["charged_micro"] and not tried["same"]
    assert {r["session_id"] for r in tried["refused"]} == {world.ended, world.running}
    assert {(m["session_id"], m["tried"]) for m in tried["moved"]} == {
        (world.ended, "other"), (world.running, "other"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"month": "2026-13"}, "bad_input"),
        ({"month": "9999-12"}, "bad_input"),
        ({"month": "0001-01", "rates": [{"resource": "gpu", "price": "1"}]}, "bad_input"),
        ({"month": "2026-10", "limits": [{"resource": "gpus", "amount": "-1"}]}, "bad_input"),
        ({"month": "2026-10", "rules": [{"target": "wallet", "wallet": "none"}]}, "not_found"),
        ({"month": "2026-10", "rates": [{"resource": "cpu", "model": "x"}]}, "bad_input"),
    ],
)
async def test_what_can_not_be_tried(world, body, code):
    answer = await world.site.ask(READ, "POST", "api/trials/month", body)
    assert answer.code == code


async def test_a_person_sees_nothing_of_it(world):
    answer = await world.site.ask(ADA, "POST", "api/trials/month", {"month": "2026-10"})
    assert answer.status == 403


async def test_a_quote_as_a_member_of_a_group(world):
    shape = {"cpu_milli": 1000, "memory_bytes": 0, "gpus": []}
    body = {"shape": shape, "person": "eve", "groups": ["vision"]}
    assert (await world.site.ask(READ, "POST", "api/quote", body)).status == 200
    answer = await world.site.ask(ADA, "POST", "api/quote", body | {"person": "ada"})
    assert answer.status == 403
