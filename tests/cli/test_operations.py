"""Refunds by filter, maintenance and passes by the shell."""

import pytest
import sqlalchemy as sa

from jhub_usage.actions import sessions
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store import tables as t
from tests.actions.story import POLICY, healthy, session_id

NODE = "gpu-07"


@pytest.fixture
def told(shell):
    """The story, and then session 20 on a node."""
    story = healthy(shell.url)
    story.admit(20, "bob")
    story.later(seconds=10)
    began = Sighting(session_id(20), "started", story.now, "container_started", "", {"node": NODE})
    story.act(sessions.record, began, policy=POLICY)
    story.later(hours=1)
    story.see(20, "ended", "post_stop_hook", "stopped")
    with story.db.read() as tx:
        here = t.sessions_.c.id == session_id(20)
        shell.ran = tx.execute(sa.select(t.sessions_).where(here)).one()
    assert shell.ran.charged_micro > 4_000_000
    story.db.dispose()
    return shell


def test_a_refund_is_looked_at_then_made(told):
    shell = told
    rows = shell.rows()
    shown = shell.ok("refund", "preview", "--node", NODE)
    assert session_id(20) in shown and "1 session, $" in shown and "--expect 1" in shown
    seen = shell.json("refund", "preview", "--node", NODE)
    assert seen["count"] == 1 and seen["lines"][0]["amount_micro"] == seen["total_micro"]
    assert shell.rows() == rows  # looking writes nothing
    make = ("refund", "make", "--node", NODE, "--note", "broken")
    for more, text in (
        ((), "refund preview"),
        (("--expect", "1"), "both as the preview says"),
        (("--expect", "1", "--expect-amount", "0.5"), "changed since the preview"),
        (("--yes", "--note", " "), "needs --note"),
        (("--yes", "--percent", "0"), "from 1 to 100"),
    ):
        shell(*make, *more)
        assert shell.status in (2, 5) and text in shell.err, more
        assert shell.rows() == rows
    done = shell.json(*make, "--expect", "1", "--expect-amount", seen["total"], "--key", "outage-7")
    assert (done["count"], done["total_micro"]) == (1, seen["total_micro"])
    rows = shell.rows()
    again = shell.json(*make, "--yes", "--key", "outage-7")
    assert again == done and shell.rows() == rows
    shell(*make, "--yes", "--percent", "50", "--key", "outage-7")
    assert shell.status == 5 and "something else" in shell.err
    assert "broken" in shell.ok("session", "show", session_id(20))
    assert "nothing to give back" in shell.ok("refund", "preview", "--node", NODE)
    assert "all hold" in shell.ok("check")


def test_a_window_of_it(told):
    shell = told
    begin = shell.ran.billed_from_at.isoformat()
    end = shell.ran.billed_until_at.isoformat()
    whole = shell.json("refund", "preview", "--from", begin, "--until", end, "--node", NODE)
    assert whole["total_micro"] == shell.ran.charged_micro
    for words, text in (
        (("--from", begin), "both, or none"),
        (("--from", "noon", "--until", end), "not an ISO time"),
        ((), "Say what is to be given back"),
        (("--person", "nobody"), "nobody called"),
        (("--wallet", "nope"), "There is no wallet"),
    ):
        shell("refund", "preview", *words)
        assert shell.status in (2, 4) and text in shell.err, words


def test_a_session_is_waived(told):
    shell = told
    shell("session", "waive", session_id(20))
    assert shell.status == 2 and "needs --note" in shell.err
    done = shell.json("session", "waive", session_id(20), "--note", "sorry", "--key", "k")
    assert done["total_micro"] == shell.ran.charged_micro
    rows = shell.rows()
    assert shell.json("session", "waive", session_id(20), "--note", "sorry", "--key", "k") == done
    assert shell.rows() == rows
    for number, text in ((20, "given back already"), (8, "not over"), (3, "charged nothing"),
                         (404, "There is no session")):  # fmt: skip
        shell("session", "waive", session_id(number), "--note", "x")
        assert shell.status in (4, 5) and text in shell.err, number
    assert shell.rows() == rows


def test_maintenance(told):
    shell = told
    begin, end = shell.ran.billed_from_at.isoformat(), shell.ran.billed_until_at.isoformat()
    add = ("maintenance", "add", NODE, begin, end)
    shell(*add)
    assert shell.status == 2 and "needs --note" in shell.err
    made = shell.json(*add, "--note", "disks")
    shell(*add, "--note", "disks")
    assert shell.status == 5 and "entered already" in shell.err
    shell.ok("maintenance", "cancel", str(made["id"]))
    assert "cancelled" in shell.ok("maintenance", "list")
    assert shell.json("maintenance", "apply")["count"] == 0
    made = shell.json(*add, "--note", "disks")
    done = shell.json("maintenance", "apply")
    assert (done["count"], done["total_micro"]) == (1, shell.ran.charged_micro)
    assert shell.json("maintenance", "apply")["count"] == 0
    held = shell.json("maintenance", "list")["maintenance"][0]
    assert (held["id"], held["state"], held["sessions"]) == (made["id"], "over", 1)
    assert held["given_micro"] == shell.ran.charged_micro
    rows = shell.rows()
    for words, text in (
        (("cancel", str(made["id"])), "given back already"),
        (("finish", str(made["id"])), "only one that is running"),
        (("cancel", "999"), "There is no maintenance 999"),
        (("cancel", str(2**63)), "There is no maintenance"),
        (("add", NODE, end, begin, "--note", "x"), "ends after it begins"),
        (("add", NODE, "now", end, "--note", "x"), "not an ISO time"),
        (("list", "--limit", "0"), "from 1 to"),
    ):
        shell("maintenance", *words)
        assert shell.status in (2, 4, 5) and text in shell.err, words
    assert shell.rows() == rows
    assert "all hold" in shell.ok("check")


def test_maintenance_that_ends_early(shell):
    begin, end = "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"
    shell.ok("maintenance", "add", NODE, begin, end, "--note", "x")
    shell("maintenance", "finish", "1")
    assert shell.status == 5 and "over" in shell.err


def test_passes(told):
    shell = told
    assert "Nobody was given a pass" in shell.ok("pass", "list")
    made = shell.json("pass", "give", "ada", "--hours", "3", "--note", "a deadline")
    assert made["person"] == "ada"
    (held,) = shell.json("pass", "list")["passes"]
    assert (held["person"], held["state"], held["note"]) == ("ada", "valid", "a deadline")
    shell.ok("pass", "revoke", str(made["id"]))
    assert "revoked" in shell.ok("pass", "list")
    rows = shell.rows()
    for words, status, text in (
        (("revoke", str(made["id"])), 5, "not valid any more"),
        (("revoke", "999"), 4, "There is no pass"),
        (("revoke", str(2**63)), 4, "There is no pass"),
        (("give", "ada"), 2, "needs --note"),
        (("give", "nobody", "--note", "x"), 4, "nobody called"),
        (("give", "ada", "--note", "x", "--hours", "169"), 2, "1 to 168 hours"),
        (("give", "ada", "--note", "x", "--hours", "0"), 2, "1 to 168 hours"),
        (("give", "ada", "--note", "x", "--hours", "2", "--until", "2099-01-01T00:00:00Z"), 2,
         "or until when"),
        (("give", "ada", "--note", "x", "--until", "2099-01-01T00:00:00Z"), 2, "at most 7 days"),
        (("give", "ada", "--note", "x", "--until", "2020-01-01T00:00:00Z"), 2, "in the future"),
    ):  # fmt: skip
        shell("pass", *words)
        assert shell.status == status and text in shell.err, words
    assert shell.rows() == rows


def test_a_charge_is_corrected_once_its_server_ended(shell):
    """The story's session 8 still runs, and is charged so far."""
    story = healthy(shell.url)
    entry_id = next(e.id for e in story.entries("charge") if e.session_id == session_id(8))
    story.db.dispose()
    rows = shell.rows()
    correct = ("wallet", "correct", str(entry_id), "0.5", "--note", "a slow node")
    shell(*correct)
    assert (shell.status, shell.rows()) == (5, rows)
    assert "still runs: correct it when it has ended" in shell.err and "refund" in shell.err
    ended = next(e.id for e in story.entries("charge") if e.session_id == session_id(2))
    story.db.dispose()
    shell.ok("wallet", "correct", str(ended), "0.000001", "--note", "a slow node")
    assert "all hold" in shell.ok("check")
