"""Configuration as data: what files declare, as values, with templates filled in.

Reading them is in ``declaring``; comparing them with what is there is in ``plans``. Nothing here
knows YAML, CSV or what the database holds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, Inexact, InvalidOperation, localcontext
from enum import Enum

from .allowances import Allowance
from .errors import BadInput
from .limits import HOURS, SCALE, Limit, require_limit
from .names import require_name

#: In the name of a group's wallet, where the group's name goes.
GROUP = "{group}"


class Keep(Enum):
    """Not given: what is there stays."""

    KEEP = "keep"


KEEP = Keep.KEEP


@dataclass(frozen=True)
class Node:
    """A value and where it stands. None is an empty value."""

    value: "str | list[Node] | dict[str, Node] | None"
    where: str = ""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: file and line, the path in the document, and words."""

    where: str
    path: str
    text: str

    def __str__(self) -> str:
        place = ", ".join(x for x in (self.where, self.path) if x)
        return f"{place}: {self.text}" if place else self.text


class Problems(BadInput):
    """The files can not be applied."""

    #: So many are named in the message; all are in ``problems``.
    SHOWN = 50

    def __init__(self, problems):
        self.problems = tuple(problems)
        lines = [str(p) for p in self.problems[: self.SHOWN]]
        if len(self.problems) > self.SHOWN:
            lines.append(f"... and {len(self.problems) - self.SHOWN} more.")
        super().__init__("\n".join(lines))


@dataclass(frozen=True)
class WalletDecl:
    """A wallet that is to be there. Fields that were not given stay as they are."""

    name: str
    title: str | Keep = KEEP
    #: None: unlimited.
    overdraft_micro: int | Keep | None = KEEP
    #: None: as everything.
    mode: str | Keep | None = KEEP
    closed: bool | Keep = KEEP
    owner: str = ""
    starting_credit_micro: int | None = None
    #: None: none.
    allowance: Allowance | Keep | None = KEEP
    #: The allowance is for each person who has a role in the wallet.
    per_member: bool = False
    #: Exactly these, if given.
    people: Mapping[str, str] | None = None
    groups: tuple[str, ...] | None = None
    #: Besides what is there.
    more_groups: tuple[str, ...] = ()
    at: str = ""


@dataclass(frozen=True)
class MemberDecl:
    """A person, and a role in a wallet unless that is empty."""

    person: str
    wallet: str = ""
    role: str = ""
    at: str = ""


@dataclass(frozen=True)
class RateDecl:
    """A price; ``starts_at`` None: from now on, if it is not the price already."""

    resource: str
    price_micro: int | None
    model: str = ""
    profile: str = ""
    starts_at: datetime | None = None
    at: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.resource, self.model, self.profile)


@dataclass(frozen=True)
class RuleDecl:
    """Who pays for whom; an empty wallet is the person's own one."""

    wallet: str = ""
    person: str = ""
    group: str = ""
    profile: str = ""
    starting_grant_micro: int = 0
    overdraft_micro: int | None = 0
    at: str = field(default="", compare=False)


@dataclass(frozen=True)
class LimitDecl:
    """A cap in the smallest unit, its wallet by name."""

    limit: Limit
    wallet: str = ""
    at: str = ""

    @property
    def key(self) -> tuple:
        x = self.limit
        return (x.subject, x.resource, x.person, x.group, self.wallet, x.profile, x.each,
                x.period)  # fmt: skip


@dataclass(frozen=True)
class Template:
    """A wallet for each group; ``groups`` None: for every group that the files name."""

    wallet: WalletDecl
    groups: tuple[str, ...] | None
    rule: bool = True


@dataclass(frozen=True)
class Declared:
    """What the files say together. A section that none of them has is None or empty."""

    mode: str | None = None
    groups: tuple[str, ...] = ()
    wallets: Mapping[str, WalletDecl] = field(default_factory=dict)
    templates: tuple[Template, ...] = ()
    people: tuple[MemberDecl, ...] = ()
    rates: tuple[RateDecl, ...] = ()
    #: These are whole lists: what they do not name goes.
    rules: tuple[RuleDecl, ...] | None = None
    limits: tuple[LimitDecl, ...] | None = None
    exemptions: tuple[tuple[str, str], ...] | None = None
    #: Rules that templates add, wherever the list comes from.
    group_rules: tuple[RuleDecl, ...] = ()


def parse_limit_amount(resource: str, text: str) -> int:
    """``64`` GiB, ``1.5`` GPUs, ``12`` hours or ``90 s`` -> the smallest unit, exactly."""
    number, scale = text.strip(), SCALE[resource]
    if resource in HOURS and number.endswith("s"):
        number, scale = number[:-1].strip(), scale // 3600
    try:
        given = Decimal(number)
    except InvalidOperation:
        raise BadInput(f"The amount {text[:40]!r} is not a number.") from None
    if not given.is_finite():
        raise BadInput(f"The amount {text[:40]!r} is not a number.")
    if given < 0:
        raise BadInput("A limit's amount must not be negative.")
    if given > 2**53:
        raise BadInput("A limit's amount is too large.")
    finer = BadInput(f"The amount {text[:40]!r} is finer than {resource} are counted.")
    try:
        with localcontext() as context:
            # rounding would accept what was not written
            context.prec, context.traps[Inexact] = 80, True
            value = given * scale
    except Inexact:
        raise finer from None
    if value != value.to_integral_value():
        raise finer
    return int(value)


def limit_amount_text(resource: str, amount: int) -> str:
    """The exact opposite of ``parse_limit_amount``."""
    scale, unit = SCALE[resource], ""
    if resource in HOURS and not _has_decimals(amount, scale):
        scale, unit = scale // 3600, " s"  # a third of an hour
    with localcontext() as context:
        context.prec, context.traps[Inexact] = 80, True
        text = f"{Decimal(amount) / scale:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + unit


def _has_decimals(amount: int, scale: int) -> bool:
    """Whether ``amount / scale`` can be written with decimals."""
    return 10**20 * amount % scale == 0


def limit_for(
    resource: str, amount: int, *, person: str = "", group: str = "", wallet: str = "",
    profile: str = "", each: bool = False, wallet_id: int | None = None, period: str = "",
) -> Limit:  # fmt: skip
    """The limit whose subject is what is named; BadInput where that makes no sense."""
    given = {k for k, v in (("person", person), ("group", group), ("wallet", wallet),
                            ("profile", profile)) if v}  # fmt: skip
    subjects = {
        frozenset(): "everyone",
        frozenset({"wallet", "person"}): "wallet_person",
        **{frozenset({k}): k for k in ("person", "group", "wallet", "profile")},
    }
    subject = subjects.get(frozenset(given))
    if subject is None:
        raise BadInput(
            "A limit is for everyone, a group, a person, a wallet, a person in a wallet, "
            f"or a profile, not for {' and '.join(sorted(given))}."
        )
    limit = Limit(
        subject, resource, amount, person=person, group=group, profile=profile, each=each,
        wallet_id=wallet_id if wallet_id is not None else (-1 if wallet else None),
        period=period,
    )  # fmt: skip
    return require_limit(limit)


def expand(declared: Declared, fail: Callable[[str, str, str], None]) -> Declared:
    """Templates become wallets and rules. What is declared for a wallet itself goes first.

    ``fail`` takes the place, the path and what is wrong there.
    """
    wallets, rules = dict(declared.wallets), []
    named = _groups_named(declared)
    for template in declared.templates:
        for group in named if template.groups is None else template.groups:
            name = template.wallet.name.replace(GROUP, group)
            try:
                require_name(name, what="wallet's name")
            except BadInput as error:
                fail(template.wallet.at, f"group_wallets for {group[:60]!r}", error.message)
                continue
            held = wallets.get(name) or WalletDecl(name, at=template.wallet.at)
            filled = {
                key: getattr(template.wallet, key)
                for key in ("title", "overdraft_micro", "mode", "closed")
                if getattr(held, key) is KEEP
            }
            if filled.get("title", KEEP) is not KEEP:
                filled["title"] = filled["title"].replace(GROUP, group)[:255]
            if held.allowance is KEEP:
                filled |= {
                    "allowance": template.wallet.allowance,
                    "per_member": template.wallet.per_member,
                }
            credit = held.starting_credit_micro
            if credit is None:
                credit = template.wallet.starting_credit_micro
            if group not in (held.groups or ()):
                filled["more_groups"] = tuple(dict.fromkeys((*held.more_groups, group)))
            wallets[name] = replace(held, starting_credit_micro=credit, **filled)
            if template.rule:
                rules.append(RuleDecl(name, group=group, at=template.wallet.at))
    return replace(declared, wallets=wallets, group_rules=tuple(rules))


def _groups_named(declared: Declared) -> list[str]:
    named = list(declared.groups)
    for wallet in declared.wallets.values():
        named += wallet.groups or ()
    named += [r.group for r in declared.rules or () if r.group]
    named += [x.limit.group for x in declared.limits or () if x.limit.group]
    named += [name for kind, name in declared.exemptions or () if kind == "group"]
    for template in declared.templates:
        named += template.groups or ()
    return list(dict.fromkeys(named))
