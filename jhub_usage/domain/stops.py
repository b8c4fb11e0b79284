"""Whom to warn and whom to stop, and when not to: rule 14 and the guard against mass stops.

Looks at values only. The instant at which a server is stopped is never before somebody could
have read the warning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .ahead import dry_at
from .periods import Calendar
from .sessions import Meter
from .wallets import Wallet, available

#: One pass stops at most this many servers, or this share of those running, whichever is more.
GUARD_COUNT = 5
GUARD_SHARE = (1, 10)


@dataclass(frozen=True)
class Running:
    """An open session as the stopping rules see it."""

    meter: Meter
    warned_at: datetime | None = None
    #: Servers from before the first install are not stopped before this instant.
    protected_until_at: datetime | None = None


@dataclass(frozen=True)
class Due:
    """What a session is due for. ``stop_at`` is when it may be stopped at the earliest, ``over``
    says that its money or time is up, whether it was warned or not."""

    session_id: str
    reason: str
    stop_at: datetime
    warn: bool
    stop: bool
    over: bool


def wallet_dues(
    wallet: Wallet,
    running: Sequence[Running],
    now: datetime,
    warn_lead_s: int,
    calendar: Calendar | None = None,
) -> list[Due]:
    """What the end of the wallet and of session limits means for each of its sessions.

    The wallet is advanced to ``now``.
    """
    lead = timedelta(seconds=warn_lead_s)
    meters = [r.meter for r in running]
    dry = dry_at(wallet, meters, now, calendar)
    dues = []
    for r in running:
        ends = []
        if dry is not None and r.meter.billed and r.meter.billed_from_at is not None:
            # within its hold a session runs on, whatever the wallet says
            beyond = r.meter.hold_ends_at()
            if beyond is not None:
                ends.append((max(dry, beyond), "wallet_empty"))
        if r.meter.limit_at is not None:
            ends.append((r.meter.limit_at, "session_limit"))
        if not ends:
            continue
        end, reason = min(ends)
        if now < end - lead:
            continue
        learnt = r.warned_at or now
        stop_at = max(end, learnt + lead)
        if r.protected_until_at is not None:
            stop_at = max(stop_at, r.protected_until_at)
        dues.append(
            Due(
                r.meter.session_id,
                reason,
                stop_at,
                warn=r.warned_at is None,
                stop=now >= stop_at,
                over=now >= end,
            )
        )
    return dues


def may_stop(
    wallet: Wallet, meters: Sequence[Meter], session_id: str, reason: str, now: datetime
) -> bool:
    """Asked again under the lock before every try: does the reason still hold?"""
    meter = next((m for m in meters if m.session_id == session_id), None)
    if meter is None:
        return False
    if reason == "session_limit":
        return meter.limit_at is not None and now >= meter.limit_at
    left = available(wallet, meters, now)
    return left is not None and left < 0 and meter.beyond_hold(now)


def guard_trips(stopping: int, running: int) -> bool:
    """Whether one pass would stop too many at once without a person."""
    part, whole = GUARD_SHARE
    return stopping > max(GUARD_COUNT, running * part // whole)
