"""Prices: which one applies, how lines make a quote, what a session costs (rules 4, 5, 30)."""

import itertools
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jhub_usage.domain.errors import BadInput, NoRate
from jhub_usage.domain.instants import HOUR_US
from jhub_usage.domain.rates import GIB, Rate, cost, current_rate, quote, require_rate
from jhub_usage.domain.shapes import Gpus, Shape

NOW = datetime(2026, 11, 20, tzinfo=UTC)
DAY = timedelta(days=1)


def rate(resource, price, model="", profile="", at=NOW, id=0):
    return Rate(resource, model, profile, price, at, id)


#: (what, rates, model and profile asked for, price)
PRECEDENCE = [
    ("general", [rate("gpu", 4)], "A100", "big", 4),
    ("model beats general", [rate("gpu", 4), rate("gpu", 7, "A100")], "A100", "big", 7),
    ("another model does not", [rate("gpu", 4), rate("gpu", 7, "A100")], "T4", "big", 4),
    ("profile beats model", [rate("gpu", 7, "A100"), rate("gpu", 2, "", "big")], "A100", "big", 2),
    ("both beat profile", [rate("gpu", 2, "", "big"), rate("gpu", 9, "A100", "big")],
     "A100", "big", 9),
    ("names are whole", [rate("gpu", 4), rate("gpu", 9, "A100-80")], "A100", "big", 4),
    ("profiles too", [rate("gpu", 4), rate("gpu", 9, "", "bigger")], "A100", "big", 4),
    ("not yet", [rate("gpu", 4), rate("gpu", 9, at=NOW + DAY)], "A100", "", 4),
    ("the newest", [rate("gpu", 4, at=NOW - DAY), rate("gpu", 5)], "A100", "", 5),
    ("NULL ends a rate and the general one goes on",
     [rate("gpu", 4, at=NOW - DAY), rate("gpu", 7, "A100", at=NOW - DAY),
      rate("gpu", None, "A100")],
     "A100", "", 4),
    ("NULL ends it for good", [rate("gpu", 4, at=NOW - DAY), rate("gpu", None)], "A100", "", None),
    ("and it can begin again", [rate("gpu", None, at=NOW - DAY), rate("gpu", 3)], "A100", "", 3),
    ("nothing", [], "A100", "", None),
]  # fmt: skip


@pytest.mark.parametrize(("story", "rates", "model", "profile", "price"), PRECEDENCE)
@pytest.mark.parametrize("backwards", [False, True])
def test_which_rate_applies(story, rates, model, profile, price, backwards):
    rates = rates[::-1] if backwards else rates
    found = current_rate(rates, "gpu", model, profile, NOW)
    assert (found and found.price_micro) == price, story


def test_a_quote_by_hand():
    rates = [
        rate("gpu", 4_000_000, id=1), rate("cpu", 50_000, id=2), rate("memory", 5_000, id=3),
        rate("start", 250_000, id=4),
    ]  # fmt: skip
    shape = Shape(8500, 64 * GIB, (Gpus("nvidia.com/gpu", "A100", 2),))
    made = quote(shape, "big", rates, NOW)
    assert made.per_hour_micro == 8_000_000 + 425_000 + 320_000
    assert made.start_fee_micro == 250_000
    assert [(x.resource, x.amount_micro, x.rate_id) for x in made.lines] == [
        ("gpu", 8_000_000, 1), ("cpu", 425_000, 2), ("memory", 320_000, 3), ("start", 250_000, 4),
    ]  # fmt: skip


@given(
    st.integers(0, 10**12), st.integers(0, 10**9), st.integers(0, 10**7),
    st.integers(0, 128_000), st.integers(0, 2**42), st.integers(0, 16), st.integers(1, 1000),
)  # fmt: skip
def test_lines_sum_to_the_quote(gpu, cpu, memory, milli, size, count, weight):
    shape = Shape(milli, size, (Gpus("nvidia.com/mig-1g.5gb", "A100", count, weight),))
    rates = [rate("gpu", gpu), rate("cpu", cpu), rate("memory", memory), rate("start", 7)]
    try:
        made = quote(shape, "", rates, NOW)
    except BadInput:
        return  # dearer than anything can be
    hourly = [x.amount_micro for x in made.lines if x.resource != "start"]
    assert sum(hourly) == made.per_hour_micro
    exact = (
        Fraction(gpu * count * weight, 1000)
        + Fraction(cpu * milli, 1000)
        + Fraction(memory * size, GIB)
    )
    assert 0 <= exact - made.per_hour_micro <= len(hourly)


def test_what_has_no_rate():
    gpus = Shape(0, 0, (Gpus("nvidia.com/gpu", "unknown", 1),))
    with pytest.raises(NoRate, match="unknown"):
        quote(gpus, "", [], NOW)
    with pytest.raises(NoRate, match="not known"):
        quote(gpus, "", [rate("gpu", 1)], NOW, refuse_unknown_model=True)
    assert quote(gpus, "", [rate("gpu", 1), rate("gpu", 9, "unknown")], NOW).per_hour_micro == 9
    assert quote(Shape(4000, GIB), "", [], NOW).per_hour_micro == 0  # CPU and memory are free


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (rate("disk", 1), "no resource"),
        (rate("cpu", 1, "A100"), "no GPU model"),
        (rate("gpu", -1), "at least 0"),
        (rate("gpu", 10**16), "beyond"),
        (rate("gpu", 0.5), "whole number"),
    ],
)
def test_rates_that_can_not_be(wrong, says):
    with pytest.raises(BadInput, match=says):
        require_rate(wrong)


@pytest.mark.parametrize(
    ("per_hour", "fee", "elapsed", "costs"),
    [
        (4_000_000, 0, None, 0),
        (4_000_000, 250_000, 0, 250_000),  # the fee is due at the first billed instant
        (4_000_000, 0, HOUR_US, 4_000_000),
        (4_000_000, 0, HOUR_US // 4, 1_000_000),
        (1, 0, HOUR_US - 1, 0),
        (1, 0, HOUR_US, 1),
        (10**15, 10**15, 2 * HOUR_US, 3 * 10**15),
    ],
)
def test_lifetime_cost(per_hour, fee, elapsed, costs):
    assert cost(per_hour, fee, elapsed) == costs


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**9),
    st.lists(st.integers(0, 3 * HOUR_US), min_size=1, max_size=20),
)
def test_any_cutting_sums_to_the_same(per_hour, fee, cuts):
    """Slices are C(end) - C(start), the first one takes F: no cut gains or loses a micro-credit."""
    cuts = sorted(cuts)
    slices = [cost(per_hour, fee, cuts[0])] + [
        cost(per_hour, fee, b) - cost(per_hour, fee, a) for a, b in itertools.pairwise(cuts)
    ]
    assert sum(slices) == cost(per_hour, fee, cuts[-1])
    assert min(slices) >= 0
    assert cost(per_hour, fee, cuts[-1]) == fee + Fraction(per_hour * cuts[-1], HOUR_US).__floor__()
