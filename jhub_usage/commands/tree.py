"""The command line as argparse sees it. Imports nothing but argparse, so that help is quick.

A leaf names the module and the function that do it: ``wallet grant`` is ``wallets.grant``.
"""

import argparse

from . import (
    tree_allowances,
    tree_months,
    tree_operations,
    tree_people,
    tree_requests,
    tree_trials,
    tree_usage,
)

AMOUNT = "credits as a decimal, like 12.50"
CREDITS_OR_UNLIMITED = "credits below zero that are allowed, or `unlimited`"
NOTE = "why; kept with the entry"
KEY = "the same key again is the same entry: for scripts that retry"


def _common() -> argparse.ArgumentParser:
    """Options of every command, before or after its name."""
    options = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    options.add_argument("--json", action="store_true", help="print JSON for programs")
    options.add_argument(
        "--database-url", metavar="URL",
        help="the database; else JHUB_USAGE_DATABASE_URL, or the file that "
        "JHUB_USAGE_DATABASE_URL_FILE names, else sqlite:///jhub-usage.sqlite",
    )  # fmt: skip
    options.add_argument(
        "--config", metavar="FILE",
        help="read the settings c.JHubUsage of this jupyterhub_config.py first; it is executed",
    )  # fmt: skip
    return options


class _Tree:
    """Adds commands to a parser with the common options."""

    def __init__(self):
        self.common = _common()
        self.parser = argparse.ArgumentParser(
            prog="jhub-usage",
            description="Exact, enforceable GPU accounting for JupyterHub.",
            # its own copy: defaults below must not reach the commands
            parents=[_common()],
        )
        self.parser.set_defaults(json=False, database_url=None, config=None)
        self.parser.add_argument("--version", action="version", version=_version())
        self.top = self.parser.add_subparsers(metavar="COMMAND", required=True)

    def group(self, name: str, help_text: str):
        parser = self.top.add_parser(name, help=help_text, description=help_text)
        return parser.add_subparsers(metavar="COMMAND", required=True)

    def leaf(self, under, name: str, does: str, help_text: str) -> argparse.ArgumentParser:
        parser = under.add_parser(name, help=help_text, description=help_text,
                                  parents=[self.common])  # fmt: skip
        module, function = does.split(".")
        parser.set_defaults(module=module, function=function)
        return parser


def _version() -> str:
    from .. import __version__

    return __version__


def build() -> argparse.ArgumentParser:
    """The whole tree."""
    tree = _Tree()
    _plain(tree)
    _wallets(tree)
    tree_people.add(tree)
    tree_requests.add(tree)
    tree_operations.add(tree)
    tree_months.add(tree)
    tree_usage.add(tree)
    _catalog(tree)
    _running(tree)
    tree_trials.add(tree)
    return tree.parser


def _plain(tree: _Tree) -> None:
    db = tree.group("db", "The database's tables.")
    tree.leaf(db, "upgrade", "databases.upgrade",
              "Make the tables, or bring them up to this release. Nothing is lost.")  # fmt: skip
    tree.leaf(db, "check", "databases.check",
              "Say whether the tables are those of this release, with their triggers.")  # fmt: skip
    tree_people.add_retain(tree, db)
    tree_allowances.add(tree)
    tree.leaf(tree.top, "check", "checks.check",
              "Recompute every invariant and say what was compared.")  # fmt: skip
    apply = tree.leaf(
        tree.top, "apply", "configurations.apply",
        "Make wallets, people, rates, rules and limits as files say; all of it or nothing.",
    )  # fmt: skip
    apply.add_argument("files", nargs="+", metavar="FILE", help="YAML, JSON or CSV; - is stdin")
    apply.add_argument("--dry-run", action="store_true", help="only show the difference")
    export = tree.leaf(tree.top, "export", "configurations.export",
                       "Write the configuration in the form that apply reads.")  # fmt: skip
    export.add_argument("file", nargs="?", default="-", metavar="FILE",
                        help="where to; - or nothing is standard output")  # fmt: skip
    tree.leaf(tree.top, "serve", "services.serve", "Run the service; the Hub does this.")
    demo = tree.leaf(tree.top, "demo", "services.demo",
                     "Run a Hub with made-up users, servers and history.")  # fmt: skip
    demo.add_argument("--reset", action="store_true", help="throw the demo's data away first")
    demo.add_argument("--port", type=int, default=8000, help="port of the Hub (default: 8000)")
    demo.add_argument("--no-browser", action="store_true", help="do not open a browser")


def _wallets(tree: _Tree) -> None:
    group = tree.group("wallet", "Wallets, who may use them, and what moves their balance by hand.")

    def leaf(name, help_text, *arguments):
        parser = tree.leaf(group, name, f"wallets.{name.replace('list', 'list_all')}", help_text)
        for argument in arguments:
            parser.add_argument(argument, metavar=argument.upper(), help=_WORDS[argument])
        return parser

    def entry(name, help_text, *arguments):
        parser = leaf(name, help_text, *arguments)
        parser.add_argument("--note", default="", help=NOTE)
        parser.add_argument("--key", help=KEY)
        return parser

    leaf("list", "All wallets with what is left in them.")
    show = leaf("show", "One wallet, its people and its last entries.", "wallet")
    show.add_argument("--entries", type=int, default=20, metavar="N",
                      help="so many entries (default: 20)")  # fmt: skip
    create = leaf("create", "Open a wallet.", "wallet")
    change = leaf("change", "Change what is given and leave the rest.", "wallet")
    for parser in (create, change):
        parser.add_argument("--title", help="what people see")
        parser.add_argument("--overdraft", metavar="AMOUNT", help=CREDITS_OR_UNLIMITED)
        parser.add_argument("--mode", help="off, observe, enforce, or default: as everything")
    change.add_argument("--reopen", action="store_true", help="open a closed wallet again")
    leaf("close", "Allow no new starts; what runs still settles.", "wallet")
    tree_allowances.add_allowance(tree, group)
    entry("grant", "Add credit.", "wallet", "amount")
    refund = entry("refund", "Give a charge back, all that is left of it or a part.", "entry")
    refund.add_argument("amount", nargs="?", metavar="AMOUNT", help=AMOUNT)
    entry("correct", "Book what an entry should have been more, or, negative, less. Needs --note.",
          "entry", "amount")  # fmt: skip
    entry("transfer", "Move credit between wallets.", "source", "target", "amount")
    member = leaf("member", "Give a person a role in a wallet, or take it.", "wallet", "person")
    member.add_argument("--role", help="manager or spender (default: spender)")
    member.add_argument("--remove", action="store_true", help="take the person out")
    member.add_argument(
        "--expected",
        action="store_true",
        help="the Hub has not shown this person yet: take the name as it is",
    )
    members = leaf("group", "Let the members of a hub group spend from a wallet.", "wallet",
                   "group")  # fmt: skip
    members.add_argument("--remove", action="store_true", help="close the wallet to the group")


_WORDS = {
    "wallet": "the wallet's name",
    "source": "the wallet that gives",
    "target": "the wallet that gets",
    "amount": AMOUNT,
    "entry": "the entry's number, as `wallet show` has it",
    "person": "the person's name in the Hub",
    "group": "the hub group's name",
}


def _catalog(tree: _Tree) -> None:
    rate = tree.group("rate", "What a resource costs per hour, or a start, from when on.")
    listed = tree.leaf(rate, "list", "catalogs.rates", "The rates in force.")
    listed.add_argument("--all", action="store_true", help="past and coming ones too")
    put = tree.leaf(rate, "set", "catalogs.set_rate",
                    "Set a price from now or later; earlier ones stay on record.")  # fmt: skip
    end = tree.leaf(rate, "end", "catalogs.end_rate", "End a price; a more general one applies.")
    for parser in (put, end):
        parser.add_argument("resource", metavar="RESOURCE",
                            help="gpu, cpu (a core), memory (a GiB) or start (once)")  # fmt: skip
        if parser is put:
            parser.add_argument("price", metavar="PRICE", help=AMOUNT)
        parser.add_argument("--model", default="", help="only for this GPU model")
        parser.add_argument("--profile", default="", help="only for this profile")
        parser.add_argument("--starts-at", metavar="TIME",
                            help="ISO time with offset, like 2026-12-01T00:00:00Z")  # fmt: skip

    rule = tree.group("rule", "Which wallet pays; the first rule that matches decides.")
    tree.leaf(rule, "list", "catalogs.rules", "The rules in their order.")
    add = tree.leaf(rule, "add", "catalogs.add_rule", "Add a rule; without a condition: for all.")
    add.add_argument("--wallet", default="", help="the wallet that pays")
    add.add_argument("--personal", action="store_true", help="the person's own wallet pays")
    add.add_argument("--grant", metavar="AMOUNT", help="what a personal wallet starts with")
    add.add_argument("--overdraft", metavar="AMOUNT", help=f"its {CREDITS_OR_UNLIMITED}")
    for name in ("person", "group", "profile"):
        add.add_argument(f"--{name}", default="", help=f"only for this {name}")
    add.add_argument("--position", type=int, metavar="N",
                     help="before the rule that has this position now (default: last)")  # fmt: skip
    gone = tree.leaf(rule, "remove", "catalogs.remove_rule", "Take a rule out.")
    gone.add_argument("rule", type=int, metavar="ID", help="its number, as `rule list` has it")

    limit = tree.group("limit", "Caps on what is used at once, per period, or by one session.")
    tree.leaf(limit, "list", "catalogs.limits", "All limits.")
    put = tree.leaf(
        limit,
        "set",
        "catalogs.set_limit",
        "Set a limit, or change the one for the same; without whom: everyone together.",
    )
    put.add_argument(
        "resource",
        metavar="RESOURCE",
        help="at once: gpus, cpu (cores), memory (GiB) or servers; per period: gpu_hours, "
        "core_hours or credits; of one session: session_hours",
    )
    put.add_argument("amount", metavar="AMOUNT", help="in these units, like 4 or 1.5")
    put.add_argument("--person", default="", help="for this person; * is each person")
    put.add_argument("--group", default="", help="for this hub group together")
    put.add_argument("--each", action="store_true", help="for each member of the group")
    put.add_argument("--wallet", default="", help="for this wallet; with --person: within it")
    put.add_argument("--profile", default="", help="for this profile")
    put.add_argument("--period", default="", metavar="PERIOD",
                     help="day, week or month, for what is counted per period")  # fmt: skip
    gone = tree.leaf(limit, "remove", "catalogs.remove_limit", "Lift a limit.")
    gone.add_argument("limit", type=int, metavar="ID", help="its number, as `limit list` has it")

    exempt = tree.group("exempt", "Whose sessions are recorded and not billed.")
    tree.leaf(exempt, "list", "catalogs.exemptions", "All exemptions.")
    for name, help_text in (("add", "Bill no more."), ("remove", "Bill again.")):
        parser = tree.leaf(exempt, name, f"catalogs.{name}_exemption", help_text)
        parser.add_argument("kind", metavar="KIND", help="person, group or profile")
        parser.add_argument("name", metavar="NAME", help="its whole name")


def _running(tree: _Tree) -> None:
    session = tree.group("session", "Sessions: one run of one server each.")
    listed = tree.leaf(session, "list", "sessions.list_all", "Sessions, newest first.")
    listed.add_argument("--open", action="store_true", help="only those that are not over")
    listed.add_argument("--person", help="only this person's")
    listed.add_argument("--wallet", help="only those that this wallet pays")
    listed.add_argument("--state", help="only admitted, running, ended or void")
    listed.add_argument("--limit", type=int, default=50, metavar="N",
                        help="at most so many (default: 50)")  # fmt: skip
    show = tree.leaf(session, "show", "sessions.show",
                     "One session: its boundaries, its price and its entries.")  # fmt: skip
    void = tree.leaf(
        session,
        "void",
        "sessions.void",
        "Say that an admitted session never started; it holds nothing any more.",
    )
    waive = tree.leaf(session, "waive", "refunds.waive",
                      "Give back all that is left of its charges.")  # fmt: skip
    waive.add_argument("--note", default="", help=f"{NOTE}. Needed")
    waive.add_argument("--key", help=KEY)
    for parser in (show, void, waive):
        parser.add_argument("session", metavar="UUID", help="the session's number")
    void.add_argument("--reason", default="never_started", help="why (default: never_started)")
    tree_months.add_correct(tree, session)

    mode = tree.group("mode", "The one switch: off, observe or enforce.")
    tree.leaf(mode, "show", "modes.show", "The mode of everything, and wallets with their own.")
    put = tree.leaf(mode, "set", "modes.put", "Switch; the Hub follows within seconds.")
    put.add_argument("mode", metavar="MODE",
                     help="off, observe or enforce; for a wallet also default")  # fmt: skip
    put.add_argument("--wallet", help="only for this wallet")

    stops = tree.group("stops", "The guard against stopping many servers at once.")
    tree.leaf(stops, "status", "modes.stops", "Whether stops wait for a person.")
    tree.leaf(stops, "release", "modes.release", "Let stops that wait go on, for an hour.")
