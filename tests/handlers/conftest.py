"""The service in this process, over a real database, asked through real HTTP."""

import asyncio
import json

import jsonschema
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import create_signed_value

from jhub_usage.app import Start, UsageService
from jhub_usage.config import Settings
from jhub_usage.handlers.routes import API_ROUTES, pattern
from jhub_usage.handlers.schemas import COMPONENTS

from .fakes import FakeHub, Logins, Role

PREFIX = "/services/usage/"
ENVIRON = {"JUPYTERHUB_SERVICE_PREFIX": PREFIX, "JUPYTERHUB_BASE_URL": "/"}


class Answer:
    """A reply: status, JSON or text."""

    def __init__(self, response) -> None:
        self.status = response.code
        self.headers = response.headers
        self.text = response.body.decode() if response.body else ""

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]


class Site:
    """The service and its callers. Every JSON reply is checked against what is documented."""

    def __init__(self, service: UsageService, app, port: int, models: dict) -> None:
        self.service, self.app, self.port, self.models = service, app, port, models
        self.hub: FakeHub = service.hub
        self._http = AsyncHTTPClient(force_instance=True)

    def login(self, role: Role) -> Role:
        self.models[role.name] = role.model
        if role.kind == "user" and (role.user or role.name) not in self.hub.users:
            self.hub.add(role.user or role.name, groups=role.groups, admin=role.admin)
        return role

    async def ask(self, role: Role | None, method: str, path: str, body=None, *, headers=None,
                  raw=None) -> Answer:  # fmt: skip
        """`role` None is nobody. A browser's role sends its cookie and the page's XSRF token."""
        sent = dict(headers or {})
        if role is not None and role.browser:
            cookie = create_signed_value(
                self.app.settings["cookie_secret"], "service-usage", role.name
            )
            sent["Cookie"] = f"service-usage={cookie.decode()}"
            if method != "GET" and "X-XSRFToken" not in sent:
                xsrf = await self.xsrf(role)
                sent["Cookie"] += f"; _xsrf={xsrf}"
                sent["X-XSRFToken"] = xsrf
        elif role is not None:
            sent["Authorization"] = f"token {role.name}"
        data = raw
        if raw is None and method in ("POST", "PUT", "PATCH"):
            data = json.dumps({} if body is None else body)
        request = HTTPRequest(
            f"http://127.0.0.1:{self.port}{PREFIX}{path}",
            method=method,
            headers=sent,
            body=data,
            follow_redirects=False,
            request_timeout=20,
        )
        answer = Answer(await self._http.fetch(request, raise_error=False))
        if path.startswith("api/") and answer.status < 400:
            check_reply(method, path, answer)
        return answer

    async def xsrf(self, role: Role) -> str:
        page = await self.ask(role, "GET", "")
        for line in page.headers.get_list("Set-Cookie"):
            if line.startswith("_xsrf="):
                return line.split("=", 1)[1].split(";")[0]
        raise AssertionError("the page sets no _xsrf cookie")

    def act(self, action, *args, **more):
        from jhub_usage.domain.audit import SYSTEM

        return self.service.ctx.act(action, *args, actor=SYSTEM, **more)

    def look(self, query, *args, **more):
        return self.service.ctx.look(query, *args, **more)

    @property
    def policy(self):
        return self.service.ctx.policy

    @property
    def cache(self):
        return self.service.ctx.cache


def check_reply(method: str, path: str, answer: Answer) -> None:
    """What is said is what is documented."""
    import re

    bare = path.split("?")[0]
    for route in API_ROUTES:
        if route.method == method and re.fullmatch(pattern(route.path), bare):
            assert answer.status == route.status, (route.name, answer.status)
            if answer.headers["Content-Type"].startswith("text/csv"):
                return
            schema = {**route.reply, "components": {"schemas": COMPONENTS}}
            jsonschema.validate(answer.json, schema)
            return
    raise AssertionError(f"no route {method} {path}")


@pytest.fixture
def site_url(request):
    """SQLite; `@pytest.mark.parametrize("site_url", ["sqlite", "postgres"], indirect=True)` asks
    for both, where the database could make a difference."""
    kind = getattr(request, "param", "sqlite")
    return request.getfixturevalue("ready_sqlite_url" if kind == "sqlite" else "ready_pg_url")


@pytest.fixture
def make_site(tmp_path, site_url):
    """`await make_site(...)` gives a running Site."""
    stops = []

    async def make(*, connect=True, **settings) -> Site:
        defaults = {"database_url": site_url, "spool_dir": str(tmp_path / "spool")}
        start = Start(Settings(**(defaults | settings)), {})
        models: dict = {}
        service = UsageService(start, ENVIRON, hub=FakeHub(), hub_auth=Logins(models))
        app = service.application()
        sock, port = bind_unused_port()
        server = HTTPServer(app, xheaders=True)
        server.add_sockets([sock])
        stops.append((server, service))
        if connect:
            await asyncio.to_thread(service._open)
            service.ready = True
        return Site(service, app, port, models)

    yield make
    for server, service in stops:
        server.stop()
        if service.ctx is not None:
            service.ctx.close()


@pytest.fixture
async def site(make_site):
    return await make_site()
