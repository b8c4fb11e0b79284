"""Wallet rows, their locks and who may spend from them."""

from collections.abc import Collection, Iterable
from datetime import datetime

import sqlalchemy as sa

from ..domain.allowances import Allowance
from ..domain.wallets import Wallet
from . import tables as t
from .engine import Tx

_W = t.wallets_.c
_VALUE = (
    _W.id, _W.name, _W.balance_micro, _W.overdraft_micro, _W.mode, _W.closed_at,
    _W.allowance_micro, _W.allowance_period, _W.allowance_carry_micro, _W.allowance_left_micro,
    _W.advanced_until,
)  # fmt: skip
_LOCK = sa.select(*_VALUE).where(_W.id.in_(sa.bindparam("ids", expanding=True))).order_by(_W.id)


_M, _G = t.wallet_members.c, t.wallet_groups.c
_PERSON = sa.bindparam("person", type_=sa.BigInteger)
_OPEN_TO = sa.select(*_VALUE).where(
    sa.or_(
        _W.owner_id == _PERSON,
        _W.id == sa.bindparam("by_rule", type_=sa.BigInteger),
        _W.id.in_(sa.select(_M.wallet_id).where(_M.person_id == _PERSON)),
        _W.id.in_(
            sa.select(_G.wallet_id).where(
                _G.group_name.in_(sa.bindparam("groups", expanding=True, type_=sa.String))
            )
        ),
    )
)


def value(row) -> Wallet:
    """A wallet's row as the value that rules work on."""
    return Wallet(
        row.id,
        row.name,
        row.balance_micro,
        row.overdraft_micro,
        row.mode,
        row.closed_at is not None,
        allowance(row),
        row.allowance_left_micro,
        row.advanced_until,
    )


def allowance(row) -> Allowance | None:
    """The allowance of a wallet's row."""
    if row.allowance_period is None:
        return None
    return Allowance(row.allowance_micro, row.allowance_period, row.allowance_carry_micro)


_KEEP = (
    t.wallets_.update()
    .where(_W.id == sa.bindparam("w_id"))
    .values(
        {
            c.name: sa.bindparam(c.name)
            for c in (_W.allowance_micro, _W.allowance_period, _W.allowance_carry_micro,
                      _W.advanced_until, _W.balance_micro, _W.allowance_left_micro)
        }
    )
)  # fmt: skip


def keep_allowances(
    tx: Tx, changed: Iterable[tuple[int, Allowance | None, datetime, int, int]]
) -> None:
    """Store (wallet's id, its allowance, from when on it counts, balance, rest of it).

    Boundaries before that instant belong to the allowance that was there before. The caller holds
    the wallets.
    """
    values = [
        {
            "w_id": wallet_id,
            "allowance_micro": held and held.amount_micro,
            "allowance_period": held and held.period,
            "allowance_carry_micro": held and held.carry_micro,
            "advanced_until": at,
            "balance_micro": balance,
            "allowance_left_micro": left,
        }
        for wallet_id, held, at, balance, left in changed
    ]
    if values:
        tx.execute(_KEEP, values if len(values) > 1 else values[0])


def lock(tx: Tx, ids: Iterable[int]) -> dict[int, Wallet]:
    """Lock wallets, sorted, and return them as they are under the lock.

    What hangs on them must be read by a later statement: one that waited for the lock still
    sees the time before the wait.
    """
    wanted = sorted({i for i in ids if i is not None})
    if not wanted:
        return {}
    return {r.id: value(r) for r in tx.execute(tx.lock(_LOCK), {"ids": wanted})}


def read(tx: Tx, ids: Iterable[int]) -> dict[int, Wallet]:
    """Wallets without a lock."""
    wanted = sorted({i for i in ids if i is not None})
    return {r.id: value(r) for r in tx.execute(_LOCK, {"ids": wanted})} if wanted else {}


def by_name(tx: Tx, name: str) -> Wallet | None:
    row = tx.execute(sa.select(*_VALUE).where(_W.name == name)).one_or_none()
    return value(row) if row else None


def roles_of(tx: Tx, person_id: int) -> dict[int, str]:
    """Wallet id -> role of a person by membership, their own wallet included as manager."""
    m = t.wallet_members.c
    found = {
        r.wallet_id: r.role
        for r in tx.execute(sa.select(m.wallet_id, m.role).where(m.person_id == person_id))
    }
    own = tx.scalar(sa.select(_W.id).where(_W.owner_id == person_id))
    if own is not None:
        found[own] = "manager"
    return found


def of_groups(tx: Tx, groups: Collection[str]) -> set[int]:
    """Wallets that the members of these hub groups may spend from."""
    if not groups:
        return set()
    g = t.wallet_groups.c
    return set(tx.execute(sa.select(g.wallet_id).where(g.group_name.in_(list(groups)))).scalars())


def open_to(
    tx: Tx, person_id: int | None, groups: Collection[str], by_rule: int | None
) -> dict[int, Wallet]:
    """Every wallet that this person may choose: member, group, own, or what the rules say."""
    rows = tx.execute(_OPEN_TO, {"person": person_id, "groups": list(groups), "by_rule": by_rule})
    return {r.id: value(r) for r in rows}
