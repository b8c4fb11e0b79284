"""Setting and taking away a wallet's allowance. Its boundaries are booked by ``advancing``."""

from dataclasses import asdict
from datetime import datetime

from ..domain.admission import Policy
from ..domain.allowance_words import boundary_text
from ..domain.allowances import TURNS, Allowance, require_allowance, turn
from ..domain.audit import Actor
from ..domain.errors import BadInput, NotFound
from ..domain.instants import after, to_micros
from ..domain.wallets import Wallet
from ..store import audit, ledger
from ..store import tables as t
from ..store.engine import Tx
from .advancing import opened
from .views import WalletView

_W = t.wallets_.c


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
    require_allowance(allowance)
    if not allowance.amount_micro:
        raise BadInput("An allowance must be more than nothing; remove it instead.")
    wallet, now = _wallet(tx, wallet_id, policy=policy, actor=actor)
    before = wallet.allowance
    if begin_now is None:
        begin_now = before is None or (not before.amount_micro and not wallet.left_micro)
    if before == allowance and not begin_now:
        return None
    if begin_now:
        now = _free_instant(tx, wallet_id, now)
    _store(tx, wallet_id, allowance, now)
    entry_id = None
    if begin_now:
        turned = turn(wallet.balance_micro, wallet.left_micro, allowance)
        if turned.net_micro:
            entry = ledger.NewEntry(
                wallet_id=wallet_id,
                kind="grant" if turned.net_micro > 0 else "expiry",
                amount_micro=turned.net_micro,
                key=_key(wallet_id, now),
                effective_at=now,
                how=TURNS,
                note=boundary_text(turned.granted_micro, turned.expired_micro),
            )
            entry_id, _ = ledger.post(tx, entry, actor=actor, now=now, timezone=policy.timezone)
    audit.write(
        tx, "wallet.allowance_set", "wallet", wallet_id, actor=actor, now=now,
        before=shown(before), after=shown(allowance) | {"entry_id": entry_id, "begun": begin_now},
    )  # fmt: skip
    return entry_id


def _key(wallet_id: int, at: datetime) -> str:
    return f"allowance:{wallet_id}:at:{to_micros(at)}"


def _free_instant(tx: Tx, wallet_id: int, at: datetime) -> datetime:
    """The first instant from ``at`` on at which none has begun yet.

    Behind a clock that went back, several acts would have the instant of the last one.
    """
    while ledger.has(tx, _key(wallet_id, at)):
        at = after(at, 1)
    return at


def remove_allowance(tx: Tx, wallet_id: int, *, policy: Policy, actor: Actor) -> None:
    """No more grants; what is left of the last one expires at the next boundary."""
    wallet, now = _wallet(tx, wallet_id, policy=policy, actor=actor)
    before = wallet.allowance
    if before is None or not before.amount_micro:
        raise NotFound(f"The wallet {wallet.name} has no allowance.")
    rest = Allowance(0, before.period, 0) if wallet.left_micro else None
    _store(tx, wallet_id, rest, now)
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


def _wallet(tx: Tx, wallet_id: int, *, policy: Policy, actor: Actor) -> tuple[Wallet, object]:
    locked, now = opened(tx, [wallet_id], policy=policy, actor=actor)
    if wallet_id not in locked:
        raise NotFound(f"There is no wallet {wallet_id}.")
    return locked[wallet_id], now


def _store(tx: Tx, wallet_id: int, allowance: Allowance | None, now) -> None:
    # boundaries before now belong to what was there before
    values = {"allowance_micro": None, "allowance_period": None, "allowance_carry_micro": None}
    if allowance is not None:
        values = {
            "allowance_micro": allowance.amount_micro,
            "allowance_period": allowance.period,
            "allowance_carry_micro": allowance.carry_micro,
        }
    tx.execute(t.wallets_.update().where(_W.id == wallet_id).values(advanced_until=now, **values))
