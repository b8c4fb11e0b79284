"""Stops: who is warned, and the guard that waits for a person when too many are due at once."""

from ...actions import listings, views
from ...actions import stops as actions
from .sessions import shown


async def show(call) -> dict:
    return await call.look(state, call.ctx.policy)


def state(tx, policy) -> dict:
    guard = actions.guard_state(tx)
    ids = listings.warned_ids(tx)
    return {
        "tripped": guard["tripped_at"] is not None,
        "tripped_at": guard["tripped_at"],
        "count": guard["count"] or 0,
        "released_until_at": guard["released_until_at"],
        "due": shown(tx, views.session_views(tx, ids=ids, limit=200), policy) if ids else [],
    }


async def release(call) -> dict:
    await call.act(actions.release_guard)
    return await show(call)
