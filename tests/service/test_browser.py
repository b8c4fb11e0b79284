"""The pages as people use them: in a real browser, on a real Hub."""

import re

import pytest

from jhub_usage.actions import views
from tests.support.browser import login

from .hubs import Accounts, hub_config

PAGES = (
    "", "admin", "admin/sessions", "admin/wallets", "admin/requests", "admin/rates",
    "admin/rules", "admin/limits", "admin/people", "admin/decisions", "admin/modes",
    "admin/audit", "admin/configuration", "wallets/1",
)  # fmt: skip


@pytest.fixture(scope="module")
def hub(module_hub_factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("accounts")
    url = f"sqlite:///{folder / 'usage.sqlite'}"
    config = hub_config(url, spool_dir=str(folder / "spool"), demo=True)
    hub = module_hub_factory("hub6", config)
    accounts = hub.accounts = Accounts(url)
    accounts.price("gpu", "36")  # a cent a second
    accounts.wallet("lab", "100", person="ada")
    accounts.wallet("empty", "0", person="eve")
    accounts.enforce()
    for name in ("ada", "eve"):
        hub.api("POST", f"users/{name}")
    assert hub.api("POST", "users/ada/server", json={"profile": "gpu"})[0] == 201
    accounts.wait("ada", lambda s: s.boundaries["ready"]["at"])
    assert hub.api("POST", "users/eve/server", json={"profile": "gpu"})[0] == 403
    yield hub
    accounts.close()


def visit(page, hub, path):
    page.goto(f"{hub.url}services/usage/{path}")
    page.wait_for_selector("h1")


@pytest.mark.parametrize(
    "theme, width", [("light", 1280), ("dark", 1280), ("light", 768), ("dark", 390)]
)
def test_every_page_in_both_themes_and_on_a_phone(browser, hub, theme, width):
    """No error of a script or of our content security policy, and nothing wider than the screen."""
    with browser.page(width=width, theme=theme) as page:
        login(page, hub.url, "admin", hub.password)
        for path in PAGES:
            visit(page, hub, path)
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            assert page.locator("html").get_attribute("data-bs-theme") == theme, path
            assert page.locator("#usage-main").is_visible()
            tab = page.locator(".usage-tabs .active").bounding_box()
            assert tab["x"] >= 0 and tab["x"] + tab["width"] <= width, path
            assert not page.problems, (path, page.problems)


def test_a_person_watches_the_cost_grow(browser, hub):
    with browser.page() as page:
        login(page, hub.url, "ada", hub.password)
        visit(page, hub, "")
        cost = page.locator("[data-cost]")
        first = float(cost.text_content().strip("$"))
        page.wait_for_function(
            "first => Number(document.querySelector('[data-cost]').textContent.slice(1)) > first",
            arg=first + 0.02,
        )
        assert page.locator("[data-left]").is_visible()
        page.get_by_role("link", name="Details").click()
        page.wait_for_selector("text=Why it was admitted")
        assert "One" not in page.problems and not page.problems


def test_a_refusal_is_found_by_its_number(browser, hub):
    with browser.page() as page:
        login(page, hub.url, "eve", hub.password)
        visit(page, hub, "")
        assert "refused" in page.locator("#usage-main").text_content()
        page.get_by_role("link", name="Details").first.click()
        page.wait_for_selector("text=Why it was not started")
        assert "The wallet empty has $0.00 left" in page.content()


def test_an_admin_grants_credit(browser, hub):
    """Typed, confirmed, booked once, and said."""
    with browser.page() as page:
        login(page, hub.url, "admin", hub.password)
        visit(page, hub, "wallets/2")
        page.get_by_text("Grant credit").click()
        form = page.locator("form[data-api$='/grant']")
        form.get_by_label("Amount").fill("abc")
        form.get_by_label("Why").fill("test")
        form.get_by_role("button", name="Grant").click()
        assert "Grant abc to empty?" in page.locator("#usage-confirm-text").text_content()
        page.get_by_role("button", name="Yes, do it").click()
        form.get_by_role("alert").filter(has_text="'abc' is not a number").wait_for()
        form.get_by_label("Amount").fill("1,012.50")
        form.get_by_role("button", name="Grant").click()
        page.get_by_role("button", name="Cancel").click()
        assert hub.accounts.ctx.look(views.wallet_views, ids=[2])[0].balance_micro == 0
        form.get_by_role("button", name="Grant").click()
        page.get_by_role("button", name="Yes, do it").click()
        page.wait_for_selector("#usage-messages >> text=The credit is granted.")
        assert "$1,012.50" in page.locator("#usage-main").text_content()
        wallet = hub.accounts.ctx.look(views.wallet_views, ids=[2])[0]
        assert wallet.balance_micro == 1_012_500_000
        # the browser's own line about the refused request is all there is
        assert all("400" in p for p in page.problems), page.problems


def test_an_admin_sets_up_a_lab(browser, hub):
    """A wallet, its people, a rule and a limit, by pages only."""
    with browser.page() as page:
        login(page, hub.url, "admin", hub.password)
        visit(page, hub, "admin/wallets")
        page.get_by_text("New wallet").click()
        page.get_by_label("Name", exact=True).fill("new lab")
        page.get_by_role("button", name="Open the wallet").click()
        page.wait_for_url(re.compile(r"/wallets/\d+$"))
        page.get_by_label("Person").fill("eve")
        page.get_by_role("button", name="Add or change").click()
        page.wait_for_selector("#usage-messages >> text=The person is in.")
        assert page.locator("li", has_text="eve").locator("text=spender").is_visible()
        visit(page, hub, "admin/limits")
        page.get_by_label("For", exact=True).select_option("group")
        page.get_by_label("Hub group").fill("a/b & c")
        page.get_by_label("At most").fill("4")
        page.get_by_role("button", name="Set the limit").click()
        page.wait_for_selector("td >> text=group a/b & c together")
        page.get_by_role("button", name="Lift").click()
        page.get_by_role("button", name="Yes, do it").click()
        page.wait_for_selector("text=There are no limits")
        assert not page.problems, page.problems


def test_a_refund(browser, hub):
    assert hub.api("DELETE", "users/ada/server")[0] in (202, 204)
    hub.accounts.wait("ada", lambda s: s.state == "ended")
    with browser.page(width=390) as page:
        login(page, hub.url, "admin", hub.password)
        visit(page, hub, "wallets/1")
        page.get_by_role("button", name="Refund the charge").first.click()
        dialog = page.locator("#refund-form")
        assert float(dialog.get_by_label("Amount").input_value()) > 0
        dialog.get_by_label("Why").fill("the node was slow")
        dialog.get_by_role("button", name="Refund").click()
        page.wait_for_selector("#usage-messages >> text=The refund is posted.")
        assert "the node was slow" in page.locator("#usage-main").text_content()
        assert not page.problems, page.problems


def test_a_correction(browser, hub):
    with browser.page(width=390) as page:
        login(page, hub.url, "admin", hub.password)
        visit(page, hub, "wallets/1")
        page.get_by_role("button", name="Correct the grant").first.click()
        dialog = page.locator("#correct-form")
        dialog.get_by_label("More, or with a minus less").fill("-0.5")
        dialog.get_by_label("Why").fill("typed wrongly")
        dialog.get_by_role("button", name="Correct it").click()
        page.wait_for_selector("#usage-messages >> text=The correction is posted.")
        assert "typed wrongly" in page.locator("#usage-main").text_content()
        assert not page.problems, page.problems


def test_a_share_of_a_wallet_per_month(browser, hub):
    """The form asks for a period where there is one; the person sees what is used of it."""
    with browser.page() as page:
        login(page, hub.url, "admin", hub.password)
        visit(page, hub, "wallets/1")
        page.get_by_text("New limit within this wallet").click()
        form = page.locator("form[data-api$='/limits']")
        assert not form.get_by_label("Period").is_visible()
        form.get_by_label("What").select_option("gpu_hours")
        assert form.get_by_label("Period").is_visible()
        form.get_by_label("At most").fill("20")
        form.get_by_label("For").fill("ada")
        form.get_by_role("button", name="Set the limit").click()
        page.wait_for_selector("text=ada within the wallet lab: 20 GPU-hours per month")
        assert not page.problems, page.problems
    with browser.page() as page:
        login(page, hub.url, "ada", hub.password)
        visit(page, hub, "")
        assert "of 20 GPU-hours in " in page.locator("#usage-main").text_content()
        assert page.locator("progress").is_visible()
