"""The catalog: rates, rules, limits, exemptions and passes, as one frozen value with a version.

The gate's row carries the version and changes with each of them in one transaction, so a process
may keep its copy for as long as the version stays the same.
"""

import threading
from collections.abc import Collection
from dataclasses import dataclass, field

import sqlalchemy as sa

from ..domain.errors import SchemaTooOld
from ..domain.limits import Limit
from ..domain.passes import Passes
from ..domain.periods import Calendar
from ..domain.rates import Rate
from ..domain.rules import Rule
from . import passes
from . import tables as t
from .engine import Tx


@dataclass(frozen=True)
class Catalog:
    """What is configured. ``exempt`` holds (kind, name) pairs."""

    version: int
    mode: str
    rates: tuple[Rate, ...]
    rules: tuple[Rule, ...]
    limits: tuple[Limit, ...]
    exempt: frozenset[tuple[str, str]]
    #: As in ``domain.periods.Calendar``; empty before the zone was recorded.
    zones: tuple[tuple[str, str], ...] = ()
    #: Emergency passes by person's id: those that were valid when this was read.
    passes: Passes = field(default_factory=dict)

    def calendar(self, timezone: str) -> Calendar:
        """Which midnights count; those of ``timezone`` before any were recorded."""
        return Calendar(self.zones) if self.zones else Calendar.of(timezone)

    def is_exempt(self, person: str, groups, profile: str) -> bool:
        """Recorded, not billed."""
        if not self.exempt:
            return False
        return (
            ("person", person) in self.exempt
            or ("profile", profile) in self.exempt
            or any(("group", group) in self.exempt for group in groups)
        )


_GATE = sa.select(t.gate.c.mode, t.gate.c.config_version).where(t.gate.c.id == 1)
_LOCK_GATE = f"SELECT mode, config_version FROM {t.gate.name} WHERE id = 1 FOR UPDATE"  # noqa: S608


def through_gate(action):
    """Marks an action that begins with the gate, so that its lock goes along with BEGIN."""
    action.first_statement = _LOCK_GATE
    return action


def lock_gate(tx: Tx) -> tuple[str, int]:
    """Take the gate: (mode, config version). Everything that admits or configures goes through."""
    taken = tx.take_first()
    if taken is not None:
        return _known(taken[0] if taken else None)
    return _known(tx.execute(tx.lock(_GATE)).one_or_none())


def read_gate(tx: Tx) -> tuple[str, int]:
    """(mode, config version) without the lock."""
    return _known(tx.execute(_GATE).one_or_none())


def _known(row) -> tuple[str, int]:
    if row is None:
        raise SchemaTooOld("The database is not set up yet: run `jhub-usage db upgrade`.")
    return row[0], row[1]


def bump(tx: Tx) -> None:
    """Every change of the catalog ends each process's copy of it. Takes the gate's lock."""
    tx.execute(
        t.gate.update().where(t.gate.c.id == 1).values(config_version=t.gate.c.config_version + 1)
    )


def load(tx: Tx, mode: str, version: int) -> Catalog:
    """Read the catalog as it is."""
    rates = tuple(
        Rate(r.resource, r.model, r.profile, r.price_micro, r.starts_at, r.id)
        for r in tx.execute(sa.select(t.rates_).order_by(t.rates_.c.starts_at, t.rates_.c.id))
    )
    rules = tuple(
        Rule(
            position=r.position,
            target=r.target,
            wallet_id=r.wallet_id,
            person=r.person,
            group=r.group_name,
            profile=r.profile,
            starting_grant_micro=r.starting_grant_micro,
            overdraft_micro=r.overdraft_micro,
            id=r.id,
        )
        for r in tx.execute(sa.select(t.rules_).order_by(t.rules_.c.position, t.rules_.c.id))
    )
    exempt = frozenset((r.kind, r.name) for r in tx.execute(sa.select(t.exemptions)))
    z = t.zones.c
    ordered = sa.select(z.first_month, z.zone).order_by(z.first_month)
    zones = tuple((r.first_month, r.zone) for r in tx.execute(ordered))
    excused = passes.valid(tx, tx.now())
    return Catalog(version, mode, rates, rules, limits(tx), exempt, zones, excused)


def limits(tx: Tx, resources: Collection[str] | None = None) -> tuple[Limit, ...]:
    """All limits, or those on these resources, the oldest first."""
    c = t.limits_.c
    query = sa.select(t.limits_).order_by(c.id)
    if resources is not None:
        query = query.where(c.resource.in_(list(resources)))
    return tuple(
        Limit(
            subject=r.subject,
            resource=r.resource,
            amount=r.amount,
            person=r.person,
            group=r.group_name,
            wallet_id=r.wallet_id,
            profile=r.profile,
            each=r.each,
            id=r.id,
            period=r.period,
            by_manager=r.by_manager,
        )
        for r in tx.execute(query)
    )


class CatalogCache:
    """One process's copy of the catalog, thrown away when the gate's version moves."""

    def __init__(self):
        self._held: Catalog | None = None
        self._lock = threading.Lock()

    def get(self, tx: Tx, gate: tuple[str, int] | None = None) -> Catalog:
        """The catalog of this transaction. ``gate`` is what ``lock_gate`` returned, if taken."""
        mode, version = gate or read_gate(tx)
        held = self._held
        if held is not None and held.version == version and held.mode == mode:
            return held
        catalog = load(tx, mode, version)
        # A reader must not keep what it read between two versions: only the same version counts.
        if gate is not None or read_gate(tx) == (mode, version):
            with self._lock:
                self._held = catalog
        return catalog
