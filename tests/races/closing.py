"""What the processes run that race for the end of a month. All begin at one instant."""

import functools
import time

from jhub_usage.actions import corrections, months, sessions, wallets
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.errors import Conflict
from jhub_usage.domain.sightings import Sighting

from . import work

POLICY = work.POLICY


def _in_turn(url, start_at, jobs) -> int:
    time.sleep(max(0, start_at - time.time()))
    for job in jobs:
        work._with_retries(url, job)
    return len(jobs)


def end(url, ended, start_at) -> int:
    """Tell ends that lie in the month before: (session id, instant)."""

    def told(tx, session_id, at):
        sighting = Sighting(session_id, "ended", at, "post_stop_hook", "stopped")
        sessions.record(tx, sighting, policy=POLICY, actor=SYSTEM)

    return _in_turn(url, start_at, [functools.partial(told, session_id=i, at=x) for i, x in ended])


def correct(url, ended, start_at) -> int:
    """An operator who knows better when they ended."""

    def told(tx, session_id, at):
        corrections.correct_boundaries(
            tx, session_id, ended_at=at, note="race", policy=POLICY, actor=SYSTEM
        )

    return _in_turn(url, start_at, [functools.partial(told, session_id=i, at=x) for i, x in ended])


def refund(url, entry_ids, start_at) -> int:
    def give(tx, entry_id):
        wallets.refund(tx, entry_id, 1, policy=POLICY, actor=SYSTEM)

    return _in_turn(url, start_at, [functools.partial(give, entry_id=i) for i in entry_ids])


def close(url, label, start_at) -> str:
    """Close the month as soon as nothing is missing; when that was."""
    time.sleep(max(0, start_at - time.time()))

    def act(action, *args, **more):
        return work._with_retries(url, lambda tx: action(tx, *args, **more))

    for _ in range(200):
        try:
            months.prepare(act, policy=POLICY, actor=SYSTEM)
            return act(months.close, label, policy=POLICY, actor=SYSTEM).closed_at.isoformat()
        except Conflict:
            continue  # a session is just being told of
    raise AssertionError("the month was never closed")
