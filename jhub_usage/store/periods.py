"""The calendar and the books: which midnights count, and up to which month nothing is booked.

Both are read once per transaction. The books' row is locked shared by whoever posts, and alone by
whoever closes a month, so that a month never closes under a posting.
"""

from datetime import datetime

import sqlalchemy as sa

from ..domain.periods import DAY, MONTH, Calendar, next_label
from . import tables as t
from .engine import Tx

_Z, _B = t.zones.c, t.books.c
_ZONES = sa.select(_Z.first_month, _Z.zone).order_by(_Z.first_month)
_BOOKS = sa.select(_B.closed_through)


def calendar(tx: Tx, timezone: str = "UTC") -> Calendar:
    """The calendar that is recorded; by ``timezone`` alone before anything was recorded."""
    held = tx.kept.get("calendar")
    if held is None:
        zones = tuple((r.first_month, r.zone) for r in tx.execute(_ZONES))
        held = Calendar(zones) if zones else Calendar.of(timezone)
        tx.kept["calendar"] = held
    return held


def keep_zone(tx: Tx, timezone: str, now: datetime, *, used: bool) -> Calendar:
    """Record the zone of the setting; the calendar that counts then. Under the gate.

    The first one counts for all time; a later one from the next month on, unless nothing was
    ``used`` yet.
    """
    zones = tuple((r.first_month, r.zone) for r in tx.execute(_ZONES))
    made = Calendar(zones).with_zone(timezone, now) if zones and used else Calendar.of(timezone)
    for first, _ in set(zones) - set(made.zones):
        tx.execute(t.zones.delete().where(_Z.first_month == first))
    for first, zone in set(made.zones) - set(zones):
        tx.execute(t.zones.insert().values(first_month=first, zone=zone, created_at=now))
    tx.kept["calendar"] = made
    return made


def closed_through(tx: Tx, *, alone: bool = False) -> str:
    """The last closed month, empty for none; locked shared, or alone, until the end."""
    held = tx.kept.get("closed_through")
    if held is None or alone:
        statement = _BOOKS
        if tx.postgres:
            statement = statement.with_for_update(read=not alone)
        held = tx.execute(statement).scalar() or ""
        tx.kept["closed_through"] = held
    return held


def last_closed(tx: Tx) -> str:
    """The last closed month, empty for none; for looking only, without any lock."""
    return tx.execute(_BOOKS).scalar() or ""


def close_through(tx: Tx, label: str) -> None:
    """Nothing is booked in this month any more. Who says so holds the books alone."""
    tx.execute(t.books.update().values(closed_through=label))
    tx.kept["closed_through"] = label


def booked_in(tx: Tx, at: datetime, timezone: str) -> str:
    """The month that something of ``at`` is booked in: its own, or the first open one."""
    own, closed = calendar(tx, timezone).label(MONTH, at), closed_through(tx)
    return own if own > closed else next_label(MONTH, closed)


def day_of(tx: Tx, at: datetime, timezone: str) -> tuple[datetime, datetime]:
    """The day of an instant as ``[begin, end)``."""
    held = calendar(tx, timezone)
    label = held.label(DAY, at)
    return held.begins(DAY, label), held.ends(DAY, label)
