"""Warning and stopping, with a Hub that a test can make slow or take away (rule 14).

The same through a real Hub is in test_real_hub.py; here is each moment on its own.
"""

from datetime import timedelta

import pytest

from jhub_usage.actions import modes, rules, views, wallets
from jhub_usage.actions import stops as actions
from jhub_usage.adapters.hub import HubUnavailable
from jhub_usage.domain.rules import Rule
from jhub_usage.looks import stops
from tests.handlers.world import CREDIT, World

#: In the world one GPU costs 4 an hour; 1 is a quarter of an hour, the hold.
OLD_S = 3600


@pytest.fixture
async def world(make_site):
    site = await make_site(warn_lead_s=0, min_run_s=60)
    for name in ("ada", "mia", "eve"):
        site.hub.add(name)
    return World(site)


def dry(world, person="mia", *, ago_s=OLD_S, credits=1):
    """A server on a wallet with too little for the time that it has run."""
    if credits:
        world.grant(world.empty, credits)
    site = world.site
    started = site.look(lambda tx: tx.now())
    ask = {"hub_started_at": started, "wallet_name": ""}
    site.act(rules.replace, [Rule(0, "wallet", wallet_id=world.empty)])
    session = world.start(person, "s", ago_s=ago_s, **ask)
    site.hub.run(person, "s", started_at=started, state={"jhub_usage": {"session": session}})
    return session


def session(world, session_id):
    return world.site.look(views.session_views, ids=[session_id])[0]


async def test_an_empty_wallets_server_is_stopped(world):
    stopped = dry(world)
    numbers = await stops.run(world.site.service)
    assert numbers["stopped"] == 1
    assert world.site.hub.stopped == [("mia", "s")]
    row = session(world, stopped)
    assert row.stop_ordered_at is not None and row.stop_reason == "wallet_empty"
    assert row.boundaries["stop_accepted"]["evidence"] == "hub_accepted"


async def test_a_warning_comes_first(make_site):
    site = await make_site(warn_lead_s=600, min_run_s=60)
    for name in ("ada", "mia"):
        site.hub.add(name)
    world = World(site)
    session_id = dry(world)
    numbers = await stops.run(site.service)
    assert numbers["warned"] == 1 and not site.hub.stopped
    row = session(world, session_id)
    assert row.warned_at is not None
    assert row.stop_at >= row.warned_at + timedelta(seconds=600)


async def test_credit_between_decision_and_stop(world):
    """The top-up comes when the Hub has been asked what runs, right before the stop."""
    session_id = dry(world)
    hub, asked = world.site.hub, world.site.hub.server

    async def server(user, name):
        found = await asked(user, name)
        world.grant(world.empty, 100)
        return found

    hub.server = server
    numbers = await stops.run(world.site.service)
    assert numbers["withdrawn"] == 1 and not hub.stopped
    row = session(world, session_id)
    assert row.stop_ordered_at is None and row.warned_at is None
    assert row.state == "running"


async def test_a_restarted_server_is_another_one(world):
    dry(world)
    later = world.site.look(lambda tx: tx.now()) + timedelta(seconds=30)
    world.site.hub.run("mia", "s", started_at=later)
    assert (await stops.run(world.site.service))["another_run"] == 1
    assert not world.site.hub.stopped


async def test_another_session_in_the_servers_state(world):
    session_id = dry(world)
    started = session(world, session_id).hub_started_at
    world.site.hub.run("mia", "s", started_at=started, state={"jhub_usage": {"session": "other"}})
    assert (await stops.run(world.site.service))["another_run"] == 1


async def test_the_hub_takes_its_time(world):
    """202: asked once, then watched, not asked again and again."""
    dry(world)
    hub = world.site.hub
    hub.slow_stop = True
    assert (await stops.run(world.site.service))["stopping"] == 1
    assert (await stops.run(world.site.service))["stopping"] == 1
    assert hub.stopped == [("mia", "s")]
    hub.end("mia", "s")
    assert (await stops.run(world.site.service))["gone"] == 1


async def test_the_hub_is_away_at_that_instant(world):
    session_id = dry(world)
    hub = world.site.hub

    def go_away():
        hub.away = True

    hub.before_stop = go_away
    with pytest.raises(HubUnavailable):
        await stops.run(world.site.service)
    row = session(world, session_id)
    assert row.stop_ordered_at is not None and row.state == "running"
    hub.away, hub.before_stop = False, None
    assert (await stops.run(world.site.service))["stopped"] == 1


async def test_a_failed_pass_is_tried_again_later(world):
    service = world.site.service
    loop = next(x for x in service.loops._loops if x.name == "stops")
    dry(world)
    world.site.hub.away = True
    pauses = []
    for _ in range(4):
        await service.loops.one_pass(loop)
        pauses.append(loop.pause_s)
    assert pauses == sorted(pauses) and pauses[-1] <= 60
    assert loop.failures == 4 and "does not answer" in loop.last_error
    assert any("stops" in w["text"] for w in service.loops.warnings)
    world.site.hub.away = False
    await service.loops.one_pass(loop)
    assert loop.failures == 0 and loop.pause_s == loop.interval_s
    assert world.site.hub.stopped == [("mia", "s")]


async def test_too_many_at_once_stop_none(world):
    site = world.site
    for number in range(8):
        name = f"p{number}"
        site.hub.add(name)
    site.act(wallets.change, world.empty, overdraft_micro=100 * CREDIT)
    for number in range(8):
        dry(world, f"p{number}", credits=0)
    assert (await stops.run(site.service)) == {"warned": 0, "guarded": 0}
    # somebody lowers a limit, and all of them are over at once
    site.act(wallets.change, world.empty, overdraft_micro=0)
    numbers = await stops.run(site.service)
    assert numbers["guarded"] == 8 and not site.hub.stopped
    await stops.run(site.service)
    assert not site.hub.stopped, "it waits for a person"
    site.act(actions.release_guard)
    numbers = await stops.run(site.service)
    assert numbers["stopped"] == 8


@pytest.mark.parametrize("mode", ["off", "observe"])
async def test_nobody_is_stopped_unless_enforced(world, mode):
    dry(world)
    world.site.act(modes.set_mode, mode)
    await stops.run(world.site.service)
    assert not world.site.hub.stopped


async def test_one_switch_turns_it_off_between_order_and_try(world):
    dry(world)
    world.site.hub.away = True
    with pytest.raises(HubUnavailable):
        await stops.run(world.site.service)
    world.site.act(modes.set_mode, "observe")
    world.site.hub.away = False
    assert (await stops.run(world.site.service)).get("stopped") is None
    assert not world.site.hub.stopped
