"""A statement's sums are exactly those of its lines; the same lines make the same bytes."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jhub_usage.domain.statements import (
    COLUMNS,
    Line,
    Names,
    Ran,
    canonical,
    checksum,
    compose,
    csv_text,
    hours,
    hours_shown,
)

T0 = datetime(2026, 11, 20, 9, tzinfo=UTC)
HOUR = 3_600_000_000
HEAD = {
    "state": "closed", "month": "2026-11", "begins_at": "2026-11-01T00:00:00Z",
    "ends_at": "2026-12-01T00:00:00Z", "closed_at": "2026-12-04T00:00:00Z", "timezone": "UTC",
    "currency": "USD", "wallet": {"id": 1, "name": "lab", "title": ""}, "only_person": None,
}  # fmt: skip
NAMES = Names({1: "ada", 2: "bob", 3: "olga"}, {7: "other"})


def ran(id, person_id=1, profile="gpu", model="A100", gpus=1, cores=4):
    return Ran(id, person_id, "", profile, model, gpus, gpus * 1000, cores * 1000, 2**30,
               4_000_000, 0, ({"resource": "gpu", "amount_micro": 4_000_000},))  # fmt: skip


def line(id, kind, amount, session=None, hours=0, **more):
    return Line(id, kind, amount, T0, T0, session, elapsed_us=int(hours * HOUR),
                actor_kind="system", **more)  # fmt: skip


A, B, C = ran("a"), ran("b", 2, gpus=4), ran("c", 1, "cpu", "", 0)
LINES = (
    line(1, "grant", 100_000_000, actor_id=3),
    line(2, "charge", -8_000_000, "a", 2),
    line(3, "charge", -1, "c", 0.5),
    line(4, "charge", -48_000_000, "b", 3),
    line(5, "refund", 1_000_000, "b", corrects_id=4, corrects_month="2026-11", goodwill=True),
    line(6, "correction", 16_000_000, "b", -1),
    line(7, "transfer", -5, counter_wallet_id=7),
)


def made(lines=LINES, **more):
    more = {"opening_micro": 50} | more
    return compose(HEAD, lines, {x.id: x for x in (A, B, C)}, NAMES, **more)


def test_the_sums_of_a_month():
    s = made()
    assert (s["opening_micro"], s["closing_micro"]) == (50, 50 + 60_999_994)
    assert [(k["kind"], k["entries"], k["amount_micro"]) for k in s["kinds"]] == [
        ("grant", 1, 100_000_000), ("charge", 3, -56_000_001), ("refund", 1, 1_000_000),
        ("correction", 1, 16_000_000), ("transfer", 1, -5),
    ]  # fmt: skip
    assert [(p["person"], p["amount_micro"], hours(p["gpu_us"])) for p in s["people"]] == [
        ("ada", -8_000_001, "2"), ("bob", -31_000_000, "8"), (None, 99_999_995, "0"),
    ]  # fmt: skip
    assert [(p["profile"], p["gpu_model"], p["amount_micro"]) for p in s["profiles"]] == [
        ("cpu", "", -1), ("gpu", "A100", -39_000_000), (None, None, 99_999_995),
    ]  # fmt: skip
    sessions = {x["id"]: (x["entries"], x["amount_micro"], hours(x["cpu_us"]))
                for x in s["sessions"]}  # fmt: skip
    assert sessions == {
        "a": (1, -8_000_000, "8"), "c": (1, -1, "2"), "b": (3, -31_000_000, "8"),
    }  # fmt: skip
    entry = s["entries"][4]
    assert (entry["corrects_id"], entry["person_id"], entry["gpu_us"]) == (4, 2, 0)
    assert (s["entries"][0]["actor"], s["entries"][6]["counter_wallet"]) == ("olga", "other")
    assert s["by"] == "booked month"


def test_usage_that_is_taken_back_is_negative():
    s = made([line(6, "correction", 16_000_000, "b", -1)])
    assert s["entries"][0]["elapsed_us"] == -HOUR
    assert hours(s["total"]["gpu_us"]) == "-4"


def test_one_persons_lines_have_no_balance():
    s = made(LINES[1:3], opening_micro=None)
    assert (s["opening_micro"], s["closing_micro"]) == (None, None)
    assert s["total"]["amount_micro"] == -8_000_001


def test_what_is_not_booked_is_in_no_sum():
    waits = line(None, "charge", -4_000_000, "a", 1)
    s, without = made(LINES[:1], pending=[waits]), made(LINES[:1])
    assert s["pending_micro"] == -4_000_000 and s["pending"][0]["id"] is None
    for name in ("total", "kinds", "people", "profiles", "closing_micro"):
        assert s[name] == without[name]
    assert [(x["id"], x["entries"]) for x in s["sessions"]] == [("a", 0)]
    assert "pending" not in without


def test_whoever_has_no_name_has_a_number():
    s = compose(HEAD, LINES, {x.id: x for x in (A, B, C)}, Names({}, {}), opening_micro=0)
    assert {x["person"] for x in s["sessions"]} == {"person-1", "person-2"}
    assert s["entries"][6]["counter_wallet"] == "wallet-7"


def test_the_bytes_do_not_depend_on_the_order_in_which_values_were_made():
    s = made()
    turned = json.loads(json.dumps(s), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert list(turned) != list(s)
    assert canonical(turned) == canonical(s) and checksum(turned) == checksum(s)
    assert canonical(s).endswith(b"}\n") and canonical(s).isascii()
    assert b"." not in canonical(made([line(1, "charge", -1, "a", 1)])).replace(b"gpu.", b"")


def amounts():
    kinds = st.sampled_from(["grant", "charge", "refund", "correction"])
    session = st.sampled_from([None, "a", "b", "c"])
    return st.lists(st.tuples(kinds, st.integers(-(10**15), 10**15), session,
                              st.integers(-HOUR, 1000 * HOUR)), max_size=20)  # fmt: skip


@given(amounts())
def test_every_cut_sums_to_the_whole(found):
    lines = [Line(n, kind, amount, T0, T0, session, elapsed_us=us)
             for n, (kind, amount, session, us) in enumerate(found)]  # fmt: skip
    s = made(lines)
    whole = s["total"]
    assert whole["amount_micro"] == sum(x.amount_micro for x in lines)
    for cut in ("kinds", "people", "profiles"):
        for name in ("entries", "amount_micro", "elapsed_us", "gpu_us", "cpu_us"):
            assert sum(part[name] for part in s[cut]) == whole[name], (cut, name)
    of_sessions = sum(x["amount_micro"] for x in s["sessions"])
    others = sum(x.amount_micro for x in lines if x.session_id is None)
    assert of_sessions + others == whole["amount_micro"]
    assert sum(e["gpu_us"] for e in s["entries"]) == whole["gpu_us"]


# -- as a table ------------------------------------------------------------------------------------


def table(statement):
    text = csv_text(statement)
    assert text.count("\r\n") >= 1 and "\n\n" not in text
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_table_has_all_decimals():
    rows = table(made(pending=[line(None, "charge", -4_000_000, "a", 1)]))
    assert tuple(rows[0]) == COLUMNS and len(rows) == len(LINES) + 1
    charge, odd, back = rows[1], rows[2], rows[5]
    assert (charge["amount"], charge["gpus"], charge["gpu_hours"], charge["billed_seconds"]) == (
        "-8", "1", "2", "7200",
    )  # fmt: skip
    assert (odd["amount"], odd["core_hours"], odd["person"]) == ("-0.000001", "2", "ada")
    assert (back["gpu_hours"], back["billed_seconds"]) == ("-4", "-3600")
    assert rows[-1]["entry"] == "" and rows[-1]["person"] == "ada"
    assert sum(round(float(r["amount"]) * 10**6) for r in rows[:-1]) == 60_999_994


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", '=HYPERLINK("x")'])
def test_a_note_is_no_formula(text):
    (row,) = table(made([line(1, "grant", 1, note=text)]))
    assert row["note"] == "'" + text


def test_a_note_with_everything_in_it_is_one_cell():
    text = 'a "quoted", one\nof two lines; ä \u2028'
    (row,) = table(made([line(1, "grant", 1, note=text)]))
    assert row["note"] == text


@pytest.mark.parametrize(
    ("milli_us", "decimals", "text"),
    [
        (0, 6, "0"),
        (1000 * HOUR, 6, "1"),
        (1000 * HOUR + 1, 6, "1"),
        (1_800_000, 6, "0.000001"),
        (1_799_999, 6, "0"),
        (-1_800_000, 6, "-0.000001"),
        (1500 * HOUR, 2, "1.5"),
        (1005 * HOUR, 2, "1.01"),  # half a hundredth goes up
        (-1005 * HOUR, 2, "-1.01"),
        (999 * HOUR, 0, "1"),
        (8000 * 31 * 24 * HOUR, 6, "5952"),
    ],
)
def test_hours(milli_us, decimals, text):
    assert hours(milli_us, decimals) == text


@pytest.mark.parametrize(
    ("milli_us", "text"),
    [
        (0, "0.00"),
        (1500 * HOUR, "1.50"),
        (-1005 * HOUR, "-1.01"),
        (-1000, "0.00"),
        (1_234_567 * HOUR, "1,234.57"),
    ],
)
def test_hours_in_a_column(milli_us, text):
    assert hours_shown(milli_us) == text


@given(st.integers(-(10**20), 10**20))
def test_hours_are_at_most_half_a_step_off(milli_us):
    shown = hours(milli_us)
    whole, _, part = shown.lstrip("-").partition(".")
    back = (int(whole) * 10**6 + int(part.ljust(6, "0") or 0)) * 3_600_000
    assert abs(back - abs(milli_us)) * 2 <= 3_600_000
