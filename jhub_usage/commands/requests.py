"""``jhub-usage request``: people's requests for credit, and what becomes of them."""

from ..actions import request_lists, requests, wallets
from ..domain.errors import BadInput, NotFound
from ..domain.wallets import REQUEST_STATES
from ..store import people
from .shell import Shell, amount, name, note


def list_all(args) -> int:
    if args.state is not None and args.state not in REQUEST_STATES:
        raise BadInput(f"A state is one of {', '.join(REQUEST_STATES)}, not {args.state[:40]!r}.")
    if args.limit < 0:
        raise BadInput("The number of requests must not be negative.")

    def query(tx):
        return request_lists.listed(
            tx, state=args.state, limit=args.limit,
            wallet_id=_wallet(tx, args.wallet), person_id=_person(tx, args.person, shell),
        )  # fmt: skip

    with Shell(args) as shell:
        found = shell.look(query)
        if args.json:
            shell.reply({"requests": [_shown(r) for r in found]})
            return 0
        shell.table(
            ("request>", "when", "person", "wallet", "asked>", "state", "granted>", "what for",
             "answer"),
            [(r["id"], shell.when(r["created_at"]), r["person"], r["wallet"],
              shell.money(r["amount_micro"]), r["state"], shell.money(r["granted_micro"], ""),
              r["note"], r["answer"]) for r in found],
            "There are no such requests.",
        )  # fmt: skip
    return 0


def _shown(r) -> dict:
    hidden = ("note_id", "answer_id", "person_id", "decided_id")
    return {k: v for k, v in r.items() if k not in hidden}


def _wallet(tx, text: str | None) -> int | None:
    return None if text is None else wallets.find(tx, name(text, "wallet's name")).id


def _person(tx, text: str | None, shell: Shell) -> int | None:
    if text is None:
        return None
    found = people.by_name(tx, shell.settings.hub_id, name(text, "person's name"))
    if found is None:
        raise NotFound(f"There is nobody called {text[:80]!r}.")
    return found.id


def grant(args) -> int:
    micro = amount(args.amount, negative=True)

    def action(tx, *, actor):
        return requests.grant(
            tx, _number(args.request), micro, policy=shell.context.policy, actor=actor,
            by_right=True, from_wallet_id=_wallet(tx, args.source), note=note(args),
        )  # fmt: skip

    with Shell(args) as shell:
        entry_id = shell.act(action)
        done = shell.look(request_lists.one, int(args.request))
        shell.reply(
            _shown(done),
            f"Granted {shell.money(done['granted_micro'])} to {done['wallet']}: entry {entry_id}.",
        )
    return 0


def decline(args) -> int:
    def action(tx, *, actor):
        requests.decline(tx, _number(args.request), note=note(args), actor=actor, by_right=True)

    with Shell(args) as shell:
        shell.act(action)
        done = shell.look(request_lists.one, int(args.request))
        shell.reply(_shown(done), f"Declined the request of {done['person']}.")
    return 0


def _number(text: str) -> int:
    """A request's number; one that no database can hold is no request's."""
    if not (text.isascii() and text.isdecimal()):
        raise BadInput(f"A request's number is a whole number, not {text[:40]!r}.")
    if int(text) >= 2**63:
        raise NotFound(f"There is no request {text[:40]}.")
    return int(text)
