"""jhub-usage: exact, enforceable GPU accounting for JupyterHub.

``jhub_usage.configure(c)`` in a ``jupyterhub_config.py`` is all that a hub needs.
"""

__version__ = "0.1.0"


def configure(c):
    """Set up spawner hooks, the service, its roles and templates on the Hub's config object.

    Imported late: the command line imports this package and must not pay for the Hub.
    """
    from .configure import configure as _configure

    return _configure(c)
