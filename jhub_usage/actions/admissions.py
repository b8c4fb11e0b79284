"""Admission: one transaction under one gate, for one ask or for many at once (rules 19 to 23).

Of any number of simultaneous starts that a wallet or a limit allows k of, exactly k are admitted,
whichever process or hub they come from. Asking again with the same UUID returns the stored answer.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from ..domain import admission, limits, passes
from ..domain.admission import Ask, Decision, Policy, Reason
from ..domain.audit import Actor
from ..domain.errors import CatchUpNeeded, NoRate
from ..domain.instants import parse_instant
from ..domain.period_limits import Held, Open, breaches, counted
from ..domain.rates import FREE, Quote, QuoteLine, quote
from ..domain.sessions import Meter
from ..domain.usage import Size
from ..store import catalog as catalogs
from ..store import people, sessions, wallets
from ..store import tables as t
from ..store.engine import Tx
from . import advancing, payers, period_limits
from .sessions import end_superseded

_A = t.admissions_.c


@catalogs.through_gate
def admit_many(
    tx: Tx, asks: Sequence[Ask], *, policy: Policy, cache: catalogs.CatalogCache, actor: Actor
) -> list[Decision]:
    """Decide each ask, in order, and write what was decided. One decision per ask, same order."""
    gate = catalogs.lock_gate(tx)
    looks = {}
    for hub_id in sorted({a.hub_id for a in asks}):
        mine = [a for a in asks if a.hub_id == hub_id]
        keys = list(dict.fromkeys(a.person for a in mine))
        looks[hub_id] = people.look(tx, hub_id, keys, [a.session_id for a in mine])
    stored = {}
    if any(look.answered is not False for look in looks.values()):
        stored = _stored(tx, [a.session_id for a in asks])
    fresh = list({a.session_id: a for a in asks if a.session_id not in stored}.values())
    if fresh:
        decisions = _decide(tx, fresh, gate, looks, policy=policy, cache=cache, actor=actor)
        stored |= {d.session_id: d for d in decisions}
    return [stored[a.session_id] for a in asks]


def admit(tx: Tx, ask: Ask, *, policy: Policy, cache, actor: Actor) -> Decision:
    """The same for one ask."""
    return admit_many(tx, [ask], policy=policy, cache=cache, actor=actor)[0]


def fail_open(
    tx: Tx, ask: Ask, decided_at: datetime, *, policy: Policy, cache, actor: Actor
) -> Decision:
    """Record a start that was let through while the database was away.

    Merges with an admission of the same UUID whose COMMIT arrived after all; a refusal that was
    stored is overruled, since the server did start.
    """
    gate = catalogs.lock_gate(tx)
    stored = _stored(tx, [ask.session_id]).get(ask.session_id)
    if stored is not None and stored.decision != admission.REFUSED:
        return stored
    if stored is not None:
        tx.execute(t.admissions_.delete().where(_A.session_id == ask.session_id))
    looks = {ask.hub_id: people.look(tx, ask.hub_id, [ask.person], [])}
    return _decide(
        tx, [ask], gate, looks, policy=policy, cache=cache, actor=actor, failed_open_at=decided_at
    )[0]


def advise(tx: Tx, ask: Ask, *, policy: Policy, cache) -> Decision:
    """What admission would say now; read only, no locks, a hint for forms and early checks."""
    catalog = cache.get(tx)
    now = tx.now()
    person = people.find(tx, ask.hub_id, ask.person)
    payer = payers.choose(tx, ask, person, catalog)
    payer = payer.having(wallets.read(tx, [payer.wallet_id]))
    payer = payers.confirm(tx, payer, ask, person, catalog)
    meters = sessions.open_meters(tx, [payer.wallet.id]) if payer.wallet else {}
    if payer.wallet is not None:
        calendar, mine = catalog.calendar(policy.timezone), meters[payer.wallet.id]
        ahead = advancing.ahead_of(payer.wallet, mine, now, calendar)
        payer = payer.having({payer.wallet.id: ahead.wallet})
        meters[payer.wallet.id] = list(ahead.meters)
    person_id = person.id if person else 0
    usage = sessions.usage(tx, _scopes([ask], catalog, {ask.session_id: person_id}), now)
    paid = [(ask, person_id, payer.wallet_id)]
    held = period_limits.held(tx, paid, catalog, policy=policy, now=now)
    return _judge(ask, payer, person_id, meters, usage, held, catalog, policy, now)[0]


def _stored(tx: Tx, ids: Sequence[str]) -> dict[str, Decision]:
    rows = tx.execute(_STORED, {"ids": list(ids)})
    return {r.session_id: _from_row(r) for r in rows}


_STORED = (
    sa.select(t.admissions_, t.wallets_.c.name.label("wallet_name"), t.sessions_.c.billed)
    .outerjoin(t.wallets_, t.wallets_.c.id == _A.wallet_id)
    .outerjoin(t.sessions_, t.sessions_.c.id == _A.session_id)
    .where(_A.session_id.in_(sa.bindparam("ids", expanding=True)))
)


def _from_row(row) -> Decision:
    decision = row.decision
    if row.voided_at is not None:
        decision = admission.VOIDED  # given up: a late retry must not start anything
    return Decision(
        session_id=row.session_id,
        decision=decision,
        reason=Reason(row.reason, row.text, row.details),
        wallet_id=row.wallet_id,
        wallet_name=row.wallet_name or "",
        quote=_quote_from(row.quote) if row.quote else None,
        hold_micro=row.hold_micro,
        available_micro=row.available_micro,
        mode=row.mode,
        billed=bool(row.billed),
        rule_id=row.rule_id,
        decided_at=row.decided_at,
    )


def _quote_from(data: dict) -> Quote:
    return Quote(
        data["per_hour_micro"],
        data["start_fee_micro"],
        tuple(QuoteLine(**line) for line in data["lines"]),
        parse_instant(data["quoted_at"]),
    )


def _scopes(asks, catalog, person_ids) -> list[tuple]:
    """What must be summed up to test the limits at once that these asks may fall under."""
    return [
        limit.scope(person_ids[ask.session_id])
        for ask in asks
        for limit in catalog.limits
        if limit.resource in limits.AT_ONCE
        and limit.applies(ask.person.name, ask.groups, limit.wallet_id, ask.profile)
    ]


def _decide(
    tx: Tx, asks, gate, looks, *, policy, cache, actor, failed_open_at: datetime | None = None
) -> list[Decision]:
    catalog = cache.get(tx, gate)
    tx.kept["calendar"] = catalog.calendar(policy.timezone)
    who, superseded = {}, []
    for hub_id, look in looks.items():
        mine = [a for a in asks if a.hub_id == hub_id]
        keys = [a.person for a in mine]
        found = people.resolve(tx, hub_id, keys, tx.now, look.candidates)
        who |= {a.session_id: found[a.person] for a in mine}
        slots = {(found[a.person].id, a.server_name) for a in mine}
        slots = {slot for slot in slots if slot[0] in look.busy}
        superseded += sessions.open_of_servers(tx, hub_id, slots)
    chosen = {
        a.session_id: payers.choose(tx, a, who[a.session_id], catalog, policy=policy, actor=actor,
                                    now=tx.now)
        for a in asks
    }  # fmt: skip
    ids = {p.wallet_id for p in chosen.values() if p.wallet_id is not None}
    locked = wallets.lock(tx, ids | {r.wallet_id for r in superseded})
    if superseded:
        now = tx.now()
        for row in superseded:
            end_superseded(tx, sessions.lock(tx, row.id), policy=policy, actor=actor, now=now)
        locked = wallets.read(tx, ids)
    # read only now: a statement that waited for a lock still sees the time before the wait
    meters, now = sessions.open_meters_now(tx, ids)
    ahead = advancing.book(tx, {i: locked[i] for i in ids}, meters, now, policy=policy, actor=actor)
    behind = {i for i, a in ahead.items() if a is None}
    locked |= {i: a.wallet for i, a in ahead.items() if a is not None}
    meters |= {i: list(a.meters) for i, a in ahead.items() if a is not None}
    now = advancing.clamped(now, locked.values())
    scopes = _scopes(asks, catalog, {s: p.id for s, p in who.items()})
    usage = {scope: dict(sums) for scope, sums in sessions.usage(tx, scopes, now).items()}
    paid = [(a, who[a.session_id].id, chosen[a.session_id].wallet_id) for a in asks]
    held = period_limits.held(tx, paid, catalog, policy=policy, now=now)
    if failed_open_at is not None:
        failed_open_at = min(failed_open_at, now)
    decided = []
    for ask in asks:
        person = who[ask.session_id]
        person_id = person.id
        payer = chosen[ask.session_id].having(locked)
        payer = payers.confirm(tx, payer, ask, person, catalog)
        decision, limit_s = _judge(
            ask, payer, person_id, meters, usage, held, catalog, policy, now, failed_open_at, behind
        )
        decided.append((ask, person_id, decision, limit_s))
        if decision.may_start:
            held = _count(ask, person_id, decision, limit_s, meters, usage, held, catalog, policy)
    _write(tx, decided, policy, now)
    return [decision for _, _, decision, _ in decided]


def _judge(
    ask, payer, person_id, meters, usage, held, catalog, policy, now, failed_open_at=None, behind=()
) -> tuple[Decision, int | None]:
    """(decision, session limit in seconds) of one ask; pure over what was read."""
    wallet = payer.wallet
    mode = admission.effective_mode(catalog.mode, wallet.mode if wallet else None)
    exempt = catalog.is_exempt(ask.person.name, ask.groups, ask.profile)
    applying = [
        x
        for x in catalog.limits
        if x.applies(ask.person.name, ask.groups, wallet.id if wallet else None, ask.profile)
    ]
    price, no_rate = FREE, None
    try:
        price = quote(
            ask.shape,
            ask.profile,
            catalog.rates,
            failed_open_at or now,  # the price of the moment in which it was let in
            refuse_unknown_model=policy.refuse_unknown_model,
        )
    except NoRate as error:
        no_rate = Reason(error.code, error.message + " Choose another profile, "
                         "or ask an administrator to set a rate.")  # fmt: skip
    hold, left, limit_s = 0, None, limits.session_limit_s(applying)
    per_period = []
    if held.windows:
        new = _new(ask, price, now, limit_s, policy, billed=not exempt)
        per_period = breaches(applying, held, new, person_id)
    if mode == "off":
        reason = Reason("off", "Accounting is switched off: nothing is refused or billed.")
    elif exempt:
        breach = limits.strictest_breach(applying, usage, ask.shape, person_id, per_period)
        reason = Reason("exempt", "This is recorded and not billed.")
        if breach is not None:
            reason = admission.limit_reason(breach, wallet)
    elif payer.reason is not None:
        reason = payer.reason
    elif no_rate is not None:
        reason = no_rate
    elif wallet.id in behind:
        error = CatchUpNeeded(wallet.name)
        reason = Reason(error.code, error.message)
    else:
        reason, hold, left = admission.judge(
            ask=ask,
            wallet=wallet,
            meters=meters.get(wallet.id, ()),
            quote=price,
            limits=catalog.limits,
            usage=usage,
            person_id=person_id,
            policy=policy,
            now=now,
            calendar=catalog.calendar(policy.timezone),
            per_period=per_period,
        )
    reason = passes.excuse(reason, passes.valid(catalog.passes, person_id, now))
    fine = reason.code in ("ok", "off", "exempt", "pass")
    if failed_open_at is not None:
        decision = admission.FAILED_OPEN
    elif fine:
        decision = admission.ADMITTED
    else:
        decision = admission.REFUSED if mode == "enforce" else admission.OBSERVED
    billed = mode != "off" and not exempt and wallet is not None
    made = Decision(
        session_id=ask.session_id,
        decision=decision,
        reason=reason,
        wallet_id=wallet.id if wallet else None,
        wallet_name=wallet.name if wallet else "",
        quote=replace(price, quoted_at=failed_open_at or now),
        hold_micro=hold if billed else 0,
        available_micro=left,
        mode=mode,
        billed=billed and decision != admission.REFUSED,
        rule_id=payer.rule_id,
        decided_at=failed_open_at or now,
    )
    return made, limit_s


def _deadline(ask: Ask, policy: Policy, at: datetime) -> datetime:
    return at + timedelta(seconds=ask.start_timeout_s + policy.start_margin_s)


def _new(ask, price, at, limit_s, policy, *, hold_micro=0, billed) -> Open:
    """An ask as an open session that was admitted at ``at``."""
    meter = Meter(
        session_id=ask.session_id,
        per_hour_micro=price.per_hour_micro,
        fee_micro=price.start_fee_micro,
        hold_micro=hold_micro,
        charged_micro=0,
        admitted_at=at,
        start_deadline_at=_deadline(ask, policy, at),
        billed=billed,
    )
    size = Size(ask.shape.gpu_milli, ask.shape.cpu_milli, ask.shape.memory_bytes)
    return Open(meter, size, period_limits.min_run_us(policy, limit_s))


def _count(ask, person_id, decision, limit_s, meters, usage, held, catalog, policy) -> Held:
    """The next ask of the same transaction sees this one."""
    new = _new(
        ask, decision.quote, decision.decided_at, limit_s, policy,
        hold_micro=decision.hold_micro, billed=decision.billed,
    )  # fmt: skip
    if decision.wallet_id is not None:
        meters.setdefault(decision.wallet_id, []).append(new.meter)
    applying = [
        limit
        for limit in catalog.limits
        if limit.applies(ask.person.name, ask.groups, decision.wallet_id, ask.profile)
    ]
    for scope in {x.scope(person_id) for x in applying} & usage.keys():
        for resource in limits.AT_ONCE:
            usage[scope][resource] += limits.asked(resource, ask.shape)
    return counted(applying, held, new, person_id)


def _write(tx: Tx, decided, policy: Policy, now: datetime) -> None:
    admissions, opened, groups = [], [], []
    for ask, person_id, d, limit_s in decided:
        requested = ask.requested_at or d.decided_at
        admissions.append(
            {
                "session_id": d.session_id,
                "decided_at": d.decided_at,
                "decision": d.decision,
                "reason": d.reason.code,
                "text": d.reason.text,
                "details": dict(d.reason.details),
                "hub_id": ask.hub_id,
                "person_id": person_id,
                "server_name": ask.server_name,
                "wallet_id": d.wallet_id,
                "profile": ask.profile,
                "mode": d.mode,
                "shape": ask.shape.to_json(),
                "quote": d.quote.to_json(),
                "hold_micro": d.hold_micro,
                "available_micro": d.available_micro,
                "rule_id": d.rule_id,
                "requested_at": requested,
            }
        )
        if d.may_start:
            opened.append(_session(ask, person_id, d, limit_s, requested, policy))
            groups += [
                {"session_id": d.session_id, "group_name": g} for g in sorted(set(ask.groups))
            ]
    sessions.open_new(tx, admissions, opened, groups)


def _session(ask: Ask, person_id: int, d: Decision, limit_s, requested, policy: Policy) -> dict:
    models = {g.model for g in ask.shape.gpus}
    return {
        "id": d.session_id,
        "hub_id": ask.hub_id,
        "person_id": person_id,
        "server_name": ask.server_name,
        "wallet_id": d.wallet_id,
        "state": "admitted",
        "mode": d.mode,
        "billed": d.billed,
        "profile": ask.profile,
        "spawner": ask.spawner,
        "cpu_milli": ask.shape.cpu_milli,
        "memory_bytes": ask.shape.memory_bytes,
        "gpu_milli": ask.shape.gpu_milli,
        "gpu_count": ask.shape.gpu_count,
        "gpus": ask.shape.to_json()["gpus"],
        "gpu_model": models.pop() if len(models) == 1 else ("mixed" if models else ""),
        "per_hour_micro": d.quote.per_hour_micro,
        "fee_micro": d.quote.start_fee_micro,
        "quote_lines": d.quote.to_json()["lines"],
        "quoted_at": d.quote.quoted_at,
        "hold_micro": d.hold_micro,
        "billed_from": ask.billed_from,
        "grace_s": ask.grace_s,
        "limit_s": limit_s,
        "requested_at": requested,
        "admitted_at": d.decided_at,
        "start_deadline_at": _deadline(ask, policy, d.decided_at),
        "hub_started_at": ask.hub_started_at,
        "namespace": ask.namespace,
        "pod_name": ask.pod_name,
    }
