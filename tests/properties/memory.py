"""A life (lives.py) in memory: what the actions keep in a database, around ``domain.advance``.

Books what the real ones book, in their order, with nothing else beside it.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from jhub_usage.domain import advance as advancing
from jhub_usage.domain.allowances import LEAVES, SPARES, TURNS, USES, Allowance, moved, turn
from jhub_usage.domain.instants import from_micros, to_micros
from jhub_usage.domain.periods import MONTH, Calendar
from jhub_usage.domain.sessions import Meter, billed_end, hold_for, pays_until
from jhub_usage.domain.wallets import Wallet, transferable

from .lives import Life


@dataclass
class Held:
    """A session's row."""

    wallet: int
    meter: Meter
    grace: int
    stop: datetime | None = None
    revision: int = 0
    given: int = 0


@dataclass
class Entry:
    key: str
    wallet: int
    amount: int
    at: datetime
    session: str = ""
    back: int = 0

    @property
    def shown(self) -> tuple:
        return (self.key, self.wallet, self.amount, self.at)


@dataclass
class Memory:
    """Two wallets, their sessions and entries."""

    calendar: Calendar
    begin: datetime
    entries: list[Entry] = field(default_factory=list)
    refused: list = field(default_factory=list)

    def __post_init__(self):
        self.wallets = {n: Wallet(n, f"w{n}", 0, 0, advanced_until=self.begin) for n in (1, 2)}
        self.sessions: dict[str, Held] = {}

    def run(self, events) -> "Memory":
        for at, verb, values in events:
            getattr(self, verb)(at, *values)
        return self

    def state(self) -> dict:
        """What must be the same however often somebody looked."""
        return {
            "entries": [[e.shown for e in self.entries if e.wallet == n] for n in self.wallets],
            "wallets": [(w.balance_micro, w.left_micro) for w in self.wallets.values()],
            "sessions": {
                id: (h.meter.charged_micro, h.meter.billed_until_at, h.revision)
                for id, h in self.sessions.items()
            },
            "refused": self.refused,
        }

    def book(self, now: datetime, *ids: int, quiet=False, ended: Meter | None = None) -> datetime:
        """What ``actions.advancing.book`` does; now, clamped."""
        for n in ids:
            wallet = self.wallets[n]
            at = max(now, wallet.advanced_until)
            meters = [h.meter for h in self.sessions.values() if h.wallet == n and _open(h.meter)]
            if ended is not None:
                meters.append(ended)
            ahead = advancing.advance(wallet, meters, at, self.calendar)
            until = ahead.wallet.advanced_until
            if not ahead.due and (quiet or until == wallet.advanced_until):
                continue
            begun = self.calendar.last_boundary(MONTH, at)
            cut = set()
            for due in ahead.due:
                until = max(until, due.at) if due.at == begun else until
                if isinstance(due, advancing.Slice):
                    cut.add(due.session_id)
                    key = f"charge:{due.session_id}:{to_micros(due.begin)}"
                    self.add(key, n, -due.amount_micro, due.end, due.session_id)
                else:
                    self.add(f"allowance:{n}:{due.label}", n, due.net_micro, due.at)
            self.wallets[n] = replace(ahead.wallet, advanced_until=until)
            for m in ahead.meters:
                if m.session_id in cut:
                    self.sessions[m.session_id].meter = m
        return max([now, *(self.wallets[n].advanced_until for n in ids)])

    def add(self, key, n, amount, at, session="") -> None:
        if amount:
            self.entries.append(Entry(key, n, amount, at, session))

    def post(self, key, n, amount, at, how, session="") -> None:
        """What ``store.ledger.post`` does."""
        w = self.wallets[n]
        balance, left = moved(w.balance_micro, w.left_micro, amount, how)
        self.wallets[n] = replace(w, balance_micro=balance, left_micro=left)
        self.add(key, n, amount, at, session)

    # looks
    def tick(self, now) -> None:
        self.book(now, *self.wallets)

    def passing(self, now) -> None:
        """The service's pass: what no boundary changed is not written to."""
        self.book(now, *self.wallets, quiet=True)

    def restart(self, now) -> None:
        """Everything is read from what was written."""
        for n, w in self.wallets.items():
            stored = to_micros(w.advanced_until)
            kept = w.allowance and Allowance(*vars(w.allowance).values())
            self.wallets[n] = replace(w, allowance=kept, advanced_until=from_micros(stored))
        for h in self.sessions.values():
            h.meter = replace(h.meter)

    # events
    def zone(self, now, name) -> None:
        self.calendar = self.calendar.with_zone(name, now)

    def overdraft(self, now, n, amount) -> None:
        self.wallets[n] = replace(self.wallets[n], overdraft_micro=amount)

    def grant(self, now, n, amount, key) -> None:
        self.book(now, n)
        self.post(f"grant:{key}", n, amount, now, LEAVES)

    def transfer(self, now, a, b, amount, key) -> None:
        self.book(now, a, b)
        meters = [h.meter for h in self.sessions.values() if h.wallet == a and _open(h.meter)]
        if amount > transferable(self.wallets[a], meters, now):
            self.refused.append((now, key))
            return
        self.post(f"transfer-out:{key}", a, -amount, now, LEAVES)
        self.post(f"transfer-in:{key}", b, amount, now, LEAVES)

    def allowance(self, now, n, amount, period, cap, begin_now) -> None:
        self.book(now, n)
        w, made = self.wallets[n], Allowance(amount, period, cap)
        if begin_now is None:
            begin_now = w.allowance is None or (not w.allowance.amount_micro and not w.left_micro)
        if w.allowance == made and not begin_now:
            return
        self.wallets[n] = replace(w, allowance=made, advanced_until=now)
        net = turn(w.balance_micro, w.left_micro, made).net_micro
        if begin_now and net:
            self.post(f"allowance:{n}:at:{to_micros(now)}", n, net, now, TURNS)

    def remove(self, now, n) -> None:
        self.book(now, n)
        w = self.wallets[n]
        if w.allowance is None or not w.allowance.amount_micro:
            self.refused.append((now, "remove"))
            return
        rest = Allowance(0, w.allowance.period, 0) if w.left_micro else None
        self.wallets[n] = replace(w, allowance=rest, advanced_until=now)

    def admit(self, now, id, n, per_hour, fee, grace) -> None:
        self.book(now, n)
        hold = hold_for(per_hour, fee, 900)
        meter = Meter(id, per_hour, fee, hold, 0, now, now + timedelta(seconds=420))
        self.sessions[id] = Held(n, meter, grace)

    def started(self, now, id, at) -> None:
        h = self.sessions[id]
        h.meter = replace(h.meter, billed_from_at=at, sighted=True)

    def stopping(self, now, id, at) -> None:
        h = self.sessions[id]
        h.stop = h.stop or at
        last = pays_until(h.stop, h.grace, h.meter.settled_until)
        h.meter = replace(h.meter, pays_until_at=last)

    def settle(self, now, id, until) -> None:
        h = self.sessions[id]
        now = self.book(now, h.wallet)
        m = h.meter
        until = min(x for x in (until, now, m.pays_until_at) if x is not None)
        begin = m.settled_until or m.billed_from_at
        if until > begin:
            due = m.cost(until) - m.settled()
            h.meter = replace(m, settled_until=until, charged_micro=m.charged_micro + due)
            self.post(f"charge:{id}:{to_micros(begin)}", h.wallet, -due, until, USES, id)

    def ended(self, now, id, at) -> None:
        h = self.sessions[id]
        m = h.meter
        if m.billed_from_at is None:
            del self.sessions[id]
            return
        until, _ = billed_end(max(at, m.billed_from_at), h.stop, h.grace)
        h.meter = m = replace(m, billed_until_at=max(until, m.billed_from_at))
        before = m.settled_until
        self.book(now, h.wallet, ended=m)
        m = h.meter
        if before is None or before <= m.billed_until_at:
            return
        due = m.cost(m.billed_until_at) - m.charged_micro
        h.revision += 1
        h.meter = replace(m, settled_until=m.billed_until_at, charged_micro=m.charged_micro + due)
        how = USES if due > 0 else LEAVES
        self.post(f"correction:{id}:{h.revision}", h.wallet, -due, m.billed_until_at, how)
        over = h.given - h.meter.charged_micro
        if due < 0 < over:
            h.given -= over
            self.post(f"correction:gift:{id}:{h.revision}", h.wallet, -over, now, SPARES)

    def charge_of(self, id, number, key, now) -> tuple[Entry | None, int]:
        charges = [e for e in self.entries if e.session == id]
        if not charges:
            self.refused.append((now, key))
            return None, 0
        h, e = self.sessions[id], charges[number % len(charges)]
        return e, max(0, min(-e.amount - e.back, h.meter.charged_micro - h.given))

    def refund(self, now, id, number, amount, key) -> None:
        self.book(now, self.sessions[id].wallet)
        e, left = self.charge_of(id, number, key, now)
        if e is not None and amount > left:
            self.refused.append((now, key))
        elif e is not None:
            e.back += amount
            self.sessions[id].given += amount
            self.post(f"refund:{key}", e.wallet, amount, now, LEAVES)

    def correct(self, now, id, number, amount, key) -> None:
        self.book(now, self.sessions[id].wallet)
        e, left = self.charge_of(id, number, key, now)
        h = self.sessions[id]
        if e is not None and (amount > left or _open(h.meter)):
            self.refused.append((now, key))
        elif e is not None:
            e.back += amount
            h.meter = replace(h.meter, charged_micro=h.meter.charged_micro - amount)
            self.post(f"correction:{key}", e.wallet, amount, now, USES if amount < 0 else LEAVES)

    def correct_grant(self, now, n, its, amount, key) -> None:
        self.book(now, n)
        self.post(f"correction:{key}", n, amount, now, SPARES if amount < 0 else LEAVES)


def _open(meter: Meter) -> bool:
    return meter.billed_until_at is None


def remembered(life: Life, events) -> Memory:
    return Memory(Calendar.of(life.zone), life.begin).run(events)
