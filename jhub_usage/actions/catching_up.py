"""Booking by hand all that is due, however far behind; and what that would be, for looking only.

The service books on time by itself (``advancing.advance_due``) but leaves a wallet alone that is
more than 62 days behind: the clock may be wrong. This is what a person runs who knows better.
"""

from dataclasses import dataclass
from datetime import datetime

from ..domain.admission import Policy
from ..domain.advance import Slice
from ..domain.audit import Actor
from ..store import audit, periods, sessions, wallets
from ..store.engine import Tx
from .advancing import BATCH, advance_due, ahead_of, clamped, due_wallets


@dataclass(frozen=True)
class Due:
    """What is due for one wallet. ``too_far``: only a person books it."""

    wallet: str
    entries: int
    #: What sessions cost up to the boundaries; what allowances bring, less what expires.
    charges_micro: int
    allowances_micro: int
    balance_micro: int
    since_at: datetime
    too_far: bool


def catch_up(tx: Tx, after_id: int = 0, *, policy: Policy, actor: Actor) -> tuple[int, int, int]:
    """Book one batch of wallets: (last id seen or 0 when there are no more, wallets, entries)."""
    last, count, entries, _ = advance_due(tx, after_id, policy=policy, actor=actor, far=True)
    if entries:
        audit.write(
            tx, "ledger.advanced", "ledger", "all", actor=actor, now=tx.now(),
            after={"wallets": count, "entries": entries},
        )  # fmt: skip
    return last, count, entries


def foreseen(tx: Tx, after_id: int = 0, *, policy: Policy) -> tuple[int, list[Due]]:
    """What ``catch_up`` would book for one batch: (last id seen or 0, per wallet). Reads only."""
    now, calendar = tx.now(), periods.calendar(tx, policy.timezone)
    ids = due_wallets(tx, now, policy=policy, after_id=after_id)
    meters, found = sessions.open_meters(tx, ids), []
    for wallet in wallets.read(tx, ids).values():
        ahead = ahead_of(wallet, meters[wallet.id], now, calendar)
        slices = [d.amount_micro for d in ahead.due if isinstance(d, Slice) and d.amount_micro]
        turns = [d.net_micro for d in ahead.due if not isinstance(d, Slice)]
        if not slices and not turns:
            continue
        found.append(
            Due(
                wallet=wallet.name,
                entries=len(slices) + len(turns),
                charges_micro=sum(slices),
                allowances_micro=sum(turns),
                balance_micro=ahead.wallet.balance_micro,
                since_at=ahead.first_at or ahead.due[0].at,
                too_far=ahead.too_far(clamped(now, [wallet])),
            )
        )
    return (ids[-1] if len(ids) == BATCH else 0), found
