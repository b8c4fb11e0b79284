"""Emergency passes: who has one, and the list with what was said."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from ..domain.passes import Pass
from . import tables as t
from .engine import Tx

_X = t.passes.c


def valid(
    tx: Tx, now: datetime, person_ids: Collection[int] | None = None
) -> dict[int, tuple[Pass, ...]]:
    """Passes that are valid at an instant, by person; of all people or of these. One statement."""
    query = sa.select(_X.person_id, _X.id, _X.expires_at).where(
        _X.revoked_at.is_(None), _X.expires_at > now
    )
    if person_ids is not None:
        query = query.where(_X.person_id.in_(sorted(set(person_ids))))
    found: dict[int, list[Pass]] = defaultdict(list)
    for person_id, *values in tx.execute(query.order_by(_X.id)):
        found[person_id].append(Pass(*values))
    return {person_id: tuple(held) for person_id, held in found.items()}


def lock(tx: Tx, pass_id: int):
    """One row under its lock, or None."""
    return tx.execute(tx.lock(sa.select(t.passes).where(_X.id == pass_id))).one_or_none()


def listed(tx: Tx, *, before_id: int | None = None, limit: int = 100) -> list:
    """Passes, newest first, with names and notes."""
    actor = t.people.alias("actor")
    query = (
        sa.select(
            t.passes,
            t.people.c.name.label("person"),
            actor.c.name.label("actor"),
            t.notes.c.text.label("note"),
        )
        .join(t.people, t.people.c.id == _X.person_id)
        .outerjoin(actor, actor.c.id == _X.actor_id)
        .outerjoin(t.notes, t.notes.c.id == _X.note_id)
    )
    if before_id is not None:
        query = query.where(_X.id < before_id)
    return tx.rows(query.order_by(_X.id.desc()).limit(limit))
