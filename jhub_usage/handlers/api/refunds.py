"""Giving back by filter, and waiving one session: looked at first, then confirmed."""

from datetime import UTC, datetime
from functools import partial

from ...actions import listings
from ...actions import refunds as actions
from ...domain.errors import BadInput, UsageError
from ...domain.instants import iso, parse_instant
from ...domain.refunds import MOST_NOTE, Filter
from .. import paging, present
from ..access import NEED_MANAGE, NEED_READ_OR_MANAGE
from ..call import Route
from ..look import words
from ..schema import instant, listed, maybe, obj, ref, text, whole
from ..schemas import COMPONENTS, MICRO, SESSION_ID, cursor, page_of

#: So many lines of a preview are answered; its count and its total are those of all.
MOST_LINES = 1000
#: So many of them stand on the page.
PAGE_LINES = 200
LATELY = 20
FIELDS = ("node", "profile", "end_reason", "person", "wallet")
#: How servers end, those first for which people ask to have something back.
END_REASONS = ("died", "start_failed", "lost", "hub_shutdown", "stopped", "wallet_empty",
               "session_limit", "period_limit")  # fmt: skip


async def preview(call) -> dict:
    asked, hub_id = filter_of(call.body), call.settings.hub_id
    return shown(await call.look(actions.preview, asked, hub_id=hub_id))


async def create(call) -> dict:
    """What the preview said is sent back with it: what changed meanwhile is not given."""
    body = call.body
    return await call.act(
        actions.refund,
        filter_of(body),
        note=body["note"],
        policy=call.ctx.policy,
        hub_id=call.settings.hub_id,
        key=call.entry_key,
        expected=(body["expected_count"], body["expected_total_micro"]),
        show=batch,
    )


async def waive(call) -> dict:
    return await call.act(
        actions.waive,
        call.path["session_id"],
        note=call.body["note"],
        policy=call.ctx.policy,
        key=call.entry_key,
        show=batch,
    )


async def index(call) -> dict:
    return await call.look(page, call.query)


def page(tx, query: dict) -> dict:
    limit = query.get("limit", paging.PAGE)
    before = paging.decode(query.get("cursor"), int)
    rows = actions.made(tx, before_id=before[0] if before else None, limit=limit + 1)
    rows, following = paging.cut(rows, limit, lambda r: (r["id"],))
    return {"refunds": [made(r) for r in rows], "next": following}


def filter_of(body) -> Filter:
    """The filter in a body."""
    instants = {
        name: parse_instant(body[name], what=name.replace("_", " "))
        for name in ("begins_at", "ends_at")
        if body.get(name)
    }
    named = {name: body.get(name, "") for name in FIELDS}
    return Filter(percent=body.get("percent", 100), **named, **instants)


def shown(found: actions.Preview, most: int = MOST_LINES) -> dict:
    """A preview as the API and the page show it."""
    return {
        "count": found.count,
        "total_micro": found.total_micro,
        "nothing": found.nothing,
        "lines": [line(x) for x in found.lines[:most]],
        "open": [line(x) for x in found.open],
    }


def line(x: actions.Line) -> dict:
    within = x.within_us
    return {
        "session_id": x.session_id,
        "person": x.person,
        "server_name": x.server_name,
        "wallet": x.wallet,
        "wallet_id": x.wallet_id,
        "profile": x.profile,
        "node": x.node,
        "end_reason": x.end_reason,
        "began_at": x.began_at,
        "ended_at": x.ended_at,
        "within_s": None if within is None else within // 1_000_000,
        "left_micro": x.left_micro,
        "amount_micro": x.amount_micro,
    }


def batch(done: actions.Batch) -> dict:
    return {"count": done.count, "entries": done.entries, "total_micro": done.total_micro}


def made(row: dict) -> dict:
    """A batch that was given back."""
    return {
        "id": row["id"],
        "at": row["at"],
        "actor": row["actor"] or present.ACTORS.get(row["actor_kind"], row["actor_kind"]),
        "filter": row["filter"],
        "count": row["count"],
        "entries": row["entries"],
        "total_micro": row["total_micro"],
    }


# -- the page -------------------------------------------------------------------------------------


async def admin_page(call) -> dict:
    """The filter is in the address; what it gives back stands below it, then what was given."""
    asked, zone = call.query, call.service.look.zone
    given = {name: asked.get(name, "").strip()[:400] for name in (*FIELDS, "begins", "ends")}
    percent = asked.get("percent", "").strip()[:400] or "100"
    found, problem, body = None, "", {}
    if asked:
        try:
            body = _body(given, percent, zone)
            found = await call.look(actions.preview, filter_of(body), hub_id=call.settings.hub_id)
        except UsageError as error:
            problem = error.message

    def read(tx) -> dict:
        return {
            "wallets": listings.wallet_names(tx),
            "lately": [lately(r) for r in actions.made(tx, limit=LATELY)],
        }

    return {
        "tab": "admin/refunds",
        "title": "Refunds",
        "asked": {**given, "percent": percent},
        "reasons": [(r, words(r)) for r in _reasons(given["end_reason"])],
        "body": body,
        "problem": problem,
        "found": None if found is None else shown(found, PAGE_LINES),
        **await call.look(read),
    }


def lately(row: dict) -> dict:
    """A batch with its window as instants, which the page shows in the hub's zone."""
    found = made(row)
    instants = {
        name: parse_instant(found["filter"][name])
        for name in ("begins_at", "ends_at")
        if name in found["filter"]
    }
    return found | {"filter": found["filter"] | instants}


def _reasons(chosen: str) -> tuple[str, ...]:
    return END_REASONS if chosen in ("", *END_REASONS) else (*END_REASONS, chosen)


def _body(given: dict, percent: str, zone) -> dict:
    """What the API is asked for the same."""
    body: dict = {name: given[name] for name in FIELDS if given[name]}
    for name, what in (("begins", "begin"), ("ends", "end")):
        if given[name]:
            body[f"{name}_at"] = iso(_local(given[name], zone, f"{what} of the window"))
    if not (percent.isascii() and percent.isdecimal() and len(percent) <= 4):
        raise BadInput("The share that is given back is a whole number from 1 to 100 percent.")
    if int(percent) != 100:
        body["percent"] = int(percent)
    return body


def _local(written: str, zone, what: str) -> datetime:
    """A wall time in the hub's zone, as a browser's field gives it."""
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        raise BadInput(f"The {what} {written[:40]!r} is not a time.") from None
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)


# -- the table of routes --------------------------------------------------------------------------

WHY = text("Why: stands with each entry, the person reads it.", least=1, most=MOST_NOTE)
FILTER = {
    "node": text("The node that it ran on, where the spawner tells."),
    "begins_at": instant("Only what the cost grew from here ..."),
    "ends_at": instant("... until before here; without both: all that is left."),
    "profile": text(),
    "end_reason": text("How it ended, like `died` or `lost`."),
    "person": text("The name in the hub."),
    "wallet": text("The wallet's name."),
    "percent": whole("That share of it, rounded down; 100 unless said.", least=1, most=100),
}
COMPONENTS["RefundLine"] = obj(
    {
        "session_id": SESSION_ID,
        "person": text(),
        "server_name": text(),
        "wallet": text(),
        "wallet_id": whole(),
        "profile": text(),
        "node": text(),
        "end_reason": maybe(text()),
        "began_at": instant("The first billed instant."),
        "ended_at": maybe(instant()),
        "within_s": maybe(whole("Billed seconds within the window.")),
        "left_micro": whole("What is left of its charges to give back."),
        "amount_micro": whole("What is given back of it."),
    }
)
COMPONENTS["RefundBatch"] = obj(
    {
        "id": whole(),
        "at": instant(),
        "actor": text(),
        "filter": {"type": "object"},
        "count": whole("Sessions."),
        "entries": whole(),
        "total_micro": MICRO,
    }
)
PREVIEW = obj(
    {
        "count": whole("Sessions of which something is given back."),
        "total_micro": MICRO,
        "nothing": whole("Ended sessions that fit, with nothing left to give back."),
        "lines": listed(ref("RefundLine"), most=MOST_LINES),
        "open": listed(ref("RefundLine"), most=actions.NAMED_OPEN),
    }
)
BATCH = obj({"count": whole("Sessions."), "entries": whole(), "total_micro": MICRO})

GET, POST = partial(Route, "GET"), partial(Route, "POST")

ROUTES = (
    GET("api/refunds", index, NEED_READ_OR_MANAGE, "What was given back by filter, newest first",
        query=cursor(), reply=page_of("refunds", "RefundBatch")),
    POST("api/refunds/preview", preview, NEED_MANAGE,
         "What a filter would give back, session by session; writes nothing",
         body=obj(FILTER, optional=tuple(FILTER)), reply=PREVIEW),
    POST("api/refunds", create, NEED_MANAGE,
         "Give it back; refused if it is not what the preview said",
         body=obj({**FILTER, "note": WHY, "expected_count": whole("`count` of the preview."),
                   "expected_total_micro": whole("`total_micro` of the preview.")},
                  optional=tuple(FILTER)),
         reply=BATCH, status=201, keyed=True),
    POST("api/sessions/{session_id:uuid}/waive", waive, NEED_MANAGE,
         "Give back all that is left of a session's charges",
         body=obj({"note": WHY}), reply=BATCH, status=201, keyed=True),
)  # fmt: skip

PAGES = (
    GET("admin/refunds", admin_page, NEED_READ_OR_MANAGE, "Refunds by filter",
        template="refunds.html"),
)  # fmt: skip
