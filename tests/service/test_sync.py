"""Our open sessions compared with the Hub's servers: what a look means, and what it writes."""

from datetime import UTC, datetime, timedelta

import pytest

from jhub_usage.actions import hubs, views
from jhub_usage.adapters.hub import HubServer, HubUnavailable, HubUser, read_time, read_user
from jhub_usage.looks import compare as comparison
from jhub_usage.looks.sync import Sync, compare
from jhub_usage.scopes import SERVICE_SCOPES
from tests.handlers.fakes import CREATED
from tests.handlers.world import World

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def row(**more):
    fields = {
        "id": "s1", "state": "running", "person": "ada", "server_name": "",
        "hub_started_at": NOW, "admitted_at": NOW, "start_deadline_at": NOW + timedelta(minutes=5),
        "started_at": NOW, "ready_at": NOW, "seen_at": NOW, "missed_at": None,
    }  # fmt: skip
    return fields | more


def user(*, started_at=NOW, ready=True, pending="", state=None, name="ada", server=""):
    made = HubServer(name, server, started_at, ready, pending, state or {})
    return HubUser(name, CREATED, False, (), (made,))


OURS = {"jhub_usage": {"session": "s1"}}
OTHER = {"jhub_usage": {"session": "s2"}}
SECOND = NOW + timedelta(seconds=1)
LATER = NOW + timedelta(minutes=1)

#: (session, servers, what the look says of the session)
TABLE = [
    (row(), [user()], "seen"),
    (row(), [user(state=OURS)], "seen"),
    (row(hub_started_at=None), [user()], "seen"),
    # the Hub's database may keep whole seconds
    (row(), [user(started_at=SECOND)], "seen"),
    # a renamed person or server is known by the number in its state
    (row(), [user(name="ada2", state=OURS)], "seen"),
    (row(), [user(server="x", state=OURS)], "seen"),
    # the same slot, another start
    (row(), [user(started_at=LATER)], "missed"),
    (row(), [user(state=OTHER)], "missed"),
    (row(), [user(name="ad")], "missed"),
    (row(), [], "missed"),
    (row(missed_at=NOW), [], "ended"),
    # it began and nobody told us so
    (row(ready_at=None), [user()], "ready"),
    # first seen in this very look: the hooks may still tell it better
    (row(ready_at=None, seen_at=None), [user()], "seen"),
    (row(ready_at=None), [user(ready=False, pending="spawn")], "seen"),
    # never started: by its deadline, after two looks
    (row(started_at=None, seen_at=None, state="admitted"), [], "missed"),
    (row(started_at=None, seen_at=None, missed_at=NOW, state="admitted"), [], "missed"),
    (row(started_at=None, seen_at=None, missed_at=NOW, start_deadline_at=NOW), [], "never"),
    (row(started_at=None, seen_at=None, start_deadline_at=NOW), [], "missed"),
]


@pytest.mark.parametrize("held, users, verdict", TABLE)
def test_what_a_look_means(held, users, verdict):
    found = compare([held], users, NOW)
    verdicts = {
        "ready": bool(found.ready),
        "ended": bool(found.ended),
        "never": bool(found.never_started),
        "seen": bool(found.seen) and not found.ready,
        "missed": bool(found.missed) and not found.ended and not found.never_started,
    }
    assert [name for name, true in verdicts.items() if true] == [verdict]


def test_servers_without_a_session():
    assert len(compare([], [user()], NOW).unknown) == 1
    assert compare([row()], [user()], NOW).unknown == ()
    assert compare([], [user(ready=False, pending="spawn")], NOW).unknown == ()
    assert compare([], [user(pending="stop")], NOW).unknown == ()


def test_the_hooks_and_the_service_mean_the_same_key():
    from jhub_usage.adapters import hub
    from jhub_usage.spawning import run

    assert hub.STATE == run.STATE


def test_the_hubs_times_are_utc_with_or_without_saying_so():
    for text in ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00", "2026-11-20T13:00:00+01:00"):
        assert read_time(text) == NOW
    assert read_time(None) is None
    model = {"name": "ada", "created": "2026-11-20T12:00:00.5Z", "servers": {"": {"name": ""}}}
    found = read_user(model)
    assert found.created_at.microsecond == 500_000
    assert found.servers[0].started_at is None and not found.servers[0].ready


# -- what is written ------------------------------------------------------------------------------


@pytest.fixture
async def world(site):
    for name in ("ada", "mia", "eve"):
        site.hub.add(name)
    return World(site)


def view(world, session_id):
    return world.site.look(views.session_views, ids=[session_id])[0]


async def test_a_lost_server_ends_when_it_was_last_seen(world):
    """Two looks that miss it; the wallet pays up to the last one that did not."""
    site, sync = world.site, Sync()
    started = view(world, world.running).boundaries["started"]["at"]
    site.hub.run("ada", "", started_at=started)
    await sync.run(site.service)
    seen_at = view(world, world.running).seen_at
    assert seen_at is not None
    site.hub.end("ada")
    await sync.run(site.service)
    assert view(world, world.running).state == "running", "one look is no evidence"
    await sync.run(site.service)
    ended = view(world, world.running)
    assert ended.state == "ended" and ended.end_reason == "lost"
    assert ended.boundaries["ended"]["evidence"] == "last_seen"
    assert ended.boundaries["ended"]["at"] <= site.look(lambda tx: tx.now())
    assert ended.boundaries["ended"]["at"] >= seen_at
    assert ended.cost_micro == ended.charged_micro


async def test_a_server_that_comes_back_is_not_lost(world):
    site, sync = world.site, Sync()
    started = view(world, world.running).boundaries["started"]["at"]
    for there in (True, False, True, False, True):
        if there:
            site.hub.run("ada", "", started_at=started)
        else:
            site.hub.end("ada")
        await sync.run(site.service)
    assert view(world, world.running).state == "running"


async def test_a_hub_that_does_not_answer_ends_nothing(world):
    sync = Sync()
    world.site.hub.away = True
    for _ in range(3):
        with pytest.raises(HubUnavailable):
            await sync.run(world.site.service)
    assert view(world, world.running).state == "running"


async def test_servers_from_before_the_install_are_recorded(make_site):
    """Billed from the install on, with their profile's shape, and not stopped in its first day."""
    profile = {"slug": "gpu", "gpus": [{"model": "A100", "count": 2}]}
    site = await make_site(profiles=[profile])
    site.hub.add("old")
    began = datetime.now(UTC) - timedelta(days=3)
    site.hub.run("old", "", started_at=began, state={"jhub_usage": {"profile": "gpu"}})
    sync = Sync()
    assert (await sync.run(site.service))["adopted"] == 0, "one look may be too early"
    assert (await sync.run(site.service))["adopted"] == 1
    assert (await sync.run(site.service))["adopted"] == 0
    (found,) = site.look(views.session_views)
    installed = site.look(views.hub, "hub")["installed_at"]
    assert found.person == "old" and found.state == "running"
    assert found.boundaries["started"] == {"at": installed, "evidence": "adopted"}
    assert found.per_hour_micro == 8_000_000
    # another service, or the same one after a restart, records the same session
    again = Sync()
    for _ in range(2):
        await again.run(site.service)
    assert len(site.look(views.session_views)) == 1


async def test_what_the_hooks_could_not_tell(world):
    """A spawn whose events are lost: the Hub shows that it is ready."""
    from jhub_usage.actions import admissions

    site, sync = world.site, Sync()
    ask = world.ask("mia", "quiet", hub_started_at=NOW)
    site.act(admissions.admit, ask, policy=site.policy, cache=site.cache)
    site.hub.run("mia", "quiet", started_at=NOW)
    await sync.run(site.service)
    assert view(world, ask.session_id).state == "admitted"
    await sync.run(site.service)
    found = view(world, ask.session_id)
    assert found.state == "running"
    assert found.boundaries["ready"]["evidence"] == "hub_ready"
    assert found.boundaries["started"]["evidence"] == "adopted"


# -- the comparison of configurations -------------------------------------------------------------


async def test_all_is_as_configured(site):
    site.service.hub_facts = {"spawner_class": "test.Spawner", "hooks_in_use": True}
    await comparison.run(site.service)
    assert site.service.loops.warnings == []
    assert dict(site.service.loops.facts())["JupyterHub"] == "6.1.1"


async def test_what_undid_our_configuration_is_told(site, tmp_path):
    service = site.service
    service.hub_facts = {"spawner_class": "other.Spawner", "hooks_in_use": True}
    site.hub.scopes = frozenset(SERVICE_SCOPES) - {"delete:servers"}
    facts = {
        "settings_hash": "other",
        "release": "0.0.0",
        "templates": {"home.html": {"included": False}, "spawn.html": {"included": True}},
    }
    site.act(hubs.note_hooks, "hub", facts)
    rejected = tmp_path / "spool" / "rejected"
    rejected.mkdir(parents=True)
    (rejected / "1.json").write_text("{}")
    await comparison.run(service)
    told = {w["code"]: w["text"] for w in service.loops.warnings}
    assert set(told) == {"spawner_class", "scopes", "settings", "release", "templates", "spool"}
    assert "delete:servers" in told["scopes"]
    assert "home.html" in told["templates"] and "spawn.html" not in told["templates"]
    service.hub_facts = {"spawner_class": "x.Y", "hooks_in_use": False}
    await comparison.run(service)
    assert "nothing is recorded or refused" in service.loops.warnings[0]["text"]
