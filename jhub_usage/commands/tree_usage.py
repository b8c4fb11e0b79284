"""The commands ``report usage`` and those under ``rollup``, as argparse sees them."""

WHEN = "a day like 2026-11-20 (its midnight in the hub's zone) or an ISO time with offset"
BY = "groups, with commas: day, week, month, hub, person, wallet, profile, gpu_model, node"


def add(tree) -> None:
    """Add both groups to the tree."""
    report = tree.group("report", "Reports for people and programs.")
    usage = tree.leaf(
        report, "usage", "usage.report",
        "What was used within a window, by when it happened, with what runs now.",
    )  # fmt: skip
    usage.add_argument("--begin", metavar="TIME", help=f"{WHEN} (default: 29 days ago)")
    usage.add_argument("--end", metavar="TIME",
                       help="the same, exclusive (default: the end of today)")  # fmt: skip
    usage.add_argument("--by", default="day", metavar="GROUPS", help=f"{BY} (default: day)")
    usage.add_argument("--person", help="only this person's")
    usage.add_argument("--wallet", help="only what this wallet pays for")
    usage.add_argument("--profile", help="only of this profile")
    usage.add_argument("--gpu-model", help="only of this GPU model")
    usage.add_argument("--node", help="only what ran there")
    usage.add_argument("--csv", action="store_true", help="write CSV, with all decimals")
    rollup = tree.group("rollup", "The sums per day that reports and limits read.")
    tree.leaf(rollup, "check", "usage.check",
              "Compare them with the sessions; ends with 1 where they differ.")  # fmt: skip
    tree.leaf(rollup, "rebuild", "usage.rebuild",
              "Count them anew from the sessions. Changes no answer.")  # fmt: skip
