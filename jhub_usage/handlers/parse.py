"""From what a client wrote to the values that actions take."""

from collections.abc import Mapping

from ..domain.errors import BadInput
from ..domain.money import parse_amount


def amount(body: Mapping, name: str = "amount", *, required: bool = True) -> int | None:
    """``amount`` (credits as text) or ``amount_micro`` (a whole number), not both."""
    given = [key for key in (name, f"{name}_micro") if body.get(key) is not None]
    if len(given) > 1:
        raise BadInput(f"Give “{name}” or “{name}_micro”, not both.", field=name)
    if not given:
        if required:
            raise BadInput(f"The field “{name}” is missing.", field=name)
        return None
    if given[0].endswith("_micro"):
        return body[given[0]]
    return parse_amount(body[name], what=name.replace("_", " "))


def overdraft(body: Mapping, *, default: int | None = 0) -> int | None:
    """The overdraft in micro-credits; None is unlimited."""
    micro = amount(body, "overdraft", required=False)
    if body.get("unlimited"):
        if micro:
            raise BadInput("A wallet without any limit has no overdraft.", field="overdraft")
        return None
    return default if micro is None else micro
