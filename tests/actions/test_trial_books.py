"""A month with everything that money can do to it, in a zone of its own, run again as it was."""

import os
import random
from datetime import UTC, datetime, timedelta

import pytest

from jhub_usage.actions import (
    advancing,
    allowances,
    corrections,
    hubs,
    maintenance,
    metered,
    modes,
    ownership,
    rates,
    refunds,
    requests,
    rules,
    trials,
    wallets,
)
from jhub_usage.domain.admission import PersonKey, Policy
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.errors import UsageError
from jhub_usage.domain.refunds import Filter
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.store import sessions as session_rows
from jhub_usage.store.catalog import CatalogCache
from jhub_usage.store.engine import Database

from .world import CPU, ONE_GPU, World

TWO = Shape(8000, 2**35, (Gpus("nvidia.com/gpu", "T4", 2),))
SHAPES = {"gpu": ONE_GPU, "cpu": CPU, "two": TWO}
PEOPLE = ("ada", "bob", "cleo", "dan")
NODES = ("", "n1", "n2")
BEGIN = datetime(2026, 9, 18, 7, tzinfo=UTC)
#: The clocks of Berlin change on the 25th of October.
MONTH = "2026-10"


class Town(World):
    """The same as a world, in a zone."""

    def __init__(self, url, zone):
        self.now, self.policy = BEGIN, Policy(timezone=zone)
        self.db = Database(url, clock=lambda: self.now)
        self.db.upgrade()
        self.cache = CatalogCache()
        with self.db.write() as tx:
            hubs.install(tx, "hub", actor=SYSTEM, timezone=zone)
            modes.set_mode(tx, "enforce", actor=SYSTEM)
            rules.replace(tx, [], actor=SYSTEM)

    def do(self, action, *args, **more):
        """An action that may be refused, as life has it."""
        try:
            return self.act(action, *args, policy=self.policy, **more)
        except UsageError:
            return None


class Life:
    """Days of a lab, by the dice."""

    def __init__(self, town: Town, dice: random.Random):
        self.town, self.dice = town, dice
        self.wallets = [
            town.wallet("lab", 4000, pays_for="ada"),
            town.wallet("team", 40, pays_for="bob", overdraft_micro=10**9),
            town.wallet("poor", 0, pays_for="cleo", overdraft_micro=None),
            town.wallet("all", 900, pays_for="*"),
        ]
        self.running, self.ended, self.charges = [], [], []
        self.given = 0
        town.act(rates.add, "start", 123_457)
        town.act(rates.add, "cpu", 10_007)
        for wallet_id in self.wallets[:3]:
            self.allowance(wallet_id)

    def until(self, end: datetime) -> None:
        while self.town.now < end:
            span = self.dice.choice((40, 400, 2000))
            self.town.wait(minutes=self.dice.randrange(1, span), seconds=self.dice.randrange(60))
            self.town.now += timedelta(microseconds=self.dice.randrange(10**6))
            getattr(self, self.dice.choice(self.ACTS))()
        self.boundaries()

    ACTS = (
        *("start",) * 8, *("end",) * 7, "grant", "transfer", "refund", "correct", "boundary",
        "meter", "meter", "mend", "request", "batch", "boundaries", "set_allowance",
        "remove_allowance", "late_end",
    )  # fmt: skip

    def start(self):
        who, name = self.dice.choice(PEOPLE), self.dice.choice(sorted(SHAPES))
        asked = self.town.ask(who, str(self.dice.randrange(4)), SHAPES[name], profile=name)
        decision = self.town.admit(asked, policy=self.town.policy)
        if decision.may_start:
            self.town.wait(seconds=self.dice.randrange(90))
            extra = {"node": self.dice.choice(NODES)}
            self.town.tell(decision.session_id, "started", **extra)
            if self.dice.random() < 0.8:
                self.town.tell(decision.session_id, "ready")
            self.running.append(decision.session_id)

    def end(self, late=100):
        if self.running:
            session_id = self.running.pop(self.dice.randrange(len(self.running)))
            at = self.town.now - timedelta(seconds=self.dice.randrange(late))
            why = self.dice.choice(("stopped", "stopped", "died", "start_failed"))
            self.town.end(session_id, reason=why, at=at)
            self.ended.append(session_id)

    def late_end(self):
        """Learnt long after it was, perhaps beyond a boundary."""
        self.end(late=200_000)

    def grant(self):
        self.town.do(wallets.grant, self.wallet(), self.dice.randrange(1, 10**8))

    def wallet(self):
        return self.dice.choice(self.wallets)

    def transfer(self):
        a, b = self.dice.sample(self.wallets, 2)
        self.town.do(wallets.transfer, a, b, self.dice.randrange(1, 10**8))

    def charge(self):
        found = [e for e in self.town.entries(limit=300) if e["kind"] == "charge"]
        return self.dice.choice(found) if found else None

    def refund(self):
        if e := self.charge():
            self.town.do(wallets.refund, e["id"], max(1, -e["amount_micro"] // 2))

    def correct(self):
        if e := self.charge():
            more = self.dice.randrange(-(10**7), 10**6)
            self.town.do(wallets.correct, e["id"], more, note="it was wrong")
        found = [e for e in self.town.entries(limit=300) if e["kind"] != "charge"]
        if found:
            e = self.dice.choice(found)
            less = -self.dice.randrange(1, 10**7)
            self.town.do(wallets.correct, e["id"], less, note="it was wrong")

    def boundary(self):
        if self.ended:
            session_id = self.dice.choice(self.ended)
            row = self.town.look(session_rows.get, session_id)
            moved = timedelta(seconds=self.dice.randrange(-90_000, 90_000))
            self.town.do(
                corrections.correct_boundaries, session_id, note="it was wrong",
                ended_at=min(self.town.now, row.ended_at + moved),
            )  # fmt: skip

    def meter(self):
        back = timedelta(seconds=self.dice.choice((0, 5000, 400_000)) * self.dice.random())
        self.given += 1
        self.town.do(
            metered.meter, self.wallet(), "tokens", self.dice.randrange(1, 10**6), "0.0000123",
            key=f"e{self.given}", at=self.town.now - back,
        )  # fmt: skip

    def mend(self):
        begin = self.town.now - timedelta(seconds=self.dice.randrange(200_000))
        until = begin + timedelta(seconds=self.dice.randrange(1, 200_000))
        try:
            self.town.act(maintenance.add, "n1", begin, until, note="new disks")
        except UsageError:
            return
        self.town.do(maintenance.apply_due)

    def request(self):
        who = self.town.act(ownership.set_role, self.wallets[0], PersonKey("ada"), "spender",
                            hub_id="hub") or self.town.look(
            ownership.person_id, "hub", PersonKey("ada"))  # fmt: skip
        try:
            asked = self.town.act(
                requests.ask, self.wallets[0], who, self.dice.randrange(2, 10**8), note="a thesis"
            )
        except UsageError:
            return
        source = self.dice.choice((None, *self.wallets[1:]))
        part = self.dice.choice((None, 1))
        self.town.do(requests.grant, asked, part, by_right=True, from_wallet_id=source)

    def batch(self):
        asked = Filter(person=self.dice.choice(PEOPLE))
        self.town.do(refunds.refund, asked, note="an outage", hub_id="hub")

    def boundaries(self):
        self.town.act(advancing.advance_due, policy=self.town.policy)

    def allowance(self, wallet_id, **more):
        amount = self.dice.randrange(10**6, 10**8)
        carry = self.dice.choice((0, None, 10**7))
        period = self.dice.choice(("day", "week", "month"))
        self.town.do(allowances.set_allowance, wallet_id, Allowance(amount, period, carry), **more)

    def set_allowance(self):
        self.allowance(self.wallet(), begin_now=self.dice.choice((True, False, None)))

    def remove_allowance(self):
        self.town.do(allowances.remove_allowance, self.wallet())


def lived(url, seed) -> Town:
    dice = random.Random(seed)
    town = Town(url, dice.choice(("Europe/Berlin", "America/New_York", "Asia/Taipei", "UTC")))
    Life(town, dice).until(datetime(2026, 11, 6, tzinfo=UTC))
    return town


@pytest.mark.parametrize("number", range(6))
def test_unchanged_it_is_the_ledger_that_was(ready_sqlite_url, number):
    seed = int(os.environ.get("JHUB_USAGE_TEST_SEED") or random.randrange(2**32)) + number
    print(f"repeat with JHUB_USAGE_TEST_SEED={seed - number}")  # noqa: T201
    town = lived(ready_sqlite_url, seed)
    try:
        for label in (MONTH, "2026-09"):
            tried = town.look(trials.month, label, policy=town.policy)
            assert tried.differing == ()
            assert sum(w.charged_micro for w in tried.wallets) > 0
            for w in tried.wallets:
                assert w.charged_micro == w.tried_micro
                assert w.balance_micro == w.tried_balance_micro, w
    finally:
        town.close()
