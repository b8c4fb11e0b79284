"""What the racing processes run. Each has its own connections; all begin at one instant.

Also the broken copies: the same admission without the gate, or with its sums taken in the locking
statement. A race test that does not notice them proves nothing.
"""

import contextlib
import functools
import threading
import time
from unittest import mock

import sqlalchemy as sa

from jhub_usage.actions import admissions, keys, sessions, wallets
from jhub_usage.domain.admission import Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.errors import DatabaseUnavailable, UsageError
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store import catalog, period_use
from jhub_usage.store import sessions as session_rows
from jhub_usage.store.engine import Database

POLICY = Policy()


@functools.cache
def database(url: str) -> Database:
    return Database(url, pool_size=8, lock_timeout_s=5, statement_timeout_s=10)


@functools.cache
def cache_of(url: str) -> catalog.CatalogCache:
    return catalog.CatalogCache()


def _with_retries(url, act, first=""):
    """As the hook does: what did not get through is asked again, with the same UUID."""
    for _ in range(20):
        try:
            with database(url).write(first) as tx:
                return act(tx)
        except DatabaseUnavailable:
            time.sleep(0.01)
    raise AssertionError("no answer from the database")


def _at_once(start_at, jobs) -> list:
    """Each job on its own thread, all at one instant."""
    results = [None] * len(jobs)

    def run(number, job):
        time.sleep(max(0, start_at - time.time()))
        results[number] = job()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def warm(url):
    """Connections are open before the race."""
    with database(url).read() as tx:
        catalog.read_gate(tx)
    return True


def admit(url, batches, start_at, *, broken="", threads=3) -> list:
    """Decisions about these batches of asks, in order, each batch in one transaction."""

    def act(batch):
        return lambda tx: admissions.admit_many(
            tx, batch, policy=POLICY, cache=cache_of(url), actor=SYSTEM
        )

    # the gate's lock goes along with BEGIN, as it does at the doors
    first = "" if broken else admissions.admit_many.first_statement

    def run(mine):
        return [_with_retries(url, act(batch), first) for batch in mine]

    with BROKEN[broken]():
        shares = [batches[n::threads] for n in range(threads)]
        done = _at_once(start_at, [functools.partial(run, share) for share in shares])
    return [decision for share in done for decisions in share for decision in decisions]


def void(url, ids, start_at) -> None:
    time.sleep(max(0, start_at - time.time()))
    for session_id in ids:
        _with_retries(
            url, functools.partial(sessions.void, session_id=session_id, reason="cancelled",
                                   actor=SYSTEM),
        )  # fmt: skip


def end(url, ids, at, start_at) -> None:
    """Tell the end of each session, and settle it besides."""
    time.sleep(max(0, start_at - time.time()))
    for session_id in ids:
        ended = Sighting(session_id, "ended", at, "post_stop_hook", "stopped")
        _with_retries(url, lambda tx, id=session_id: sessions.settle(
            tx, id, at, policy=POLICY, actor=SYSTEM))  # fmt: skip
        _with_retries(url, lambda tx, e=ended: sessions.record(
            tx, e, policy=POLICY, actor=SYSTEM))  # fmt: skip


def move(url, verb, arguments, times, start_at) -> list[str]:
    """Call a wallet's verb so many times; what became of each."""

    def once():
        try:
            _with_retries(
                url, lambda tx: getattr(wallets, verb)(tx, *arguments, policy=POLICY, actor=SYSTEM)
            )
        except UsageError as error:
            return error.code
        return "done"

    return _at_once(start_at, [once] * times)


def grant_by_key(url, wallet_id, key, start_at):
    """A client's write that it may retry."""
    time.sleep(max(0, start_at - time.time()))

    def act(tx):
        return {"id": wallets.grant(tx, wallet_id, 10**6, policy=POLICY, actor=SYSTEM)}

    return _with_retries(
        url, lambda tx: keys.once(tx, "person:ada", "grant", key, {"amount": 1}, act)
    )


# -- broken copies --------------------------------------------------------------------------------


@contextlib.contextmanager
def no_gate():
    """Each admission locks its wallet only."""
    with mock.patch.object(catalog, "lock_gate", catalog.read_gate):
        yield


@contextlib.contextmanager
def sums_in_the_locking_statement():
    """What the statement that waits for the gate reads is as old as its beginning."""
    real = session_rows.open_meters_now

    def lock_gate(tx):
        row = tx.execute(
            sa.text(
                "SELECT mode, config_version, ARRAY(SELECT id FROM jhub_usage_sessions "
                "WHERE state IN ('admitted', 'running')) FROM jhub_usage_gate FOR UPDATE"
            )
        ).one()
        tx.seen = set(row[2])
        return row[0], row[1]

    def open_meters_now(tx, ids):
        found, now = real(tx, ids)
        return {w: [m for m in ms if m.session_id in tx.seen] for w, ms in found.items()}, now

    with (
        mock.patch.object(catalog, "lock_gate", lock_gate),
        mock.patch.object(session_rows, "open_meters_now", open_meters_now),
    ):
        yield


@contextlib.contextmanager
def ended_before_open():
    """Counters are read in a statement of their own, before the open sessions."""
    real = period_use.read

    def read(tx, scopes, days):
        ended = real(tx, scopes, days).ended
        return period_use.PeriodUse(real(tx, scopes, days).open, ended)

    with mock.patch.object(period_use, "read", read):
        yield


BROKEN = {
    "": contextlib.nullcontext,
    "ended before open": ended_before_open,
    "no gate": no_gate,
    "sums in the locking statement": sums_in_the_locking_statement,
}
