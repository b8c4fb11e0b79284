"""Bad input gets a sentence, the right exit status, and changes nothing at all."""

import pytest

from tests.actions.story import session_id

LONG = "x" * 300
#: (command, exit status, what the sentence says)
BAD = [
    (["wallet", "grant", "lab", "-5"], 2, "more than nothing"),
    (["wallet", "grant", "lab", "0"], 2, "more than nothing"),
    (["wallet", "grant", "lab", "1e10"], 2, "beyond 1,000,000,000 credits"),
    (["wallet", "grant", "lab", "0.0000001"], 2, "more than six decimals"),
    (["wallet", "grant", "lab", "1." + "0" * 40 + "1"], 2, "more than six decimals"),
    (["wallet", "grant", "lab", "1e-999999999"], 2, "more than six decimals"),
    (["wallet", "grant", "lab", "1e999999999"], 2, "beyond 1,000,000,000 credits"),
    (["wallet", "grant", "lab", "NaN"], 2, "is not a number"),
    (["wallet", "grant", "lab", "five"], 2, "is not a number"),
    (["wallet", "grant", "lab", "1,5"], 2, "is not a number"),
    (["wallet", "grant", "lab", ""], 2, "is not a number"),
    (["wallet", "grant", "nope", "5"], 4, "There is no wallet 'nope'"),
    (["wallet", "grant", "la", "5"], 4, "There is no wallet 'la'"),
    (["wallet", "grant", "1", "5"], 4, "There is no wallet '1'"),
    (["wallet", "grant", "lab", "5", "--key", LONG], 2, "longer than 200"),
    (["wallet", "grant", "lab", "5", "--note", "x" * 2001], 2, "longer than 2000"),
    (["wallet", "create", "lab"], 5, "already is a wallet"),
    (["wallet", "create", ""], 2, "must not be empty"),
    (["wallet", "create", " lab2"], 2, "begin or end with a blank"),
    (["wallet", "create", LONG], 2, "longer than 255"),
    (["wallet", "create", "a\nb"], 2, "can not be seen"),
    (["wallet", "create", "a\u202eb"], 2, "can not be seen"),
    (["wallet", "create", "~ada"], 2, "personal wallets"),
    (["wallet", "create", "new", "--overdraft", "-1"], 2, "must not be negative"),
    (["wallet", "create", "new", "--overdraft", "infinite"], 2, "is not a number"),
    (["wallet", "create", "new", "--overdraft", "Infinity"], 2, "is not a number"),
    (["wallet", "create", "new", "--mode", "on"], 2, "one of off, observe, enforce"),
    (["wallet", "create", "new", "--title", LONG], 2, "longer than 255"),
    (["wallet", "change", "lab"], 2, "nothing to change"),
    (["wallet", "change", "nope", "--title", "x"], 4, "There is no wallet"),
    (["wallet", "show", LONG], 2, "longer than 255"),
    (["wallet", "show", "lab", "--entries", "-1"], 2, "must not be negative"),
    (["wallet", "refund", "1"], 2, "Only a charge can be refunded"),
    (["wallet", "refund", "999"], 4, "There is no entry 999"),
    (["wallet", "refund", "x"], 2, "whole number"),
    (["wallet", "refund", "²"], 2, "whole number"),
    (["wallet", "refund", str(2**63)], 4, "There is no entry"),
    (["wallet", "correct", "1", "5"], 2, "needs a reason"),
    (["wallet", "correct", "1", "0", "--note", "x"], 2, "correction of nothing"),
    (["wallet", "transfer", "lab", "lab", "5"], 2, "another wallet"),
    (["wallet", "transfer", "lab", "other", "5000"], 5, "that nothing else claims"),
    (["wallet", "transfer", "lab", "other", "-5"], 2, "more than nothing"),
    (["wallet", "transfer", "lab", "nope", "5"], 4, "There is no wallet"),
    (["wallet", "member", "lab", "nobody"], 4, "has not shown anybody"),
    (["wallet", "member", "lab", "ada", "--expected", "--role", "boss"], 2, "manager, spender"),
    (["wallet", "member", "lab", "ada", "--remove"], 4, "has no role"),
    (["wallet", "group", "lab", "g", "--remove"], 4, "does not spend"),
    (["rate", "set", "tpu", "1"], 2, "There is no resource 'tpu'"),
    (["rate", "set", "gpu", "-1"], 2, "must not be negative"),
    (["rate", "set", "gpu", "2e9"], 2, "beyond"),
    (["rate", "set", "cpu", "1", "--model", "H100"], 2, "has no GPU model"),
    (["rate", "set", "gpu", "1", "--model", LONG], 2, "longer than 255"),
    (["rate", "set", "gpu", "1", "--starts-at", "2026-12-01T00:00:00"], 2, "no time zone"),
    (["rate", "set", "gpu", "1", "--starts-at", "tomorrow"], 2, "not an ISO time"),
    (["rate", "set", "gpu", "1", "--starts-at", "1970-01-01T00:00:00Z"], 5, "same instant"),
    (["rule", "add"], 2, "names a --wallet"),
    (["rule", "add", "--wallet", "nope"], 4, "There is no wallet"),
    (["rule", "add", "--wallet", "lab", "--grant", "5"], 2, "go with --personal"),
    (["rule", "add", "--personal", "--grant", "-5"], 2, "must not be negative"),
    (["rule", "add", "--personal", "--position", "-1"], 2, "from 0 on"),
    (["rule", "add", "--personal", "--position", "99999999999999"], 2, "from 0 on"),
    (["rule", "add", "--personal", "--group", "a\tb"], 2, "can not be seen"),
    (["rule", "remove", "999"], 4, "There is no rule 999"),
    (["rule", "remove", "x"], 2, "invalid int"),
    (["limit", "set", "gpu", "1"], 2, "one of gpus"),
    (["limit", "set", "gpus", "-1"], 2, "must not be negative"),
    (["limit", "set", "gpus", "1e30"], 2, "too large"),
    (["limit", "set", "gpus", "1e999999999"], 2, "too large"),
    (["limit", "set", "gpus", "1e-999999999"], 2, "finer than"),
    (["limit", "set", "gpus", "Infinity"], 2, "is not a number"),
    (["limit", "set", "gpus", "0.00001"], 2, "finer than"),
    (["limit", "set", "gpus", "lots"], 2, "is not a number"),
    (["limit", "set", "gpus", "1", "--group", "a", "--profile", "b"], 2, "not for group and"),
    (["limit", "set", "gpus", "1", "--each"], 2, "Only a limit for a group"),
    (["limit", "set", "session_hours", "1"], 2, "for a profile, a person or a group"),
    (["limit", "set", "gpus", "1", "--wallet", "nope"], 4, "There is no wallet"),
    (["limit", "remove", "999"], 4, "There is no limit"),
    (["exempt", "add", "robot", "ada"], 2, "person, group or profile"),
    (["exempt", "add", "person", ""], 2, "must not be empty"),
    (["exempt", "remove", "person", "ada"], 4, "is not exempt"),
    (["mode", "set", "on"], 2, "one of off, observe, enforce"),
    (["mode", "set", "default"], 2, "one of off, observe, enforce"),
    (["mode", "set", "off", "--wallet", "nope"], 4, "There is no wallet"),
    (["session", "show", "nope"], 4, "There is no session"),
    (["session", "void", session_id(404)], 4, "There is no session"),
    (["session", "list", "--person", "nobody"], 4, "nobody"),
    (["session", "list", "--wallet", "nope"], 4, "There is no wallet"),
    (["session", "list", "--state", "asleep"], 2, "one of admitted"),
    (["session", "list", "--limit", "0"], 2, "from 1 to"),
    (["apply", "none.yaml"], 2, "can not be read"),
    (["apply", "."], 2, "can not be read"),
    (["apply", "bad.yaml"], 2, "bad.yaml, line 3, wallets[1].overdraft"),
    (["apply", "good.yaml", "bad.yaml"], 2, "bad.yaml, line 3, wallets[1].overdraft"),
    (["apply", "late.yaml"], 2, "There is no wallet 'nope'"),
    (["apply", "bad.csv"], 2, "bad.csv"),
    (["export", "no/such/folder.yaml"], 2, "can not be written"),
]
GOOD = [
    ["wallet", "create", 'o\'brien "lab"; DROP TABLE x --'],
    ["wallet", "create", "Ünïcødé ☃ 日本語"],
    ["wallet", "create", "x" * 255],
    ["wallet", "create", "with spaces inside"],
    ["wallet", "create", "1.5"],
    ["wallet", "create", "null"],
]


@pytest.fixture
def filled(shell, tmp_path):
    shell.ok("wallet", "create", "lab")
    shell.ok("wallet", "create", "other")
    shell.ok("wallet", "grant", "lab", "100")
    (tmp_path / "good.yaml").write_text("wallets: [{name: new, starting_credit: 5}]\n")
    (tmp_path / "bad.yaml").write_text("wallets:\n  - name: x\n    overdraft: -5\n")
    (tmp_path / "late.yaml").write_text("wallets: [{name: new}]\nrules: [{wallet: nope}]\n")
    (tmp_path / "bad.csv").write_text("person,wallet,role\nada,lab,boss\n")
    return shell


def test_bad_input_changes_nothing(filled):
    before, export = filled.rows(), filled.ok("export")
    wrong = []
    for words, status, text in BAD:
        filled(*words)
        if (filled.status, text in filled.err) != (status, True) or "Traceback" in filled.err:
            wrong.append((words, filled.status, filled.out, filled.err))
        elif filled.out or not filled.err:
            wrong.append((words, "says it elsewhere", filled.out, filled.err))
    assert wrong == []
    assert filled.rows() == before
    assert filled.ok("export") == export


def test_any_readable_name_is_fine(filled, tmp_path):
    for words in GOOD:
        filled.ok(*words)
        name = words[-1]
        assert filled.json("wallet", "show", name)["name"] == name
    (tmp_path / "now.yaml").write_text(filled.ok("export"), encoding="utf-8")
    assert filled.ok("apply", "now.yaml") == "Nothing to change.\n"


def test_one_name_has_one_form(filled):
    filled.ok("wallet", "create", "Cafe\u0301")
    filled.ok("wallet", "grant", "Caf\u00e9", "5")
    filled("wallet", "create", "Caf\u00e9")
    assert filled.status == 5


def test_a_setting_of_the_wrong_type(filled, monkeypatch):
    monkeypatch.setenv("JHUB_USAGE_TIMEZONE", "Mars/Olympus")
    filled("wallet", "list")
    assert filled.status == 2 and "no time zone 'Mars/Olympus'" in filled.err
    monkeypatch.setenv("JHUB_USAGE_TIMEZONE", "UTC")
    monkeypatch.setenv("JHUB_USAGE_MIN_RUN_S", "soon")
    filled("wallet", "list")
    assert filled.status == 2 and "JHUB_USAGE_MIN_RUN_S" in filled.err
