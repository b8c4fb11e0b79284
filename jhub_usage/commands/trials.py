"""``jhub-usage trial``: what would happen, or would have happened, under other rules."""

import uuid

from ..actions import admissions, allowances, plans, trials, views, wallets
from ..adapters import files
from ..domain.admission import Ask, PersonKey
from ..domain.declared import Declared
from ..domain.errors import BadInput
from ..domain.limits import Breach, Limit, value_text
from ..domain.period_limits import PeriodBreach
from ..domain.periods import MONTH, first_day
from ..domain.rules import Rule
from ..domain.shapes import Gpus, Shape, parse_quantity
from ..store import people
from .shell import Shell, name
from .wallets import allowance_facts

SHOWN = 20


def start(args) -> int:
    """Who pays if this person starts this now, and would it be admitted?"""
    who = name(args.person, "person's name")
    groups = tuple(name(g, "group's name") for g in args.group or ())
    profile = name(args.profile, "profile") if args.profile else ""
    with Shell(args) as shell:
        hub_id = shell.settings.hub_id

        def query(tx):
            plans.require_hub(tx, hub_id)
            known = people.by_name(tx, hub_id, who)
            shape = _shape(args) or trials.last_shape(tx, profile)
            ask = Ask(
                session_id=str(uuid.uuid4()),
                hub_id=hub_id,
                person=PersonKey(who, known.hub_user_id, known.created_at)
                if known
                else PersonKey(who),
                server_name="",
                profile=profile,
                shape=shape,
                groups=groups,
                wallet_name=args.wallet or "",
            )
            policy, cache = shell.context.policy, shell.context.cache
            made = admissions.advise(tx, ask, policy=policy, cache=cache)
            ids = [made.wallet_id] if made.wallet_id is not None else []
            return shape, made, views.wallet_views(tx, ids=ids, timezone=policy.timezone)

        shape, decision, payers = shell.look(query)
        if args.json:
            shell.reply(
                {
                    "decision": decision.decision,
                    "reason": decision.reason.code,
                    "text": decision.reason.text,
                    "wallet": decision.wallet_name or None,
                    "mode": decision.mode,
                    "shape": shape.to_json(),
                    "per_hour_micro": decision.quote.per_hour_micro,
                    "start_fee_micro": decision.quote.start_fee_micro,
                    "hold_micro": decision.hold_micro,
                    "available_micro": decision.available_micro,
                    "allowance": allowances.facts(payers[0]) if payers else None,
                }
            )
            return 0
        facts = [
            ("decision", decision.decision),
            ("why", decision.reason.text),
            ("wallet", decision.wallet_name or "none"),
            ("shape", shape.text()),
            ("per hour", shell.price(decision.quote.per_hour_micro)),
            ("per start", shell.price(decision.quote.start_fee_micro)),
            ("set aside", shell.money(decision.hold_micro)),
            ("available", shell.money(decision.available_micro)),
            *(fact for held in payers for fact in allowance_facts(shell, held)),
            ("mode", decision.mode),
        ]
        shell.table(("", ""), facts)
    return 0


def _shape(args) -> Shape | None:
    if args.gpus is None and args.cpu is None and args.memory is None:
        return None
    gpus = ()
    if args.gpus:
        gpus = (Gpus("nvidia.com/gpu", args.gpu_model or "unknown", args.gpus),)
    cores = parse_quantity(args.cpu or "0") * 1000
    return Shape(int(cores), int(parse_quantity(args.memory or "0")), gpus)


def month(args) -> int:
    """A month as it would have been under the rates, limits and rules of files."""
    first_day(MONTH, args.month)
    declared = files.read_files(args.files) if args.files else Declared()
    unused = [
        kind for kind in ("wallets", "templates", "people", "exemptions", "mode")
        if getattr(declared, kind)
    ]  # fmt: skip
    if unused:
        raise BadInput("Only rates, limits and rules can be tried on a month that was.")
    with Shell(args) as shell:
        policy = shell.context.policy

        def query(tx):
            tried = {}
            begin = trials.begins(tx, args.month, policy.timezone)
            if declared.rates:
                tried["rates"] = trials.tried_rates(declared.rates, begin)
            if declared.limits is not None:
                tried["limits"] = [_limit(tx, x, n) for n, x in enumerate(declared.limits, 1)]
            if declared.rules is not None:
                tried["rules"] = [_rule(tx, x, n) for n, x in enumerate(declared.rules)]
            return trials.month(tx, args.month, policy=policy, **tried)

        found = shell.look(query)
        if args.json:
            shell.reply(_data(found))
            return 0
        _print(shell, found, declared)
    return 0


def _limit(tx, declared, number: int) -> Limit:
    held = declared.limit
    wallet_id = wallets.find(tx, declared.wallet).id if declared.wallet else None
    values = {f: getattr(held, f) for f in held.__dataclass_fields__}
    return Limit(**values | {"wallet_id": wallet_id, "id": number})


def _rule(tx, declared, position: int) -> Rule:
    wallet_id = wallets.find(tx, declared.wallet).id if declared.wallet else None
    return Rule(
        position, "wallet" if wallet_id is not None else "personal", wallet_id,
        person=declared.person, group=declared.group, profile=declared.profile,
    )  # fmt: skip


def _data(found) -> dict:
    return {
        "month": found.label,
        "begin": found.begin,
        "end": found.end,
        "wallets": found.wallets,
        "people": [
            {"person": who, "charged_micro": was, "tried_micro": tried}
            for who, was, tried in found.people
        ],
        "starts": found.starts,
        "refused": [
            {
                "session_id": s.session_id, "person": s.person, "profile": s.profile,
                "decided_at": s.decided_at, "limit": b.limit.id, "resource": b.limit.resource,
                "used": b.used, "asked": b.asked,
                "of": b.of.label if isinstance(b, PeriodBreach) else None,
                "set_aside": b.aside if isinstance(b, PeriodBreach) else 0,
            }
            for s, b in found.refused
        ],
        "other_wallets": [
            {"session_id": s.session_id, "person": s.person, "wallet": was, "tried": tried}
            for s, was, tried in found.moved
        ],
        "without_price": found.unpriced,
        "same": found.same,
    }  # fmt: skip


def _numbers(breach: Breach) -> tuple[str, ...]:
    """The period, and what was in use, set aside and asked, as limits are shown."""
    of, aside = "", ""
    if isinstance(breach, PeriodBreach):
        of, aside = breach.of.label, value_text(breach.limit.resource, breach.aside)
    in_use, asked = (value_text(breach.limit.resource, n) for n in (breach.used, breach.asked))
    return of, in_use, aside, asked


def _print(shell: Shell, found, declared: Declared) -> None:
    rows = [
        (w.wallet, shell.money(w.charged_micro), shell.money(w.tried_micro),
         shell.money(w.tried_micro - w.charged_micro), shell.money(w.balance_micro),
         shell.money(w.tried_balance_micro))
        for w in found.wallets
    ]  # fmt: skip
    heads = ("wallet", "charged>", "tried>", "difference>", "balance at its end>", "tried>")
    shell.table(heads, rows, "Nothing was booked in that month.")
    if not declared.rates:
        same = "to the micro-credit" if found.same else "BUT NOT to the micro-credit"
        print(f"\nRun again as it was, the month gives its own ledger, {same}.")
    if found.unpriced:
        print(f"\n{len(found.unpriced)} sessions would have had no price.")
    if declared.limits is not None:
        print(f"\n{len(found.refused)} of {found.starts} starts would have been refused.")
        shell.table(
            ("when", "who", "profile", "limit on", "of", "in use>", "set aside>", "asked>"),
            [
                (shell.when(s.decided_at), s.person, s.profile,
                 f"{b.limit.resource} of {b.limit.subject_text()}", *_numbers(b))
                for s, b in found.refused[:SHOWN]
            ],
        )  # fmt: skip
    if declared.rules is not None:
        print(f"\n{len(found.moved)} of {found.starts} starts would have been paid by another "
              "wallet.")  # fmt: skip
        shell.table(
            ("when", "who", "paid by", "then by"),
            [
                (shell.when(s.decided_at), s.person, was or "none", tried or "a new own wallet")
                for s, was, tried in found.moved[:SHOWN]
            ],
        )
    more = max(len(found.refused), len(found.moved)) - SHOWN
    if more > 0:
        print(f"... and {more} more; --json has all of them.")
