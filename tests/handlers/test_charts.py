"""What a chart of stacked bars is, before anybody draws it."""

from datetime import date, timedelta
from fractions import Fraction

import pytest

from jhub_usage.handlers.charts import COLOURS, HEIGHT, REST, TOP, ladder, ranked, stacked


def days(count, first=date(2026, 10, 22)):
    return [(first + timedelta(days=n)).isoformat() for n in range(count)]


def draw(values, count=30, series=("a", "b")):
    found = {(days(count)[n], name): v for (n, name), v in values.items()}
    return stacked("GPU hours", days(count), series, found, say=lambda v: f"{v}h",
                   say_short=lambda v: f"{v:g}")  # fmt: skip


def test_parts_stand_on_each_other_and_the_highest_reaches_its_line():
    chart = draw({(0, "a"): 30, (0, "b"): Fraction(10), (2, "b"): 20})
    low, high = chart.bars[0].parts
    assert (low.series, high.series) == (0, 1)
    assert low.y + low.height == HEIGHT - 1
    assert high.y + high.height == pytest.approx(low.y)
    assert high.y == pytest.approx(TOP), "40 is the highest line"
    assert [line.label for line in chart.lines] == ["0", "10", "20", "30", "40"]
    assert chart.bars[1].parts == ()
    assert chart.bars[2].parts[0].height == pytest.approx((HEIGHT - 1 - TOP) / 2)


def test_bars_fill_the_width():
    chart = draw({(0, "a"): 1}, count=31)
    assert chart.bars[0].x == 0
    assert chart.bars[-1].x + chart.bars[-1].width == pytest.approx(100, abs=0.01)


def test_what_a_bar_says():
    chart = draw({(0, "a"): Fraction(3, 2), (0, "b"): 1, (1, "b"): 2})
    assert chart.bars[0].title == "Thursday, 22 October: 5/2h\na: 3/2h\nb: 1h"
    assert chart.bars[1].title == "Friday, 23 October: 2h\nb: 2h"
    assert chart.bars[2].title == "Saturday, 24 October: 0h"


def test_days_have_labels_that_do_not_crowd():
    bars = draw({(0, "a"): 1}).bars
    assert [b.label for b in bars if b.label] == ["22 Oct", "27", "1 Nov", "6", "11", "16"]
    assert [b.label for b in bars if b.major] == ["22 Oct", "1 Nov", "11"]
    assert [b.label for b in draw({}, count=3).bars] == ["22 Oct", "23", "24"]


def test_nothing_at_all_is_drawn_as_nothing():
    chart = draw({})
    assert [line.label for line in chart.lines] == ["0", "1"]
    assert not any(b.parts for b in chart.bars)


@pytest.mark.parametrize(
    ("most", "top", "lines"),
    [(0, 1, 2), (1, 1, 5), (0.3, 0.3, 4), (4, 4, 5), (4.01, 6, 4), (9, 10, 5), (10, 10, 5),
     (99, 100, 5), (720, 800, 5), (12345, 15000, 4), (1e-7, 1e-7, 5), (8e9, 8e9, 5)],
)  # fmt: skip
def test_lines_stand_for_round_numbers(most, top, lines):
    found = ladder(most)
    assert found[-1] == pytest.approx(top) and len(found) == lines
    assert found[-1] >= most * (1 - 1e-6)


def test_the_most_have_colours_and_the_others_share_one():
    assert ranked({"a": 1, "b": 2, "c": 0}) == ["b", "a"]
    many = {f"p{n}": Fraction(n, 7) for n in range(1, COLOURS + 3)}
    assert ranked(many) == ["p8", "p7", "p6", "p5", "p4", "p3", REST]
    assert ranked({f"p{n}": 1 for n in range(COLOURS)}) == [f"p{n}" for n in range(COLOURS)]
