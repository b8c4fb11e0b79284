"""Random lives of two wallets: what happens to them, and when somebody looks.

A life is its events. What is learnt late has a quiet time before it, in which nobody looks: where
a boundary was booked before something was known, other entries are right than where it was not.
Limitations: one hub, no limits, no refused starts; months stay open.
"""

import math
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jhub_usage.domain.periods import PERIODS, Calendar

MICROSECOND = timedelta(microseconds=1)
#: Zones in which something happens: clocks change, also at midnight, and whole days are missing.
ZONES = (
    "UTC", "Asia/Taipei", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Africa/Cairo",
    "Asia/Beirut", "America/Havana", "Atlantic/Azores", "America/St_Johns", "Australia/Lord_Howe",
    "Pacific/Apia", "Pacific/Chatham", "Asia/Kathmandu", "America/Asuncion", "Antarctica/Troll",
)  # fmt: skip
#: Around these instants something is told to happen in some of them.
NEAR = tuple(
    datetime(*day, tzinfo=UTC)
    for day in ((2011, 12, 29), (2018, 11, 4), (2024, 4, 25), (2026, 3, 28), (2026, 10, 24))
)
PRICES = (0, 1, 3_600, 999_999, 4_000_000, 77_000_003)
FEES = (0, 0, 250_000)
AMOUNTS = (1, 333_333, 5_000_000, 40_000_000, 900_000_000)
CAPS = (0, 0, None, 1, 5_000_000, 100_000_000)


@dataclass(frozen=True)
class Life:
    """What happens, (instant, verb, its arguments) in order, and when somebody looks besides."""

    seed: int
    zone: str
    begin: datetime
    end: datetime
    events: tuple[tuple, ...]
    looks: tuple[tuple[datetime, str], ...]

    def whole(self) -> Iterator[tuple]:
        """In one go: nobody looks but at the end."""
        yield from self.events
        yield (self.end, "tick", ())

    def cut(self) -> Iterator[tuple]:
        """With looks and restarts in between; one comes after what happens at its instant."""
        looks = [(at, kind, ()) for at, kind in self.looks]
        yield from sorted([*self.events, *looks], key=lambda x: x[0])
        yield (self.end, "tick", ())


def live(seed: int, most_days: int = 400, most_events: int = 24) -> Life:
    """The life of a seed."""
    return _Fate(random.Random(seed), most_days, most_events).life(seed)


class _Fate:
    """What is drawn for one life."""

    def __init__(self, choose: random.Random, most_days: int, most_events: int):
        self.choose, self.days, self.most = choose, most_days, most_events
        self.events: list[tuple] = []
        self.quiet: list[tuple[datetime, datetime]] = []
        #: Sessions that are open: id -> [wallet, admitted, begun]
        self.open: dict[str, list] = {}
        self.over: list[str] = []
        self.grants: list[tuple[str, int]] = []
        self.number = 0

    def life(self, seed: int) -> Life:
        choose = self.choose
        zone = choose.choice(ZONES)
        around = choose.choice((*NEAR, None, None, None))
        day = choose.randrange(-20, 3) if around else choose.randrange(365 * 15)
        begin = (around or datetime(2012, 1, 1, tzinfo=UTC)) + timedelta(
            days=day, microseconds=choose.randrange(86_400_000_000)
        )
        span = timedelta(days=math.exp(choose.uniform(0, math.log(self.days))))
        end = begin + span
        self.edges = edges = self.some_edges(Calendar.of(zone), begin, end)
        count = choose.randint(2, self.most)
        instants = sorted({begin, *(self.instant(begin, end, edges) for _ in range(count))})
        self.set_allowance(begin)
        for at in instants:
            for _ in range(choose.choice((1, 1, 1, 2))):
                self.event(at, begin)
        looks = [
            (self.instant(begin, end, edges), choose.choice(("tick", "tick", "passing", "restart")))
            for _ in range(choose.choice((1, 3, 10, 30)))
        ]
        looks = sorted(x for x in looks if not any(a < x[0] <= b for a, b in self.quiet))
        return Life(seed, zone, begin, end, tuple(self.events), tuple(looks))

    def some_edges(self, calendar, begin, end) -> list[datetime]:
        """Some boundaries."""
        found = []
        for _ in range(6):
            at = begin + (end - begin) * self.choose.random()
            period = self.choose.choice(PERIODS)
            found.append(calendar.next_boundary(period, at)[1])
        return [at for at in found if at < end]

    def instant(self, begin, end, edges) -> datetime:
        if edges and self.choose.random() < 0.4:
            off = self.choose.choice((0, 0, 0, 1, -1, 1_000_000, -3_600_000_000))
            return max(begin, min(end, self.choose.choice(edges) + off * MICROSECOND))
        return begin + (end - begin) * self.choose.random()

    def tell(self, at: datetime, verb: str, *values) -> None:
        self.events.append((at, verb, values))

    def key(self) -> str:
        self.number += 1
        return f"k{self.number}"

    def late(self, at: datetime, since: datetime) -> datetime:
        """When it was, where it is told now; nobody looks in between."""
        ago = self.choose.choice((0, 0, 0, 0, 1, 30_000_000, 3_600_000_000, 90_000_000_000))
        was = max(since, at - ago * MICROSECOND)
        known = [edge for edge in self.edges if since <= edge <= at]
        if known and self.choose.random() < 0.2:
            was = self.choose.choice(known)
        if was < at:
            self.quiet.append((was, at))
        return was

    def set_allowance(self, at: datetime) -> None:
        choose = self.choose
        begin_now = choose.choice((None, None, None, False, True))
        self.tell(
            at, "allowance", 1 if choose.random() < 0.9 else 2, choose.choice(AMOUNTS),
            choose.choice(PERIODS), choose.choice(CAPS), begin_now,
        )  # fmt: skip
        self.last_set = at

    def event(self, at: datetime, begin: datetime) -> None:
        choose = self.choose
        kind = choose.choice(
            ("start", "start", "begin", "begin", "end", "end", "end", "grant", "transfer", "settle",
             "stop", "refund", "correct", "correct_grant", "allowance", "remove", "zone",
             "overdraft")
        )  # fmt: skip
        wallet = choose.choice((1, 1, 1, 2))
        if kind == "start":
            id = str(uuid.UUID(int=choose.getrandbits(128)))
            self.open[id] = [wallet, at, None]
            fee, grace = choose.choice(FEES), choose.choice((0, 30))
            self.tell(at, "admit", id, wallet, choose.choice(PRICES), fee, grace)
            if choose.random() < 0.7:
                self.begin(at, id)
        elif kind == "grant":
            key = self.key()
            self.grants.append((key, wallet))
            self.tell(at, "grant", wallet, choose.choice(AMOUNTS), key)
        elif kind == "transfer":
            self.tell(at, "transfer", wallet, 3 - wallet, choose.choice(AMOUNTS), self.key())
        elif kind == "overdraft":
            self.tell(at, "overdraft", wallet, choose.choice((0, *AMOUNTS)))
        elif kind == "zone" and choose.random() < 0.3:
            self.tell(at, "zone", choose.choice(ZONES))
        elif kind == "allowance" and at > self.last_set:
            self.set_allowance(at)
        elif kind == "remove":
            self.tell(at, "remove", wallet)
        elif kind == "correct_grant" and self.grants:
            key, its = choose.choice(self.grants)
            amount = choose.choice((1, -1)) * choose.choice(AMOUNTS)
            self.tell(at, "correct_grant", its, key, amount, self.key())
        elif kind in ("begin", "end", "stop", "settle") and self.open:
            getattr(self, kind)(at, choose.choice(list(self.open)))
        elif kind in ("refund", "correct") and (self.over or self.open):
            id = choose.choice([*self.open, *self.over])
            amount = choose.choice(AMOUNTS) * (choose.choice((1, -1)) if kind == "correct" else 1)
            self.tell(at, kind, id, choose.randrange(5), amount, self.key())

    def begin(self, at: datetime, id: str) -> None:
        held = self.open[id]
        if held[2] is None:
            held[2] = self.late(at, held[1])
            self.tell(at, "started", id, held[2])

    def end(self, at: datetime, id: str) -> None:
        _, admitted, begun = self.open.pop(id)
        if begun is not None:
            self.over.append(id)
        self.tell(at, "ended", id, self.late(at, begun or admitted))

    def stop(self, at: datetime, id: str) -> None:
        _, _, begun = self.open[id]
        if begun is not None:
            self.tell(at, "stopping", id, self.late(at, begun))

    def settle(self, at: datetime, id: str) -> None:
        if self.open[id][2] is not None:
            off = self.choose.choice((0, 0, -60_000_000, -86_400_000_000, 5_000_000))
            self.tell(at, "settle", id, at + off * MICROSECOND)
