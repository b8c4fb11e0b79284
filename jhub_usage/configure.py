"""``configure(c)``: everything that a hub needs, added to its configuration object.

It appends and never tramples: what is already there stays, twice is once. It has no side effects:
no file, no connection, no thread; `jupyterhub upgrade-db` and `jupyterhub token` run it too.
Limitations: a later section of the configuration may still overwrite lists that were set here; the
service compares at its start what the Hub really runs, and says so on its configuration page.
"""

import copy
import os
import sys
import types

import jupyterhub
from traitlets.config import LazyConfigValue

from .config import resolve
from .domain.errors import BadInput
from .hooks import spawner_class, usage_spawner
from .scopes import ACCESS, CUSTOM_SCOPES, SERVICE_NAME, SERVICE_SCOPES
from .spawning.balance import for_page
from .spawning.settings_file import VARIABLE, SettingsFile, path_of
from .spawning.templates import FOLDER

ROLE = "jhub-usage-service"
TEMPLATE_VARIABLE = "jhub_usage"


def configure(c) -> None:
    """Set up spawner hooks, the service, its role, scopes and templates on the Hub's config."""
    settings = resolve(c, os.environ)
    hub = c.JupyterHub
    hub.spawner_class = usage_spawner(spawner_class(_given(hub, "spawner_class", None)))
    _add_scopes(hub)
    _add_service(c, hub, settings)
    _add_role(hub)
    _let_users_in(hub)
    _add_templates(hub)


def hub_major() -> int:
    return int(jupyterhub.__version__.split(".")[0])


def _given(section, name: str, default):
    """What the configuration holds so far. Reading an unset trait would create it."""
    if name not in section:
        return default
    value = section[name]
    return value.get_value(default) if isinstance(value, LazyConfigValue) else value


def _extended(section, name: str, more: list) -> None:
    """Append to a list in the configuration, whatever kind of sequence it is now."""
    section[name] = [*_given(section, name, []), *more]


def _add_scopes(hub) -> None:
    scopes = dict(_given(hub, "custom_scopes", {}))
    for name, definition in CUSTOM_SCOPES.items():
        if scopes.setdefault(name, copy.deepcopy(definition)) != definition:
            raise BadInput(f"c.JupyterHub.custom_scopes defines {name} already, in another way.")
    hub.custom_scopes = scopes


def _add_service(c, hub, settings) -> None:
    service = {
        "name": SERVICE_NAME,
        "url": settings.url_for_proxy,
        "command": [sys.executable, "-m", "jhub_usage"],
        "environment": {VARIABLE: SettingsFile(str(path_of(settings)), c)},
        "display": True,
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": list(CUSTOM_SCOPES),
    }
    if hub_major() >= 6:
        service["timeout"] = 60  # 5.x does not know it, and refuses what it does not know
    services = _given(hub, "services", [])
    for other in services:
        if other.get("name") != SERVICE_NAME:
            continue
        if VARIABLE in (other.get("environment") or {}):
            return
        raise BadInput(
            f"c.JupyterHub.services has a service {SERVICE_NAME!r} already; jhub-usage needs that "
            "name for its own."
        )
    _extended(hub, "services", [service])


def _add_role(hub) -> None:
    role = {"name": ROLE, "services": [SERVICE_NAME], "scopes": list(SERVICE_SCOPES)}
    for other in _given(hub, "load_roles", []):
        if other.get("name") == ROLE:
            if other != role:
                raise BadInput(f"c.JupyterHub.load_roles has another role {ROLE!r} already.")
            return
    _extended(hub, "load_roles", [role])


def _let_users_in(hub) -> None:
    """Everybody may open the service: what they see there is their own."""
    roles = _given(hub, "load_roles", [])
    user = next((role for role in roles if role.get("name") == "user"), None)
    if user is not None and "scopes" in user:
        # The admin's own definition counts; the Hub would ignore extra_user_scopes beside it.
        if ACCESS not in user["scopes"] and "access:services" not in user["scopes"]:
            changed = {**user, "scopes": [*user["scopes"], ACCESS]}
            hub.load_roles = [changed if role is user else role for role in roles]
    elif hub_major() >= 6:
        hub.extra_user_scopes = {*_given(hub, "extra_user_scopes", ()), ACCESS}
    elif user is not None:
        changed = {**user, "scopes": ["self", ACCESS]}
        hub.load_roles = [changed if role is user else role for role in roles]
    else:
        _extended(hub, "load_roles", [{"name": "user", "scopes": ["self", ACCESS]}])


def _add_templates(hub) -> None:
    """Ours come last: an admin's own page of the same name goes first."""
    folder = str(FOLDER)
    if folder not in _given(hub, "template_paths", []):
        _extended(hub, "template_paths", [folder])
    variables = dict(_given(hub, "template_vars", {}))
    if variables.setdefault(TEMPLATE_VARIABLE, for_page) is not for_page:
        raise BadInput(f"c.JupyterHub.template_vars has {TEMPLATE_VARIABLE!r} already.")
    hub.template_vars = variables


class _CallableModule(types.ModuleType):
    """Importing this module puts it in the place of the function of the same name on the package;
    so ``jhub_usage.configure(c)`` must mean the same whichever of the two is found."""

    def __call__(self, c) -> None:
        configure(c)


sys.modules[__name__].__class__ = _CallableModule
