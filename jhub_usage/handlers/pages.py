"""What each page shows. The same functions as the API's, in one read transaction per page."""

from urllib.parse import quote

from ..actions import listings, statements, views
from ..domain.errors import UsageError
from .api import audit as audits
from .api import corrections, me, stops
from .api import decisions as decision_lists
from .api import limits as limit_lists
from .api import modes as mode_lists
from .api import rates as rate_lists
from .api import requests as request_lists
from .api import rules as rule_lists
from .api import sessions as session_lists
from .api import wallets as wallet_lists

RECENT = 20


async def home(call) -> dict:
    caller, hub_id = call.caller, call.settings.hub_id
    chosen = _query(call, "wallet").get("wallet", "")

    def read(tx) -> dict:
        shown = me.mine(tx, caller, hub_id, call.ctx.cache, call.ctx.policy)
        ids = [w["id"] for w in shown["wallets"]]
        asked = request_lists.for_home(tx, caller, hub_id, call.ctx.policy, ids, chosen)
        names = {w["id"]: w["name"] for w in shown["wallets"]}
        uses = limit_lists.uses_of(tx, caller, hub_id, names, call.ctx.policy)
        return {**shown, **asked, "limit_uses": uses}

    return {"tab": "", "title": "My usage", **await call.look(read)}


async def session(call) -> dict:
    found = await call.look(session_lists.one, call.path["session_id"], call.ctx.policy)
    asked = await corrections.for_page(call, found["session"])
    return {"tab": None, "title": "Session", **found, **asked}


async def wallet(call) -> dict:
    wallet_id, hub_id = call.path["wallet_id"], call.settings.hub_id
    query = _query(call, "cursor")

    def read(tx) -> dict:
        shown = wallet_lists.one(tx, wallet_id, call.caller, hub_id, call.ctx.policy)
        entries = wallet_lists.entries_page(tx, wallet_id, call.caller, hub_id, query)
        others = []
        if call.caller.may("manage", "admin"):
            others = [w for w in listings.wallet_names(tx) if w["id"] != wallet_id]
        asked = {}
        if call.caller.may("manage", "admin") or shown["wallet"]["role"] == "manager":
            asked = request_lists.for_wallet(tx, wallet_id, call.caller, hub_id, call.ctx.policy)
        months = statements.labels(tx, wallet_id, policy=call.ctx.policy)
        return {**shown, **entries, **asked, "others": others, "statements": months}

    found = await call.look(read)
    return {"tab": "admin/wallets", "title": found["wallet"]["name"], **found}


async def overview(call) -> dict:
    def read(tx) -> dict:
        running = views.session_views(tx, open_only=True, limit=200)
        recent = views.session_views(tx, state="ended", limit=RECENT)
        return {
            "running": session_lists.shown(tx, running, call.ctx.policy),
            "recent": session_lists.shown(tx, recent, call.ctx.policy),
            "totals": listings.totals(tx),
            "stops": stops.state(tx, call.ctx.policy),
            "mode": views.catalog(tx).mode,
        }

    found = await call.look(read)
    return {"tab": "admin", "title": "Overview", "warnings": call.service.loops.warnings, **found}


async def sessions(call) -> dict:
    query = _query(call, "cursor", "person", "state")
    if query.get("state", "open") not in ("open", "ended", "void"):
        query.pop("state")
    found = await call.look(session_lists.page, call.settings.hub_id, query, call.ctx.policy)
    kept = {name: query[name] for name in ("person", "state") if name in query}
    return {
        "tab": "admin/sessions",
        "title": "Sessions",
        "person": query.get("person", ""),
        "state": query.get("state", ""),
        "kept": "".join(f"&{name}={_quoted(value)}" for name, value in kept.items()),
        **found,
    }


async def wallets(call) -> dict:
    query = _query(call, "cursor", "search")
    found = await call.look(wallet_lists.page, query)
    search = query.get("search", "")
    return {"tab": "admin/wallets", "title": "Wallets", "search": search,
            "kept": f"&search={_quoted(search)}" if search else "", **found}  # fmt: skip


async def rates(call) -> dict:
    return {"tab": "admin/rates", "title": "Rates", **await call.look(rate_lists.listed)}


async def rules(call) -> dict:
    def read(tx) -> dict:
        return {**rule_lists.listed(tx), "wallets": listings.wallet_names(tx)}

    return {"tab": "admin/rules", "title": "Who pays", **await call.look(read)}


async def limits(call) -> dict:
    def read(tx) -> dict:
        return {
            **limit_lists.listed(tx),
            "uses": limit_lists.all_uses(tx, call.settings.hub_id, call.ctx.policy),
            "wallets": listings.wallet_names(tx),
        }

    return {"tab": "admin/limits", "title": "Limits", **await call.look(read)}


async def decisions(call) -> dict:
    query = {k: v for k, v in _query(call, "cursor", "decision").items() if v}
    if query.get("decision", "refused") not in ("refused", "observed", "failed_open", "admitted"):
        query.pop("decision")
    found = await call.look(decision_lists.page, call.settings.hub_id, query)
    decision = query.get("decision", "")
    return {"tab": "admin/decisions", "title": "Decisions", "decision": decision,
            "kept": f"&decision={decision}" if decision else "", **found}  # fmt: skip


async def modes(call) -> dict:
    def read(tx) -> dict:
        held = mode_lists.listed(tx)
        names = listings.wallet_names(tx)
        return {
            "mode": held["mode"],
            "own_modes": held["wallets"],
            "wallet_options": [(w["id"], w["name"]) for w in names],
            **mode_lists.exempt(tx),
        }

    return {"tab": "admin/modes", "title": "Modes", **await call.look(read)}


async def audit(call) -> dict:
    found = await call.look(audits.page, _query(call, "cursor"))
    return {"tab": "admin/audit", "title": "Audit", "rows": found["audit"], "next": found["next"]}


async def configuration(call) -> dict:
    """Answers without a database, too: it is the page that says what is wrong."""
    service = call.service
    warnings = list(service.loops.warnings)
    try:
        service.require_ready()
    except UsageError as error:
        warnings.insert(0, {"code": error.code, "text": error.message})
    public = service.settings.public_json()
    return {
        "tab": "admin/configuration",
        "title": "Configuration",
        "warnings": warnings,
        "facts": service.loops.facts(),
        "loops": service.loops.states(),
        "settings_shown": [(name, _plain(value)) for name, value in public.items()],
    }


def _plain(value) -> str:
    if isinstance(value, list | dict):
        return str(len(value)) + (" entry" if len(value) == 1 else " entries")
    return "–" if value == "" else str(value)


def _query(call, *names: str) -> dict:
    return {name: call.query[name][:400] for name in names if call.query.get(name)}


def _quoted(text: str) -> str:
    return quote(text, safe="")
