"""Metered events that many tell at once: their sum is exact, and each counts once (rule 31)."""

import sqlalchemy as sa

from jhub_usage.store import tables as t

from . import metering

CREDIT = 10**6


def held(race) -> list[tuple[int, int]]:
    with race.db.read() as tx:
        return [tuple(r) for r in tx.execute(sa.select(
            t.metered.c.exact_pico, t.metered.c.charged_micro))]  # fmt: skip


def test_events_from_many_processes_sum_exactly(race):
    """120 events of 0.4 micro-credits are 48, whoever tells them in whichever order."""
    lab = race.wallet("lab", 1)
    calls = [(metering.tell, lab, [f"{p}-{n}" for n in range(30)], 3) for p in range(4)]
    charged = [x for part in race.run(*calls) for x in part]
    assert len(charged) == 120
    assert sum(charged) == 48
    assert set(charged) <= {0, 1}
    assert held(race) == [(48_000_000, 48)]
    assert race.balance(lab) == CREDIT - 48
    race.check()


def test_the_same_events_told_by_everybody_count_once(race):
    """Each process tells the same 15 events, in threads that overlap."""
    lab = race.wallet("lab", 1)
    names = [f"event {n}" for n in range(15)]
    done = race.run(*[(metering.tell, lab, names, 3)] * 4)
    assert held(race) == [(6_000_000, 6)]
    assert race.balance(lab) == CREDIT - 6
    # all were told the same of the same event
    assert [sorted(part) for part in done] == [[0] * 9 + [1] * 6] * 4
    race.check()


def test_without_the_lock_these_tests_would_notice(pg_race):
    lab = pg_race.wallet("lab", 1)
    for n in range(20):
        calls = [
            (metering.tell, lab, [f"{n}-{p}-{i}" for i in range(30)], 3) for p in range(4)
        ]  # fmt: skip
        try:
            pg_race.run(*calls, broken="no lock")
        except Exception:
            return  # two charges with one key, or two rows of one sum
        ((exact, charged),) = held(pg_race)
        if exact != (n + 1) * 48_000_000 or pg_race.balance(lab) != CREDIT - charged:
            return
    raise AssertionError("the broken copy did nothing wrong")
