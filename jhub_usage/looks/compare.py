"""Whether the Hub runs what was configured: compared at start and from time to time, told in words.

A later part of the Hub's configuration may undo what ``configure(c)`` set, without a sound.
"""

from collections.abc import Mapping
from dataclasses import asdict

from .. import __version__
from ..actions import views
from ..adapters.hub import HubInfo, HubRefused
from ..scopes import SERVICE_SCOPES


def warnings(
    *,
    info: Mapping | None,
    scopes: frozenset[str],
    at_start: Mapping,
    hooks: Mapping,
    settings_hash: str,
    rejected: int,
) -> list[dict]:
    """What is not as it should be. ``hooks`` is what the Hub's own process told last."""
    found = []

    def warn(code: str, text: str) -> None:
        found.append({"code": code, "text": text})

    if at_start.get("hooks_in_use") is False:
        warn(
            "spawner_class",
            f"The Hub's spawner {at_start.get('spawner_class')} was set after jhub_usage.configure"
            "(c), so nothing is recorded or refused. Call configure(c) last.",
        )
    elif info and at_start.get("spawner_class") not in (None, "", info["spawner_class"]):
        warn(
            "spawner_class",
            f"The Hub runs the spawner {info['spawner_class']}, and this service was started for "
            f"{at_start['spawner_class']}. Restart the Hub.",
        )
    missing = [name for name in SERVICE_SCOPES if name not in scopes]
    if missing:
        warn(
            "scopes",
            "This service may not do all that it must: it lacks " + ", ".join(missing) + ". "
            "Was c.JupyterHub.load_roles set after configure(c)?",
        )
    if hooks.get("settings_hash") not in (None, settings_hash):
        warn(
            "settings",
            "The Hub and this service work with different settings. Restart the Hub.",
        )
    if hooks.get("release") not in (None, __version__):
        warn(
            "release",
            f"The Hub runs jhub-usage {hooks['release']} and this service {__version__}. "
            "Restart the Hub.",
        )
    pages = hooks.get("templates") or at_start.get("templates") or {}
    without = [name for name, status in pages.items() if not status.get("included")]
    if without:
        warn(
            "templates",
            "Balances are not shown on the Hub's " + " and ".join(without) + ": a template of your "
            'own is used. Add {% include "jhub-usage/balance.html" %} to it.',
        )
    if rejected:
        warn(
            "spool",
            f"{rejected} recorded events could not be taken in and wait for you in the spool's "
            "folder “rejected”.",
        )
    return found


async def run(service) -> dict:
    """One comparison: what was found, and the warnings that follow from it."""
    info: HubInfo | None = None
    try:
        info = await service.hub.info()
    except HubRefused:
        pass  # the missing scope is told below
    scopes = await service.hub.own_scopes()
    ctx, settings = service.ctx, service.settings
    row = await ctx.look_soon(views.hub, settings.hub_id)
    rejected = await ctx.run(service.loops.rejected_events)
    hooks = dict(row["facts"] or {}) if row else {}
    service.loops.compared = {
        "hub": asdict(info) if info else None,
        "hooks": hooks,
        "hooks_at": row["facts_at"] if row else None,
        "reconciled_at": row["reconciled_at"] if row else None,
    }
    service.loops.found = warnings(
        info=asdict(info) if info else None,
        scopes=scopes,
        at_start=service.hub_facts,
        hooks=hooks,
        settings_hash=settings.hash,
        rejected=rejected,
    )
    return {"warnings": len(service.loops.found)}
