"""The rules of money a second time, as plainly as can be: dicts, lists, fractions, no database.

Written from the rules and not from the code, and slow where that is clearer. In micro-credits.
Limitations: one hub; no rules by person; what a rate's history forbids is not modelled.
"""

import copy
from datetime import datetime, timedelta

from .plain_ledger import (
    GROUPS,
    LEAD_S,
    PER_PERIOD,
    SHAPES,
    STOP_MARGIN_S,
    Ledger,
    Session,
    Wallet,
    micros,
    size,
)


class Model(Ledger):
    """Admission, and what is told of sessions."""

    def __init__(self, zone: str = "UTC"):
        super().__init__(zone)
        self.mode, self.installed = "enforce", None
        self.answers: dict[str, str] = {}
        self.rates: dict[tuple, list] = {}
        #: (subject, who, resource, period or "") -> amount
        self.limits: dict[tuple, int] = {}
        self.exempt: set = set()
        #: person -> until when of each pass, by its id
        self.passes: dict[str, dict[int, datetime]] = {}

    def passed(self, person: str, at: datetime) -> bool:
        return any(at < until for until in self.passes.get(person, {}).values())

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

    def payer(self, person, choice, now) -> Wallet | None:
        """The wallet that is asked. Opens a personal one."""
        if choice:
            return self.wallets.get(choice)
        if "lab" in GROUPS[person]:
            return self.wallets["lab"]
        own = f"~{person}"
        if own not in self.wallets:
            self.wallets[own] = Wallet(own, done=now)
            self.add(self.wallets[own], 3_000_000, now)
        return self.wallets[own]

    @staticmethod
    def open_to(person, wallet) -> bool:
        mine = {f"~{person}"} | ({"lab"} if "lab" in GROUPS[person] else set())
        return wallet is not None and wallet.name in mine and not wallet.closed

    def applying(self, person, wallet, profile):
        found = []
        for (subject, who, resource, period), amount in self.limits.items():
            mine = wallet is not None and (who == wallet.name or who == f"{wallet.name}/{person}")
            if (
                subject == "everyone"
                or (subject == "person" and who in ("*", person))
                or (subject in ("group", "each") and who in GROUPS[person])
                or (subject in ("wallet", "wallet_person") and mine)
                or (subject == "profile" and who == profile)
            ):
                found.append((subject, who, resource, period, amount))
        return found

    def counting(self, subject, who, person):
        """Sessions that count against a limit as it binds this person."""
        for s in self.sessions.values():
            paid = s.wallet.name if s.wallet else None
            if not (
                (subject == "person" and s.person != person)
                or (subject in ("group", "each") and who not in GROUPS[s.person])
                or (subject == "each" and s.person != person)
                or (subject == "wallet" and paid != who)
                or (subject == "wallet_person" and f"{paid}/{s.person}" != who)
                or (subject == "profile" and s.profile != who)
            ):
                yield s

    def in_use(self, subject, who, person, resource, at):
        return sum(
            size(s.profile, resource)
            for s in self.counting(subject, who, person)
            if s.open and not s.lapsed(at)
        )

    def fits(self, new: Session, limit, at) -> bool:
        """Whether a start fits into a limit per period, by its minimum run alone (rule 21)."""
        subject, who, resource, period, amount = limit
        if not new.draws(resource):
            return True
        begin, end = self.window(period, at)
        windows = [(begin, end)]
        if at + new.min_run > end:
            windows.append(self.window(period, end))
        for number, (begin, end) in enumerate(windows):
            own = self.taken(new, resource, begin, end, at)
            if not own and number:
                continue
            taken = sum(
                self.taken(s, resource, begin, end, at)
                for s in self.counting(subject, who, new.person)
            )
            if taken + max(own, 1) > amount * PER_PERIOD[resource]:
                return False
        return True

    @staticmethod
    def taken(s: Session, resource, begin, end, now) -> int:
        """Used within the period, and what is left of its minimum run, or the warning's lead."""
        if s.state == "void":
            return 0
        if not s.open:
            return s.used(resource, begin, end)
        if s.pays_from is None:
            if s.lapsed(now):
                return 0
            s, limit_at = s.begun(s.admitted), None
        else:
            limit_at = s.limit_at
        sure = s.pays_from + s.min_run
        if sure <= now:
            sure = now + timedelta(seconds=LEAD_S)
        sure = sure if limit_at is None else min(sure, limit_at)
        return s.used(resource, begin, max(min(now, end), min(sure, end)))

    def claimed(self, s: Session, resource, begin, end, now) -> int:
        """The same as stopping sees it: at least the minimum run, a start not known as if now."""
        if s.state == "void":
            return 0
        if not s.open:
            return s.used(resource, begin, end)
        if s.pays_from is None:
            if s.lapsed(now):
                return 0
            s, limit_at = s.begun(now), None
        else:
            limit_at = s.limit_at
        until = max(now, s.pays_from + s.min_run)
        until = until if limit_at is None else min(until, limit_at)
        return s.used(resource, begin, min(until, end))

    def over_period(self, s: Session, now) -> bool:
        """Whether a limit per period ends this session now."""
        if s.pays_from is None or now < s.pays_from + s.min_run:
            return False
        for subject, who, resource, period, amount in self.applying(s.person, s.wallet, s.profile):
            if period and s.draws(resource, running=True):
                begin, end = self.window(period, now)
                taken = sum(self.claimed(x, resource, begin, end, now)
                            for x in self.counting(subject, who, s.person))  # fmt: skip
                if taken > amount * PER_PERIOD[resource]:
                    return True
        return False

    def passes_boundaries(self, w: Wallet, new: Session, now) -> bool:
        """Whether its hold can be paid at each allowance boundary that comes within it (15)."""
        if w.allowance is None or w.overdraft is None:
            return True
        boundaries = [at for _, at in self.days.begins(w.allowance[1], now, now + new.min_run)]
        for at in boundaries:
            trial = Ledger.__new__(Ledger)
            trial.days, trial.closed, mine = self.days, "", copy.deepcopy(w)
            trial.wallets, trial.sessions = {w.id: mine}, {}
            for s in [*self.open_on(w), new]:
                s = copy.copy(s)
                if s.pays_from is None and (s.id == new.id or not s.lapsed(now)):
                    s.pays_from = s.started = now if s.id == new.id else s.admitted
                s.wallet, s.paid = mine, []
                trial.sessions[s.id] = s
            trial.catch_up(mine, at)
            burn = sum(s.per_hour for s in trial.open_on(mine) if s.beyond(at) and s.accrues(at))
            if trial.available(mine, at) < burn * LEAD_S // 3600:
                return False
        return True

    def supersede(self, person, server, now):
        """A new start of the same server ends the one before where it was last seen."""
        for s in list(self.sessions.values()):
            if s.open and (s.person, s.server) == (person, server):
                known = [x for x in (s.admitted, s.started, s.ready, s.seen) if x]
                self.end(s, max(known), "lost", now)

    def admit(self, id, person, server, profile, choice, at, *, billed_from="container", grace_s=0,
              failed_open_at=None):  # fmt: skip
        """The expected decision and reason; the session is opened."""
        if id in self.answers and not (failed_open_at and self.answers[id] == "refused"):
            return self.answers[id], None
        wallet, why = self.payer(person, choice, at), None
        self.supersede(person, server, at)
        self.catch_up(wallet, at)
        if choice and not self.open_to(person, wallet):
            wallet, why = None, "wallet_choice"
        mode = self.mode
        if mode != "off" and wallet is not None and wallet.mode is not None:
            mode = wallet.mode
        priced_at = min(failed_open_at, at) if failed_open_at else at
        quote = self.quote(profile, priced_at)
        per_hour, fee = quote or (0, 0)
        applying = self.applying(person, wallet, profile)
        hours = [a for _, _, r, _, a in applying if r == "session_hours"]
        limit_s = min(hours) if hours else None
        exempt = {("person", person), ("profile", profile)} & self.exempt or any(
            ("group", g) in self.exempt for g in GROUPS[person]
        )
        since = priced_at if failed_open_at else at
        made = Session(
            id, person, server, profile, wallet, not exempt, per_hour, fee, 0, since,
            since + timedelta(seconds=420), limit_s, billed_from, grace_s,
        )  # fmt: skip
        made.held = held = fee + per_hour * micros(made.min_run) // 3_600_000_000
        new = made.begun(at)
        broken = any(
            size(profile, r) and self.in_use(subject, who, person, r, at) + size(profile, r) > a
            for subject, who, r, period, a in applying
            if not period and r != "session_hours"
        ) or any(period and not self.fits(new, (*_, period, a), at) for *_, period, a in applying)
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
            burn = sum(s.per_hour for s in self.open_on(wallet) if s.beyond(at) and s.accrues(at))
            if (
                left is not None and left - held < burn * LEAD_S // 3600
            ) or not self.passes_boundaries(wallet, made, at):
                reason = "wallet"
        if reason in ("wallet", "limit") and self.passed(person, at):
            reason = "pass"
        fine = reason in ("ok", "off", "exempt", "pass")
        decision = "admitted" if fine else "refused" if mode == "enforce" else "observed"
        if failed_open_at:
            decision = "failed_open"
        self.answers[id] = decision
        if decision != "refused":
            made.billed = mode != "off" and not exempt and wallet is not None
            made.held = held if made.billed else 0
            self.sessions[id] = made
        return decision, reason

    # -- boundaries of sessions -------------------------------------------------------------------

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
            s.pays_from = self.first_paid(s)

    @staticmethod
    def first_paid(s):
        if s.billed_from == "ready":
            return s.ready
        if s.billed_from == "scheduled" and s.scheduled and s.started:
            return min(s.scheduled, s.started)
        return s.started

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
        s.ended, s.reason, s.state = max(at, s.started), reason, "ended"
        self.bound(s)
        self.finish(s, now)

    @staticmethod
    def bound(s):
        """Until when its wallet pays."""
        until = s.ended
        if s.stop_accepted is not None:
            until = min(until, s.stop_accepted + timedelta(seconds=s.grace_s + STOP_MARGIN_S))
        s.pays_until = max(x for x in (until, s.pays_from) if x)

    def correct_boundaries(self, s, started, ended, now) -> bool:
        """An operator knows better; whether that can be."""
        begin, end = started or s.started, ended or s.ended
        if s.state != "ended" or end > now or end < begin:
            return False
        first = min(max(min(s.admitted, s.started), self.installed), s.started)
        if started and started != s.started and started < first:
            return False
        self.catch_up(s.wallet, now)
        before = (s.started, s.ended, s.pays_from, s.pays_until, s.ready)
        named = {n for n, x in (("started", started), ("ended", ended)) if x is not None}
        if begin != s.started:
            s.ready = max(begin, s.ready) if s.ready else None
            s.started = begin
            s.pays_from = self.first_paid(s)
        s.ended = end
        self.bound(s)
        changed = before != (s.started, s.ended, s.pays_from, s.pays_until, s.ready)
        if not changed and named <= s.vouched:
            return True
        s.vouched |= named
        billed = s.billed and s.wallet is not None and before[2] is not None
        if billed and changed:
            charged = s.charged
            self.rebook(s, now)
            if s.failed and s.waived and s.charged > charged:
                # a waived start stays free of what it costs besides
                self.give(s, s.paid[-1], s.charged - charged, s.ended)
                s.waived.append(s.ended)
        return True

    def void(self, id, now):
        s = self.sessions.get(id)
        if s is None:
            self.answers.setdefault(id, "void")
        elif s.state == "admitted" and s.started is None:
            s.state, s.ended, s.pays_until = "void", now, now
            self.answers[id] = "void"
