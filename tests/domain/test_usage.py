"""What a session used, cut anywhere, and what reports make of cores and nodes (rule 10)."""

import itertools
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from jhub_usage.domain.instants import HOUR_US, after
from jhub_usage.domain.periods import Calendar
from jhub_usage.domain.sessions import Meter
from jhub_usage.domain.usage import (
    NOTHING,
    NodeCores,
    Size,
    Summed,
    Used,
    decimal,
    hours,
    memory_hours,
    milli_hours,
    per_day,
    summed,
    used,
)

T0 = datetime(2026, 11, 20, 9, tzinfo=UTC)
SIZE = Size(gpu_milli=2000, cpu_milli=8000, memory_bytes=16 * 2**30)
RUNNING = Meter("s", 7_000_001, 250_000, 0, 0, T0, T0 + timedelta(minutes=7), billed_from_at=T0)
ENDED = replace(RUNNING, billed_until_at=T0 + timedelta(hours=3))


def hour(n):
    return T0 + timedelta(hours=n)


def test_the_example_of_the_rule():
    """8 cores and 2 GPUs for 3 h; 8 cores of a node of 32 for 3 h."""
    whole = used(ENDED, SIZE, hour(-1), hour(9))
    with_gpus = summed(whole, gpus=True, node_cores=32)
    assert milli_hours(with_gpus.used.gpu_us) == "6"
    assert milli_hours(with_gpus.total_core_us) == "24"
    assert milli_hours(with_gpus.total_node_us) == "0"
    without = summed(used(ENDED, replace(SIZE, gpu_milli=0), hour(-1), hour(9)), gpus=False,
                     node_cores=32)  # fmt: skip
    assert milli_hours(without.total_core_us) == "0"
    assert milli_hours(without.total_node_us) == "0.75"
    assert (hours(whole.elapsed_us), memory_hours(whole.memory_us)) == ("3", "48")


def test_gpus_that_weigh_nothing_are_gpus_all_the_same():
    """A share that a setting weighs 0: its cores stand beside a GPU, they are no part of a node."""
    found = summed(Used(1, 5, 0, 7), gpus=True, node_cores=0)
    assert (found.total_core_us, found.total_node_us) == (7, 0)


def test_nodes_whose_cores_are_not_known_are_told_as_such():
    cores = NodeCores({"big": 128}, 0)
    assert (cores.cores("big"), cores.cores("other"), NodeCores({}, 64).cores("any")) == (
        128,
        0,
        64,
    )
    known = summed(Used(cpu_us=128), gpus=False, node_cores=cores.cores("big"))
    unknown = summed(Used(cpu_us=128), gpus=False, node_cores=cores.cores("other"))
    assert known.total_node_us == 1
    assert unknown.total_node_us is None
    assert (known + unknown).total_node_us is None, "a sum with a part that nobody knows"
    assert (Summed() + unknown).total_node_us is None
    # what took no core takes no part of any node
    assert summed(Used(1, 5), gpus=False, node_cores=0).total_node_us == 0


@pytest.mark.parametrize(
    ("begin", "end", "starts", "span_h", "cost"),
    [
        (-5, 9, 1, 3, 250_000 + 21_000_003),
        (0, 3, 1, 3, 250_000 + 21_000_003),
        (0, 1, 1, 1, 250_000 + 7_000_001),  # the fee is due with the first billed instant
        (1, 2, 0, 1, 7_000_001),
        (2, 9, 0, 1, 7_000_001),
        (-5, 0, 0, 0, 0),
        (3, 9, 0, 0, 0),
    ],
)
def test_a_window_takes_what_lies_in_it(begin, end, starts, span_h, cost):
    span = span_h * HOUR_US
    expected = Used(starts, span, 2000 * span, 8000 * span, 16 * 1024 * span, cost)
    assert used(ENDED, SIZE, hour(begin), hour(end)) == expected


def test_what_still_runs_counts_up_to_the_end_of_the_window():
    assert used(RUNNING, SIZE, hour(1), hour(40)).elapsed_us == 39 * HOUR_US
    accepted = replace(RUNNING, pays_until_at=hour(2))
    assert used(accepted, SIZE, hour(1), hour(40)).elapsed_us == HOUR_US
    assert used(replace(RUNNING, billed_from_at=None), SIZE, hour(0), hour(40)) == NOTHING


def test_what_is_not_billed_is_used_all_the_same():
    found = used(replace(ENDED, billed=False), SIZE, hour(0), hour(3))
    assert (found.starts, found.cost_micro, found.gpu_us) == (1, 0, 2000 * 3 * HOUR_US)


def test_one_that_lasted_no_time_started_once_in_one_window():
    meter = replace(ENDED, billed_until_at=T0)
    assert used(meter, SIZE, hour(0), hour(1)) == Used(1, cost_micro=250_000)
    assert used(meter, SIZE, hour(-1), hour(0)) == NOTHING
    assert used(meter, SIZE, after(T0, 1), hour(1)) == NOTHING
    assert list(per_day(meter, SIZE, T0, Calendar())) == [
        ("2026-11-20", Used(1, cost_micro=250_000))
    ]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu",
                                  "Australia/Lord_Howe"])  # fmt: skip
def test_any_cutting_sums_to_the_whole(zone):
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    dice, calendar = random.Random(seed), Calendar.of(zone)
    for _ in range(30):
        begin = after(T0, dice.randrange(-400 * 24 * HOUR_US, 0))
        end = after(begin, dice.choice([0, 1, dice.randrange(90 * 24 * HOUR_US)]))
        meter = replace(RUNNING, per_hour_micro=dice.choice([0, 1, 999_999, 7_654_321]),
                        billed_from_at=begin, billed_until_at=end)  # fmt: skip
        whole = used(meter, SIZE, begin - timedelta(1), end + timedelta(1))
        assert (whole.starts, whole.cost_micro) == (1, meter.cost(end))
        days = list(per_day(meter, SIZE, end, calendar))
        assert sum((u for _, u in days), NOTHING) == whole
        assert len({d for d, _ in days}) == len(days)
        cuts = sorted({begin - timedelta(1), end + timedelta(1), begin, after(end, 1), end, *(
            after(begin, dice.randrange(0, max(1, 91 * 24 * HOUR_US))) for _ in range(6)
        )})  # fmt: skip
        parts = [used(meter, SIZE, a, b) for a, b in itertools.pairwise(cuts)]
        assert sum(parts, NOTHING) == whole


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(0), "0"),
        (Fraction(3), "3"),
        (Fraction(3, 4), "0.75"),
        (Fraction(1, 3), "0.333333"),
        (Fraction(2, 3), "0.666667"),
        (Fraction(1, 2_000_000), "0.000001"),
        (Fraction(1, 2_000_001), "0"),
        (Fraction(-1, 3), "-0.333333"),
        (Fraction(-1, 10**9), "0"),
        (Fraction(10**30 + 1, 10), "100000000000000000000000000000.1"),
    ],
)
def test_exact_numbers_as_decimals(value, text):
    assert decimal(value) == text
