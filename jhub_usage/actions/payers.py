"""Who pays for a start: the person's choice if it is open to them, else the first rule (rule 22).

An invalid choice refuses and names the alternatives; it never falls through to a rule.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from ..domain.admission import Ask, Policy, Reason
from ..domain.audit import Actor
from ..domain.names import MAX_NAME
from ..domain.rules import Rule, first_match
from ..domain.wallets import Wallet
from ..store import ledger, wallets
from ..store import tables as t
from ..store.catalog import Catalog
from ..store.engine import Tx
from ..store.people import Person


@dataclass(frozen=True)
class Payer:
    """The wallet that pays, or the reason why none does. ``wallet`` is known once it was read."""

    wallet_id: int | None
    wallet: Wallet | None = None
    reason: Reason | None = None
    rule_id: int | None = None

    def having(self, read: Mapping[int, Wallet]) -> "Payer":
        """The same with the wallet as it was read, under its lock or not."""
        return replace(self, wallet=read[self.wallet_id]) if self.wallet_id in read else self


def personal_name(tx: Tx, name: str) -> str:
    """A free name for somebody's own wallet: ``~ada``, ``~ada-2`` for the next one of that name."""
    wanted, number = f"~{name}"[:MAX_NAME], 1
    while wallets.by_name(tx, wanted) is not None:
        number += 1
        wanted = f"~{name[: MAX_NAME - 12]}-{number}"
    return wanted


def choose(
    tx: Tx,
    ask: Ask,
    person: Person | None,
    catalog: Catalog,
    *,
    policy: Policy | None = None,
    actor: Actor | None = None,
    now: Callable[[], datetime] | None = None,
) -> Payer:
    """The payer of one ask. Opens a personal wallet only under the gate, when ``now`` is given.

    A choice is only looked up here; ``confirm`` says whether it is open to the person.
    """
    if ask.wallet_name:
        wallet = wallets.by_name(tx, ask.wallet_name)
        return Payer(wallet.id if wallet else None)
    rule = first_match(catalog.rules, ask.person.name, ask.groups, ask.profile)
    if rule is None:
        return Payer(
            None,
            reason=Reason(
                "no_wallet",
                "No wallet pays for your servers yet. Ask an administrator for one.",
            ),
        )
    if rule.target == "wallet":
        return Payer(rule.wallet_id, rule_id=rule.id)
    return _personal(tx, rule, person, policy=policy, actor=actor, now=now)


def confirm(tx: Tx, payer: Payer, ask: Ask, person: Person | None, catalog: Catalog) -> Payer:
    """Whether a choice is open to the person; asked after the lock, when nobody changes that."""
    if not ask.wallet_name:
        return payer
    rule = first_match(catalog.rules, ask.person.name, ask.groups, ask.profile)
    by_rule = rule.wallet_id if rule else None
    there = wallets.open_to(tx, person.id if person else None, ask.groups, by_rule)
    named = {w.name for w in there.values() if not w.closed}
    if payer.wallet is not None and payer.wallet.name in named:
        return payer
    offered = ", ".join(sorted(named)) or "none"
    return Payer(
        None,
        reason=Reason(
            "wallet_choice",
            f"The wallet {ask.wallet_name[:80]!r} is not open to you. Open to you: {offered}.",
            {"open": sorted(named)},
        ),
    )


def _personal(tx: Tx, rule: Rule, person: Person | None, *, policy, actor, now) -> Payer:
    if person is not None and person.wallet_id is not None:
        return Payer(person.wallet_id, rule_id=rule.id)
    if now is None or person is None:
        # not opened yet: what it would be
        wallet = Wallet(0, "your own wallet", rule.starting_grant_micro, rule.overdraft_micro)
        return Payer(None, wallet, rule_id=rule.id)
    # Two asks of one person in one transaction meet the wallet that the first one opened.
    held = tx.execute(t.wallets_.select().where(t.wallets_.c.owner_id == person.id)).one_or_none()
    if held is None:
        wallet_id = open_personal(tx, person, rule, policy=policy, actor=actor, now=now())
    else:
        wallet_id = held.id
    return Payer(wallet_id, rule_id=rule.id)


def open_personal(
    tx: Tx, person: Person, rule: Rule, *, policy: Policy, actor: Actor, now: datetime
) -> int:
    """Open somebody's own wallet with its starting grant; its id."""
    wallet_id = tx.execute(
        t.wallets_.insert().values(
            name=personal_name(tx, person.name),
            owner_id=person.id,
            balance_micro=0,
            overdraft_micro=rule.overdraft_micro,
            created_at=now,
            advanced_until=now,
        )
    ).inserted_primary_key[0]
    if rule.starting_grant_micro and not person.granted_start:
        ledger.post(
            tx,
            ledger.NewEntry(
                wallet_id=wallet_id,
                kind="grant",
                amount_micro=rule.starting_grant_micro,
                key=f"start-grant:{person.id}",
                note="Starting credit.",
            ),
            actor=actor,
            now=now,
            timezone=policy.timezone,
        )
        tx.execute(t.people.update().where(t.people.c.id == person.id).values(granted_start=True))
    return wallet_id
