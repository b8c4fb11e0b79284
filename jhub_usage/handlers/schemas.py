"""What the API shows and takes, by name: the ``components`` of its description.

``*_micro`` are whole micro-credits. A body takes ``amount`` (credits as text) or ``amount_micro``.
"""

from ..domain import admission, limits, periods, rates, rules, wallets
from .schema import flag, instant, listed, maybe, obj, one_of, ref, text, whole

MICRO = whole("Micro-credits.")
NAME = text("A name, compared whole.", least=1)
NOTE = text("Why: kept with the entry, may be erased later.", least=1, most=500)
AMOUNT = text("Credits as a decimal, like `12.50`.", most=40)
MODE = one_of(*admission.MODES)
SESSION_ID = text("The session's UUID.", most=36)


def page_of(name: str, items: str) -> dict:
    """A list with the cursor of what follows."""
    return obj({name: listed(ref(items)), "next": maybe(text("Cursor of the next page."))})


def cursor(*, most: int = 200, **more: dict) -> dict:
    """The query of a list."""
    fields = {"cursor": text("`next` of the page before."),
              "limit": whole("Rows of a page.", least=1, most=most), **more}  # fmt: skip
    return obj(fields, optional=tuple(fields))


SHAPE = obj(
    {
        "cpu_milli": whole("Thousandths of a core.", least=0),
        "memory_bytes": whole("Bytes.", least=0),
        "gpus": listed(
            obj(
                {
                    "resource": text(),
                    "model": text(),
                    "count": whole(least=0),
                    "weight_milli": whole(least=0),
                },
                optional=("resource", "model", "weight_milli"),
            ),
            most=20,
        ),
    },
    optional=("cpu_milli", "memory_bytes", "gpus"),
)
LINE = obj(
    {
        "resource": text(),
        "model": text(),
        "profile": text(),
        "quantity_milli": whole(),
        "price_micro": MICRO,
        "amount_micro": MICRO,
        "rate_id": whole(),
    }
)
ALLOWANCE = obj(
    {
        "amount_micro": whole("What comes each period; 0: no more comes, what is left expires."),
        "period": one_of(*periods.PERIODS),
        "carry_micro": maybe(whole("What is kept at most of what is left; null: all of it.")),
        "left_micro": whole("What is left of it now; it is spent before other credit."),
        "next_at": instant("When the next period begins."),
        "next_micro": whole("What comes then."),
        "expires_micro": whole("What of that which is left now expires then."),
    }
)
WALLET = obj(
    {
        "id": whole(),
        "name": text(),
        "title": text(),
        "kind": one_of("personal", "shared"),
        "owner": maybe(text()),
        "role": maybe(one_of(*wallets.ROLES, description="What you are in it.")),
        "balance_micro": MICRO,
        "overdraft_micro": maybe(whole("Null: unlimited, the wallet only records.")),
        "available_micro": maybe(whole("What can be spent now; null: unlimited.")),
        "reserved_micro": whole("What open sessions take now: cost or hold, less charges."),
        "allowance": maybe(ref("Allowance")),
        "burn_per_hour_micro": MICRO,
        "dry_at": maybe(instant("When it is empty if nothing changes.")),
        "open_sessions": whole(),
        "mode": maybe(MODE),
        "created_at": instant(),
        "closed": flag(),
    }
)
SESSION = obj(
    {
        "id": SESSION_ID,
        "person": text(),
        "server_name": text(),
        "profile": text(),
        "wallet": maybe(text()),
        "wallet_id": maybe(whole()),
        "state": text(),
        "mode": text(),
        "billed": flag(),
        "shape": ref("Shape"),
        "per_hour_micro": MICRO,
        "start_fee_micro": MICRO,
        "cost_micro": whole("What it has cost so far, or in all."),
        "charged_micro": whole("What of that is posted as entries."),
        "refunded_micro": MICRO,
        "hold_micro": MICRO,
        "billed_s": whole("Seconds that count."),
        "accrues": flag("Its cost grows right now."),
        "requested_at": instant(),
        "admitted_at": instant(),
        "started_at": maybe(instant()),
        "ready_at": maybe(instant()),
        "stop_accepted_at": maybe(instant()),
        "ended_at": maybe(instant()),
        "end_reason": maybe(text()),
        "platform_s": whole("Seconds after the end that the platform bears."),
        "restart_count": whole(),
        "limit_at": maybe(instant("When its own time limit ends it.")),
        "ends_at": maybe(instant("When it will be stopped if nothing changes.")),
        "ends_reason": maybe(text()),
        "ends_limit": maybe(text("The limit per period that ends it.", most=1000)),
        "left_s": maybe(whole("Seconds until then.")),
        "warned_at": maybe(instant()),
        "stop_at": maybe(instant()),
        "stop_ordered_at": maybe(instant()),
    }
)
DECISION = obj(
    {
        "session_id": SESSION_ID,
        "decided_at": instant(),
        "decision": one_of(*admission.DECISIONS),
        "reason": text("A stable code; `ok` for an admission."),
        "text": text("The sentence for people.", most=4000),
        "person": maybe(text()),
        "server_name": text(),
        "wallet": maybe(text()),
        "wallet_id": maybe(whole()),
        "profile": text(),
        "mode": text(),
        "shape": maybe(ref("Shape")),
        "per_hour_micro": MICRO,
        "start_fee_micro": MICRO,
        "hold_micro": MICRO,
        "available_micro": maybe(MICRO),
        "voided_at": maybe(instant()),
        "void_reason": maybe(text()),
    }
)
ENTRY = obj(
    {
        "id": whole(),
        "wallet_id": whole(),
        "wallet": text(),
        "kind": one_of(*wallets.ENTRY_KINDS),
        "amount_micro": whole("Positive: credit to the wallet."),
        "effective_at": instant(),
        "posted_at": instant(),
        "period": text("The month that it is booked in."),
        "session_id": maybe(SESSION_ID),
        "person": maybe(text("Whose session it is for.")),
        "slice_start": maybe(instant()),
        "slice_end": maybe(instant()),
        "corrects_id": maybe(whole("The entry that it corrects or gives back.")),
        "goodwill": flag(),
        "counter_wallet": maybe(text("The other wallet of a transfer.")),
        "actor": text(),
        "about": text("Which allowance it is of, for people; empty for other entries."),
        "note": maybe(text(most=4000)),
    }
)
BOUNDARY = obj({"name": text(), "at": maybe(instant()), "evidence": maybe(text("How we know."))})
RATE = obj(
    {
        "id": whole(),
        "resource": one_of(*rates.RESOURCES),
        "model": text("Empty: any."),
        "profile": text("Empty: any."),
        "price_micro": maybe(whole("Per unit and hour; null ends the rate.")),
        "starts_at": instant(),
        "ends_at": maybe(instant("When the next one of the same kind begins.")),
        "in_force": flag(),
        "upcoming": flag(),
    }
)
RULE = obj(
    {
        "id": whole(),
        "position": whole(),
        "person": text("Empty: anybody."),
        "group": text("Empty: any."),
        "profile": text("Empty: any."),
        "target": one_of(*rules.TARGETS),
        "wallet": maybe(text()),
        "wallet_id": maybe(whole()),
        "starting_grant_micro": MICRO,
        "overdraft_micro": maybe(MICRO),
    }
)
LIMIT = obj(
    {
        "id": whole(),
        "subject": one_of(*limits.SUBJECTS),
        "resource": one_of(*limits.RESOURCES),
        "amount": whole(
            "In the smallest unit: thousandths, bytes, servers, seconds, thousandths times "
            "seconds, micro-credits."
        ),
        "period": maybe(one_of(*periods.PERIODS, description="For what is counted per period.")),
        "shown": text("For people, like `4 GPUs`."),
        "cap": text("For people, like `20 GPU-hours per month`."),
        "whom": text("For people, like `each person`."),
        "person": text(),
        "group": text(),
        "wallet": maybe(text()),
        "wallet_id": maybe(whole()),
        "profile": text(),
        "each": flag(),
        "by_manager": flag("A manager of the wallet set it, beside what administrators set."),
    }
)
LIMIT_USE = obj(
    {
        "limit": ref("Limit"),
        "person": maybe(text("Whose use it is, where each person has their own.")),
        "used": whole("By now, in the limit's own unit."),
        "set_aside": whole("What else open sessions take: what is left of their minimum run."),
        "text": text("For people, like `12.5 of 20 GPU-hours in November 2026`."),
        "label": text("The period, like `2026-11`."),
        "begins_at": instant(),
        "begins_anew_at": instant(),
        "at": instant(),
    }
)
MEMBER = obj({"person": text(), "role": one_of(*wallets.ROLES)})
PERSON = obj(
    {
        "id": whole(),
        "name": text(),
        "current": flag("Has this name now; false: an earlier user of that name."),
        "created_at": maybe(instant("When the Hub made the user.")),
        "wallet_id": maybe(whole()),
        "sessions": whole(),
        "last_session_at": maybe(instant()),
        "pseudonymised_at": maybe(instant("When the name was forgotten.")),
    }
)
EXEMPTION = obj({"kind": one_of("person", "group", "profile"), "name": text()})
AUDIT = obj(
    {
        "id": whole(),
        "at": instant(),
        "action": text(),
        "subject_kind": text(),
        "subject_id": text(),
        "actor": text(),
        "actor_kind": text(),
        "address": text(),
        "before": {},
        "after": {},
    }
)
STOPS = obj(
    {
        "tripped": flag("So many stops were due at once that none was made."),
        "tripped_at": maybe(instant()),
        "count": whole("How many were due then."),
        "released_until_at": maybe(instant()),
        "due": listed(ref("Session")),
    }
)
LOOP = obj(
    {
        "name": text(),
        "interval_s": {"type": "number"},
        "last_begun_at": maybe(instant()),
        "last_ok_at": maybe(instant()),
        "last_error": text(most=2000),
        "failures": whole("In a row."),
        "notes": {"type": "object"},
    }
)
WARNING = obj({"code": text(), "text": text(most=2000)})
ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            "required": ["code", "message"],
        }
    },
    "required": ["error"],
}

COMPONENTS = {
    "Shape": SHAPE,
    "QuoteLine": LINE,
    "Allowance": ALLOWANCE,
    "Wallet": WALLET,
    "Session": SESSION,
    "Decision": DECISION,
    "Entry": ENTRY,
    "Boundary": BOUNDARY,
    "Rate": RATE,
    "Rule": RULE,
    "Limit": LIMIT,
    "LimitUse": LIMIT_USE,
    "Member": MEMBER,
    "Person": PERSON,
    "Exemption": EXEMPTION,
    "Audit": AUDIT,
    "Stops": STOPS,
    "Loop": LOOP,
    "Warning": WARNING,
    "Error": ERROR,
}
