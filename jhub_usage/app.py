"""The service: the only place where its parts are put together.

Started by the Hub with an address that it must answer at once, whatever the state of the database:
a Hub whose service does not answer ends itself. So: bind first, then everything else, and heal.
Limitations: one process, one hub; trusts the proxy before it for the caller's address.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jupyterhub.services.auth import HubOAuth
from tornado.httpserver import HTTPServer
from tornado.web import Application, StaticFileHandler

from . import __version__
from .actions import hubs, ownership
from .adapters.hub import HubClient
from .config import Settings
from .context import Context
from .domain.admission import PersonKey
from .domain.audit import SYSTEM
from .domain.errors import BadInput, NotAllowed, UsageError
from .handlers import routes
from .handlers.access import Caller
from .handlers.base import ApiHandler, Callback, Health, NotFoundPage, PageHandler, ServiceNotReady
from .handlers.look import STATIC, Look
from .handlers.openapi import document
from .loops import LoopRunner
from .process import access_line, watch_parent

log = logging.getLogger("jhub_usage.service")

AUTH_CACHE_S = 30
BIND_TRIES_S = 20
CONNECT_PAUSE_S = (0.5, 15.0)


@dataclass(frozen=True)
class Start:
    """What the Hub gave us to start with."""

    settings: Settings
    #: What ``configure(c)`` knew of the hub: its machine, spawner class and versions.
    hub: Mapping


def read_start(path: str) -> Start:
    """The settings' file. Refused where others may read it: it holds the database's password."""
    file = Path(path)
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise BadInput(f"The settings' file {path} can not be read: {error.strerror}.") from None
    if mode & 0o077:
        raise BadInput(
            f"The settings' file {path} may be read by others (mode {mode & 0o777:04o}). It holds "
            "the database's password: make it 0600, or let the Hub write it again."
        )
    try:
        data = json.loads(file.read_text())
        return Start(Settings.from_json(data.get("settings", data)), data.get("hub") or {})
    except (ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"The settings' file {path} can not be understood: {error}.") from None


def refuse_foreign_sqlite(settings: Settings, hub: Mapping) -> None:
    """SQLite's locks hold on one machine only, so the service must be where the Hub is."""
    there, here = hub.get("hostname") or "", socket.gethostname()
    if settings.database_url.startswith("sqlite") and there and there != here:
        raise BadInput(
            f"The accounting database is an SQLite file of the machine {there}, and this service "
            f"runs on {here}. Use PostgreSQL, or run the service on the Hub's machine."
        )


def _listen(host: str, port: int) -> socket.socket:
    """An open address. ``::`` takes IPv4 connections as well."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    made = socket.create_server((host, port), family=family, backlog=128, dualstack_ipv6=both)
    made.setblocking(False)
    return made


class IdentityCache:
    """The account behind a token, by the Hub's ``created``, and its groups.

    Kept per token, never per name: a token belongs to one account, and a user who was deleted and
    made again has another one.
    """

    def __init__(self, hub: HubClient, max_age_s: float):
        self._hub, self._max_age_s = hub, max_age_s
        self._held: dict[tuple[str, str], tuple] = {}

    async def get(self, name: str, token_id: str):
        held = self._held.get((name, token_id)) if token_id else None
        if held and time.monotonic() - held[0] < self._max_age_s:
            return held[1]
        user = await self._hub.user(name)
        if len(self._held) > 10_000:
            self._held.clear()
        if token_id:
            self._held[name, token_id] = (time.monotonic(), user)
        return user


class UsageService:
    """Holds the parts, and answers what handlers and loops ask about the whole."""

    def __init__(
        self,
        start: Start,
        environ: Mapping[str, str],
        *,
        hub: HubClient | None = None,
        hub_auth: HubOAuth | None = None,
    ):
        self.settings, self.hub_facts = start.settings, start.hub
        self.prefix = environ.get("JUPYTERHUB_SERVICE_PREFIX", "/services/usage/")
        self.hub = hub or HubClient.from_environ(environ)
        self.hub_auth = hub_auth or HubOAuth(cache_max_age=AUTH_CACHE_S)
        self.look = Look(
            self.settings,
            prefix=self.prefix,
            base_url=environ.get("JUPYTERHUB_BASE_URL", "/"),
            hub_host=environ.get("JUPYTERHUB_HOST", ""),
        )
        self.identities = IdentityCache(self.hub, AUTH_CACHE_S)
        self.loops = LoopRunner(self)
        self.openapi = document(self.prefix)
        self.ctx: Context | None = None
        self.ready = False
        self.problem = "The accounting service is connecting to its database."
        self.started_at = datetime.now(UTC)
        self._stop = asyncio.Event()

    # -- what handlers ask ----------------------------------------------------------------------

    def require_ready(self) -> None:
        if not self.ready:
            raise ServiceNotReady(self.problem)

    def health(self) -> dict:
        return {"alive": True, "database": self.ready, "version": __version__}

    async def identify(self, caller: Caller) -> Caller:
        """The caller with the person behind the name, and their groups."""
        user = await self.identities.get(caller.name, caller.token_id)
        if user is None:
            raise NotAllowed("The Hub does not know this user any more.")
        return Caller(**{**vars(caller), "person": user.person, "groups": user.groups})

    async def owns(self, caller: Caller, own: str, path: Mapping) -> bool:
        """Whether the thing in the path is the caller's own."""
        return await self.ctx.look_soon(
            ownership.owns,
            own,
            path,
            hub_id=self.settings.hub_id,
            person=caller.person,
            groups=caller.groups,
        )

    async def person_key(self, name: str) -> PersonKey:
        """Whom a name means: the Hub's user, else somebody whom the Hub is yet to show."""
        user = await self.hub.user(name)
        return user.person if user else PersonKey(name)

    # -- life -----------------------------------------------------------------------------------

    def application(self) -> Application:
        service = {"service": self}
        by_path: dict[str, dict] = {}
        for route in routes.ROUTES:
            by_path.setdefault(route.path, {})[route.method] = route
        handlers: list = [
            (self.prefix + "health", Health, service),
            (self.prefix + "oauth_callback", Callback, service),
            (self.prefix + "static/(.*)", StaticFileHandler, {"path": STATIC}),
        ]
        for path, methods in by_path.items():
            page = any(r.template for r in methods.values())
            kind = PageHandler if page else ApiHandler
            handlers.append(
                (self.prefix + routes.pattern(path), kind, {**service, "routes": methods})
            )
        return Application(
            handlers,
            default_handler_class=NotFoundPage,
            default_handler_args=service,
            cookie_secret=os.urandom(32),
            # Tornado's own check comes before we know of a token; HubOAuth does it (and does it
            # for cookies only).
            xsrf_cookies=False,
            log_function=access_line,
            usage_service=self,
        )

    async def run(self) -> None:
        """Serve until told to stop."""
        sockets = await self._bind()
        server = HTTPServer(self.application(), xheaders=True, max_body_size=2_000_000)
        server.add_sockets(sockets)
        log.info("listening on %s:%s", self.settings.service_host, self.settings.service_port)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        background = [
            asyncio.create_task(self._connect()),
            asyncio.create_task(watch_parent(self._stop)),
        ]
        try:
            await self._stop.wait()
        finally:
            log.info("stopping")
            server.stop()
            for task in background:
                task.cancel()
            await self.loops.stop()
            try:
                await asyncio.wait_for(server.close_all_connections(), 3)
            except TimeoutError:
                pass
            self.hub.close()
            if self.ctx is not None:
                self.ctx.close()

    def stop(self) -> None:
        self._stop.set()

    async def _bind(self) -> list[socket.socket]:
        host, port = self.settings.service_host, self.settings.service_port
        deadline = time.monotonic() + BIND_TRIES_S
        while True:
            try:
                return [_listen(host, port)]
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise BadInput(
                        f"The service can not listen on {host}:{port}: {error.strerror}. Is "
                        "another one running, left behind by a Hub that was killed? End it, or set "
                        "c.JHubUsage.service_port."
                    ) from None
                log.warning("address %s:%s is taken; trying again", host, port)
                await asyncio.sleep(0.5)

    async def _connect(self) -> None:
        """Open the database, and try again until that works; then start the loops."""
        pause, longest = CONNECT_PAUSE_S
        while True:
            try:
                refuse_foreign_sqlite(self.settings, self.hub_facts)
                await asyncio.to_thread(self._open)
                break
            except BadInput as error:
                # Nothing will mend this but a person: say it on every page, stay alive.
                self.problem = error.message
                log.error("%s", error.message)
                return
            except UsageError as error:
                self.problem = error.message
                log.warning("%s Trying again in %.1f s.", error.message, pause)
            except Exception:
                self.problem = "The accounting database can not be used; the log says why."
                log.exception("the database can not be opened")
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
        self.ready = True
        log.info("database ready")
        self.loops.start()

    def _open(self) -> None:
        if self.ctx is None:
            self.ctx = Context.from_settings(self.settings)
        self.ctx.db.upgrade()
        self.ctx.db.check_schema()
        self.ctx.act(
            hubs.install, self.settings.hub_id, timezone=self.settings.timezone, actor=SYSTEM
        )
