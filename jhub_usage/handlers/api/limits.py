"""Limits: what may run at once, how much per period, and for how long."""

from collections.abc import Mapping

from ...actions import limit_uses, ownership, views
from ...actions import limits as actions
from ...actions.wallets import find
from ...domain.declared import parse_limit_amount
from ...domain.limits import Limit
from .. import present


async def index(call) -> dict:
    return await call.look(listed)


def listed(tx) -> dict:
    limits = views.catalog(tx).limits
    names = _names(tx, {x.wallet_id for x in limits})
    return {"limits": [present.limit(x, names) for x in limits]}


def _names(tx, wallet_ids) -> dict[int, str]:
    held = views.wallet_views(tx, ids={i for i in wallet_ids if i is not None})
    return {w.id: w.name for w in held}


async def mine(call) -> dict:
    """What the caller has used of the limits per period that bind them."""
    caller, policy, cache = call.caller, call.ctx.policy, call.ctx.cache

    def read(tx) -> dict:
        person_id = ownership.person_id(tx, call.settings.hub_id, caller.person)
        wallets = views.my_wallets(tx, person_id, caller.groups, caller.name, cache)
        names = {w.id: w.name for w in wallets}
        uses = uses_of(tx, caller, call.settings.hub_id, names, policy)
        return {"at": tx.now(), "uses": uses}

    return await call.look(read)


def uses_of(tx, caller, hub_id: str, wallets: Mapping[int, str], policy) -> list[dict]:
    """The same for a page; ``wallets`` are those that the caller spends from, with their names."""
    person_id = ownership.person_id(tx, hub_id, caller.person)
    found = limit_uses.mine(
        tx, person_id, caller.name, caller.groups, wallets.keys(), policy=policy
    )
    return [present.limit_use(u, wallets) for u in found]


def all_uses(tx, hub_id: str, policy) -> dict[int, dict]:
    """By limit's id: what is used of it, where that is one sum."""
    found = limit_uses.of_all(tx, policy=policy, hub_id=hub_id)
    return {u.limit.id: present.limit_use(u, {}) for u in found}


async def create(call) -> dict:
    """A limit of the same subject, resource and period is replaced."""
    body = call.body

    def add(tx, *, actor):
        wallet = body.get("wallet", "")
        limit = Limit(
            subject=body["subject"],
            resource=body["resource"],
            amount=parse_limit_amount(body["resource"], body["amount"]),
            person=body.get("person", ""),
            group=body.get("group", ""),
            wallet_id=find(tx, wallet).id if wallet else None,
            profile=body.get("profile", ""),
            each=body.get("each", False),
            period=body.get("period", ""),
        )
        return actions.add(tx, limit, actor=actor)

    return await call.act(add, show=lambda limit_id: {"id": limit_id})


async def delete(call) -> dict:
    await call.act(actions.remove, call.path["limit_id"])
    return {"id": call.path["limit_id"]}
