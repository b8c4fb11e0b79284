"""Reads nodes of text into what they declare, and collects every problem of every file.

A node is text, a list or a mapping with the place where it stands; where nodes come from is not
known here, nor what the database holds.
"""

from dataclasses import replace

from .admission import MODES
from .declared import (
    GROUP,
    KEEP,
    Declared,
    Keep,
    LimitDecl,
    MemberDecl,
    Node,
    Problem,
    Problems,
    RateDecl,
    RuleDecl,
    Template,
    WalletDecl,
    expand,
    limit_for,
    parse_limit_amount,
)
from .errors import BadInput
from .instants import parse_instant
from .limits import RESOURCES as LIMITED
from .money import parse_amount
from .names import require_name
from .rates import Rate, require_rate
from .rules import TARGETS
from .wallets import ROLES

SECTIONS = (
    "mode", "groups", "wallets", "group_wallets", "people", "rates", "rules", "limits",
    "exemptions",
)  # fmt: skip
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


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


class _Reader:
    def __init__(self):
        self.problems: list[Problem] = []
        self.mode: tuple[str, str] | None = None
        self.groups: list[str] = []
        self.wallets: dict[str, WalletDecl] = {}
        self.templates: list[Template] = []
        self.people: list[MemberDecl] = []
        self.rates: list[RateDecl] = []
        self.lists: dict[str, list | None] = {"rules": None, "limits": None, "exemptions": None}
        self._seen: dict[tuple, str] = {}

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

    # -- shapes ------------------------------------------------------------------------------------

    def fail(self, node: Node | str, path: str, text: str) -> None:
        where = node if isinstance(node, str) else node.where
        self.problems.append(Problem(where, path, text))

    def attempt(self, node: Node, path: str, call, *args, **more):
        """The result of a call, or None after noting what it refused."""
        try:
            return call(*args, **more)
        except BadInput as error:
            self.fail(node, path, error.message)
            return None

    def mapping(self, node: Node, path: str, known, needs=()) -> dict[str, Node] | None:
        """The fields of a mapping, empty ones left out."""
        if not isinstance(node.value, dict):
            self.fail(node, path, f"This must be fields ({', '.join(known)}), not {_kind(node)}.")
            return None
        for name, value in node.value.items():
            if name not in known:
                text = f"There is no field {name[:60]!r} here; the fields are {', '.join(known)}."
                self.fail(value, path, text)
        found = {k: v for k, v in node.value.items() if k in known and v.value is not None}
        missing = [name for name in needs if name not in found]
        for name in missing:
            self.fail(node, path, f"The field {name!r} is missing.")
        return None if missing else found

    def items(self, node: Node, path: str) -> list[tuple[Node, str]]:
        if node.value is None:
            return []
        if not isinstance(node.value, list):
            self.fail(node, path, f"This must be a list, not {_kind(node)}.")
            return []
        return [(item, f"{path}[{number}]") for number, item in enumerate(node.value, 1)]

    def text(self, node: Node, path: str) -> str | None:
        if isinstance(node.value, str):
            return node.value
        self.fail(node, path, f"This must be text or a number, not {_kind(node)}.")
        return None

    def name(self, fields, key: str, path: str, what: str) -> str:
        """A name, empty when it was not given or is no name."""
        node = fields.get(key)
        if node is None:
            return ""
        at = f"{path}.{key}" if path else key
        text = self.text(node, at)
        if text is None:
            return ""
        return self.attempt(node, at, require_name, text, what=what) or ""

    def amount(self, fields, key: str, path: str, *, unlimited: bool = False, default=KEEP):
        """Micro-credits, or None for unlimited where that is allowed."""
        node = fields.get(key)
        if node is None:
            return default
        at = f"{path}.{key}"
        text = self.text(node, at)
        if text is None:
            return default
        if unlimited and text.strip().lower() == "unlimited":
            return None
        micro = self.attempt(node, at, parse_amount, text, what=key.replace("_", " "))
        if micro is not None and micro < 0:
            self.fail(node, at, f"The {key.replace('_', ' ')} must not be negative.")
        return default if micro is None else micro

    def choice(self, fields, key: str, path: str, known, *, default=KEEP):
        node = fields.get(key)
        if node is None:
            return default
        text = self.text(node, f"{path}.{key}" if path else key)
        if text is not None and text not in known:
            self.fail(node, f"{path}.{key}" if path else key,
                      f"This is one of {', '.join(known)}, not {text[:40]!r}.")  # fmt: skip
            return default
        return default if text is None else text

    def flag(self, fields, key: str, path: str, *, default=KEEP):
        word = self.choice(fields, key, path, (*YES, *NO), default=None)
        return default if word is None else word in YES

    def once(self, key: tuple, node: Node, path: str, text: str) -> bool:
        """Whether this was not declared before."""
        if key in self._seen:
            self.fail(node, path, f"{text} It is also at {self._seen[key]}.")
            return False
        self._seen[key] = f"{node.where} ({path})"
        return True

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

    def names(self, node: Node, path: str, what: str) -> list[str]:
        found = []
        for item, at in self.items(node, path):
            text = self.text(item, at)
            name = None if text is None else self.attempt(item, at, require_name, text, what=what)
            if name:
                found.append(name)
        return found

    _WALLET = ("name", "title", "overdraft", "mode", "closed", "starting_credit", "owner",
               "people", "groups")  # fmt: skip

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

    def _wallet(self, fields, path: str, wallet: WalletDecl) -> WalletDecl:
        mode = self.choice(fields, "mode", path, (*MODES, "default"))
        title = self._words(fields, "title", path)
        return replace(
            wallet,
            title=title,
            overdraft_micro=self.amount(fields, "overdraft", path, unlimited=True),
            mode=None if mode == "default" else mode,
            closed=self.flag(fields, "closed", path),
            starting_credit_micro=self.amount(fields, "starting_credit", path, default=None),
        )

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
        known = ("name", "title", "overdraft", "mode", "starting_credit", "groups", "rule")
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
            wallet = self._wallet(fields, path, WalletDecl(pattern, at=item.where))
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
        known = ("resource", "amount", "everyone", "person", "group", "wallet", "profile", "each")
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
            limit = self.attempt(item, path, limit_for, resource, whole, **names, each=each)
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


def _kind(node: Node) -> str:
    if node.value is None:
        return "nothing"
    if isinstance(node.value, str):
        return f"{node.value[:40]!r}"
    return "a list" if isinstance(node.value, list) else "a group of fields"
