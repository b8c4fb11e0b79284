"""``jhub-usage session correct``: when an ended session started or ended, by somebody who knows."""

from ..actions import corrections
from ..domain.errors import BadInput
from ..domain.instants import iso, parse_instant, span_text
from .shell import Shell, note


def correct(args) -> int:
    told = {
        attribute: parse_instant(getattr(args, attribute), what=what)
        for attribute, what in (("started_at", "start"), ("ended_at", "end"))
        if getattr(args, attribute) is not None
    }
    if not args.note.strip() and not args.dry_run:
        raise BadInput("A correction needs --note: say how you know.")
    with Shell(args) as shell:
        policy = shell.context.policy
        if args.dry_run:
            done = shell.look(corrections.preview, args.session, policy=policy, **told)
        else:
            done = shell.act(
                corrections.correct_boundaries, args.session, note=note(args), policy=policy, **told
            )
        if args.json:
            shell.reply(_shown(done))
            return 0
        _print(shell, done, dry_run=args.dry_run)
    return 0


def _shown(c: corrections.Correction) -> dict:
    return {
        "session": c.session_id, "changes": c.changes, "month": c.month,
        "before": c.before, "after": c.after, "billed_us": c.billed_us,
        "amount_micro": c.amount_micro, "taken_back_micro": c.taken_back_micro,
        "waived_micro": c.waived_micro, "net_micro": c.net_micro,
    }  # fmt: skip


def _print(shell: Shell, c: corrections.Correction, *, dry_run: bool) -> None:
    rows = [
        (what, iso(getattr(c.before, name)) or "", iso(getattr(c.after, name)) or "")
        for what, name in (
            ("started", "started_at"), ("ended", "ended_at"),
            ("billed from", "billed_from_at"), ("billed until", "billed_until_at"),
        )
    ]  # fmt: skip
    rows.append(("billed time", span_text(c.before.billed_us), span_text(c.after.billed_us)))
    shell.table(("", "before", "after"), rows)
    facts = []
    if c.amount_micro:
        word = "back to the wallet" if c.amount_micro > 0 else "charged besides"
        facts.append((word, shell.money(abs(c.amount_micro))))
    if c.taken_back_micro:
        facts.append(("refunds taken back", shell.money(c.taken_back_micro)))
    if c.waived_micro:
        facts.append(("waived", shell.money(c.waived_micro)))
    if facts:
        facts.append(("booked in", c.month))
        print()
        shell.table(("", ""), facts)
    print()
    if not c.changes:
        print("These are its boundaries already; nothing was changed.")
    else:
        print("Nothing was changed: this is what it would do." if dry_run else "Corrected.")
