"""Closed months: the acts, what they held, and what people and wallets were called then.

Takes the transaction, never commits. Who closes a month holds the books alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ..domain.periods import MONTH, Calendar
from ..domain.sessions import VOID
from . import tables as t
from .engine import Tx

_M, _N, _E, _S, _P, _W = (
    t.months.c,
    t.month_names.c,
    t.entries.c,
    t.sessions_.c,
    t.people.c,
    t.wallets_.c,
)
#: Keys of one IN list.
CHUNK = 1000


@dataclass(frozen=True)
class Month:
    """The act of closing a month, as it is recorded."""

    label: str
    starts_at: datetime
    ends_at: datetime
    closed_at: datetime
    actor_kind: str
    actor_id: int | None
    facts: Mapping


def get(tx: Tx, label: str) -> Month | None:
    """The act that closed a month, or None."""
    row = tx.execute(sa.select(t.months).where(_M.label == label)).one_or_none()
    return Month(*row) if row else None


def last(tx: Tx) -> Month | None:
    """The last month that was closed."""
    row = tx.execute(sa.select(t.months).order_by(_M.label.desc()).limit(1)).one_or_none()
    return Month(*row) if row else None


def listed(tx: Tx) -> list:
    """Every act with the name of the person who did it, newest first."""
    query = sa.select(t.months, _P.name.label("actor")).outerjoin(t.people, _P.id == _M.actor_id)
    return tx.rows(query.order_by(_M.label.desc()))


def add(tx: Tx, month: Month) -> None:
    """Record the act."""
    tx.execute(t.months.insert().values(**vars(month)))


def first_label(tx: Tx, calendar: Calendar) -> str | None:
    """The month of the earliest entry or session, or None where there is neither."""
    known = [tx.scalar(sa.select(sa.func.min(_E.period)))]
    begun = tx.scalar(sa.select(sa.func.min(_S.admitted_at)))
    known.append(calendar.label(MONTH, begun) if begun is not None else None)
    return min((label for label in known if label), default=None)


def overlapping(begin: datetime, end: datetime) -> sa.ColumnElement:
    """Sessions that were there at some instant of a window."""
    since = sa.func.coalesce(_S.billed_from_at, _S.started_at, _S.admitted_at)
    until = sa.func.coalesce(_S.ended_at, end)
    return sa.and_(_S.state != VOID, since < end, until > begin)


def is_empty(tx: Tx, label: str, begin: datetime, end: datetime) -> bool:
    """Whether nothing is booked in a month and no session was there in it."""
    booked = sa.select(_E.id).where(_E.period == label).limit(1)
    ran = sa.select(_S.id).where(overlapping(begin, end)).limit(1)
    return tx.scalar(booked) is None and tx.scalar(ran) is None


def sums(tx: Tx, *, label: str = "", after: str = "") -> dict[str, dict[str, dict[str, int]]]:
    """Per booked month and kind: how many entries, and what they sum to.

    Of one month, or of all after one, if one is given.
    """
    where = _E.period == label if label else _E.period > after
    query = (
        sa.select(_E.period, _E.kind, sa.func.count(), sa.func.sum(_E.amount_micro))
        .where(where)
        .group_by(_E.period, _E.kind)
    )
    found: dict[str, dict[str, dict[str, int]]] = {}
    for period, kind, count, amount in tx.execute(query):
        found.setdefault(period, {})[kind] = {"count": count, "amount_micro": int(amount)}
    return found


def last_posted_at(tx: Tx, label: str) -> datetime | None:
    """When the newest entry of a month was posted."""
    return tx.scalar(sa.select(sa.func.max(_E.posted_at)).where(_E.period == label))


def count_sessions(tx: Tx, begin: datetime, end: datetime) -> int:
    """How many sessions were there in a window."""
    query = sa.select(sa.func.count()).select_from(t.sessions_).where(overlapping(begin, end))
    return tx.scalar(query)


def keep_names(tx: Tx, label: str, begin: datetime, end: datetime) -> None:
    """Write down how all wallets, and the people of this month, are called now."""
    columns = ["label", "kind", "subject_id", "name", "title"]
    wallets = sa.select(
        sa.literal(label), sa.literal("wallet"), _W.id, _W.name, _W.title
    ).select_from(t.wallets_)
    booked = t.entries.join(t.sessions_, _S.id == _E.session_id)
    there = sa.union(
        sa.select(_S.person_id).select_from(booked).where(_E.period == label),
        sa.select(_E.actor_id).where(_E.period == label, _E.actor_id.is_not(None)),
        sa.select(_S.person_id).where(overlapping(begin, end)),
    ).subquery()
    people = sa.select(
        sa.literal(label), sa.literal("person"), _P.id, _P.name, sa.literal("")
    ).where(_P.id.in_(sa.select(there.c[0])))
    for names in (wallets, people):
        tx.execute(t.month_names.insert().from_select(columns, names))


def names(tx: Tx, label: str, kind: str, ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    """(name, title) of people or wallets when a month was closed; without those not known then."""
    query = sa.select(_N.subject_id, _N.name, _N.title).where(_N.label == label, _N.kind == kind)
    return _by_id(tx, query, _N.subject_id, ids)


def names_now(tx: Tx, kind: str, ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    """The same as they are called now."""
    if kind == "wallet":
        return _by_id(tx, sa.select(_W.id, _W.name, _W.title), _W.id, ids)
    return _by_id(tx, sa.select(_P.id, _P.name, sa.literal("")), _P.id, ids)


def _by_id(tx: Tx, query: sa.Select, key, ids: Iterable[int]) -> dict[int, tuple[str, str]]:
    wanted, found = sorted(set(ids)), {}
    for begin in range(0, len(wanted), CHUNK):
        for row in tx.execute(query.where(key.in_(wanted[begin : begin + CHUNK]))):
            found[row[0]] = (row[1], row[2])
    return found
