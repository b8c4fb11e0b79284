"""Takes a person's names out of every row that holds them. Entries and money are not touched.

Ids stay, so every sum is what it was. What needs whole tables to be read (``everywhere``) comes
before the gate is taken, so that nobody's start waits for it, and once more under the gate for
what was written meanwhile; what has an index (``theirs``) comes under the gate.
Limitations: the key that a script chose for an entry is immutable, as the entry is.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ..domain.privacy import ERASED, Renamed
from . import tables as t
from .engine import Tx

_P, _W, _S, _A, _E, _N, _U = (
    t.people.c,
    t.wallets_.c,
    t.sessions_.c,
    t.admissions_.c,
    t.entries.c,
    t.notes.c,
    t.audit.c,
)
_K, _R, _T, _M = t.client_keys.c, t.credit_requests.c, t.passes.c, t.maintenance.c
#: Notes of these actors are phrases of ours.
_OURS = ("hook", "system")
#: Rows that are read at once to look into their texts.
_PAGE = 500
#: A transaction that was not over when the tables were read has numbers somewhat below the last.
_MARGIN = 1000


@dataclass(frozen=True)
class Whose:
    """The person, their own wallet, and when the name meant them and nobody else."""

    person_id: int
    wallet_id: int | None
    names: Renamed
    since: datetime | None = None
    until: datetime | None = None
    #: Somebody else has or had the name: words that name no id may mean them.
    shared: bool = False

    def at(self, column) -> sa.ColumnElement:
        """Rows of the time in which the name meant this person."""
        inside = [sa.true()]
        if self.since is not None:
            inside.append(column >= self.since)
        if self.until is not None:
            inside.append(column < self.until)
        return sa.and_(*inside)

    def holds(self, column, *, as_json: bool = False, any_case: bool = False) -> sa.ColumnElement:
        """Rows in which a name may stand; what is found is then looked at as words."""
        texts = [*self.names.names, *([self.names.wallet] if self.names.wallet else [])]
        if any_case:
            # databases know upper and lower letters of ASCII; that part of the name must be there
            texts = [max(re.findall("[ -~]+", text), key=len, default=text) for text in texts]
        return sa.or_(*(_holds(column, x, as_json=as_json, any_case=any_case) for x in texts))


def _holds(column, text: str, *, as_json: bool = False, any_case: bool = False):
    held = sa.cast(column, sa.Text) if as_json else column
    find = held.icontains if any_case else held.contains
    return find(json.dumps(text)[1:-1] if as_json else text, autoescape=True)


@dataclass(frozen=True)
class Mark:
    """How far the tables went when they were read; the default: nothing was read yet."""

    at: datetime | None = None
    audit_id: int = 0
    note_id: int = 0
    entry_id: int = 0

    def after(self, column) -> sa.ColumnElement:
        return sa.true() if self.at is None else column >= self.at


def mark(tx: Tx) -> Mark:
    """How far the tables go now."""
    last = (tx.scalar(sa.select(sa.func.max(c))) for c in (_U.id, _N.id, _E.id))
    return Mark(tx.now(), *((number or 0) - _MARGIN for number in last))


def everywhere(tx: Tx, whose: Whose, mark: Mark) -> Counter:
    """Texts and changes of others that name the person, and what names them without an index."""
    return Counter(
        decisions=_decisions_of_others(tx, whose, mark),
        notes=_notes(tx, whose, mark),
        audit_rows=_audit(tx, whose, mark),
        client_keys=_client_keys(tx, whose, mark),
    )


def theirs(tx: Tx, whose: Whose, now: datetime) -> Counter:
    """Their sessions and decisions, then how they and their wallet are called."""
    found = Counter(sessions=_sessions(tx, whose), decisions=_decisions(tx, whose))
    names = whose.names
    tx.execute(
        t.people.update()
        .where(_P.id == whose.person_id)
        .values(
            name=names.new_name,
            current=False,
            # else the same account of the Hub would get its name back
            hub_user_id=None,
            hub_created_at=None,
            pseudonymised_at=now,
        )
    )
    tx.execute(
        t.wallets_.update().where(_W.id == whose.wallet_id).values(name=names.new_wallet, title="")
    )
    still_open = sa.and_(_W.id == whose.wallet_id, _W.closed_at.is_(None))
    tx.execute(t.wallets_.update().where(still_open).values(closed_at=now))
    m = t.month_names.c
    for kind, subject_id, name in (
        ("person", whose.person_id, names.new_name),
        ("wallet", whose.wallet_id, names.new_wallet),
    ):
        tx.execute(
            t.month_names.update()
            .where(m.kind == kind, m.subject_id == subject_id)
            .values(name=name, title="")
        )
    return found


def _sessions(tx: Tx, whose: Whose) -> int:
    """Names of servers, pods and namespaces; of groups that are called like the person."""
    mine = _S.person_id == whose.person_id
    changed = tx.execute(
        t.sessions_.update()
        .where(mine)
        .values(server_name=_unless_default(_S.server_name), namespace="", pod_name="")
    ).rowcount
    for row in tx.rows(sa.select(_S.id, _S.end_reason).where(mine, whose.holds(_S.end_reason))):
        reason = whose.names.text(row["end_reason"])[:32]
        tx.execute(t.sessions_.update().where(_S.id == row["id"]).values(end_reason=reason))
    g, u = t.session_groups.c, t.use_days.c
    in_mine = g.session_id.in_(sa.select(_S.id).where(mine))
    for table, where in (
        (t.session_groups, sa.and_(in_mine, g.group_name.in_(whose.names.names))),
        (t.use_days, sa.and_(u.person_id == whose.person_id, u.group_name.in_(whose.names.names))),
    ):
        tx.execute(table.update().where(where).values(group_name=whose.names.new_name))
    return changed


def _unless_default(column) -> sa.ColumnElement:
    """The default server has no name of its own."""
    return sa.case((column == "", ""), else_=ERASED)


def _decisions(tx: Tx, whose: Whose) -> int:
    """The sentences of their own decisions."""
    mine = _A.person_id == whose.person_id
    changed = tx.execute(
        t.admissions_.update()
        .where(mine)
        .values(text=ERASED, details={}, server_name=_unless_default(_A.server_name))
    ).rowcount
    query = sa.select(_A.session_id, _A.void_reason).where(mine, whose.holds(_A.void_reason))
    for row in tx.rows(query):
        reason = whose.names.text(row["void_reason"])[:32]
        _change(tx, t.admissions_, {"session_id": row["session_id"]}, {"void_reason": reason}, row)
    return changed


def _decisions_of_others(tx: Tx, whose: Whose, mark: Mark) -> int:
    """The name of their wallet, where it was offered to others or named by them."""
    if whose.wallet_id is None:
        return 0
    changed, wallet = 0, whose.names.wallet
    named = sa.and_(
        _A.person_id.is_distinct_from(whose.person_id),
        mark.after(_A.decided_at),
        sa.or_(_holds(_A.text, wallet), _holds(_A.details, wallet, as_json=True)),
    )
    for row in _pages(tx, _A.session_id, named, (_A.text, _A.details)):
        values = {
            "text": whose.names.wallet_in(row["text"]),
            "details": _wallets_in(whose.names, row["details"]),
        }
        changed += _change(tx, t.admissions_, {"session_id": row["session_id"]}, values, row)
    return changed


def _wallets_in(names: Renamed, value):
    if isinstance(value, dict):
        return {k: _wallets_in(names, v) for k, v in value.items()}
    if isinstance(value, list):
        return [_wallets_in(names, v) for v in value]
    return names.wallet_in(value) if isinstance(value, str) else value


def _notes(tx: Tx, whose: Whose, mark: Mark) -> int:
    """Words that the person wrote, or that go with things of theirs; their name in other notes."""
    who, wallet = whose.person_id, whose.wallet_id
    mine = sa.select(_S.id).where(_S.person_id == who)
    of_them = sa.or_(_E.wallet_id == wallet, _E.session_id.in_(mine))
    found = sa.union(
        sa.select(_N.id).where(_N.person_id == who),
        sa.select(_E.note_id).where(
            _E.id > mark.entry_id,
            sa.or_(_E.actor_id == who, sa.and_(_E.actor_kind.not_in(_OURS), of_them)),
        ),
        *(
            sa.select(note).where(sa.or_(_R.person_id == who, _R.wallet_id == wallet, by == who))
            for note, by in ((_R.note_id, _R.person_id), (_R.answer_id, _R.decided_id))
        ),
        sa.select(_T.note_id).where(sa.or_(_T.person_id == who, _T.actor_id == who)),
        sa.select(_M.note_id).where(_M.actor_id == who),
    ).subquery()
    changed = tx.execute(
        t.notes.update()
        .where(_N.id.in_(sa.select(found.c[0]).where(found.c[0].is_not(None))), _N.text != ERASED)
        .values(text=ERASED)
    ).rowcount
    if whose.shared:
        return changed
    named = sa.and_(_N.id > mark.note_id, whose.holds(_N.text, any_case=True))
    for row in _pages(tx, _N.id, named, (_N.text,)):
        text = whose.names.text(row["text"], any_case=True)
        changed += _change(tx, t.notes, {"id": row["id"]}, {"text": text}, row)
    return changed


def _audit(tx: Tx, whose: Whose, mark: Mark) -> int:
    """Who did it and from where, where it was they; their name before and after any change."""
    names = whose.names
    by_name = sa.and_(
        _U.actor_id.is_(None),
        _U.actor_name.in_(names.names),
        _U.actor_kind.in_(("person", "cli")),
        whose.at(_U.at),
    )
    changed = tx.execute(
        t.audit.update()
        .where(_U.id > mark.audit_id, sa.or_(_U.actor_id == whose.person_id, by_name))
        .values(
            actor_name=names.new_name,
            # a shell's address is the machine's name
            address=sa.case((_U.actor_kind == "cli", _U.address), else_=""),
        )
    ).rowcount
    named = sa.and_(
        _U.id > mark.audit_id,
        whose.at(_U.at),
        sa.or_(
            whose.holds(_U.before, as_json=True),
            whose.holds(_U.after, as_json=True),
            whose.holds(_U.subject_id),
        ),
    )
    for row in _pages(tx, _U.id, named, (_U.subject_kind, _U.subject_id, _U.before, _U.after)):
        of_wallet = row["subject_kind"] == "wallet"
        values = {name: names.data(row[name], of_wallet=of_wallet) for name in ("before", "after")}
        if row["subject_kind"] == "person" and row["subject_id"] in names.names:
            values["subject_id"] = names.new_name
        changed += _change(tx, t.audit, {"id": row["id"]}, values, row)
    return changed


def _client_keys(tx: Tx, whose: Whose, mark: Mark) -> int:
    """Their keys go; in answers to others their name."""
    actors = [f"person:{x}" for x in (whose.person_id, *whose.names.names)]
    changed = tx.execute(t.client_keys.delete().where(_K.actor.in_(actors))).rowcount
    named = sa.and_(
        mark.after(_K.created_at),
        whose.at(_K.created_at),
        whose.holds(_K.answer, as_json=True),
    )
    for row in tx.rows(sa.select(t.client_keys).where(named)):
        key = {name: row[name] for name in ("actor", "route", "key")}
        answer = whose.names.data(row["answer"])
        changed += _change(tx, t.client_keys, key, {"answer": answer}, row)
    return changed


def _pages(tx: Tx, key, where, columns):
    """Rows that may hold a name, some at a time. Found in the order of the disk: much is read."""
    found = list(tx.execute(sa.select(key).where(where)).scalars())
    for begin in range(0, len(found), _PAGE):
        yield from tx.rows(sa.select(key, *columns).where(key.in_(found[begin : begin + _PAGE])))


def _change(tx: Tx, table: sa.Table, key: dict, values: dict, held) -> int:
    """Write what differs from what is held; 1 if anything did."""
    values = {name: value for name, value in values.items() if value != held[name]}
    if not values:
        return 0
    here = sa.and_(*(table.c[name] == value for name, value in key.items()))
    tx.execute(table.update().where(here).values(**values))
    return 1
