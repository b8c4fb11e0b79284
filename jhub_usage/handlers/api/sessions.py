"""Sessions: lists, one of them with all that is known of it."""

from datetime import datetime

from ...actions import listings, maintenance, ownership, views
from ...domain.errors import NotFound
from ...domain.limits import PERIOD_LIMIT, full_text
from .. import paging, present


def shown(tx, found, policy) -> list[dict]:
    """Sessions with what is computed of their wallets and limits."""
    meters = listings.meters_of(tx, found, policy=policy)
    return [present.session(v, meters.get(v.id)) for v in found]


async def index(call) -> dict:
    return await call.look(page, call.settings.hub_id, call.query, call.ctx.policy)


def page(tx, hub_id: str, query: dict, policy) -> dict:
    """Sessions, newest first. A name that nobody has now gives none."""
    limit = query.get("limit", paging.PAGE)
    state = query.get("state", "")
    filters: dict = {}
    if "person" in query:
        filters["person_id"] = ownership.id_of_name(tx, hub_id, query["person"])
    if "wallet_id" in query:
        filters["wallet_ids"] = [query["wallet_id"]]
    rows = views.session_views(
        tx,
        state=state if state not in ("", "open") else None,
        open_only=state == "open",
        before=paging.decode(query.get("cursor"), datetime, str),
        limit=limit + 1,
        **filters,
    )
    rows, following = paging.cut(rows, limit, lambda v: (v.admitted_at, v.id))
    return {"sessions": shown(tx, rows, policy), "next": following}


async def show(call) -> dict:
    return await call.look(one, call.path["session_id"], call.ctx.policy)


def one(tx, session_id: str, policy) -> dict:
    """A session and its decision; a refused start has a decision only."""
    decision = views.decision(tx, session_id)
    found = views.session_views(tx, ids=[session_id])
    if decision is None and not found:
        raise NotFound(f"There is no session {session_id}.")
    lines = found[0].quote_lines if found else (decision["quote"] or {}).get("lines", ())
    return {
        "id": session_id,
        "session": shown(tx, found, policy)[0] if found else None,
        "decision": present.decision(decision) if decision is not None else None,
        "lines": [dict(line) for line in lines],
        "boundaries": present.boundaries(found[0]) if found else [],
        "entries": [present.entry(e) for e in listings.entries(tx, session_id=session_id)],
        "maintenance": _maintenance(tx, session_id) if found else None,
        "stop_limit": _stop_limit(tx, found[0]) if found else None,
    }


def _stop_limit(tx, v) -> str | None:
    """The limit per period that ended it, or would have."""
    if PERIOD_LIMIT not in (v.stop_reason, v.end_reason):
        return None
    limit = listings.stop_limit(tx, v.id)
    return None if limit is None else full_text(limit, v.wallet)


def _maintenance(tx, session_id: str) -> dict | None:
    """How long its node was under maintenance while it ran: not billed."""
    found = maintenance.unbilled(tx, session_id)
    if found is None:
        return None
    return {"node": found["node"], "unbilled_s": found["unbilled_us"] // 1_000_000}
