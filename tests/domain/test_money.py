"""Money is whole micro-credits; what people write is read exactly or refused (rule 1)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jhub_usage.domain.errors import BadInput
from jhub_usage.domain.money import (
    MAX_AMOUNT_MICRO,
    Currency,
    parse_amount,
    plain,
    require_amount,
    show,
)

AMOUNTS = st.integers(-MAX_AMOUNT_MICRO, MAX_AMOUNT_MICRO)


@pytest.mark.parametrize(
    ("written", "micro"),
    [
        ("0", 0),
        ("1", 1_000_000),
        (3, 3_000_000),
        ("12.50", 12_500_000),
        (" 0.1 ", 100_000),
        ("0.000001", 1),
        ("-4", -4_000_000),
        ("1e3", 1_000_000_000),
        (Decimal("2.25"), 2_250_000),
        ("1000000000", MAX_AMOUNT_MICRO),
    ],
)
def test_what_people_write(written, micro):
    assert parse_amount(written) == micro


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (0.1, "text or a whole number"),
        (True, "text or a whole number"),
        ("", "not a number"),
        ("ten", "not a number"),
        ("1,5", "not a number"),
        ("NaN", "not a number"),
        ("-Infinity", "not a number"),
        ("0.0000001", "six decimals"),
        ("1000000001", "beyond"),
        ("1e999999", "beyond"),
        ("-1000000000.000001", "beyond"),
    ],
)
def test_what_is_refused_says_why(written, says):
    with pytest.raises(BadInput, match=says):
        parse_amount(written)


@pytest.mark.parametrize(
    ("micro", "minimum", "says"),
    [
        (1.0, None, "whole number"),
        (True, None, "whole number"),
        (MAX_AMOUNT_MICRO + 1, None, "beyond"),
        (0, 1, "more than nothing"),
        (-1, 0, "at least 0"),
    ],
)
def test_amounts_between_programs(micro, minimum, says):
    with pytest.raises(BadInput, match=says):
        require_amount(micro, minimum=minimum)


@pytest.mark.parametrize(
    ("micro", "currency", "text"),
    [
        (1_234_500_000, Currency(), "$1,234.50"),
        (0, Currency(), "$0.00"),
        (4_999, Currency(), "$0.00"),
        (5_000, Currency(), "$0.01"),  # half away from zero
        (-5_000, Currency(), "-$0.01"),
        (-1, Currency(), "$0.00"),  # never "-$0.00"
        (999_999_999, Currency(), "$1,000.00"),
        (1_500_000, Currency("TWD", "NT$", 0), "NT$2"),
        (1_500_000, Currency("SU", "", 1), "1.5 SU"),
        (1, Currency("USD", "$", 6), "$0.000001"),
    ],
)
def test_shown_to_people(micro, currency, text):
    assert show(micro, currency) == text


@given(AMOUNTS)
def test_plain_text_is_exact(micro):
    assert parse_amount(plain(micro)) == micro


def test_what_floats_would_lose():
    """0.1 + 0.2 is 0.3 here."""
    assert parse_amount("0.1") + parse_amount("0.2") == parse_amount("0.3")
