"""Bounded daemon threads that a database which hangs can neither fill up nor keep the Hub alive by.

The event loop's default pool would be full after a few calls into a black-holed database, and
Python waits for a pool's threads when it exits. A lane has a few threads of its own; one whose
caller gave up is abandoned, its place is taken by a new one, and so on up to a bound.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future


class LaneFull(Exception):
    """Too much waits already: the database does not keep up, or does not answer."""


class Lane:
    """Runs functions on ``threads`` threads, oldest first. Of those that hang, at most
    ``abandoned_max`` are given up and replaced; after that the lane only queues."""

    def __init__(
        self, name: str, *, threads: int = 1, abandoned_max: int = 4, queue_max: int = 1000
    ) -> None:
        self.name = name
        self._threads, self._abandoned_max, self._queue_max = threads, abandoned_max, queue_max
        self._jobs: deque[tuple[Callable, Future]] = deque()
        self._changed = threading.Condition()
        self._live: set[threading.Thread] = set()
        self._abandoned: set[threading.Thread] = set()
        self._idle = 0
        self._closed = False

    def submit(self, function: Callable, *args) -> Future:
        """Run ``function(*args)`` on a thread of this lane; ``future.thread`` is that thread."""
        future: Future = Future()
        future.thread = None
        with self._changed:
            if self._closed or len(self._jobs) >= self._queue_max:
                raise LaneFull(self.name)
            self._jobs.append((lambda: function(*args), future))
            self._staff()
            self._changed.notify()
        return future

    def abandon(self, thread: threading.Thread | None) -> None:
        """Nobody waits for what this thread does any more: let another one take its place."""
        with self._changed:
            if thread not in self._live or len(self._abandoned) >= self._abandoned_max:
                return
            self._live.discard(thread)
            self._abandoned.add(thread)
            self._staff()

    def close(self) -> None:
        """Take nothing more; threads end after what they do."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _staff(self) -> None:
        if self._jobs and not self._idle and len(self._live) < self._threads:
            thread = threading.Thread(
                target=self._work, name=f"jhub-usage-{self.name}", daemon=True
            )
            self._live.add(thread)
            thread.start()

    def _work(self) -> None:
        me = threading.current_thread()
        while True:
            with self._changed:
                if me in self._abandoned:
                    self._abandoned.discard(me)
                    return
                self._idle += 1
                try:
                    while not self._jobs:
                        if self._closed:
                            self._live.discard(me)
                            return
                        self._changed.wait()
                finally:
                    self._idle -= 1
                job, future = self._jobs.popleft()
                self._staff()
            future.thread = me
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = job()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)


class Breaker:
    """Opens after ``threshold`` failures in a row; then nobody waits for the database until a
    probe in the background has reached it."""

    def __init__(self, threshold: int = 3) -> None:
        self._threshold = threshold
        self._failures = 0
        self._guard = threading.Lock()

    @property
    def open(self) -> bool:
        return self._failures >= self._threshold

    def failure(self) -> None:
        with self._guard:
            self._failures += 1

    def success(self) -> None:
        with self._guard:
            self._failures = 0
