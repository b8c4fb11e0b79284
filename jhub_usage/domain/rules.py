"""Who pays: the person's choice if open to them, else the first rule that matches (rule 22).

Names are compared whole. Does not look anything up: wallets are ids here.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .errors import BadInput

#: A rule pays from a named wallet, or from the person's own one, which it may open.
TARGETS = ("wallet", "personal")


@dataclass(frozen=True)
class Rule:
    """One line of the mapping; empty conditions match everything. Lower position goes first."""

    position: int
    target: str
    wallet_id: int | None = None
    person: str = ""
    group: str = ""
    profile: str = ""
    #: For ``personal``: what a wallet that is opened here starts with, and its overdraft.
    starting_grant_micro: int = 0
    overdraft_micro: int | None = 0
    id: int = 0

    def matches(self, person: str, groups: Collection[str], profile: str) -> bool:
        return (
            (not self.person or self.person == person)
            and (not self.group or self.group in groups)
            and (not self.profile or self.profile == profile)
        )


def require_rule(rule: Rule) -> Rule:
    """The rule, or BadInput that says what is wrong with it."""
    if rule.target not in TARGETS:
        raise BadInput(f"A rule's target is one of {', '.join(TARGETS)}, not {rule.target[:40]!r}.")
    if (rule.target == "wallet") != (rule.wallet_id is not None):
        raise BadInput("A rule names a wallet exactly when its target is 'wallet'.")
    return rule


def first_match(
    rules: Sequence[Rule], person: str, groups: Collection[str], profile: str
) -> Rule | None:
    """The rule that decides, or None."""
    for rule in sorted(rules, key=lambda r: (r.position, r.id)):
        if rule.matches(person, groups, profile):
            return rule
    return None
