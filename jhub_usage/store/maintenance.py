"""Maintenance windows: rows as values, and their lock. Takes the transaction, never commits."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from ..domain.maintenance import Maintenance
from . import tables as t
from .engine import Tx

_M = t.maintenance.c
_VALUE = sa.select(_M.id, _M.node, _M.starts_at, _M.ends_at, _M.cancelled_at, _M.done_at)


def _value(row) -> Maintenance:
    return Maintenance(*row)


def lock(tx: Tx, maintenance_id: int) -> Maintenance | None:
    """One window under its lock, or None. Wallets, where they are needed, are locked before."""
    row = tx.execute(tx.lock(_VALUE.where(_M.id == maintenance_id))).one_or_none()
    return _value(row) if row else None


def of_nodes(tx: Tx, nodes: Iterable[str], *, locked: bool = False) -> dict[str, list[Maintenance]]:
    """The windows of nodes that were not cancelled, done or not."""
    names = sorted(set(nodes))
    found: dict[str, list[Maintenance]] = {node: [] for node in names}
    if names:
        query = _VALUE.where(_M.node.in_(names), _M.cancelled_at.is_(None)).order_by(_M.id)
        for row in tx.execute(tx.lock(query) if locked else query):
            found[row.node].append(_value(row))
    return found


def pending(tx: Tx, now: datetime) -> list[Maintenance]:
    """Windows that have begun, of which something may still have to be given back."""
    open_ones = _VALUE.where(_M.cancelled_at.is_(None), _M.done_at.is_(None), _M.starts_at <= now)
    return [_value(row) for row in tx.execute(open_ones.order_by(_M.id))]


def look_again(tx: Tx, node: str, begin: datetime, end: datetime) -> None:
    """A session on this node has other boundaries now: its windows are not done any more."""
    if not node:
        return
    here = _VALUE.where(_M.node == node, _M.starts_at < end, _M.ends_at > begin).order_by(_M.id)
    ids = [row.id for row in tx.execute(tx.lock(here))]
    if ids:
        tx.execute(t.maintenance.update().where(_M.id.in_(ids)).values(done_at=None))


def listed(
    tx: Tx, *, maintenance_id: int | None = None, before_id: int | None = None, limit: int = 100
) -> list:
    """Windows with what was said and who said it, newest first."""
    query = (
        sa.select(
            t.maintenance,
            t.notes.c.text.label("note"),
            t.people.c.name.label("actor"),
        )
        .outerjoin(t.notes, t.notes.c.id == _M.note_id)
        .outerjoin(t.people, t.people.c.id == _M.actor_id)
    )
    if maintenance_id is not None:
        query = query.where(_M.id == maintenance_id)
    if before_id is not None:
        query = query.where(_M.id < before_id)
    return tx.rows(query.order_by(_M.id.desc()).limit(limit))
