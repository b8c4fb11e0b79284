"""Writes the reference pages of docs/ from the code: settings, scopes and routes.

``scripts/reference.py`` writes them, ``--check`` says which are stale. The command line's page is
checked by its own test.
"""

import re
import sys
from pathlib import Path

from jhub_usage import config, scopes

DOCS = Path(__file__).resolve().parent.parent / "docs"
NOTE = "<!-- Written by scripts/reference.py from the code; do not edit. -->\n"


def settings_page() -> str:
    """Every setting with its type, default and help."""
    out = [
        NOTE,
        "# Settings",
        "",
        "Each is a trait of `c.JHubUsage` in the Hub's configuration, and can be given as an",
        "environment variable of the Hub as well. What the configuration says goes first. Secrets",
        "can also be read from a file that `JHUB_USAGE_<NAME>_FILE` names.",
        "",
    ]
    for name in config.NAMES:
        trait = config.TRAITS[name]
        variable = f"`{config.PREFIX}{name.upper()}`"
        if name in config.SECRETS:
            variable += f" or `{config.PREFIX}{name.upper()}_FILE`"
        default = trait.default()
        help_text = " ".join(trait.help.split())
        out += [
            f"## `{name}`",
            "",
            help_text,
            "",
            f"- Type: {type(trait).__name__.lower()}{_values(trait)}",
            f"- Default: `{default!r}`",
            f"- Environment: {variable}",
            "",
        ]
    return "\n".join(out)


def _values(trait) -> str:
    values = getattr(trait, "values", None)
    if not values:
        return ""
    return ", one of " + ", ".join(f"`{v!r}`" for v in values)


def api_page() -> str:
    """Custom scopes, and every route with what it needs."""
    from jhub_usage.handlers import routes

    out = [
        NOTE,
        "# API and scopes",
        "",
        "The API lives under `/services/usage/api/` and takes Hub tokens",
        "(`Authorization: token ...`). Its description for programs is",
        "`/services/usage/api/openapi.json` (OpenAPI 3.1).",
        "",
        "## Scopes",
        "",
        "| scope | gives |",
        "|---|---|",
    ]
    out += [f"| `{name}` | {text} |" for name, text in sorted(scope_texts().items())]
    out += [
        "",
        "An administrator of the Hub (the `admin` flag in the browser, `admin:users` on a token)",
        "has all of them; `admin-ui` alone gives nothing. A person without any sees their own",
        "sessions, and the wallets that they manage or spend from.",
        "",
        "## Routes",
        "",
        "| method | path | needs | what it does |",
        "|---|---|---|---|",
    ]
    out += [_route(r) for r in routes.API_ROUTES]
    out += [
        "",
        "Writes marked * take an `Idempotency-Key` header: the same key with the same body is done",
        "once and answered alike; with another body it is an error.",
        "",
        "## Pages",
        "",
        "| method | path | needs | what it shows |",
        "|---|---|---|---|",
    ]
    out += [_route(r) for r in routes.PAGE_ROUTES]
    return "\n".join([*out, ""])


def _route(route) -> str:
    path = re.sub(r"{(\w+):\w+}", r"{\1}", route.path)
    summary = route.summary + (" *" if route.keyed else "")
    return f"| {route.method} | `/{path}` | {route.need.text} | {summary} |"


def scope_texts() -> dict[str, str]:
    """Scope name -> description."""
    return {name: value["description"] for name, value in scopes.CUSTOM_SCOPES.items()}


PAGES = {"settings.md": settings_page, "api.md": api_page}


def main(arguments: list[str]) -> int:
    stale = []
    for name, make in PAGES.items():
        text, path = make(), DOCS / name
        if path.exists() and path.read_text() == text:
            continue
        if "--check" in arguments:
            stale.append(name)
        else:
            path.write_text(text)
            print(f"wrote docs/{name}")
    if stale:
        print(f"stale: {', '.join(stale)}; run scripts/reference.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
