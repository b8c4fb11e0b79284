"""The commands about months, statements and corrected boundaries, as argparse sees them."""

TIME = "ISO time with offset, like 2026-12-01T09:30:00Z"


def add(tree) -> None:
    """The group month, and ``statement``."""
    month = tree.group("month", "Months: which are closed, and closing the next one for good.")
    tree.leaf(month, "list", "months.list_all",
              "Months, newest first, with what is booked in each.")  # fmt: skip
    close = tree.leaf(
        month, "close", "months.close",
        "Close a month: nothing is booked in it any more. The service does so by itself, too.",
    )  # fmt: skip
    close.add_argument("month", metavar="MONTH", help="like 2026-11")
    close.add_argument("--without-hub", action="append", default=[], metavar="HUB",
                       help="do not wait for this hub, which is gone; may be repeated")  # fmt: skip
    statement = tree.leaf(
        tree.top, "statement", "months.statement",
        "A wallet's statement of a month; with --json its very bytes.",
    )  # fmt: skip
    statement.add_argument("wallet", metavar="WALLET", help="the wallet's name")
    statement.add_argument("month", metavar="MONTH", help="like 2026-11")
    statement.add_argument("--csv", action="store_true", help="one row per entry, as CSV")


def add_correct(tree, session) -> None:
    """``session correct`` stands beside the other commands about sessions."""
    correct = tree.leaf(
        session, "correct", "corrections.correct",
        "Correct when an ended session started or ended; what it costs more or less is booked.",
    )  # fmt: skip
    correct.add_argument("session", metavar="UUID", help="the session's number")
    correct.add_argument("--started-at", metavar="TIME", help=f"when it started: {TIME}")
    correct.add_argument("--ended-at", metavar="TIME", help="when it ended")
    correct.add_argument("--note", default="", help="how you know; kept with the entry. Needed")
    correct.add_argument("--dry-run", action="store_true", help="only show what it would book")
