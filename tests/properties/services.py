"""Two service processes that book what is due at the same instant (machine_money.py).

They live as long as the test process. Each has connections of its own, which it gives back after
each race: the next one is about another database.
"""

import functools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime

from jhub_usage.actions import advancing
from jhub_usage.domain.admission import Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.store.engine import Database

TOGETHER_S = 60
_together = None


def _begin(barrier) -> None:
    global _together
    _together = barrier


@functools.cache
def _both() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(
        2, mp_context=context, initializer=_begin, initargs=(context.Barrier(2),)
    )


def _book(url: str, now: datetime, timezone: str) -> tuple:
    db = Database(url, clock=lambda: now)
    try:
        with db.read() as tx:
            tx.now()  # connected
        _together.wait(TOGETHER_S)
        with db.write() as tx:
            return advancing.advance_due(tx, policy=Policy(timezone=timezone), actor=SYSTEM)
    finally:
        db.dispose()


def race(url: str, now: datetime, timezone: str) -> list[tuple]:
    """What each of the two has booked, as ``advance_due`` tells it."""
    futures = [_both().submit(_book, url, now, timezone) for _ in range(2)]
    return [f.result(2 * TOGETHER_S) for f in futures]
