"""A small database in mode enforce with a clock that the test moves."""

import uuid
from datetime import UTC, datetime, timedelta

from jhub_usage.actions import admissions, hubs, listings, modes, rules, sessions, views, wallets
from jhub_usage.domain.admission import Ask, PersonKey, Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store.catalog import CatalogCache
from jhub_usage.store.engine import Database

T0 = datetime(2026, 11, 20, 9, tzinfo=UTC)
BORN = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Policy()
#: 4 credits an hour; the first 15 minutes cost one.
ONE_GPU = Shape(4000, 16 * 2**30, (Gpus("nvidia.com/gpu", "A100", 1),))
CPU = Shape(2000, 4 * 2**30)


#: Databases by address: their statements are compiled once.
_KEPT: dict[str, Database] = {}


def database(url, world) -> Database:
    """The database of an address, with the clock of a world."""
    if url not in _KEPT:
        _KEPT[url] = Database(url)
    _KEPT[url].clock = lambda: world.now
    return _KEPT[url]


class World:
    def __init__(self, url, *, mode="enforce"):
        self.now = T0
        self.db = database(url, self)
        self.db.upgrade()
        self.cache = CatalogCache()
        with self.db.write() as tx:
            hubs.install(tx, "hub", actor=SYSTEM)
            modes.set_mode(tx, mode, actor=SYSTEM)
            rules.replace(tx, [], actor=SYSTEM)

    def act(self, action, *args, **more):
        """One action as the system."""
        with self.db.write() as tx:
            return action(tx, *args, actor=SYSTEM, **more)

    def look(self, query, *args, **more):
        with self.db.read() as tx:
            return query(tx, *args, **more)

    def wait(self, minutes=0, seconds=0):
        self.now += timedelta(minutes=minutes, seconds=seconds)

    def wallet(self, name, credits=0, *, pays_for="", **more) -> int:
        """A wallet; it pays for one person, or for everybody (``*``)."""
        wallet_id = self.act(wallets.create, name, **more)
        if credits:
            self.act(wallets.grant, wallet_id, int(credits * 10**6), policy=POLICY)
        if pays_for:
            person = "" if pays_for == "*" else pays_for
            position = 99 if pays_for == "*" else 0
            self.act(rules.add, Rule(position, "wallet", wallet_id, person=person))
        return wallet_id

    def balance(self, wallet_id) -> int:
        return self.look(wallets.find, wallet_id).balance_micro

    def ask(self, person="ada", server="", shape=ONE_GPU, *, profile="gpu", number=None, born=BORN,
            groups=(), wallet_name="", **more) -> Ask:  # fmt: skip
        number = sum(person.encode()) if number is None else number
        return Ask(
            session_id=str(uuid.uuid4()), hub_id="hub", person=PersonKey(person, number, born),
            server_name=server, profile=profile, shape=shape, groups=groups,
            wallet_name=wallet_name, **more,
        )  # fmt: skip

    def admit(self, *asks, policy=POLICY):
        """The decision about a start, or those about several in one transaction."""
        decided = self.act(admissions.admit_many, asks, policy=policy, cache=self.cache)
        return decided[0] if len(decided) == 1 else decided

    def tell(self, session_id, kind, *, at=None, reason="", evidence="test", **extra):
        told = Sighting(session_id, kind, at or self.now, evidence, reason, extra)
        self.act(sessions.record, told, policy=POLICY)

    def run(self, person="ada", server="", **more) -> str:
        """The id of a session that is admitted and begins now."""
        decision = self.admit(self.ask(person, server, **more))
        assert decision.may_start, decision.reason.text
        self.tell(decision.session_id, "started")
        self.tell(decision.session_id, "ready")
        return decision.session_id

    def end(self, session_id, reason="stopped", **more):
        self.tell(session_id, "ended", reason=reason, **more)

    def session(self, session_id):
        (view,) = self.look(views.session_views, ids=[session_id])
        return view

    def entries(self, **which):
        return self.look(listings.entries, **which)

    def close(self):
        self.db.dispose()
