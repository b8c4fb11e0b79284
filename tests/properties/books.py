"""A random life (lives.py) through the real actions, on a real database."""

from datetime import UTC, datetime
from itertools import product

import sqlalchemy as sa

from jhub_usage.actions import (
    admissions,
    advancing,
    allowances,
    check,
    hubs,
    modes,
    rates,
    rules,
    sessions,
    wallets,
)
from jhub_usage.domain.admission import Ask, PersonKey, Policy
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.errors import Conflict, NotFound
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Shape
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store import tables as t
from jhub_usage.store.catalog import CatalogCache
from jhub_usage.store.engine import Database

from .lives import FEES, PRICES, Life

_E = t.entries.c
LONG_AGO = datetime(2010, 1, 1, tzinfo=UTC)


def prepare(db: Database) -> None:
    """What every life begins with: wallets 1 and 2, and a profile of each for each price."""
    db.clock = lambda: LONG_AGO
    db.upgrade()
    with db.write() as tx:
        hubs.install(tx, "hub", actor=SYSTEM)
        modes.set_mode(tx, "observe", actor=SYSTEM)
        for n in (1, 2, 3):
            assert wallets.create(tx, f"w{n}", actor=SYSTEM) == n
        mapping = []
        for n, price, fee in product((1, 2), PRICES, sorted(set(FEES))):
            name = f"{n}:{price}:{fee}"
            mapping.append(Rule(len(mapping), "wallet", n, profile=name))
            rates.add(tx, "cpu", price, profile=name, actor=SYSTEM)
            rates.add(tx, "start", fee, profile=name, actor=SYSTEM)
        rules.replace(tx, mapping, actor=SYSTEM)


class Books:
    """A prepared database in which a life is lived."""

    def __init__(self, db: Database, life: Life):
        self.db, self.now, self.refused = db, life.begin, []
        db.clock = lambda: self.now
        self.policy = Policy(timezone=life.zone)
        self.restart()
        self.act(hubs.install, "hub", timezone=life.zone)
        # the zone of an install that nothing has used yet would count for all time
        self.money(wallets.grant, 3, 1)

    def act(self, action, *args, **more):
        with self.db.write() as tx:
            return action(tx, *args, actor=SYSTEM, **more)

    def money(self, action, *args, **more):
        return self.act(action, *args, policy=self.policy, **more)

    def run(self, events) -> "Books":
        for self.now, verb, values in events:
            getattr(self, verb)(*values)
        return self

    def state(self) -> dict:
        """The same as that of a life in memory."""
        with self.db.read() as tx:
            assert failed(check.check(tx)) == []
            columns = (_E.key, _E.wallet_id, _E.amount_micro, _E.effective_at)
            entries = [tuple(r) for r in tx.execute(sa.select(*columns))]
            held = {r.id: r for r in tx.execute(sa.select(t.wallets_))}
            s = t.sessions_.c
            runs = tx.execute(sa.select(t.sessions_).where(s.state != "void")).all()
        return {
            "entries": [sorted(e for e in entries if e[1] == n) for n in (1, 2)],
            "wallets": [(held[n].balance_micro, held[n].allowance_left_micro) for n in (1, 2)],
            "sessions": {r.id: (r.charged_micro, r.billed_until_at, r.revision) for r in runs},
            "refused": self.refused,
        }

    # looks
    def tick(self):
        self.money(advancing.opened, [1, 2])

    def passing(self):
        self.money(advancing.advance_due)

    def restart(self):
        self.db.dispose()
        self.cache = CatalogCache()

    # events
    def zone(self, name):
        self.act(hubs.install, "hub", timezone=name)

    def overdraft(self, n, amount):
        self.act(wallets.change, n, overdraft_micro=amount)

    def grant(self, n, amount, key):
        for _ in range(2):  # a retry is the same grant
            self.money(wallets.grant, n, amount, key=key)

    def transfer(self, a, b, amount, key):
        self.unless_refused(key, [a, b], wallets.transfer, a, b, amount, key=key)

    def unless_refused(self, told, opening, *call, **more):
        try:
            self.money(*call, **more)
        except (Conflict, NotFound):
            self.refused.append((self.now, told))
            self.money(advancing.opened, opening)  # in memory what was due stays booked

    def allowance(self, n, amount, period, cap, begin_now):
        made = Allowance(amount, period, cap)
        self.money(allowances.set_allowance, n, made, begin_now=begin_now)

    def remove(self, n):
        self.unless_refused("remove", [n], allowances.remove_allowance, n)

    def admit(self, id, n, per_hour, fee, grace):
        profile = f"{n}:{per_hour}:{fee}"
        ask = Ask(id, "hub", PersonKey(f"p{id}"), "", profile, Shape(1000, 0), grace_s=grace)
        made = self.money(admissions.admit, ask, cache=self.cache)
        assert made.may_start
        assert (made.quote.per_hour_micro, made.quote.start_fee_micro) == (per_hour, fee)

    def tell(self, id, kind, at):
        self.money(sessions.record, Sighting(id, kind, at, "test", "stopped"))

    def started(self, id, at):
        self.tell(id, "started", at)

    def stopping(self, id, at):
        self.tell(id, "stop_accepted", at)

    def ended(self, id, at):
        for _ in range(2):  # hooks and the service tell the same
            self.tell(id, "ended", at)

    def settle(self, id, until):
        self.money(sessions.settle, id, until)

    def of_charge(self, action, id, number, amount, key, **more):
        with self.db.read() as tx:
            s = t.sessions_.c
            wallet_id = tx.scalar(sa.select(s.wallet_id).where(s.id == id))
        self.money(advancing.opened, [wallet_id])
        with self.db.read() as tx:
            mine = sa.select(_E.id).where(_E.session_id == id, _E.kind == "charge")
            charges = list(tx.execute(mine.order_by(_E.id)).scalars())
        if charges:
            entry_id = charges[number % len(charges)]
            self.unless_refused(key, [wallet_id], action, entry_id, amount, key=key, **more)
        else:
            self.refused.append((self.now, key))

    def refund(self, id, number, amount, key):
        self.of_charge(wallets.refund, id, number, amount, key)

    def correct(self, id, number, amount, key):
        self.of_charge(wallets.correct, id, number, amount, key, note="it was wrong")

    def correct_grant(self, n, its, amount, key):
        with self.db.read() as tx:
            entry_id = tx.scalar(sa.select(_E.id).where(_E.key == f"grant:{its}"))
        self.money(wallets.correct, entry_id, amount, note="it was wrong", key=key)
