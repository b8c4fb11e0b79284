"""Allowances in the shell: given, shown, changed, taken away; and what is due is booked."""

from datetime import UTC, datetime, timedelta

from jhub_usage.store import tables as t
from jhub_usage.store.engine import Database


def test_an_allowance_from_the_first_to_the_last(shell):
    shell.ok("wallet", "create", "lab")
    said = shell.ok("wallet", "allowance", "lab", "--amount", "100", "--period", "month",
                    "--carry", "20")  # fmt: skip
    assert said.startswith("The allowance of lab is $100.00 per month, keeps $20.00, from now on: "
                           "entry 1. The next one comes at ")  # fmt: skip
    listed = shell.ok("wallet", "list")
    assert "$100.00 from the monthly $100.00" in listed
    assert "-01 00:00: $80.00 expires, $100.00 comes" in listed
    shown = shell.ok("wallet", "show", "lab")
    for line in ("allowance  ", "$100.00 per month, keeps $20.00", "left of it  ", "expires  ",
                 "$80.00 at ", "comes next", "-01 00:00", "Allowance, begun at once"):  # fmt: skip
        assert line in shown, line
    statement = shell.ok("statement", "lab", f"{datetime.now(UTC):%Y-%m}")
    assert "balance after   $100.00\nallowance       $100.00 per month" in statement
    assert "$80.00 at " in statement
    held = shell.json("wallet", "show", "lab")["allowance"]
    assert (held["amount"], held["left"], held["expires"]) == ("100", "100", "80")
    assert (held["carry_micro"], held["next_micro"]) == (20_000_000, 100_000_000)
    # changed with the next month, or at once
    said = shell.ok("wallet", "allowance", "lab", "--amount", "7", "--period", "week",
                    "--carry", "full")  # fmt: skip
    assert "is $7.00 per week, keeps everything. The next one comes at" in said
    done = shell.json("wallet", "allowance", "lab", "--amount", "7", "--period", "week",
                      "--carry", "full", "--now")  # fmt: skip
    assert (done["entry_id"], done["allowance"]["left"]) == (2, "107")
    assert done["allowance"]["carry_micro"] is None
    said = shell.ok("wallet", "allowance", "lab", "--remove")
    assert "has no allowance any more; $107.00 of it expires at" in said
    assert "$107.00 from an allowance that has ended" in shell.ok("wallet", "list")
    assert "ended" in shell.ok("wallet", "show", "lab")
    assert "all hold" in shell.ok("check")
    assert "allowance" not in shell.ok("export")


def test_what_is_wrong_with_it(shell):
    shell.ok("wallet", "create", "lab")
    rows = shell.rows()
    for words, status, text in (
        (("lab",), 2, "needs --amount and --period"),
        (("lab", "--amount", "5"), 2, "needs --amount and --period"),
        (("lab", "--amount", "5", "--period", "year"), 2, "one of day, week, month"),
        (("lab", "--amount", "-5", "--period", "day"), 2, "at least 0"),
        (("lab", "--amount", "0", "--period", "day"), 2, "more than nothing"),
        (("lab", "--amount", "5", "--period", "day", "--carry", "lots"), 2, "is not a number"),
        (("lab", "--remove", "--now"), 2, "not both"),
        (("lab", "--remove"), 4, "has no allowance"),
        (("nope", "--amount", "5", "--period", "day"), 4, "no wallet 'nope'"),
    ):
        shell("wallet", "allowance", *words)
        assert (shell.status, text in shell.err) == (status, True), (words, shell.err)
    assert shell.rows() == rows


def long_ago(url, days):
    """Nothing was booked for so many days."""
    db = Database(url)
    with db.write() as tx:
        then = tx.now() - timedelta(days=days)
        tx.execute(t.wallets_.update().values(advanced_until=then))
    db.dispose()


def test_what_is_due_is_booked_however_far(shell):
    for name in ("lab", "idle"):
        shell.ok("wallet", "create", name)
    shell.ok("wallet", "allowance", "lab", "--amount", "10", "--period", "day", "--carry", "full")
    shell.ok("wallet", "allowance", "idle", "--amount", "10", "--period", "day")
    assert "Nothing was due until" in shell.ok("advance")
    long_ago(shell.url, 100)
    shell("wallet", "grant", "lab", "1")
    assert shell.status == 3 and "`jhub-usage advance`" in shell.err
    rows = shell.rows()
    said = shell.ok("advance", "--dry-run")
    assert shell.rows() == rows
    assert "more than 62 days behind" in said and "$1,000.00" in said
    assert "100 entries for 1 wallet. Nothing was booked: this was --dry-run." in said
    foreseen = shell.json("advance", "--dry-run")
    assert (foreseen["entries"], foreseen["booked"]) == (100, False)
    assert [(w["wallet"], w["too_far"], w["balance"]) for w in foreseen["wallets"]] == [
        ("lab", True, "1010")
    ]
    assert "is booked: 100 entries for 1 wallet." in shell.ok("advance")
    shell.ok("wallet", "grant", "lab", "1")
    assert shell.json("wallet", "show", "lab")["balance"] == "1011"
    assert "0 entries for 0 wallets" in shell.ok("advance", "--dry-run")
    assert "all hold" in shell.ok("check")


def test_many_wallets_are_named_up_to_a_number(shell, tmp_path):
    wallets = [f"- {{name: w{n}, allowance: {{amount: 1, period: day, carry: full}}}}"
               for n in range(60)]  # fmt: skip
    (tmp_path / "many.yaml").write_text("\n".join(["wallets:", *wallets]))
    shell.ok("apply", "many.yaml")
    long_ago(shell.url, 2)
    said = shell.ok("advance", "--dry-run")
    assert "... and 10 more." in said and "120 entries for 60 wallets" in said
    assert len(shell.json("advance", "--dry-run")["wallets"]) == 60
    done = shell.json("advance")
    assert (done["wallets"], done["entries"]) == (60, 120) and done["until"].endswith("Z")


def test_midnight_is_that_of_the_setting_before_any_service_ran(shell, monkeypatch):
    monkeypatch.setenv("JHUB_USAGE_TIMEZONE", "Asia/Tokyo")
    shell.ok("wallet", "create", "lab")
    said = shell.ok("wallet", "allowance", "lab", "--amount", "1", "--period", "month")
    assert "-01 00:00." in said
    assert shell.json("wallet", "show", "lab")["allowance"]["next_at"].endswith("T15:00:00Z")


def test_a_trial_of_a_start_says_what_is_left_and_when_the_next_one_comes(shell):
    shell.ok("wallet", "create", "lab")
    shell.ok("wallet", "member", "lab", "ada", "--expected")
    shell.ok("wallet", "allowance", "lab", "--amount", "0.5", "--period", "month")
    asked = ("trial", "start", "--person", "ada", "--gpus", "1", "--wallet", "lab")
    said = shell.ok(*asked)
    for words in ("left of it", "$0.50", "comes next", "-01 00:00",
                  "The next allowance of $0.50 comes on"):  # fmt: skip
        assert words in said, words
    assert shell.json(*asked)["allowance"]["left_micro"] == 500_000


def test_wallets_that_a_clock_put_ahead_go_on_from_now(sqlite_shell):
    shell = sqlite_shell
    shell.ok("wallet", "create", "lab")
    shell.ok("wallet", "allowance", "lab", "--amount", "10", "--period", "day")
    long_ago(shell.url, -100)
    rows = shell.rows()
    assert "would go on from now: lab." in shell.ok("advance", "--dry-run")
    assert shell.json("advance", "--dry-run")["ahead"] == ["lab"] and shell.rows() == rows
    said = shell.ok("advance")
    assert "Nothing was due" in said and "ahead; they go on from now: lab." in said
    assert "ahead" not in shell.ok("advance") and shell.json("advance")["put_back"] == []
