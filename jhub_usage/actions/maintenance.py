"""Maintenance of a node: a window in which what runs there is recorded and not billed.

The meter knows nothing of it. When a session has ended, what it cost within its node's windows is
given back as goodwill, once, whoever applies it and however often; windows may lie ahead or be
entered afterwards. A session whose node nobody told can not be found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..domain.admission import Policy
from ..domain.audit import Actor
from ..domain.errors import Conflict, NotFound
from ..domain.instants import iso, span_text
from ..domain.maintenance import (
    LOOK_AGAIN,
    Change,
    Gifts,
    Maintenance,
    change,
    require_maintenance,
    windows_of,
)
from ..domain.names import require_name
from ..domain.refunds import require_note, shares, within_us
from ..store import audit, ledger, refunds, sessions
from ..store import maintenance as rows
from ..store import tables as t
from ..store.engine import Tx
from ..store.ledger import NewEntry
from ..store.refunds import Money
from . import advancing

#: Sessions that one transaction gives back for.
BATCH = 500
_M = t.maintenance.c


def add(
    tx: Tx, node: str, starts_at: datetime, ends_at: datetime, *, note: str, actor: Actor
) -> int:
    """Enter a window, past or to come; its id. Windows of a node may overlap."""
    node = require_name(node, what="node's name")
    require_maintenance(starts_at, ends_at)
    note = require_note(note, what="A maintenance")
    for held in rows.of_nodes(tx, [node])[node]:
        if held.window == (starts_at, ends_at):
            raise Conflict(f"This maintenance is entered already: it is number {held.id}.")
    now = tx.now()
    made = tx.execute(
        t.maintenance.insert().values(
            node=node,
            starts_at=starts_at,
            ends_at=ends_at,
            note_id=ledger.note(tx, note),
            created_at=now,
            actor_kind=actor.kind,
            actor_id=actor.person_id,
        )
    )
    maintenance_id = made.inserted_primary_key[0]
    audit.write(
        tx, "maintenance.added", "maintenance", maintenance_id, actor=actor, now=now,
        after={"node": node, "starts_at": iso(starts_at), "ends_at": iso(ends_at)},
    )  # fmt: skip
    return maintenance_id


def cancel(tx: Tx, maintenance_id: int, *, actor: Actor) -> None:
    """Take a window back. Refused once something was given back for it."""
    held = _locked(tx, maintenance_id)
    others = [m for m in rows.of_nodes(tx, [held.node])[held.node] if m.id != held.id]
    here = refunds.on_node(tx, held.node, held.window)
    money = refunds.money_of(tx, [r.id for r in here])
    too_much = [r for r in here if _change(r, money[r.id], windows_of(others)).take]
    if too_much:
        raise Conflict(
            f"This maintenance can not be cancelled: for {_sessions(len(too_much))} the cost was "
            "given back already. If the work ended early, finish it instead; a refund that was "
            "wrong is corrected on its wallet's page."
        )
    now = tx.now()
    tx.execute(t.maintenance.update().where(_M.id == held.id).values(cancelled_at=now))
    audit.write(
        tx, "maintenance.cancelled", "maintenance", held.id, actor=actor, now=now,
        before={"node": held.node, "starts_at": iso(held.starts_at), "ends_at": iso(held.ends_at)},
    )  # fmt: skip


def finish(tx: Tx, maintenance_id: int, *, actor: Actor) -> datetime:
    """The work is over before the window is: it ends now. Returns that instant."""
    held = _locked(tx, maintenance_id)
    now = tx.now()
    if held.state(now) != "running" or now == held.starts_at:
        raise Conflict(
            f"This maintenance is {held.state(now)}: only one that is running can end early."
        )
    tx.execute(t.maintenance.update().where(_M.id == held.id).values(ends_at=now))
    audit.write(
        tx, "maintenance.finished", "maintenance", held.id, actor=actor, now=now,
        before={"ends_at": iso(held.ends_at)}, after={"ends_at": iso(now)},
    )  # fmt: skip
    return now


def _locked(tx: Tx, maintenance_id: int) -> Maintenance:
    held = rows.lock(tx, maintenance_id)
    if held is None:
        raise NotFound(f"There is no maintenance {maintenance_id}.")
    if held.cancelled_at is not None:
        raise Conflict("This maintenance is cancelled already.")
    return held


@dataclass(frozen=True)
class Applied:
    """One transaction's worth: sessions, entries, what they sum to, and if there is more to do."""

    sessions: int = 0
    entries: int = 0
    total_micro: int = 0
    more: bool = False


def something_is_due(tx: Tx) -> bool:
    """Whether a window has begun that is not done with: else there is nothing to apply."""
    return bool(rows.pending(tx, tx.now()))


def apply_due(tx: Tx, *, policy: Policy, actor: Actor, limit: int = BATCH) -> Applied:
    """Give back what ended sessions cost within windows, for at most ``limit`` sessions."""
    now = tx.now()
    held = rows.pending(tx, now)
    due = _due(tx, held)
    if not due:
        over = [
            m
            for m in held
            if m.ends_at + LOOK_AGAIN <= now and not refunds.may_run_on(tx, m.node, m.ends_at)
        ]
        if over:
            _close(tx, over[0], now)
        return Applied(more=len(over) > 1)
    found = list(due)[:limit]
    _, now = advancing.opened(tx, {due[i].wallet_id for i in found}, policy=policy, actor=actor)
    # read again: after the wallets' locks, and with windows that nobody cancels meanwhile
    again = refunds.by_ids(tx, found)
    windows = rows.of_nodes(tx, {r.node for r in again}, locked=True)
    money = refunds.money_of(tx, found)
    entries: list[NewEntry] = []
    for row in again:
        entries += _entries(row, money[row.id], windows_of(windows[row.node]), now)
    gifts = [e for e in entries if e.kind == "refund"]
    ledger.post_gifts(tx, gifts, actor=actor, now=now, timezone=policy.timezone)
    for entry in entries:
        if entry.kind != "refund":
            ledger.post(tx, entry, actor=actor, now=now, timezone=policy.timezone)
    done = Applied(
        len({e.session_id for e in entries}),
        len(entries),
        sum(e.amount_micro for e in entries),
        more=len(due) > limit,
    )
    if entries:
        nodes = ", ".join(sorted({r.node for r in again}))
        audit.write(
            tx, "maintenance.applied", "maintenance", nodes[:255], actor=actor, now=now,
            after={
                "sessions": done.sessions, "entries": done.entries,
                "amount_micro": done.total_micro,
            },
        )  # fmt: skip
    return done


def _due(tx: Tx, held: Sequence[Maintenance]) -> dict:
    """Ended sessions within these windows that have not exactly what is due, by id."""
    here = {r.id: r for m in held for r in refunds.on_node(tx, m.node, m.window, or_corrected=True)}
    windows = rows.of_nodes(tx, {m.node for m in held})
    money = refunds.money_of(tx, list(here))
    return {i: r for i, r in here.items() if _change(r, money[i], windows_of(windows[r.node]))}


def _close(tx: Tx, seen: Maintenance, now: datetime) -> None:
    """Look no more at a window of which nothing is left to do."""
    held = rows.lock(tx, seen.id)
    # under the lock, so that a boundary that is corrected meanwhile opens it again
    if not refunds.may_run_on(tx, held.node, held.ends_at) and not _due(tx, [held]):
        tx.execute(t.maintenance.update().where(_M.id == held.id).values(done_at=now))


def _change(row, money: Money, windows) -> Change:
    given: dict[int, int] = {}
    for g in money.maintenance:
        given[g.charge_id] = given.get(g.charge_id, 0) + g.net_micro
    gifts = Gifts(given, money.others_micro, money.given_micro)
    return change(sessions.meter(row), money.charges, row.charged_micro, windows, gifts)


def _entries(row, money: Money, windows, now: datetime) -> list[NewEntry]:
    """The entries that are due for a session. How many there were before makes a key new."""
    wanted, entries = _change(row, money, windows), []
    told = span_text(within_us(sessions.meter(row), windows, now))
    for charge_id, amount in wanted.give:
        before = sum(g.charge_id == charge_id for g in money.maintenance)
        entries.append(
            NewEntry(
                wallet_id=row.wallet_id,
                kind="refund",
                amount_micro=amount,
                key=f"{refunds.MAINTENANCE}{row.id}:{charge_id}" + (f":{before}" if before else ""),
                session_id=row.id,
                corrects_id=charge_id,
                goodwill=True,
                note=f"Not billed for {told}: maintenance of {row.node}.",
            )
        )
    for charge_id, amount in wanted.take:
        for g in reversed([g for g in money.maintenance if g.charge_id == charge_id]):
            taken = min(amount, g.net_micro)
            amount -= taken
            if taken:
                entries.append(
                    NewEntry(
                        wallet_id=row.wallet_id,
                        kind="correction",
                        amount_micro=-taken,
                        key=f"{refunds.TAKEN_BACK}{g.id}:{g.taken_micro}",
                        session_id=row.id,
                        corrects_id=g.id,
                        goodwill=True,
                        note=f"It ended earlier than was known when maintenance of {row.node} "
                        "was given back.",
                    )
                )
    return entries


def unbilled(tx: Tx, session_id: str) -> Mapping | None:
    """How long a session ran under maintenance so far: its node and ``unbilled_us``, or None."""
    row = sessions.get(tx, session_id)
    if row is None or not row.node or not row.billed or row.billed_from_at is None:
        return None
    windows = windows_of(rows.of_nodes(tx, [row.node])[row.node])
    spent = within_us(sessions.meter(row), windows, tx.now())
    return {"node": row.node, "unbilled_us": spent} if spent else None


def listed(
    tx: Tx, *, maintenance_id: int | None = None, before_id: int | None = None, limit: int = 100
) -> list[dict]:
    """Windows, newest first, with their state, who ran there and what they had back so far."""
    now, found = tx.now(), []
    for row in rows.listed(tx, maintenance_id=maintenance_id, before_id=before_id, limit=limit):
        held = Maintenance(
            row["id"], row["node"], row["starts_at"], row["ends_at"], row["cancelled_at"]
        )
        here = [] if held.state(now) in ("cancelled", "planned") else refunds.on_node(
            tx, held.node, held.window
        )  # fmt: skip
        money = refunds.money_of(tx, [r.id for r in here])
        # of several windows each shows its own part
        back = sum(
            min(
                sum(g.net_micro for g in money[r.id].maintenance),
                sum(shares(sessions.meter(r), money[r.id].charges, [held.window])),
            )
            for r in here
        )
        found.append(
            dict(row) | {"state": held.state(now), "sessions": len(here), "given_micro": back}
        )
    return found


def nodes(tx: Tx, *, since: datetime) -> list[str]:
    """Nodes on which something was started lately, by name."""
    return refunds.nodes_since(tx, since)


def _sessions(number: int) -> str:
    return "1 session" if number == 1 else f"{number} sessions"
