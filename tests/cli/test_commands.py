"""Each command does what it says, in tables for people and in JSON for programs."""

import json
from pathlib import Path

import pytest

from jhub_usage.store import tables as t
from jhub_usage.store.engine import Database
from tests.actions.story import healthy, session_id

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_wallets_from_opening_to_closing(shell):
    shell.ok("wallet", "create", "lab", "--title", "The lab", "--overdraft", "12.5")
    shell.ok("wallet", "create", "other", "--overdraft", "unlimited", "--mode", "observe")
    made = shell.json("wallet", "grant", "lab", "500", "--note", "go")
    assert made == {"entry_id": 1, "amount_micro": 500_000_000, "amount": "500"}
    shell.ok("wallet", "transfer", "lab", "other", "0.000001")
    (lab, other) = shell.json("wallet", "list")["wallets"]
    assert (lab["balance_micro"], lab["balance"]) == (499_999_999, "499.999999")
    assert (lab["overdraft"], other["overdraft_micro"], other["available"]) == ("12.5", None, None)
    assert other["effective_mode"] == "observe"
    assert "$500.00" in shell.ok("wallet", "list")
    shell.ok(
        "wallet", "change", "lab", "--overdraft", "unlimited", "--title", "New", "--mode", "off"
    )
    shell.ok("wallet", "close", "lab")
    lab = shell.json("wallet", "show", "lab")
    assert (lab["title"], lab["mode"], lab["closed"]) == ("New", "off", True)
    assert [e["kind"] for e in lab["entries"]] == ["transfer", "grant"]
    assert lab["entries"][1]["note"] == "go" and lab["entries"][1]["effective_at"].endswith("Z")
    shell.ok("wallet", "change", "lab", "--reopen", "--mode", "default")
    shown = shell.ok("wallet", "show", "lab")
    assert "grant" in shown and "$500.00" in shown and "closed" not in shown
    assert "all hold" in shell.ok("check")


def test_the_same_key_is_the_same_entry(shell):
    shell.ok("wallet", "create", "lab")
    first = shell.json("wallet", "grant", "lab", "5", "--key", "q3")
    rows = shell.rows()
    assert shell.json("wallet", "grant", "lab", "5", "--key", "q3") == first
    assert shell.rows() == rows
    shell("wallet", "grant", "lab", "6", "--key", "q3")
    assert shell.status == 5 and shell.rows() == rows


def test_people_and_groups_of_a_wallet(shell):
    shell.ok("wallet", "create", "lab")
    shell("wallet", "member", "lab", "ada", "--role", "manager")
    assert shell.status == 4 and "--expected" in shell.err
    shell.ok("wallet", "member", "lab", "ada", "--role", "manager", "--expected")
    shell.ok("wallet", "member", "lab", "ada")  # known now
    shell.ok("wallet", "group", "lab", "physics o'clock")
    members = shell.json("wallet", "show", "lab")["members"]
    assert [(p["name"], p["role"]) for p in members["people"]] == [("ada", "spender")]
    assert members["groups"] == ["physics o'clock"]
    shell.ok("wallet", "member", "lab", "ada", "--remove")
    shell.ok("wallet", "group", "lab", "physics o'clock", "--remove")
    assert shell.json("wallet", "show", "lab")["members"] == {"people": [], "groups": []}
    shell("wallet", "member", "lab", "ada", "--remove")
    assert shell.status == 4


def test_rates(shell):
    assert [r["price"] for r in shell.json("rate", "list")["rates"]] == ["4"]
    shell.ok("rate", "set", "gpu", "6.5", "--model", "H100")
    shell.ok("rate", "set", "memory", "0.002", "--starts-at", "2027-01-01T00:00:00+01:00")
    assert "$0.002" in shell.ok("rate", "list", "--all")
    assert [r["model"] for r in shell.json("rate", "list")["rates"]] == ["", "H100"]
    shell.ok("rate", "end", "gpu", "--model", "H100")
    assert [r["model"] for r in shell.json("rate", "list")["rates"]] == [""]
    last = [r for r in shell.json("rate", "list", "--all")["rates"] if r["model"]][-1]
    assert (last["price_micro"], last["price"]) == (None, None)


def test_rules_and_limits_and_exemptions(shell):
    shell.ok("wallet", "create", "lab")
    shell.ok("rule", "add", "--wallet", "lab", "--group", "physics", "--position", "0")
    shell.ok("rule", "add", "--personal", "--person", "ada", "--grant", "20", "--overdraft", "5")
    rules = shell.json("rule", "list")["rules"]
    assert [r["text"] for r in rules] == [
        "group physics -> lab",
        "everybody -> their own wallet, overdraft unlimited",
        "person ada -> their own wallet, starting with 20, overdraft 5",
    ]
    shell.ok("rule", "remove", str(rules[0]["id"]))
    assert "physics" not in shell.ok("rule", "list")

    shell.ok("limit", "set", "gpus", "4", "--person", "*", "--wallet", "lab")
    shell.ok("limit", "set", "session_hours", "1.5", "--profile", "big")
    shell.ok("limit", "set", "gpus", "2", "--person", "*", "--wallet", "lab")
    limits = shell.json("limit", "list")["limits"]
    assert [(x["text"], x["amount"], x["amount_text"]) for x in limits] == [
        ("each person within the wallet lab", 2000, "2"),
        ("profile big", 5400, "1.5"),
    ]
    shell.ok("limit", "remove", str(limits[0]["id"]))
    assert "within" not in shell.ok("limit", "list")

    shell.ok("exempt", "add", "group", "staff")
    assert shell.json("exempt", "list") == {"exemptions": [{"kind": "group", "name": "staff"}]}
    shell.ok("exempt", "remove", "group", "staff")
    shell("exempt", "remove", "group", "staff")
    assert shell.status == 4


def test_modes_and_stops(shell):
    assert shell.json("mode", "show") == {"mode": "observe", "wallets": []}
    shell.ok("mode", "set", "enforce")
    shell.ok("wallet", "create", "lab")
    shell.ok("mode", "set", "off", "--wallet", "lab")
    assert shell.json("mode", "show")["wallets"] == [
        {"name": "lab", "mode": "off", "effective_mode": "off"}
    ]
    assert "lab" in shell.ok("mode", "show")
    shell.ok("mode", "set", "default", "--wallet", "lab")
    assert shell.json("mode", "show") == {"mode": "enforce", "wallets": []}
    assert "No stops are waiting" in shell.ok("stops", "status")
    shell.ok("stops", "release")
    assert shell.json("stops", "status")["released_until_at"].endswith("Z")


def test_sessions(ready_url, shell):
    story_url = ready_url  # the story goes on top of what `db upgrade` made
    story = healthy(story_url)
    story.db.dispose()
    found = shell.json("session", "list")["sessions"]
    assert {s["id"] for s in found} == {session_id(n) for n in (1, 2, 3, 5, 6, 7, 8, 9, 10)}
    ada = shell.json("session", "list", "--person", "ada", "--state", "ended")["sessions"]
    (one,) = ada
    assert one["id"] == session_id(1) and one["charged"] != one["charged_micro"]
    assert len(shell.json("session", "list", "--open")["sessions"]) == 2
    assert "2 × A100" in shell.ok("session", "list", "--wallet", "lab")
    shown = shell.json("session", "show", session_id(1))
    # one of the slices ends with the month
    kinds = ["correction", "refund", "charge", "charge", "charge"]
    assert [e["kind"] for e in shown["entries"]] == kinds
    assert shown["decision"]["decision"] == "admitted"
    assert "post_stop_hook" in shell.ok("session", "show", session_id(1))
    refused = shell.json("session", "show", session_id(4))
    assert refused["session"] is None and "poor" in refused["decision"]["text"]
    assert "poor" in shell.ok("session", "show", session_id(4))

    charge = shown["entries"][-1]["id"]
    shell.ok("wallet", "refund", str(charge), "0.5", "--note", "slow")
    shell.ok("wallet", "correct", str(charge), "0.25", "--note", "slower")
    shell("wallet", "correct", str(charge), "0.25")
    assert shell.status == 2 and "reason" in shell.err

    shell.ok("session", "void", session_id(6))
    assert shell.json("session", "show", session_id(6))["session"]["state"] == "void"
    for number, status in ((6, 5), (1, 5), (99, 4)):
        shell("session", "void", session_id(number))
        assert shell.status == status
    assert "all hold" in shell.ok("check")
    db = Database(ready_url)
    with db.read() as tx:
        rows = tx.rows(t.audit.select().where(t.audit.c.action == "session.voided"))
        assert [r["actor_kind"] for r in rows] == ["cli"] and rows[0]["actor_name"]
    db.dispose()


def test_check_says_what_is_wrong(shell, ready_url):
    shell.ok("wallet", "create", "lab")
    found = shell.json("check")
    assert found["ok"] and {"name", "what", "ok", "compared", "violations", "notes", "more"} == set(
        found["checks"][0]
    )
    db = Database(ready_url)
    with db.write() as tx:
        tx.execute(t.wallets_.update().values(balance_micro=7))
    db.dispose()
    shell("check")
    assert shell.status == 1
    assert shell.err == "wallets.balance: wallet 'lab': balance 0.000007, entries sum to 0\n"
    shell("check", "--json")
    assert shell.status == 1 and not json.loads(shell.out)["ok"]


def test_apply_and_export(shell, tmp_path):
    text = (DOCS / "apply.md").read_text(encoding="utf-8")
    example = text.split("<!-- example: tested -->\n```yaml\n")[1].split("```")[0]
    (tmp_path / "lab.yaml").write_text(example, encoding="utf-8")
    (tmp_path / "people.csv").write_text("person,wallet,role\ndan,physics,manager\n")
    before = shell.rows()
    shell.ok("apply", "lab.yaml", "people.csv", "--dry-run")
    assert "Nothing was done" in shell.out and "+ member physics: dan: manager" in shell.out
    assert shell.rows() == before
    shell.ok("apply", "lab.yaml", "people.csv")
    assert "+ wallet lab-maths: overdraft 0" in shell.out.splitlines()
    after = shell.rows()
    assert shell.ok("apply", "lab.yaml", "people.csv") == "Nothing to change.\n"
    found = shell.json("apply", "lab.yaml", "people.csv")
    assert found == {"applied": True, "changes": [], "notes": []}
    assert shell.rows() == after
    exported = shell.ok("export")
    shell.ok("export", "now.yaml")
    assert (tmp_path / "now.yaml").read_text(encoding="utf-8") == exported
    assert [p.name for p in tmp_path.glob(".now*")] == []
    (tmp_path / "now.json").write_text(shell.ok("export", "--json"), encoding="utf-8")
    for name in ("now.yaml", "now.json"):
        assert shell.ok("apply", name) == "Nothing to change.\n"
    assert "all hold" in shell.ok("check")


def test_where_the_database_is(sqlite_url, tmp_path, capsys, monkeypatch):
    from jhub_usage.cli import main

    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "url"
    secret.write_text(sqlite_url + "\n")

    def says(*words):
        status = main(list(words))
        return status, capsys.readouterr()

    status, shown = says("wallet", "list")
    assert status == 3 and "There is no database at" in shown.err
    assert "jhub-usage db upgrade" in shown.err and list(tmp_path.glob("*.sqlite")) == []
    monkeypatch.setenv("JHUB_USAGE_DATABASE_URL_FILE", str(secret))
    assert says("db", "upgrade")[0] == 0 and (tmp_path / "usage.sqlite").exists()
    assert says("wallet", "create", "here")[0] == 0
    monkeypatch.delenv("JHUB_USAGE_DATABASE_URL_FILE")
    config = tmp_path / "jupyterhub_config.py"
    config.write_text(f"c.JHubUsage.database_url = {sqlite_url!r}\nc.JupyterHub.port = 1\n")
    assert "here" in says("--config", str(config), "wallet", "list")[1].out
    assert "here" in says("wallet", "list", "--config", str(config))[1].out
    # the command line goes before the file, which goes before the environment
    monkeypatch.setenv("JHUB_USAGE_DATABASE_URL", "sqlite:///elsewhere.sqlite")
    assert "here" in says("--config", str(config), "wallet", "list")[1].out
    assert "elsewhere" in says("wallet", "list")[1].err
    assert "here" in says("wallet", "list", "--database-url", sqlite_url)[1].out
    config.write_text("raise ValueError('no')")
    assert says("--config", str(config), "wallet", "list")[0] == 2
    assert says("--config", "none.py", "wallet", "list")[0] == 2


@pytest.mark.parametrize(
    ("url", "status", "text"),
    [
        ("mysql://u:secret@h/x", 2, "must begin with"),
        ("sqlite://", 2, "must name an SQLite file"),
        ("postgresql://u:secret@127.0.0.1:1/x", 3, "can not be reached"),
        ("sqlite:////nowhere/at/all.sqlite", 3, "There is no database"),
    ],
)
def test_no_database(url, status, text, capsys):
    from jhub_usage.cli import main

    assert main(["--database-url", url, "wallet", "list"]) == status
    shown = capsys.readouterr().err
    assert text in shown and "secret" not in shown and len(shown.splitlines()) == 1


def test_a_database_without_tables(db_url, capsys, tmp_path):
    from jhub_usage.cli import main

    if db_url.startswith("sqlite"):
        Path(db_url.removeprefix("sqlite:///")).touch()
    assert main(["--database-url", db_url, "wallet", "list"]) == 3
    assert "jhub-usage db upgrade" in capsys.readouterr().err
    assert main(["--database-url", db_url, "db", "check"]) == 1
    assert "jhub-usage db upgrade" in capsys.readouterr().out
    assert main(["--database-url", db_url, "db", "upgrade"]) == 0
    assert main(["--database-url", db_url, "db", "check"]) == 0
    assert main(["--database-url", db_url, "db", "upgrade"]) == 0
    assert "up to date" in capsys.readouterr().out


def test_names_of_people_are_those_of_one_hub(shell, monkeypatch, tmp_path):
    shell.ok("wallet", "create", "lab")
    (tmp_path / "lab.yaml").write_text("people: [{person: ada, wallet: lab}]")
    before = shell.rows()
    monkeypatch.setenv("JHUB_USAGE_HUB_ID", "prod")
    assert shell.ok("db", "upgrade") == "The tables are up to date.\n"
    for words in (
        ["apply", "lab.yaml"],
        ["apply", "lab.yaml", "--dry-run"],
        ["export"],
        ["wallet", "member", "lab", "ada", "--expected"],
        ["session", "list", "--person", "ada"],
    ):
        shell(*words)
        assert shell.status == 4 and "knows the hubs hub, not 'prod'" in shell.err
    assert shell.rows() == before


def test_tables_hide_no_text_and_stand_in_columns(capsys):
    from jhub_usage.commands.shell import print_table

    print_table(("name", "n>"), [("a\x1b[31mb", 1), ("日本", 22), ("é", 333)])
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["name          n", "a\\x1b[31mb    1", "日本         22", "é           333"]


def test_instants_are_shown_in_the_zone_of_the_setting(shell, monkeypatch):
    monkeypatch.setenv("JHUB_USAGE_TIMEZONE", "Asia/Taipei")
    shell.ok("rate", "set", "cpu", "1", "--starts-at", "2030-01-01T00:00:00Z")
    assert "2030-01-01 08:00" in shell.ok("rate", "list", "--all")
    assert "2030-01-01T00:00:00Z" in shell.ok("rate", "list", "--all", "--json")
