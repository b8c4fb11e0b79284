"""A Hub whose PostgreSQL stops, hangs and comes back: nothing late, lost or doubled."""

import threading
import time

import pytest
import requests

from ..support.processes import wait_until
from .books import CPU, GPU, Books, hub_config

CONFIG = """
c.Spawner.consecutive_failure_limit = 2
"""


@pytest.fixture
def away(hub_python, hub_factory, postgres, pg_url):
    def make(**settings):
        books = Books(pg_url)
        settings = {"decision_timeout_s": 1.5, "form_cache_s": 0.0} | settings
        hub = hub_factory(hub_python, hub_config(pg_url, CONFIG, **settings))
        hub.books = books
        made.append(books)
        for name in ("ada", "bob", "eve"):
            assert hub.api("POST", f"users/{name}")[0] == 201
        return hub

    made = []
    yield make
    for books in made:
        books.close()


def start(hub, name, profile=GPU):
    begun = time.monotonic()
    status, answer = hub.api("POST", f"users/{name}/server", json={"profile": profile})
    return status, answer, time.monotonic() - begun


def spooled(hub):
    return sorted((hub.directory / "jhub-usage-spool").glob("*.json"))


@pytest.mark.parametrize(
    ("hub_python", "how"), [("hub5", "stop"), ("hub6", "pause")], indirect=["hub_python"]
)
def test_it_admits_and_records_later(away, postgres, how):
    hub = away()
    books = hub.books
    assert start(hub, "bob")[0] == 201
    before = books.wait_state("bob", "running")
    person = hub.login("ada")
    person.get("hub/home")
    books.close()  # its own connections would hang too
    postgres.stop() if how == "stop" else postgres.pause()

    # the Hub's event loop stays free while decisions wait for the database
    worst, going = [0.0], threading.Event()

    def watch():
        while not going.wait(0.05):
            begun = time.monotonic()
            requests.get(f"{hub.url}hub/health", timeout=20)
            worst[0] = max(worst[0], time.monotonic() - begun)

    watching = threading.Thread(target=watch)
    watching.start()
    status, _, took = start(hub, "ada")
    assert status == 201 and took < 5, took
    session = hub.wait_ready("ada")["state"]["jhub_usage"]["session"]
    page = person.get("hub/home")
    assert page.status_code == 200 and "not available right now" in page.text
    page = person.get("hub/spawn/ada")
    assert page.status_code == 200
    assert hub.api("DELETE", "users/bob/server", timeout=60)[0] == 204
    # an event under way is on the disk or in the database, and no decision waits any more
    took = max(start(hub, "eve", CPU)[2], 0)
    assert took < 5
    assert hub.api("DELETE", "users/eve/server", timeout=60)[0] == 204
    going.set()
    watching.join()
    assert worst[0] < 0.5, f"the event loop stood still for {worst[0]:.2f} s"
    assert wait_until(lambda: len(spooled(hub)) >= 4), spooled(hub)

    postgres.start() if how == "stop" else postgres.resume()
    assert wait_until(lambda: not spooled(hub), timeout_s=30), hub.log_tail()
    row = books.wait_state("ada", "running")
    assert row.id == session
    # what hung may have been committed after all: then both are one
    decisions = [a.decision for a in books.admissions("ada")]
    assert decisions == ["failed_open"] or (how == "pause" and decisions == ["admitted"])
    assert row.started_at is not None and row.ready_at is not None
    row = books.wait_state("bob", "ended")
    assert row.id == before.id and row.end_reason == "stopped" and books.charges(row.id) > 0
    assert books.wait_state("eve", "ended").end_reason == "stopped"
    assert [len(books.sessions(n)) for n in ("ada", "bob", "eve")] == [1, 1, 1]
    assert not list((hub.directory / "jhub-usage-spool").glob("rejected/*"))
    assert hub.api("DELETE", "users/ada/server")[0] == 204
    row = books.wait_state("ada", "ended")
    billed = row.billed_until_at - row.billed_from_at
    micros = billed.seconds * 10**6 + billed.microseconds
    assert books.charges(row.id) == 4_000_000 * micros // 3_600_000_000


@pytest.mark.parametrize("hub_python", ["hub6"], indirect=True)
def test_it_refuses_if_the_operator_says_so(away, postgres):
    hub = away(on_database_error="refuse")
    hub.books.close()
    postgres.pause()
    for _ in range(4):  # more than consecutive_failure_limit
        status, answer, took = start(hub, "ada")
        assert status == 403 and took < 5
        assert "can not be reached right now" in answer["message"]
    assert took < 1, "with the breaker open nobody waits"
    postgres.resume()
    time.sleep(2.2)  # longer than a Hub that gives up would live
    assert hub.running
    assert wait_until(lambda: not spooled(hub), timeout_s=30)
    assert wait_until(lambda: start(hub, "ada")[0] == 201, timeout_s=15, every_s=0.5)
    rows = hub.books.sessions("ada")
    assert [r.state for r in rows if r.state != "void"] == ["running"]
    voided = [a for a in hub.books.admissions() if a.voided_at]
    assert len(voided) == 4


@pytest.mark.parametrize("hub_python", ["hub6"], indirect=True)
def test_a_commit_whose_answer_is_lost_is_still_one_session(hub_python, hub_factory, pg_url,
                                                          fault_proxy):  # fmt: skip
    books = Books(pg_url)
    url = fault_proxy.url(pg_url.rsplit("/", 1)[1])
    hub = hub_factory(hub_python, hub_config(url, decision_timeout_s=1.5))
    hub.api("POST", "users/ada")
    hub.api("POST", "users/bob")
    assert start(hub, "bob", CPU)[0] == 201
    books.wait_state("bob", "running")
    assert wait_until(lambda: books.last("bob").ready_at)
    fault_proxy.drop_reply_after(b"COMMIT")
    assert start(hub, "ada")[0] == 201
    assert fault_proxy.swallowed == 1
    assert wait_until(lambda: not spooled(hub), timeout_s=20)
    row = books.wait_state("ada", "running", timeout_s=20)
    assert len(books.sessions("ada")) == 1 and len(books.admissions("ada")) == 1
    assert hub.api("DELETE", "users/ada/server")[0] == 204
    assert books.wait_state("ada", "ended").id == row.id
    books.close()
