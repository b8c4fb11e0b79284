"""One wallet's money by the rules of money and time, as plainly as can be: no code of ours.

Two pots, instants one after the other, fractions. What is told late is taken in when it is told:
what no boundary has passed yet is put where it belongs, the rest is corrected.
Limitations: no limits, no admission, no closed months.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

MICROSECOND, DAY = timedelta(microseconds=1), timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LABELS = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
MARGIN_S, MIN_RUN_S, DEADLINE_S = 60, 900, 420


def micros(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


class Days:
    """When days, weeks and months begin. A change of zone counts from the next month on."""

    def __init__(self, zone: str):
        self.zones = [("", zone)]
        self._known: dict[date, datetime] = {}

    def midnight(self, day: date) -> datetime:
        """A day begins where the one before ends: by the zone of that one."""
        if day not in self._known:
            month = f"{day - DAY:%Y-%m}"
            zone = [z for first, z in self.zones if first <= month][-1]
            local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
            self._known[day] = local.astimezone(UTC)
        return self._known[day]

    def begins(self, period: str, after: datetime, until: datetime):
        """(label, instant) of every period that begins in ``(after, until]``."""
        day = after.date() - 2 * DAY
        if period == "month":
            day = day.replace(day=1)
        elif period == "week":
            day -= (day.isoweekday() - 1) * DAY
        while (at := self.midnight(day)) <= until:
            if at > after:
                yield (
                    day.strftime({"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}[period]),
                    at,
                )
            if period == "month":
                day = (day + 31 * DAY).replace(day=1)
            else:
                day += DAY if period == "day" else 7 * DAY

    def change(self, zone: str, now: datetime) -> None:
        """Whatever was to come before is forgotten."""
        first = next(label for label, _ in self.begins("month", now, now + 40 * DAY))
        self.zones = [z for z in self.zones if z[0] < first] + [(first, zone)]
        self._known.clear()


@dataclass
class Pots:
    """A wallet. Debt is less than nothing in the permanent pot."""

    id: int
    overdraft: int = 0
    permanent: int = 0
    left: int = 0
    #: (amount, period, cap); no more grants, and the rest ends: amount 0, cap 0.
    allowance: tuple | None = None
    #: Every boundary up to here has been.
    done: datetime = EPOCH

    @property
    def balance(self) -> int:
        return self.permanent + self.left

    def add(self, amount: int) -> None:
        self.permanent += amount

    def use(self, amount: int) -> None:
        """What is left of the allowance first."""
        from_left = max(0, min(self.left, amount))
        self.left -= from_left
        self.permanent -= amount - from_left

    def take(self, amount: int) -> None:
        """Permanent credit is taken back; the allowance only where nothing else is there."""
        self.permanent -= amount
        if self.permanent < 0 < self.left:
            paid = min(self.left, -self.permanent)
            self.left, self.permanent = self.left - paid, self.permanent + paid

    def turn(self, amount: int, cap: int | None) -> int:
        """Expiry, then the grant, which repays debt first; the net."""
        kept = self.left if cap is None else min(self.left, cap)
        expired, self.left = self.left - kept, kept
        paid = min(amount, max(0, -self.permanent))
        self.permanent += paid
        self.left += amount - paid
        return amount - expired


@dataclass
class Run:
    """A session: what is known of it."""

    id: str
    wallet: int
    per_hour: int
    fee: int
    admitted: datetime
    grace: int
    begin: datetime | None = None
    stop: datetime | None = None
    end: datetime | None = None
    #: Charged up to there; before the first charge None.
    to: datetime | None = None
    charged: int = 0
    given: int = 0
    revision: int = 0
    charges: list = field(default_factory=list)

    def cost(self, at: datetime) -> int:
        if self.begin is None or at < self.begin:
            return 0
        last = self.end or self.bound()
        used = ((at if last is None else min(at, last)) - self.begin) // MICROSECOND
        return self.fee + int(Fraction(self.per_hour * max(used, 0), 3_600_000_000))

    def bound(self):
        """After a stop that was accepted the wallet pays for the grace and a minute."""
        if self.stop is None:
            return None
        last = self.stop + timedelta(seconds=self.grace + MARGIN_S)
        return last if self.to is None else max(last, self.to)

    def claim(self, at: datetime) -> int:
        hold = self.fee + self.per_hour * MIN_RUN_S // 3600
        if self.begin is None and at >= self.admitted + timedelta(seconds=DEADLINE_S):
            hold = 0
        return max(self.cost(at), hold) - self.charged


class Plain:
    """Wallets 1 and 2, their sessions, and the entries that they must have."""

    def __init__(self, zone: str, begin: datetime):
        self.days = Days(zone)
        self.wallets = {n: Pots(n, done=begin) for n in (1, 2)}
        self.runs: dict[str, Run] = {}
        #: (key, wallet, amount, effective at)
        self.entries: list[tuple] = []
        self.refused: list[tuple] = []

    def run(self, events) -> "Plain":
        for at, verb, values in events:
            getattr(self, verb)(at, *values)
        return self

    def state(self) -> dict:
        return {
            "entries": [[e for e in self.entries if e[1] == n] for n in self.wallets],
            "wallets": [(w.balance, w.left) for w in self.wallets.values()],
            "sessions": {id: (r.charged, r.end, r.revision) for id, r in self.runs.items()},
            "refused": self.refused,
        }

    def book(self, key: str, wallet: int, amount: int, at: datetime) -> None:
        if amount:
            self.entries.append((key, wallet, amount, at))

    def catch_up(self, wallet_id: int, now: datetime) -> None:
        """Instant after instant: charges, then expiry and grant."""
        w = self.wallets[wallet_id]
        mine = [r for r in self.runs.values() if r.wallet == wallet_id and r.begin is not None]
        mine = [r for r in mine if r.end is None or r.to is None or r.to < r.end]
        turns: dict[datetime, list[str]] = {}
        if w.allowance is not None:
            for label, at in self.days.begins(w.allowance[1], w.done, now):
                turns.setdefault(at, []).append(label)
        first = min((r.to or r.begin for r in mine), default=now)
        cuts = {at for _, at in self.days.begins("month", first, now)} | set(turns)
        for at in sorted(cuts | {r.end for r in mine if r.end is not None}):
            for r in mine:
                if at in cuts or r.end == at:
                    self.charge(r, at)
            for label in turns.get(at, ()):
                amount, _, cap = w.allowance
                self.book(f"allowance:{w.id}:{label}", w.id, w.turn(amount, cap), at)
            for r in mine:
                if r.begin == r.end == at:  # the fee of one that began at this very boundary
                    self.charge(r, at, fee_only=True)
        w.done = max(w.done, now)

    def charge(self, r: Run, at: datetime, *, fee_only: bool = False) -> None:
        last = r.end or r.bound()
        at = at if last is None else min(at, last)
        begin = r.to or r.begin
        if at < begin or (at == begin and (r.to is not None or not fee_only)):
            return
        amount = r.cost(at) - (r.cost(r.to) if r.to else 0)
        if not amount and not r.per_hour and r.end is None:
            return
        r.to, r.charged = at, r.charged + amount
        if amount:
            r.charges.append([amount, 0])
        self.wallets[r.wallet].use(amount)
        self.book(f"charge:{r.id}:{micros(begin)}", r.wallet, -amount, at)

    # -- what happens -----------------------------------------------------------------------------

    def tick(self, now: datetime) -> None:
        for n in self.wallets:
            self.catch_up(n, now)

    def zone(self, now: datetime, name: str) -> None:
        self.days.change(name, now)

    def overdraft(self, now: datetime, wallet: int, amount: int) -> None:
        self.wallets[wallet].overdraft = amount

    def grant(self, now: datetime, wallet: int, amount: int, key: str) -> None:
        self.catch_up(wallet, now)
        self.wallets[wallet].add(amount)
        self.book(f"grant:{key}", wallet, amount, now)

    def transfer(self, now: datetime, source: int, target: int, amount: int, key: str) -> None:
        for n in (source, target):
            self.catch_up(n, now)
        w = self.wallets[source]
        claims = sum(
            r.claim(now) for r in self.runs.values() if r.wallet == source and r.end is None
        )
        # what runs takes of the allowance first
        if amount > w.permanent - (claims if claims < 0 else max(0, claims - w.left)):
            self.refused.append((now, key))
            return
        w.add(-amount)
        self.wallets[target].add(amount)
        self.book(f"transfer-out:{key}", source, -amount, now)
        self.book(f"transfer-in:{key}", target, amount, now)

    def allowance(self, now, wallet, amount, period, cap, begin_now) -> None:
        self.catch_up(wallet, now)
        w = self.wallets[wallet]
        had, made = w.allowance, (amount, period, cap)
        if begin_now is None:
            begin_now = had is None or (had[0] == 0 and w.left == 0)
        if had == made and not begin_now:
            return
        w.allowance = made
        if begin_now:
            self.book(f"allowance:{wallet}:at:{micros(now)}", wallet, w.turn(amount, cap), now)

    def remove(self, now: datetime, wallet: int) -> None:
        self.catch_up(wallet, now)
        w = self.wallets[wallet]
        if w.allowance is None or not w.allowance[0]:
            self.refused.append((now, "remove"))
            return
        w.allowance = (0, w.allowance[1], 0) if w.left else None

    def admit(self, now, id, wallet, per_hour, fee, grace) -> None:
        self.catch_up(wallet, now)
        self.runs[id] = Run(id, wallet, per_hour, fee, now, grace)

    def started(self, now: datetime, id: str, at: datetime) -> None:
        self.runs[id].begin = at

    def stopping(self, now: datetime, id: str, at: datetime) -> None:
        self.runs[id].stop = self.runs[id].stop or at

    def settle(self, now: datetime, id: str, until: datetime) -> None:
        r = self.runs[id]
        self.catch_up(r.wallet, now)
        until = min(until, now)
        if r.begin is not None and until > (r.to or r.begin) and r.end is None:
            last = r.bound()
            until = until if last is None else min(until, last)
            begin = r.to or r.begin
            if until > begin:
                amount = r.cost(until) - (r.cost(r.to) if r.to else 0)
                r.to, r.charged = until, r.charged + amount
                if amount:
                    r.charges.append([amount, 0])
                self.wallets[r.wallet].use(amount)
                self.book(f"charge:{id}:{micros(begin)}", r.wallet, -amount, until)

    def ended(self, now: datetime, id: str, at: datetime) -> None:
        r = self.runs[id]
        if r.begin is None:
            del self.runs[id]
            return
        end = max(at, r.begin)
        if r.stop is not None:
            end = min(end, r.stop + timedelta(seconds=r.grace + MARGIN_S))
        r.end = max(end, r.begin)
        self.catch_up(r.wallet, now)
        if r.to <= r.end:
            return
        # charged beyond its end: booked now, whatever has expired since
        w, due = self.wallets[r.wallet], r.cost(r.end) - r.charged
        r.revision, r.to, r.charged = r.revision + 1, r.end, r.charged + due
        if due < 0:
            w.add(-due)
        else:
            w.use(due)
        self.book(f"correction:{id}:{r.revision}", r.wallet, -due, r.end)
        if due < 0 and r.given > r.charged:
            over, r.given = r.given - r.charged, r.charged
            w.take(over)
            self.book(f"correction:gift:{id}:{r.revision}", r.wallet, -over, now)

    def refund(self, now: datetime, id: str, number: int, amount: int, key: str) -> None:
        r = self.runs[id]
        self.catch_up(r.wallet, now)
        if not r.charges:
            self.refused.append((now, key))
            return
        charge = r.charges[number % len(r.charges)]
        if not 0 < amount <= min(charge[0] - charge[1], r.charged - r.given):
            self.refused.append((now, key))
            return
        charge[1] += amount
        r.given += amount
        self.wallets[r.wallet].add(amount)
        self.book(f"refund:{key}", r.wallet, amount, now)

    def correct(self, now: datetime, id: str, number: int, amount: int, key: str) -> None:
        """Of a charge: more than it should have been (positive), or less; not while it runs."""
        r = self.runs[id]
        self.catch_up(r.wallet, now)
        if not r.charges or r.end is None:
            self.refused.append((now, key))
            return
        charge = r.charges[number % len(r.charges)]
        if amount > max(0, min(charge[0] - charge[1], r.charged - r.given)):
            self.refused.append((now, key))
            return
        charge[1] += amount
        r.charged -= amount
        w = self.wallets[r.wallet]
        if amount > 0:
            w.add(amount)
        else:
            w.use(-amount)
        self.book(f"correction:{key}", r.wallet, amount, now)

    def correct_grant(self, now, wallet: int, its: str, amount: int, key: str) -> None:
        """Of a grant: it should have been so much more, or less."""
        self.catch_up(wallet, now)
        w = self.wallets[wallet]
        if amount > 0:
            w.add(amount)
        else:
            w.take(-amount)
        self.book(f"correction:{key}", wallet, amount, now)
