"""What all commands share: settings, the database, who acts, and how things are printed."""

import getpass
import json
import os
import socket
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import datetime
from pathlib import Path

from ..config import SECTION, resolve
from ..context import Context
from ..domain.audit import Actor
from ..domain.errors import BadInput, DatabaseUnavailable
from ..domain.instants import iso, zone_of
from ..domain.money import parse_amount, plain, show
from ..domain.names import require_name
from ..store.engine import Database

#: A shell may wait longer than a spawn: for a lock, and for one statement.
LOCK_TIMEOUT_S, STATEMENT_TIMEOUT_S = 10.0, 300.0


def settings_of(args, environ: Mapping[str, str] = os.environ):
    """The settings: what the command line says, the configuration file, the environment."""
    from traitlets.config import Config

    config = _file_config(args.config) if args.config else Config()
    if args.database_url:
        config[SECTION].database_url = args.database_url
    try:
        settings = resolve(config, environ)
    except BadInput as error:
        if not args.database_url:
            raise
        text = error.message.replace(f"c.{SECTION}.database_url", "--database-url")
        raise BadInput(text) from None
    return replace(
        settings, lock_timeout_s=LOCK_TIMEOUT_S, statement_timeout_s=STATEMENT_TIMEOUT_S,
        pool_size=1,
    )  # fmt: skip


def _file_config(path: str):
    from traitlets.config import Config, PyFileConfigLoader

    file = Path(path).absolute()
    if not file.is_file():
        raise BadInput(f"There is no configuration file {path}.")
    try:
        whole = PyFileConfigLoader(file.name, str(file.parent)).load_config()
    except Exception as error:
        raise BadInput(f"{path} can not be executed: {error}") from error
    # the rest of the Hub's configuration is nobody's business here
    return Config({SECTION: whole[SECTION]}) if SECTION in whole else Config()


def actor() -> Actor:
    """Who types: the login name, on this machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    return Actor("cli", name[:255], address=socket.gethostname()[:64])


class Shell:
    """One command's way to the database and to the terminal. A context manager."""

    def __init__(self, args, *, needs_tables: bool = True):
        self.args = args
        self.settings = settings_of(args)
        self.currency = self.settings.currency()
        self._zone = zone_of(self.settings.timezone)
        self._needs_tables = needs_tables

    def __enter__(self) -> "Shell":
        if self._needs_tables:
            require_file(self.settings.database_url)
        self.context = Context.from_settings(self.settings)
        try:
            if self._needs_tables:
                self.context.db.check_schema()
        except BaseException:
            self.context.close()
            raise
        return self

    def __exit__(self, *exc) -> None:
        self.context.close()

    @property
    def db(self) -> Database:
        return self.context.db

    def act(self, action: Callable, *args, **more):
        """One action in one transaction, by whoever types."""
        return self.context.act(action, *args, actor=actor(), **more)

    def look(self, query: Callable, *args, **more):
        return self.context.look(query, *args, **more)

    # -- printing ----------------------------------------------------------------------------------

    def money(self, micro: int | None, none: str = "unlimited") -> str:
        return none if micro is None else show(micro, self.currency)

    def price(self, micro: int | None, none: str = "ended") -> str:
        """A rate, with all of its decimals: a price of 0.002 is not nothing."""
        if micro is None or micro % 10 ** (6 - self.currency.decimals) == 0:
            return self.money(micro, none)
        return f"{self.currency.symbol}{plain(micro)}"

    def when(self, at: datetime | None) -> str:
        """An instant in the setting's zone, to the minute; programs get it exactly."""
        return "" if at is None else at.astimezone(self._zone).strftime("%Y-%m-%d %H:%M")

    def table(self, heads: Sequence[str], rows: Sequence[Sequence], none: str = "") -> None:
        """Columns for people; those whose head ends with > stand to the right."""
        print_table(heads, rows, none)

    def reply(self, data, text: str | None = None) -> None:
        """JSON for programs, else the sentence if there is one."""
        if self.args.json:
            print_json(data)
        elif text:
            print(text)


def require_file(url: str) -> None:
    """A missing SQLite file would silently be made anew, and everything would look empty."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    if parsed.drivername == "sqlite" and not Path(parsed.database).exists():
        raise DatabaseUnavailable(
            f"There is no database at {parsed.database}: give --database-url or set "
            "JHUB_USAGE_DATABASE_URL, or make it by `jhub-usage db upgrade`."
        )


def print_json(data) -> None:
    print(json.dumps(jsonable(data), ensure_ascii=False, indent=2))


def jsonable(data):
    """Plain JSON: instants as ISO Z; beside each ``x_micro`` the exact decimal ``x`` as text."""
    if is_dataclass(data):
        data = {f.name: getattr(data, f.name) for f in fields(data)}
    if isinstance(data, Mapping):
        shown = {}
        for key, value in data.items():
            shown[key] = jsonable(value)
            short = key.removesuffix("_micro")
            if short != key and short not in data and (value is None or isinstance(value, int)):
                shown[short] = None if value is None else plain(value)
        return shown
    if isinstance(data, datetime):
        return iso(data)
    if isinstance(data, list | tuple):
        return [jsonable(item) for item in data]
    if isinstance(data, set | frozenset):
        return sorted(jsonable(item) for item in data)
    return data


def printable(text) -> str:
    """Text that can not move the cursor or hide: what is invisible is escaped."""
    return "".join(
        c if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else c.encode("unicode_escape", "surrogatepass").decode()
        for c in str(text)
    )  # fmt: skip


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def print_table(heads: Sequence[str], rows: Sequence[Sequence], none: str = "") -> None:
    if not rows:
        if none:
            print(none)
        return
    right = [head.endswith(">") for head in heads]
    shown = [[h.rstrip(">") for h in heads]]
    shown += [["" if v is None else printable(v) for v in row] for row in rows]
    widths = [max(_width(row[n]) for row in shown) for n in range(len(heads))]
    for row in shown if any(heads) else shown[1:]:
        cells = [
            " " * (widths[n] - _width(cell)) + cell if right[n]
            else cell + " " * (widths[n] - _width(cell))
            for n, cell in enumerate(row)
        ]  # fmt: skip
        print("  ".join(cells).rstrip())


# -- reading what people type ---------------------------------------------------------------------


def amount(text: str | None, what: str = "amount", *, negative: bool = False) -> int | None:
    """Credits as people write them, or None when they were not given."""
    if text is None:
        return None
    micro = parse_amount(text, what=what)
    if micro < 0 and not negative:
        raise BadInput(f"The {what} must not be negative.")
    return micro


def overdraft(text: str | None, default=0):
    """Micro-credits, None for unlimited, ``default`` when it was not given."""
    if text is None:
        return default
    return None if text.strip().lower() == "unlimited" else amount(text, "overdraft")


def name(text: str, what: str = "name") -> str:
    """A name as it is stored."""
    return require_name(text, what=what)


def key(args) -> str | None:
    """A script's key, apart from those that we make ourselves."""
    if args.key is None:
        return None
    if len(args.key) > 200:
        raise BadInput("The key is longer than 200 characters.")
    return f"cli:{name(args.key, 'key')}"


def note(args) -> str:
    """Words that go with an entry, as they were typed; the shell can not pass a NUL."""
    if len(args.note) > 2000:
        raise BadInput("The note is longer than 2000 characters.")
    return args.note.encode("utf-8", "replace").decode()


def error(text: str) -> None:
    print(text, file=sys.stderr)
