"""Which requests are looks at other people's usage, and the row that each leaves.

Everything that a right opens is one, unless it is named here; so a new route is noted until
somebody decides otherwise. Works only where the setting ``audit_reads`` says so.
"""

import re

from ..actions import reads
from ..actions.reads import Read
from ..domain.errors import DatabaseUnavailable

#: What is configured, how this service is, or the caller's own things: nobody else's usage.
NOT_NOTED = frozenset(
    {
        "", "admin/audit", "admin/configuration", "admin/limits", "admin/modes", "admin/months",
        "admin/rates", "admin/rules", "api/audit", "api/exemptions", "api/limits", "api/me",
        "api/modes", "api/months", "api/openapi.json", "api/rates", "api/rules", "api/status",
    }
)  # fmt: skip
#: What only asks, although it has a body; other writes leave a row of their own.
ASKS = frozenset(
    {
        "api/quote", "api/refunds/preview", "api/sessions/{session_id:uuid}/boundaries/preview",
        "api/trials/month",
    }
)  # fmt: skip
#: Pages that show one person's things alone where their address names one. Other pages read no
#: such words, or show everything where there is a mistake in them.
OF_ONE_PERSON = frozenset({"admin/sessions", "usage"})
#: The longest name in the Hub.
MOST_NAME = 255
#: Where one is in a list says nothing about what was looked for.
_NOT_TOLD = ("cursor", "limit", "person", "_xsrf")


class ReadNotNoted(DatabaseUnavailable):
    """Looks at this are recorded, which is not possible right now, so it is not shown."""

    code = "read_not_noted"


def read_of(call) -> Read | None:
    """What this request looks at; None where that is nobody's usage, or the caller's own."""
    route, caller = call.route, call.caller
    if caller.kind != "user" or not caller.rights or route.path in NOT_NOTED:
        return None
    if route.method != "GET":
        return _asked(call) if route.path in ASKS else None
    query = {k: str(v) for k, v in call.query.items() if v not in ("", None)}
    facts = {"route": route.name} | {k: v[:200] for k, v in query.items() if k not in _NOT_TOLD}
    facts |= {k: str(v) for k, v in call.path.items() if not k.endswith("_id")}
    thing = _thing(call, facts)
    if _named(call):
        return thing
    if "person" in query:
        name, otherwise = query["person"][:MOST_NAME], None if _narrowed(route, query) else thing
        return Read("person", "", facts, name=name, otherwise=otherwise)
    if route.template:
        return thing
    # of the API, which takes no words that it does not know
    if query.get("mine") == "True":
        return None
    if query.get("wallet_id", "").isdigit():
        return Read("wallet", query["wallet_id"], facts)
    return thing


def _narrowed(route, query: dict) -> bool:
    """Whether nobody else's things are shown where a person is named."""
    if not route.template:
        return True
    # a wallet that there is not makes the page of usage one of everybody
    return route.path in OF_ONE_PERSON and "wallet" not in query


def _asked(call) -> Read | None:
    name, facts = call.body.get("person", ""), {"route": call.route.name}
    if name and name != call.caller.name:
        return Read("person", "", facts, name=name)
    # a price for oneself tells nothing of others
    return None if name or call.route.path == "api/quote" else _thing(call, facts)


def _named(call) -> str | None:
    """What in the path says which thing it is."""
    return next((name for name in call.path if name.endswith("_id")), None)


def _thing(call, facts: dict) -> Read:
    """The thing in the path, or a list by its address."""
    name = _named(call)
    if name is not None:
        return Read(name.removesuffix("_id"), str(call.path[name]), facts)
    address = re.sub(r"{(\w+)(?::\w+)?}", lambda m: str(call.path[m[1]]), call.route.path)
    return Read("list", address.removeprefix("api/").removeprefix("admin/"), facts)


async def noted(call) -> None:
    """Note a look before its answer is given; ReadNotNoted when that can not be done."""
    read = read_of(call) if call.settings.audit_reads and not call.route.offline else None
    if read is None:
        return
    caller = call.caller
    try:
        read = await call.look(
            reads.known, read, call.settings.hub_id, caller.person, caller.groups
        )
        if read is not None:
            await call.act(reads.note, read)
    except DatabaseUnavailable as error:
        raise ReadNotNoted() from error
