"""Databases that are set up for a race, and the processes that run it."""

import multiprocessing
import time
import uuid
from concurrent.futures import ProcessPoolExecutor

import pytest
import sqlalchemy as sa

from jhub_usage.actions import check, hubs, limits, modes, rules, wallets
from jhub_usage.domain.admission import Ask, PersonKey
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.store import tables as t

from . import work

PROCESSES = 4
#: At 4 credits per GPU-hour the first 15 minutes of this cost one credit.
ONE_GPU = Shape(1000, 2**30, (Gpus("nvidia.com/gpu", "A100", 1),))


@pytest.fixture(scope="session")
def processes():
    with ProcessPoolExecutor(
        PROCESSES, mp_context=multiprocessing.get_context("spawn")
    ) as executor:
        yield executor


class Race:
    """A database in mode enforce, with wallets to race for."""

    def __init__(self, url, processes):
        self.url, self.processes = url, processes
        self.db = work.database(url)
        self.db.upgrade()
        with self.db.write() as tx:
            hubs.install(tx, "hub", actor=SYSTEM)
            modes.set_mode(tx, "enforce", actor=SYSTEM)
            rules.replace(tx, [], actor=SYSTEM)

    def wallet(self, name, credits, *, profile="") -> int:
        """A wallet, which pays for a profile if one is given."""
        with self.db.write() as tx:
            wallet_id = wallets.create(tx, name, actor=SYSTEM)
            if credits:
                wallets.grant(tx, wallet_id, credits * 10**6, policy=work.POLICY, actor=SYSTEM)
            if profile:
                rules.add(tx, Rule(0, "wallet", wallet_id, profile=profile), actor=SYSTEM)
        return wallet_id

    def limit(self, limit):
        with self.db.write() as tx:
            limits.add(tx, limit, actor=SYSTEM)

    def run(self, *calls, **more):
        """Calls of `work`, each in a process of its own, at one instant; their results."""
        list(self.processes.map(work.warm, [self.url] * PROCESSES))
        start_at = time.time() + 0.15
        futures = [
            self.processes.submit(function, self.url, *arguments, start_at, **more)
            for function, *arguments in calls
        ]
        return [future.result(timeout=60) for future in futures]

    def admit(self, asks, *, batch=1, **more):
        """All decisions about these asks, which race in batches over every process."""
        batches = [asks[n : n + batch] for n in range(0, len(asks), batch)]
        shares = [batches[n::PROCESSES] for n in range(PROCESSES)]
        done = self.run(*((work.admit, share) for share in shares), **more)
        return [decision for decisions in done for decision in decisions]

    def open_sessions(self) -> int:
        with self.db.read() as tx:
            here = t.sessions_.c.state.in_(("admitted", "running"))
            return tx.scalar(sa.select(sa.func.count()).select_from(t.sessions_).where(here))

    def balance(self, wallet_id) -> int:
        with self.db.read() as tx:
            return wallets.find(tx, wallet_id).balance_micro

    def check(self):
        """Every invariant holds."""
        with self.db.read() as tx:
            assert failed(check.check(tx)) == []

    def empty(self):
        """Void what is open, for another round."""
        with self.db.write() as tx:
            tx.execute(
                t.sessions_.update()
                .where(t.sessions_.c.state == "admitted")
                .values(state="void", ended_at=tx.now(), billed_until_at=tx.now(),
                        ended_evidence="test")
            )  # fmt: skip

    def close(self):
        self.db.dispose()


@pytest.fixture
def own_pg_url(postgres, pg_template):
    """A database of one's own: the processes keep what they know by its address."""
    with postgres.database(template=pg_template) as name:
        yield postgres.url(name)


@pytest.fixture(params=["sqlite", "postgres"])
def own_url(request, sqlite_url):
    return sqlite_url if request.param == "sqlite" else request.getfixturevalue("own_pg_url")


@pytest.fixture
def race(own_url, processes):
    made = Race(own_url, processes)
    yield made
    made.close()


@pytest.fixture
def pg_race(own_pg_url, processes):
    made = Race(own_pg_url, processes)
    yield made
    made.close()


def ask(person, *, profile="lab", groups=()):
    """One start of one GPU."""
    number = sum(person.encode())
    return Ask(
        session_id=str(uuid.uuid4()), hub_id="hub", person=PersonKey(person, number),
        server_name=uuid.uuid4().hex[:8], profile=profile, shape=ONE_GPU, groups=groups,
    )  # fmt: skip
