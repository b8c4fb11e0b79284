"""Sessions: lists, one of them with all that is known of it."""

from datetime import datetime

from ...actions import listings, ownership, views
from ...domain.errors import NotFound
from .. import paging, present


def shown(tx, found) -> list[dict]:
    """Sessions with what is computed of their wallets."""
    open_ones = [v for v in found if v.state in ("admitted", "running")]
    meters = listings.meters_of(tx, {v.wallet_id for v in open_ones}) if open_ones else {}
    return [present.session(v, meters.get(v.id)) for v in found]


async def index(call) -> dict:
    return await call.look(page, call.settings.hub_id, call.query)


def page(tx, hub_id: str, query: dict) -> dict:
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
    return {"sessions": shown(tx, rows), "next": following}


async def show(call) -> dict:
    return await call.look(one, call.path["session_id"])


def one(tx, session_id: str) -> dict:
    """A session and its decision; a refused start has a decision only."""
    decision = views.decision(tx, session_id)
    found = views.session_views(tx, ids=[session_id])
    if decision is None and not found:
        raise NotFound(f"There is no session {session_id}.")
    lines = found[0].quote_lines if found else (decision["quote"] or {}).get("lines", ())
    return {
        "id": session_id,
        "session": shown(tx, found)[0] if found else None,
        "decision": present.decision(decision) if decision is not None else None,
        "lines": [dict(line) for line in lines],
        "boundaries": present.boundaries(found[0]) if found else [],
        "entries": [present.entry(e) for e in listings.entries(tx, session_id=session_id)],
    }
