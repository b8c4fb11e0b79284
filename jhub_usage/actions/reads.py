"""Reads that leave an audit row: somebody looked, by a right, at usage that is not theirs.

Only where the setting ``audit_reads`` says so; doors ask ``is_own`` first and ``note`` after.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import sqlalchemy as sa

from ..domain.admission import PersonKey
from ..domain.audit import Actor
from ..store import audit
from ..store import tables as t
from ..store.engine import Tx
from . import ownership

#: The same look again within so many seconds is the same row: pages look by themselves, too.
SAME_S = 60
#: What must be a person's own for a look at such a thing to be a look at their own things.
OWN = {"session": "session", "wallet": "managed_wallet", "request": "request"}
_U = t.audit.c


@dataclass(frozen=True)
class Read:
    """What was looked at: a session, wallet, request or person, or a list by its name."""

    kind: str
    id: str
    facts: Mapping = field(default_factory=dict)
    #: A person by name; ``known`` says whose number that is.
    name: str = ""
    #: What it is where nobody else has that name; None: then nothing of others was shown.
    otherwise: "Read | None" = None


def known(
    tx: Tx, read: Read, hub_id: str, person: PersonKey | None, groups: Collection[str]
) -> Read | None:
    """The read with ids only, or None where it is the person's own, or nothing."""
    if read.name:
        person_id = ownership.id_of_name(tx, hub_id, read.name)
        if not person_id or person_id == ownership.person_id(tx, hub_id, person):
            return read.otherwise
        read = replace(read, id=str(person_id), name="", otherwise=None)
    if read.kind == "person":
        return None if read.id == str(ownership.person_id(tx, hub_id, person)) else read
    own = OWN.get(read.kind)
    if own is None or person is None:
        return read
    path = {f"{read.kind}_id": read.id if read.kind == "session" else int(read.id)}
    mine = ownership.owns(tx, own, path, hub_id=hub_id, person=person, groups=groups)
    return None if mine else read


def note(tx: Tx, read: Read, *, actor: Actor) -> None:
    """One audit row, unless this very look was noted within the last minute."""
    now = tx.now()
    facts = dict(read.facts)
    lately = sa.select(_U.subject_kind, _U.subject_id, _U.after).where(
        _U.at > now - timedelta(seconds=SAME_S),
        _U.action == "read",
        _U.actor_id == actor.person_id,
    )
    if (read.kind, read.id, facts) in [tuple(row) for row in tx.execute(lately)]:
        return
    audit.write(tx, "read", read.kind, read.id, actor=actor, now=now, after=facts)
