"""Emergency passes: for a while somebody's servers are not kept from running for money or limits.

Part of the catalog, so that a start pays nothing for asking where nobody has one. Everything stays
billed; what a pass let through is recorded with it.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from ..domain.admission import PersonKey
from ..domain.audit import Actor
from ..domain.errors import BadInput, Conflict, NotFound
from ..domain.instants import iso
from ..domain.passes import LONGEST, Pass, require_expiry
from ..domain.passes import valid as valid_at
from ..domain.refunds import require_note
from ..store import audit, catalog, ledger, people
from ..store import passes as rows
from ..store import tables as t
from ..store.engine import Tx


def give(
    tx: Tx,
    person_id: int,
    *,
    note: str,
    actor: Actor,
    hours: int | None = None,
    expires_at: datetime | None = None,
) -> int:
    """Give a pass for so many hours, or until an instant, at most seven days; its id."""
    catalog.lock_gate(tx)
    note = require_note(note, what="A pass")
    if (hours is None) == (expires_at is None):
        raise BadInput("Say how many hours the pass is valid, or until when.")
    who = people.by_ids(tx, [person_id]).get(person_id)
    if who is None:
        raise NotFound(f"There is no person {person_id}.")
    now = tx.now()
    if hours is not None:
        most = LONGEST // timedelta(hours=1)
        if isinstance(hours, bool) or not isinstance(hours, int) or not 1 <= hours <= most:
            raise BadInput(f"A pass is valid for 1 to {most} hours.")
        expires_at = now + timedelta(hours=hours)
    require_expiry(now, expires_at)
    made = tx.execute(
        t.passes.insert().values(
            person_id=person_id,
            note_id=ledger.note(tx, note),
            created_at=now,
            expires_at=expires_at,
            actor_kind=actor.kind,
            actor_id=actor.person_id,
        )
    )
    pass_id = made.inserted_primary_key[0]
    catalog.bump(tx)
    audit.write(
        tx, "pass.given", "pass", pass_id, actor=actor, now=now,
        after={"person_id": person_id, "expires_at": iso(expires_at)},
    )  # fmt: skip
    return pass_id


def give_to(tx: Tx, person: PersonKey, *, hub_id: str, note: str, actor: Actor, **more) -> int:
    """The same for whom the Hub shows. A name that nobody knows is an error, not a new person."""
    catalog.lock_gate(tx)
    who = people.find(tx, hub_id, person)
    if who is None:
        if person.created_at is None and person.hub_user_id is None:
            raise NotFound(f"There is nobody called {person.name[:80]!r}.")
        who = people.resolve(tx, hub_id, [person], tx.now())[person]
    return give(tx, who.id, note=note, actor=actor, **more)


def revoke(tx: Tx, pass_id: int, *, actor: Actor) -> None:
    """End a pass now. What runs is warned and stopped by the usual rules."""
    catalog.lock_gate(tx)
    held = rows.lock(tx, pass_id)
    if held is None:
        raise NotFound(f"There is no pass {pass_id}.")
    now = tx.now()
    if held.revoked_at is not None or held.expires_at <= now:
        raise Conflict("This pass is not valid any more.")
    tx.execute(t.passes.update().where(t.passes.c.id == pass_id).values(revoked_at=now))
    catalog.bump(tx)
    audit.write(
        tx, "pass.revoked", "pass", pass_id, actor=actor, now=now,
        before={"person_id": held.person_id, "expires_at": iso(held.expires_at)},
    )  # fmt: skip


def active(tx: Tx, person_id: int, now: datetime) -> Pass | None:
    """The pass that a person has at an instant, or None."""
    return valid_at(rows.valid(tx, now, [person_id]), person_id, now)


def until(tx: Tx, sessions: Iterable, now: datetime) -> dict[str, datetime]:
    """Of sessions (rows) whose person has a pass now: until when. One statement."""
    held = rows.valid(tx, now)
    found = {s.id: valid_at(held, s.person_id, now) for s in sessions} if held else {}
    return {session_id: p.expires_at for session_id, p in found.items() if p is not None}


def listed(tx: Tx, *, before_id: int | None = None, limit: int = 100) -> list[dict]:
    """Passes, newest first, with their state: valid, expired or revoked."""
    now, found = tx.now(), []
    for row in rows.listed(tx, before_id=before_id, limit=limit):
        state = "valid" if now < row["expires_at"] else "expired"
        if row["revoked_at"] is not None:
            state = "revoked"
        found.append(dict(row) | {"state": state})
    return found
