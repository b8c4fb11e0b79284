"""What is somebody's own: their sessions, the wallets that they use or manage. And who acts.

People are found by the Hub's account, never by name alone, so a re-created user owns nothing of
the old one.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

import sqlalchemy as sa

from ..domain.admission import PersonKey
from ..domain.audit import Actor
from ..domain.errors import NotFound
from ..store import catalog, people, requests, wallets
from ..store import tables as t
from ..store.engine import Tx
from . import wallets as wallet_actions


def roles_of(
    tx: Tx, hub_id: str, person: PersonKey | None, groups: Collection[str]
) -> dict[int, str]:
    """Wallet id -> manager or spender: by membership, by being the owner, by hub groups."""
    who = people.find(tx, hub_id, person) if person else None
    roles = dict.fromkeys(wallets.of_groups(tx, groups), "spender")
    return roles | (wallets.roles_of(tx, who.id) if who else {})


def owns(
    tx: Tx,
    own: str,
    path: Mapping,
    *,
    hub_id: str,
    person: PersonKey,
    groups: Collection[str],
) -> bool:
    """Whether the thing in the path is this person's.

    ``session``, ``wallet`` or ``managed_wallet``; a ``request`` that they asked or may decide, a
    ``decided_request``, an ``asked_request``.
    """
    if own == "session":
        return _may_see_session(tx, path["session_id"], hub_id, person)
    if own in ("request", "decided_request", "asked_request"):
        return _has_request(tx, own, path["request_id"], person_id(tx, hub_id, person))
    role = roles_of(tx, hub_id, person, groups).get(path["wallet_id"])
    return role == "manager" if own == "managed_wallet" else role is not None


def _may_see_session(tx: Tx, session_id: str, hub_id: str, person: PersonKey) -> bool:
    """One's own, refused ones too, and those on a wallet that one manages."""
    a = t.admissions_.c
    row = tx.execute(
        sa.select(a.person_id, a.wallet_id).where(a.session_id == session_id)
    ).one_or_none()
    who = people.find(tx, hub_id, person)
    if row is None or who is None:
        return False
    if row.person_id == who.id:
        return True
    return wallets.roles_of(tx, who.id).get(row.wallet_id) == "manager"


def _has_request(tx: Tx, own: str, request_id: int, who: int | None) -> bool:
    held = requests.get(tx, request_id)
    if held is None or who is None:
        return False
    asked = held["person_id"] == who
    if own == "asked_request":
        return asked
    return (own == "request" and asked) or requests.decides(tx, request_id, who)


def person_id(tx: Tx, hub_id: str, person: PersonKey | None) -> int | None:
    """Our id of the person behind what the Hub says, or None while nothing is known of them."""
    who = people.find(tx, hub_id, person) if person else None
    return who.id if who else None


def id_of_name(tx: Tx, hub_id: str, name: str) -> int:
    """Our id of who has this name now; 0, which nobody has, where nobody does."""
    who = people.by_name(tx, hub_id, name)
    return who.id if who else 0


def acting(tx: Tx, actor: Actor, hub_id: str, person: PersonKey | None) -> Actor:
    """The actor with our id of the person, so that entries can name them."""
    if person is None:
        return actor
    who = people.find(tx, hub_id, person)
    if who is None:
        catalog.lock_gate(tx)
        who = people.resolve(tx, hub_id, [person], tx.now())[person]
    return replace(actor, person_id=who.id)


def set_role(
    tx: Tx, wallet_id: int, person: PersonKey, role: str, *, hub_id: str, actor: Actor
) -> None:
    """Give a person a role in a wallet; someone whom the Hub has not shown yet is expected."""
    catalog.lock_gate(tx)
    if not wallets.read(tx, [wallet_id]):
        raise NotFound(f"There is no wallet {wallet_id}.")
    who = people.resolve(tx, hub_id, [person], tx.now())[person]
    wallet_actions.set_member(tx, wallet_id, who.id, role, actor=actor)


def role_by_name(tx: Tx, wallet_id: int, name: str) -> tuple[int, str]:
    """(person id, role) of the member with this name; an earlier user of the name comes last."""
    m, p = t.wallet_members.c, t.people.c
    row = tx.execute(
        sa.select(m.person_id, m.role)
        .join(t.people, p.id == m.person_id)
        .where(m.wallet_id == wallet_id, p.name == name)
        .order_by(p.current.desc(), p.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise NotFound(f"{name[:80]!r} has no role in this wallet.")
    return row.person_id, row.role
