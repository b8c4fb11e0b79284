"""Usage per day, week or month: what was used when, by whom, of what. By when it happened.

Everybody sees their own; ``read`` all of it, a wallet's manager all of that wallet. Money by the
month that it is booked in is in statements.
"""

import re
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import partial

from ...actions import listings, ownership, views
from ...actions import usage_reports as actions
from ...actions import wallets as wallet_actions
from ...domain.allowance_words import period_text
from ...domain.errors import BadInput, NotAllowed, NotFound
from ...domain.instants import HOUR_US, iso, parse_instant
from ...domain.money import MICRO as MICRO_CREDITS
from ...domain.periods import PERIODS
from ...domain.spreadsheets import csv_text
from ...domain.usage import Summed, decimal, measures
from .. import charts
from ..access import OWN_USAGE
from ..call import Download, Route
from ..schema import instant, listed, maybe, obj, one_of, text, whole
from ..schemas import MICRO, NAME

#: So many rows are answered at once.
MOST_ROWS = 20_000
COUNTED = (
    "By when it happened, up to the instant `at`, open sessions included. Refunds, corrections of "
    "money and what was metered are not in it; statements go by the month of booking."
)
#: The same words whether it exists or not.
NO_WALLET = "There is no wallet here that you may see."
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


async def index(call) -> dict | Download:
    query, settings = call.query, call.settings

    def read(tx) -> actions.Report:
        only = visible(tx, call.caller, settings.hub_id, query)
        begin, end = window(tx, query, call.ctx.policy)
        by = [b.strip() for b in query.get("by", "day").split(",") if b.strip()]
        return actions.usage(
            tx, begin, end, policy=call.ctx.policy, by=by, only=only,
            node_cores=settings.cores(), most=MOST_ROWS,
        )  # fmt: skip

    report = await call.look(read)
    if query.get("format") == "csv":
        heads, rows = report.table(settings.currency().code)
        name = f"usage-{report.begin:%Y%m%d}-{report.end:%Y%m%d}.csv"
        return Download(csv_text(heads, rows).encode(), "text/csv; charset=utf-8", name)
    return {
        "begin": report.begin,
        "end": report.end,
        "at": report.at,
        "by": list(report.by),
        "rows": [report.shown(r) | measures(r.sum) for r in report.rows],
        "totals": measures(report.total),
        "counted": COUNTED,
    }


def visible(tx, caller, hub_id: str, query: dict) -> actions.Only:
    """Whose usage the query means, as far as the caller may see it; else NotAllowed."""
    named = {k: query[k] for k in ("profile", "gpu_model", "node") if k in query}
    wallet_id, name = query.get("wallet_id"), query.get("person")
    everything = caller.may("read", "admin")
    own_id = ownership.person_id(tx, hub_id, caller.person) or 0
    if wallet_id is not None and not everything and not caller.may("manage"):
        role = ownership.roles_of(tx, hub_id, caller.person, caller.groups).get(wallet_id)
        if role is None:
            raise NotAllowed(NO_WALLET)
        everything = role == "manager"
    elif wallet_id is not None:
        everything = True
    asked_id = None if name is None else ownership.id_of_name(tx, hub_id, name)
    if not everything and asked_id not in (None, own_id):
        raise NotAllowed("You see your own usage, and that of wallets that you manage.")
    if not everything:
        asked_id = own_id
    return actions.Only(person_id=asked_id, wallet_id=wallet_id, **named)


def window(tx, query: dict, policy) -> tuple:
    """The instants of a query; a date is its midnight, nothing is the last thirty days."""
    begin, end = actions.usual_window(tx, policy=policy)
    if "end" in query and "begin" not in query:
        raise BadInput("A window that ends has a begin, too.", field="begin")

    def read(name, usual):
        given = query.get(name)
        if given is None:
            return usual
        if _DAY.fullmatch(given):
            return actions.instant_of(tx, given, policy=policy)
        return parse_instant(given, what=name)

    return read("begin", begin), read("end", end)


# -- the page -------------------------------------------------------------------------------------

#: What the chart shows -> its name, and the exact number of it in a sum.
SHOW = {
    "gpu_hours": ("GPU hours", lambda s: Fraction(s.used.gpu_us, 1000 * HOUR_US)),
    "core_hours": ("CPU core hours", lambda s: Fraction(s.used.cpu_us, 1000 * HOUR_US)),
    "memory": ("GiB hours of memory", lambda s: Fraction(s.used.memory_us, 1024 * HOUR_US)),
    "hours": ("Server hours", lambda s: Fraction(s.used.elapsed_us, HOUR_US)),
    "cost": ("Cost", lambda s: Fraction(s.used.cost_micro, MICRO_CREDITS)),
    "starts": ("Starts", lambda s: s.used.starts),
}
#: What it is split by -> what that is called, and what one of no name is called.
SPLIT = {
    "profile": ("profile", "no profile"),
    "gpu_model": ("GPU model", "no GPU"),
    "wallet": ("wallet", "no wallet"),
    "person": ("person", "somebody"),
    "node": ("node", "node not known"),
}
#: So many rows stand below the chart; the file has all.
PAGE_ROWS = 40
FILTERS = ("person", "wallet", "profile", "gpu_model", "node")


async def page(call) -> dict:
    """The address is the state of the page: month, what is shown, split by what, of whom."""
    given = {k: v.strip()[:255] for k, v in call.query.items()}
    shown = await call.look(_read_page, call, given)
    return {"tab": "usage", "title": "Usage per day", **shown}


def _read_page(tx, call, given: dict) -> dict:
    settings, policy, caller = call.settings, call.ctx.policy, call.caller
    reader = caller.may("read", "admin")
    roles = ownership.roles_of(tx, settings.hub_id, caller.person, caller.groups)
    query, problem = {}, ""
    try:
        query = _filter(tx, caller, roles, given)
        only = visible(tx, caller, settings.hub_id, query)
    except (BadInput, NotAllowed, NotFound) as error:
        query, problem = {}, error.message
        only = visible(tx, caller, settings.hub_id, query)
    months = actions.months(tx, policy=policy, only=only)
    month = given.get("month", "") if given.get("month") in months else ""
    if month:
        begin, end = actions.month_window(tx, month, policy=policy)
    else:
        begin, end = actions.usual_window(tx, policy=policy)
    by = [b for b in SPLIT if b != "person" or only.person_id is None]
    split = given.get("by") if given.get("by") in by else "profile"
    report = actions.usage(tx, begin, end, policy=policy, by=("day", split), only=only,
                           node_cores=settings.cores())  # fmt: skip
    at = months.index(month) if month else -1
    wallets = listings.wallet_names(tx) if reader or caller.may("manage") else [
        {"id": w.id, "name": w.name}
        for w in views.wallet_views(tx, ids=roles)
    ]  # fmt: skip
    return {
        "few": few_decimals,
        "month_name": period_text,
        "problem": problem,
        "reader": reader,
        "everybody": only.person_id is None,
        "asked": {k: given[k] for k in FILTERS if given.get(k) and not problem},
        "months": months,
        "month": month,
        "before": months[at + 1] if -1 < at < len(months) - 1 else "",
        "after": months[at - 1] if at > 0 else "",
        "begins": begin,
        "ends": end,
        "at": report.at,
        "by": split,
        "splits": [(b, SPLIT[b][0]) for b in by],
        # where the link of one group leads: it is split by the next thing
        "then": _then(by, split, given),
        "wallets": wallets,
        "file": {k: str(v) for k, v in query.items()} | {
            "by": f"day,{split}", "format": "csv", "begin": iso(begin), "end": iso(end),
        },
        **_drawn(call, report, actions.days(tx, report, policy=policy), split, given),
    }  # fmt: skip


def _then(by: list[str], split: str, given: dict) -> str:
    """By what it is split where the link of one group leads."""
    rest = [b for b in ("person", "profile", "gpu_model") if b in by and not given.get(b)]
    return next((b for b in rest if b != split), split)


def _filter(tx, caller, roles, given: dict) -> dict:
    """The query of the API that a page's address means: a wallet is named there."""
    query = {k: given[k] for k in ("person", "profile", "gpu_model", "node") if given.get(k)}
    if not given.get("wallet"):
        return query
    try:
        return query | {"wallet_id": wallet_actions.find(tx, given["wallet"]).id}
    except NotFound:
        if caller.may("read", "manage", "admin"):
            raise
        raise NotAllowed(NO_WALLET) from None


def _drawn(call, report: actions.Report, days: list[str], split: str, given: dict) -> dict:
    """Totals, the chart, and the tables of the same numbers."""
    labels = _labels(report, split)
    totals, per_day, plain = {}, {}, {}
    for row in report.rows:
        day, key = row.key
        name = labels[key]
        totals[name] = totals.get(name, Summed()) + row.sum
        per_day[(day, name)] = row.sum
        plain[name] = report.shown(row)[split]
    shown = given.get("show") if given.get("show") in SHOW else ""
    if not shown:
        shown = "gpu_hours" if report.total.used.gpu_us else "core_hours"
    title, number = SHOW[shown]
    sums = {name: number(total) for name, total in totals.items()}
    series = charts.ranked(sums)
    values: dict = {}
    for (day, name), total in per_day.items():
        key = (day, name if name in series else charts.REST)
        values[key] = values.get(key, 0) + number(total)
    say, say_short = _speakers(call, shown)
    place = {name: n for n, name in enumerate(series)}
    order = sorted(totals, key=lambda n: (-sums[n], n))
    return {
        "show": shown,
        "shows": [(name, words) for name, (words, _) in SHOW.items()],
        "what": title,
        "split": SPLIT[split][0],
        "total": measures(report.total),
        "chart": charts.stacked(f"{title} per day", days, series, values, say=say,
                                say_short=say_short),
        "rows": [
            {"name": name, "value": plain[name], "colour": place.get(name, len(series) - 1),
             "drawn": bool(sums[name]), **measures(totals[name])}
            for name in order[:PAGE_ROWS]
        ],
        "more": max(0, len(order) - PAGE_ROWS),
        "per_day": _day_rows(days, series, values, say),
    }  # fmt: skip


def _day_rows(days, series, values, say) -> list[dict]:
    """The numbers of the chart; a day without any has no row."""
    found = []
    for day in days:
        numbers = [values.get((day, name), 0) for name in series]
        if any(numbers):
            cells = [say(n) if n else "–" for n in numbers]
            found.append({"day": date.fromisoformat(day), "cells": cells, "sum": say(sum(numbers))})
    return found


def _labels(report: actions.Report, split: str) -> dict:
    """What each value is called, each with a name of its own."""
    found, taken = {}, {charts.REST}
    for row in report.rows:
        key = row.key[1]
        if key in found:
            continue
        names = {"person": report.people, "wallet": report.wallets}.get(split)
        name = (names.get(key) if names is not None else key) or SPLIT[split][1]
        if name in taken:
            name = f"{name} ({key})"
        taken.add(name)
        found[key] = name
    return found


def _speakers(call, shown: str):
    """How a number is said, and how beside a line of the chart."""
    look = call.service.look
    if shown == "cost":
        return (
            lambda v: look.money(int(v * MICRO_CREDITS)),
            lambda v: f"{look.currency.symbol}{v:,g}",
        )
    if shown == "starts":
        return (lambda v: f"{int(v):,}"), (lambda v: f"{v:,g}")
    return (lambda v: few_decimals(decimal(Fraction(v)))), (lambda v: f"{v:,g}")


def few_decimals(value: str | None) -> str:
    """A decimal as people read it: ``1,234.5``; what is less than a tenth is not nothing."""
    if value is None:
        return "not known"
    number = Decimal(value)
    if not number:
        return "0"
    if 0 < number < Decimal("0.05"):
        return "< 0.1"
    return f"{number:,.1f}"


# -- the table of routes --------------------------------------------------------------------------

_decimal = partial(text, most=60)
MEASURES = {
    "starts": whole("Sessions that began to count within the group."),
    "hours": _decimal("Hours of sessions; this and others as decimals of six places at most."),
    "gpu_hours": _decimal("GPUs by their weight, times hours."),
    "core_hours": _decimal("Cores times hours, of all sessions."),
    "memory_gib_hours": _decimal("GiB times hours."),
    "total_core_hours": _decimal("Cores times hours of sessions with GPUs."),
    "total_node_hours": maybe(
        _decimal("Parts of a node, times hours, of sessions without GPUs; null: a node's cores "
                 "are not known (settings `node_cores`, `cores_of_nodes`).")
    ),
    "cost_micro": MICRO,
}  # fmt: skip
GROUP = {
    "day": text("Like `2026-11-20`.", most=10),
    "week": text("Like `2026-W47`.", most=10),
    "month": text("Like `2026-11`.", most=10),
    "hub": text(),
    "person": text(),
    "person_id": whole(),
    "wallet": maybe(text("Null: no wallet paid.")),
    "wallet_id": maybe(whole()),
    "profile": text(),
    "gpu_model": text("Empty: no GPU."),
    "node": text("Empty: not known."),
}
REPLY = obj(
    {
        "begin": instant(),
        "end": instant(),
        "at": instant("The instant of this reading."),
        "by": listed(one_of(*actions.GROUPS)),
        "rows": listed(obj({**GROUP, **MEASURES}, optional=tuple(GROUP)), most=MOST_ROWS),
        "totals": obj(MEASURES),
        "counted": text("What this is a sum of.", most=1000),
    }
)
WHEN = "An instant, or a day like `2026-11-20`: its midnight in the hub's zone"
QUERY = {
    "begin": text(f"{WHEN}; 29 days ago by default.", most=40),
    "end": text(f"{WHEN}, exclusive; the end of today by default.", most=40),
    "by": text(
        f"Groups, with commas: {', '.join(actions.GROUPS)}; one of {', '.join(PERIODS)}. "
        "`day` by default."
    ),
    "person": NAME,
    "wallet_id": whole("0: no wallet paid."),
    "profile": text("Compared whole."),
    "gpu_model": text("Compared whole; empty: no GPU."),
    "node": text("Compared whole."),
    "format": one_of("json", "csv"),
}

GET = partial(Route, "GET")

ROUTES = (
    GET("api/usage", index, OWN_USAGE,
        "Usage per day or other groups, by when it happened: yours, a wallet's that you manage, "
        "anybody's with `read`",
        query=obj(QUERY, optional=tuple(QUERY)), reply=REPLY),
)  # fmt: skip

PAGES = (
    GET("usage", page, OWN_USAGE, "Usage per day", template="usage.html"),
)  # fmt: skip
