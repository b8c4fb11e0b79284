"""A real `jupyterhub`, run as a process of its own, that a test may stop, kill and start again.

Its proxy is the real configurable-http-proxy, its users log in with a single password, its servers
are tests/support/light_server.py unless the test's configuration says otherwise.
Limitations: plain HTTP on 127.0.0.1, SQLite as the Hub's own database, spawned on this machine.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import requests

from .processes import Process, free_port, wait_until
from .sessions import BrowserSession

REPOSITORY = Path(__file__).resolve().parents[2]
LIGHT_SERVER = Path(__file__).with_name("light_server.py")
PASSWORD = "test-password"
ADMIN_TOKEN = "test-admin-token-0123456789abcdef"
PROXY_TOKEN = "test-proxy-token-0123456789abcdef"

# Comes before the test's own configuration, which may change any of it.
PRELUDE = """
import sys

c = get_config()  # noqa: F821
c.JupyterHub.bind_url = "http://127.0.0.1:{port}{base_url}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_api_port}"
c.JupyterHub.db_url = "sqlite:///{directory}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{directory}/jupyterhub_cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{password}"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {admins!r}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{directory}/home/{{username}}"
c.Spawner.cmd = [sys.executable, "-I", "-S", "{light_server}"]
c.Spawner.http_timeout = 20
c.Spawner.start_timeout = 20
c.JupyterHub.services = [{{"name": "test-admin", "api_token": "{admin_token}"}}]
c.JupyterHub.load_roles = [
    {{
        "name": "test-admin",
        "services": ["test-admin"],
        "scopes": {admin_scopes!r},
    }}
]
"""

ADMIN_SCOPES = [
    "admin:users",
    "admin:groups",
    "admin:servers",
    "admin:auth_state",
    "admin:server_state",
    "admin:services",
    "list:services",
    "tokens",
    "proxy",
    "shutdown",
    "read:hub",
    "read:metrics",
    "access:servers",
    "access:services",
]


@dataclass(frozen=True)
class HubPython:
    """A Python that has JupyterHub, with the version it has."""

    name: str
    executable: Path
    version: tuple[int, ...]


def find_hub_python(name: str) -> HubPython | None:
    """`hub6` is the Python of this test run, `hub5` the one of .venv-hub5."""
    if name == "hub6":
        executable = Path(sys.executable)
    else:
        executable = REPOSITORY / ".venv-hub5" / "bin" / "python"
    if not executable.exists():
        return None
    ask = "from importlib.metadata import version; print(version('jupyterhub'))"
    done = subprocess.run([executable, "-c", ask], capture_output=True, text=True)
    if done.returncode:
        return None
    version = tuple(int(part) for part in done.stdout.split(".")[:2])
    return HubPython(name, executable, version)


class HubDidNotStart(Exception):
    """The Hub ended, or did not answer in time; the message has the end of its log."""


class Hub:
    """One Hub with its own folder and ports. `start()` it; `close()` ends everything it started."""

    def __init__(
        self,
        python: HubPython,
        config: str = "",
        *,
        admins: tuple[str, ...] = ("admin",),
        base_url: str = "/",
        env: dict[str, str] | None = None,
        start_timeout_s: float = 60,
    ) -> None:
        self.python = python
        self.directory = Path(tempfile.mkdtemp(prefix="jhub-usage-hub-", dir="/tmp"))
        self.log_path = self.directory / "hub.log"
        self.port, self.hub_port, self.proxy_api_port = free_port(), free_port(), free_port()
        self.base_url = base_url
        self.url = f"http://127.0.0.1:{self.port}{base_url}"
        self.password, self.admin_token = PASSWORD, ADMIN_TOKEN
        self.admins = set(admins)
        self.start_timeout_s = start_timeout_s
        self._extra_env = env or {}
        self._processes: list[Process] = []
        self.configure(config)

    # -- configuration --------------------------------------------------------------------------

    def configure(self, config: str) -> None:
        """Replace the test's part of the configuration; counts from the next start."""
        prelude = PRELUDE.format(
            port=self.port,
            hub_port=self.hub_port,
            proxy_api_port=self.proxy_api_port,
            base_url=self.base_url,
            directory=self.directory,
            password=self.password,
            admins=self.admins,
            light_server=LIGHT_SERVER,
            admin_token=self.admin_token,
            admin_scopes=ADMIN_SCOPES,
        )
        (self.directory / "jupyterhub_config.py").write_text(f"{prelude}\n{config}\n")

    def _env(self) -> dict[str, str]:
        """Only what a Hub needs, so that the developer's environment does not reach it."""
        # The proxy is in this test run's environment, whichever Python the Hub has.
        path = [self.python.executable.parent, Path(sys.executable).parent, "/usr/bin", "/bin"]
        env = {
            "PATH": os.pathsep.join(map(str, path)),
            "HOME": str(self.directory),
            "LANG": "C.UTF-8",
            "CONFIGPROXY_AUTH_TOKEN": PROXY_TOKEN,
            "PYTHONWARNINGS": "default",
        }
        return env | self._extra_env

    # -- life -----------------------------------------------------------------------------------

    @property
    def process(self) -> Process:
        return self._processes[-1]

    @property
    def running(self) -> bool:
        return bool(self._processes) and self.process.running

    def start(self) -> "Hub":
        """Start the Hub and wait until its API answers through the proxy."""
        command = [self.python.executable, "-m", "jupyterhub", "--debug"]
        command += ["--config", self.directory / "jupyterhub_config.py"]
        self._processes.append(
            Process(command, log=self.log_path, cwd=self.directory, env=self._env())
        )
        if not wait_until(self._answers, timeout_s=self.start_timeout_s, every_s=0.1):
            raise HubDidNotStart(f"no answer in {self.start_timeout_s} s\n{self.log_tail()}")
        return self

    def _answers(self) -> bool:
        if not self.running:
            code = self.process.returncode
            raise HubDidNotStart(f"the Hub ended with {code}\n{self.log_tail()}")
        try:
            # A proxy that an earlier Hub left behind must not answer for the new one.
            direct = f"http://127.0.0.1:{self.hub_port}{self.base_url}hub/api"
            if requests.get(direct, timeout=5).status_code != 200:
                return False
            return requests.get(f"{self.url}hub/api", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def sigterm(self, timeout_s: float = 30) -> int:
        """Ask the Hub to end, and wait; gives its exit code."""
        self.process.send(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def sigkill(self) -> None:
        """Kill the Hub alone: its proxy, services and servers live on, without a parent."""
        self.process.send(signal.SIGKILL)
        self.process.wait()

    def restart(self) -> "Hub":
        """Start again with the same folder, ports and database; stop first if it still runs."""
        if self.running:
            self.sigterm()
        return self.start()

    def leftovers(self) -> dict[int, str]:
        """Living processes that any start of this Hub has left, with their command lines."""
        found = {}
        for process in self._processes:
            for pid in process.tree():
                try:
                    raw = Path(f"/proc/{pid}/cmdline").read_bytes()
                except OSError:
                    continue
                found[pid] = raw.decode(errors="replace").replace("\0", " ").strip()
        return found

    def kill_leftovers(self, containing: str = "") -> list[int]:
        """Kill those of them whose command line holds the text; the running Hub is spared."""
        spared = {self.process.pid} if self.running else set()
        pids = [pid for pid, line in self.leftovers().items() if containing in line]
        pids = [pid for pid in pids if pid not in spared]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_until(lambda: not set(pids) & set(self.leftovers()), timeout_s=5)
        return pids

    def reap_proxies(self) -> list[int]:
        """Kill the proxy that a killed Hub has left."""
        return self.kill_leftovers("configurable-http-proxy")

    def close(self) -> None:
        """Kill everything and remove the folder. May be called again."""
        for process in self._processes:
            process.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- use ------------------------------------------------------------------------------------

    def api(self, method: str, path: str, *, token: str | None = None, json=None, **options):
        """Call the Hub's API, by default as the admin service: (status, decoded JSON or None)."""
        headers = {"Authorization": f"token {token or self.admin_token}"}
        options.setdefault("timeout", 40)
        url = f"{self.url}hub/api/{path.lstrip('/')}"
        response = requests.request(method, url, headers=headers, json=json, **options)
        try:
            return response.status_code, response.json()
        except requests.JSONDecodeError:
            return response.status_code, None

    def login(self, name: str) -> BrowserSession:
        """Log in through the login page; gives the session of a browser."""
        session = BrowserSession(self.url)
        session.login(name, self.password)
        return session

    def server(self, user: str, server_name: str = "") -> dict | None:
        """The Hub's model of one server, or None when it neither runs nor is on its way."""
        status, model = self.api("GET", f"users/{user}")
        return model["servers"].get(server_name) if status == 200 else None

    def wait_ready(self, user: str, server_name: str = "", timeout_s: float = 30) -> dict:
        """Wait until a server that was asked for is ready."""

        def ready():
            model = self.server(user, server_name)
            return model if model and model["ready"] else None

        model = wait_until(ready, timeout_s=timeout_s, every_s=0.1)
        if not model:
            raise TimeoutError(f"{user}'s server is not ready\n{self.log_tail()}")
        return model

    def wait_stopped(self, user: str, server_name: str = "", timeout_s: float = 30) -> None:
        """Wait until the Hub has noticed that a server is gone."""
        gone = wait_until(
            lambda: self.server(user, server_name) is None, timeout_s=timeout_s, every_s=0.1
        )
        if not gone:
            raise TimeoutError(f"{user}'s server has not stopped\n{self.log_tail()}")

    @property
    def log(self) -> str:
        """All that the Hub, its proxy and its services have written, over all starts."""
        return self.log_path.read_text(errors="replace")

    def log_tail(self, lines: int = 60) -> str:
        return "\n".join(self.log.splitlines()[-lines:])
