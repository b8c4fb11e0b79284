"""Asking for credit and deciding, by pages only: in a real browser, on a real Hub."""

import pytest

from jhub_usage.actions import ownership, requests, views, wallets
from jhub_usage.domain.admission import PersonKey
from tests.support.browser import login

from .hubs import Accounts, hub_config


@pytest.fixture(scope="module")
def hub(module_hub_factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("accounts")
    url = f"sqlite:///{folder / 'usage.sqlite'}"
    hub = module_hub_factory("hub6", hub_config(url, spool_dir=str(folder / "spool")))
    accounts = hub.accounts = Accounts(url)
    accounts.lab = accounts.wallet("lab", "0", person="ada")
    accounts.reserve = accounts.act(wallets.create, "reserve", title="The reserve of the lab")
    accounts.grant(accounts.reserve, "80")
    accounts.enforce()
    for name in ("ada", "mia"):
        hub.api("POST", f"users/{name}")
    for wallet_id, name, role in (
        (accounts.lab, "mia", "manager"), (accounts.reserve, "mia", "manager"),
        (accounts.lab, "ada", "spender"),
    ):  # fmt: skip
        accounts.act(ownership.set_role, wallet_id, PersonKey(name), role, hub_id="hub")
    yield hub
    accounts.close()


def visit(page, hub, path):
    page.goto(f"{hub.url}services/usage/{path}")
    page.wait_for_selector("h1")


def ask(hub, credits: int, note="A week of training for the paper, eight GPUs at once."):
    """A request of ada's for the lab."""
    accounts = hub.accounts

    def asked(tx, *, actor):
        who = ownership.person_id(tx, "hub", PersonKey("ada"))
        return requests.ask(tx, accounts.lab, who, credits * 10**6, note=note, actor=actor)

    return accounts.act(asked)


def balance(hub, wallet_id: int) -> int:
    (wallet,) = hub.accounts.ctx.look(views.wallet_views, ids=[wallet_id])
    return wallet.balance_micro


def test_from_a_refusal_to_credit(browser, hub):
    """A refused start leads to the form; the manager grants a part; the answer stands there."""
    assert hub.api("POST", "users/ada/server", json={"profile": "gpu"})[0] == 403
    with browser.page() as page:
        login(page, hub.url, "ada", hub.password)
        visit(page, hub, "")
        page.get_by_role("link", name="Details").first.click()
        page.get_by_role("link", name="Ask for credit").click()
        form = page.locator("form[data-api='POST requests']")
        assert form.get_by_label("For the wallet").input_value() == "lab"
        form.get_by_label("Amount").fill("0")
        form.get_by_label("What it is for").fill("A deadline.\n\nEight GPUs <b>until</b> Friday.")
        form.get_by_role("button", name="Ask").click()
        form.get_by_role("alert").filter(has_text="more than nothing").wait_for()
        form.get_by_label("Amount").fill("50")
        form.get_by_role("button", name="Ask").click()
        page.wait_for_selector("#usage-messages >> text=Your request is sent")
        assert page.get_by_text("A deadline. Eight GPUs <b>until</b> Friday.").is_visible()
        assert page.get_by_text("waits for an answer").is_visible()
        assert all("400" in p for p in page.problems), page.problems
    with browser.page(width=390, theme="dark") as page:
        login(page, hub.url, "mia", hub.password)
        visit(page, hub, f"wallets/{hub.accounts.lab}")
        page.get_by_text("Grant…").click()
        form = page.locator("form[data-api$='/grant']")
        assert form.get_by_label("Amount").input_value() == "50"
        assert form.get_by_label("From your wallet").locator("option").all_text_contents() == [
            "reserve ($80.00 free)"
        ]
        form.get_by_label("Amount").fill("30")
        form.get_by_label("Message").fill("the rest next month")
        form.get_by_role("button", name="Grant").click()
        assert page.locator("#usage-confirm-text").text_content() == "Grant 30 to lab?"
        page.get_by_role("button", name="Yes, do it").click()
        page.wait_for_selector("#usage-messages >> text=The credit is granted.")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert not page.problems, page.problems
    assert (balance(hub, hub.accounts.lab), balance(hub, hub.accounts.reserve)) == (
        30_000_000, 50_000_000,
    )  # fmt: skip
    with browser.page() as page:
        login(page, hub.url, "ada", hub.password)
        visit(page, hub, "")
        assert page.get_by_text("$30.00 of it").is_visible()
        assert page.get_by_text("mia: the rest next month").is_visible()


def test_an_administrator_sees_how_many_wait(browser, hub):
    before = balance(hub, hub.accounts.lab)
    ask(hub, 10)
    ask(hub, 20, note="Another one.")
    with browser.page() as page:
        login(page, hub.url, "admin", hub.password)
        page.set_viewport_size({"width": 390, "height": 800})
        visit(page, hub, "admin/requests")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.set_viewport_size({"width": 1280, "height": 800})
        visit(page, hub, "")
        page.get_by_role("link", name="Requests 2 open").click()
        page.wait_for_selector("h1 >> text=Requests for credit")
        page.get_by_text("Decline…").first.click()
        form = page.locator("form[data-api$='/decline']").first
        form.get_by_label("Why").fill("not this year")
        form.get_by_role("button", name="Decline").click()
        page.wait_for_selector("#usage-messages >> text=The request is declined.")
        page.get_by_text("Grant…").click()
        page.locator("form[data-api$='/grant']").get_by_role("button", name="Grant").click()
        page.get_by_role("button", name="Yes, do it").click()
        page.wait_for_selector("text=Nobody waits for an answer.")
        assert page.get_by_role("link", name="Requests", exact=True).is_visible()
        assert not page.problems, page.problems
    # the newest request stands first, and is the one that was declined
    assert balance(hub, hub.accounts.lab) - before in (10_000_000, 20_000_000)


def test_what_was_typed_outlives_a_server_that_starts(browser, hub):
    """The page reloads itself when a server of one's own begins, but not under one's hands."""
    with browser.page() as page:
        page.clock.install()
        login(page, hub.url, "ada", hub.password)
        visit(page, hub, "")
        page.locator("#ask > summary").click()
        page.get_by_label("What it is for").fill("a long story")
        assert hub.api("POST", "users/ada/server", json={"profile": "cpu"})[0] in (201, 202)
        hub.accounts.wait("ada", lambda s: s.boundaries["ready"]["at"])
        with page.expect_response(lambda r: r.url.endswith("/api/me")):
            page.clock.run_for(16_000)
        assert page.get_by_label("What it is for").input_value() == "a long story"
        page.locator("#ask > summary").click()  # folded away, it may reload
        with page.expect_navigation():
            page.clock.run_for(16_000)
        assert page.locator("[data-session]").count() == 1
