"""The command line as programs use it: processes of their own, at once, with exit statuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = """
wallets: [{name: lab, starting_credit: 100, people: {ada: manager}, groups: [physics]}]
group_wallets: {name: "{group}-lab", starting_credit: 50, groups: [a, b, c]}
rules: [{group: physics, wallet: lab}, {target: personal}]
rates: [{resource: cpu, price: "0.02", starts_at: 2026-01-01T00:00:00Z}]
"""


@pytest.fixture
def program(db_url, tmp_path):
    """Starts `jhub-usage` with these words; its database is in the environment."""
    env = os.environ | {
        "JHUB_USAGE_DATABASE_URL": db_url,
        "JHUB_USAGE_CURRENCY_SYMBOL": "€",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }

    def start(*words: str, stdin: str | None = None):
        return subprocess.Popen(
            [sys.executable, "-m", "jhub_usage.cli", *words], cwd=tmp_path, env=env, text=True,
            encoding="utf-8", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(*words: str, stdin: str | None = None):
        process = start(*words)
        out, err = process.communicate(stdin, timeout=60)
        return process.returncode, out, err

    run.start = start
    return run


def test_from_nothing_to_a_checked_ledger(program):
    assert program("wallet", "list")[0] == 3
    assert program("db", "upgrade")[0] == 0
    status, out, err = program("apply", "-", stdin=DOCUMENT)
    assert (status, err) == (0, "") and "+ wallet lab" in out
    assert program("apply", "-", stdin=DOCUMENT)[1] == "Nothing to change.\n"
    status, out, _ = program("wallet", "list", "--json")
    assert {w["name"]: w["balance"] for w in json.loads(out)["wallets"]} == {
        "lab": "100", "a-lab": "50", "b-lab": "50", "c-lab": "50",
    }  # fmt: skip
    assert "€100.00" in program("wallet", "list")[1]
    status, out, err = program("wallet", "grant", "nope", "5")
    assert (status, out, err) == (4, "", "There is no wallet 'nope'.\n")
    status, out, err = program("apply", "-", stdin="wallets: [{name: lab, overdraft: -1}]")
    assert (status, out) == (2, "") and err.startswith("standard input, line 1, wallets[1]")
    status, text, _ = program("export")
    assert program("apply", "-", stdin=text)[1] == "Nothing to change.\n"
    assert program("check")[0] == 0


def test_tables_made_by_many_at_once(program):
    made = [program.start("db", "upgrade", "--json") for _ in range(3)]
    results = [p.communicate(timeout=90) for p in made]
    assert [p.returncode for p in made] == [0] * 3, results
    applied = [json.loads(out)["applied"] for out, _ in results]
    assert sorted(map(bool, applied)) == [False, False, True]
    assert program("check")[0] == 0


def test_the_same_configuration_by_many_at_once(program, tmp_path):
    program("db", "upgrade")
    (tmp_path / "lab.yaml").write_text(DOCUMENT)
    made = [program.start("apply", "lab.yaml", "--json") for _ in range(4)]
    results = [p.communicate(timeout=90) for p in made]
    assert [p.returncode for p in made] == [0] * 4, results
    changed = [bool(json.loads(out)["changes"]) for out, _ in results]
    assert sorted(changed) == [False, False, False, True]
    out = program("wallet", "show", "lab", "--json")[1]
    assert json.loads(out)["balance"] == "100"
    assert program("check")[0] == 0
