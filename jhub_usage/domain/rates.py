"""Rates and quotes: what a shape costs per hour by the rates of an instant.

A rate is one price for one unit of a resource for one hour from ``starts_at`` until the next
rate of the same key; it is never edited. A quote is frozen on its session for its whole life.
Units: ``gpu`` per weighted GPU, ``cpu`` per core, ``memory`` per GiB, each per hour; ``start``
once per start.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from .errors import BadInput, NoRate
from .instants import HOUR_US, iso
from .money import require_amount
from .shapes import UNKNOWN_MODEL, Shape

RESOURCES = ("gpu", "cpu", "memory", "start")
GIB = 2**30


@dataclass(frozen=True)
class Rate:
    """A price from an instant on. ``price_micro`` None ends the rate."""

    resource: str
    model: str
    profile: str
    price_micro: int | None
    starts_at: datetime
    id: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.resource, self.model, self.profile)


@dataclass(frozen=True)
class QuoteLine:
    """One line of a quote. ``quantity_milli`` is thousandths of the resource's unit."""

    resource: str
    model: str
    profile: str
    quantity_milli: int
    price_micro: int
    amount_micro: int
    rate_id: int = 0


@dataclass(frozen=True)
class Quote:
    """What a shape costs: the hourly lines sum to ``per_hour_micro`` exactly."""

    per_hour_micro: int
    start_fee_micro: int
    lines: tuple[QuoteLine, ...]
    quoted_at: datetime | None = None

    def to_json(self) -> dict:
        return {
            "per_hour_micro": self.per_hour_micro,
            "start_fee_micro": self.start_fee_micro,
            "quoted_at": iso(self.quoted_at),
            "lines": [
                {
                    "resource": line.resource,
                    "model": line.model,
                    "profile": line.profile,
                    "quantity_milli": line.quantity_milli,
                    "price_micro": line.price_micro,
                    "amount_micro": line.amount_micro,
                    "rate_id": line.rate_id,
                }
                for line in self.lines
            ],
        }


FREE = Quote(0, 0, ())


def require_rate(rate: Rate) -> Rate:
    """The rate, or BadInput that says what is wrong with it."""
    if rate.resource not in RESOURCES:
        raise BadInput(
            f"There is no resource {rate.resource[:40]!r}: use one of {', '.join(RESOURCES)}."
        )
    if rate.model and rate.resource != "gpu":
        raise BadInput(f"A rate for {rate.resource} has no GPU model.")
    if rate.price_micro is not None:
        require_amount(rate.price_micro, what="price", minimum=0)
    return rate


def current_rate(
    rates: Iterable[Rate], resource: str, model: str, profile: str, at: datetime
) -> Rate | None:
    """The rate in force: profile and model beats profile, beats model, beats general.

    A key whose newest price is NULL has ended and falls through to the more general one.
    """
    newest: dict[tuple[str, str, str], Rate] = {}
    for rate in rates:
        if rate.resource != resource or rate.starts_at > at:
            continue
        held = newest.get(rate.key)
        if held is None or held.starts_at < rate.starts_at:
            newest[rate.key] = rate
    for wanted_profile in (profile, ""):
        for wanted_model in (model, ""):
            rate = newest.get((resource, wanted_model, wanted_profile))
            if rate is not None and rate.price_micro is not None:
                return rate
            if not model:
                break
        if not profile:
            break
    return None


def quote(
    shape: Shape,
    profile: str,
    rates: Iterable[Rate],
    at: datetime,
    *,
    refuse_unknown_model: bool = False,
) -> Quote:
    """Price a shape by the rates of ``at``. Each line is rounded down, and q is their sum.

    Raises NoRate when a GPU has no rate at all, or its model is unknown and the setting says to
    refuse that. CPU, memory and starts without a rate are free.
    """
    rates = tuple(rates)
    lines = []
    for gpus in shape.gpus:
        if refuse_unknown_model and gpus.model == UNKNOWN_MODEL:
            raise NoRate("The GPU model of this server is not known, so it has no price.")
        rate = current_rate(rates, "gpu", gpus.model, profile, at)
        if rate is None:
            raise NoRate(f"There is no rate for GPUs of model {gpus.model}.", model=gpus.model)
        lines.append(_line(rate, gpus.model, gpus.gpu_milli, gpus.gpu_milli, 1000))
    if shape.cpu_milli and (rate := current_rate(rates, "cpu", "", profile, at)):
        lines.append(_line(rate, "", shape.cpu_milli, shape.cpu_milli, 1000))
    if shape.memory_bytes and (rate := current_rate(rates, "memory", "", profile, at)):
        shown = shape.memory_bytes * 1000 // GIB
        lines.append(_line(rate, "", shown, shape.memory_bytes, GIB))
    per_hour = sum(line.amount_micro for line in lines)
    fee = 0
    if rate := current_rate(rates, "start", "", profile, at):
        fee = rate.price_micro
        lines.append(_line(rate, "", 1000, 1, 1))
    require_amount(per_hour, what="price per hour")
    return Quote(per_hour, fee, tuple(lines), at)


def _line(rate: Rate, model: str, shown_milli: int, amount: int, per: int) -> QuoteLine:
    return QuoteLine(
        rate.resource,
        model,
        rate.profile,
        shown_milli,
        rate.price_micro,
        rate.price_micro * amount // per,
        rate.id,
    )


def cost(per_hour_micro: int, fee_micro: int, elapsed_us: int | None) -> int:
    """Lifetime cost C after that many billed microseconds; None means not billed yet (rule 5)."""
    if elapsed_us is None:
        return 0
    return fee_micro + per_hour_micro * max(0, elapsed_us) // HOUR_US
