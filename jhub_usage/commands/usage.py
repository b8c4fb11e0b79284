"""``jhub-usage report usage`` and ``jhub-usage rollup``: what was used when, and its sums."""

import re
import sys
from decimal import Decimal

from ..actions import usage as counts
from ..actions import usage_reports as reports
from ..actions import wallets
from ..domain.errors import BadInput, NotFound
from ..domain.instants import parse_instant
from ..domain.spreadsheets import csv_text
from ..domain.usage import measures
from ..store import people
from .shell import Shell, error, name

#: So many differences are named.
NAMED = 20
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
HEADS = {
    "starts": "starts>", "hours": "hours>", "gpu_hours": "GPU hours>",
    "core_hours": "core hours>", "memory_gib_hours": "GiB hours>", "cost_micro": "cost>",
}  # fmt: skip


def report(args) -> int:
    if args.csv and args.json:
        raise BadInput("Choose --csv or --json.")
    by = [b.strip() for b in args.by.split(",") if b.strip()]
    with Shell(args) as shell:
        found = shell.look(_read, args, by, shell)
        if args.csv:
            heads, rows = found.table(shell.currency.code)
            sys.stdout.write(csv_text(heads, rows))
            return 0
        rows = [found.shown(r) | measures(r.sum) for r in found.rows]
        total = measures(found.total)
        if args.json:
            shell.reply({"begin": found.begin, "end": found.end, "at": found.at, "by": by,
                         "rows": rows, "totals": total})  # fmt: skip
            return 0
        lines = [_line(shell, [_word(r[b]) for b in by], r) for r in rows]
        if by and rows:
            lines.append(_line(shell, ["all", *[""] * (len(by) - 1)], total))
        elif not by:
            lines = [_line(shell, [], total)]
        shell.table((*(b.replace("_", " ") for b in by), *HEADS.values()), lines,
                    "Nothing was used in this time.")  # fmt: skip
        if rows:
            print("By when it happened. Statements go by the month of booking.")
    return 0


def _read(tx, args, by, shell: Shell) -> reports.Report:
    policy = shell.context.policy
    begin, end = reports.usual_window(tx, policy=policy)
    if args.end is not None and args.begin is None:
        raise BadInput("A window that ends has a begin, too: give --begin.")
    begin = _instant(tx, args.begin, "begin", policy) or begin
    end = _instant(tx, args.end, "end", policy) or end
    only = reports.Only(
        person_id=_person(tx, args.person, shell),
        wallet_id=None if args.wallet is None else _wallet(tx, args.wallet),
        profile=args.profile, gpu_model=args.gpu_model, node=args.node,
    )  # fmt: skip
    return reports.usage(tx, begin, end, policy=policy, by=by, only=only,
                         node_cores=shell.settings.cores())  # fmt: skip


def _instant(tx, text: str | None, what: str, policy):
    if text is None:
        return None
    if _DAY.fullmatch(text):
        return reports.instant_of(tx, text, policy=policy)
    return parse_instant(text, what=what)


def _wallet(tx, text: str) -> int:
    return wallets.find(tx, name(text, "wallet's name")).id


def _person(tx, text: str | None, shell: Shell) -> int | None:
    if text is None:
        return None
    found = people.by_name(tx, shell.settings.hub_id, name(text, "person's name"))
    if found is None:
        raise NotFound(f"There is nobody called {text[:80]!r}.")
    return found.id


def _word(value) -> str:
    return "–" if value in (None, "") else value


def _line(shell: Shell, words: list, sums: dict) -> list:
    shown = {k: f"{Decimal(v):,.2f}" if isinstance(v := sums[k], str) else v for k in HEADS}
    return [*words, *(shown | {"cost_micro": shell.money(sums["cost_micro"])}).values()]


def check(args) -> int:
    wrong = 0
    with Shell(args) as shell:
        policy = shell.context.policy
        found = shell.look(lambda tx: list(counts.compared(tx, policy.timezone)))
        for what, compared, differ in found:
            wrong += len(differ)
            kind = what.removeprefix("usage.")
            if not args.json:
                print(f"{kind}: {compared} compared, {len(differ) or 'none'} differ")
            for text in differ[:NAMED]:
                error(f"{kind}: {text}")
        shell.reply({"rollups": [
            {"name": what, "compared": compared, "violations": differ}
            for what, compared, differ in found
        ]})  # fmt: skip
    return 1 if wrong else 0


def rebuild(args) -> int:
    with Shell(args) as shell:
        counters, rollups = shell.act(counts.rebuild, policy=shell.context.policy)
        shell.reply(
            {"counters": counters, "rollups": rollups},
            f"Counted anew: {rollups} rollups, {counters} counters.",
        )
    return 0
