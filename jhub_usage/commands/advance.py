"""``jhub-usage advance``: book what is due for all wallets, or say what that would be."""

from ..actions import catching_up
from .shell import Shell

#: So many wallets are named by ``--dry-run``; JSON has all.
NAMED = 50


def advance(args) -> int:
    with Shell(args) as shell:
        until = shell.look(lambda tx: tx.now())
        if args.dry_run:
            return _foresee(shell, until)
        back = shell.act(catching_up.put_back, policy=shell.context.policy)
        after_id, wallets, entries, more = 0, 0, 0, True
        while more:  # each batch is a transaction; what is booked stays when a later one fails
            after_id, count, made = shell.act(
                catching_up.catch_up, after_id, policy=shell.context.policy
            )
            wallets, entries, more = wallets + count, entries + made, after_id > 0
        text = (
            f"Everything that was due until {shell.when(until)} is booked: "
            f"{_number(entries, 'entry', 'entries')} for {_number(wallets, 'wallet', 'wallets')}."
        )
        if not entries:
            text = f"Nothing was due until {shell.when(until)}."
        if back:
            text += f"\nA clock had put these ahead; they go on from now: {_named(back)}."
        shell.reply(
            {"until": until, "wallets": wallets, "entries": entries, "put_back": back}, text
        )
    return 0


def _foresee(shell: Shell, until) -> int:
    after_id, due = 0, []
    while True:
        after_id, found = shell.look(catching_up.foreseen, after_id, policy=shell.context.policy)
        due += found
        if not after_id:
            break
    entries = sum(d.entries for d in due)
    ahead = shell.look(catching_up.ahead_of_clock)
    if shell.args.json:
        shell.reply(
            {"until": until, "wallets": due, "entries": entries, "ahead": ahead, "booked": False}
        )
        return 0
    shell.table(
        ("wallet", "since", "entries>", "charged>", "allowances>", "balance then>", ""),
        [(d.wallet, shell.when(d.since_at), d.entries, shell.money(d.charges_micro),
          shell.money(d.allowances_micro), shell.money(d.balance_micro),
          "more than 62 days behind" if d.too_far else "") for d in due[:NAMED]],
    )  # fmt: skip
    if len(due) > NAMED:
        print(f"... and {len(due) - NAMED} more.")
    if ahead:
        print(f"A clock has put these ahead; they would go on from now: {_named(ahead)}.")
    print(
        f"Until {shell.when(until)}: {_number(entries, 'entry', 'entries')} for "
        f"{_number(len(due), 'wallet', 'wallets')}. Nothing was booked: this was --dry-run."
    )
    return 0


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
