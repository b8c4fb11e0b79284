"""People that we know of, earlier users of a name among them."""

from ...actions import listings
from .. import paging, present


async def index(call) -> dict:
    return await call.look(page, call.settings.hub_id, call.query)


def page(tx, hub_id: str, query: dict) -> dict:
    limit = query.get("limit", paging.PAGE)
    rows = listings.people_page(
        tx,
        hub_id,
        search=query.get("search", ""),
        after=paging.decode(query.get("cursor"), str, int),
        limit=limit + 1,
    )
    rows, following = paging.cut(rows, limit, lambda r: (r["name"], r["id"]))
    return {"people": [present.person(r) for r in rows], "next": following}
