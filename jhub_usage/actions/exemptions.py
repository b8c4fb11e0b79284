"""Exemptions: whose sessions are recorded and not billed. Under the gate, audited."""

import sqlalchemy as sa

from ..domain.audit import Actor
from ..domain.errors import BadInput
from ..domain.names import require_name
from ..store import audit, catalog
from ..store import tables as t
from ..store.engine import Tx


def set_exempt(tx: Tx, kind: str, name: str, exempt: bool, *, actor: Actor) -> None:
    """Record without billing: a person, a group or a profile, by whole name; or no longer."""
    catalog.lock_gate(tx)
    if kind not in ("person", "group", "profile"):
        raise BadInput(f"A person, group or profile can be exempt, not {kind[:40]!r}.")
    require_name(name)
    c = t.exemptions.c
    here = sa.and_(c.kind == kind, c.name == name)
    held = tx.scalar(sa.select(sa.func.count()).select_from(t.exemptions).where(here))
    if bool(held) == exempt:
        return
    now = tx.now()
    if exempt:
        tx.execute(t.exemptions.insert().values(kind=kind, name=name, created_at=now))
    else:
        tx.execute(t.exemptions.delete().where(here))
    catalog.bump(tx)
    audit.write(
        tx, "exemption.set" if exempt else "exemption.removed", kind, name, actor=actor, now=now,
        before={"exempt": bool(held)}, after={"exempt": exempt},
    )  # fmt: skip
