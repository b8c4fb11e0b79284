"""Requests for credit: asked by a person, decided by those who manage.

By right (``manage``) any request is decided, with new credit; a wallet's manager decides those that
are put before it, with credit of a wallet of theirs.
"""

from collections.abc import Mapping
from functools import partial

from ...actions import listings, ownership, request_lists
from ...actions import requests as actions
from ...actions import wallets as wallet_actions
from ...actions.request_lists import Sight
from ...domain.errors import NotAllowed, NotFound
from ...domain.wallets import REQUEST_STATES
from .. import paging, parse, present
from ..access import (
    ASKED_REQUEST,
    DECIDED_REQUEST,
    MY_REQUEST,
    NEED_READ_OR_MANAGE,
    PERSON,
    SIGNED_IN,
)
from ..call import Route
from ..schema import flag, instant, maybe, obj, one_of, ref, text, whole
from ..schemas import AMOUNT, COMPONENTS, MICRO, NAME, cursor, page_of

DECIDED_AT_ONCE = 20


async def index(call) -> dict:
    return await call.look(page, call.caller, call.settings.hub_id, call.query)


def page(tx, caller, hub_id: str, query: dict) -> dict:
    """What the caller may see, newest first: all by right, else their own and what they decide."""
    eyes, limit = sight(tx, caller, hub_id), query.get("limit", paging.PAGE)
    before = paging.decode(query.get("cursor"), int)
    rows = request_lists.listed(
        tx,
        eyes.own() if query.get("mine") else eyes.condition(),
        state=query.get("state"),
        wallet_id=query.get("wallet_id"),
        before_id=before[0] if before else None,
        limit=limit + 1,
    )
    rows, following = paging.cut(rows, limit, lambda r: (r["id"],))
    return {"requests": [shown(r) for r in rows], "next": following}


async def show(call) -> dict:
    return await call.look(one, call.path["request_id"])


def one(tx, request_id: int) -> dict:
    found = request_lists.one(tx, request_id)
    if found is None:
        raise NotFound(f"There is no request {request_id}.")
    return shown(found)


async def create(call) -> dict:
    micro = parse.amount(call.body)

    def ask(tx, *, actor):
        try:
            wallet_id = wallet_actions.find(tx, call.body["wallet"]).id
        except NotFound:
            wallet_id = 0  # refused in the same words as one that is not open to the person
        return actions.ask(
            tx, wallet_id, actor.person_id, micro, note=call.body["note"], actor=actor,
            groups=call.caller.groups,
        )  # fmt: skip

    return await call.act(ask, show=lambda request_id: {"id": request_id})


async def grant(call) -> dict:
    """New credit by right; else, or when a wallet is named, credit of that wallet."""
    micro, request_id = parse.amount(call.body, required=False), call.path["request_id"]

    def give(tx, *, actor):
        return actions.grant(
            tx, request_id, micro, policy=call.ctx.policy, actor=actor, by_right=_by_right(call),
            from_wallet_id=_source(tx, call), note=call.body.get("note", ""),
        )  # fmt: skip

    return await call.act(give, show=lambda entry_id: {"id": request_id, "entry_id": entry_id})


async def decline(call) -> dict:
    await call.act(
        actions.decline,
        call.path["request_id"],
        note=call.body["note"],
        by_right=_by_right(call),
    )
    return {"id": call.path["request_id"]}


async def withdraw(call) -> dict:
    await call.act(actions.withdraw, call.path["request_id"])
    return {"id": call.path["request_id"]}


def _by_right(call) -> bool:
    return call.caller.may("manage", "admin")


def _source(tx, call) -> int | None:
    name = call.body.get("from")
    if name is None:
        return None
    try:
        return wallet_actions.find(tx, name).id
    except NotFound:
        if _by_right(call):
            raise
        raise NotAllowed("There is no wallet of that name that you manage.") from None


def sight(tx, caller, hub_id: str) -> Sight:
    """Which requests the caller may see."""
    person_id = ownership.person_id(tx, hub_id, caller.person)
    return Sight(person_id, everything=caller.may("read", "manage", "admin"))


def shown(row: Mapping) -> dict:
    """A request as the API and the pages show it."""
    by = None
    if row["decided_at"] is not None:
        by = row["decided_by"] or present.ACTORS.get(row["decided_kind"], row["decided_kind"])
    return {
        "id": row["id"],
        "wallet": row["wallet"],
        "wallet_id": row["wallet_id"],
        "person": row["person"],
        "amount_micro": row["amount_micro"],
        "note": row["note"],
        "state": row["state"],
        "created_at": row["created_at"],
        "decided_at": row["decided_at"],
        "decided_by": by,
        "granted_micro": row["granted_micro"],
        "answer": row["answer"],
        "entry_id": row["entry_id"],
    }


# -- pages ----------------------------------------------------------------------------------------


def for_home(tx, caller, hub_id: str, policy, wallet_ids: list[int], chosen: str) -> dict:
    """One's own requests, the form to ask, and what waits for who manages a wallet.

    ``wallet_ids``: the wallets that the page shows, in its order; ``chosen``: that of a link.
    """
    person_id = ownership.person_id(tx, hub_id, caller.person)
    held = actions.askable(tx, person_id, caller.name, caller.groups).values()
    order = {wallet_id: place for place, wallet_id in enumerate(wallet_ids)}
    open_to = [w for w in held if not w.closed and w.overdraft_micro is not None]
    open_to.sort(key=lambda w: (order.get(w.id, len(order)), w.name))
    return {
        "requests": [shown(r) for r in request_lists.mine(tx, person_id)] if person_id else [],
        "askable": [(w.name, w.name) for w in open_to],
        "ask_for": next((w.name for w in open_to if str(w.id) == chosen), ""),
        **to_decide(tx, Sight(person_id), policy),
    }


def for_wallet(tx, wallet_id: int, caller, hub_id: str, policy) -> dict:
    """What waits for who manages this wallet: requests for it, and of its people for their own."""
    person_id = ownership.person_id(tx, hub_id, caller.person)
    eyes = Sight(person_id, everything=caller.may("manage", "admin"))
    return to_decide(tx, eyes, policy, wallet_id=wallet_id)


def to_decide(tx, eyes: Sight, policy, *, wallet_id: int | None = None) -> dict:
    """Open requests that these eyes decide, and the wallets that may pay for them."""
    rows = request_lists.waiting(tx, eyes, wallet_id=wallet_id)
    purses = []
    if rows and eyes.person_id is not None:
        purses = request_lists.purses(tx, eyes.person_id, policy=policy)
    return {"waiting": [shown(r) for r in rows], "purses": purses}


async def admin_page(call) -> dict:
    """Those that wait, the oldest first; then what was decided, page by page."""
    caller, hub_id, policy = call.caller, call.settings.hub_id, call.ctx.policy
    before = paging.decode(call.query.get("cursor", "")[:400], int)

    def read(tx) -> dict:
        decided = request_lists.decided(
            tx, before_id=before[0] if before else None, limit=DECIDED_AT_ONCE + 1
        )
        decided, following = paging.cut(decided, DECIDED_AT_ONCE, lambda r: (r["id"],))
        eyes = sight(tx, caller, hub_id)
        found = to_decide(tx, eyes, policy)
        others = listings.wallet_names(tx) if caller.may("manage", "admin") else []
        return {
            **found,
            "more_wait": request_lists.open_count(tx) - len(found["waiting"]),
            "decided": [shown(r) for r in decided],
            "next": following,
            "others": others,
        }

    return {"tab": "admin/requests", "title": "Requests", **await call.look(read)}


# -- the table of routes --------------------------------------------------------------------------

MONEY = {"amount": AMOUNT, "amount_micro": MICRO}
WHY = text("What it is for: whoever decides reads it.", least=1, most=actions.MOST_TEXT)
ANSWER = text("The person who asked reads it.", most=actions.MOST_TEXT)
WHY_NOT = ANSWER | {"minLength": 1}
ID = obj({"id": whole()})
REQUEST = obj(
    {
        "id": whole(),
        "wallet": text(),
        "wallet_id": whole(),
        "person": text("Who asked."),
        "amount_micro": MICRO,
        "note": maybe(text("What it is for.", most=actions.MOST_TEXT)),
        "state": one_of(*REQUEST_STATES),
        "created_at": instant(),
        "decided_at": maybe(instant("When it was granted, declined or taken back.")),
        "decided_by": maybe(text()),
        "granted_micro": maybe(whole("All of it or a part.")),
        "answer": maybe(text(most=actions.MOST_TEXT)),
        "entry_id": maybe(whole("The entry in the wallet that it is for.")),
    }
)
COMPONENTS["Request"] = REQUEST

GET, POST = partial(Route, "GET"), partial(Route, "POST")

ROUTES = (
    GET("api/requests", index, SIGNED_IN,
        "Requests for credit, newest first: yours and those that you may decide; all with `read` "
        "or `manage`",
        query=cursor(state=one_of(*REQUEST_STATES), wallet_id=whole(),
                     mine=flag("Only those that you asked.")),
        reply=page_of("requests", "Request")),
    POST("api/requests", create, PERSON, "Ask for credit for a wallet that is open to you",
         body=obj({"wallet": NAME, **MONEY, "note": WHY}, optional=tuple(MONEY)), reply=ID,
         status=201, keyed=True),
    GET("api/requests/{request_id:int}", show, MY_REQUEST, "One request", reply=ref("Request")),
    POST("api/requests/{request_id:int}/grant", grant, DECIDED_REQUEST,
         "Grant it: all, or `amount` of it; `from` a wallet, which without `manage` is one that "
         "you manage",
         body=obj({**MONEY, "from": NAME, "note": ANSWER}, optional=(*MONEY, "from", "note")),
         reply=obj({"id": whole(), "entry_id": whole()}), status=201, keyed=True),
    POST("api/requests/{request_id:int}/decline", decline, DECIDED_REQUEST, "Decline it",
         body=obj({"note": WHY_NOT}), reply=ID),
    POST("api/requests/{request_id:int}/withdraw", withdraw, ASKED_REQUEST, "Take it back",
         body=obj({}), reply=ID),
)  # fmt: skip

PAGES = (
    GET("admin/requests", admin_page, NEED_READ_OR_MANAGE, "Requests for credit",
        template="requests.html"),
)  # fmt: skip
