"""What the gateway's threads run: one action or one look, in one transaction.

Synchronous, and may take as long as the database does: never called on the Hub's event loop.
"""

from ..actions import admissions, hubs, sessions, views
from ..domain.audit import HOOK


def admit_many(ctx, asks):
    return ctx.act(admissions.admit_many, asks, policy=ctx.policy, cache=ctx.cache, actor=HOOK)


def advise(ctx, ask):
    return ctx.look(admissions.advise, ask, policy=ctx.policy, cache=ctx.cache)


def offer(ctx, person, hub_id, groups):
    return ctx.look(views.offer, person, hub_id, groups, policy=ctx.policy, cache=ctx.cache)


def record(ctx, sighting):
    ctx.act(sessions.record, sighting, policy=ctx.policy, actor=HOOK)


def open_session_of(ctx, hub_id, person, server_name):
    return ctx.look(sessions.open_session_of, hub_id, person, server_name)


def require_set_up(ctx):
    """Raises SchemaTooOld where the service has not set the database up yet."""
    ctx.db.check_schema()
    ctx.look(ctx.cache.get)


def note_hooks(ctx, hub_id, facts):
    ctx.act(hubs.note_hooks, hub_id, facts, actor=HOOK)


def ping(ctx):
    ctx.look(lambda tx: tx.conn.exec_driver_sql("SELECT 1").scalar())
