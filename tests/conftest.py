"""Fixtures over the real parts in tests/support.

Databases: `postgres` (a server a test may stop and pause), `pg_url`, `sqlite_url`, `db_url` (the
same test on both), the same with our tables as `ready_...url`, `pgbouncer`, `fault_proxy`.
Hubs: `hub_factory` (each test), `module_hub_factory` (shared by a module), `hub_python` (5.5, 6).
Browser: `browser`.

A part that this machine lacks skips its tests, with the reason; under JHUB_USAGE_STRICT=1 such a
skip fails the run (tests/support/strict.py).
"""

import os
import shutil

KEEP = ("JHUB_USAGE_STRICT", "JHUB_USAGE_TEST_")
for _name in list(os.environ):
    # Tests do not see the developer's settings. First of all, before anything can read them.
    if _name.startswith(("JHUB_USAGE_", "JUPYTERHUB_", "PG")) and not _name.startswith(KEEP):
        del os.environ[_name]

import pytest  # noqa: E402

from jhub_usage.store.engine import Database  # noqa: E402
from tests.support import browser as browsers  # noqa: E402
from tests.support import hub as hubs  # noqa: E402
from tests.support import pgbouncer as poolers  # noqa: E402
from tests.support import postgres as databases  # noqa: E402
from tests.support import strict, templates  # noqa: E402
from tests.support.fault_proxy import FaultProxy  # noqa: E402


def pytest_configure(config):
    strict.register(config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests that share a Hub run in one process, so that the Hub is started once."""
    for item in items:
        if "module_hub_factory" in item.fixturenames and not item.get_closest_marker("xdist_group"):
            params = item.callspec.params if hasattr(item, "callspec") else {}
            group = f"{item.module.__name__}-{params.get('hub_python', '')}"
            item.add_marker(pytest.mark.xdist_group(group))


# -- databases ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_server():
    """The PostgreSQL server of this test process. Tests ask for `postgres` instead."""
    binaries = databases.find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server programs: scripts/system-packages.sh installs them")
    server = databases.Postgres(binaries)
    yield server
    server.close()


@pytest.fixture
def postgres(postgres_server):
    """A running server, whatever the test before has done to it."""
    postgres_server.ensure_running()
    yield postgres_server
    postgres_server.ensure_running()


@pytest.fixture
def pg_url(postgres):
    """A fresh, empty PostgreSQL database."""
    with postgres.database() as name:
        yield postgres.url(name)


@pytest.fixture
def sqlite_url(tmp_path):
    """A fresh, empty SQLite file, not yet there."""
    return f"sqlite:///{tmp_path / 'usage.sqlite'}"


@pytest.fixture(params=["sqlite", "postgres"])
def db_url(request):
    """The same test on both databases."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "pg_url")


# Databases with their tables: copied, since making the tables takes longer than most tests.


def upgraded(url):
    db = Database(url)
    db.upgrade()
    db.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    return templates.sqlite_file(tmp_path_factory.mktemp("template"), upgraded)


@pytest.fixture(scope="session")
def pg_template(postgres_server):
    with templates.pg_database(postgres_server, upgraded) as name:
        yield name


@pytest.fixture
def ready_sqlite_url(sqlite_template):
    """A SQLite file with its tables and no rows; always the same file."""
    path = sqlite_template.with_name("used.sqlite")
    for old in path.parent.glob("used.sqlite*"):
        old.unlink()
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def ready_pg_url(postgres, pg_template):
    """A PostgreSQL database with its tables and no rows; always the same one."""
    return postgres.url(postgres.kept(pg_template))


@pytest.fixture(params=["sqlite", "postgres"])
def ready_url(request):
    """A fresh database with its tables, on both."""
    return request.getfixturevalue(
        "ready_sqlite_url" if request.param == "sqlite" else "ready_pg_url"
    )


@pytest.fixture(scope="session")
def pgbouncer_server(postgres_server):
    """The pooler of this test process. Tests ask for `pgbouncer` instead."""
    binary = poolers.find_binary()
    if binary is None:
        pytest.skip("no pgbouncer: scripts/system-packages.sh installs it")
    pooler = poolers.PgBouncer(binary, postgres_server)
    yield pooler
    pooler.close()


@pytest.fixture
def pgbouncer(postgres, pgbouncer_server):
    """A pooler in transaction mode before `postgres`: `pgbouncer.url(database)`."""
    return pgbouncer_server


@pytest.fixture
def fault_proxy(postgres):
    """A proxy before `postgres` that can break connections: `fault_proxy.url(database)`."""
    with FaultProxy(postgres.port) as proxy:
        yield proxy


# -- hubs -----------------------------------------------------------------------------------------


def hub_python_for(name):
    python = hubs.find_hub_python(name)
    if python is None:
        pytest.skip(f"no Python with a Hub for {name}: `make venv` makes .venv and .venv-hub5")
    return python


@pytest.fixture(scope="session", params=["hub5", "hub6"])
def hub_python(request):
    """Both supported Hubs, one after the other. For one: parametrize with `indirect=True`."""
    return hub_python_for(request.param)


def make_hubs():
    """Yield a function that makes started Hubs, then clear all of them away."""
    made = []

    def make(python, config="", *, start=True, **options):
        if isinstance(python, str):
            python = hub_python_for(python)
        hub = hubs.Hub(python, config, **options)
        made.append(hub)
        return hub.start() if start else hub

    yield make
    for hub in made:
        hub.close()


@pytest.fixture
def hub_factory():
    """`hub_factory(hub_python, config_text, admins=..., env=...)` gives a started Hub."""
    yield from make_hubs()


@pytest.fixture(scope="module")
def module_hub_factory():
    """The same for Hubs that the tests of one module share: a start takes seconds."""
    yield from make_hubs()


# -- browser --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    """Chromium for one module, which then has no `async def` tests (see support/browser.py)."""
    program = browsers.find_chromium()
    if program is None:
        pytest.skip("no chromium: scripts/system-packages.sh installs it")
    with browsers.run_browser(program) as running:
        yield running
