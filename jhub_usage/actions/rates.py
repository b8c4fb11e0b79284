"""Rates: one price from an instant on, never edited. Under the gate, with one audit row each."""

from datetime import datetime

import sqlalchemy as sa

from ..domain import rates as rates_
from ..domain.audit import Actor
from ..domain.errors import Conflict
from ..domain.instants import iso, require_utc
from ..domain.names import require_name
from ..domain.rates import Rate
from ..store import audit, catalog
from ..store import tables as t
from ..store.engine import Tx


def add(
    tx: Tx,
    resource: str,
    price_micro: int | None,
    *,
    actor: Actor,
    model: str = "",
    profile: str = "",
    starts_at: datetime | None = None,
) -> int:
    """A price from ``starts_at`` (now) on; None ends the rate. Its id.

    It may not start before a quote that used its predecessor: a seen price holds.
    """
    catalog.lock_gate(tx)
    now = tx.now()
    at = require_utc(starts_at, what="start of the rate") if starts_at else now
    for name, what in ((model, "GPU model"), (profile, "profile")):
        if name:
            require_name(name, what=what)
    rate = rates_.require_rate(Rate(resource, model, profile, price_micro, at))
    r = t.rates_.c
    same = tx.execute(
        sa.select(t.rates_).where(
            r.resource == resource, r.model == model, r.profile == profile, r.starts_at == at
        )
    ).one_or_none()
    if same is not None:
        if same.price_micro == price_micro:
            return same.id
        raise Conflict("Another rate for this starts at the same instant.")
    quoted = _quoted_since(tx, rate)
    if quoted is not None:
        raise Conflict(
            f"A price of this rate's predecessor was already quoted at {iso(quoted)}: "
            "the new rate must start after that."
        )
    rate_id = tx.execute(
        t.rates_.insert().values(
            resource=resource,
            model=model,
            profile=profile,
            price_micro=price_micro,
            starts_at=at,
            created_at=now,
        )
    ).inserted_primary_key[0]
    catalog.bump(tx)
    after = {"resource": resource, "model": model, "profile": profile,
             "price_micro": price_micro, "starts_at": iso(at)}  # fmt: skip
    audit.write(tx, "rate.added", "rate", rate_id, actor=actor, now=now, after=after)
    return rate_id


def _quoted_since(tx: Tx, rate: Rate) -> datetime | None:
    """The last quote at or after the rate's start that the rate would have changed."""
    s = t.sessions_.c
    late = tx.execute(
        sa.select(s.quoted_at, s.quote_lines, s.profile)
        .where(s.quoted_at >= rate.starts_at, s.billed)
        .order_by(s.quoted_at.desc())
    )
    for row in late:
        if rate.profile not in ("", row.profile):
            continue
        for line in row.quote_lines:
            if line["profile"] and not rate.profile:
                continue  # a profile's own price goes before a general one
            if line["resource"] == rate.resource and rate.model in ("", line["model"]):
                return row.quoted_at
    return None
