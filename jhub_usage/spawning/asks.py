"""Starts that wait for a decision: those that wait together are decided together.

One thread takes what waits and hands it to one transaction; a start whose caller gave up before
that is not asked about. Does not know what a decision is made of, nor what happens without one.
"""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from ..domain.admission import Ask, Decision
from ..domain.errors import CatchUpNeeded
from .lanes import Lane, LaneFull
from .spool import LATER

log = logging.getLogger("jhub_usage.gateway")

#: Starts that one transaction decides at most.
BATCH = 128


@dataclass(eq=False)
class Waiting:
    """One start; ``future`` gets its decision, on ``thread`` it is being made."""

    ask: Ask
    future: Future = field(default_factory=Future)
    thread: threading.Thread | None = None


class Asks:
    """The queue before ``decide``, which answers many asks in one transaction."""

    def __init__(self, decide: Callable[[list[Ask]], list[Decision]]) -> None:
        self._decide = decide
        self._waiting: deque[Waiting] = deque()
        self._scheduled = False
        self.lane = Lane("admission", threads=1)

    def put(self, waiting: Waiting) -> None:
        """Queue up; on the event loop. The thread is woken after this turn of the loop, so that
        starts which come together go together, and it does not take the interpreter from their
        midst."""
        self._waiting.append(waiting)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._submit)

    def give_up(self, waiting: Waiting) -> None:
        """Nobody waits for this one any more."""
        waiting.future.cancel()
        # IndexError: the thread took something out while we looked
        with contextlib.suppress(ValueError, IndexError):
            self._waiting.remove(waiting)
        self.lane.abandon(waiting.thread)

    def _submit(self) -> None:
        try:
            self.lane.submit(self._drain)
        except LaneFull as error:
            self._scheduled = False
            while self._waiting:
                future = self._waiting.popleft().future
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)

    def _drain(self) -> None:
        """On the thread: decide all that wait."""
        # First of all: what is added from here on makes a job of its own.
        self._scheduled = False
        batch = []
        while self._waiting and len(batch) < BATCH:
            try:
                waiting = self._waiting.popleft()
            except IndexError:
                break
            waiting.thread = threading.current_thread()
            if waiting.future.set_running_or_notify_cancel():
                batch.append(waiting)
        if batch:
            self._answer(batch)
        if self._waiting and not self._scheduled:  # more than one transaction takes
            self._scheduled = True
            self._submit()

    def _answer(self, batch: Sequence[Waiting]) -> None:
        try:
            decisions = self._decide([w.ask for w in batch])
        except LATER as error:
            if isinstance(error, CatchUpNeeded) and len(batch) > 1:
                # it is about one wallet: the others must not wait for a person
                for waiting in batch:
                    self._answer([waiting])
                return
            for waiting in batch:
                waiting.future.set_exception(error)
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            # One of them spoils the transaction: the others must not pay for it.
            log.warning("Deciding %d starts together failed (%r): one by one", len(batch), error)
            for waiting in batch:
                self._answer([waiting])
        else:
            for waiting, decision in zip(batch, decisions, strict=True):
                waiting.future.set_result(decision)
