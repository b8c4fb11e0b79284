"""What every request goes through: who is calling, may they, is the body right, run it, answer.

HTTP status for errors is decided here and nowhere else. A handler function gets a ``Call`` and
returns what is shown; it never sees tornado.
Limitations: answers whole replies, no streams.
"""

import asyncio
import logging
import secrets
import time
from functools import partial

from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated
from tornado.web import HTTPError, RequestHandler

from ..actions import request_lists
from ..adapters.hub import HubRefused, HubUnavailable
from ..domain import errors
from ..process import caller_address
from . import access, look, reads
from .access import Caller
from .bodies import read_body, read_query, to_json
from .call import Call, Download, Route

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

    def get_current_user(self):
        """What ``who`` found. The Hub's own way would ask the Hub and block this whole process."""
        return getattr(self, "_cached_hub_user", None)

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
            address=caller_address(self),
        )
        if caller.kind == "user":
            caller = await self.service.identify(caller)
        self.caller = caller
        return caller

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
        thing = need.own.rpartition("_")[2]
        if thing in ("session", "wallet", "request") and caller.person is not None:
            self.service.require_ready()
            if await self.service.owns(caller, need.own, self.path_values(route)):
                return caller
            # the same words whether it exists or not: nobody can probe for other people's things
            raise errors.NotAllowed(f"There is no {thing} here that you may see or change.")
        words = need.text.replace("`", "")
        raise errors.NotAllowed(f"What this needs: {words}." if need.own else
                                f"This needs the right {words}.")  # fmt: skip

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
        self.admitted = await self.admit(route)

    async def answer(self):
        route = self.route
        call = Call(
            route=route,
            caller=self.admitted,
            service=self.service,
            path=self.path_values(route),
            query=read_query(self, route.query),
        )
        if route.method not in SAFE:
            call.body = read_body(self.request.body, route.body)
            call.key = self.request.headers.get("Idempotency-Key", "").strip()
            if len(call.key) > 200:
                raise errors.BadInput("An Idempotency-Key has at most 200 characters.")
        if not route.offline:
            self.service.require_ready()
        reply = await route.run(call)
        await reads.noted(call)
        self.set_status(route.status)
        if isinstance(reply, Download):
            self.set_header("Content-Type", reply.content_type)
            self.set_header("Content-Disposition", f'attachment; filename="{reply.name}"')
            self.finish(reply.body)
            return
        self.finish(to_json(reply))

    get = put = post = patch = delete = lambda self, **_: self.answer()


class PageHandler(Base):
    """HTML in the Hub's own look. Sends people to the Hub's login."""

    async def get(self, **_):
        route = self.route
        try:
            caller = await self.admit(route)
        except NotSignedIn:
            self.redirect(self.get_login_url())
            return
        call = Call(
            route=route,
            caller=caller,
            service=self.service,
            path=self.path_values(route),
            query={k: self.get_query_argument(k) for k in self.request.query_arguments},
        )
        if not route.offline:
            self.service.require_ready()
        shown = await route.run(call)
        await reads.noted(call)
        if caller.rights and not route.offline:
            shown["open_requests"] = await call.look(request_lists.open_count)
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
        else:
            try:
                self.caller = await self.who()
            except (errors.UsageError, HubUnavailable, HubRefused):
                pass  # the page is then that of somebody who is not logged in
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
