"""Schema changes: Alembic in the wheel, one transaction under one lock, triggers verified.

The own version table lets the Hub's database be shared. A schema that is newer than this release
is accepted, since a rollback of the release must not stop spawns.
"""

import threading
from pathlib import Path

import sqlalchemy as sa

from ..domain.errors import SchemaTooOld, UsageError
from . import triggers
from .tables import PREFIX, VERSION_TABLE, metadata

# alembic.context is global to the process
_alembic = threading.Lock()
#: Any number that nobody else locks by.
ADVISORY_LOCK = 0x6A687562


def _script():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config, ScriptDirectory.from_config(config)


def head() -> str:
    """The newest revision that this release knows."""
    return _script()[1].get_current_head()


def current(conn: sa.Connection) -> str | None:
    """The revision of the database, None for an empty one."""
    if not sa.inspect(conn).has_table(VERSION_TABLE):
        return None
    return conn.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608


def require_schema(conn: sa.Connection) -> None:
    """Raise SchemaTooOld when revisions of this release are not applied yet."""
    have = current(conn)
    if have is None:
        raise SchemaTooOld("The database has no tables yet: run `jhub-usage db upgrade`.")
    _, script = _script()
    known = {revision.revision for revision in script.walk_revisions()}
    if have in known and have != script.get_current_head():
        raise SchemaTooOld()


def upgrade(database, revision: str = "head") -> list[str]:
    """Apply what is missing; racing processes wait for each other. Returns what was applied."""
    return _run(database, revision, down=False)


def downgrade(database, revision: str) -> list[str]:
    """Go back to a revision; for tests and for an operator who knows why."""
    return _run(database, revision, down=True)


def _run(database, revision: str, *, down: bool) -> list[str]:
    from alembic.runtime.environment import EnvironmentContext

    config, script = _script()
    applied: list[str] = []
    with _alembic, _changing(database) as conn:
        have = current(conn)
        if not down and revision == "head":
            known = {r.revision for r in script.walk_revisions()}
            if have == script.get_current_head() or (have and have not in known):
                return []

        def steps(rev, context):
            if down:
                return script._downgrade_revs(revision, rev)
            return script._upgrade_revs(revision, rev)

        def verify(ctx, step, heads, run_args):
            applied.append(step.up_revision_id)
            # a step back to nothing has no ledger to guard
            if sa.inspect(conn).has_table(triggers.TABLE):
                gone = triggers.missing(conn)
                if gone:
                    raise UsageError(f"The migration lost triggers: {', '.join(gone)}.")

        with EnvironmentContext(config, script, fn=steps) as environment:
            environment.configure(
                connection=conn,
                target_metadata=metadata,
                version_table=VERSION_TABLE,
                include_name=_ours,
                on_version_apply=[verify],
                transactional_ddl=True,
            )
            environment.run_migrations()
    return applied


def _ours(name, kind, parents) -> bool:
    return kind != "table" or (name or "").startswith(PREFIX)


class _changing:
    """A connection in one transaction that holds the migration lock."""

    def __init__(self, database):
        self.database = database

    def __enter__(self) -> sa.Connection:
        self.conn = self.database.engine.connect()
        if self.database.sqlite:
            self.conn = self.conn.execution_options(jhub_usage_write=True)
            # another process may be building the tables: wait longer than a spawn would
            self.conn.connection.dbapi_connection.execute("PRAGMA busy_timeout = 60000")
        try:
            self.tx = self.conn.begin()
            if not self.database.sqlite:
                self.conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
                self.conn.exec_driver_sql("SET LOCAL lock_timeout = '30s'")
        except BaseException:
            self.conn.close()
            raise
        return self.conn

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                self.tx.commit()
            else:
                self.tx.rollback()
        finally:
            if self.database.sqlite:
                ms = int(self.database.lock_timeout_s * 1000)
                self.conn.connection.dbapi_connection.execute(f"PRAGMA busy_timeout = {ms}")
            self.conn.close()
