"""What a session used, cut at midnights: exact whole numbers that sum to the session (rule 10).

Units: GPUs, cores and memory times microseconds (``gpu_us`` and ``cpu_us`` in thousandths,
``memory_us`` in MiB). Usage is by when it happened, and costs what its time costs: entries that
correct or give back do not change it. Sees one session; sums are made elsewhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from .instants import HOUR_US, after, elapsed_us
from .periods import Calendar
from .sessions import Meter

MIB = 2**20


@dataclass(frozen=True)
class Used:
    """Usage within a window."""

    starts: int = 0
    elapsed_us: int = 0
    gpu_us: int = 0
    cpu_us: int = 0
    memory_us: int = 0
    cost_micro: int = 0

    def __add__(self, other: "Used") -> "Used":
        return Used(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def __neg__(self) -> "Used":
        return Used(*(-a for a in self.values()))

    def values(self) -> tuple[int, ...]:
        return (self.starts, self.elapsed_us, self.gpu_us, self.cpu_us, self.memory_us,
                self.cost_micro)  # fmt: skip


NOTHING = Used()


@dataclass(frozen=True)
class Size:
    """What a session holds while it runs: GPUs and cores in thousandths, memory in bytes."""

    gpu_milli: int = 0
    cpu_milli: int = 0
    memory_bytes: int = 0


def used(meter: Meter, size: Size, begin: datetime, end: datetime) -> Used:
    """What a session used within ``[begin, end)``, clipped to what is billed or recorded of it.

    Windows that follow each other sum to the whole: its start counts in one of them, also if it
    lasted no time at all.
    """
    since = meter.billed_from_at
    if since is None:
        return NOTHING
    starts = int(begin <= since < end)
    last = meter.billed_until_at or meter.pays_until_at
    first, end = max(begin, since), end if last is None else min(end, last)
    if end <= first and not starts:
        return NOTHING
    span = elapsed_us(first, end)
    before = meter.cost(first) if first > since else 0
    spent = (meter.cost(max(first, end)) - before) if meter.billed else 0
    return Used(
        starts,
        span,
        size.gpu_milli * span,
        size.cpu_milli * span,
        size.memory_bytes // MIB * span,
        spent,
    )


def per_day(
    meter: Meter, size: Size, end: datetime, calendar: Calendar
) -> Iterator[tuple[str, Used]]:
    """What a session used up to ``end``, day by day; the days sum to the whole exactly."""
    since = meter.billed_from_at
    if since is None:
        return
    last = meter.billed_until_at or meter.pays_until_at
    end = end if last is None else min(end, last)
    if end <= since:
        if end == since and meter.billed_until_at is not None:
            # one that lasted no time happened all the same
            yield calendar.day(since).isoformat(), used(meter, size, since, after(since, 1))
        return
    for day, first, until in calendar.cuts(since, end):
        yield day, used(meter, size, first, until)


# -- sums, as reports have them -------------------------------------------------------------------


@dataclass(frozen=True)
class NodeCores:
    """How many cores a whole node has: by the node's name, else ``default``; 0 is not known."""

    of: Mapping[str, int] = field(default_factory=dict)
    default: int = 0

    def cores(self, node: str) -> int:
        return self.of.get(node, self.default)


@dataclass(frozen=True)
class Summed:
    """Usage of any number of sessions, and what reports make of its cores (rule 10)."""

    used: Used = NOTHING
    #: Cores beside GPUs, in thousandths times microseconds.
    total_core_us: int = 0
    #: Nodes of sessions without GPUs, in thousandths times microseconds; None where a node's
    #: cores are not known.
    total_node_us: Fraction | int | None = 0

    def __add__(self, other: "Summed") -> "Summed":
        nodes = None
        if self.total_node_us is not None and other.total_node_us is not None:
            nodes = self.total_node_us + other.total_node_us
        return Summed(self.used + other.used, self.total_core_us + other.total_core_us, nodes)


def summed(spent: Used, *, gpus: bool, node_cores: int) -> Summed:
    """What sessions of one kind, with or without GPUs, on nodes of so many cores, count as.

    With GPUs their cores are core-hours; without they are parts of a node: node-hours.
    """
    if gpus:
        return Summed(spent, spent.cpu_us)
    if not spent.cpu_us:
        return Summed(spent)
    return Summed(spent, 0, Fraction(spent.cpu_us, node_cores) if node_cores else None)


#: Decimals of hours as they are shown: a millionth is 3.6 milliseconds.
HOUR_DECIMALS = 6


def milli_hours(amount_us: int | Fraction) -> str:
    """Thousandths times microseconds as hours: GPU-hours, core-hours, node-hours."""
    return decimal(Fraction(amount_us, 1000 * HOUR_US))


def memory_hours(memory_us: int) -> str:
    """MiB times microseconds as GiB-hours."""
    return decimal(Fraction(memory_us, 1024 * HOUR_US))


def hours(amount_us: int) -> str:
    """Microseconds as hours."""
    return decimal(Fraction(amount_us, HOUR_US))


def decimal(value: Fraction) -> str:
    """An exact number as a decimal without trailing zeros, rounded half up in its last place."""
    step = 10**HOUR_DECIMALS
    units = (abs(value) * step + Fraction(1, 2)).__floor__()
    whole, rest = divmod(units, step)
    tail = f"{rest:0{HOUR_DECIMALS}d}".rstrip("0")
    sign = "-" if value < 0 and units else ""
    return f"{sign}{whole}.{tail}" if tail else f"{sign}{whole}"


def measures(s: Summed) -> dict[str, int | str | None]:
    """A sum as it is shown: hours are decimals as text, what is not known is None."""
    nodes = s.total_node_us
    return {
        "starts": s.used.starts,
        "hours": hours(s.used.elapsed_us),
        "gpu_hours": milli_hours(s.used.gpu_us),
        "core_hours": milli_hours(s.used.cpu_us),
        "memory_gib_hours": memory_hours(s.used.memory_us),
        "total_core_hours": milli_hours(s.total_core_us),
        "total_node_hours": None if nodes is None else milli_hours(nodes),
        "cost_micro": s.used.cost_micro,
    }
