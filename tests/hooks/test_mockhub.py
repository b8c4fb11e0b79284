"""The Hub's own test harness with our configuration: its mock spawner is wrapped like any other."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from jupyterhub.tests.mocking import MockSpawner
from jupyterhub.tests.utils import add_user, api_request
from traitlets.config import Config

from jhub_usage import configure
from jhub_usage.spawning import registry
from tests.support.processes import free_port

pytestmark = pytest.mark.xdist_group("mockhub")


async def test_a_server_of_the_mock_hub_is_a_session(
    hub_app, books, sqlite_url, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # the mock hub leaves its cookie secret where it stands
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    config = Config()
    config.JupyterHub.spawner_class = MockSpawner
    config.JHubUsage.database_url = sqlite_url
    config.JHubUsage.spool_dir = str(tmp_path / "spool")
    config.JHubUsage.service_port = free_port()
    configure(config)
    app = await hub_app(config)
    assert issubclass(app.spawner_class, MockSpawner)
    user = add_user(app.db, app, name="ada")
    started = await api_request(app, "users", "ada", "server", method="post", json={})
    assert started.status_code in (201, 202)
    while user.spawners[""].pending:
        await user.spawners[""]._spawn_future
    (row,) = books.sessions("ada")
    assert row.spawner == "MockSpawner" and row.started_evidence == "start_returned"
    stopped = await api_request(app, "users", "ada", "server", method="delete")
    assert stopped.status_code in (202, 204)
    while user.spawners[""].pending:  # on a busy machine the Hub answers before it is done
        await asyncio.sleep(0.05)
    _, gateway = registry.settings_and_gateway(app.config)
    await gateway.drain()
    (row,) = books.sessions("ada")
    assert (row.state, row.end_reason) == ("ended", "stopped") and row.ready_at is not None
