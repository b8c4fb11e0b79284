"""Usage per day as people look at it: a chart, its numbers, a file. In a real browser."""

import csv
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from jhub_usage.actions import admissions, ownership, sessions
from jhub_usage.domain.admission import Ask, PersonKey
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store.catalog import CatalogCache
from tests.support.browser import login

from .hubs import Accounts, hub_config

SHAPES = {
    "cpu": Shape(4000, 2**34),
    "gpu": Shape(8000, 2**35, (Gpus("nvidia.com/gpu", "A100", 2),)),
    "big": Shape(32000, 2**37, (Gpus("nvidia.com/gpu", "H100", 4),)),
}


@pytest.fixture(scope="module")
def hub(module_hub_factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("accounts")
    url = f"sqlite:///{folder / 'usage.sqlite'}"
    hub = module_hub_factory("hub6", hub_config(url, spool_dir=str(folder / "spool")))
    accounts = hub.accounts = Accounts(url)
    accounts.lab = accounts.wallet("lab", "100000", person="ada")
    for name in ("ada", "mia"):
        hub.api("POST", f"users/{name}")
    accounts.act(ownership.set_role, accounts.lab, PersonKey("mia"), "manager", hub_id="hub")
    now = accounts.ctx.look(lambda tx: tx.now())
    for day in range(1, 26, 2):
        for number, profile in enumerate(SHAPES):
            if day % (number + 1) == 0 or day % 3:
                ran(accounts, profile, now - timedelta(days=day), 2 + number + day % 5)
    yield hub
    accounts.close()


def ran(accounts, profile, begin, hours):
    """Ada's server of a profile, as the hooks would tell it."""
    policy, session_id = accounts.ctx.policy, str(uuid.uuid4())
    ask = Ask(session_id, "hub", PersonKey("ada"), uuid.uuid4().hex[:8], profile, SHAPES[profile])
    accounts.act(admissions.admit, ask, policy=policy, cache=CatalogCache())
    for kind, at in (("started", begin), ("ended", begin + timedelta(hours=hours))):
        told = Sighting(session_id, kind, at, "test", "stopped")
        accounts.act(sessions.record, told, policy=policy)


def visit(page, hub, path=""):
    page.goto(f"{hub.url}services/usage/{path}")
    page.wait_for_selector("h1")


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_the_chart_is_drawn(browser, hub, width, theme):
    """Within its place, in its colours, with the numbers of the table below it."""
    with browser.page(width=width, theme=theme) as page:
        login(page, hub.url, "ada", hub.password)
        visit(page, hub)
        page.get_by_role("link", name="Usage per day").click()
        page.wait_for_selector("h1 >> text=Usage per day")
        chart = page.get_by_role("img", name="GPU hours per day, by profile")
        box = chart.bounding_box()
        assert box["width"] > width * 0.6 and box["x"] + box["width"] <= width
        parts = chart.locator(".usage-part")
        colours = {p.evaluate("e => getComputedStyle(e).fill") for p in parts.all()}
        assert len(colours) == 2, "two profiles have GPUs"
        assert all(p.bounding_box()["height"] > 0 for p in parts.all())
        swatch = page.locator(".usage-swatch.usage-c0").first
        filled = chart.locator(".usage-c0").first.evaluate("e => getComputedStyle(e).fill")
        assert swatch.evaluate("e => getComputedStyle(e).backgroundColor") == filled
        page.get_by_text("Day by day", exact=True).click()
        days = page.locator("details tbody tr")
        assert days.count() == len({p.bounding_box()["x"] for p in parts.all()})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not page.problems, page.problems


def test_a_manager_goes_from_the_wallet_to_a_person(browser, hub, tmp_path):
    with browser.page() as page:
        login(page, hub.url, "mia", hub.password)
        visit(page, hub, "usage")
        assert page.get_by_text("Nothing was used in this time.").is_visible()
        page.get_by_label("Wallet").select_option("lab")
        page.get_by_label("Show", exact=True).select_option("Cost")
        page.get_by_role("button", name="Show").click()
        page.get_by_role("link", name="gpu", exact=True).click()
        page.get_by_text("Cost per day, by person").first.wait_for()
        page.get_by_role("link", name="ada", exact=True).click()
        page.get_by_text("What ada ran on the wallet lab").wait_for()
        assert page.get_by_role("link", name="Take away the filter profile gpu").is_visible()
        with page.expect_download() as started:
            page.get_by_role("link", name="Download as CSV").click()
        path = tmp_path / started.value.suggested_filename
        started.value.save_as(path)
        assert path.name.startswith("usage-") and path.suffix == ".csv"
        with Path(path).open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {r["gpu_model"] for r in rows} == {"A100"}
        shown = page.locator(".usage-number").first.text_content()
        assert f"{sum(float(r['gpu_hours']) for r in rows):,.1f}" == shown
        assert not page.problems, page.problems
