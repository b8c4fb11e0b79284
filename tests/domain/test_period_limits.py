"""Limits per period as stories: what is taken, whether a start fits, when they end what runs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jhub_usage.domain.limits import PER_PERIOD, SCALE, Limit
from jhub_usage.domain.period_limits import (
    FINE,
    Held,
    Open,
    PeriodBreach,
    Taken,
    breaches,
    cap,
    claimed,
    counted,
    ending,
    fine,
    over_at,
    refusal_text,
    shown,
    soonest,
    taken,
    window,
    windows,
)
from jhub_usage.domain.periods import Calendar
from jhub_usage.domain.sessions import Meter
from jhub_usage.domain.usage import NOTHING, Size, Used, per_day

CALENDAR = Calendar.of("UTC")
T0 = datetime(2026, 11, 30, 20, tzinfo=UTC)
MIDNIGHT = datetime(2026, 12, 1, tzinfo=UTC)
QUARTER_US = 900 * 10**6
#: 4 credits an hour, one GPU, two cores; its first quarter of an hour is its own.
METER = Meter("s", 4_000_000, 0, 1_000_000, 0, T0, T0 + timedelta(minutes=7))
SIZE = Size(1000, 2000, 2**30)
GPU_HOUR_US = 1000 * 3600 * 10**6


def at(hours):
    return T0 + timedelta(hours=hours)


def begun(since, **more):
    """A session that runs since so many hours after T0."""
    meter = replace(METER, admitted_at=at(since), billed_from_at=at(since), **more)
    return Open(meter, SIZE, QUARTER_US)


def admitted(since, **more):
    meter = replace(METER, admitted_at=at(since), start_deadline_at=at(since + 0.1), **more)
    return Open(meter, SIZE, QUARTER_US)


def limit(amount, resource="gpu_hours", period="day", **more):
    whom = {"subject": "person", "person": "ada"} | more
    amount = int(amount * SCALE[resource])
    return Limit(resource=resource, amount=amount, period=period, **whom)


def gpu_hours(used: Used) -> Fraction:
    return Fraction(used.gpu_us, GPU_HOUR_US)


def test_every_resource_is_reckoned():
    assert set(FINE) == set(PER_PERIOD)
    spent = Used(gpu_us=5 * GPU_HOUR_US, cpu_us=7 * GPU_HOUR_US, cost_micro=3_000_000)
    for resource, amount in (("gpu_hours", 5), ("core_hours", 7), ("credits", 3)):
        assert fine(resource, spent) == cap(limit(amount, resource))


# -- periods --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "period", "when", "label", "hours", "says"),
    [
        ("UTC", "day", (2026, 11, 30, 20), "2026-11-30", 24, "on 2026-11-30"),
        ("UTC", "week", (2026, 11, 30, 20), "2026-W49", 168, "in the week from 2026-11-30"),
        ("UTC", "month", (2026, 11, 30, 20), "2026-11", 720, "in November 2026"),
        ("Asia/Taipei", "day", (2026, 11, 30, 20), "2026-12-01", 24, "on 2026-12-01"),
        # clocks go back and forth
        ("Europe/Berlin", "day", (2026, 10, 25, 12), "2026-10-25", 25, "on 2026-10-25"),
        ("Europe/Berlin", "day", (2026, 3, 29, 12), "2026-03-29", 23, "on 2026-03-29"),
        ("Europe/Berlin", "month", (2026, 10, 31, 23), "2026-11", 720, "in November 2026"),
    ],
)
def test_the_period_of_an_instant(zone, period, when, label, hours, says):
    of = window(Calendar.of(zone), period, datetime(*when, tzinfo=UTC))
    assert (of.label, of.text(), of.zone) == (label, says, zone)
    assert of.ends_at - of.begins_at == timedelta(hours=hours)


def test_the_days_of_a_period_are_those_that_counters_have():
    of = window(Calendar.of("Europe/Berlin"), "week", T0)
    assert of.days == ("2026-11-30", "2026-12-06")
    meter = replace(METER, billed_from_at=of.begins_at, billed_until_at=of.ends_at)
    days = [d for d, _ in per_day(meter, SIZE, of.ends_at, Calendar.of("Europe/Berlin"))]
    assert (days[0], days[-1], len(days)) == (*of.days, 7)


def test_periods_that_a_minimum_run_reaches_into():
    assert [w.label for w in windows(CALENDAR, "day", at(3), at(4))] == ["2026-11-30"]
    until = at(4) + timedelta(microseconds=1)
    assert [w.label for w in windows(CALENDAR, "day", at(3), until)] == ["2026-11-30", "2026-12-01"]
    assert [w.label for w in windows(CALENDAR, "month", at(3), at(3))] == ["2026-11"]


# -- what a session takes -------------------------------------------------------------------------

NOVEMBER_30 = window(CALENDAR, "day", T0)
DECEMBER_1 = window(CALENDAR, "day", MIDNIGHT)


@pytest.mark.parametrize(
    ("story", "session", "now", "used", "aside"),
    [
        ("just begun: its minimum run", begun(0), 0, 0, 0.25),
        ("part of it is used", begun(0), 0.1, 0.1, 0.15),
        ("all of it; now a warning's time for others", begun(0), 0.25, 0.25, 0.1),
        ("an hour", begun(0), 1, 1, 0.1),
        ("stopped by the Hub: no more than it pays", begun(0, pays_until_at=at(1)), 2, 1, 0),
        ("its own limit is near", begun(0, limit_at=at(1)), 0.95, 0.95, 0.05),
        ("admitted: counts from then", admitted(0), 0.05, 0.05, 0.2),
        ("never came: nothing", admitted(0), 0.1, 0, 0),
        ("sighted, so it may come", admitted(0, sighted=True), 0.2, 0.2, 0.05),
        ("since yesterday: only this day", begun(-30), 1, 21, 0.1),
        ("near midnight: only up to it", begun(3.9), 3.95, 0.05, 0.05),
        ("beyond its minimum run, near midnight", begun(0), 3.98, 3.98, 0.02),
    ],
)
def test_what_admission_counts(story, session, now, used, aside):
    found = taken(session, NOVEMBER_30, at(now), lead_us=360 * 10**6)
    assert abs(gpu_hours(found.used) - Fraction(used)) < Fraction(1, 10**9), story
    assert abs(gpu_hours(found.aside) - Fraction(aside)) < Fraction(1, 10**9), story


def test_a_minimum_run_over_midnight_is_shared_exactly():
    for minutes in range(16):
        now = MIDNIGHT - timedelta(minutes=minutes)
        new = replace(begun(0), meter=replace(METER, billed_from_at=now, fee_micro=77))
        both = [taken(new, of, now).aside for of in (NOVEMBER_30, DECEMBER_1)]
        assert both[0].gpu_us + both[1].gpu_us == 1000 * QUARTER_US
        assert both[0].cost_micro + both[1].cost_micro == 1_000_077
        assert both[0].gpu_us == 1000 * minutes * 60 * 10**6


@pytest.mark.parametrize(
    ("story", "session", "now", "hours"),
    [
        ("its minimum run, at least", begun(0), 0.1, 0.25),
        ("then what it used", begun(0), 1, 1),
        ("not yet begun: its minimum run and no more", admitted(0, sighted=True), 3, 0.25),
        ("never came", admitted(0), 0.1, 0),
        ("beyond its own limit it will be stopped", begun(0, limit_at=at(2)), 3, 2),
    ],
)
def test_what_stopping_counts(story, session, now, hours):
    found = claimed(session, NOVEMBER_30, at(now), at(now))
    assert abs(gpu_hours(found) - Fraction(hours)) < Fraction(1, 10**9), story


def test_not_billed_takes_time_and_no_credits():
    free = Open(replace(begun(0).meter, billed=False), SIZE, QUARTER_US)
    spent = claimed(free, NOVEMBER_30, at(1), at(1))
    assert (gpu_hours(spent), spent.cost_micro) == (1, 0)


# -- before a start -------------------------------------------------------------------------------


def story(amount, now, running=(), ended=0, resource="gpu_hours", new=None, lead_us=0):
    """What a limit says to one more start: what of it is used, set aside, asked; or "fits"."""
    one, period = limit(amount, resource), "day"
    of = windows(CALENDAR, period, at(now), at(now) + timedelta(minutes=15))
    spent = Used(gpu_us=int(ended * GPU_HOUR_US), cpu_us=int(ended * 2 * GPU_HOUR_US))
    sums = {
        (one.scope(1), w.label): sum(
            (taken(x, w, at(now), lead_us) for x in running),
            Taken(spent if w is of[0] else NOTHING),
        )
        for w in of
    }
    new = new or begun(now)
    found = breaches([one], Held(at(now), {period: of}, sums), new, 1)
    if not found:
        return "fits"
    (b,) = found
    parts = (round(x / SCALE[resource], 3) for x in (b.used, b.aside, b.asked))
    return f"{b.of.label}: {' + '.join(f'{x:g}' for x in parts)}"


@pytest.mark.parametrize(
    ("says", "arguments", "answer"),
    [
        ("nothing used yet", {"amount": 1, "now": 0}, "fits"),
        ("just enough", {"amount": 1, "now": 0, "ended": 0.75}, "fits"),
        ("a little too much", {"amount": 1, "now": 0, "ended": 0.751},
         "2026-11-30: 0.751 + 0 + 0.25"),
        ("less than a minimum run in all", {"amount": 0.2, "now": 0}, "2026-11-30: 0 + 0 + 0.25"),
        ("none at all", {"amount": 0, "now": 0}, "2026-11-30: 0 + 0 + 0.25"),
        ("another one just began", {"amount": 0.5, "now": 0, "running": [begun(0)]}, "fits"),
        ("two others just began", {"amount": 0.5, "now": 0, "running": [begun(0), begun(0)]},
         "2026-11-30: 0 + 0.5 + 0.25"),
        ("two others run for an hour", {"amount": 2.25, "now": 1, "running": [begun(0), begun(0)]},
         "fits"),
        ("but must have time for a warning",
         {"amount": 2.25, "now": 1, "running": [begun(0), begun(0)], "lead_us": 600 * 10**6},
         "2026-11-30: 2 + 0.333 + 0.25"),
        ("near midnight it takes little of today",
         {"amount": 1, "now": 3.9, "ended": 0.9}, "fits"),
        ("and of tomorrow what is left of its minimum run",
         {"amount": 0.14, "now": 3.9, "ended": 0}, "2026-12-01: 0 + 0 + 0.15"),
        ("with what others then take",
         {"amount": 0.29, "now": 3.9, "running": [begun(3.9)]}, "2026-12-01: 0 + 0.15 + 0.15"),
        ("cores", {"amount": 3, "now": 0, "ended": 1.3, "resource": "core_hours"},
         "2026-11-30: 2.6 + 0 + 0.5"),
        ("credits", {"amount": 1.5, "now": 0, "running": [begun(0)], "resource": "credits"},
         "2026-11-30: 0 + 1 + 1"),
    ],
)  # fmt: skip
def test_a_start_under_a_limit(says, arguments, answer):
    assert story(**arguments) == answer, says


def test_what_was_not_asked_for_breaks_no_limit_per_period():
    """Over a limit on GPU-hours one may start a CPU server; and a free one over one on credits."""
    no_gpu = Open(begun(0).meter, Size(0, 2000, 0), QUARTER_US)
    assert story(1, 0, ended=5, new=no_gpu) == "fits"
    free = Open(replace(begun(0).meter, billed=False), SIZE, QUARTER_US)
    assert story(1, 0, [begun(-4)] * 2, resource="credits", new=free) == "fits"
    assert story(1, 0, [begun(-4)] * 2, resource="credits") != "fits"


def test_without_a_minimum_run_nothing_starts_where_nothing_is_left():
    none = replace(begun(0), min_run_us=0)
    assert story(1, 0, ended=1, new=none) == "2026-11-30: 1 + 0 + 0"
    assert story(1, 0, ended=0.999, new=none) == "fits"


def test_starts_of_one_transaction_see_each_other():
    """0.6 GPU-hours are left: two starts fit, the third does not."""
    one = limit(0.6)
    held = Held(at(0), {"day": (NOVEMBER_30,)}, {(one.scope(1), NOVEMBER_30.label): Taken()})
    answers = []
    for _ in range(3):
        fits = not breaches([one], held, begun(0), 1)
        answers.append(fits)
        if fits:
            held = counted([one], held, begun(0), 1)
    assert answers == [True, True, False]
    # somebody else's start is not theirs
    assert counted([one], held, begun(0), 2) is held


@pytest.mark.parametrize(
    ("limit_", "breach", "says"),
    [
        (limit(20, period="month", subject="wallet_person", wallet_id=7),
         (70_200_000, 900_000, 0),
         "The limit for ada within the wallet lab is 20 GPU-hours per month; 19.5 are used in "
         "November 2026 and the first 15 min of this server need 0.25 more. It begins anew on "
         "2026-12-01 (00:00 UTC). Until then, choose a smaller profile or ask the wallet's "
         "manager."),
        (limit(3, "credits", "week", subject="group", group="lab", person=""),
         (1_500_000, 1_000_000, 750_000),
         "The limit for group lab together is 3 credits per week; 1.5 are used in the week from "
         "2026-11-30, 0.75 are set aside for servers that run and the first 15 min of this server "
         "need 1 more. It begins anew on 2026-12-07 (00:00 UTC). Until then, choose a smaller "
         "profile or ask an administrator."),
    ],
)  # fmt: skip
def test_what_people_are_told(limit_, breach, says):
    used, asked, aside = breach
    of = window(CALENDAR, limit_.period, T0)
    assert refusal_text(PeriodBreach(limit_, used, asked, aside, of, QUARTER_US), "lab") == says


def test_told_without_a_minimum_run():
    of = window(Calendar.of("Europe/Berlin"), "day", T0)
    text = refusal_text(PeriodBreach(limit(1), 3_600_000, 1, 0, of, 0))
    assert "1 are used on 2026-11-30 and nothing is left." in text
    assert "anew on 2026-12-01 (00:00 Europe/Berlin)" in text


# -- while sessions run ---------------------------------------------------------------------------


def end(amount, now, running, ended=0, which=0, resource="gpu_hours"):
    """In how many hours after T0 the limit ends one of these sessions; None if it does not."""
    one = limit(amount, resource)
    spent = Used(gpu_us=int(ended * GPU_HOUR_US), cost_micro=int(ended * 4_000_000))
    of = NOVEMBER_30
    found = ending(one, over_at(one, spent, running, of, at(now)), running[which], of)
    return None if found is None else (found.at - T0) / timedelta(hours=1)


US = 1 / 3_600_000_000


@pytest.mark.parametrize(
    ("says", "hours", "arguments"),
    [
        ("alone: when it is used up, to the microsecond", 3 + US,
         {"amount": 3, "running": [begun(0)], "now": 1}),
        ("what ended counts", 2 + US, {"amount": 3, "running": [begun(0)], "now": 1, "ended": 1}),
        ("two run: in half the time", 1.5 + US,
         {"amount": 3, "running": [begun(0), begun(0)], "now": 1}),
        ("not before midnight: it begins anew", None, {"amount": 4, "running": [begun(0)],
                                                      "now": 1}),
        ("a lowered limit: at once", 1, {"amount": 0.5, "running": [begun(0)], "now": 1}),
        ("within its minimum run it runs on", 0.25, {"amount": 0.1, "running": [begun(0)],
                                                     "now": 0.1}),
        ("that ends after midnight, when the limit began anew", None,
         {"amount": 0.01, "running": [begun(3.9)], "now": 3.95}),
        ("what that takes of the others' rest", 1.75 + US,
         {"amount": 3, "running": [begun(0), begun(1.5), admitted(1.5, sighted=True)], "now": 1.5,
          "ended": 0.75}),
        ("a start that never comes frees its part", 1.7 + US,
         {"amount": 1.7, "running": [begun(0), admitted(1.35)], "now": 1.4}),
        ("another one's own limit ends it before", 3 + US,
         {"amount": 5, "running": [begun(0), begun(0, limit_at=at(2))], "now": 1}),
        ("a stop that the Hub accepted", 3 + US,
         {"amount": 4, "running": [begun(0), begun(0, pays_until_at=at(1))], "now": 1}),
        ("what costs nothing is not ended by a limit on credits", None,
         {"amount": 1, "running": [begun(0, billed=False), begun(-3)], "now": 1,
          "resource": "credits"}),
        ("credits: a micro-credit too many", 1 + 900 * US,
         {"amount": 4, "running": [begun(0)], "now": 0.5, "resource": "credits"}),
    ],
)  # fmt: skip
def test_when_a_limit_ends_a_session(says, hours, arguments):
    found = end(**arguments)
    if hours is None:
        assert found is None, says
    else:
        assert found == pytest.approx(hours, abs=1e-9), says


def test_a_start_that_is_not_known_is_ended_by_nothing():
    assert end(0, 0.05, [admitted(0)]) is None


def test_a_session_without_a_gpu_is_not_ended_by_gpu_hours():
    plain = Open(begun(0).meter, Size(0, 2000, 0), QUARTER_US)
    assert end(1, 2, [begun(0), plain], which=0) == 2
    assert end(1, 2, [begun(0), plain], which=1) is None


def test_the_soonest_counts_and_of_two_the_oldest_limit():
    first, second = (
        ending(replace(limit(1), id=n), at(n // 9), begun(0), NOVEMBER_30) for n in (9, 8)
    )
    assert soonest([first, second]).limit.id == 8
    twin = replace(second, limit=replace(second.limit, id=3))
    assert soonest([second, twin]).limit.id == 3 and soonest([]) is None


sessions = st.lists(
    st.builds(
        lambda since, known, gpus, sighted: Open(
            replace(
                METER,
                admitted_at=at(since),
                start_deadline_at=at(since + 0.2),
                billed_from_at=at(since) if known else None,
                sighted=sighted,
            ),
            Size(gpus, 0, 0),
            QUARTER_US,
        ),
        st.floats(-1, 1.9).map(lambda x: round(x, 3)),
        st.booleans(),
        st.integers(0, 3000),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@given(sessions, st.floats(0, 8), st.integers(0, 4 * 10**6))
def test_the_instant_is_exact(running, amount, after_us):
    """Within the cap at every instant before, and over it then; nothing is missed in between."""
    one, now = limit(round(amount, 4)), at(1.95)
    found = over_at(one, NOTHING, running, NOVEMBER_30, now)

    def over(instant):
        sums = (claimed(x, NOVEMBER_30, instant, now) for x in running)
        return sum(fine("gpu_hours", x) for x in sums) > cap(one)

    last = NOVEMBER_30.ends_at - timedelta(microseconds=1)
    if found is None:
        assert not over(now) and not over(last)
        return
    assert now <= found <= last and over(found)
    if found > now:
        assert not over(found - timedelta(microseconds=1)) and not over(now)
        before = now + (found - now) * (after_us / (4 * 10**6))
        assert before >= found or not over(before)


@given(sessions, st.floats(0.3, 8))
def test_starts_never_take_more_than_the_cap(running, amount):
    """However many are let in one after another: what all of them may take fits."""
    one, now, held_back = limit(round(amount, 4)), at(1.95), []
    sums = sum((taken(x, NOVEMBER_30, now) for x in running), Taken())
    held = Held(now, {"day": (NOVEMBER_30,)}, {(one.scope(1), NOVEMBER_30.label): sums})
    for _ in range(40):
        new = begun(1.95)
        if breaches([one], held, new, 1):
            break
        held = counted([one], held, new, 1)
        held_back.append(new)
    in_all = held.taken[one.scope(1), NOVEMBER_30.label]
    assert not held_back or (in_all.used + in_all.aside).gpu_us <= cap(one)
    room = cap(one) - (in_all.used + in_all.aside).gpu_us
    assert room < 1000 * QUARTER_US  # not one less than fits


def test_what_is_shown():
    one, running = limit(20), [begun(0), begun(0.95), admitted(0.95), admitted(0.5)]
    ended = Used(gpu_us=2 * GPU_HOUR_US)
    used, aside = shown(one, ended, running, NOVEMBER_30, at(1))
    assert (used / 3_600_000, aside / 3_600_000) == (3.05, 0.45)
