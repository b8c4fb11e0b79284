"""Who does a hub's periodic work: a row that lapses (rule 29). Two at once would be harmless.

Not a lock of the connection: those break behind a pooler, and outlive nothing that matters here.
"""

from datetime import timedelta

import sqlalchemy as sa

from ..domain.audit import Actor
from ..store import tables as t
from ..store.engine import Tx

_L = t.leases.c


def holder(tx: Tx, name: str) -> str | None:
    """Who holds a lease that has not lapsed."""
    row = tx.execute(sa.select(_L.holder, _L.until_at).where(_L.name == name)).one_or_none()
    return row.holder if row is not None and row.until_at > tx.now() else None


def hold(tx: Tx, name: str, me: str, ttl_s: float, *, actor: Actor) -> bool:
    """Take a free or lapsed lease, or keep one's own; False while somebody else holds it.

    Written at most twice within its time: nothing while more than half of it is left. One that
    reaches further than any lease was written by a clock that was ahead: it counts as lapsed.
    """
    lasts = timedelta(seconds=ttl_s)
    query = sa.select(_L.holder, _L.until_at).where(_L.name == name)
    row = tx.execute(query).one_or_none()
    now = tx.now()
    if row is not None and row.holder == me and lasts / 2 < row.until_at - now <= lasts:
        return True
    row = tx.execute(tx.lock(query)).one_or_none()
    now = tx.now()
    values = {"holder": me, "until_at": now + lasts}
    if row is None:
        # another one may have been first: the row that is there decides
        return bool(tx.insert_once(t.leases, {"name": name, **values})) or holder(tx, name) == me
    # another one may give it more time, and clocks differ by seconds
    if row.holder != me and timedelta() < row.until_at - now <= 10 * lasts:
        return False
    tx.execute(t.leases.update().where(_L.name == name).values(**values))
    return True
