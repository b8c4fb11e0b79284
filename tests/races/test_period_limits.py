"""Limits per period under races: of any number of starts that one lets k of, exactly k begin.

Also while servers end meanwhile, whose use must be seen as open or as counted, once.
"""

import functools
from collections import Counter
from datetime import timedelta

import pytest

from jhub_usage.actions import admissions, hubs, sessions
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.sessions import STOP_MARGIN_S
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store import catalog

from . import work
from .conftest import ask

K, N = 5, 36
#: A quarter of an hour of one GPU, which each start takes at least; and of one core.
QUARTER = 900_000


def outcome(decisions):
    return Counter((d.decision, d.reason.code) for d in decisions)


def midday(race):
    """Let it be about noon where midnights are counted, so that no period ends meanwhile."""
    with race.db.write() as tx:
        ahead = 12 - tx.now().hour
        hubs.install(tx, "hub", actor=SYSTEM, timezone=f"Etc/GMT{-ahead:+d}" if ahead else "UTC")


@pytest.fixture
def noon(race):
    midday(race)
    return race


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("resource", ["gpu_hours", "core_hours"])
def test_a_persons_hours_over_two_wallets(noon, batch, resource):
    noon.wallet("a", 1000, profile="a")
    noon.wallet("b", 1000, profile="b")
    noon.limit(Limit("person", resource, K * QUARTER, person="*", period="day"))
    asks = [ask(person, profile="ab"[n % 2]) for n in range(N // 2) for person in ("ada", "ada2")]
    decisions = noon.admit(asks, batch=batch)
    assert outcome(decisions) == {("admitted", "ok"): 2 * K, ("refused", "limit"): N - 2 * K}
    noon.check()


@pytest.mark.parametrize("each", [False, True])
def test_a_groups_hours(noon, each):
    noon.wallet("a", 1000, profile="a")
    noon.wallet("b", 1000, profile="b")
    limit = Limit("group", "gpu_hours", K * QUARTER, group="lab", each=each, period="week")
    noon.limit(limit)
    asks = [
        ask(f"p{n % 3}", profile="ab"[n % 2], groups=("lab", "all") if n % 4 else ("lab",))
        for n in range(N)
    ]
    others = [ask("guest", profile="a", groups=("lab2",)) for _ in range(4)]
    decisions = noon.admit(asks + others)
    k = 3 * K if each else K
    assert outcome(decisions) == {("admitted", "ok"): k + 4, ("refused", "limit"): N - k}
    noon.check()


def test_a_members_share_in_credits(noon):
    lab = noon.wallet("lab", 1000, profile="lab")
    noon.limit(Limit("wallet_person", "credits", K * 10**6, person="ada", wallet_id=lab,
                     period="month"))  # fmt: skip
    decisions = noon.admit([ask(person) for _ in range(N // 2) for person in ("ada", "bob")])
    k = K + N // 2
    assert outcome(decisions) == {("admitted", "ok"): k, ("refused", "limit"): N - k}
    noon.check()


def run_before(race, count):
    """Servers that ran for two hours until the Hub stopped them, and are still there."""
    asks = [ask(f"p{n}", profile="before", groups=("lab",)) for n in range(count)]
    with race.db.write() as tx:
        admissions.admit_many(
            tx, asks, policy=work.POLICY, cache=catalog.CatalogCache(), actor=SYSTEM
        )
        now = tx.now()
        for asked in asks:
            for kind, ago_s in (("started", 7200), ("stop_accepted", STOP_MARGIN_S)):
                told = Sighting(asked.session_id, kind, now - timedelta(seconds=ago_s), "test")
                sessions.record(tx, told, policy=work.POLICY, actor=SYSTEM)
    return [a.session_id for a in asks], now


@pytest.mark.parametrize("attempt", range(3))
def test_servers_that_end_meanwhile_are_seen_once(noon, attempt):
    """Open or counted, they used two hours each. A start that saw one as neither would be one too
    many, and one that saw it as both would be refused although it fits."""
    noon.wallet("before", 10_000, profile="before")
    noon.wallet("lab", 10_000, profile="lab")
    found = ending_meanwhile(noon)
    assert found == {("admitted", "ok"): K, ("refused", "limit"): 20}
    noon.check()


def ending_meanwhile(race, used_before=0, *, broken=""):
    """What becomes of starts of which K fit, while 16 servers end that used two hours each."""
    ids, now = run_before(race, 16)
    used = used_before + 16 * 8 * QUARTER
    race.limit(Limit("group", "gpu_hours", used + K * QUARTER, group="lab", period="day"))
    asks = [[ask(f"p{n}", groups=("lab",))] for n in range(K + 20)]
    admits = [(functools.partial(work.admit, broken=broken), asks[n::2]) for n in range(2)]
    *decided, _, _ = race.run(*admits, *((work.end, ids[n::2], now) for n in range(2)))
    return outcome([d for share in decided for d in share])


def test_a_broken_copy_is_caught(pg_race):
    """If this fails, the race above has lost its teeth."""
    midday(pg_race)
    pg_race.wallet("before", 100_000, profile="before")
    pg_race.wallet("lab", 10_000, profile="lab")
    for attempt in range(15):
        used_before = attempt * 16 * 8 * QUARTER
        admitted = ending_meanwhile(pg_race, used_before, broken="ended before open")
        if admitted["admitted", "ok"] > K:
            return
        pg_race.empty()
    pytest.fail("never more than were allowed")
