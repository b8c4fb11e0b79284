"""Limits: whom they bind, what counts, and which one a refusal names (rule 21)."""

import pytest

from jhub_usage.domain.errors import BadInput
from jhub_usage.domain.limits import (
    PER_PERIOD,
    Breach,
    Limit,
    amount_text,
    full_text,
    require_limit,
    session_limit_s,
    strictest_breach,
)
from jhub_usage.domain.periods import PERIODS
from jhub_usage.domain.shapes import Gpus, Shape

GI = 2**30
SHAPE = Shape(4000, 16 * GI, (Gpus("nvidia.com/gpu", "A100", 2),))


@pytest.mark.parametrize(
    ("limit", "applies"),
    [
        (Limit("everyone", "gpus", 1), True),
        (Limit("group", "gpus", 1, group="lab"), True),
        (Limit("group", "gpus", 1, group="la"), False),
        (Limit("group", "gpus", 1, group="lab2"), False),
        (Limit("person", "gpus", 1, person="ada"), True),
        (Limit("person", "gpus", 1, person="*"), True),
        (Limit("person", "gpus", 1, person="ada2"), False),
        (Limit("person", "gpus", 1, person="ad"), False),
        (Limit("wallet", "gpus", 1, wallet_id=7), True),
        (Limit("wallet", "gpus", 1, wallet_id=77), False),
        (Limit("wallet_person", "gpus", 1, wallet_id=7, person="*"), True),
        (Limit("wallet_person", "gpus", 1, wallet_id=7, person="bob"), False),
        (Limit("wallet_person", "gpus", 1, wallet_id=8, person="ada"), False),
        (Limit("profile", "gpus", 1, profile="big"), True),
        (Limit("profile", "gpus", 1, profile="bigger"), False),
    ],
)
def test_whom_a_limit_binds(limit, applies):
    assert limit.applies("ada", {"lab", "all"}, 7, "big") is applies


def test_a_group_counts_together_or_each():
    together = Limit("group", "gpus", 4, group="lab")
    each = Limit("group", "gpus", 4, group="lab", each=True)
    usage = {("group", "lab", None): {"gpus": 3000}, ("group", "lab", 1): {"gpus": 1000}}
    assert strictest_breach([Limit("group", "gpus", 4000, group="lab")], usage, SHAPE, 1)
    assert not strictest_breach(
        [Limit("group", "gpus", 4000, group="lab", each=True)], usage, SHAPE, 1
    )
    assert together.scope(1) != each.scope(1)
    assert together.subject_text() == "group lab together"
    assert each.subject_text() == "each member of lab"


@pytest.mark.parametrize(
    ("resource", "amount", "used", "fits"),
    [
        ("gpus", 4000, 2000, True),
        ("gpus", 4000, 2001, False),
        ("gpus", 0, 0, False),
        ("cpu", 8000, 4000, True),
        ("cpu", 8000, 4001, False),
        ("memory", 32 * GI, 16 * GI, True),
        ("memory", 32 * GI - 1, 16 * GI, False),
        ("servers", 1, 0, True),
        ("servers", 1, 1, False),
    ],
)
def test_at_once(resource, amount, used, fits):
    limit = Limit("everyone", resource, amount)
    breach = strictest_breach([limit], {("everyone",): {resource: used}}, SHAPE, 1)
    assert (breach is None) is fits
    if breach:
        assert breach.used == used and breach.asked > 0


def test_what_was_not_asked_for_breaks_no_limit():
    """Somebody over a GPU limit may start a CPU server."""
    assert not strictest_breach(
        [Limit("everyone", "gpus", 1000)], {("everyone",): {"gpus": 9000}}, Shape(1000, GI), 1
    )


def test_the_strictest_is_named():
    loose = Limit("everyone", "gpus", 3000, id=1)
    strict = Limit("person", "gpus", 2000, person="*", id=2)
    usage = {("everyone",): {"gpus": 2000}, ("person", 1): {"gpus": 2000}}
    for limits in ([loose, strict], [strict, loose]):
        assert strictest_breach(limits, usage, SHAPE, 1).limit == strict


def test_the_shortest_session_counts():
    hours = [
        Limit("profile", "session_hours", 8 * 3600, profile="big"),
        Limit("person", "session_hours", 2 * 3600, person="*"),
        Limit("everyone", "gpus", 1),
    ]
    assert session_limit_s(hours) == 7200
    assert session_limit_s(hours[2:]) is None
    assert strictest_breach(hours[:2], {}, SHAPE, 1) is None


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        (Limit("nobody", "gpus", 1), "A limit is for one of"),
        (Limit("everyone", "disks", 1), "A limit is on one of"),
        (Limit("everyone", "gpus", -1), "negative"),
        (Limit("everyone", "gpus", 1.5), "negative"),
        (Limit("everyone", "gpus", 2**60), "too large"),
        (Limit("group", "gpus", 1), "needs group"),
        (Limit("everyone", "gpus", 1, person="ada"), "has no person"),
        (Limit("wallet", "session_hours", 1, wallet_id=1), "Hours per session"),
        (Limit("person", "gpus", 1, person="ada", each=True), "Only a limit for a group"),
        (Limit("person", "gpus", 1, person="ada", period="month"), "gpus has no period"),
        (Limit("person", "gpu_hours", 1, person="ada"), "needs a period: day, week, month"),
        (Limit("person", "credits", 1, person="ada", period="year"), "not 'year'"),
        (Limit("everyone", "gpu_hours", 1, period="day"), "limited for a person, a group"),
        (Limit("profile", "core_hours", 1, profile="big", period="day"), "limited for a person"),
    ],
)
def test_limits_that_can_not_be(limit, says):
    with pytest.raises(BadInput, match=says):
        require_limit(limit)


@pytest.mark.parametrize("resource", PER_PERIOD)
@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize(
    "whom",
    [
        {"subject": "person", "person": "*"},
        {"subject": "group", "group": "lab", "each": True},
        {"subject": "wallet", "wallet_id": 7},
        {"subject": "wallet_person", "wallet_id": 7, "person": "ada"},
    ],
    ids=lambda whom: whom["subject"],
)
def test_what_is_limited_per_period(resource, period, whom):
    limit = Limit(resource=resource, amount=1, period=period, **whom)
    assert require_limit(limit) is limit and limit.per_period


def test_a_limit_per_period_may_be_the_strictest():
    """What is left of each, relative to what is asked of it."""
    at_once = Limit("person", "gpus", 2000, person="*", id=1)
    monthly = Limit("person", "gpu_hours", 1, person="*", id=2, period="month")
    usage = {("person", 1): {"gpus": 1000}}  # half of what is asked is left
    for left, named in ((400, monthly), (600, at_once)):
        breach = Breach(monthly, 1 - left, 1000)
        found = strictest_breach([at_once, monthly], usage, SHAPE, 1, [breach])
        assert found.limit == named
    assert strictest_breach([monthly], usage, SHAPE, 1) is None


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (Limit("everyone", "gpus", 4000), "4 GPUs at once for everyone together"),
        (Limit("wallet_person", "gpu_hours", 20 * 3_600_000, person="ada", wallet_id=7,
               period="month"), "20 GPU-hours per month for ada within the wallet lab"),
        (Limit("wallet", "credits", 12_500_000, wallet_id=7, period="week"),
         "12.5 credits per week for the wallet lab"),
        (Limit("group", "core_hours", 1_200_000, group="the wallet", each=True, period="day"),
         "0.333 core-hours per day for each member of the wallet"),
        (Limit("profile", "session_hours", 7200, profile="big"),
         "2 hours per session for profile big"),
    ],
)  # fmt: skip
def test_a_limit_in_full(limit, text):
    assert full_text(limit, "lab") == text


@pytest.mark.parametrize(
    ("resource", "amount", "text"),
    [("gpus", 2000, "2 GPUs"), ("gpus", 142, "0.142 GPUs"), ("memory", 16 * GI, "16 GiB"),
     ("servers", 3, "3 servers"), ("session_hours", 5400, "1.5 hours per session")],
)  # fmt: skip
def test_limits_for_people(resource, amount, text):
    assert amount_text(resource, amount) == text
