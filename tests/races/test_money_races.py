"""Refunds, transfers, settlements and retried writes that race from several processes (rule 24)."""

from collections import Counter
from datetime import timedelta

import sqlalchemy as sa

from jhub_usage.actions import admissions, sessions, wallets
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store import catalog
from jhub_usage.store import tables as t

from . import work
from .conftest import ask


def running(race, count):
    """Ids of sessions that began an hour ago, and now."""
    asks = [ask(f"p{n}") for n in range(count)]
    with race.db.write() as tx:
        admissions.admit_many(
            tx, asks, policy=work.POLICY, cache=catalog.CatalogCache(), actor=SYSTEM
        )
        now = tx.now()
        for asked in asks:
            begin = Sighting(
                asked.session_id, "started", now - timedelta(hours=1), "start_returned"
            )
            sessions.record(tx, begin, policy=work.POLICY, actor=SYSTEM)
    return [a.session_id for a in asks], now


def charge(race):
    """A wallet and a charge of 4 credits on it."""
    wallet = race.wallet("lab", 10, profile="lab")
    (session_id,), now = running(race, 1)
    with race.db.write() as tx:
        ended = Sighting(session_id, "ended", now, "post_stop_hook", "stopped")
        sessions.record(tx, ended, policy=work.POLICY, actor=SYSTEM)
        entry = tx.scalar(sa.select(t.entries.c.id).where(t.entries.c.kind == "charge"))
    assert race.balance(wallet) == 6_000_000
    return wallet, entry


def test_refunds_never_exceed_the_charge(race):
    wallet, entry = charge(race)
    done = race.run(*[(work.move, "refund", (entry, 1_500_000), 3)] * 4)
    assert Counter(x for part in done for x in part) == {"done": 2, "conflict": 10}
    assert race.balance(wallet) == 9_000_000
    race.check()


def test_the_whole_charge_is_given_back_once(race):
    wallet, entry = charge(race)
    done = race.run(*[(work.move, "refund", (entry, None), 2)] * 4)
    assert Counter(x for part in done for x in part)["done"] == 1
    assert race.balance(wallet) == 10_000_000
    race.check()


def test_transfers_never_overdraw(race):
    a, b = race.wallet("a", 10), race.wallet("b", 0)
    done = race.run(*[(work.move, "transfer", (a, b, 3_000_000), 3)] * 4)
    assert Counter(x for part in done for x in part) == {"done": 3, "conflict": 9}
    assert (race.balance(a), race.balance(b)) == (1_000_000, 9_000_000)
    race.check()


def test_transfers_in_both_directions_do_not_lock_each_other_out(race):
    a, b = race.wallet("a", 50), race.wallet("b", 50)
    there = (work.move, "transfer", (a, b, 1_000_000), 6)
    back = (work.move, "transfer", (b, a, 1_000_000), 6)
    done = race.run(there, back, there, back)
    assert Counter(x for part in done for x in part) == {"done": 24}
    assert (race.balance(a), race.balance(b)) == (50_000_000, 50_000_000)
    race.check()


def test_two_who_settle_and_end_the_same_sessions_charge_them_once(race):
    wallet = race.wallet("lab", 100, profile="lab")
    ids, now = running(race, 8)
    race.run((work.end, ids, now), (work.end, ids, now), (work.end, ids[::-1], now))
    with race.db.read() as tx:
        kinds = tx.execute(sa.select(t.entries.c.kind, sa.func.sum(t.entries.c.amount_micro),
                                     sa.func.count()).group_by(t.entries.c.kind))  # fmt: skip
        found = {kind: (int(total), number) for kind, total, number in kinds}
    assert found["charge"] == (-8 * 4_000_000, 8)
    assert race.balance(wallet) == 68_000_000
    race.check()


def test_a_clients_retry_that_overtakes_is_done_once(race):
    wallet = race.wallet("lab", 0)
    answers = race.run(*[(work.grant_by_key, wallet, "the-key")] * 4)
    assert answers == [answers[0]] * 4 and answers[0]["id"]
    assert race.balance(wallet) == 1_000_000
    race.check()


def test_a_wallets_last_credit_is_given_to_a_transfer_or_to_a_start(race):
    """A transfer locks the wallet, an admission too: never both."""
    a, b = race.wallet("a", 1, profile="lab"), race.wallet("b", 0)
    asks = [[ask(f"p{n}")] for n in range(4)]
    decisions, moved = race.run((work.admit, asks), (work.move, "transfer", (a, b, 1_000_000), 2))
    admitted = sum(d.may_start for d in decisions)
    assert admitted + moved.count("done") == 1
    with race.db.read() as tx:
        assert wallets.find(tx, "a").balance_micro == (1_000_000 if admitted else 0)
    race.check()
