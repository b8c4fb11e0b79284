"""Settings: precedence, wrong values said in words, the way through the file, no secret shown."""

import json

import pytest
from traitlets.config import Config

from jhub_usage.config import NAMES, TRAITS, JHubUsage, Settings, resolve
from jhub_usage.domain.errors import BadInput


def settings(environ=None, **values):
    config = Config()
    for name, value in values.items():
        config.JHubUsage[name] = value
    return resolve(config, environ or {})


def test_every_setting_is_documented_once_and_names_its_unit():
    assert set(NAMES) == set(TRAITS)
    for name, trait in TRAITS.items():
        assert len(trait.help.split()) >= 4, f"{name} has no help"
        if name.endswith("_s"):
            assert "econds" in trait.help, f"{name} does not say seconds"


def test_explicit_goes_before_environment_before_default():
    assert settings().min_run_s == 900
    environ = {"JHUB_USAGE_MIN_RUN_S": "60"}
    assert settings(environ).min_run_s == 60
    assert settings(environ, min_run_s=30).min_run_s == 30


def test_the_secret_may_be_in_a_file(tmp_path):
    file = tmp_path / "url"
    file.write_text("postgresql://u:pw@h/db\n")
    environ = {"JHUB_USAGE_DATABASE_URL_FILE": str(file)}
    assert settings(environ).database_url == "postgresql+psycopg://u:pw@h/db"
    with pytest.raises(BadInput, match="JHUB_USAGE_DATABASE_URL_FILE names a file"):
        settings({"JHUB_USAGE_DATABASE_URL_FILE": str(tmp_path / "none")})
    file.write_text("")
    with pytest.raises(BadInput, match="is empty"):
        settings(environ)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("demo", "yes", True),
        ("demo", "0", False),
        ("decision_timeout_s", "2.5", 2.5),
        ("service_port", "9000", 9000),
        ("gpu_model_labels", "a, b", ("a", "b")),
        ("gpu_model_labels", '["a"]', ("a",)),
        ("gpu_weights", '{"x/gpu": 500}', {"x/gpu": 500}),
        ("cores_of_nodes", '{"big-1": 128}', {"big-1": 128}),
        ("profiles", '[{"slug": "a"}]', ({"slug": "a"},)),
        ("mode", "observe", "observe"),
    ],
)
def test_the_environment_is_text_of_any_kind(name, text, value):
    assert getattr(settings({f"JHUB_USAGE_{name.upper()}": text}), name) == value


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"min_run_s": "x"}, "min_run_s must be a whole number from 0 to"),
        ({"min_run_s": True}, "not True"),
        ({"min_run_s": -1}, "not -1"),
        ({"demo": 1}, "demo must be True or False, not 1"),
        ({"mode": "on"}, "one of '', 'off', 'observe', 'enforce', not 'on'"),
        ({"gpu_weights": {"a": 2000}}, "whole numbers from 0 to 1000"),
        ({"cores_of_nodes": {"a": 0}}, "whole numbers from 1 to 100000"),
        ({"profile_models": {"a": 1}}, "a dict of texts"),
        ({"gpu_model_labels": "x"}, "a list of texts"),
        ({"decision_timeout_s": 0}, "a number from 0.1 to 60"),
        ({"timezone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"hub_id": " "}, "must not be empty"),
        ({"trusted_proxies": ["ingress"]}, "holds addresses and networks like 10.0.0.0/8"),
        ({"min_runs": 1}, "no setting c.JHubUsage.min_runs. Did you mean min_run_s?"),
        ({"database_url": "mysql://u:hush@h/d"}, "must begin with sqlite"),
        ({"database_url": "sqlite://"}, "must name an SQLite file"),
        ({"database_url": 3}, "must be a text"),
        ({"service_url": "hub:8181"}, "must begin with http"),
        ({"lock_timeout_s": 9.0}, "must not be longer than decision_timeout_s"),
        ({"profiles": [1]}, "a list of dicts"),
        ({"profiles": [{}]}, "needs a slug"),
        ({"profiles": [{"slug": "a", "gpu": 1}]}, "profile 'a': there is no 'gpu'"),
        ({"profiles": [{"slug": "a", "memory": "lots"}]}, "profile 'a': 'lots"),
        ({"profiles": [{"slug": "a", "cpu": -1}]}, "less than nothing"),
        ({"profiles": [{"slug": "a", "gpus": [{"count": 0}]}]}, "from 1 on"),
        ({"profiles": [{"slug": "a"}, {"slug": "a"}]}, "two profiles 'a'"),
        ({"profiles": [{"slug": s, "default": True} for s in "ab"]}, "more than one default"),
    ],
)
def test_what_is_wrong_is_said_in_words(values, words):
    with pytest.raises(BadInput) as caught:
        settings(**values)
    assert words in str(caught.value) and "hush" not in str(caught.value)


def test_a_wrong_variable_is_named():
    with pytest.raises(BadInput, match="JHUB_USAGE_MIN_RUN_S must be a whole number"):
        settings({"JHUB_USAGE_MIN_RUN_S": "soon"})
    with pytest.raises(BadInput, match="JHUB_USAGE_PROFILES is not JSON"):
        settings({"JHUB_USAGE_PROFILES": "{"})


def test_a_short_deadline_shortens_what_was_not_set():
    assert settings(decision_timeout_s=1.0).statement_timeout_s == 1.0
    assert settings(decision_timeout_s=1.0).lock_timeout_s == 1.0


def test_lists_that_are_appended_to_extend_the_default():
    config = Config()
    config.JHubUsage.gpu_model_labels.append("mine")
    assert resolve(config, {}).gpu_model_labels[-1] == "mine"
    assert (
        len(resolve(config, {}).gpu_model_labels) == len(TRAITS["gpu_model_labels"].default()) + 1
    )


def test_reading_does_not_change_the_configuration():
    config = Config()
    resolve(config, {})
    assert "JHubUsage" not in config


def test_paths_are_absolute_so_that_all_processes_agree(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    got = settings()
    assert got.database_url == f"sqlite:///{tmp_path}/jhub-usage.sqlite"
    assert got.spool_dir == str(tmp_path / "jhub-usage-spool")
    assert got.runtime_path == tmp_path / "jhub-usage-runtime"


def test_the_way_through_the_file_is_exact():
    before = settings(profiles=[{"slug": "a", "gpus": [{"model": "A"}]}], gpu_weights={"x/gpu": 1})
    data = json.loads(json.dumps(before.to_json()))
    after = Settings.from_json(data | {"of_a_later_release": 1})
    assert after == before and after.hash == before.hash


def test_the_hash_sees_each_change_also_of_the_secret():
    base = settings(database_url="postgresql://u:one@h/d")
    assert base.hash != settings(database_url="postgresql://u:two@h/d").hash
    assert base.hash != settings(database_url="postgresql://u:one@h/d", min_run_s=1).hash


def test_no_text_of_the_settings_shows_the_secret():
    got = settings(database_url="postgresql://u:hush@h/d")
    assert "hush" not in repr(got) + str(got) + json.dumps(got.public_json())


def test_the_policy_has_what_a_decision_needs():
    policy = settings(hold="session_limit", unknown_model="refuse", currency_decimals=0).policy()
    assert policy.hold_session_limit and policy.refuse_unknown_model
    assert policy.currency.decimals == 0 and policy.timezone == "UTC"


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "http://127.0.0.1:8181"),
        ({"service_host": "0.0.0.0", "service_port": 9}, "http://127.0.0.1:9"),
        ({"service_host": "::1"}, "http://[::1]:8181"),
        ({"service_host": "0.0.0.0", "service_url": "http://hub:8181/"}, "http://hub:8181"),
    ],
)
def test_where_the_proxy_finds_the_service(values, url):
    assert settings(**values).url_for_proxy == url


def test_the_configurable_itself_can_be_made():
    assert JHubUsage(config=Config()).min_run_s == 900
