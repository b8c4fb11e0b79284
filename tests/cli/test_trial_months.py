"""Other rules, tried from the shell: who pays and would start, and a month that was."""

from datetime import timedelta

from .test_usage import T0, past

__all__ = ["past"]

FILE = """
rates:
  - {resource: gpu, price: "8"}
limits:
  - {resource: gpus, amount: "1", person: ada}
"""


def test_a_month_as_it_was_and_under_other_rules(past, tmp_path):
    before = past.rows()
    as_it_was = past.json("trial", "month", "2026-10")
    assert as_it_was["same"] and not as_it_was["refused"]
    (lab,) = as_it_was["wallets"]
    # two hours of two GPUs lie in October
    assert lab["charged_micro"] == lab["tried_micro"] == 16_000_000
    assert "to the micro-credit" in past.ok("trial", "month", "2026-10")
    (tmp_path / "other.yaml").write_text(FILE)
    tried = past.json("trial", "month", "2026-10", "other.yaml")
    assert not tried["same"]
    assert tried["wallets"][0]["tried_micro"] == 32_000_000
    assert [(r["person"], r["used"], r["asked"]) for r in tried["refused"]] == [("ada", 0, 2000)]
    assert "1 of 1 starts would have been refused" in past.ok(
        "trial", "month", "2026-10", "other.yaml"
    )
    assert past.rows() == before


def test_months_that_can_not_be_tried(past):
    for label in ("2026-13", "9999-12", f"{T0 + timedelta(days=36500):%Y-%m}"):
        past("trial", "month", label)
        assert past.status == 2 and "month" in past.err.lower() and not past.out, label


def test_who_pays_for_somebody_whom_the_hub_knows(past):
    before = past.rows()
    for who in ("ada", "nobody-yet"):
        told = past.json("trial", "start", "--person", who, "--group", "vision", "--profile", "gpu")
        assert (told["wallet"], told["per_hour_micro"]) == ("lab", 8_000_000), told
        assert told["decision"] in ("admitted", "observed")
    assert past.rows() == before
