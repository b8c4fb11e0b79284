"""Start, signal, wait for and clear away real processes; find free ports; wait for a condition.

Every process of the tests goes through `Process`, which runs it under tests/support/nursery.py.
"""

import itertools
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from .nursery import descendants

NURSERY = Path(__file__).with_name("nursery.py")


class Process:
    """One command, and everything it starts. `pid` is the command's own."""

    def __init__(self, command, *, log: Path, env=None, cwd=None, user: str = "") -> None:
        self.log_path = log
        with log.open("ab") as log_file:
            self._nursery = subprocess.Popen(
                [sys.executable, "-I", "-S", str(NURSERY), user, *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env=env,
                cwd=cwd,
                start_new_session=True,
            )
        self._status = b""
        self._returncode: int | None = None
        self.pid = 0
        if not wait_until(self._read_pid, timeout_s=20, every_s=0):
            self.close()
            raise RuntimeError(f"could not run {command[0]}:\n{self.log_tail()}")

    def _read(self, wait_s: float) -> bool:
        """Take in what the nursery says; False once it has ended."""
        out = self._nursery.stdout
        if out.closed:
            return False
        going_on = True
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while going_on and selector.select(wait_s):
                chunk = os.read(out.fileno(), 4096)
                self._status += chunk
                going_on, wait_s = bool(chunk), 0
        for line in self._status.decode().splitlines():
            word, number = line.split()
            if word == "pid":
                self.pid = int(number)
            else:
                self._returncode = int(number)
        return going_on

    def _read_pid(self) -> bool:
        going_on = self._read(wait_s=0.5)
        if not self.pid and not going_on:
            self.close()
            raise RuntimeError(f"the command did not start:\n{self.log_tail()}")
        return bool(self.pid)

    @property
    def returncode(self) -> int | None:
        """None while the command runs; negative when a signal ended it."""
        if self._returncode is None and not self._read(wait_s=0) and self._returncode is None:
            self._returncode = -signal.SIGKILL  # the nursery ended first: close() was called
        return self._returncode

    @property
    def running(self) -> bool:
        return self.returncode is None

    def wait(self, timeout_s: float = 20) -> int:
        if not wait_until(lambda: not self.running, timeout_s=timeout_s, every_s=0.02):
            raise TimeoutError(f"still running after {timeout_s} s:\n{self.log_tail()}")
        return self.returncode

    def send(self, signum: int) -> None:
        """Signal the command alone, not what it has started."""
        if self.running:
            os.kill(self.pid, signum)

    def send_all(self, signum: int) -> None:
        """Signal everything that runs in this nursery, parents first."""
        for pid in self.tree():
            try:
                os.kill(pid, signum)
            except ProcessLookupError:
                pass

    def tree(self) -> list[int]:
        """All living processes of this nursery, also those whose parent is gone."""
        return descendants(self._nursery.pid)

    def close(self) -> None:
        """Kill whatever is left. May be called again."""
        for pipe in (self._nursery.stdin, self._nursery.stdout):
            pipe.close()
        self._nursery.wait(timeout=20)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.splitlines()[-lines:])


def wait_until(condition, *, timeout_s: float = 10, every_s: float = 0.05):
    """The first true value of `condition()`, or what it gave last when the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value or time.monotonic() >= deadline:
            return value
        time.sleep(every_s)


def _port_numbers():
    # Below the range from which the kernel serves outgoing connections, so that no such connection
    # can take the port between our look and the server's bind. Each test process has its own part.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
    low = 21000 + worker * 1100
    start = random.randrange(1100)
    return (low + (start + n) % 1100 for n in itertools.count())


_ports = _port_numbers()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on and that was not given out lately."""
    for port in itertools.islice(_ports, 1100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


def port_open(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
