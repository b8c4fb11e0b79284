"""What is metered elsewhere rounds as a whole, never event by event (rule 31)."""

import random
from decimal import Decimal
from fractions import Fraction

import pytest

from jhub_usage.domain.errors import BadInput
from jhub_usage.domain.metered import (
    MOST_PICO,
    MOST_QUANTITY,
    cost_pico,
    credits_text,
    due,
    entry_key,
    exact_number,
    read_key,
    require_resource,
)

#: Four tenths of a micro-credit.
PRICE = Decimal("0.0000004")


def told(events, price=PRICE, exact=0):
    """(the exact sum, what each event charged)."""
    charged = []
    for quantity in events:
        exact, now = due(exact, Decimal(quantity), price)
        charged.append(now)
    return exact, charged


def test_the_example_of_the_rule():
    """0.4 micro-credits a million times are 400,000, not 0."""
    exact, charged = told([1] * 1_000_000)
    assert sum(charged) == 400_000
    assert set(charged) == {0, 1}
    assert credits_text(exact) == "0.4"
    assert told([1_000_000]) == (exact, [400_000]), "and so they are at once"


def test_a_few_of_them():
    assert told([1, 1, 1, 1, 1]) == (2_000_000, [0, 0, 1, 0, 1])
    assert told([1], exact=999_999)[1] == [1]
    assert told(["0.5", "0.5"], Decimal("0.000001")) == (1_000_000, [0, 1])
    assert told([3], Decimal(0)) == (0, [0])


def test_any_cutting_charges_the_whole_rounded_down():
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    dice = random.Random(seed)
    for _ in range(200):
        price = Decimal(dice.randrange(1, 10**5)).scaleb(-dice.randrange(4, 10))
        events = [Decimal(dice.randrange(1, 10**4)).scaleb(-dice.randrange(3)) for _ in range(9)]
        exact, charged = told(events, price)
        whole = sum(map(Fraction, events)) * Fraction(price) * 10**6
        assert exact == whole * 10**6
        assert sum(charged) == whole.__floor__()
        assert min(charged) >= 0


@pytest.mark.parametrize(
    ("value", "number"),
    [("1.50", "1.5"), (3, "3"), (Decimal("0.000000000001"), "0.000000000001"), ("1e3", "1000"),
     (" 7 ", "7"), ("0.1000000000000000000", "0.1"), (10**18, "1000000000000000000")],
)  # fmt: skip
def test_numbers(value, number):
    assert f"{exact_number(value, what='quantity', most=MOST_QUANTITY):f}" == number


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (0.1, "as text"), (True, "as text"), ("abc", "not a number"), ("", "not a number"),
        ("NaN", "not a number"), ("Infinity", "not a number"), ("-1", "negative"),
        ("-0.0000000000001", "negative"), ("0.0000000000001", "twelve decimals"),
        ("1e-999999999", "twelve decimals"), ("1e999999999", "beyond"), (10**18 + 1, "beyond"),
    ],
)  # fmt: skip
def test_what_is_no_number(value, why):
    with pytest.raises(BadInput, match=why):
        exact_number(value, what="quantity", most=MOST_QUANTITY)


def test_what_is_finer_than_can_be_kept_is_refused():
    assert cost_pico(Decimal("0.5"), Decimal("0.000000000002")) == 1
    with pytest.raises(BadInput, match="twelfth decimal"):
        cost_pico(Decimal("0.5"), Decimal("0.000000000001"))


def test_what_is_more_than_can_be_kept_is_refused():
    assert due(MOST_PICO - 1, Decimal(1), Decimal("0.000000000001"))[0] == MOST_PICO
    with pytest.raises(BadInput, match="9,223,372 credits a month"):
        due(MOST_PICO, Decimal(1), Decimal("0.000000000001"))
    with pytest.raises(BadInput, match="9,223,372"):
        due(0, Decimal(MOST_QUANTITY), Decimal(10**9))


@pytest.mark.parametrize("name", ["tokens", "S3/get-requests", "a" * 64, "0.x_y"])
def test_names_of_resources(name):
    assert require_resource(name) == name


@pytest.mark.parametrize("name", ["", "a:b", "a b", "a" * 65, ".a", "é", "a\n"])
def test_what_names_no_resource(name):
    with pytest.raises(BadInput, match="does not name a resource"):
        require_resource(name)


def test_keys_tell_what_they_are():
    key = entry_key(12, "S3/get", "2026-11", 400_000)
    assert read_key(key) == (12, "S3/get", "2026-11", 400_000)
    for other in ("charge:x:1", "charge:metered:", "charge:metered:1:a:2026-11",
                  "charge:metered:x:a:2026-11:1", "charge:metered:1:a:2026-11:-1",
                  "refund:metered:1:a:2026-11:1"):  # fmt: skip
        assert read_key(other) is None, other
    assert len(entry_key(2**63, "a" * 64, "2026-11", 2**63)) < 255
