"""The operator's acts in a real browser, on a real Hub: refunds, maintenance, emergency passes."""

import uuid
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from jhub_usage.actions import admissions, maintenance, passes, sessions, views
from jhub_usage.domain.admission import Ask, PersonKey
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store.catalog import CatalogCache
from tests.support.browser import login

from .hubs import Accounts, hub_config

PAGES = ("admin/refunds", "admin/maintenance", "admin/passes")
NODE, ZONE = "gpu-07", "Asia/Taipei"
SHAPE = Shape(2000, 2**33, (Gpus("nvidia.com/gpu", "A100", 1),))


@pytest.fixture(scope="module")
def hub(module_hub_factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("accounts")
    url = f"sqlite:///{folder / 'usage.sqlite'}"
    config = hub_config(url, spool_dir=str(folder / "spool"), timezone=ZONE)
    hub = module_hub_factory("hub6", config)
    accounts = hub.accounts = Accounts(url)
    accounts.wallet("lab", "500", person="ada")
    accounts.enforce()
    assert hub.api("POST", "users/ada")[0] == 201
    for n in range(3):
        ran(accounts, f"run-{n}", hours=n + 1)
    yield hub
    accounts.close()


def ran(accounts, server, *, hours):
    """A session that ran so long on the node and ended some minutes ago."""
    ask = Ask(
        session_id=str(uuid.uuid4()), hub_id="hub", person=PersonKey("ada"), server_name=server,
        profile="gpu", shape=SHAPE,
    )  # fmt: skip
    policy = accounts.ctx.policy
    accounts.act(admissions.admit, ask, policy=policy, cache=CatalogCache())
    end = datetime.now(UTC) - timedelta(minutes=10)
    begin = end - timedelta(hours=hours)
    for kind, at, reason in (("started", begin, ""), ("ready", begin, ""), ("ended", end, "died")):
        told = Sighting(ask.session_id, kind, at, "test", reason, {"node": NODE})
        accounts.act(sessions.record, told, policy=policy)
    return ask.session_id


def visit(page, hub, path):
    page.goto(f"{hub.url}services/usage/{path}")
    page.wait_for_selector("h1")


def local(at: datetime) -> str:
    """As a person types it into a field, in the hub's zone."""
    return at.astimezone(ZoneInfo(ZONE)).strftime("%Y-%m-%dT%H:%M")


def balance(hub) -> int:
    return hub.accounts.ctx.look(views.wallet_views)[0].balance_micro


def yes(page):
    page.get_by_role("button", name="Yes, do it").click()


@pytest.mark.parametrize("theme, width", [("light", 1280), ("dark", 390)])
def test_the_pages_fit_their_screens(browser, hub, theme, width):
    with browser.page(width=width, theme=theme) as page:
        login(page, hub.url, "admin", hub.password)
        for path in (*PAGES, f"admin/refunds?node={NODE}"):
            visit(page, hub, path)
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert not page.problems, (path, page.problems)


def test_a_refund_is_looked_at_and_confirmed(browser, hub):
    before = balance(hub)
    with browser.page() as page:
        login(page, hub.url, "admin", hub.password)
        visit(page, hub, "admin/refunds")
        page.get_by_role("button", name="Show what it gives back").click()
        page.wait_for_url("**/admin/refunds?*")
        assert page.get_by_text("Preview").count() == 0  # nothing was asked for
        end = datetime.now(UTC)
        page.get_by_label("Node").fill(NODE)
        page.get_by_label("From").fill(local(end - timedelta(hours=1)))
        page.get_by_label("Until").fill(local(end))
        page.get_by_role("button", name="Show what it gives back").click()
        page.wait_for_selector("text=to 3 servers that have ended")
        form = page.locator("form[data-api='POST refunds']")
        given = int(form.locator("[name=expected_total_micro]").input_value())
        # 50 minutes of each, and some seconds that a minute of the field cuts off
        assert 3 * 3_266_666 <= given <= 3 * 3_400_000
        form.get_by_label("Why").fill("the node was broken")
        form.get_by_role("button", name="Give back").click()
        assert "to 3 servers?" in page.locator("#usage-confirm-text").text_content()
        yes(page)
        page.wait_for_selector("#usage-messages >> text=is given back")
        assert f"node {NODE}" in page.locator("table").last.text_content()
        assert not page.problems, page.problems
    assert balance(hub) == before + given


def test_a_maintenance_in_the_hubs_zone(browser, hub):
    """The browser is elsewhere: what is typed is the hub's time, as the pages show it."""
    begin = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=2)
    with browser.page(timezone_id="America/New_York") as page:
        login(page, hub.url, "admin", hub.password)
        visit(page, hub, "admin/maintenance")
        page.get_by_label("Node").fill("gpu-99")
        page.get_by_label("From").fill(local(begin))
        page.get_by_label("Until").fill(local(begin + timedelta(hours=3)))
        page.get_by_label("Why").fill("new disks")
        page.get_by_role("button", name="Enter it").click()
        page.wait_for_selector("#usage-messages >> text=The maintenance is entered.")
        (held,) = hub.accounts.ctx.look(maintenance.listed)
        assert (held["starts_at"], held["ends_at"]) == (begin, begin + timedelta(hours=3))
        assert begin.astimezone(ZoneInfo(ZONE)).strftime("%H:%M") in page.content()
        page.get_by_role("button", name="Cancel", exact=True).first.click()
        yes(page)
        page.wait_for_selector("#usage-messages >> text=The maintenance is cancelled.")
        assert page.locator("td", has_text="cancelled").is_visible()
        assert not page.problems, page.problems


def test_a_pass_is_given_and_revoked(browser, hub):
    with browser.page() as page:
        login(page, hub.url, "admin", hub.password)
        visit(page, hub, "admin/passes")
        page.get_by_label("Person").fill("ada")
        page.get_by_label("Hours").fill("3")
        page.get_by_label("Why").fill("a deadline tonight")
        page.get_by_role("button", name="Give the pass").click()
        assert "Give ada a pass for 3 hours?" in page.locator("#usage-confirm-text").text_content()
        yes(page)
        page.wait_for_selector("#usage-messages >> text=The pass is given.")
        (held,) = hub.accounts.ctx.look(passes.listed)
        assert (held["person"], held["state"], held["actor"]) == ("ada", "valid", "admin")
        page.get_by_role("button", name="Revoke").click()
        yes(page)
        page.wait_for_selector("#usage-messages >> text=The pass is revoked.")
        assert not page.problems, page.problems


def test_a_session_is_waived_on_its_page(browser, hub):
    session_id = ran(hub.accounts, "last", hours=1)
    with browser.page(width=390) as page:
        login(page, hub.url, "admin", hub.password)
        visit(page, hub, f"sessions/{session_id}")
        page.get_by_text("Give all of it back").click()
        page.get_by_label("Why").last.fill("our mistake")
        page.get_by_role("button", name="Give it back").click()
        yes(page)
        page.wait_for_selector("#usage-messages >> text=It is given back.")
        assert "our mistake" in page.locator("#usage-main").text_content()
        assert page.get_by_text("Give all of it back").count() == 0
        assert not page.problems, page.problems
