"""What the processes run that tell metered events at the same time. All begin at one instant."""

import contextlib
import functools
from unittest import mock

from jhub_usage.actions import metered
from jhub_usage.domain.audit import Actor
from jhub_usage.store import wallets as wallet_rows

from . import work

#: Four tenths of a micro-credit.
PRICE = "0.0000004"
BY = Actor("service", "storage")


def tell(url, wallet_id, names, threads, start_at, *, broken="") -> list[int]:
    """Tell an event of each name, so many at once; what each charged."""

    def one(name):
        def act(tx):
            return metered.meter(
                tx, wallet_id, "tokens", 1, PRICE, key=name, policy=work.POLICY, actor=BY
            )

        return work._with_retries(url, act)["charged_micro"]

    def some(mine):
        return [one(name) for name in mine]

    with BROKEN[broken]():
        jobs = [functools.partial(some, names[n::threads]) for n in range(threads)]
        return [x for part in work._at_once(start_at, jobs) for x in part]


@contextlib.contextmanager
def no_lock():
    """The wallet is read and not locked."""
    with mock.patch.object(wallet_rows, "lock", wallet_rows.read):
        yield


BROKEN = {"": contextlib.nullcontext, "no lock": no_lock}
