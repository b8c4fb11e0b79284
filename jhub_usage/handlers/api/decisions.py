"""Decisions about starts: the report of what was, or would have been, refused or stopped."""

from datetime import datetime

from ...actions import listings, ownership, views
from ...domain.admission import DECISIONS
from .. import paging, present

NOT_SIMPLY_ADMITTED = tuple(d for d in DECISIONS if d != "admitted")


async def index(call) -> dict:
    return await call.look(page, call.settings.hub_id, call.query)


def page(tx, hub_id: str, query: dict) -> dict:
    limit = query.get("limit", paging.PAGE)
    filters: dict = {}
    if "person" in query:
        filters["person_id"] = ownership.id_of_name(tx, hub_id, query["person"])
    wanted = query.get("decision")
    rows = views.decisions(
        tx,
        kinds=(wanted,) if wanted else NOT_SIMPLY_ADMITTED,
        before=paging.decode(query.get("cursor"), datetime, str),
        limit=limit + 1,
        **filters,
    )
    rows, following = paging.cut(rows, limit, lambda r: (r["decided_at"], r["session_id"]))
    return {
        "decisions": [present.decision(r) for r in rows],
        "counts": [
            {"decision": c["decision"], "reason": c["reason"], "count": c["count"]}
            for c in listings.decision_counts(tx)
        ],
        "would_stop": [present.would_stop(r) for r in listings.would_be_stopped(tx)],
        "next": following,
    }
