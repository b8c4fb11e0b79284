"""Forgetting: a person's name for good, and rows that nothing needs any more after a while.

Forgetting a name changes no id, no entry and no sum; the person can not come back under it. What
is kept for how long is said by settings. Limitations: what the Hub, logs and spools hold of
somebody is not known here.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import sqlalchemy as sa

from ..domain.audit import SYSTEM, Actor
from ..domain.errors import Conflict, NotFound
from ..domain.instants import iso
from ..domain.privacy import Keep, Renamed, cutoff, pseudonym
from ..domain.sessions import OPEN
from ..store import audit, catalog, erasing, people, periods, wallets
from ..store import tables as t
from ..store.engine import Tx
from ..store.people import Person
from . import payers, sessions

_P, _W, _S, _A, _U = t.people.c, t.wallets_.c, t.sessions_.c, t.admissions_.c, t.audit.c
#: Changes that answers rest on, however old: what a batch gave back, which allowance there was.
KEPT_CHANGES = ("refunds.made", "wallet.allowance_set", "wallet.allowance_removed")
#: Rows of each table that one transaction deletes.
BATCH = 2000


@dataclass(frozen=True)
class Forgotten:
    """How a person is called now, what was changed, and where the old name may still stand."""

    person_id: int
    name: str
    #: Rows changed or removed, by what they are.
    counts: Mapping[str, int] = field(default_factory=dict)
    #: Things of others that bear the name, as sentences; renaming those is their owners' matter.
    left: tuple[str, ...] = ()
    already: bool = False


def find(tx: Tx, hub_id: str, name: str, person_id: int | None = None) -> Person:
    """The person of a hub who has, or had, this name; a number tells several of them apart."""
    query = sa.select(_P.id).where(_P.hub_id == hub_id, _P.name == name).order_by(_P.id)
    ids = list(tx.execute(query).scalars())
    if person_id is not None:
        ids = [i for i in ids if i == person_id]
    if not ids:
        number = f" with the number {person_id}" if person_id is not None else ""
        raise NotFound(f"There is nobody called {name[:80]!r}{number}.")
    if len(ids) > 1:
        listed = ", ".join(str(i) for i in ids)
        raise Conflict(f"Several people were called {name[:80]!r}: say which by --id ({listed}).")
    return people.by_ids(tx, ids)[ids[0]]


def pseudonymise(tx: Tx, person_id: int, *, hub_id: str, actor: Actor) -> Forgotten:
    """Replace a person's name everywhere by ``person-<id>``; doing it again changes nothing.

    Refused while a server of theirs is open. Their roles, requests and passes end, rules, limits
    and exemptions by their name are removed, their own wallet is closed.
    """
    who = _known(tx, person_id, hub_id)
    if _is_forgotten(tx, who):
        return Forgotten(person_id, who.name, already=True)
    if actor.person_id == person_id:
        raise Conflict("Nobody forgets their own name here: ask another administrator.")
    _lapsed(tx, who)
    whose, mark = _whose(tx, who), erasing.mark(tx)
    counts = erasing.everywhere(tx, whose, erasing.Mark())
    # only now the gate: nobody's start waits for tables to be read. What was true is asked again.
    catalog.lock_gate(tx)
    if _is_forgotten(tx, who):
        return Forgotten(person_id, whose.names.new_name, already=True)
    if _known(tx, person_id, hub_id) != who:
        raise Conflict(f"{who.name} changed at the same time. Look again, then try again.")
    lapsed = _lapsed(tx, who)
    wallets.lock(tx, {who.wallet_id, *lapsed.values(), *_asked_for(tx, who)})
    periods.closed_through(tx)  # who closes a month now would write the old name down
    now = tx.now()
    for session_id in lapsed:
        sessions.void(tx, session_id, reason="never_started", actor=actor)
    counts.update(_end_rights(tx, whose, actor=actor, now=now))
    gone = {} if _has_the_name(tx, who, current=True) else _off_the_catalog(tx, who.name)
    counts.update({kind: len(rows) for kind, rows in gone.items()})
    catalog.bump(tx)  # rules, limits, exemptions and passes are part of it
    left = _left(tx, whose)
    counts.update(erasing.everywhere(tx, whose, mark))
    counts.update(erasing.theirs(tx, whose, now))
    if actor.name in whose.names.names:
        actor = replace(actor, name=whose.names.new_name)  # a shell's login of the same name
    told = {kind: number for kind, number in counts.items() if number}
    audit.write(
        tx, "person.pseudonymised", "person", person_id, actor=actor, now=now,
        before={"current": who.current, **whose.names.data(gone)},
        after={"name": whose.names.new_name, **told},
    )  # fmt: skip
    return Forgotten(person_id, whose.names.new_name, told, left)


def _known(tx: Tx, person_id: int, hub_id: str) -> Person:
    who = people.by_ids(tx, [person_id]).get(person_id)
    if who is None or who.hub_id != hub_id:
        raise NotFound(f"There is no person {person_id}.")
    return who


def _is_forgotten(tx: Tx, who: Person) -> bool:
    return tx.scalar(sa.select(_P.pseudonymised_at).where(_P.id == who.id)) is not None


def _lapsed(tx: Tx, who: Person) -> dict[str, int | None]:
    """Admissions that never became a server (session id -> wallet id); Conflict if one may yet."""
    rows = tx.rows(sa.select(t.sessions_).where(_S.person_id == who.id, _S.state.in_(OPEN)))
    now = tx.now()
    lapsed = {
        r["id"]: r["wallet_id"]
        for r in rows
        if r["started_at"] is None and r["seen_at"] is None and r["start_deadline_at"] <= now
    }
    live = len(rows) - len(lapsed)
    if live:
        raise Conflict(
            f"{who.name} has {'an open server' if live == 1 else f'{live} open servers'}. "
            "Stop what runs, then try again."
        )
    return lapsed


def _asked_for(tx: Tx, who: Person) -> set[int]:
    """Wallets of their open requests, whose locks order what comes of those."""
    r = t.credit_requests.c
    query = sa.select(r.wallet_id).where(r.person_id == who.id, r.state == "open")
    return set(tx.execute(query).scalars())


def _whose(tx: Tx, who: Person) -> erasing.Whose:
    """All names that meant this person, and when the last one meant nobody else."""
    wallet = wallets.read(tx, [who.wallet_id]).get(who.wallet_id)
    new = pseudonym(who.id)
    others = tx.rows(
        sa.select(_P.id, _P.created_at).where(
            _P.name == who.name, _P.id != who.id, _P.hub_id == who.hub_id
        )
    )
    born = tx.scalar(sa.select(_P.created_at).where(_P.id == who.id))
    return erasing.Whose(
        who.id,
        who.wallet_id,
        Renamed(
            (who.name, *_earlier_names(tx, who, wallet)),
            new,
            wallet.name if wallet else "",
            payers.personal_name(tx, new) if wallet else "",
        ),
        since=born if any(o["id"] < who.id for o in others) else None,
        until=min((o["created_at"] for o in others if o["id"] > who.id), default=None),
        shared=_has_the_name(tx, who),
    )


def _earlier_names(tx: Tx, who: Person, wallet) -> list[str]:
    """Before a rename, as far as it can be seen and nobody else has that name."""
    acted = sa.select(_U.actor_name).where(_U.actor_id == who.id, _U.actor_name != "").distinct()
    m = t.month_names.c
    closed = sa.select(m.name).where(m.kind == "person", m.subject_id == who.id)
    found = {*tx.execute(acted).scalars(), *tx.execute(closed).scalars()}
    if wallet is not None:
        found.add(wallet.name.removeprefix("~"))
    found.discard(who.name)
    if not found:
        return []
    others = sa.select(_P.name).where(_P.name.in_(found), _P.id != who.id)
    return sorted(found - set(tx.execute(others).scalars()))


def _has_the_name(tx: Tx, who: Person, *, current: bool = False) -> bool:
    """Whether somebody else, of any hub, was called so (``current``: is now)."""
    query = sa.select(_P.id).where(_P.name == who.name, _P.id != who.id)
    return tx.scalar((query.where(_P.current) if current else query).limit(1)) is not None


def _end_rights(tx: Tx, whose: erasing.Whose, *, actor: Actor, now: datetime) -> dict[str, int]:
    """What a person may do, or asked for, ends with the name."""
    m, r, p = t.wallet_members.c, t.credit_requests.c, t.passes.c
    who = whose.person_id
    roles = tx.execute(t.wallet_members.delete().where(m.person_id == who)).rowcount
    requests = tx.execute(
        t.credit_requests.update()
        .where(r.person_id == who, r.state == "open")
        .values(
            state="withdrawn", decided_at=now, decided_kind=actor.kind, decided_id=actor.person_id
        )
    ).rowcount
    passes = tx.execute(
        t.passes.update()
        .where(p.person_id == who, p.revoked_at.is_(None), p.expires_at > now)
        .values(revoked_at=now)
    ).rowcount
    return {"roles": roles, "requests": requests, "passes": passes}


def _off_the_catalog(tx: Tx, name: str) -> dict[str, list[dict]]:
    """Remove rules, limits and exemptions by this name; what they said."""
    e = t.exemptions.c
    gone: dict[str, list[dict]] = {}
    for kind, table, here in (
        ("rules", t.rules_, t.rules_.c.person == name),
        ("limits", t.limits_, t.limits_.c.person == name),
        ("exemptions", t.exemptions, sa.and_(e.kind == "person", e.name == name)),
    ):
        rows = tx.rows(sa.select(table).where(here))
        if rows:
            tx.execute(table.delete().where(here))
            gone[kind] = [
                {k: v for k, v in row.items() if k != "created_at" and v not in (None, "")}
                for row in rows
            ]
    return gone


def _left(tx: Tx, whose: erasing.Whose) -> tuple[str, ...]:
    """Shared wallets and hub groups that bear the name: others know them by it."""
    found = []
    query = sa.select(_W.name, _W.title).where(
        _W.owner_id.is_(None), sa.or_(whose.holds(_W.name), whose.holds(_W.title))
    )
    for row in tx.rows(query.order_by(_W.name)):
        if whose.names.is_in(row["name"]):
            found.append(f"the wallet {row['name']}")
        elif whose.names.is_in(row["title"]):
            found.append(f"the title of the wallet {row['name']}")
    groups = sa.union(
        *(
            sa.select(c).where(whose.holds(c))
            for c in (t.wallet_groups.c.group_name, t.rules_.c.group_name, t.limits_.c.group_name)
        )
    )
    names = {row[0] for row in tx.execute(groups) if whose.names.is_in(row[0])}
    return (*found, *(f"the hub group {name}" for name in sorted(names)))


# -- retention ------------------------------------------------------------------------------------


def due(tx: Tx, keep: Keep) -> dict[str, int]:
    """How many rows of each kind are older than they are kept. Reads only."""
    return {
        kind: tx.scalar(sa.select(sa.func.count()).select_from(table).where(old))
        for kind, table, _, old in _old(keep, tx.now())
    }


def retain(tx: Tx, keep: Keep, *, actor: Actor, limit: int = BATCH) -> dict[str, int]:
    """Delete rows that are older than they are kept, at most ``limit`` of each kind; how many.

    None left: every number is below the limit. Never an entry, a session, or the decision of one.
    """
    now = tx.now()
    gone = {}
    for kind, table, key, old in _old(keep, now):
        oldest = sa.select(*key).where(old).order_by(*key).limit(limit)
        here = (sa.tuple_(*key) if len(key) > 1 else key[0]).in_(oldest)
        gone[kind] = tx.execute(table.delete().where(here)).rowcount
    told = {kind: number for kind, number in gone.items() if number}
    # that an answer to a retry is forgotten by itself is nothing to tell
    if told and (actor != SYSTEM or set(told) != {"client_keys"}):
        until = {f"{k}_before": iso(at) for k, at in _cutoffs(keep, now).items() if k in told}
        audit.write(
            tx, "retention.applied", "retention", "all", actor=actor, now=now,
            before=told, after=until,
        )  # fmt: skip
    return gone


def until_done(batch: Callable[[], Mapping[str, int]], limit: int = BATCH) -> dict[str, int]:
    """Call ``batch``, which is one ``retain`` in a transaction of its own, until nothing is due."""
    total: Counter = Counter()
    while True:
        gone = batch()
        total.update(gone)
        if all(number < limit for number in gone.values()):
            return dict(total)


def _cutoffs(keep: Keep, now: datetime) -> dict[str, datetime | None]:
    return {
        "decisions": cutoff(now, keep.decisions_days),
        "audit": cutoff(now, keep.audit_days),
        "reads": cutoff(now, keep.reads_days),
        "client_keys": cutoff(now, keep.client_keys_days),
    }


def _old(keep: Keep, now: datetime):
    """(kind, table, key, which rows are too old) of what is not kept for ever."""
    k = t.client_keys.c
    # written out, so that the planner sees that the index on what was not admitted fits
    not_admitted = _A.decision != sa.literal_column("'admitted'")
    alone = ~sa.exists().where(_S.id == _A.session_id)
    ways = {
        "decisions": (t.admissions_, (_A.session_id,), _A.decided_at, sa.and_(not_admitted, alone)),
        "audit": (t.audit, (_U.id,), _U.at, _U.action.not_in(("read", *KEPT_CHANGES))),
        "reads": (t.audit, (_U.id,), _U.at, _U.action == "read"),
        "client_keys": (t.client_keys, (k.actor, k.route, k.key), k.created_at, sa.true()),
    }
    for kind, before in _cutoffs(keep, now).items():
        if before is not None:
            table, key, at, which = ways[kind]
            yield kind, table, key, sa.and_(which, at < before)
