"""People: an id of our own for (hub, hub user id, created). A re-created "ada" is another person.

A rename follows; a name belongs to one current person per hub at a time. Someone whom the
configuration names before the Hub ever showed them is expected: a row without the Hub's id, bound
at the first sighting.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from ..domain.admission import PersonKey
from . import tables as t
from .engine import Tx
from .sessions import IS_OPEN

_P = t.people.c
#: Names in one IN list.
_MANY = 5000


@dataclass(frozen=True)
class Person:
    """A person as stored, with their own wallet if they have one."""

    id: int
    name: str
    hub_id: str
    hub_user_id: int | None
    created_at: datetime | None
    current: bool
    granted_start: bool
    wallet_id: int | None = None


_SELECT = sa.select(
    _P.id,
    _P.name,
    _P.hub_id,
    _P.hub_user_id,
    _P.hub_created_at,
    _P.current,
    _P.granted_start,
    # cheaper to plan than a join, and this is asked at every start
    sa.select(t.wallets_.c.id)
    .where(t.wallets_.c.owner_id == _P.id)
    .scalar_subquery()
    .label("wallet_id"),
)


def _person(row) -> Person:
    return Person(
        row.id,
        row.name,
        row.hub_id,
        row.hub_user_id,
        row.hub_created_at,
        row.current,
        row.granted_start,
        row.wallet_id,
    )


def find(tx: Tx, hub_id: str, key: PersonKey) -> Person | None:
    """The person behind what the Hub says, or None; writes nothing."""
    return _match(_candidates(tx, hub_id, [key]), key)


def by_name(tx: Tx, hub_id: str, name: str) -> Person | None:
    """Who has this name now."""
    row = tx.execute(_SELECT.where(_P.hub_id == hub_id, _P.name == name, _P.current)).one_or_none()
    return _person(row) if row else None


def by_ids(tx: Tx, ids) -> dict[int, Person]:
    """People by our id."""
    rows = tx.execute(_SELECT.where(_P.id.in_(list(ids))))
    return {row.id: _person(row) for row in rows}


_WHO = sa.and_(
    _P.hub_id == sa.bindparam("hub_id"),
    # two indexes serve this: accounts, and the names that people have now
    sa.or_(
        sa.and_(_P.current, _P.name.in_(sa.bindparam("names", expanding=True))),
        _P.hub_user_id.in_(sa.bindparam("numbers", expanding=True)),
    ),
)
_CANDIDATES = _SELECT.where(_WHO)
_LOOK = _SELECT.add_columns(
    sa.exists()
    .where(t.sessions_.c.hub_id == _P.hub_id, t.sessions_.c.person_id == _P.id, IS_OPEN)
    .label("busy"),
    sa.exists()
    .where(t.admissions_.c.session_id.in_(sa.bindparam("asked", expanding=True)))
    .label("answered"),
).where(_WHO)


def _parameters(hub_id: str, keys: Sequence[PersonKey]) -> dict:
    return {
        "hub_id": hub_id,
        "names": [k.name for k in keys],
        "numbers": [k.hub_user_id for k in keys if k.hub_user_id is not None],
    }


def _candidates(tx: Tx, hub_id: str, keys: Sequence[PersonKey]) -> list[Person]:
    return [_person(r) for r in tx.execute(_CANDIDATES, _parameters(hub_id, keys))]


@dataclass(frozen=True)
class Look:
    """What one statement tells of those who ask, so that an admission needs few of them."""

    candidates: tuple[Person, ...]
    #: Ids of people with an open session.
    busy: frozenset[int]
    #: Whether one of these sessions was decided before; None where that could not be seen.
    answered: bool | None


def look(tx: Tx, hub_id: str, keys: Sequence[PersonKey], session_ids: Sequence[str]) -> Look:
    """The people behind keys, if they have servers, and if the sessions are known already."""
    found = tx.execute(_LOOK, _parameters(hub_id, keys) | {"asked": list(session_ids)}).all()
    return Look(
        tuple(_person(r) for r in found),
        frozenset(r.id for r in found if r.busy),
        any(r.answered for r in found) if found else None,
    )


def _match(candidates: Sequence[Person], key: PersonKey) -> Person | None:
    """The same account of the Hub; else someone of that name about whom no more is known."""
    for p in candidates:
        if key.hub_user_id is not None and (p.hub_user_id, p.created_at) == (
            key.hub_user_id,
            key.created_at,
        ):
            return p
    for p in candidates:
        if p.name != key.name or not p.current:
            continue
        if key.hub_user_id is not None and p.hub_user_id is not None:
            continue  # that name, but another account
        if key.created_at and p.created_at and key.created_at != p.created_at:
            continue
        return p
    return None


def resolve(
    tx: Tx,
    hub_id: str,
    keys: Sequence[PersonKey],
    now: datetime | Callable[[], datetime],
    candidates: Sequence[Person] | None = None,
) -> dict[PersonKey, Person]:
    """A person for each key: found, followed through a rename, bound, or made. Under the gate."""
    candidates = list(_candidates(tx, hub_id, keys) if candidates is None else candidates)
    found: dict[PersonKey, Person] = {}
    for key in dict.fromkeys(keys):
        person = _match(candidates, key)
        stale = person is None or person.name != key.name or not person.current
        unbound = person is not None and person.hub_user_id is None and key.hub_user_id is not None
        if stale:
            for other in candidates:
                if other.name == key.name and other.current and other is not person:
                    tx.execute(t.people.update().where(_P.id == other.id).values(current=False))
        if person is None:
            made = tx.execute(
                t.people.insert().values(
                    hub_id=hub_id,
                    hub_user_id=key.hub_user_id,
                    hub_created_at=key.created_at,
                    name=key.name,
                    current=True,
                    created_at=now() if callable(now) else now,
                )
            )
            person_id = made.inserted_primary_key[0]
        elif stale or unbound:
            person_id = person.id
            changes = {"name": key.name, "current": True}
            if unbound:
                changes |= {"hub_user_id": key.hub_user_id, "hub_created_at": key.created_at}
            tx.execute(t.people.update().where(_P.id == person_id).values(**changes))
        if stale or unbound:
            person = by_ids(tx, [person_id])[person_id]
            # who had the name stays a candidate: a later key may say how they are called now
            candidates = [
                replace(c, current=c.current and c.name != key.name)
                for c in candidates
                if c.id != person_id
            ] + [person]
        found[key] = person
    return found
