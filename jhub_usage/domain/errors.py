"""Errors as facts. The docstring is the default message, ``code`` is stable and public.

Doors turn them into an HTTP status or an exit code; nothing here knows of either.
"""


class UsageError(Exception):
    """Something is wrong with this request."""

    code = "error"

    def __init__(self, message: str | None = None, **details):
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        self.details = details
        super().__init__(self.message)


class BadInput(UsageError):
    """A value that was given can not be used."""

    code = "bad_input"


class NotFound(UsageError):
    """There is nothing with that name."""

    code = "not_found"


class Conflict(UsageError):
    """This contradicts what is already recorded."""

    code = "conflict"


class KeyReused(Conflict):
    """The same key was used before for something else."""

    code = "key_reused"


class NotAllowed(UsageError):
    """You may not do this."""

    code = "not_allowed"


class NoRate(UsageError):
    """There is no rate for what was asked."""

    code = "no_rate"


class SchemaTooOld(UsageError):
    """The database schema is older than this release needs: run `jhub-usage db upgrade`."""

    code = "schema_too_old"


class DatabaseUnavailable(UsageError):
    """The accounting database can not be reached."""

    code = "database_unavailable"


class CatchUpNeeded(DatabaseUnavailable):
    """The books were not kept for more than 62 days, or the clock is wrong."""

    code = "catch_up"

    def __init__(self, wallet: str = ""):
        super().__init__(
            f"The books of the wallet {wallet} are more than 62 days behind the clock. "
            "If the clock is right, an administrator runs `jhub-usage advance`."
        )
        self.wallet = wallet
