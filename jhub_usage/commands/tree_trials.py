"""The arguments of ``jhub-usage trial``."""


def add(tree) -> None:
    """Add the group to the tree of commands."""
    trial = tree.group("trial", "What would happen, or would have happened, under other rules.")
    start = tree.leaf(
        trial, "start", "trials.start",
        "Who pays if a person starts this now, and would it be admitted?",
    )  # fmt: skip
    start.add_argument("--person", required=True, metavar="PERSON", help="a user of the Hub")
    start.add_argument("--group", action="append", metavar="GROUP",
                       help="a Hub group that they would be in; again for more")  # fmt: skip
    start.add_argument("--profile", metavar="PROFILE",
                       help="without a size, the size of its last start is tried")  # fmt: skip
    start.add_argument("--wallet", metavar="WALLET", help="that they would choose")
    start.add_argument("--gpus", type=int, metavar="N", help="how many GPUs")
    start.add_argument("--gpu-model", metavar="MODEL", help="of which model")
    start.add_argument("--cpu", metavar="CORES", help="cores, like 4 or 500m")
    start.add_argument("--memory", metavar="SIZE", help="memory, like 16Gi")
    month = tree.leaf(
        trial, "month", "trials.month",
        "A month as it would have been under the rates, limits and rules of files; without files "
        "it is run again as it was, which gives its own ledger.",
    )  # fmt: skip
    month.add_argument("month", metavar="MONTH", help="like 2026-10")
    month.add_argument("files", nargs="*", metavar="FILE",
                       help="rates, limits and rules in the form that apply takes")  # fmt: skip
