"""Everything that moves money, as moves that a database and the plain model make together.

Driven by test_stateful.py. Time is what the moves say; a hub is not needed. Moves of money by hand
and over boundaries of periods are in machine_money.py.
"""

import random
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from jhub_usage.actions import (
    admissions,
    allowances,
    check,
    exemptions,
    hubs,
    limits,
    modes,
    rates,
    rules,
    sessions,
    stops,
    wallets,
)
from jhub_usage.domain.admission import Ask, PersonKey, Policy
from jhub_usage.domain.ahead import dry_at
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.audit import SYSTEM, Actor
from jhub_usage.domain.errors import Conflict, NotFound
from jhub_usage.domain.instants import EPOCH
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting
from jhub_usage.domain.wallets import admission_available, available
from jhub_usage.store import periods
from jhub_usage.store import sessions as session_rows
from jhub_usage.store import tables as t
from jhub_usage.store import wallets as wallet_rows
from jhub_usage.store.catalog import CatalogCache
from jhub_usage.store.engine import Database

from .machine_money import MOVES as MONEY_MOVES
from .machine_money import PERIODS, STEPS, WHICH, MoneyMoves
from .model import Model
from .plain_ledger import GROUPS, PER_PERIOD, SHAPES, Wallet

PEOPLE = {name: PersonKey(name, number, EPOCH) for number, name in enumerate(GROUPS)}
#: Where midnights are counted, and when it begins: before month ends and changes of clocks.
PLACES = [
    ("UTC", datetime(2026, 11, 20, 8, tzinfo=UTC)),
    ("Asia/Taipei", datetime(2026, 11, 29, 12, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 23, 20, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 10, 30, 6, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 2, 27, 3, tzinfo=UTC)),
]
AGO = [0, 0, 0, 0.5, 30, 600, 3600, 100_000, -5]
ASKING = {
    "person": sorted(GROUPS),
    "server": ["", "a", "b"],
    "profile": sorted(SHAPES),
    "choice": [""] * 20 + ["lab", "~ada2", "~ada", "free", "nowhere"],
    "billed_from": ["container", "container", "ready", "scheduled"],
    "grace_s": [0, 30],
}
SIGHTINGS = ["scheduled", "started", "started", "ready", "seen", "stop_accepted"]
#: Name of the move -> (how often, what it takes).
MOVES = MONEY_MOVES | {
    "start": (4, ASKING),
    "on_the_last_minutes": (2, {"person": sorted(GROUPS), "period": PERIODS,
                                "next_amount": [1, 333_333, 1_000_000, 5_000_000],
                                "before_s": [1, 60, 300, 890, 900, 901]}
                            | {k: ASKING[k] for k in ("profile", "billed_from", "grace_s")}),
    "start_several": (2, {"number": [2, 3, 4], "n": WHICH}),
    "run": (6, ASKING | {"seconds": STEPS}),
    "sighting": (6, {"n": WHICH, "ago": AGO, "times": [1, 1, 2], "kind": SIGHTINGS}),
    "end": (5, {"n": WHICH, "ago": AGO, "times": [1, 1, 2],
                "reason": ["stopped", "stopped", "died", "start_failed", "hub_shutdown"]}),
    "settle": (3, {"n": WHICH, "ahead": [-7200, -60, -0.000001, 0, 0, 3600]}),
    "watch": (2, {"times": [2, 3, 4], "n": WHICH, "top_up": [0, 0, 40_000_000]}),
    "stops": (1, {"release": range(6)}),
    "confirm": (1, {}),
    "fail_open": (2, ASKING | {"ago": [0, 5, 300, 4000], "n": WHICH}),
    "start_again": (2, {"n": WHICH}),
    "void": (2, {"n": WHICH, "unknown": [True, False, False]}),
    "mode": (1, {"mode": ["off", "observe", *["enforce"] * 4]}),
    "wallets_mode": (1, {"n": WHICH, "mode": [None, None, "off", "observe", "enforce"]}),
    "overdraft": (1, {"n": WHICH, "overdraft": [0, 0, 1_000_000, 10_000_000, None]}),
    "close_or_open": (1, {"n": WHICH, "closed": [True, False, False]}),
    "rate": (2, {"resource": ["gpu", "gpu", "cpu", "memory", "start"],
                 "price": [None, 0, 1, 999_999, 4_000_000, 4_000_000, 77_000_000],
                 "model": ["", "", "A100"], "profile": ["", "", "one"]}),
    "exempt": (1, {"kind": ["person", "group", "profile"], "on": [True, False, False],
                   "n": WHICH}),
    "limit": (1, {"subject": ["everyone", "person", "group", "each", "wallet", "profile"],
                  "resource": ["gpus", "cpu", "servers", "session_hours"], "size": range(6),
                  "n": WHICH, "gone": [True, False]}),
    "period_limit": (1, {"subject": ["person", "group", "each", "wallet", "wallet_person"],
                         "resource": sorted(PER_PERIOD), "period": PERIODS,
                         "size": [0, 1, 3, 20], "n": WHICH, "gone": [True, False]}),
    "sighting_of_nobody": (1, {}),
}  # fmt: skip


def shape_of(name):
    gpus, cores, gib = SHAPES[name]
    return Shape(
        cores, gib * 2**30, tuple(Gpus("nvidia.com/gpu", m, c, weight) for m, c, weight in gpus)
    )


class Money(MoneyMoves):
    """A database and its model; each method is a move that both make, and compares them."""

    def __init__(self, url, place=PLACES[0]):
        zone, self.now = place
        self.policy, self.model = Policy(timezone=zone), Model(zone)
        self.db = Database(url, clock=lambda: self.now)
        self.cache = CatalogCache()
        with self.db.write() as tx:
            hubs.install(tx, "hub", actor=SYSTEM, timezone=zone)
            modes.set_mode(tx, "enforce", actor=SYSTEM)
            lab = wallets.create(tx, "lab", actor=SYSTEM)
            free = wallets.create(tx, "free", overdraft_micro=None, actor=SYSTEM)
            self.ids = {"lab": lab, "free": free}
            wallets.grant(tx, lab, 30_000_000, policy=self.policy, actor=SYSTEM)
            mapping = [
                Rule(0, "wallet", lab, group="lab"),
                Rule(1, "personal", starting_grant_micro=3_000_000),
            ]
            rules.replace(tx, mapping, actor=SYSTEM)
            if place is not PLACES[0]:
                weekly = Allowance(10_000_000, "week", 5_000_000)
                allowances.set_allowance(tx, lab, weekly, policy=self.policy, actor=SYSTEM)
        self.model.installed = self.now
        self.model.wallets = {
            "lab": Wallet("lab", done=self.now),
            "free": Wallet("free", None, done=self.now),
        }
        lab = self.model.wallets["lab"]
        self.model.add(lab, 30_000_000, self.now)
        if place is not PLACES[0]:
            lab.allowance = (10_000_000, "week", 5_000_000)
            self.model.book(lab, lab.turn(10_000_000, 5_000_000), self.now)
        self.model.rates[("gpu", "", "")] = [(EPOCH, 4_000_000)]
        self.asks: dict[str, Ask] = {}

    def close(self):
        self.db.dispose()

    def act(self, action, *args, **more):
        with self.db.write() as tx:
            return action(tx, *args, **more)

    def money(self, action, *args, **more):
        return self.act(action, *args, policy=self.policy, actor=SYSTEM, **more)

    @staticmethod
    def actor_of(name, person_id):
        return Actor("person", name, person_id=person_id)

    def wallet(self, number) -> Wallet:
        names = sorted(self.model.wallets)
        return self.model.wallets[names[number % len(names)]]

    def id_of(self, wallet) -> int:
        if wallet.name not in self.ids:
            with self.db.read() as tx:
                self.ids[wallet.name] = wallets.find(tx, wallet.name).id
        return self.ids[wallet.name]

    def session(self, number, state=None):
        """One of the model, of this state if one is given; mostly a recent one."""
        held = [s for s in self.model.sessions.values() if state in (None, s.state)]
        if not held:
            return None
        return held[-1 - (number % min(len(held), 6 if number % 4 else len(held)))]

    # -- configuration ----------------------------------------------------------------------------

    def mode(self, mode):
        self.act(modes.set_mode, mode, actor=SYSTEM)
        self.model.mode = mode

    def wallets_mode(self, n, mode):
        wallet = self.wallet(n)
        self.act(wallets.change, self.id_of(wallet), mode=mode, actor=SYSTEM)
        wallet.mode = mode

    def overdraft(self, n, overdraft):
        wallet = self.wallet(n)
        self.act(wallets.change, self.id_of(wallet), overdraft_micro=overdraft, actor=SYSTEM)
        wallet.overdraft = overdraft

    def close_or_open(self, n, closed):
        wallet = self.wallet(n)
        self.act(wallets.change, self.id_of(wallet), closed=closed, actor=SYSTEM)
        wallet.closed = closed

    def rate(self, resource, price, model, profile):
        model = model if resource == "gpu" else ""
        try:
            self.act(rates.add, resource, price, model=model, profile=profile, actor=SYSTEM)
        except Conflict:
            return  # a price was quoted at this very instant, or the clock went back
        held = self.model.rates.setdefault((resource, model, profile), [])
        held[:] = sorted([r for r in held if r[0] != self.now] + [(self.now, price)],
                         key=lambda r: r[0])  # fmt: skip

    def exempt(self, kind, on, n):
        names = {"person": sorted(GROUPS), "group": ["lab2"], "profile": sorted(SHAPES)}[kind]
        name = names[n % len(names)]
        self.act(exemptions.set_exempt, kind, name, on, actor=SYSTEM)
        (self.model.exempt.add if on else self.model.exempt.discard)((kind, name))

    def limit(self, subject, resource, size, n, gone):
        if resource == "session_hours" and subject in ("everyone", "wallet", "each"):
            return
        who = {"everyone": "", "person": ["*", *sorted(GROUPS)][n % 4], "group": "lab",
               "each": "lab", "wallet": "lab",
               "profile": sorted(SHAPES)[n % 5]}[subject]  # fmt: skip
        scale = {"gpus": 1000, "cpu": 4000, "servers": 1, "session_hours": 1200}[resource]
        key = (subject, who, resource, "")
        made = Limit(
            "group" if subject == "each" else subject, resource, size * scale,
            person=who if subject == "person" else "",
            group=who if subject in ("group", "each") else "",
            wallet_id=self.ids["lab"] if subject == "wallet" else None,
            profile=who if subject == "profile" else "", each=subject == "each",
        )  # fmt: skip
        limit_id = self.act(limits.add, made, actor=SYSTEM)
        self.model.limits[key] = size * scale
        if gone:
            self.act(limits.remove, limit_id, actor=SYSTEM)
            del self.model.limits[key]

    def period_limit(self, subject, resource, period, size, n, gone):
        name = sorted(GROUPS)[n % 3]
        who = {"person": ["*", name][n % 2], "group": "lab", "each": "lab", "wallet": "lab",
               "wallet_person": f"lab/{name}"}[subject]  # fmt: skip
        amount = size * {"gpu_hours": 3_600_000, "core_hours": 14_400_000,
                         "credits": 4_000_000}[resource]  # fmt: skip
        made = Limit(
            "group" if subject == "each" else subject, resource, amount,
            person=who.split("/")[-1] if subject in ("person", "wallet_person") else "",
            group=who if subject in ("group", "each") else "",
            wallet_id=self.ids["lab"] if subject.startswith("wallet") else None,
            each=subject == "each", period=period,
        )  # fmt: skip
        limit_id = self.act(limits.add, made, actor=SYSTEM)
        self.model.limits[(subject, who, resource, period)] = amount
        if gone:
            self.act(limits.remove, limit_id, actor=SYSTEM)
            del self.model.limits[(subject, who, resource, period)]

    # -- sessions ---------------------------------------------------------------------------------

    def ask(self, person, server, profile, choice, billed_from, grace_s):
        return Ask(
            session_id=str(uuid.uuid4()), hub_id="hub", person=PEOPLE[person],
            server_name=server, profile=profile, shape=shape_of(profile), groups=GROUPS[person],
            wallet_name=choice, start_timeout_s=300, billed_from=billed_from, grace_s=grace_s,
        )  # fmt: skip

    def expect(self, ask, **more):
        return self.model.admit(
            ask.session_id, ask.person.name, ask.server_name, ask.profile, ask.wallet_name,
            self.now, billed_from=ask.billed_from, grace_s=ask.grace_s, **more,
        )  # fmt: skip

    def start(self, **asked):
        self.decide([self.ask(**asked)])

    def start_several(self, number, n):
        """Several that one transaction decides, each of another server."""
        choose = random.Random(n)
        asked = [{k: choose.choice(v) for k, v in ASKING.items()} for _ in range(number)]
        slots = {(a["person"], a["server"]): a for a in asked}
        self.decide([self.ask(**a) for a in slots.values()])

    def decide(self, asks):
        if len(asks) > 1:
            # all servers that they replace end before the first is decided
            for a in asks:
                for s in list(self.model.sessions.values()):
                    if s.open and (s.person, s.server) == (a.person.name, a.server_name):
                        known = [x for x in (s.admitted, s.started, s.ready, s.seen) if x]
                        self.model.end(s, max(known), "lost", self.now)
        decided = self.act(
            admissions.admit_many, asks, policy=self.policy, cache=self.cache, actor=SYSTEM
        )
        for ask, d in zip(asks, decided, strict=True):
            self.asks[ask.session_id] = ask
            assert (d.decision, d.reason.code) == self.expect(ask)
            made = self.model.sessions.get(ask.session_id)
            if made is not None:
                found = (d.quote.per_hour_micro, d.hold_micro, d.billed)
                assert found == (made.per_hour, made.held, made.billed)

    def start_again(self, n):
        """A retry gets the stored answer."""
        if not self.asks:
            return
        ask = list(self.asks.values())[n % len(self.asks)]
        again = self.act(admissions.admit, ask, policy=self.policy, cache=self.cache, actor=SYSTEM)
        assert again.decision == self.expect(ask)[0]

    def run(self, seconds, **asked):
        """One that is started and runs for a while, as most do."""
        self.start(**asked)
        self.sighting(0, 0, 1, "started")
        self.time_passes(seconds)

    def fail_open(self, ago, n, **asked):
        """A start while the database was away; perhaps one that was decided after all."""
        ask = self.ask(**asked)
        if n % 3 == 0 and self.asks:
            ask = list(self.asks.values())[n % len(self.asks)]
        at = self.now - timedelta(seconds=ago)
        made = self.act(
            admissions.fail_open, ask, at, policy=self.policy, cache=self.cache, actor=SYSTEM
        )
        self.asks[ask.session_id] = ask
        assert made.decision == self.expect(ask, failed_open_at=at)[0]

    def sighting(self, n, ago, times, kind):
        """Told by hook, spool and service: perhaps twice, perhaps late."""
        s = self.session(n)
        if s is None:
            return
        at = self.now - timedelta(seconds=ago)
        for _ in range(times):
            told = Sighting(s.id, kind, at, "test")
            self.act(sessions.record, told, policy=self.policy, actor=SYSTEM)
        self.model.sight(s, kind, at, self.now)

    def end(self, n, ago, times, reason):
        s = self.session(n)
        if s is None:
            return
        at = self.now - timedelta(seconds=ago)
        for _ in range(times):
            told = Sighting(s.id, "ended", at, "test", reason)
            self.act(sessions.record, told, policy=self.policy, actor=SYSTEM)
        self.model.end(s, at, reason, self.now)

    def void(self, n, unknown):
        id = str(uuid.uuid4())
        if not unknown and self.asks:
            id = list(self.asks)[n % len(self.asks)]
        told = Sighting(id, "void", self.now, "cancelled", "cancelled")
        self.act(sessions.record, told, policy=self.policy, actor=SYSTEM)
        was_refused = self.model.answers.get(id) == "refused"
        self.model.void(id, self.now)
        if was_refused:
            self.model.answers[id] = "refused"

    def sighting_of_nobody(self):
        with pytest.raises(NotFound):
            told = Sighting(str(uuid.uuid4()), "started", self.now, "test")
            self.act(sessions.record, told, policy=self.policy, actor=SYSTEM)

    def settle(self, n, ahead):
        """At any instant, and never does it change what is available."""
        s = self.session(n)
        if s is None:
            return
        self.looks()
        until = self.now + timedelta(seconds=ahead)
        before = self.left(s.wallet)
        self.money(sessions.settle, s.id, until)
        self.model.settle(s, until, self.now)
        assert self.left(s.wallet) == before

    def left(self, wallet):
        """What a wallet has available to stopping and to admission, as the code has it."""
        if wallet is None:
            return None
        with self.db.read() as tx:
            wallet_id = self.id_of(wallet)
            row = wallet_rows.read(tx, [wallet_id])[wallet_id]
            meters = session_rows.open_meters(tx, [wallet_id])[wallet_id]
            return available(row, meters, self.now), admission_available(row, meters, self.now)

    # -- stopping ---------------------------------------------------------------------------------

    def stops(self, release):
        if release == 0:
            self.act(stops.release_guard, actor=SYSTEM)
        with self.db.read() as tx:
            s = t.sessions_.c
            columns = (s.id, s.warned_at, s.stop_ordered_at, s.stop_reason)
            before = {r.id: r for r in tx.execute(sa.select(*columns))}
        plan = self.money(stops.plan, "hub")
        running = [x for x in self.model.sessions.values() if x.state == "running"]
        for s in running:
            self.model.catch_up(s.wallet, self.now)
        new = [o for o in plan.orders if before[o.session_id].stop_ordered_at is None]
        for order in new:
            s = self.model.sessions[order.session_id]
            assert s.state == "running" and self.enforced(s)
            warned = before[s.id].warned_at
            assert warned is not None and self.now >= warned + timedelta(seconds=600)
            assert self.over(s, order.reason), order
        with self.db.read() as tx:
            guard = stops.guard_state(tx)
        released = guard["released_until_at"] and self.now < guard["released_until_at"]
        assert released or len(new) <= max(5, len(running) // 10)
        if not plan.guarded:
            for s in running:
                warned = before[s.id].warned_at
                waited = warned is not None and self.now >= warned + timedelta(seconds=600)
                held_back = self.model.passed(s.person, self.now)
                if waited and self.enforced(s) and not held_back and self.over(s, "wallet_empty"):
                    assert s.id in {o.session_id for o in plan.orders}

    def watch(self, times, n, top_up):
        """Time goes by, the service looks: warn, order, perhaps a top-up, ask again."""
        for _ in range(times):
            self.stops(1)
            self.time_passes(601)
        self.stops(1)
        if top_up:
            self.grant(n, top_up, None)
        self.confirm()

    def confirm(self):
        """A top-up between the decision and the stop takes the order back."""
        with self.db.read() as tx:
            s = t.sessions_.c
            ordered = tx.execute(
                sa.select(s.id, s.stop_reason).where(s.stop_ordered_at.is_not(None))
            ).all()
        for id, reason in ordered:
            right = self.money(stops.confirm, id)
            s = self.model.sessions[id]
            if s.state == "running":
                self.model.catch_up(s.wallet, self.now)
            assert right == (s.state == "running" and self.enforced(s) and self.over(s, reason))

    def enforced(self, s) -> bool:
        mode = self.model.mode
        if mode != "off" and s.wallet is not None and s.wallet.mode is not None:
            mode = s.wallet.mode
        return mode == "enforce"

    def over(self, s, reason) -> bool:
        if reason == "session_limit":
            return s.limit_at is not None and self.now >= s.limit_at
        if self.model.passed(s.person, self.now):
            return False
        if reason == "period_limit":
            return self.model.over_period(s, self.now)
        left = self.model.available(s.wallet, self.now) if s.wallet else None
        return left is not None and left < 0 and s.beyond(self.now)

    # -- after every step -------------------------------------------------------------------------

    def wallets_agree(self):
        e = t.entries.c
        booked: dict[int, Counter] = {}
        with self.db.read() as tx:
            rows = {r.name: r for r in tx.execute(sa.select(t.wallets_))}
            meters = session_rows.open_meters(tx, [r.id for r in rows.values()])
            sums = sa.select(e.wallet_id, e.period, sa.func.sum(e.amount_micro).label("amount"))
            for r in tx.execute(sums.group_by(e.wallet_id, e.period)):
                booked.setdefault(r.wallet_id, Counter())[r.period] = int(r.amount)
            calendar = periods.calendar(tx)
        assert rows.keys() == self.model.wallets.keys()
        for name, wallet in self.model.wallets.items():
            row = wallet_rows.value(rows[name])
            assert (row.balance_micro, row.left_micro) == (wallet.balance, wallet.left), name
            months = {k: v for k, v in wallet.months.items() if v}
            assert {k: v for k, v in booked.get(row.id, {}).items() if v} == months, name
            mine = meters[row.id]
            assert available(row, mine, self.now) == self.model.available(wallet, self.now)
            assert admission_available(row, mine, self.now) == self.model.available(
                wallet, self.now, "admission_claim"
            )
            dry = dry_at(row, mine, self.now, calendar)
            left = self.model.available(wallet, self.now)
            if left is not None and not any(m.limit_at for m in mine):
                assert (dry == self.now) == (left < 0)

    def sessions_agree(self):
        with self.db.read() as tx:
            rows = {r.id: r for r in tx.execute(sa.select(t.sessions_))}
        assert rows.keys() == self.model.sessions.keys()
        for id, s in self.model.sessions.items():
            r = rows[id]
            found = (r.state, r.charged_micro, r.settled_until, r.billed_from_at, r.revision)
            assert found == (s.state, s.charged, s.settled, s.pays_from, s.revision), (found, s)
            assert r.billed_until_at == s.pays_until
            assert session_rows.meter(r).cost(self.now) == s.cost(self.now)
            assert (r.started_at, r.ended_at, r.limit_s) == (s.started, s.ended, s.limit_s)

    def every_invariant_holds(self):
        with self.db.read() as tx:
            assert failed(check.check(tx)) == []

    def compare(self, whole=True):
        """After every step; ``whole``: with every invariant of `check`."""
        self.looks()
        self.wallets_agree()
        self.sessions_agree()
        if whole:
            self.every_invariant_holds()
