"""Ninety days that never were, made by calling the same actions that real use calls.

Deterministic for a seed and a last day: the clock is given, and so is the dice. Holds a plan of
what happens when (a heap of moments) and lets admission, settlement and stopping decide the rest.
"""

import heapq
import random
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from ..actions import admissions, advancing, listings, sessions, stops, views, wallets
from ..domain.admission import Ask, PersonKey, Policy
from ..domain.audit import HOOK, SYSTEM, Actor
from ..domain.errors import UsageError
from ..domain.sessions import OPEN
from ..domain.sightings import Sighting
from ..store import people
from ..store.catalog import CatalogCache
from ..store.engine import Tx
from .profiles import shape_of

DAYS = 90
HUB = "demo"
SEED = 20261120

#: name: (groups, profiles with their weights, starts per working day, hours at the median)
PEOPLE = {
    "ada": (("vision",), {"cpu": 2, "gpu-a100": 5, "gpu-h100x4": 1}, 1.6, 3.0),
    "bob": (("language",), {"cpu": 4, "gpu-a100": 1}, 0.7, 1.5),
    "chandra": (("vision",), {"cpu": 1, "gpu-a100": 4, "gpu-h100x4": 2}, 1.2, 4.0),
    "daniela": (("vision",), {"cpu": 3, "gpu-a100": 2}, 1.0, 2.0),
    "emre": (("language",), {"gpu-a100": 3, "gpu-h100x4": 1}, 0.9, 5.0),
    "fatima": (("language",), {"cpu": 2, "gpu-a100": 3}, 1.1, 2.5),
    "grace": (("teaching",), {"cpu": 6}, 1.4, 1.2),
    "hiro": (("teaching",), {"cpu": 5, "gpu-a100": 1}, 0.8, 1.5),
    "ines": ((), {"cpu": 3, "gpu-a100": 1}, 0.5, 1.0),
    "jan o'neill": ((), {"cpu": 2}, 0.4, 1.0),
}

Moment = Callable[[datetime], None]


class Past:
    """A run through the past in one transaction. ``clock`` is the list that the database reads."""

    def __init__(self, tx: Tx, clock: list[datetime], policy: Policy, *, seed: int = SEED):
        self.tx, self.clock, self.policy = tx, clock, policy
        self.dice = random.Random(seed)
        self.cache = CatalogCache()
        self._heap: list[tuple[datetime, int, Moment]] = []
        self._order = 0
        admin = PersonKey("admin")
        known = people.resolve(tx, HUB, [admin], tx.now)
        self.admin = Actor("person", "admin", "127.0.0.1", known[admin].id)

    def at(self, when: datetime, moment: Moment) -> None:
        """Let something happen at an instant."""
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, moment))

    def run(self, until: datetime) -> None:
        """Everything planned up to ``until``, in order."""
        while self._heap and self._heap[0][0] < until:
            when, _, moment = heapq.heappop(self._heap)
            self.clock[0] = max(self.clock[0], when)
            moment(self.clock[0])
        self.clock[0] = until

    def plan(self, first: datetime, last: datetime) -> None:
        """Working days with starts, and at midnight what is due: allowances, month ends."""
        day = first
        while day < last:
            for name, (groups, profiles, per_day, hours) in PEOPLE.items():
                busy = per_day * (1.0 if day.weekday() < 5 else 0.2)
                starts = int(busy) + (self.dice.random() < busy - int(busy))
                for _ in range(starts):
                    when = day + timedelta(seconds=self.dice.triangular(7, 21, 10) * 3600)
                    profile = self.dice.choices(list(profiles), list(profiles.values()))[0]
                    length = timedelta(hours=self.dice.lognormvariate(0, 0.8) * hours)
                    self._plan_start(when, name, groups, profile, length)
            self.at(day, self._advance)
            day += timedelta(days=1)

    def _plan_start(self, when, name, groups, profile, length) -> None:
        outcome = self.dice.choices(
            ("stopped", "died", "start_failed", "cancelled"), (90, 5, 3, 2)
        )[0]
        session_id = str(uuid.UUID(int=self.dice.getrandbits(128), version=4))
        wait = timedelta(seconds=self.dice.uniform(4, 90))
        microseconds = timedelta(microseconds=self.dice.randrange(1_000_000))
        self.at(
            when + microseconds,
            lambda now: self._start(now, session_id, name, groups, profile, outcome, wait, length),
        )

    def _start(self, now, session_id, name, groups, profile, outcome, wait, length) -> None:
        server = "" if profile == "cpu" else "gpu"
        busy = sessions.open_session_of(self.tx, HUB, PersonKey(name), server)
        if busy is not None:
            return  # that server still runs
        ask = Ask(
            session_id=session_id,
            hub_id=HUB,
            person=PersonKey(name),
            server_name=server,
            profile=profile,
            shape=shape_of(profile),
            groups=groups,
            requested_at=now,
            hub_started_at=now,
            spawner="SimpleLocalProcessSpawner",
        )
        decided = admissions.admit(self.tx, ask, policy=self.policy, cache=self.cache, actor=HOOK)
        if not decided.may_start:
            return
        if outcome == "cancelled":
            self._see(now + wait / 2, session_id, "void", "cancelled", "cancelled")
            return
        started = now + wait
        self._see(started, session_id, "started", "start_returned")
        self.at(started, lambda at: self._foresee(decided.wallet_id, at))
        if outcome == "start_failed":
            self._see(started + timedelta(seconds=31), session_id, "ended", "post_stop_hook",
                      "start_failed")  # fmt: skip
            return
        self._see(started + timedelta(seconds=3), session_id, "ready", "hub_ready")
        end = started + max(length, timedelta(minutes=2))
        self._see(end, session_id, "ended", "post_stop_hook", outcome)
        if outcome == "died" and self.dice.random() < 0.5:
            self.at(end + timedelta(hours=3), lambda at: self._refund(session_id))

    def _see(self, when, session_id, kind, evidence, reason="") -> None:
        def moment(now: datetime) -> None:
            sighting = Sighting(session_id, kind, now, evidence, reason)
            sessions.record(self.tx, sighting, policy=self.policy, actor=HOOK)

        self.at(when, moment)

    def _foresee(self, wallet_id: int, now: datetime) -> None:
        """Look when this wallet, or a session on it, comes to an end, and when to warn of it."""
        (wallet,) = views.wallet_views(self.tx, ids=[wallet_id])
        running = views.session_views(self.tx, wallet_ids=[wallet_id], open_only=True)
        lead = timedelta(seconds=self.policy.warn_lead_s)
        for end in {wallet.dry_at, *(s.limit_at for s in running)} - {None}:
            for when in (end - lead, end, end + lead):
                if when >= now:
                    self.at(when, self._look_for_dry)

    def _look_for_dry(self, now: datetime) -> None:
        found = stops.plan(self.tx, HUB, policy=self.policy, actor=SYSTEM)
        if found.guarded:
            stops.release_guard(self.tx, actor=self.admin)
        for order in found.orders:
            if stops.confirm(self.tx, order.session_id, policy=self.policy, actor=SYSTEM):
                self._see(now, order.session_id, "stop_accepted", "hub_accepted")
                self._see(now + timedelta(seconds=2), order.session_id, "ended",
                          "post_stop_hook")  # fmt: skip

    def _advance(self, now: datetime) -> None:
        after_id = 0
        while True:
            after_id, *_ = advancing.advance_due(
                self.tx, after_id, policy=self.policy, actor=SYSTEM
            )
            if not after_id:
                return

    def _refund(self, session_id: str) -> None:
        charges = [
            e for e in listings.entries(self.tx, session_id=session_id) if e["kind"] == "charge"
        ]
        for charge in charges:
            try:
                wallets.refund(
                    self.tx,
                    charge["id"],
                    -charge["amount_micro"] // 2 or None,
                    policy=self.policy,
                    actor=self.admin,
                    note="The server crashed; half of it is given back.",
                )
            except UsageError:
                pass  # nothing was left to give back


def finish(past: Past, now: datetime) -> None:
    """End what still runs, and leave bob with almost nothing."""
    for view in views.session_views(past.tx, open_only=True, limit=1000):
        if view.state in OPEN:
            sighting = Sighting(view.id, "ended", now, "post_stop_hook", "stopped")
            sessions.record(past.tx, sighting, policy=past.policy, actor=HOOK)
    bob = wallets.find(past.tx, "~bob")
    spare = bob.balance_micro - 600_000
    if spare > 0:
        lab = wallets.find(past.tx, "language-lab")
        wallets.transfer(past.tx, bob.id, lab.id, spare, policy=past.policy, actor=past.admin,
                         note="Back to the lab", key="bob-back")  # fmt: skip
    elif spare < 0:
        wallets.grant(past.tx, bob.id, -spare, policy=past.policy, actor=past.admin,
                      note="A little left", key="bob-left")  # fmt: skip
