"""A month's end for many wallets, and admission beside an earlier revision of this repository.

The month end runs as the service does it, in batches; most wallets are idle, as most are. The
admission of this checkout and of a revision before take turns, each in a process of its own on a
database of its own of one server, so that their ratio means something.
Limitations: wallets are put in place by bulk statements, not by use; one process advances.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from jhub_usage.actions import advancing, hubs
from jhub_usage.actions import check as checks
from jhub_usage.domain.admission import Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.invariants import failed
from jhub_usage.store import tables as t
from jhub_usage.store.engine import Database
from tests.support import postgres as servers

POLICY = Policy()
BEGAN = datetime(2026, 10, 1, tzinfo=UTC)
OCTOBER_20 = datetime(2026, 10, 20, 12, tzinfo=UTC)
AFTER = datetime(2026, 11, 1, 0, 0, 30, tzinfo=UTC)
AMOUNT = 100_000_000
#: Of ten wallets: so many idle and untouched, with some used, with a server running, without an
#: allowance.
KINDS = ("idle",) * 6 + ("used",) * 2 + ("running", "plain")
ROOT = Path(__file__).resolve().parents[1]


# -- a month's end --------------------------------------------------------------------------------


def fill(db: Database, number: int) -> dict[str, int]:
    """Wallets of each kind, as October left them."""
    counts = dict.fromkeys(KINDS, 0)
    wallets, entries, sessions, admissions = [], [], [], []
    for n in range(1, number + 1):
        kind = KINDS[n % len(KINDS)]
        counts[kind] += 1
        balance = AMOUNT - 30_000_000 if kind == "used" else AMOUNT
        allowance = None if kind == "plain" else AMOUNT
        wallets.append(
            {
                "id": n, "name": f"wallet-{n}", "balance_micro": balance, "overdraft_micro": 0,
                "created_at": BEGAN, "advanced_until": BEGAN, "allowance_micro": allowance,
                "allowance_period": allowance and "month", "allowance_carry_micro": 0,
                "allowance_left_micro": balance if allowance else 0,
            }
        )  # fmt: skip
        entry = {
            "wallet_id": n, "effective_at": BEGAN, "posted_at": BEGAN, "period": "2026-10",
            "session_id": None, "slice_start": None, "slice_end": None, "actor_kind": "cli",
        }  # fmt: skip
        key = f"allowance:{n}:2026-10" if allowance else f"grant:{n}"
        entries.append(entry | {"kind": "grant", "amount_micro": AMOUNT, "key": key})
        if kind in ("used", "running"):
            sessions.append(_session(n, ended=kind == "used"))
            admissions.append(_admission(sessions[-1]))
        if kind == "used":
            s = sessions[-1]
            entries.append(
                entry
                | {
                    "kind": "charge", "amount_micro": -30_000_000, "session_id": s["id"],
                    "key": f"charge:{s['id']}:{int(BEGAN.timestamp()) * 10**6}",
                    "slice_start": BEGAN, "slice_end": s["billed_until_at"],
                    "effective_at": s["billed_until_at"],
                }
            )  # fmt: skip
    with db.write() as tx:
        hubs.install(tx, "hub", actor=SYSTEM)
        tx.execute(t.people.insert().values(id=1, hub_id="hub", name="ada", current=True,
                                            created_at=BEGAN))  # fmt: skip
        for table, rows in ((t.wallets_, wallets), (t.admissions_, admissions),
                            (t.sessions_, sessions), (t.entries, entries)):  # fmt: skip
            for begin in range(0, len(rows), 5000):
                tx.execute(table.insert(), rows[begin : begin + 5000])
    return counts


def _session(wallet_id: int, *, ended: bool) -> dict:
    until = datetime(2026, 10, 1, 7, 30, tzinfo=UTC) if ended else None
    return {
        "id": str(uuid.UUID(int=wallet_id)), "hub_id": "hub", "person_id": 1,
        "server_name": f"s{wallet_id}", "wallet_id": wallet_id,
        "state": "ended" if ended else "running", "mode": "enforce", "billed": True,
        "profile": "gpu", "cpu_milli": 4000, "memory_bytes": 2**34, "gpu_milli": 1000,
        "gpu_count": 1, "gpus": [{"resource": "nvidia.com/gpu", "model": "A100", "count": 1}],
        "gpu_model": "A100", "per_hour_micro": 4_000_000, "fee_micro": 0,
        "quote_lines": [{"resource": "gpu", "amount_micro": 4_000_000}], "quoted_at": BEGAN,
        "hold_micro": 1_000_000, "billed_from": "container", "grace_s": 0,
        "requested_at": BEGAN, "admitted_at": BEGAN, "start_deadline_at": BEGAN,
        "started_at": BEGAN if ended else OCTOBER_20, "started_evidence": "start_returned",
        "billed_from_at": BEGAN if ended else OCTOBER_20, "ended_at": until,
        "ended_evidence": "post_stop_hook" if ended else None, "billed_until_at": until,
        "settled_until": until, "charged_micro": 30_000_000 if ended else 0,
    }  # fmt: skip


def _admission(s: dict) -> dict:
    return {
        "session_id": s["id"], "decided_at": BEGAN, "decision": "admitted", "reason": "ok",
        "text": "", "details": {}, "shape": {}, "quote": {}, "hub_id": "hub", "person_id": 1,
    }  # fmt: skip


def month_end(url: str, number: int) -> dict:
    """Fill, advance as the service does, and say what it took."""
    db = Database(url, clock=lambda: AFTER, statement_timeout_s=600)
    db.upgrade()
    counts = fill(db, number)
    if not db.sqlite:
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.exec_driver_sql("ANALYZE")  # autovacuum has done so long before a month is over
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun, last, wallets, due, longest = time.perf_counter(), 0, 0, 0, 0.0
    while True:
        at = time.perf_counter()
        with db.write() as tx:
            last, booked, entries, late = advancing.advance_due(
                tx, last, policy=POLICY, actor=SYSTEM
            )
        longest = max(longest, time.perf_counter() - at)
        assert not late
        wallets, due = wallets + booked, due + entries
        if not last:
            break
    took = time.perf_counter() - begun
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rss
    with db.read() as tx:
        moved = tx.scalar(sa.select(sa.func.count()).where(t.wallets_.c.advanced_until > BEGAN))
        new = tx.scalar(sa.select(sa.func.count()).where(t.entries.c.posted_at == AFTER))
        settled = tx.scalar(
            sa.select(sa.func.count()).where(
                t.sessions_.c.settled_until.is_not(None), t.sessions_.c.state == "running"
            )
        )
    with db.write() as tx:
        again = advancing.advance_due(tx, 0, policy=POLICY, actor=SYSTEM)
    assert again == (0, 0, 0, ()), again
    expected = counts["used"] + counts["running"]
    assert (moved, wallets) == (expected, expected), (moved, wallets, expected)
    begun = time.perf_counter()
    with db.read() as tx:
        broken = [c for c in failed(checks.check(tx)) if c.name.startswith(("wallets", "entries"))]
    assert not broken, broken
    checked = time.perf_counter() - begun
    db.dispose()
    return {
        "wallets": number, "idle without change": counts["idle"] + counts["plain"],
        "wallet rows written": moved, "entries written": new, "session rows written": settled,
        "seconds": round(took, 1), "longest transaction s": round(longest, 2),
        "memory grown MiB": round(grown / 1024, 1), "check s": round(checked, 1),
    }  # fmt: skip


# -- admission beside an earlier revision ---------------------------------------------------------

#: Runs in both trees: rounds of starts on one wallet, the median of each round told as it asks.
WORKER = """
import statistics, sys, time, uuid
from jhub_usage.actions import admissions, hubs, modes, rules, wallets
from jhub_usage.domain.admission import Ask, PersonKey, Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.instants import EPOCH
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.store.catalog import CatalogCache
from jhub_usage.store.engine import Database
db, cache, policy = Database(sys.argv[1]), CatalogCache(), Policy()
db.upgrade()
with db.write() as tx:
    hubs.install(tx, "hub", actor=SYSTEM)
    modes.set_mode(tx, "enforce", actor=SYSTEM)
    lab = wallets.create(tx, "lab", overdraft_micro=10**15, actor=SYSTEM)
    rules.replace(tx, [Rule(0, "wallet", lab)], actor=SYSTEM)
shape = Shape(8000, 64 * 2**30, (Gpus("nvidia.com/gpu", "A100", 1),))
close = ("UPDATE jhub_usage_sessions SET state = 'ended', ended_at = now(), started_at = now(), "
         "billed_until_at = now() WHERE state = 'admitted'")
number, first = 0, getattr(admissions.admit_many, "first_statement", "")
print("ready", flush=True)
for line in sys.stdin:
    took = []
    for _ in range(64):
        number += 1
        ask = Ask(str(uuid.uuid4()), "hub", PersonKey(f"p{number % 500}", number % 500, EPOCH),
                  f"s{number}", "lab", shape, groups=("physics",))
        begun = time.perf_counter()
        with db.write(first) as tx:
            (d,) = admissions.admit_many(tx, [ask], policy=policy, cache=cache, actor=SYSTEM)
        took.append(time.perf_counter() - begun)
        assert d.may_start
    with db.write() as tx:
        tx.conn.exec_driver_sql(close)
    print(statistics.median(took), flush=True)
"""


class Turn:
    """One tree's process."""

    def __init__(self, tree: Path, url: str):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, url], cwd=tree, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": str(tree)},
        )  # fmt: skip
        assert self.process.stdout.readline() == "ready\n"

    def round(self) -> float:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=10)


def beside(server, revision: str, rounds: int) -> dict:
    """Medians of this checkout and of a revision, taking turns; the median ratio of the rounds."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "before"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", str(tree), revision], check=True,
                       capture_output=True)  # fmt: skip
        try:
            with server.database() as old, server.database() as new:
                turns = [Turn(tree, server.url(old)), Turn(ROOT, server.url(new))]
                for turn in turns:
                    turn.round()  # warm
                pairs = [[turn.round() for turn in turns] for _ in range(rounds)]
                for turn in turns:
                    turn.close()
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], capture_output=True)
    before, now = (statistics.median(times) * 1000 for times in zip(*pairs, strict=True))
    return {
        "revision": revision, "rounds": rounds, "before p50 ms": round(before, 2),
        "now p50 ms": round(now, 2),
        "ratio": round(statistics.median(n / b for b, n in pairs), 2),
    }  # fmt: skip


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wallets", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="2,000 wallets, few rounds")
    parser.add_argument("--before", metavar="REVISION", help="admission beside this revision")
    args = parser.parse_args(argv)
    number, rounds = (2000, 10) if args.quick else (args.wallets, 60)
    binaries = servers.find_binaries()
    if binaries is None:
        sys.exit("no PostgreSQL server programs: scripts/system-packages.sh installs them")
    servers.OPTIONS.update(fsync="on", full_page_writes="on", max_wal_size="4GB",
                           shared_buffers="256MB")  # fmt: skip
    server = servers.Postgres(binaries)
    try:
        if args.before:
            print(json.dumps(beside(server, args.before, rounds)), flush=True)
            return
        with tempfile.TemporaryDirectory() as folder:
            found = month_end(f"sqlite:///{folder}/usage.sqlite", number)
        print("SQLite     ", json.dumps(found), flush=True)
        with server.database() as name:
            print("PostgreSQL ", json.dumps(month_end(server.url(name), number)), flush=True)
    finally:
        server.close()


if __name__ == "__main__":
    main()
