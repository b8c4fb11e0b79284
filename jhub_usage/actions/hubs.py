"""Hubs: the first install, what each hub's hooks report of themselves, servers from before."""

from datetime import timedelta

import sqlalchemy as sa

from ..domain.admission import Ask, Policy
from ..domain.audit import Actor
from ..domain.instants import EPOCH
from ..domain.sightings import Sighting
from ..store import catalog, periods, sessions
from ..store import tables as t
from ..store.engine import Tx
from . import admissions, advancing, usage
from .sessions import record

#: What a GPU-hour costs until somebody says otherwise, in micro-credits.
DEFAULT_GPU_MICRO = 4_000_000


def install(tx: Tx, hub_id: str, *, actor: Actor, timezone: str | None = None) -> None:
    """Make this hub known, and set a new database up: observe, 4 credits per GPU-hour, own wallets.

    The first rule opens a wallet that only records (no overdraft limit) for everybody, so nobody
    is refused before somebody decided so. Doing it again changes nothing. ``timezone`` is the
    setting: its midnights count from the first install on, or from the next month after a change.
    """
    now = tx.now()
    if tx.scalar(sa.select(t.gate.c.id)) is None:
        # two processes may set up at once; the second one's row is not needed
        tx.insert_once(
            t.gate, {"id": 1, "mode": "observe", "config_version": 1, "installed_at": now}
        )
        catalog.lock_gate(tx)
        if not tx.scalar(sa.select(sa.func.count()).select_from(t.rates_)):
            tx.execute(
                t.rates_.insert().values(
                    resource="gpu", model="", profile="", price_micro=DEFAULT_GPU_MICRO,
                    starts_at=EPOCH, created_at=now,
                )
            )  # fmt: skip
            tx.execute(
                t.rules_.insert().values(
                    position=0, person="", group_name="", profile="", target="personal",
                    starting_grant_micro=0, overdraft_micro=None,
                )
            )  # fmt: skip
    if tx.scalar(sa.select(t.hubs.c.id).where(t.hubs.c.id == hub_id)) is None:
        tx.insert_once(t.hubs, {"id": hub_id, "installed_at": now, "facts": {}})
    if timezone is not None:
        _keep_zone(tx, timezone, actor)


def _keep_zone(tx: Tx, timezone: str, actor: Actor) -> None:
    catalog.lock_gate(tx)
    policy = Policy(timezone=timezone)
    before = catalog.load(tx, "", 0).zones
    used = tx.scalar(sa.select(t.entries.c.id).limit(1)) is not None
    used = used or tx.scalar(sa.select(t.sessions_.c.id).limit(1)) is not None
    calendar = periods.keep_zone(tx, timezone, tx.now(), used=used)
    if calendar.zones != before:
        catalog.bump(tx)
    if not before:
        usage.first_count(tx, calendar)
        # servers that run since before this release are charged up to the last month's end
        last = 0
        while True:
            last, *_ = advancing.advance_due(tx, last, policy=policy, actor=actor, far=True)
            if not last:
                break


def note_hooks(tx: Tx, hub_id: str, facts: dict, *, actor: Actor) -> None:
    """What the Hub's hooks say of themselves: class, versions, settings hash, templates in use."""
    tx.execute(t.hubs.update().where(t.hubs.c.id == hub_id).values(facts=facts, facts_at=tx.now()))


def adopt(
    tx: Tx, ask: Ask, running_since, *, policy: Policy, cache, actor: Actor, ready: bool = True
) -> None:
    """Record a server that runs without a session: from before the first install, or unknown.

    It is billed from its start, or from the install if that is later, and a server from before
    the install is not stopped in the first day (rule 23).
    """
    installed = tx.scalar(sa.select(t.hubs.c.installed_at).where(t.hubs.c.id == ask.hub_id))
    admissions.fail_open(tx, ask, tx.now(), policy=policy, cache=cache, actor=actor)
    row = sessions.get(tx, ask.session_id)
    if row is None or row.started_at is not None:
        return
    begin = max(running_since or installed, installed)
    record(tx, Sighting(ask.session_id, "started", begin, "adopted"), policy=policy, actor=actor)
    if ready:
        record(tx, Sighting(ask.session_id, "ready", tx.now(), "adopted"), policy=policy,
               actor=actor)  # fmt: skip
    if running_since is not None and running_since < installed:
        tx.execute(
            t.sessions_.update()
            .where(t.sessions_.c.id == ask.session_id)
            .values(protected_until_at=installed + timedelta(seconds=policy.protect_s))
        )
