"""What a person sees of themselves."""

from datetime import timedelta

from ...actions import ownership, views
from ...domain import passes
from .. import present
from .sessions import shown

RECENT = 10
#: Older refusals are of no use to anybody; their numbers still lead to them.
REFUSED_DAYS = 14


async def show(call) -> dict:
    return await call.look(mine, call.caller, call.settings.hub_id, call.ctx.cache, call.ctx.policy)


def mine(tx, caller, hub_id: str, cache, policy) -> dict:
    """Own wallets, running servers, the latest that ended, and what was not simply admitted."""
    person_id = ownership.person_id(tx, hub_id, caller.person)
    now = tx.now()
    since = now - timedelta(days=REFUSED_DAYS)
    wallets = views.my_wallets(tx, person_id, caller.groups, caller.name, cache)
    catalog = cache.get(tx)
    held = passes.valid(catalog.passes, person_id, now)
    running, recent, refused = [], [], []
    if person_id is not None:
        running = views.session_views(tx, person_id=person_id, open_only=True)
        recent = views.session_views(tx, person_id=person_id, state="ended", limit=RECENT)
        refused = views.decisions(
            tx, person_id=person_id, kinds=("refused", "observed", "failed_open"), limit=5
        )
    return {
        "name": caller.name,
        "mode": catalog.mode,
        "at": now,
        "pass_until": held.expires_at if held else None,
        "wallets": [present.wallet(w) for w in wallets if not w.closed],
        "running": shown(tx, running, policy),
        "recent": shown(tx, recent, policy),
        "refused": [present.decision(d) for d in refused if d["decided_at"] >= since],
    }
