"""One service of a hub does the periodic work; another takes over when it is gone."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from jhub_usage.actions import leases
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.store.engine import Database


@pytest.fixture
def clock():
    return [datetime(2026, 3, 1, tzinfo=UTC)]


@pytest.fixture
def db(db_url, clock):
    made = Database(db_url, clock=lambda: clock[0])
    made.upgrade()
    yield made
    made.dispose()


def test_one_leads_and_another_takes_over_when_it_is_gone(db, clock):
    def hold(me: str) -> bool:
        with db.write() as tx:
            return leases.hold(tx, "loops:hub", me, 60, actor=SYSTEM)

    writes = []
    event.listen(
        db.engine,
        "before_cursor_execute",
        lambda c, cur, text, *rest: writes.append(text) if "jhub_usage_leases SET" in text else 0,
    )
    assert hold("a") and hold("a") and not hold("b")
    assert not writes
    clock[0] += timedelta(seconds=40)
    assert hold("a") and len(writes) == 1
    clock[0] += timedelta(seconds=59)
    assert not hold("b")
    clock[0] += timedelta(seconds=1)
    assert hold("b") and not hold("a")
    # another hub's work is its own
    with db.write() as tx:
        assert leases.hold(tx, "loops:other", "a", 60, actor=SYSTEM)
        assert leases.holder(tx, "loops:hub") == "b"


def test_a_clock_that_was_ahead_for_a_while_leaves_no_lease_for_ten_years(db, clock):
    """Who leads wrote 2036 down and is gone: another takes over when the clock is right again."""

    def hold(me: str) -> bool:
        with db.write() as tx:
            return leases.hold(tx, "loops:hub", me, 60, actor=SYSTEM)

    right = clock[0]
    assert hold("a")
    clock[0] = datetime(2036, 3, 1, tzinfo=UTC)
    assert hold("a")
    clock[0] = right + timedelta(minutes=2)
    with db.read() as tx:
        assert leases.holder(tx, "loops:hub") == "a"
    assert hold("b") and not hold("a")
    clock[0] += timedelta(seconds=60)
    assert hold("a")
    # the one that stays writes down anew when its time is over
    clock[0] = datetime(2036, 3, 1, tzinfo=UTC)
    assert hold("a")
    clock[0] = right + timedelta(minutes=5)
    assert hold("a") and not hold("b")
    clock[0] += timedelta(seconds=60)
    assert hold("b")
