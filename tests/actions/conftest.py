"""The world in which actions are tried, on both databases, made from a template that is ready."""

import pytest

from .world import World


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
