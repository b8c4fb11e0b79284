"""Sightings: what a hook, the Hub or Kubernetes showed of a session at an instant, as values.

They travel through the spool as JSON, so the way there and back is exact. What a sighting means
for money is decided elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .admission import Ask, PersonKey
from .errors import BadInput
from .instants import iso, parse_instant
from .shapes import Shape

#: scheduled: the pod has a node; started: the first container runs; ready: the server answers;
#: stop_accepted: the Hub agreed to stop it; ended: it is gone; void: it never was; seen: it exists.
SIGHTING_KINDS = ("scheduled", "started", "ready", "stop_accepted", "ended", "void", "seen")

#: How a boundary was learnt, as rows name it.
EVIDENCE = (
    "container_started", "start_returned", "adopted", "hub_ready", "stop_called", "hub_accepted",
    "post_stop_hook", "poll_exit", "terminated_at", "last_seen", "operator",
)  # fmt: skip

#: How an end may be known, the least exact first: last seen alive, found gone by a later look, the
#: Hub was done with it, Kubernetes' own instant, and what a person says counts most.
ENDS_BY = ("last_seen", "poll_exit", "post_stop_hook", "terminated_at", "operator")


def is_better_end(told: str, known: str | None) -> bool:
    """Whether an end that is told corrects the one that is known. Other words never do."""
    if told not in ENDS_BY or known not in ENDS_BY:
        return False
    return ENDS_BY.index(told) > ENDS_BY.index(known)


@dataclass(frozen=True)
class Sighting:
    """One thing that was seen. ``evidence`` names how: ``start_returned``, ``post_stop_hook``..."""

    session_id: str
    kind: str
    at: datetime
    evidence: str
    #: For ``ended`` and ``void``: why (``stopped``, ``died``, ``start_failed``, ``cancelled``...).
    reason: str = ""
    #: pod_uid, pod_name, namespace, node, restart_count, grace_s, exit_code... where known.
    extra: Mapping = field(default_factory=dict)

    def __post_init__(self):
        if self.kind not in SIGHTING_KINDS:
            raise BadInput(f"There is no sighting {self.kind[:40]!r}.")

    def to_json(self) -> dict:
        return {
            "session_id": self.session_id,
            "kind": self.kind,
            "at": iso(self.at),
            "evidence": self.evidence,
            "reason": self.reason,
            "extra": dict(self.extra),
        }

    @classmethod
    def from_json(cls, data: Mapping) -> "Sighting":
        return cls(
            session_id=data["session_id"],
            kind=data["kind"],
            at=parse_instant(data["at"]),
            evidence=data["evidence"],
            reason=data.get("reason", ""),
            extra=data.get("extra") or {},
        )


def ask_to_json(ask: Ask) -> dict:
    """An Ask as plain JSON values."""
    return {
        "session_id": ask.session_id,
        "hub_id": ask.hub_id,
        "person": {
            "name": ask.person.name,
            "hub_user_id": ask.person.hub_user_id,
            "created_at": iso(ask.person.created_at),
        },
        "server_name": ask.server_name,
        "profile": ask.profile,
        "shape": ask.shape.to_json(),
        "groups": list(ask.groups),
        "wallet_name": ask.wallet_name,
        "requested_at": iso(ask.requested_at),
        "hub_started_at": iso(ask.hub_started_at),
        "start_timeout_s": ask.start_timeout_s,
        "grace_s": ask.grace_s,
        "billed_from": ask.billed_from,
        "namespace": ask.namespace,
        "pod_name": ask.pod_name,
        "spawner": ask.spawner,
    }


def ask_from_json(data: Mapping) -> Ask:
    """The Ask that ``ask_to_json`` wrote."""
    person = data["person"]
    return Ask(
        session_id=data["session_id"],
        hub_id=data["hub_id"],
        person=PersonKey(person["name"], person["hub_user_id"], _maybe(person["created_at"])),
        server_name=data["server_name"],
        profile=data["profile"],
        shape=Shape.from_json(data["shape"]),
        groups=tuple(data["groups"]),
        wallet_name=data["wallet_name"],
        requested_at=_maybe(data["requested_at"]),
        hub_started_at=_maybe(data["hub_started_at"]),
        start_timeout_s=data["start_timeout_s"],
        grace_s=data["grace_s"],
        billed_from=data["billed_from"],
        namespace=data["namespace"],
        pod_name=data["pod_name"],
        spawner=data["spawner"],
    )


def _maybe(text: str | None) -> datetime | None:
    return None if text is None else parse_instant(text)
