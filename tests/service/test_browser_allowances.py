"""Giving, changing and taking away an allowance by pages only: a real browser, a real Hub."""

import pytest

from jhub_usage.actions import allowances, views
from jhub_usage.domain.allowances import Allowance
from tests.support.browser import login

from .hubs import Accounts, hub_config

CREDIT = 10**6


@pytest.fixture(scope="module")
def hub(module_hub_factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("accounts")
    url = f"sqlite:///{folder / 'usage.sqlite'}"
    hub = module_hub_factory("hub6", hub_config(url, spool_dir=str(folder / "spool")))
    hub.accounts = Accounts(url)
    yield hub
    hub.accounts.close()


def held(hub, wallet_id):
    (view,) = hub.accounts.ctx.look(views.wallet_views, ids=[wallet_id])
    return view.allowance, allowances.facts(view)


def sent(page, done: str) -> None:
    page.get_by_role("button", name="Yes, do it").click()
    page.wait_for_selector(f"#usage-messages >> text={done}")
    page.wait_for_load_state()
    assert not page.problems, page.problems
    page.get_by_text("Allowance", exact=True).click()


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_an_allowance_by_its_form(browser, hub, theme, width):
    lab = hub.accounts.wallet(f"lab-{theme}", "5", person=theme)
    with browser.page(theme=theme, width=width) as page:
        login(page, hub.url, "admin", hub.password)
        page.goto(f"{hub.url}services/usage/wallets/{lab}")
        page.get_by_text("Allowance", exact=True).click()
        form = page.locator("form[data-api^='PUT'][data-api$='/allowance']")
        amount, kept = form.get_by_label("Amount"), form.get_by_label("What is left at the end")
        amount.fill("1,000")
        kept.select_option("is kept up to a cap")
        form.get_by_label("Kept at most").fill("20.5")
        form.get_by_role("button", name="Set the allowance").click()
        asked = page.locator("#usage-confirm-text").text_content()
        assert asked == f"Give lab-{theme} 1,000 each month?"
        sent(page, "The allowance is set.")
        assert held(hub, lab)[0] == Allowance(1000 * CREDIT, "month", 20_500_000)
        assert held(hub, lab)[1]["left_micro"] == 1000 * CREDIT
        assert page.get_by_text("$1,000.00 is left of the monthly $1,000.00; $979.50").is_visible()
        assert page.get_by_text("Allowance, begun at once").first.is_visible()
        # what is chosen decides what is sent: the cap is hidden, and not a second answer
        kept.select_option("is kept, all of it")
        assert form.get_by_label("Kept at most").is_hidden()
        amount.fill("7")
        form.get_by_label("Each").select_option("week")
        form.get_by_role("button", name="Change").click()
        sent(page, "The allowance is set.")
        assert held(hub, lab)[0] == Allowance(7 * CREDIT, "week", None)
        assert held(hub, lab)[1]["left_micro"] == 1000 * CREDIT  # with the next week
        kept.select_option("expires")
        form.get_by_label("Begin at once").check()
        form.get_by_role("button", name="Change").click()
        sent(page, "The allowance is set.")
        assert held(hub, lab)[0] == Allowance(7 * CREDIT, "week", 0)
        assert held(hub, lab)[1]["left_micro"] == 7 * CREDIT
        assert page.get_by_text("7 granted, 1000 of the last one expired").first.is_visible()
        amount.fill("nothing")
        form.get_by_role("button", name="Change").click()
        page.get_by_role("button", name="Yes, do it").click()
        form.get_by_role("alert").filter(has_text="is not a number").wait_for()
        page.problems.clear()  # a refused request is told in the console, too
        page.get_by_role("button", name="Take it away").click()
        sent(page, "The allowance is taken away.")
        assert page.get_by_text("$7.00 is left of an allowance that has ended").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.get_by_role("button", name="Take it away").count() == 0
