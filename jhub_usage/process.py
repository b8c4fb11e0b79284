"""The process that the service runs in: its logs, and its end with its parent.

A Hub that is killed leaves its services behind; such an orphan keeps the address and has a token
that the next Hub does not know.
Limitations: the signal at the parent's death is Linux; elsewhere the watch sees it within a second.
"""

import asyncio
import ctypes
import json
import logging
import os
import signal
import sys
from datetime import UTC, datetime

from .domain.addresses import told_by_proxies

PR_SET_PDEATHSIG = 1
access_log = logging.getLogger("jhub_usage.access")


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if isinstance(record.msg, dict):
            line |= record.msg
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up_logs(level: int = logging.INFO) -> None:
    """Everything as JSON lines to standard error, which the Hub passes on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # tornado's lines name whole addresses, and the Hub's tell of each token and cookie
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    logging.getLogger("tornado.application").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def caller_address(handler) -> str:
    """From which address a request came, of which its sender can not make us believe another."""
    request, service = handler.request, handler.settings["usage_service"]
    forwarded = ",".join(request.headers.get_list("X-Forwarded-For"))
    told = told_by_proxies(forwarded, service.settings.trusted_proxies)
    if told:
        return told
    peer = getattr(request.connection.context, "address", None)  # no proxy: who connected
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""


def access_line(handler) -> None:
    """One line per request: no query, no header, no body, so no secret."""
    caller = getattr(handler, "caller", None)
    access_log.info(
        {
            "message": "request",
            "method": handler.request.method,
            "path": handler.request.path,
            "status": handler.get_status(),
            "ms": round(handler.request.request_time() * 1000, 1),
            "who": f"{caller.kind}:{caller.name}" if caller and caller.name else None,
            "address": caller_address(handler),
        }
    )


def end_with_parent() -> None:
    """Ask the kernel for a SIGTERM when the parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


async def watch_parent(stop: asyncio.Event, interval_s: float = 1.0) -> None:
    """Stop when the parent has changed: the one that started us is gone."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(interval_s)
    logging.getLogger("jhub_usage.service").warning("the process that started us is gone")
    stop.set()
