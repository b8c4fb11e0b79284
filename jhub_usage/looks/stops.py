"""Warn, then stop, what its wallet or a limit ends (rule 14).

The decision is the database's, under locks; here the Hub is asked what runs, the decision is
confirmed right before each try, and the Hub is told to stop.
"""

import asyncio
import logging
from datetime import UTC, datetime

from ..actions import sessions, stops
from ..adapters.hub import GONE, HubUnavailable
from ..domain.audit import SYSTEM
from ..domain.errors import NotFound
from ..domain.sightings import Sighting
from .sync import same_start

log = logging.getLogger("jhub_usage.loops")

AT_ONCE = 10


async def run(service) -> dict:
    """One pass; what came of each order, in numbers. Raises HubUnavailable after trying all."""
    ctx, hub_id = service.ctx, service.settings.hub_id
    plan = await ctx.act_soon(stops.plan, hub_id, policy=ctx.policy, actor=SYSTEM)
    for session_id in plan.warned:
        log.info({"message": "warned", "session": session_id})
    if plan.guarded:
        log.error(
            {"message": "so many stops at once wait for a person; none was made",
             "due": plan.guarded}
        )  # fmt: skip
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(order) -> str:
        async with turns:
            return await try_stop(service, order)

    came_of = await asyncio.gather(*(one(o) for o in plan.orders), return_exceptions=True)
    numbers = {"warned": len(plan.warned), "guarded": plan.guarded}
    for order, outcome in zip(plan.orders, came_of, strict=True):
        if isinstance(outcome, str):
            numbers[outcome] = numbers.get(outcome, 0) + 1
            log.info({"message": "stop", "session": order.session_id, "person": order.person,
                      "reason": order.reason, "outcome": outcome})  # fmt: skip
    errors = [x for x in came_of if isinstance(x, BaseException)]
    if errors:
        # the orders stand; the next pass asks again whether they are right, and tries again
        raise next((e for e in errors if isinstance(e, HubUnavailable)), errors[0])
    return numbers


async def try_stop(service, order) -> str:
    """One try for one server: what came of it."""
    ctx = service.ctx
    server = await service.hub.server(order.person, order.server_name)
    if server is None:
        return "gone"  # its end is told by the hooks, or by the comparison with the Hub
    if server.session_id not in (None, order.session_id) or not same_start(
        server.started_at, order.hub_started_at
    ):
        return "another_run"  # restarted meanwhile: that one has a session of its own
    if server.pending == "stop":
        return "stopping"
    if not await ctx.act_soon(stops.confirm, order.session_id, policy=ctx.policy, actor=SYSTEM):
        return "withdrawn"
    outcome = await service.hub.stop(order.person, order.server_name)
    if outcome != GONE:
        accepted = Sighting(
            order.session_id, "stop_accepted", datetime.now(UTC), "hub_accepted", order.reason
        )
        try:
            await ctx.act_soon(sessions.record, accepted, policy=ctx.policy, actor=SYSTEM)
        except NotFound:
            pass
    return outcome
