"""Periodic work as a table: name, how often, what. A loop never ends by an error.

Each pass looks, decides and writes by itself, so a pass that fails is simply tried again, later
each time. What happened is shown on the configuration page and by the API.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from .actions import leases, maintenance, privacy
from .adapters.hub import HubRefused, HubUnavailable
from .domain.audit import SYSTEM
from .domain.errors import BadInput, UsageError
from .domain.shapes import Shape
from .looks import advance, compare, months, stops
from .looks.sync import Sync
from .spawning.profiles import read_profiles
from .spawning.spool import Spool, replay

log = logging.getLogger("jhub_usage.loops")

#: Longest pause after failures, in seconds. Short: what waits here is somebody's server or money.
LONGEST_S = 60.0
#: How long a service that went away keeps another one of the same hub waiting, in seconds.
LEASE_S = 60.0
#: A loop that failed so often in a row is told as a warning.
WARN_AFTER = 3


@dataclass
class Loop:
    """One line of the table and how it goes."""

    name: str
    interval_s: float
    run: Callable
    #: One service of a hub does it, the one that holds the lease.
    leased: bool = False
    last_begun_at: datetime | None = None
    last_ok_at: datetime | None = None
    last_error: str = ""
    failures: int = 0
    notes: dict | None = None

    @property
    def pause_s(self) -> float:
        """Until the next pass: longer after each failure."""
        longest = max(LONGEST_S, self.interval_s)
        return min(self.interval_s * 2**self.failures, longest)


async def replay_spool(service) -> dict:
    """What was spooled on this machine while the database was away."""
    done = await service.ctx.run(replay, service.ctx, timeout_s=120)
    return {"replayed": done}


async def retain(service) -> dict:
    """Delete what is older than the settings keep it, a batch at a time."""
    ctx, keep, gone = service.ctx, service.settings.keep(), Counter()
    while True:
        batch = await ctx.act_soon(privacy.retain, keep, actor=SYSTEM)
        gone.update(batch)
        if all(number < privacy.BATCH for number in batch.values()):
            return dict(gone)


async def apply_maintenance(service) -> dict:
    """What ran on nodes under maintenance and has ended is given back, a batch at a time."""
    ctx, sessions, entries = service.ctx, 0, 0
    if not await ctx.look_soon(maintenance.something_is_due):
        return {}
    while True:
        done = await ctx.act_soon(maintenance.apply_due, policy=ctx.policy, actor=SYSTEM)
        sessions, entries = sessions + done.sessions, entries + done.entries
        if not done.more:
            return {"sessions": sessions, "entries": entries}


def table(settings) -> tuple[Loop, ...]:
    """All periodic work."""
    return (
        Loop("compare", 60.0, compare.run),
        Loop("spool", 10.0, replay_spool),
        Loop("sync", settings.sync_interval_s, Sync().run, leased=True),
        Loop("stops", settings.stop_interval_s, stops.run, leased=True),
        Loop("advance", 30.0, advance.run, leased=True),
        Loop("retention", 3600.0, retain, leased=True),
        Loop("maintenance", 60.0, apply_maintenance, leased=True),
        Loop("months", 600.0, months.run, leased=True),
    )


class LoopRunner:
    """Runs the table for one service."""

    def __init__(self, service):
        self._service = service
        self._loops = table(service.settings)
        self._tasks: list[asyncio.Task] = []
        self._stopping = asyncio.Event()
        #: What the last comparison with the Hub saw, and what is not as it should be.
        self.compared: dict = {}
        self.found: list[dict] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._forever(loop)) for loop in self._loops]

    async def stop(self, patience_s: float = 3.0) -> None:
        """Let passes that have begun end, for a while; nothing new begins."""
        self._stopping.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _forever(self, loop: Loop) -> None:
        while not self._stopping.is_set():
            await self.one_pass(loop)
            try:
                await asyncio.wait_for(self._stopping.wait(), loop.pause_s)
            except TimeoutError:
                pass

    async def one_pass(self, loop: Loop) -> None:
        """One pass of one loop; errors are kept and told, never raised."""
        loop.last_begun_at = datetime.now(UTC)
        try:
            if loop.leased and not await self._leads():
                loop.notes = {"waiting": 1}  # another service of this hub does it
            else:
                loop.notes = await loop.run(self._service)
        except Exception as error:
            loop.failures += 1
            known = isinstance(error, UsageError | HubUnavailable | HubRefused)
            loop.last_error = str(error) or type(error).__name__
            log.warning(
                {"message": "periodic work failed", "loop": loop.name, "failures": loop.failures,
                 "error": loop.last_error},
                exc_info=None if known else error,
            )  # fmt: skip
        else:
            loop.failures = 0
            loop.last_ok_at = datetime.now(UTC)

    async def _leads(self) -> bool:
        settings = self._service.settings
        # the same after a restart, so that a new process goes on at once
        me = f"{socket.gethostname()}:{settings.service_port}"
        return await self._service.ctx.act_soon(
            leases.hold, f"loops:{settings.hub_id}", me, LEASE_S, actor=SYSTEM
        )

    # -- what the looks ask of this machine ------------------------------------------------------

    def declared_shape(self, profile: str) -> Shape:
        """What ``c.JHubUsage.profiles`` declares; nothing where profiles are the spawner's own."""
        settings = self._service.settings
        try:
            profiles = read_profiles(settings.profiles, settings.gpu_weights)
        except BadInput:
            return Shape()
        return next((p.shape for p in profiles if p.slug == profile), Shape())

    def rejected_events(self) -> int:
        """How many spooled events wait for a person."""
        return len(Spool(self._service.settings.spool_dir).rejected_files())

    # -- what is shown --------------------------------------------------------------------------

    @property
    def warnings(self) -> list[dict]:
        failing = [
            {
                "code": "loop",
                "text": f"The periodic work “{loop.name}” fails again and again: {loop.last_error}",
            }
            for loop in self._loops
            if loop.failures >= WARN_AFTER
        ]
        behind = [w for loop in self._loops if loop.name == "advance"
                  for w in advance.warnings(loop.notes)]  # fmt: skip
        waiting = [w for loop in self._loops if loop.name == "months"
                   for w in months.warnings(loop.notes)]  # fmt: skip
        return self.found + failing + behind + waiting

    def states(self) -> list[dict]:
        return [
            {
                "name": loop.name,
                "interval_s": loop.interval_s,
                "last_begun_at": loop.last_begun_at,
                "last_ok_at": loop.last_ok_at,
                "last_error": loop.last_error,
                "failures": loop.failures,
                "notes": loop.notes or {},
            }
            for loop in self._loops
        ]

    def facts(self) -> list[tuple[str, str]]:
        """For the configuration page: what the Hub runs, in words."""
        hub = self.compared.get("hub") or {}
        hooks = self.compared.get("hooks") or {}
        service = self._service
        return [
            ("JupyterHub", hub.get("version") or "not asked yet"),
            ("Spawner", hub.get("spawner_class") or "not asked yet"),
            ("Accounting hooks in the spawner",
             "yes" if service.hub_facts.get("hooks_in_use") else "not known"),
            ("Authenticator", hub.get("authenticator_class") or "not asked yet"),
            ("jhub-usage in the Hub", hooks.get("release") or "not heard of yet"),
            ("Settings of the Hub", hooks.get("settings_hash") or "not heard of yet"),
            ("Settings of this service", service.settings.hash),
            ("Name of this hub", service.settings.hub_id),
            ("Database", "ready" if service.ready else service.problem),
        ]  # fmt: skip
