"""What is due for a wallet up to an instant: slices, expiries and grants, boundary by boundary.

One pure function that every locking action runs first, pages apply without writing, and the
service runs on time (rule 17), so that a service that was away catches up to the same entries.
Sees one wallet; who writes what is due is not known here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .allowances import USES, moved, turn
from .instants import elapsed_us
from .periods import MONTH, Calendar
from .sessions import Meter
from .wallets import Wallet

#: Catching up further than this at once needs a person: the clock may be wrong (rule 3).
FAR = timedelta(days=62)


@dataclass(frozen=True)
class Slice:
    """A part of a session to be charged: ``[begin, end)``, the fee in the first one."""

    at: datetime
    session_id: str
    begin: datetime
    end: datetime
    amount_micro: int

    @property
    def elapsed_us(self) -> int:
        return elapsed_us(self.begin, self.end)


@dataclass(frozen=True)
class Turn:
    """An allowance boundary: the period that begins, and its one net amount, never 0."""

    at: datetime
    label: str
    net_micro: int
    expired_micro: int
    granted_micro: int


@dataclass(frozen=True)
class Advanced:
    """The wallet and the meters once everything due is booked, and what that is, in order."""

    wallet: Wallet
    meters: tuple[Meter, ...]
    due: tuple[Slice | Turn, ...] = ()
    #: The first boundary at which the clock alone made something due.
    first_at: datetime | None = None

    def too_far(self, now: datetime) -> bool:
        """Whether so much time is to be caught up that a person must say so."""
        return self.first_at is not None and now - self.first_at > FAR


def next_slice(meter: Meter, until: datetime) -> Slice | None:
    """What of a session is to be charged up to ``until``, or None when nothing is due there.

    Never beyond its end, nor beyond what its wallet pays of a stuck pod. An empty slice is due
    only for a session that ended where it began: it may be the fee of a start. One that begins
    at a boundary belongs to the period that begins there.
    """
    if not meter.billed or meter.billed_from_at is None:
        return None
    last = meter.billed_until_at or meter.pays_until_at
    if last is not None:
        until = min(until, last)
    begin = meter.settled_until or meter.billed_from_at
    if until < begin or (until == begin and not _empty(meter)):
        return None
    amount = meter.cost(until) - meter.settled()
    if not amount and meter.billed_until_at is None and not meter.per_hour_micro:
        return None  # what costs nothing is settled by its end only
    return Slice(until, meter.session_id, begin, until, amount)


def _empty(meter: Meter) -> bool:
    """Whether it ended where it began and may still owe the fee of its start."""
    return meter.settled_until is None and meter.billed_until_at == meter.billed_from_at


def advance(wallet: Wallet, meters: Sequence[Meter], now: datetime, calendar: Calendar) -> Advanced:
    """Everything due up to ``now``. A wallet that no boundary changes has nothing due.

    ``advanced_until`` of the returned wallet is the last boundary, whether or not it changed
    anything: it must be stored before anything else is booked.
    """
    held = {m.session_id: m for m in meters if m.billed and m.billed_from_at is not None}
    # a known end is a fact, also where a clock went back behind it
    ends = {m.billed_until_at for m in held.values() if m.billed_until_at is not None}
    begun = [m.settled_until or m.billed_from_at for m in held.values()]
    months: set[datetime] = set()
    last = max([now, *ends])
    if begun and min(begun) < last:
        months = {at for _, at in calendar.boundaries(MONTH, min(begun), last)}
    until, turns = wallet.advanced_until, {}
    if wallet.allowance is not None and until is not None:
        last = calendar.last_boundary(wallet.allowance.period, now)
        if last > until:
            turns = _turns(wallet, now, calendar, quiet=not held)
            until = last
    if not ends and not months and not turns:
        if until != wallet.advanced_until:
            wallet = replace(wallet, advanced_until=until)
        return Advanced(wallet, tuple(meters))
    due: list[Slice | Turn] = []
    first_at = None
    balance, left = wallet.balance_micro, wallet.left_micro
    instants = {(at, False) for at in ends | months | turns.keys()}
    instants |= {(m.billed_until_at, True) for m in held.values() if _empty(m)}
    for at, empty in sorted(instants):
        boundary = at in months or at in turns
        for key, meter in held.items():
            if _empty(meter) != empty or (not boundary and meter.billed_until_at != at):
                continue  # an end that is learnt late is booked at its own instant
            if at > now and meter.billed_until_at is None:
                continue
            part = next_slice(meter, at)
            if part is None:
                continue
            due.append(part)
            charged = meter.charged_micro + part.amount_micro
            held[key] = replace(meter, settled_until=part.end, charged_micro=charged)
            balance, left = moved(balance, left, -part.amount_micro, USES)
            if part.amount_micro and meter.billed_until_at != part.end:
                first_at = first_at or at
        for label in () if empty else turns.get(at, ()):
            turned = turn(balance, left, wallet.allowance)
            balance, left = turned.balance_micro, turned.left_micro
            if turned.net_micro:
                due.append(
                    Turn(at, label, turned.net_micro, turned.expired_micro, turned.granted_micro)
                )
                first_at = first_at or at
    after = replace(wallet, balance_micro=balance, left_micro=left, advanced_until=until)
    return Advanced(after, tuple(held.get(m.session_id, m) for m in meters), tuple(due), first_at)


def _turns(
    wallet: Wallet, now: datetime, calendar: Calendar, *, quiet: bool
) -> dict[datetime, list[str]]:
    """Allowance boundaries that are not booked yet, each with the periods that begin there.

    None where nothing runs and one boundary changes nothing: then all of them change nothing.
    """
    if quiet:
        turned = turn(wallet.balance_micro, wallet.left_micro, wallet.allowance)
        # an expiry that the grant evens out still leaves less of the allowance to a wallet in debt
        if not turned.net_micro and turned.left_micro == wallet.left_micro:
            return {}
    found: dict[datetime, list[str]] = {}
    for label, at in calendar.boundaries(wallet.allowance.period, wallet.advanced_until, now):
        found.setdefault(at, []).append(label)
    return found
