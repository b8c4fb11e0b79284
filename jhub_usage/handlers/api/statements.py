"""A wallet's statement of a month: as JSON, as CSV, and as a page that prints well."""

from functools import partial

from ...actions import allowances, ownership, views
from ...actions import statements as actions
from ...domain.allowance_words import entry_text, period_text
from ...domain.instants import parse_instant
from ...domain.money import plain
from ...domain.statements import AT_ONCE, CLOSED, OPEN, canonical, checksum, csv_text, hours_shown
from .. import present
from ..access import MY_WALLET
from ..call import Download, Route
from ..schema import flag, instant, listed, maybe, obj, one_of, ref, text, whole
from ..schemas import COMPONENTS, MICRO, SESSION_ID
from .wallets import only_own

#: So many servers, and so many other entries, stand on the page.
PAGE_ROWS = 500
MOST = 1_000_000


async def show(call) -> Download:
    """The very bytes: a closed month's are the same whenever they are made."""
    statement, *_ = await _look(call)
    if call.query.get("format") == "csv":
        body, kind = csv_text(statement).encode(), "text/csv; charset=utf-8"
    else:
        body, kind = canonical(statement), "application/json"
    ending = "csv" if kind.startswith("text/csv") else "json"
    name = f"statement-{statement['wallet']['id']}-{statement['month']}.{ending}"
    return Download(body, kind, name)


async def _look(call) -> tuple[dict, list[str], dict | None]:
    """The statement, the months of which the wallet has one, newest first, and its allowance.

    That only where the balance is the one of now.
    """
    caller, hub_id, policy = call.caller, call.settings.hub_id, call.ctx.policy
    wallet_id, label = call.path["wallet_id"], call.path["label"]

    def read(tx) -> tuple[dict, list[str], dict | None]:
        roles = ownership.roles_of(tx, hub_id, caller.person, caller.groups)
        person_id = only_own(tx, wallet_id, caller, hub_id, roles)
        made = actions.statement(tx, wallet_id, label, policy=policy, person_id=person_id)
        months = [m for m, _ in actions.labels(tx, wallet_id, policy=policy)]
        allowance = None
        if person_id is None and made["state"] == OPEN and label == months[0]:
            allowance = allowances.facts(views.wallet_views(tx, ids=[wallet_id])[0])
        return made, months, allowance

    return await call.look(read)


async def page(call) -> dict:
    s, labels, allowance = await _look(call)
    label = s["month"]
    name = period_text(label)
    begin, end = parse_instant(s["begins_at"]), parse_instant(s["ends_at"])
    others = [e for e in s["entries"] if e["kind"] != "charge" or not e["session_id"]]
    sessions = {x["id"]: x for x in s["sessions"]}
    used = [x for x in s["sessions"] if x["entries"]]
    return {
        "tab": "admin/wallets",
        "title": f"{s['wallet']['title'] or s['wallet']['name']}, {name}",
        "s": s,
        "allowance": allowance,
        "name": name,
        "begins": begin,
        "ends": end,
        "closed_at": parse_instant(s["closed_at"]) if s["closed_at"] else None,
        "before": max((m for m in labels if m < label), default=""),
        "after": min((m for m in labels if m > label), default=""),
        "used_profiles": [x for x in s["profiles"] if x["profile"] is not None],
        "servers": used[:PAGE_ROWS],
        "servers_in_all": len(used),
        "others": [_row(e, sessions) for e in others[:PAGE_ROWS]],
        "others_in_all": len(others),
        "pending": [_row(e, sessions) for e in s.get("pending", ())],
        "checksum": checksum(s),
        "hours": hours_shown,
        "gpus": lambda milli: plain(milli * 1000),
    }


def _row(entry: dict, sessions: dict) -> dict:
    """An entry with its instants, and whose server it is for."""
    of = sessions.get(entry["session_id"], {})
    return entry | {
        "at": parse_instant(entry["effective_at"]),
        "person": of.get("person"),
        "server_name": of.get("server_name"),
        "gpu_model": of.get("gpu_model"),
        "about": _about(entry["kind"], entry["allowance"]),
        "by": entry["actor"] or present.ACTORS.get(entry["actor_kind"], entry["actor_kind"]),
    }


def _about(kind: str, allowance: str | None) -> str:
    if not allowance:
        return ""
    return entry_text(kind, f"allowance::{'at:' if allowance == AT_ONCE else allowance}")


# -- the table of routes --------------------------------------------------------------------------

LABEL = text("Like `2026-11`.", most=7)
SUMS = {
    "entries": whole(),
    "amount_micro": MICRO,
    "elapsed_us": whole("Billed microseconds; negative where a correction took some back."),
    "gpu_us": whole("Thousandths of a GPU times microseconds."),
    "cpu_us": whole("Thousandths of a core times microseconds."),
}
LINE = obj(
    {
        "id": maybe(whole("The entry; null while it is not booked yet.")),
        "kind": text(),
        "amount_micro": whole("Positive: credit to the wallet."),
        "effective_at": instant(),
        "posted_at": maybe(instant()),
        "session_id": maybe(SESSION_ID),
        "person_id": maybe(whole()),
        "slice_start": maybe(instant()),
        "slice_end": maybe(instant()),
        **{name: SUMS[name] for name in ("elapsed_us", "gpu_us", "cpu_us")},
        "corrects_id": maybe(whole("The entry that it corrects or gives back.")),
        "corrects_month": maybe(text("The month that that one is booked in.", most=7)),
        "goodwill": flag(),
        "counter_wallet_id": maybe(whole()),
        "counter_wallet": maybe(text("The other wallet of a transfer.")),
        "allowance": maybe(text("The period of the allowance that came or expired by it.")),
        "actor_kind": text(),
        "actor": maybe(text()),
        "note": text(most=4000),
    }
)
COMPONENTS["StatementLine"] = LINE
COMPONENTS["Statement"] = obj(
    {
        "format": whole("Of this description: 1."),
        "by": one_of("booked month", description="Not by when something happened."),
        "state": one_of(CLOSED, OPEN),
        "month": LABEL,
        "begins_at": instant(),
        "ends_at": instant(),
        "timezone": text(),
        "currency": text(),
        "closed_at": maybe(instant()),
        "at": instant("An open month: when this was true."),
        "wallet": obj({"id": whole(), "name": text(), "title": text()}),
        "only_person": maybe(text("Only what is for this person's sessions; null: all of it.")),
        "opening_micro": maybe(whole("The entries of earlier months; null for one person.")),
        "closing_micro": maybe(whole("The same, and those of this month.")),
        "total": obj(SUMS),
        "kinds": listed(obj({"kind": text(), **SUMS})),
        "people": listed(obj({"person_id": maybe(whole()), "person": maybe(text()), **SUMS}),
                         most=MOST),
        "profiles": listed(obj({"profile": maybe(text()), "gpu_model": maybe(text()), **SUMS}),
                           most=MOST),
        "sessions": listed(
            obj(
                {
                    "id": SESSION_ID,
                    "person_id": whole(),
                    "person": text(),
                    "server_name": text(),
                    "profile": text(),
                    "gpu_model": text(),
                    "gpu_count": whole(),
                    "gpu_milli": whole(),
                    "cpu_milli": whole(),
                    "memory_bytes": whole(),
                    "per_hour_micro": MICRO,
                    "start_fee_micro": MICRO,
                    "lines": listed(ref("QuoteLine")),
                    **SUMS,
                }
            ),
            most=MOST,
        ),
        "entries": listed(ref("StatementLine"), most=MOST),
        "pending": listed(ref("StatementLine"), most=MOST),
        "pending_micro": whole("What of an open month is not booked yet; in no other sum."),
    },
    optional=("at", "pending", "pending_micro"),
)  # fmt: skip

GET = partial(Route, "GET")

ROUTES = (
    GET("api/wallets/{wallet_id:int}/statements/{label:month}", show, MY_WALLET,
        "A wallet's statement of a month, as JSON or CSV; a spender's own sessions only",
        query=obj({"format": one_of("json", "csv")}, optional=("format",)),
        reply=ref("Statement")),
)  # fmt: skip

PAGES = (
    GET("wallets/{wallet_id:int}/statements/{label:month}", page, MY_WALLET, "A statement",
        template="statement.html"),
)  # fmt: skip
