"""Runs one command and answers for everything that comes out of it; started as a script of its own.

    nursery.py USER COMMAND...        (USER may be empty: stay who we are)

Tests kill hubs and databases on purpose. What such a process leaves behind becomes a child of this
one (a "child subreaper"), which reaps it when it ends, so that nobody takes a zombie for a living
server, and which kills the rest when its own standard input closes. That happens too when the
test process is killed hard, so no test run leaves processes.

Says `pid N` on standard output when the command runs and `exit N` when it has ended.
Limitations: Linux only; a descendant that runs as another user can be killed by root only.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def descendants(root: int) -> list[int]:
    """The living processes below `root`, parents first; zombies are left out."""
    children: dict[int, list[int]] = {}
    dead = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name of the program stands in brackets and may itself hold a bracket.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue  # it ended while we looked
        children.setdefault(int(parent), []).append(int(entry.name))
        if state == "Z":
            dead.add(int(entry.name))
    found, queue = [], [root]
    while queue:
        for pid in children.get(queue.pop(0), []):
            queue.append(pid)
            if pid not in dead:
                found.append(pid)
    return found


def say(text: str) -> None:
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # the test process is gone; standard input tells us the same


def reap() -> list[tuple[int, int]]:
    """Collect every child that has ended: (pid, return code as in subprocess)."""
    ended = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid == 0:
            break
        ended.append((pid, os.waitstatus_to_exitcode(status)))
    return ended


def kill_all() -> None:
    """Kill until nothing is left: a process may start another one while we look."""
    while pids := descendants(os.getpid()):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        select.select([], [], [], 0.01)
        reap()


def main(user: str, command: list[str]) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the test process to handle
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))

    become = {"user": user, "group": group_of(user), "extra_groups": []} if user else {}
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True, **become
    )
    say(f"pid {child.pid}")
    while not stop:
        readable, _, _ = select.select([0, wake_read], [], [])
        if 0 in readable and not os.read(0, 1024):
            break
        if wake_read in readable:
            os.read(wake_read, 1024)
        for pid, code in reap():
            if pid == child.pid:
                child.returncode = code
                say(f"exit {code}")
        if child.returncode is not None and not descendants(os.getpid()):
            break
    kill_all()


def group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
