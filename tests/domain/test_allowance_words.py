"""Allowances in words: the same sentence at every door."""

from datetime import UTC, datetime

import pytest

from jhub_usage.domain.allowance_words import (
    allowance_text,
    boundary_text,
    change_text,
    entry_text,
    left_text,
    next_text,
    short_text,
)
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.money import show

NEXT = datetime(2026, 12, 1, tzinfo=UTC)


def credits(amount, period="month", carry=0):
    kept = None if carry is None else int(carry * 10**6)
    return Allowance(int(amount * 10**6), period, kept)


def test_an_allowance():
    assert allowance_text(credits(100, carry=20)) == "100 per month, keeps 20"
    assert allowance_text(credits(1.5, "day")) == "1.5 per day, keeps nothing"
    assert allowance_text(credits(7, "week", None), show) == "$7.00 per week, keeps everything"


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (credits(100, carry=20), credits(120, carry=20), "100 -> 120 per month, keeps 20"),
        (credits(100, carry=20), credits(100), "100 per month, keeps 20 -> keeps nothing"),
        (credits(100), credits(30, "week", None),
         "100 per month, keeps nothing -> 30 per week, keeps everything"),
    ],
)  # fmt: skip
def test_a_change(before, after, text):
    assert change_text(before, after) == text


def held(amount=100, left=37.2, expires=17.2, period="month"):
    return {
        "amount_micro": int(amount * 10**6), "period": period, "left_micro": int(left * 10**6),
        "expires_micro": int(expires * 10**6), "next_micro": int(amount * 10**6),
        "next_at": NEXT,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (held(), "$37.20 is left of the monthly $100.00; $17.20 of it expires on 1 Dec, when "
                 "$100.00 comes"),
        (held(expires=37.2), "$37.20 is left of the monthly $100.00; it expires on 1 Dec, when "
                             "$100.00 comes"),
        (held(left=0, expires=0, period="week"), "nothing is left of the weekly $100.00; $100.00 "
                                                 "comes on 1 Dec"),
        (held(left=130, expires=0, period="day"),
         "$130.00 is left of the daily $100.00, with what was kept; $100.00 comes on 1 Dec"),
        (held(0, 5, 5), "$5.00 is left of an allowance that has ended; it expires on 1 Dec"),
    ],
)  # fmt: skip
def test_what_is_left(now, text):
    assert left_text(now, show, lambda at: f"{at.day} {at:%b}") == text


def test_what_is_left_in_short():
    assert short_text(held(), show) == "$37.20 from the monthly $100.00"
    assert short_text(held(0, 5, 5), show) == "$5.00 from an allowance that has ended"


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (held(), "1 Dec: $17.20 expires, $100.00 comes"),
        (held(left=0, expires=0), "1 Dec: $100.00 comes"),
        (held(0, 5, 5), "1 Dec: $5.00 expires"),
        (held(0, 0, 0), ""),
    ],
)
def test_what_the_next_boundary_brings_in_short(now, text):
    assert next_text(now, show, lambda at: f"{at.day} {at:%b}") == text


@pytest.mark.parametrize(
    ("kind", "key", "text"),
    [
        ("grant", "allowance:7:2026-11", "Allowance for November 2026"),
        ("grant", "allowance:7:2026-W47", "Allowance for the week of 16 November 2026"),
        ("grant", "allowance:7:2026-11-20", "Allowance for 20 November 2026"),
        ("grant", "allowance:7:at:1795161600000000", "Allowance, begun at once"),
        ("expiry", "allowance:7:2026-12",
         "What was left of the allowance before December 2026"),
        ("grant", "grant:allowance:7:2026-11", ""),
        ("charge", "charge:00000000-0000-0000-0000-000000000001:1795161600000000", ""),
    ],
)  # fmt: skip
def test_what_an_entry_is_about(kind, key, text):
    assert entry_text(kind, key) == text


def test_the_parts_of_a_net_entry():
    assert boundary_text(100_000_000, 37_200_000) == "100 granted, 37.2 of the last one expired"
    assert boundary_text(100_000_000, 0) == boundary_text(0, 5) == ""
