"""The operator's acts as argparse sees them: refunds by filter, maintenance, emergency passes."""

NOTE = "why; kept with it"
KEY = "the same key again is the same batch: for scripts that retry"
TIME = "ISO time with offset, like 2026-12-01T00:00:00Z"


def add(tree) -> None:
    """The groups refund, maintenance and pass."""
    _refunds(tree)
    _maintenance(tree)
    _passes(tree)


def _refunds(tree) -> None:
    group = tree.group("refund", "Give back what many sessions cost, by filter.")
    preview = tree.leaf(group, "preview", "refunds.preview",
                        "What would be given back, by session; changes nothing.")  # fmt: skip
    make = tree.leaf(group, "make", "refunds.make", "Give it back, in one batch.")
    for parser in (preview, make):
        parser.add_argument("--node", default="", help="what ran on this node")
        parser.add_argument("--from", dest="begins_at", metavar="TIME",
                            help=f"only what the cost grew from here on; {TIME}")  # fmt: skip
        parser.add_argument("--until", dest="ends_at", metavar="TIME",
                            help="until before here; without both: all that is left")  # fmt: skip
        parser.add_argument("--profile", default="", help="only this profile")
        parser.add_argument("--reason", default="",
                            help="only what ended so, like died, lost or start_failed")  # fmt: skip
        parser.add_argument("--person", default="", help="only this person's")
        parser.add_argument("--wallet", default="", help="only what this wallet paid")
        parser.add_argument("--percent", type=int, default=100, metavar="N",
                            help="that share of it, rounded down (default: 100)")  # fmt: skip
    make.add_argument("--note", default="", help="why; stands with each entry. Needed")
    make.add_argument("--key", help=KEY)
    make.add_argument("--expect", type=int, metavar="N",
                      help="refuse unless it is for so many sessions")  # fmt: skip
    make.add_argument("--expect-amount", metavar="AMOUNT",
                      help="refuse unless it is this much")  # fmt: skip
    make.add_argument("--yes", action="store_true", help="give back without having looked")


def _maintenance(tree) -> None:
    group = tree.group("maintenance", "Windows of nodes in which what runs there is not billed.")
    listed = tree.leaf(group, "list", "maintenance.list_all", "Windows, newest first.")
    add_ = tree.leaf(group, "add", "maintenance.add",
                     "Enter a window, to come or past; what ran there is given back.")  # fmt: skip
    add_.add_argument("node", metavar="NODE", help="the node's name in the cluster")
    add_.add_argument("starts_at", metavar="FROM", help=TIME)
    add_.add_argument("ends_at", metavar="UNTIL", help="at most 31 days later")
    add_.add_argument("--note", default="", help=f"{NOTE}. Needed")
    cancel = tree.leaf(group, "cancel", "maintenance.cancel",
                       "Cancel a window for which nothing was given back yet.")  # fmt: skip
    finish = tree.leaf(group, "finish", "maintenance.finish",
                       "The work is over early: the window ends now.")  # fmt: skip
    for parser in (cancel, finish):
        parser.add_argument("maintenance", type=int, metavar="NUMBER",
                            help="its number, as `maintenance list` has it")  # fmt: skip
    tree.leaf(group, "apply", "maintenance.apply",
              "Give back what is due now; the service does so every minute.")  # fmt: skip
    _limit(listed)


def _passes(tree) -> None:
    group = tree.group(
        "pass", "Emergency passes: for a while no lack of credit and no limit refuses or stops."
    )  # fmt: skip
    listed = tree.leaf(group, "list", "passes.list_all", "Passes, newest first.")
    give = tree.leaf(group, "give", "passes.give", "Give a person a pass, for at most seven days.")
    give.add_argument("person", metavar="PERSON", help="the person's name in the Hub")
    give.add_argument("--hours", type=int, metavar="N", help="for so long (default: 24)")
    give.add_argument("--until", metavar="TIME", help=f"or until then; {TIME}")
    give.add_argument("--note", default="", help=f"{NOTE}. Needed")
    revoke = tree.leaf(group, "revoke", "passes.revoke", "End a pass now.")
    revoke.add_argument("pass", type=int, metavar="NUMBER",
                        help="its number, as `pass list` has it")  # fmt: skip
    _limit(listed)


def _limit(parser) -> None:
    parser.add_argument("--limit", type=int, default=50, metavar="N",
                        help="at most so many (default: 50)")  # fmt: skip
