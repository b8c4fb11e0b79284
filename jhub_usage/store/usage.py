"""Usage per day of ended sessions: counters that limits read, and rollups for charts.

Both are sums over session rows. ``add`` changes many rows in one statement each, in the order of
their keys, so that two transactions never wait for each other crosswise.
"""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ..domain.usage import Size, Used
from . import tables as t
from .engine import Tx

_U = t.use_days.c
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


def used_in(
    tx: Tx, scopes: Sequence[tuple], windows: Iterable[tuple[str, str]]
) -> Mapping[tuple, Used]:
    """Sums of counters per (scope, first day, last day), both days included. One statement.

    Scopes are those of ``Limit.scope``.
    """
    wanted = list(dict.fromkeys((s, *w) for s, w in zip(scopes, windows, strict=True)))
    if not wanted:
        return {}
    parts = []
    for number, (scope, first, last) in enumerate(wanted):
        parts.append(
            sa.select(
                sa.literal_column(str(number)).label("number"),
                *(sa.func.coalesce(sa.func.sum(_U[n]), 0).label(n) for n in COUNTED),
            ).where(_U.day >= first, _U.day <= last, *_in_scope(scope))
        )
    statement = parts[0] if len(parts) == 1 else sa.union_all(*parts)
    return {
        wanted[row.number]: Used(
            gpu_us=int(row.gpu_us), cpu_us=int(row.cpu_us), cost_micro=int(row.cost_micro)
        )
        for row in tx.execute(statement)
    }


def _in_scope(scope: tuple) -> list:
    kind, *rest = scope
    if kind == "group":
        group, person_id = rest
        found = [_U.group_name == group]
        return found if person_id is None else [*found, _U.person_id == person_id]
    plain = [_U.group_name == ""]
    if kind == "person":
        return [*plain, _U.person_id == rest[0]]
    if kind == "wallet":
        return [*plain, _U.wallet_id == rest[0]]
    if kind == "wallet_person":
        return [*plain, _U.wallet_id == rest[0], _U.person_id == rest[1]]
    return plain


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
