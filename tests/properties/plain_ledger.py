"""Wallets and sessions of the plain model, and what is due for them, boundary by boundary.

Written from the rules and not from the code, and slow where that is clearer. In micro-credits.
"""

import copy
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

from .plain import Days, Pots

MIN_RUN_S, LEAD_S, WAIVERS, STOP_MARGIN_S = 900, 600, 3, 60
#: profile -> (GPUs as (model, count, weight), cores in thousandths, GiB)
SHAPES = {
    "cpu": ((), 2000, 4),
    "one": ((("A100", 1, 1000),), 4000, 16),
    "four": ((("A100", 4, 1000),), 16000, 64),
    "mig": ((("A100", 1, 142),), 1000, 8),
    "other": ((("T4", 2, 1000),), 500, 1),
}
GROUPS = {"ada": ("lab",), "ada2": (), "bob": ("lab", "lab2")}
#: Limits per period -> how much of a cap's unit is a microsecond of a thousandth, or a micro-credit
PER_PERIOD = {"gpu_hours": 1_000_000, "core_hours": 1_000_000, "credits": 1}


def micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


@dataclass
class Wallet(Pots):
    """The pots of a wallet, and what is booked in which month."""

    mode: str | None = None
    closed: bool = False
    months: Counter = field(default_factory=Counter)

    @property
    def name(self) -> str:
        return self.id


@dataclass
class Session:
    id: str
    person: str
    server: str
    profile: str
    wallet: Wallet | None
    billed: bool
    per_hour: int
    fee: int
    held: int
    admitted: datetime
    deadline: datetime
    limit_s: int | None
    billed_from: str
    grace_s: int
    state: str = "admitted"
    scheduled: datetime | None = None
    started: datetime | None = None
    ready: datetime | None = None
    seen: datetime | None = None
    stop_accepted: datetime | None = None
    ended: datetime | None = None
    reason: str = ""
    vouched: set = field(default_factory=set)
    pays_from: datetime | None = None
    pays_until: datetime | None = None
    settled: datetime | None = None
    charged: int = 0
    revision: int = 0
    #: [amount, what was given back of it, whether it is a slice] of what it was charged, in order
    paid: list = field(default_factory=list)
    #: when waivers of it took effect
    waived: list = field(default_factory=list)
    #: What was given back as goodwill, less what was taken back of it.
    gifts: int = 0

    @property
    def open(self) -> bool:
        return self.state in ("admitted", "running")

    @property
    def charges(self) -> list:
        return [x for x in self.paid if x[2]]

    def cost(self, at: datetime) -> int:
        if not self.billed or self.pays_from is None or at < self.pays_from:
            return 0
        end = at if self.last is None else min(at, self.last)
        used = micros(max(end, self.pays_from) - self.pays_from)
        return self.fee + int(Fraction(self.per_hour * used, 3_600_000_000))

    @property
    def last(self):
        """Nothing is paid beyond it."""
        return self.pays_until or self.stop_pays_until

    @property
    def stop_pays_until(self):
        if self.stop_accepted is None:
            return None
        last = self.stop_accepted + timedelta(seconds=self.grace_s + STOP_MARGIN_S)
        return max(last, self.settled or last)

    @property
    def min_run(self) -> timedelta:
        limit_s = MIN_RUN_S if self.limit_s is None else self.limit_s
        return timedelta(seconds=min(MIN_RUN_S, limit_s))

    @property
    def limit_at(self):
        if self.limit_s is None or self.pays_from is None:
            return None
        return self.pays_from + timedelta(seconds=self.limit_s)

    def lapsed(self, at) -> bool:
        return self.started is None and self.seen is None and at >= self.deadline

    def hold(self, at) -> int:
        return 0 if not self.billed or self.lapsed(at) else self.held

    def claim(self, at) -> int:
        return max(self.cost(at), self.hold(at)) - self.charged

    def admission_claim(self, at) -> int:
        cost = self.cost(at)
        if self.billed and self.pays_from is None and not self.lapsed(at) and at >= self.admitted:
            used = micros(at - self.admitted)
            cost = self.fee + int(Fraction(self.per_hour * used, 3_600_000_000))
        return max(cost, self.hold(at)) - self.charged

    def beyond(self, at) -> bool:
        return self.cost(at) > self.hold(at)

    def accrues(self, at) -> bool:
        return self.pays_from is not None and self.open and (self.last is None or at < self.last)

    @property
    def failed(self) -> bool:
        """A container ran, the server never did."""
        return self.reason == "start_failed" or (self.ready is None and self.reason == "died")

    def begun(self, at: datetime) -> "Session":
        """The same as if it had begun at that instant."""
        made = copy.copy(self)
        made.pays_from = at
        return made

    def used(self, resource: str, begin: datetime, end: datetime) -> int:
        """What it used within ``[begin, end)``: thousandths times microseconds, micro-credits."""
        if self.pays_from is None:
            return 0
        first = max(begin, self.pays_from)
        last = max(first, end if self.last is None else min(end, self.last))
        if resource == "credits":
            if not begin <= self.pays_from < end and first >= last:
                return 0
            return self.cost(last) - (self.cost(first) if first > self.pays_from else 0)
        return size(self.profile, resource) * micros(last - first)

    def draws(self, resource: str, running=False) -> bool:
        if resource == "credits":
            return self.billed and self.per_hour + (0 if running else self.fee) > 0
        return size(self.profile, resource) > 0


def size(profile: str, resource: str) -> int:
    gpus, cores, _ = SHAPES[profile]
    weights = sum(c * w for _, c, w in gpus)
    return {"gpus": weights, "gpu_hours": weights, "cpu": cores, "core_hours": cores,
            "servers": 1}[resource]  # fmt: skip


class Ledger:
    """Wallets, sessions, and what is due for them, boundary by boundary."""

    def __init__(self, zone: str):
        self.days = Days(zone)
        #: Everything up to this month is closed.
        self.closed = ""
        self.wallets: dict[str, Wallet] = {}
        self.sessions: dict[str, Session] = {}

    def label(self, period: str, at: datetime) -> str:
        *_, last = self.days.begins(period, at - timedelta(days=40), at)
        return last[0]

    def window(self, period: str, at: datetime) -> tuple[datetime, datetime]:
        *_, (_, begin) = self.days.begins(period, at - timedelta(days=40), at)
        return begin, next(x for _, x in self.days.begins(period, at, at + timedelta(days=40)))

    def book(self, w: Wallet, amount: int, at: datetime) -> None:
        """Booked in its own month, or in the first that is open."""
        month = self.label("month", at)
        if month <= self.closed:
            year, number = map(int, self.closed.split("-"))
            month = f"{year + number // 12}-{number % 12 + 1:02d}"
        w.months[month] += amount

    def add(self, w: Wallet, amount: int, at: datetime) -> None:
        w.add(amount)
        self.book(w, amount, at)

    def take(self, w: Wallet, amount: int, at: datetime) -> None:
        w.take(amount)
        self.book(w, -amount, at)

    def use(self, w: Wallet, amount: int, at: datetime) -> None:
        w.use(amount)
        self.book(w, -amount, at)

    def open_on(self, wallet: Wallet) -> list[Session]:
        return [s for s in self.sessions.values() if s.open and s.wallet is wallet]

    def available(self, wallet: Wallet, at: datetime, claim="claim") -> int | None:
        if wallet.overdraft is None:
            return None
        claims = sum(getattr(s, claim)(at) for s in self.open_on(wallet))
        return wallet.balance + wallet.overdraft - claims

    # -- boundaries of periods --------------------------------------------------------------------

    def tick(self, now: datetime) -> None:
        for w in self.wallets.values():
            self.catch_up(w, now, quiet=True)

    def catch_up(self, w: Wallet | None, now: datetime, *, quiet: bool = False) -> None:
        """Instant after instant: charges, then expiry and grant.

        ``quiet``: a wallet that nothing is booked for is left as it was. What is learnt later of
        the time before such a boundary is still taken in.
        """
        if w is None:
            return
        before, booked = (w.permanent, w.left), False
        mine = [
            s for s in self.sessions.values()
            if s.wallet is w and s.billed and s.pays_from is not None and s.state != "void"
            and (s.pays_until is None or s.settled is None)
        ]  # fmt: skip
        mine += [
            s for s in self.sessions.values()
            if s.wallet is w and s.settled and s.pays_until and s.settled < s.pays_until
        ]  # fmt: skip
        turns: dict[datetime, list[str]] = {}
        if w.allowance is not None:
            for label, at in self.days.begins(w.allowance[1], w.done, now):
                turns.setdefault(at, []).append(label)
        ends = {s.pays_until for s in mine if s.pays_until is not None}
        first = min((s.settled or s.pays_from for s in mine), default=now)
        cuts = {at for _, at in self.days.begins("month", first, max([now, *ends]))} | set(turns)
        for at in sorted(cuts | ends):
            for s in mine:
                ahead = at > now and s.pays_until is None
                if not ahead and (at in cuts or s.pays_until == at):
                    booked |= self.slice(s, at)
            for _ in turns.get(at, ()):
                amount, _, cap = w.allowance
                net = w.turn(amount, cap)
                booked |= net != 0
                self.book(w, net, at)
            for s in mine:
                if s.pays_from == s.pays_until == at:
                    booked |= self.slice(s, at, fee_only=True)
        if quiet and not booked:
            w.permanent, w.left = before
        else:
            w.done = max(w.done, now)

    def slice(self, s: Session, at: datetime, *, fee_only: bool = False) -> bool:
        """Charge a session up to a boundary, or its end; whether anything was to be charged."""
        at = at if s.last is None else min(at, s.last)
        begin = s.settled or s.pays_from
        if at < begin or (at == begin and (s.settled is not None or not fee_only)):
            return False
        amount = s.cost(at) - (s.cost(s.settled) if s.settled else 0)
        if not amount and not s.per_hour and s.pays_until is None:
            return False
        self.charge(s, amount, begin, at)
        return True

    def charge(self, s: Session, amount: int, begin: datetime, until: datetime) -> None:
        s.settled = until
        s.charged += amount
        if amount:
            s.paid.append([amount, 0, True])
            self.use(s.wallet, amount, begin)

    def settle(self, s: Session, until: datetime, now: datetime) -> None:
        """Charge up to there."""
        if not s.billed or s.wallet is None or s.pays_from is None:
            return
        self.catch_up(s.wallet, now)
        until = min(until, now)
        until = until if s.last is None else min(until, s.last)
        begin = s.settled or s.pays_from
        if until > begin:
            self.charge(s, s.cost(until) - (s.cost(s.settled) if s.settled else 0), begin, until)

    # -- the end of a session ---------------------------------------------------------------------

    def finish(self, s: Session, now: datetime) -> None:
        if s.billed and s.wallet is not None and s.pays_from is not None:
            self.catch_up(s.wallet, now)
            if s.settled > s.pays_until:
                self.rebook(s, now)
        if s.failed:
            self.waive(s, now)

    def rebook(self, s: Session, now: datetime) -> None:
        """What its boundaries say now, less what was charged; gifts never exceed what is left."""
        due = s.cost(s.pays_until) - s.charged
        s.settled, s.charged, s.revision = s.pays_until, s.charged + due, s.revision + 1
        if due > 0:
            s.paid.append([due, 0, False])
            self.use(s.wallet, due, s.pays_until)
        elif due < 0:
            self.add(s.wallet, -due, s.pays_until)
            if s.gifts > s.charged:
                self.take(s.wallet, s.gifts - s.charged, now)
                s.gifts = s.charged

    @staticmethod
    def left_of(s: Session, paid: list) -> int:
        """What may still be given back of a charge."""
        return max(0, min(paid[0] - paid[1], s.charged - s.gifts))

    def give(self, s: Session, paid: list, amount: int, at: datetime) -> None:
        paid[1] += amount
        s.gifts += amount
        self.add(s.wallet, amount, at)

    def waive(self, s: Session, now: datetime) -> None:
        begin, end = self.window("day", s.ended)
        others = [
            x for x in self.sessions.values()
            if x is not s and x.person == s.person and any(begin <= at < end for at in x.waived)
        ]  # fmt: skip
        if len(others) >= WAIVERS:
            return
        for paid in s.paid:
            left = self.left_of(s, paid)
            if left > 0:
                self.give(s, paid, left, s.ended)
                s.waived.append(s.ended)

    def give_back(self, fits, now: datetime) -> int:
        """All that is left of the ended sessions that fit; how many."""
        found = [
            s for s in self.sessions.values()
            if s.state == "ended" and s.billed and s.charged > 0 and s.wallet and fits(s)
        ]  # fmt: skip
        for w in {s.wallet.id: s.wallet for s in found}.values():
            self.catch_up(w, now)
        given = 0
        for s in found:
            before = s.gifts
            for paid in sorted(s.paid, key=lambda x: not x[2]):  # slices first
                self.give(s, paid, self.left_of(s, paid), now)
            given += s.gifts > before
        return given
