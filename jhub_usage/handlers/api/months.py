"""Months: which are closed, what the next one waits for, closing it; its wallets."""

from functools import partial

from ...actions import months as actions
from ...actions import statements
from ...domain.allowance_words import period_text
from ...domain.audit import SYSTEM
from ...domain.instants import iso
from .. import paging, present
from ..access import NEED_ADMIN, NEED_READ_OR_MANAGE
from ..call import Route
from ..schema import flag, instant, listed, maybe, obj, one_of, ref, text, whole
from ..schemas import COMPONENTS, MICRO, NAME, cursor

#: Booking what is due may take many transactions.
PREPARE_S = 120.0


async def index(call) -> dict:
    return await call.look(all_of, call.ctx.policy)


def all_of(tx, policy) -> dict:
    return {"months": [shown(m) for m in actions.listed(tx, policy=policy)]}


def shown(m: actions.MonthView) -> dict:
    """A month as the API and the page show it."""
    return {
        "month": m.label,
        "starts_at": m.starts_at,
        "ends_at": m.ends_at,
        "state": m.state,
        "over": m.over,
        "closed_at": m.closed_at,
        "actor": (m.actor or present.ACTORS.get(m.actor_kind, m.actor_kind)) or None,
        "without_hubs": list(m.without_hubs),
        "waits_for": list(m.waits_for),
        "hubs_behind": list(m.hubs_behind),
        "entries": m.count,
        "kinds": [{"kind": kind, **sums} for kind, sums in sorted(m.entries.items())],
        **_sums({kind: sums["amount_micro"] for kind, sums in m.entries.items()}),
    }


def _sums(kinds: dict[str, int]) -> dict:
    """What the kinds are together, for people: all of them sum to what a balance changed."""
    return {
        "credit_micro": kinds.get("grant", 0) + kinds.get("expiry", 0),
        "charged_micro": kinds.get("charge", 0),
        "returned_micro": kinds.get("refund", 0) + kinds.get("correction", 0),
        "moved_micro": kinds.get("transfer", 0),
    }


async def close(call) -> dict:
    """What is due is booked first; closing it again answers with the same act."""
    ctx, label = call.ctx, call.path["label"]
    await ctx.run(
        actions.prepare, ctx.act, policy=ctx.policy, actor=SYSTEM, timeout_s=PREPARE_S
    )  # fmt: skip
    return await call.act(
        actions.close,
        label,
        policy=ctx.policy,
        without_hubs=call.body.get("without_hubs", ()),
        show=_act,
    )


def _act(month) -> dict:
    entries = month.facts["entries"].values()
    return {
        "month": month.label,
        "starts_at": iso(month.starts_at),
        "ends_at": iso(month.ends_at),
        "closed_at": iso(month.closed_at),
        "entries": sum(e["count"] for e in entries),
        "amount_micro": sum(e["amount_micro"] for e in entries),
        "without_hubs": list(month.facts["without_hubs"]),
    }


async def wallets(call) -> dict:
    return await call.look(wallets_page, call.path["label"], call.ctx.policy, call.query)


def wallets_page(tx, label: str, policy, query: dict) -> dict:
    """Wallets of a month by name, with the balances around it."""
    begin, end, act = actions.span(tx, label, policy=policy)
    limit = query.get("limit", paging.PAGE)
    after = paging.decode(query.get("cursor"), str, int)
    rows = statements.of_month(tx, label, policy=policy, after=after, limit=limit + 1)
    rows, following = paging.cut(rows, limit, lambda r: (r["name"], r["id"]))
    found = [
        {
            "wallet_id": row["id"],
            "wallet": row["name"],
            "title": row["title"],
            "opening_micro": row["opening_micro"],
            **_sums(row["kinds"]),
            "closing_micro": row["closing_micro"],
        }
        for row in rows
    ]
    return {
        "month": label,
        "starts_at": begin,
        "ends_at": end,
        "closed_at": act.closed_at if act else None,
        "wallets": found,
        "next": following,
    }


# -- pages ----------------------------------------------------------------------------------------


async def admin_page(call) -> dict:
    settings = call.settings
    found = await call.look(all_of, call.ctx.policy)
    for month in found["months"]:
        month["name"] = period_text(month["month"])
    return {
        "tab": "admin/refunds",
        "title": "Months",
        "by_itself": settings.close_months,
        "days": settings.month_close_days,
        **found,
    }


async def month_page(call) -> dict:
    query = {name: call.query[name][:400] for name in ("cursor",) if call.query.get(name)}
    found = await call.look(wallets_page, call.path["label"], call.ctx.policy, query)
    name = period_text(found["month"])
    return {"tab": "admin/refunds", "title": name, "name": name, **found}


# -- the table of routes --------------------------------------------------------------------------

LABEL = text("Like `2026-11`.", most=7)
SUMS = {
    "credit_micro": whole("Grants, and what of allowances came and expired."),
    "charged_micro": whole("Charges; negative."),
    "returned_micro": whole("Refunds and corrections."),
    "moved_micro": whole("Transfers."),
}
KIND = obj({"kind": text(), "count": whole(), "amount_micro": MICRO})
COMPONENTS["Month"] = obj(
    {
        "month": LABEL,
        "starts_at": instant(),
        "ends_at": instant(),
        "state": one_of(
            actions.OPEN, actions.CLOSABLE, actions.CLOSED,
            description="closable: it is the next one, and nothing is missing.",
        ),
        "over": flag("It has ended."),
        "closed_at": maybe(instant()),
        "actor": maybe(text("Who closed it.")),
        "without_hubs": listed(text("A hub that was not waited for.")),
        "waits_for": listed(text("What is missing, as a sentence.", most=2000)),
        "hubs_behind": listed(text("A hub that was not heard of since the month's end.")),
        "entries": whole("Entries that are booked in it."),
        "kinds": listed(KIND),
        **SUMS,
    }
)  # fmt: skip
COMPONENTS["MonthWallet"] = obj(
    {
        "wallet_id": whole(),
        "wallet": text("As it was called when the month was closed."),
        "title": text(),
        "opening_micro": MICRO,
        **SUMS,
        "closing_micro": MICRO,
    }
)
CLOSING = obj(
    {
        "month": LABEL,
        "starts_at": instant(),
        "ends_at": instant(),
        "closed_at": instant(),
        "entries": whole(),
        "amount_micro": MICRO,
        "without_hubs": listed(text()),
    }
)
WALLETS = obj(
    {
        "month": LABEL,
        "starts_at": instant(),
        "ends_at": instant(),
        "closed_at": maybe(instant()),
        "wallets": listed(ref("MonthWallet")),
        "next": maybe(text("Cursor of the next page.")),
    }
)

GET, POST = partial(Route, "GET"), partial(Route, "POST")

ROUTES = (
    GET("api/months", index, NEED_READ_OR_MANAGE,
        "Months, newest first, with what is booked in each",
        reply=obj({"months": listed(ref("Month"))})),
    GET("api/months/{label:month}", wallets, NEED_READ_OR_MANAGE,
        "Wallets with something booked in a month", query=cursor(), reply=WALLETS),
    POST("api/months/{label:month}/close", close, NEED_ADMIN,
         "Close a month for good; again it is the same act",
         body=obj({"without_hubs": listed(NAME, most=50)}, optional=("without_hubs",)),
         reply=CLOSING),
)  # fmt: skip

PAGES = (
    GET("admin/months", admin_page, NEED_READ_OR_MANAGE, "Months", template="months.html"),
    GET("admin/months/{label:month}", month_page, NEED_READ_OR_MANAGE, "A month, wallet by wallet",
        template="month.html"),
)  # fmt: skip
