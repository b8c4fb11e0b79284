"""Fixtures of the hooks' tests."""

import pytest
from traitlets.config import Config

from jhub_usage.spawning import registry

from .books import Books


@pytest.fixture
def books(sqlite_url):
    """An SQLite database in mode enforce; everybody's own wallet starts with 100 credits."""
    made = Books(sqlite_url)
    yield made
    made.close()


@pytest.fixture
def config(sqlite_url, tmp_path):
    """The Hub's configuration, before `configure`."""
    made = Config()
    made.JHubUsage.database_url = sqlite_url
    made.JHubUsage.spool_dir = str(tmp_path / "spool")
    return made


@pytest.fixture(autouse=True)
def forget_the_gateway():
    """Each test has a gateway of its own, and leaves no threads."""
    registry.reset()
    yield
    registry.reset()
