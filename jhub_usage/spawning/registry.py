"""The one gateway of this process, made from the Hub's final configuration when it is first used.

Later sections of a configuration may change ``c.JHubUsage`` after ``configure(c)`` has run, so
nothing is resolved for good before a hook needs it.
"""

import logging
import os
import socket
import threading

from traitlets.config import Application, Config

from ..config import Settings, resolve
from .gateway import Gateway

_guard = threading.Lock()
_held: tuple[Config, Settings, Gateway] | None = None


def hub_application():
    """The JupyterHub of this process, or None (a test, a tool)."""
    if not Application.initialized():
        return None
    app = Application._instance
    return app if hasattr(app, "spawner_class") and hasattr(app, "template_paths") else None


def final_config(fallback: Config | None = None) -> Config:
    """The Hub's own merged configuration, where there is a Hub."""
    app = hub_application()
    return app.config if app is not None else (fallback if fallback is not None else Config())


def settings_and_gateway(config: Config | None = None) -> tuple[Settings, Gateway]:
    """Both, for the configuration that is in force; the same ones each time."""
    global _held
    config = final_config(config)
    held = _held
    if held is not None and held[0] is config:
        return held[1], held[2]
    with _guard:
        if _held is not None and _held[0] is config:
            return _held[1], _held[2]
        settings = resolve(config, os.environ)
        if _held is not None and _held[1] == settings:
            gateway = _held[2]
        else:
            gateway = Gateway(settings)
            gateway.facts = lambda: hub_facts(settings)
            _set_up_logs()
        _held = (config, settings, gateway)
        return settings, gateway


def reset() -> None:
    """Forget the gateway; for tests."""
    global _held
    with _guard:
        held, _held = _held, None
    if held is not None:
        held[2].close()


def hub_facts(settings: Settings) -> dict:
    """What this Hub really runs, for the service to compare with what it should."""
    from .. import __version__
    from .templates import template_status

    facts = {
        "hostname": socket.gethostname(),
        "release": __version__,
        "settings_hash": settings.hash,
        "hub_version": "",
        "spawner_class": "",
        "templates": {},
    }
    app = hub_application()
    if app is not None:
        import jupyterhub

        facts["hub_version"] = jupyterhub.__version__
        cls = app.spawner_class
        facts["spawner_class"] = f"{cls.__module__}.{cls.__name__}"
        facts["hooks_in_use"] = getattr(cls, "jhub_usage_hooks", False)
        facts["templates"] = template_status(app.template_paths)
    return facts


def _set_up_logs() -> None:
    """Our messages join the Hub's log; decisions are bare JSON lines on the same stream."""
    app = hub_application()
    ours = logging.getLogger("jhub_usage")
    if app is not None and not ours.handlers:
        ours.parent = app.log
        ours.setLevel(app.log.level)
    decisions = logging.getLogger("jhub_usage.decisions")
    if not decisions.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        decisions.addHandler(handler)
        decisions.setLevel(logging.INFO)
        decisions.propagate = False
