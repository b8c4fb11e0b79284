"""The shell lists and closes months, prints statements, and corrects boundaries."""

import csv
import io
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from jhub_usage.actions import (
    admissions,
    hubs,
    metered,
    modes,
    rules,
    sessions,
    statements,
    sync,
    views,
    wallets,
)
from jhub_usage.domain.admission import Ask, PersonKey, Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.periods import MONTH, UTC_CALENDAR, label_of_day
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting
from jhub_usage.domain.statements import canonical
from jhub_usage.store.catalog import CatalogCache
from jhub_usage.store.engine import Database

POLICY = Policy()
#: The shell has the clock of this machine: what is closed is the month before this one.
THIS = UTC_CALENDAR.label(MONTH, datetime.now(UTC))
BEGUN = UTC_CALENDAR.begins(MONTH, THIS)
LAST = label_of_day(MONTH, UTC_CALENDAR.day(BEGUN - timedelta(days=1)))
T0 = BEGUN - timedelta(days=2)


@pytest.fixture
def office(shell):
    """A lab with a grant and a server of ada's, all of it in the month before this one."""
    now = [T0]
    db = Database(shell.url, clock=lambda: now[0])

    def act(action, *args, **more):
        with db.write() as tx:
            return action(tx, *args, actor=SYSTEM, **more)

    act(hubs.install, "hub")
    act(modes.set_mode, "enforce")
    lab = act(wallets.create, "lab", title="The lab")
    act(wallets.grant, lab, 100_000_000, policy=POLICY, note="=2+2")
    act(rules.replace, [Rule(0, "wallet", lab)])
    shape = Shape(4000, 2**34, (Gpus("nvidia.com/gpu", "A100", 2),))
    ask = Ask(str(uuid.uuid4()), "hub", PersonKey("ada"), "", "gpu", shape)
    act(admissions.admit, ask, policy=POLICY, cache=CatalogCache())
    for kind in ("started", "ready", "ended"):
        told = Sighting(
            ask.session_id, kind, now[0], "last_seen", "lost" if kind == "ended" else ""
        )
        act(sessions.record, told, policy=POLICY)
        if kind == "ready":
            now[0] += timedelta(hours=3)
    shell.session, shell.act, shell.db = ask.session_id, act, db
    yield shell
    db.dispose()


def audited(shell, action):
    with shell.db.read() as tx:
        return [r["actor_kind"] for r in views.audit_rows(tx) if r["action"] == action]


def test_from_the_list_to_the_closed_month(office):
    shown = office.json("month", "list")["months"]
    assert [(m["label"], m["state"]) for m in shown] == [(THIS, "open"), (LAST, "closable")]
    assert "closable" in office.ok("month", "list")
    said = office.ok("month", "close", LAST)
    assert said.startswith(f"{LAST} is closed since") and said.endswith("with 2 entries.\n")
    before = office.rows()
    assert office.ok("month", "close", LAST) == said
    assert office.rows() == before
    assert audited(office, "month.closed") == ["cli"]
    assert [m["state"] for m in office.json("month", "list")["months"]] == ["open", "closed"]


def test_what_can_not_be_closed(office):
    office("month", "close", THIS)
    assert office.status == 5 and f"Months close in their order: {LAST}" in office.err
    office("month", "close", "2026-13")
    assert (office.status, office.err) == (2, "'2026-13' is not a month like 2026-11.\n")
    office.act(sync.note_look, "hub", T0, seen=(), missed=())
    office("month", "close", LAST)
    assert office.status == 5 and "hub (last" in office.err
    assert f"{LAST}: These hubs were not compared" in office.ok("month", "list")
    office("month", "close", LAST, "--without-hub", "nowhere")
    assert office.status == 4
    done = office.json("month", "close", LAST, "--without-hub", "hub")
    assert done["without_hubs"] == ["hub"]


def test_a_statement_for_people_programs_and_spreadsheets(office):
    office.ok("month", "close", LAST)
    text = office.ok("statement", "lab", LAST)
    for words in ("by the month that entries are booked in", "balance before  $0.00", "$76.00",
                  "GPU hours", "6", "ada"):  # fmt: skip
        assert words in text, words
    with office.db.read() as tx:
        made = statements.statement(tx, 1, LAST, policy=POLICY)
    assert office.ok("statement", "lab", LAST, "--json").encode() == canonical(made)
    office.ok("wallet", "change", "lab", "--title", "Another")
    assert office.ok("statement", "lab", LAST, "--json").encode() == canonical(made)
    rows = list(csv.DictReader(io.StringIO(office.ok("statement", "lab", LAST, "--csv"))))
    assert [(r["kind"], r["amount"], r["gpu_hours"]) for r in rows] == [
        ("grant", "100", ""), ("charge", "-24", "6"),
    ]  # fmt: skip
    assert rows[0]["note"] == "'=2+2"
    assert json.loads(office.ok("statement", "lab", THIS, "--json"))["state"] == "open"


def test_what_was_metered_stands_on_the_statement(office):
    """A charge that no server made is in no other table of it."""
    office.act(metered.meter, 1, "tokens", 500_000, "0.000004", key="t", policy=POLICY)
    text = office.ok("statement", "lab", LAST)
    (line,) = (x for x in text.splitlines() if " charge " in x)
    assert "-$2.00" in line and "tokens" in line, text


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("nowhere", LAST), 4), (("lab", "1999-01"), 4), (("lab", "9999-01"), 2),
        (("lab", "x"), 2), (("lab", LAST, "--csv", "--json"), 2),
    ],
)  # fmt: skip
def test_statements_that_there_are_not(office, words, status):
    office("statement", *words)
    assert office.status == status and office.err


def correct(office, *words):
    return office("session", "correct", office.session, *words)


def test_looking_then_correcting(office):
    ended = (T0 + timedelta(hours=1)).isoformat()
    before = office.rows()
    text = correct(office, "--ended-at", ended, "--dry-run")
    assert "back to the wallet  $16.00" in text and "Nothing was changed" in text
    assert office.rows() == before
    correct(office, "--ended-at", ended)
    assert office.status == 2 and "--note" in office.err
    correct(office, "--note", "x")
    assert office.status == 2 and "Say when it started" in office.err
    correct(office, "--ended-at", ended[:19], "--note", "x")
    assert office.status == 2 and "no time zone" in office.err
    assert office.rows() == before
    office.ok("month", "close", LAST)
    done = json.loads(correct(office, "--ended-at", ended, "--note", "the log", "--json"))
    assert (done["amount"], done["month"], done["changes"]) == ("16", THIS, True)
    assert done["after"]["billed_until_at"] == ended.replace("+00:00", "Z")
    assert "nothing was changed" in correct(office, "--ended-at", ended, "--note", "again")
    assert audited(office, "session.corrected") == ["cli"]
    shown = office.ok("session", "show", office.session)
    assert "(operator)" in shown and "the log" in shown
    assert office.ok("check")
