"""Correcting when a session started or ended: by an operator, or by better evidence of its end.

What that costs more or less is one entry, ``cost(boundaries now) - S``, in the session's own month
if that is open, else in the first open one (rule 26); usage is counted anew where it happened.
Only sessions that have ended: an open one's boundaries are still being learnt.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ..domain.admission import Policy
from ..domain.audit import SYSTEM, Actor
from ..domain.corrections import Boundaries, corrected, require_correction
from ..domain.errors import Conflict, NotFound
from ..domain.instants import iso
from ..domain.money import plain
from ..domain.periods import MONTH, next_label
from ..domain.refunds import require_note
from ..domain.sessions import ENDED
from ..domain.sightings import Sighting, is_better_end
from ..store import audit, maintenance, periods
from ..store import sessions as rows
from ..store import tables as t
from ..store.engine import Tx
from . import advancing, settling, usage

_S, _E = t.sessions_.c, t.entries.c
OPERATOR = "operator"


@dataclass(frozen=True)
class Correction:
    """What a correction books. Amounts in micro-credits."""

    session_id: str
    before: Boundaries
    after: Boundaries
    #: Back to the wallet; negative: charged besides.
    amount_micro: int
    #: Of what was given back as goodwill: what is more than is charged now, and is taken back.
    taken_back_micro: int
    #: Of what is charged besides: given back at once, for it was a start that failed.
    waived_micro: int
    #: The month that it is booked in.
    month: str
    #: False: these are its boundaries already.
    changes: bool = True

    @property
    def billed_us(self) -> int:
        """Microseconds more that are billed; negative: less."""
        return self.after.billed_us - self.before.billed_us

    @property
    def net_micro(self) -> int:
        """What the wallet has more afterwards; negative: less."""
        return self.amount_micro - self.taken_back_micro + self.waived_micro


def preview(
    tx: Tx, session_id: str, *, policy: Policy, started_at: datetime | None = None,
    ended_at: datetime | None = None,
) -> Correction:  # fmt: skip
    """What a correction would book. Writes nothing."""
    row = _known(tx, session_id)
    after = _required(tx, row, started_at, ended_at, tx.now())
    closed = periods.last_closed(tx)
    return _plan(tx, row, after, _named(started_at, ended_at), closed, policy)


def correct_boundaries(
    tx: Tx, session_id: str, *, note: str, policy: Policy, actor: Actor,
    started_at: datetime | None = None, ended_at: datetime | None = None,
    expected_micro: int | None = None,
) -> Correction:  # fmt: skip
    """Say when an ended session started or ended, and book what follows. Needs a reason.

    The same again changes nothing. ``expected_micro`` is ``net_micro`` of the preview; Conflict if
    that changed meanwhile.
    """
    note = require_note(note, what="A correction")
    row = _known(tx, session_id)
    _, now = advancing.opened(tx, [row.wallet_id], policy=policy, actor=actor)
    row = rows.lock(tx, session_id)
    after = _required(tx, row, started_at, ended_at, now)
    named = _named(started_at, ended_at)
    planned = _plan(tx, row, after, named, periods.closed_through(tx), policy)
    if not planned.changes:
        return planned
    if expected_micro not in (None, planned.net_micro):
        raise Conflict(
            f"It changed since the preview: now it is {plain(planned.net_micro)}. Look at it again."
        )
    moved = (*named, "ready") if after.ready_at != row.ready_at else named
    evidence = {f"{name}_evidence": OPERATOR for name in moved}
    return _book(tx, row, planned, evidence, note=note, policy=policy, actor=actor, now=now)


def learnt(
    tx: Tx, row, at: datetime, sighting: Sighting, *, policy: Policy, now: datetime
) -> Correction | None:
    """An end that is told of a session that has ended: better evidence corrects a worse one.

    The caller holds the wallet and the row.
    """
    if row.state != ENDED or not is_better_end(sighting.evidence, row.ended_evidence):
        return None
    _, now = advancing.opened(tx, [row.wallet_id], policy=policy, actor=SYSTEM)
    after = corrected(row, ended_at=max(at, row.started_at))
    planned = _plan(tx, row, after, (), periods.closed_through(tx), policy)
    values = {"ended_evidence": sighting.evidence}
    if row.end_reason == "lost" and sighting.reason:
        # nobody knew why; a stop that was ordered is why it was stopped
        reason = sighting.reason
        if reason == "stopped" and row.stop_ordered_at is not None and row.stop_reason:
            reason = row.stop_reason
        values["end_reason"] = reason[:32]
    note = f"It ended at {iso(after.ended_at)}, as became known later."
    return _book(tx, row, planned, values, note=note, policy=policy, actor=SYSTEM, now=now)


def _known(tx: Tx, session_id: str):
    row = rows.get(tx, session_id)
    if row is None:
        raise NotFound(f"There is no session {session_id[:80]}.")
    return row


def _named(started_at: datetime | None, ended_at: datetime | None) -> tuple[str, ...]:
    return tuple(n for n, at in (("started", started_at), ("ended", ended_at)) if at is not None)


def _required(tx: Tx, row, started_at, ended_at, now: datetime) -> Boundaries:
    installed = tx.scalar(sa.select(t.hubs.c.installed_at).where(t.hubs.c.id == row.hub_id))
    return require_correction(row, started_at, ended_at, now=now, installed_at=installed)


def _plan(
    tx: Tx, row, after: Boundaries, named: tuple[str, ...], closed: str, policy: Policy
) -> Correction:
    """What is to be booked; ``named`` are the boundaries that an operator vouches for."""
    before = Boundaries.of(row)
    vouched = all(getattr(row, f"{name}_evidence") == OPERATOR for name in named)
    whole = after.cost(row)
    books = after != before and row.billed and row.wallet_id is not None
    amount = row.charged_micro - whole if books else 0
    gifts = sa.select(_E.key, _E.amount_micro).where(_E.session_id == row.id, _E.goodwill)
    given = tx.execute(gifts).all()
    waived = any(g.key.startswith("waiver:") for g in given)
    own = periods.calendar(tx, policy.timezone).label(MONTH, after.billed_until_at)
    return Correction(
        session_id=row.id,
        before=before,
        after=after,
        amount_micro=amount,
        taken_back_micro=max(0, sum(g.amount_micro for g in given) - whole) if amount > 0 else 0,
        waived_micro=-amount if amount < 0 and waived and settling.failed_start(row) else 0,
        month=own if own > closed else next_label(MONTH, closed),
        changes=after != before or not vouched,
    )


def _book(
    tx: Tx, row, planned: Correction, values: dict, *, note: str, policy: Policy, actor: Actor,
    now: datetime,
) -> Correction:  # fmt: skip
    before, after = planned.before, planned.after
    tx.execute(t.sessions_.update().where(_S.id == row.id).values(**vars(after), **values))
    settled = row.billed and row.wallet_id is not None and row.billed_from_at is not None
    if settled and after != before:
        settling.rebook(
            tx, row, row.settled_until, policy=policy, actor=actor, now=now,
            spent_us=planned.billed_us, note=note,
        )  # fmt: skip
    new = rows.get(tx, row.id)
    if after != before:
        usage.closed(tx, new, policy=policy, before=row)
        begins = [b.billed_from_at or b.started_at for b in (before, after)]
        ends = (before.billed_until_at, after.billed_until_at)
        maintenance.look_again(tx, row.node, min(begins), max(ends))
    if settled and settling.failed_start(new):
        if not settling.failed_start(row):
            settling.waive(tx, row.id, policy=policy, actor=actor, now=now)
        elif planned.waived_micro:
            settling.waive_besides(
                tx, new, planned.waived_micro, policy=policy, actor=actor, now=now
            )
    told = {"end_reason": new.end_reason} if new.end_reason != row.end_reason else {}
    if not planned.amount_micro:
        told["note"] = note  # else it stands with the entry
    audit.write(
        tx, "session.corrected", "session", row.id, actor=actor, now=now,
        before=before.to_json(),
        after=after.to_json() | {"amount_micro": planned.amount_micro, **told},
    )  # fmt: skip
    return planned
