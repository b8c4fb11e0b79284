"""Requests for credit as pages, the API and the shell show them. Read only.

Who may see which is said by ``Sight``; what one row holds is the same for everybody who sees it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from ..domain.admission import Policy
from ..domain.wallets import transferable
from ..store import periods, requests, sessions, wallets
from ..store import tables as t
from ..store.engine import Tx
from .advancing import ahead_of
from .requests import sources

_R, _W, _P = t.credit_requests.c, t.wallets_.c, t.people.c
#: So many that wait are shown at once; the oldest, so that the rest follows when these are decided.
WAITING = 100


@dataclass(frozen=True)
class Sight:
    """Whose eyes: everything by right; else a person's own and what they may decide."""

    person_id: int | None = None
    everything: bool = False

    def condition(self) -> sa.ColumnElement[bool]:
        if self.everything:
            return sa.true()
        return sa.or_(self.own(), self.decides())

    def own(self) -> sa.ColumnElement[bool]:
        return sa.false() if self.person_id is None else _R.person_id == self.person_id

    def decides(self) -> sa.ColumnElement[bool]:
        """By right any; else those put before a wallet that the person manages."""
        if self.everything:
            return sa.true()
        return sa.false() if self.person_id is None else requests.decided_by(self.person_id)


def listed(
    tx: Tx, *where: sa.ColumnElement[bool], state: str | None = None, wallet_id: int | None = None,
    person_id: int | None = None, before_id: int | None = None, oldest_first: bool = False,
    limit: int = 100,
) -> list[Mapping]:  # fmt: skip
    """Requests with names and words, newest first; ``before_id`` is the last one already seen."""
    decider, asked, answer = t.people.alias(), t.notes.alias(), t.notes.alias()
    query = (
        sa.select(
            t.credit_requests,
            _W.name.label("wallet"),
            _P.name.label("person"),
            decider.c.name.label("decided_by"),
            asked.c.text.label("note"),
            answer.c.text.label("answer"),
        )
        .join(t.wallets_, _W.id == _R.wallet_id)
        .join(t.people, _P.id == _R.person_id)
        .outerjoin(decider, decider.c.id == _R.decided_id)
        .outerjoin(asked, asked.c.id == _R.note_id)
        .outerjoin(answer, answer.c.id == _R.answer_id)
        .where(*where)
    )
    for column, value in (
        (_R.state, state), (_R.wallet_id, wallet_id), (_R.person_id, person_id),
    ):  # fmt: skip
        if value is not None:
            query = query.where(column == value)
    if before_id is not None:
        query = query.where(_R.id < before_id)
    return tx.rows(query.order_by(_R.id if oldest_first else _R.id.desc()).limit(limit))


def one(tx: Tx, request_id: int) -> Mapping | None:
    """One request, or None."""
    found = listed(tx, _R.id == request_id)
    return found[0] if found else None


def mine(tx: Tx, person_id: int, *, limit: int = 10) -> list[Mapping]:
    """A person's latest requests, those that still wait first."""
    waiting = listed(tx, state="open", person_id=person_id)
    decided = listed(tx, _R.state != "open", person_id=person_id, limit=limit)
    return [*waiting, *decided][: max(limit, len(waiting))]


def waiting(tx: Tx, sight: Sight, *, wallet_id: int | None = None) -> list[Mapping]:
    """Open requests that wait for this person, the oldest first; those put before one wallet."""
    here = [] if wallet_id is None else [requests.put_before(wallet_id)]
    return listed(tx, sight.decides(), *here, state="open", oldest_first=True, limit=WAITING)


def decided(tx: Tx, *, before_id: int | None = None, limit: int = 100) -> list[Mapping]:
    """Those that nobody waits for any more, newest first."""
    return listed(tx, _R.state != "open", before_id=before_id, limit=limit)


def open_count(tx: Tx) -> int:
    """How many wait in all."""
    return requests.open_count(tx)


def purses(tx: Tx, person_id: int, *, policy: Policy) -> list[dict]:
    """Wallets from which a manager may grant: id, name, and what can be moved from each now."""
    held = wallets.read(tx, sources(tx, person_id))
    meters, now = sessions.open_meters(tx, list(held)), tx.now()
    calendar = periods.calendar(tx, policy.timezone)
    found = []
    for wallet in held.values():
        ahead = ahead_of(wallet, meters[wallet.id], now, calendar)
        free = transferable(ahead.wallet, ahead.meters, now)
        found.append({"id": wallet.id, "name": wallet.name, "free_micro": max(0, free)})
    return sorted(found, key=lambda f: f["name"])
