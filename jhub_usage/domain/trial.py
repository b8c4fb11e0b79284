"""Trying rules, rates and limits on what really happened: pure, and by the rules of admission.

``replay`` runs a window of the past again, boundary by boundary, with ``advance`` and quotes as
they were or under other rates; unchanged it gives the ledger that was. ``payers`` says whose starts
other rules would have paid from elsewhere; limits are tried in ``trial_limits``. Nothing here
writes; what people would have done otherwise is not guessed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from .admission import ADMITTED, FAILED_OPEN, OBSERVED, REFUSED
from .advance import Slice, advance
from .allowances import Allowance, moved, turn
from .errors import NoRate
from .period_limits import Open
from .periods import Calendar
from .rates import Rate, quote
from .rules import Rule, first_match
from .sessions import Meter
from .shapes import Shape
from .wallets import Wallet

LET_IN = (ADMITTED, OBSERVED, FAILED_OPEN)
#: Sessions whose ends one step of a replay takes together: each of them is compared with each.
FEW = 32


@dataclass(frozen=True)
class Past:
    """A recorded decision about a start, and what became of it."""

    session_id: str
    person_id: int
    person: str
    groups: tuple[str, ...]
    profile: str
    shape: Shape
    wallet_id: int | None
    decision: str
    decided_at: datetime
    #: Whether a rule chose the wallet; else the person did.
    by_rule: bool = True
    #: Its meter as its row has it; None where no session was opened.
    meter: Meter | None = None
    quoted_at: datetime | None = None
    #: When its last slice was booked: until then nobody knew its end.
    known_at: datetime | None = None
    #: When it counted no more against limits; None while it runs.
    over_at: datetime | None = None
    #: The session as limits see it, whatever was corrected of it; None where none was opened.
    run: Open | None = None


@dataclass(frozen=True)
class Given:
    """An entry that is no charge of a slice: taken as it was.

    ``at`` is its place among the boundaries, by when it was booked and not by what it is dated.
    """

    at: datetime
    wallet_id: int
    amount_micro: int
    how: str
    #: When it was booked, if its place among the boundaries is before that.
    seen_at: datetime | None = None


@dataclass(frozen=True)
class Changed:
    """The allowance of a wallet from an instant on; ``begun``: it acted as a boundary at once."""

    at: datetime
    wallet_id: int
    allowance: Allowance | None
    begun: bool = False


@dataclass
class Replayed:
    """What a replay booked. Amounts in micro-credits; charges count positive."""

    #: Per session: what its slices in the window cost.
    charges: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    #: Per wallet: (instant, net) of each allowance boundary that changed something.
    turns: dict[int, list[tuple[datetime, int]]] = field(default_factory=dict)
    #: Wallets as they stand at the end of the window.
    wallets: dict[int, Wallet] = field(default_factory=dict)
    #: Sessions that the rates have no price for.
    unpriced: list[str] = field(default_factory=list)


def replay(
    wallets: Mapping[int, Wallet],
    starts: Sequence[Past],
    given: Iterable[Given],
    changes: Iterable[Changed],
    begin: datetime,
    end: datetime,
    calendar: Calendar,
    rates: Sequence[Rate] | None = None,
) -> Replayed:
    """Run ``[begin, end)`` again. ``wallets`` are as they stood before anything at ``begin``.

    With ``rates`` every session is priced anew by them, at the instant of its own quote.
    """
    done, mine = Replayed(), defaultdict(list)
    known = {s.session_id: s.known_at for s in starts if s.known_at is not None}
    for start in starts:
        if start.meter is None or start.wallet_id is None or not start.meter.billed:
            continue
        meter = start.meter
        if rates is not None:
            try:
                price = quote(start.shape, start.profile, rates, start.quoted_at)
            except NoRate:
                done.unpriced.append(start.session_id)
                continue
            meter = replace(
                meter, per_hour_micro=price.per_hour_micro, fee_micro=price.start_fee_micro
            )
        if meter.billed_from_at is not None:
            mine[start.wallet_id].append(_from(meter, begin))
    events = defaultdict(list)
    for event in sorted([*given, *changes], key=lambda e: e.at):
        events[event.wallet_id].append(event)
    for wallet_id, wallet in wallets.items():
        done.wallets[wallet_id] = _one(
            wallet, mine[wallet_id], events[wallet_id], end, calendar, done, known
        )
    return done


def _from(meter: Meter, begin: datetime) -> Meter:
    """A meter as if everything before the window was settled, by its own price."""
    if meter.billed_from_at >= begin:
        return replace(meter, settled_until=None, charged_micro=0)
    return replace(meter, settled_until=begin, charged_micro=meter.cost(begin))


def _one(
    wallet: Wallet, meters: list[Meter], events, end: datetime, calendar: Calendar, done: Replayed,
    known: Mapping[str, datetime],
) -> Wallet:  # fmt: skip
    ahead = sorted(meters, key=lambda m: m.billed_from_at, reverse=True)
    running: dict[str, Meter] = {}
    told = wallet.advanced_until

    def run(at: datetime, seen_at: datetime | None = None) -> None:
        nonlocal told
        told = max(told, at, seen_at or at)
        while ahead and ahead[-1].billed_from_at <= at:
            meter = ahead.pop()
            running[meter.session_id] = meter
        over = sorted(
            (m for m in running.values() if _is_over(m, at, known.get(m.session_id, told) <= told)),
            key=lambda m: m.billed_until_at,
        )
        # a few ends at a time: what was over once is looked at no more
        for first in range(0, len(over), FEW):
            few = over[first : first + FEW]
            step(few[-1].billed_until_at, few)
        step(at, ())

    def step(at: datetime, over: Sequence[Meter]) -> None:
        nonlocal wallet
        ended = {m.session_id for m in over}
        seen = [
            m if i in ended else replace(m, billed_until_at=None)
            for i, m in running.items()
            if m.billed_from_at <= at
        ]
        done_with = advance(wallet, seen, at, calendar)
        for due in done_with.due:
            if isinstance(due, Slice):
                done.charges[due.session_id] += due.amount_micro
            else:
                done.turns.setdefault(wallet.id, []).append((due.at, due.net_micro))
        wallet = done_with.wallet
        for m in done_with.meters:
            if m.session_id in ended:
                del running[m.session_id]
            else:
                running[m.session_id] = replace(
                    running[m.session_id], settled_until=m.settled_until,
                    charged_micro=m.charged_micro,
                )  # fmt: skip

    for event in events:
        if event.at >= end:
            break
        run(event.at, event.seen_at if isinstance(event, Given) else None)
        if isinstance(event, Given):
            balance, left = moved(
                wallet.balance_micro, wallet.left_micro, event.amount_micro, event.how
            )
            wallet = replace(wallet, balance_micro=balance, left_micro=left)
            continue
        wallet = replace(wallet, allowance=event.allowance, advanced_until=event.at)
        if event.begun and event.allowance is not None:
            turned = turn(wallet.balance_micro, wallet.left_micro, event.allowance)
            if turned.net_micro:
                done.turns.setdefault(wallet.id, []).append((event.at, turned.net_micro))
            wallet = replace(
                wallet, balance_micro=turned.balance_micro, left_micro=turned.left_micro
            )
    run(end - datetime.resolution, datetime.max.replace(tzinfo=end.tzinfo))
    # the slices that end there belong to this window, the allowance's boundary to the next one
    allowance, wallet = wallet.allowance, replace(wallet, allowance=None)
    run(end)
    return replace(wallet, allowance=allowance)


def _is_over(meter: Meter, at: datetime, told: bool) -> bool:
    """Whether its end was known at an instant; before that it ran as far as anybody could see."""
    return meter.billed_until_at is not None and told and meter.billed_until_at <= at


def payers(
    starts: Sequence[Past], rules: Sequence[Rule], own: Mapping[int, int]
) -> list[tuple[Past, int | None]]:
    """Starts that these rules would have paid from another wallet: (start, that wallet or None).

    ``own`` has each person's own wallet. What a person chose by themselves stays.
    """
    found = []
    for start in starts:
        if start.decision == REFUSED or not start.by_rule:
            continue
        rule = first_match(rules, start.person, start.groups, start.profile)
        wallet_id = None
        if rule is not None:
            wallet_id = rule.wallet_id if rule.target == "wallet" else own.get(start.person_id)
        if wallet_id != start.wallet_id:
            found.append((start, wallet_id))
    return found


def as_trial(held: Sequence[Rate], tried: Sequence[Rate]) -> list[Rate]:
    """Rates with those of the trial in the place of all that share a key with one of them."""
    keys = {r.key for r in tried}
    return [r for r in held if r.key not in keys] + list(tried)
