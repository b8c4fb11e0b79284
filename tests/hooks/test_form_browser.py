"""The Hub's own pages in a browser: the price follows the choice, nothing overflows a phone."""

import os
import re

import pytest

from jhub_usage.actions import allowances
from jhub_usage.domain.allowances import Allowance

from ..support.browser import login
from .books import BIG, CPU, GPU, Books, hub_config

CONFIG = """
c.JupyterHub.load_groups = {"lab": {"users": ["ada"]}}
"""
#: Names a folder for pictures of the pages, for a person to look at.
PICTURES = os.environ.get("JHUB_USAGE_TEST_PICTURES")


@pytest.fixture(scope="module")
def hub(module_hub_factory, tmp_path_factory):
    books = Books(f"sqlite:///{tmp_path_factory.mktemp('books') / 'usage.sqlite'}")
    wallet_id = books.wallet("lab", "48", group="lab")
    books.wallet("Physics", "8", group="lab")
    for name, ended in (("a daily one", False), ("an old one", True)):
        allowed = books.wallet(name, "4", group="lab")
        how = {"policy": books.ctx.policy}
        books.act(allowances.set_allowance, allowed, Allowance(10**9, "day"), **how)
        if ended:
            books.act(allowances.remove_allowance, allowed, **how)
    books.pay_group_from("lab", wallet_id)
    hub = module_hub_factory("hub6", hub_config(books.url, CONFIG, demo=True))
    yield hub
    books.close()


def picture(page, name):
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


def fits(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_price_follows_the_choice(hub, browser):
    with browser.page() as page:
        login(page, hub.url, "ada", hub.password)
        page.goto(f"{hub.url}hub/home")
        assert "$48.00" in page.inner_text("#jhub-usage-balance")
        picture(page, "home")
        page.goto(f"{hub.url}hub/spawn")
        price, lasts = page.locator("#jhub-usage-price"), page.locator("#jhub-usage-lasts")
        assert price.inner_text() == "free" and lasts.inner_text() == ""
        page.check(f"input[value={GPU}]")
        assert price.inner_text() == "$4.00 per hour" and "12 h 0 min" in lasts.inner_text()
        page.check(f"input[value={BIG}]")
        assert (
            price.inner_text() == "$16.00 per hour" and "lab lasts about 3 h" in lasts.inner_text()
        )
        page.select_option("#jhub-usage-wallet", "Physics")
        assert "Physics lasts about 30 min" in lasts.inner_text()
        page.select_option("#jhub-usage-wallet", "a daily one")
        assert "a daily one lasts until its next allowance" in lasts.inner_text()
        # a thousand that expires at midnight does not pay for 62 hours
        page.select_option("#jhub-usage-wallet", "an old one")
        left = re.search(r"an old one lasts about (?:(\d) d )?(\d+) (h|min)", lasts.inner_text())
        assert left and int(left[1] or 0) <= 1, lasts.inner_text()
        # the balance above says it of each wallet, so the form need not
        words = page.inner_text("#jhub-usage-balance")
        assert "$1,000.00 is left of the daily $1,000.00; it expires on" in words
        assert "$1,000.00 is left of an allowance that has ended; it expires on" in words
        assert page.locator("#jhub-usage-allowance").is_hidden()
        picture(page, "spawn")
        page.check(f"input[value={CPU}]")
        assert price.inner_text() == "free" and lasts.inner_text() == ""
        assert page.problems == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_a_phone(hub, browser, theme):
    with browser.page(width=360, height=740, theme=theme) as page:
        login(page, hub.url, "ada", hub.password)
        for name in ("home", "spawn"):
            page.goto(f"{hub.url}hub/{name}")
            assert fits(page), name
            assert "demonstration" in page.inner_text("body")
            picture(page, f"phone-{theme}-{name}")
        assert page.problems == []
