"""Any order of moves against a plain model, with every invariant of `check` after each of them.

Two drivers of the same moves: hypothesis, which finds small stories, and a random walk, which
makes long ones. JHUB_USAGE_TEST_THOROUGH=1 looks much longer; JHUB_USAGE_TEST_SEED repeats a run
(each test prints its seed, which pytest shows when it fails).
"""

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from .machine import MOVES, PLACES, Money

THOROUGH = os.environ.get("JHUB_USAGE_TEST_THOROUGH", "") not in ("", "0")


# -- small stories --------------------------------------------------------------------------------


def machine_on(fresh):
    """The moves as rules of hypothesis."""

    class Machine(RuleBasedStateMachine):
        @initialize(place=st.sampled_from(PLACES))
        def begin(self, place):
            self.money = Money(fresh(), place)

        @invariant()
        def agree(self):
            self.money.compare()

        def teardown(self):
            if hasattr(self, "money"):
                self.money.close()

    for name, (_, takes) in MOVES.items():

        def move(self, name=name, **arguments):
            getattr(self.money, name)(**arguments)

        move.__name__ = name
        given = {k: st.sampled_from(v) for k, v in takes.items()}
        setattr(Machine, name, rule(**given)(move))
    return Machine


def search(fresh, chosen_seed, examples, steps):
    machine = seed(chosen_seed)(machine_on(fresh))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            phases=set(Phase) - {Phase.reuse, Phase.explain},
        ),
    )


def test_small_stories(sqlite_databases, chosen_seed):
    search(sqlite_databases, chosen_seed, *((500, 80) if THOROUGH else (12, 30)))


# -- long ones ------------------------------------------------------------------------------------


def walk(fresh, chosen_seed, steps):
    """One long story; what led to a failure is in its message."""
    choose, told = random.Random(chosen_seed), []
    place = choose.choice(PLACES)
    money = Money(fresh(), place)
    names = [name for name, (often, _) in MOVES.items() for _ in range(often)]
    try:
        for step in range(1, steps + 1):
            name = choose.choice(names)
            told.append((name, {k: choose.choice(v) for k, v in MOVES[name][1].items()}))
            getattr(money, name)(**told[-1][1])
            # sometimes nobody looks for a while
            if step == steps or choose.random() < 0.7:
                money.compare(whole=step == steps or choose.random() < 0.4)
    except Exception as error:
        story = "\n".join(f"{name}(**{arguments})" for name, arguments in told)
        raise AssertionError(f"{error!r}\nin {place[0]} after\n{story}") from error
    finally:
        money.close()


@pytest.mark.parametrize("number", range(60 if THOROUGH else 4))
def test_long_stories_on_sqlite(sqlite_databases, chosen_seed, number):
    walk(sqlite_databases, chosen_seed + number, 400 if THOROUGH else 120)


@pytest.mark.parametrize("number", range(20 if THOROUGH else 1))
def test_long_stories_on_postgresql(pg_databases, chosen_seed, number):
    walk(pg_databases, chosen_seed + 1000 + number, 300 if THOROUGH else 100)
