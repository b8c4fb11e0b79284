"""What processes run that give back at one instant: by filter, for maintenance, by hand."""

import functools
import time

from jhub_usage.actions import corrections, maintenance, refunds, wallets
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.errors import UsageError
from jhub_usage.domain.refunds import Filter

from . import work


def _came_of(url, act) -> str:
    try:
        work._with_retries(url, act)
    except UsageError as error:
        return error.code
    return "done"


def _at(start_at) -> None:
    time.sleep(max(0, start_at - time.time()))


def by_filters(url, filters, key, start_at) -> list[str]:
    """Give back by each filter; the same key again is the same batch."""
    _at(start_at)

    def give(tx, asked):
        refunds.refund(
            tx, asked, note="test", policy=work.POLICY, actor=SYSTEM, hub_id="hub",
            key=key or None,
        )  # fmt: skip

    return [_came_of(url, functools.partial(give, asked=Filter(**asked))) for asked in filters]


def by_maintenance(url, times, start_at) -> list[str]:
    """Apply what is due, some sessions at a time."""
    _at(start_at)
    return [
        _came_of(url, lambda tx: maintenance.apply_due(
            tx, policy=work.POLICY, actor=SYSTEM, limit=3))
        for _ in range(times)
    ]  # fmt: skip


def cancel(url, maintenance_id, start_at) -> str:
    _at(start_at)
    return _came_of(url, lambda tx: maintenance.cancel(tx, maintenance_id, actor=SYSTEM))


def by_hand(url, session_ids, entry_ids, start_at) -> list[str]:
    """Waive sessions and refund charges, one by one."""
    _at(start_at)
    came_of = []
    for session_id in session_ids:
        came_of.append(_came_of(url, lambda tx, i=session_id: refunds.waive(
            tx, i, note="test", policy=work.POLICY, actor=SYSTEM)))  # fmt: skip
    for entry_id in entry_ids:
        came_of.append(_came_of(url, lambda tx, i=entry_id: wallets.refund(
            tx, i, 700_000, policy=work.POLICY, actor=SYSTEM)))  # fmt: skip
    return came_of


def by_boundaries(url, session_ids, ends, start_at) -> list[str]:
    """Say of each session in turn that it ended otherwise."""
    _at(start_at)
    return [
        _came_of(url, lambda tx, i=session_id, at=ended_at: corrections.correct_boundaries(
            tx, i, ended_at=at, note="test", policy=work.POLICY, actor=SYSTEM))
        for ended_at in ends
        for session_id in session_ids
    ]  # fmt: skip
