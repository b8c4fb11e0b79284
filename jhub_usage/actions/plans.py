"""Apply and export configuration: read what there is, plan, and carry the plan out at once.

All or nothing in the caller's one transaction: the gate first, then the wallets, sorted. Doing it
again changes nothing. One audit row for each thing that changed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import sqlalchemy as sa

from ..domain import plans
from ..domain.admission import Policy
from ..domain.audit import Actor
from ..domain.declared import Declared, RuleDecl
from ..domain.errors import NotFound
from ..domain.held import Held, HeldLimit, HeldWallet, document
from ..domain.plans import Plan
from ..domain.rules import Rule
from ..domain.wallets import allowance_left
from ..store import bulk, catalog, periods, sessions
from ..store import tables as t
from ..store import wallets as wallet_rows
from ..store.engine import Tx
from . import allowances, exemptions, limits, modes, rates, rules, wallets
from .advancing import ahead_of, clamped

_W, _P, _E = t.wallets_.c, t.people.c, t.entries.c


def plan(tx: Tx, declared: Declared, hub_id: str, *, timezone: str = "UTC") -> Plan:
    """What ``apply`` would do. Reads only."""
    require_hub(tx, hub_id)
    return plans.plan(declared, held(tx, hub_id, timezone))


def export(tx: Tx, hub_id: str) -> dict:
    """What there is, as a document that ``apply`` takes."""
    require_hub(tx, hub_id)
    return document(held(tx, hub_id))


def apply(tx: Tx, declared: Declared, hub_id: str, *, policy: Policy, actor: Actor) -> Plan:
    """Make it so; what was done."""
    catalog.lock_gate(tx)
    require_hub(tx, hub_id)
    there = held(tx, hub_id, policy.timezone)
    made = plans.plan(declared, there)
    if made.changes:
        _Apply(tx, made, there, hub_id, policy, actor).run()
    return made


def require_hub(tx: Tx, hub_id: str) -> None:
    """Names of people mean nothing without the hub that they are of."""
    known = list(tx.execute(sa.select(t.hubs.c.id).order_by(t.hubs.c.id)).scalars())
    if hub_id not in known:
        raise NotFound(
            f"This database knows the hubs {', '.join(known) or '(none)'}, not {hub_id!r}: set "
            "JHUB_USAGE_HUB_ID to the name of yours."
        )


# -- what there is --------------------------------------------------------------------------------


def starting_key(wallet_id: int) -> str:
    """The natural key of the credit that a wallet starts with: given once, whatever comes."""
    return f"apply:{wallet_id}:starting"


def held(tx: Tx, hub_id: str, timezone: str = "UTC") -> Held:
    """Everything that files can declare; people are those whom this hub knows now."""
    mode, version = catalog.read_gate(tx)
    config = catalog.load(tx, mode, version)
    persons = dict(
        tx.execute(sa.select(_P.name, _P.id).where(_P.hub_id == hub_id, _P.current)).all()
    )
    wallets_held = _wallets(tx, hub_id, timezone)
    names = {w.id: w.name for w in wallets_held.values()}
    return Held(
        at=tx.now(),
        mode=mode,
        wallets=wallets_held,
        people=persons,
        rates=config.rates,
        rules=tuple(
            RuleDecl(
                names.get(r.wallet_id, ""), r.person, r.group, r.profile,
                r.starting_grant_micro if r.wallet_id is None else 0,
                r.overdraft_micro if r.wallet_id is None else 0,
            )
            for r in config.rules
        ),
        limits=tuple(HeldLimit(x.id, x, names.get(x.wallet_id, "")) for x in config.limits),
        exempt=config.exempt,
    )  # fmt: skip


def _wallets(tx: Tx, hub_id: str, timezone: str) -> dict[str, HeldWallet]:
    rows = list(
        tx.execute(
            sa.select(
                _W.id, _W.name, _W.title, _W.overdraft_micro, _W.mode, _W.closed_at, _W.owner_id,
                _W.allowance_micro, _W.allowance_period, _W.allowance_carry_micro,
                _P.name.label("owner"), _P.current, _P.hub_id,
            ).outerjoin(t.people, _P.id == _W.owner_id)
        )
    )  # fmt: skip
    keys = {f"grant:{starting_key(r.id)}": r.id for r in rows}
    credit = {
        keys[key]: amount
        for part in _chunks(list(keys))
        for key, amount in tx.execute(
            sa.select(_E.key, _E.amount_micro).where(_E.key.in_(part))
        )
    }  # fmt: skip
    m, g = t.wallet_members.c, t.wallet_groups.c
    roles: dict[int, dict[str, str]] = {}
    for wallet_id, name, role in tx.execute(
        sa.select(m.wallet_id, _P.name, m.role)
        .join(t.people, _P.id == m.person_id)
        .where(_P.hub_id == hub_id, _P.current)
    ):
        roles.setdefault(wallet_id, {})[name] = role
    groups: dict[int, set[str]] = {}
    for wallet_id, group in tx.execute(sa.select(g.wallet_id, g.group_name)):
        groups.setdefault(wallet_id, set()).add(group)
    ending = _ending(tx, [r.id for r in rows if r.allowance_micro == 0], timezone)
    # a wallet of somebody who is gone, or of another hub, can not be named by its owner's name
    return {
        r.name: HeldWallet(
            r.id, r.name, r.title, r.overdraft_micro, r.mode, r.closed_at is not None,
            r.owner or "", credit.get(r.id), roles.get(r.id, {}),
            frozenset(groups.get(r.id, ())),
            elsewhere=r.owner_id is not None and not (r.current and r.hub_id == hub_id),
            allowance=wallet_rows.allowance(r) if r.allowance_micro else None,
            allowance_ends=r.id in ending,
        )
        for r in rows
    }  # fmt: skip


def _ending(tx: Tx, wallet_ids: list[int], timezone: str) -> set[int]:
    """Those of wallets whose allowance was taken away that still have some of it."""
    calendar, now = periods.calendar(tx, timezone), tx.now()
    found = set()
    for part in _chunks(wallet_ids):
        meters = sessions.open_meters(tx, part)
        for wallet in wallet_rows.read(tx, part).values():
            ahead = ahead_of(wallet, meters[wallet.id], now, calendar)
            at = clamped(now, [wallet])
            if allowance_left(ahead.wallet, ahead.meters, at):
                found.add(wallet.id)
    return found


def _chunks(items: list) -> Iterator[list]:
    for begin in range(0, len(items), bulk.CHUNK):
        yield items[begin : begin + bulk.CHUNK]


# -- doing it -------------------------------------------------------------------------------------


class _Apply:
    """Carries one plan out. The gate is locked."""

    def __init__(self, tx: Tx, made: Plan, there: Held, hub_id: str, policy: Policy, actor: Actor):
        self.tx, self.plan, self.hub_id = tx, made, hub_id
        self.policy, self.actor = policy, actor
        self.persons = dict(there.people)
        self.ids = {w.name: w.id for w in there.wallets.values()}

    def run(self) -> None:
        self._people()
        self._new_wallets()
        touched = {self.ids[x[0]] for x in (*self.plan.grants, *self.plan.allowances,
                                            *self.plan.members, *self.plan.groups)}  # fmt: skip
        touched |= {wallet_id for wallet_id, _ in self.plan.changed_wallets}
        for part in _chunks(sorted(touched)):
            wallet_rows.lock(self.tx, part)
        for wallet_id, changes in self.plan.changed_wallets:
            wallets.change(self.tx, wallet_id, actor=self.actor, **changes)
        self._members()
        self._groups()
        for name, amount in self.plan.grants:
            wallet_id = self.ids[name]
            wallets.grant(
                self.tx, wallet_id, amount, policy=self.policy, actor=self.actor,
                note="Starting credit.", key=starting_key(wallet_id),
            )  # fmt: skip
        self._allowances()
        self._catalog()

    def _allowances(self) -> None:
        how = {"policy": self.policy, "actor": self.actor}
        for name, wanted in self.plan.allowances:
            if wanted is None:
                allowances.remove_allowance(self.tx, self.ids[name], **how)
        given = [(self.ids[name], x) for name, x in self.plan.allowances if x is not None]
        for part in _chunks(given):
            allowances.set_allowances(self.tx, dict(part), **how)

    def _audit(self, rows: Iterable[dict]) -> None:
        bulk.write_audit(self.tx, rows, actor=self.actor, now=self.tx.now())

    def _people(self) -> None:
        if not self.plan.people:
            return
        made = bulk.expect_people(self.tx, self.hub_id, self.plan.people, self.tx.now())
        self.persons |= made
        self._audit(
            {"action": "person.expected", "subject_kind": "person", "subject_id": made[name],
             "after": {"name": name}}
            for name in self.plan.people
        )  # fmt: skip

    def _new_wallets(self) -> None:
        new = self.plan.new_wallets
        if not new:
            return
        now = self.tx.now()
        self.tx.execute(
            t.wallets_.insert(),
            [
                {
                    "name": w.name,
                    "title": w.title,
                    "owner_id": self.persons[w.owner] if w.owner else None,
                    "balance_micro": 0,
                    "overdraft_micro": w.overdraft_micro,
                    "mode": w.mode,
                    "created_at": now,
                    "closed_at": now if w.closed else None,
                    "advanced_until": now,
                }
                for w in new
            ],
        )
        for part in _chunks([w.name for w in new]):
            self.ids |= dict(
                self.tx.execute(sa.select(_W.name, _W.id).where(_W.name.in_(part))).all()
            )
        self._audit(
            {
                "action": "wallet.created",
                "subject_kind": "wallet",
                "subject_id": self.ids[w.name],
                "after": {"name": w.name, "overdraft_micro": w.overdraft_micro, "mode": w.mode,
                          "closed": w.closed},
            }
            for w in new
        )  # fmt: skip

    def _members(self) -> None:
        m = t.wallet_members.c
        added, rows = [], []
        for wallet, person, role, before in self.plan.members:
            wallet_id, person_id = self.ids[wallet], self.persons[person]
            here = sa.and_(m.wallet_id == wallet_id, m.person_id == person_id)
            row = {"subject_kind": "wallet", "subject_id": wallet_id,
                   "before": {"person_id": person_id, "role": before}}  # fmt: skip
            if role is None:
                self.tx.execute(t.wallet_members.delete().where(here))
                rows.append(row | {"action": "wallet.member_removed"})
                continue
            if before is None:
                added.append({"wallet_id": wallet_id, "person_id": person_id, "role": role})
            else:
                self.tx.execute(t.wallet_members.update().where(here).values(role=role))
            after = {"person_id": person_id, "role": role}
            rows.append(row | {"action": "wallet.member_set", "after": after})
        if added:
            self.tx.execute(t.wallet_members.insert(), added)
        self._audit(rows)

    def _groups(self) -> None:
        g = t.wallet_groups.c
        added, rows = [], []
        for wallet, group, opened in self.plan.groups:
            wallet_id = self.ids[wallet]
            row = {"subject_kind": "wallet", "subject_id": wallet_id}
            if opened:
                added.append({"wallet_id": wallet_id, "group_name": group})
                rows.append(row | {"action": "wallet.group_set", "after": {"group": group}})
            else:
                self.tx.execute(
                    t.wallet_groups.delete().where(g.wallet_id == wallet_id, g.group_name == group)
                )
                rows.append(row | {"action": "wallet.group_removed", "before": {"group": group}})
        if added:
            self.tx.execute(t.wallet_groups.insert(), added)
        self._audit(rows)

    def _catalog(self) -> None:
        tx, actor = self.tx, self.actor
        for r in sorted(self.plan.rates, key=lambda r: (r.starts_at is None, r.starts_at)):
            rates.add(
                tx, r.resource, r.price_micro, actor=actor, model=r.model, profile=r.profile,
                starts_at=r.starts_at,
            )  # fmt: skip
        if self.plan.rules is not None:
            rules.replace(tx, [self._rule(r) for r in self.plan.rules], actor=actor)
        for limit_id in self.plan.limits_gone:
            limits.remove(tx, limit_id, actor=actor)
        for x in self.plan.limits:
            wallet_id = self.ids[x.wallet] if x.wallet else None
            limits.add(tx, replace(x.limit, wallet_id=wallet_id), actor=actor)
        for kind, name, exempt in self.plan.exempt:
            exemptions.set_exempt(tx, kind, name, exempt, actor=actor)
        if self.plan.mode is not None:
            modes.set_mode(tx, self.plan.mode, actor=actor)

    def _rule(self, r: RuleDecl) -> Rule:
        return Rule(
            position=0,
            target="wallet" if r.wallet else "personal",
            wallet_id=self.ids[r.wallet] if r.wallet else None,
            person=r.person,
            group=r.group,
            profile=r.profile,
            starting_grant_micro=r.starting_grant_micro,
            overdraft_micro=r.overdraft_micro,
        )
