"""Audit rows: who changed what, from where, before and after, in the change's own transaction."""

from datetime import datetime

from ..domain.audit import Actor
from . import tables as t
from .engine import Tx


def write(
    tx: Tx,
    action: str,
    subject_kind: str,
    subject_id,
    *,
    actor: Actor,
    now: datetime,
    before=None,
    after=None,
) -> None:
    """One row. ``action`` is a dotted fact such as ``wallet.granted``."""
    tx.execute(
        t.audit.insert().values(
            at=now,
            action=action,
            subject_kind=subject_kind,
            subject_id=str(subject_id),
            actor_kind=actor.kind,
            actor_name=actor.name,
            actor_id=actor.person_id,
            address=actor.address,
            before=before,
            after=after,
        )
    )
