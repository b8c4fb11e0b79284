"""Who pays, by rules over whole names (rule 22); what a name may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jhub_usage.domain.errors import BadInput
from jhub_usage.domain.names import require_name
from jhub_usage.domain.rules import Rule, first_match, require_rule

ADA = Rule(0, "wallet", 1, person="ada", id=1)
LAB = Rule(1, "wallet", 2, group="lab", id=2)
BIG = Rule(2, "wallet", 3, profile="big", id=3)
LAB_BIG = Rule(3, "wallet", 4, group="lab", profile="big", id=4)
DEFAULT = Rule(9, "personal", id=9)
ALL = [DEFAULT, LAB_BIG, BIG, LAB, ADA]


@pytest.mark.parametrize(
    ("person", "groups", "profile", "rule"),
    [
        ("ada", [], "cpu", ADA),
        ("ada", ["lab"], "big", ADA),
        ("bob", ["lab"], "big", LAB),
        ("bob", [], "big", BIG),
        ("bob", [], "cpu", DEFAULT),
        # names are compared whole: these are other people, groups and profiles
        ("ada2", [], "cpu", DEFAULT),
        ("ad", [], "cpu", DEFAULT),
        ("Ada", [], "cpu", DEFAULT),
        ("bob", ["lab2", "labs"], "cpu", DEFAULT),
        ("bob", [], "bigger", DEFAULT),
    ],
)
def test_the_first_rule_that_matches(person, groups, profile, rule):
    assert first_match(ALL, person, groups, profile) == rule


def test_nobody_pays_without_a_rule():
    assert first_match([ADA], "bob", ["lab"], "big") is None


@pytest.mark.parametrize(
    "rule", [Rule(0, "nobody"), Rule(0, "wallet"), Rule(0, "personal", 3), Rule(0, "", 3)]
)
def test_rules_that_can_not_be(rule):
    with pytest.raises(BadInput):
        require_rule(rule)


@pytest.mark.parametrize(
    "name", ["ada", "ada lovelace", "Ünï ©ødé", "o'brien", '"x"', "a" * 255, "實驗室", "a%_*"]
)
def test_names_that_are_fine(name):
    assert require_name(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", " ada", "ada ", "a\nb", "a\0b", "a\u200bb", "a" * 256, None, 7, "a\u2028b"]
)
def test_names_that_are_not(name):
    with pytest.raises(BadInput):
        require_name(name)


@given(st.text(min_size=1, max_size=20))
def test_one_name_has_one_form(name):
    try:
        once = require_name(name)
    except BadInput:
        return
    assert require_name(once) == once
