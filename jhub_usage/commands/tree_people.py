"""The commands about people, and about rows that are old."""


def add(tree) -> None:
    person = tree.group("person", "People, and forgetting the name of one for good.")
    listed = tree.leaf(person, "list", "people.list_all", "People by name, earlier ones too.")
    listed.add_argument("--search", default="", metavar="TEXT", help="only with this in the name")
    listed.add_argument("--limit", type=int, default=200, metavar="N",
                        help="at most so many (default: 200)")  # fmt: skip
    forget = tree.leaf(
        person,
        "pseudonymise",
        "people.pseudonymise",
        "Replace a person's name everywhere by person-ID, for good; entries and sums stay.",
    )
    forget.add_argument("person", metavar="NAME", help="the name, whole")
    forget.add_argument("--id", type=int, metavar="ID",
                        help="the person's number, where several had the name")  # fmt: skip
    forget.add_argument("--yes", action="store_true", help="do it; else it is only explained")


def add_retain(tree, db) -> None:
    """``db retain`` stands beside the other commands about the tables."""
    retain = tree.leaf(
        db, "retain", "people.retain",
        "Delete rows that are older than the settings `keep_..._days` say; the service does it, "
        "too.",
    )  # fmt: skip
    retain.add_argument("--dry-run", action="store_true", help="only count them")
