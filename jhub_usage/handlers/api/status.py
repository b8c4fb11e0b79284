"""How this service is: its database, its loops, and whether the hub runs what was configured."""

from ... import __version__
from ...domain.errors import UsageError


async def show(call) -> dict:
    service = call.service
    reachable, problem = True, ""
    try:
        service.require_ready()
        await call.look(lambda tx: tx.now())
    except UsageError as error:
        reachable, problem = False, error.message
    return {
        "version": __version__,
        "started_at": service.started_at,
        "database": {"reachable": reachable, "problem": problem},
        "settings_hash": call.settings.hash,
        "hub": service.loops.compared,
        "warnings": service.loops.warnings,
        "loops": service.loops.states(),
    }


async def openapi(call) -> dict:
    return call.service.openapi
