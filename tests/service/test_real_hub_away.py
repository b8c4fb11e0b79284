"""A slow stop, a Hub that is killed at the wrong moment, and what it leaves behind."""

import os
import signal
import time

import pytest

from tests.support.processes import wait_until

from .hubs import Accounts, hub_config
from .test_real_hub import start

# Their servers take three seconds to end; the Hub waits for one and then answers 202.
SLOW = """
c.JupyterHub.tornado_settings = {"slow_stop_timeout": 1}
c.Spawner.environment = {"LIGHT_SERVER_SLOW_STOP_S": "3"}
"""


@pytest.fixture
def make(hub_python, hub_factory, tmp_path):
    made = []

    def begin(extra="", **settings):
        url = f"sqlite:///{tmp_path / 'usage.sqlite'}"
        settings = {"warn_lead_s": 1, "min_run_s": 2, "spool_dir": str(tmp_path / "s")} | settings
        hub = hub_factory(hub_python, hub_config(url, extra, **settings))
        hub.accounts = Accounts(url)
        made.append(hub.accounts)
        hub.accounts.price("gpu", "3600")
        hub.accounts.enforce()
        return hub

    yield begin
    for accounts in made:
        accounts.close()


def services(hub) -> list[int]:
    return [pid for pid, line in hub.leftovers().items() if "jhub_usage" in line]


def test_a_slow_stop_is_asked_for_once(make):
    hub = make(SLOW)
    start(hub, "ada", "4")
    accepted = hub.accounts.wait("ada", lambda s: s.boundaries["stop_accepted"]["at"])
    assert accepted.state == "running"
    assert wait_until(lambda: (hub.server("ada") or {}).get("pending") == "stop", timeout_s=5)
    hub.wait_stopped("ada")
    ended = hub.accounts.wait("ada", lambda s: s.state == "ended")
    assert ended.end_reason == "wallet_empty"
    assert hub.log.count("202 DELETE /hub/api/users/ada/server") == 1
    assert hub.log.count("DELETE /hub/api/users/ada/server") == 1


def test_the_hub_is_silent_when_the_stop_is_due(make):
    """The service lives on and the Hub does not answer: the order stands until it does."""
    hub = make()
    start(hub, "ada", "6")
    hub.accounts.wait("ada", lambda s: s.warned_at)
    os.kill(hub.process.pid, signal.SIGSTOP)
    try:
        ordered = hub.accounts.wait("ada", lambda s: s.stop_ordered_at)
        time.sleep(2)
        assert ordered.state == hub.accounts.last("ada").state == "running"
    finally:
        os.kill(hub.process.pid, signal.SIGCONT)
    hub.wait_stopped("ada")
    ended = hub.accounts.wait("ada", lambda s: s.state == "ended")
    assert ended.end_reason == "wallet_empty"
    assert hub.log.count("DELETE /hub/api/users/ada/server") == 1


def test_the_hub_is_killed_when_the_stop_is_due(make):
    """Nothing is lost: its service ends with it, and the next one stops the server."""
    hub = make("c.JupyterHub.cleanup_servers = False")
    start(hub, "ada", "6")
    hub.accounts.wait("ada", lambda s: s.warned_at)
    assert len(services(hub)) == 1
    hub.sigkill()
    assert wait_until(lambda: not services(hub), timeout_s=8), "the service outlived its Hub"
    assert hub.leftovers(), "the server lives on without the Hub"
    hub.reap_proxies()
    hub.start()
    hub.wait_stopped("ada")
    ended = hub.accounts.wait("ada", lambda s: s.state == "ended")
    assert ended.end_reason == "wallet_empty"
    assert len(hub.accounts.sessions("ada")) == 1
    # the new Hub's service is its own: a login works
    assert hub.login("ada").get("services/usage/").status_code == 200
    hub.sigterm()
    assert wait_until(lambda: not services(hub), timeout_s=8)
