"""A small ledger with one of everything, made by the actions of real use under a clock of ours."""

import uuid
from datetime import UTC, datetime, timedelta

from jhub_usage.actions import (
    admissions,
    advancing,
    allowances,
    corrections,
    exemptions,
    hubs,
    limits,
    metered,
    modes,
    months,
    ownership,
    rates,
    requests,
    rules,
    sessions,
    wallets,
)
from jhub_usage.domain.admission import Ask, PersonKey, Policy
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.audit import Actor
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store.catalog import CatalogCache
from jhub_usage.store.engine import Database

HUB = "hub"
BY = Actor("cli", "tester")
POLICY = Policy()
BEGIN = datetime(2026, 10, 30, 8, 0, tzinfo=UTC)


def session_id(number: int) -> str:
    return str(uuid.UUID(int=number))


class Story:
    """A database, a clock that only the story moves, and verbs."""

    def __init__(self, url: str):
        self.now = BEGIN
        self.db = Database(url, clock=lambda: self.now)
        self.db.upgrade()
        self.cache = CatalogCache()
        self.act(hubs.install, HUB)

    def act(self, action, *args, **more):
        with self.db.write() as tx:
            return action(tx, *args, actor=BY, **more)

    def later(self, **span) -> None:
        self.now += timedelta(**span)

    def admit(self, number: int, person: str, *, gpus: int = 1, wallet: str = "", **more):
        ask = Ask(
            session_id(number), HUB, PersonKey(person), f"s{number}", "gpu",
            Shape(4000, 8 * 2**30, (Gpus("nvidia.com/gpu", "A100", gpus),) if gpus else ()),
            wallet_name=wallet, **more,
        )  # fmt: skip
        return self.act(admissions.admit, ask, policy=POLICY, cache=self.cache)

    def see(self, number: int, kind: str, evidence: str, reason: str = "", *, ago=None) -> None:
        at = self.now if ago is None else self.now - ago
        sighting = Sighting(session_id(number), kind, at, evidence, reason)
        self.act(sessions.record, sighting, policy=POLICY)

    def run(self, number: int, person: str, hours: int = 1, **more) -> None:
        self.admit(number, person, **more)
        self.later(seconds=10)
        self.see(number, "started", "start_returned")
        self.later(seconds=5)
        self.see(number, "ready", "hub_ready")
        self.later(hours=hours)
        self.see(number, "ended", "post_stop_hook", "stopped")

    def entries(self, kind: str) -> list:
        from jhub_usage.store import tables as t

        with self.db.read() as tx:
            return list(tx.execute(t.entries.select().where(t.entries.c.kind == kind)))


def healthy(url: str) -> Story:
    """The story. Every invariant holds at its end."""
    s = Story(url)
    lab = s.act(wallets.create, "lab")
    poor = s.act(wallets.create, "poor")
    s.act(wallets.grant, lab, 900_000_000, policy=POLICY, note="first")
    s.act(rates.add, "start", 250_000)
    s.act(rates.add, "cpu", 10_001)
    team = s.act(wallets.create, "team")
    s.act(allowances.set_allowance, team, Allowance(20_000_000, "month", 1_000_000), policy=POLICY)
    s.act(wallets.grant, team, 40_000_000, policy=POLICY)
    mapping = [
        Rule(0, "wallet", poor, person="eve"),
        Rule(1, "wallet", team, person="tina"),
        Rule(2, "wallet", lab),
    ]
    s.act(rules.replace, mapping)
    s.act(limits.add, Limit("everyone", "gpus", 64_000))
    s.act(exemptions.set_exempt, "person", "root", True)
    s.act(modes.set_mode, "enforce")
    s.act(wallets.transfer, lab, poor, 500_000, policy=POLICY)
    s.later(minutes=1)
    # of an allowance a part is used, and what is left of it expires but for the cap
    s.run(9, "tina", groups=("physics",))
    # three slices, cut by hand and by the end of a month; partly given back and corrected
    s.admit(1, "ada", gpus=2)
    s.later(seconds=7)
    s.see(1, "started", "start_returned")
    s.later(hours=30)
    s.act(sessions.settle, session_id(1), s.now, policy=POLICY)
    # one that is charged up to the end of the month, though it was over an hour before
    s.admit(10, "tina")
    s.later(seconds=5)
    s.see(10, "started", "start_returned")
    s.later(hours=10)
    s.act(advancing.advance_due, policy=POLICY)
    s.see(10, "ended", "last_seen", "lost", ago=timedelta(hours=2))
    s.later(hours=10)
    s.see(1, "ended", "post_stop_hook", "stopped")
    first, *_, second = (e for e in s.entries("charge") if e.session_id == session_id(1))
    s.act(wallets.refund, first.id, 1_000_000, policy=POLICY, note="sorry")
    s.act(wallets.correct, second.id, 2_000_000, policy=POLICY, note="the node was slow")
    s.run(2, "bob", billed_from="ready", groups=("physics",))
    s.admit(3, "bob")
    s.see(3, "void", "void", "cancelled")
    s.admit(4, "eve")  # refused: her wallet can not pay
    s.run(5, "root")  # recorded, not billed
    s.admit(6, "cy")  # never started: its deadline passes
    s.admit(7, "dan")
    s.later(seconds=3)
    s.see(7, "started", "start_returned")
    s.see(7, "ended", "start_failed", "start_failed")  # waived
    s.later(hours=1)
    # a month is closed; what is learnt of it later is booked in the next one
    s.act(months.close, "2026-10", policy=POLICY)
    s.act(corrections.correct_boundaries, session_id(9), note="its clock was wrong",
          ended_at=BEGIN + timedelta(minutes=31), policy=POLICY)  # fmt: skip
    s.admit(8, "ada", billed_from="scheduled")
    s.see(8, "scheduled", "pod_scheduled")
    s.later(seconds=30)
    s.see(8, "started", "container_started")
    s.later(hours=2)
    s.act(sessions.settle, session_id(8), s.now, policy=POLICY)
    # a part of what ada asks for the lab is granted, the rest waits
    with s.db.read() as tx:
        ada = ownership.person_id(tx, HUB, PersonKey("ada"))
    for amount in (3_000_000, 4_000_000):
        asked = s.act(requests.ask, lab, ada, amount, note="a deadline")
    s.act(requests.grant, asked, 1_000_000, policy=POLICY, by_right=True)
    for event in range(6):  # the third and the fifth charge a micro-credit
        s.act(metered.meter, lab, "tokens", 1, "0.0000004", key=f"t{event}", policy=POLICY)
    s.later(minutes=9)  # and it still runs
    return s
