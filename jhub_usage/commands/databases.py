"""``jhub-usage db``: the tables and their triggers."""

import sqlalchemy as sa

from ..actions import hubs
from ..store import migrate, triggers
from ..store import tables as t
from .shell import Shell, require_file


def _count_hubs(tx) -> int:
    return tx.scalar(sa.select(sa.func.count()).select_from(t.hubs))


def upgrade(args) -> int:
    """Make or upgrade the tables, and set a new database up."""
    with Shell(args, needs_tables=False) as shell:
        applied = shell.db.upgrade()
        # other hubs make themselves known; a wrong setting here must not add one
        if not shell.look(_count_hubs):
            shell.act(hubs.install, shell.settings.hub_id)
        text = f"Applied: {', '.join(applied)}." if applied else "The tables are up to date."
        shell.reply({"applied": applied}, text)
    return 0


def check(args) -> int:
    """Revision and triggers; fails when this release needs others."""
    with Shell(args, needs_tables=False) as shell:
        require_file(shell.settings.database_url)
        with shell.db.read() as tx:
            have, head = migrate.current(tx.conn), migrate.head()
            gone = triggers.missing(tx.conn) if have else []
            known = {r.revision for r in migrate._script()[1].walk_revisions()}
        old = have is None or (have in known and have != head)
        text = f"The tables are at revision {have or 'none'}; this release needs {head}."
        if old:
            text += " Run `jhub-usage db upgrade`."
        if gone:
            text += f" Triggers that guard the ledger are missing: {', '.join(gone)}."
        shell.reply(
            {"revision": have, "head": head, "missing_triggers": gone, "ok": not old and not gone},
            text,
        )
    return 1 if old or gone else 0
