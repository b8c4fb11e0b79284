"""People at the shell: who there is, a name that is forgotten, rows that are old."""

from datetime import UTC, datetime, timedelta

from jhub_usage.store import tables as t
from jhub_usage.store.engine import Database
from tests.actions.story import healthy


def balances_of(shell) -> dict:
    return {w["name"]: w["balance"] for w in shell.json("wallet", "list")["wallets"]}


def test_people_are_listed(shell, ready_url):
    healthy(ready_url).db.dispose()
    listed = {p["name"]: p for p in shell.json("person", "list")["people"]}
    assert listed["ada"]["current"] and listed["ada"]["sessions"] == 2
    assert listed["ada"]["last_session_at"].endswith("Z")
    assert [p["name"] for p in shell.json("person", "list", "--search", "d")["people"]] == [
        "ada", "dan",
    ]  # fmt: skip
    shown = shell.ok("person", "list")
    assert "last session" in shown and "eve" in shown
    shell("person", "list", "--limit", "0")
    assert shell.status == 2


def test_a_name_is_forgotten_only_when_that_is_said(shell, ready_url):
    healthy(ready_url).db.dispose()
    rows, balances = shell.rows(), balances_of(shell)
    shell("person", "pseudonymise", "bob")
    assert shell.status == 2 and "add --yes to do it" in shell.err and shell.rows() == rows
    assert "whoever starts a server by that name again is somebody new" in shell.err
    (bob,) = [p["id"] for p in shell.json("person", "list")["people"] if p["name"] == "bob"]
    assert shell.ok("person", "pseudonymise", "bob", "--yes") == f"bob is person-{bob} now.\n"
    assert "bob" not in {p["name"] for p in shell.json("person", "list")["people"]}
    assert "name forgotten" in shell.ok("person", "list")
    assert balances_of(shell) == balances
    assert "all hold" in shell.ok("check")
    done = shell.json("person", "pseudonymise", f"person-{bob}", "--yes")
    assert done["already"] and done["id"] == bob


def test_what_is_in_the_way_is_said(shell, ready_url):
    healthy(ready_url).db.dispose()
    rows = shell.rows()
    for words, status, text in (
        (["nobody"], 4, "There is nobody called 'nobody'"),
        (["bob", "--id", "999"], 4, "with the number 999"),
        (["ada"], 5, "ada has an open server"),
    ):
        shell("person", "pseudonymise", *words, "--yes")
        assert shell.status == status and text in shell.err, (words, shell.err)
    assert shell.rows() == rows


def test_old_rows_go_as_the_settings_say(shell, ready_url, monkeypatch):
    db = Database(ready_url)
    with db.write() as tx:
        for days in (0, 10, 40):
            tx.execute(
                t.client_keys.insert().values(
                    actor="person:1", route="POST /x", key=f"k{days}", body_hash="", answer={},
                    created_at=datetime.now(UTC) - timedelta(days=days),
                )
            )  # fmt: skip
    db.dispose()
    rows = shell.rows()
    assert shell.json("db", "retain", "--dry-run") == {"deleted": {}, "due": {"client_keys": 1}}
    assert shell.rows() == rows
    shown = shell.ok("db", "retain")
    assert shown == "Deleted: 1 answers to an Idempotency-Key.\n"
    assert shell.json("db", "retain")["deleted"] == {"client_keys": 0}
    monkeypatch.setenv("JHUB_USAGE_KEEP_CLIENT_KEYS_DAYS", "5")
    assert shell.json("db", "retain")["deleted"] == {"client_keys": 1}
    monkeypatch.setenv("JHUB_USAGE_KEEP_CLIENT_KEYS_DAYS", "0")
    assert shell.ok("db", "retain") == "Deleted: nothing.\n"
