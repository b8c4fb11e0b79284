"""Connections and transactions: PostgreSQL by psycopg 3, SQLite as the embedded default.

``Database.write()`` and ``Database.read()`` give a ``Tx``; nothing below a door opens or commits
one. Works behind a transaction-mode pooler: nothing is set outside a transaction, and statements
are prepared on the server only where no pooler stands before it. Does not see settings, and does
not retry what may have been committed.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url

from ..domain.errors import BadInput, DatabaseUnavailable, SchemaTooOld

Clock = Callable[[], datetime]
#: A statement is prepared on the server when one connection runs it for the sixth time.
PREPARE_AFTER = 5


class Tx:
    """One open transaction: the connection, and the clock that its actions read."""

    def __init__(self, conn: sa.Connection, clock: Clock | None, first=None):
        self.conn = conn
        self._clock = clock
        self._first = first
        #: What stays true until the end of this transaction, kept by whoever read it.
        self.kept: dict = {}

    def take_first(self):
        """The rows of the statement that went along with BEGIN, once; None if there was none."""
        first, self._first = self._first, None
        return first

    @property
    def postgres(self) -> bool:
        return self.conn.dialect.name == "postgresql"

    @property
    def asks_database_clock(self) -> bool:
        """Whether ``now`` is a statement, which a query may then bring along."""
        return self._clock is None and self.postgres

    def now(self) -> datetime:
        """The instant, read afresh: the database's clock, the process's on SQLite.

        Read it after the locks: what the previous holder did is then in the past.
        """
        if self._clock is not None:
            return self._clock()
        if self.postgres:
            return self.conn.exec_driver_sql("SELECT clock_timestamp()").scalar().astimezone(UTC)
        return datetime.now(UTC)

    def execute(self, statement, parameters=None) -> sa.CursorResult:
        if parameters is None:
            return self.conn.execute(statement)
        return self.conn.execute(statement, parameters)

    def row(self, statement):
        """The only row as a mapping, or None."""
        return self.conn.execute(statement).mappings().one_or_none()

    def rows(self, statement) -> list:
        """All rows as mappings."""
        return list(self.conn.execute(statement).mappings())

    def scalar(self, statement):
        return self.conn.execute(statement).scalar()

    def insert_once(self, table: sa.Table, values: dict) -> bool:
        """Insert a row unless its key is there; whether it was new. Waits for who inserts now."""
        insert = postgresql.insert if self.postgres else sqlite.insert
        statement = insert(table).values(**values).on_conflict_do_nothing()
        made = self.conn.execute(statement, execution_options={"preserve_rowcount": True})
        return made.rowcount == 1

    def lock(self, statement: sa.Select) -> sa.Select:
        """FOR UPDATE where that exists; a SQLite writer already is alone."""
        return statement.with_for_update() if self.postgres else statement


def normal_url(url: str) -> URL:
    """A database URL that we support, or BadInput. ``postgresql://`` means psycopg 3."""
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise BadInput(
            "The database URL can not be read. Write sqlite:///FILE or "
            "postgresql+psycopg://USER:PASSWORD@HOST/NAME."
        ) from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise BadInput(
            f"The database {parsed.drivername!r} is not supported: "
            "use sqlite or postgresql+psycopg."
        )
    if parsed.drivername == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise BadInput(
            "An SQLite database must be a file: the Hub and the service are two processes."
        )
    return parsed


class Database:
    """A database and how to open transactions on it. Opening nothing until it is needed."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        pool_size: int = 5,
        lock_timeout_s: float = 2.0,
        statement_timeout_s: float = 5.0,
    ):
        self.url = normal_url(url)
        self.clock = clock
        self.sqlite = self.url.drivername == "sqlite"
        self.lock_timeout_s = lock_timeout_s
        self.statement_timeout_s = statement_timeout_s
        self._writer = threading.Lock()
        set_local = (
            f"; SET LOCAL lock_timeout = {int(lock_timeout_s * 1000)}"
            f"; SET LOCAL statement_timeout = {int(statement_timeout_s * 1000)}"
            f"; SET LOCAL idle_in_transaction_session_timeout = {int(statement_timeout_s * 1000)}"
        )
        # Said in full and sent in one round trip: a database may have another default, and what
        # is read after a lock must not be as old as the transaction.
        self._begin_write = "begin isolation level read committed read write" + set_local
        self._begin_read = "begin isolation level repeatable read read only" + set_local
        self.engine = self._sqlite(pool_size) if self.sqlite else self._postgres(pool_size)
        if not self.sqlite:
            # The driver opens no transaction by itself, see _begun. What it is told to
            # commit or to roll back is ours all the same.
            self._ours = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    def _sqlite(self, pool_size: int) -> sa.Engine:
        folder = Path(self.url.database).expanduser().resolve().parent
        if not folder.is_dir():
            raise BadInput(f"The folder of the SQLite database does not exist: {folder}")
        engine = sa.create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=self.lock_timeout_s,
            connect_args={"timeout": self.lock_timeout_s},
        )

        @event.listens_for(engine, "connect")
        def _connect(dbapi, record):
            # transactions are opened by us, see _begin
            dbapi.isolation_level = None
            for pragma in (
                "journal_mode = WAL",
                "synchronous = FULL",
                "foreign_keys = ON",
                "recursive_triggers = ON",  # INSERT OR REPLACE slips past triggers otherwise
            ):
                dbapi.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(conn):
            write = conn.get_execution_options().get("jhub_usage_write")
            conn.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

        return engine

    def _postgres(self, pool_size: int) -> sa.Engine:
        engine = sa.create_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=self.lock_timeout_s + self.statement_timeout_s,
            pool_recycle=1800,
            pool_use_lifo=True,
            connect_args={
                "connect_timeout": max(2, int(self.lock_timeout_s)),
                # a pooler in transaction mode has no place for prepared statements, see _connect
                "prepare_threshold": None,
                "application_name": "jhub-usage",
                "keepalives_idle": 30,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": int((self.lock_timeout_s + self.statement_timeout_s) * 1000),
            },
        )

        @event.listens_for(engine, "connect")
        def _connect(dbapi, record):
            # A pooler tells the client another process number than that of the server's process
            # behind it. Where they agree nothing is in between, and preparing saves planning.
            (pid,) = dbapi.execute("SELECT pg_backend_pid()").fetchone()
            dbapi.rollback()
            if pid == dbapi.info.backend_pid:
                dbapi.prepare_threshold = PREPARE_AFTER

        return engine

    @contextmanager
    def write(self, first: str = "") -> Iterator[Tx]:
        """One read-write transaction: commits at the end, rolls back on any exception.

        ``first`` is a statement that PostgreSQL gets in one round trip with BEGIN, see
        ``Tx.take_first``; without parameters.
        """
        if self.sqlite:
            with self._alone(), _facts(), self.engine.connect() as conn:
                conn = conn.execution_options(jhub_usage_write=True)
                with conn.begin():
                    yield Tx(conn, self.clock)
            return
        with _facts(), self._begun(self._begin_write, first) as (conn, rows):
            yield Tx(conn, self.clock, rows)
            conn.commit()

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """One read-only transaction that sees one instant of the database throughout."""
        if self.sqlite:
            with _facts(), self.engine.connect() as conn, conn.begin():
                yield Tx(conn, self.clock)
            return
        with _facts(), self._begun(self._begin_read) as (conn, _):
            yield Tx(conn, self.clock)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # SQLite's own waiting is unfair to the point of starving; within the process we queue.
        if not self._writer.acquire(timeout=self.lock_timeout_s + self.statement_timeout_s):
            raise DatabaseUnavailable("The accounting database is busy.")
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def _begun(self, begin: str, first: str = "") -> Iterator[tuple[sa.Connection, list | None]]:
        # A pooled connection may have died while idle. Its first words have done nothing yet, so
        # those may be said again on a fresh connection; nothing later may.
        conn = self._ours.connect()
        try:
            try:
                rows = self._say(conn, begin, first)
            except sa.exc.DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                conn.invalidate(error)
                conn.close()
                conn = self._ours.connect()
                rows = self._say(conn, begin, first)
            if not conn.in_transaction():
                conn.begin()
            yield conn, rows
        finally:
            conn.close()

    def _say(self, conn: sa.Connection, begin: str, first: str) -> list | None:
        # The driver takes several statements at once, which SQLAlchemy has no way to pass on.
        driver, errors = conn.connection.driver_connection, conn.dialect.dbapi.Error
        text = f"{begin}; {first}" if first else begin
        try:
            cursor = driver.execute(text)
            while cursor.nextset():
                pass
            return cursor.fetchall() if first else None
        except errors as error:
            raise sa.exc.DBAPIError.instance(
                text, None, error, errors, connection_invalidated=driver.closed
            ) from error

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    def upgrade(self) -> list[str]:
        """Bring the schema up to this release; returns the revisions that were applied."""
        from . import migrate

        return migrate.upgrade(self)

    def check_schema(self) -> None:
        """Raise SchemaTooOld unless this release can work with the schema that is there."""
        from . import migrate

        with self.read() as tx:
            migrate.require_schema(tx.conn)


@contextmanager
def _facts() -> Iterator[None]:
    """Driver errors that mean "no database right now" become one fact."""
    try:
        yield
    except (sa.exc.TimeoutError, sa.exc.InterfaceError) as error:
        raise DatabaseUnavailable() from error
    except sa.exc.DBAPIError as error:
        text = str(error.orig)
        if "no such table: jhub_usage_" in text or (
            'relation "jhub_usage_' in text and "does not exist" in text
        ):
            raise SchemaTooOld() from error
        if isinstance(error, sa.exc.OperationalError) or error.connection_invalidated:
            raise DatabaseUnavailable() from error
        raise
