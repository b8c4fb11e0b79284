"""Rows of requests for credit, and whose managers may see and decide them.

A request names, when it is made, the wallets whose managers it is put before. Who manages those is
asked at each look, so a manager who comes later sees it and one who left does not.
"""

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from . import tables as t
from .engine import Tx

_R, _W = t.credit_requests.c, t.wallets_.c


def get(tx: Tx, request_id: int) -> Mapping | None:
    """One request as it is now."""
    return tx.row(sa.select(t.credit_requests).where(_R.id == request_id))


def add(tx: Tx, put_before: Collection[int], **values) -> int:
    """Store a request and the wallets whose managers it is put before; its id."""
    made = tx.execute(t.credit_requests.insert().values(**values)).inserted_primary_key[0]
    lines = [{"request_id": made, "wallet_id": wallet_id} for wallet_id in sorted(put_before)]
    tx.execute(t.credit_request_wallets.insert(), lines)
    return made


def change(tx: Tx, request_id: int, **values) -> None:
    tx.execute(t.credit_requests.update().where(_R.id == request_id).values(**values))


def open_count(tx: Tx, *, wallet_id: int | None = None, person_id: int | None = None) -> int:
    """How many are open: in all, or a person's for a wallet."""
    query = sa.select(sa.func.count()).select_from(t.credit_requests).where(_R.state == "open")
    if wallet_id is not None:
        query = query.where(_R.wallet_id == wallet_id)
    if person_id is not None:
        query = query.where(_R.person_id == person_id)
    return tx.scalar(query)


def decided_by(person_id: int) -> sa.ColumnElement[bool]:
    """The condition that a manager may decide a request: put before their wallet, not their own."""
    # aliases of their own: a query around this may join the same tables for something else
    line, wallet, member = (
        t.credit_request_wallets.alias(), t.wallets_.alias(), t.wallet_members.alias(),
    )  # fmt: skip
    manages = sa.or_(
        wallet.c.owner_id == person_id,
        sa.exists().where(
            member.c.wallet_id == wallet.c.id,
            member.c.person_id == person_id,
            member.c.role == "manager",
        ),
    )
    here = sa.exists().where(line.c.request_id == _R.id, wallet.c.id == line.c.wallet_id, manages)
    return sa.and_(_R.person_id != person_id, here)


def put_before(wallet_id: int) -> sa.ColumnElement[bool]:
    """The condition that a request is put before the managers of a wallet."""
    line = t.credit_request_wallets.alias()
    return sa.exists().where(line.c.request_id == _R.id, line.c.wallet_id == wallet_id)


def decides(tx: Tx, request_id: int, person_id: int) -> bool:
    """Whether this manager may decide this request."""
    query = sa.select(_R.id).where(_R.id == request_id, decided_by(person_id))
    return tx.scalar(query) is not None


def labs_of(tx: Tx, person_id: int, groups: Collection[str]) -> set[int]:
    """Shared wallets, not closed, that are open to a person as a member or by their hub groups."""
    m, g = t.wallet_members.c, t.wallet_groups.c
    shared = sa.and_(_W.owner_id.is_(None), _W.closed_at.is_(None))
    member = _W.id.in_(sa.select(m.wallet_id).where(m.person_id == person_id))
    grouped = _W.id.in_(sa.select(g.wallet_id).where(g.group_name.in_(list(groups))))
    return set(tx.execute(sa.select(_W.id).where(shared, sa.or_(member, grouped))).scalars())


def owner_of(tx: Tx, wallet_id: int) -> int | None:
    """Whose personal wallet it is; None for a shared one."""
    return tx.scalar(sa.select(_W.owner_id).where(_W.id == wallet_id))
