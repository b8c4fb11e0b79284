"""The table of custom scopes: who may see and do what beyond their own.

A scope includes its ``subscopes``. A Hub admin (the model's ``admin`` flag in the browser,
``admin:users`` on a token) has all of them; ``admin-ui`` alone gives none. A person without any
sees their own usage.
"""

READ = "custom:jhub-usage:read"
MANAGE = "custom:jhub-usage:manage"
ADMIN = "custom:jhub-usage:admin"

#: The form that ``c.JupyterHub.custom_scopes`` takes.
CUSTOM_SCOPES = {
    READ: {"description": "See the usage and billing of everybody"},
    MANAGE: {"description": "Manage wallets, rates, rules, limits and bookings"},
    ADMIN: {
        "description": "Administer accounting: sessions, sync, audit and modes",
        "subscopes": [READ, MANAGE],
    },
}

SERVICE_NAME = "usage"
ACCESS = f"access:services!service={SERVICE_NAME}"

#: What the service itself may do with the Hub's API, and why.
SERVICE_SCOPES = (
    "list:users",  # open sessions are compared with all servers
    "read:users",  # names, and when a person was created: a re-created "ada" is another person
    "read:servers",  # which servers run, and since when
    "admin:server_state",  # the session's UUID is in the server's state
    "list:groups",  # groups' wallets and limits
    "read:groups",
    "delete:servers",  # stop a server whose wallet is empty
    "read:hub",  # what the Hub really runs: version and spawner class
)


def expand(scopes) -> set[str]:
    """The custom scopes among ``scopes`` with what they include."""
    found = set()
    for name in scopes:
        if name in CUSTOM_SCOPES:
            found |= {name, *CUSTOM_SCOPES[name].get("subscopes", ())}
    return found
