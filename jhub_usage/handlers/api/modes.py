"""The switch: off, observe, enforce; for everything and for single wallets. And exemptions."""

from ...actions import exemptions as exempting
from ...actions import listings, views
from ...actions import modes as actions
from ...actions import wallets as wallet_actions


async def show(call) -> dict:
    return await call.look(listed)


def listed(tx) -> dict:
    own = [w for w in listings.wallet_names(tx, limit=10_000) if w["mode"]]
    return {
        "mode": views.catalog(tx).mode,
        "wallets": [{"id": w["id"], "name": w["name"], "mode": w["mode"]} for w in own],
    }


async def put(call) -> dict:
    await call.act(actions.set_mode, call.body["mode"])
    return {"mode": call.body["mode"]}


async def put_wallet(call) -> dict:
    mode = call.body["mode"]
    await call.act(wallet_actions.change, call.path["wallet_id"], mode=mode)
    return {"id": call.path["wallet_id"], "mode": mode}


async def exemptions(call) -> dict:
    return await call.look(exempt)


def exempt(tx) -> dict:
    held = sorted(views.catalog(tx).exempt)
    return {"exemptions": [{"kind": kind, "name": name} for kind, name in held]}


async def put_exemption(call) -> dict:
    await call.act(exempting.set_exempt, call.path["kind"], call.path["name"], True)
    return {"kind": call.path["kind"], "name": call.path["name"]}


async def delete_exemption(call) -> dict:
    await call.act(exempting.set_exempt, call.path["kind"], call.path["name"], False)
    return {"kind": call.path["kind"], "name": call.path["name"]}
