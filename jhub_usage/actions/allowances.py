"""Setting and taking away a wallet's allowance. Its boundaries are booked by ``advancing``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from ..domain.admission import Policy
from ..domain.allowance_words import boundary_text
from ..domain.allowances import TURNS, Allowance, require_allowance, turn
from ..domain.audit import Actor
from ..domain.errors import BadInput, NotFound
from ..domain.instants import to_micros
from ..domain.wallets import Wallet
from ..store import audit, bulk, ledger
from ..store import wallets as rows
from ..store.engine import Tx
from .advancing import clamped, opened
from .views import WalletView


def set_allowance(
    tx: Tx,
    wallet_id: int,
    allowance: Allowance,
    *,
    policy: Policy,
    actor: Actor,
    begin_now: bool | None = None,
) -> int | None:
    """Give a wallet an allowance, or change it; the entry's id if one was booked now.

    ``begin_now`` acts as a boundary at once: what is left beyond the cap expires, the amount is
    granted. By default a first allowance begins at once, and a changed one at the next boundary.
    """
    made = set_allowances(
        tx, {wallet_id: allowance}, policy=policy, actor=actor, begin_now=begin_now
    )
    return made.get(wallet_id)


def set_allowances(
    tx: Tx,
    wanted: Mapping[int, Allowance],
    *,
    policy: Policy,
    actor: Actor,
    begin_now: bool | None = None,
) -> dict[int, int]:
    """The same for many wallets at once; by wallet the ids of the entries that were booked."""
    for allowance in wanted.values():
        require_allowance(allowance)
        if not allowance.amount_micro:
            raise BadInput("An allowance must be more than nothing; remove it instead.")
    rows.lock(tx, wanted)
    # not read after what is due is booked: a boundary that passes meanwhile would be skipped
    now = tx.now()
    wallets, _ = opened(tx, wanted, policy=policy, actor=actor)
    for wallet_id in wanted:
        if wallet_id not in wallets:
            raise NotFound(f"There is no wallet {wallet_id}.")
    ids: dict[int, int] = {}
    for at, changes in _planned(wallets, wanted, begin_now, now).items():
        ids |= _book(tx, changes, at, policy=policy, actor=actor)
    return ids


@dataclass(frozen=True)
class _Change:
    """An allowance that a wallet gets; ``begins``: it acts as a boundary at once."""

    wallet: Wallet
    allowance: Allowance
    begins: bool


def _planned(
    wallets: Mapping[int, Wallet],
    wanted: Mapping[int, Allowance],
    begin_now: bool | None,
    now: datetime,
) -> dict[datetime, list[_Change]]:
    """What changes, by the instant of the act: that of each wallet's own clock."""
    found: dict[datetime, list[_Change]] = {}
    for wallet_id, allowance in wanted.items():
        wallet, before = wallets[wallet_id], wallets[wallet_id].allowance
        begins = begin_now
        if begins is None:
            begins = before is None or (not before.amount_micro and not wallet.left_micro)
        if before != allowance or begins:
            change = _Change(wallet, allowance, begins)
            found.setdefault(clamped(now, [wallet]), []).append(change)
    return found


def _book(
    tx: Tx, changes: Sequence[_Change], at: datetime, *, policy: Policy, actor: Actor
) -> dict[int, int]:
    """By wallet the ids of the entries that the beginnings make."""
    entries, stored = [], []
    taken = ledger.taken(tx, [_key(c.wallet.id, at) for c in changes if c.begins])
    for change in changes:
        wallet, allowance = change.wallet, change.allowance
        balance, left = wallet.balance_micro, wallet.left_micro
        if change.begins:
            turned = turn(balance, left, allowance)
            balance, left = turned.balance_micro, turned.left_micro
            if turned.net_micro:
                key = _key(wallet.id, at)
                entry = ledger.NewEntry(
                    wallet_id=wallet.id,
                    kind="grant" if turned.net_micro > 0 else "expiry",
                    amount_micro=turned.net_micro,
                    key=_free(tx, key) if key in taken else key,
                    effective_at=at,
                    how=TURNS,
                    note=boundary_text(turned.granted_micro, turned.expired_micro),
                )
                entries.append(entry)
        stored.append((wallet.id, allowance, at, balance, left))
    made = ledger.post_turns(tx, entries, actor=actor, now=at, timezone=policy.timezone)
    ids = {entry.wallet_id: made_id for entry, made_id in zip(entries, made, strict=True)}
    rows.keep_allowances(tx, stored)
    audited = [
        {
            "action": "wallet.allowance_set",
            "subject_kind": "wallet",
            "subject_id": c.wallet.id,
            "before": shown(c.wallet.allowance),
            "after": shown(c.allowance) | {"entry_id": ids.get(c.wallet.id), "begun": c.begins},
        }
        for c in changes
    ]
    bulk.write_audit(tx, audited, actor=actor, now=at)
    return ids


def _key(wallet_id: int, at: datetime) -> str:
    return f"allowance:{wallet_id}:at:{to_micros(at)}"


def _free(tx: Tx, key: str) -> str:
    """The key, numbered: several may begin at one instant, behind a clock that went back."""
    number = 2
    while ledger.has(tx, f"{key}:{number}"):
        number += 1
    return f"{key}:{number}"


def remove_allowance(tx: Tx, wallet_id: int, *, policy: Policy, actor: Actor) -> None:
    """No more grants; what is left of the last one expires at the next boundary."""
    locked, now = opened(tx, [wallet_id], policy=policy, actor=actor)
    if wallet_id not in locked:
        raise NotFound(f"There is no wallet {wallet_id}.")
    wallet, before = locked[wallet_id], locked[wallet_id].allowance
    if before is None or not before.amount_micro:
        raise NotFound(f"The wallet {wallet.name} has no allowance.")
    rest = Allowance(0, before.period, 0) if wallet.left_micro else None
    rows.keep_allowances(tx, [(wallet_id, rest, now, wallet.balance_micro, wallet.left_micro)])
    audit.write(
        tx, "wallet.allowance_removed", "wallet", wallet_id, actor=actor, now=now,
        before=shown(before),
        after=asdict(rest) if rest is not None else None,
    )  # fmt: skip


def shown(allowance: Allowance | None) -> dict | None:
    """An allowance for the audit trail."""
    if allowance is None or not allowance.amount_micro:
        return None
    return {
        "amount_micro": allowance.amount_micro,
        "period": allowance.period,
        "carry_micro": allowance.carry_micro,
    }


def facts(view: WalletView) -> dict | None:
    """A wallet's allowance with what is left of it and what comes; None where there is none.

    An amount of 0: it was taken away, and what is left of it expires at ``next_at``.
    """
    allowance, ahead = view.allowance, view.outlook
    if allowance is None or not (allowance.amount_micro or ahead.left_micro):
        return None
    return {
        "amount_micro": allowance.amount_micro,
        "period": allowance.period,
        "carry_micro": allowance.carry_micro,
        "left_micro": ahead.left_micro,
        "next_at": ahead.next_at,
        "next_micro": ahead.granted_micro,
        "expires_micro": ahead.expires_micro,
    }
