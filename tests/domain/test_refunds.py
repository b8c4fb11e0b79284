"""What is given back of one session: a table of windows, slices and corrections."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jhub_usage.domain.maintenance import Change, Gifts, change
from jhub_usage.domain.refunds import Charge, merged, part, shares, to_give, within_us
from jhub_usage.domain.sessions import Meter

T0 = datetime(2026, 11, 20, tzinfo=UTC)
CREDIT = 1_000_000


def at(minutes):
    return T0 + timedelta(minutes=minutes)


def windows(*pairs):
    return [(at(a), at(b)) for a, b in pairs]


def ended(minutes, *, per_hour=60, fee=0, **more):
    """A meter that cost so much per hour, from 0 to ``minutes``."""
    return Meter("s", per_hour * CREDIT, fee * CREDIT, 0, 0, T0, T0, T0, at(minutes), **more)


def charges(*slices):
    """(begin, end, credits) each; a correction of the boundaries has neither begin nor end."""
    return [
        Charge(n, None if a is None else at(a), None if b is None else at(b), c * CREDIT)
        for n, (a, b, c) in enumerate(slices, 1)
    ]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([], []),
        ([(0, 10)], [(0, 10)]),
        ([(5, 10), (0, 5)], [(0, 10)]),
        ([(0, 10), (2, 3)], [(0, 10)]),
        ([(0, 4), (6, 8), (3, 7)], [(0, 8)]),
        ([(0, 1), (2, 3)], [(0, 1), (2, 3)]),
    ],
)
def test_merged(asked, expected):
    assert merged(windows(*asked)) == windows(*expected)


#: (what, minutes, fee, charges, windows, share of each charge in credits)
SHARES = [
    ("all of it", 60, 0, [(0, 60, 60)], [(0, 60)], [60]),
    ("begins before, ends after", 60, 0, [(0, 60, 60)], [(-9, 99)], [60]),
    ("before it", 60, 0, [(0, 60, 60)], [(-9, 0)], [0]),
    ("after it", 60, 0, [(0, 60, 60)], [(60, 99)], [0]),
    ("the fee at the first instant", 60, 5, [(0, 60, 65)], [(0, 1)], [6]),
    ("not the fee", 60, 5, [(0, 60, 65)], [(1, 60)], [59]),
    ("no time at all", 0, 5, [(0, 0, 5)], [(0, 1)], [5]),
    ("two slices", 60, 5, [(0, 20, 25), (20, 60, 40)], [(10, 30)], [10, 10]),
    ("two windows", 60, 0, [(0, 20, 20), (20, 60, 40)], [(0, 5), (15, 25)], [10, 5]),
    ("a slice that cost nothing has no entry", 60, 0, [(0, 10, 10), (30, 60, 30)], [(9, 31)],
     [10, 1]),
    ("its end was corrected to earlier", 30, 0, [(0, 60, 60)], [(20, 60)], [10]),
    ("its end was corrected to later", 90, 0, [(0, 60, 60), (None, None, 30)], [(0, 90)],
     [60, 30]),
    ("a part of that", 90, 0, [(0, 60, 60), (None, None, 30)], [(50, 70)], [20, 0]),
    ("corrected twice", 90, 0, [(0, 30, 30), (None, None, 20), (None, None, 40)], [(0, 85)],
     [30, 20, 35]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "minutes", "fee", "slices", "asked", "expected"), SHARES)
def test_shares(what, minutes, fee, slices, asked, expected):
    meter = ended(minutes, fee=fee)
    if "corrected twice" in what:
        # 30 minutes were charged once, the rest by two corrections
        assert sum(c for _, _, c in slices) == 90
    found = shares(meter, charges(*slices), windows(*asked))
    assert [amount // CREDIT for amount in found] == expected, what


@given(
    st.integers(0, 10**9), st.integers(0, 10**7),
    st.lists(st.integers(1, 10**10), min_size=1, max_size=6, unique=True),
    st.lists(st.integers(-10**9, 2 * 10**10), min_size=1, max_size=6, unique=True),
)  # fmt: skip
def test_any_windows_that_follow_each_other_sum_to_the_cost(per_hour, fee, cuts, marks):
    """Whatever the slices: exact, no micro-credit is lost or counted twice."""
    cuts = [0, *sorted(cuts)]
    us = [T0 + timedelta(microseconds=n) for n in cuts]
    meter = Meter("s", per_hour, fee, 0, 0, T0, T0, T0, us[-1])
    held, paid = [], 0
    for n, (begin, end) in enumerate(pairwise(us), 1):
        held.append(Charge(n, begin, end, meter.cost(end) - paid))
        paid = meter.cost(end)
    begin, end = T0 - timedelta(hours=1), us[-1] + timedelta(hours=1)
    edges = sorted({begin, end, *(T0 + timedelta(microseconds=m) for m in marks
                                  if begin < T0 + timedelta(microseconds=m) < end)})  # fmt: skip
    found = [shares(meter, held, [w]) for w in pairwise(edges)]
    by_charge = [sum(column) for column in zip(*found, strict=True)]
    assert by_charge == [c.amount_micro for c in held]


@given(st.lists(st.integers(0, 10**12), max_size=8), st.integers(1, 100))
def test_a_part_is_rounded_down_once(amounts, percent):
    found = part(amounts, percent)
    assert sum(found) == sum(amounts) * percent // 100
    assert all(0 <= f <= a for f, a in zip(found, amounts, strict=True))


@given(
    st.lists(
        st.tuples(
            st.integers(1, 100), st.integers(-50, 150), st.integers(0, 200), st.integers(0, 60),
            st.booleans(),
        ),
        max_size=6,
    ),
    st.integers(0, 300),
)  # fmt: skip
def test_never_more_than_is_left(rows, most):
    held = [
        Charge(n, None if besides else T0, T0, amount, back, taken)
        for n, (amount, back, _, taken, besides) in enumerate(rows)
    ]
    wanted = [row[2] for row in rows]
    found = dict(to_give(held, wanted, most))
    assert sum(found.values()) <= min(most, sum(wanted))
    for charge in held:
        assert 0 <= found.get(charge.id, 0) <= max(0, charge.amount_micro - charge.back_micro)
    assert all(amount > 0 for amount in found.values())


def test_time_within():
    meter = ended(60)
    minute = 60 * 10**6
    assert within_us(meter, windows((-5, 10), (50, 99)), at(999)) == 20 * minute
    assert within_us(meter, windows((0, 60)), at(30)) == 30 * minute
    unstarted = Meter("s", 1, 0, 0, 0, T0, T0)
    assert within_us(unstarted, windows((0, 60)), at(30)) == 0


ONE = [(0, 60, 60)]
#: (what, minutes, charges, charged, windows, gifts, given, taken)
CHANGES = [
    ("nothing yet", 60, ONE, 60, [(0, 20)], Gifts({}), [20], []),
    ("all of it given", 60, ONE, 60, [(0, 20)], Gifts({1: 20 * CREDIT}, 0, 20 * CREDIT), [], []),
    ("a window more", 60, ONE, 60, [(0, 30)], Gifts({1: 20 * CREDIT}, 0, 20 * CREDIT), [10], []),
    ("other gifts leave little", 60, ONE, 60, [(0, 20)], Gifts({}, 50 * CREDIT, 50 * CREDIT),
     [10], []),
    ("other gifts leave nothing", 60, ONE, 60, [(0, 20)], Gifts({}, 60 * CREDIT, 60 * CREDIT),
     [], []),
    ("it ended earlier", 30, ONE, 30, [(20, 60)], Gifts({1: 40 * CREDIT}, 0, 40 * CREDIT),
     [], [30]),
    ("it ended before the window", 10, ONE, 10, [(20, 60)], Gifts({1: 40 * CREDIT}, 0, 40 * CREDIT),
     [], [40]),
    ("most was taken back already", 10, ONE, 10, [(20, 60)],
     Gifts({1: 10 * CREDIT}, 0, 10 * CREDIT), [], [10]),
    ("all was given for another reason", 10, ONE, 10, [(20, 60)],
     Gifts({1: 20 * CREDIT}, 40 * CREDIT, 10 * CREDIT), [], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "minutes", "slices", "charged", "asked", "gifts", "give", "take"), CHANGES
)
def test_changes(what, minutes, slices, charged, asked, gifts, give, take):
    held = charges(*slices)
    back = sum(gifts.maintenance.values()) + gifts.others
    held = [Charge(c.id, c.begin, c.end, c.amount_micro, back) for c in held]
    found = change(ended(minutes), held, charged * CREDIT, windows(*asked), gifts)
    assert [amount // CREDIT for _, amount in found.give] == give, what
    assert [amount // CREDIT for _, amount in found.take] == take, what
    assert bool(found) == bool(give or take)
    assert not Change()
