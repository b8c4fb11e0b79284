"""Names as whole words, in texts and in JSON; and how long rows are kept."""

from datetime import UTC, datetime

import pytest

from jhub_usage.domain.privacy import Renamed, cutoff, pseudonym

ADA = Renamed(("ada",), "person-5", "~ada", "~person-5")


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("ada", "person-5"),
        ("The wallet ~ada has 3 left.", "The wallet ~person-5 has 3 left."),
        ("Open to you: lab, ~ada.", "Open to you: lab, ~person-5."),
        ("for ada's course, see /user/ada/lab", "for person-5's course, see /user/person-5/lab"),
        ("'ada' or \"ada\", (ada), @ada", "'person-5' or \"person-5\", (person-5), @person-5"),
        ("jupyter-ada--gpu---8f3c", "jupyter-person-5--gpu---8f3c"),
        ("mail ada@example.org", "mail person-5@example.org"),
        ("canada, adamant, ada_2", "canada, adamant, ada_2"),
        ("ada-2, ~ada-2, ada.lovelace, my-ada, dr.ada", None),
        ("Ada and ADA", None),
        ("", None),
    ],
)
def test_a_name_is_a_whole_word(text, after):
    assert ADA.text(text) == (text if after is None else after)


def test_in_words_of_people_the_case_does_not_matter():
    assert ADA.text("Ada's GPU", any_case=True) == "person-5's GPU"
    assert ADA.is_in("thanks, ADA!") and not ADA.is_in("Canada")


@pytest.mark.parametrize("name", ["a.b*c", "o'neill (x)", "ümit", "名前", r"back\slash", "x@y.org"])
def test_any_name_is_found(name):
    held = Renamed((name,), pseudonym(7))
    assert held.text(f"by {name}: {name}.") == "by person-7: person-7."


def test_the_next_one_of_a_name_has_another_wallet():
    second = Renamed(("ada",), "person-9", "~ada-2", "~person-9")
    assert second.wallet_in("~ada-2 and ~ada") == "~person-9 and ~ada"


def test_all_names_that_somebody_had_are_found():
    both = Renamed(("ada", "ada king"), "person-5")
    assert both.text("ada king, called ada") == "person-5, called person-5"


def test_json_is_read_by_its_fields():
    before = {
        "rules": [{"person": "ada", "group": "ada", "profile": "ada", "target": "wallet"}],
        "mode": None, "amount_micro": 5, "note": "for ada", "sums": [1, True],
    }  # fmt: skip
    assert ADA.data(before) == {
        "rules": [{"person": "person-5", "group": "ada", "profile": "ada", "target": "wallet"}],
        "mode": None, "amount_micro": 5, "note": "for person-5", "sums": [1, True],
    }  # fmt: skip


def test_who_is_called_like_a_field_takes_no_field_away():
    """A stored change is read again by its fields: what a batch gave back, an allowance."""
    held = Renamed(("period",), "person-5", "~period", "~person-5")
    change = {"period": "week", "amount_micro": 5, "note": "a period", "lines": [{"period": 1}]}
    assert held.data(change) == change | {"note": "a person-5"}


def test_a_shared_wallet_may_have_the_name_of_a_person():
    for name, after in (("ada", "ada"), ("~ada", "~person-5")):
        assert ADA.data({"name": name}, of_wallet=True) == {"name": after}
        assert ADA.data({"wallet": name}) == {"wallet": after}
    assert ADA.data({"name": "ada"}) == {"name": "person-5"}
    assert ADA.data({"title": "ada's"}, of_wallet=True) == {"title": "person-5's"}


def test_rows_are_kept_for_whole_days():
    now = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    assert cutoff(now, 0) is None
    assert cutoff(now, 1) == datetime(2026, 11, 19, tzinfo=UTC)
    assert cutoff(now, 30) == datetime(2026, 10, 21, tzinfo=UTC)
