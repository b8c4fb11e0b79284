"""Booking by hand all that is due, however far behind; and what that would be, for looking only.

The service books on time by itself (``advancing.advance_due``) but leaves a wallet alone that is
more than 62 days behind: the clock may be wrong. This is what a person runs who knows better, also
when a clock was ahead for a while and left wallets behind that wait for that time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from ..domain.admission import Policy
from ..domain.advance import Slice
from ..domain.audit import Actor
from ..domain.instants import iso
from ..store import audit, periods, sessions, wallets
from ..store import tables as t
from ..store.engine import Tx
from .advancing import BATCH, advance_due, ahead_of, clamped, due_wallets

_W, _E = t.wallets_.c, t.entries.c
#: A wallet that is no further ahead of the clock is soon caught up with.
AHEAD = timedelta(days=1)


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


def ahead_of_clock(tx: Tx) -> list[str]:
    """Names of wallets whose books are ahead: a clock was wrong when they were last moved."""
    return [w.name for w in wallets.read(tx, _ahead(tx)).values()]


def put_back(tx: Tx, *, policy: Policy, actor: Actor) -> list[str]:
    """Let wallets that a clock put ahead go on from now; their names.

    No boundary that is booked comes again. The entries that were made then stay.
    """
    locked = wallets.lock(tx, _ahead(tx))
    now, calendar = tx.now(), periods.calendar(tx, policy.timezone)
    turned, names = _turned(tx, locked), []
    for wallet_id, wallet in locked.items():
        until = now
        if wallet.allowance is not None:
            until = calendar.last_boundary(wallet.allowance.period, now)
        until = max(until, turned.get(wallet_id, until))
        if until >= wallet.advanced_until:
            continue
        tx.execute(t.wallets_.update().where(_W.id == wallet_id).values(advanced_until=until))
        audit.write(
            tx, "wallet.put_back", "wallet", wallet_id, actor=actor, now=now,
            before={"advanced_until": iso(wallet.advanced_until)},
            after={"advanced_until": iso(until)},
        )  # fmt: skip
        names.append(wallet.name)
    return names


def _ahead(tx: Tx) -> list[int]:
    return list(tx.execute(sa.select(_W.id).where(_W.advanced_until > tx.now() + AHEAD)).scalars())


def _turned(tx: Tx, wallet_ids: Iterable[int]) -> dict[int, datetime]:
    """The last boundary that was booked for each wallet; an allowance begun at once is none."""
    query = (
        sa.select(_E.wallet_id, sa.func.max(_E.effective_at))
        .where(_E.wallet_id.in_(list(wallet_ids)), _E.key.like("allowance:%"))
        .where(_E.key.not_like("allowance:%:at:%"))
        .group_by(_E.wallet_id)
    )
    return dict(tx.execute(query).all())
