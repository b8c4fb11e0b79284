"""Money: integers of micro-credits, and how people write and read them.

One credit is 1,000,000 micro-credits. No float ever holds an amount: what arrives as one is
refused at the door, since 0.1 + 0.2 has no exact answer.
"""

from dataclasses import dataclass
from decimal import Decimal, Inexact, InvalidOperation, localcontext

from .errors import BadInput

MICRO = 1_000_000
#: The largest amount that one entry, rate or limit may hold: 10^9 credits.
MAX_AMOUNT_MICRO = 10**9 * MICRO


@dataclass(frozen=True)
class Currency:
    """How credits are named for people."""

    code: str = "USD"
    symbol: str = "$"
    decimals: int = 2


def parse_amount(value: str | int | Decimal, *, what: str = "amount") -> int:
    """Credits as people write them (``"12.50"``, ``3``) -> micro-credits.

    Raises BadInput for floats, more than six decimals, text that is no number, or more than
    10^9 credits either way.
    """
    if isinstance(value, (bool, float)):
        raise BadInput(f"The {what} must be written as text or a whole number, not {value!r}.")
    text = str(value).strip()
    try:
        credits = Decimal(text)
    except InvalidOperation:
        raise BadInput(f"The {what} {text[:40]!r} is not a number.") from None
    if not credits.is_finite():
        raise BadInput(f"The {what} {text[:40]!r} is not a number.")
    most = MAX_AMOUNT_MICRO // MICRO
    if not -most <= credits <= most:  # abs() would compute, and 1e999999999 overflows
        raise BadInput(f"The {what} {text[:40]} is beyond 1,000,000,000 credits.")
    finer = BadInput(f"The {what} {text[:40]} has more than six decimals.")
    try:
        with localcontext() as context:
            # the 36th decimal must not be rounded away either
            context.prec, context.traps[Inexact] = 80, True
            micro = credits * MICRO
    except Inexact:
        raise finer from None
    if micro != micro.to_integral_value():
        raise finer
    return int(micro)


def require_amount(micro: int, *, what: str = "amount", minimum: int | None = None) -> int:
    """An int of micro-credits within bounds, or BadInput."""
    if isinstance(micro, bool) or not isinstance(micro, int):
        raise BadInput(f"The {what} must be a whole number of micro-credits.")
    if abs(micro) > MAX_AMOUNT_MICRO:
        raise BadInput(f"The {what} is beyond 1,000,000,000 credits.")
    if minimum is not None and micro < minimum:
        least = "more than nothing" if minimum == 1 else f"at least {plain(minimum)}"
        raise BadInput(f"The {what} must be {least}.")
    return micro


def plain(micro: int) -> str:
    """Micro-credits as an exact decimal without trailing zeros: ``12.5``."""
    sign = "-" if micro < 0 else ""
    whole, rest = divmod(abs(micro), MICRO)
    tail = f"{rest:06d}".rstrip("0")
    return f"{sign}{whole}.{tail}" if tail else f"{sign}{whole}"


def show(micro: int, currency: Currency = Currency()) -> str:
    """Micro-credits for people: ``$1,234.50``; rounded half away from zero to the decimals."""
    step = 10 ** (6 - currency.decimals)
    units, rest = divmod(abs(micro), step)
    if rest * 2 >= step:
        units += 1
    sign = "-" if micro < 0 and units else ""
    whole, part = divmod(units, 10**currency.decimals)
    digits = f"{whole:,}"
    if currency.decimals:
        digits += f".{part:0{currency.decimals}d}"
    if currency.symbol:
        return f"{sign}{currency.symbol}{digits}"
    return f"{sign}{digits} {currency.code}"
