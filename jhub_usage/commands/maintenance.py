"""``jhub-usage maintenance``: windows of nodes in which what runs there is not billed."""

from ..actions import maintenance
from ..domain.errors import BadInput, NotFound
from ..domain.instants import parse_instant
from .refunds import sessions
from .shell import Shell, name, note


def list_all(args) -> int:
    if not 1 <= args.limit <= 1000:
        raise BadInput("The limit of a list is a number from 1 to 1,000.")
    with Shell(args) as shell:
        found = shell.look(maintenance.listed, limit=args.limit)
        if args.json:
            hidden = ("note_id", "actor_id", "done_at")
            shell.reply(
                {"maintenance": [{k: v for k, v in m.items() if k not in hidden} for m in found]}
            )
            return 0
        rows = [
            (m["id"], m["node"], shell.when(m["starts_at"]), shell.when(m["ends_at"]), m["state"],
             m["sessions"], shell.money(m["given_micro"]), m["note"] or "")
            for m in found
        ]  # fmt: skip
        heads = ("number>", "node", "from", "until", "state", "ended sessions>", "given back>",
                 "note")  # fmt: skip
        shell.table(heads, rows, "No maintenance was entered yet.")
    return 0


def add(args) -> int:
    if not args.note.strip():
        raise BadInput("A maintenance needs --note: say why.")
    starts_at = parse_instant(args.starts_at, what="begin of the maintenance")
    ends_at = parse_instant(args.ends_at, what="end of the maintenance")
    node = name(args.node, "node's name")
    with Shell(args) as shell:
        made = shell.act(maintenance.add, node, starts_at, ends_at, note=note(args))
        shell.reply({"id": made, "node": node}, f"Entered maintenance {made} of {node}.")
    return 0


def cancel(args) -> int:
    with Shell(args) as shell:
        shell.act(maintenance.cancel, _number(args))
        shell.reply({"id": args.maintenance}, f"Cancelled maintenance {args.maintenance}.")
    return 0


def _number(args) -> int:
    """One that no database can hold is no maintenance's."""
    if not 0 < args.maintenance < 2**63:
        raise NotFound(f"There is no maintenance {args.maintenance}.")
    return args.maintenance


def finish(args) -> int:
    with Shell(args) as shell:
        ends_at = shell.act(maintenance.finish, _number(args))
        shell.reply({"id": args.maintenance, "ends_at": ends_at},
                    f"Maintenance {args.maintenance} is over.")  # fmt: skip
    return 0


def apply(args) -> int:
    """In as many transactions as it takes, so that no wallet is locked for long."""
    count = entries = total = 0
    with Shell(args) as shell:
        while True:
            done = shell.act(maintenance.apply_due, policy=shell.context.policy)
            count += done.sessions
            entries += done.entries
            total += done.total_micro
            if not done.more:
                break
        text = f"Gave back {shell.money(total)} to {sessions(count)}."
        shell.reply({"count": count, "entries": entries, "total_micro": total}, text)
    return 0
