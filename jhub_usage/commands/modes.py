"""``jhub-usage mode`` and ``stops``: the one switch, and the guard against mass stops."""

from ..actions import modes, views, wallets
from ..actions import stops as stop_actions
from .shell import Shell, name


def show(args) -> int:
    def query(tx):
        return views.catalog(tx).mode, [w for w in views.wallet_views(tx) if w.mode]

    with Shell(args) as shell:
        mode, own = shell.look(query)
        if args.json:
            shell.reply({"mode": mode, "wallets": [
                {"name": w.name, "mode": w.mode, "effective_mode": w.effective_mode} for w in own
            ]})  # fmt: skip
            return 0
        print(f"The mode is {mode}.")
        rows = [(w.name, w.mode, w.effective_mode) for w in own]
        shell.table(("wallet", "own mode", "in effect"), rows)
    return 0


def put(args) -> int:
    def for_wallet(tx, *, actor):
        wallet = wallets.find(tx, name(args.wallet, "wallet's name"))
        mode = None if args.mode == "default" else args.mode
        wallets.change(tx, wallet.id, actor=actor, mode=mode)

    with Shell(args) as shell:
        if args.wallet is None:
            shell.act(modes.set_mode, args.mode)
        else:
            shell.act(for_wallet)
        whose = f" of {args.wallet}" if args.wallet else ""
        shell.reply({"mode": args.mode, "wallet": args.wallet}, f"The mode{whose} is {args.mode}.")
    return 0


def stops(args) -> int:
    with Shell(args) as shell:
        state = shell.look(stop_actions.guard_state)
        if args.json:
            shell.reply({"tripped": state["tripped_at"] is not None} | state)
            return 0
        if state["tripped_at"] is None:
            print("No stops are waiting.")
        else:
            print(
                f"Since {shell.when(state['tripped_at'])} {state['count']} stops wait for a "
                "person: look at the wallets, then run `jhub-usage stops release`."
            )
        if state["released_until_at"] is not None:
            print(f"Last released until {shell.when(state['released_until_at'])}.")
    return 0


def release(args) -> int:
    with Shell(args) as shell:
        shell.act(stop_actions.release_guard)
        shell.reply({"released": True}, "Stops go on, for an hour.")
    return 0
