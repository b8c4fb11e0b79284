"""`configure(c)`: adds, never tramples, twice is once, touches nothing; and the settings' file."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import jupyterhub
import pytest
import requests
from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner
from traitlets.config import Config

import jhub_usage
from jhub_usage import hooks, scopes
from jhub_usage.config import Settings
from jhub_usage.domain.errors import BadInput
from jhub_usage.spawning.settings_file import VARIABLE
from jhub_usage.spawning.templates import FOLDER, template_status

from ..support.processes import free_port

SIX = jupyterhub.version_info[0] >= 6


@pytest.fixture
def configured(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def make(config=None):
        config = Config() if config is None else config
        jhub_usage.configure(config)
        return config.JupyterHub

    return make


def service(hub):
    (found,) = (s for s in hub.services if s["name"] == "usage")
    return found


def test_it_has_no_side_effects(configured, tmp_path):
    before = {t.name for t in __import__("threading").enumerate()}
    configured()
    assert list(tmp_path.iterdir()) == []
    assert {t.name for t in __import__("threading").enumerate()} == before


def test_twice_is_once(configured):
    config = Config()
    configured(config)
    once = copy.deepcopy(config)
    configured(config)
    assert config == once


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (None, LocalProcessSpawner),
        ("simple", SimpleLocalProcessSpawner),
        ("Simple", SimpleLocalProcessSpawner),
        ("jupyterhub.spawner.SimpleLocalProcessSpawner", SimpleLocalProcessSpawner),
        (SimpleLocalProcessSpawner, SimpleLocalProcessSpawner),
    ],
)
def test_the_spawner_is_wrapped_whatever_it_was(configured, value, base):
    config = Config()
    if value is not None:
        config.JupyterHub.spawner_class = value
    made = configured(config).spawner_class
    assert issubclass(made, base) and made.jhub_usage_hooks
    assert hooks.usage_spawner(base) is made is hooks.usage_spawner(made)


@pytest.mark.parametrize("value", ["no.such.Spawner", 3, dict])
def test_a_spawner_that_is_none_is_said(configured, value):
    config = Config()
    config.JupyterHub.spawner_class = value
    with pytest.raises(BadInput, match="spawner_class"):
        configured(config)


def test_what_the_admin_has_stays(configured):
    config = Config()
    config.JupyterHub.services = [{"name": "mine"}]
    config.JupyterHub.load_roles = [{"name": "r", "scopes": []}]
    config.JupyterHub.custom_scopes = {"custom:mine:x": {"description": "mine"}}
    config.JupyterHub.template_paths = ["/mine"]
    config.JupyterHub.template_vars = {"mine": 1}
    hub = configured(config)
    assert hub.services[0] == {"name": "mine"} and hub.load_roles[0]["name"] == "r"
    assert "custom:mine:x" in hub.custom_scopes and scopes.ADMIN in hub.custom_scopes
    assert hub.template_paths == ["/mine", str(FOLDER)]
    assert hub.template_vars["mine"] == 1 and callable(hub.template_vars["jhub_usage"])


def test_lists_that_were_appended_to_stay(configured):
    config = Config()
    config.JupyterHub.load_roles.append({"name": "r", "scopes": []})
    config.JupyterHub.template_paths.insert(0, "/mine")
    hub = configured(config)
    assert [r["name"] for r in hub.load_roles][:2] == ["r", "jhub-usage-service"]
    assert hub.template_paths == ["/mine", str(FOLDER)]


def test_users_may_open_the_service(configured):
    hub = configured()
    if SIX:
        assert set(hub.extra_user_scopes) == {scopes.ACCESS}
        assert "user" not in [r["name"] for r in hub.load_roles]
    else:
        assert {"name": "user", "scopes": ["self", scopes.ACCESS]} in hub.load_roles


def test_an_admins_own_user_role_counts(configured):
    config = Config()
    config.JupyterHub.load_roles = [{"name": "user", "scopes": ["self", "list:users"]}]
    hub = configured(config)
    (user,) = (r for r in hub.load_roles if r["name"] == "user")
    assert user["scopes"] == ["self", "list:users", scopes.ACCESS]
    assert "extra_user_scopes" not in hub
    config = Config()
    config.JupyterHub.load_roles = [{"name": "user", "scopes": ["self", "access:services"]}]
    assert configured(config).load_roles[0]["scopes"] == ["self", "access:services"]


def test_a_user_role_with_other_things_only(configured):
    config = Config()
    config.JupyterHub.load_roles = [{"name": "user", "description": "people"}]
    hub = configured(config)
    (user,) = (r for r in hub.load_roles if r["name"] == "user")
    assert user["description"] == "people" and user.get("scopes") in (None, ["self", scopes.ACCESS])


def test_six_only_keys_are_for_six_only(configured, monkeypatch):
    monkeypatch.setattr(jupyterhub, "__version__", "5.5.0")
    hub = configured()
    assert "timeout" not in service(hub) and "extra_user_scopes" not in hub
    monkeypatch.setattr(jupyterhub, "__version__", "6.1.1")
    hub = configured()
    assert service(hub)["timeout"] and "extra_user_scopes" in hub


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("services", [{"name": "usage", "url": "http://x"}]),
        ("load_roles", [{"name": "jhub-usage-service", "scopes": ["admin-ui"]}]),
        ("custom_scopes", {scopes.READ: {"description": "something else"}}),
        ("template_vars", {"jhub_usage": "x"}),
    ],
)
def test_a_name_that_is_taken_is_said(configured, name, value):
    config = Config()
    config.JupyterHub[name] = value
    with pytest.raises(BadInput, match="already"):
        configured(config)


def test_a_wrong_setting_stops_the_hub_in_words(configured):
    config = Config()
    config.JHubUsage.min_run_s = "a while"
    with pytest.raises(BadInput, match="min_run_s must be a whole number"):
        configured(config)


def test_the_module_of_the_same_name_does_not_hide_the_function(tmp_path):
    code = (
        "import jhub_usage.configure, jhub_usage; from traitlets.config import Config as C;"
        "jhub_usage.configure(C()); from jhub_usage import configure; configure(C());"
        "configure(C())"
    )
    path = Path(jhub_usage.__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": str(path)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=env)
    assert list(tmp_path.iterdir()) == []


# -- the settings' file ---------------------------------------------------------------------------


def test_the_file_is_written_when_the_hub_starts_the_service(configured, tmp_path):
    config = Config()
    config.JHubUsage.database_url = "postgresql://u:hush@127.0.0.1:1/d"
    path = service(configured(config))["environment"][VARIABLE]
    stored = json.dumps({"environment": {VARIABLE: path}})  # what the Hub's database gets
    assert "hush" not in stored and not Path(path).exists()
    config.JHubUsage.min_run_s = 77  # a later section of the configuration
    assert path(None) == str(path)
    file = Path(path)
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    data = json.loads(file.read_text())
    settings = Settings.from_json(data["settings"])
    assert settings.min_run_s == 77 and "hush" in settings.database_url
    assert data["hub"]["settings_hash"] == settings.hash and data["hub"]["hostname"]
    assert [p.name for p in file.parent.iterdir()] == ["settings.json"]


def test_the_value_survives_what_traitlets_does_with_configurations(configured):
    path = service(configured())["environment"][VARIABLE]
    assert copy.deepcopy(path) is path and callable(path) and isinstance(path, str)


def test_which_templates_are_in_use(tmp_path):
    (tmp_path / "home.html").write_text("mine")
    (tmp_path / "spawn.html").write_text('{% include "jhub-usage/balance.html" %}')
    status = template_status([str(tmp_path), str(FOLDER)])
    assert status["home.html"] == {
        "file": str(tmp_path / "home.html"), "ours": False, "included": False,
    }  # fmt: skip
    assert status["spawn.html"]["included"] and not status["spawn.html"]["ours"]
    assert all(s["ours"] and s["included"] for s in template_status([str(FOLDER)]).values())


# -- with the real service ------------------------------------------------------------------------


def test_a_hub_with_nothing_but_configure(hub_python, hub_factory, tmp_path):
    (tmp_path / "home.html").write_text('{% extends "templates/home.html" %}{# mine #}')
    config = (
        f"c.JHubUsage.service_port = {free_port()}\nc.JupyterHub.template_paths = ['{tmp_path}']\n"
        "import jhub_usage\njhub_usage.configure(c)\njhub_usage.configure(c)"
    )
    hub = hub_factory(hub_python, config)
    ada = hub.login("ada")
    page = ada.get("services/usage/")
    assert page.status_code == 200, page.text[:500]
    # an admin's own page goes first; ours is used where there is none
    assert "jhub-usage-balance" not in ada.get("hub/home").text
    status, info = hub.api("GET", "info")
    assert status == 200 and "Usage" in info["spawner"]["class"]
    file = hub.directory / "jhub-usage-runtime" / "settings.json"
    assert file.stat().st_mode & 0o777 == 0o600
    # the first install watches only, and records
    status, _ = hub.api("POST", "users/ada/server", json={})
    assert status == 201
    hub.wait_ready("ada")
    assert hub.api("DELETE", "users/ada/server")[0] == 204
    answer = requests.get(
        f"{hub.url}services/usage/api/sessions",
        headers={"Authorization": f"token {hub.admin_token}"},
        timeout=10,
    )
    assert answer.status_code in (200, 403)
