"""What happens to a session after its admission: boundaries, settlement, the end, the void.

Every verb is idempotent: hooks, the spool and the service may all tell the same thing.
"""

from datetime import datetime

import sqlalchemy as sa

from ..domain.admission import PersonKey, Policy
from ..domain.audit import Actor
from ..domain.errors import NotFound
from ..domain.sessions import ADMITTED, ENDED, OPEN, RUNNING, VOID, billed_end, billed_from
from ..domain.sightings import Sighting
from ..store import catalog, people
from ..store import sessions as rows
from ..store import tables as t
from ..store import wallets as wallet_rows
from ..store.engine import Tx
from . import corrections, settling
from .sync import last_seen_at

_S = t.sessions_.c
_A = t.admissions_.c
#: A session's whereabouts that a sighting may fill in, once known.
_FACTS = ("namespace", "pod_name", "pod_uid", "node", "node_model", "spawner")


def record(tx: Tx, sighting: Sighting, *, policy: Policy, actor: Actor) -> None:
    """Take in one sighting. Raises NotFound for a session that nobody asked for.

    A void of an unknown session leaves a tombstone that beats an admission which arrives late.
    """
    if sighting.kind == "void":
        void(tx, sighting.session_id, reason=sighting.reason or sighting.evidence, actor=actor)
        return
    row = _locked(tx, sighting.session_id)
    now = tx.now()
    # a boundary that lies ahead is somebody's clock, not a fact
    at = min(sighting.at, now)
    if sighting.kind == "ended":
        _end(tx, row, at, sighting, policy=policy, actor=actor, now=now)
        return
    if row.state not in OPEN:
        return
    changes = _facts(row, sighting)
    if sighting.kind == "seen":
        changes |= {"seen_at": max(row.seen_at or at, at)}
    elif sighting.kind == "scheduled" and row.scheduled_at is None:
        changes |= {"scheduled_at": at, "scheduled_evidence": sighting.evidence}
    elif sighting.kind == "started" and row.started_at is None:
        changes |= {"started_at": at, "started_evidence": sighting.evidence, "state": RUNNING}
    elif sighting.kind == "ready" and row.ready_at is None:
        changes |= {"ready_at": at, "ready_evidence": sighting.evidence}
        if row.started_at is None:
            changes |= {"started_at": at, "started_evidence": "adopted", "state": RUNNING}
    elif sighting.kind == "stop_accepted" and row.stop_accepted_at is None:
        changes |= {"stop_accepted_at": at, "stop_accepted_evidence": sighting.evidence}
    billed_from_at = _billed_from(row, changes)
    if billed_from_at is not None and row.billed_from_at is None:
        changes["billed_from_at"] = billed_from_at
    if changes:
        tx.execute(t.sessions_.update().where(_S.id == row.id).values(**changes))


def void(tx: Tx, session_id: str, *, reason: str, actor: Actor) -> None:
    """It never was: no start, no claim, no charge. Takes the gate, as admissions do (rule 20)."""
    catalog.lock_gate(tx)
    row = rows.get(tx, session_id)
    if row is not None:
        row = _locked(tx, session_id)
        if row.state != ADMITTED or row.started_at is not None:
            return  # it did start: what ends it is an end
        now = tx.now()
        tx.execute(
            t.sessions_.update()
            .where(_S.id == session_id)
            .values(
                state=VOID,
                ended_at=now,
                ended_evidence="void",
                end_reason=reason[:32],
                billed_until_at=now,
            )
        )
        tx.execute(
            t.admissions_.update()
            .where(_A.session_id == session_id)
            .values(voided_at=now, void_reason=reason[:32])
        )
        return
    if tx.scalar(sa.select(_A.session_id).where(_A.session_id == session_id)) is None:
        now = tx.now()
        tx.execute(
            t.admissions_.insert().values(
                session_id=session_id,
                decided_at=now,
                decision="void",
                reason=reason[:32],
                text="This start was given up before it was decided.",
                details={},
                shape={},
                quote={},
                voided_at=now,
                void_reason=reason[:32],
            )
        )


def settle(tx: Tx, session_id: str, until: datetime, *, policy: Policy, actor: Actor) -> int:
    """Charge an open session up to ``until``; micro-credits charged, 0 when nothing is due.

    Never changes what the wallet has available.
    """
    row = _locked(tx, session_id)
    return settling.settle(tx, row, until, policy=policy, actor=actor)


def open_session_of(tx: Tx, hub_id: str, person: PersonKey, server_name: str) -> str | None:
    """The open session of a server slot, for a hub that lost its spawner's state."""
    who = people.find(tx, hub_id, person)
    if who is None:
        return None
    held = rows.open_of_servers(tx, hub_id, [(who.id, server_name)])
    held.sort(key=lambda r: r.admitted_at)
    return held[-1].id if held else None


def end_superseded(tx: Tx, row, *, policy: Policy, actor: Actor, now: datetime) -> None:
    """A new start of the same server proves that this session is over; its wallet is locked.

    It ended at some time after it was last seen: the wallet pays up to there.
    """
    at = last_seen_at(tx, row)
    sighting = Sighting(row.id, "ended", at, "last_seen", "lost")
    _end(tx, row, at, sighting, policy=policy, actor=actor, now=now)


def _locked(tx: Tx, session_id: str):
    """The session's row under its wallet's lock and its own."""
    row = rows.get(tx, session_id)
    if row is None:
        raise NotFound(f"There is no session {session_id}.")
    if row.wallet_id is not None:
        wallet_rows.lock(tx, [row.wallet_id])
    return rows.lock(tx, session_id)


def _facts(row, sighting: Sighting) -> dict:
    changes = {
        name: str(sighting.extra[name])[:255]
        for name in _FACTS
        if sighting.extra.get(name) and not getattr(row, name)
    }
    restarts = int(sighting.extra.get("restart_count") or 0)
    if restarts > row.restart_count:
        changes["restart_count"] = restarts
    if "grace_s" in sighting.extra and row.stop_accepted_at is None:
        changes["grace_s"] = int(sighting.extra["grace_s"])
    return changes


def _billed_from(row, changes: dict) -> datetime | None:
    """The first billed instant, by what is known now."""
    known = (changes.get(n) or getattr(row, n) for n in ("scheduled_at", "started_at", "ready_at"))
    return billed_from(row.billed_from, *known)


def _end(tx: Tx, row, at, sighting: Sighting, *, policy: Policy, actor: Actor, now) -> None:
    if row.state not in OPEN:
        corrections.learnt(tx, row, at, sighting, policy=policy, now=now)
        return
    changes = _facts(row, sighting)
    evidence, reason = sighting.evidence, sighting.reason or "stopped"
    if row.stop_ordered_at is not None and reason == "stopped" and row.stop_reason:
        reason = row.stop_reason
    if evidence == "hub_restart":
        # it died while nobody looked: the last instant at which it was seen is what we know
        at = last_seen_at(tx, row)
        evidence = "last_seen"
    if row.started_at is None and row.billed_from_at is None:
        # no container ever ran: it costs nothing
        tx.execute(
            t.sessions_.update()
            .where(_S.id == row.id)
            .values(
                state=VOID,
                ended_at=max(at, row.admitted_at),
                ended_evidence=evidence,
                end_reason=reason[:32],
                billed_until_at=max(at, row.admitted_at),
                **changes,
            )
        )
        # asked again, a start that is over must not be let in
        tx.execute(
            t.admissions_.update()
            .where(_A.session_id == row.id)
            .values(voided_at=now, void_reason=reason[:32])
        )
        return
    ended_at = max(at, row.started_at)
    until, platform_us = billed_end(ended_at, row.stop_accepted_at, row.grace_s)
    if row.billed_from_at is not None:
        until = max(until, row.billed_from_at)
    changes |= {
        "state": ENDED,
        "ended_at": ended_at,
        "ended_evidence": evidence,
        "end_reason": reason[:32],
        "billed_until_at": until,
        "platform_us": platform_us,
    }
    tx.execute(t.sessions_.update().where(_S.id == row.id).values(**changes))
    row = rows.get(tx, row.id)
    settling.finish(tx, row, policy=policy, actor=actor, now=now)
    if settling.failed_start(row):
        settling.waive(tx, row.id, policy=policy, actor=actor, now=now)
