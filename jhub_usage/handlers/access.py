"""Who is calling, what they may do, and what a route needs.

Words: a *scope* is the Hub's; a *right* is ours (read, manage, admin) and comes from scopes or
from being a Hub admin; a *need* is what a route asks for: a right, or that a thing is one's own.
Limitations: decides on values only. What belongs to whom is looked up by ``handlers/base.py``.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..domain.admission import PersonKey
from ..domain.audit import Actor

READ, MANAGE, ADMIN = "read", "manage", "admin"
SCOPE_PREFIX = "custom:jhub-usage:"
ALL_RIGHTS = frozenset({READ, MANAGE, ADMIN})
#: On a token this scope, unfiltered, is what a Hub admin has. The scope ``admin-ui`` gives nothing.
HUB_ADMIN_SCOPE = "admin:users"


def rights_from(scopes: Collection[str], *, hub_admin: bool = False) -> frozenset[str]:
    """Our rights from the Hub's scopes; names are compared whole, filtered scopes give nothing.

    ``hub_admin`` is the person's flag and counts in the browser only: a token may be given to a
    program that should do less than its owner can.
    """
    if hub_admin or HUB_ADMIN_SCOPE in scopes or SCOPE_PREFIX + ADMIN in scopes:
        return ALL_RIGHTS
    return frozenset(right for right in (READ, MANAGE) if SCOPE_PREFIX + right in scopes)


@dataclass(frozen=True)
class Caller:
    """Whoever sends this request."""

    kind: str  # "user" or "service", as the Hub says
    name: str
    rights: frozenset[str] = frozenset()
    #: The Hub gave them access to this service; without it only a right opens anything.
    welcome: bool = False
    by_browser: bool = False
    address: str = ""
    #: The Hub's number of the token or login; it belongs to one account for ever.
    token_id: str = ""
    person: PersonKey | None = None
    groups: tuple[str, ...] = ()

    @property
    def actor(self) -> Actor:
        return Actor("person" if self.kind == "user" else "service", self.name, self.address)

    def may(self, *rights: str) -> bool:
        return bool(self.rights.intersection(rights))


@dataclass(frozen=True)
class Need:
    """What opens a route: any one of ``rights``, or ``own``."""

    text: str
    rights: frozenset[str] = frozenset()
    #: "": rights only; "anyone": no login; "signed_in"; "person": a user, not a service;
    #: "session", "wallet", "managed_wallet", "request", "decided_request", "asked_request": the
    #: thing in the path is the caller's own.
    own: str = ""


ANYONE = Need("nothing: open to anyone", own="anyone")
SIGNED_IN = Need("a login or a token", ALL_RIGHTS, own="signed_in")
PERSON = Need("a login or a user's token", own="person")
OWN_USAGE = Need("a login or a user's token, or `read`", frozenset({READ, ADMIN}), own="person")
MY_SESSION = Need("the session is yours or your wallet's, or `read`", frozenset({READ, ADMIN}),
                  own="session")  # fmt: skip
MY_WALLET = Need("you are a member of the wallet, or `read` or `manage`", ALL_RIGHTS, own="wallet")
MANAGED_WALLET = Need("you are a manager of the wallet, or `manage`", frozenset({MANAGE, ADMIN}),
                      own="managed_wallet")  # fmt: skip
MY_REQUEST = Need("you asked, or may decide it, or `read` or `manage`", ALL_RIGHTS, own="request")
DECIDED_REQUEST = Need("it is put before a wallet that you manage, or `manage`",
                       frozenset({MANAGE, ADMIN}), own="decided_request")  # fmt: skip
ASKED_REQUEST = Need("you asked for it", own="asked_request")
NEED_READ = Need("`read`", frozenset({READ, ADMIN}))
NEED_READ_OR_MANAGE = Need("`read` or `manage`", ALL_RIGHTS)
NEED_MANAGE = Need("`manage`", frozenset({MANAGE, ADMIN}))
NEED_ADMIN = Need("`admin`", frozenset({ADMIN}))


def caller_from(model: Mapping, *, by_browser: bool, welcome: bool, address: str) -> Caller:
    """The caller from the Hub's own words about the login or token."""
    scopes = frozenset(model.get("scopes") or ())
    hub_admin = by_browser and bool(model.get("admin"))
    return Caller(
        kind=model.get("kind") or "user",
        name=model["name"],
        rights=rights_from(scopes, hub_admin=hub_admin),
        welcome=welcome,
        by_browser=by_browser,
        address=address,
        token_id=str(model.get("token_id") or ""),
    )
