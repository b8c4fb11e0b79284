"""Emergency passes: who may start and run for a while whatever the wallet and the limits say."""

from collections.abc import Mapping
from functools import partial

from ...actions import listings
from ...actions import passes as actions
from ...domain.instants import parse_instant
from ...domain.passes import STATES
from ...domain.refunds import MOST_NOTE
from .. import paging, present
from ..access import NEED_MANAGE, NEED_READ_OR_MANAGE
from ..call import Route
from ..schema import instant, maybe, obj, one_of, text, whole
from ..schemas import COMPONENTS, NAME, cursor, page_of


async def index(call) -> dict:
    return await call.look(page, call.query)


def page(tx, query: Mapping) -> dict:
    limit = query.get("limit", paging.PAGE)
    before = paging.decode(query.get("cursor"), int)
    rows = actions.listed(tx, before_id=before[0] if before else None, limit=limit + 1)
    rows, following = paging.cut(rows, limit, lambda r: (r["id"],))
    return {"passes": [shown(r) for r in rows], "next": following}


async def create(call) -> dict:
    body = call.body
    person = await call.service.person_key(body["person"])
    expires_at = body.get("expires_at")
    return await call.act(
        actions.give_to,
        person,
        hub_id=call.settings.hub_id,
        note=body["note"],
        hours=body.get("hours"),
        expires_at=parse_instant(expires_at, what="end of the pass") if expires_at else None,
        show=lambda pass_id: {"id": pass_id},
    )


async def revoke(call) -> dict:
    await call.act(actions.revoke, call.path["pass_id"])
    return {"id": call.path["pass_id"]}


def shown(row: Mapping) -> dict:
    """A pass as the API and the page show it."""
    return {
        "id": row["id"],
        "person": row["person"],
        "state": row["state"],
        "note": row["note"],
        "created_at": row["created_at"],
        "expires_at": row["expires_at"],
        "revoked_at": row["revoked_at"],
        "actor": row["actor"] or present.ACTORS.get(row["actor_kind"], row["actor_kind"]),
    }


async def admin_page(call) -> dict:
    query = {name: call.query[name][:400] for name in ("cursor",) if call.query.get(name)}

    def read(tx) -> dict:
        people = listings.people_page(tx, call.settings.hub_id, limit=500)
        return {**page(tx, query), "people": [p["name"] for p in people if p["current"]]}

    found = await call.look(read)
    return {"tab": "admin/refunds", "title": "Passes", **found}


# -- the table of routes --------------------------------------------------------------------------

WHY = text("Why this person must be able to work now.", least=1, most=MOST_NOTE)
COMPONENTS["Pass"] = obj(
    {
        "id": whole(),
        "person": text(),
        "state": one_of(*STATES),
        "note": maybe(text(most=MOST_NOTE)),
        "created_at": instant(),
        "expires_at": instant(),
        "revoked_at": maybe(instant()),
        "actor": text(),
    }
)
ID = obj({"id": whole()})

GET, POST, DELETE = (partial(Route, m) for m in ("GET", "POST", "DELETE"))

ROUTES = (
    GET("api/passes", index, NEED_READ_OR_MANAGE, "Emergency passes, newest first",
        query=cursor(), reply=page_of("passes", "Pass")),
    POST("api/passes", create, NEED_MANAGE,
         "Give a pass: for a while neither a lack of credit nor a limit refuses or stops them",
         body=obj({"person": NAME, "hours": whole("For so long.", least=1, most=168),
                   "expires_at": instant("Or until then, at most seven days."), "note": WHY},
                  optional=("hours", "expires_at")),
         reply=ID, status=201, keyed=True),
    DELETE("api/passes/{pass_id:int}", revoke, NEED_MANAGE, "Revoke a pass", reply=ID),
)  # fmt: skip

PAGES = (
    GET("admin/passes", admin_page, NEED_READ_OR_MANAGE, "Emergency passes",
        template="passes.html"),
)  # fmt: skip
