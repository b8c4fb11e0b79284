"""The commands under ``jhub-usage request``, as argparse sees them."""

AMOUNT = "credits as a decimal, like 12.50; without it all that was asked for"


def add(tree) -> None:
    """Add the group to the tree."""
    group = tree.group("request", "People's requests for credit: what waits, grant it or decline.")
    listed = tree.leaf(group, "list", "requests.list_all", "Requests, newest first.")
    listed.add_argument("--state", help="only open, granted, declined or withdrawn")
    listed.add_argument("--wallet", help="only those for this wallet")
    listed.add_argument("--person", help="only this person's")
    listed.add_argument("--limit", type=int, default=50, metavar="N",
                        help="at most so many (default: 50)")  # fmt: skip
    grant = tree.leaf(
        group, "grant", "requests.grant",
        "Grant a request, all of it or a part. The same again is the same grant.",
    )  # fmt: skip
    decline = tree.leaf(group, "decline", "requests.decline",
                        "Decline a request. Needs --note.")  # fmt: skip
    for parser in (grant, decline):
        parser.add_argument("request", metavar="REQUEST",
                            help="its number, as `request list` has it")  # fmt: skip
    grant.add_argument("amount", nargs="?", metavar="AMOUNT", help=AMOUNT)
    grant.add_argument("--from", dest="source", metavar="WALLET",
                       help="move it from this wallet (default: new credit)")  # fmt: skip
    for parser in (grant, decline):
        parser.add_argument("--note", default="", help="what the person who asked reads")
