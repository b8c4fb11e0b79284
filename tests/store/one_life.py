"""One wallet's life on a database, run by whichever Python and SQLAlchemy calls it.

    python -m tests.store.one_life DATABASE_URL

Prints the versions and ``fine``. Needs nothing but the package and the standard library.
"""

import sys
import uuid
from datetime import UTC, datetime, timedelta

import sqlalchemy

from jhub_usage.actions import (
    admissions,
    check,
    hubs,
    listings,
    modes,
    rules,
    sessions,
    stops,
    views,
    wallets,
)
from jhub_usage.domain.admission import Ask, PersonKey, Policy
from jhub_usage.domain.audit import HOOK, SYSTEM
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store import migrate
from jhub_usage.store.catalog import CatalogCache
from jhub_usage.store.engine import Database

SHAPE = Shape(4000, 2**34, (Gpus("nvidia.com/gpu", "A100", 1),))


def live(url: str) -> str:
    """Install, admit until refused, run, charge, refund, stop, check; the server's name."""
    clock = [datetime(2026, 3, 1, tzinfo=UTC)]
    db = Database(url, clock=lambda: clock[0])
    policy, cache = Policy(), CatalogCache()

    def act(action, *args, actor=SYSTEM, **more):
        with db.write() as tx:
            return action(tx, *args, actor=actor, **more)

    db.upgrade()
    migrate.downgrade(db, "base")
    db.upgrade()
    db.check_schema()
    act(hubs.install, "hub")
    act(modes.set_mode, "enforce")
    wallet = act(wallets.create, "lab")
    act(rules.replace, [Rule(0, "wallet", wallet)])
    act(wallets.grant, wallet, 3_000_000, policy=policy)
    asks = [
        Ask(str(uuid.uuid4()), "hub", PersonKey(f"p{i}", i, clock[0]), "", "gpu", SHAPE)
        for i in range(5)
    ]
    decided = act(admissions.admit_many, asks, policy=policy, cache=cache, actor=HOOK)
    assert [d.decision for d in decided] == ["admitted"] * 3 + ["refused"] * 2
    first = asks[0].session_id
    for ask in asks[1:3]:
        void = Sighting(ask.session_id, "void", clock[0], "cancelled", "cancelled")
        act(sessions.record, void, policy=policy)
    act(sessions.record, Sighting(first, "started", clock[0], "start_returned"), policy=policy)
    clock[0] += timedelta(minutes=40)
    plan = act(stops.plan, "hub", policy=policy)
    assert plan.warned == (first,), plan
    clock[0] += timedelta(minutes=10)
    (order,) = act(stops.plan, "hub", policy=policy).orders
    assert act(stops.confirm, order.session_id, policy=policy)
    act(sessions.record, Sighting(first, "ended", clock[0], "post_stop_hook"), policy=policy)
    with db.read() as tx:
        (charge,) = [e for e in listings.entries(tx) if e["kind"] == "charge"]
        # 50 minutes at 4 credits per hour
        assert charge["amount_micro"] == -(4_000_000 * 50 // 60), charge
    act(wallets.refund, charge["id"], None, policy=policy)
    with db.read() as tx:
        assert not [v for c in check.check(tx) for v in c.violations]
        (view,) = views.wallet_views(tx)
        assert view.balance_micro == 3_000_000
        name = "SQLite"
        if tx.postgres:
            name = "PostgreSQL " + tx.conn.exec_driver_sql("SHOW server_version").scalar()
    db.dispose()
    return name


if __name__ == "__main__":
    server = live(sys.argv[1])
    sys.stdout.write(f"fine: SQLAlchemy {sqlalchemy.__version__} on {server}\n")
