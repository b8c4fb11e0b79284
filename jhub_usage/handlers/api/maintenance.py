"""Maintenance of nodes: windows in which what runs there is recorded and not billed."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from ...actions import maintenance as actions
from ...domain.instants import parse_instant
from ...domain.maintenance import STATES
from ...domain.refunds import MOST_NOTE
from .. import paging, present
from ..access import NEED_MANAGE, NEED_READ_OR_MANAGE
from ..call import Route
from ..schema import instant, maybe, obj, one_of, text, whole
from ..schemas import COMPONENTS, NAME, cursor, page_of

#: Each window counts the sessions that ran in it.
AT_ONCE = 25
#: Nodes on which something ran so lately are offered in the form.
LATELY = timedelta(days=60)


async def index(call) -> dict:
    return await call.look(page, call.query)


def page(tx, query: Mapping) -> dict:
    limit = min(query.get("limit", AT_ONCE), AT_ONCE)
    before = paging.decode(query.get("cursor"), int)
    rows = actions.listed(tx, before_id=before[0] if before else None, limit=limit + 1)
    rows, following = paging.cut(rows, limit, lambda r: (r["id"],))
    return {"maintenance": [shown(r) for r in rows], "next": following}


async def create(call) -> dict:
    body = call.body
    return await call.act(
        actions.add,
        body["node"],
        parse_instant(body["starts_at"], what="begin of the maintenance"),
        parse_instant(body["ends_at"], what="end of the maintenance"),
        note=body["note"],
        show=lambda maintenance_id: {"id": maintenance_id},
    )


async def finish(call) -> dict:
    maintenance_id = call.path["maintenance_id"]
    return await call.act(
        actions.finish,
        maintenance_id,
        show=lambda ends_at: {"id": maintenance_id, "ends_at": ends_at},
    )


async def cancel(call) -> dict:
    await call.act(actions.cancel, call.path["maintenance_id"])
    return {"id": call.path["maintenance_id"]}


def shown(row: Mapping) -> dict:
    """A window as the API and the page show it."""
    return {
        "id": row["id"],
        "node": row["node"],
        "starts_at": row["starts_at"],
        "ends_at": row["ends_at"],
        "state": row["state"],
        "note": row["note"],
        "created_at": row["created_at"],
        "cancelled_at": row["cancelled_at"],
        "actor": row["actor"] or present.ACTORS.get(row["actor_kind"], row["actor_kind"]),
        "sessions": row["sessions"],
        "given_micro": row["given_micro"],
    }


async def admin_page(call) -> dict:
    query = {name: call.query[name][:400] for name in ("cursor",) if call.query.get(name)}

    def read(tx) -> dict:
        return {**page(tx, query), "nodes": actions.nodes(tx, since=tx.now() - LATELY)}

    found = await call.look(read)
    return {"tab": "admin/refunds", "title": "Maintenance", **found}


# -- the table of routes --------------------------------------------------------------------------

WHY = text("What is done to the node, or was wrong with it.", least=1, most=MOST_NOTE)
COMPONENTS["Maintenance"] = obj(
    {
        "id": whole(),
        "node": text(),
        "starts_at": instant(),
        "ends_at": instant(),
        "state": one_of(*STATES),
        "note": maybe(text(most=MOST_NOTE)),
        "created_at": instant(),
        "cancelled_at": maybe(instant()),
        "actor": text(),
        "sessions": whole("Billed sessions that ran there within it and have ended."),
        "given_micro": whole("What they had back so far for this window."),
    }
)
ID = obj({"id": whole()})

GET, POST, DELETE = (partial(Route, m) for m in ("GET", "POST", "DELETE"))

ROUTES = (
    GET("api/maintenance", index, NEED_READ_OR_MANAGE, "Maintenance of nodes, newest first",
        query=cursor(most=AT_ONCE), reply=page_of("maintenance", "Maintenance")),
    POST("api/maintenance", create, NEED_MANAGE,
         "Enter a window, to come or past: what the node ran in it is not billed",
         body=obj({"node": NAME, "starts_at": instant(), "ends_at": instant(), "note": WHY}),
         reply=ID, status=201, keyed=True),
    POST("api/maintenance/{maintenance_id:int}/finish", finish, NEED_MANAGE,
         "The work is over early: the window ends now", body=obj({}),
         reply=obj({"id": whole(), "ends_at": instant()})),
    DELETE("api/maintenance/{maintenance_id:int}", cancel, NEED_MANAGE,
           "Cancel a window for which nothing was given back yet", reply=ID),
)  # fmt: skip

PAGES = (
    GET("admin/maintenance", admin_page, NEED_READ_OR_MANAGE, "Maintenance of nodes",
        template="maintenance.html"),
)  # fmt: skip
