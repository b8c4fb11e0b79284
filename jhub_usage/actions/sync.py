"""What a look at the Hub means for open sessions. One write per look, not one per session.

A session that was seen is known to have lived until the last look that did not miss it.
"""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from ..domain.audit import Actor
from ..domain.sessions import OPEN
from ..store import catalog
from ..store import tables as t
from ..store.engine import Tx

_S = t.sessions_.c


def open_servers(tx: Tx, hub_id: str) -> list:
    """Open sessions of a hub with what a look compares them by."""
    return tx.rows(
        sa.select(
            _S.id,
            _S.state,
            t.people.c.name.label("person"),
            _S.server_name,
            _S.hub_started_at,
            _S.admitted_at,
            _S.start_deadline_at,
            _S.started_at,
            _S.ready_at,
            _S.seen_at,
            _S.missed_at,
        )
        .join(t.people, t.people.c.id == _S.person_id)
        .where(_S.hub_id == hub_id, _S.state.in_(OPEN))
    )


def note_look(
    tx: Tx,
    hub_id: str,
    at: datetime,
    *,
    seen: Collection[str],
    missed: Collection[str],
    actor: Actor,
) -> None:
    """Record a look at ``at``: what it saw for the first time, and what it missed for the first.

    Writes nothing for sessions about which nothing changed.
    """
    catalog.lock_gate(tx)  # many rows at once: in one line with admissions and stops
    before = tx.scalar(sa.select(t.hubs.c.reconciled_at).where(t.hubs.c.id == hub_id))
    mine = sa.and_(_S.hub_id == hub_id, _S.state.in_(OPEN))
    if seen:
        ids = list(seen)
        tx.execute(
            t.sessions_.update()
            .where(mine, _S.id.in_(ids), _S.seen_at.is_(None))
            .values(seen_at=at)
        )
        tx.execute(
            t.sessions_.update()
            .where(mine, _S.id.in_(ids), _S.missed_at.is_not(None))
            .values(missed_at=None, seen_at=at)
        )
    if missed:
        # it was there at the look before this one
        last = {"seen_at": before} if before is not None else {}
        newly = sa.and_(mine, _S.id.in_(list(missed)), _S.missed_at.is_(None))
        if last:
            tx.execute(
                t.sessions_.update()
                .where(newly, _S.seen_at.is_not(None), _S.seen_at < before)
                .values(**last)
            )
        tx.execute(t.sessions_.update().where(newly).values(missed_at=at))
    tx.execute(t.hubs.update().where(t.hubs.c.id == hub_id).values(reconciled_at=at))


def last_seen_at(tx: Tx, row) -> datetime:
    """The last instant at which a session is known to have lived."""
    known = [
        x for x in (row.admitted_at, row.started_at, row.ready_at, row.seen_at) if x is not None
    ]
    if row.seen_at is not None and row.missed_at is None:
        looked = tx.scalar(sa.select(t.hubs.c.reconciled_at).where(t.hubs.c.id == row.hub_id))
        if looked is not None:
            known.append(looked)
    return max(known)
