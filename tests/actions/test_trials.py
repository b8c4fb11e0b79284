"""A month tried again: unchanged it is the ledger that was, to the micro-credit."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from jhub_usage.actions import advancing, allowances, limits, rates, trials, wallets
from jhub_usage.domain import trial
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.errors import BadInput
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.rates import Rate
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.shapes import Gpus, Shape

from .world import CPU, ONE_GPU, POLICY

TWO = Shape(8000, 2**35, (Gpus("nvidia.com/gpu", "T4", 2),))
SHAPES = {"gpu": ONE_GPU, "cpu": CPU, "two": TWO}
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
PEOPLE = ("ada", "bob", "cleo")


def advance(world):
    world.act(advancing.advance_due, policy=POLICY)


def lab_of_october(world, chosen):
    """A lab from September to November, with everything that money can do to it."""
    world.now = datetime(2026, 9, 20, 7, tzinfo=UTC)
    lab = world.wallet("lab", 4000, pays_for="ada")
    team = world.wallet("team", 2000, pays_for="*")
    for wallet_id, period, carry in ((lab, "month", 20), (team, "week", 0)):
        allowance = Allowance(90_000_000, period, carry * 10**6)
        world.act(allowances.set_allowance, wallet_id, allowance, policy=POLICY)
    world.act(rates.add, "start", 123_457)
    world.act(rates.add, "cpu", 10_007)
    running = {}
    while world.now < datetime(2026, 11, 4, tzinfo=UTC):
        world.wait(minutes=chosen.randrange(1, 400), seconds=chosen.randrange(60))
        act = chosen.randrange(12)
        if act < 4:
            who, name = chosen.choice(PEOPLE), chosen.choice(sorted(SHAPES))
            asked = world.ask(who, str(chosen.randrange(3)), SHAPES[name], profile=name)
            decision = world.admit(asked)
            if decision.may_start:
                world.wait(seconds=chosen.randrange(90))
                world.tell(decision.session_id, "started")
                running[decision.session_id] = who
        elif act < 8 and running:
            session_id = chosen.choice(list(running))
            del running[session_id]
            world.end(session_id, at=world.now - timedelta(seconds=chosen.randrange(100)))
        elif act == 8:
            wallet_id = chosen.choice((lab, team))
            world.act(wallets.grant, wallet_id, chosen.randrange(1, 10**8), policy=POLICY)
        elif act == 9:
            charges = [e for e in world.entries(limit=50) if e["kind"] == "charge"]
            if charges:
                e = chosen.choice(charges)
                half = max(1, -e["amount_micro"] // 2)
                try:
                    world.act(wallets.refund, e["id"], half, policy=POLICY)
                except wallets.Conflict:
                    pass  # given back already
        elif act == 10:
            advance(world)
        elif OCTOBER.month == world.now.month:
            amount = chosen.randrange(10**6, 10**8)
            world.act(
                allowances.set_allowance, team, Allowance(amount, "week", None), policy=POLICY,
                begin_now=bool(chosen.randrange(2)),
            )  # fmt: skip
    advance(world)
    return lab, team


@pytest.mark.parametrize("number", range(3))
def test_unchanged_it_is_the_ledger_that_was(world, number):
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    lab_of_october(world, random.Random(seed))
    tried = world.look(trials.month, "2026-10")
    assert tried.differing == ()
    assert sum(w.charged_micro for w in tried.wallets) > 0
    for w in tried.wallets:
        assert w.balance_micro == w.tried_balance_micro, w
    # the same rates, said again, change nothing either
    again = world.look(trials.month, "2026-10", rates=[])
    assert again.differing == () and again.wallets == tried.wallets


def test_a_replay_that_skips_a_boundary_is_noticed(world, monkeypatch):
    lab_of_october(world, random.Random(7))
    right = trial.advance

    def wrong(wallet, meters, now, calendar):
        ahead = right(wallet, meters, now, calendar)
        return ahead if not ahead.due else type(ahead)(
            ahead.wallet, ahead.meters, ahead.due[:-1], ahead.first_at
        )  # fmt: skip

    monkeypatch.setattr(trial, "advance", wrong)
    assert world.look(trials.month, "2026-10").differing != ()


def test_other_rates(world):
    """What a GPU costs is doubled: so is the part that GPUs were of the month."""
    world.now = datetime(2026, 9, 30, 22, tzinfo=UTC)
    lab = world.wallet("lab", 100, pays_for="*")
    session_id = world.run("ada")
    world.wait(minutes=4 * 60)
    world.end(session_id)
    world.run("bob", shape=CPU)
    tried = world.look(
        trials.month,
        "2026-10",
        rates=[Rate("gpu", "", "", 8_000_000, datetime(2020, 1, 1, tzinfo=UTC))],
    )
    (row,) = tried.wallets
    assert (row.wallet_id, row.charged_micro, row.tried_micro) == (lab, 8_000_000, 16_000_000)
    assert row.balance_micro - row.tried_balance_micro == 8_000_000
    assert tried.people == (("ada", 8_000_000, 16_000_000),)
    assert [d[0] for d in tried.differing] == [session_id]


def test_whom_another_limit_would_have_refused(world):
    world.now = OCTOBER
    world.wallet("lab", 1000, pays_for="*")
    first = world.run("ada", "a")
    world.wait(minutes=1)
    second = world.run("ada", "b")
    world.wait(minutes=1)
    third = world.run("bob")
    world.wait(minutes=10)
    world.end(first)
    fourth = world.run("ada", "c")
    world.wait(minutes=60 * 24 * 40)
    held = [Limit("person", "gpus", 1000, person="*", id=7)]
    tried = world.look(trials.month, "2026-10", limits=held)
    # the second would not have run, so the fourth had room
    assert [(s.session_id, b.limit.id, b.used) for s, b in tried.refused] == [(second, 7, 1000)]
    tried = world.look(trials.month, "2026-10", limits=[Limit("everyone", "servers", 1, id=8)])
    assert [s.session_id for s, _ in tried.refused] == [second, third]
    assert fourth not in {s.session_id for s, _ in tried.refused}
    assert world.look(trials.month, "2026-10", limits=[]).refused == ()
    assert tried.starts == 4


def test_the_limit_that_is_in_force_refuses_nobody_again(world):
    world.now = OCTOBER
    world.wallet("lab", 1000, pays_for="*")
    held = Limit("everyone", "gpus", 2000)
    world.act(limits.add, held)
    for name in ("ada", "bob", "cleo", "eve"):
        decision = world.admit(world.ask(name))
        if decision.may_start:
            world.tell(decision.session_id, "started")
    world.wait(minutes=1)
    tried = world.look(trials.month, "2026-10", limits=[held])
    assert tried.refused == () and tried.starts == 2


def test_who_would_have_paid(world):
    world.now = OCTOBER
    lab = world.wallet("lab", 100, pays_for="*")
    other = world.wallet("other", 100)
    mine = world.run("ada")
    chosen = world.run("bob", groups=("vision",))
    world.wait(minutes=1)
    found = world.look(trials.month, "2026-10", rules=[Rule(0, "wallet", other, group="vision"),
                                                       Rule(1, "wallet", lab)])  # fmt: skip
    assert [(s.session_id, a, b) for s, a, b in found.moved] == [(chosen, "lab", "other")]
    found = world.look(trials.month, "2026-10", rules=[])
    assert {(s.session_id, b) for s, _, b in found.moved} == {(mine, ""), (chosen, "")}


def test_no_price_is_told(world):
    world.now = OCTOBER
    world.wallet("lab", 100, pays_for="*")
    session_id = world.run("ada")
    world.wait(minutes=60)
    world.end(session_id)
    ended = [Rate("gpu", "", "", None, datetime(2020, 1, 1, tzinfo=UTC))]
    assert world.look(trials.month, "2026-10", rates=ended).unpriced == (session_id,)


@pytest.mark.parametrize("label", ["2026-13", "2026-12", "1999-12", "9999-12", "0001-01"])
def test_only_a_month_that_has_begun(world, label):
    with pytest.raises(BadInput):
        world.look(trials.month, label, policy=POLICY)


def test_what_is_due_and_not_booked_yet_is_part_of_it(world):
    """The month ended a moment ago: nobody has cut what runs, nor turned the allowance."""
    world.now = datetime(2026, 10, 31, 20, tzinfo=UTC)
    lab = world.wallet("lab", 100, pays_for="*")
    world.act(allowances.set_allowance, lab, Allowance(10**6, "day"), policy=POLICY, begin_now=True)
    world.run("ada")
    world.now = datetime(2026, 11, 1, 5, tzinfo=UTC)
    tried = world.look(trials.month, "2026-10")
    (row,) = tried.wallets
    assert tried.same and row.charged_micro == row.tried_micro == 16_000_000
    advance(world)
    assert world.look(trials.month, "2026-10") == tried
    assert world.look(trials.month, "2026-11").same
