"""The one switch: off, observe or enforce. Under the gate, audited."""

from ..domain.admission import MODES
from ..domain.audit import Actor
from ..domain.errors import BadInput
from ..store import audit, catalog
from ..store import tables as t
from ..store.engine import Tx


def set_mode(tx: Tx, mode: str, *, actor: Actor) -> None:
    """The one switch: off, observe or enforce, for everything."""
    before, _ = catalog.lock_gate(tx)
    if mode not in MODES:
        raise BadInput(f"A mode is one of {', '.join(MODES)}, not {str(mode)[:40]!r}.")
    if before == mode:
        return
    tx.execute(t.gate.update().where(t.gate.c.id == 1).values(mode=mode))
    catalog.bump(tx)
    audit.write(
        tx, "mode.set", "mode", "all", actor=actor, now=tx.now(),
        before={"mode": before}, after={"mode": mode},
    )  # fmt: skip
