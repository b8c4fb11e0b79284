"""Reads nodes of text into what they declare, and collects every problem of every file.

A node is text, a list or a mapping with the place where it stands; where nodes come from is not
known here, nor what the database holds.
"""

from dataclasses import replace

from .admission import MODES
from .allowances import Allowance, require_allowance
from .declared import (
    GROUP,
    KEEP,
    Declared,
    Keep,
    LimitDecl,
    MemberDecl,
    Node,
    Problems,
    RateDecl,
    RuleDecl,
    Template,
    WalletDecl,
    expand,
    limit_for,
    parse_limit_amount,
)
from .fields import Fields
from .instants import parse_instant
from .limits import RESOURCES as LIMITED
from .names import require_name
from .periods import PERIODS
from .rates import Rate, require_rate
from .rules import TARGETS
from .wallets import ROLES

SECTIONS = (
    "mode", "groups", "wallets", "group_wallets", "people", "rates", "rules", "limits",
    "exemptions",
)  # fmt: skip


def declare(documents: list[Node]) -> Declared:
    """What the documents say together, templates filled in; raises Problems with all of them."""
    reader = _Reader()
    for document in documents:
        reader.document(document)
    declared = reader.declared()
    if not reader.problems:
        declared = expand(declared, reader.fail)
    if reader.problems:
        raise Problems(reader.problems)
    return declared


class _Reader(Fields):
    def __init__(self):
        super().__init__()
        self.mode: tuple[str, str] | None = None
        self.groups: list[str] = []
        self.wallets: dict[str, WalletDecl] = {}
        self.templates: list[Template] = []
        self.people: list[MemberDecl] = []
        self.rates: list[RateDecl] = []
        self.lists: dict[str, list | None] = {"rules": None, "limits": None, "exemptions": None}

    def declared(self) -> Declared:
        lists = {k: None if v is None else tuple(v) for k, v in self.lists.items()}
        return Declared(
            mode=self.mode[0] if self.mode else None,
            groups=tuple(dict.fromkeys(self.groups)),
            wallets=self.wallets,
            templates=tuple(self.templates),
            people=tuple(self.people),
            rates=tuple(self.rates),
            **lists,
        )

    # -- sections ----------------------------------------------------------------------------------

    def document(self, document: Node) -> None:
        if document.value is None:
            return
        fields = self.mapping(document, "", SECTIONS)
        if fields is None:
            return
        for name in self.lists:
            # an empty list says that nothing shall be there; a bare name says nothing
            if name in fields and self.lists[name] is None:
                self.lists[name] = []
        for name in SECTIONS:
            if name in fields:
                getattr(self, f"_{name}")(fields[name])

    def _mode(self, node: Node) -> None:
        mode = self.choice({"mode": node}, "mode", "", MODES, default=None)
        if mode and self.mode and self.mode[0] != mode:
            self.fail(node, "mode", f"The mode is {self.mode[0]} at {self.mode[1]}.")
        elif mode:
            self.mode = (mode, node.where)

    def _groups(self, node: Node) -> None:
        self.groups += self.names(node, "groups", "group's name")

    _WALLET = ("name", "title", "overdraft", "mode", "closed", "starting_credit", "allowance",
               "owner", "people", "groups")  # fmt: skip

    def _wallets(self, node: Node) -> None:
        for item, path in self.items(node, "wallets"):
            fields = self.mapping(item, path, self._WALLET, ("name",))
            if fields is None:
                continue
            name = self.name(fields, "name", path, "wallet's name")
            if not name or not self.once(("wallet", name), item, path, f"The wallet {name!r}."):
                continue
            owner = self.name(fields, "owner", path, "owner's name")
            if name.startswith("~") and not owner:
                self.fail(item, path, "A wallet whose name begins with ~ needs an owner.")
            self.wallets[name] = self._wallet(
                fields,
                path,
                WalletDecl(
                    name,
                    owner=owner,
                    people=self._roles(fields.get("people"), f"{path}.people"),
                    groups=None
                    if "groups" not in fields
                    else tuple(self.names(fields["groups"], f"{path}.groups", "group's name")),
                    at=item.where,
                ),
            )

    def _wallet(self, fields, path: str, wallet: WalletDecl, *more: str) -> WalletDecl:
        mode = self.choice(fields, "mode", path, (*MODES, "default"))
        title = self._words(fields, "title", path)
        return replace(
            wallet,
            title=title,
            overdraft_micro=self.amount(fields, "overdraft", path, unlimited=True),
            mode=None if mode == "default" else mode,
            closed=self.flag(fields, "closed", path),
            starting_credit_micro=self.amount(fields, "starting_credit", path, default=None),
            allowance=self._allowance(fields.get("allowance"), f"{path}.allowance", *more),
        )

    _ALLOWANCE = ("amount", "period", "carry")

    def _allowance(self, node: Node | None, path: str, *more: str) -> Allowance | Keep | None:
        """``{amount: 100, period: month, carry: 20}``; ``none`` and ``{}`` take it away."""
        if node is None:
            return KEEP
        if node.value in ("none", {}):
            return None
        fields = self.mapping(node, path, (*self._ALLOWANCE, *more), ("amount", "period"))
        if fields is None:
            return KEEP
        amount = self.amount(fields, "amount", path, default=None)
        period = self.choice(fields, "period", path, PERIODS, default=None)
        carry = fields.get("carry")
        full = carry is not None and carry.value == "full"
        kept = None if full else self.amount(fields, "carry", path, default=0)
        if amount is None or period is None:
            return KEEP
        if not amount:
            text = "An allowance must be more than nothing; `allowance: none` takes it away."
            self.fail(fields["amount"], f"{path}.amount", text)
            return KEEP
        made = Allowance(amount, period, kept)
        return self.attempt(node, path, require_allowance, made) or KEEP

    def _per_member(self, node: Node | None, path: str) -> bool:
        """Whether the amount is for each person who has a role in the group's wallet."""
        fields = node.value if node is not None and isinstance(node.value, dict) else {}
        given = {k: v for k, v in fields.items() if k == "per" and v.value is not None}
        return self.choice(given, "per", path, ("group", "member"), default="group") == "member"

    def _words(self, fields, key: str, path: str) -> str | Keep:
        node = fields.get(key)
        text = None if node is None else self.text(node, f"{path}.{key}")
        if text is None:
            return KEEP
        if not text.strip():
            return ""
        words = self.attempt(node, f"{path}.{key}", require_name, text.strip(), what=key)
        return KEEP if words is None else words

    def _roles(self, node: Node | None, path: str) -> dict[str, str] | None:
        """``{ada: manager}``, or a list of names, who then are spenders."""
        if node is None:
            return None
        if isinstance(node.value, list):
            return dict.fromkeys(self.names(node, path, "person's name"), "spender")
        if not isinstance(node.value, dict):
            self.fail(node, path, "This must be names with roles, like ada: manager.")
            return None
        found = {}
        for person, role in node.value.items():
            at = f"{path}.{person[:60]}"
            name = self.attempt(role, at, require_name, person, what="person's name")
            word = self.choice({person[:60]: role}, person[:60], path, ROLES, default=None)
            if role.value is None:
                self.fail(role, at, f"A role is one of {', '.join(ROLES)}.")
            if name and word:
                found[name] = word
        return found

    def _group_wallets(self, node: Node) -> None:
        several = isinstance(node.value, list)
        items = self.items(node, "group_wallets") if several else [(node, "group_wallets")]
        known = ("name", "title", "overdraft", "mode", "starting_credit", "allowance", "groups",
                 "rule")  # fmt: skip
        for item, path in items:
            fields = self.mapping(item, path, known, ("name",))
            if fields is None:
                continue
            pattern = self.name(fields, "name", path, "wallet's name")
            if pattern and GROUP not in pattern:
                self.fail(item, f"{path}.name", f"The name must hold {GROUP}, like lab-{GROUP}.")
            groups = fields.get("groups")
            named = None
            if groups is not None and groups.value != "all":
                named = tuple(self.names(groups, f"{path}.groups", "group's name"))
            each = self._per_member(fields.get("allowance"), f"{path}.allowance")
            wallet = WalletDecl(pattern, per_member=each, at=item.where)
            wallet = self._wallet(fields, path, wallet, "per")
            self.templates.append(Template(wallet, named, self.flag(fields, "rule", path,
                                                                    default=True)))  # fmt: skip

    def _people(self, node: Node) -> None:
        for item, path in self.items(node, "people"):
            fields = self.mapping(item, path, ("person", "wallet", "role"), ("person",))
            if fields is None:
                continue
            person = self.name(fields, "person", path, "person's name")
            wallet = self.name(fields, "wallet", path, "wallet's name")
            role = self.choice(fields, "role", path, ROLES, default="spender" if wallet else "")
            if role and not wallet and "wallet" not in fields:
                self.fail(item, path, "A role needs a wallet.")
            text = f"{person!r} in the wallet {wallet!r}."
            if person and (not wallet or self.once(("member", wallet, person), item, path, text)):
                self.people.append(MemberDecl(person, wallet, role, f"{item.where}, {path}"))

    def _rates(self, node: Node) -> None:
        known = ("resource", "price", "model", "profile", "starts_at")
        for item, path in self.items(node, "rates"):
            fields = self.mapping(item, path, known, ("resource", "price"))
            if fields is None:
                continue
            resource = self.text(fields["resource"], f"{path}.resource")
            ended = isinstance(fields["price"].value, str) and fields["price"].value == "none"
            price = None if ended else self.amount(fields, "price", path, default=None)
            starts_at = None
            if "starts_at" in fields:
                given = self.text(fields["starts_at"], f"{path}.starts_at")
                starts_at = given and self.attempt(
                    fields["starts_at"], f"{path}.starts_at", parse_instant, given
                )
            rate = RateDecl(
                resource or "",
                price,
                self.name(fields, "model", path, "GPU model"),
                self.name(fields, "profile", path, "profile"),
                starts_at,
                f"{item.where}, {path}",
            )
            about = Rate(*rate.key, price, starts_at)
            if resource is not None and (price is not None or ended):
                text = "Another rate for this that starts at the same time."
                if self.attempt(item, path, require_rate, about) and self.once(
                    ("rate", *rate.key, starts_at), item, path, text
                ):
                    self.rates.append(rate)

    def _rules(self, node: Node) -> None:
        known = ("person", "group", "profile", "wallet", "target", "starting_grant", "overdraft")
        for item, path in self.items(node, "rules"):
            fields = self.mapping(item, path, known)
            if fields is None:
                continue
            target = self.choice(fields, "target", path, TARGETS, default=None)
            personal = target == "personal"
            if personal == ("wallet" in fields):
                self.fail(item, path, "A rule names a wallet, or its target is personal.")
            if not personal and ("starting_grant" in fields or "overdraft" in fields):
                self.fail(item, path, "Starting grant and overdraft go with target: personal.")
            self.lists["rules"].append(
                RuleDecl(
                    self.name(fields, "wallet", path, "wallet's name"),
                    self.name(fields, "person", path, "person's name"),
                    self.name(fields, "group", path, "group's name"),
                    self.name(fields, "profile", path, "profile"),
                    self.amount(fields, "starting_grant", path, default=0),
                    self.amount(fields, "overdraft", path, unlimited=True, default=0),
                    f"{item.where}, {path}",
                )
            )

    def _limits(self, node: Node) -> None:
        known = ("resource", "amount", "everyone", "person", "group", "wallet", "profile", "each",
                 "period")  # fmt: skip
        for item, path in self.items(node, "limits"):
            fields = self.mapping(item, path, known, ("resource", "amount"))
            if fields is None:
                continue
            whom = {"person", "group", "wallet", "profile"} & set(fields)
            if whom and self.flag(fields, "everyone", path, default=False):
                self.fail(item, path, f"A limit for everyone has no {sorted(whom)[0]}.")
            resource = self.choice(fields, "resource", path, LIMITED, default=None)
            amount = self.text(fields["amount"], f"{path}.amount")
            if resource is None or amount is None:
                continue
            whole = self.attempt(
                fields["amount"], f"{path}.amount", parse_limit_amount, resource, amount
            )
            names = {
                key: self.name(fields, key, path, what)
                for key, what in (
                    ("person", "person's name"), ("group", "group's name"),
                    ("wallet", "wallet's name"), ("profile", "profile"),
                )
            }  # fmt: skip
            if whole is None:
                continue
            each = self.flag(fields, "each", path, default=False)
            period = self.choice(fields, "period", path, PERIODS, default="")
            if "period" in fields and not period:
                continue
            limit = self.attempt(
                item, path, limit_for, resource, whole, **names, each=each, period=period
            )
            if limit is not None:
                made = LimitDecl(limit, names["wallet"], f"{item.where}, {path}")
                if self.once(("limit", *made.key), item, path, "Another limit for the same."):
                    self.lists["limits"].append(made)

    def _exemptions(self, node: Node) -> None:
        kinds = ("person", "group", "profile")
        for item, path in self.items(node, "exemptions"):
            fields = self.mapping(item, path, kinds)
            if fields is None:
                continue
            if len(fields) != 1:
                self.fail(item, path, "An exemption names one person, group or profile.")
                continue
            kind = next(iter(fields))
            name = self.name(fields, kind, path, f"{kind}'s name")
            if name and self.once(("exempt", kind, name), item, path, "The same exemption."):
                self.lists["exemptions"].append((kind, name))
