"""The test infrastructure itself: if these fail, believe no other test.

Limitations: what the real programs do is theirs to test; here is only that we can drive them.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import requests

from tests.support import postgres as databases
from tests.support.browser import login
from tests.support.hub import HubDidNotStart
from tests.support.processes import Process, free_port, port_open, wait_until

REPOSITORY = Path(__file__).resolve().parents[1]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# -- processes ------------------------------------------------------------------------------------

PARENT_AND_CHILD = "sleep 300 & echo child $!; exec sleep 300"


def child_of(process: Process) -> int:
    assert wait_until(lambda: "child" in process.log)
    return int(process.log.split()[1])


def test_an_orphan_is_still_seen_and_is_killed_at_the_end(tmp_path):
    process = Process(["sh", "-c", PARENT_AND_CHILD], log=tmp_path / "log")
    child = child_of(process)
    process.send(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert process.tree() == [child]
    process.close()
    assert not alive(child)


def test_an_orphan_that_ends_is_no_zombie(tmp_path):
    process = Process(["sh", "-c", PARENT_AND_CHILD], log=tmp_path / "log")
    child = child_of(process)
    process.send(signal.SIGKILL)
    os.kill(child, signal.SIGTERM)
    assert wait_until(lambda: not alive(child))
    process.close()


def test_killing_the_test_process_leaves_nothing(tmp_path):
    script = f"""
import time, pathlib
from tests.support.processes import Process
p = Process(["sh", "-c", {PARENT_AND_CHILD!r}], log=pathlib.Path({str(tmp_path / "log")!r}))
print(p.pid, flush=True)
time.sleep(300)
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as tester:
        parent = int(tester.stdout.readline())
        assert alive(parent)
        tester.kill()
    assert wait_until(lambda: not alive(parent))


def test_a_command_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RuntimeError, match="no-such-command"):
        Process(["/no-such-command"], log=tmp_path / "log")


# -- databases ------------------------------------------------------------------------------------


def test_a_paused_server_answers_again_after_resume(postgres):
    with psycopg.connect(postgres.conninfo()) as connection:
        postgres.pause()
        started = time.monotonic()
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(postgres.conninfo(), connect_timeout=2)
        assert time.monotonic() - started >= 1
        postgres.resume()
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_stopped_server_refuses_and_comes_back_with_its_data(postgres):
    with postgres.database() as name:
        postgres.execute("create table t (n int); insert into t values (1)", name)
        postgres.stop()
        with pytest.raises(psycopg.OperationalError):
            postgres.execute("select 1")
        postgres.start()
        postgres.execute("insert into t values (2)", name)
        postgres.kill()
        assert not port_open(postgres.port)
        postgres.start()
        assert postgres.execute("select n from t order by n", name) == [(1,), (2,)]


def test_each_test_has_an_empty_database(db_url):
    import sqlalchemy as sa

    engine = sa.create_engine(db_url)
    with engine.begin() as connection:
        assert sa.inspect(connection).get_table_names() == []
        connection.execute(sa.text("create table t (n int)"))
    engine.dispose()


def test_the_pooler_may_change_the_server_session_between_transactions(postgres, pgbouncer):
    with postgres.database() as name:
        conninfo = pgbouncer.url(name).replace("+psycopg", "")
        options = {"autocommit": True, "prepare_threshold": None}
        with (
            psycopg.connect(conninfo, **options) as one,
            psycopg.connect(conninfo, **options) as two,
        ):
            ask = "select pg_backend_pid()"
            first = one.execute(ask).fetchone()
            # While the first is idle, the second gets its server session: transaction mode.
            assert two.execute(ask).fetchone() == first
            two.execute("begin")
            second = two.execute(ask).fetchone()
            assert one.execute(ask).fetchone() != second
            two.execute("rollback")


def test_the_server_of_the_wheel_works_too():
    binaries = databases.wheel_binaries()
    assert binaries is not None
    server = databases.Postgres(binaries)
    try:
        assert server.execute("select 1") == [(1,)]
    finally:
        server.close()
    assert not server.directory.exists()


# -- hubs -----------------------------------------------------------------------------------------


@pytest.mark.xdist_group("support-hubs")
def test_a_hub_starts_and_runs_servers(hub_python, hub_factory):
    hub = hub_factory(hub_python)
    status, info = hub.api("GET", "info")
    assert status == 200
    assert tuple(map(int, info["version"].split(".")[:2])) == hub_python.version
    assert hub_python.version[0] == {"hub5": 5, "hub6": 6}[hub_python.name]

    assert hub.api("POST", "users/ana")[0] == 201
    assert hub.api("POST", "users/ana/server", json={})[0] == 201
    assert hub.wait_ready("ana")["url"] == "/user/ana/"
    answer = requests.get(f"{hub.url}user/ana/api/status", timeout=5)
    assert answer.json()["kernels"] == 0
    assert hub.api("DELETE", "users/ana/server")[0] == 204
    assert hub.server("ana") is None

    session = hub.login("ana")
    assert "ana" in session.get("hub/home").text
    # A page's own call, with the cookie and its XSRF token instead of an API token.
    assert session.post("hub/api/users/ana/server", json={}).status_code == 201
    assert session.request("DELETE", "hub/api/users/ana/server").status_code == 204
    session.close()
    assert hub.sigterm() == 0
    assert hub.leftovers() == {}


@pytest.mark.xdist_group("support-hubs")
def test_a_killed_hub_leaves_its_servers_and_finds_them_again(hub_python, hub_factory):
    hub = hub_factory(hub_python)
    hub.api("POST", "users/ana")
    assert hub.api("POST", "users/ana/server", json={})[0] == 201
    hub.sigkill()
    left = " ".join(hub.leftovers().values())
    assert "light_server" in left
    assert "configurable-http-proxy" in left
    assert len(hub.reap_proxies()) == 1
    hub.restart()
    assert hub.wait_ready("ana")
    # A server that ends by itself is noticed, because somebody reaps it.
    assert len(hub.kill_leftovers("light_server")) == 1
    assert hub.api("DELETE", "users/ana/server")[0] in (202, 204, 400)
    hub.wait_stopped("ana")


# The name of the user says how the server misbehaves.
KNOBS = """
def knobs(spawner):
    name, _, seconds = spawner.user.name.partition(".")
    spawner.environment = {"LIGHT_SERVER_" + name.upper().replace("-", "_"): seconds}

c.Spawner.pre_spawn_hook = knobs
c.Spawner.poll_interval = 1
c.JupyterHub.tornado_settings = {"slow_stop_timeout": 1, "slow_spawn_timeout": 2}
"""


@pytest.mark.xdist_group("support-hubs")
def test_a_light_server_misbehaves_as_told(hub_factory):
    hub = hub_factory("hub6", KNOBS)
    for name in ("never-answer.1", "slow-start-s.1", "slow-stop-s.3", "exit-after-s.2"):
        hub.api("POST", f"users/{name}")

    # 201 when it is ready at once, 202 when the Hub does not wait so long.
    started = time.monotonic()
    assert hub.api("POST", "users/slow-start-s.1/server", json={})[0] in (201, 202)
    hub.wait_ready("slow-start-s.1")
    assert time.monotonic() - started >= 1

    assert hub.api("POST", "users/slow-stop-s.3/server", json={})[0] in (201, 202)
    hub.wait_ready("slow-stop-s.3")
    assert hub.api("DELETE", "users/slow-stop-s.3/server")[0] == 202
    assert hub.server("slow-stop-s.3")["pending"] == "stop"
    hub.wait_stopped("slow-stop-s.3")

    assert hub.api("POST", "users/exit-after-s.2/server", json={})[0] in (201, 202)
    hub.wait_stopped("exit-after-s.2")

    assert hub.api("POST", "users/never-answer.1/server", json={})[0] == 202
    assert hub.server("never-answer.1")["pending"] == "spawn"


@pytest.mark.xdist_group("support-hubs")
def test_a_hub_that_does_not_start_says_why(hub_factory):
    with pytest.raises(HubDidNotStart, match="this is the reason"):
        hub_factory("hub6", "raise ValueError('this is the reason')")


@pytest.mark.xdist_group("support-hubs")
def test_the_browser_logs_in(hub_factory, browser):
    hub = hub_factory("hub6")
    for theme in ("light", "dark"):
        with browser.page(theme=theme, width=400) as page:
            login(page, hub.url, "ana", hub.password)
            assert page.url.startswith(hub.url)
            page.goto(f"{hub.url}hub/home")
            assert page.locator("#start").is_visible()
            assert page.evaluate("document.documentElement.dataset.bsTheme") == theme
            assert page.evaluate("innerWidth") == 400
            assert page.problems == []


# -- settings of the test run ---------------------------------------------------------------------


def test_the_environment_of_the_developer_is_not_seen():
    names = [name for name in os.environ if name.startswith(("JHUB_USAGE_", "JUPYTERHUB_", "PG"))]
    allowed = ("JHUB_USAGE_STRICT", "JHUB_USAGE_TEST_")
    assert [name for name in names if not name.startswith(allowed)] == []


STRICT_CASE = """
import pytest
def test_good(): pass
def test_skipped(): pytest.skip("no such part")
@pytest.mark.xfail(reason="known")
def test_expected(): assert False
"""


@pytest.mark.parametrize(("strict", "status"), [("", 0), ("1", 1)])
def test_strict_mode_fails_a_run_that_skips(tmp_path, strict, status):
    (tmp_path / "conftest.py").write_text(
        "from tests.support import strict\ndef pytest_configure(config): strict.register(config)\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_case.py").write_text(STRICT_CASE)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "JHUB_USAGE_STRICT": strict}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    assert ("test_case.py::test_skipped: Skipped: no such part" in done.stdout) == bool(status)
    assert ("test_case.py::test_expected: xfail: known" in done.stdout) == bool(status)


def test_ports_are_free_and_differ():
    ports = {free_port() for _ in range(50)}
    assert len(ports) == 50
    assert not any(port_open(port) for port in ports)
