"""Rates: the prices in force, to come and past; a new one from an instant on."""

from ...actions import rates as actions
from ...actions import views
from ...domain.instants import parse_instant
from .. import parse, present


async def index(call) -> dict:
    return await call.look(listed)


def listed(tx) -> dict:
    return {"rates": present.rates(views.catalog(tx).rates, tx.now())}


async def create(call) -> dict:
    """Without a price the rate of that kind ends."""
    body = call.body
    starts_at = body.get("starts_at")
    return await call.act(
        actions.add,
        body["resource"],
        parse.amount(body, "price", required=False),
        model=body.get("model", ""),
        profile=body.get("profile", ""),
        starts_at=parse_instant(starts_at) if starts_at else None,
        show=lambda rate_id: {"id": rate_id},
    )
