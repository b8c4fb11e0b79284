"""``jhub-usage refund``: give back by filter; and ``session waive``, for one session."""

from ..actions import refunds
from ..domain.errors import BadInput
from ..domain.instants import parse_instant, span_text
from ..domain.money import parse_amount, plain
from ..domain.refunds import Filter
from .shell import Shell, key, note

SHOWN = 50


def _filter(args) -> Filter:
    instants = {
        name: parse_instant(getattr(args, name), what=what)
        for name, what in (("begins_at", "begin of the window"), ("ends_at", "end of the window"))
        if getattr(args, name) is not None
    }
    return Filter(
        node=args.node, profile=args.profile, end_reason=args.reason, person=args.person,
        wallet=args.wallet, percent=args.percent, **instants,
    )  # fmt: skip


def preview(args) -> int:
    with Shell(args) as shell:
        found = shell.look(refunds.preview, _filter(args), hub_id=shell.settings.hub_id)
        if args.json:
            shell.reply(
                {"count": found.count, "total_micro": found.total_micro, "nothing": found.nothing,
                 "lines": found.lines, "open": found.open}
            )  # fmt: skip
            return 0
        _table(shell, found)
        if found.count:
            print(
                f"\nTo give it back: the same with `refund make`, --expect {found.count} "
                f"--expect-amount {plain(found.total_micro)} and --note."
            )
    return 0


def _table(shell, found) -> None:
    rows = [
        (x.session_id, x.person, x.wallet, x.node, shell.when(x.began_at), shell.when(x.ended_at),
         "" if x.within_us is None else span_text(x.within_us), shell.money(x.left_micro),
         shell.money(x.amount_micro))
        for x in found.lines[:SHOWN]
    ]  # fmt: skip
    heads = ("session", "person", "wallet", "node", "began", "ended", "in the window>", "left>",
             "given back>")  # fmt: skip
    shell.table(heads, rows, "There is nothing to give back.")
    if found.count > SHOWN:
        print(f"... and {found.count - SHOWN} more")
    if found.count:
        print(f"\n{sessions(found.count)}, {shell.money(found.total_micro)} in all.")
    if found.nothing:
        print(f"Besides, {sessions(found.nothing)} with nothing to give back.")
    if found.open:
        names = ", ".join(f"{x.person} {x.session_id}" for x in found.open)
        print(f"Still runs: not included: {names}")


def sessions(count: int) -> str:
    """For people: how many."""
    return "1 session" if count == 1 else f"{count:,} sessions"


def make(args) -> int:
    if not args.note.strip():
        raise BadInput("A refund needs --note: say why.")
    if (args.expect is None) != (args.expect_amount is None):
        raise BadInput("Give --expect and --expect-amount, both as the preview says.")
    if args.expect is None and not args.yes:
        raise BadInput(
            "Look at it by `refund preview` first, and give --expect and --expect-amount as it "
            "says; or give --yes."
        )
    expected = None
    if args.expect is not None:
        expected = (args.expect, parse_amount(args.expect_amount, what="expected amount"))
    with Shell(args) as shell:
        done = shell.act(
            refunds.refund, _filter(args), note=note(args), policy=shell.context.policy,
            hub_id=shell.settings.hub_id, key=key(args), expected=expected,
        )  # fmt: skip
        text = f"Gave back {shell.money(done.total_micro)} to {sessions(done.count)}."
        shell.reply(_batch(done), text)
    return 0


def waive(args) -> int:
    if not args.note.strip():
        raise BadInput("A refund needs --note: say why.")
    with Shell(args) as shell:
        done = shell.act(
            refunds.waive, args.session, note=note(args), policy=shell.context.policy,
            key=key(args),
        )  # fmt: skip
        text = f"Gave back {shell.money(done.total_micro)} for the session {args.session}."
        shell.reply(_batch(done), text)
    return 0


def _batch(done) -> dict:
    return {"count": done.count, "entries": done.entries, "total_micro": done.total_micro}
