"""What every request goes through: who is calling, may they, is the body right, run it, answer.

HTTP status for errors is decided here and nowhere else. A handler function gets a ``Call`` and
returns what is shown; it never sees tornado.
Limitations: answers whole replies, no streams.
"""

import asyncio
import hashlib
import json
import logging
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado.web import HTTPError, RequestHandler

from ..actions import keys, ownership
from ..adapters.hub import HubRefused, HubUnavailable
from ..domain import errors
from ..domain.instants import iso
from . import access, look, schema
from .access import Caller, Need

log = logging.getLogger("jhub_usage.service")

STATUS = {
    errors.BadInput: 400,
    errors.NotAllowed: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.NoRate: 422,
    errors.SchemaTooOld: 503,
    errors.DatabaseUnavailable: 503,
}
SAFE = ("GET", "HEAD", "OPTIONS")
BODY_BYTES = 1_000_000


class NotSignedIn(errors.UsageError):
    """Log in, or send a JupyterHub token in the header "Authorization: token ..."."""

    code = "not_signed_in"


class StalePage(errors.UsageError):
    """This page is out of date: reload it and try again."""

    code = "stale_page"


class ServiceNotReady(errors.UsageError):
    """The accounting service can not answer yet."""

    code = "not_ready"


class HubAway(errors.UsageError):
    """JupyterHub does not answer right now. Nothing was changed; try again in a moment."""

    code = "hub_unavailable"


class NoSuchRoute(errors.UsageError):
    """There is nothing at this address."""

    code = "not_found"


STATUS |= {NotSignedIn: 401, StalePage: 403, ServiceNotReady: 503, HubAway: 503, NoSuchRoute: 404}


def status_of(error: errors.UsageError) -> int:
    """The HTTP status of one of our errors."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 400)


def as_fact(error: BaseException) -> errors.UsageError | None:
    """An error that a caller can be told about, or None."""
    if isinstance(error, errors.UsageError):
        return error
    if isinstance(error, HubUnavailable):
        return HubAway()
    if isinstance(error, HubRefused):
        return HubAway(f"JupyterHub refused what this service asked of it: {error}")
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return errors.DatabaseUnavailable("The accounting database did not answer in time.")
    return None


@dataclass(frozen=True)
class Route:
    """One line of the table."""

    method: str
    path: str
    run: Callable
    need: Need
    summary: str
    body: dict | None = None
    query: dict | None = None
    reply: dict | None = None
    status: int = 200
    #: A write that moves money: may be retried with the same Idempotency-Key.
    keyed: bool = False
    #: A page: the template; an API route has none.
    template: str = ""
    #: Answers although the database is away.
    offline: bool = False

    @property
    def name(self) -> str:
        """Stable and unique: what the client's keys and the access log call it."""
        return f"{self.method} /{self.path}"


@dataclass
class Call:
    """One request, as a handler function sees it."""

    route: Route
    caller: Caller
    service: object
    path: dict = field(default_factory=dict)
    query: dict = field(default_factory=dict)
    body: dict = field(default_factory=dict)
    #: The client's own key for this write, or empty.
    key: str = ""

    @property
    def settings(self):
        return self.service.settings

    @property
    def ctx(self):
        return self.service.ctx

    async def look(self, query: Callable, *args, **kwargs):
        """One read transaction on a worker thread."""
        return await self.ctx.run(partial(self.ctx.look, query, *args, **kwargs))

    async def act(self, action: Callable, *args, show: Callable | None = None, **kwargs):
        """One write transaction on a worker thread, in the caller's name.

        ``show(result)`` makes the answer. With an Idempotency-Key the answer is stored in the same
        transaction, and the same request gets it again.
        """

        caller, route = self.caller, self.route

        def once(tx, *, actor):
            actor = ownership.acting(tx, actor, self.settings.hub_id, caller.person)

            def change(tx) -> dict | None:
                done = action(tx, *args, actor=actor, **kwargs)
                return show(done) if show else None

            if not (route.keyed and self.key):
                return change(tx)
            who = f"{actor.kind}:{actor.person_id or actor.name}"
            return keys.once(tx, who, route.name, self.key, [self.path, self.body], change)

        return await self.ctx.act_soon(once, actor=caller.actor)

    @property
    def entry_key(self) -> str | None:
        """The natural key of an entry that this request posts, from the client's own; or None."""
        if not self.key:
            return None
        actor = self.caller.actor
        words = [actor.kind, actor.name, self.route.name, self.key]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:40]


class Base(HubOAuthenticated, RequestHandler):
    """Security headers, our caller, and errors in words; for pages and the API alike."""

    def initialize(self, service, routes: dict[str, Route] | None = None):
        self.service = service
        self.routes = routes or {}
        self.hub_auth = service.hub_auth
        self.caller: Caller | None = None
        self.begun = time.monotonic()

    def set_default_headers(self):
        self.clear_header("Server")
        self.nonce = secrets.token_urlsafe(16)
        # runs before initialize(), so the service is found in the application's settings
        csp = self.settings["usage_service"].look.csp(self.nonce)
        self.set_header("Content-Security-Policy", csp)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    @property
    def route(self) -> Route | None:
        return self.routes.get(self.request.method)

    # -- who ------------------------------------------------------------------------------------

    xsrf_failed = False

    def check_xsrf_cookie(self):
        try:
            super().check_xsrf_cookie()
        except HTTPError:
            self.xsrf_failed = True
            raise

    async def who(self) -> Caller | None:
        """The caller; None for nobody. Asks the Hub, through the auth cache of some 30 s."""
        try:
            model = await self.hub_auth.get_user(self, sync=False)
        except HTTPError as error:
            raise HubAway() from error
        self.current_user = model
        if not model:
            return None
        by_browser = not getattr(self, "_token_authenticated", False)
        caller = access.caller_from(
            model,
            by_browser=by_browser,
            welcome=bool(self.hub_auth.check_scopes(self.hub_auth.access_scopes, model)),
            address=self.request.remote_ip or "",
        )
        if caller.kind != "user":
            return caller
        return await self.service.identify(caller)

    async def admit(self, route: Route) -> Caller:
        """The caller, once the route's need is met; else NotSignedIn or NotAllowed."""
        need = route.need
        if need.own == "anyone":
            return Caller("user", "")
        caller = await self.who()
        if caller is None:
            if self.xsrf_failed:
                raise StalePage()
            raise NotSignedIn()
        if not caller.welcome and not caller.rights:
            raise errors.NotAllowed("You have no access to this service. Ask an administrator.")
        if caller.may(*need.rights) or need.own == "signed_in":
            return caller
        if need.own == "person" and caller.kind == "user":
            return caller
        if need.own in ("session", "wallet", "managed_wallet") and caller.person is not None:
            self.service.require_ready()
            if await self.service.owns(caller, need.own, self.path_values(route)):
                return caller
            # the same words whether it exists or not: nobody can probe for other people's things
            thing = "session" if need.own == "session" else "wallet"
            raise errors.NotAllowed(f"There is no {thing} here that you may see or change.")
        raise errors.NotAllowed(f"This needs {need.text.replace('`', '')}.")

    def path_values(self, route: Route) -> dict:
        """The values in the path, as what they are."""
        values = {}
        for name, given in self.path_kwargs.items():
            given = given or ""
            if name.endswith("_id") and name != "session_id":
                if len(given) > 18:
                    raise errors.NotFound()
                values[name] = int(given)
            else:
                values[name] = given
        return values

    # -- errors ---------------------------------------------------------------------------------

    def log_exception(self, typ, value, tb):
        if as_fact(value) is not None or isinstance(value, HTTPError):
            return
        log.error("%s %s failed", self.request.method, self.request.path,
                  exc_info=(typ, value, tb))  # fmt: skip

    def write_error(self, status_code: int, **kwargs):
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        fact = as_fact(error) if error else None
        if fact is not None:
            status, code, message = status_of(fact), fact.code, fact.message
            details = fact.details
        else:
            status, details = status_code, {}
            code, message = plain_words(status_code)
        self.set_status(status)
        if status == 503:
            self.set_header("Retry-After", "5")
        if status == 405:
            self.set_header("Allow", ", ".join(sorted(self.routes)))
        self.show_error(status, code, message, details)

    def show_error(self, status: int, code: str, message: str, details: dict) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(to_json({"error": {"code": code, "message": message, **details}}))


def plain_words(status: int) -> tuple[str, str]:
    """What we say about an error that is not one of ours."""
    return {
        404: ("not_found", "There is nothing at this address."),
        405: ("method_not_allowed", "This can not be done at this address."),
        403: ("not_allowed", "You may not do this."),
        400: ("bad_input", "This request can not be read."),
    }.get(status, ("error", "Something went wrong here. It was logged; nothing was changed."))


class ApiHandler(Base):
    """JSON in, JSON out. Never redirects to a login: programs would follow it."""

    async def prepare(self):
        self.set_header("Content-Type", "application/json")
        route = self.route
        if route is None:
            raise HTTPError(405)
        self.caller = await self.admit(route)

    async def answer(self):
        route = self.route
        call = Call(
            route=route,
            caller=self.caller,
            service=self.service,
            path=self.path_values(route),
            query=self.read_query(route),
        )
        if route.method not in SAFE:
            call.body = self.read_body(route)
            call.key = self.request.headers.get("Idempotency-Key", "").strip()
            if len(call.key) > 200:
                raise errors.BadInput("An Idempotency-Key has at most 200 characters.")
        if not route.offline:
            self.service.require_ready()
        reply = await route.run(call)
        self.set_status(route.status)
        self.finish(to_json(reply))

    get = put = post = patch = delete = lambda self, **_: self.answer()

    def read_query(self, route: Route) -> dict:
        given = {}
        for name in self.request.query_arguments:
            if name == "_xsrf":
                continue
            values = self.get_query_arguments(name, strip=False)
            if len(values) > 1:
                raise errors.BadInput(f"“{name[:60]}” is given twice.")
            given[name] = values[0]
        return schema.from_query(given, route.query or schema.obj({}))

    def read_body(self, route: Route) -> dict:
        raw = self.request.body
        if not raw and route.body is None:
            return {}
        if len(raw) > BODY_BYTES:
            raise errors.BadInput("This body is too large.")
        if depth_of(raw) > MOST_DEPTH:
            raise errors.BadInput("This body is nested too deeply.")
        try:
            body = json.loads(raw, parse_float=_no_float, parse_constant=_no_float)
        except ValueError:
            raise errors.BadInput("The body is not JSON.") from None
        schema.check(body, route.body or schema.obj({}))
        return body


_STRING, _BRACKET = re.compile(rb'"(?:[^"\\\\]|\\\\.)*"'), re.compile(rb"[\[\]{}]")
MOST_DEPTH = 32


def depth_of(raw: bytes) -> int:
    """How deeply JSON is nested; the parser would recurse as deep, on the process's own stack."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def to_json(data) -> str:
    """JSON with instants in UTC."""
    return json.dumps(data, default=_instant)


def _instant(value):
    return iso(value) if isinstance(value, datetime) else str(value)


def _no_float(text: str):
    # A float never holds an amount: 0.1 + 0.2 has no exact answer. Text carries the digits.
    raise errors.BadInput(
        f'{text[:40]} is not exact here: write amounts as text, like "{text[:40]}".'
    )


class PageHandler(Base):
    """HTML in the Hub's own look. Sends people to the Hub's login."""

    async def get(self, **_):
        route = self.route
        try:
            self.caller = await self.admit(route)
        except NotSignedIn:
            self.redirect(self.get_login_url())
            return
        call = Call(
            route=route,
            caller=self.caller,
            service=self.service,
            path=self.path_values(route),
            query={k: self.get_query_argument(k) for k in self.request.query_arguments},
        )
        if not route.offline:
            self.service.require_ready()
        shown = await route.run(call)
        self.finish(self.render_page(route.template, **shown))

    def render_page(self, template: str, **shown) -> str:
        return self.service.look.render(
            template,
            handler=self,
            caller=self.caller if self.current_user else None,
            **shown,
        )

    def show_error(self, status: int, code: str, message: str, details: dict) -> None:
        try:
            page = self.render_page(
                "error.html",
                status=status,
                code=code,
                message=message,
                title=look.error_title(status),
            )
        except Exception:
            log.exception("the page for an error can not be made")
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            self.finish(message)
            return
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.finish(page)


class NotFoundPage(PageHandler):
    """Any other address under our prefix."""

    async def prepare(self):
        if self.request.path.startswith(self.service.prefix + "api/"):
            self.show_error = partial(Base.show_error, self)
        raise NoSuchRoute()


class Callback(HubOAuthCallbackHandler, PageHandler):
    """The end of a login at the Hub."""

    async def prepare(self):
        # else the Hub's own handler would ask in a blocking way when it needs to know
        if not self.get_argument("code", ""):
            self.current_user = await self.hub_auth.get_user(self, sync=False)

    def show_error(self, status: int, code: str, message: str, details: dict) -> None:
        if code in ("bad_input", "not_allowed", "error"):
            message = "The login could not be finished. Go back to the Hub and try again."
        super().show_error(status, code, message, details)


class Health(RequestHandler):
    """Alive is all that this says: the Hub ends itself when its service does not answer."""

    def initialize(self, service):
        self.service = service

    def get(self):
        self.set_header("Cache-Control", "no-store")
        self.finish(self.service.health())
