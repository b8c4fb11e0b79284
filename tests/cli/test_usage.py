"""Usage per day, and its sums, from the shell."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from jhub_usage.actions import admissions, rules, sessions, wallets
from jhub_usage.domain.admission import Ask, PersonKey, Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store import tables as t
from jhub_usage.store.catalog import CatalogCache
from jhub_usage.store.engine import Database

T0 = datetime(2026, 10, 31, 22, tzinfo=UTC)
POLICY = Policy()
GPU = Shape(8000, 16 * 2**30, (Gpus("nvidia.com/gpu", "A100", 2),))
CPU = Shape(8000, 16 * 2**30)


@pytest.fixture
def past(shell):
    """Ada over the end of October: 3 h with two GPUs. Bob in November: 3 h on a node of 32."""
    clock = [T0]
    db = Database(shell.url, clock=lambda: clock[0])
    run = (("ada", "gpu", GPU, T0, "n1"), ("bob", "cpu", CPU, T0 + timedelta(hours=60), "big"))
    with db.write() as tx:
        lab = wallets.create(tx, "lab", overdraft_micro=None, actor=SYSTEM)
        rules.replace(tx, [Rule(0, "wallet", lab)], actor=SYSTEM)
        for number, (name, profile, shape, begin, node) in enumerate(run):
            session_id = f"00000000-0000-4000-8000-00000000000{number}"
            ask = Ask(session_id, "hub", PersonKey(name, number), "", profile, shape)
            clock[0] = begin
            admissions.admit(tx, ask, policy=POLICY, cache=CatalogCache(), actor=SYSTEM)
            for kind, hours in (("started", 0), ("ended", 3)):
                clock[0] = begin + timedelta(hours=hours)
                told = Sighting(session_id, kind, clock[0], "test", "stopped", {"node": node})
                sessions.record(tx, told, policy=POLICY, actor=SYSTEM)
    db.dispose()
    return shell


WINDOW = ("--begin", "2026-10-01", "--end", "2026-12-01")


def test_the_report_for_people(past):
    said = past.ok("report", "usage", *WINDOW, "--by", "day,person")
    lines = [line.split() for line in said.splitlines()]
    assert lines[0][:2] == ["day", "person"]
    assert [" ".join(line[:4]) for line in lines[1:5]] == [
        "2026-10-31 ada 1 2.00", "2026-11-01 ada 0 1.00", "2026-11-03 bob 1 3.00", "all 2 6.00 6.00"
    ]  # fmt: skip
    assert "$24.00" in lines[4], "2 GPUs, 3 h, 4 credits each"
    assert "By when it happened." in said
    assert past.ok("report", "usage", "--begin", "2026-01-01", "--end", "2026-02-01") == (
        "Nothing was used in this time.\n"
    )


def test_the_report_for_programs(past, monkeypatch):
    monkeypatch.setenv("JHUB_USAGE_CORES_OF_NODES", '{"big": 32}')
    found = past.json("report", "usage", *WINDOW, "--by", "profile")
    (cpu, gpu) = found["rows"]
    assert (gpu["gpu_hours"], gpu["total_core_hours"], gpu["total_node_hours"]) == ("6", "24", "0")
    assert (cpu["gpu_hours"], cpu["total_core_hours"], cpu["total_node_hours"]) == (
        "0", "0", "0.75"
    )  # fmt: skip
    assert (found["totals"]["cost"], found["totals"]["cost_micro"]) == ("24", 24_000_000)
    monkeypatch.delenv("JHUB_USAGE_CORES_OF_NODES")
    assert past.json("report", "usage", *WINDOW)["totals"]["total_node_hours"] is None
    monkeypatch.setenv("JHUB_USAGE_NODE_CORES", "16")
    assert past.json("report", "usage", *WINDOW)["totals"]["total_node_hours"] == "1.5"


def test_the_report_as_csv(past):
    text = past.ok("report", "usage", *WINDOW, "--by", "month,person,wallet", "--csv")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(r["month"], r["person"], r["wallet"], r["gpu_hours"], r["cost"]) for r in rows] == [
        ("2026-10", "ada", "lab", "4", "16.000000"),
        ("2026-11", "ada", "lab", "2", "8.000000"),
        ("2026-11", "bob", "lab", "0", "0.000000"),
    ]


def test_filters_and_windows(past):
    def hours(*words):
        return past.json("report", "usage", *words)["totals"]["hours"]

    assert hours(*WINDOW, "--person", "bob") == "3"
    assert hours(*WINDOW, "--profile", "gpu") == "3"
    assert hours(*WINDOW, "--gpu-model", "") == "3"
    assert hours(*WINDOW, "--node", "n1", "--wallet", "lab") == "3"
    assert hours("--begin", "2026-10-31T22:30:00Z", "--end", "2026-11-01T00:15:00Z") == "1.75"
    assert hours("--begin", "2026-10-31T23:30:00+01:00", "--end", "2026-11-01") == "1.5"


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        (("--by", "colour"), 2, "grouped by"),
        (("--end", "2026-11-01"), 2, "give --begin"),
        (("--begin", "yesterday"), 2, "not an ISO time"),
        (("--begin", "2026-11-02", "--end", "2026-11-01"), 2, "a later one"),
        (("--person", "nobody"), 4, "nobody called"),
        (("--wallet", "nothing"), 4, "no wallet"),
        (("--csv", "--json"), 2, "--csv or --json"),
    ],
)
def test_what_can_not_be_reported(past, words, status, why):
    past("report", "usage", *words)
    assert past.status == status and why in past.err
    assert past.out == ""


def test_sums_are_checked_and_counted_anew(past):
    assert past.ok("rollup", "check") == (
        "counters: 3 compared, none differ\nrollups: 3 compared, none differ\n"
    )
    before = past.rows()
    db = Database(past.url)
    with db.write() as tx:
        r = t.rollup_days
        tx.execute(r.update().where(r.c.day == "2026-10-31").values(gpu_us=r.c.gpu_us + 1))
        tx.execute(t.use_days.delete())
    db.dispose()
    past("rollup", "check")
    assert past.status == 1
    assert "counters: 3 compared, 3 differ" in past.out and "rollups: 3 compared, 1 differ" in (
        past.out
    )
    assert "2026-10-31 hub 1 1 gpu A100 n1" in past.err
    past("rollup", "check", "--json")
    assert past.status == 1 and '"compared": 3' in past.out
    assert past.ok("rollup", "rebuild") == "Counted anew: 3 rollups, 3 counters.\n"
    past.ok("rollup", "check")
    after = past.rows()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"jhub_usage_audit"}
    assert past.json("rollup", "rebuild") == {"counters": 3, "rollups": 3}
