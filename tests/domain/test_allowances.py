"""Allowances: what is used first, what a boundary does, what a cap keeps (rule 16)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jhub_usage.domain.allowances import (
    LEAVES,
    SPARES,
    TURNS,
    USES,
    Allowance,
    moved,
    require_allowance,
    turn,
)
from jhub_usage.domain.errors import BadInput

#: 10 credits a month: nothing is carried, everything is, at most 4.
NONE, FULL, SOME = (Allowance(10, "month", cap) for cap in (0, None, 4))


@pytest.mark.parametrize(
    ("story", "allowance", "balance", "left", "expired", "then"),
    [
        ("the first month", NONE, 0, 0, 0, (10, 10)),
        ("nothing was used: all of it ends, and the same comes", NONE, 10, 10, 10, (10, 10)),
        ("a part was used", NONE, 3, 3, 3, (10, 10)),
        ("all of it was", NONE, 0, 0, 0, (10, 10)),
        ("permanent credit stays", NONE, 27, 7, 7, (30, 10)),
        ("a debt is repaid first", NONE, -4, 0, 0, (6, 6)),
        ("a debt of more than a month", NONE, -25, 0, 0, (-15, 0)),
        ("exactly repaid", NONE, -10, 0, 0, (0, 0)),
        ("everything is carried", FULL, 10, 10, 0, (20, 20)),
        ("and on", FULL, 20, 20, 0, (30, 30)),
        ("beside permanent credit", FULL, 107, 7, 0, (117, 17)),
        ("carried after a debt", FULL, -4, 0, 0, (6, 6)),
        ("less than the cap is kept whole", SOME, 3, 3, 0, (13, 13)),
        ("the cap", SOME, 4, 4, 0, (14, 14)),
        ("more is cut to it", SOME, 10, 10, 6, (14, 14)),
        ("the cap is of what is left, not of what comes", SOME, 14, 14, 10, (14, 14)),
        ("a cap above the amount fills up", Allowance(10, "day", 15), 14, 14, 0, (24, 24)),
        ("and is full", Allowance(10, "day", 15), 24, 24, 9, (25, 25)),
        ("an allowance that was taken away", Allowance(0, "month", 0), 27, 7, 7, (20, 0)),
    ],
)  # fmt: skip
def test_a_boundary(story, allowance, balance, left, expired, then):
    """``left = min(left, cap) + amount``, less the debt that it repays; one net entry."""
    found = turn(balance, left, allowance)
    assert (found.balance_micro, found.left_micro) == then, story
    assert (found.expired_micro, found.granted_micro) == (expired, allowance.amount_micro)
    assert found.net_micro == then[0] - balance


@pytest.mark.parametrize(
    ("story", "balance", "left", "amount", "how", "then"),
    [
        ("a charge uses the allowance first", 30, 10, -4, USES, (26, 6)),
        ("and then permanent credit", 30, 10, -15, USES, (15, 0)),
        ("and then it is debt", 5, 5, -15, USES, (-10, 0)),
        ("credit is permanent", 30, 10, 5, LEAVES, (35, 10)),
        ("credit repays debt", -8, 0, 5, LEAVES, (-3, 0)),
        ("a refund brings no allowance back", 26, 6, 4, LEAVES, (30, 6)),
        ("nor does a correction of a charge", 26, 6, 4, USES, (30, 6)),
        ("a transfer takes permanent credit", 30, 10, -20, LEAVES, (10, 10)),
        ("what takes credit back spares the allowance", 30, 10, -15, SPARES, (15, 10)),
        ("until nothing else is there", 30, 10, -25, SPARES, (5, 5)),
        ("and then it is debt", 30, 10, -40, SPARES, (-10, 0)),
        ("a boundary gives", 3, 3, 10, TURNS, (13, 13)),
        ("a boundary takes", 13, 13, -9, TURNS, (4, 4)),
        ("what a boundary gives repays debt first", -4, 0, 10, TURNS, (6, 6)),
    ],
)
def test_an_entry(story, balance, left, amount, how, then):
    assert moved(balance, left, amount, how) == then, story


@pytest.mark.parametrize(
    ("story", "allowance", "used", "kept"),
    [
        ("nothing is carried: a month is a month", NONE, (10, 10, 10), (10, 10, 10)),
        ("what was not used is lost", NONE, (2, 0, 10), (10, 10, 10)),
        ("everything is carried", FULL, (2, 0, 10), (18, 28, 28)),
        ("up to a cap", SOME, (2, 0, 14), (14, 14, 10)),
        ("what was too much is owed by the next", NONE, (13, 13, 13), (7, 4, 1)),
        ("and the cap does not help a debtor", SOME, (13, 0, 0), (7, 14, 14)),
    ],
)
def test_three_months(story, allowance, used, kept):
    """What each month begins with, after what the one before used."""
    balance, left, found = 10, 10, []
    for amount in used:
        balance, left = moved(balance, left, -amount, USES)
        turned = turn(balance, left, allowance)
        balance, left = turned.balance_micro, turned.left_micro
        found.append(balance)
    assert tuple(found) == kept, story


AMOUNT = st.integers(0, 50)
STATES = st.tuples(st.integers(-50, 100), AMOUNT).map(lambda x: (x[0], max(0, min(x[1], x[0]))))
ALLOWANCES = st.builds(Allowance, AMOUNT, st.just("month"), st.none() | AMOUNT)
ENTRIES = st.one_of(
    st.tuples(st.integers(-60, -1), st.sampled_from([USES, SPARES])),
    st.tuples(st.integers(1, 60), st.sampled_from([USES, LEAVES, SPARES])),
)


@given(STATES, st.lists(st.one_of(ENTRIES, ALLOWANCES), max_size=8))
def test_what_is_left_is_never_more_than_there_is(state, steps):
    """The rest of an allowance is a part of the balance, and a debtor has none left."""
    balance, left = state
    for step in steps:
        if isinstance(step, Allowance):
            turned = turn(balance, left, step)
            assert turned.balance_micro == balance + turned.net_micro
            balance, left = turned.balance_micro, turned.left_micro
        else:
            balance, left = moved(balance, left, *step)
        assert 0 <= left <= max(0, balance)


@given(STATES, ALLOWANCES)
def test_permanent_credit_never_expires(state, allowance):
    """A boundary changes the permanent part only where it repays debt."""
    balance, left = state
    turned = turn(balance, left, allowance)
    before, after = balance - left, turned.balance_micro - turned.left_micro
    assert after == (before if before >= 0 else min(0, before + allowance.amount_micro))


@given(STATES, st.lists(st.integers(0, 30), max_size=5))
def test_charges_cut_as_you_like_use_the_same(state, parts):
    cut = state
    for part in parts:
        cut = moved(*cut, -part, USES)
    assert cut == moved(*state, -sum(parts), USES)


@given(STATES, ALLOWANCES)
def test_where_one_boundary_changes_nothing_no_later_one_does(state, allowance):
    """So a quiet wallet needs no row a day."""
    turned = turn(*state, allowance)
    if turned.net_micro == 0:
        assert (turned.balance_micro, turned.left_micro) == state
        assert turn(*state, allowance) == turned


@pytest.mark.parametrize(
    "allowance",
    [
        Allowance(10, "year"), Allowance(10, ""), Allowance(-1, "month"), Allowance(10.5, "month"),
        Allowance(10, "month", -1), Allowance(10, "month", 0.5), Allowance(True, "month"),
        Allowance(10**15 + 1, "month"), Allowance(10, "month", 10**15 + 1),
        Allowance(0, "month", None),
    ],
)  # fmt: skip
def test_an_allowance_that_is_none(allowance):
    with pytest.raises(BadInput):
        require_allowance(allowance)


def test_one_of_nothing_lets_the_rest_expire():
    """So an allowance is taken away: what is left of it ends with its period."""
    assert require_allowance(Allowance(0, "month", 0)).amount_micro == 0
