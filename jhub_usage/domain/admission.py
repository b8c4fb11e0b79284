"""May this server start, and who pays? One pure decision over what was read under the locks.

The same function answers the advisory check on the spawn form, the authoritative one under the
gate, and observe mode. Does not read or write anything; amounts are micro-credits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from . import limits as limits_
from .ahead import least_available
from .instants import iso, span_text
from .limits import Breach, Limit
from .money import Currency, show
from .period_limits import PeriodBreach, refusal_text, window
from .periods import UTC_CALENDAR, Calendar
from .rates import Quote
from .sessions import Meter, hold_for
from .shapes import Shape
from .wallets import Wallet, admission_available, beyond_hold_reserve

ADMITTED, REFUSED, OBSERVED, FAILED_OPEN = "admitted", "refused", "observed", "failed_open"
VOIDED = "void"
DECISIONS = (ADMITTED, REFUSED, OBSERVED, FAILED_OPEN, VOIDED)
MODES = ("off", "observe", "enforce")


@dataclass(frozen=True)
class PersonKey:
    """Who the Hub says it is. A re-created "ada" has another ``created_at``: another person."""

    name: str
    hub_user_id: int | None = None
    created_at: datetime | None = None


@dataclass(frozen=True)
class Ask:
    """One server that wants to start, as the spawner's hook knows it."""

    session_id: str
    hub_id: str
    person: PersonKey
    server_name: str
    profile: str
    shape: Shape
    groups: tuple[str, ...] = ()
    #: The wallet that the person chose, or empty.
    wallet_name: str = ""
    requested_at: datetime | None = None
    #: The Hub's own ``started`` of this server, to know it again before a stop.
    hub_started_at: datetime | None = None
    start_timeout_s: int = 300
    grace_s: int = 0
    billed_from: str = "container"
    namespace: str = ""
    pod_name: str = ""
    spawner: str = ""


@dataclass(frozen=True)
class Policy:
    """The settings that a decision needs."""

    min_run_s: int = 900
    warn_lead_s: int = 600
    #: Hold the whole session limit instead of the minimum run time.
    hold_session_limit: bool = False
    refuse_unknown_model: bool = False
    currency: Currency = field(default_factory=Currency)
    #: Added to the start timeout before an admission that nothing confirmed lapses.
    start_margin_s: int = 120
    #: So many failed starts a day are waived for a person (rule 7).
    failed_start_refunds_per_day: int = 3
    timezone: str = "UTC"
    #: Servers from before the first install are not stopped for so long.
    protect_s: int = 86400


@dataclass(frozen=True)
class Reason:
    """Why: a stable code, a sentence for people, and the numbers behind it."""

    code: str
    text: str
    details: Mapping = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """The recorded answer."""

    session_id: str
    decision: str
    reason: Reason
    wallet_id: int | None = None
    wallet_name: str = ""
    quote: Quote | None = None
    hold_micro: int = 0
    available_micro: int | None = None
    mode: str = "enforce"
    billed: bool = True
    rule_id: int | None = None
    decided_at: datetime | None = None

    @property
    def may_start(self) -> bool:
        return self.decision in (ADMITTED, OBSERVED, FAILED_OPEN)


def hold_of(quote: Quote, policy: Policy, session_limit_s: int | None) -> int:
    """H of a new session: the minimum run time or the whole session limit (rule 11)."""
    span = hold_span_s(policy, session_limit_s)
    return hold_for(quote.per_hour_micro, quote.start_fee_micro, span)


def hold_span_s(policy: Policy, session_limit_s: int | None) -> int:
    """The seconds that a hold pays for."""
    if session_limit_s is None:
        return policy.min_run_s
    return session_limit_s if policy.hold_session_limit else min(policy.min_run_s, session_limit_s)


def judge(
    *,
    ask: Ask,
    wallet: Wallet,
    meters: Sequence[Meter],
    quote: Quote,
    limits: Sequence[Limit],
    usage: Mapping[tuple, Mapping[str, int]],
    person_id: int,
    policy: Policy,
    now: datetime,
    calendar: Calendar = UTC_CALENDAR,
    per_period: Sequence[Breach] = (),
) -> tuple[Reason, int, int | None]:
    """(reason, hold, available before) under enforce; the reason's code is ``ok`` or a refusal.

    The wallet is advanced to ``now``. ``per_period`` are limits per period that it would break.
    """
    applying = [x for x in limits if x.applies(ask.person.name, ask.groups, wallet.id, ask.profile)]
    limit_s = limits_.session_limit_s(applying)
    hold = hold_of(quote, policy, limit_s)
    left = admission_available(wallet, meters, now)
    money = policy.currency
    if wallet.closed:
        return (
            Reason(
                "wallet_closed",
                f"The wallet {wallet.name} is closed. Choose another one, or ask its manager.",
            ),
            hold,
            left,
        )
    breach = limits_.strictest_breach(applying, usage, ask.shape, person_id, per_period)
    if breach is not None:
        return limit_reason(breach, wallet), hold, left
    if left is not None:
        reserve = beyond_hold_reserve(meters, now, policy.warn_lead_s)
        if left - hold < reserve:
            comes, facts = _next_allowance(wallet, now, calendar, policy)
            facts |= {
                "available_micro": left,
                "hold_micro": hold,
                "reserve_micro": reserve,
                "per_hour_micro": quote.per_hour_micro,
            }
            text = _wallet_text(wallet, left, hold, reserve, quote, policy, ask, comes)
            return Reason("wallet", text, facts), hold, left
    if left is not None and wallet.allowance is not None:
        new = Meter(ask.session_id, quote.per_hour_micro, quote.start_fee_micro, hold, 0, now, now)
        span = timedelta(seconds=hold_span_s(policy, limit_s))
        worst = least_available(wallet, meters, new, now, span, policy.warn_lead_s, calendar)
        if worst is not None and worst[1] < worst[2]:
            comes = _next_allowance(wallet, now, calendar, policy)
            return _boundary_reason(wallet, worst, hold, quote, policy, comes), hold, left
    price = f"{show(quote.per_hour_micro, money)} per hour"
    return Reason("ok", f"Paid by the wallet {wallet.name}: {price}."), hold, left


def _next_allowance(wallet: Wallet, now, calendar: Calendar, policy: Policy) -> tuple[str, dict]:
    """When the wallet's next allowance comes, for people and as facts; nothing where none does."""
    held = wallet.allowance
    if held is None or not held.amount_micro:
        return "", {}
    of = window(calendar, held.period, now)
    amount = show(held.amount_micro, policy.currency)
    text = f" The next allowance of {amount} comes on {of.next_day.isoformat()} (00:00 {of.zone})."
    facts = {
        "next_allowance_at": iso(of.ends_at),
        "next_allowance_micro": held.amount_micro,
    }
    return text, facts


def _wallet_text(wallet, left, hold, reserve, quote, policy, ask, comes) -> str:
    money = policy.currency
    text = (
        f"The wallet {wallet.name} has {show(left, money)} left. "
        f"You asked for {ask.shape.text()}, "
        f"which costs {show(quote.per_hour_micro, money)} per hour"
    )
    if quote.start_fee_micro:
        text += f" and {show(quote.start_fee_micro, money)} per start"
    text += (
        f"; {show(hold, money)} must be free for the first {span_text(policy.min_run_s * 10**6)}."
    )
    if reserve and left >= hold:
        text += (
            f" Servers that already run on this wallet need {show(reserve, money)} "
            "so that they are not stopped at once."
        )
    return (
        f"{text}{comes} You can choose a smaller profile or another wallet, stop a running server, "
        "or ask the wallet's manager for credit."
    )


def _boundary_reason(
    wallet: Wallet, worst, hold: int, quote: Quote, policy: Policy, comes: tuple[str, dict]
) -> Reason:
    """What the allowance lets expire soon leaves too little for the hold (rule 15)."""
    at, left, reserve = worst
    money = policy.currency
    text = (
        f"The allowance of the wallet {wallet.name} ends at {iso(at)}, and what is left of it "
        f"expires. {show(hold, money)} must be free for the first "
        f"{span_text(policy.min_run_s * 10**6)}, also after that; it would lack "
        f"{show(reserve - left, money)}.{comes[0]} Start after that time, choose a smaller "
        "profile or another wallet, or ask the wallet's manager for credit."
    )
    facts = comes[1] | {
        "boundary_at": iso(at),
        "available_micro": left,
        "hold_micro": hold,
        "reserve_micro": reserve,
        "per_hour_micro": quote.per_hour_micro,
    }
    return Reason("wallet", text, facts)


def limit_reason(breach: Breach, wallet: Wallet | None) -> Reason:
    """The refusal by a limit: it names the limit, for people and in its details."""
    limit, name = breach.limit, wallet.name if wallet else ""
    facts = {
        "limit_id": limit.id,
        "resource": limit.resource,
        "limit": limit.amount,
        "used": breach.used,
        "asked": breach.asked,
    }
    if not isinstance(breach, PeriodBreach):
        return Reason("limit", _at_once_text(breach, name), facts)
    facts |= {
        "set_aside": breach.aside,
        "period": limit.period,
        "of": breach.of.label,
        "begins_anew_at": iso(breach.of.ends_at),
    }
    return Reason("limit", refusal_text(breach, name), facts)


def _at_once_text(breach: Breach, wallet: str) -> str:
    limit = breach.limit
    whom = limits_.whom_text(limit, wallet)
    used = limits_.amount_text(limit.resource, breach.used)
    more = limits_.amount_text(limit.resource, breach.asked)
    cap = limits_.amount_text(limit.resource, limit.amount)
    return (
        f"The limit for {whom} is {cap} at once; {used} are in use and you asked for {more} more. "
        "Stop a running server or choose a smaller profile, or ask an administrator."
    )


def effective_mode(everything: str, wallet_mode: str | None) -> str:
    """One switch turns all off; otherwise a wallet's own mode goes before the general one."""
    if everything == "off" or wallet_mode is None:
        return everything
    return wallet_mode
