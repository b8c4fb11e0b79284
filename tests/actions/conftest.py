"""The world in which actions are tried, on both databases, made from a template that is ready."""

import shutil

import pytest

from jhub_usage.store.engine import Database

from .world import World


def upgraded(url):
    db = Database(url)
    db.upgrade()
    db.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "ready.sqlite"
    upgraded(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def pg_template(postgres_server):
    with postgres_server.database() as name:
        upgraded(postgres_server.url(name))
        yield name


@pytest.fixture(params=["sqlite", "postgres"])
def ready_url(request, tmp_path):
    """A fresh database with its tables."""
    if request.param == "sqlite":
        path = tmp_path / "usage.sqlite"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server = request.getfixturevalue("postgres")
    with server.database(template=request.getfixturevalue("pg_template")) as name:
        yield server.url(name)


@pytest.fixture
def world(ready_url):
    made = World(ready_url)
    yield made
    made.close()


@pytest.fixture
def observing(ready_url):
    """The same in mode observe."""
    made = World(ready_url, mode="observe")
    yield made
    made.close()
