"""Whom to warn and whom to stop, and when not to: rule 14 and the guard against mass stops.

Looks at values only. The instant at which a server is stopped is never before somebody could
have read the warning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .ahead import dry_at
from .limits import PERIOD_LIMIT
from .period_limits import Ending
from .periods import Calendar
from .sessions import Meter
from .wallets import Wallet, available

#: One pass stops at most this many servers, or this share of those running, whichever is more.
GUARD_COUNT = 5
GUARD_SHARE = (1, 10)
#: Why a session is warned and stopped.
REASONS = ("wallet_empty", PERIOD_LIMIT, "session_limit")


@dataclass(frozen=True)
class Running:
    """An open session as the stopping rules see it."""

    meter: Meter
    warned_at: datetime | None = None
    #: Servers from before the first install are not stopped before this instant.
    protected_until_at: datetime | None = None
    #: The limit per period that ends it, if one does.
    ending: Ending | None = None
    #: Its person has an emergency pass until then: neither is it warned for these two, nor stopped.
    passed_until: datetime | None = None


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
    #: Where that is the reason: the limit per period that is used up.
    ending: Ending | None = None


@dataclass(frozen=True)
class End:
    """What ends a session if nothing changes: when its money or time is up, and when it may be
    stopped at the earliest."""

    at: datetime
    reason: str
    stop_at: datetime


def end_of(
    running: Running,
    dry: datetime | None,
    now: datetime,
    warn_lead_s: int,
    *,
    observed: bool = False,
) -> End | None:
    """What comes first of the wallet's end (``dry``), a limit per period and the session's limit.

    ``observed``: nobody is warned, so nobody is warned late.
    """
    meter, ending, lead = running.meter, running.ending, timedelta(seconds=warn_lead_s)
    found = []
    beyond = meter.hold_ends_at()
    if dry is not None and beyond is not None:
        # within its hold a session runs on, whatever the wallet says
        found.append((max(dry, beyond), "wallet_empty"))
    if ending is not None:
        found.append((ending.at, PERIOD_LIMIT))
    if running.passed_until is not None:
        # once the pass has expired the usual warning comes first
        found = [(max(at, running.passed_until + lead), reason) for at, reason in found]
    if meter.limit_at is not None:
        found.append((meter.limit_at, "session_limit"))
    for at, reason in sorted(found):
        learnt = running.warned_at or (min(now, at - lead) if observed else now)
        stop_at = max(at, learnt + lead)
        if running.protected_until_at is not None:
            stop_at = max(stop_at, running.protected_until_at)
        # a limit that begins anew before anybody could be stopped ends nothing
        if reason != PERIOD_LIMIT or stop_at < ending.of.ends_at:
            return End(at, reason, stop_at)
    return None


def wallet_dues(
    wallet: Wallet,
    running: Sequence[Running],
    now: datetime,
    warn_lead_s: int,
    calendar: Calendar | None = None,
    *,
    observed: bool = False,
) -> list[Due]:
    """What the end of the wallet and of limits means for each of its sessions.

    The wallet is advanced to ``now``. ``observed`` as in ``end_of``.
    """
    lead = timedelta(seconds=warn_lead_s)
    meters = [r.meter for r in running]
    dry = dry_at(wallet, meters, now, calendar)
    dues = []
    for r in running:
        end = end_of(r, dry, now, warn_lead_s, observed=observed)
        if end is None or now < end.at - lead:
            continue
        dues.append(
            Due(
                r.meter.session_id,
                end.reason,
                end.stop_at,
                warn=r.warned_at is None,
                stop=now >= end.stop_at,
                over=now >= end.at,
                ending=r.ending if end.reason == PERIOD_LIMIT else None,
            )
        )
    return dues


def may_stop(
    wallet: Wallet,
    meters: Sequence[Meter],
    session_id: str,
    reason: str,
    now: datetime,
    ending: Ending | None = None,
) -> bool:
    """Asked again under the lock before every try: does the reason still hold?

    ``ending`` is what limits per period say of the session now.
    """
    meter = next((m for m in meters if m.session_id == session_id), None)
    if meter is None:
        return False
    if reason == "session_limit":
        return meter.limit_at is not None and now >= meter.limit_at
    if reason == PERIOD_LIMIT:
        return ending is not None and now >= ending.at
    left = available(wallet, meters, now)
    return left is not None and left < 0 and meter.beyond_hold(now)


def guard_trips(stopping: int, running: int) -> bool:
    """Whether one pass would stop too many at once without a person."""
    part, whole = GUARD_SHARE
    return stopping > max(GUARD_COUNT, running * part // whole)
