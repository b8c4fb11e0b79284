"""The audit: who changed what, when, from where, before and after."""

from ...actions import views
from .. import paging, present


async def index(call) -> dict:
    return await call.look(page, call.query)


def page(tx, query: dict) -> dict:
    limit = query.get("limit", paging.PAGE)
    before = paging.decode(query.get("cursor"), int)
    rows = views.audit_rows(
        tx,
        subject_kind=query.get("subject_kind"),
        subject_id=query.get("subject_id"),
        before_id=before[0] if before else None,
        limit=limit + 1,
    )
    rows, following = paging.cut(rows, limit, lambda r: (r["id"],))
    return {"audit": [present.audit(r) for r in rows], "next": following}
