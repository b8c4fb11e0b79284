"""A seed that a run can be repeated by, and fresh databases, many for one test."""

import os
import random
import shutil
import uuid

import pytest

from jhub_usage.store.engine import Database


@pytest.fixture
def chosen_seed(capsys):
    """Random, or JHUB_USAGE_TEST_SEED. Printed: pytest shows it when the test fails."""
    chosen = int(os.environ.get("JHUB_USAGE_TEST_SEED") or random.randrange(2**32))
    print(f"repeat with JHUB_USAGE_TEST_SEED={chosen}")  # noqa: T201
    return chosen


@pytest.fixture
def sqlite_databases(tmp_path):
    """A function that gives the URL of another fresh, upgraded database."""
    made = tmp_path / "made.sqlite"
    db = Database(f"sqlite:///{made}")
    db.upgrade()
    db.dispose()

    def fresh():
        path = tmp_path / f"{uuid.uuid4()}.sqlite"
        shutil.copy(made, path)
        return f"sqlite:///{path}"

    return fresh


@pytest.fixture
def pg_databases(postgres):
    """The same on PostgreSQL."""
    with postgres.database() as template:
        db = Database(postgres.url(template))
        db.upgrade()
        db.dispose()
        names = []

        def fresh():
            names.append(f"p{uuid.uuid4().hex}")
            postgres.execute(f'CREATE DATABASE "{names[-1]}" TEMPLATE "{template}"')
            return postgres.url(names[-1])

        yield fresh
        for name in names:
            postgres.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
