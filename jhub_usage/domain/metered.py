"""What quantities cost that somebody else meters: storage, tokens, traffic (rule 31).

A price may be far below a micro-credit. So a wallet's cost of one resource in one month is summed
exactly, in millionths of a micro-credit, and charged rounded down as a whole: a million events of
0.4 micro-credits are 400,000, not 0. Sees one sum; who keeps it is not known here.
"""

import re
from decimal import Decimal, Inexact, InvalidOperation, localcontext

from .errors import BadInput

#: Millionths of a micro-credit in a micro-credit; a credit has twelve decimals of them.
PER_MICRO = 10**6
DECIMALS = 12
#: What the database can hold of one resource, wallet and month.
MOST_PICO = 2**63 - 1
MOST_QUANTITY = 10**18
KEY = "charge:metered:"
_RESOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")


def require_resource(name: str) -> str:
    """A resource's name, or BadInput: letters, digits and ``._/-``, 64 at most."""
    if not _RESOURCE.fullmatch(name):
        raise BadInput(
            f"{name[:80]!r} does not name a resource: use letters, digits and . _ / -, "
            "64 characters at most.",
            field="resource",
        )
    return name


def exact_number(value: str | int | Decimal, *, what: str, most: int) -> Decimal:
    """A number that is not negative, of at most twelve decimals, without trailing zeros.

    Raises BadInput for floats and for anything that is no such number.
    """
    if isinstance(value, bool | float):
        raise BadInput(f"The {what} must be written as text or a whole number, not {value!r}.")
    text = str(value).strip()
    try:
        number = Decimal(text)
        if not number.is_finite():
            raise InvalidOperation
    except InvalidOperation:
        raise BadInput(f"The {what} {text[:40]!r} is not a number.", field=what) from None
    if number < 0:
        raise BadInput(f"The {what} must not be negative.", field=what)
    if number > most:
        raise BadInput(f"The {what} {text[:40]} is beyond {most:,}.", field=what)
    try:
        with localcontext() as context:
            context.prec, context.traps[Inexact] = 80, True
            return number.quantize(Decimal(1).scaleb(-DECIMALS)).normalize()
    except (Inexact, InvalidOperation):
        raise BadInput(
            f"The {what} {text[:40]} has more than twelve decimals.", field=what
        ) from None


def cost_pico(quantity: Decimal, price: Decimal) -> int:
    """What a quantity costs at a price in credits per unit, exactly; BadInput where it is finer."""
    with localcontext() as context:
        context.prec, context.traps[Inexact] = 80, True
        exact = (quantity * price).scaleb(DECIMALS)
        if exact != exact.to_integral_value():
            raise BadInput(
                "This quantity at this price is finer than the twelfth decimal of a credit: "
                "meter whole units.",
                field="quantity",
            )
        return int(exact)


def due(exact_pico: int, quantity: Decimal, price: Decimal) -> tuple[int, int]:
    """(the exact sum after a quantity, micro-credits to be charged for it now).

    What is charged in all is the exact sum rounded down. Raises BadInput for a sum that can not
    be kept.
    """
    after = exact_pico + cost_pico(quantity, price)
    if after > MOST_PICO:
        most = MOST_PICO // PER_MICRO // 10**6
        raise BadInput(
            f"One resource costs a wallet at most {most:,} credits a month: meter it under "
            "several names."
        )
    return after, after // PER_MICRO - exact_pico // PER_MICRO


def entry_key(wallet_id: int, resource: str, month: str, charged_micro: int) -> str:
    """The key of the charge after which so much was charged in all."""
    return f"{KEY}{wallet_id}:{resource}:{month}:{charged_micro}"


def read_key(key: str) -> tuple[int, str, str, int] | None:
    """(wallet, resource, month, charged in all) of such a charge's key; None for another key."""
    parts = key.removeprefix(KEY).split(":")
    if not key.startswith(KEY) or len(parts) != 4:
        return None
    wallet_id, resource, month, charged = parts
    if not (wallet_id.isdecimal() and charged.isdecimal()):
        return None
    return int(wallet_id), resource, month, int(charged)


def credits_text(exact_pico: int) -> str:
    """An exact sum in credits, all of its decimals: ``0.0000004``."""
    whole, rest = divmod(exact_pico, 10**DECIMALS)
    tail = f"{rest:0{DECIMALS}d}".rstrip("0")
    return f"{whole}.{tail}" if tail else f"{whole}"
