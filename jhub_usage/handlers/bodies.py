"""What clients send, as values that fit the table; and what we answer, as JSON.

Limitations: whole bodies of at most a megabyte; no files, no forms.
"""

import json
import re
from datetime import datetime

from ..domain.errors import BadInput
from ..domain.instants import iso
from . import schema

BODY_BYTES = 1_000_000
MOST_DEPTH = 32


def read_query(request_handler, known: dict | None) -> dict:
    """The query's arguments, each once, as what the schema says."""
    given = {}
    for name in request_handler.request.query_arguments:
        if name == "_xsrf":
            continue
        values = request_handler.get_query_arguments(name, strip=False)
        if len(values) > 1:
            raise BadInput(f"“{name[:60]}” is given twice.")
        given[name] = values[0]
    return schema.from_query(given, known or schema.obj({}))


def read_body(raw: bytes, known: dict | None) -> dict:
    """A JSON body that fits the schema, or BadInput."""
    if not raw and known is None:
        return {}
    if len(raw) > BODY_BYTES:
        raise BadInput("This body is too large.")
    if depth_of(raw) > MOST_DEPTH:
        raise BadInput("This body is nested too deeply.")
    try:
        body = json.loads(raw, parse_float=_no_float, parse_constant=_no_float)
    except ValueError:
        raise BadInput("The body is not JSON.") from None
    schema.check(body, known or schema.obj({}))
    return body


_STRING, _BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"'), re.compile(rb"[\[\]{}]")


def depth_of(raw: bytes) -> int:
    """How deeply JSON is nested; the parser would recurse as deep, on the process's own stack."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def to_json(data) -> str:
    """JSON with instants in UTC."""
    return json.dumps(data, default=_instant)


def _instant(value):
    return iso(value) if isinstance(value, datetime) else str(value)


def _no_float(text: str):
    # A float never holds an amount: 0.1 + 0.2 has no exact answer. Text carries the digits.
    raise BadInput(f'{text[:40]} is not exact here: write amounts as text, like "{text[:40]}".')
