"""Maintenance of a node: what ran there meanwhile is recorded and not billed.

Pure: what is to be given back, or taken back again, so that a session has back exactly what it
cost within the node's windows. Amounts are micro-credits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .errors import BadInput
from .refunds import Charge, Window, merged, require_window, shares, to_give
from .sessions import Meter

#: A longer window is a typing error, or several.
LONGEST = timedelta(days=31)
#: After its end a window is looked at for so long: what ran there may become known late.
LOOK_AGAIN = timedelta(days=3)


@dataclass(frozen=True)
class Maintenance:
    """A window in which a node is worked on."""

    id: int
    node: str
    starts_at: datetime
    ends_at: datetime
    cancelled_at: datetime | None = None
    done_at: datetime | None = None

    @property
    def window(self) -> Window:
        return self.starts_at, self.ends_at

    def state(self, now: datetime) -> str:
        """planned, running, over or cancelled."""
        if self.cancelled_at is not None:
            return "cancelled"
        if now < self.starts_at:
            return "planned"
        return "running" if now < self.ends_at else "over"


STATES = ("planned", "running", "over", "cancelled")


def require_maintenance(starts_at: datetime, ends_at: datetime) -> Window:
    """The window, or BadInput that says what is wrong with it."""
    require_window(starts_at, ends_at)
    if ends_at - starts_at > LONGEST:
        raise BadInput(
            f"A maintenance is at most {LONGEST.days} days long; give a longer one in parts."
        )
    return starts_at, ends_at


def windows_of(held: Sequence[Maintenance]) -> list[Window]:
    """The windows that count, as disjoint ones: overlapping ones never give back twice."""
    return merged(m.window for m in held if m.cancelled_at is None)


@dataclass(frozen=True)
class Change:
    """What is to be posted for a session: (charge's id, amount) each way."""

    give: tuple[tuple[int, int], ...] = ()
    take: tuple[tuple[int, int], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.give or self.take)


@dataclass(frozen=True)
class Gifts:
    """What a session had back as goodwill so far, in micro-credits."""

    #: Charge's id -> what was given back of it for maintenance, less what was taken back.
    maintenance: Mapping[int, int]
    #: All refunds for other reasons, less what was taken back of them.
    others: int = 0
    #: All of it, less all that was taken back.
    total: int = 0


def change(
    meter: Meter, charges: Sequence[Charge], charged: int, windows: Sequence[Window], gifts: Gifts
) -> Change:
    """What is missing, or given too much, of what the session cost within its node's windows.

    All gifts together never exceed what it was charged. An end that was corrected to an earlier
    instant takes back what was given for time that never was.
    """
    wanted = shares(meter, charges, windows)
    most = min(charged, gifts.others + sum(wanted)) - gifts.total
    if most >= 0:
        missing = [
            max(0, share - gifts.maintenance.get(charge.id, 0))
            for charge, share in zip(charges, wanted, strict=True)
        ]
        return Change(give=tuple(to_give(charges, missing, most)))
    take, over = [], -most
    for charge_id, amount in reversed(gifts.maintenance.items()):
        taken = min(over, max(0, amount))
        if taken:
            take.append((charge_id, taken))
            over -= taken
    return Change(take=tuple(take))
