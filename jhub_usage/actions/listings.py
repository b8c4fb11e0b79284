"""Lists as pages and the API show them: filtered, page by page. Read only.

What one row shows is in ``views``; here is which rows, and what is said about many at once.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from ..domain.admission import effective_mode
from ..domain.ahead import dry_at
from ..domain.sessions import OPEN
from ..store import catalog, periods, sessions, wallets
from ..store import tables as t
from ..store.engine import Tx
from .advancing import ahead_of

_S, _W, _E, _A, _P = (
    t.sessions_.c,
    t.wallets_.c,
    t.entries.c,
    t.admissions_.c,
    t.people.c,
)


def wallet_ids(tx: Tx, *, search: str = "", after: str = "", limit: int = 100) -> list[int]:
    """Wallets by name, from the one after ``after`` on; ``search`` is in name, title or owner."""
    query = sa.select(_W.id).outerjoin(t.people, _P.id == _W.owner_id)
    if search:
        inside = [c.icontains(search, autoescape=True) for c in (_W.name, _W.title, _P.name)]
        query = query.where(sa.or_(*inside))
    if after:
        query = query.where(_W.name > after)
    return list(tx.execute(query.order_by(_W.name).limit(limit)).scalars())


def wallet_names(tx: Tx, *, limit: int = 2000) -> list[Mapping]:
    """Id, name and mode of wallets that are not closed, for choosing one."""
    query = sa.select(_W.id, _W.name, _W.mode).where(_W.closed_at.is_(None))
    return tx.rows(query.order_by(_W.owner_id.is_not(None), _W.name).limit(limit))


def entries(
    tx: Tx,
    *,
    wallet_id: int | None = None,
    session_id: str | None = None,
    person_id: int | None = None,
    before_id: int | None = None,
    limit: int = 100,
) -> list[Mapping]:
    """Entries, newest first; ``person_id`` keeps those for that person's own sessions."""
    other, actor = t.wallets_.alias("other"), t.people.alias("actor")
    query = (
        sa.select(
            t.entries,
            t.notes.c.text.label("note"),
            _W.name.label("wallet"),
            other.c.name.label("counter_wallet"),
            actor.c.name.label("actor"),
            _P.name.label("person"),
        )
        .join(t.wallets_, _W.id == _E.wallet_id)
        .outerjoin(t.notes, t.notes.c.id == _E.note_id)
        .outerjoin(other, other.c.id == _E.counter_wallet_id)
        .outerjoin(actor, actor.c.id == _E.actor_id)
        .outerjoin(t.sessions_, _S.id == _E.session_id)
        .outerjoin(t.people, _P.id == _S.person_id)
    )
    for column, value in (
        (_E.wallet_id, wallet_id),
        (_E.session_id, session_id),
        (_S.person_id, person_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if before_id is not None:
        query = query.where(_E.id < before_id)
    return tx.rows(query.order_by(_E.id.desc()).limit(limit))


def people_page(
    tx: Tx, hub_id: str, *, search: str = "", after: tuple[str, int] | None = None, limit: int = 100
) -> list[Mapping]:
    """People of a hub by name, earlier users of a name too, with how much they used."""
    used = (
        sa.select(
            _S.person_id,
            sa.func.count().label("sessions"),
            sa.func.max(_S.admitted_at).label("last_session_at"),
        )
        .where(_S.hub_id == hub_id)
        .group_by(_S.person_id)
        .subquery()
    )
    query = (
        sa.select(t.people, _W.id.label("wallet_id"), used.c.sessions, used.c.last_session_at)
        .outerjoin(t.wallets_, _W.owner_id == _P.id)
        .outerjoin(used, used.c.person_id == _P.id)
        .where(_P.hub_id == hub_id)
    )
    if search:
        query = query.where(_P.name.icontains(search, autoescape=True))
    if after:
        name, person_id = after
        later = sa.and_(_P.name == name, _P.id > person_id)
        query = query.where(sa.or_(_P.name > name, later))
    return tx.rows(query.order_by(_P.name, _P.id).limit(limit))


def decision_counts(tx: Tx, *, days: int = 30) -> list[Mapping]:
    """How often starts were not simply admitted of late, by decision and reason."""
    since = tx.now() - timedelta(days=days)
    count = sa.func.count().label("count")
    return tx.rows(
        sa.select(_A.decision, _A.reason, count)
        .where(_A.decision != "admitted", _A.decided_at >= since)
        .group_by(_A.decision, _A.reason)
        .order_by(count.desc())
    )


def totals(tx: Tx) -> dict:
    """What runs now, in one line."""
    row = tx.execute(
        sa.select(
            sa.func.count().label("servers"),
            sa.func.coalesce(sa.func.sum(_S.gpu_count), 0).label("gpus"),
            sa.func.coalesce(
                sa.func.sum(sa.case((_S.billed, _S.per_hour_micro), else_=0)), 0
            ).label("burn_micro"),
        ).where(
            _S.state.in_(OPEN),
            sa.or_(
                _S.started_at.is_not(None),
                _S.seen_at.is_not(None),
                _S.start_deadline_at > tx.now(),
            ),
        )
    ).one()
    return {"servers": row.servers, "gpus": int(row.gpus), "burn_micro": int(row.burn_micro)}


def warned_ids(tx: Tx) -> list[str]:
    """Sessions that are warned or ordered to stop, the soonest first."""
    query = sa.select(_S.id).where(_S.state.in_(OPEN), _S.warned_at.is_not(None))
    return list(tx.execute(query.order_by(_S.stop_at)).scalars())


def would_be_stopped(tx: Tx, *, days: int = 30, limit: int = 100) -> list[Mapping]:
    """Sessions that observe mode left running although their money or time was up, newest first."""
    c = t.audit.c
    since = tx.now() - timedelta(days=days)
    return tx.rows(
        sa.select(
            c.at,
            _S.id.label("session_id"),
            _S.server_name,
            _S.state,
            _S.stop_reason.label("reason"),
            _P.name.label("person"),
            _W.name.label("wallet"),
            _S.wallet_id,
        )
        .select_from(t.audit)
        .join(t.sessions_, _S.id == c.subject_id)
        .join(t.people, _P.id == _S.person_id)
        .outerjoin(t.wallets_, _W.id == _S.wallet_id)
        .where(c.subject_kind == "session", c.action == "server.would_stop", c.at >= since)
        .order_by(c.id.desc())
        .limit(limit)
    )


def meters_of(tx: Tx, wallet_ids: Collection[int], timezone: str = "UTC") -> dict[str, dict]:
    """Of each open session of these wallets: whether its cost grows, and when and why it will end.

    The end is what rule 14 will do if nothing changes; none while nobody is stopped there.
    """
    ids = {i for i in wallet_ids if i is not None}
    mode, _ = catalog.read_gate(tx)
    now = tx.now()
    held, found = wallets.read(tx, ids), {}
    calendar = periods.calendar(tx, timezone)
    guards = _stop_facts(tx, ids)
    for wallet_id, meters in sessions.open_meters(tx, ids).items():
        ahead = ahead_of(held[wallet_id], meters, now, calendar)
        wallet, meters = ahead.wallet, ahead.meters
        enforced = effective_mode(mode, wallet.mode) == "enforce"
        dry = dry_at(wallet, meters, now, calendar) if enforced else None
        for meter in meters:
            ends: list[tuple[datetime, str]] = []
            beyond = meter.hold_ends_at()
            if dry is not None and beyond is not None:
                ends.append((max(dry, beyond), "wallet_empty"))
            if enforced and meter.limit_at is not None:
                ends.append((meter.limit_at, "session_limit"))
            ends_at, reason = min(ends) if ends else (None, None)
            if ends_at is not None:
                ends_at = max([ends_at, *(x for x in guards.get(meter.session_id, ()) if x)])
            found[meter.session_id] = {
                "accrues": meter.accrues(now),
                "ends_at": ends_at,
                "ends_reason": reason,
            }
    return found


def _stop_facts(tx: Tx, wallet_ids: Collection[int]) -> dict[str, tuple]:
    if not wallet_ids:
        return {}
    rows = tx.execute(
        sa.select(_S.id, _S.stop_at, _S.protected_until_at).where(
            _S.wallet_id.in_(list(wallet_ids)), _S.state.in_(OPEN)
        )
    )
    return {r.id: (r.stop_at, r.protected_until_at) for r in rows}
