"""``jhub-usage person`` and ``db retain``: forgetting names, and rows that are old."""

from ..actions import listings, privacy
from ..actions.plans import require_hub
from ..domain.errors import BadInput
from .shell import Shell, name


def list_all(args) -> int:
    if not 1 <= args.limit <= 100_000:
        raise BadInput("The limit of a list is a number from 1 to 100,000.")

    def query(tx):
        require_hub(tx, shell.settings.hub_id)
        return listings.people_page(
            tx, shell.settings.hub_id, search=args.search, limit=args.limit
        )  # fmt: skip

    with Shell(args) as shell:
        found = shell.look(query)
        if args.json:
            shell.reply({"people": [_json(p) for p in found]})
            return 0
        rows = [
            (p["id"], p["name"], _what(p), p["wallet_id"] or "", p["sessions"] or "",
             shell.when(p["last_session_at"]))
            for p in found
        ]  # fmt: skip
        shell.table(("id>", "name", "", "own wallet>", "sessions>", "last session"), rows,
                    "There are no such people.")  # fmt: skip
    return 0


def _json(p) -> dict:
    return {
        "id": p["id"],
        "name": p["name"],
        "current": bool(p["current"]),
        "wallet_id": p["wallet_id"],
        "sessions": p["sessions"] or 0,
        "last_session_at": p["last_session_at"],
        "pseudonymised_at": p["pseudonymised_at"],
    }


def _what(p) -> str:
    if p["pseudonymised_at"] is not None:
        return "name forgotten"
    return "" if p["current"] else "earlier"


def pseudonymise(args) -> int:
    def found(tx):
        require_hub(tx, shell.settings.hub_id)
        return privacy.find(
            tx, shell.settings.hub_id, name(args.person, "person's name"), args.id
        )  # fmt: skip

    with Shell(args) as shell:
        who = shell.look(found)
        if not args.yes:
            known = " The Hub may still have this user: whoever starts a server by that name again "
            raise BadInput(
                f"This replaces the name {who.name} everywhere by {privacy.pseudonym(who.id)}, for "
                "good: roles, rules, limits and exemptions by the name end, amounts stay."
                + (f"{known}is somebody new." if who.current else "")
                + " Nothing was changed: add --yes to do it."
            )
        done = shell.act(privacy.pseudonymise, who.id, hub_id=shell.settings.hub_id)
        text = f"{args.person} is {done.name} now."
        if done.already:
            text = f"{done.name} has no other name any more. Nothing was changed."
        if done.left:
            text += f" The name still stands in {', '.join(done.left)}."
        shell.reply(
            {"id": done.person_id, "name": done.name, "already": done.already,
             "changed": dict(done.counts), "left": done.left},
            text,
        )  # fmt: skip
    return 0


def retain(args) -> int:
    with Shell(args) as shell:
        keep = shell.settings.keep()
        if args.dry_run:
            gone = shell.look(privacy.due, keep)
        else:
            gone = privacy.until_done(lambda: shell.act(privacy.retain, keep))
        told = ", ".join(f"{number} {WHAT[kind]}" for kind, number in gone.items()) or "nothing"
        verb = "Older than they are kept" if args.dry_run else "Deleted"
        shell.reply({"deleted": {} if args.dry_run else gone, "due": gone if args.dry_run else {}},
                    f"{verb}: {told}.")  # fmt: skip
    return 0


WHAT = {
    "decisions": "decisions without a session",
    "audit": "audit rows of changes",
    "reads": "audit rows of reads",
    "client_keys": "answers to an Idempotency-Key",
}
