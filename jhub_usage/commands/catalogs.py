"""``jhub-usage rate | rule | limit | exempt``: what is configured besides wallets."""

from dataclasses import replace

from ..actions import exemptions as exempt_actions
from ..actions import limit_uses, plans, views, wallets
from ..actions import limits as limit_actions
from ..actions import rates as rate_actions
from ..actions import rules as rule_actions
from ..domain.declared import limit_amount_text, limit_for, parse_limit_amount
from ..domain.errors import BadInput, NotFound
from ..domain.held import limit_name, rule_text
from ..domain.instants import parse_instant
from ..domain.limits import RESOURCES as LIMITED
from ..domain.limits import unit_text, value_text
from ..domain.rules import Rule
from .shell import Shell, amount, name, overdraft


def _held(shell):
    return shell.look(plans.held, shell.settings.hub_id)


def _names(args, *kinds: str) -> dict[str, str]:
    """The names that were given, by kind; empty where none was."""
    return {k: getattr(args, k) and name(getattr(args, k), f"{k}'s name") for k in kinds}


# -- rates ----------------------------------------------------------------------------------------


def rates(args) -> int:
    with Shell(args) as shell:
        found = _rates(shell, args.all)
        if args.json:
            shell.reply({"rates": found})
            return 0
        rows = [
            (r.id, r.resource, r.model, r.profile, shell.price(r.price_micro),
             shell.when(r.starts_at))
            for r in found
        ]  # fmt: skip
        heads = ("id>", "resource", "model", "profile", "price>", "from")
        shell.table(heads, rows, "There are no rates: a server with a GPU can not start.")
    return 0


def _rates(shell, everything: bool) -> list:
    if not everything:
        found = shell.look(views.current_rates)
    else:
        found = list(shell.look(views.catalog).rates)
    return sorted(found, key=lambda r: (r.key, r.starts_at))


def set_rate(args) -> int:
    return _rate(args, amount(args.price, "price"))


def end_rate(args) -> int:
    return _rate(args, None)


def _rate(args, price: int | None) -> int:
    starts_at = args.starts_at and parse_instant(args.starts_at, what="start of the rate")
    model = args.model and name(args.model, "GPU model")
    profile = args.profile and name(args.profile, "profile")
    with Shell(args) as shell:
        rate_id = shell.act(
            rate_actions.add, args.resource, price, model=model, profile=profile,
            starts_at=starts_at or None,
        )  # fmt: skip
        what = " ".join(x for x in (args.resource, model, profile) if x)
        text = f"{what} costs {shell.price(price)}" if price is not None else f"{what} ended"
        text += f" from {args.starts_at}." if starts_at else " from now."
        shell.reply({"id": rate_id, "price_micro": price}, text)
    return 0


# -- rules ----------------------------------------------------------------------------------------


def rules(args) -> int:
    with Shell(args) as shell:
        config, held = shell.look(views.catalog), _held(shell)
        found = [
            {"id": rule.id, "position": rule.position, "person": rule.person, "group": rule.group,
             "profile": rule.profile, "target": rule.target, "wallet": decl.wallet or None,
             "starting_grant_micro": rule.starting_grant_micro,
             "overdraft_micro": rule.overdraft_micro, "text": rule_text(decl)}
            for rule, decl in zip(config.rules, held.rules, strict=True)
        ]  # fmt: skip
        if args.json:
            shell.reply({"rules": found})
            return 0
        shell.table(("id>", "position>", "rule"),
                    [(r["id"], r["position"], r["text"]) for r in found],
                    "There are no rules: nobody's servers are paid for.")  # fmt: skip
    return 0


def add_rule(args) -> int:
    if bool(args.wallet) == args.personal:
        raise BadInput("A rule names a --wallet, or says --personal.")
    if not args.personal and (args.grant is not None or args.overdraft is not None):
        raise BadInput("--grant and --overdraft go with --personal.")
    if args.position is not None and not 0 <= args.position < 10**6:
        raise BadInput("A position is a number from 0 on.")
    grant = amount(args.grant, "starting grant") or 0
    allowed = overdraft(args.overdraft)
    names = _names(args, "person", "group", "profile")

    def action(tx, *, actor):
        wallet_id = None
        if args.wallet:
            wallet_id = wallets.find(tx, name(args.wallet, "wallet's name")).id
        position = args.position
        if position is None:
            position = max((r.position for r in views.catalog(tx).rules), default=-1) + 1
        rule = Rule(
            position, "personal" if args.personal else "wallet", wallet_id, **names,
            starting_grant_micro=grant, overdraft_micro=allowed,
        )  # fmt: skip
        return rule_actions.add(tx, rule, actor=actor), position

    with Shell(args) as shell:
        rule_id, position = shell.act(action)
        shell.reply({"id": rule_id, "position": position},
                    f"Added rule {rule_id} at position {position}.")  # fmt: skip
    return 0


def remove_rule(args) -> int:
    with Shell(args) as shell:
        shell.act(rule_actions.remove, args.rule)
        shell.reply({"id": args.rule}, f"Removed rule {args.rule}.")
    return 0


# -- limits ---------------------------------------------------------------------------------------


def limits(args) -> int:
    with Shell(args) as shell:
        held = _held(shell)
        ctx, hub_id = shell.context, shell.settings.hub_id
        uses = shell.look(limit_uses.of_all, policy=ctx.policy, hub_id=hub_id)
        used = {u.limit.id: u.used for u in uses}
        found = [
            {"id": x.id, "subject": x.limit.subject, "resource": x.limit.resource,
             "amount": x.limit.amount,
             "amount_text": limit_amount_text(x.limit.resource, x.limit.amount),
             "person": x.limit.person, "group": x.limit.group, "wallet": x.wallet or None,
             "profile": x.limit.profile, "each": x.limit.each,
             "period": x.limit.period or None, "used": used.get(x.id), "text": limit_name(x),
             "unit": unit_text(x.limit), "by_manager": x.limit.by_manager}
            for x in held.limits
        ]  # fmt: skip
        if args.json:
            shell.reply({"limits": found})
            return 0
        rows = [
            (x["id"], x["text"] + (" (set by a manager)" if x["by_manager"] else ""),
             x["amount_text"], x["unit"],
             "" if x["used"] is None else value_text(x["resource"], x["used"]))
            for x in found
        ]  # fmt: skip
        shell.table(
            ("id>", "for", "amount>", "of", "used>"),
            rows,
            "There are no limits.",
        )
    return 0


def set_limit(args) -> int:
    if args.resource not in LIMITED:
        raise BadInput(f"A limit is on one of {', '.join(LIMITED)}, not {args.resource[:40]!r}.")
    whole = parse_limit_amount(args.resource, args.amount)
    names = _names(args, "person", "group", "wallet", "profile")
    limit = limit_for(args.resource, whole, **names, each=args.each, period=args.period)

    def action(tx, *, actor):
        wallet_id = wallets.find(tx, names["wallet"]).id if names["wallet"] else None
        return limit_actions.add(tx, replace(limit, wallet_id=wallet_id), actor=actor)

    with Shell(args) as shell:
        limit_id = shell.act(action)
        text = f"Limit {limit_id}: {limit_amount_text(args.resource, whole)} {unit_text(limit)}."
        shell.reply({"id": limit_id, "amount": whole}, text)
    return 0


def remove_limit(args) -> int:
    with Shell(args) as shell:
        shell.act(limit_actions.remove, args.limit)
        shell.reply({"id": args.limit}, f"Lifted limit {args.limit}.")
    return 0


# -- exemptions -----------------------------------------------------------------------------------


def exemptions(args) -> int:
    with Shell(args) as shell:
        found = sorted(shell.look(views.catalog).exempt)
        if args.json:
            shell.reply({"exemptions": [{"kind": k, "name": n} for k, n in found]})
            return 0
        shell.table(("kind", "name"), found, "Nobody is exempt.")
    return 0


def add_exemption(args) -> int:
    return _exempt(args, True)


def remove_exemption(args) -> int:
    return _exempt(args, False)


def _exempt(args, exempt: bool) -> int:
    who = name(args.name)

    def action(tx, *, actor):
        if not exempt and (args.kind, who) not in views.catalog(tx).exempt:
            raise NotFound(f"The {args.kind[:40]} {who[:80]!r} is not exempt.")
        exempt_actions.set_exempt(tx, args.kind, who, exempt, actor=actor)

    with Shell(args) as shell:
        shell.act(action)
        text = f"The {args.kind} {who} is {'exempt' if exempt else 'billed again'}."
        shell.reply({"kind": args.kind, "name": who, "exempt": exempt}, text)
    return 0
