"""What a wallet can spend at an instant (rules 11 to 15). When it runs dry is in ``ahead``.

``available(t) = balance + overdraft - sum of claims(t)``. No overdraft limit means unlimited:
such a wallet only records. Nothing here is ever written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .allowances import Allowance
from .instants import HOUR_US
from .sessions import Meter

ROLES = ("manager", "spender")
#: A request for credit: waiting, granted (all or part), declined, or taken back.
REQUEST_STATES = ("open", "granted", "declined", "withdrawn")
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
    allowance: Allowance | None = None
    #: How much of the balance is left of the allowance; the rest is permanent credit.
    left_micro: int = 0
    #: Every boundary up to this instant is booked.
    advanced_until: datetime | None = None


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


def allowance_left(wallet: Wallet, meters: Sequence[Meter], at: datetime) -> int:
    """What is left of the allowance once what runs has been charged up to ``at``."""
    return max(0, wallet.left_micro - sum(m.unsettled(at) for m in meters))


def transferable(wallet: Wallet, meters: Sequence[Meter], at: datetime) -> int:
    """Permanent credit that nothing claims: only that moves to another wallet (rule 16)."""
    claims = sum(m.claim(at) for m in meters)
    left = max(0, wallet.left_micro - max(0, claims))
    return wallet.balance_micro - claims - left
