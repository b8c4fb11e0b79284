"""What one spawn has shown so far, and what it therefore means when its server is gone.

Plain values and decisions, so that each row of the Hub's event table is a test without a Hub.
Knows nothing of spawners, threads or databases.
"""

from dataclasses import dataclass, field
from datetime import datetime

from ..domain.instants import iso, parse_instant
from ..domain.sightings import Sighting

#: The key in a spawner's state.
STATE = "jhub_usage"


@dataclass
class Run:
    """One session as the Hub's process knows it."""

    session_id: str
    #: None until the decision is there; afterwards whether the server may start.
    admitted: bool | None = None
    profile: str = ""
    #: Taken over from a Hub that ended: this process saw neither start nor decision.
    restored: bool = False
    start_returned: bool = False
    started: Sighting | None = None
    ready: bool = False
    #: The server was seen alive by this process after a restart of the Hub.
    alive: bool = False
    dead_at: datetime | None = None
    dead_evidence: str = ""
    exit_code: int | None = None
    stop_called_at: datetime | None = None
    stop_failed: bool = False
    #: The Hub itself is shutting down and takes its servers along.
    hub_ends: bool = False
    #: The start was given up by a person, not by the Hub.
    cancelled: bool = False
    closed: bool = False
    facts: dict = field(default_factory=dict)

    # -- the spawner's state ----------------------------------------------------------------------

    def to_state(self) -> dict | None:
        """What a later process of the Hub needs; None for what never started."""
        if not self.admitted or self.closed:
            return None
        started = self.started and {
            "at": iso(self.started.at),
            "evidence": self.started.evidence,
            "extra": dict(self.started.extra),
        }
        return {"session": self.session_id, "profile": self.profile, "started": started}

    @classmethod
    def from_state(cls, data) -> "Run | None":
        """The run of an earlier process, or None if its state says nothing of one."""
        if not isinstance(data, dict) or not isinstance(data.get("session"), str):
            return None
        run = cls(
            data["session"], admitted=True, profile=str(data.get("profile") or ""), restored=True
        )
        run.start_returned = True
        started = data.get("started")
        if started:
            run.started = Sighting(
                run.session_id,
                "started",
                parse_instant(started["at"]),
                started["evidence"],
                extra=started.get("extra") or {},
            )
        return run

    # -- boundaries -------------------------------------------------------------------------------

    def starts(self, at: datetime, evidence: str, **extra) -> Sighting:
        """The first container, or the server's process, runs since ``at``."""
        extra = {k: v for k, v in extra.items() if v not in (None, "")}
        self.facts |= extra
        if self.started is None:
            self.started = Sighting(self.session_id, "started", at, evidence, extra=extra)
        return self.started

    def polled(self, status, at: datetime, finished_at: datetime | None) -> None:
        """What the Hub's poll showed; ``finished_at`` is Kubernetes' own instant, if it has one."""
        if status is None:
            self.alive = True
            return
        if not self.start_returned or self.stop_called_at or self.dead_at:
            return
        if isinstance(status, int):
            self.exit_code = status
        if finished_at is not None:
            self.dead_at, self.dead_evidence = finished_at, "terminated_at"
        elif not self.restored or self.alive:
            self.dead_at, self.dead_evidence = at, "poll_exit"

    def close(self, at: datetime) -> Sighting | None:
        """The last sighting, now that the Hub is done with this server; None if there is none."""
        if self.closed or not self.admitted:
            return None  # refused, or voided when the decision was given up
        self.closed = True
        if self.started is None and not self.restored:
            why = "cancelled" if self.cancelled else "start_failed"
            return Sighting(self.session_id, "void", at, why, why)
        if self.stop_failed and self.dead_at is None:
            # The Hub forgets the server, but nothing shows that it is gone.
            return Sighting(self.session_id, "seen", at, "stop_called", "stop_failed")
        evidence = "post_stop_hook"
        if self.dead_at is not None:
            at, evidence = self.dead_at, self.dead_evidence
        elif self.restored and not self.alive and not self.stop_called_at:
            evidence = "hub_restart"
        extra = {} if self.exit_code is None else {"exit_code": self.exit_code}
        return Sighting(self.session_id, "ended", at, evidence, self._reason(evidence), extra)

    def _reason(self, evidence: str) -> str:
        if not self.restored and not self.ready:
            return "stopped" if self.cancelled else "start_failed"
        if self.dead_at is not None or evidence == "hub_restart":
            return "died"
        return "hub_shutdown" if self.hub_ends else "stopped"
