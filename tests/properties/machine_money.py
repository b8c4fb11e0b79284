"""Moves of money by hand and of time over boundaries; a part of the machine (machine.py)."""

import uuid
from datetime import timedelta

import sqlalchemy as sa

from jhub_usage.actions import (
    advancing,
    allowances,
    corrections,
    months,
    passes,
    refunds,
    requests,
    wallets,
)
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.errors import BadInput, Conflict, NotAllowed, NotFound
from jhub_usage.domain.refunds import Filter
from jhub_usage.store import tables as t

from . import services
from .plain_ledger import GROUPS

WHICH = range(1001)
AMOUNTS = [1, 333_333, 1_000_000, 5_000_000, 40_000_000]
#: Seconds; a little backwards too, as clocks do.
STEPS = [-2, -0.000001, 0, 0.000001, 1, 59, 60, 419, 420, 900, 901, 3599.999999, 7200, 50_000]
PERIODS = ["day", "week", "month"]
#: Name of the move -> (how often, what it takes).
MOVES = {
    "time_passes": (4, {"seconds": STEPS}),
    "days_pass": (2, {"days": [1, 1, 2, 6, 13, 31]}),
    "to_boundary": (4, {"period": PERIODS, "off": [0, 0, 1, -1, 1_000_000, -600_000_000]}),
    "race": (2, {"period": PERIODS, "off": [0, 1]}),
    "allowance": (4, {"n": WHICH, "amount": AMOUNTS, "period": PERIODS,
                      "carry": [0, 0, None, 333_333, 50_000_000],
                      "begin_now": [None, None, False, True]}),
    "no_allowance": (1, {"n": WHICH}),
    "close_month": (2, {}),
    "grant": (3, {"n": WHICH, "amount": AMOUNTS, "key": [None, 1]}),
    "transfer": (2, {"n": WHICH, "m": WHICH, "amount": AMOUNTS}),
    "refund": (2, {"n": WHICH, "amount": [None, *AMOUNTS]}),
    "correct": (2, {"n": WHICH, "amount": AMOUNTS, "sign": [1, -1]}),
    "correct_grant": (2, {"n": WHICH, "amount": AMOUNTS, "sign": [1, -1, -1]}),
    "give_back": (1, {"n": WHICH, "by": ["person", "wallet", "profile", "end_reason"]}),
    "correct_boundaries": (3, {"n": WHICH, "begin": [None, None, -600, 0, 45],
                               "end": [None, -7200, -90, 0, 0.000001, 3600, 100_000]}),
    "request": (1, {"n": WHICH, "m": WHICH, "amount": AMOUNTS,
                    "answer": ["all", "part", "moved", "declined", "withdrawn"]}),
    "emergency": (1, {"n": WHICH, "hours": [1, 24, 168], "revoke": [True, False, False]}),
}  # fmt: skip


class MoneyMoves:
    """Needs what machine.Money has: the database, its model, the clock."""

    # -- time -------------------------------------------------------------------------------------

    def time_passes(self, seconds):
        """A clock may go back, though never behind what is booked (tested by itself)."""
        with self.db.read() as tx:
            floor = tx.scalar(sa.select(sa.func.max(t.wallets_.c.advanced_until)))
        self.now = max(self.now + timedelta(seconds=seconds), floor)

    def days_pass(self, days):
        """Somebody was away. What lies further back than two months needs a person."""
        self.looks()
        self.time_passes(days * 86400)

    def to_boundary(self, period, off):
        _, at = next(self.model.days.begins(period, self.now, self.now + timedelta(days=40)))
        self.looks()
        self.time_passes((at - self.now).total_seconds() + off / 1_000_000)

    def looks(self):
        """The service's pass books what is due, and so does the model."""
        last = 0
        while True:
            last, _, _, late = self.money(advancing.advance_due, last)
            assert not late
            if not last:
                break
        self.model.tick(self.now)

    def race(self, period, off):
        """Two service processes meet at a boundary."""
        self.to_boundary(period, max(0, off))
        url = self.db.url.render_as_string(hide_password=False)
        found = services.race(url, self.now, self.policy.timezone)
        assert all(late == () for *_, late in found), found
        self.model.tick(self.now)

    # -- allowances and months --------------------------------------------------------------------

    def allowance(self, n, amount, period, carry, begin_now):
        wallet = self.wallet(n)
        made = Allowance(amount, period, carry)
        self.money(allowances.set_allowance, self.id_of(wallet), made, begin_now=begin_now)
        self.model.catch_up(wallet, self.now)
        had, now = wallet.allowance, (amount, period, carry)
        if begin_now is None:
            begin_now = had is None or (had[0] == 0 and wallet.left == 0)
        if had == now and not begin_now:
            return
        wallet.allowance, wallet.done = now, self.now
        if begin_now:
            self.model.book(wallet, wallet.turn(amount, carry), self.now)

    def no_allowance(self, n):
        wallet = self.wallet(n)
        has = wallet.allowance is not None and wallet.allowance[0] > 0
        try:
            self.money(allowances.remove_allowance, self.id_of(wallet))
        except NotFound:
            assert not has
            return
        assert has
        self.model.catch_up(wallet, self.now)
        wallet.allowance = (0, wallet.allowance[1], 0) if wallet.left else None
        wallet.done = self.now

    def close_month(self):
        """The first open month, once it is over and nothing in it is unknown."""
        self.looks()
        with self.db.read() as tx:
            label = months.due(tx, 0, policy=self.policy)
        if label is None:
            return
        since = self.now - timedelta(days=800)
        ends = next(at for x, at in self.model.days.begins("month", since, self.now) if x > label)
        unknown = [
            s for s in self.model.sessions.values()
            if s.state == "admitted" and s.billed and s.started is None and s.admitted < ends
            and (s.seen is not None or s.deadline > self.now)
        ]  # fmt: skip
        try:
            self.money(months.close, label)
        except Conflict:
            assert unknown
            return
        assert not unknown
        self.model.closed = label

    def on_the_last_minutes(self, person, period, next_amount, before_s, **asked):
        """Only what is about to expire is there, and servers start."""
        w = self.model.wallets.get("lab" if "lab" in GROUPS[person] else f"~{person}")
        if w is None:
            return
        names = sorted(self.model.wallets)
        n = names.index(w.name)
        self.looks()
        self.allowance(n, 5_000_000, period, 0, True)
        if self.free(w) > 0:
            self.transfer(n, names.index("free"), self.free(w))
        self.allowance(n, next_amount, period, 0, False)
        self.to_boundary(period, -1_000_000 * before_s)
        for server in ("a", "b"):
            self.start(person=person, server=server, choice="", **asked)

    # -- money by hand ----------------------------------------------------------------------------

    def grant(self, n, amount, key):
        wallet = self.wallet(n)
        key = key and f"{key}-{wallet.name}-{amount}-{uuid.uuid4()}"
        for _ in range(2 if key else 1):  # a retry is the same grant
            self.money(wallets.grant, self.id_of(wallet), amount, key=key)
        self.model.catch_up(wallet, self.now)
        self.model.add(wallet, amount, self.now)

    def free(self, w):
        """Permanent credit that nothing claims; what runs takes of the allowance first."""
        claims = sum(s.claim(self.now) for s in self.model.open_on(w))
        return w.permanent - (claims if claims < 0 else max(0, claims - w.left))

    def transfer(self, n, m, amount):
        a, b = self.wallet(n), self.wallet(m)
        if a is b:
            return
        try:
            self.money(wallets.transfer, self.id_of(a), self.id_of(b), amount)
            done = True
        except Conflict:
            done = False
            self.looks()  # what was due then is due now
        self.model.catch_up(a, self.now, quiet=not done)
        self.model.catch_up(b, self.now, quiet=not done)
        assert done == (amount <= self.free(a) and not b.closed)
        if done:
            self.model.add(a, -amount, self.now)
            self.model.add(b, amount, self.now)

    def charge(self, number):
        """A session of the model, one of its charges, and the id of its entry."""
        self.looks()
        charged = [s for s in self.model.sessions.values() if s.charges]
        if not charged:
            return None, None, None
        s = charged[number % len(charged)]
        with self.db.read() as tx:
            e = t.entries.c
            mine = sa.select(e.id).where(e.session_id == s.id, e.kind == "charge").order_by(e.id)
            ids = list(tx.execute(mine).scalars())
        index = number % len(ids)
        return s, s.charges[index], ids[index]

    def refund(self, n, amount):
        s, charge, entry_id = self.charge(n)
        if s is None:
            return
        left = self.model.left_of(s, charge)
        given = left if amount is None else amount
        try:
            self.money(wallets.refund, entry_id, amount)
        except Conflict:
            assert given > left or given <= 0
            return
        assert 0 < given <= left
        self.model.catch_up(s.wallet, self.now)
        self.model.give(s, charge, given, self.now)

    def correct(self, n, amount, sign):
        s, charge, entry_id = self.charge(n)
        if s is None:
            return
        left = self.model.left_of(s, charge)
        try:
            self.money(wallets.correct, entry_id, sign * amount, note="it was wrong")
        except Conflict:
            assert sign * amount > left or s.open
            return
        assert sign * amount <= left and not s.open
        self.model.catch_up(s.wallet, self.now)
        charge[1] += sign * amount
        s.charged -= sign * amount
        put = self.model.add if sign > 0 else self.model.use
        put(s.wallet, amount, self.now)

    def correct_grant(self, n, amount, sign):
        """What takes a grant back takes permanent credit; an allowance's is as if it were used."""
        e, w = t.entries.c, t.wallets_.c
        with self.db.read() as tx:
            rows = tx.execute(
                sa.select(e.id, e.key, w.name).join(t.wallets_, w.id == e.wallet_id)
                .where(e.kind == "grant").order_by(e.id)
            ).all()  # fmt: skip
        wrong = rows[n % len(rows)]
        self.money(wallets.correct, wrong.id, sign * amount, note="it was wrong")
        wallet = self.model.wallets[wrong.name]
        self.model.catch_up(wallet, self.now)
        if sign > 0:
            self.model.add(wallet, amount, self.now)
        elif wrong.key.startswith("allowance:"):
            self.model.use(wallet, amount, self.now)
        else:
            self.model.take(wallet, amount, self.now)

    def give_back(self, n, by):
        """Everything of a person, a wallet, a profile, or of how it ended."""
        s = self.session(n, "ended")
        if s is None or s.wallet is None:
            return
        what = {"person": s.person, "wallet": s.wallet.name, "profile": s.profile,
                "end_reason": s.reason or "stopped"}[by]  # fmt: skip
        asked, key = Filter(**{by: what}), str(uuid.uuid4())
        told = {"note": "sorry", "hub_id": "hub", "key": key}

        def fits(x):
            return what == {"person": x.person, "wallet": x.wallet and x.wallet.name,
                            "profile": x.profile, "end_reason": x.reason}[by]  # fmt: skip

        try:
            made = self.money(refunds.refund, asked, **told)
        except Conflict:
            assert self.model.give_back(fits, self.now) == 0
            self.looks()  # what was due then is due now
            return
        assert self.money(refunds.refund, asked, **told) == made  # a retry is the same batch
        assert self.model.give_back(fits, self.now) == made.count > 0

    def correct_boundaries(self, n, begin, end):
        """An operator says when it started or ended."""
        s = self.session(n, "ended" if n % 5 else None)
        if s is None or (begin is None and end is None):
            return
        started = begin is not None and s.started and s.started + timedelta(seconds=begin)
        ended = end is not None and s.ended and s.ended + timedelta(seconds=end)
        if not started and not ended:
            return
        told = {"started_at": started or None, "ended_at": ended or None}
        try:
            made = self.money(corrections.correct_boundaries, s.id, note="it was wrong", **told)
        except (BadInput, Conflict):
            assert not self.model.correct_boundaries(s, *told.values(), self.now)
            return
        self.model.catch_up(s.wallet, self.now)
        before = s.wallet and s.wallet.balance
        assert self.model.correct_boundaries(s, *told.values(), self.now)
        if s.wallet:
            assert s.wallet.balance - before == made.net_micro

    # -- requests and passes ----------------------------------------------------------------------

    def person_id(self, name):
        p = t.people.c
        with self.db.read() as tx:
            return tx.scalar(sa.select(p.id).where(p.name == name, p.current))

    def request(self, n, m, amount, answer):
        """Somebody asks for credit, and somebody answers."""
        name = sorted(GROUPS)[n % len(GROUPS)]
        who, wallet = self.person_id(name), self.wallet(m)
        if who is None:
            return
        groups = GROUPS[name]
        mine = wallet.name == f"~{name}" or (wallet.name == "lab" and "lab" in groups)
        allowed = mine and not wallet.closed and wallet.overdraft is not None
        try:
            request_id = self.act(requests.ask, self.id_of(wallet), who, amount, note="please",
                                  actor=SYSTEM, groups=groups)  # fmt: skip
        except (Conflict, NotAllowed):
            assert not allowed
            return
        assert allowed
        if answer == "declined":
            self.act(requests.decline, request_id, note="no", actor=SYSTEM, by_right=True)
            return
        if answer == "withdrawn":
            self.act(requests.withdraw, request_id, actor=self.actor_of(name, who))
            return
        given = amount if answer != "part" else max(1, amount // 3)
        source = self.model.wallets["free"] if answer == "moved" else None
        more = {"from_wallet_id": self.id_of(source)} if source else {}
        for w in (wallet, source):
            self.model.catch_up(w, self.now, quiet=True)
        enough = source is None or given <= self.free(source)
        for w in (wallet, source):
            self.model.catch_up(w, self.now, quiet=not enough)
        for _ in range(2):  # a retry is the same grant
            try:
                self.money(requests.grant, request_id, given, by_right=True, **more)
            except Conflict:
                assert not enough
                self.looks()
                return
        assert enough
        if source:
            self.model.add(source, -given, self.now)
        self.model.add(wallet, given, self.now)

    def emergency(self, n, hours, revoke):
        """A pass for somebody, or the end of one."""
        name = sorted(GROUPS)[n % len(GROUPS)]
        who = self.person_id(name)
        if who is None:
            return
        held = self.model.passes.setdefault(name, {})
        valid = [i for i, until in held.items() if self.now < until]
        if revoke and valid:
            self.act(passes.revoke, valid[0], actor=SYSTEM)
            del held[valid[0]]
        else:
            pass_id = self.act(passes.give, who, hours=hours, note="a demo", actor=SYSTEM)
            held[pass_id] = self.now + timedelta(hours=hours)
