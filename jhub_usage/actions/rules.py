"""Rules: the ordered mapping to the wallet that pays. Under the gate, with one audit row each."""

import dataclasses
from collections.abc import Sequence

from ..domain import rules as rules_
from ..domain.audit import Actor
from ..domain.errors import NotFound
from ..domain.money import require_amount
from ..domain.names import require_name
from ..domain.rules import Rule
from ..store import audit, catalog, wallets
from ..store import tables as t
from ..store.engine import Tx


def replace(tx: Tx, rules: Sequence[Rule], *, actor: Actor) -> None:
    """Replace the whole ordered mapping. Positions are numbered anew in the given order.

    The same rules in the same order again change nothing, and keep their ids.
    """
    catalog.lock_gate(tx)
    now = tx.now()
    held = _held_rules(tx)
    for rule in rules:
        _require_rule(tx, rule)
    if [_alike(r) for r in held] == [_alike(r) for r in rules]:
        return
    before = [_rule_json(r) for r in held]
    tx.execute(t.rules_.delete())
    for position, rule in enumerate(rules):
        tx.execute(t.rules_.insert().values(**_rule_row(rule, position)))
    catalog.bump(tx)
    audit.write(
        tx, "rules.replaced", "rules", "all", actor=actor, now=now,
        before={"rules": before}, after={"rules": [_rule_json(r) for r in rules]},
    )  # fmt: skip


def add(tx: Tx, rule: Rule, *, actor: Actor) -> int:
    """Put a rule at its position, before the one that is there; its id."""
    catalog.lock_gate(tx)
    now = tx.now()
    _require_rule(tx, rule)
    c = t.rules_.c
    tx.execute(t.rules_.update().where(c.position >= rule.position).values(position=c.position + 1))
    made = tx.execute(t.rules_.insert().values(**_rule_row(rule, rule.position)))
    rule_id = made.inserted_primary_key[0]
    catalog.bump(tx)
    audit.write(tx, "rule.added", "rule", rule_id, actor=actor, now=now, after=_rule_json(rule))
    return rule_id


def remove(tx: Tx, rule_id: int, *, actor: Actor) -> None:
    """Take a rule out."""
    catalog.lock_gate(tx)
    now = tx.now()
    held = next((r for r in _held_rules(tx) if r.id == rule_id), None)
    if held is None:
        raise NotFound(f"There is no rule {rule_id}.")
    tx.execute(t.rules_.delete().where(t.rules_.c.id == rule_id))
    catalog.bump(tx)
    audit.write(tx, "rule.removed", "rule", rule_id, actor=actor, now=now, before=_rule_json(held))


def _alike(rule: Rule) -> Rule:
    """What a rule says, wherever it stands."""
    return dataclasses.replace(rule, position=0, id=0)


def _held_rules(tx: Tx) -> tuple[Rule, ...]:
    return catalog.load(tx, "", 0).rules


def _require_rule(tx: Tx, rule: Rule) -> None:
    rules_.require_rule(rule)
    require_amount(rule.starting_grant_micro, what="starting grant", minimum=0)
    if rule.overdraft_micro is not None:
        require_amount(rule.overdraft_micro, what="overdraft", minimum=0)
    for name, what in (
        (rule.person, "person's name"),
        (rule.group, "group's name"),
        (rule.profile, "profile"),
    ):
        if name:
            require_name(name, what=what)
    if rule.wallet_id is not None and not wallets.read(tx, [rule.wallet_id]):
        raise NotFound(f"There is no wallet {rule.wallet_id}.")


def _rule_row(rule: Rule, position: int) -> dict:
    return {
        "position": position,
        "person": rule.person,
        "group_name": rule.group,
        "profile": rule.profile,
        "target": rule.target,
        "wallet_id": rule.wallet_id,
        "starting_grant_micro": rule.starting_grant_micro,
        "overdraft_micro": rule.overdraft_micro,
    }


def _rule_json(rule: Rule) -> dict:
    return {k: v for k, v in dataclasses.asdict(rule).items() if k != "id"}
