"""Limits: what may run at once, and for how long."""

from ...actions import limits as actions
from ...actions import views
from ...actions.wallets import find
from ...domain.declared import parse_limit_amount
from ...domain.limits import Limit
from .. import present


async def index(call) -> dict:
    return await call.look(listed)


def listed(tx) -> dict:
    limits = views.catalog(tx).limits
    held = views.wallet_views(tx, ids={x.wallet_id for x in limits if x.wallet_id is not None})
    return {"limits": [present.limit(x, {w.id: w.name for w in held}) for x in limits]}


async def create(call) -> dict:
    """A limit of the same subject and resource is replaced."""
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
        )
        return actions.add(tx, limit, actor=actor)

    return await call.act(add, show=lambda limit_id: {"id": limit_id})


async def delete(call) -> dict:
    await call.act(actions.remove, call.path["limit_id"])
    return {"id": call.path["limit_id"]}
