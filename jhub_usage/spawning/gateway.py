"""The Hub's only way to the accounting database: never on the event loop, never without a deadline.

Starts that wait together are decided together, in one transaction. When the database does not
answer, a decision is made by the operator's policy and what happened is kept in the spool; after a
few failures nobody waits any more until a probe has reached the database again.
Limitations: one gateway per process and settings; its coroutines run on one event loop.
"""

import asyncio
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from ..context import Context
from ..domain import admission
from ..domain.admission import Ask, Decision, PersonKey, Reason
from ..domain.errors import CatchUpNeeded, DatabaseUnavailable, NotFound, SchemaTooOld, UsageError
from ..domain.sightings import Sighting
from . import calls, metrics
from .asks import Asks, Waiting
from .lanes import Breaker, Lane, LaneFull
from .spool import LATER, FailedOpen, Spool, replay

log = logging.getLogger("jhub_usage.gateway")

#: How long one of our threads may keep the event loop waiting for the interpreter.
SWITCH_S = 0.0005
#: Seconds between two looks of the background thread, and while the database is away.
IDLE_S, AWAY_S, AWAY_MAX_S = 5.0, 1.0, 10.0
#: Seconds in which pages do not ask again after one has waited in vain.
PAGES_REST_S = 3.0


class Overdue(Exception):
    """The database did not answer within the deadline."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Gateway:
    """Admission, sightings and offers for the hooks of one Hub."""

    def __init__(self, settings, *, context_factory=Context.from_settings) -> None:
        self.settings = settings
        # Our threads compute while the event loop runs. By default Python lets a thread keep the
        # interpreter for 5 ms when another one wants it; the loop should not wait that long.
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
        self.spool = Spool(settings.spool_dir)
        self.breaker = Breaker()
        self.facts: Callable[[], dict] = dict
        self._factory = context_factory
        self._context = None
        self._context_guard = threading.Lock()
        self._set_up = False
        self._asks = Asks(lambda asks: self._act(calls.admit_many, asks))
        self._records = Lane("records", threads=3)
        self._reads = Lane("reads", threads=2, queue_max=200)
        self._disk = Lane("disk", threads=1, abandoned_max=1, queue_max=100_000)
        self._tails: dict[str, asyncio.Future] = {}
        self._unwritten: deque = deque()
        self._offers: dict = {}
        self._pages_rest_until = 0.0
        self._wake = threading.Event()
        self._closed = False
        self._keeper: threading.Thread | None = None

    # -- admission ------------------------------------------------------------------------------

    async def admit(self, ask: Ask) -> Decision:
        """The decision about one start, within the deadline, whatever the database does.

        Raises a UsageError when the question itself is wrong. A caller that is cancelled voids it.
        """
        self._keep()
        waiting = Waiting(ask)
        try:
            return await self._admit(waiting)
        except asyncio.CancelledError:
            self._asks.give_up(waiting)
            self.enqueue(Sighting(ask.session_id, "void", utc_now(), "cancelled", "cancelled"))
            raise

    async def _admit(self, waiting: Waiting) -> Decision:
        if self.breaker.open:
            return await self._without_database(waiting.ask, "away")
        try:
            self._asks.put(waiting)
            decision = await asyncio.wait_for(
                asyncio.wrap_future(waiting.future), self.settings.decision_timeout_s
            )
        except (TimeoutError, LaneFull, *LATER) as error:
            self._asks.give_up(waiting)
            self._failed(error)
            return await self._without_database(waiting.ask, "away")
        except UsageError:
            raise
        except Exception:
            log.exception("The admission of session %s failed", waiting.ask.session_id)
            self._failed(RuntimeError("error"))
            return await self._without_database(waiting.ask, "error")
        self._succeeded()
        return decision

    async def _without_database(self, ask: Ask, code: str) -> Decision:
        """By the operator's policy. What was decided is on the disk before the answer."""
        settings, now = self.settings, utc_now()
        refuse = settings.on_database_error == "refuse" and settings.mode not in ("off", "observe")
        if refuse:
            await self._keep_on_disk(
                Sighting(ask.session_id, "void", now, "timed_out", "database_unavailable")
            )
            text = (
                "The accounting of this hub can not be reached right now, so no server can start. "
                "Nothing was charged. Try again in a few minutes, or ask an administrator."
            )
            reason = Reason("database_unavailable", text)
            return Decision(ask.session_id, admission.REFUSED, reason, decided_at=now)
        await self._keep_on_disk(FailedOpen(ask, now))
        text = "The accounting database could not be reached: the start is recorded later."
        return Decision(
            ask.session_id,
            admission.FAILED_OPEN,
            Reason(code, text),
            mode=settings.mode or "enforce",
            decided_at=now,
        )

    # -- sightings ------------------------------------------------------------------------------

    def enqueue(self, sighting: Sighting) -> asyncio.Future:
        """Record a sighting after those of the same session before it; await it or not.

        It never raises: what can not be written now is in the spool when it is done.
        """
        self._keep()
        key = sighting.session_id
        task = asyncio.ensure_future(self._record(sighting, self._tails.get(key)))
        self._tails[key] = task

        def forget(_):
            if self._tails.get(key) is task:
                del self._tails[key]

        task.add_done_callback(forget)
        return task

    async def _record(self, sighting: Sighting, before: asyncio.Future | None) -> None:
        try:
            await self._record_or_keep(sighting, before)
        except asyncio.CancelledError:
            # The Hub is shutting down and cancels all that runs: this is the last chance.
            self.spool.write(sighting)
            raise

    async def _record_or_keep(self, sighting: Sighting, before: asyncio.Future | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        if not self.breaker.open:
            try:
                await self._on(self._records, self._write, sighting)
                self.breaker.success()
                return
            except (Overdue, LaneFull, *LATER) as error:
                self._failed(error)
            except NotFound as error:
                # The database answers and does not know the session: nothing was admitted.
                log.error("A sighting of an unknown session is dropped: %s (%s)", sighting, error)
                return
            except Exception:
                log.exception("A sighting could not be recorded: %s", sighting)
        await self._keep_on_disk(sighting)

    def _write(self, sighting: Sighting) -> None:
        """On a thread. What waits in the spool comes first, so its session's events queue up."""
        if self.spool.has(sighting.session_id):
            self.spool.write(sighting)
            self._wake.set()
        else:
            self._act(calls.record, sighting)

    async def _keep_on_disk(self, event) -> None:
        metrics.SPOOLED.inc()
        try:
            await self._on(self._disk, self.spool.write, event, timeout_s=2.0)
        except Exception as error:
            self._unwritten.append(event)
            log.critical("The spool can not be written (%r); kept in memory: %s", error, event)

    # -- reading --------------------------------------------------------------------------------

    async def advise(self, ask: Ask, timeout_s: float | None = None) -> Decision | None:
        """What admission would say now; None when nobody knows."""
        timeout_s = min(timeout_s or 2.0, self.settings.decision_timeout_s)
        return await self._ask_softly(calls.advise, ask, timeout_s=timeout_s)

    async def offer(self, person: PersonKey, groups: Sequence[str]):
        """Prices and wallets for the form and the home page, a few seconds old; None when away."""
        key, now = (person, tuple(sorted(groups))), time.monotonic()
        held = self._offers.get(key)
        if held and now - held[0] < self.settings.form_cache_s:
            return held[1]
        offer = await self._ask_softly(
            calls.offer,
            person,
            self.settings.hub_id,
            tuple(groups),
            timeout_s=self.settings.page_timeout_s,
        )
        if offer is not None:
            if len(self._offers) > 1000:
                self._offers.clear()
            self._offers[key] = (now, offer)
        return offer

    def forget_offer(self, person: PersonKey) -> None:
        """Something of this person's has just changed: the next page shows it."""
        for key in [key for key in self._offers if key[0] == person]:
            del self._offers[key]

    async def open_session_of(self, person: PersonKey, server_name: str) -> str | None:
        """The session that is open for a server, for a Hub that lost its spawner's state.

        Raises Overdue or DatabaseUnavailable: not knowing is not the same as none.
        """
        if self.breaker.open:
            raise DatabaseUnavailable()
        return await self._on(
            self._reads,
            self._look,
            calls.open_session_of,
            self.settings.hub_id,
            person,
            server_name,
        )

    async def _ask_softly(self, query, *args, timeout_s: float):
        self._keep()
        if self.breaker.open or time.monotonic() < self._pages_rest_until:
            return None
        try:
            return await self._on(self._reads, self._look, query, *args, timeout_s=timeout_s)
        except (Overdue, LaneFull):
            # A page waits shorter than a decision does, so this opens no breaker; but the pages
            # that follow need not wait as well.
            self._pages_rest_until = time.monotonic() + PAGES_REST_S
        except LATER as error:
            self._failed(error)
        except UsageError as error:
            log.info("No advice: %s", error)
        except Exception:
            log.exception("The accounting database answered with an error")
        return None

    # -- threads --------------------------------------------------------------------------------

    async def _on(self, lane: Lane, function, *args, timeout_s: float | None = None):
        """A function's result from a lane, within a deadline."""
        future = lane.submit(function, *args)
        try:
            return await asyncio.wait_for(
                asyncio.wrap_future(future), timeout_s or self.settings.decision_timeout_s
            )
        except TimeoutError:
            if not future.done() or future.cancelled():
                lane.abandon(future.thread)
                raise Overdue() from None
            raise
        except asyncio.CancelledError:
            lane.abandon(future.thread)
            raise

    def _ctx(self) -> Context:
        """On a thread: the context, once its database is known to be set up for us."""
        with self._context_guard:
            if self._context is None:
                self._context = self._factory(self.settings)
        if not self._set_up:
            # The service sets it up; on a first start it may be about to.
            last = time.monotonic() + self.settings.decision_timeout_s / 2
            while True:
                try:
                    calls.require_set_up(self._context)
                    break
                except SchemaTooOld:
                    if time.monotonic() > last or self._closed:
                        raise
                    time.sleep(0.1)
            self._set_up = True
            self._note_hooks()
        return self._context

    def _note_hooks(self) -> None:
        """Leave word of what the Hub really runs, for the configuration page."""
        try:
            calls.note_hooks(self._context, self.settings.hub_id, self.facts())
        except Exception:
            log.exception("The database was not told what this hub runs")

    def _act(self, function, *args):
        return function(self._ctx(), *args)

    _look = _act

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, CatchUpNeeded):
            return  # one wallet waits for a person; the database answers
        was_open = self.breaker.open
        self.breaker.failure()
        if self.breaker.open and not was_open:
            metrics.DATABASE_AWAY.set(1)
            log.error("The accounting database does not answer (%r): decisions by policy", error)
        self._wake.set()

    def _succeeded(self) -> None:
        if self.breaker.open:
            log.warning("The accounting database answers again")
        metrics.DATABASE_AWAY.set(0)
        self.breaker.success()

    def wake(self) -> None:
        """Begin, or look at once: what an earlier process left in the spool is replayed."""
        self._keep()
        self._wake.set()

    def _keep(self) -> None:
        """Start the background thread: it probes a database that is away, and replays."""
        if self._keeper is None and not self._closed:
            self._keeper = threading.Thread(
                target=self._keep_going, name="jhub-usage-keeper", daemon=True
            )
            self._keeper.start()

    def _keep_going(self) -> None:
        pause = IDLE_S
        while not self._closed:
            self._wake.wait(pause)
            self._wake.clear()
            if self._closed:
                return
            try:
                self._keep_once()
                pause = min(max(pause, AWAY_S) * 1.5, AWAY_MAX_S) if self.breaker.open else IDLE_S
            except LATER:
                pause = AWAY_S if pause >= IDLE_S else min(pause * 1.5, AWAY_MAX_S)
            except Exception:
                log.exception("The background thread of the accounting gateway failed; it goes on")
                pause = IDLE_S
            if self.breaker.open:
                # The failures that opened it have woken us; they need no look of their own.
                time.sleep(min(pause, 0.2))

    def _keep_once(self) -> None:
        while self._unwritten:
            self.spool.write(self._unwritten[0])
            self._unwritten.popleft()
        ctx = self._ctx()
        if self.breaker.open:
            calls.ping(ctx)
            self._succeeded()
        if self.spool.files():
            done = replay(ctx, self.spool)
            if done:
                log.warning("%d events from the spool were recorded", done)

    async def drain(self) -> None:
        """Wait for the sightings that are under way."""
        while self._tails:
            await asyncio.wait(list(self._tails.values()))

    def close(self) -> None:
        """End the threads; for tests."""
        self._closed = True
        self._wake.set()
        for lane in (self._asks.lane, self._records, self._reads, self._disk):
            lane.close()
        if self._keeper is not None:
            self._keeper.join(timeout=10)
        if self._context is not None:
            self._context.db.dispose()
