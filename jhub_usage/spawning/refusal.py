"""How the Hub tells a person that their server does not start, on every page where it can.

A refusal is a decision, not a failure: its status is below 500, and the Hub does not count it
towards `consecutive_failure_limit`. The text is the same in JSON answers, on the spawn form and on
the pending page; where the Hub shows HTML it ends in a link.
"""

from contextlib import contextmanager
from html import escape
from urllib.parse import urlsplit

from tornado.web import HTTPError

try:
    from jupyterhub.spawner import SpawnException
except ImportError:  # JupyterHub 5
    SpawnException = None

#: The reasons that may become a label of the Hub's own metrics; any other is "usage".
REASONS = ("wallet", "limit", "wallet_closed", "no_rate", "database_unavailable", "void")


def session_path(spawner, session_id: str) -> str:
    """The page of a session in our service, as a path on the Hub's host."""
    hub = getattr(spawner, "hub", None)
    base = urlsplit(getattr(hub, "base_url", "") or "/hub/").path
    return f"{base.removesuffix('/').removesuffix('/hub')}/services/usage/sessions/{session_id}"


def refusal(spawner, session_id: str, code: str, text: str, status: int = 403) -> HTTPError:
    """The exception to raise from a hook."""
    path = session_path(spawner, session_id)
    return _error(
        code,
        f"{text} (Session {session_id}, see {path})",
        f'{escape(text)} <a href="{escape(path)}">Session {escape(session_id)}</a>',
        status,
    )


def form_refusal(code: str, text: str, status: int = 403) -> HTTPError:
    """The same before there is a session: from the spawn form, or for a wrong question."""
    return _error(code, text, escape(text), status)


def _error(code: str, text: str, html: str, status: int) -> HTTPError:
    if SpawnException is not None:
        # `reason` becomes a metric's label and the HTTP reason phrase.
        label = code if code in REASONS else "usage"
        error = SpawnException(text, reason=label, message_html=html, status_code=status)
    else:
        # JupyterHub 5 answers JSON requests with the log message, after %-formatting.
        error = HTTPError(status, "%s", text)
    # Both versions show these on pages; see "what the user sees" in the tests.
    error.jupyterhub_message = text
    error.jupyterhub_html_message = html
    error.jhub_usage_refusal = True
    return error


@contextmanager
def uncounted(spawner):
    """Around a hook that may refuse: keeps a refusal out of the Hub's count of failures.

    JupyterHub 6 counts only what is an error. JupyterHub 5 counts every start that did not
    succeed, a refusal too, and ends itself at `consecutive_failure_limit`, which is 5 in
    zero-to-jupyterhub: there, five people with an empty wallet would stop the Hub. It adds one
    after our exception, so we take one away before.
    """
    try:
        yield
    except HTTPError as error:
        if SpawnException is None and getattr(error, "jhub_usage_refusal", False):
            error.jhub_usage_refusal = False  # once, also through nested hooks
            handler = getattr(spawner, "handler", None)
            settings = getattr(handler, "settings", None)
            if isinstance(settings, dict):
                settings["failure_count"] = settings.get("failure_count", 0) - 1
        raise
