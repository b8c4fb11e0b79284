"""Lists as pages and the API show them: filtered, page by page. Read only.

What one row shows is in ``views``; here is which rows, and what is said about many at once.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta

import sqlalchemy as sa

from ..domain.admission import Policy, effective_mode
from ..domain.ahead import dry_at
from ..domain.limits import PERIOD_LIMIT, Limit
from ..domain.sessions import OPEN
from ..domain.stops import Running, end_of
from ..store import catalog, periods, sessions, wallets
from ..store import tables as t
from ..store.engine import Tx
from . import passes, period_limits
from .advancing import ahead_of
from .views import SessionView

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


def meters_of(tx: Tx, found: Collection[SessionView], *, policy: Policy) -> dict[str, dict]:
    """Of each open session: whether its cost grows, and when and why it will end.

    The end is what rule 14 will do if nothing changes; none while nobody is stopped there.
    """
    open_ids = {v.id for v in found if v.state in OPEN}
    if not open_ids:
        return {}
    rows = {r.id: r for r in tx.execute(sa.select(t.sessions_).where(_S.id.in_(open_ids)))}
    mode, _ = catalog.read_gate(tx)
    calendar, now = periods.calendar(tx, policy.timezone), tx.now()
    held = wallets.read(tx, {r.wallet_id for r in rows.values()})
    ahead = {
        wallet_id: ahead_of(held[wallet_id], meters, now, calendar)
        for wallet_id, meters in sessions.open_meters(tx, held).items()
    }
    modes = {n: effective_mode(mode, w.mode) for n, w in held.items()} | {None: mode}
    enforced = [r for r in rows.values() if modes[r.wallet_id] == "enforce"]
    endings = period_limits.endings(tx, enforced, policy=policy, calendar=calendar, now=now)
    dry = {
        n: dry_at(a.wallet, a.meters, now, calendar)
        for n, a in ahead.items()
        if modes[n] == "enforce"
    }
    passed = passes.until(tx, enforced, now)
    told = {}
    for row in rows.values():
        meter, end, ending = sessions.meter(row), None, endings.get(row.id)
        if modes[row.wallet_id] == "enforce":
            running = Running(
                meter, row.warned_at, row.protected_until_at, ending, passed.get(row.id)
            )
            end = end_of(running, dry.get(row.wallet_id), now, policy.warn_lead_s)
        by_limit = end is not None and end.reason == PERIOD_LIMIT
        told[row.id] = {
            "accrues": meter.accrues(now),
            "ends_at": None if end is None else max(x for x in (end.stop_at, row.stop_at) if x),
            "ends_reason": None if end is None else end.reason,
            "ends_limit": ending.limit if by_limit else None,
        }
    return told


def stop_limit(tx: Tx, session_id: str) -> Limit | None:
    """The limit per period for which a session was, or would have been, stopped; as it was then."""
    c = t.audit.c
    row = tx.execute(
        sa.select(c.after)
        .where(
            c.subject_kind == "session",
            c.subject_id == session_id,
            c.action.in_(("server.stop_ordered", "server.would_stop")),
        )
        .order_by(c.id.desc())
        .limit(1)
    ).scalar()
    return Limit(**row["limit"]) if row and "limit" in row else None
