"""The difference between what files declare and what there is, as a plan that people can read.

Pure: what there is arrives as a value, and the plan is a value that one transaction carries out.
Wallets, people and rates are only added and changed; rules, limits and exemptions are whole lists.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from .allowance_words import allowance_text, change_text
from .allowances import Allowance, require_allowance
from .declared import KEEP, Declared, LimitDecl, Problem, Problems, RateDecl, RuleDecl
from .errors import BadInput
from .held import (
    Held,
    HeldWallet,
    limit_name,
    limit_text,
    money_text,
    price_text,
    rate_name,
    rule_text,
)
from .instants import iso
from .money import plain

ADD, CHANGE, REMOVE, SAME = "+", "~", "-", "="


@dataclass(frozen=True)
class Line:
    """One line of the plan: ``+`` added, ``~`` changed, ``-`` removed, ``=`` left on purpose."""

    sign: str
    kind: str
    name: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.sign} {self.kind} {self.name}".rstrip() + (
            f": {self.text}" if self.text else ""
        )


@dataclass(frozen=True)
class NewWallet:
    name: str
    title: str
    overdraft_micro: int | None
    mode: str | None
    closed: bool
    owner: str


@dataclass
class Plan:
    """What is to be done. Empty lists: nothing."""

    lines: list[Line] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    new_wallets: list[NewWallet] = field(default_factory=list)
    #: (id, what changes)
    changed_wallets: list[tuple[int, dict]] = field(default_factory=list)
    #: (wallet, amount)
    grants: list[tuple[str, int]] = field(default_factory=list)
    #: (wallet, its new allowance or None to take it away)
    allowances: list[tuple[str, Allowance | None]] = field(default_factory=list)
    #: (wallet, person, role or None to remove, role before or None)
    members: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    #: (wallet, group, whether it may spend)
    groups: list[tuple[str, str, bool]] = field(default_factory=list)
    rates: list[RateDecl] = field(default_factory=list)
    #: The whole new list, None when it stays.
    rules: tuple[RuleDecl, ...] | None = None
    limits: list[LimitDecl] = field(default_factory=list)
    limits_gone: list[int] = field(default_factory=list)
    #: (kind, name, whether it is exempt)
    exempt: list[tuple[str, str, bool]] = field(default_factory=list)
    mode: str | None = None

    @property
    def changes(self) -> list[Line]:
        """Lines that stand for something that is done."""
        return [line for line in self.lines if line.sign != SAME]

    def summary(self) -> str:
        signs = [line.sign for line in self.lines]
        if not self.changes:
            return "Nothing to change."
        return (
            f"{signs.count(ADD)} to add, {signs.count(CHANGE)} to change, "
            f"{signs.count(REMOVE)} to remove."
        )


def plan(declared: Declared, held: Held) -> Plan:
    """What must be done so that what is declared is so; raises Problems with all that can not."""
    return _Planner(declared, held).plan()


class _Planner:
    def __init__(self, declared: Declared, held: Held):
        self.declared, self.held = declared, held
        self.made = Plan()
        self.problems: list[Problem] = []
        self._expected: set[str] = set()
        #: Wallets whose allowance is for each of nobody.
        self._nobody: list[str] = []

    def plan(self) -> Plan:
        if self.declared.mode is not None and self.declared.mode != self.held.mode:
            self.made.mode = self.declared.mode
            self.line(CHANGE, "mode", "", f"{self.held.mode} -> {self.declared.mode}")
        for name in sorted(self.declared.wallets):
            self._wallet(name)
        self._people()
        self._allowances()
        self._rates()
        self._rules()
        self._limits()
        self._exemptions()
        if self.problems:
            raise Problems(self.problems)
        return self.made

    def line(self, sign: str, kind: str, name: str, text: str = "") -> None:
        self.made.lines.append(Line(sign, kind, name, text))

    def expect(self, person: str) -> None:
        """Somebody of that name will be known, whether or not the Hub has shown them yet."""
        if person not in self.held.people and person not in self._expected:
            self._expected.add(person)
            self.made.people.append(person)
            self.line(ADD, "person", person, "not seen by the hub yet")

    def known_wallet(self, name: str, at: str) -> bool:
        if name in self.held.wallets or name in self.declared.wallets:
            return True
        text = f"There is no wallet {name[:80]!r}, and none of the files makes it."
        self.problems.append(Problem(at, "", text))
        return False

    # -- wallets -----------------------------------------------------------------------------------

    def _wallet(self, name: str) -> None:
        want, have = self.declared.wallets[name], self.held.wallets.get(name)
        if have is None:
            self._new_wallet(want)
        else:
            self._changed_wallet(want, have)
        if have is not None and want.owner and want.owner != have.owner:
            text = f"The wallet {name!r} belongs to {have.owner or 'nobody'}; that can not change."
            self.problems.append(Problem(want.at, "", text))
        credit = want.starting_credit_micro
        given = have.starting_credit_micro if have else None
        if credit and given is None:
            self.made.grants.append((name, credit))
            self.line(ADD, "credit", name, f"{plain(credit)} once, to start with")
        elif credit is not None and given not in (None, credit):
            text = f"was given {plain(given)} to start with; more goes by `wallet grant`"
            self.line(SAME, "credit", name, text)
        self._members(name, have, want)

    def _new_wallet(self, want) -> None:
        made = NewWallet(
            want.name,
            "" if want.title is KEEP else want.title,
            0 if want.overdraft_micro is KEEP else want.overdraft_micro,
            None if want.mode is KEEP else want.mode,
            want.closed is True,
            want.owner,
        )
        if want.owner:
            self.expect(want.owner)
            for other in (*self.held.wallets.values(), *self.made.new_wallets):
                if other.owner == want.owner:
                    text = f"{want.owner!r} already owns the wallet {other.name!r}."
                    self.problems.append(Problem(want.at, "", text))
        self.made.new_wallets.append(made)
        facts = [f"overdraft {money_text(made.overdraft_micro)}"]
        facts += [f"title {made.title!r}"] if made.title else []
        facts += [f"mode {made.mode}"] if made.mode else []
        facts += ["closed"] if made.closed else []
        facts += [f"of {made.owner}"] if made.owner else []
        self.line(ADD, "wallet", want.name, ", ".join(facts))

    def _changed_wallet(self, want, have: HeldWallet) -> None:
        changes, words = {}, []
        for key, label, show in (
            ("title", "title", repr),
            ("overdraft_micro", "overdraft", money_text),
            ("mode", "mode", lambda m: m or "default"),
            ("closed", "closed", lambda c: "yes" if c else "no"),
        ):
            new, old = getattr(want, key), getattr(have, key)
            if new is not KEEP and new != old:
                changes[key] = new
                words.append(f"{label} {show(old)} -> {show(new)}")
        if changes:
            self.made.changed_wallets.append((have.id, changes))
            self.line(CHANGE, "wallet", want.name, ", ".join(words))

    def _members(self, name: str, have: HeldWallet | None, want) -> None:
        roles = dict(have.people) if have else {}
        if want.people is not None:
            named = {m.person for m in self.declared.people if m.wallet == name}
            for person in sorted(set(roles) - set(want.people) - named):
                self.made.members.append((name, person, None, roles[person]))
                self.line(REMOVE, "member", f"{name}: {person}", f"was {roles[person]}")
            for person, role in want.people.items():
                self._member(name, person, role, roles.get(person))
        groups = have.groups if have else frozenset()
        wanted = dict.fromkeys((*(want.groups or ()), *want.more_groups))
        if want.groups is not None:
            for group in sorted(groups - set(wanted)):
                self.made.groups.append((name, group, False))
                self.line(REMOVE, "group", f"{name}: {group}")
        for group in wanted:
            if group not in groups:
                self.made.groups.append((name, group, True))
                self.line(ADD, "group", f"{name}: {group}")

    def _member(self, wallet: str, person: str, role: str, before: str | None) -> None:
        if before == role:
            return
        self.expect(person)
        self.made.members.append((wallet, person, role, before))
        text = role if before is None else f"{before} -> {role}"
        self.line(ADD if before is None else CHANGE, "member", f"{wallet}: {person}", text)

    def _people(self) -> None:
        for member in self.declared.people:
            if not member.wallet:
                self.expect(member.person)
                continue
            if not self.known_wallet(member.wallet, member.at):
                continue
            own = self.declared.wallets.get(member.wallet)
            listed = (own.people or {}).get(member.person) if own else None
            if listed is not None:
                if listed != member.role:
                    text = (
                        f"{member.person!r} is {member.role} of {member.wallet!r} here "
                        f"and {listed} in the wallet's own list."
                    )
                    self.problems.append(Problem(member.at, "", text))
                continue
            held = self.held.wallets.get(member.wallet)
            before = held.people.get(member.person) if held else None
            self._member(member.wallet, member.person, member.role, before)

    # -- allowances --------------------------------------------------------------------------------

    def _allowances(self) -> None:
        """After the people: an allowance may be for each of them."""
        changed = defaultdict(list)
        for wallet, person, role, _ in self.made.members:
            changed[wallet].append((person, role))
        for name in sorted(self.declared.wallets):
            want, have = self.declared.wallets[name], self.held.wallets.get(name)
            if want.allowance is not KEEP:
                self._allowance(name, want, have, self._members_then(have, changed[name]))
        if self._nobody:
            names = ", ".join(self._nobody[:5]) + (", ..." if len(self._nobody) > 5 else "")
            text = f"no allowance, as nobody has a role in {names}"
            self.line(SAME, "wallets", str(len(self._nobody)), text)

    def _allowance(self, name: str, want, have: HeldWallet | None, count: int) -> None:
        new, old, why = want.allowance, have.allowance if have else None, ""
        if new is not None and want.per_member:
            why = f" ({count} x {plain(new.amount_micro)})"
            try:
                new = _times(new, count)
            except BadInput as error:
                self.problems.append(Problem(want.at, f"allowance of {name!r}", error.message))
                return
            if new is None and old is None:
                self._nobody.append(name)
        if new == old:
            return
        self.made.allowances.append((name, new))
        if new is None:
            text = f"was {allowance_text(old)}; what is left expires at the end of the {old.period}"
            self.line(REMOVE, "allowance", name, text)
        elif old is None:
            begins = f"the next {new.period}" if have and have.allowance_ends else "now"
            self.line(ADD, "allowance", name, f"{allowance_text(new)}{why}; from {begins} on")
        else:
            text = f"{change_text(old, new)}{why}; from the next {new.period} on"
            self.line(CHANGE, "allowance", name, text)

    def _members_then(self, have: HeldWallet | None, changed) -> int:
        """How many people have a role in a wallet once the plan is carried out."""
        people = set(have.people) if have else set()
        for person, role in changed:
            (people.discard if role is None else people.add)(person)
        return len(people)

    # -- the catalog -------------------------------------------------------------------------------

    def _rates(self) -> None:
        held = {(r.key, r.starts_at): r for r in self.held.rates}
        for want in self.declared.rates:
            if want.starts_at is None:
                newest = [r for r in self.held.rates
                          if r.key == want.key and r.starts_at <= self.held.at]  # fmt: skip
                now = max(newest, key=lambda r: r.starts_at, default=None)
                price = now.price_micro if now else None
                if price == want.price_micro:
                    continue
                text = f"{price_text(price)} -> {price_text(want.price_micro)} from now"
                self.line(CHANGE if price is not None else ADD, "rate", rate_name(want), text)
            else:
                there = held.get((want.key, want.starts_at))
                if there is not None:
                    if there.price_micro != want.price_micro:
                        text = (
                            f"The rate {rate_name(want)} from {iso(want.starts_at)} is "
                            f"{price_text(there.price_micro)}. Rates are never edited: "
                            "add one that starts later."
                        )
                        self.problems.append(Problem(want.at, "", text))
                    continue
                text = f"{price_text(want.price_micro)} from {iso(want.starts_at)}"
                self.line(ADD, "rate", rate_name(want), text)
            self.made.rates.append(want)

    def _rules(self) -> None:
        """The declared list, or the one that is there, with the rules of templates put in."""
        rules = list(self.held.rules if self.declared.rules is None else self.declared.rules)
        before = self.held.rules
        for rule in rules:
            if rule.wallet:
                self.known_wallet(rule.wallet, rule.at)
        new = [r for r in self.declared.group_rules if r not in rules]
        if self.declared.rules is not None:
            # a list that leaves them open gets them in the order that they have now
            place = {rule: n for n, rule in enumerate(before)}
            new.sort(key=lambda r: place.get(r, len(before)))
        end = next(
            (n for n, r in enumerate(rules) if not (r.person or r.group or r.profile)), len(rules)
        )
        rules[end:end] = new
        if tuple(rules) == before:
            return
        self.made.rules = tuple(rules)
        old, now = [rule_text(r) for r in before], [rule_text(r) for r in rules]
        for tag, i, j, k, m in SequenceMatcher(None, old, now, autojunk=False).get_opcodes():
            if tag == "equal":
                continue
            for n in range(i, j):
                self.line(REMOVE, "rule", str(n + 1), old[n])
            for n in range(k, m):
                self.line(ADD, "rule", str(n + 1), now[n])

    def _limits(self) -> None:
        if self.declared.limits is None:
            return
        # what a wallet's manager set is theirs: files neither change nor lift it
        held = {x.key: x for x in self.held.limits if not x.limit.by_manager}
        for want in self.declared.limits:
            if want.wallet and not self.known_wallet(want.wallet, want.at):
                continue
            there = held.pop(want.key, None)
            text = limit_text(want.limit)
            if there is None:
                self.line(ADD, "limit", limit_name(want), text)
            elif there.limit.amount != want.limit.amount:
                text = f"{limit_text(there.limit)} -> {text}"
                self.line(CHANGE, "limit", limit_name(want), text)
            else:
                continue
            self.made.limits.append(want)
        for gone in held.values():
            self.made.limits_gone.append(gone.id)
            self.line(REMOVE, "limit", limit_name(gone), limit_text(gone.limit))

    def _exemptions(self) -> None:
        if self.declared.exemptions is None:
            return
        want = set(self.declared.exemptions)
        for kind, name in sorted(want ^ self.held.exempt):
            exempt = (kind, name) in want
            self.made.exempt.append((kind, name, exempt))
            self.line(ADD if exempt else REMOVE, "exemption", f"{kind} {name}")


def _times(allowance: Allowance, count: int) -> Allowance | None:
    """An allowance for so many people; None for nobody."""
    if not count:
        return None
    kept = allowance.carry_micro
    made = Allowance(
        allowance.amount_micro * count, allowance.period, None if kept is None else kept * count
    )
    return require_allowance(made)
