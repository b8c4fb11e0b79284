"""Session rows: meters of what is open, sums against limits, single rows."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ..domain.sessions import OPEN, Meter, pays_until
from . import tables as t
from .engine import Tx

_S = t.sessions_.c
# written out, so that the planner sees that the indexes on open sessions fit
IS_OPEN = _S.state.in_([sa.literal_column(f"'{state}'") for state in OPEN])

# In the order of a Meter's fields, behind the wallet: an admission reads many of these.
METER = (
    _S.wallet_id,
    _S.id,
    _S.per_hour_micro,
    _S.fee_micro,
    _S.hold_micro,
    _S.charged_micro,
    _S.admitted_at,
    _S.start_deadline_at,
    _S.billed_from_at,
    _S.billed_until_at,
    # a container that runs was sighted, also where only readiness is billed
    sa.or_(_S.seen_at.is_not(None), _S.started_at.is_not(None)).label("sighted"),
    _S.billed,
    _S.limit_s,
    _S.stop_accepted_at,
    _S.grace_s,
    _S.settled_until,
)
_OPEN_OF = sa.select(*METER).where(_S.wallet_id.in_(sa.bindparam("ids", expanding=True)), IS_OPEN)
# The same with the database's clock; told also where no session is open.
_ONE = sa.select(sa.literal_column("1").label("one")).subquery()
_OPEN_NOW = sa.select(sa.func.clock_timestamp().label("now"), *METER).select_from(
    _ONE.outerjoin(
        t.sessions_,
        sa.and_(_S.wallet_id.in_(sa.bindparam("ids", expanding=True)), IS_OPEN),
    )
)


def meter(row) -> Meter:
    """The numbers of a row that money needs."""
    return Meter(
        session_id=row.id,
        per_hour_micro=row.per_hour_micro,
        fee_micro=row.fee_micro,
        hold_micro=row.hold_micro,
        charged_micro=row.charged_micro,
        admitted_at=row.admitted_at,
        start_deadline_at=row.start_deadline_at,
        billed_from_at=row.billed_from_at,
        billed_until_at=row.billed_until_at,
        sighted=row.seen_at is not None or row.started_at is not None,
        billed=row.billed,
        limit_at=limit_at(row),
        pays_until_at=pays_until(row.stop_accepted_at, row.grace_s, row.settled_until),
        settled_until=row.settled_until,
    )


_BILLED_FROM = 7  # among a Meter's fields


def _meter(numbers: list) -> Meter:
    *numbers, limit_s, stop_accepted_at, grace_s, settled_until = numbers
    begin, limit = numbers[_BILLED_FROM], None
    if limit_s is not None and begin is not None:
        limit = begin + timedelta(seconds=limit_s)
    last = None
    if stop_accepted_at is not None:
        last = pays_until(stop_accepted_at, grace_s, settled_until)
    return Meter(*numbers, limit, last, settled_until)


def limit_at(row) -> datetime | None:
    """The instant at which the session's own limit ends it."""
    if row.limit_s is None or row.billed_from_at is None:
        return None
    return row.billed_from_at + timedelta(seconds=row.limit_s)


def open_meters(tx: Tx, wallet_ids: Iterable[int]) -> dict[int, list[Meter]]:
    """Meters of the open sessions of each wallet. A statement of its own, after the locks."""
    ids = sorted(set(wallet_ids))
    found: dict[int, list[Meter]] = {i: [] for i in ids}
    if ids:
        for wallet_id, *numbers in tx.execute(_OPEN_OF, {"ids": ids}):
            found[wallet_id].append(_meter(numbers))
    return found


def open_meters_now(tx: Tx, wallet_ids: Iterable[int]) -> tuple[dict[int, list[Meter]], datetime]:
    """The same and the instant, both read after the locks; one statement on PostgreSQL."""
    ids = sorted(set(wallet_ids))
    if not ids or not tx.asks_database_clock:
        found = open_meters(tx, ids)
        return found, tx.now()
    found, now = {i: [] for i in ids}, None
    for at, wallet_id, *numbers in tx.execute(_OPEN_NOW, {"ids": ids}):
        now = now or at.astimezone(UTC)
        if wallet_id is not None:
            found[wallet_id].append(_meter(numbers))
    return found, now or tx.now()


def open_new(tx: Tx, admissions: list[dict], opened: list[dict], groups: list[dict]) -> None:
    """Write decisions, and the sessions that they opened with their groups."""
    if tx.postgres and len(admissions) == len(opened) == 1:
        names = [g["group_name"] for g in groups]
        values = {f"a_{k}": v for k, v in admissions[0].items()}
        values |= {f"s_{k}": v for k, v in opened[0].items()}
        statement = _open_one(tuple(admissions[0]), tuple(opened[0]))
        tx.execute(statement, values | {"g_id": opened[0]["id"], "g_names": names})
        return
    for table, rows in ((t.admissions_, admissions), (t.sessions_, opened),
                        (t.session_groups, groups)):  # fmt: skip
        if rows:
            # the driver's way for many costs more than it saves where there is one
            tx.execute(table.insert(), rows if len(rows) > 1 else rows[0])


@functools.cache
def _open_one(of_admission: tuple[str, ...], of_session: tuple[str, ...]) -> sa.Insert:
    """The three in one round trip; PostgreSQL only."""

    def values(prefix, names):
        return {name: sa.bindparam(f"{prefix}_{name}") for name in names}

    decision = t.admissions_.insert().values(values("a", of_admission))
    names = sa.bindparam("g_names", type_=postgresql.ARRAY(sa.String))
    groups = t.session_groups.insert().from_select(
        ["session_id", "group_name"],
        sa.select(sa.bindparam("g_id", type_=sa.String), sa.func.unnest(names)),
    )
    session = t.sessions_.insert().values(values("s", of_session))
    return session.add_cte(decision.cte("decision"), groups.cte("groups"))


def lock(tx: Tx, session_id: str):
    """One whole row under its own lock (the wallet's goes first), or None."""
    return tx.execute(tx.lock(sa.select(t.sessions_).where(_S.id == session_id))).one_or_none()


def get(tx: Tx, session_id: str):
    """One whole row, or None."""
    return tx.execute(sa.select(t.sessions_).where(_S.id == session_id)).one_or_none()


def open_of_servers(tx: Tx, hub_id: str, servers: Iterable[tuple[int, str]]) -> list:
    """Rows that are open for these (person id, server name) slots."""
    wanted = set(servers)
    if not wanted:
        return []
    rows = tx.execute(
        sa.select(t.sessions_).where(
            _S.hub_id == hub_id, _S.person_id.in_({p for p, _ in wanted}), IS_OPEN
        )
    )
    return [r for r in rows if (r.person_id, r.server_name) in wanted]


def usage(tx: Tx, scopes: Sequence[tuple], now: datetime) -> Mapping[tuple, Mapping[str, int]]:
    """What counts against limits at once: per scope the sums over open sessions.

    A start that nothing confirmed by its deadline counts no more (rule 12). One statement.
    """
    wanted = list(dict.fromkeys(scopes))
    if not wanted:
        return {}
    counting = sa.and_(
        IS_OPEN,
        sa.or_(_S.started_at.is_not(None), _S.seen_at.is_not(None), _S.start_deadline_at > now),
    )
    parts = []
    for number, scope in enumerate(wanted):
        parts.append(
            sa.select(
                sa.literal_column(str(number)).label("number"),
                sa.func.coalesce(sa.func.sum(_S.gpu_milli), 0).label("gpus"),
                sa.func.coalesce(sa.func.sum(_S.cpu_milli), 0).label("cpu"),
                sa.func.coalesce(sa.func.sum(_S.memory_bytes), 0).label("memory"),
                sa.func.count().label("servers"),
            )
            .select_from(t.sessions_)
            .where(counting, *_in_scope(scope))
        )
    statement = parts[0] if len(parts) == 1 else sa.union_all(*parts)
    return {
        wanted[row.number]: {
            "gpus": int(row.gpus),
            "cpu": int(row.cpu),
            "memory": int(row.memory),
            "servers": int(row.servers),
        }
        for row in tx.execute(statement)
    }


def _in_scope(scope: tuple) -> list:
    kind, *rest = scope
    if kind == "everyone":
        return []
    if kind == "person":
        return [_S.person_id == rest[0]]
    if kind == "wallet":
        return [_S.wallet_id == rest[0]]
    if kind == "wallet_person":
        return [_S.wallet_id == rest[0], _S.person_id == rest[1]]
    if kind == "profile":
        return [_S.profile == rest[0]]
    group, person_id = rest
    g = t.session_groups.c
    inside = sa.exists().where(g.session_id == _S.id, g.group_name == group)
    return [inside] if person_id is None else [inside, _S.person_id == person_id]
