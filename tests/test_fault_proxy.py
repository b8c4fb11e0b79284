"""The fault proxy between a real client and a real PostgreSQL: each mode does what it says."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest


@pytest.fixture
def database(postgres):
    with postgres.database() as name:
        postgres.execute("create table t (n int)", name)
        yield name


@pytest.fixture
def connect(fault_proxy, database):
    """Connect through the proxy; a short timeout, because some modes never answer."""

    def connect(**options):
        url = fault_proxy.url(database).replace("+psycopg", "")
        return psycopg.connect(url, connect_timeout=2, **options)

    return connect


def rows(postgres, database):
    return [n for (n,) in postgres.execute("select n from t order by n", database)]


def test_pass_forwards_much_data(connect):
    with connect() as connection:
        text = "x" * 3_000_000
        assert connection.execute("select %s || ''", [text]).fetchone() == (text,)


def test_cut_breaks_open_and_new_connections_and_pass_heals(fault_proxy, connect):
    with connect() as connection:
        connection.execute("select 1")
        fault_proxy.cut()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
        with pytest.raises(psycopg.OperationalError):
            connect()
        fault_proxy.pass_on()
        with connect() as healed:
            assert healed.execute("select 1").fetchone() == (1,)


def test_blackhole_keeps_the_connection_and_answers_nothing(fault_proxy, connect):
    with connect(autocommit=True) as connection, ThreadPoolExecutor() as threads:
        connection.execute("select 1")
        fault_proxy.blackhole()
        answer = threads.submit(lambda: connection.execute("select 2").fetchone())
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            connect()
        assert not answer.done()
        # What was held back is delivered when the way is free again, as on a real network.
        fault_proxy.pass_on()
        assert answer.result(timeout=5) == (2,)


def test_a_lost_reply_to_commit_leaves_a_committed_row(fault_proxy, postgres, database, connect):
    with connect() as connection:
        connection.execute("insert into t values (1)")
        fault_proxy.drop_reply_after(b"COMMIT")
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    assert fault_proxy.swallowed == 1
    assert rows(postgres, database) == [1]

    # Once only: the retry gets through.
    with connect() as connection:
        connection.execute("insert into t values (2)")
        connection.commit()
    assert rows(postgres, database) == [1, 2]


def test_other_queries_pass_while_it_waits_for_its_bytes(fault_proxy, postgres, database, connect):
    fault_proxy.drop_reply_after(b"COMMIT")
    with connect() as connection:
        connection.execute("insert into t values (1)")
        connection.rollback()
    assert fault_proxy.swallowed == 0
    assert rows(postgres, database) == []
