"""``jhub-usage month`` and ``jhub-usage statement``: closing months, and what they held."""

import sys

from ..actions import months, statements, views, wallets
from ..domain.audit import SYSTEM
from ..domain.errors import BadInput
from ..domain.instants import parse_instant
from ..domain.statements import canonical, csv_text, hours_shown
from .shell import Shell, actor, name
from .wallets import allowance_facts

#: So many servers and other entries are printed; --csv and --json have all.
SHOWN = 40


def list_all(args) -> int:
    with Shell(args) as shell:
        found = shell.look(months.listed, policy=shell.context.policy)
        if args.json:
            shell.reply({"months": found})
            return 0
        rows = [
            (m.label, m.state if m.over else "goes on", m.count, shell.money(m.amount("charge")),
             shell.money(m.amount("refund", "correction")),
             shell.money(m.amount("grant", "expiry")), shell.when(m.closed_at),
             m.actor or m.actor_kind)
            for m in found
        ]  # fmt: skip
        heads = ("month", "state", "entries>", "charged>", "refunds, corrections>", "credit>",
                 "closed", "by")  # fmt: skip
        shell.table(heads, rows, "Nothing was booked and nothing ran yet.")
        for m in found:
            for text in m.waits_for:
                print(f"{m.label}: {text}")
    return 0


def close(args) -> int:
    with Shell(args) as shell:
        policy = shell.context.policy
        months.prepare(shell.context.act, policy=policy, actor=SYSTEM)
        done = shell.context.act(
            months.close, name(args.month, "month"), policy=policy, actor=actor(),
            without_hubs=[name(hub, "hub's name") for hub in args.without_hub],
        )  # fmt: skip
        entries = done.facts["entries"].values()
        count = sum(e["count"] for e in entries)
        shell.reply(
            {"month": done.label, "closed_at": done.closed_at, "entries": count,
             "without_hubs": done.facts["without_hubs"]},
            f"{done.label} is closed since {shell.when(done.closed_at)}, with {count} entries.",
        )  # fmt: skip
    return 0


def statement(args) -> int:
    if args.csv and args.json:
        raise BadInput("Give --csv or --json, not both.")

    def query(tx):
        wallet = wallets.find(tx, name(args.wallet, "wallet's name"))
        policy = shell.context.policy
        made = statements.statement(tx, wallet.id, name(args.month, "month"), policy=policy)
        if "at" not in made or parse_instant(made["at"]) >= parse_instant(made["ends_at"]):
            return made, None
        # its balance is the one of now: so is what is left of the allowance
        (held,) = views.wallet_views(tx, ids=[wallet.id], timezone=policy.timezone)
        return made, held

    with Shell(args) as shell:
        made, held = shell.look(query)
        if args.json or args.csv:
            text = csv_text(made) if args.csv else canonical(made).decode()
            sys.stdout.write(text)
            return 0
        _print(shell, made, allowance_facts(shell, held) if held else [])
    return 0


def _print(shell: Shell, s: dict, allowance: list[tuple[str, str]]) -> None:
    wallet = s["wallet"]
    others = [e for e in s["entries"] if e["kind"] != "charge" or e["session_id"] is None]
    closed = f"closed {_when(shell, s['closed_at'])}" if s["closed_at"] else "open"
    facts = [
        ("wallet", wallet["name"]), ("title", wallet["title"]),
        ("month", f"{s['month']}, {closed}; by the month that entries are booked in"),
        ("balance before", shell.money(s["opening_micro"])),
        *((k["kind"], shell.money(k["amount_micro"])) for k in s["kinds"]),
        ("balance after", shell.money(s["closing_micro"])),
        *allowance,
        ("GPU hours", hours_shown(s["total"]["gpu_us"])),
    ]  # fmt: skip
    if s.get("pending"):
        facts.append(("not booked yet", shell.money(s["pending_micro"])))
    shell.table(("", ""), [f for f in facts if f[1] != ""])
    for heads, rows, none in (
        (("person", "GPU hours>", "amount>"),
         [(p["person"], *_sums(shell, p)) for p in s["people"] if p["person"]], ""),
        (("profile", "model", "GPU hours>", "amount>"),
         [(p["profile"], p["gpu_model"], *_sums(shell, p)) for p in s["profiles"]
          if p["profile"] is not None], ""),
        (("entry>", "when", "kind", "amount>", "note"),
         [(e["id"], _when(shell, e["effective_at"]), e["kind"], shell.money(e["amount_micro"]),
           e["note"]) for e in others[:SHOWN]],
         "Nothing but charges of servers."),
    ):  # fmt: skip
        if rows or none:
            print()
            shell.table(heads, rows, none)


def _sums(shell: Shell, sums: dict) -> tuple[str, str]:
    return hours_shown(sums["gpu_us"]), shell.money(sums["amount_micro"])


def _when(shell: Shell, at: str) -> str:
    return shell.when(parse_instant(at))
