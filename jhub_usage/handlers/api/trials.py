"""A month tried under other rates, limits and rules. Reads only: nothing is changed by trying."""

from ...actions import trials, wallets
from ...domain.declared import limit_for, parse_limit_amount
from ...domain.errors import BadInput
from ...domain.limits import PER_SESSION
from ...domain.period_limits import PeriodBreach
from ...domain.periods import MONTH, first_day
from ...domain.rates import RESOURCES, Rate, require_rate
from ...domain.rules import TARGETS, Rule, require_rule
from .. import parse
from ..access import NEED_READ_OR_MANAGE
from ..call import Route
from ..schema import flag, instant, listed, maybe, obj, one_of, text, whole
from ..schemas import AMOUNT, MICRO, NAME, SESSION_ID


async def create(call) -> dict:
    body, policy = call.body, call.ctx.policy
    first_day(MONTH, body["month"])

    def read(tx) -> dict:
        tried = {}
        if "rates" in body:
            begin = trials.begins(tx, body["month"], policy.timezone)
            tried["rates"] = [_rate(item, begin) for item in body["rates"]]
        if "limits" in body:
            tried["limits"] = [_limit(tx, x, n) for n, x in enumerate(body["limits"], 1)]
        if "rules" in body:
            tried["rules"] = [_rule(tx, x, n) for n, x in enumerate(body["rules"])]
        return shown(trials.month(tx, body["month"], policy=policy, **tried))

    return await call.look(read)


def _rate(item: dict, begin) -> Rate:
    return require_rate(
        Rate(
            item["resource"],
            item.get("model", ""),
            item.get("profile", ""),
            parse.amount(item, "price", required=False),
            begin,
        )
    )


def _limit(tx, item: dict, number: int):
    if item["resource"] in PER_SESSION:
        raise BadInput("Hours per session refuse no start.", field="resource")
    wallet = item.get("wallet", "")
    wallet_id = wallets.find(tx, wallet).id if wallet else None
    made = limit_for(
        item["resource"],
        parse_limit_amount(item["resource"], item["amount"]),
        person=item.get("person", ""),
        group=item.get("group", ""),
        wallet=wallet,
        profile=item.get("profile", ""),
        each=item.get("each", False),
        wallet_id=wallet_id,
        period=item.get("period", ""),
    )
    values = {name: getattr(made, name) for name in made.__dataclass_fields__}
    return type(made)(**values | {"id": number})


def _rule(tx, item: dict, position: int) -> Rule:
    wallet_id = wallets.find(tx, item["wallet"]).id if item.get("wallet") else None
    return require_rule(
        Rule(
            position,
            item["target"],
            wallet_id,
            person=item.get("person", ""),
            group=item.get("group", ""),
            profile=item.get("profile", ""),
        )
    )


def shown(tried: trials.Tried) -> dict:
    """A tried month as data."""
    return {
        "month": tried.label,
        "begin": tried.begin,
        "end": tried.end,
        "same": tried.same,
        "wallets": [
            {
                "wallet": w.wallet,
                "wallet_id": w.wallet_id,
                "charged_micro": w.charged_micro,
                "tried_micro": w.tried_micro,
                "balance_micro": w.balance_micro,
                "tried_balance_micro": w.tried_balance_micro,
            }
            for w in tried.wallets
        ],
        "people": [
            {"person": who, "charged_micro": was, "tried_micro": would}
            for who, was, would in tried.people
        ],
        "starts": tried.starts,
        "refused": [
            {
                "session_id": s.session_id,
                "person": s.person,
                "profile": s.profile,
                "decided_at": s.decided_at,
                "limit": b.limit.id,
                "resource": b.limit.resource,
                "used": b.used,
                "asked": b.asked,
                "of": b.of.label if isinstance(b, PeriodBreach) else None,
                "set_aside": b.aside if isinstance(b, PeriodBreach) else 0,
            }
            for s, b in tried.refused
        ],
        "moved": [
            {
                "session_id": s.session_id,
                "person": s.person,
                "wallet": was or None,
                "tried": would or None,
            }
            for s, was, would in tried.moved
        ],
        "unpriced": list(tried.unpriced),
    }


WHO = text("Compared whole; empty: any.")
RATE = obj(
    {"resource": one_of(*RESOURCES), "model": text(), "profile": text(), "price": AMOUNT,
     "price_micro": MICRO},
    optional=("model", "profile", "price", "price_micro"),
)  # fmt: skip
LIMIT = obj(
    {"resource": text(), "amount": text("As in limits."), "person": WHO, "group": WHO,
     "wallet": text(), "profile": WHO, "each": flag(), "period": text("Of a limit per period.")},
    optional=("person", "group", "wallet", "profile", "each", "period"),
)  # fmt: skip
RULE = obj(
    {"target": one_of(*TARGETS), "wallet": text(), "person": WHO, "group": WHO, "profile": WHO},
    optional=("wallet", "person", "group", "profile"),
)
TRIED = obj(
    {
        "month": text(),
        "begin": instant(),
        "end": instant(),
        "same": flag("Run again, it gives every charge and balance that was."),
        "wallets": listed(
            obj(
                {
                    "wallet": text(),
                    "wallet_id": whole(),
                    "charged_micro": MICRO,
                    "tried_micro": MICRO,
                    "balance_micro": MICRO,
                    "tried_balance_micro": MICRO,
                }
            )
        ),
        "people": listed(obj({"person": NAME, "charged_micro": MICRO, "tried_micro": MICRO})),
        "starts": whole("Starts of the month that were let in."),
        "refused": listed(
            obj(
                {
                    "session_id": SESSION_ID,
                    "person": NAME,
                    "profile": text(),
                    "decided_at": instant(),
                    "limit": whole("Its place in the list that was tried; 1 is the first."),
                    "resource": text(),
                    "used": whole("In the unit of the limit's amount."),
                    "asked": whole(),
                    "of": maybe(text("The day, week or month; null for a limit at once.")),
                    "set_aside": whole("Of a limit per period, for servers that ran."),
                }
            )
        ),
        "moved": listed(
            obj(
                {
                    "session_id": SESSION_ID,
                    "person": NAME,
                    "wallet": maybe(text()),
                    "tried": maybe(text("None: a wallet of their own that is not open yet.")),
                }
            )
        ),
        "unpriced": listed(SESSION_ID),
    }
)

ROUTES = (
    Route(
        "POST",
        "api/trials/month",
        create,
        NEED_READ_OR_MANAGE,
        "A month as it would have been under these rates, limits and rules; writes nothing",
        body=obj(
            {
                "month": text("Like `2026-10`.", least=7, most=7),
                "rates": listed(RATE),
                "limits": listed(LIMIT),
                "rules": listed(RULE),
            },
            optional=("rates", "limits", "rules"),
        ),
        reply=TRIED,
    ),
)
