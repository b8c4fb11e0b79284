"""Everything that files can declare, as it is, and the document that says so.

The words for rates, rules and limits that people read are here too. Pure values; who reads them
from the database, and who writes files, is not known here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .allowances import Allowance
from .declared import LimitDecl, RateDecl, RuleDecl, limit_amount_text
from .instants import iso
from .limits import UNIT, Limit
from .money import plain
from .rates import Rate


@dataclass(frozen=True)
class HeldWallet:
    """A wallet as it is, people and groups by name."""

    id: int
    name: str
    title: str = ""
    overdraft_micro: int | None = 0
    mode: str | None = None
    closed: bool = False
    owner: str = ""
    #: What ``apply`` granted it at its start, None for never.
    starting_credit_micro: int | None = None
    people: Mapping[str, str] = field(default_factory=dict)
    groups: frozenset[str] = frozenset()
    #: Its owner is gone or of another hub, so no file can name them.
    elsewhere: bool = False
    allowance: Allowance | None = None
    #: One was taken away, and some of it is left until its next boundary.
    allowance_ends: bool = False


@dataclass(frozen=True)
class HeldLimit:
    id: int
    limit: Limit
    wallet: str = ""

    @property
    def key(self) -> tuple:
        return LimitDecl(self.limit, self.wallet).key


@dataclass(frozen=True)
class Held:
    """Everything that files can declare, as it is at ``at``."""

    at: datetime
    mode: str
    wallets: Mapping[str, HeldWallet] = field(default_factory=dict)
    people: Mapping[str, int] = field(default_factory=dict)
    rates: tuple[Rate, ...] = ()
    rules: tuple[RuleDecl, ...] = ()
    limits: tuple[HeldLimit, ...] = ()
    exempt: frozenset[tuple[str, str]] = frozenset()


def money_text(micro: int | None) -> str:
    return "unlimited" if micro is None else plain(micro)


def price_text(micro: int | None) -> str:
    return "none" if micro is None else plain(micro)


def rate_name(rate: RateDecl | Rate) -> str:
    facts = [f"model {rate.model}"] if rate.model else []
    facts += [f"profile {rate.profile}"] if rate.profile else []
    return rate.resource + (f" ({', '.join(facts)})" if facts else "")


def rule_text(rule: RuleDecl) -> str:
    """For people: who, and which wallet pays."""
    named = (("person", rule.person), ("group", rule.group), ("profile", rule.profile))
    who = [f"{kind} {name}" for kind, name in named if name]
    text = (" and ".join(who) or "everybody") + " -> "
    if rule.wallet:
        return text + rule.wallet
    text += "their own wallet"
    if rule.starting_grant_micro:
        text += f", starting with {plain(rule.starting_grant_micro)}"
    return text + f", overdraft {money_text(rule.overdraft_micro)}"


def limit_name(held: LimitDecl | HeldLimit) -> str:
    whom = held.limit.subject_text()
    return whom.replace("the wallet", f"the wallet {held.wallet}") if held.wallet else whom


def limit_text(limit: Limit) -> str:
    text = f"{limit_amount_text(limit.resource, limit.amount)} {UNIT[limit.resource]}"
    return f"{text} per {limit.period}" if limit.period else text


def document(held: Held) -> dict:
    """What there is, in the form that files have: applying it to an empty database makes the same.

    Left out: people without a role, wallets of people who are gone, balances, and all that is in
    the ledger but starting credit.
    """
    wallets, left_out = [], {w.name for w in held.wallets.values() if w.elsewhere}
    for name in sorted(set(held.wallets) - left_out):
        w = held.wallets[name]
        item: dict = {"name": w.name}
        if w.owner:
            item["owner"] = w.owner
        if w.title:
            item["title"] = w.title
        item["overdraft"] = _number(money_text(w.overdraft_micro))
        if w.mode:
            item["mode"] = w.mode
        if w.closed:
            item["closed"] = "true"
        if w.starting_credit_micro is not None:
            item["starting_credit"] = _number(plain(w.starting_credit_micro))
        if w.allowance is not None:
            item["allowance"] = _allowance_item(w.allowance)
        if w.people:
            item["people"] = dict(sorted(w.people.items()))
        if w.groups:
            item["groups"] = sorted(w.groups)
        wallets.append(item)
    rates = [
        {
            "resource": r.resource,
            **_given(model=r.model, profile=r.profile),
            "price": _number(price_text(r.price_micro)),
            "starts_at": iso(r.starts_at),
        }
        for r in sorted(held.rates, key=lambda r: (r.key, r.starts_at))
    ]
    limits = [
        {
            "resource": x.limit.resource,
            **_given(group=x.limit.group, person=x.limit.person, wallet=x.wallet,
                     profile=x.limit.profile),
            **({"each": "true"} if x.limit.each else {}),
            "amount": _number(limit_amount_text(x.limit.resource, x.limit.amount)),
            **_given(period=x.limit.period),
        }
        for x in sorted(held.limits, key=lambda x: x.key)
        if x.wallet not in left_out and not x.limit.by_manager
    ]  # fmt: skip
    return {
        "mode": held.mode,
        "wallets": wallets,
        "rates": rates,
        "rules": [_rule_item(r) for r in held.rules if r.wallet not in left_out],
        "limits": limits,
        "exemptions": [{kind: name} for kind, name in sorted(held.exempt)],
    }


def _allowance_item(allowance: Allowance) -> dict:
    carry = allowance.carry_micro
    return {
        "amount": _number(plain(allowance.amount_micro)),
        "period": allowance.period,
        "carry": "full" if carry is None else _number(plain(carry)),
    }


def _rule_item(rule: RuleDecl) -> dict:
    item = _given(person=rule.person, group=rule.group, profile=rule.profile)
    if rule.wallet:
        return item | {"wallet": rule.wallet}
    item |= {"target": "personal", "overdraft": _number(money_text(rule.overdraft_micro))}
    if rule.starting_grant_micro:
        item["starting_grant"] = _number(plain(rule.starting_grant_micro))
    return item


def _given(**names: str) -> dict:
    return {key: name for key, name in names.items() if name}


def _number(text: str) -> int | str:
    """Whole numbers without quotes, decimals as text: no reader shall make a float of them."""
    return int(text) if text.lstrip("-").isdecimal() else text
