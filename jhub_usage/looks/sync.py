"""The Hub's servers compared with our open sessions: levels, not events.

A server that stays away for two looks has ended; one without a session is recorded from now on.
Limitations: sees what the Hub believes. A pod that outlives its server is Kubernetes' to tell.
"""

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..actions import hubs, sessions, sync
from ..adapters.hub import HubServer, HubUser
from ..domain.admission import Ask
from ..domain.audit import SYSTEM
from ..domain.errors import CatchUpNeeded, NotFound
from ..domain.sightings import Sighting
from ..store import sessions as rows

log = logging.getLogger("jhub_usage.loops")

#: The Hub's own database may keep whole seconds only.
SAME_START = timedelta(seconds=2)
#: So that a person who is deleted and made again gets other numbers for old servers.
NAMESPACE = uuid.UUID("5a0a7c1e-0d0a-5b57-8f3e-6a9d2f4c1b10")


@dataclass(frozen=True)
class Found:
    """What one look means, before anything is written."""

    seen: frozenset[str]
    missed: frozenset[str]
    ready: tuple[str, ...]
    ended: tuple[str, ...]
    never_started: tuple[str, ...]
    #: Servers without a session: (user, server).
    unknown: tuple[tuple[HubUser, HubServer], ...]


def same_start(a: datetime | None, b: datetime | None) -> bool:
    """Whether two readings of the Hub's ``started`` mean the same start; unknown fits anything."""
    return a is None or b is None or abs(a - b) <= SAME_START


def compare(open_rows: Sequence[Mapping], users: Sequence[HubUser], now: datetime) -> Found:
    """Match servers with sessions, by the number in their state, else by slot and start."""
    by_id, by_slot = {}, {}
    for user in users:
        for server in user.servers:
            by_slot[user.name, server.name] = server
            if session_id := server.session_id:
                by_id[session_id] = server
    seen, missed, ready, ended, never = set(), set(), [], [], []
    taken = set()
    for row in open_rows:
        server = by_id.get(row["id"])
        if server is None:
            server = by_slot.get((row["person"], row["server_name"]))
            if server is not None and (
                server.session_id not in (None, row["id"])
                or not same_start(server.started_at, row["hub_started_at"])
            ):
                server = None
        if server is not None:
            taken.add((server.user, server.name))
            seen.add(row["id"])
            # the hooks tell it sooner and better; this is for when they could not
            if server.ready and row["ready_at"] is None and row["seen_at"] is not None:
                ready.append(row["id"])
            continue
        missed.add(row["id"])
        started = row["started_at"] is not None or row["seen_at"] is not None
        if started and row["missed_at"] is not None:
            ended.append(row["id"])
        elif not started and now >= row["start_deadline_at"] and row["missed_at"] is not None:
            never.append(row["id"])
    unknown = tuple(
        (user, server)
        for user in users
        for server in user.servers
        if server.ready and not server.pending and (user.name, server.name) not in taken
    )
    return Found(frozenset(seen), frozenset(missed), tuple(ready), tuple(ended), tuple(never),
                 unknown)  # fmt: skip


class Sync:
    """One look after the other; remembers which servers without a session it saw before."""

    def __init__(self):
        self._unknown_before: frozenset = frozenset()

    async def run(self, service) -> dict:
        """One pass; what it found, in numbers."""
        ctx, hub_id = service.ctx, service.settings.hub_id
        # Sessions first: one that is admitted after this is no concern of the look that follows.
        open_rows = await ctx.look_soon(sync.open_servers, hub_id)
        begun = await ctx.look_soon(lambda tx: tx.now())
        users = await service.hub.active_users()
        found = compare(open_rows, users, begun)
        await ctx.act_soon(
            sync.note_look, hub_id, begun, seen=found.seen, missed=found.missed, actor=SYSTEM
        )
        for session_id in found.ready:
            await self._record(ctx, Sighting(session_id, "ready", begun, "hub_ready"))
        for session_id in found.never_started:
            await self._record(
                ctx, Sighting(session_id, "void", begun, "never_started", "never_started")
            )
        for session_id in found.ended:
            try:
                await ctx.act_soon(end_lost, session_id, policy=ctx.policy, actor=SYSTEM)
            except CatchUpNeeded as error:
                # one wallet's books wait for a person; the others' do not
                log.error({"message": error.message, "session": session_id})
        adopted = await self._adopt(service, found.unknown)
        return {"open": len(open_rows), "seen": len(found.seen), "missed": len(found.missed),
                "ended": len(found.ended), "adopted": adopted}  # fmt: skip

    async def _record(self, ctx, sighting: Sighting) -> None:
        try:
            await ctx.act_soon(sessions.record, sighting, policy=ctx.policy, actor=SYSTEM)
        except NotFound:
            pass  # ended and erased meanwhile

    async def _adopt(self, service, unknown) -> int:
        """Record servers without a session, once two looks agree that they have none."""
        ctx, settings = service.ctx, service.settings
        now = frozenset((s.user, s.name, s.started_at) for _, s in unknown)
        before, self._unknown_before = self._unknown_before, now
        adopted = 0
        for user, server in unknown:
            if (server.user, server.name, server.started_at) not in before:
                continue
            ask = ask_for(user, server, settings, service.loops.declared_shape)
            await ctx.act_soon(
                hubs.adopt,
                ask,
                server.started_at,
                policy=ctx.policy,
                cache=ctx.cache,
                actor=SYSTEM,
            )
            log.warning(
                {"message": "a server without a session is recorded from now on",
                 "session": ask.session_id, "person": user.name, "server": server.name}
            )  # fmt: skip
            adopted += 1
        return adopted


def end_lost(tx, session_id: str, *, policy, actor) -> None:
    """Gone for two looks: it ended at some time after it was last known to live."""
    row = rows.get(tx, session_id)
    if row is None or row.missed_at is None:
        return  # a later look found it
    at = sync.last_seen_at(tx, row)
    ended = Sighting(session_id, "ended", at, "last_seen", "lost")
    sessions.record(tx, ended, policy=policy, actor=actor)


def ask_for(user: HubUser, server: HubServer, settings, shape_of: Callable) -> Ask:
    """What is known of a server that runs without a session: its profile, at best its shape."""
    profile = str(server.ours.get("profile") or server.options.get("profile") or "")[:255]
    mark = [settings.hub_id, user.name, str(user.created_at), server.name, str(server.started_at)]
    return Ask(
        session_id=server.session_id or str(uuid.uuid5(NAMESPACE, "\n".join(mark))),
        hub_id=settings.hub_id,
        person=user.person,
        server_name=server.name,
        profile=profile,
        shape=shape_of(profile),
        groups=user.groups,
        requested_at=server.started_at,
        hub_started_at=server.started_at,
        billed_from=settings.billed_from,
        pod_name=str(server.state.get("pod_name") or ""),
        namespace=str(server.state.get("namespace") or ""),
    )
