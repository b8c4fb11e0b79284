"""``jhub-usage session``: what ran, what it cost, and voids by hand."""

from ..actions import listings, views, voids, wallets
from ..actions.plans import require_hub
from ..domain.errors import BadInput, NotFound
from ..domain.instants import span_text
from ..domain.sessions import STATES
from ..domain.shapes import Shape
from ..store import people
from .shell import Shell, name


def list_all(args) -> int:
    if not 1 <= args.limit <= 100_000:
        raise BadInput("The limit of a list is a number from 1 to 100,000.")
    if args.state is not None and args.state not in STATES:
        raise BadInput(f"A state is one of {', '.join(STATES)}, not {args.state[:40]!r}.")

    def query(tx):
        person_id = wallet_ids = None
        if args.person is not None:
            require_hub(tx, shell.settings.hub_id)
            who = people.by_name(tx, shell.settings.hub_id, name(args.person, "person's name"))
            if who is None:
                raise NotFound(f"There is nobody called {args.person[:80]!r}.")
            person_id = who.id
        if args.wallet is not None:
            wallet_ids = [wallets.find(tx, name(args.wallet, "wallet's name")).id]
        return views.session_views(
            tx, person_id=person_id, wallet_ids=wallet_ids, state=args.state,
            open_only=args.open, limit=args.limit,
        )  # fmt: skip

    with Shell(args) as shell:
        found = shell.look(query)
        if args.json:
            shell.reply({"sessions": found})
            return 0
        rows = [
            (s.id, s.person, s.server_name, s.state, _shape(s), shell.when(s.admitted_at),
             span_text(s.elapsed_us) if s.elapsed_us else "", shell.money(s.cost_micro), s.wallet,
             s.end_reason or "")
            for s in found
        ]  # fmt: skip
        heads = ("session", "person", "server", "state", "shape", "admitted", "billed time>",
                 "cost>", "wallet", "end")  # fmt: skip
        shell.table(heads, rows, "There are no such sessions.")
    return 0


def _shape(s) -> str:
    return Shape.from_json(s.shape).text()


def show(args) -> int:
    def query(tx):
        found = views.session_views(tx, ids=[args.session])
        decision = views.decision(tx, args.session)
        if not found and decision is None:
            raise NotFound(f"There is no session {args.session[:80]}.")
        return found[0] if found else None, decision, listings.entries(tx, session_id=args.session)

    with Shell(args) as shell:
        s, decision, entries = shell.look(query)
        if args.json:
            shell.reply({"session": s, "decision": decision, "entries": entries})
            return 0
        facts = [("session", args.session)]
        if decision is not None:
            facts += [("decision", f"{decision['decision']} ({decision['reason']})"),
                      ("why", decision["text"]),
                      ("decided", shell.when(decision["decided_at"]))]  # fmt: skip
        if s is not None:
            facts += _facts(shell, s)
        shell.table(("", ""), [f for f in facts if f[1] != ""])
        print()
        shell.table(
            ("entry>", "when", "kind", "amount>", "note"),
            [(e["id"], shell.when(e["effective_at"]), e["kind"], shell.money(e["amount_micro"]),
              e["note"] or "") for e in entries],
            "It has no entries.",
        )  # fmt: skip
    return 0


def _facts(shell, s) -> list[tuple[str, str]]:
    known = [
        (boundary, f"{shell.when(seen['at'])} ({seen['evidence']})")
        for boundary, seen in s.boundaries.items()
        if seen["at"] is not None
    ]
    return [
        ("person", s.person),
        ("server", s.server_name),
        ("wallet", s.wallet),
        ("state", s.state),
        ("profile", s.profile),
        ("shape", _shape(s)),
        ("price per hour", shell.money(s.per_hour_micro)),
        ("price per start", shell.money(s.fee_micro) if s.fee_micro else ""),
        *known,
        ("ended because", s.end_reason or ""),
        ("billed time", span_text(s.elapsed_us) if s.elapsed_us else ""),
        ("cost", shell.money(s.cost_micro)),
        ("charged", shell.money(s.charged_micro)),
        ("refunded", shell.money(s.refunded_micro) if s.refunded_micro else ""),
    ]


def void(args) -> int:
    with Shell(args) as shell:
        shell.act(voids.void_by_hand, args.session, name(args.reason, "reason"))
        shell.reply({"session": args.session, "state": "void"},
                    f"The session {args.session} is void.")  # fmt: skip
    return 0
