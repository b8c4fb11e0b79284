"""A real Hub of each version: what is recorded of a spawn, and what a person is told."""

import json
import re
import time

import pytest

from jhub_usage.actions import wallets

from ..support.processes import wait_until
from .books import BIG, CPU, GPU, Books, hub_config

# What an admin's own configuration may hold: hooks in either section, and servers that misbehave.
ADMINS = """
import asyncio
from jupyterhub.spawner import SimpleLocalProcessSpawner

class Slow(SimpleLocalProcessSpawner):
    async def start(self):
        if self.user.name == "slow":
            await asyncio.sleep(60)
        return await super().start()

c.JupyterHub.spawner_class = Slow
c.JupyterHub.allow_named_servers = True
c.JupyterHub.active_server_limit = 0
c.JupyterHub.load_groups = {{"lab": {{"users": ["lou"]}}}}
c.Spawner.poll_interval = 1
c.Spawner.http_timeout = 20

async def before(spawner):
    name = spawner.user.name
    with open("hooks.log", "a") as file:
        print("before", name, spawner.cpu_limit, file=file)
    if name == "poor":
        spawner.consecutive_failure_limit = 2
    if name == "raises":
        raise ValueError("the admin's own hook")
    if name == "never":
        spawner.environment = {{"LIGHT_SERVER_SLOW_START_S": "60"}}
        spawner.http_timeout = 2
    if name == "exits":
        spawner.environment = {{"LIGHT_SERVER_EXIT_AFTER_S": "1.5", "LIGHT_SERVER_EXIT_CODE": "3"}}
    if name == "broken":
        spawner.cmd = ["/does/not/exist"]
    if name == "double":
        spawner.cpu_limit = spawner.cpu_guarantee = 2 * spawner.cpu_limit

def after(spawner):
    with open("hooks.log", "a") as file:
        print("after", spawner.user.name, file=file)
    if spawner.user.name == "exits":
        raise RuntimeError("the admin's own hook")

def apply(spawner, options):
    if spawner.user.name == "picky":
        raise ValueError("the admin's own rule")

c.Spawner.pre_spawn_hook = before
c.SimpleLocalProcessSpawner.post_stop_hook = after
{apply}
"""


@pytest.fixture(scope="module")
def hub(hub_python, module_hub_factory, tmp_path_factory):
    """The Hub that waits for a start, with an admin's hooks; `.books` are its accounts."""
    books = Books(f"sqlite:///{tmp_path_factory.mktemp('books') / 'usage.sqlite'}")
    apply = "c.Spawner.apply_user_options = apply" if hub_python.version >= (5, 3) else ""
    hub = module_hub_factory(hub_python, hub_config(books.url, before=ADMINS.format(apply=apply)))
    hub.books = books
    yield hub
    books.close()


def start(hub, name, options=None, server=""):
    if hub.api("GET", f"users/{name}")[0] == 404:
        assert hub.api("POST", f"users/{name}")[0] == 201
    return hub.api("POST", f"users/{name}/server{f's/{server}' if server else ''}", json=options)


def stop(hub, name, server=""):
    return hub.api("DELETE", f"users/{name}/server{f's/{server}' if server else ''}")


def test_a_run_from_start_to_end(hub):
    assert start(hub, "ada", {"profile": GPU})[0] == 201
    row = hub.books.wait_state("ada", "running")
    model = hub.wait_ready("ada")
    assert model["state"]["jhub_usage"]["session"] == row.id
    assert wait_until(lambda: hub.books.last("ada").ready_at)
    row = hub.books.last("ada")
    assert row.requested_at <= row.admitted_at <= row.started_at <= row.ready_at
    assert (row.started_evidence, row.ready_evidence) == ("start_returned", "hub_ready")
    assert (row.profile, row.gpu_model, row.per_hour_micro) == (GPU, "A100", 4_000_000)
    assert row.spawner == "Slow" and row.hub_started_at is not None
    time.sleep(0.5)
    assert stop(hub, "ada")[0] == 204
    row = hub.books.last("ada")
    assert (row.state, row.ended_evidence, row.end_reason) == ("ended", "post_stop_hook", "stopped")
    assert row.stop_accepted_evidence == "stop_called"
    billed = row.billed_until_at - row.billed_from_at
    micros = billed.seconds * 10**6 + billed.microseconds
    assert hub.books.charges(row.id) == 4_000_000 * micros // 3_600_000_000 > 0


def test_each_decision_is_one_line_of_json(hub):
    start(hub, "lin", {"profile": CPU})
    stop(hub, "lin")
    lines = [line for line in hub.log.splitlines() if line.startswith('{"event": "decision"')]
    line = next(d for d in map(json.loads, lines) if d["person"] == "lin")
    row = hub.books.last("lin")
    assert line["session"] == row.id and line["decision"] == "admitted" and line["ms"] > 0
    assert set(line) >= {"wallet", "rule", "reason", "server"}


def test_decisions_are_in_the_hubs_own_metrics(hub):
    import requests

    start(hub, "mia", {"profile": CPU})
    headers = {"Authorization": f"token {hub.admin_token}"}
    text = requests.get(f"{hub.url}hub/metrics", headers=headers, timeout=10).text
    found = re.search(r'jhub_usage_decisions_total\{decision="admitted"\} ([\d.]+)', text)
    assert found and float(found[1]) >= 1
    assert "jhub_usage_decision_seconds_bucket" in text
    stop(hub, "mia")


def test_a_refusal_is_said_and_is_no_failure_of_the_hub(hub):
    hub.books.pay_from_own_wallets("1")
    for _ in range(3):  # more than consecutive_failure_limit
        status, answer = start(hub, "poor", {"profile": BIG})
        assert status == 403
    refused = hub.books.admissions("poor")
    assert [a.decision for a in refused] == ["refused"] * 3
    text = answer["message"]
    assert refused[-1].session_id in text and f"/services/usage/sessions/{refused[-1].session_id}"
    for part in ("~poor", "$1.00 left", "4 × H100", "$16.00 per hour", "You can choose"):
        assert part in text
    assert hub.books.sessions("poor") == [] and hub.running
    time.sleep(2.5)
    assert hub.running and start(hub, "poor", {"profile": CPU})[0] == 201
    stop(hub, "poor")
    hub.books.pay_from_own_wallets("100")


def test_the_form_page_shows_why(hub):
    hub.books.pay_from_own_wallets("1")
    person = hub.login("rue")
    page = person.get("hub/spawn")
    assert "$16.00 per hour" in page.text and "&lt;b&gt;Big&lt;/b&gt;" in page.text
    page = person.post("hub/spawn/rue", data={"profile": BIG})
    page.encoding = "utf-8"
    assert "$1.00 left" in page.text and hub.books.admissions("rue")[-1].session_id in page.text
    hub.books.pay_from_own_wallets("100")


def test_a_profile_that_does_not_exist_is_a_wrong_question(hub):
    status, answer = start(hub, "zoe", {"profile": "nope"})
    assert status == 400 and "cpu, gpu, big" in answer["message"]
    assert hub.running
    assert hub.books.admissions("zoe") == []


@pytest.mark.parametrize("options", [{"profile": ["cpu"]}, {"x": 1}, {"profile": ""}])
def test_odd_options_over_rest_mean_the_default(hub, options):
    assert start(hub, "odd", options)[0] == 201
    assert hub.books.wait_state("odd", "running").profile == CPU
    stop(hub, "odd")


def test_the_admins_hooks_run_first_and_count(hub):
    assert start(hub, "double", {"profile": CPU})[0] == 201
    assert hub.books.wait_state("double", "running").cpu_milli == 2000
    stop(hub, "double")
    log = (hub.directory / "hooks.log").read_text()
    assert "before double 1.0" in log and "after double" in log


def test_the_chosen_wallet_pays(hub):
    books = hub.books
    wallet_id = books.wallet("lab", "50", group="lab")
    person = hub.login("lou")
    person.post("hub/spawn/lou", data={"profile": GPU, "jhub_usage_wallet": "lab"})
    row = books.wait_state("lou", "running")
    assert row.wallet_id == wallet_id
    home = person.get("hub/home").text
    assert "lab" in home and "$4.00 per hour" in home and "lasts" in home
    stop(hub, "lou")
    # what was chosen is remembered by the Hub: closed since, it refuses and names what is open
    books.act(wallets.change, wallet_id, closed=True)
    status, answer = start(hub, "lou")
    assert status == 403 and "lab" in answer["message"]


# -- the event table ------------------------------------------------------------------------------


def test_row_the_admins_pre_spawn_hook_raises(hub):
    start(hub, "raises", {"profile": CPU})
    hub.wait_stopped("raises")
    assert hub.books.admissions("raises") == []


def test_row_apply_user_options_raises_and_touches_no_other_session(hub):
    if hub.python.version < (5, 3):
        pytest.fail("both supported Hubs have it")
    status, _ = start(hub, "picky", {"profile": CPU})
    assert status == 400 and hub.books.admissions("picky") == []


def test_row_start_raises(hub):
    start(hub, "broken", {"profile": GPU})
    row = hub.books.wait_state("broken", "void")
    assert row.started_at is None and hub.books.charges(row.id) == 0
    assert hub.books.admissions("broken")[0].void_reason == "start_failed"


def test_row_the_server_never_answers(hub):
    start(hub, "never", {"profile": GPU})
    row = hub.books.wait_state("never", "ended", timeout_s=15)
    assert row.end_reason == "start_failed" and row.ready_at is None and row.started_at is not None


def test_row_the_server_exits_and_the_admins_hook_raises(hub):
    assert start(hub, "exits", {"profile": GPU})[0] == 201
    row = hub.books.wait_state("exits", "ended", timeout_s=15)
    assert (row.end_reason, row.ended_evidence) == ("died", "poll_exit")
    assert (row.ended_at - row.started_at).total_seconds() < 5


def test_row_a_pending_start_is_cancelled(hub):
    """The person's DELETE, while `start()` hangs: nothing ran, nothing costs."""
    import threading

    waiting = threading.Thread(target=start, args=(hub, "slow", {"profile": GPU}))
    waiting.start()
    hub.books.wait_state("slow", "admitted")
    stop(hub, "slow")
    row = hub.books.wait_state("slow", "void")
    assert hub.books.admissions("slow")[0].void_reason == "cancelled" and row.started_at is None
    waiting.join(timeout=30)
    assert not waiting.is_alive()


def test_row_named_servers_are_servers_of_their_own(hub):
    assert start(hub, "ned", {"profile": GPU}, server="one")[0] == 201
    assert start(hub, "ned", {"profile": CPU}, server="two")[0] == 201
    hub.books.wait_state("ned", "running", server="one")
    hub.books.wait_state("ned", "running", server="two")
    assert hub.api("DELETE", "users/ned/servers/one", json={"remove": True})[0] == 204
    assert hub.books.wait_state("ned", "ended", server="one").end_reason == "stopped"
    assert hub.books.last("ned", "two").state == "running"
    stop(hub, "ned", "two")


def test_row_a_user_is_deleted_and_comes_back_as_another_person(hub):
    start(hub, "del", {"profile": GPU})
    first = hub.books.wait_state("del", "running")
    assert hub.api("DELETE", "users/del")[0] == 204
    assert hub.books.wait_state("del", "ended").id == first.id
    time.sleep(0.01)
    start(hub, "del", {"profile": GPU})
    second = hub.books.wait_state("del", "running")
    assert second.person_id != first.person_id and second.wallet_id != first.wallet_id
    stop(hub, "del")


def test_the_hub_still_runs_and_said_nothing_bad(hub):
    assert hub.running
    log = hub.log
    for bad in ("The end of", "could not be recorded", "was not recorded", "Task exception"):
        assert bad not in log, [line for line in log.splitlines() if bad in line]
