"""One line of the route table, and one request as a handler function sees it.

Knows no tornado: a handler function takes a ``Call`` and returns what is shown.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from ..actions import keys, ownership
from .access import Caller, Need


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


@dataclass(frozen=True)
class Download:
    """A reply that is sent as these bytes, and kept by a browser under this name."""

    body: bytes
    content_type: str
    name: str


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
        return await self.ctx.look_soon(query, *args, **kwargs)

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
