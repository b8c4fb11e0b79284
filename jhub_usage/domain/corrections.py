"""When a session's boundaries were wrong: what they become, and whether that can be.

Only its start and its end are told; from where and until when the wallet pays follows from them by
the setting that was frozen at admission, and by rule 8. Rows are anything with the table's columns
as attributes. Reads no clock; what is booked for it is not known here.
"""

from dataclasses import dataclass, fields
from datetime import datetime

from .errors import BadInput, Conflict
from .instants import elapsed_us, iso
from .rates import cost
from .sessions import ENDED, billed_end, billed_from


@dataclass(frozen=True)
class Boundaries:
    """From when until when a session ran, and the wallet pays; what the platform bears."""

    started_at: datetime
    ended_at: datetime
    billed_from_at: datetime | None
    billed_until_at: datetime
    platform_us: int = 0
    #: When it answered; None: never.
    ready_at: datetime | None = None

    @classmethod
    def of(cls, row) -> "Boundaries":
        return cls(*(getattr(row, f.name) for f in fields(cls)))

    @property
    def billed_us(self) -> int:
        """Microseconds that the wallet pays for."""
        if self.billed_from_at is None:
            return 0
        return elapsed_us(self.billed_from_at, self.billed_until_at)

    def cost(self, row) -> int:
        """What the session costs by them, in micro-credits."""
        if not row.billed or self.billed_from_at is None:
            return 0
        return cost(row.per_hour_micro, row.fee_micro, self.billed_us)

    def to_json(self) -> dict:
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: iso(v) if k.endswith("_at") else v for k, v in found.items()}


def corrected(
    row, started_at: datetime | None = None, ended_at: datetime | None = None
) -> Boundaries:
    """The boundaries with another start, end, or both.

    What begins the bill stays, unless the start moved. Nothing answers before it started.
    """
    begin, end = started_at or row.started_at, ended_at or row.ended_at
    since, ready = row.billed_from_at, row.ready_at
    if begin != row.started_at:
        ready = max(begin, ready) if ready is not None else None
        since = billed_from(row.billed_from, row.scheduled_at, begin, ready)
    until, platform_us = billed_end(end, row.stop_accepted_at, row.grace_s)
    if since is not None:
        until = max(until, since)
    return Boundaries(begin, end, since, until, platform_us, ready)


def require_correction(
    row, started_at: datetime | None, ended_at: datetime | None, *, now: datetime,
    installed_at: datetime,
) -> Boundaries:  # fmt: skip
    """The boundaries as an operator says they were, or what is wrong with that."""
    if row.state != ENDED:
        raise Conflict(
            "A session that never ran has no boundaries to correct."
            if row.state == "void"
            else "This session is not over: its boundaries can be corrected once it has ended."
        )
    if started_at is None and ended_at is None:
        raise BadInput("Say when it started, when it ended, or both.")
    found = corrected(row, started_at, ended_at)
    if found.ended_at > now:
        raise BadInput(f"It can not have ended at {iso(found.ended_at)}, which lies ahead.")
    if found.ended_at < found.started_at:
        raise BadInput(
            f"It can not have ended at {iso(found.ended_at)}, before its start at "
            f"{iso(found.started_at)}."
        )
    if started_at is None or started_at == row.started_at:
        return found
    first = max(min(row.requested_at, row.admitted_at, row.started_at), installed_at)
    if started_at < min(first, row.started_at):
        raise BadInput(
            f"It can not have started at {iso(started_at)}: it was asked for at {iso(first)}."
        )
    return found
