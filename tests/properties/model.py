"""The rules of money a second time, as plainly as can be: dicts, lists, fractions, no database.

Written from the rules and not from the code, and slow where that is clearer. In micro-credits.
Limitations: one hub; no rules by person; what a rate's history forbids is not modelled.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

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


def micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


@dataclass
class Wallet:
    name: str
    overdraft: int | None = 0
    mode: str | None = None
    closed: bool = False
    entries: list = field(default_factory=list)

    @property
    def balance(self) -> int:
        return sum(self.entries)


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
    pays_from: datetime | None = None
    pays_until: datetime | None = None
    settled: datetime | None = None
    charged: int = 0
    #: (amount, what was given back of it) of each charge, in order
    charges: list = field(default_factory=list)
    waived_at: datetime | None = None
    #: What was given back as goodwill, less what was taken back of it.
    gifts: int = 0

    @property
    def open(self) -> bool:
        return self.state in ("admitted", "running")

    def cost(self, at: datetime) -> int:
        if not self.billed or self.pays_from is None or at < self.pays_from:
            return 0
        last = self.pays_until or self.stop_pays_until
        end = at if last is None else min(at, last)
        used = micros(max(end, self.pays_from) - self.pays_from)
        return self.fee + int(Fraction(self.per_hour * used, 3_600_000_000))

    @property
    def stop_pays_until(self):
        if self.stop_accepted is None:
            return None
        last = self.stop_accepted + timedelta(seconds=self.grace_s + STOP_MARGIN_S)
        return max(last, self.settled or last)

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


class Model:
    def __init__(self):
        self.mode = "enforce"
        self.wallets: dict[str, Wallet] = {}
        self.sessions: dict[str, Session] = {}
        self.answers: dict[str, str] = {}
        self.rates: dict[tuple, list] = {}
        self.limits: dict[tuple, int] = {}
        self.exempt: set = set()

    # -- prices -----------------------------------------------------------------------------------

    def price(self, resource, model, profile, at):
        keys = [(resource, m, p) for p in (profile, "") for m in (model, "")]
        for key in keys:
            known = [r for r in self.rates.get(key, []) if r[0] <= at]
            if known and known[-1][1] is not None:
                return known[-1][1]
        return None

    def quote(self, profile, at):
        """(per hour, fee), or None where a GPU has no price."""
        gpus, cores, gib = SHAPES[profile]
        total = 0
        for model, count, weight in gpus:
            price = self.price("gpu", model, profile, at)
            if price is None:
                return None
            total += price * count * weight // 1000
        total += (self.price("cpu", "", profile, at) or 0) * cores // 1000
        total += (self.price("memory", "", profile, at) or 0) * gib
        return total, self.price("start", "", profile, at) or 0

    # -- admission --------------------------------------------------------------------------------

    def open_on(self, wallet):
        return [s for s in self.sessions.values() if s.open and s.wallet is wallet]

    def available(self, wallet, at, claim="claim"):
        if wallet.overdraft is None:
            return None
        claims = sum(getattr(s, claim)(at) for s in self.open_on(wallet))
        return wallet.balance + wallet.overdraft - claims

    def wallet_for(self, person, choice):
        """(wallet or None, why not). Opens a personal wallet."""
        groups = GROUPS[person]
        if choice:
            mine = {f"~{person}"} | ({"lab"} if "lab" in groups else set())
            wallet = self.wallets.get(choice)
            if choice in mine and wallet and not wallet.closed:
                return wallet, None
            return None, "wallet_choice"
        if "lab" in groups:
            return self.wallets["lab"], None
        if f"~{person}" not in self.wallets:
            self.wallets[f"~{person}"] = Wallet(f"~{person}", entries=[3_000_000])
        return self.wallets[f"~{person}"], None

    def applying(self, person, wallet, profile):
        found = []
        for (subject, who, resource), amount in self.limits.items():
            if (
                subject == "everyone"
                or (subject == "person" and who in ("*", person))
                or (subject in ("group", "each") and who in GROUPS[person])
                or (subject == "wallet" and wallet is not None and who == wallet.name)
                or (subject == "profile" and who == profile)
            ):
                found.append((subject, who, resource, amount))
        return found

    def in_use(self, subject, who, person, resource, at):
        total = 0
        for s in self.sessions.values():
            if not s.open or s.lapsed(at):
                continue
            if (
                (subject == "person" and s.person != person)
                or (subject in ("group", "each") and who not in GROUPS[s.person])
                or (subject == "each" and s.person != person)
                or (subject == "wallet" and (s.wallet is None or s.wallet.name != who))
                or (subject == "profile" and s.profile != who)
            ):
                continue
            total += self.size(s.profile, resource)
        return total

    @staticmethod
    def size(profile, resource):
        gpus, cores, _ = SHAPES[profile]
        return {"gpus": sum(c * w for _, c, w in gpus), "cpu": cores, "servers": 1}[resource]

    def admit(self, id, person, server, profile, choice, at, *, billed_from="container", grace_s=0,
              failed_open_at=None):  # fmt: skip
        """The expected decision and reason; the session is opened."""
        if id in self.answers and not (failed_open_at and self.answers[id] == "refused"):
            return self.answers[id], None
        wallet, why = self.wallet_for(person, choice)
        for s in list(self.sessions.values()):
            if s.open and (s.person, s.server) == (person, server):
                known = [x for x in (s.admitted, s.started, s.ready, s.seen) if x]
                self.end(s, max(known), "lost", at)
        mode = self.mode
        if mode != "off" and wallet is not None and wallet.mode is not None:
            mode = wallet.mode
        priced_at = min(failed_open_at, at) if failed_open_at else at
        quote = self.quote(profile, priced_at)
        per_hour, fee = quote or (0, 0)
        applying = self.applying(person, wallet, profile)
        hours = [a for _, _, r, a in applying if r == "session_hours"]
        limit_s = min(hours) if hours else None
        span = MIN_RUN_S if limit_s is None else min(MIN_RUN_S, limit_s)
        held = fee + per_hour * span // 3600
        broken = any(
            self.size(profile, r)
            and self.in_use(subject, who, person, r, at) + self.size(profile, r) > amount
            for subject, who, r, amount in applying
            if r != "session_hours"
        )
        exempt = {("person", person), ("profile", profile)} & self.exempt or any(
            ("group", g) in self.exempt for g in GROUPS[person]
        )
        reason = "ok"
        if mode == "off":
            reason, held = "off", 0
        elif exempt:
            reason, held = "limit" if broken else "exempt", 0
        elif why:
            reason, held = why, 0
        elif quote is None:
            reason, held = "no_rate", 0
        elif wallet.closed:
            reason = "wallet_closed"
        elif broken:
            reason = "limit"
        else:
            left = self.available(wallet, at, "admission_claim")
            burn = sum(s.per_hour for s in self.open_on(wallet) if s.beyond(at))
            if left is not None and left - held < burn * LEAD_S // 3600:
                reason = "wallet"
        fine = reason in ("ok", "off", "exempt")
        decision = "admitted" if fine else "refused" if mode == "enforce" else "observed"
        if failed_open_at:
            decision = "failed_open"
        self.answers[id] = decision
        if decision != "refused":
            billed = mode != "off" and not exempt and wallet is not None
            since = priced_at if failed_open_at else at
            self.sessions[id] = Session(
                id, person, server, profile, wallet, billed, per_hour, fee, held if billed else 0,
                since, since + timedelta(seconds=420), limit_s, billed_from, grace_s,
            )  # fmt: skip
        return decision, reason

    # -- boundaries -------------------------------------------------------------------------------

    def sight(self, s, kind, at, now):
        at = min(at, now)
        if not s.open:
            return
        if kind == "scheduled" and s.scheduled is None:
            s.scheduled = at
        elif kind == "started" and s.started is None:
            s.started, s.state = at, "running"
        elif kind == "ready" and s.ready is None:
            s.ready = at
            if s.started is None:
                s.started, s.state = at, "running"
        elif kind == "seen":
            s.seen = max(s.seen or at, at)
        elif kind == "stop_accepted" and s.stop_accepted is None:
            s.stop_accepted = at
        if s.pays_from is None:
            if s.billed_from == "ready":
                s.pays_from = s.ready
            elif s.billed_from == "scheduled" and s.scheduled and s.started:
                s.pays_from = min(s.scheduled, s.started)
            else:
                s.pays_from = s.started

    def settle(self, s, until, now):
        """Charge up to there; the amount."""
        until = min(until, now)
        last = s.pays_until or s.stop_pays_until
        if last is not None:
            until = min(until, last)
        if not s.billed or s.wallet is None or s.pays_from is None:
            return 0
        begin = s.settled or s.pays_from
        if until < begin or (until == begin and (s.settled or s.pays_until is None)):
            return 0
        amount = s.cost(until) - (s.cost(s.settled) if s.settled else 0)
        s.settled = until
        s.charged += amount
        if amount:
            s.charges.append([amount, 0])
            s.wallet.entries.append(-amount)
        return amount

    def end(self, s, at, reason, now):
        if reason != "lost":  # that one was seen alive at that instant, whatever the clock says now
            at = min(at, now)
        if not s.open:
            return
        if s.started is None:
            s.state, s.ended = "void", max(at, s.admitted)
            s.pays_until = s.ended
            self.answers[s.id] = "void"
            return
        s.ended = max(at, s.started)
        until = s.ended
        if s.stop_accepted is not None:
            until = min(until, s.stop_accepted + timedelta(seconds=s.grace_s + STOP_MARGIN_S))
        s.pays_until = max(x for x in (until, s.pays_from) if x)
        s.state = "ended"
        self.settle(s, s.pays_until, max(now, s.pays_until))
        if s.settled and s.settled > s.pays_until:
            self.rebook(s)
        if reason == "start_failed" or (reason == "died" and s.ready is None):
            self.waive(s)

    def rebook(self, s):
        """What its boundaries say now, less what was charged; gifts never exceed what is left."""
        due = s.cost(s.pays_until) - s.charged
        s.settled = s.pays_until
        s.charged += due
        s.wallet.entries.append(-due)
        if due < 0 and s.gifts > s.charged:
            s.wallet.entries.append(s.charged - s.gifts)
            s.gifts = s.charged

    @staticmethod
    def left_of(s, charge) -> int:
        """What may still be given back of a charge."""
        return max(0, min(charge[0] - charge[1], s.charged - s.gifts))

    def waive(self, s):
        day = s.ended.date()
        given = [
            x for x in self.sessions.values()
            if x.person == s.person and x.waived_at and x.waived_at.date() == day
        ]  # fmt: skip
        if len(given) >= WAIVERS:
            return
        for charge in s.charges:
            left = self.left_of(s, charge)
            if left > 0:
                charge[1] += left
                s.gifts += left
                s.wallet.entries.append(left)
                s.waived_at = s.ended

    def void(self, id, now):
        s = self.sessions.get(id)
        if s is None:
            self.answers.setdefault(id, "void")
        elif s.state == "admitted" and s.started is None:
            s.state, s.ended, s.pays_until = "void", now, now
            self.answers[id] = "void"
