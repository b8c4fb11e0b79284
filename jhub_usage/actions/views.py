"""What pages, the API and the shell show. Read only, each in one transaction that sees one instant.

Nothing is written by looking: cost so far, claims and dry instants are computed from rows.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ..domain.admission import PersonKey, Policy, effective_mode
from ..domain.ahead import Outlook, dry_at, outlook
from ..domain.allowances import Allowance
from ..domain.instants import elapsed_us
from ..domain.rates import Rate
from ..domain.rules import first_match
from ..domain.sessions import OPEN, Meter
from ..domain.wallets import available, burn_per_hour
from ..store import catalog as catalogs
from ..store import people, periods, sessions, wallets
from ..store import tables as t
from ..store.engine import Tx
from .advancing import ahead_of, clamped

_S, _W, _E, _A, _P = (
    t.sessions_.c,
    t.wallets_.c,
    t.entries.c,
    t.admissions_.c,
    t.people.c,
)
PAGE = 100


@dataclass(frozen=True)
class WalletView:
    """A wallet as it stands at ``at``. ``available_micro`` None: nothing limits it."""

    id: int
    name: str
    title: str
    owner: str
    owner_id: int | None
    balance_micro: int
    overdraft_micro: int | None
    available_micro: int | None
    claims_micro: int
    burn_per_hour_micro: int
    dry_at: datetime | None
    running: int
    mode: str | None
    effective_mode: str
    closed: bool
    created_at: datetime
    at: datetime
    #: The role of the person who looks: manager, spender, or empty.
    role: str = ""
    is_default: bool = False
    allowance: Allowance | None = None
    #: What is left of the allowance, when the next one comes, what will expire then.
    outlook: Outlook | None = None


@dataclass(frozen=True)
class SessionView:
    """A session as it stands at ``at``: its row, names, and the computed money."""

    id: str
    hub_id: str
    person: str
    person_id: int
    server_name: str
    wallet: str
    wallet_id: int | None
    state: str
    mode: str
    billed: bool
    profile: str
    shape: Mapping
    per_hour_micro: int
    fee_micro: int
    hold_micro: int
    quote_lines: tuple
    cost_micro: int
    charged_micro: int
    refunded_micro: int
    elapsed_us: int
    requested_at: datetime
    admitted_at: datetime
    boundaries: Mapping
    end_reason: str | None
    limit_at: datetime | None
    warned_at: datetime | None
    warned_reason: str | None
    stop_at: datetime | None
    stop_ordered_at: datetime | None
    stop_reason: str | None
    restart_count: int
    platform_us: int
    node: str
    pod_name: str
    hub_started_at: datetime | None
    seen_at: datetime | None
    at: datetime


@dataclass(frozen=True)
class Offer:
    """What the spawn form and the Hub's pages need to know about one person."""

    mode: str
    wallets: tuple[WalletView, ...]
    rates: tuple[Rate, ...]
    running: tuple[SessionView, ...]
    at: datetime


def wallet_views(
    tx: Tx,
    *,
    ids: Iterable[int] | None = None,
    roles: Mapping[int, str] | None = None,
    default_id: int | None = None,
    timezone: str = "UTC",
) -> list[WalletView]:
    """Wallets by name, all of them or these. ``timezone`` counts until one is recorded."""
    query = sa.select(t.wallets_, _P.name.label("owner")).outerjoin(t.people, _P.id == _W.owner_id)
    if ids is not None:
        wanted = list(ids)
        if not wanted:
            return []
        query = query.where(_W.id.in_(wanted))
    rows = list(tx.execute(query.order_by(_W.name)))
    meters = sessions.open_meters(tx, [r.id for r in rows])
    mode, _ = catalogs.read_gate(tx)
    calendar, now = periods.calendar(tx, timezone), tx.now()
    return [
        _wallet_view(
            r, meters[r.id], mode, now, calendar, (roles or {}).get(r.id, ""), r.id == default_id
        )
        for r in rows
    ]


def _wallet_view(row, meters, mode, now, calendar, role, is_default) -> WalletView:
    now = clamped(now, [wallets.value(row)])
    ahead = ahead_of(wallets.value(row), meters, now, calendar)
    wallet, meters = ahead.wallet, ahead.meters
    left = available(wallet, meters, now)
    return WalletView(
        id=row.id,
        name=row.name,
        title=row.title,
        owner=row.owner or "",
        owner_id=row.owner_id,
        balance_micro=wallet.balance_micro,
        overdraft_micro=row.overdraft_micro,
        available_micro=left,
        claims_micro=sum(m.claim(now) for m in meters),
        burn_per_hour_micro=burn_per_hour(meters, now),
        dry_at=dry_at(wallet, meters, now, calendar) if meters else None,
        running=sum(1 for m in meters if not m.expired(now)),
        mode=row.mode,
        effective_mode=effective_mode(mode, row.mode),
        closed=row.closed_at is not None,
        created_at=row.created_at,
        at=now,
        role=role,
        is_default=is_default,
        allowance=wallet.allowance,
        outlook=outlook(wallet, meters, now, calendar),
    )


def my_wallets(
    tx: Tx, person_id: int | None, groups: Collection[str], name: str, cache
) -> list[WalletView]:
    """The wallets that a person may spend from or manages, the one that pays by rule first."""
    rule = first_match(cache.get(tx).rules, name, groups, "")
    by_rule = rule.wallet_id if rule else None
    roles = wallets.roles_of(tx, person_id) if person_id is not None else {}
    ids = set(wallets.open_to(tx, person_id, groups, by_rule))
    default = by_rule
    if rule is not None and rule.target == "personal" and person_id is not None:
        default = tx.scalar(sa.select(_W.id).where(_W.owner_id == person_id))
    views = wallet_views(
        tx, ids=ids, roles={i: roles.get(i, "spender") for i in ids}, default_id=default
    )
    return sorted(views, key=lambda v: (not v.is_default, v.closed, v.name))


def offer(
    tx: Tx, person: PersonKey, hub_id: str, groups: Collection[str], *, policy: Policy, cache
) -> Offer:
    """For the spawn form and the home page."""
    catalog = cache.get(tx)
    who = people.find(tx, hub_id, person)
    person_id = who.id if who else None
    running = session_views(tx, person_id=person_id, open_only=True) if who else []
    return Offer(
        mode=catalog.mode,
        wallets=tuple(
            w for w in my_wallets(tx, person_id, groups, person.name, cache) if not w.closed
        ),
        rates=catalog.rates,
        running=tuple(running),
        at=tx.now(),
    )


def session_views(
    tx: Tx,
    *,
    ids: Collection[str] | None = None,
    person_id: int | None = None,
    wallet_ids: Collection[int] | None = None,
    hub_id: str | None = None,
    state: str | None = None,
    open_only: bool = False,
    before: tuple[datetime, str] | None = None,
    limit: int = PAGE,
) -> list[SessionView]:
    """Sessions, newest first. ``before`` is (admitted_at, id) of the last one already seen."""
    query = (
        sa.select(t.sessions_, _P.name.label("person"), _W.name.label("wallet"))
        .join(t.people, _P.id == _S.person_id)
        .outerjoin(t.wallets_, _W.id == _S.wallet_id)
    )
    if ids is not None:
        query = query.where(_S.id.in_(list(ids)))
    if person_id is not None:
        query = query.where(_S.person_id == person_id)
    if wallet_ids is not None:
        query = query.where(_S.wallet_id.in_(list(wallet_ids)))
    if hub_id is not None:
        query = query.where(_S.hub_id == hub_id)
    if state is not None:
        query = query.where(_S.state == state)
    if open_only:
        query = query.where(_S.state.in_(OPEN))
    if before is not None:
        at, last = before
        query = query.where(
            sa.or_(_S.admitted_at < at, sa.and_(_S.admitted_at == at, _S.id < last))
        )
    rows = list(tx.execute(query.order_by(_S.admitted_at.desc(), _S.id.desc()).limit(limit)))
    refunds = _refunds(tx, [r.id for r in rows])
    now = tx.now()
    return [_session_view(r, refunds.get(r.id, 0), now) for r in rows]


def _refunds(tx: Tx, ids: list[str]) -> dict[str, int]:
    """What was given back of each session, less what of that was taken back."""
    if not ids:
        return {}
    rows = tx.execute(
        sa.select(_E.session_id, sa.func.sum(_E.amount_micro))
        .where(_E.session_id.in_(ids), _E.goodwill)
        .group_by(_E.session_id)
    )
    return {r[0]: int(r[1]) for r in rows}


def _session_view(row, refunded: int, now: datetime) -> SessionView:
    meter: Meter = sessions.meter(row)
    end = row.billed_until_at or min(now, meter.pays_until_at or now)
    elapsed = 0
    if row.billed_from_at is not None:
        elapsed = elapsed_us(row.billed_from_at, end)
    boundaries = {
        name: {"at": getattr(row, f"{name}_at"), "evidence": getattr(row, f"{name}_evidence")}
        for name in ("scheduled", "started", "ready", "stop_accepted", "ended")
    }
    return SessionView(
        id=row.id,
        hub_id=row.hub_id,
        person=row.person,
        person_id=row.person_id,
        server_name=row.server_name,
        wallet=row.wallet or "",
        wallet_id=row.wallet_id,
        state=row.state,
        mode=row.mode,
        billed=row.billed,
        profile=row.profile,
        shape={
            "cpu_milli": row.cpu_milli,
            "memory_bytes": row.memory_bytes,
            "gpu_milli": row.gpu_milli,
            "gpus": row.gpus,
        },
        per_hour_micro=row.per_hour_micro,
        fee_micro=row.fee_micro,
        hold_micro=row.hold_micro,
        quote_lines=tuple(row.quote_lines),
        cost_micro=meter.cost(now),
        charged_micro=row.charged_micro,
        refunded_micro=refunded,
        elapsed_us=elapsed,
        requested_at=row.requested_at,
        admitted_at=row.admitted_at,
        boundaries=boundaries,
        end_reason=row.end_reason,
        limit_at=sessions.limit_at(row),
        warned_at=row.warned_at,
        warned_reason=row.warned_reason,
        stop_at=row.stop_at,
        stop_ordered_at=row.stop_ordered_at,
        stop_reason=row.stop_reason,
        restart_count=row.restart_count,
        platform_us=row.platform_us,
        node=row.node,
        pod_name=row.pod_name,
        hub_started_at=row.hub_started_at,
        seen_at=row.seen_at,
        at=now,
    )


def members(tx: Tx, wallet_id: int) -> dict:
    """People with their roles, and groups, of a wallet."""
    m, g = t.wallet_members.c, t.wallet_groups.c
    persons = tx.rows(
        sa.select(_P.id, _P.name, _P.current, m.role)
        .join(t.people, _P.id == m.person_id)
        .where(m.wallet_id == wallet_id)
        .order_by(_P.name)
    )
    groups = tx.execute(
        sa.select(g.group_name).where(g.wallet_id == wallet_id).order_by(g.group_name)
    ).scalars()
    return {"people": [dict(p) for p in persons], "groups": list(groups)}


def decision(tx: Tx, session_id: str) -> Mapping | None:
    """One recorded decision with names, or None."""
    rows = decisions(tx, session_id=session_id)
    return rows[0] if rows else None


def decisions(
    tx: Tx,
    *,
    session_id: str | None = None,
    person_id: int | None = None,
    kinds: Collection[str] | None = None,
    before: tuple[datetime, str] | None = None,
    limit: int = PAGE,
) -> list[Mapping]:
    """Recorded decisions, newest first: the report of what was, or would have been, refused."""
    query = (
        sa.select(t.admissions_, _P.name.label("person"), _W.name.label("wallet"))
        .outerjoin(t.people, _P.id == _A.person_id)
        .outerjoin(t.wallets_, _W.id == _A.wallet_id)
    )
    if session_id is not None:
        query = query.where(_A.session_id == session_id)
    if person_id is not None:
        query = query.where(_A.person_id == person_id)
    if kinds is not None:
        query = query.where(_A.decision.in_(list(kinds)))
    if before is not None:
        at, last = before
        query = query.where(
            sa.or_(_A.decided_at < at, sa.and_(_A.decided_at == at, _A.session_id < last))
        )
    order = (_A.decided_at.desc(), _A.session_id.desc())
    return tx.rows(query.order_by(*order).limit(limit))


def audit_rows(
    tx: Tx,
    *,
    subject_kind: str | None = None,
    subject_id: str | None = None,
    before_id: int | None = None,
    limit: int = PAGE,
) -> list[Mapping]:
    """Who changed what, newest first."""
    c = t.audit.c
    query = sa.select(t.audit)
    if subject_kind is not None:
        query = query.where(c.subject_kind == subject_kind)
    if subject_id is not None:
        query = query.where(c.subject_id == subject_id)
    if before_id is not None:
        query = query.where(c.id < before_id)
    return tx.rows(query.order_by(c.id.desc()).limit(limit))


def catalog(tx: Tx) -> catalogs.Catalog:
    """Rates, rules, limits, exemptions and the mode as they are now."""
    return catalogs.load(tx, *catalogs.read_gate(tx))


def hub(tx: Tx, hub_id: str) -> Mapping | None:
    """What is known of a hub."""
    return tx.row(sa.select(t.hubs).where(t.hubs.c.id == hub_id))


def current_rates(tx: Tx) -> list[Rate]:
    """The rates in force now, one per key that has a price."""
    now = tx.now()
    held: dict[tuple, Rate] = {}
    for rate in catalog(tx).rates:
        if rate.starts_at <= now:
            held[rate.key] = rate
    return [r for r in held.values() if r.price_micro is not None]
