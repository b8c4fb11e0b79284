"""`shell`: the command line in this process on a fresh database, as a person would use it."""

import contextlib
import io
import json
from dataclasses import dataclass

import pytest

from jhub_usage.cli import main
from jhub_usage.store import tables as t
from jhub_usage.store.engine import Database
from tests.support import templates


@dataclass
class Shell:
    """Runs commands; `status`, `out` and `err` are those of the last one."""

    url: str
    capsys: object
    status: int = 0
    out: str = ""
    err: str = ""

    def __call__(self, *words: str) -> str:
        try:
            self.status = main(["--database-url", self.url, *words])
        except SystemExit as ended:  # what argparse does
            self.status = ended.code
        self.out, self.err = self.capsys.readouterr()
        return self.out

    def ok(self, *words: str) -> str:
        self(*words)
        assert (self.status, self.err) == (0, ""), (words, self.out, self.err)
        return self.out

    def json(self, *words: str):
        return json.loads(self.ok(*words, "--json"))

    def rows(self) -> dict:
        """Every row of every table: what must not change."""
        db = Database(self.url)
        with db.read() as tx:
            found = {
                table.name: sorted(map(str, tx.execute(table.select())))
                for table in t.metadata.sorted_tables
            }
        db.dispose()
        return found


def upgraded(url):
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["--database-url", url, "db", "upgrade"]) == 0


# in the place of those of all tests: `db upgrade` makes more than the tables
@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    return templates.sqlite_file(tmp_path_factory.mktemp("template"), upgraded)


@pytest.fixture(scope="session")
def pg_template(postgres_server):
    with templates.pg_database(postgres_server, upgraded) as name:
        yield name


@pytest.fixture
def shell(ready_url, capsys, monkeypatch, tmp_path):
    """On both databases."""
    monkeypatch.chdir(tmp_path)
    return Shell(ready_url, capsys)


@pytest.fixture
def sqlite_shell(ready_sqlite_url, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return Shell(ready_sqlite_url, capsys)
