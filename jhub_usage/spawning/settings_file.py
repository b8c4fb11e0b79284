"""How the service gets its settings: a file of mode 0600, written right before each of its starts.

The Hub keeps a service's environment in clear in its database, so a password must not be in it.
A value of that environment may be callable: the Hub then calls it in its own process whenever it
starts the service. Ours is a text, the path, for whoever stores or shows it, and writes the file
from the Hub's final configuration when it is called.
"""

import json
import os
import tempfile
from pathlib import Path

from traitlets.config import Config

from ..config import Settings
from .registry import hub_facts, settings_and_gateway

VARIABLE = "JHUB_USAGE_SETTINGS_FILE"
NAME = "settings.json"


class SettingsFile(str):
    """The path of the file; calling it writes the file."""

    def __new__(cls, path: str, config: Config):
        made = super().__new__(cls, path)
        made._config = config
        return made

    def __call__(self, spawner) -> str:
        settings, gateway = settings_and_gateway(self._config)
        gateway.wake()
        return write(settings)

    def __deepcopy__(self, memo):
        return self  # traitlets copies the configuration that this is part of

    def __reduce__(self):
        return (str, (str(self),))


def path_of(settings: Settings) -> Path:
    return settings.runtime_path / NAME


def write(settings: Settings) -> str:
    """Write the file for these settings, whole or not at all; gives its path."""
    path = path_of(settings)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_mode & 0o077:
        path.parent.chmod(0o700)
    data = {"settings": settings.to_json(), "hub": hub_facts(settings)}
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".settings-")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(part).rename(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return str(path)
