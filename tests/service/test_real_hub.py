"""The service under a real Hub, 5.5 and 6: logins and tokens, stops, kills and restarts."""

import os
import signal
import time

import pytest
import requests

from tests.support.processes import wait_until

from .hubs import Accounts, hub_config

# People whom the Hub's own roles give what they have; each row of the role table in one hub.
ROLES = """
c.JupyterHub.load_roles += [
    {"name": "usage-reader", "users": ["reader"], "scopes": ["custom:jhub-usage:read"]},
    {"name": "usage-manager", "users": ["accountant"], "scopes": ["custom:jhub-usage:manage"]},
    {"name": "usage-admin", "users": ["operator"], "scopes": ["custom:jhub-usage:admin"]},
    {"name": "support", "users": ["support"],
     "scopes": ["admin-ui", "list:users", "read:users", "access:services"]},
    {"name": "exporter", "services": ["exporter"], "scopes": ["custom:jhub-usage:read"]},
]
c.JupyterHub.services += [{"name": "exporter", "api_token": "exporter-token-0123456789"}]
c.JupyterHub.tornado_settings = {"slow_stop_timeout": 1}
"""
PEOPLE = ("reader", "accountant", "operator", "support", "ada", "bob")


@pytest.fixture(scope="module")
def hub(hub_python, module_hub_factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("accounts")
    url = f"sqlite:///{folder / 'usage.sqlite'}"
    before = f"c.Authenticator.allowed_users = {set(PEOPLE)!r}"
    hub = module_hub_factory(
        hub_python,
        hub_config(url, ROLES, before=before, spool_dir=str(folder / "spool"),
                   warn_lead_s=1, min_run_s=2),
    )  # fmt: skip
    hub.accounts = Accounts(url)
    hub.accounts.price("gpu", "3600")  # one credit a second
    hub.accounts.enforce()
    yield hub
    hub.accounts.close()


def call(hub, path, token, method="GET", json=None):
    answer = requests.request(
        method, f"{hub.url}services/usage/api/{path}", json=json, timeout=40,
        headers={"Authorization": f"token {token}"}, allow_redirects=False,
    )  # fmt: skip
    return answer.status_code


def token_of(hub, name, scopes=None):
    status, made = hub.api(
        "POST", f"users/{name}/tokens", json={"scopes": scopes} if scopes else {}
    )
    assert status in (200, 201), made
    return made["token"]


# -- who may what ---------------------------------------------------------------------------------

#: (who, me, sessions, wallets, rates change, audit)
TABLE = [
    ("ada", 200, 403, 403, 403, 403),
    ("reader", 200, 200, 200, 403, 403),
    ("accountant", 200, 403, 200, 400, 403),
    ("operator", 200, 200, 200, 400, 200),
    ("support", 200, 403, 403, 403, 403),
    ("admin", 200, 200, 200, 400, 200),
]


@pytest.mark.parametrize("who, me, sessions, wallets, rates, audit", TABLE)
def test_what_the_hubs_tokens_open(hub, who, me, sessions, wallets, rates, audit):
    token = token_of(hub, who)
    assert call(hub, "me", token) == me
    assert call(hub, "sessions", token) == sessions
    assert call(hub, "wallets", token) == wallets
    assert call(hub, "rates", token, "POST", {"nonsense": 1}) == rates
    assert call(hub, "audit", token) == audit


def test_an_admins_weak_token_is_weak(hub):
    """The flag of the person counts in the browser; a token is what its scopes are."""
    token = token_of(hub, "admin", ["access:services!service=usage"])
    assert call(hub, "me", token) == 200
    assert call(hub, "sessions", token) == 403


def test_tokens_that_open_nothing(hub):
    assert call(hub, "me", "nonsense") == 401
    assert call(hub, "me", "") == 401
    other = token_of(hub, "ada", ["read:users!user=ada"])
    assert call(hub, "me", other) == 403
    assert call(hub, "sessions", "exporter-token-0123456789") == 200
    assert call(hub, "me", "exporter-token-0123456789") == 403


def test_browsers(hub):
    """Admin by the person's flag; `admin-ui` alone is nothing; nobody is sent to the login."""
    admin, support, ada = (hub.login(name) for name in ("admin", "support", "ada"))
    assert admin.get("services/usage/admin").status_code == 200
    assert support.get("services/usage/admin").status_code == 403
    home = ada.get("services/usage/")
    assert home.status_code == 200 and "My usage" in home.text
    assert ada.get("services/usage/admin").status_code == 403
    # an API never sends a program to a login page
    answer = requests.get(f"{hub.url}services/usage/api/me", timeout=20, allow_redirects=False)
    assert answer.status_code == 401


def test_a_browsers_writes_need_the_pages_token(hub):
    admin = hub.login("admin")
    admin.get("services/usage/")
    body = {"name": "forged"}
    path = "services/usage/api/wallets"
    assert admin.post(path, json=body, headers={"X-XSRFToken": "x"}).status_code == 403
    assert admin.post(path, json=body).status_code == 201
    fetch = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    assert admin.get("services/usage/api/me", headers=fetch, allow_redirects=False).status_code == (
        403
    )
    token = {"X-XSRFToken": admin.xsrf("/services/usage/")}
    assert admin.get("services/usage/api/me", headers=fetch | token).status_code == 200


def test_a_user_who_is_made_again_starts_afresh(hub):
    """Right away, while answers about the old account may still be cached."""
    hub.api("POST", "users/temp")
    hub.accounts.wallet("wallet-temp", "100", person="temp")
    assert hub.api("POST", "users/temp/server", json={"profile": "cpu"})[0] in (201, 202)
    hub.wait_ready("temp")
    session = hub.accounts.wait("temp", lambda s: s.state == "running")
    old = token_of(hub, "temp")
    assert [s["id"] for s in mine(hub, old)["running"]] == [session.id]
    assert hub.api("DELETE", "users/temp")[0] == 204
    hub.api("POST", "users/temp")
    new = token_of(hub, "temp")
    assert mine(hub, new)["running"] == mine(hub, new)["recent"] == []
    assert call(hub, f"sessions/{session.id}", new) == 403


def mine(hub, token):
    answer = requests.get(
        f"{hub.url}services/usage/api/me", timeout=40, headers={"Authorization": f"token {token}"}
    )
    return answer.json()


def test_the_configuration_page_knows_this_hub(hub):
    admin = hub.login("admin")
    page = wait_until(
        lambda: (
            (p := admin.get("services/usage/admin/configuration").text)
            and "not asked yet" not in p
            and p
        ),
        timeout_s=15,
    )
    assert page and "The hub runs what was configured." in page
    assert "UsageSimpleLocalProcessSpawner" in page


# -- stops ----------------------------------------------------------------------------------------


def start(hub, name, credits, **environment):
    """A server of a person whose wallet has so many credits, one of them a second."""
    if hub.api("GET", f"users/{name}")[0] == 404:
        hub.api("POST", f"users/{name}")
    wallet = hub.accounts.wallet(f"wallet-{name}", credits, person=name)
    status, answer = hub.api("POST", f"users/{name}/server", json={"profile": "gpu"})
    assert status in (201, 202), answer
    hub.wait_ready(name)
    hub.accounts.wait(name, lambda s: s.boundaries["ready"]["at"])
    return wallet


def test_a_server_is_warned_and_stopped_when_its_wallet_is_empty(hub):
    start(hub, "w1", "5")
    warned = hub.accounts.wait("w1", lambda s: s.warned_at)
    assert warned.state == "running" and warned.warned_reason == "wallet_empty"
    hub.wait_stopped("w1")
    ended = hub.accounts.wait("w1", lambda s: s.state == "ended")
    assert ended.end_reason == "wallet_empty"
    assert ended.stop_at >= ended.warned_at
    assert ended.boundaries["stop_accepted"]["at"] >= ended.stop_at
    # what it cost beyond the credits is the way from the order to the end
    assert 5_000_000 <= ended.charged_micro <= 12_000_000


def test_credit_in_time_keeps_a_server(hub):
    wallet = start(hub, "w2", "6")
    hub.accounts.wait("w2", lambda s: s.warned_at)
    hub.accounts.grant(wallet, "1000")
    hub.accounts.wait("w2", lambda s: s.warned_at is None)
    time.sleep(2.5)
    kept = hub.accounts.last("w2")
    assert kept.state == "running" and kept.stop_ordered_at is None
    assert hub.api("DELETE", "users/w2/server")[0] in (202, 204)


def test_credit_between_the_decision_and_the_stop(hub):
    """The Hub stands still while the stop is ordered; credit arrives before it answers."""
    wallet = start(hub, "w3", "5")
    hub.accounts.wait("w3", lambda s: s.warned_at)
    os.kill(hub.process.pid, signal.SIGSTOP)
    try:
        hub.accounts.wait("w3", lambda s: s.stop_ordered_at)
        hub.accounts.grant(wallet, "1000")
    finally:
        os.kill(hub.process.pid, signal.SIGCONT)
    kept = hub.accounts.wait("w3", lambda s: s.stop_ordered_at is None)
    time.sleep(2.5)
    kept = hub.accounts.last("w3")
    assert kept.state == "running" and kept.stop_ordered_at is None
    assert hub.server("w3")["ready"]
    assert hub.api("DELETE", "users/w3/server")[0] in (202, 204)
