"""A void by a person: an admitted session that never started gives its hold back."""

from ..domain.audit import Actor
from ..domain.errors import Conflict, NotFound
from ..domain.sessions import ADMITTED, VOID
from ..store import audit, catalog
from ..store import sessions as rows
from ..store.engine import Tx
from . import sessions


def void_by_hand(tx: Tx, session_id: str, reason: str, *, actor: Actor) -> None:
    """Void it, audited. What did start is ended by stopping the server, not here."""
    catalog.lock_gate(tx)
    row = rows.get(tx, session_id)
    if row is None:
        raise NotFound(f"There is no session {session_id[:80]}.")
    if row.state == VOID:
        raise Conflict("This session is void already.")
    sessions.void(tx, session_id, reason=reason, actor=actor)
    after = rows.get(tx, session_id)
    if after.state != VOID:
        raise Conflict(
            f"This session is {row.state}: only one that was {ADMITTED} and never started can be "
            "voided. Stop the server instead."
        )
    audit.write(
        tx, "session.voided", "session", session_id, actor=actor, now=tx.now(),
        before={"state": row.state}, after={"state": VOID, "reason": reason},
    )  # fmt: skip
