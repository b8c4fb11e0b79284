"""Writes the reference part of docs/cli.md from the parser; a test says when it is stale.

``python -m jhub_usage.commands.reference docs/cli.md`` rewrites it in place.
"""

import argparse
import sys
from pathlib import Path

from ..cli import EXIT_CODES
from .tree import build

BEGIN = "<!-- reference: written by jhub_usage.commands.reference; do not edit -->"
END = "<!-- end of the reference -->"


def reference() -> str:
    """Exit codes, options of every command, and every command with its own."""
    parser = build()
    out = [BEGIN, "", "## Exit codes", "", "| code | meaning |", "|---|---|"]
    out += [f"| {code} | {text} |" for code, _, text in EXIT_CODES if text]
    out += ["", "## Options of every command", ""]
    out += _options(parser, skip=("help", "version"))
    for path, leaf in _leaves(parser, "jhub-usage"):
        own = [a for a in leaf._actions if a.dest not in ("help", *_COMMON)]
        usage = " ".join([path, *(_usage(a) for a in own)])
        out += ["", f"## `{path}`", "", leaf.description or "", "", f"    {usage}"]
        listed = _options(leaf, skip=("help", *_COMMON))
        out += ["", *listed] if listed else []
    return "\n".join([*out, "", END]) + "\n"


_COMMON = ("json", "database_url", "config")


def _leaves(parser: argparse.ArgumentParser, path: str):
    inner = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not inner:
        yield path, parser
        return
    for name, below in inner[0].choices.items():
        yield from _leaves(below, f"{path} {name}")


def _usage(action: argparse.Action) -> str:
    if action.option_strings:
        value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        return f"[{action.option_strings[-1]}{value}]"
    name = action.metavar or action.dest.upper()
    return {"+": f"{name}...", "?": f"[{name}]"}.get(action.nargs, name)


def _options(parser: argparse.ArgumentParser, *, skip: tuple[str, ...]) -> list[str]:
    found = []
    for action in parser._actions:
        if action.dest in skip or isinstance(action, argparse._SubParsersAction):
            continue
        name = _usage(action).strip("[]") if action.option_strings else action.metavar
        found.append(f"- `{name}`: {action.help}")
    return found


def written(page: str) -> str:
    """The page with its reference part as it must be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + reference().rstrip("\n") + after


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
