"""Hubs that are killed, stopped and started again: sessions live on and end once."""

import os
import signal
import sqlite3
import time

import pytest

from ..support.processes import wait_until
from .books import GPU, hub_config

CONFIG = """
import asyncio
from jupyterhub.spawner import SimpleLocalProcessSpawner

class Slow(SimpleLocalProcessSpawner):
    async def start(self):
        if self.user.name == "slow":
            await asyncio.sleep(60)
        return await super().start()

c.JupyterHub.spawner_class = Slow
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.JupyterHub.cleanup_servers = False
c.Spawner.poll_interval = 1
"""


@pytest.fixture
def hub(hub_python, hub_factory, books):
    hub = hub_factory(hub_python, hub_config(books.url, before=CONFIG))
    hub.books = books
    for name in ("ada", "bob", "dead", "slow"):
        assert hub.api("POST", f"users/{name}")[0] == 201
    return hub


def start(hub, name):
    assert hub.api("POST", f"users/{name}/server", json={"profile": GPU})[0] in (201, 202)


def up(hub, name):
    start(hub, name)
    hub.wait_ready(name)
    assert wait_until(lambda: hub.books.last(name).ready_at)
    return hub.books.last(name)


def kill_server(hub, name):
    pid = hub.server(name)["state"]["pid"]
    os.kill(pid, signal.SIGKILL)


def test_a_hub_that_is_killed(hub, books):
    """One restart, four people: one lives on and is stopped later, one lives on and dies later, one
    dies while nobody looks, one had not started yet."""
    ada, bob, dead = (up(hub, name) for name in ("ada", "bob", "dead"))
    start(hub, "slow")
    slow = books.wait_state("slow", "admitted")
    pid = hub.server("dead")["state"]["pid"]
    hub.sigkill()
    hub.reap_proxies()
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.3)
    hub.start()

    # what had not started is void; what died had its last sign of life while the old Hub lived
    slow_row = books.wait_state("slow", "void")
    assert slow_row.id == slow.id and books.charges(slow.id) == 0
    row = books.wait_state("dead", "ended")
    assert row.id == dead.id
    assert (row.end_reason, row.ended_evidence) == ("died", "last_seen")
    assert dead.ready_at <= row.ended_at <= books.ctx.look(lambda tx: tx.now())

    # the others go on as the sessions that they are
    assert wait_until(lambda: books.last("ada").seen_at and books.last("bob").seen_at)
    for before in (ada, bob):
        now = next(r for r in books.sessions() if r.id == before.id)
        assert now.state == "running" and now.started_at == before.started_at
        assert (now.ready_at, now.started_evidence) == (before.ready_at, "start_returned")
    assert hub.api("DELETE", "users/ada/server")[0] == 204
    row = books.wait_state("ada", "ended")
    assert (row.id, row.end_reason, row.ended_evidence) == (ada.id, "stopped", "post_stop_hook")
    kill_server(hub, "bob")
    row = books.wait_state("bob", "ended")
    assert (row.id, row.end_reason, row.ended_evidence) == (bob.id, "died", "poll_exit")

    # and again: a second start is a second session
    again = up(hub, "ada")
    assert again.id != ada.id and len(books.sessions()) == 5
    assert all(books.charges(r.id) > 0 for r in books.sessions() if r.state == "ended")


def test_a_hub_that_stops_and_leaves_its_servers_or_takes_them_along(hub, books):
    ada = up(hub, "ada")
    hub.sigterm()
    assert books.last("ada").state == "running"
    hub.configure(hub_config(books.url, "c.JupyterHub.cleanup_servers = True", before=CONFIG))
    hub.start()
    assert wait_until(lambda: books.last("ada").seen_at)
    assert (books.last("ada").id, books.last("ada").state) == (ada.id, "running")
    hub.sigterm()
    row = books.last("ada")
    assert (row.id, row.state, row.ended_evidence) == (ada.id, "ended", "post_stop_hook")
    assert row.end_reason == "hub_shutdown"


@pytest.mark.parametrize("hub_python", ["hub6"], indirect=True)
def test_a_hub_that_lost_the_spawners_state_asks_the_database(hub, books):
    ada = up(hub, "ada")
    hub.sigkill()
    hub.reap_proxies()
    hub.kill_leftovers("light_server")
    with sqlite3.connect(hub.directory / "hub.sqlite") as db:
        db.execute("UPDATE spawners SET state = NULL")
    hub.start()
    row = books.wait_state("ada", "ended")
    assert (row.id, row.end_reason, row.ended_evidence) == (ada.id, "died", "last_seen")
