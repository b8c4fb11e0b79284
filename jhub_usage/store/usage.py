"""Usage per day of ended sessions: counters that limits read, and rollups for charts.

Both are sums over session rows. ``add`` changes many rows in one statement each, in the order of
their keys, so that two transactions never wait for each other crosswise.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ..domain.sessions import ENDED
from ..domain.usage import Size, Used
from . import tables as t
from .engine import Tx
from .sessions import IS_OPEN

_U, _R, _S = t.use_days.c, t.rollup_days.c, t.sessions_.c
COUNTED = ("gpu_us", "cpu_us", "cost_micro")
ROLLED = ("starts", "elapsed_us", "gpu_us", "cpu_us", "memory_us", "cost_micro")
ROLLUP_KEY = ("day", "hub_id", "person_id", "wallet_id", "profile", "gpu_model", "node")
CHUNK = 500


def size(row) -> Size:
    """What a session's row holds while it runs."""
    return Size(row.gpu_milli, row.cpu_milli, row.memory_bytes)


def add(tx: Tx, counters: Mapping[tuple, Used], rollups: Mapping[tuple, Used]) -> None:
    """Add to counters (day, person, wallet, group) and rollups (``ROLLUP_KEY``)."""
    key = ("day", "person_id", "wallet_id", "group_name")
    _upsert(tx, t.use_days, key, COUNTED, counters)
    _upsert(tx, t.rollup_days, ROLLUP_KEY, ROLLED, rollups)


def _upsert(tx: Tx, table: sa.Table, key, names, sums: Mapping[tuple, Used]) -> None:
    rows = [
        dict(zip(key, k, strict=True)) | {n: getattr(v, n) for n in names}
        for k, v in sorted(sums.items())
    ]
    insert = postgresql.insert if tx.postgres else sqlite.insert
    for begin in range(0, len(rows), CHUNK):
        made = insert(table).values(rows[begin : begin + CHUNK])
        more = {n: table.c[n] + made.excluded[n] for n in names}
        tx.execute(made.on_conflict_do_update(index_elements=list(key), set_=more))


#: Half of a whole number of 64 bits: its high and its low part are summed apart.
_HALF = 2**31


def _sums(tx: Tx, columns, names: Sequence[str]) -> Iterator[sa.ColumnElement]:
    """Two columns per name that ``_read_sums`` puts together, exactly.

    A year of a cluster, in thousandths times microseconds, is beyond 64 bits: PostgreSQL's sum is
    of any size, SQLite's ends in an error.
    """
    for name in names:
        low, high = columns[name], sa.literal_column("0")
        if not tx.postgres:
            high = sa.func.coalesce(sa.func.sum(low // _HALF), 0)
            low = low % _HALF
        yield high.label(f"{name}_high")
        yield sa.func.coalesce(sa.func.sum(low), 0).label(f"{name}_low")


def _read_sums(values: Sequence) -> list[int]:
    return [
        int(high) * _HALF + int(low) for high, low in zip(values[::2], values[1::2], strict=True)
    ]


def all_counters(tx: Tx) -> dict[tuple, tuple]:
    """Every counter: (day, person, wallet, group) -> numbers in the order of ``COUNTED``."""
    keys = (_U.day, _U.person_id, _U.wallet_id, _U.group_name)
    rows = tx.execute(sa.select(*keys, *(_U[n] for n in COUNTED)))
    return {tuple(r[:4]): tuple(r[4:]) for r in rows}


def all_rollups(tx: Tx) -> dict[tuple, tuple]:
    """Every rollup by ``ROLLUP_KEY`` -> numbers in the order of ``ROLLED``."""
    c, n = t.rollup_days.c, len(ROLLUP_KEY)
    rows = tx.execute(sa.select(*(c[k] for k in ROLLUP_KEY), *(c[k] for k in ROLLED)))
    return {tuple(r[:n]): tuple(r[n:]) for r in rows}


# -- reports --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Only:
    """Which sessions count; None: all. A ``wallet_id`` of 0: those that no wallet pays for."""

    hub_id: str | None = None
    person_id: int | None = None
    wallet_id: int | None = None
    profile: str | None = None
    gpu_model: str | None = None
    node: str | None = None

    def conditions(self, columns) -> list:
        """For rollups or for sessions, which have no number for no wallet."""
        wanted = {k: v for k, v in vars(self).items() if v is not None}
        if wanted.get("wallet_id") == 0 and columns is _S:
            del wanted["wallet_id"]
            return [_S.wallet_id.is_(None), *self._equal(columns, wanted)]
        return self._equal(columns, wanted)

    @staticmethod
    def _equal(columns, wanted) -> list:
        return [columns[name] == value for name, value in wanted.items()]


def rolled(
    tx: Tx, first: str, until: str, by: Sequence[str], only: Only, nodes: Sequence[str] = ()
) -> Iterator[tuple[tuple, bool, str, Used]]:
    """Sums of rollups of the days ``[first, until)``: (values of ``by``, GPUs or not, node, sum).

    ``by`` are columns of a rollup, or ``month``. The node is told where it is one of ``nodes``.
    """
    keys = [sa.func.substr(_R.day, 1, 7) if k == "month" else _R[k] for k in by]
    keys.append(sa.case((_R.gpu_model != "", 1), else_=0))
    if nodes:
        keys.append(sa.case((_R.node.in_(list(nodes)), _R.node), else_=""))
    # by the names of what is selected, so that each expression is written once
    labels = [f"key_{n}" for n in range(len(keys))]
    statement = (
        sa.select(*(k.label(n) for k, n in zip(keys, labels, strict=True)), *_sums(tx, _R, ROLLED))
        .where(_R.day >= first, _R.day < until, *only.conditions(_R))
        .group_by(*(sa.literal_column(n) for n in labels))
    )
    for row in tx.execute(statement):
        node = row[len(by) + 1] if nodes else ""
        yield tuple(row[: len(by)]), bool(row[len(by)]), node, Used(*_read_sums(row[len(keys) :]))


# What a meter and a report need of a session's row.
_ROW = (
    _S.id, _S.hub_id, _S.person_id, _S.wallet_id, _S.profile, _S.gpu_model, _S.node,
    _S.gpu_milli, _S.cpu_milli, _S.memory_bytes, _S.per_hour_micro, _S.fee_micro, _S.hold_micro,
    _S.charged_micro, _S.admitted_at, _S.start_deadline_at, _S.billed_from_at,
    _S.billed_until_at, _S.seen_at, _S.started_at, _S.billed, _S.limit_s, _S.stop_accepted_at,
    _S.grace_s, _S.settled_until,
)  # fmt: skip


def open_rows(tx: Tx, before: datetime, only: Only) -> list:
    """Sessions that are open and began to count before an instant."""
    return list(
        tx.execute(
            sa.select(*_ROW).where(IS_OPEN, _S.billed_from_at < before, *only.conditions(_S))
        )
    )


def ended_rows(tx: Tx, begin: datetime, end: datetime, only: Only) -> list:
    """Sessions that have ended and may have used something within ``[begin, end)``."""
    return list(
        tx.execute(
            sa.select(*_ROW).where(
                _S.state == ENDED,
                _S.billed_from_at < end,
                _S.billed_until_at >= begin,
                *only.conditions(_S),
            )
        )
    )


def first_day(tx: Tx, only: Only) -> str | None:
    """The first day with usage of sessions that have ended."""
    return tx.scalar(sa.select(sa.func.min(_R.day)).where(*only.conditions(_R)))
