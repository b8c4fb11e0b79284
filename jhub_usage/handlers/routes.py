"""The table of routes: method, path, what runs, what it needs, what it takes and gives.

It drives tornado, the checks of rights and bodies, the OpenAPI document, and a test that asks each
line as each role. Pages follow at the end.
"""

import re
from functools import partial

from ..domain import admission, limits, periods, rates, rules, wallets
from . import pages
from .access import (
    ANYONE,
    MANAGED_WALLET,
    MY_SESSION,
    MY_WALLET,
    NEED_ADMIN,
    NEED_MANAGE,
    NEED_READ,
    NEED_READ_OR_MANAGE,
    PERSON,
    SIGNED_IN,
)
from .api import (
    audit,
    corrections,
    decisions,
    maintenance,
    me,
    metered,
    modes,
    months,
    passes,
    people,
    quote,
    refunds,
    requests,
    sessions,
    statements,
    status,
    stops,
    trials,
    usage,
)
from .api import limits as limit_api
from .api import rates as rate_api
from .api import rules as rule_api
from .api import wallets as wallet_api
from .call import Route
from .schema import flag, instant, listed, maybe, obj, one_of, ref, text, whole
from .schemas import AMOUNT, MICRO, MODE, NAME, NOTE, SESSION_ID, cursor, page_of

ID = obj({"id": whole()})
ENTRY_ID = obj({"entry_id": whole()})
MONEY = {"amount": AMOUNT, "amount_micro": MICRO}
AMOUNT_AND_NOTE = obj({**MONEY, "note": NOTE}, optional=tuple(MONEY))
OVERDRAFT = {"overdraft": AMOUNT, "overdraft_micro": MICRO,
             "unlimited": flag("No limit at all: the wallet only records.")}  # fmt: skip
WHO_OR_WHAT = text("Compared whole; empty: any.")
RULE_BODY = {
    "target": one_of(*rules.TARGETS),
    "wallet": text("The wallet's name, where a wallet pays."),
    "person": WHO_OR_WHAT, "group": WHO_OR_WHAT, "profile": WHO_OR_WHAT,
    "starting_grant": AMOUNT, "starting_grant_micro": MICRO, **OVERDRAFT,
}  # fmt: skip
RULE_OPTIONAL = tuple(name for name in RULE_BODY if name != "target")
LIMIT_AMOUNT = text("In GPUs, cores, GiB, servers, hours, GPU-hours, core-hours or credits, like "
                    "`4` or `1.5`.", least=1, most=40)  # fmt: skip
PERIOD = one_of(*periods.PERIODS, description="For what is counted per period.")
STATUS = obj(
    {
        "version": text(),
        "started_at": instant(),
        "database": obj({"reachable": flag(), "problem": text(most=2000)}),
        "settings_hash": text(),
        "hub": {"type": "object"},
        "warnings": listed(ref("Warning")),
        "loops": listed(ref("Loop")),
    }
)
MY_USAGE = obj(
    {
        "name": text(),
        "mode": MODE,
        "at": instant(),
        "pass_until": maybe(instant("You have an emergency pass until then.")),
        "wallets": listed(ref("Wallet")),
        "running": listed(ref("Session")),
        "recent": listed(ref("Session")),
        "refused": listed(ref("Decision")),
    }
)
QUOTE = obj(
    {
        "decision": one_of(*admission.DECISIONS),
        "reason": text(),
        "text": text(most=4000),
        "wallet": maybe(text()),
        "mode": text(),
        "available_micro": maybe(MICRO),
        "allowance": maybe(ref("Allowance")),
        "hold_micro": MICRO,
        "per_hour_micro": MICRO,
        "start_fee_micro": MICRO,
        "lines": listed(ref("QuoteLine")),
    }
)
ONE_SESSION = obj(
    {
        "id": SESSION_ID,
        "session": maybe(ref("Session")),
        "decision": maybe(ref("Decision")),
        "lines": listed(ref("QuoteLine")),
        "boundaries": listed(ref("Boundary")),
        "entries": listed(ref("Entry")),
        "maintenance": maybe(
            obj({"node": text(), "unbilled_s": whole("Seconds that are not billed.")})
        ),
        "stop_limit": maybe(text("The limit per period that it was stopped for.", most=1000)),
    }
)
ONE_WALLET = obj(
    {
        "wallet": ref("Wallet"),
        "members": listed(ref("Member")),
        "groups": listed(text()),
        "limits": listed(ref("Limit")),
        "limit_uses": listed(ref("LimitUse")),
        "running": listed(ref("Session")),
    }
)
DECISIONS = obj(
    {
        "decisions": listed(ref("Decision")),
        "counts": listed(obj({"decision": text(), "reason": text(), "count": whole()})),
        "would_stop": listed(
            obj(
                {
                    "at": instant(),
                    "session_id": SESSION_ID,
                    "person": text(),
                    "server_name": text(),
                    "wallet": maybe(text()),
                    "wallet_id": maybe(whole()),
                    "reason": text(),
                    "state": text(),
                }
            )
        ),
        "next": maybe(text()),
    }
)
MODES = obj(
    {
        "mode": MODE,
        "wallets": listed(obj({"id": whole(), "name": text(), "mode": MODE})),
    }
)
SEARCH = text("In the name, the title or the owner's name.")

GET, POST, PUT, PATCH, DELETE = (
    partial(Route, m) for m in ("GET", "POST", "PUT", "PATCH", "DELETE")
)

API_ROUTES = (
    GET("api/me", me.show, PERSON, "My wallets, running servers and latest sessions",
        reply=MY_USAGE),
    # sessions and decisions
    GET("api/sessions", sessions.index, NEED_READ, "Sessions, newest first",
        query=cursor(state=one_of("open", "admitted", "running", "ended", "void"), person=NAME,
                     wallet_id=whole()),
        reply=page_of("sessions", "Session")),
    GET("api/sessions/{session_id:uuid}", sessions.show, MY_SESSION,
        "One session, or a refused start: decision, price, boundaries, entries", reply=ONE_SESSION),
    GET("api/decisions", decisions.index, NEED_READ,
        "Decisions about starts; without `decision` those that were not simply admitted",
        query=cursor(decision=one_of(*admission.DECISIONS), person=NAME), reply=DECISIONS),
    POST("api/quote", quote.create, SIGNED_IN, "What a shape costs now, who pays, may it start",
         body=obj({"shape": ref("Shape"), "profile": text(), "wallet": text(), "person": NAME,
                   "groups": listed(NAME)},
                  optional=("profile", "wallet", "person", "groups")), reply=QUOTE),
    # wallets
    GET("api/wallets", wallet_api.index, NEED_READ_OR_MANAGE, "Wallets by name",
        query=cursor(search=SEARCH), reply=page_of("wallets", "Wallet")),
    POST("api/wallets", wallet_api.create, NEED_MANAGE, "Open a wallet", status=201, keyed=True,
         body=obj({"name": NAME, "title": text(), **OVERDRAFT}, optional=("title", *OVERDRAFT)),
         reply=ID),
    GET("api/wallets/{wallet_id:int}", wallet_api.show, MY_WALLET, "One wallet", reply=ONE_WALLET),
    PATCH("api/wallets/{wallet_id:int}", wallet_api.change, NEED_MANAGE,
          "Change title or overdraft; close or open again",
          body=obj({"title": text(), "closed": flag(), **OVERDRAFT},
                   optional=("title", "closed", *OVERDRAFT)), reply=ID),
    GET("api/wallets/{wallet_id:int}/entries", wallet_api.entries, MY_WALLET,
        "Entries, newest first; a spender sees those for their own sessions", query=cursor(),
        reply=page_of("entries", "Entry")),
    PUT("api/wallets/{wallet_id:int}/members/{name}", wallet_api.put_member, MANAGED_WALLET,
        "Give a person a role", body=obj({"role": one_of(*wallets.ROLES)}), reply=ref("Member")),
    DELETE("api/wallets/{wallet_id:int}/members/{name}", wallet_api.delete_member, MANAGED_WALLET,
           "Take a person out", reply=obj({"person": text()})),
    PUT("api/wallets/{wallet_id:int}/groups/{name}", wallet_api.put_group, NEED_MANAGE,
        "Let a hub group spend", body=obj({}), reply=obj({"group": text()})),
    DELETE("api/wallets/{wallet_id:int}/groups/{name}", wallet_api.delete_group, NEED_MANAGE,
           "Close the wallet to a hub group", reply=obj({"group": text()})),
    POST("api/wallets/{wallet_id:int}/limits", wallet_api.add_limit, MANAGED_WALLET,
         "Limit what runs on the wallet, in all or per person",
         body=obj({"resource": one_of(*limits.AT_ONCE, *limits.PER_PERIOD),
                   "amount": LIMIT_AMOUNT, "person": text(), "period": PERIOD},
                  optional=("person", "period")), reply=ID, status=201),
    DELETE("api/wallets/{wallet_id:int}/limits/{limit_id:int}", wallet_api.delete_limit,
           MANAGED_WALLET, "Lift a limit of the wallet", reply=ID),
    POST("api/wallets/{wallet_id:int}/grant", wallet_api.grant, NEED_MANAGE, "Grant credit",
         body=AMOUNT_AND_NOTE, reply=ENTRY_ID, status=201, keyed=True),
    POST("api/wallets/{wallet_id:int}/transfer", wallet_api.transfer, MANAGED_WALLET,
         "Move credit to another wallet; without `manage` to one that you manage too",
         body=obj({"to": NAME, **MONEY, "note": NOTE}, optional=tuple(MONEY)),
         reply=obj({"entry_ids": listed(whole())}), status=201, keyed=True),
    POST("api/entries/{entry_id:int}/refund", wallet_api.refund, NEED_MANAGE,
         "Give back a charge, or part of it; without an amount all that is left of it",
         body=AMOUNT_AND_NOTE, reply=ENTRY_ID, status=201, keyed=True),
    POST("api/entries/{entry_id:int}/correct", wallet_api.correct, NEED_MANAGE,
         "Book what an entry should have been more (or, negative, less)",
         body=AMOUNT_AND_NOTE, reply=ENTRY_ID, status=201, keyed=True),
    *wallet_api.ROUTES,
    *requests.ROUTES,
    *refunds.ROUTES,
    *maintenance.ROUTES,
    *passes.ROUTES,
    *months.ROUTES,
    *usage.ROUTES,
    *metered.ROUTES,
    *statements.ROUTES,
    *corrections.ROUTES,
    *trials.ROUTES,
    # what is configured
    GET("api/rates", rate_api.index, SIGNED_IN, "Rates: in force, to come, past",
        reply=obj({"rates": listed(ref("Rate"))})),
    POST("api/rates", rate_api.create, NEED_MANAGE, "Set a rate; without a price it ends",
         body=obj({"resource": one_of(*rates.RESOURCES), "model": text(), "profile": text(),
                   "price": AMOUNT, "price_micro": MICRO, "starts_at": instant()},
                  optional=("model", "profile", "price", "price_micro", "starts_at")),
         reply=ID, status=201, keyed=True),
    GET("api/rules", rule_api.index, NEED_READ_OR_MANAGE, "Rules in their order",
        reply=obj({"rules": listed(ref("Rule"))})),
    PUT("api/rules", rule_api.replace, NEED_MANAGE, "Replace all rules",
        body=obj({"rules": listed(obj(RULE_BODY, optional=RULE_OPTIONAL))}),
        reply=obj({"rules": listed(ref("Rule"))})),
    POST("api/rules", rule_api.create, NEED_MANAGE, "Add a rule at a place",
         body=obj({**RULE_BODY, "position": whole("1 is the first.", least=1, most=10_000)},
                  optional=(*RULE_OPTIONAL, "position")), reply=ID, status=201, keyed=True),
    DELETE("api/rules/{rule_id:int}", rule_api.delete, NEED_MANAGE, "Take a rule out", reply=ID),
    GET("api/limits", limit_api.index, NEED_READ_OR_MANAGE, "Limits",
        reply=obj({"limits": listed(ref("Limit"))})),
    POST("api/limits", limit_api.create, NEED_MANAGE, "Set a limit",
         body=obj({"subject": one_of(*limits.SUBJECTS), "resource": one_of(*limits.RESOURCES),
                   "amount": LIMIT_AMOUNT, "person": text(), "group": text(), "wallet": text(),
                   "profile": text(), "each": flag(), "period": PERIOD},
                  optional=("person", "group", "wallet", "profile", "each", "period")),
         reply=ID, status=201),
    GET("api/limits/use", limit_api.mine, PERSON,
        "What you have used of the limits per period that bind you",
        reply=obj({"at": instant(), "uses": listed(ref("LimitUse"))})),
    DELETE("api/limits/{limit_id:int}", limit_api.delete, NEED_MANAGE, "Lift a limit", reply=ID),
    GET("api/people", people.index, NEED_READ, "People", query=cursor(search=text()),
        reply=page_of("people", "Person")),
    *people.ROUTES,
    # modes, stops, audit, status
    GET("api/modes", modes.show, NEED_READ_OR_MANAGE, "The mode, and wallets with their own",
        reply=MODES),
    PUT("api/modes", modes.put, NEED_ADMIN, "Switch everything", body=obj({"mode": MODE}),
        reply=obj({"mode": MODE})),
    PUT("api/modes/wallets/{wallet_id:int}", modes.put_wallet, NEED_ADMIN,
        "Set a wallet apart; null: it follows the switch", body=obj({"mode": maybe(MODE)}),
        reply=obj({"id": whole(), "mode": maybe(MODE)})),
    GET("api/exemptions", modes.exemptions, NEED_READ_OR_MANAGE, "Who is recorded and not billed",
        reply=obj({"exemptions": listed(ref("Exemption"))})),
    PUT("api/exemptions/{kind:kind}/{name}", modes.put_exemption, NEED_ADMIN,
        "Record a person, group or profile without billing", body=obj({}), reply=ref("Exemption")),
    DELETE("api/exemptions/{kind:kind}/{name}", modes.delete_exemption, NEED_ADMIN,
           "Bill again, from the next start on", reply=ref("Exemption")),
    GET("api/stops", stops.show, NEED_READ, "Who is warned, and the guard against mass stops",
        reply=ref("Stops")),
    POST("api/stops/release", stops.release, NEED_ADMIN, "Let the stops go on for an hour",
         body=obj({}), reply=ref("Stops")),
    GET("api/audit", audit.index, NEED_ADMIN, "Changes, newest first",
        query=cursor(subject_kind=text(), subject_id=text()), reply=page_of("audit", "Audit")),
    GET("api/status", status.show, NEED_READ, "How this service is", reply=STATUS, offline=True),
    GET("api/openapi.json", status.openapi, ANYONE, "This description",
        reply={"type": "object"}, offline=True),
)  # fmt: skip

PAGE_ROUTES = (
    GET("", pages.home, PERSON, "My usage", template="home.html"),
    *usage.PAGES,
    GET("sessions/{session_id:uuid}", pages.session, MY_SESSION, "A session",
        template="session.html"),
    GET("wallets/{wallet_id:int}", pages.wallet, MY_WALLET, "A wallet", template="wallet.html"),
    GET("admin", pages.overview, NEED_READ, "Everything that runs", template="admin.html"),
    GET("admin/sessions", pages.sessions, NEED_READ, "Sessions", template="sessions.html"),
    GET("admin/wallets", pages.wallets, NEED_READ_OR_MANAGE, "Wallets", template="wallets.html"),
    *requests.PAGES,
    GET("admin/rates", pages.rates, NEED_READ_OR_MANAGE, "Rates", template="rates.html"),
    GET("admin/rules", pages.rules, NEED_READ_OR_MANAGE, "Who pays", template="rules.html"),
    GET("admin/limits", pages.limits, NEED_READ_OR_MANAGE, "Limits", template="limits.html"),
    *people.PAGES,
    *refunds.PAGES,
    *maintenance.PAGES,
    *passes.PAGES,
    *months.PAGES,
    *statements.PAGES,
    GET("admin/decisions", pages.decisions, NEED_READ, "Decisions", template="decisions.html"),
    GET("admin/modes", pages.modes, NEED_ADMIN, "Modes", template="modes.html"),
    GET("admin/audit", pages.audit, NEED_ADMIN, "Audit", template="audit.html"),
    GET("admin/configuration", pages.configuration, NEED_READ, "Configuration",
        template="configuration.html", offline=True),
)  # fmt: skip

ROUTES = API_ROUTES + PAGE_ROUTES

KINDS = {
    "int": r"\d{1,18}",
    "uuid": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "kind": r"person|group|profile",
    "month": r"\d{4}-\d{2}",
    "": r"[^/]+",
}


def pattern(path: str) -> str:
    """A path of the table as tornado's pattern; a page answers with a slash at its end, too."""
    found = re.sub(
        r"{(\w+):?(\w*)}", lambda m: f"(?P<{m[1]}>{KINDS[m[2]]})", path.replace(".", r"\.")
    )
    return found if not path or path.startswith("api/") else found + "/?"
