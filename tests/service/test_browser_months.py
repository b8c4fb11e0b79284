"""Closing a month and printing a statement, by pages only: in a real browser, on a real Hub."""

from datetime import UTC, datetime, timedelta

import pytest

from jhub_usage.actions import months, ownership, wallets
from jhub_usage.domain.admission import PersonKey
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.periods import MONTH, UTC_CALENDAR
from jhub_usage.store import ledger
from tests.support.browser import login

from .hubs import Accounts, hub_config

BEGUN = UTC_CALENDAR.last_boundary(MONTH, datetime.now(UTC))
LAST = UTC_CALENDAR.label(MONTH, BEGUN - timedelta(days=1))


@pytest.fixture(scope="module")
def hub(module_hub_factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("accounts")
    url = f"sqlite:///{folder / 'usage.sqlite'}"
    config = hub_config(url, spool_dir=str(folder / "spool"), close_months=False)
    hub = module_hub_factory("hub6", config)
    accounts = hub.accounts = Accounts(url)
    accounts.lab = accounts.act(wallets.create, "lab", title="The laboratory")

    def book(tx, *, actor):
        entry = ledger.NewEntry(accounts.lab, "grant", 12_345_678, "grant:1",
                                BEGUN - timedelta(days=3), note="order 4711")  # fmt: skip
        ledger.post(tx, entry, actor=actor, now=tx.now())

    accounts.act(book)
    hub.api("POST", "users/mia")
    accounts.act(ownership.set_role, accounts.lab, PersonKey("mia"), "manager", hub_id="hub")
    yield hub
    accounts.close()


def visit(page, hub, path):
    page.goto(f"{hub.url}services/usage/{path}")
    page.wait_for_selector("h1")


def test_a_month_is_closed_by_its_button(browser, hub):
    with browser.page() as page:
        login(page, hub.url, "admin", hub.password)
        visit(page, hub, "admin/months")
        row = page.locator("tr", has=page.locator(f"a[href$='admin/months/{LAST}']"))
        row.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="Yes, do it").click()
        page.wait_for_selector("#usage-messages >> text=is closed")
        assert row.get_by_text("closed", exact=True).is_visible()
        assert page.problems == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_statement_prints_dark_on_white_and_can_be_kept(browser, hub, theme):
    accounts = hub.accounts
    accounts.ctx.act(months.close, LAST, policy=accounts.ctx.policy, actor=SYSTEM)
    with browser.page(theme=theme) as page:
        login(page, hub.url, "mia", hub.password)
        visit(page, hub, f"wallets/{accounts.lab}")
        page.locator(f"a[href$='statements/{LAST}']").click()
        page.wait_for_selector("h1:has-text('The laboratory')")
        for name, words in (("CSV", "12.345678"), ("JSON", '"amount_micro":12345678')):
            with page.expect_download() as kept:
                page.get_by_role("link", name=name).click()
            assert kept.value.suggested_filename.startswith(f"statement-{accounts.lab}-{LAST}.")
            assert words in kept.value.path().read_text()
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 700, "height": 1000})  # about what paper has
        cell = page.locator("td", has_text="order 4711").first
        look = cell.evaluate("e => [getComputedStyle(e).display, getComputedStyle(e).color]")
        assert look == ["table-cell", "rgb(0, 0, 0)"]
        white = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert white == "rgb(255, 255, 255)"
        assert not page.get_by_role("button", name="Print").is_visible()
        assert page.problems == []
