"""The Hub's REST API as plain values: who has a server, what the Hub runs, and stopping a server.

Sees one Hub with one token. Knows no session of ours and no database; what an answer means is
decided elsewhere.
Limitations: pages of a long list are read one after the other, so a server that starts or stops in
between may be missing from one look. Compare two looks before believing that something is gone.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from ..domain.admission import PersonKey

PAGE_SIZE = 200
#: With this the Hub answers in pages; without it a long list is silently cut off.
PAGED = "application/jupyterhub-pagination+json"

STOPPED, STOPPING, GONE = "stopped", "stopping", "gone"
#: Under this key our hooks keep a session's UUID and profile in a server's state.
STATE = "jhub_usage"


class HubUnavailable(Exception):
    """The Hub did not answer, or answered that something is wrong with it."""


class HubRefused(Exception):
    """The Hub understood and refused: our token is missing a scope, or is no longer valid."""


@dataclass(frozen=True)
class HubServer:
    """A server that has an address or is about to have one."""

    user: str
    name: str
    started_at: datetime | None
    ready: bool
    pending: str = ""
    state: Mapping = field(default_factory=dict)
    options: Mapping = field(default_factory=dict)

    @property
    def ours(self) -> Mapping:
        """What our hooks left in its state."""
        left = self.state.get(STATE)
        return left if isinstance(left, Mapping) else {}

    @property
    def session_id(self) -> str | None:
        return self.ours.get("session")


@dataclass(frozen=True)
class HubUser:
    """A user as the Hub shows them to us."""

    name: str
    created_at: datetime | None
    admin: bool
    groups: tuple[str, ...]
    servers: tuple[HubServer, ...] = ()

    @property
    def person(self) -> PersonKey:
        return PersonKey(self.name, None, self.created_at)


@dataclass(frozen=True)
class HubInfo:
    """What the Hub says that it runs."""

    version: str
    python: str
    spawner_class: str
    spawner_version: str
    authenticator_class: str


class HubClient:
    """Calls one Hub. Every method raises HubUnavailable or HubRefused."""

    def __init__(self, api_url: str, token: str, *, timeout_s: float = 20.0, max_clients: int = 20):
        self._api_url = api_url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._http = AsyncHTTPClient(force_instance=True, max_clients=max_clients)
        self._tls = _tls_options(os.environ)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "HubClient":
        return cls(environ["JUPYTERHUB_API_URL"], environ["JUPYTERHUB_API_TOKEN"])

    def close(self) -> None:
        self._http.close()

    async def user(self, name: str) -> HubUser | None:
        """One user with their active servers; None where there is no such user."""
        code, data = await self._call("GET", f"/users/{quote(name, safe='')}", okay=(200, 404))
        return None if code == 404 else read_user(data)

    async def active_users(self) -> list[HubUser]:
        """Every user with a server that runs, starts or stops."""
        users, offset = [], 0
        while True:
            query = urlencode({"state": "active", "limit": PAGE_SIZE, "offset": offset})
            _, data = await self._call("GET", f"/users?{query}", accept=PAGED)
            users += [read_user(item) for item in data["items"]]
            following = data["_pagination"]["next"]
            if not following:
                return users
            offset = following["offset"]

    async def server(self, user: str, name: str) -> HubServer | None:
        """One active server, or None."""
        found = await self.user(user)
        return next((s for s in found.servers if s.name == name), None) if found else None

    async def stop(self, user: str, name: str) -> str:
        """Ask the Hub to stop a server: ``stopped``, ``stopping`` (ask later) or ``gone``."""
        path = f"/users/{quote(user, safe='')}/server"
        if name:
            path = f"/users/{quote(user, safe='')}/servers/{quote(name, safe='')}"
        code, _ = await self._call("DELETE", path, okay=(202, 204, 404))
        return {202: STOPPING, 204: STOPPED, 404: GONE}[code]

    async def info(self) -> HubInfo:
        _, data = await self._call("GET", "/info")
        return HubInfo(
            version=str(data.get("version", "")),
            python=str(data.get("python", "")).split()[0] if data.get("python") else "",
            spawner_class=str((data.get("spawner") or {}).get("class", "")),
            spawner_version=str((data.get("spawner") or {}).get("version", "")),
            authenticator_class=str((data.get("authenticator") or {}).get("class", "")),
        )

    async def own_scopes(self) -> frozenset[str]:
        """The scopes that our own token really has."""
        _, data = await self._call("GET", "/user")
        return frozenset(data.get("scopes") or ())

    async def _call(self, method: str, path: str, *, okay=(200,), accept="application/json"):
        request = HTTPRequest(
            self._api_url + path,
            method=method,
            headers={"Authorization": f"token {self._token}", "Accept": accept},
            connect_timeout=min(5.0, self._timeout_s),
            request_timeout=self._timeout_s,
            **self._tls,
        )
        try:
            answer = await self._http.fetch(request, raise_error=False)
            if answer.code in okay:
                return answer.code, json.loads(answer.body) if answer.body else None
        except (OSError, HTTPClientError, ValueError) as error:
            raise HubUnavailable(f"The Hub does not answer: {error}") from error
        if answer.code in (401, 403, 404):
            raise HubRefused(f"The Hub answered {answer.code} to {method} {path.split('?')[0]}.")
        # 599 is the client's own number for a broken or timed-out connection
        raise HubUnavailable(f"The Hub answered {answer.code} to {method} {path.split('?')[0]}.")


def read_user(data: Mapping) -> HubUser:
    """A user from the Hub's model."""
    name = data["name"]
    return HubUser(
        name=name,
        created_at=read_time(data.get("created")),
        admin=bool(data.get("admin")),
        groups=tuple(data.get("groups") or ()),
        servers=tuple(read_server(name, s) for s in (data.get("servers") or {}).values()),
    )


def read_server(user: str, data: Mapping) -> HubServer:
    """A server from the Hub's model."""
    return HubServer(
        user=user,
        name=data.get("name") or "",
        started_at=read_time(data.get("started")),
        ready=bool(data.get("ready")),
        pending=data.get("pending") or "",
        state=data.get("state") or {},
        options=data.get("user_options") or {},
    )


def read_time(text: str | None) -> datetime | None:
    """The Hub's times are UTC, with or without saying so."""
    if not text:
        return None
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _tls_options(environ: Mapping[str, str]) -> dict:
    """The Hub's internal certificates, where it gave us some."""
    names = {
        "client_key": "JUPYTERHUB_SSL_KEYFILE",
        "client_cert": "JUPYTERHUB_SSL_CERTFILE",
        "ca_certs": "JUPYTERHUB_SSL_CLIENT_CA",
    }
    return {option: environ[name] for option, name in names.items() if environ.get(name)}
