"""Quotes: what a shape would cost now, who would pay, and whether it would be admitted."""

import uuid

from ...actions import admissions, allowances, views
from ...domain.admission import Ask, PersonKey
from ...domain.errors import NotAllowed
from ...domain.shapes import Shape


async def create(call) -> dict:
    """For oneself; for somebody else with the right to read."""
    body = call.body
    person, groups = call.caller.person, call.caller.groups
    name = body.get("person", call.caller.name)
    if person is None or name != call.caller.name:
        if not call.caller.may("read", "admin"):
            raise NotAllowed("A quote for somebody else needs read.")
        found = await call.service.hub.user(name)
        person, groups = (found.person, found.groups) if found else (PersonKey(name), ())
    if "groups" in body:
        if not call.caller.may("read", "admin"):
            raise NotAllowed("A quote as a member of other groups needs read.")
        groups = tuple(body["groups"])
    ask = Ask(
        session_id=str(uuid.uuid4()),
        hub_id=call.settings.hub_id,
        person=person,
        server_name="",
        profile=body.get("profile", ""),
        shape=Shape.from_json(body["shape"]),
        groups=groups,
        wallet_name=body.get("wallet", ""),
    )

    def read(tx) -> tuple:
        made = admissions.advise(tx, ask, policy=call.ctx.policy, cache=call.ctx.cache)
        held = views.wallet_views(tx, ids=[made.wallet_id] if made.wallet_id is not None else [])
        return made, allowances.facts(held[0]) if held else None

    decision, allowance = await call.look(read)
    quote = decision.quote.to_json()
    return {
        "decision": decision.decision,
        "reason": decision.reason.code,
        "text": decision.reason.text,
        "wallet": decision.wallet_name or None,
        "mode": decision.mode,
        "available_micro": decision.available_micro,
        "allowance": allowance,
        "hold_micro": decision.hold_micro,
        "per_hour_micro": quote["per_hour_micro"],
        "start_fee_micro": quote["start_fee_micro"],
        "lines": quote["lines"],
    }
