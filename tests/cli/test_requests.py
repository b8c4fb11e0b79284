"""The shell lists, grants and declines what people asked for."""

import json

import pytest

from jhub_usage.actions import requests, views
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.store.engine import Database


@pytest.fixture
def office(shell):
    """Two wallets, and ada, who may spend from the lab and asks for it three times."""
    for wallet, credits in (("lab", "1"), ("reserve", "30")):
        shell.ok("wallet", "create", wallet)
        shell.ok("wallet", "grant", wallet, credits)
    shell.ok("wallet", "member", "lab", "ada", "--expected")

    db = Database(shell.url)
    with db.read() as tx:
        (row,) = views.members(tx, 1)["people"]
        assert row["name"] == "ada"
    with db.write() as tx:
        shell.asked = [
            requests.ask(tx, 1, row["id"], 10**7, note="four\nGPUs", actor=SYSTEM) for _ in range(3)
        ]
    db.dispose()
    return shell


def audited(shell) -> list[str]:
    db = Database(shell.url)
    with db.read() as tx:
        rows = views.audit_rows(tx, subject_kind="request")
    db.dispose()
    return [f"{r['actor_kind']} {r['action']}" for r in rows if r["actor_kind"] == "cli"][::-1]


def test_from_the_list_to_the_entry(office):
    first, second, third = office.asked
    rows = office.json("request", "list", "--state", "open")["requests"]
    assert [r["id"] for r in rows] == [third, second, first]
    assert (rows[0]["person"], rows[0]["wallet"], rows[0]["amount"]) == ("ada", "lab", "10")
    assert rows[0]["note"] == "four\nGPUs" and "person_id" not in rows[0]
    assert "four\\nGPUs" in office.ok("request", "list")

    said = office.ok("request", "grant", str(first), "4.5", "--note", "for now")
    assert said == "Granted $4.50 to lab: entry 3.\n"
    before = office.rows()
    assert office.ok("request", "grant", str(first), "4.5", "--note", "for now") == said
    assert office.rows() == before
    done = office.json("request", "grant", str(second), "--from", "reserve")
    assert (done["state"], done["granted"], done["granted_micro"]) == ("granted", "10", 10**7)
    office.ok("request", "decline", str(third), "--note", "not this year")
    assert office.json("request", "list", "--state", "open") == {"requests": []}
    balances = {w["name"]: w["balance"] for w in office.json("wallet", "list")["wallets"]}
    assert balances == {"lab": "15.5", "reserve": "20"}
    assert audited(office) == ["cli request.granted"] * 2 + ["cli request.declined"]
    shown = office.ok("request", "list", "--wallet", "lab", "--person", "ada", "--limit", "1")
    assert "declined" in shown and "not this year" in shown and len(shown.splitlines()) == 2
    assert "all hold" in office.ok("check")


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["grant", "x"], 2, "whole number"),
        (["grant", "99"], 4, "no request 99"),
        (["grant", "9" * 30], 4, "no request"),
        (["grant", "1", "0"], 2, "more than nothing"),
        (["grant", "1", "-1"], 2, ""),
        (["grant", "1", "10.000001"], 2, "Only 10 was asked for"),
        (["grant", "1", "--from", "nowhere"], 4, "nowhere"),
        (["grant", "1", "--from", "lab"], 2, "choose another"),
        (["decline", "1"], 2, "why it is declined"),
        (["decline", "99", "--note", "x"], 4, "no request 99"),
        (["list", "--state", "waiting"], 2, "open, granted"),
        (["list", "--person", "nobody"], 4, "nobody"),
        (["list", "--wallet", "nowhere"], 4, "nowhere"),
        (["list", "--limit", "-1"], 2, "negative"),
    ],
)
def test_what_can_not_be_changes_nothing(office, words, status, text):
    before = office.rows()
    office("request", *words)
    assert office.status == status and text in office.err and "Traceback" not in office.err
    assert office.rows() == before


def test_a_decided_request_is_a_conflict(office):
    office.ok("request", "decline", "1", "--note", "x")
    for words in (["grant", "1"], ["decline", "1", "--note", "y"]):
        office("request", *words)
        assert office.status == 5 and "is declined" in office.err


def test_a_list_of_nothing(shell):
    assert shell.ok("request", "list") == "There are no such requests.\n"
    assert json.loads(shell.ok("request", "list", "--json")) == {"requests": []}
