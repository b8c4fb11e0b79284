"""A small world: a lab's wallet with a manager and spenders, a running, an ended, a refused server.

People, by what they are in it: `mia` manages the wallet `lab`; `ada` spends from it, and has the
running and the ended session; `eve` has nothing to do with it, and one refused start.
"""

import uuid
from datetime import timedelta

from jhub_usage.actions import (
    admissions,
    listings,
    modes,
    ownership,
    rates,
    requests,
    rules,
    sessions,
    wallets,
)
from jhub_usage.domain.admission import Ask, PersonKey
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting

from .fakes import CREATED

CREDIT = 1_000_000
GPU = Shape(cpu_milli=2000, memory_bytes=8 * 2**30, gpus=(Gpus("nvidia.com/gpu", "A100", 1),))


def person(name: str, created_at=CREATED) -> PersonKey:
    return PersonKey(name, None, created_at)


class World:
    def __init__(self, site, *, mode="enforce") -> None:
        self.site = site
        self.lab = site.act(wallets.create, "lab", title="The lab")
        self.other = site.act(wallets.create, "other")
        self.empty = site.act(wallets.create, "empty")
        self.grant_id = self.grant(self.lab, 100)
        for name, role in (("mia", "manager"), ("ada", "spender")):
            site.act(ownership.set_role, self.lab, person(name), role, hub_id="hub")
        site.act(ownership.set_role, self.other, person("mia"), "manager", hub_id="hub")
        site.act(
            rules.replace,
            [
                Rule(0, "wallet", wallet_id=self.lab, person="ada"),
                Rule(1, "wallet", wallet_id=self.lab, person="mia"),
                Rule(2, "wallet", wallet_id=self.empty),
            ],
        )
        site.act(rates.add, "start", 0)
        site.act(modes.set_mode, mode)
        self.ended = self.start("ada", "old", ago_s=3600)
        self.end(self.ended)
        self.running = self.start("ada")
        self.refused = self.start("eve", expect="refused")
        entries = site.look(listings.entries, session_id=self.ended)
        self.charge_id = next((e["id"] for e in entries if e["kind"] == "charge"), None)

    def grant(self, wallet_id: int, credits: int) -> int:
        return self.site.act(
            wallets.grant, wallet_id, credits * CREDIT, policy=self.site.policy, note="test"
        )

    def ask(self, name: str, server: str = "", **more) -> Ask:
        fields = {"profile": "gpu", "shape": GPU, "person": person(name)} | more
        return Ask(session_id=str(uuid.uuid4()), hub_id="hub", server_name=server, **fields)

    def start(self, name: str, server: str = "", *, expect="admitted", ago_s=0, **more) -> str:
        """Admitted, started and ready; its UUID."""
        ask = self.ask(name, server, **more)
        site = self.site
        decision = site.act(admissions.admit, ask, policy=site.policy, cache=site.cache)
        assert decision.decision == expect, decision.reason
        if decision.may_start:
            at = decision.decided_at - timedelta(seconds=ago_s)
            for kind, evidence in (("started", "start_returned"), ("ready", "hub_ready")):
                self.see(decision.session_id, kind, at, evidence)
        return decision.session_id

    def ask_credit(
        self, name: str, *, credits=10, wallet_id=0, note="a deadline", groups=()
    ) -> int:
        """A request for credit for the lab, unless another wallet is named; its id."""
        wallet_id = wallet_id or self.lab

        def ask(tx, *, actor):
            actor = ownership.acting(tx, actor, "hub", person(name))
            return requests.ask(
                tx, wallet_id, actor.person_id, credits * CREDIT, note=note, actor=actor,
                groups=groups,
            )  # fmt: skip

        return self.site.act(ask)

    def person_id(self, name: str) -> int:
        """Our id of somebody who was seen before."""
        return self.site.look(ownership.person_id, "hub", person(name))

    def see(self, session_id: str, kind: str, at, evidence: str, reason: str = "") -> None:
        sighting = Sighting(session_id, kind, at, evidence, reason)
        self.site.act(sessions.record, sighting, policy=self.site.policy)

    def end(self, session_id: str) -> None:
        now = self.site.look(lambda tx: tx.now())
        self.see(session_id, "ended", now, "post_stop_hook", "stopped")
