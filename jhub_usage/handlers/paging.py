"""Cursors: where a list goes on, as text that a client hands back unread."""

import base64
import json
from collections.abc import Callable, Sequence
from datetime import datetime

from ..domain.errors import BadInput
from ..domain.instants import iso, parse_instant

PAGE = 50


def encode(*parts) -> str:
    plain = [iso(p) if isinstance(p, datetime) else p for p in parts]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).rstrip(b"=").decode()


def decode(cursor: str | None, *kinds: type) -> tuple | None:
    """The parts that ``encode`` was given, or None without a cursor; BadInput for anything else."""
    if not cursor:
        return None
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(parts, list) or len(parts) != len(kinds):
            raise ValueError
        values = []
        for part, kind in zip(parts, kinds, strict=True):
            value = parse_instant(part) if kind is datetime else part
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ValueError
            values.append(value)
        return tuple(values)
    except (ValueError, BadInput):
        raise BadInput("This cursor is not one of ours: begin again without it.") from None


def cut(rows: Sequence, limit: int, key: Callable[..., tuple]) -> tuple[list, str | None]:
    """A page of ``limit`` from ``limit + 1`` rows, and the cursor of what follows."""
    if len(rows) <= limit:
        return list(rows), None
    return list(rows[:limit]), encode(*key(rows[limit - 1]))
