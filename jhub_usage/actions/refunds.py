"""Giving back by filter: what a node, a window or a failure cost, in one batch with a preview.

Only charges of ended sessions are given back, as goodwill: what a session was charged stays as it
is (rule 11). A batch is one transaction, one audit row, and one key: asked again it is the same.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ..domain import refunds as rules
from ..domain.admission import Policy
from ..domain.audit import Actor
from ..domain.errors import BadInput, Conflict, KeyReused, NotFound
from ..domain.money import plain
from ..domain.refunds import Filter
from ..domain.sessions import ENDED, OPEN
from ..store import audit, ledger, people, sessions
from ..store import refunds as rows
from ..store import tables as t
from ..store.engine import Tx
from . import advancing, wallets

#: So many sessions that still run are named in a preview.
NAMED_OPEN = 100
MADE = "refunds.made"
#: What the audit row of a batch tells besides its filter.
_SAID = ("sessions", "entries", "amount_micro")


@dataclass(frozen=True)
class Line:
    """One session of a preview. ``within_us``: how long the wallet paid within the window."""

    session_id: str
    person: str
    person_id: int
    server_name: str
    wallet: str
    wallet_id: int
    profile: str
    node: str
    end_reason: str | None
    began_at: datetime
    ended_at: datetime | None
    within_us: int | None
    #: What is left to give back of all that it was charged.
    left_micro: int
    amount_micro: int


@dataclass(frozen=True)
class Preview:
    """What a filter would give back now. ``open`` still run and are not included."""

    lines: tuple[Line, ...]
    open: tuple[Line, ...]
    #: Ended sessions that fit, of which nothing is to be given back.
    nothing: int

    @property
    def count(self) -> int:
        return len(self.lines)

    @property
    def total_micro(self) -> int:
        return sum(line.amount_micro for line in self.lines)


@dataclass(frozen=True)
class Batch:
    """What was given back: for so many sessions, by so many entries."""

    key: str
    count: int
    entries: int
    total_micro: int


def preview(tx: Tx, asked: Filter, *, hub_id: str) -> Preview:
    """What this filter gives back, session by session. Writes nothing."""
    whose = _whose(tx, rules.require_filter(asked), hub_id)
    lines, _, nothing = _find(tx, asked, whose)
    now = tx.now()
    still = rows.still_open(tx, asked, *whose, limit=NAMED_OPEN)
    return Preview(lines, tuple(_line(r, asked, now, 0, 0) for r in still), nothing)


def refund(
    tx: Tx, asked: Filter, *, note: str, policy: Policy, actor: Actor, hub_id: str,
    key: str | None = None, expected: tuple[int, int] | None = None,
) -> Batch:  # fmt: skip
    """Give it back. The same key again is the same batch, and posts nothing.

    ``expected`` is (sessions, total in micro-credits) of the preview; Conflict if it changed.
    """
    rules.require_filter(asked)
    note = rules.require_note(note, what="A refund")
    key = key or uuid.uuid4().hex
    whose = _whose(tx, asked, hub_id)
    wallet_ids = rows.wallets_of(tx, asked, *whose)
    _, now = advancing.opened(tx, wallet_ids, policy=policy, actor=actor)
    # from here on after the locks: a batch that raced with this one is in what is read
    held = _made(tx, key, asked)
    if held is not None:
        return held
    lines, amounts, _ = _find(tx, asked, whose)
    total = sum(line.amount_micro for line in lines)
    if {line.wallet_id for line in lines} - wallet_ids:
        raise Conflict("It changed since the preview: a session has ended. Look at it again.")
    if expected is not None and expected != (len(lines), total):
        raise Conflict(
            f"It changed since the preview: now it is {plain(total)} for {_sessions(len(lines))}. "
            "Look at the preview again.",
            count=len(lines),
            total_micro=total,
        )
    if not lines:
        raise Conflict("There is nothing to give back: no charge that fits has anything left.")
    posted = _post(tx, lines, amounts, f"batch:{key}", note, policy=policy, actor=actor, now=now)
    batch = Batch(key, len(lines), posted, total)
    audit.write(
        tx, MADE, "refunds", key, actor=actor, now=now,
        after=asked.to_json() | {
            "sessions": batch.count, "entries": batch.entries, "amount_micro": total,
        },
    )  # fmt: skip
    return batch


def waive(
    tx: Tx, session_id: str, *, note: str, policy: Policy, actor: Actor, key: str | None = None
) -> Batch:
    """Give back all that is left of one session's charges, as for a start that failed."""
    note = rules.require_note(note, what="A refund")
    row = sessions.get(tx, session_id)
    if row is None:
        raise NotFound(f"There is no session {session_id[:80]}.")
    _, now = advancing.opened(tx, [row.wallet_id], policy=policy, actor=actor)
    row = sessions.get(tx, session_id)
    if row.state in OPEN:
        raise Conflict("This session is not over: what it costs is charged when it ends.")
    key = f"waive:{key or uuid.uuid4().hex}"
    held = _waived(tx, session_id, key)
    if held is not None:
        return held
    found, money = rows.by_ids(tx, [session_id]), rows.money_of(tx, [session_id])[session_id]
    if row.state != ENDED or not found or not money.charges:
        raise Conflict("This session was charged nothing.")
    left = money.left_micro(row.charged_micro)
    wanted = [charge.left_micro for charge in money.charges]
    amounts = {session_id: rules.to_give(money.charges, wanted, left)}
    total = sum(amount for _, amount in amounts[session_id])
    if not total:
        raise Conflict("All that this session was charged is given back already.")
    line = _line(found[0], Filter(), now, left, total)
    posted = _post(tx, [line], amounts, key, note, policy=policy, actor=actor, now=now)
    audit.write(
        tx, "session.waived", "session", session_id, actor=actor, now=now,
        after={"amount_micro": total, "entries": posted},
    )  # fmt: skip
    return Batch(key, 1, posted, total)


def _whose(tx: Tx, asked: Filter, hub_id: str) -> tuple[int | None, int | None]:
    """(person's id, wallet's id) that the filter names, or NotFound."""
    person_id = wallet_id = None
    if asked.person:
        who = people.by_name(tx, hub_id, asked.person)
        if who is None:
            raise NotFound(f"There is nobody called {asked.person[:80]!r}.")
        person_id = who.id
    if asked.wallet:
        wallet_id = wallets.find(tx, asked.wallet).id
    return person_id, wallet_id


def _ended(tx: Tx, asked: Filter, whose) -> list:
    found = rows.ended(tx, asked, *whose, limit=rules.MOST_SESSIONS + 1)
    if len(found) > rules.MOST_SESSIONS:
        raise BadInput(
            f"More than {rules.MOST_SESSIONS:,} sessions fit: narrow it, by a shorter window or by "
            "wallet, and give back in parts."
        )
    return found


def _find(tx: Tx, asked: Filter, whose) -> tuple[tuple[Line, ...], dict[str, list], int]:
    """(lines with something to give, amounts per charge by session, sessions without)."""
    found = _ended(tx, asked, whose)
    money = rows.money_of(tx, [r.id for r in found])
    now = tx.now()
    lines, amounts, nothing = [], {}, 0
    for row in found:
        left = money[row.id].left_micro(row.charged_micro)
        given = rules.of_filter(asked, sessions.meter(row), money[row.id].charges, left)
        if not given:
            nothing += 1
            continue
        amounts[row.id] = given
        lines.append(_line(row, asked, now, left, sum(amount for _, amount in given)))
    return tuple(lines), amounts, nothing


def _line(row, asked: Filter, now: datetime, left: int, amount: int) -> Line:
    within = None
    if asked.window is not None:
        within = rules.within_us(sessions.meter(row), [asked.window], now)
    return Line(
        session_id=row.id,
        person=row.person,
        person_id=row.person_id,
        server_name=row.server_name,
        wallet=row.wallet,
        wallet_id=row.wallet_id,
        profile=row.profile,
        node=row.node,
        end_reason=row.end_reason,
        began_at=row.billed_from_at,
        ended_at=row.ended_at,
        within_us=within,
        left_micro=left,
        amount_micro=amount,
    )


def _post(
    tx: Tx, lines: Sequence[Line], amounts, key: str, note: str, *, policy: Policy, actor: Actor,
    now: datetime,
) -> int:  # fmt: skip
    """The entries; how many. Each person has the words once: theirs may be erased."""
    said = {person_id: ledger.note(tx, note) for person_id in {x.person_id for x in lines}}
    entries = [
        ledger.NewEntry(
            wallet_id=line.wallet_id,
            kind="refund",
            amount_micro=amount,
            key=f"refund:{key}:{charge_id}",
            session_id=line.session_id,
            corrects_id=charge_id,
            goodwill=True,
            note_id=said[line.person_id],
        )
        for line in lines
        for charge_id, amount in amounts[line.session_id]
    ]
    ledger.post_gifts(tx, entries, actor=actor, now=now, timezone=policy.timezone)
    return len(entries)


def _made(tx: Tx, key: str, asked: Filter) -> Batch | None:
    """The batch of this key, if there is one; KeyReused if it was made for another filter."""
    a = t.audit.c
    told = tx.scalar(
        sa.select(a.after).where(a.subject_kind == "refunds", a.subject_id == key, a.action == MADE)
    )
    if told is None:
        return None
    if {name: value for name, value in told.items() if name not in _SAID} != asked.to_json():
        raise KeyReused(f"The key {key!r} was already used to give back something else.")
    return Batch(key, told["sessions"], told["entries"], told["amount_micro"])


def _waived(tx: Tx, session_id: str, key: str) -> Batch | None:
    e = t.entries.c
    found = list(
        tx.execute(
            sa.select(e.amount_micro).where(
                e.session_id == session_id, e.kind == "refund", e.key.startswith(f"refund:{key}:",
                                                                                 autoescape=True)
            )
        ).scalars()
    )  # fmt: skip
    return Batch(key, 1, len(found), sum(found)) if found else None


def _sessions(number: int) -> str:
    return "1 session" if number == 1 else f"{number:,} sessions"


def made(tx: Tx, *, before_id: int | None = None, limit: int = 50) -> list[dict]:
    """Batches that were given back, newest first: who, when, for what, and how much."""
    a = t.audit.c
    query = sa.select(t.audit).where(a.subject_kind == "refunds", a.action == MADE)
    if before_id is not None:
        query = query.where(a.id < before_id)
    return [
        {
            "id": row["id"],
            "at": row["at"],
            "actor_kind": row["actor_kind"],
            "actor": row["actor_name"],
            "key": row["subject_id"],
            "count": row["after"]["sessions"],
            "entries": row["after"]["entries"],
            "total_micro": row["after"]["amount_micro"],
            "filter": {n: v for n, v in row["after"].items() if n not in _SAID},
        }
        for row in tx.rows(query.order_by(a.id.desc()).limit(limit))
    ]
