"""How long an admission takes on PostgreSQL, beside the same rows by hand and an empty commit.

All ways run in one go on one throw-away server with fsync on, so that their ratios mean something;
the milliseconds are those of the machine at hand. Between rounds the sessions that a round opened
are closed in bulk, since a wallet has tens of open sessions and not thousands.
Limitations: client and server share the machine, so tails at many at once are those of its cores.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import psycopg
from traitlets.config import Config

from jhub_usage.actions import admissions, hubs, modes, wallets
from jhub_usage.actions import rules as rule_actions
from jhub_usage.config import resolve
from jhub_usage.context import Context
from jhub_usage.domain.admission import Ask, PersonKey, Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.instants import EPOCH
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.spawning.gateway import Gateway
from jhub_usage.store import people
from jhub_usage.store.catalog import CatalogCache
from jhub_usage.store.engine import Database
from tests.support import postgres as servers

PEOPLE = 500
SHAPE = Shape(8000, 64 * 2**30, (Gpus("nvidia.com/gpu", "A100", 1),))
POLICY = Policy()
#: Closed in bulk after so many, so that a wallet never has more open sessions than this.
ROUND = 64
CLOSE = (
    "UPDATE jhub_usage_sessions SET state = 'ended', ended_at = now(), started_at = now(), "
    "billed_until_at = now() WHERE state = 'admitted'"
)


class Settings:
    def policy(self) -> Policy:
        return POLICY


class Bench:
    """One prepared database and the ways to admit on it."""

    def __init__(self, url: str, conninfo: str):
        self.url, self.conninfo = url, conninfo
        self.db = Database(url, pool_size=64, lock_timeout_s=30, statement_timeout_s=600)
        self.cache = CatalogCache()
        self.context = Context(Settings(), self.db)
        self.count = itertools.count()
        self._local = threading.local()
        self.pools: dict[int, ThreadPoolExecutor] = {}

    def prepare(self) -> None:
        self.db.upgrade()
        with self.db.write() as tx:
            hubs.install(tx, "hub", actor=SYSTEM)
            modes.set_mode(tx, "enforce", actor=SYSTEM)
            lab = wallets.create(tx, "lab", overdraft_micro=10**15, actor=SYSTEM)
            now = tx.now()
            found = people.resolve(tx, "hub", [self.person(n) for n in range(PEOPLE)], now)
            for key, person in found.items():
                wallets.create(
                    tx, f"~{key.name}", overdraft_micro=10**15, owner_id=person.id, actor=SYSTEM
                )
            self.ids = [p.id for p in found.values()]
            rules = [Rule(0, "wallet", lab, profile="lab"), Rule(1, "personal")]
            rule_actions.replace(tx, rules, actor=SYSTEM)
        self.lab = lab

    def person(self, number: int) -> PersonKey:
        return PersonKey(f"person{number}", number, EPOCH)

    def ask(self, one_wallet: bool) -> Ask:
        number = next(self.count)
        return Ask(
            session_id=str(uuid.uuid4()), hub_id="hub", person=self.person(number % PEOPLE),
            server_name=f"s{number}", profile="lab" if one_wallet else "own", shape=SHAPE,
            groups=("physics",),
        )  # fmt: skip

    # -- ways: each admits one start ------------------------------------------------------------

    def ours(self, one_wallet: bool) -> None:
        ask = self.ask(one_wallet)
        (decision,) = self.context.act(
            admissions.admit_many, [ask], policy=POLICY, cache=self.cache, actor=SYSTEM
        )
        assert decision.may_start, decision

    def connection(self):
        if not hasattr(self._local, "conn"):
            self._local.conn = psycopg.connect(self.conninfo)
        return self._local.conn

    def raw(self, one_wallet: bool) -> None:
        """Gate, wallet, sum, two rows: five statements and the commit, with nothing decided."""
        ask = self.ask(one_wallet)
        person_id = self.ids[int(ask.person.name.removeprefix("person"))]
        wallet_id = self.lab if one_wallet else self.lab + 1 + person_id - self.ids[0]
        conn = self.connection()
        now = datetime.now(UTC)
        with conn.transaction():
            run = conn.execute
            run("SELECT mode, config_version FROM jhub_usage_gate WHERE id = 1 FOR UPDATE")
            run("SELECT balance_micro, overdraft_micro FROM jhub_usage_wallets "
                "WHERE id = %s FOR UPDATE", (wallet_id,)).fetchone()  # fmt: skip
            run("SELECT sum(hold_micro - charged_micro) FROM jhub_usage_sessions "
                "WHERE wallet_id = %s AND state IN ('admitted', 'running')",
                (wallet_id,)).fetchone()  # fmt: skip
            run(
                "INSERT INTO jhub_usage_admissions (session_id, decided_at, decision, reason, "
                "text, details, hub_id, person_id, server_name, wallet_id, profile, mode, shape, "
                "quote, hold_micro, available_micro, requested_at) VALUES (%s, %s, 'admitted', "
                "'ok', 'fine', '{}', 'hub', %s, %s, %s, 'lab', 'enforce', %s, '{}', 0, 0, %s)",
                (ask.session_id, now, person_id, ask.server_name, wallet_id, SHAPE_JSON, now),
            )
            run(
                "INSERT INTO jhub_usage_sessions (id, hub_id, person_id, server_name, wallet_id, "
                "state, mode, billed, profile, cpu_milli, memory_bytes, gpu_milli, gpu_count, "
                "gpus, per_hour_micro, fee_micro, quote_lines, quoted_at, hold_micro, "
                "billed_from, grace_s, requested_at, admitted_at, start_deadline_at) VALUES "
                "(%s, 'hub', %s, %s, %s, 'admitted', 'enforce', true, 'lab', 8000, %s, 1000, 1, "
                "%s, 4000000, 0, '[]', %s, 1000000, 'container', 0, %s, %s, %s)",
                (ask.session_id, person_id, ask.server_name, wallet_id, SHAPE.memory_bytes,
                 SHAPE_JSON, now, now, now, now),
            )  # fmt: skip

    def empty(self, one_wallet: bool) -> None:
        """A commit that the disk must see, with nothing in it."""
        conn = self.connection()
        with conn.transaction():
            conn.execute("SELECT pg_logical_emit_message(true, 'bench', 'x')")

    # -- measuring ------------------------------------------------------------------------------

    def threads(self, way, at_once: int, one_wallet: bool) -> list[float]:
        """Seconds of each call of one round; ``at_once`` threads call as fast as they can."""
        took: list[float] = []
        left = itertools.count(1)
        share = max(1, ROUND // at_once) * at_once

        def work():
            while next(left) <= share:
                begun = time.perf_counter()
                way(one_wallet)
                took.append(time.perf_counter() - begun)

        if at_once == 1:
            work()
        else:
            pool = self.pool(at_once)
            for done in [pool.submit(work) for _ in range(at_once)]:
                done.result()
        self.close_all()
        return took

    def pool(self, threads: int) -> ThreadPoolExecutor:
        """Threads that stay, and with them their connections."""
        if threads not in self.pools:
            self.pools[threads] = ThreadPoolExecutor(threads)
        return self.pools[threads]

    def gateway(self, at_once: int, one_wallet: bool) -> list[float]:
        """Through the hooks' gateway, as the Hub calls it: coroutines on one event loop."""
        took: list[float] = []

        async def one():
            ask = self.ask(one_wallet)
            begun = time.perf_counter()
            decision = await self._gateway.admit(ask)
            took.append(time.perf_counter() - begun)
            assert decision.decision == "admitted", decision

        async def several():
            for _ in range(max(1, ROUND // at_once)):
                await asyncio.gather(*(one() for _ in range(at_once)))

        self._loop.run_until_complete(several())
        self.close_all()
        return took

    def open_gateway(self, folder: str) -> None:
        config = Config()
        config.JHubUsage.database_url = self.url
        config.JHubUsage.spool_dir = f"{folder}/spool"
        self._gateway = Gateway(resolve(config, {}))
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self._gateway.close()
        self._loop.close()
        for pool in self.pools.values():
            pool.shutdown()
        self.db.dispose()

    def close_all(self) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as conn:
            conn.execute(CLOSE)

    def past(self, sessions: int) -> None:
        """So many ended sessions, with their admissions and charges, in bulk."""
        with psycopg.connect(self.conninfo) as conn:
            # the rows are right by construction: no foreign key needs a look at each
            conn.execute("SET session_replication_role = replica")
            conn.execute(PAST_SESSIONS, (self.ids[0], PEOPLE, self.lab, sessions))
            conn.execute(PAST_ADMISSIONS)
            conn.execute(PAST_ENTRIES)
        with psycopg.connect(self.conninfo, autocommit=True) as conn:
            conn.execute("VACUUM ANALYZE")
            conn.execute("CHECKPOINT")


SHAPE_JSON = json.dumps(SHAPE.to_json())
PAST_SESSIONS = """
INSERT INTO jhub_usage_sessions (id, hub_id, person_id, server_name, wallet_id, state, mode,
  billed, profile, cpu_milli, memory_bytes, gpu_milli, gpu_count, gpus, per_hour_micro, fee_micro,
  quote_lines, quoted_at, hold_micro, billed_from, grace_s, requested_at, admitted_at,
  start_deadline_at, started_at, billed_from_at, ended_at, billed_until_at, charged_micro,
  settled_until)
SELECT 'past-' || n, 'hub', %s + n %% %s, 'past', %s, 'ended', 'enforce', true, 'lab', 8000,
  68719476736, 1000, 1, '[]', 4000000, 0, '[]', at, 1000000, 'container', 0, at, at, at, at, at,
  at + interval '1 hour', at + interval '1 hour', 4000000, at + interval '1 hour'
FROM (SELECT n, timestamptz '2024-01-01' + n * interval '30 seconds' AS at
      FROM generate_series(1, %s) n) x
ON CONFLICT DO NOTHING
"""
PAST_ADMISSIONS = """
INSERT INTO jhub_usage_admissions (session_id, decided_at, decision, reason, text, details, hub_id,
  person_id, wallet_id, shape, quote)
SELECT id, admitted_at, 'admitted', 'ok', 'fine', '{}', hub_id, person_id, wallet_id, '{}', '{}'
FROM jhub_usage_sessions WHERE server_name = 'past' ON CONFLICT DO NOTHING
"""
PAST_ENTRIES = """
INSERT INTO jhub_usage_entries (wallet_id, kind, amount_micro, key, effective_at, posted_at, period,
  session_id, slice_start, slice_end, actor_kind)
SELECT wallet_id, 'charge', -charged_micro, 'charge:' || id, ended_at, ended_at, '2025-01', id,
  started_at, ended_at, 'system'
FROM jhub_usage_sessions WHERE server_name = 'past' ON CONFLICT DO NOTHING
"""


def p(values, part: float) -> float:
    """A quantile in milliseconds."""
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))] * 1000


def measure(bench: Bench, label: str, at_once: int, total: int, one_wallet: bool) -> None:
    """One table. The ways take turns, so that whatever else the machine does meets all of them."""
    which = "one wallet" if one_wallet else "many wallets"
    ways = {
        "raw psycopg, five statements": partial(bench.threads, bench.raw),
        "admit_many, one per transaction": partial(bench.threads, bench.ours),
        "gateway (coalescing), as the Hub": bench.gateway,
        "empty commit": partial(bench.threads, bench.empty),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(1 + max(2, total // ROUND)):
        for name, way in ways.items():
            seconds = way(at_once, one_wallet)
            if turn:  # the first one warms up
                took[name] += seconds
    print(f"\n{at_once} at once, {which}, {label:<22} p50 ms   p99 ms   / raw")
    base = statistics.median(took["raw psycopg, five statements"])
    for name, values in took.items():
        middle = statistics.median(values)
        print(
            f"  {name:<36} {middle * 1000:8.2f} {p(values, 0.99):8.2f} "
            f"{middle / base:7.2f}   ({len(values)})",
            flush=True,
        )


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without the million, fewer rounds")
    parser.add_argument("--total", type=int, help="admissions per cell")
    parser.add_argument("--past", type=int, nargs="*", help="past sessions (default 0 10000 10^6)")
    parser.add_argument("--at-once", type=int, nargs="*", default=None)
    args = parser.parse_args(arguments)
    total = args.total or (256 if args.quick else 640)
    pasts = args.past if args.past is not None else [0, 10_000] + [10**6] * (not args.quick)
    binaries = servers.find_binaries()
    if binaries is None:
        sys.exit("no PostgreSQL server programs: scripts/system-packages.sh installs them")
    servers.OPTIONS.update(fsync="on", full_page_writes="on", max_wal_size="4GB",
                           shared_buffers="256MB")  # fmt: skip
    server = servers.Postgres(binaries)
    begun = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder, server.database() as name:
            bench = Bench(server.url(name), server.conninfo(name))
            bench.prepare()
            bench.open_gateway(folder)
            done = 0
            for past in pasts:
                if past > done:
                    bench.past(past)
                    done = past
                label = f"{past} past sessions"
                for at_once in args.at_once or ([1, 50] if args.quick else [1, 16, 50, 64]):
                    for one_wallet in (True, False):
                        measure(bench, label, at_once, total, one_wallet)
            bench.close()
    finally:
        server.close()
    print(f"\n{time.monotonic() - begun:.0f} s in all")


if __name__ == "__main__":
    main()
