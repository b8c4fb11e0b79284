"""The service as a process of its own: how it starts, what it outlives, how it ends. No Hub."""

import json
import os
import signal
import socket
import sys

import pytest
import requests

from jhub_usage import app
from jhub_usage.config import Settings
from jhub_usage.domain.errors import BadInput
from tests.handlers.fakes import FakeHub, Logins
from tests.support.processes import Process, free_port, wait_until

TOKEN = "a-token-that-no-log-may-hold"
PASSWORD = "a-password-that-no-log-may-hold"


class Service:
    """`python -m jhub_usage` with a settings file, as the Hub would start it."""

    def __init__(self, tmp_path, *, hub=None, mode=0o600, port=None, **settings) -> None:
        self.port = port or free_port()
        self.file = tmp_path / "settings.json"
        made = Settings(service_port=self.port, spool_dir=str(tmp_path / "spool"), **settings)
        self.file.write_text(json.dumps({"settings": made.to_json(), "hub": hub or {}}))
        self.file.chmod(mode)
        self.url = f"http://127.0.0.1:{self.port}/services/usage/"
        env = {
            "PATH": os.environ["PATH"],
            "JHUB_USAGE_SETTINGS_FILE": str(self.file),
            "JUPYTERHUB_API_URL": f"http://127.0.0.1:{free_port()}/hub/api",
            "JUPYTERHUB_API_TOKEN": TOKEN,
            "JUPYTERHUB_CLIENT_ID": "service-usage",
            "JUPYTERHUB_SERVICE_PREFIX": "/services/usage/",
            "JUPYTERHUB_BASE_URL": "/",
        }
        command = [sys.executable, "-W", "error::ResourceWarning", "-m", "jhub_usage"]
        self.process = Process(command, log=tmp_path / "service.log", env=env, cwd=tmp_path)

    def health(self):
        try:
            answer = requests.get(self.url + "health", timeout=2)
        except requests.RequestException:
            return None
        return answer.json() if answer.status_code == 200 else None

    @property
    def log(self) -> str:
        return self.process.log


@pytest.fixture
def start(tmp_path):
    made = []

    def begin(**more) -> Service:
        made.append(Service(tmp_path, **more))
        return made[-1]

    yield begin
    for service in made:
        service.process.close()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(start, mode, sqlite_url):
    service = start(mode=mode, database_url=sqlite_url)
    assert service.process.wait() == 1
    assert "may be read by others" in service.log and f"{mode:04o}" in service.log


def test_it_is_there_before_its_database_and_heals(start, postgres, pg_url):
    url = pg_url.replace("@", f":{PASSWORD}@", 1)
    postgres.stop()
    service = start(database_url=url, lock_timeout_s=0.5, statement_timeout_s=1.0)
    assert wait_until(service.health, timeout_s=10) == {
        "alive": True, "database": False, "version": app.__version__,
    }  # fmt: skip
    # what the Hub asks at its start is answered below 500, too
    first = requests.get(service.url, timeout=5, allow_redirects=False)
    assert first.status_code == 302
    assert "error" not in first.headers["Location"]
    postgres.start()
    assert wait_until(lambda: service.health()["database"], timeout_s=30)
    service.process.send(signal.SIGTERM)
    assert service.process.wait() == 0
    for line in service.log.splitlines():
        assert "message" in json.loads(line), "each line of the log is one JSON object"
    assert PASSWORD not in service.log and TOKEN not in service.log


def test_no_line_of_the_log_holds_what_was_sent(start, sqlite_url):
    service = start(database_url=sqlite_url)
    assert wait_until(lambda: (service.health() or {}).get("database"), timeout_s=15)
    secret = "deadbeef-secret"
    requests.get(
        service.url + f"api/me?token={secret}",
        headers={"Authorization": f"token {secret}", "Cookie": f"service-usage={secret}"},
        timeout=20,
    )
    requests.get(service.url + f"oauth_callback?code={secret}&state={secret}", timeout=20)
    assert wait_until(lambda: "oauth_callback" in service.log)
    assert secret not in service.log


def test_it_waits_for_its_address(start, sqlite_url):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = start(port=taken.getsockname()[1], database_url=sqlite_url)
        assert wait_until(lambda: "is taken; trying again" in service.log, timeout_s=10)
    assert wait_until(service.health, timeout_s=10)


async def test_an_address_that_stays_taken_is_said_in_words(monkeypatch, tmp_path):
    monkeypatch.setattr(app, "BIND_TRIES_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(service_port=taken.getsockname()[1], spool_dir=str(tmp_path))
        service = app.UsageService(app.Start(settings, {}), {}, hub=FakeHub(), hub_auth=Logins({}))
        with pytest.raises(BadInput, match="left behind by a Hub that was killed"):
            await service._bind()


def test_sqlite_of_another_machine_is_refused_and_said(start, tmp_path, sqlite_url):
    service = start(hub={"hostname": "elsewhere"}, database_url=sqlite_url)
    assert wait_until(service.health, timeout_s=10)["database"] is False
    assert wait_until(lambda: "file of the machine elsewhere" in service.log)
    assert service.process.running
    assert not (tmp_path / "usage.sqlite").exists()
    here = start(hub={"hostname": socket.gethostname()}, database_url=sqlite_url)
    assert wait_until(lambda: (here.health() or {}).get("database"), timeout_s=15)


def test_it_ends_with_its_parent(tmp_path, start, sqlite_url):
    """A shell in the Hub's place is killed; nobody tells the service."""
    model = start(database_url=sqlite_url)
    model.process.close()
    env = {
        "PATH": os.environ["PATH"],
        "JHUB_USAGE_SETTINGS_FILE": str(model.file),
        "JUPYTERHUB_API_URL": "http://127.0.0.1:1/hub/api",
        "JUPYTERHUB_API_TOKEN": TOKEN,
        "JUPYTERHUB_CLIENT_ID": "service-usage",
        "JUPYTERHUB_SERVICE_PREFIX": "/services/usage/",
    }
    shell = Process(
        ["/bin/sh", "-c", f"{sys.executable} -m jhub_usage & wait"],
        log=tmp_path / "shell.log", env=env, cwd=tmp_path,
    )  # fmt: skip
    try:
        assert wait_until(model.health, timeout_s=15)
        assert len(shell.tree()) == 2
        shell.send(signal.SIGKILL)
        assert wait_until(lambda: not shell.tree(), timeout_s=6)
    finally:
        shell.close()


def test_started_by_hand_it_says_what_is_missing(tmp_path):
    process = Process(
        [sys.executable, "-m", "jhub_usage"], log=tmp_path / "log", cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    try:
        assert process.wait() == 2
        assert "this program is started by the Hub" in process.log
    finally:
        process.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": []}'])
def test_a_settings_file_that_is_none(tmp_path, text):
    file = tmp_path / "settings.json"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(BadInput, match="can not be understood"):
        app.read_start(str(file))
    with pytest.raises(BadInput, match="can not be read"):
        app.read_start(str(tmp_path / "none.json"))
