"""The demonstration as a newcomer meets it: one command, a browser, real servers, real charges."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jhub_usage.actions import check, listings, views
from jhub_usage.demo import run
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.rates import cost
from jhub_usage.store.engine import Database
from tests.support.browser import login
from tests.support.processes import Process, free_port, wait_until

BIN = Path(sys.executable).parent
PRICE = re.compile(r"\$([\d,]+\.\d\d)")
pytestmark = pytest.mark.xdist_group("demo")


class Demo:
    """`jhub-usage demo` as a process of its own."""

    def __init__(self, folder: Path, url: str):
        self.folder, self.database_url, self.port = folder, url, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.runs = 0

    def start(self, *options: str) -> "Demo":
        self.runs += 1
        self.log = self.folder / f"demo-{self.runs}.log"
        env = os.environ | {
            "JHUB_USAGE_DEMO_DATA": str(self.folder / "data"),
            "JHUB_USAGE_DATABASE_URL": self.database_url,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
        }
        command = [BIN / "jhub-usage", "demo", "--port", str(self.port), *options]
        self.process = Process(command, log=self.log, env=env)
        up = wait_until(lambda: self.url in self.said or not self.process.running, timeout_s=110)
        assert up and self.process.running, self.said + self.hub_log[-3000:]
        return self

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def hub_log(self) -> str:
        log = self.folder / "data" / "jupyterhub.log"
        return log.read_text() if log.exists() else ""

    @property
    def password(self) -> str:
        return re.search(r"Password +(\S+)", self.said)[1]

    def stop(self) -> int:
        """Ctrl-C: the terminal sends it to the Hub as well."""
        for pid in [*self.process.tree(), self.process.pid]:
            try:
                os.kill(pid, signal.SIGINT)
            except ProcessLookupError:
                pass
        status = self.process.wait(60)
        self.process.close()
        return status

    def query(self, ask, *args, **more):
        db = Database(self.database_url)
        try:
            with db.read() as tx:
                return ask(tx, *args, **more)
        finally:
            db.dispose()


@pytest.fixture
def demo(tmp_path, db_url):
    made = Demo(tmp_path, db_url)
    yield made
    made.process.close()


def credits(text: str) -> float:
    return float(PRICE.search(text)[1].replace(",", ""))


def test_a_newcomer_sees_prices_starts_pays_and_is_refused(demo, browser):
    demo.start()
    assert "Making 90 days of history" in demo.said and "finds nothing wrong" in demo.said

    with browser.page() as page:
        login(page, demo.url, "ada", demo.password)
        page.goto(f"{demo.url}/hub/spawn")
        form = page.inner_text("body")
        assert "This is a demonstration" in form
        assert all(price in form for price in ("$0.05", "$4.29", "$27.15")), form
        left = credits(page.inner_text("#jhub-usage-balance"))
        page.check("input[value='gpu-a100']")
        page.click("#start, input[type=submit], button[type=submit]")
        page.wait_for_url(re.compile(r"/user/ada/"), timeout=60_000)

        page.goto(f"{demo.url}/services/usage/")
        (row,) = demo.query(views.session_views, open_only=True)
        assert (row.person, row.profile, row.state) == ("ada", "gpu-a100", "running")
        assert row.per_hour_micro == 4_288_000
        # the balance falls while it runs, and nothing is written meanwhile
        assert "1 × A100" in page.inner_text("body").replace("\xa0", " ")
        seen = demo.query(views.session_views, ids=[row.id])[0].cost_micro
        assert wait_until(
            lambda: demo.query(views.session_views, ids=[row.id])[0].cost_micro > seen
        )
        page.goto(f"{demo.url}/hub/home", wait_until="networkidle")  # its script answers the click
        page.click("#stop")
        page.wait_for_selector("#stop", state="hidden", timeout=30_000)

    ended = demo.query(views.session_views, ids=[row.id])[0]
    assert ended.state == "ended" and ended.end_reason == "stopped"
    (charge,) = [
        e for e in demo.query(listings.entries, session_id=row.id) if e["kind"] == "charge"
    ]
    assert -charge["amount_micro"] == cost(4_288_000, 0, ended.elapsed_us) == ended.charged_micro
    (wallet,) = demo.query(views.wallet_views, ids=[row.wallet_id])
    assert abs(wallet.available_micro - (left * 1e6 - ended.charged_micro)) < 10_000

    with browser.page(theme="dark", width=390) as page:
        login(page, demo.url, "bob", demo.password)
        page.goto(f"{demo.url}/hub/spawn")
        page.check("input[value='gpu-h100x4']")
        page.click("#start, input[type=submit], button[type=submit]")
        page.get_by_text("You asked for 4 × H100").first.wait_for(timeout=30_000)
        said = page.inner_text("body")
        assert "The wallet ~bob has $0.60 left" in said and "$27.15 per hour" in said
        page.screenshot(path=demo.folder / "refused.png", full_page=True)
    refused = demo.query(views.decisions, kinds=["refused"], limit=1)[0]
    assert (refused["person"], refused["reason"]) == ("bob", "wallet")
    assert refused["session_id"] in said  # the text quotes what our page knows it by
    assert not demo.query(views.session_views, open_only=True)

    assert not [v for c in demo.query(check.check) for v in c.violations]
    done = subprocess.run(
        [BIN / "jhub-usage", "--json", "check"],
        env=os.environ | {"JHUB_USAGE_DATABASE_URL": demo.database_url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    json.loads(done.stdout)

    # again goes on, with the same password and the same past
    password, count = demo.password, len(demo.query(views.session_views, limit=100_000))
    assert demo.stop() == 0
    demo.start()
    assert "Making" not in demo.said and demo.password == password
    assert len(demo.query(views.session_views, limit=100_000)) == count
    demo.stop()
    if demo.database_url.startswith("sqlite"):
        demo.start("--reset")
        assert "Making 90 days" in demo.said and demo.password != password


def test_a_database_with_real_data_is_left_alone(tmp_path, sqlite_url):
    from jhub_usage.actions import hubs
    from jhub_usage.domain.audit import SYSTEM

    db = Database(sqlite_url)
    db.upgrade()
    with db.write() as tx:
        hubs.install(tx, "production", actor=SYSTEM)
    db.dispose()
    for options in ((), ("--reset",)):
        done = subprocess.run(
            [BIN / "jhub-usage", "demo", "--port", str(free_port()), *options],
            env=os.environ
            | {"JHUB_USAGE_DATABASE_URL": sqlite_url, "JHUB_USAGE_DEMO_DATA": str(tmp_path / "d")},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 5 and "real usage data" in done.stderr
    path = sqlite_url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as conn:
        assert conn.execute("select id from jhub_usage_hubs").fetchall() == [("production",)]
    conn.close()


def test_the_past_is_the_same_each_time(tmp_path, monkeypatch):
    """For a last day. Allowances come on time in it, also where nobody works at midnight."""
    monkeypatch.setattr(run, "DAYS", 15)

    def past(name: str) -> list[tuple]:
        clock = [datetime(2026, 11, 5, 12, 34, tzinfo=UTC)]
        db = Database(f"sqlite:///{tmp_path / name}", clock=lambda: clock[0])
        db.upgrade()
        run.make_past(db, clock)
        with db.read() as tx:
            assert failed(check.check(tx)) == []
            made = [
                (e["key"], e["amount_micro"], e["effective_at"], e["posted_at"], e["note"])
                for wallet in views.wallet_views(tx)
                for e in listings.entries(tx, wallet_id=wallet.id, limit=10_000)
                if not re.match("(refund|transfer|grant)", e["key"])  # keys of those are any
            ]
        db.dispose()
        return made

    first = past("a.sqlite")
    assert past("b.sqlite") == first
    monthly = [e for e in first if e[0].endswith(":2026-11")]
    assert [e[2] for e in monthly] == [datetime(2026, 11, 1, tzinfo=UTC)] * 2  # of two labs
    assert all(e[3] == e[2] for e in first if re.fullmatch(r"allowance:\d+:2026-.*", e[0]))
