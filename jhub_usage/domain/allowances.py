"""Allowances: a wallet's recurring grant with a carry cap, and what a boundary does (rule 16).

Charges use what is left of it first, any credit repays debt first, and at a boundary come charges,
then expiry, then the grant, as one net entry. Amounts in micro-credits.
"""

from dataclasses import dataclass

from .errors import BadInput
from .money import require_amount
from .periods import require_period

#: How an entry changes what is left of the allowance.
USES, LEAVES, SPARES, TURNS = "uses", "leaves", "spares", "turns"


@dataclass(frozen=True)
class Allowance:
    """``amount_micro`` each ``period``. Of what is left at a boundary at most ``carry_micro`` is
    kept: 0 keeps nothing, None everything."""

    amount_micro: int
    period: str
    carry_micro: int | None = 0


@dataclass(frozen=True)
class Turned:
    """A boundary: what expired, what was granted, and the balance and rest after it."""

    expired_micro: int
    granted_micro: int
    balance_micro: int
    left_micro: int

    @property
    def net_micro(self) -> int:
        """The amount of its one entry; nothing is booked when it is 0."""
        return self.granted_micro - self.expired_micro


def require_allowance(allowance: Allowance) -> Allowance:
    """The allowance, or BadInput that says what is wrong with it."""
    require_period(allowance.period)
    require_amount(allowance.amount_micro, what="allowance", minimum=0)
    if allowance.carry_micro is not None:
        require_amount(allowance.carry_micro, what="carry cap", minimum=0)
    if allowance.amount_micro == 0 and allowance.carry_micro is None:
        raise BadInput("An allowance of nothing that never expires is none: remove it.")
    return allowance


def moved(balance_micro: int, left_micro: int, amount_micro: int, how: str) -> tuple[int, int]:
    """(balance, rest of the allowance) after an entry.

    ``uses``: a charge takes from the rest first. ``leaves``: credit and transfers do not touch it.
    ``spares``: what takes permanent credit back reaches the rest last. ``turns``: a boundary.
    """
    balance = balance_micro + amount_micro
    if how == USES:
        return balance, max(0, left_micro + min(0, amount_micro))
    if how == SPARES:
        return balance, min(left_micro, max(0, balance))
    if how == TURNS:
        return balance, max(0, min(left_micro + amount_micro, balance))
    return balance, left_micro


def turn(balance_micro: int, left_micro: int, allowance: Allowance) -> Turned:
    """What a boundary does: ``left = min(left, cap) + amount``, less the debt that it repays."""
    cap = allowance.carry_micro
    expired = 0 if cap is None else max(0, left_micro - cap)
    net = allowance.amount_micro - expired
    balance, left = moved(balance_micro, left_micro, net, TURNS)
    return Turned(expired, allowance.amount_micro, balance, left)
