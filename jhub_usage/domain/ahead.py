"""Looking ahead: when a wallet runs dry, and if a start would still pass at each boundary.

Breakpoints are holds used up, deadlines of starts that never came, session limits, and allowance
boundaries with what they grant and let expire (rules 14 and 15). Nothing here is written.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from .advance import advance
from .allowances import turn
from .instants import HOUR_US, after, elapsed_us
from .periods import DAY, MONTH, WEEK, Calendar
from .sessions import Meter
from .wallets import Wallet, allowance_left, available, beyond_hold_reserve

#: Looking further ahead than this is of no use to anybody.
HORIZON_US = 10 * 366 * 24 * HOUR_US
#: So many allowance boundaries are looked over: two months of days, five years of months.
BOUNDARIES = 62
#: No period is longer, whatever clocks and zones do.
LONGEST = {DAY: timedelta(days=3), WEEK: timedelta(days=9), MONTH: timedelta(days=33)}


@dataclass(frozen=True)
class Outlook:
    """What the next boundary of an allowance brings if what runs goes on."""

    left_micro: int
    next_at: datetime
    granted_micro: int
    expires_micro: int


def outlook(
    wallet: Wallet, meters: Sequence[Meter], now: datetime, calendar: Calendar
) -> Outlook | None:
    """What is left of the allowance, when the next one comes and what will expire then.

    The wallet is advanced already. What expires is of what is left now: usage until then saves it.
    """
    if wallet.allowance is None:
        return None
    left = allowance_left(wallet, meters, now)
    _, at = calendar.next_boundary(wallet.allowance.period, now)
    turned = turn(max(wallet.balance_micro, left), left, wallet.allowance)
    return Outlook(left, at, turned.granted_micro, turned.expired_micro)


def dry_at(
    wallet: Wallet, meters: Sequence[Meter], now: datetime, calendar: Calendar | None = None
) -> datetime | None:
    """The first instant from ``now`` on with ``available < 0``; None if that is not in sight.

    The wallet is advanced to ``now``. Without a calendar its allowance is not looked at.
    """
    if wallet.overdraft_micro is None:
        return None
    if wallet.allowance is None or calendar is None:
        return _dry_between(wallet, meters, now, after(now, HORIZON_US), closed=True)
    # beyond its limit a session is stopped: it is charged no further
    meters = [_until_limit(m) for m in meters]
    begin = now
    for _ in range(BOUNDARIES):
        _, end = calendar.next_boundary(wallet.allowance.period, begin)
        found = _dry_between(wallet, meters, begin, end, closed=False)
        if found is not None:
            return found
        ahead = advance(wallet, meters, end, calendar)
        wallet, meters, begin = ahead.wallet, list(ahead.meters), end
        if _lives_on_it(wallet, meters, begin):
            return None
    return None


def _lives_on_it(wallet: Wallet, meters: Sequence[Meter], at: datetime) -> bool:
    """Whether from this boundary on each allowance pays for all that runs until the next one.

    Then what is left at a boundary never falls below the amount, and permanent credit stays.
    """
    amount, end = wallet.allowance.amount_micro, at + LONGEST[wallet.allowance.period]
    if not wallet.balance_micro >= wallet.left_micro >= amount:
        return False
    # a micro-credit each: slices of the same length may differ by their rounding
    most = sum(max(0, m.claim(at), m.claim(end)) + 1 for m in meters)
    spends = sum(m.cost(end) - m.cost(at) + 1 for m in meters)
    return most <= amount + wallet.overdraft_micro and spends <= amount


def _until_limit(meter: Meter) -> Meter:
    if meter.limit_at is None or meter.billed_until_at is not None:
        return meter
    last = meter.limit_at if meter.pays_until_at is None else min(
        meter.limit_at, meter.pays_until_at
    )  # fmt: skip
    return replace(meter, pays_until_at=last)


def _dry_between(
    wallet: Wallet, meters: Sequence[Meter], begin: datetime, end: datetime, *, closed: bool
) -> datetime | None:
    """The first dry instant in ``[begin, end)``, or in ``[begin, end]`` when closed."""
    money = wallet.balance_micro + wallet.overdraft_micro

    def spent(us: int) -> bool:
        at = after(begin, us)
        return money < sum(
            m.claim(at if m.limit_at is None else min(at, m.limit_at)) for m in meters
        )

    return first_time(spent, begin, end, meters, closed=closed)


def first_time(
    spent: Callable[[int], bool],
    begin: datetime,
    end: datetime,
    meters: Iterable[Meter],
    *,
    closed: bool = False,
) -> datetime | None:
    """The first instant in ``[begin, end)`` at which ``spent`` holds so many microseconds after
    ``begin``; in ``[begin, end]`` when closed.

    What is claimed falls only where an unmet start deadline of one of ``meters`` frees a hold;
    between those deadlines it is monotone, so the exact microsecond is found by bisection.
    """
    span = elapsed_us(begin, end)
    frees = sorted(
        elapsed_us(begin, m.start_deadline_at)
        for m in meters
        if m.billed_from_at is None and not m.sighted and begin < m.start_deadline_at < end
    )
    start = 0
    for stop in [*frees, span]:
        if stop > start and spent(start):
            return after(begin, start)
        last = stop if closed and stop == span else stop - 1
        if last > start and spent(last):
            low, high = start, last
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if spent(middle) else (middle, high)
            return after(begin, high)
        start = stop
    return None


def least_available(
    wallet: Wallet,
    meters: Sequence[Meter],
    new: Meter,
    now: datetime,
    span: timedelta,
    warn_lead_s: int,
    calendar: Calendar,
) -> tuple[datetime, int, int] | None:
    """The allowance boundary within ``span`` at which least would be free if ``new`` began now.

    (instant, available, what must stay free there), or None without such a boundary. Starts that
    are not known yet count from their admission, as they do for the decision itself.
    """
    if wallet.allowance is None or wallet.overdraft_micro is None:
        return None
    running = [_as_begun(m, now) for m in meters] + [replace(new, billed_from_at=now)]
    worst = None
    for _, at in calendar.boundaries(wallet.allowance.period, now, now + span):
        ahead = advance(wallet, running, at, calendar)
        left = available(ahead.wallet, ahead.meters, at)
        reserve = beyond_hold_reserve(ahead.meters, at, warn_lead_s)
        if worst is None or left - reserve < worst[1] - worst[2]:
            worst = (at, left, reserve)
    return worst


def _as_begun(meter: Meter, now: datetime) -> Meter:
    if meter.billed_from_at is not None or meter.expired(now):
        return meter
    return replace(meter, billed_from_at=meter.admitted_at)
