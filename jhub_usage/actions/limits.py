"""Limits: set and lift caps. Under the gate, with one audit row each."""

from dataclasses import asdict

import sqlalchemy as sa

from ..domain import limits as limits_
from ..domain.audit import Actor
from ..domain.errors import NotAllowed, NotFound
from ..domain.limits import Limit
from ..domain.names import require_name
from ..store import audit, catalog, wallets
from ..store import tables as t
from ..store.engine import Tx


def add(tx: Tx, limit: Limit, *, actor: Actor) -> int:
    """Set a cap; one of the same subject, resource and period is replaced. Its id.

    What a wallet's manager sets stands beside what administrators set, and never replaces it.
    """
    catalog.lock_gate(tx)
    now = tx.now()
    limits_.require_limit(limit)
    for name, what in ((limit.group, "group's name"), (limit.profile, "profile")):
        if name:
            require_name(name, what=what)
    if limit.person:
        require_name(limit.person, what="person's name")
    if limit.wallet_id is not None and not wallets.read(tx, [limit.wallet_id]):
        raise NotFound(f"There is no wallet {limit.wallet_id}.")
    c = t.limits_.c
    same = sa.and_(
        c.subject == limit.subject,
        c.person == limit.person,
        c.group_name == limit.group,
        c.wallet_id.is_not_distinct_from(limit.wallet_id),
        c.profile == limit.profile,
        c.resource == limit.resource,
        c.each == limit.each,
        c.period == limit.period,
        c.by_manager == limit.by_manager,
    )
    held = tx.execute(sa.select(t.limits_).where(same)).one_or_none()
    if held is not None and held.amount == limit.amount:
        return held.id
    if held is not None:
        tx.execute(t.limits_.update().where(c.id == held.id).values(amount=limit.amount))
        limit_id, before = held.id, {"amount": held.amount}
    else:
        limit_id = tx.execute(
            t.limits_.insert().values(
                subject=limit.subject,
                person=limit.person,
                group_name=limit.group,
                wallet_id=limit.wallet_id,
                profile=limit.profile,
                resource=limit.resource,
                amount=limit.amount,
                each=limit.each,
                period=limit.period,
                by_manager=limit.by_manager,
                created_at=now,
            )
        ).inserted_primary_key[0]
        before = None
    catalog.bump(tx)
    audit.write(
        tx, "limit.set", "limit", limit_id, actor=actor, now=now, before=before,
        after=asdict(limit) | {"id": limit_id},
    )  # fmt: skip
    return limit_id


def remove(tx: Tx, limit_id: int, *, actor: Actor, by_right: bool = True) -> None:
    """Lift a cap. Without ``by_right`` only one that a manager of its wallet set."""
    catalog.lock_gate(tx)
    held = tx.row(sa.select(t.limits_).where(t.limits_.c.id == limit_id))
    if held is None:
        raise NotFound(f"There is no limit {limit_id}.")
    if not by_right and not held["by_manager"]:
        raise NotAllowed("An administrator set this limit: ask them to change it.")
    tx.execute(t.limits_.delete().where(t.limits_.c.id == limit_id))
    catalog.bump(tx)
    audit.write(
        tx, "limit.removed", "limit", limit_id, actor=actor, now=tx.now(),
        before={k: v for k, v in held.items() if k != "created_at"},
    )  # fmt: skip
