"""What the processes run that race at a boundary. All begin at one instant."""

import functools
from unittest import mock

import sqlalchemy as sa

from jhub_usage.actions import advancing, wallets
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.errors import DatabaseUnavailable
from jhub_usage.store import wallets as wallet_rows

from . import work


def advance(url, times, start_at) -> int:
    """The service's pass, over and over; the entries that this process booked."""

    def one():
        after_id, entries = 0, 0
        while True:
            after_id, _, booked, late = work._with_retries(
                url,
                functools.partial(
                    advancing.advance_due, after_id=after_id, policy=work.POLICY, actor=SYSTEM
                ),
            )
            assert not late
            entries += booked
            if not after_id:
                return entries

    return sum(work._at_once(start_at, [one] * times))


def grant(url, wallet_ids, start_at) -> None:
    """A credit for each wallet, in an order of this process's own."""
    jobs = [
        functools.partial(
            work._with_retries, url,
            functools.partial(wallets.grant, wallet_id=wallet_id, amount_micro=10**6,
                              policy=work.POLICY, actor=SYSTEM),
        )
        for wallet_id in wallet_ids
    ]  # fmt: skip
    work._at_once(start_at, jobs)


# -- the broken copy ------------------------------------------------------------------------------


def advance_unlocked(url, times, start_at) -> list[str]:
    """The same pass, by those who read the wallets and do not lock them; what came of each."""

    def once():
        try:
            with work.database(url).write() as tx:
                advancing.advance_due(tx, policy=work.POLICY, actor=SYSTEM)
        except sa.exc.IntegrityError as error:
            return type(error).__name__
        except DatabaseUnavailable:
            return "unavailable"
        return "done"

    with mock.patch.object(wallet_rows, "lock", wallet_rows.read):
        return work._at_once(start_at, [once] * times)
