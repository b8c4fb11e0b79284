"""``python -m jhub_usage``: what the Hub runs as its managed service."""

import asyncio
import logging
import os
import sys

from .domain.errors import UsageError
from .process import end_with_parent, set_up_logs

SETTINGS_FILE = "JHUB_USAGE_SETTINGS_FILE"


def main() -> int:
    set_up_logs()
    log = logging.getLogger("jhub_usage.service")
    end_with_parent()
    path = os.environ.get(SETTINGS_FILE)
    if not path:
        log.error("%s is not set: this program is started by the Hub.", SETTINGS_FILE)
        return 2
    missing = [n for n in ("JUPYTERHUB_API_URL", "JUPYTERHUB_API_TOKEN") if n not in os.environ]
    if missing:
        log.error("%s is not set: this program is started by the Hub.", missing[0])
        return 2
    from .app import UsageService, read_start

    async def serve() -> None:
        await UsageService(read_start(path), os.environ).run()

    try:
        asyncio.run(serve())
    except UsageError as error:
        log.error("%s", error.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
