"""Door: the spawner. `usage_spawner` puts accounting around whatever class the Hub would use.

The parts are in `spawning/`: what every spawner gets (`mixin.py`), what KubeSpawner needs beyond
that (`kube.py`), the form, the gateway to the database, the spool.
"""

from importlib.metadata import entry_points

from traitlets.utils.importstring import import_item

from .domain.errors import BadInput

DEFAULT_SPAWNER = "jupyterhub.spawner.LocalProcessSpawner"

_made: dict[type, type] = {}


def usage_spawner(base: type) -> type:
    """A subclass of ``base`` that records and enforces. Doing it twice changes nothing.

    Configuration for ``base`` and its parents counts for it too, since traitlets reads the
    sections of all parent classes.
    """
    from jupyterhub.spawner import Spawner

    from .spawning.kube import KubeUsageMixin
    from .spawning.mixin import UsageMixin

    if not (isinstance(base, type) and issubclass(base, Spawner)):
        raise BadInput(f"c.JupyterHub.spawner_class must be a Spawner class, not {base!r}.")
    if issubclass(base, UsageMixin):
        return base
    if base not in _made:
        kube = hasattr(base, "modify_pod_hook") and hasattr(base, "get_pod_manifest")
        mixin = KubeUsageMixin if kube else UsageMixin
        names = {
            "__module__": base.__module__,
            "__doc__": f"{base.__name__} with accounting by jhub-usage.",
            "_usage_base_name": base.__name__,
        }
        _made[base] = type(f"Usage{base.__name__}", (mixin, base), names)
    return _made[base]


def spawner_class(value) -> type:
    """What `c.JupyterHub.spawner_class` means: a class, an entry point's name, or a dotted path."""
    if isinstance(value, type):
        return value
    if not value:
        value = DEFAULT_SPAWNER
    if not isinstance(value, str):
        raise BadInput(f"c.JupyterHub.spawner_class must be a class or its name, not {value!r}.")
    for point in entry_points(group="jupyterhub.spawners"):
        if point.name.lower() == value.lower():
            return point.load()
    try:
        return import_item(value)
    except (ImportError, ValueError, AttributeError) as error:
        raise BadInput(f"c.JupyterHub.spawner_class = {value!r}: {error}.") from None
