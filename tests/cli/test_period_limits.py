"""Limits per period by the shell and by files."""

FILE = """
wallets: [{name: lab}]
limits:
  - {resource: gpu_hours, amount: 20.5, person: "*", wallet: lab, period: month}
  - {resource: credits, amount: 100, group: physics, each: true, period: week}
  - {resource: credits, amount: 30, group: physics, each: true, period: day}
  - {resource: gpus, amount: 4}
"""


def test_set_listed_and_lifted(shell):
    shell.ok("wallet", "create", "lab")
    words = ("limit", "set", "gpu_hours", "20", "--person", "ada", "--wallet", "lab")
    assert "20 GPU-hours per month" in shell.ok(*words, "--period", "month")
    shell.ok(*words, "--period", "day")
    shell.ok("limit", "set", "gpu_hours", "30", *words[4:], "--period", "month")
    month, day = shell.json("limit", "list")["limits"]
    assert (month["amount_text"], month["period"], month["used"]) == ("30", "month", 0)
    assert (day["amount_text"], day["period"], day["unit"]) == ("20", "day", "GPU-hours per day")
    assert "GPU-hours per month" in shell.ok("limit", "list")
    shell.ok("limit", "remove", str(day["id"]))
    assert len(shell.json("limit", "list")["limits"]) == 1


def test_what_can_not_be(sqlite_shell):
    shell = sqlite_shell
    shell.ok("wallet", "create", "lab")
    for words, says in (
        (("gpu_hours", "1", "--person", "ada"), "needs a period: day, week, month"),
        (("gpu_hours", "1", "--person", "ada", "--period", "year"), "not 'year'"),
        (("gpus", "1", "--person", "ada", "--period", "day"), "gpus has no period"),
        (("credits", "1", "--period", "day"), "is limited for a person"),
        (("credits", "1", "--profile", "big", "--period", "day"), "is limited for a person"),
    ):
        shell("limit", "set", *words)
        assert shell.status == 2 and says in shell.err, (words, shell.err)


def test_files_and_back(shell, tmp_path):
    file = tmp_path / "lab.yaml"
    file.write_text(FILE)
    told = shell.ok("apply", str(file), "--dry-run")
    assert "each person within the wallet lab: 20.5 GPU-hours per month" in told
    shell.ok("apply", str(file))
    assert [(x["resource"], x["amount"], x["period"]) for x in
            shell.json("limit", "list")["limits"]] == [
        ("gpu_hours", 73_800_000, "month"), ("credits", 100_000_000, "week"),
        ("credits", 30_000_000, "day"), ("gpus", 4000, None),
    ]  # fmt: skip
    exported = shell.ok("export")
    assert "period: month" in exported
    out = tmp_path / "out.yaml"
    out.write_text(exported)
    before = shell.rows()
    shell.ok("apply", str(out))
    assert shell.rows() == before
    # an amount is changed, a period is another limit
    file.write_text(FILE.replace("20.5", "21").replace("period: day", "period: month"))
    told = shell.ok("apply", str(file))
    assert "20.5 GPU-hours per month -> 21 GPU-hours per month" in told
    lines = [line for line in told.splitlines() if "physics" in line]
    assert [line.split()[0] for line in lines] == ["+", "-"] and "30 credits per month" in lines[0]
    table = tmp_path / "limits.csv"
    table.write_text("resource,amount,group,period\ncore_hours,7,physics,week\n")
    shell.ok("apply", str(table))
    (only,) = shell.json("limit", "list")["limits"]
    assert (only["resource"], only["period"]) == ("core_hours", "week")
    file.write_text(FILE.replace("period: week", "period: year"))
    shell("apply", str(file))
    assert "This is one of day, week, month, not 'year'" in shell.err
