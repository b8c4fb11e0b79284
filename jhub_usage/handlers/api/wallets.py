"""Wallets: who has how much, who may spend it, and what moves it by hand."""

from functools import partial

from ...actions import allowances, limit_uses, listings, ownership, views
from ...actions import limits as limit_actions
from ...actions import wallets as actions
from ...domain.allowances import Allowance
from ...domain.declared import parse_limit_amount
from ...domain.errors import BadInput, NotAllowed, NotFound
from ...domain.limits import Limit
from ...domain.periods import PERIODS
from .. import paging, parse, present
from ..access import NEED_MANAGE
from ..call import Route
from ..schema import flag, maybe, obj, one_of, whole
from ..schemas import AMOUNT, MICRO
from .sessions import shown


async def index(call) -> dict:
    return await call.look(page, call.query)


def page(tx, query: dict) -> dict:
    limit = query.get("limit", paging.PAGE)
    after = paging.decode(query.get("cursor"), str)
    ids = listings.wallet_ids(
        tx, search=query.get("search", ""), after=after[0] if after else "", limit=limit + 1
    )
    found, following = paging.cut(views.wallet_views(tx, ids=ids), limit, lambda v: (v.name,))
    return {"wallets": [present.wallet(v) for v in found], "next": following}


async def show(call) -> dict:
    return await call.look(
        one, call.path["wallet_id"], call.caller, call.settings.hub_id, call.ctx.policy
    )


def one(tx, wallet_id: int, caller, hub_id: str, policy) -> dict:
    """A wallet with what the caller may see of it: a spender sees their own."""
    roles = ownership.roles_of(tx, hub_id, caller.person, caller.groups)
    found = views.wallet_views(tx, ids=[wallet_id], roles=roles)
    if not found:
        raise NotFound(f"There is no wallet {wallet_id}.")
    person_id = only_own(tx, wallet_id, caller, hub_id, roles)
    running = views.session_views(tx, wallet_ids=[wallet_id], person_id=person_id, open_only=True)
    members = views.members(tx, wallet_id) if person_id is None else {"people": [], "groups": []}
    names = {wallet_id: found[0].name}
    return {
        "wallet": present.wallet(found[0]),
        "members": [{"person": p["name"], "role": p["role"]} for p in members["people"]],
        "groups": members["groups"],
        "limits": [
            present.limit(x, names)
            for x in (views.catalog(tx).limits if person_id is None else ())
            if x.wallet_id == wallet_id
        ],
        "limit_uses": _limit_uses(tx, wallet_id, names, caller, hub_id, person_id, policy),
        "running": shown(tx, running, policy),
    }


def _limit_uses(tx, wallet_id, names, caller, hub_id, person_id, policy) -> list[dict]:
    """What is used of its limits per period: of all of them, or of those that bind a spender."""
    if person_id is None:
        found = limit_uses.of_wallet(tx, wallet_id, policy=policy, hub_id=hub_id)
    else:
        found = limit_uses.mine(
            tx, person_id, caller.name, caller.groups, {wallet_id}, policy=policy
        )
    return [present.limit_use(u, names) for u in found if u.limit.wallet_id == wallet_id]


def only_own(tx, wallet_id: int, caller, hub_id: str, roles) -> int | None:
    """The person whose things alone are shown, or None where all of it may be seen."""
    if caller.may("read", "manage", "admin") or roles.get(wallet_id) == "manager":
        return None
    return ownership.person_id(tx, hub_id, caller.person) or 0


async def entries(call) -> dict:
    return await call.look(
        entries_page, call.path["wallet_id"], call.caller, call.settings.hub_id, call.query
    )


def entries_page(tx, wallet_id: int, caller, hub_id: str, query: dict) -> dict:
    roles = ownership.roles_of(tx, hub_id, caller.person, caller.groups)
    limit = query.get("limit", paging.PAGE)
    before = paging.decode(query.get("cursor"), int)
    rows = listings.entries(
        tx,
        wallet_id=wallet_id,
        person_id=only_own(tx, wallet_id, caller, hub_id, roles),
        before_id=before[0] if before else None,
        limit=limit + 1,
    )
    rows, following = paging.cut(rows, limit, lambda r: (r["id"],))
    return {"entries": [present.entry(r) for r in rows], "next": following}


async def create(call) -> dict:
    overdraft = parse.overdraft(call.body)
    return await call.act(
        actions.create,
        call.body["name"],
        title=call.body.get("title", ""),
        overdraft_micro=overdraft,
        show=lambda wallet_id: {"id": wallet_id},
    )


async def change(call) -> dict:
    changes = {}
    if "title" in call.body:
        changes["title"] = call.body["title"]
    if {"overdraft", "overdraft_micro", "unlimited"} & set(call.body):
        changes["overdraft_micro"] = parse.overdraft(call.body)
    if "closed" in call.body:
        changes["closed"] = call.body["closed"]
    await call.act(actions.change, call.path["wallet_id"], **changes)
    return {"id": call.path["wallet_id"]}


async def put_member(call) -> dict:
    role = call.body["role"]
    if role == "manager" and not call.caller.may("manage", "admin"):
        raise NotAllowed("A wallet's manager can add spenders; a new manager needs manage.")
    person = await call.service.person_key(call.path["name"])
    wallet_id = call.path["wallet_id"]

    def put(tx, *, actor):
        if not call.caller.may("manage", "admin"):
            _not_a_manager(tx, wallet_id, person.name)
        ownership.set_role(tx, wallet_id, person, role, hub_id=call.settings.hub_id, actor=actor)

    await call.act(put)
    return {"person": person.name, "role": role}


async def delete_member(call) -> dict:
    wallet_id, name = call.path["wallet_id"], call.path["name"]

    def delete(tx, *, actor):
        if not call.caller.may("manage", "admin"):
            _not_a_manager(tx, wallet_id, name)
        person_id, _ = ownership.role_by_name(tx, wallet_id, name)
        actions.remove_member(tx, wallet_id, person_id, actor=actor)

    await call.act(delete)
    return {"person": name}


def _not_a_manager(tx, wallet_id: int, name: str) -> None:
    """Managers are appointed and dismissed by those who manage wallets, not by each other."""
    try:
        _, role = ownership.role_by_name(tx, wallet_id, name)
    except NotFound:
        return
    if role == "manager":
        raise NotAllowed("Another manager of the wallet can be changed with manage only.")


async def put_group(call) -> dict:
    await call.act(actions.set_group, call.path["wallet_id"], call.path["name"])
    return {"group": call.path["name"]}


async def delete_group(call) -> dict:
    await call.act(actions.remove_group, call.path["wallet_id"], call.path["name"])
    return {"group": call.path["name"]}


async def grant(call) -> dict:
    return await call.act(
        actions.grant,
        call.path["wallet_id"],
        parse.amount(call.body),
        policy=call.ctx.policy,
        note=call.body["note"],
        key=call.entry_key,
        show=lambda entry_id: {"entry_id": entry_id},
    )


async def refund(call) -> dict:
    return await call.act(
        actions.refund,
        call.path["entry_id"],
        parse.amount(call.body, required=False),
        policy=call.ctx.policy,
        note=call.body["note"],
        key=call.entry_key,
        show=lambda entry_id: {"entry_id": entry_id},
    )


async def correct(call) -> dict:
    return await call.act(
        actions.correct,
        call.path["entry_id"],
        parse.amount(call.body),
        policy=call.ctx.policy,
        note=call.body["note"],
        key=call.entry_key,
        show=lambda entry_id: {"entry_id": entry_id},
    )


async def transfer(call) -> dict:
    """Between any wallets with manage; else between wallets that the caller manages."""
    from_id, to = call.path["wallet_id"], call.body["to"]
    amount = parse.amount(call.body)

    def move(tx, *, actor):
        roles = ownership.roles_of(tx, call.settings.hub_id, call.caller.person, call.caller.groups)
        free = call.caller.may("manage", "admin")
        try:
            target = actions.find(tx, to).id
        except NotFound:
            if free:
                raise
            target = None
        if not free and roles.get(target) != "manager":
            raise NotAllowed("There is no wallet of that name that you manage.")
        return actions.transfer(
            tx, from_id, target, amount, policy=call.ctx.policy, actor=actor,
            note=call.body["note"], key=call.entry_key,
        )  # fmt: skip

    return await call.act(move, show=lambda ids: {"entry_ids": list(ids)})


async def add_limit(call) -> dict:
    """A limit within the wallet: for all of it, for each person, or for one."""
    resource, person = call.body["resource"], call.body.get("person", "")
    if resource == "session_hours":
        raise BadInput("Hours of one server are limited for a profile, a person or a group.")
    limit = Limit(
        subject="wallet_person" if person else "wallet",
        resource=resource,
        amount=parse_limit_amount(resource, call.body["amount"]),
        person=person,
        wallet_id=call.path["wallet_id"],
        period=call.body.get("period", ""),
        by_manager=not call.caller.may("manage", "admin"),
    )
    return await call.act(limit_actions.add, limit, show=lambda limit_id: {"id": limit_id})


async def delete_limit(call) -> dict:
    wallet_id, limit_id = call.path["wallet_id"], call.path["limit_id"]

    def lift(tx, *, actor):
        held = {x.id for x in views.catalog(tx).limits if x.wallet_id == wallet_id}
        if limit_id not in held:
            raise NotFound(f"This wallet has no limit {limit_id}.")
        by_right = call.caller.may("manage", "admin")
        limit_actions.remove(tx, limit_id, actor=actor, by_right=by_right)

    await call.act(lift)
    return {"id": limit_id}


async def put_allowance(call) -> dict:
    wallet_id, body = call.path["wallet_id"], call.body
    wanted = Allowance(parse.amount(body), body["period"], _carry(body))
    return await call.act(
        allowances.set_allowance,
        wallet_id,
        wanted,
        policy=call.ctx.policy,
        begin_now=body.get("begin_now"),
        show=lambda entry_id: {"id": wallet_id, "entry_id": entry_id},
    )


def _carry(body) -> int | None:
    """How much of what is left is kept; None: all of it, 0 when nothing is said."""
    micro = parse.amount(body, "carry", required=False)
    if body.get("carry_all"):
        if micro is not None:
            raise BadInput("Give “carry” or “carry_all”, not both.", field="carry")
        return None
    return micro or 0


async def delete_allowance(call) -> dict:
    wallet_id = call.path["wallet_id"]
    await call.act(allowances.remove_allowance, wallet_id, policy=call.ctx.policy)
    return {"id": wallet_id}


# -- the table of routes --------------------------------------------------------------------------

PUT, DELETE = partial(Route, "PUT"), partial(Route, "DELETE")

ALLOWANCE_BODY = {
    "amount": AMOUNT, "amount_micro": MICRO, "period": one_of(*PERIODS),
    "carry": AMOUNT, "carry_micro": MICRO,
    "carry_all": flag("All of what is left is kept; without it and `carry` nothing is."),
    "begin_now": flag("The new amount comes at once. Left out: a first one does, a changed one "
                      "with the next period."),
}  # fmt: skip

ROUTES = (
    PUT("api/wallets/{wallet_id:int}/allowance", put_allowance, NEED_MANAGE,
        "Give the wallet credit each day, week or month", keyed=True,
        body=obj(ALLOWANCE_BODY, optional=tuple(x for x in ALLOWANCE_BODY if x != "period")),
        reply=obj({"id": whole(),
                   "entry_id": maybe(whole("What was booked at once, if anything was."))})),
    DELETE("api/wallets/{wallet_id:int}/allowance", delete_allowance, NEED_MANAGE,
           "No more allowance; what is left of it expires at the end of its period",
           reply=obj({"id": whole()})),
)  # fmt: skip
