"""Transactions on a database that stalls, dies, hides behind a pooler or does not answer at all."""

import subprocess
import sys
import threading
import time

import psycopg
import pytest
import sqlalchemy as sa

from jhub_usage.actions import hubs, wallets
from jhub_usage.domain.admission import Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.errors import DatabaseUnavailable, SchemaTooOld
from jhub_usage.store import catalog
from jhub_usage.store.engine import Database

POLICY = Policy()


def prepared(url, **more):
    database = Database(url, **more)
    database.upgrade()
    with database.write() as tx:
        hubs.install(tx, "hub", actor=SYSTEM)
    return database


@pytest.fixture
def db(db_url):
    database = prepared(db_url, lock_timeout_s=0.5, statement_timeout_s=1.0)
    yield database
    database.dispose()


def name_of(url):
    return url.rsplit("/", 1)[1]


def test_an_exception_leaves_nothing_behind(db):
    with pytest.raises(KeyError), db.write() as tx:
        wallets.create(tx, "lab", actor=SYSTEM)
        raise KeyError("something went wrong")
    with db.read() as tx:
        assert tx.conn.exec_driver_sql("SELECT count(*) FROM jhub_usage_wallets").scalar() == 0
    with db.write() as tx:
        wallets.create(tx, "lab", actor=SYSTEM)


def test_a_read_sees_one_instant(db):
    with db.read() as tx:
        assert tx.scalar(sa.text("SELECT count(*) FROM jhub_usage_wallets")) == 0
        with db.write() as other:
            wallets.create(other, "lab", actor=SYSTEM)
        assert tx.scalar(sa.text("SELECT count(*) FROM jhub_usage_wallets")) == 0
    with db.read() as tx:
        assert tx.scalar(sa.text("SELECT count(*) FROM jhub_usage_wallets")) == 1


def test_a_lock_is_waited_for_only_so_long(db):
    """A cut-off hub that holds the gate must not stop everyone for good (rule 19)."""
    held, done = threading.Event(), threading.Event()

    def hold():
        other = Database(str(db.url), lock_timeout_s=5)
        with other.write() as tx:
            catalog.lock_gate(tx)
            held.set()
            done.wait(10)
        other.dispose()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(5)
    begun = time.monotonic()
    try:
        with pytest.raises(DatabaseUnavailable), db.write() as tx:
            catalog.lock_gate(tx)
        assert time.monotonic() - begun < 2.5
    finally:
        done.set()
        thread.join()
    with db.write() as tx:
        assert catalog.lock_gate(tx)[0] == "observe"


class TestTheGateAlongWithBegin:
    """One round trip for both: it fails, waits and is repeated like the first statement it is."""

    @catalog.through_gate
    def take(tx):
        return catalog.lock_gate(tx)

    first = take.first_statement

    def test_it_is_the_gate_and_its_lock(self, db):
        with db.write(self.first) as tx:
            assert catalog.lock_gate(tx) == ("observe", 1)
            tx.conn.exec_driver_sql("UPDATE jhub_usage_gate SET mode = 'off'")
            assert catalog.lock_gate(tx) == ("off", 1)  # asked again, it is read again
            other = Database(str(db.url), lock_timeout_s=0.2)
            with pytest.raises(DatabaseUnavailable), other.write(self.first) as second:
                catalog.lock_gate(second)
            other.dispose()
        with db.write(self.first) as tx:
            assert catalog.lock_gate(tx) == ("off", 1)

    def test_what_is_done_with_nothing_else_is_undone(self, db):
        with pytest.raises(KeyError), db.write(self.first):
            raise KeyError
        with db.write(self.first) as tx:
            assert catalog.lock_gate(tx)

    def test_a_database_without_tables(self, db_url):
        db = Database(db_url)
        with pytest.raises(SchemaTooOld, match="db upgrade"), db.write(self.first) as tx:
            catalog.lock_gate(tx)
        db.upgrade()
        with pytest.raises(SchemaTooOld), db.write(self.first) as tx:
            catalog.lock_gate(tx)
        db.dispose()

    def test_a_pooled_connection_that_died(self, postgres, pg_url):
        db = prepared(pg_url, pool_size=1)
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name_of(pg_url)}'"
        )
        with db.write(self.first) as tx:
            assert catalog.lock_gate(tx) == ("observe", 1)
        db.dispose()


def test_a_transaction_that_lies_idle_is_ended_by_the_server(pg_url):
    """A hub that was cut off while it held the gate: its lock ends with its transaction."""
    db = prepared(pg_url, lock_timeout_s=3, statement_timeout_s=0.4)
    with pytest.raises(DatabaseUnavailable), db.write() as tx:
        catalog.lock_gate(tx)
        time.sleep(1)
        catalog.lock_gate(tx)
    with db.write() as tx:
        catalog.lock_gate(tx)
    db.dispose()


def test_timeouts_end_with_their_transaction(pg_url):
    db = prepared(pg_url, pool_size=1)
    with db.write() as tx:
        assert tx.conn.exec_driver_sql("SHOW lock_timeout").scalar() == "2s"
    with db.engine.connect() as conn:
        assert conn.exec_driver_sql("SHOW lock_timeout").scalar() == "0"
        assert conn.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
    db.dispose()


def test_isolation_is_ours_whatever_the_database_prefers(postgres, pg_url):
    """Where the default is REPEATABLE READ, what is read after the gate must still be new."""
    name = name_of(pg_url)
    postgres.execute(
        f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'"
    )
    db = prepared(pg_url)
    with db.write() as tx:
        tx.conn.exec_driver_sql("SELECT 1 FROM jhub_usage_gate")
        postgres.execute("UPDATE jhub_usage_gate SET mode = 'enforce'", name)
        assert tx.conn.exec_driver_sql("SELECT mode FROM jhub_usage_gate").scalar() == "enforce"
    with db.read() as tx, pytest.raises(sa.exc.DBAPIError, match="read-only"):
        tx.conn.exec_driver_sql("UPDATE jhub_usage_gate SET mode = 'off'")
    db.dispose()


def test_the_clock_is_read_after_the_wait(db):
    """`now()` of PostgreSQL would be as old as the transaction (rule 3)."""
    with db.write() as tx:
        first = tx.now()
        time.sleep(0.01)
        assert tx.now() > first
        assert tx.now().utcoffset().total_seconds() == 0


def test_a_pooled_connection_that_died_is_replaced(postgres, pg_url):
    db = prepared(pg_url, pool_size=1)
    for _ in range(2):
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name_of(pg_url)}'"
        )
        with db.write() as tx:
            catalog.lock_gate(tx)
    postgres.stop()
    with pytest.raises(DatabaseUnavailable), db.write():
        pass
    postgres.start()
    with db.read() as tx:
        assert catalog.read_gate(tx)[0] == "observe"
    db.dispose()


def test_a_connection_that_dies_in_between_is_never_tried_again(postgres, pg_url):
    """Nobody may repeat what perhaps was committed."""
    db = prepared(pg_url, pool_size=1)
    runs = []
    with pytest.raises(DatabaseUnavailable), db.write() as tx:
        catalog.lock_gate(tx)
        runs.append(1)
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name_of(pg_url)}'"
        )
        wallets.create(tx, "lab", actor=SYSTEM)
    assert runs == [1]
    db.dispose()


def test_a_server_that_cuts_connections(postgres, pg_url, fault_proxy):
    db = prepared(fault_proxy.url(name_of(pg_url)), lock_timeout_s=1, statement_timeout_s=1)
    fault_proxy.cut()
    begun = time.monotonic()
    with pytest.raises(DatabaseUnavailable), db.write() as tx:
        catalog.lock_gate(tx)
    assert time.monotonic() - begun < 5
    fault_proxy.pass_on()
    with db.write() as tx:
        catalog.lock_gate(tx)
    db.dispose()


async def test_a_server_that_never_answers(pg_url, fault_proxy):
    """The driver itself may wait for ever; whoever asks gets an answer in time (rule 19)."""
    from jhub_usage.context import Context

    class Settings:
        def policy(self):
            return POLICY

    db = prepared(fault_proxy.url(name_of(pg_url)), lock_timeout_s=1, statement_timeout_s=1)
    ctx = Context(Settings(), db, workers=2)
    fault_proxy.blackhole()
    for _ in range(4):  # also when each thread of the pool is stuck
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await ctx.act_soon(lambda tx, actor: catalog.lock_gate(tx), actor=SYSTEM, timeout_s=0.3)
        assert time.monotonic() - begun < 1.5
    fault_proxy.cut()
    ctx.close()


def test_a_new_connection_into_the_void_is_given_up(pg_url, fault_proxy):
    db = Database(fault_proxy.url(name_of(pg_url)), lock_timeout_s=1)
    fault_proxy.blackhole()
    begun = time.monotonic()
    with pytest.raises(DatabaseUnavailable), db.write():
        pass
    assert time.monotonic() - begun < 6
    db.dispose()


def test_behind_a_pooler_in_transaction_mode(pgbouncer, pg_url):
    """Nothing outlives a transaction: no setting, no lock, no prepared statement."""
    db = prepared(pgbouncer.url(name_of(pg_url)), pool_size=4)
    lab = []
    with db.write() as tx:
        lab.append(wallets.create(tx, "lab", actor=SYSTEM))

    def grant(number):
        for turn in range(10):
            with db.write() as tx:
                wallets.grant(tx, lab[0], 1, policy=POLICY, actor=SYSTEM, key=f"{number}-{turn}")

    threads = [threading.Thread(target=grant, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.read() as tx:
        assert wallets.find(tx, "lab").balance_micro == 40
    with psycopg.connect(str(db.url.set(drivername="postgresql").render_as_string(False))) as conn:
        assert conn.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    with db._ours.connect() as conn:
        assert conn.connection.driver_connection.prepare_threshold is None
    db.dispose()


def test_statements_are_prepared_where_no_pooler_is(pg_url):
    db = prepared(pg_url, pool_size=1)
    for _ in range(8):
        with db.write() as tx:
            catalog.lock_gate(tx)
    with db.read() as tx:
        names = tx.conn.exec_driver_sql("SELECT statement FROM pg_prepared_statements").scalars()
        assert any("jhub_usage_gate" in name for name in names)
    db.dispose()


WRITER = """
import sys
from jhub_usage.actions import wallets
from jhub_usage.domain.admission import Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.store.engine import Database
database = Database(sys.argv[1])
for n in range(25):
    with database.write() as tx:
        wallets.grant(tx, 1, 1, policy=Policy(), actor=SYSTEM)
"""


def test_two_processes_write_one_sqlite_file(sqlite_url):
    """The Hub and its service."""
    db = prepared(sqlite_url)
    with db.write() as tx:
        wallets.create(tx, "lab", actor=SYSTEM)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, sqlite_url]) for _ in range(3)]
    assert [w.wait(60) for w in writers] == [0, 0, 0]
    with db.read() as tx:
        assert wallets.find(tx, "lab").balance_micro == 75
    db.dispose()


def test_sqlite_is_set_up_as_it_must_be(sqlite_url):
    db = prepared(sqlite_url)
    with db.read() as tx:
        for pragma, value in (("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 2),
                              ("recursive_triggers", 1)):  # fmt: skip
            assert tx.conn.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    db.dispose()
