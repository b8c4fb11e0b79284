"""Databases that are ready to be copied: making the tables takes longer than most tests.

``upgrade`` makes them at a URL. Knows neither what it makes nor who copies it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .postgres import Postgres


def sqlite_file(folder: Path, upgrade: Callable[[str], None]) -> Path:
    """A SQLite file in a folder of its own."""
    path = folder / "ready.sqlite"
    upgrade(f"sqlite:///{path}")
    return path


@contextmanager
def pg_database(server: Postgres, upgrade: Callable[[str], None]) -> Iterator[str]:
    """The name of a PostgreSQL database, for as long as the block lasts."""
    with server.database() as name:
        upgrade(server.url(name))
        yield name
