"""Rules: whose servers which wallet pays; the first that matches decides."""

from ...actions import listings, views
from ...actions import rules as actions
from ...actions.wallets import find
from ...domain.errors import BadInput
from ...domain.rules import Rule
from .. import parse, present


async def index(call) -> dict:
    return await call.look(listed)


def listed(tx) -> dict:
    rules = views.catalog(tx).rules
    held = views.wallet_views(tx, ids=[r.wallet_id for r in rules if r.wallet_id is not None])
    return {"rules": [present.rule(r, {w.id: w.name for w in held}) for r in rules]}


async def create(call) -> dict:
    """Put one at its place; 1 is the first."""

    def add(tx, *, actor):
        return actions.add(tx, _rule(tx, call.body, _place(tx, call.body)), actor=actor)

    return await call.act(add, show=lambda rule_id: {"id": rule_id})


async def replace(call) -> dict:
    """The whole mapping at once, in the given order."""

    def put(tx, *, actor):
        rules = [_rule(tx, body, position) for position, body in enumerate(call.body["rules"])]
        actions.replace(tx, rules, actor=actor)

    await call.act(put)
    return await index(call)


async def delete(call) -> dict:
    await call.act(actions.remove, call.path["rule_id"])
    return {"id": call.path["rule_id"]}


def _place(tx, body) -> int:
    """The stored position of "the n-th": stored ones may have gaps."""
    held = [r.position for r in views.catalog(tx).rules]
    number = body.get("position", len(held) + 1) - 1
    if number < len(held):
        return held[number]
    return held[-1] + 1 if held else 0


def _rule(tx, body, position: int) -> Rule:
    target = body["target"]
    wallet = body.get("wallet", "")
    if (target == "wallet") != bool(wallet):
        raise BadInput("Name a wallet exactly when a wallet pays.", field="wallet")
    return Rule(
        position=position,
        target=target,
        wallet_id=find(tx, wallet).id if wallet else None,
        person=body.get("person", ""),
        group=body.get("group", ""),
        profile=body.get("profile", ""),
        starting_grant_micro=parse.amount(body, "starting_grant", required=False) or 0,
        overdraft_micro=parse.overdraft(body),
    )


def wallet_choices(tx) -> list:
    return listings.wallet_names(tx)
