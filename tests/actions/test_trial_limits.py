"""Limits tried on a month that was: the same refusals as if they had been in force in it."""

import os
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jhub_usage.actions import corrections, limits, trials
from jhub_usage.domain import period_limits
from jhub_usage.domain.admission import Policy
from jhub_usage.domain.limits import Limit

from .world import CPU, ONE_GPU, POLICY, World

BEGIN = datetime(2026, 9, 27, 6, tzinfo=UTC)  # a Sunday: the week goes on into October
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
HOURS = 3_600_000
PEOPLE = {"ada": ("vision",), "bob": ("vision", "speech"), "cleo": (), "dan": ("speech",)}


def a_life(chosen: random.Random) -> list[tuple]:
    """(instant, verb, number of the session, what more is told) of six weeks, in order."""
    told, at = [], BEGIN
    for number in range(chosen.randrange(30, 70)):
        # never two at one instant: which came first is not kept
        at += timedelta(microseconds=1)
        at += timedelta(seconds=chosen.choice((0, 1, 600, 20_000, 60_000)) * chosen.random())
        shape = chosen.choice((ONE_GPU, CPU))
        told.append((at, "ask", number, (chosen.choice(sorted(PEOPLE)), shape)))
        lasts = timedelta(seconds=chosen.choice((0, 500, 5_000, 30_000, 400_000)))
        if chosen.random() < 0.85:
            begun = at + timedelta(seconds=chosen.choice((0, 0, 30, 300)))
            told.append((begun, "started", number, ()))
            told.append((begun + lasts, "ended", number, ()))
    return sorted(told, key=lambda x: (x[0], x[2]))


def some_limits(chosen: random.Random, wallet_id: int) -> list[Limit]:
    def one(number: int) -> Limit:
        resource = chosen.choice(("gpu_hours", "core_hours", "credits", "gpus", "servers"))
        hours = chosen.choice((0, 1, 3, 10, 40))
        amount, period = hours * HOURS, chosen.choice(("day", "week", "month"))
        if resource == "credits":
            amount = hours * 4_000_000
        elif resource in ("gpus", "servers"):
            amount, period = {"gpus": 1000, "servers": 2}[resource], ""
        whom = chosen.choice(
            ({"subject": "person", "person": chosen.choice(("*", "ada"))},
             {"subject": "group", "group": "vision"},
             {"subject": "group", "group": "speech", "each": True},
             {"subject": "wallet", "wallet_id": wallet_id},
             {"subject": "wallet_person", "wallet_id": wallet_id, "person": "*"})
        )  # fmt: skip
        return Limit(resource=resource, amount=amount, period=period, id=number, **whom)

    made = [one(number) for number in range(1, chosen.randrange(2, 5))]
    return list({replace(x, id=0, amount=0): x for x in made}.values())


def lived(world, life, policy, wanted=()) -> tuple[dict[int, str], set[int]]:
    """Live it: (ids of sessions by number, numbers that were refused and did not run).

    The limits come with October.
    """
    ids, refused = {}, set()
    for at, verb, number, more in life:
        if at >= OCTOBER and wanted:
            world.now = OCTOBER
            wanted = [world.act(limits.add, x) for x in wanted] and ()
        world.now = at
        if verb == "ask":
            who, shape = more
            asked = world.ask(who, f"s{number}", shape, groups=PEOPLE[who])
            decision = world.admit(asked, policy=policy)
            ids[number] = decision.session_id
            if not decision.may_start:
                assert decision.reason.code == "limit", decision.reason
                refused.add(number)
        elif number not in refused:
            world.tell(ids[number], verb, **({"reason": "stopped"} if verb == "ended" else {}))
    return ids, refused


@pytest.mark.parametrize("number", range(6))
def test_as_if_they_had_been_in_force(tmp_path, number):
    """The same life twice: without limits, where they are tried afterwards, and under them."""
    seed = int(os.environ.get("JHUB_USAGE_TEST_SEED") or random.randrange(2**32))
    print(f"repeat with JHUB_USAGE_TEST_SEED={seed}")  # noqa: T201
    chosen = random.Random(seed + number)
    policy = Policy(warn_lead_s=chosen.choice((0, 600)))
    life = a_life(chosen)
    free, bound = (World(f"sqlite:///{tmp_path / name}") for name in ("free", "bound"))
    try:
        free.now = bound.now = BEGIN
        lab, same = (w.wallet("lab", 10**6, pays_for="*") for w in (free, bound))
        assert lab == same
        wanted = some_limits(chosen, lab)
        ids, nobody = lived(free, life, policy)
        assert not nobody
        _, refused = lived(bound, life, policy, wanted)
        free.now = max(at for at, *_ in life) + timedelta(days=1)
        tried = free.look(trials.month, "2026-10", policy=policy, limits=wanted)
        assert tried.starts == sum(at >= OCTOBER for at, verb, *_ in life if verb == "ask")
        assert {s.session_id for s, _ in tried.refused} == {ids[n] for n in refused}
    finally:
        free.close()
        bound.close()


def test_it_is_the_rule_of_admission_that_is_tried(world, monkeypatch):
    world.now = datetime(2026, 10, 5, tzinfo=UTC)
    lab = world.wallet("lab", 1000, pays_for="*")
    first = world.run("ada")
    world.wait(minutes=60 * 5)
    world.end(first)
    second = world.run("ada", "b")
    world.wait(minutes=60 * 30)
    world.end(second)
    third = world.run("bob", "c", shape=CPU)
    world.wait(minutes=1)
    held = [Limit("wallet", "gpu_hours", 5 * HOURS, wallet_id=lab, period="month", id=3)]
    ((start, breach),) = world.look(trials.month, "2026-10", limits=held).refused
    assert start.session_id == second
    assert (breach.limit.id, breach.used, breach.asked, breach.of.label) == (
        3, 5 * HOURS, HOURS // 4, "2026-10",
    )  # fmt: skip
    # a corrected session counts as it is now
    early = datetime(2026, 10, 5, 2, tzinfo=UTC)
    world.act(corrections.correct_boundaries, first, ended_at=early, note="idle", policy=POLICY)
    assert world.look(trials.month, "2026-10", limits=held).refused == ()
    cores = [Limit("person", "core_hours", 0, person="bob", period="day", id=4)]
    ((start, _),) = world.look(trials.month, "2026-10", limits=cores).refused
    assert start.session_id == third
    monkeypatch.setattr(period_limits, "breaches", lambda *_: [])
    assert world.look(trials.month, "2026-10", limits=cores).refused == ()


def test_a_week_that_began_in_the_month_before(world):
    world.now = datetime(2026, 9, 29, tzinfo=UTC)
    world.wallet("lab", 1000, pays_for="*")
    before = world.run("ada")
    world.wait(minutes=60 * 3)
    world.end(before)
    world.now = datetime(2026, 10, 1, 9, tzinfo=UTC)
    after = world.run("ada", "b")
    world.wait(minutes=1)
    week = [Limit("person", "gpu_hours", 3 * HOURS, person="*", period="week", id=1)]
    found = world.look(trials.month, "2026-10", limits=week).refused
    assert [(s.session_id, b.of.label) for s, b in found] == [(after, "2026-W40")]
    month = [replace(week[0], period="month")]
    assert world.look(trials.month, "2026-10", limits=month).refused == ()
