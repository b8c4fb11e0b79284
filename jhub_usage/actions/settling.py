"""Charging a session: up to an instant, at its end, again when its boundaries were wrong.

The callers hold the session's wallet and row. What is due for the wallet goes first, so an end
that is learnt late is booked at its own instant, before the boundaries that came after it.
"""

from datetime import datetime

import sqlalchemy as sa

from ..domain.admission import Policy
from ..domain.audit import Actor
from ..domain.errors import CatchUpNeeded
from ..domain.instants import elapsed_us, iso, to_micros
from ..domain.sessions import Meter
from ..store import ledger, periods
from ..store import sessions as rows
from ..store import tables as t
from ..store import wallets as wallet_rows
from ..store.engine import Tx
from . import advancing, usage

_S, _E = t.sessions_.c, t.entries.c


def finish(tx: Tx, row, *, policy: Policy, actor: Actor, now: datetime) -> None:
    """Settle a session that has just ended, and count its usage."""
    if row.billed and row.wallet_id is not None and row.billed_from_at is not None:
        before = row.settled_until
        now = _book(tx, row.wallet_id, policy=policy, actor=actor, ended=rows.meter(row))
        if before is not None and before > row.billed_until_at:
            # charged beyond what turned out to be its end
            note = f"It ended at {iso(row.billed_until_at)}, as became known later."
            rebook(tx, row, before, policy=policy, actor=actor, now=now, note=note)
    usage.closed(tx, row, policy=policy)


def settle(tx: Tx, row, until: datetime, *, policy: Policy, actor: Actor) -> int:
    """Charge a session up to ``until``; micro-credits that this charged."""
    if not row.billed or row.wallet_id is None or row.billed_from_at is None:
        return 0
    before = row.charged_micro
    now = _book(tx, row.wallet_id, policy=policy, actor=actor)
    row = rows.get(tx, row.id)
    meter = rows.meter(row)
    # what lies ahead has not been used yet
    last = min(x for x in (until, now, row.billed_until_at, meter.pays_until_at) if x is not None)
    begin = row.settled_until or row.billed_from_at
    if last > begin:
        amount = meter.cost(last) - meter.settled()
        if amount:
            entry = ledger.NewEntry(
                wallet_id=row.wallet_id,
                kind="charge",
                amount_micro=-amount,
                key=f"charge:{row.id}:{to_micros(begin)}",
                effective_at=last,
                session_id=row.id,
                slice_start=begin,
                slice_end=last,
            )
            ledger.post(tx, entry, actor=actor, now=now, timezone=policy.timezone)
        tx.execute(
            t.sessions_.update()
            .where(_S.id == row.id)
            .values(settled_until=last, charged_micro=_S.charged_micro + amount)
        )
    return rows.get(tx, row.id).charged_micro - before


def _book(
    tx: Tx, wallet_id: int, *, policy: Policy, actor: Actor, ended: Meter | None = None
) -> datetime:
    locked = wallet_rows.lock(tx, [wallet_id])
    meters, now = rows.open_meters_now(tx, locked)
    if ended is not None:
        meters[wallet_id] = [*meters[wallet_id], ended]
    ahead = advancing.book(tx, locked, meters, now, policy=policy, actor=actor)
    if ahead[wallet_id] is None:
        raise CatchUpNeeded(locked[wallet_id].name)
    return advancing.clamped(now, locked.values())


def rebook(
    tx: Tx, row, settled_until: datetime, *, policy: Policy, actor: Actor, now: datetime,
    spent_us: int | None = None, note: str = "",
) -> int:  # fmt: skip
    """Book what a session's boundaries now say against what was charged (rule 26).

    ``cost(boundaries now) - S``, in the first open month if its own is closed, with the usage
    that it adds or takes back. Micro-credits that were given back, negative when charged.
    """
    row = rows.get(tx, row.id)
    due = rows.meter(row).cost(row.billed_until_at) - row.charged_micro
    if spent_us is None:
        spent_us = -elapsed_us(row.billed_until_at, settled_until)
    values = {"settled_until": row.billed_until_at, "revision": row.revision + 1}
    if due:
        entry = ledger.NewEntry(
            wallet_id=row.wallet_id,
            kind="correction",
            amount_micro=-due,
            key=f"correction:{row.id}:{row.revision + 1}",
            effective_at=row.billed_until_at,
            session_id=row.id,
            elapsed_us=spent_us,
            how="uses" if due > 0 else None,
            note=note,
        )
        ledger.post(tx, entry, actor=actor, now=now, timezone=policy.timezone)
        values["charged_micro"] = row.charged_micro + due
    tx.execute(t.sessions_.update().where(_S.id == row.id).values(**values))
    if due < 0:
        _take_back(tx, row, row.charged_micro + due, policy=policy, actor=actor, now=now)
    return -due


def _take_back(tx: Tx, row, charged: int, *, policy: Policy, actor: Actor, now: datetime) -> None:
    """Gifts never exceed what is charged: what a correction gave back was given already."""
    gifts = tx.execute(
        sa.select(_E.id, _E.kind, _E.amount_micro)
        .where(_E.session_id == row.id, _E.goodwill)
        .order_by(_E.id)
    ).all()
    over = sum(g.amount_micro for g in gifts) - charged
    if over <= 0:
        return
    entry = ledger.NewEntry(
        wallet_id=row.wallet_id,
        kind="correction",
        amount_micro=-over,
        key=f"correction:gift:{row.id}:{row.revision + 1}",
        effective_at=now,
        session_id=row.id,
        corrects_id=[g.id for g in gifts if g.kind == "refund"][-1],
        goodwill=True,
    )
    ledger.post(tx, entry, actor=actor, now=now, timezone=policy.timezone)


def failed_start(row) -> bool:
    """Whether an ended session is a start that failed: a container ran, the server never did."""
    return row.end_reason == "start_failed" or (row.ready_at is None and row.end_reason == "died")


def waive(tx: Tx, session_id: str, *, policy: Policy, actor: Actor, now: datetime) -> None:
    """A failed start is billed and given back, visibly, some times a day per person (rule 7)."""
    row = rows.get(tx, session_id)
    begin, end = periods.day_of(tx, row.ended_at, policy.timezone)
    given = tx.scalar(
        sa.select(sa.func.count(_E.session_id.distinct()))
        .select_from(t.entries.join(t.sessions_, _E.session_id == _S.id))
        .where(
            _E.kind == "refund",
            _E.key.like("waiver:%"),
            _S.person_id == row.person_id,
            _S.id != row.id,
            _E.effective_at >= begin,
            _E.effective_at < end,
        )
    )
    if given >= policy.failed_start_refunds_per_day:
        return
    # what a correction of its boundaries charged besides is given back as well
    besides = sa.and_(
        _E.kind == "correction", _E.amount_micro < 0, _E.corrects_id.is_(None), ~_E.goodwill
    )
    charges = tx.execute(
        sa.select(_E.id, _E.amount_micro, _E.session_id)
        .where(_E.session_id == row.id, sa.or_(_E.kind == "charge", besides))
        .order_by(_E.id)
    ).all()
    for charge in charges:
        left = ledger.refundable(tx, charge)
        if left > 0:
            _waive(tx, row, charge.id, left, policy=policy, actor=actor, now=now)


def waive_besides(tx: Tx, row, amount: int, *, policy: Policy, actor: Actor, now: datetime) -> None:
    """Give back what the last correction of a waived start's boundaries charged besides.

    That, and no more: what people booked on it by hand stays as they said.
    """
    entry_id = tx.scalar(sa.select(_E.id).where(_E.key == f"correction:{row.id}:{row.revision}"))
    _waive(tx, row, entry_id, amount, policy=policy, actor=actor, now=now)


def _waive(
    tx: Tx, row, charge_id: int, amount: int, *, policy: Policy, actor: Actor, now: datetime
) -> None:
    entry = ledger.NewEntry(
        wallet_id=row.wallet_id,
        kind="refund",
        amount_micro=amount,
        key=f"waiver:{row.id}:{charge_id}",
        effective_at=row.ended_at,
        session_id=row.id,
        corrects_id=charge_id,
        goodwill=True,
        note="The start failed.",
    )
    ledger.post(tx, entry, actor=actor, now=now, timezone=policy.timezone)
