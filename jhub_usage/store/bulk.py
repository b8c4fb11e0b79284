"""Many rows at once: people whom the Hub has not shown yet, and audit rows of one transaction.

The same as one by one in ``people`` and ``audit``, for configuration that names thousands.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa

from ..domain.audit import Actor
from . import tables as t
from .engine import Tx

_P = t.people.c
#: Names in one IN list; SQLite and PostgreSQL both have a limit to that.
CHUNK = 5000


def expect_people(tx: Tx, hub_id: str, names: Sequence[str], now: datetime) -> dict[str, int]:
    """People by name, made where nobody has that name now; name -> our id. Under the gate."""
    found: dict[str, int] = {}
    for begin in range(0, len(names), CHUNK):
        part = list(dict.fromkeys(names[begin : begin + CHUNK]))
        held = sa.select(_P.name, _P.id).where(_P.hub_id == hub_id, _P.current, _P.name.in_(part))
        there = dict(tx.execute(held).all())
        new = [
            {"hub_id": hub_id, "name": name, "current": True, "created_at": now}
            for name in part
            if name not in there
        ]
        if new:
            tx.execute(t.people.insert(), new)
            there = dict(tx.execute(held).all())
        found |= there
    return found


def write_audit(tx: Tx, rows: Iterable[dict], *, actor: Actor, now: datetime) -> None:
    """Audit rows: each a dict with action, subject_kind, subject_id, before and after."""
    who = {
        "at": now,
        "actor_kind": actor.kind,
        "actor_name": actor.name,
        "actor_id": actor.person_id,
        "address": actor.address,
    }
    values = [
        {"before": None, "after": None, **row, **who, "subject_id": str(row["subject_id"])}
        for row in rows
    ]
    if values:
        tx.execute(t.audit.insert(), values)
