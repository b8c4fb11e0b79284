"""Of any number of simultaneous starts of which k are allowed, exactly k are admitted.

From several processes with several threads each, on both databases (rule 19). The broken copies in
`work` must be caught by the very same races.
"""

from collections import Counter

import pytest

from jhub_usage.domain.limits import Limit

from .conftest import ask

K, N = 5, 36


def outcome(decisions):
    return Counter((d.decision, d.reason.code) for d in decisions)


@pytest.mark.parametrize("batch", [1, 4])
def test_one_wallet_that_pays_for_k(race, batch):
    wallet = race.wallet("lab", K, profile="lab")
    decisions = race.admit([ask(f"p{n}") for n in range(N)], batch=batch)
    assert outcome(decisions) == {("admitted", "ok"): K, ("refused", "wallet"): N - K}
    assert race.open_sessions() == K
    assert race.balance(wallet) == K * 10**6  # nothing is charged before it is used
    race.check()


@pytest.mark.parametrize("batch", [1, 4])
def test_one_limit_for_everyone_over_many_wallets(race, batch):
    for n in range(6):
        race.wallet(f"w{n}", 1000, profile=f"lab{n}")
    race.limit(Limit("everyone", "gpus", K * 1000))
    decisions = race.admit([ask(f"p{n}", profile=f"lab{n % 6}") for n in range(N)], batch=batch)
    assert outcome(decisions) == {("admitted", "ok"): K, ("refused", "limit"): N - K}
    race.check()


def test_one_persons_limit_over_two_wallets(race):
    race.wallet("a", 1000, profile="a")
    race.wallet("b", 1000, profile="b")
    race.limit(Limit("person", "servers", K, person="*"))
    asks = [ask(person, profile="ab"[n % 2]) for n in range(N // 2) for person in ("ada", "ada2")]
    decisions = race.admit(asks)
    assert outcome(decisions) == {("admitted", "ok"): 2 * K, ("refused", "limit"): N - 2 * K}
    race.check()


@pytest.mark.parametrize("each", [False, True])
def test_a_groups_limit(race, each):
    race.wallet("a", 1000, profile="a")
    race.wallet("b", 1000, profile="b")
    race.limit(Limit("group", "gpus", K * 1000, group="lab", each=each))
    asks = [
        ask(f"p{n % 3}", profile="ab"[n % 2], groups=("lab", "all") if n % 4 else ("lab",))
        for n in range(N)
    ]
    others = [ask("guest", profile="a", groups=("lab2",)) for _ in range(4)]
    decisions = race.admit(asks + others)
    k = 3 * K if each else K
    assert outcome(decisions) == {("admitted", "ok"): k + 4, ("refused", "limit"): N - k}
    race.check()


def test_a_first_start_opens_one_wallet_with_one_starting_grant(race):
    from jhub_usage.actions import rules
    from jhub_usage.domain.audit import SYSTEM
    from jhub_usage.domain.rules import Rule

    with race.db.write() as tx:
        rule = Rule(0, "personal", starting_grant_micro=K * 10**6, overdraft_micro=0)
        rules.replace(tx, [rule], actor=SYSTEM)
    decisions = race.admit([ask("ada", profile="x") for _ in range(12)])
    assert outcome(decisions) == {("admitted", "ok"): K, ("refused", "wallet"): 12 - K}
    assert {d.wallet_name for d in decisions} == {"~ada"}
    race.check()


BROKEN = [
    ("no gate", "limit"),
    ("sums in the locking statement", "wallet"),
]


@pytest.mark.parametrize(("broken", "what"), BROKEN)
def test_a_broken_copy_is_caught(pg_race, broken, what):
    """If this fails, the races above have lost their teeth."""
    for n in range(6):
        pg_race.wallet(f"w{n}", 1000, profile=f"lab{n}")
    pg_race.wallet("lab", K, profile="lab")
    if what == "limit":
        pg_race.limit(Limit("everyone", "gpus", K * 1000))
    for _ in range(15):
        profile = (lambda n: f"lab{n % 6}") if what == "limit" else (lambda n: "lab")
        asks = [ask(f"p{n}", profile=profile(n)) for n in range(N)]
        decisions = pg_race.admit(asks, broken=broken)
        admitted = outcome(decisions)["admitted", "ok"]
        assert admitted >= K
        if admitted > K:
            return
        pg_race.empty()
    pytest.fail(f"{broken}: never more than {K} were admitted")
