"""A Hub that exists only in this process, for tests of the service without one.

`FakeHub` has the shape of `adapters.hub.HubClient`. `Logins` is the Hub's own cookie and token
handling, with a table in the place of the call to the Hub.
Limitations: no login pages; a caller is given a token or a cookie by the test.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from jupyterhub.services.auth import HubOAuth

from jhub_usage.adapters.hub import (
    GONE,
    STOPPED,
    STOPPING,
    HubInfo,
    HubServer,
    HubUnavailable,
    HubUser,
)
from jhub_usage.scopes import ACCESS, SERVICE_SCOPES

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class FakeHub:
    """Users and servers as the Hub would show them; `away` and `slow_stop` make it misbehave."""

    def __init__(self) -> None:
        self.users: dict[str, HubUser] = {}
        self.away = False
        self.slow_stop = False
        self.stopped: list[tuple[str, str]] = []
        self.before_stop = None
        self.spawner_class = "test.Spawner"
        self.scopes = frozenset(SERVICE_SCOPES)

    def add(self, name: str, *, groups=(), admin=False, created_at=CREATED) -> HubUser:
        self.users[name] = HubUser(name, created_at, admin, tuple(groups))
        return self.users[name]

    def run(self, name: str, server="", *, started_at, state=None, ready=True, pending="") -> None:
        user = self.users[name]
        others = tuple(s for s in user.servers if s.name != server)
        made = HubServer(name, server, started_at, ready, pending, state or {})
        self.users[name] = replace(user, servers=(*others, made))

    def end(self, name: str, server="") -> None:
        user = self.users[name]
        self.users[name] = replace(user, servers=tuple(s for s in user.servers if s.name != server))

    def _answer(self) -> None:
        if self.away:
            raise HubUnavailable("The Hub does not answer: test")

    async def user(self, name):
        self._answer()
        return self.users.get(name)

    async def active_users(self):
        self._answer()
        return [user for user in self.users.values() if user.servers]

    async def server(self, user, name):
        self._answer()
        found = self.users.get(user)
        return next((s for s in found.servers if s.name == name), None) if found else None

    async def stop(self, user, name):
        if self.before_stop is not None:
            self.before_stop()
        self._answer()
        server = await self.server(user, name)
        if server is None:
            return GONE
        self.stopped.append((user, name))
        if self.slow_stop:
            self.run(user, name, started_at=server.started_at, state=server.state, pending="stop")
            return STOPPING
        self.end(user, name)
        return STOPPED

    async def info(self):
        self._answer()
        return HubInfo("6.1.1", "3.11.7", self.spawner_class, "6.1.1", "test.Authenticator")

    async def own_scopes(self):
        self._answer()
        return self.scopes

    def close(self) -> None:
        pass


class Logins(HubOAuth):
    """Tokens are looked up in `models`; everything else is the Hub's own code."""

    def __init__(self, models: dict) -> None:
        super().__init__(
            api_token="service-token",
            oauth_client_id="service-usage",
            base_url="/services/usage/",
            access_scopes={"access:services", ACCESS},
            cache_max_age=0,
        )
        self.models = models

    async def _check_hub_authorization(self, url, api_token, cache_key=None, use_cache=True):
        return self.models.get(api_token)


@dataclass(frozen=True)
class Role:
    """Somebody who calls, as the Hub would describe the token of theirs."""

    name: str
    user: str = ""
    scopes: tuple[str, ...] = (ACCESS,)
    kind: str = "user"
    admin: bool = False
    browser: bool = False
    groups: tuple[str, ...] = field(default=())

    @property
    def model(self) -> dict:
        return {
            "kind": self.kind,
            "name": self.user or self.name,
            "admin": self.admin,
            "groups": list(self.groups),
            "scopes": list(self.scopes),
            "token_id": f"id-of-{self.name}",
        }
