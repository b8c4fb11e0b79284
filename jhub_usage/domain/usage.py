"""What a session used, cut at midnights: exact whole numbers that sum to the session (rule 10).

Units: GPUs, cores and memory times microseconds (``gpu_us`` and ``cpu_us`` in thousandths,
``memory_us`` in MiB). Usage is by when it happened, and costs what its time costs: entries that
correct or give back do not change it. Sees one session; sums are made elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from .instants import elapsed_us
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
    """What a session used within ``[begin, end)``, clipped to what is billed or recorded of it."""
    since = meter.billed_from_at
    if since is None:
        return NOTHING
    last = meter.billed_until_at or meter.pays_until_at
    first, end = max(begin, since), end if last is None else min(end, last)
    # a session that lasted no time happened all the same
    starts = int(begin <= since and (since < end or since == end == last))
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
            yield calendar.day(since).isoformat(), used(meter, size, since, since)
        return
    for day, first, until in calendar.cuts(since, end):
        yield day, used(meter, size, first, until)
