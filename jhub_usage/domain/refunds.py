"""What is given back of charges that are booked: all that is left, or what grew in a window.

A charge is never changed: refunds are entries of their own, and those of a charge never sum to
more than the charge. Sees one session's meter and charges; who asks and why is not known here.
Amounts are micro-credits, windows are half-open.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from .errors import BadInput
from .instants import elapsed_us, iso
from .names import require_name
from .sessions import Meter

#: Sessions that one batch of refunds may hold: they are given back in one transaction.
MOST_SESSIONS = 5000
MOST_NOTE = 2000

Window = tuple[datetime, datetime]


@dataclass(frozen=True)
class Filter:
    """Which sessions are meant; what is empty says nothing. Names are compared whole."""

    node: str = ""
    #: What grew from ``begins_at`` until before ``ends_at``; without both: all that is left.
    begins_at: datetime | None = None
    ends_at: datetime | None = None
    profile: str = ""
    #: How the session ended, as its row says.
    end_reason: str = ""
    person: str = ""
    wallet: str = ""
    #: Of 1 to 100; what remains of a micro-credit is not given.
    percent: int = 100

    @property
    def window(self) -> Window | None:
        return None if self.begins_at is None else (self.begins_at, self.ends_at)

    def to_json(self) -> dict:
        """What was asked for, without what was left open."""
        shown = {name: value for name, value in vars(self).items() if value not in ("", None)}
        for name in ("begins_at", "ends_at"):
            if name in shown:
                shown[name] = iso(shown[name])
        return shown


def require_filter(asked: Filter) -> Filter:
    """The filter, or BadInput that says what is wrong with it."""
    if (asked.begins_at is None) != (asked.ends_at is None):
        raise BadInput("A window has a begin and an end: give both, or none.")
    if asked.window is not None:
        require_window(*asked.window)
    for name, what in (
        ("node", "node"),
        ("profile", "profile"),
        ("end_reason", "reason of the end"),
        ("person", "person's name"),
        ("wallet", "wallet's name"),
    ):
        if getattr(asked, name):
            require_name(getattr(asked, name), what=what)
    named = (asked.node, asked.profile, asked.end_reason, asked.person, asked.wallet)
    if asked.window is None and not any(named):
        raise BadInput(
            "Say what is to be given back: a node, a window, a profile, how it ended, "
            "a person or a wallet."
        )
    whole = isinstance(asked.percent, int) and not isinstance(asked.percent, bool)
    if not whole or not 1 <= asked.percent <= 100:
        raise BadInput("The share that is given back is a whole number from 1 to 100 percent.")
    return asked


def require_window(begins_at: datetime, ends_at: datetime) -> Window:
    """The window, or BadInput when it ends before it begins."""
    if ends_at <= begins_at:
        raise BadInput("A window ends after it begins.")
    return begins_at, ends_at


def require_note(note: str, *, what: str) -> str:
    """Words that say why, or BadInput."""
    words = str(note).strip()
    if not words:
        raise BadInput(f"{what} needs a reason: say why.")
    if len(words) > MOST_NOTE:
        raise BadInput(f"The reason is longer than {MOST_NOTE} characters.")
    return words


@dataclass(frozen=True)
class Charge:
    """What a session was charged by one entry, and what refunds and corrections took back of it.

    A booked slice ``[begin, end)``, or, without these, what a correction of the session's
    boundaries charged besides.
    """

    id: int
    begin: datetime | None
    end: datetime | None
    amount_micro: int
    back_micro: int = 0
    #: Of what was given back: what was taken back again. It makes no room here: the refunds of a
    #: charge never sum to more than it.
    taken_micro: int = 0

    @property
    def left_micro(self) -> int:
        return max(0, self.amount_micro - self.back_micro)


def merged(windows: Iterable[Window]) -> list[Window]:
    """The same instants as windows that do not overlap, in order: nothing counts twice."""
    found: list[Window] = []
    for begin, end in sorted(windows):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def within_us(meter: Meter, windows: Sequence[Window], now: datetime) -> int:
    """Microseconds that the wallet pays for within disjoint windows, so far."""
    if meter.billed_from_at is None:
        return 0
    last = meter.billed_until_at or meter.pays_until_at
    last = now if last is None else min(now, last)
    return sum(
        elapsed_us(max(begin, meter.billed_from_at), min(end, last)) for begin, end in windows
    )


def shares(meter: Meter, charges: Sequence[Charge], windows: Sequence[Window]) -> list[int]:
    """What the cost of an ended session grew within disjoint windows, charge by charge.

    Exact: C at the end of a window less C at its begin, the fee at the first billed instant. A
    slice stands for everything from its begin to that of the next one, so the shares sum to what
    grew; what is more than the slice was charged fell to a correction, and is given back of that.
    """
    slices = [c for c in charges if c.begin is not None]
    found, beyond = {}, 0
    for number, charge in enumerate(slices):
        begin = None if number == 0 else charge.begin
        end = None if charge is slices[-1] else slices[number + 1].begin
        grown = sum(_grown(meter, window, begin, end) for window in windows)
        found[charge.id] = min(grown, charge.amount_micro)
        beyond += grown - found[charge.id]
    for charge in charges:
        if charge.id not in found:
            found[charge.id] = min(beyond, charge.amount_micro)
            beyond -= found[charge.id]
    return [found[charge.id] for charge in charges]


def _grown(meter: Meter, window: Window, begin: datetime | None, end: datetime | None) -> int:
    """What the cost grew within a window and ``[begin, end)``, None being without end."""
    first = window[0] if begin is None else max(window[0], begin)
    last = window[1] if end is None else min(window[1], end)
    return max(0, _before(meter, last) - _before(meter, first))


def _before(meter: Meter, at: datetime) -> int:
    """The cost of everything before ``at``; the first billed instant brings the fee."""
    if meter.billed_from_at is None or at <= meter.billed_from_at:
        return 0
    return meter.cost(at)


def part(amounts: Sequence[int], percent: int) -> list[int]:
    """So many percent of each: their sum is that part of the whole, rounded down once."""
    found, whole, given = [], 0, 0
    for amount in amounts:
        whole += amount
        found.append(whole * percent // 100 - given)
        given += found[-1]
    return found


def to_give(charges: Sequence[Charge], wanted: Sequence[int], most: int) -> list[tuple[int, int]]:
    """(charge's id, amount) of what is given: never more than is left of a charge, nor ``most``.

    ``most`` is what is left of all that the session was charged. What was given of a slice and
    taken back once is given of a correction that charged the same time again.
    """
    found, again = dict.fromkeys([charge.id for charge in charges], 0), 0
    for charge, amount in zip(charges, wanted, strict=True):
        found[charge.id] = min(amount, charge.left_micro, most)
        most -= found[charge.id]
        again += min(amount - found[charge.id], charge.taken_micro)
    for charge in charges:
        if charge.begin is None:
            more = min(again, charge.left_micro - found[charge.id], most)
            found[charge.id] += more
            again, most = again - more, most - more
    return [(charge_id, amount) for charge_id, amount in found.items() if amount > 0]


def of_filter(asked: Filter, meter: Meter, charges: Sequence[Charge], most: int) -> list:
    """(charge's id, amount) that a filter gives back of one ended session."""
    if asked.window is None:
        wanted = [charge.left_micro for charge in charges]
    else:
        wanted = shares(meter, charges, [asked.window])
    return to_give(charges, part(wanted, asked.percent), most)
