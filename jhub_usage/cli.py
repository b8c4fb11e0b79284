"""Door: the shell. Parses, hands on to one small module per command, and says how it went.

Help needs argparse only: the database and the Hub are imported by the command that needs them.
"""

import importlib
import os
import sys

from .commands.tree import build
from .domain.errors import (
    BadInput,
    Conflict,
    DatabaseUnavailable,
    NotFound,
    SchemaTooOld,
    UsageError,
)

#: What the exit status says; the last line that fits the error counts.
EXIT_CODES = (
    (0, None, "It worked; for `check`: nothing is wrong."),
    (1, UsageError, "It failed, or something is wrong: `check` and `db check` name what."),
    (2, BadInput, "The command line, a file or a setting can not be used. Nothing was changed."),
    (3, DatabaseUnavailable, "The database is not there, can not be reached, or is too old."),
    (3, SchemaTooOld, ""),
    (4, NotFound, "There is nothing with that name or number."),
    (5, Conflict, "This contradicts what is recorded, or somebody changed it at the same time."),
)


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit status."""
    args = build().parse_args(argv)
    module = importlib.import_module(f".commands.{args.module}", __package__)
    try:
        return getattr(module, args.function)(args) or 0
    except UsageError as error:
        return _fail(error)
    except BrokenPipeError:
        # `| head` has seen enough; nothing more can be written, nor flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        known = _database_error(error)
        if known is None:
            raise
        return _fail(known)


def exit_code(error: UsageError) -> int:
    """The exit status that an error means."""
    return [code for code, kind, _ in EXIT_CODES if kind and isinstance(error, kind)][-1]


def _fail(error: UsageError) -> int:
    print(error.message, file=sys.stderr)
    return exit_code(error)


def _database_error(error: Exception) -> UsageError | None:
    """What the database refused, as a fact; None for anything else."""
    if not type(error).__module__.startswith("sqlalchemy"):
        return None
    from sqlalchemy.exc import DataError, IntegrityError, StatementError

    if isinstance(error, IntegrityError):
        return Conflict("Somebody changed the same thing at the same time. Look again, then retry.")
    if isinstance(error, DataError) or type(error) is StatementError:
        return BadInput("A value is one that the database can not hold. Nothing was changed.")
    return None


if __name__ == "__main__":
    sys.exit(main())
