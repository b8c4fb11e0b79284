"""Charging what another service meters: storage, tokens, traffic (rule 31).

Each event is told once by its key and charged with all that came before it in its month, so that
nothing is lost by rounding. The exact sum lies beside the ledger, under the wallet's lock.
"""

from datetime import datetime, timedelta
from decimal import Decimal

import sqlalchemy as sa

from ..domain.admission import Policy, effective_mode
from ..domain.audit import Actor
from ..domain.errors import BadInput, NotFound
from ..domain.instants import iso, require_utc
from ..domain.metered import (
    MOST_QUANTITY,
    cost_pico,
    credits_text,
    due,
    entry_key,
    exact_number,
    require_resource,
)
from ..domain.money import MAX_AMOUNT_MICRO, MICRO
from ..domain.periods import MONTH
from ..store import audit, catalog, ledger, periods
from ..store import tables as t
from ..store.engine import Tx
from . import keys
from .advancing import opened

_M = t.metered.c
#: An event is told at most so long after it happened.
LATEST = timedelta(days=366)
MOST_KEY = 200


def meter(
    tx: Tx,
    wallet_id: int,
    resource: str,
    quantity: Decimal | int | str,
    price: Decimal | int | str,
    *,
    key: str,
    policy: Policy,
    actor: Actor,
    at: datetime | None = None,
) -> dict:
    """Charge a quantity at a price in credits per unit; what came of it, as plain JSON values.

    ``key`` is the event's own: told again by the same actor it is answered the same and changes
    nothing, as long as answers to keys are kept. ``at`` is when it happened, now by default; its
    month is the one that it rounds with and is booked in, or the first open one after it.
    """
    require_resource(resource)
    quantity = exact_number(quantity, what="quantity", most=MOST_QUANTITY)
    price = exact_number(price, what="price", most=MAX_AMOUNT_MICRO // MICRO)
    cost_pico(quantity, price)
    if not quantity:
        raise BadInput("The quantity must be more than nothing.", field="quantity")
    if not key or len(key) > MOST_KEY:
        raise BadInput(f"An event has a key of its own, of at most {MOST_KEY} characters.",
                       field="key")  # fmt: skip
    at = None if at is None else require_utc(at)

    def act(tx: Tx) -> dict:
        return _charge(tx, wallet_id, resource, quantity, price, at, policy=policy, actor=actor)

    who = f"{actor.kind}:{actor.person_id or actor.name}"
    told = [wallet_id, resource, f"{quantity:f}", f"{price:f}", iso(at)]
    return keys.once(tx, who, "metered", key, told, act)


def _charge(tx, wallet_id, resource, quantity, price, at, *, policy: Policy, actor: Actor) -> dict:
    locked, now = opened(tx, [wallet_id], policy=policy, actor=actor)
    wallet = locked.get(wallet_id)
    if wallet is None:
        raise NotFound(f"There is no wallet {wallet_id}.")
    at = now if at is None else min(at, now)  # what lies ahead is somebody's clock
    if at < now - LATEST:
        raise BadInput(f"An event is told within {LATEST.days} days.", field="at")
    month = periods.calendar(tx, policy.timezone).label(MONTH, at)
    here = sa.and_(_M.wallet_id == wallet_id, _M.resource == resource, _M.period == month)
    # a statement of its own, after the lock
    held = tx.execute(sa.select(_M.exact_pico, _M.charged_micro).where(here)).one_or_none()
    before, charged = (0, 0) if held is None else held
    mode, _ = catalog.read_gate(tx)
    billed = effective_mode(mode, wallet.mode) != "off"
    after, micro = due(before, quantity, price) if billed else (before, 0)
    entry_id = None
    if micro:
        entry = ledger.NewEntry(
            wallet_id=wallet_id,
            kind="charge",
            amount_micro=-micro,
            key=entry_key(wallet_id, resource, month, charged + micro),
            effective_at=at,
            note=f"metered: {resource}",
        )
        entry_id, _ = ledger.post(tx, entry, actor=actor, now=now, timezone=policy.timezone)
    if billed:
        kept = {"exact_pico": after, "charged_micro": charged + micro}
        if held is None:
            tx.execute(
                t.metered.insert().values(
                    wallet_id=wallet_id, resource=resource, period=month, **kept
                )
            )
        else:
            tx.execute(t.metered.update().where(here).values(**kept))
    answer = {
        "resource": resource,
        "period": month,
        "billed": billed,
        "charged_micro": micro,
        "entry_id": entry_id,
        "month_charged_micro": charged + micro,
        "month_exact": credits_text(after),
    }
    audit.write(
        tx, "wallet.metered", "wallet", wallet_id, actor=actor, now=now,
        after=answer | {"quantity": f"{quantity:f}", "price": f"{price:f}"},
    )  # fmt: skip
    return answer


def listed(tx: Tx, wallet_id: int, *, limit: int = 200) -> list[dict]:
    """What was metered for a wallet, the newest months first, with its exact sums."""
    rows = tx.execute(
        sa.select(t.metered)
        .where(_M.wallet_id == wallet_id)
        .order_by(_M.period.desc(), _M.resource)
        .limit(limit)
    )
    return [
        {
            "resource": r.resource,
            "period": r.period,
            "month_charged_micro": r.charged_micro,
            "month_exact": credits_text(r.exact_pico),
        }
        for r in rows
    ]
