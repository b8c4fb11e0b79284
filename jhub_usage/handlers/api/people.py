"""People that we know of, earlier users of a name among them; and forgetting a name for good."""

from functools import partial
from urllib.parse import quote

from ...actions import listings, privacy
from .. import paging, present
from ..access import NEED_ADMIN, NEED_READ
from ..call import Route
from ..schema import flag, listed, obj, text, whole


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


async def pseudonymise(call) -> dict:
    """For good. Nothing of the person's may be open."""
    return await call.act(
        privacy.pseudonymise,
        call.path["person_id"],
        hub_id=call.settings.hub_id,
        show=lambda done: {
            "id": done.person_id,
            "name": done.name,
            "already": done.already,
            "left": list(done.left),
        },
    )


async def admin_page(call) -> dict:
    query = {k: call.query[k][:400] for k in ("cursor", "search") if call.query.get(k)}
    found = await call.look(page, call.settings.hub_id, query)
    search = query.get("search", "")
    return {"tab": "admin/people", "title": "People", "search": search,
            "kept": f"&search={quote(search, safe='')}" if search else "", **found}  # fmt: skip


# -- the table of routes --------------------------------------------------------------------------

GET, POST = partial(Route, "GET"), partial(Route, "POST")

FORGOTTEN = obj(
    {
        "id": whole(),
        "name": text("What the person is called now."),
        "already": flag("It was done before; nothing changed."),
        "left": listed(text("A thing of others that bears the name.", most=600)),
    }
)

ROUTES = (
    POST("api/people/{person_id:int}/pseudonymise", pseudonymise, NEED_ADMIN,
         "Replace a person's name everywhere, for good; entries and sums stay",
         body=obj({}), reply=FORGOTTEN),
)  # fmt: skip

PAGES = (
    GET("admin/people", admin_page, NEED_READ, "People", template="people.html"),
)  # fmt: skip
