"""Who pays for a start: the person's choice if it is open to them, else the first rule (rule 22).

An invalid choice refuses and names the alternatives; it never falls through to a rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from ..domain.admission import Ask, Policy, Reason
from ..domain.audit import Actor
from ..domain.rules import Rule, first_match
from ..domain.wallets import Wallet
from ..store import ledger, wallets
from ..store import tables as t
from ..store.catalog import Catalog
from ..store.engine import Tx
from ..store.people import Person


@dataclass(frozen=True)
class Payer:
    """The wallet that pays, or the reason why none does."""

    wallet: Wallet | None
    reason: Reason | None = None
    rule_id: int | None = None

    def under_lock(self, locked: Mapping[int, Wallet]) -> "Payer":
        """The same with the wallet as it is under its lock."""
        if self.wallet is None:
            return self
        return replace(self, wallet=locked[self.wallet.id])


def personal_name(tx: Tx, name: str) -> str:
    """A free name for somebody's own wallet: ``~ada``, ``~ada-2`` for the next one of that name."""
    wanted, number = f"~{name}", 1
    while wallets.by_name(tx, wanted) is not None:
        number += 1
        wanted = f"~{name}-{number}"
    return wanted


def choose(
    tx: Tx,
    ask: Ask,
    person: Person | None,
    catalog: Catalog,
    *,
    policy: Policy | None = None,
    actor: Actor | None = None,
    now: datetime | None = None,
) -> Payer:
    """The payer of one ask. Opens a personal wallet only under the gate, when ``now`` is given."""
    rule = first_match(catalog.rules, ask.person.name, ask.groups, ask.profile)
    rule_wallet = rule.wallet_id if rule else None
    if ask.wallet_name:
        open_wallets = wallets.open_to(tx, person.id if person else None, ask.groups, rule_wallet)
        named = {w.name: w for w in open_wallets.values() if not w.closed}
        if ask.wallet_name in named:
            return Payer(named[ask.wallet_name])
        offered = ", ".join(sorted(named)) or "none"
        return Payer(
            None,
            Reason(
                "wallet_choice",
                f"The wallet {ask.wallet_name[:80]!r} is not open to you. Open to you: {offered}.",
                {"open": sorted(named)},
            ),
        )
    if rule is None:
        return Payer(
            None,
            Reason(
                "no_wallet",
                "No wallet pays for your servers yet. Ask an administrator for one.",
            ),
        )
    if rule.target == "wallet":
        return Payer(wallets.read(tx, [rule.wallet_id])[rule.wallet_id], None, rule.id)
    return _personal(tx, rule, person, policy=policy, actor=actor, now=now)


def _personal(tx: Tx, rule: Rule, person: Person | None, *, policy, actor, now) -> Payer:
    if person is not None and person.wallet_id is not None:
        return Payer(wallets.read(tx, [person.wallet_id])[person.wallet_id], None, rule.id)
    if now is None or person is None:
        # not opened yet: what it would be
        wallet = Wallet(0, "your own wallet", rule.starting_grant_micro, rule.overdraft_micro)
        return Payer(wallet, None, rule.id)
    # Two asks of one person in one transaction meet the wallet that the first one opened.
    held = tx.execute(t.wallets_.select().where(t.wallets_.c.owner_id == person.id)).one_or_none()
    if held is None:
        wallet_id = open_personal(tx, person, rule, policy=policy, actor=actor, now=now)
    else:
        wallet_id = held.id
    return Payer(wallets.read(tx, [wallet_id])[wallet_id], None, rule.id)


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
