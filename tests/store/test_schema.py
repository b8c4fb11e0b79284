"""Migrations make the very tables that the code declares, race safely, and share a database.

Rules 25 and 32: own prefix and version table, triggers after every step, the previous release's
code on this release's schema.
"""

import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from jhub_usage.actions import hubs
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.errors import SchemaTooOld, UsageError
from jhub_usage.store import migrate, triggers
from jhub_usage.store.engine import Database
from jhub_usage.store.tables import PREFIX, VERSION_TABLE, metadata

from .schema import described


@pytest.fixture
def db(db_url):
    database = Database(db_url)
    yield database
    database.dispose()


@pytest.fixture
def another_url(request, db_url, tmp_path):
    if db_url.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'another.sqlite'}"
        return
    server = request.getfixturevalue("postgres")
    with server.database() as name:
        yield server.url(name)


def ours(name, kind, parents):
    return kind != "table" or (name.startswith(PREFIX) and name != VERSION_TABLE)


def test_migrations_and_tables_agree(db):
    assert db.upgrade() == ["0001", "0002"]
    with db.engine.connect() as conn:
        # defaults are compared below: SQLite spells them in a way that Alembic can not read
        options = {"include_name": ours, "compare_type": True}
        context = MigrationContext.configure(conn, opts=options)
        differences = compare_metadata(context, metadata)
    # Alembic tells columns of SQLite apart that are one there
    assert [d for d in differences if d[0] != "modify_type"] == []


def test_what_migrations_make_is_what_the_tables_say(db, another_url):
    """Read back from both: CHECKs by name, partial indexes, defaults and types as well."""
    db.upgrade()
    declared = Database(another_url)
    try:
        metadata.create_all(declared.engine)
        made, wanted = described(db.engine), described(declared.engine)
    finally:
        declared.dispose()
    assert made.keys() == wanted.keys() == {t.name for t in metadata.sorted_tables}
    for table in wanted:
        assert made[table] == wanted[table], table
    assert "ck_jhub_usage_gate_one_row" in made["jhub_usage_gate"]["checks"]


def test_every_check_has_a_name():
    for table in metadata.sorted_tables:
        for constraint in table.constraints:
            assert constraint.name, f"{table.name}: {constraint}"


def test_every_name_fits_into_postgresql():
    names = [t.name for t in metadata.sorted_tables]
    names += [i.name for t in metadata.sorted_tables for i in t.indexes]
    names += [str(c.name) for t in metadata.sorted_tables for c in t.constraints]
    assert [n for n in names if len(n) > 63] == []


def test_triggers_are_there_after_every_step_up_and_down(db):
    _, script = migrate._script()
    revisions = [r.revision for r in script.walk_revisions()][::-1]
    path = [(migrate.upgrade, r) for r in revisions]
    path += [(migrate.downgrade, r) for r in revisions[-2::-1]]
    path += [(migrate.upgrade, r) for r in revisions[1:]]
    path += [(migrate.downgrade, "base"), (migrate.upgrade, "head")]
    for go, target in path:
        go(db, target)
        with db.engine.connect() as conn:
            has_ledger = sa.inspect(conn).has_table(triggers.TABLE)
            assert has_ledger is (target != "base")
            assert not has_ledger or triggers.missing(conn) == []
    assert db.upgrade() == []


def test_going_back_leaves_nothing_of_ours(db):
    db.upgrade()
    migrate.downgrade(db, "base")
    left = [t for t in sa.inspect(db.engine).get_table_names() if t.startswith(PREFIX)]
    assert left in ([], [VERSION_TABLE])
    if not db.sqlite:
        with db.engine.connect() as conn:
            functions = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'jhub_usage%%'"
            assert conn.exec_driver_sql(functions).scalar() == 0


def test_a_step_that_loses_a_trigger_is_undone(db, monkeypatch):
    """Alembic's batch mode drops triggers without a word: then the whole upgrade fails."""
    monkeypatch.setattr(triggers, "create", lambda conn: None)
    with pytest.raises(UsageError, match="lost triggers"):
        db.upgrade()
    with db.engine.connect() as conn:
        assert not sa.inspect(conn).has_table(triggers.TABLE)
    monkeypatch.undo()
    assert db.upgrade() == ["0001", "0002"]


RACER = """
import sys
from jhub_usage.store.engine import Database
from jhub_usage.actions import hubs
from jhub_usage.domain.audit import SYSTEM
sys.stdin.readline()
database = Database(sys.argv[1])
done = database.upgrade()
with database.write() as tx:
    hubs.install(tx, "hub", actor=SYSTEM)
print(",".join(done) or "-")
"""


def test_processes_that_race_to_set_up(db, db_url):
    """The Hub's service and its hooks start together, or two hubs do."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, db_url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    ends = [(*racer.communicate(timeout=60), racer.returncode) for racer in racers]
    assert [code for _, _, code in ends] == [0] * 4, ends
    assert sorted(out.strip() for out, _, _ in ends) == ["-", "-", "-", "0001,0002"]
    with db.read() as tx:
        assert tx.conn.exec_driver_sql("SELECT count(*) FROM jhub_usage_gate").scalar() == 1
        assert tx.conn.exec_driver_sql("SELECT count(*) FROM jhub_usage_rules").scalar() == 1


def test_an_empty_database_names_the_command(db):
    with pytest.raises(SchemaTooOld, match="jhub-usage db upgrade"):
        db.check_schema()
    with pytest.raises(SchemaTooOld, match="jhub-usage db upgrade"), db.write() as tx:
        hubs.install(tx, "hub", actor=SYSTEM)


def test_an_older_schema_names_the_command(db, monkeypatch):
    db.upgrade()
    db.check_schema()
    config, script = migrate._script()

    class Newer:
        """This release, with one revision more than the database has."""

        def get_current_head(self):
            return "9999"

        def walk_revisions(self):
            return script.walk_revisions()

    monkeypatch.setattr(migrate, "_script", lambda: (config, Newer()))
    with pytest.raises(SchemaTooOld, match="jhub-usage db upgrade"):
        db.check_schema()


def test_a_newer_schema_is_accepted(db):
    """A rollback of the release must not stop all spawns."""
    db.upgrade()
    with db.engine.begin() as conn:
        conn.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = 'from-the-future'")
    db.check_schema()
    assert db.upgrade() == []


def test_the_hubs_own_database_can_be_shared(db):
    """The Hub checks `alembic_version` by name, and has tables of its own."""
    with db.engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        conn.exec_driver_sql("INSERT INTO alembic_version VALUES ('4621fec11365')")
        conn.exec_driver_sql("CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(255))")
        conn.exec_driver_sql("INSERT INTO users VALUES (1, 'ada')")
    db.upgrade()
    with db.write() as tx:
        hubs.install(tx, "hub", actor=SYSTEM)
    migrate.downgrade(db, "base")
    with db.engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == (
            "4621fec11365"
        )
        assert conn.exec_driver_sql("SELECT name FROM users").scalar() == "ada"


def test_one_gate_only(db):
    db.upgrade()
    with db.write() as tx:
        hubs.install(tx, "hub", actor=SYSTEM)
    with pytest.raises(sa.exc.IntegrityError), db.write() as tx:
        tx.conn.exec_driver_sql(
            "INSERT INTO jhub_usage_gate (id, mode, config_version, installed_at) "
            "SELECT 2, mode, config_version, installed_at FROM jhub_usage_gate"
        )
