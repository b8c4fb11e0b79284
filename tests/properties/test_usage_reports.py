"""Usage within any window, by anything, is the sum over sessions; rollups change no answer.

Random sessions of real actions (ended, open, corrected, over midnights, months and changes of
clocks, in random zones) against a sum that knows neither days nor rollups. Each test prints its
seed; JHUB_USAGE_TEST_SEED repeats it, JHUB_USAGE_TEST_THOROUGH=1 looks longer.
"""

import os
import random
import uuid
from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from jhub_usage.actions import admissions, hubs, rates, rules, sessions, usage, wallets
from jhub_usage.actions import usage_reports as reports
from jhub_usage.actions.usage_reports import Only
from jhub_usage.domain.admission import Ask, PersonKey, Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.periods import PERIODS
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting
from jhub_usage.domain.usage import NodeCores
from jhub_usage.store import period_use, periods
from jhub_usage.store import tables as t
from jhub_usage.store import usage as usage_rows
from jhub_usage.store.catalog import CatalogCache
from jhub_usage.store.engine import Database

THOROUGH = os.environ.get("JHUB_USAGE_TEST_THOROUGH", "") not in ("", "0")
HOUR_US = 3_600_000_000
#: (zone, an instant near which its clocks change or a month ends)
PLACES = [
    ("UTC", datetime(2026, 2, 26, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 24, 20, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 7, tzinfo=UTC)),
    ("Asia/Taipei", datetime(2025, 12, 30, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 3, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 10, 30, tzinfo=UTC)),  # clocks change at midnight
    ("Pacific/Apia", datetime(2011, 12, 27, tzinfo=UTC)),  # a day that never was
]
PEOPLE = ("ada", "bob", "eve")
NODES = ("", "n1", "n2")
CORES = NodeCores({"n1": 48, "n2": 7}, 32)
PROFILES = {
    "cpu": Shape(3000, 5 * 2**30 + 1),
    "gpu": Shape(8000, 2**30, (Gpus("nvidia.com/gpu", "A100", 2),)),
    "mig": Shape(1500, 2**30, (Gpus("nvidia.com/mig-1g.5gb", "A100", 1, 143),)),
    "mixed": Shape(1000, 0, (Gpus("a/gpu", "L4", 1), Gpus("b/gpu", "H100", 1))),
}
BY = ("day", "week", "month", "hub", "person", "wallet", "profile", "gpu_model", "node")


class Story:
    """Sessions as they may come, all in a few transactions."""

    def __init__(self, url: str, dice: random.Random):
        self.dice, self.clock = dice, [datetime(2000, 1, 1, tzinfo=UTC)]
        self.zone, around = dice.choice(PLACES)
        self.policy = Policy(timezone=self.zone)
        self.db = Database(url, clock=lambda: self.clock[0])
        self.db.upgrade()
        self.cache = CatalogCache()
        self.clock[0] = self.begun = around - timedelta(days=dice.choice([0, 3, 40]))
        with self.db.write() as tx:
            hubs.install(tx, "hub", actor=SYSTEM, timezone=self.zone)
            hubs.install(tx, "hub2", actor=SYSTEM, timezone=self.zone)
            for name in ("lab", "free"):
                wallets.create(tx, name, overdraft_micro=None, actor=SYSTEM)
            found = [Rule(0, "wallet", 1, profile="gpu"), Rule(1, "wallet", 2, person="bob"),
                     Rule(2, "personal", overdraft_micro=None)]  # fmt: skip
            rules.replace(tx, found, actor=SYSTEM)
            rates.add(tx, "start", dice.choice([0, 250_001]), actor=SYSTEM)
            rates.add(tx, "cpu", dice.choice([0, 77, 10_001]), actor=SYSTEM)
        ends = self._live(dice.randint(5, 40 if THOROUGH else 20))
        self._correct([i for i, at in ends.items() if at is not None])

    def _live(self, number: int) -> dict:
        """Starts and ends in their order; some never end."""
        dice, ends = self.dice, {}
        span = dice.choice([2, 9, 70]) * 86400 * 10**6
        moments = []
        for n in range(number):
            at = self.begun + timedelta(microseconds=dice.randrange(span))
            if dice.random() < 0.15:
                at = self._midnight(at)
            length = dice.choice(
                [0, 1, 86400 * 10**6, dice.randrange(span), dice.randrange(10**10)]
            )
            end = at + timedelta(microseconds=length) if dice.random() < 0.8 else None
            asked = str(uuid.UUID(int=dice.getrandbits(128)))
            moments.append((at, n, asked, end))
            ends[asked] = end
        moments += [(end, number + n, asked, None) for _, n, asked, end in moments if end]
        moved = dice.random() < 0.3
        with self.db.write() as tx:
            for at, n, asked, _ in sorted(moments):
                self.clock[0] = max(self.clock[0], at)
                if moved and n == number // 2:
                    zone = dice.choice(PLACES)[0]
                    hubs.install(tx, "hub", actor=SYSTEM, timezone=zone)
                if n >= number:
                    self._see(tx, asked, "ended", at)
                else:
                    self._start(tx, asked, n, at)
            self.clock[0] += timedelta(microseconds=dice.choice([0, 1, dice.randrange(10**11)]))
        return ends

    def _midnight(self, at: datetime) -> datetime:
        local = at.astimezone(ZoneInfo(self.zone))
        return local.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)

    def _start(self, tx, asked, n, at):
        dice, profile = self.dice, self.dice.choice(list(PROFILES))
        name = dice.choice(PEOPLE)
        ask = Ask(asked, dice.choice(["hub", "hub", "hub2"]), PersonKey(name, PEOPLE.index(name)),
                  f"s{n}", profile, PROFILES[profile],
                  groups=("g",) if dice.random() < 0.5 else ())  # fmt: skip
        decided = admissions.admit(tx, ask, policy=self.policy, cache=self.cache, actor=SYSTEM)
        assert decided.may_start, decided.reason
        if dice.random() < 0.1:
            return  # nothing shows that it ever started
        self._see(tx, asked, "started", at, {"node": dice.choice(NODES)})
        if dice.random() < 0.2:
            self._see(tx, asked, "stop_accepted", at + timedelta(seconds=dice.randrange(9999)))

    def _see(self, tx, asked, kind, at, extra=None):
        told = Sighting(asked, kind, at, "test", "stopped", extra or {})
        sessions.record(tx, told, policy=self.policy, actor=SYSTEM)

    def _correct(self, ended: list[str]) -> None:
        """Some boundaries turn out to have been others."""
        dice, s = self.dice, t.sessions_.c
        with self.db.write() as tx:
            for asked in dice.sample(ended, len(ended) // 4):
                row = tx.execute(t.sessions_.select().where(s.id == asked)).one()
                if row.state != "ended" or row.billed_from_at is None:
                    continue
                span = row.billed_until_at - row.billed_from_at
                until = row.billed_from_at + span * dice.choice([0, 0.25, 1, 3])
                values = {"billed_until_at": until, "ended_at": max(until, row.started_at)}
                tx.execute(t.sessions_.update().where(s.id == asked).values(**values))
                after = tx.execute(t.sessions_.select().where(s.id == asked)).one()
                usage.closed(tx, after, policy=self.policy, before=row)

    def question(self) -> tuple:
        """A window, a grouping, a filter."""
        dice = self.dice
        span = int((self.clock[0] - self.begun).total_seconds() * 10**6) + 5 * 86400 * 10**6
        edges = [self.begun + timedelta(microseconds=dice.randrange(-span // 4, span))
                 for _ in range(2)]  # fmt: skip
        edges = [self._midnight(at) if dice.random() < 0.4 else at for at in edges]
        begin, end = sorted(edges)
        if begin == end or dice.random() < 0.1:
            end = begin + timedelta(microseconds=1)
        by = dice.sample(BY, dice.randrange(4))
        periods_in = [b for b in by if b in PERIODS]
        by = [b for b in by if b not in periods_in[1:]]
        only = {
            name: value
            for name, value in (
                ("hub_id", dice.choice(["hub", "hub2"])), ("person_id", dice.randint(1, 4)),
                ("wallet_id", dice.randint(0, 4)), ("profile", dice.choice(list(PROFILES))),
                ("gpu_model", dice.choice(["", "A100", "mixed"])), ("node", dice.choice(NODES)),
            )
            if dice.random() < 0.1
        }  # fmt: skip
        return begin, end, tuple(by), Only(**only)

    def answer(self, begin, end, by, only) -> dict:
        with self.db.read() as tx:
            found = reports.usage(tx, begin, end, policy=self.policy, by=by, only=only,
                                  node_cores=CORES)  # fmt: skip
        rows = {r.key: facts(r.sum) for r in found.rows}
        assert len(rows) == len(found.rows)
        zero = [0] * len(facts(found.total))
        assert facts(found.total) == [sum(x) for x in zip(zero, *rows.values(), strict=True)]
        return rows

    def brute(self, begin, end, by, only) -> dict:
        """The same by going through the sessions, second by second as it were."""
        sums: dict = defaultdict(lambda: [0] * 8)
        with self.db.read() as tx:
            calendar = periods.calendar(tx, self.zone)
            for s in tx.execute(t.sessions_.select()):
                if s.billed_from_at is None or s.state == "void" or not _wanted(s, only):
                    continue
                last = min(s.billed_until_at or self.clock[0], self.clock[0])
                if s.billed_until_at is not None:
                    last = s.billed_until_at
                elif s.stop_accepted_at is not None:
                    last = min(last, s.stop_accepted_at + timedelta(seconds=s.grace_s + 60))
                for label, a, b in _pieces(begin, end, by, calendar):
                    got = _within(s, a, b, last, s.state == "ended" or s.billed_from_at < last)
                    if any(got):
                        key = tuple(_value(s, x, label) for x in by)
                        sums[key] = [x + y for x, y in zip(sums[key], got, strict=True)]
        return dict(sums)


def facts(found) -> list:
    return [*found.used.values(), found.total_core_us, found.total_node_us]


def _wanted(s, only: Only) -> bool:
    values = {k: v for k, v in vars(only).items() if v is not None}
    return all((getattr(s, k) or 0 if k == "wallet_id" else getattr(s, k)) == v
               for k, v in values.items())  # fmt: skip


def _pieces(begin, end, by, calendar):
    """The window cut where its labels change, found by asking for the label of each hour."""
    period = next((b for b in by if b in PERIODS), None)
    if period is None:
        yield "", begin, end
        return
    at = begin
    while at < end:
        label, until = calendar.label(period, at), calendar.next_boundary(period, at)[1]
        while until <= at:  # a day of no length
            until = calendar.next_boundary(period, until)[1]
        yield label, at, min(until, end)
        at = until


def _within(s, begin, end, last, began) -> list:
    """By rule 5 alone: C(t) is the fee and the price of what has elapsed, rounded down."""

    def elapsed(at):
        return max(0, (min(at, last) - s.billed_from_at) // timedelta(microseconds=1))

    def cost(at):
        if not s.billed or at <= s.billed_from_at:
            return 0
        return s.fee_micro + s.per_hour_micro * elapsed(at) // HOUR_US

    starts = int(began and begin <= s.billed_from_at < end)
    span = elapsed(end) - elapsed(begin)
    spent = (cost(end) - cost(begin)) if began else 0
    cores = s.cpu_milli * span
    gpus = bool(s.gpus)
    size = [s.gpu_milli * span, cores, s.memory_bytes // 2**20 * span, spent]
    node = Fraction(0) if gpus else Fraction(cores, CORES.of.get(s.node, CORES.default))
    return [starts, span, *size, cores if gpus else 0, node]


def _value(s, what, label):
    if what in PERIODS:
        return label
    if what == "wallet":
        return s.wallet_id or 0
    column = {"hub": "hub_id", "person": "person_id"}.get(what, what)
    return getattr(s, column)


# -- the tests ------------------------------------------------------------------------------------


def seeds(number: int):
    first = int(os.environ.get("JHUB_USAGE_TEST_SEED") or random.randrange(2**32))
    for seed in range(first, first + number):
        print(f"repeat with JHUB_USAGE_TEST_SEED={seed}")  # noqa: T201
        yield seed


def disagreement(url, seed, questions=25):
    """The first question that is answered wrongly, or None."""
    story = Story(url, random.Random(seed))
    try:
        asked = [story.question() for _ in range(questions)]
        answers = []
        for question in asked:
            answers.append(story.answer(*question))
            if answers[-1] != story.brute(*question):
                return question, answers[-1], story.brute(*question)
        again = change_rollups(story)
        for question, before in zip(asked, answers, strict=True):
            if story.answer(*question) != before:
                return again, question, before, story.answer(*question)
        return None
    finally:
        story.db.dispose()


def change_rollups(story) -> str:
    """Drop some rollups, or spoil them, and count anew."""
    rolled, choice = t.rollup_days, story.dice.choice(["nothing", "delete", "spoil"])
    with story.db.write() as tx:
        if choice == "delete":
            tx.execute(rolled.delete())
        elif choice == "spoil":
            tx.execute(rolled.update().values(gpu_us=rolled.c.gpu_us + 1))
        usage.rebuild(tx, policy=story.policy, actor=SYSTEM)
    return choice


def test_an_answer_is_the_sum_over_sessions(tmp_path):
    for seed in seeds(60 if THOROUGH else 8):
        wrong = disagreement(f"sqlite:///{tmp_path / str(seed)}", seed)
        assert wrong is None, (seed, wrong)


def test_an_answer_is_the_sum_over_sessions_on_postgresql(postgres):
    for seed in seeds(20 if THOROUGH else 3):
        with postgres.database() as name:
            wrong = disagreement(postgres.url(name), seed)
        assert wrong is None, (seed, wrong)


@contextmanager
def broken(what: str):
    """The same with one mistake in it, for the test of this test."""
    real = reports._whole_days
    if what == "a cut day is taken whole":
        days = mock.patch.object(
            reports, "_whole_days", lambda b, e, c: (c.day(b), real(b, e, c)[1])
        )
        with days, mock.patch.object(reports, "_cut_days", lambda b, e, c: []):
            yield
    elif what == "what runs is forgotten":
        with mock.patch.object(usage_rows, "open_rows", lambda tx, before, only: []):
            yield
    elif what == "rollups take the place of sessions":
        with mock.patch.object(usage, "_count", lambda *a, **k: None):
            yield


@pytest.mark.parametrize(
    "mistake",
    ["a cut day is taken whole", "what runs is forgotten", "rollups take the place of sessions"],
)
def test_these_tests_notice(tmp_path, mistake):
    with broken(mistake):
        assert any(
            disagreement(f"sqlite:///{tmp_path / str(seed)}", seed) is not None
            for seed in seeds(5)
        )  # fmt: skip


def test_sums_beyond_64_bits_are_exact(db_url):
    """A year of a large cluster, in thousandths of cores times microseconds."""
    db = Database(db_url, clock=lambda: datetime(2026, 11, 20, tzinfo=UTC))
    db.upgrade()
    most = 2**62 + 3
    with db.write() as tx:
        hubs.install(tx, "hub", actor=SYSTEM, timezone="UTC")
        who = tx.execute(
            t.people.insert().values(hub_id="hub", name="ada", current=True, created_at=tx.now())
        ).inserted_primary_key[0]
        for n in range(7):
            key = {"day": f"2026-01-0{n + 1}", "person_id": who, "wallet_id": 0}
            tx.execute(
                t.rollup_days.insert().values(
                    **key, hub_id="hub", profile="", gpu_model="", node="", starts=1,
                    elapsed_us=1, gpu_us=most, cpu_us=-5, memory_us=most, cost_micro=n,
                )
            )  # fmt: skip
            tx.execute(
                t.use_days.insert().values(**key, group_name="", gpu_us=most, cpu_us=-5,
                                           cost_micro=n)
            )  # fmt: skip
    with db.read() as tx:
        found = reports.usage(
            tx, datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC),
            policy=Policy(), by=("month",),
        )  # fmt: skip
        scope = ("person", who)
        counted = period_use.read(tx, [scope], {"month": ("2026-01-01", "2026-12-31")})
        assert tx.scalar(sa.select(sa.func.count()).select_from(t.rollup_days)) == 7
    (row,) = found.rows
    assert row.key == ("2026-01",)
    assert row.sum.used.values() == (7, 7, 7 * most, -35, 7 * most, 21)
    spent = counted.used(scope, "month")
    assert (spent.gpu_us, spent.cpu_us, spent.cost_micro) == (7 * most, -35, 21)
    db.dispose()
