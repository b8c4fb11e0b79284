"""An emergency pass: until it expires, its person's servers are not kept from running for money.

What a pass excuses is a lack of credit and limits on how much at once or per period. A closed
wallet, a missing wallet or rate, and the hours of one session are not excused. Looks at values
only; everything stays billed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .admission import Reason
from .errors import BadInput
from .limits import PERIOD_LIMIT

LONGEST = timedelta(days=7)
STATES = ("valid", "expired", "revoked")
#: Refusals that a pass excuses, and reasons to stop that it holds back.
EXCUSED = ("wallet", "limit")
HELD_BACK = ("wallet_empty", PERIOD_LIMIT)


@dataclass(frozen=True)
class Pass:
    """A pass of somebody, for as long as it was not revoked."""

    id: int
    expires_at: datetime


#: By person's id.
Passes = Mapping[int, Sequence[Pass]]


def require_expiry(now: datetime, expires_at: datetime) -> datetime:
    """The instant at which a pass ends, or BadInput."""
    if expires_at <= now:
        raise BadInput("A pass ends in the future.")
    if expires_at - now > LONGEST:
        raise BadInput(f"A pass is valid for at most {LONGEST.days} days: give another one then.")
    return expires_at


def valid(passes: Passes, person_id: int | None, now: datetime) -> Pass | None:
    """The pass that this person has at an instant; of several the one that lasts longest."""
    held = [p for p in passes.get(person_id, ()) if now < p.expires_at]
    return max(held, key=lambda p: (p.expires_at, p.id), default=None)


def excuse(reason: Reason, held: Pass | None) -> Reason:
    """The reason, or that of the pass where it excuses it: the start goes on, and is billed."""
    if held is None or reason.code not in EXCUSED:
        return reason
    details = {"pass_id": held.id, "instead_of": reason.code, **reason.details}
    return Reason("pass", f"Admitted by an emergency pass. Without it: {reason.text}", details)


def holds_back(due_reason: str, held: Pass | None) -> bool:
    """Whether a warning or a stop for this reason waits for as long as the pass is valid."""
    return held is not None and due_reason in HELD_BACK
