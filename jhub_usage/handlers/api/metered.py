"""Quantities that another service meters for a wallet: told here, charged exactly."""

from functools import partial

from ...actions import metered as actions
from ...domain.instants import parse_instant
from ..access import MANAGED_WALLET, NEED_MANAGE
from ..call import Route
from ..schema import flag, instant, listed, maybe, obj, ref, text, whole
from ..schemas import COMPONENTS, MICRO


async def index(call) -> dict:
    return {"metered": await call.look(actions.listed, call.path["wallet_id"])}


async def create(call) -> dict:
    body = call.body
    at = parse_instant(body["at"], what="at") if "at" in body else None
    return await call.act(
        actions.meter,
        call.path["wallet_id"],
        body["resource"],
        body["quantity"],
        body["price"],
        key=body["key"],
        policy=call.ctx.policy,
        at=at,
        show=lambda answer: answer,
    )


# -- the table of routes --------------------------------------------------------------------------

RESOURCE = text("Its name: letters, digits and `._/-`.", least=1, most=64)
MONTH = {
    "resource": text(most=64),
    "period": text("The month that it happened in; it rounds with this one.", most=7),
    "month_charged_micro": MICRO,
    "month_exact": text("The exact cost of the month so far, in credits.", most=40),
}
COMPONENTS["Metered"] = obj(MONTH)
CHARGED = obj(
    {
        **MONTH,
        "billed": flag("False: the mode is `off`, so it was not counted."),
        "charged_micro": whole("What this one charged now, with all that came before it."),
        "entry_id": maybe(whole("Null: nothing was charged yet.")),
    }
)

GET, POST = partial(Route, "GET"), partial(Route, "POST")

ROUTES = (
    GET("api/wallets/{wallet_id:int}/metered", index, MANAGED_WALLET,
        "What was metered for a wallet, by month and resource",
        reply=obj({"metered": listed(ref("Metered"))})),
    POST("api/wallets/{wallet_id:int}/metered", create, NEED_MANAGE,
         "Charge a metered quantity; the same key again is the same event",
         body=obj({"resource": RESOURCE,
                   "quantity": text("A decimal, like `1.5`.", least=1, most=60),
                   "price": text("Credits per unit, of at most twelve decimals.", least=1, most=60),
                   "key": text("The event's own.", least=1, most=actions.MOST_KEY),
                   "at": instant("When it happened; now by default.")}, optional=("at",)),
         reply=CHARGED),
)  # fmt: skip
