"""``jhub-usage wallet``: wallets, their people and groups, and entries made by hand."""

from ..actions import allowances, listings, ownership, views, wallets
from ..actions.plans import require_hub
from ..domain.admission import PersonKey
from ..domain.allowance_words import allowance_text, entry_text, next_text, short_text
from ..domain.allowances import Allowance
from ..domain.errors import BadInput, NotFound
from ..store import people
from .shell import Shell, amount, key, name, note, overdraft


def _find(tx, text: str):
    return wallets.find(tx, name(text, "wallet's name"))


def _mode(text: str | None):
    return None if text == "default" else text


def list_all(args) -> int:
    with Shell(args) as shell:
        found = shell.look(views.wallet_views, timezone=shell.settings.timezone)
        if args.json:
            shell.reply({"wallets": [_view(w) for w in found]})
            return 0
        rows = [
            (w.name, shell.money(w.balance_micro), shell.money(w.overdraft_micro),
             shell.money(w.available_micro), *_left(shell, w), w.running, w.effective_mode,
             "closed" if w.closed else "", w.title)
            for w in found
        ]  # fmt: skip
        heads = ("wallet", "balance>", "overdraft>", "available>", "left of its allowance",
                 "next boundary", "open sessions>", "mode", "", "title")  # fmt: skip
        shell.table(heads, rows, "There are no wallets yet.")
    return 0


def _view(w) -> dict:
    shown = {f: getattr(w, f) for f in w.__dataclass_fields__}
    for unused in ("role", "is_default", "outlook"):
        shown.pop(unused)
    return shown | {"allowance": allowances.facts(w)}


def _left(shell: Shell, w) -> tuple[str, str]:
    """What is left of its allowance, and what comes and expires when."""
    held = allowances.facts(w)
    if held is None:
        return "", ""
    return short_text(held, shell.money), next_text(held, shell.money, shell.when)


def allowance_facts(shell: Shell, w) -> list[tuple[str, str]]:
    """What is left of a wallet's allowance, when the next one comes, and what will expire."""
    a = allowances.facts(w)
    if a is None:
        return []
    at = shell.when(a["next_at"])
    return [
        ("allowance", allowance_text(w.allowance, shell.money) if a["amount_micro"] else "ended"),
        ("left of it", shell.money(a["left_micro"])),
        ("expires", f"{shell.money(a['expires_micro'])} at {at}" if a["expires_micro"] else ""),
        ("comes next", f"{shell.money(a['next_micro'])} at {at}" if a["next_micro"] else ""),
    ]


def show(args) -> int:
    if args.entries < 0:
        raise BadInput("The number of entries must not be negative.")

    def query(tx):
        wallet = _find(tx, args.wallet)
        view = views.wallet_views(tx, ids=[wallet.id], timezone=shell.settings.timezone)[0]
        last = listings.entries(tx, wallet_id=wallet.id, limit=args.entries)
        return view, views.members(tx, wallet.id), last

    with Shell(args) as shell:
        w, members, entries = shell.look(query)
        if args.json:
            shell.reply(_view(w) | {"members": members, "entries": [_entry(e) for e in entries]})
            return 0
        facts = [
            ("wallet", w.name), ("title", w.title), ("owner", w.owner),
            ("balance", shell.money(w.balance_micro)),
            ("overdraft", shell.money(w.overdraft_micro)),
            ("taken by open sessions", shell.money(w.claims_micro)),
            ("available", shell.money(w.available_micro)),
            *allowance_facts(shell, w),
            ("used per hour now", shell.money(w.burn_per_hour_micro)),
            ("empty at", shell.when(w.dry_at)), ("mode", w.effective_mode),
            ("closed", "yes" if w.closed else ""),
            ("groups", ", ".join(members["groups"])),
        ]  # fmt: skip
        shell.table(("", ""), [f for f in facts if f[1] != ""])
        print()
        shell.table(("person", "role"), [(p["name"], p["role"]) for p in members["people"]],
                    "No person has a role in it.")  # fmt: skip
        print()
        shell.table(
            ("entry>", "when", "kind", "amount>", "session or wallet", "note"),
            [(e["id"], shell.when(e["effective_at"]), e["kind"], shell.money(e["amount_micro"]),
              e["session_id"] or e["counter_wallet"] or "", _note(e)) for e in entries],
            "It has no entries.",
        )  # fmt: skip
    return 0


def _note(e) -> str:
    about = entry_text(e["kind"], e["key"])
    return ": ".join(x for x in (about, e["note"]) if x)


def _entry(e) -> dict:
    hidden = ("note_id", "counter_wallet_id", "actor_id")
    return {k: v for k, v in e.items() if k not in hidden}


def create(args) -> int:
    def action(tx, *, actor):
        return wallets.create(
            tx, name(args.wallet, "wallet's name"), actor=actor, title=_title(args) or "",
            overdraft_micro=overdraft(args.overdraft), mode=_mode(args.mode),
        )  # fmt: skip

    with Shell(args) as shell:
        wallet_id = shell.act(action)
        shell.reply({"id": wallet_id, "name": args.wallet}, f"Opened the wallet {args.wallet}.")
    return 0


def _title(args) -> str | None:
    if args.title is None or not args.title.strip():
        return args.title
    return name(args.title.strip(), "title")


def change(args) -> int:
    changes = {}
    if args.title is not None:
        changes["title"] = _title(args)
    if args.overdraft is not None:
        changes["overdraft_micro"] = overdraft(args.overdraft)
    if args.mode is not None:
        changes["mode"] = _mode(args.mode)
    if args.reopen:
        changes["closed"] = False
    return _change(args, changes, "Changed the wallet {}.")


def close(args) -> int:
    return _change(args, {"closed": True}, "Closed the wallet {}: no new starts.")


def _change(args, changes: dict, text: str) -> int:
    def action(tx, *, actor):
        wallet = _find(tx, args.wallet)
        wallets.change(tx, wallet.id, actor=actor, **changes)
        return wallet

    with Shell(args) as shell:
        wallet = shell.act(action)
        shell.reply({"id": wallet.id, "name": wallet.name}, text.format(wallet.name))
    return 0


def allowance(args) -> int:
    given = (args.amount, args.period, args.carry, args.now or None)
    if args.remove and any(x is not None for x in given):
        raise BadInput("Give an allowance, or --remove, not both.")
    if not args.remove and (args.amount is None or args.period is None):
        raise BadInput("An allowance needs --amount and --period: day, week or month.")
    wanted = None if args.remove else _wanted(args)

    def action(tx, *, actor):
        wallet, how = _find(tx, args.wallet), {"policy": shell.context.policy, "actor": actor}
        if wanted is None:
            allowances.remove_allowance(tx, wallet.id, **how)
            return wallet.id, None
        begin_now = True if args.now else None
        return wallet.id, allowances.set_allowance(
            tx, wallet.id, wanted, begin_now=begin_now, **how
        )

    with Shell(args) as shell:
        wallet_id, entry_id = shell.act(action)
        (view,) = shell.look(views.wallet_views, ids=[wallet_id], timezone=shell.settings.timezone)
        text = _told(shell, args.wallet, view, entry_id)
        held = allowances.facts(view)
        shell.reply({"wallet": args.wallet, "allowance": held, "entry_id": entry_id}, text)
    return 0


def _wanted(args) -> Allowance:
    carry = args.carry or "0"
    kept = None if carry.strip().lower() == "full" else amount(carry, "carry")
    return Allowance(amount(args.amount, negative=True), args.period, kept)


def _told(shell: Shell, name: str, view, entry_id: int | None) -> str:
    a = allowances.facts(view)
    if a is None:
        return f"The wallet {name} has no allowance any more."
    at = shell.when(a["next_at"])
    if not a["amount_micro"]:
        left = shell.money(a["left_micro"])
        return f"The wallet {name} has no allowance any more; {left} of it expires at {at}."
    text = f"The allowance of {name} is {allowance_text(view.allowance, shell.money)}"
    if entry_id is not None:
        text += f", from now on: entry {entry_id}"
    return f"{text}. The next one comes at {at}."


def grant(args) -> int:
    micro = amount(args.amount, negative=True)

    def action(tx, *, actor):
        wallet = _find(tx, args.wallet)
        return wallets.grant(
            tx, wallet.id, micro, policy=shell.context.policy, actor=actor, note=note(args),
            key=key(args),
        )  # fmt: skip

    with Shell(args) as shell:
        entry_id = shell.act(action)
        text = f"Granted {shell.money(micro)} to {args.wallet}: entry {entry_id}."
        shell.reply({"entry_id": entry_id, "amount_micro": micro}, text)
    return 0


def _number(text: str) -> int:
    """An entry's number; one that no database can hold is no entry's."""
    if not (text.isascii() and text.isdecimal()):
        raise BadInput(f"An entry's number is a whole number, not {text[:40]!r}.")
    if int(text) >= 2**63:
        raise NotFound(f"There is no entry {text[:40]}.")
    return int(text)


def refund(args) -> int:
    number, micro = _number(args.entry), amount(args.amount, negative=True)

    def action(tx, *, actor):
        return wallets.refund(
            tx, number, micro, policy=shell.context.policy, actor=actor, note=note(args),
            key=key(args),
        )  # fmt: skip

    with Shell(args) as shell:
        entry_id = shell.act(action)
        shell.reply({"entry_id": entry_id}, f"Refunded entry {number}: entry {entry_id}.")
    return 0


def correct(args) -> int:
    number, micro = _number(args.entry), amount(args.amount, negative=True)

    def action(tx, *, actor):
        return wallets.correct(
            tx, number, micro, policy=shell.context.policy, actor=actor, note=note(args),
            key=key(args),
        )  # fmt: skip

    with Shell(args) as shell:
        entry_id = shell.act(action)
        text = f"Corrected entry {number} by {shell.money(micro)}: entry {entry_id}."
        shell.reply({"entry_id": entry_id, "amount_micro": micro}, text)
    return 0


def transfer(args) -> int:
    micro = amount(args.amount, negative=True)

    def action(tx, *, actor):
        source, target = _find(tx, args.source), _find(tx, args.target)
        return wallets.transfer(
            tx, source.id, target.id, micro, policy=shell.context.policy, actor=actor,
            note=note(args), key=key(args),
        )  # fmt: skip

    with Shell(args) as shell:
        out, into = shell.act(action)
        text = f"Moved {shell.money(micro)} from {args.source} to {args.target}."
        shell.reply({"out_entry_id": out, "in_entry_id": into, "amount_micro": micro}, text)
    return 0


def member(args) -> int:
    who = name(args.person, "person's name")
    if args.remove and args.role:
        raise BadInput("Give a role, or --remove, not both.")

    def action(tx, *, actor):
        wallet = _find(tx, args.wallet)
        if args.remove:
            person_id, _ = ownership.role_by_name(tx, wallet.id, who)
            wallets.remove_member(tx, wallet.id, person_id, actor=actor)
            return
        hub_id = shell.settings.hub_id
        require_hub(tx, hub_id)
        if not args.expected and people.by_name(tx, hub_id, who) is None:
            raise NotFound(
                f"The Hub has not shown anybody called {who!r} yet: check the name, or give "
                "--expected."
            )
        ownership.set_role(
            tx, wallet.id, PersonKey(who), args.role or "spender", hub_id=hub_id, actor=actor
        )

    with Shell(args) as shell:
        shell.act(action)
        role = None if args.remove else args.role or "spender"
        text = f"{who} is {role} of {args.wallet}." if role else f"{who} is out of {args.wallet}."
        shell.reply({"wallet": args.wallet, "person": who, "role": role}, text)
    return 0


def group(args) -> int:
    def action(tx, *, actor):
        wallet = _find(tx, args.wallet)
        change = wallets.remove_group if args.remove else wallets.set_group
        change(tx, wallet.id, name(args.group, "group's name"), actor=actor)

    with Shell(args) as shell:
        shell.act(action)
        text = "no longer spends" if args.remove else "may spend"
        shell.reply({"wallet": args.wallet, "group": args.group, "open": not args.remove},
                    f"The group {args.group} {text} from {args.wallet}.")  # fmt: skip
    return 0
