"""Prepare the demo's data once, start the Hub, say where it is, and wait.

Refuses a database that holds anything but the demo. Does not decide anything about money: the past
is made by the actions of real use, and ``check`` must pass on it.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from ..actions import check, hubs
from ..actions.plans import apply
from ..adapters.files import read_files
from ..config import resolve
from ..domain.audit import Actor
from ..domain.errors import Conflict, UsageError
from ..store import migrate
from ..store import tables as t
from ..store.engine import Database
from .past import DAYS, HUB, Past, finish

CLI = Actor("cli", "demo")
WAIT_S = 90


def main(args) -> int:
    data = Path(os.environ.get("JHUB_USAGE_DEMO_DATA") or "demo-data").resolve()
    url = os.environ.get("JHUB_USAGE_DATABASE_URL") or f"sqlite:///{data / 'usage.sqlite'}"
    data.mkdir(mode=0o700, exist_ok=True)
    (data / "home").mkdir(exist_ok=True)
    if args.reset:
        reset(url, data)
    prepare(url, data)
    return serve(data, args.port)


def reset(url: str, data: Path) -> None:
    """Throw the demo away. A database that is not the demo's is left alone."""
    db = Database(url)
    try:
        if _holds(db) == "demo":
            migrate.downgrade(db, "base")
    finally:
        db.dispose()
    shutil.rmtree(data)
    (data / "home").mkdir(parents=True, mode=0o700)
    print("The demonstration's data are gone; making them anew.")


def _holds(db: Database) -> str:
    """``nothing`` or ``demo``; raises Conflict for somebody's real data."""
    if db.sqlite and not Path(db.url.database).exists():
        return "nothing"
    with db.engine.connect() as conn:
        if migrate.current(conn) is None or not sa.inspect(conn).has_table(t.hubs.name):
            return "nothing"
        names = set(conn.execute(sa.select(t.hubs.c.id)).scalars())
    if names - {HUB}:
        raise Conflict(
            "This database holds real usage data. The demonstration needs a database of its own: "
            "name another one in JHUB_USAGE_DATABASE_URL, or none."
        )
    return "demo" if names else "nothing"


def prepare(url: str, data: Path) -> None:
    """The password, the tables and the past, unless they are there."""
    secret = data / "password"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_hex(4) + "\n")
    clock = [datetime.now(UTC)]
    db = Database(url, clock=lambda: clock[0], statement_timeout_s=60)
    try:
        if _holds(db) == "demo":
            return
        print(f"Making {DAYS} days of history, once ...", flush=True)
        begun = time.monotonic()
        db.upgrade()
        make_past(db, clock)
        with db.read() as tx:
            found = check.check(tx)
            wrong = [f"{c.name}: {v}" for c in found for v in c.violations]
            count = tx.scalar(sa.select(sa.func.count()).select_from(t.sessions_))
        if wrong:
            raise UsageError("The made-up past does not pass its check: " + "; ".join(wrong[:5]))
        print(f"{count} sessions in {time.monotonic() - begun:.1f} s; `check` finds nothing wrong.")
    finally:
        db.dispose()


def make_past(db: Database, clock: list[datetime]) -> None:
    """All of it in one transaction: either the whole past or none."""
    policy = resolve(None, {}).policy()
    now = clock[0]
    last = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    first = last.replace(hour=0) - timedelta(days=DAYS)
    clock[0] = first
    with db.write() as tx:
        hubs.install(tx, HUB, timezone=policy.timezone, actor=CLI)
        plan = read_files([Path(__file__).with_name("setup.yaml")])
        apply(tx, plan, HUB, policy=policy, actor=CLI)
        past = Past(tx, clock, policy)
        past.plan(first, last)
        past.run(last)
        finish(past, last)
        clock[0] = now


def serve(data: Path, port: int) -> int:
    """Run the Hub in the foreground until it ends or Ctrl-C."""
    log = data / "jupyterhub.log"
    venv = Path(sys.executable).parent
    env = os.environ | {
        "JHUB_USAGE_DEMO_DATA": str(data),
        "JHUB_USAGE_DEMO_PORT": str(port),
        "PATH": f"{venv}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    config = Path(__file__).with_name("hub_config.py")
    command = [sys.executable, "-m", "jupyterhub", "-f", str(config)]
    with log.open("a") as out:
        hub = subprocess.Popen(command, cwd=data, env=env, stdout=out, stderr=subprocess.STDOUT)
    signal.signal(signal.SIGTERM, lambda *_: hub.terminate())
    try:
        if not _wait(hub, port):
            hub.terminate()
            hub.wait(20)
            tail = "\n".join(log.read_text().splitlines()[-15:])
            print(f"The Hub did not start. The end of {log}:\n{tail}", file=sys.stderr)
            return 1
        _say(data, port, log)
        return hub.wait()
    except KeyboardInterrupt:
        # the Hub got the same signal from the terminal, and stops its servers first
        print("\nStopping servers and the Hub ...")
        try:
            hub.wait(30)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            hub.kill()
        return 0


def _wait(hub: subprocess.Popen, port: int) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline and hub.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/hub/api/", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    return False


def _say(data: Path, port: int, log: Path) -> None:
    password = (data / "password").read_text().strip()
    print(
        f"""
  JupyterHub with jhub-usage:   http://127.0.0.1:{port}/

  Log in as    admin   sees and changes everything (Services > usage)
               ada     spends from the vision laboratory's wallet, and manages it
               bob     has almost nothing left: start "Four H100" and see
  Password     {password}

  This is a demonstration: the GPUs are only declared, the past is made up.
  The Hub's log is {log}; Ctrl-C stops everything, `make demo` goes on with it.
""",
        flush=True,
    )
