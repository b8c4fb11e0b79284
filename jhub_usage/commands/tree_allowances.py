"""``wallet allowance`` and ``advance`` as argparse sees them."""

AMOUNT = "credits of each period, as a decimal"


def add(tree) -> None:
    """The command that books what is due."""
    advance = tree.leaf(
        tree.top, "advance", "advance.advance",
        "Book what is due for all wallets, also when more than 62 days are to be caught up; those "
        "that a clock has put ahead go on from now.",
    )  # fmt: skip
    advance.add_argument("--dry-run", action="store_true", help="only show what would be booked")


def add_allowance(tree, group) -> None:
    """The leaf of the group ``wallet``."""
    leaf = tree.leaf(group, "allowance", "wallets.allowance",
                     "Give a wallet credit each day, week or month, or end that.")  # fmt: skip
    leaf.add_argument("wallet", metavar="WALLET", help="the wallet's name")
    leaf.add_argument("--amount", metavar="AMOUNT", help=AMOUNT)
    leaf.add_argument("--period", metavar="PERIOD", help="day, week or month")
    leaf.add_argument(
        "--carry", metavar="AMOUNT",
        help="of what is left at the end so much is kept, or `full`: all of it (default: 0)",
    )  # fmt: skip
    leaf.add_argument(
        "--now", action="store_true",
        help="the new amount begins at once; else a first one does, a changed one with the "
        "next period",
    )  # fmt: skip
    leaf.add_argument("--remove", action="store_true",
                      help="no more; what is left expires at the end of the period")  # fmt: skip
