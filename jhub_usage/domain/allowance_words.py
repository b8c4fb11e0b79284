"""Allowances in words for people, the same at every door.

Amounts and instants arrive as the text that the door writes them with. Pure; decides nothing.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime

from .allowances import Allowance
from .money import plain
from .periods import DAY, MONTH, WEEK, first_day

#: How often it comes.
HOW_OFTEN = {DAY: "daily", WEEK: "weekly", MONTH: "monthly"}

Money = Callable[[int], str]


def allowance_text(allowance: Allowance, money: Money = plain) -> str:
    """``100 per month, keeps 20``."""
    return f"{money(allowance.amount_micro)} per {allowance.period}, {keeps(allowance, money)}"


def keeps(allowance: Allowance, money: Money = plain) -> str:
    """What is left of it at its end."""
    if allowance.carry_micro is None:
        return "keeps everything"
    return f"keeps {money(allowance.carry_micro)}" if allowance.carry_micro else "keeps nothing"


def change_text(before: Allowance, after: Allowance) -> str:
    """``100 -> 120 per month, keeps 20``: only what changes is there twice."""
    if before.period != after.period:
        return f"{allowance_text(before)} -> {allowance_text(after)}"
    old, new = plain(before.amount_micro), plain(after.amount_micro)
    text = new if old == new else f"{old} -> {new}"
    rest = [keeps(before), keeps(after)]
    return f"{text} per {after.period}, {' -> '.join(dict.fromkeys(rest))}"


def left_text(held: Mapping, money: Money, when: Callable[[datetime], str]) -> str:
    """What is left of it and what its next boundary brings, in a sentence without its end.

    ``held`` has the fields that ``actions.allowances.facts`` gives.
    """
    amount, left, expires = held["amount_micro"], held["left_micro"], held["expires_micro"]
    at = when(held["next_at"])
    if not amount:
        return f"{money(left)} is left of an allowance that has ended; it expires on {at}"
    text = f"{money(left) if left else 'nothing'} is left of {each(held, money)}"
    if left > amount:
        text += ", with what was kept"
    if not expires:
        return f"{text}; {money(amount)} comes on {at}"
    part = "it" if expires == left else f"{money(expires)} of it"
    return f"{text}; {part} expires on {at}, when {money(amount)} comes"


def short_text(held: Mapping, money: Money) -> str:
    """The same in a few words: ``$37.20 from the monthly $100.00``."""
    what = each(held, money) if held["amount_micro"] else "an allowance that has ended"
    return f"{money(held['left_micro'])} from {what}"


def next_text(held: Mapping, money: Money, when: Callable[[datetime], str]) -> str:
    """What its next boundary brings: ``1 December, 00:00: $37.20 expires, $100.00 comes``."""
    parts = [
        f"{money(held[name])} {what}"
        for name, what in (("expires_micro", "expires"), ("next_micro", "comes"))
        if held[name]
    ]
    return f"{when(held['next_at'])}: {', '.join(parts)}" if parts else ""


def each(held: Mapping, money: Money) -> str:
    """``the monthly $100.00``."""
    return f"the {HOW_OFTEN[held['period']]} {money(held['amount_micro'])}"


def period_text(label: str) -> str:
    """A period's label for people: ``20 November 2026``, ``November 2026``, ``the week of ...``."""
    if "W" in label:
        return f"the week of {_day(first_day(WEEK, label))}"
    if len(label) == len("2026-11"):
        return f"{first_day(MONTH, label):%B %Y}"
    return _day(first_day(DAY, label))


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def entry_text(kind: str, key: str) -> str:
    """What an entry of an allowance is about, by its key; empty for any other entry."""
    name, _, rest = key.partition(":")
    if name != "allowance":
        return ""
    label = rest.partition(":")[2]
    if label.startswith("at:"):
        return "Allowance, begun at once"
    if kind == "expiry":
        return f"What was left of the allowance before {period_text(label)}"
    return f"Allowance for {period_text(label)}"


def boundary_text(granted_micro: int, expired_micro: int) -> str:
    """The two parts of an allowance's one net entry; empty where there is only one."""
    if not granted_micro or not expired_micro:
        return ""
    return f"{plain(granted_micro)} granted, {plain(expired_micro)} of the last one expired"
