"""How a setting's value is read from text, checked, and told about in words when it is wrong.

Knows traits, not which settings there are: those are in `config.py`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traitlets import Bool, Dict, Enum, Float, Integer, List, TraitError, Unicode

from .domain.errors import BadInput


def parse(trait, text: str, variable: str) -> Any:
    """A variable's text as the setting's type; whether the value is allowed is checked later."""
    if isinstance(trait, Bool):
        words = {"1": True, "true": True, "yes": True, "on": True}
        words |= {"0": False, "false": False, "no": False, "off": False}
        if text.lower() not in words:
            raise BadInput(f"{variable} must be true or false, not {text[:40]!r}.")
        return words[text.lower()]
    if isinstance(trait, Integer | Float):
        try:
            return int(text) if isinstance(trait, Integer) else float(text)
        except ValueError:
            raise BadInput(f"{variable} must be {kind(trait)}, not {text[:40]!r}.") from None
    if isinstance(trait, Dict | List):
        if isinstance(trait, List) and isinstance(trait._trait, Unicode) and text[0] != "[":
            return [part.strip() for part in text.split(",") if part.strip()]
        try:
            return json.loads(text)
        except ValueError as error:
            raise BadInput(f"{variable} is not JSON: {error}.") from None
    return text


def checked(trait, value: Any, source: str, *, owner, secret: bool = False) -> Any:
    """The value as its trait accepts it, or BadInput in words."""
    # traitlets takes True for 1 and 1 for True; a person who writes that means something else
    wrong = isinstance(value, bool) != isinstance(trait, Bool) and not isinstance(trait, Enum)
    if not wrong:
        try:
            return trait._validate(owner, value)
        except TraitError:
            pass
    given = "what was given" if secret else shorten(value)
    raise BadInput(f"{source} must be {kind(trait)}, not {given}.")


def shorten(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def plain(number) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


def kind(trait) -> str:
    """What a trait accepts, for people."""
    if isinstance(trait, Enum):
        return "one of " + ", ".join(repr(v) for v in trait.values)
    if isinstance(trait, Integer | Float):
        kind = "a whole number" if isinstance(trait, Integer) else "a number"
        if trait.min is not None and trait.max is not None:
            kind += f" from {plain(trait.min)} to {plain(trait.max)}"
        return kind
    if isinstance(trait, Bool):
        return "True or False"
    if trait.name == "profiles":
        return "a list of dicts"
    if isinstance(trait, List):
        return "a list of texts"
    if isinstance(trait, Dict):
        value = trait._value_trait
        if isinstance(value, Integer):
            return f"a dict of whole numbers from {value.min} to {value.max}"
        return "a dict of texts"
    return "a text"


def database_url(url: str) -> str:
    """The one way of writing it. Never quotes the URL: it may hold a password."""
    scheme, separator, rest = url.partition("://")
    if scheme in ("postgresql", "postgres", "postgresql+psycopg") and separator:
        return "postgresql+psycopg://" + rest
    if scheme != "sqlite" or not separator:
        raise BadInput(
            "c.JHubUsage.database_url must begin with sqlite:/// or postgresql+psycopg://."
        )
    path, mark, query = rest.partition("?")
    if not path.startswith("/") or path in ("/", "/:memory:"):
        raise BadInput(
            "c.JHubUsage.database_url must name an SQLite file: the Hub and the service share it."
        )
    return f"sqlite:///{Path(path[1:]).absolute()}{mark}{query}"


def freeze(value):
    if isinstance(value, list | tuple):
        return tuple(freeze(v) for v in value)
    if isinstance(value, Mapping):
        return {k: freeze(v) for k, v in value.items()}
    return value


def thaw(value):
    if isinstance(value, tuple):
        return [thaw(v) for v in value]
    if isinstance(value, Mapping):
        return {k: thaw(v) for k, v in value.items()}
    return value
