"""The gateway: one deadline whatever the database does, nothing lost, nothing decided twice."""

import asyncio
import threading
import time
from datetime import UTC, datetime
from itertools import pairwise
from types import SimpleNamespace

import pytest

from jhub_usage.config import Settings
from jhub_usage.context import Context
from jhub_usage.domain.admission import Ask, Decision, PersonKey, Reason
from jhub_usage.domain.errors import BadInput, DatabaseUnavailable
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting
from jhub_usage.spawning.gateway import Gateway
from jhub_usage.spawning.lanes import Breaker, Lane, LaneFull
from jhub_usage.spawning.spool import FailedOpen

from ..support.processes import wait_until

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ADA = PersonKey("ada", 1, NOW)


def ask(session="s1", **more):
    shape = Shape(gpus=(Gpus("nvidia.com/gpu", "A100", 1),))
    return Ask(session, "hub", more.pop("person", ADA), more.pop("server", ""), "", shape, **more)


def sighting(session, kind, evidence="start_returned"):
    return Sighting(session, kind, datetime.now(UTC), evidence)


class Fake:
    """A context whose database does what the test says. Not a model of ours: it decides nothing."""

    def __init__(self, settings):
        self.settings, self.policy, self.cache = settings, settings.policy(), SimpleNamespace()
        self.cache.get = lambda tx: None
        self.db = SimpleNamespace(check_schema=lambda: None, dispose=lambda: None)
        self.calls: list[tuple[str, list]] = []
        self.error = None
        self.bad: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()

    def act(self, action, *args, **more):
        name = action.__name__
        ids = [a.session_id for a in args[0]] if name == "admit_many" else list(args[:1])
        self.calls.append((name, ids))
        self._answer()
        if name == "admit_many":
            if self.bad & set(ids):
                raise ValueError("one of them is bad")
            return [Decision(i, "admitted", Reason("ok", "")) for i in ids]
        return None

    def look(self, query, *args, **more):
        self.calls.append((getattr(query, "__name__", "?"), list(args)))
        self._answer()
        return SimpleNamespace(number=len(self.calls))

    def _answer(self):
        assert threading.current_thread() is not threading.main_thread()
        if not self.gate.wait(30):
            raise AssertionError("the test forgot to open the gate")
        if self.error is not None:
            raise self.error

    def count(self, name):
        return [ids for called, ids in self.calls if called == name]


@pytest.fixture
def make(tmp_path):
    made = []

    def gateway(**settings):
        settings = {"decision_timeout_s": 0.3, "spool_dir": str(tmp_path / "spool")} | settings
        fakes = []

        def factory(s):
            fakes.append(Fake(s))
            return fakes[0]

        g = Gateway(Settings(**settings), context_factory=factory)
        g.fake = g._context = factory(g.settings)
        made.append(g)
        return g

    yield gateway
    for g in made:
        g.fake.gate.set()
        g.fake.error = None
        g.close()


# -- together, and each on their own ------------------------------------------------------------


async def test_starts_that_wait_together_are_one_transaction(make):
    gateway = make(decision_timeout_s=5)
    await gateway.admit(ask("first"))
    gateway.fake.gate.clear()
    waiting = [asyncio.ensure_future(gateway.admit(ask(f"s{n}"))) for n in range(200)]
    await asyncio.sleep(0.1)
    gateway.fake.gate.set()
    decisions = await asyncio.gather(*waiting)
    assert [d.session_id for d in decisions] == [f"s{n}" for n in range(200)]
    batches = gateway.fake.count("admit_many")
    assert len(batches) <= 4 and max(map(len, batches)) <= 128
    assert sum(map(len, batches)) == 201  # each exactly once


async def test_one_bad_ask_does_not_spoil_the_others(make):
    gateway = make(decision_timeout_s=5)
    await gateway.admit(ask("first"))
    gateway.fake.gate.clear()
    gateway.fake.bad = {"s3"}
    waiting = [asyncio.ensure_future(gateway.admit(ask(f"s{n}"))) for n in range(8)]
    await asyncio.sleep(0.1)
    gateway.fake.gate.set()
    decisions = await asyncio.gather(*waiting)
    words = {d.session_id: d.decision for d in decisions}
    assert words.pop("s3") == "failed_open" and set(words.values()) == {"admitted"}


async def test_a_wrong_question_is_answered_as_such(make):
    gateway = make()
    gateway.fake.error = BadInput("too much")
    with pytest.raises(BadInput):
        await gateway.admit(ask())
    assert not gateway.breaker.open and gateway.spool.files() == []


# -- the database hangs ---------------------------------------------------------------------------


async def test_a_database_that_hangs_costs_one_deadline_and_no_event_loop(make):
    gateway = make()
    gateway.fake.gate.clear()
    ticks, worst = [time.monotonic()], 0.0

    async def tick():
        while True:
            await asyncio.sleep(0.002)
            ticks.append(time.monotonic())

    ticking = asyncio.ensure_future(tick())
    begun = time.monotonic()
    decisions = await asyncio.gather(*(gateway.admit(ask(f"s{n}")) for n in range(40)))
    took = time.monotonic() - begun
    ticking.cancel()
    worst = max(b - a for a, b in pairwise(ticks))
    assert {d.decision for d in decisions} == {"failed_open"} and took < 2
    assert worst < 0.25, f"the event loop stood still for {worst:.3f} s"
    assert gateway.breaker.open
    assert len(gateway.spool.files()) == 40
    begun = time.monotonic()
    assert (await gateway.admit(ask("later"))).decision == "failed_open"
    assert time.monotonic() - begun < 0.2, "with the breaker open nobody waits"


async def test_stuck_threads_are_bounded(make):
    gateway = make(decision_timeout_s=0.05)
    gateway.fake.gate.clear()
    for n in range(12):
        gateway.breaker.success()
        await gateway.admit(ask(f"s{n}"))
        await gateway.enqueue(sighting(f"s{n}", "started"))
    ours = [t.name for t in threading.enumerate() if t.name.startswith("jhub-usage")]
    assert ours.count("jhub-usage-admission") <= 5 and len(ours) < 16, ours


async def test_when_it_answers_again_everything_is_replayed(make):
    gateway = make()
    gateway.fake.error = DatabaseUnavailable()
    for n in range(4):
        await gateway.admit(ask(f"s{n}"))
    await gateway.enqueue(sighting("s1", "started"))
    assert gateway.breaker.open and len(gateway.spool.files()) == 5
    gateway.fake.error = None
    gateway.fake.calls.clear()
    assert await asyncio.to_thread(wait_until, lambda: not gateway.spool.files())
    assert len(gateway.fake.count("fail_open")) == 4 and len(gateway.fake.count("record")) == 1
    assert (await gateway.admit(ask("s9"))).decision == "admitted"


@pytest.mark.parametrize(
    ("policy", "mode", "decision"),
    [
        ("admit", "", "failed_open"),
        ("refuse", "", "refused"),
        ("refuse", "enforce", "refused"),
        ("refuse", "observe", "failed_open"),
        ("refuse", "off", "failed_open"),
    ],
)
async def test_the_operators_policy_rules(make, policy, mode, decision):
    gateway = make(on_database_error=policy, mode=mode)
    gateway.fake.error = DatabaseUnavailable()
    got = await gateway.admit(ask())
    assert got.decision == decision
    kept = []
    gateway.fake.error = None
    gateway.spool.replay(kept.append)
    (event,) = kept
    if decision == "refused":
        assert "can not be reached" in got.reason.text
        assert (event.kind, event.evidence) == ("void", "timed_out")
    else:
        assert isinstance(event, FailedOpen) and event.ask == ask()


async def test_a_cancelled_start_is_void(make):
    gateway = make(decision_timeout_s=5)
    gateway.fake.gate.clear()
    start = asyncio.ensure_future(gateway.admit(ask()))
    await asyncio.sleep(0.05)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    gateway.fake.gate.set()
    await gateway.drain()
    assert gateway.fake.count("record")[0][0].kind == "void"


# -- order ----------------------------------------------------------------------------------------


async def test_sightings_of_a_session_keep_their_order(make):
    gateway = make(decision_timeout_s=5)
    kinds = ["started", "ready", "stop_accepted", "ended"]
    for kind in kinds:
        gateway.enqueue(sighting("s1", kind))
    await gateway.drain()
    assert [ids[0].kind for ids in gateway.fake.count("record")] == kinds
    assert gateway._tails == {}


async def test_what_comes_after_something_spooled_is_spooled_too(make):
    gateway = make()
    gateway._keep = lambda: None  # no background thread: the test replays
    gateway.fake.error = DatabaseUnavailable()
    await gateway.enqueue(sighting("s1", "started"))
    gateway.fake.error = None
    gateway.breaker.success()
    await gateway.enqueue(sighting("s1", "ended"))
    await gateway.enqueue(sighting("s2", "started"))
    kept = []
    gateway.spool.replay(kept.append)
    assert [(e.session_id, e.kind) for e in kept] == [("s1", "started"), ("s1", "ended")]


async def test_a_hub_that_shuts_down_keeps_what_was_under_way(make):
    gateway = make(decision_timeout_s=5)
    gateway.fake.gate.clear()
    task = gateway.enqueue(sighting("s1", "ready"))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])
    assert [p.name.partition("-")[2] for p in gateway.spool.files()] == ["s1.json"]


async def test_a_full_disk_keeps_it_in_memory(make):
    gateway = make()
    gateway._keep = lambda: None
    gateway.fake.error = DatabaseUnavailable()
    write, gateway.spool.write = gateway.spool.write, lambda event: 1 / 0
    assert (await gateway.admit(ask())).decision == "failed_open"
    gateway.spool.write, gateway.fake.error = write, None
    gateway.breaker.success()
    await asyncio.to_thread(gateway._keep_once)
    assert len(gateway.fake.count("fail_open")) == 1


# -- a late COMMIT --------------------------------------------------------------------------------


class Slow(Context):
    """A real context whose next admission commits only when the test says so."""

    def act(self, action, *args, **more):
        if action.__name__ == "admit_many":
            self.entered.set()
            assert self.go.wait(10)
        return super().act(action, *args, **more)


@pytest.fixture
def slow(books, tmp_path):
    settings = Settings(
        database_url=books.url, decision_timeout_s=0.3, spool_dir=str(tmp_path / "spool"),
        on_database_error="refuse",
    )  # fmt: skip
    gateway = Gateway(settings, context_factory=Slow.from_settings)
    gateway._context = Slow.from_settings(settings)
    gateway._context.go, gateway._context.entered = threading.Event(), threading.Event()
    yield gateway
    gateway._context.go.set()
    gateway.close()


@pytest.mark.parametrize("commit_first", [True, False])
async def test_a_void_beats_a_commit_that_arrives_late(slow, books, commit_first):
    slow._keep = lambda: None
    decision = await slow.admit(ask("late"))
    assert decision.decision == "refused"
    if commit_first:
        slow._context.go.set()
        assert await asyncio.to_thread(wait_until, books.admissions)
        await asyncio.to_thread(slow._keep_once)
    else:
        await asyncio.to_thread(slow._keep_once)
        assert [a.decision for a in books.admissions()] == ["void"]
        slow._context.go.set()
        await asyncio.sleep(0.3)
    rows = books.sessions()
    assert [r.state for r in rows] in ([], ["void"])
    assert len(books.admissions()) == 1 and books.admissions()[0].voided_at is not None


async def test_a_start_that_failed_open_and_a_late_commit_are_one(slow, books):
    slow._keep = lambda: None
    object.__setattr__(slow.settings, "on_database_error", "admit")
    assert (await slow.admit(ask("late"))).decision == "failed_open"
    slow._context.go.set()
    assert await asyncio.to_thread(wait_until, books.admissions)
    await asyncio.to_thread(slow._keep_once)
    assert [r.state for r in books.sessions()] == ["admitted"] and slow.spool.files() == []
    assert slow.spool.rejected_files() == []


# -- reading --------------------------------------------------------------------------------------


async def test_an_offer_is_kept_for_a_moment_and_forgotten_at_a_change(make):
    gateway = make(form_cache_s=60)
    first = await gateway.offer(ADA, ["b", "a"])
    assert await gateway.offer(ADA, ["a", "b"]) is first
    assert await gateway.offer(ADA, ["a"]) is not first
    gateway.forget_offer(ADA)
    assert await gateway.offer(ADA, ["a", "b"]) is not first


async def test_a_page_waits_no_longer_than_it_may(make):
    gateway = make(page_timeout_s=0.1)
    gateway.fake.gate.clear()
    begun = time.monotonic()
    assert await gateway.offer(ADA, []) is None and await gateway.advise(ask(), 0.1) is None
    assert time.monotonic() - begun < 1 and not gateway.breaker.open
    begun = time.monotonic()
    assert await gateway.offer(ADA, ["other"]) is None
    assert time.monotonic() - begun < 0.05, "the next page does not wait as well"


# -- the parts ------------------------------------------------------------------------------------


def test_a_lane_replaces_a_thread_that_hangs():
    lane, hang = Lane("test", abandoned_max=1, queue_max=2), threading.Event()
    stuck = lane.submit(hang.wait, 10)
    assert wait_until(lambda: stuck.thread is not None)
    waiting = lane.submit(lambda: 42)
    lane.abandon(stuck.thread)
    assert waiting.result(timeout=5) == 42
    # the bound is reached: the next one that hangs keeps its place, and the queue is finite
    again = lane.submit(hang.wait, 10)
    assert wait_until(lambda: again.thread is not None)
    lane.abandon(again.thread)
    lane.submit(lambda: 1)
    lane.submit(lambda: 2)
    with pytest.raises(LaneFull):
        lane.submit(lambda: 3)
    hang.set()
    lane.close()


def test_the_breaker_opens_after_failures_in_a_row_only():
    breaker = Breaker(threshold=2)
    breaker.failure()
    breaker.success()
    breaker.failure()
    assert not breaker.open
    breaker.failure()
    assert breaker.open
