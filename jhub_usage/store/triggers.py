"""The database itself refuses to change or delete a ledger entry (rule 25).

Verified at start and after every migration step: Alembic's batch mode drops triggers silently.
"""

import sqlalchemy as sa

TABLE = "jhub_usage_entries"
FUNCTION = "jhub_usage_entries_immutable"
MESSAGE = "ledger entries are immutable: book a correction instead"

SQLITE = {
    "jhub_usage_entries_no_update": (
        f"CREATE TRIGGER jhub_usage_entries_no_update BEFORE UPDATE ON {TABLE} "
        f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
    ),
    "jhub_usage_entries_no_delete": (
        f"CREATE TRIGGER jhub_usage_entries_no_delete BEFORE DELETE ON {TABLE} "
        f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
    ),
}
POSTGRES_FUNCTION = (
    f"CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$"
)
POSTGRES = {
    "jhub_usage_entries_no_change": (
        f"CREATE TRIGGER jhub_usage_entries_no_change BEFORE UPDATE OR DELETE ON {TABLE} "
        f"FOR EACH ROW EXECUTE FUNCTION {FUNCTION}()"
    ),
    "jhub_usage_entries_no_truncate": (
        f"CREATE TRIGGER jhub_usage_entries_no_truncate BEFORE TRUNCATE ON {TABLE} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()"
    ),
}


def create(conn: sa.Connection) -> None:
    """Add the triggers of this dialect."""
    if conn.dialect.name == "sqlite":
        for ddl in SQLITE.values():
            conn.exec_driver_sql(ddl)
    else:
        conn.exec_driver_sql(POSTGRES_FUNCTION)
        for ddl in POSTGRES.values():
            conn.exec_driver_sql(ddl)


def drop(conn: sa.Connection) -> None:
    """Take away what is left when the ledger itself is gone."""
    if conn.dialect.name != "sqlite":
        conn.exec_driver_sql(f"DROP FUNCTION IF EXISTS {FUNCTION}()")


def missing(conn: sa.Connection) -> list[str]:
    """Names of triggers that should be there, enabled, and are not."""
    if conn.dialect.name == "sqlite":
        there = conn.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).scalars()
        return sorted(set(SQLITE) - set(there))
    there = conn.execute(
        sa.text(
            "SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            "WHERE c.relname = :table AND NOT tgisinternal AND tgenabled IN ('O', 'A')"
        ),
        {"table": TABLE},
    ).scalars()
    return sorted(set(POSTGRES) - set(there))
