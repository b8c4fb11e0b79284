"""Correcting when a session started or ended: looked at first, then booked."""

from datetime import UTC, datetime
from functools import partial

from ...actions import corrections as actions
from ...domain.corrections import Boundaries
from ...domain.errors import BadInput, UsageError
from ...domain.instants import iso, parse_instant
from ...domain.refunds import MOST_NOTE
from ..access import NEED_MANAGE
from ..call import Route
from ..schema import flag, instant, maybe, obj, ref, text, whole
from ..schemas import COMPONENTS, MICRO, SESSION_ID

NAMES = ("started", "ended")


async def preview(call) -> dict:
    found = await call.look(
        actions.preview, call.path["session_id"], policy=call.ctx.policy, **_told(call.body)
    )
    return shown(found)


async def correct(call) -> dict:
    return await call.act(
        actions.correct_boundaries,
        call.path["session_id"],
        note=call.body["note"],
        policy=call.ctx.policy,
        expected_micro=call.body.get("expected_micro"),
        show=lambda done: _plain(shown(done)),
        **_told(call.body),
    )


def _told(body) -> dict:
    names = (f"{name}_at" for name in NAMES)
    return {
        name: parse_instant(body[name], what=name.removesuffix("_at"))
        for name in names
        if body.get(name)
    }


def shown(c: actions.Correction) -> dict:
    """A correction as the API and the page show it."""
    return {
        "session_id": c.session_id,
        "changes": c.changes,
        "before": _boundaries(c.before),
        "after": _boundaries(c.after),
        "billed_us": c.billed_us,
        "amount_micro": c.amount_micro,
        "taken_back_micro": c.taken_back_micro,
        "waived_micro": c.waived_micro,
        "net_micro": c.net_micro,
        "month": c.month,
    }


def _boundaries(b: Boundaries) -> dict:
    return vars(b) | {"billed_us": b.billed_us}


def _plain(data: dict) -> dict:
    """Instants as text: an answer to a key is kept as JSON."""
    return {
        k: _plain(v) if isinstance(v, dict) else iso(v) if isinstance(v, datetime) else v
        for k, v in data.items()
    }


# -- the session's page ---------------------------------------------------------------------------


async def for_page(call, session: dict | None) -> dict:
    """What the form on a session's page shows: nothing, or a preview of what was filled in."""
    may = call.caller.may("manage", "admin")
    if not may or session is None or session["state"] != "ended":
        return {"correctable": False}
    given = {name: call.query.get(name, "").strip()[:40] for name in NAMES}
    found, problem = None, ""
    if any(given.values()):
        zone = call.service.look.zone
        try:
            told = {f"{name}_at": _local(text, zone) for name, text in given.items() if text}
            found = await call.look(
                actions.preview, session["id"], policy=call.ctx.policy, **told
            )  # fmt: skip
            body = {name: iso(at) for name, at in told.items()}
            found = {**shown(found), "body": body}
        except UsageError as error:
            found, problem = None, error.message
    return {"correctable": True, "given": given, "correction": found, "problem": problem}


def _local(written: str, zone) -> datetime:
    """A wall time in the hub's zone, as a browser's field gives it."""
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        raise BadInput(f"{written!r} is not a time.") from None
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)


# -- the table of routes --------------------------------------------------------------------------

BOUNDARIES = obj(
    {
        "started_at": instant(),
        "ready_at": maybe(instant()),
        "ended_at": instant(),
        "billed_from_at": maybe(instant("Null: it never began to be billed.")),
        "billed_until_at": instant(),
        "billed_us": whole("Microseconds that the wallet pays for."),
        "platform_us": whole("Microseconds that the platform bears."),
    }
)
COMPONENTS["BoundaryCorrection"] = obj(
    {
        "session_id": SESSION_ID,
        "changes": flag("False: these are its boundaries already."),
        "before": BOUNDARIES,
        "after": BOUNDARIES,
        "billed_us": whole("Microseconds more that are billed; negative: less."),
        "amount_micro": whole("Back to the wallet; negative: charged besides."),
        "taken_back_micro": whole("Refunds that are more than is charged now are taken back."),
        "waived_micro": whole("Given back at once: it was a start that failed."),
        "net_micro": MICRO,
        "month": text("The month that it is booked in.", most=7),
    }
)
TOLD = {
    "started_at": instant("When it started; without it that stays."),
    "ended_at": instant("When it ended; without it that stays."),
}
WHY = text("How you know: stands with the entry.", least=1, most=MOST_NOTE)

POST = partial(Route, "POST")

ROUTES = (
    POST("api/sessions/{session_id:uuid}/boundaries/preview", preview, NEED_MANAGE,
         "What a correction of an ended session's start or end would book; writes nothing",
         body=obj(TOLD, optional=tuple(TOLD)),
         reply=ref("BoundaryCorrection")),
    POST("api/sessions/{session_id:uuid}/boundaries", correct, NEED_MANAGE,
         "Correct when an ended session started or ended; the same again changes nothing",
         body=obj({**TOLD, "note": WHY, "expected_micro": whole("`net_micro` of the preview.")},
                  optional=(*TOLD, "expected_micro")),
         reply=ref("BoundaryCorrection"), keyed=True),
)  # fmt: skip
