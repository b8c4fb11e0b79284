"""``jhub-usage check``: every invariant, what was compared, and what is wrong."""

from ..actions.check import check as recompute
from ..domain.invariants import failed
from .shell import Shell, error, print_json


def check(args) -> int:
    with Shell(args) as shell:
        found = shell.look(recompute)
        broken = failed(found)
        if args.json:
            print_json({"ok": not broken, "checks": [_item(c) for c in found]})
            return 1 if broken else 0
        rows = []
        for c in found:
            verdict = "ok" if c.ok else f"WRONG: {len(c.violations) + c.more}"
            if c.notes:
                verdict = f"{len(c.notes) + c.more} found"
            rows.append((c.name, c.compared, verdict, c.what))
        shell.table(("invariant", "compared>", "result", "what it says"), rows)
    for c in broken:
        for text in c.violations:
            error(f"{c.name}: {text}")
        if c.more:
            error(f"{c.name}: and {c.more} more")
    total = sum(c.compared for c in found)
    print(f"{len(found)} invariants over {total:,} comparisons: "
          + (f"{len(broken)} are broken." if broken else "all hold."))  # fmt: skip
    return 1 if broken else 0


def _item(c) -> dict:
    return {
        "name": c.name, "what": c.what, "ok": c.ok, "compared": c.compared,
        "violations": c.violations, "notes": c.notes, "more": c.more,
    }  # fmt: skip
