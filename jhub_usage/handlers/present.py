"""What the API and the pages show of each thing: the shapes that ``schemas`` describes.

Instants stay instants here: JSON writes them in UTC, pages in the hub's zone.
"""

from collections.abc import Mapping
from datetime import datetime

from ..actions import allowances
from ..actions.limit_uses import LimitUse
from ..actions.views import SessionView, WalletView
from ..domain.allowance_words import entry_text
from ..domain.instants import elapsed_us
from ..domain.limits import Limit, amount_text, cap_text, full_text, value_text, whom_text
from ..domain.rates import Rate
from ..domain.rules import Rule

ACTORS = {
    "hook": "the hub",
    "system": "jhub-usage",
    "cli": "the shell",
    "import": "an import",
    "service": "a service",
    "person": "somebody",
}


def wallet(v: WalletView) -> dict:
    return {
        "id": v.id,
        "name": v.name,
        "title": v.title,
        "kind": "personal" if v.owner_id is not None else "shared",
        "owner": v.owner or None,
        "role": v.role or None,
        "balance_micro": v.balance_micro,
        "overdraft_micro": v.overdraft_micro,
        "available_micro": v.available_micro,
        "reserved_micro": v.claims_micro,
        "allowance": allowances.facts(v),
        "burn_per_hour_micro": v.burn_per_hour_micro,
        "dry_at": v.dry_at,
        "open_sessions": v.running,
        "mode": v.mode,
        "created_at": v.created_at,
        "closed": v.closed,
    }


def session(v: SessionView, meter: Mapping | None = None) -> dict:
    meter = meter or {}
    ends_at = meter.get("ends_at")
    marks = {name: v.boundaries[name]["at"] for name in v.boundaries}
    return {
        "id": v.id,
        "person": v.person,
        "server_name": v.server_name,
        "profile": v.profile,
        "wallet": v.wallet or None,
        "wallet_id": v.wallet_id,
        "state": v.state,
        "mode": v.mode,
        "billed": v.billed,
        "shape": {name: v.shape[name] for name in ("cpu_milli", "memory_bytes", "gpus")},
        "per_hour_micro": v.per_hour_micro,
        "start_fee_micro": v.fee_micro,
        "cost_micro": v.cost_micro,
        "charged_micro": v.charged_micro,
        "refunded_micro": v.refunded_micro,
        "hold_micro": v.hold_micro,
        "billed_s": v.elapsed_us // 1_000_000,
        "accrues": bool(meter.get("accrues")),
        "requested_at": v.requested_at,
        "admitted_at": v.admitted_at,
        "started_at": marks["started"],
        "ready_at": marks["ready"],
        "stop_accepted_at": marks["stop_accepted"],
        "ended_at": marks["ended"],
        "end_reason": v.end_reason,
        "platform_s": v.platform_us // 1_000_000,
        "restart_count": v.restart_count,
        "limit_at": v.limit_at,
        "ends_at": ends_at,
        "ends_reason": meter.get("ends_reason"),
        "ends_limit": full_text(meter["ends_limit"], v.wallet) if meter.get("ends_limit") else None,
        "left_s": None if ends_at is None else elapsed_us(v.at, ends_at) // 1_000_000,
        "warned_at": v.warned_at,
        "stop_at": v.stop_at,
        "stop_ordered_at": v.stop_ordered_at,
    }


def boundaries(v: SessionView) -> list[dict]:
    """When what happened, and how we know."""
    first = [
        {"name": "requested", "at": v.requested_at, "evidence": None},
        {"name": "admitted", "at": v.admitted_at, "evidence": None},
    ]
    return first + [
        {"name": name, "at": mark["at"], "evidence": mark["evidence"]}
        for name, mark in v.boundaries.items()
    ]


def decision(row: Mapping) -> dict:
    quote = row["quote"] or {}
    return {
        "session_id": row["session_id"],
        "decided_at": row["decided_at"],
        "decision": row["decision"],
        "reason": row["reason"],
        "text": row["text"],
        "person": row["person"],
        "server_name": row["server_name"],
        "wallet": row["wallet"],
        "wallet_id": row["wallet_id"],
        "profile": row["profile"],
        "mode": row["mode"],
        "shape": row["shape"] or None,
        "per_hour_micro": quote.get("per_hour_micro", 0),
        "start_fee_micro": quote.get("start_fee_micro", 0),
        "hold_micro": row["hold_micro"],
        "available_micro": row["available_micro"],
        "voided_at": row["voided_at"],
        "void_reason": row["void_reason"],
    }


def entry(row: Mapping) -> dict:
    return {
        "id": row["id"],
        "wallet_id": row["wallet_id"],
        "wallet": row["wallet"],
        "kind": row["kind"],
        "amount_micro": row["amount_micro"],
        "effective_at": row["effective_at"],
        "posted_at": row["posted_at"],
        "period": row["period"],
        "session_id": row["session_id"],
        "person": row["person"],
        "slice_start": row["slice_start"],
        "slice_end": row["slice_end"],
        "corrects_id": row["corrects_id"],
        "goodwill": row["goodwill"],
        "counter_wallet": row["counter_wallet"],
        "actor": row["actor"] or ACTORS.get(row["actor_kind"], row["actor_kind"]),
        "about": entry_text(row["kind"], row["key"]),
        "note": row["note"],
    }


def rates(held: tuple[Rate, ...], now: datetime) -> list[dict]:
    """Those in force first, then those to come, then the past."""
    following = {}
    for rate in sorted(held, key=lambda r: r.starts_at, reverse=True):
        following[rate.id] = following.get(rate.key)
        following[rate.key] = rate.starts_at
    shown = []
    for rate in held:
        ends_at = following[rate.id]
        shown.append(
            {
                "id": rate.id,
                "resource": rate.resource,
                "model": rate.model,
                "profile": rate.profile,
                "price_micro": rate.price_micro,
                "starts_at": rate.starts_at,
                "ends_at": ends_at,
                "in_force": rate.price_micro is not None
                and rate.starts_at <= now
                and (ends_at is None or ends_at > now),
                "upcoming": rate.starts_at > now,
            }
        )
    order = {"gpu": 0, "cpu": 1, "memory": 2, "start": 3}
    return sorted(
        shown,
        key=lambda r: (
            not r["in_force"],
            not r["upcoming"],
            order[r["resource"]],
            r["model"],
            r["profile"],
            r["starts_at"],
        ),
    )


def rule(held: Rule, names: Mapping[int, str]) -> dict:
    return {
        "id": held.id,
        "position": held.position,
        "person": held.person,
        "group": held.group,
        "profile": held.profile,
        "target": held.target,
        "wallet": names.get(held.wallet_id),
        "wallet_id": held.wallet_id,
        "starting_grant_micro": held.starting_grant_micro,
        "overdraft_micro": held.overdraft_micro,
    }


def limit(held: Limit, names: Mapping[int, str]) -> dict:
    name = names.get(held.wallet_id)
    return {
        "id": held.id,
        "subject": held.subject,
        "resource": held.resource,
        "amount": held.amount,
        "period": held.period or None,
        "shown": amount_text(held.resource, held.amount),
        "cap": cap_text(held),
        "whom": whom_text(held, name or ""),
        "person": held.person,
        "group": held.group,
        "wallet": name,
        "wallet_id": held.wallet_id,
        "profile": held.profile,
        "each": held.each,
        "by_manager": held.by_manager,
    }


def limit_use(u: LimitUse, names: Mapping[int, str]) -> dict:
    """What of a limit per period is used."""
    value = value_text(u.limit.resource, u.used)
    return {
        "limit": limit(u.limit, names),
        "person": u.person or None,
        "used": u.used,
        "set_aside": u.aside,
        "text": f"{value} of {amount_text(u.limit.resource, u.limit.amount)} {u.of.text()}",
        "label": u.of.label,
        "begins_at": u.of.begins_at,
        "begins_anew_at": u.of.ends_at,
        "at": u.at,
    }


def person(row: Mapping) -> dict:
    return {
        "id": row["id"],
        "name": row["name"],
        "current": bool(row["current"]),
        "created_at": row["hub_created_at"],
        "wallet_id": row["wallet_id"],
        "sessions": row["sessions"] or 0,
        "last_session_at": row["last_session_at"],
        "pseudonymised_at": row["pseudonymised_at"],
    }


def audit(row: Mapping) -> dict:
    return {
        "id": row["id"],
        "at": row["at"],
        "action": row["action"],
        "subject_kind": row["subject_kind"],
        "subject_id": row["subject_id"],
        "actor": row["actor_name"] or ACTORS.get(row["actor_kind"], row["actor_kind"]),
        "actor_kind": row["actor_kind"],
        "address": row["address"],
        "before": row["before"],
        "after": row["after"],
    }


def would_stop(row: Mapping) -> dict:
    """A session that observe mode left running although its money or time was up."""
    return {
        "at": row["at"],
        "session_id": row["session_id"],
        "person": row["person"],
        "server_name": row["server_name"],
        "wallet": row["wallet"],
        "wallet_id": row["wallet_id"],
        "reason": row["reason"] or "",
        "state": row["state"],
    }
