"""What a wallet can spend at an instant, and when it runs dry (rules 11 to 15).

``available(t) = balance + overdraft - sum of claims(t)``. No overdraft limit means unlimited:
such a wallet only records. Nothing here is ever written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .instants import HOUR_US, after, elapsed_us
from .sessions import Meter

#: Looking further ahead than this is of no use to anybody.
HORIZON_US = 10 * 366 * 24 * HOUR_US

ROLES = ("manager", "spender")
ENTRY_KINDS = ("grant", "charge", "refund", "correction", "transfer", "expiry")


@dataclass(frozen=True)
class Wallet:
    """A wallet's stored state. ``overdraft_micro`` None is unlimited."""

    id: int
    name: str
    balance_micro: int
    overdraft_micro: int | None
    mode: str | None = None
    closed: bool = False


def available(wallet: Wallet, meters: Sequence[Meter], at: datetime) -> int | None:
    """What can still be spent at ``at``; None when nothing limits it."""
    if wallet.overdraft_micro is None:
        return None
    return wallet.balance_micro + wallet.overdraft_micro - sum(m.claim(at) for m in meters)


def admission_available(wallet: Wallet, meters: Sequence[Meter], at: datetime) -> int | None:
    """The same as admission sees it: an unknown start accrues from its admission (rule 13)."""
    if wallet.overdraft_micro is None:
        return None
    claims = sum(m.admission_claim(at) for m in meters)
    return wallet.balance_micro + wallet.overdraft_micro - claims


def burn_per_hour(meters: Sequence[Meter], at: datetime) -> int:
    """Micro-credits per hour that the running sessions take."""
    return sum(m.per_hour_micro for m in meters if m.accrues(at))


def beyond_hold_reserve(meters: Sequence[Meter], at: datetime, warn_lead_s: int) -> int:
    """What must stay free so that a start does not kill a running server at once (rule 15)."""
    burn = sum(m.per_hour_micro for m in meters if m.beyond_hold(at) and m.accrues(at))
    return burn * warn_lead_s * 1_000_000 // HOUR_US


def dry_at(wallet: Wallet, meters: Sequence[Meter], now: datetime) -> datetime | None:
    """The first instant from ``now`` on with ``available < 0``; None if it never comes.

    Without grants in between, available never rises except where an unmet start deadline frees
    a hold; between those deadlines it is monotone, so the exact microsecond is found by bisection.
    """
    if wallet.overdraft_micro is None:
        return None

    money = wallet.balance_micro + wallet.overdraft_micro

    def spent(us: int) -> bool:
        at = after(now, us)
        # a session with a limit is stopped there, so it claims no more beyond it
        return money < sum(
            m.claim(at if m.limit_at is None else min(at, m.limit_at)) for m in meters
        )

    frees = sorted(
        elapsed_us(now, m.start_deadline_at)
        for m in meters
        if m.billed_from_at is None and not m.sighted and m.start_deadline_at > now
    )
    begin = 0
    for end in [*frees, HORIZON_US]:
        if spent(begin):
            return after(now, begin)
        last = end - 1 if end < HORIZON_US else end
        if last > begin and spent(last):
            low, high = begin, last
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if spent(middle) else (middle, high)
            return after(now, high)
        begin = end
    return None
