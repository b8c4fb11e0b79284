"""What a chart of stacked bars is: places and words, ready to be drawn. Pure; draws nothing.

Across it is laid out in percent, so that bars get wider with the page and words do not; upwards in
pixels. Floats serve the drawing only: what is told in words comes from exact numbers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

Number = Fraction | int

HEIGHT = 220
#: Room above the highest bar, where its line has its number.
TOP = 16
#: Colours that are told apart; what has none is summed up as the rest.
COLOURS = 6
REST = "others"


@dataclass(frozen=True)
class Part:
    """One colour of a bar, in pixels from the top. ``series`` is its place in the legend."""

    series: int
    y: float
    height: float


@dataclass(frozen=True)
class Bar:
    """One day: where it stands (percent), what it says when pointed at, its parts from below."""

    x: float
    width: float
    title: str
    parts: tuple[Part, ...]
    #: The day's number below it, on few of them; ``major`` ones are there on a phone, too.
    label: str = ""
    major: bool = False


@dataclass(frozen=True)
class Line:
    """A line across with the number that it stands for."""

    y: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A stacked bar per day. ``series`` names the colours in their order."""

    title: str
    series: tuple[str, ...]
    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]
    height: int = HEIGHT


def ranked(totals: Mapping[str, Number]) -> list[str]:
    """The names with the most, as many as there are colours; the others share one more."""
    order = sorted((n for n, v in totals.items() if v), key=lambda n: (-totals[n], n))
    return order if len(order) <= COLOURS else [*order[:COLOURS], REST]


def stacked(
    title: str,
    days: Sequence[str],
    series: Sequence[str],
    values: Mapping[tuple[str, str], Number],
    *,
    say: Callable[[Number], str],
    say_short: Callable[[float], str],
) -> Chart:
    """A chart of (day, series) -> value. ``say`` makes words of a value, ``say_short`` of one
    beside a line."""
    sums = [sum(values.get((day, s), 0) for s in series) for day in days]
    steps = ladder(float(max(sums, default=0)))
    bottom = HEIGHT - 1
    scale = (bottom - TOP) / steps[-1]
    bars = []
    for n, (day, total) in enumerate(zip(days, sums, strict=True)):
        at, y, parts, words = date.fromisoformat(day), float(bottom), [], []
        words.append(f"{at:%A}, {at.day} {at:%B}: {say(total)}")
        for number, name in enumerate(series):
            value = values.get((day, name), 0)
            if value > 0:
                height = float(value) * scale
                y -= height
                parts.append(Part(number, round(y, 2), round(height, 2)))
                words.append(f"{name}: {say(value)}")
        step = 100 / len(days)
        bars.append(
            Bar(round(n * step, 4), round(step, 4), "\n".join(words), tuple(parts),
                *_label(n, len(days), at))
        )  # fmt: skip
    lines = tuple(Line(round(bottom - step * scale, 2), say_short(step)) for step in steps)
    return Chart(title, tuple(series), tuple(bars), lines)


def _label(n: int, count: int, day: date) -> tuple[str, bool]:
    """Every fifth day has one, every day where there are few; the month where it is new."""
    every = 1 if count <= 10 else 5
    if n % every:
        return "", False
    text = f"{day.day} {day:%b}" if n == 0 or day.day <= every else str(day.day)
    return text, n % (2 * every) == 0


#: What lines across stand for, in tens of anything.
_STEPS = (1, 2, 2.5, 5)


def ladder(most: float) -> list[float]:
    """Round numbers from 0 to ``most`` or a little more, four steps at most."""
    if most <= 0:
        return [0.0, 1.0]
    power = math.floor(math.log10(most)) - 1
    sizes = (factor * 10.0**p for p in range(power, power + 3) for factor in _STEPS)
    # rounding must not make a fifth step of four
    size = next(s for s in sizes if s * 4 * (1 + 1e-9) >= most)
    count = max(1, math.ceil(most / size - 1e-9))
    return [size * n for n in range(count + 1)]
