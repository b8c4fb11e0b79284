"""``jhub-usage pass``: who may start and run for a while whatever the wallet and limits say."""

from ..actions import passes
from ..actions.plans import require_hub
from ..domain.errors import BadInput, NotFound
from ..domain.instants import parse_instant
from ..store import people
from .shell import Shell, name, note


def list_all(args) -> int:
    if not 1 <= args.limit <= 1000:
        raise BadInput("The limit of a list is a number from 1 to 1,000.")
    with Shell(args) as shell:
        found = shell.look(passes.listed, limit=args.limit)
        if args.json:
            hidden = ("note_id", "actor_id", "person_id")
            shell.reply(
                {"passes": [{k: v for k, v in p.items() if k not in hidden} for p in found]}
            )
            return 0
        rows = [
            (p["id"], p["person"], p["state"], shell.when(p["created_at"]),
             shell.when(p["revoked_at"] or p["expires_at"]), p["note"] or "")
            for p in found
        ]  # fmt: skip
        heads = ("number>", "person", "state", "given", "until", "note")
        shell.table(heads, rows, "Nobody was given a pass yet.")
    return 0


def give(args) -> int:
    if not args.note.strip():
        raise BadInput("A pass needs --note: say why.")
    who = name(args.person, "person's name")
    until = None
    if args.until is not None:
        until = parse_instant(args.until, what="end of the pass")
    hours = 24 if args.hours is None and until is None else args.hours

    def action(tx, *, actor):
        hub_id = shell.settings.hub_id
        require_hub(tx, hub_id)
        found = people.by_name(tx, hub_id, who)
        if found is None:
            raise NotFound(f"There is nobody called {who[:80]!r}.")
        return passes.give(
            tx, found.id, note=note(args), actor=actor, hours=hours, expires_at=until
        )

    with Shell(args) as shell:
        made = shell.act(action)
        shell.reply({"id": made, "person": who}, f"Gave {who} the pass {made}.")
    return 0


def revoke(args) -> int:
    number = vars(args)["pass"]  # a word of the language
    with Shell(args) as shell:
        if not 0 < number < 2**63:  # no database can hold it
            raise NotFound(f"There is no pass {number}.")
        shell.act(passes.revoke, number)
        shell.reply({"id": number}, f"Revoked the pass {number}.")
    return 0
