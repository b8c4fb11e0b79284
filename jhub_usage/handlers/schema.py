"""Checks JSON values against the schemas in the route table, with sentences for people.

Knows the part of JSON Schema that our table uses; the same schemas go into the OpenAPI document
unchanged, so what is documented is what is checked. Unknown fields are refused.
"""

import re
import uuid

from ..domain.errors import BadInput
from ..domain.instants import parse_instant

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
NAMES = {
    "object": "an object",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}
#: Control characters and the invisible ones that turn or hide text have no place in a name.
HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def obj(properties: dict, *, optional: tuple[str, ...] = (), **more) -> dict:
    """An object with exactly these fields, those named ``optional`` left out or not."""
    required = [name for name in properties if name not in optional]
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {}) | more


def text(description: str = "", *, least: int = 0, most: int = 255, **more) -> dict:
    """Text of limited length, without control characters."""
    schema = {"type": "string", "maxLength": most}
    if least:
        schema["minLength"] = least
    return schema | ({"description": description} if description else {}) | more


def whole(description: str = "", *, least: int | None = None, most: int | None = None) -> dict:
    """A whole number."""
    schema: dict = {"type": "integer"}
    if least is not None:
        schema["minimum"] = least
    if most is not None:
        schema["maximum"] = most
    return schema | ({"description": description} if description else {})


def flag(description: str = "") -> dict:
    return {"type": "boolean"} | ({"description": description} if description else {})


def one_of(*values: str, description: str = "") -> dict:
    schema = {"type": "string", "enum": list(values)}
    return schema | ({"description": description} if description else {})


def instant(description: str = "") -> dict:
    """An instant with its offset; naive times are refused."""
    schema = {"type": "string", "format": "date-time", "maxLength": 40}
    return schema | ({"description": description} if description else {})


def listed(items: dict, *, most: int = 1000) -> dict:
    return {"type": "array", "items": items, "maxItems": most}


def maybe(schema: dict) -> dict:
    """The same, or null."""
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    nullable = schema | {"type": [*kinds, "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def ref(name: str) -> dict:
    return {"$ref": f"#/components/schemas/{name}"}


def check(value, schema: dict, at: str = "") -> None:
    """Raise BadInput unless ``value`` fits. ``at`` is where it stands, for the message."""
    what = f"“{at}”" if at else "The body"
    kinds = schema.get("type")
    if kinds is not None:
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if not any(_is(value, kind) for kind in kinds):
            wanted = " or ".join(NAMES[kind] for kind in kinds)
            raise BadInput(f"{what} must be {wanted}.", field=at)
    if value is None:
        return
    if "enum" in schema and value not in schema["enum"]:
        known = ", ".join(str(v) for v in schema["enum"] if v is not None)
        raise BadInput(f"{what} must be one of {known}.", field=at)
    if isinstance(value, str):
        _check_text(value, schema, what, at)
    elif isinstance(value, bool):
        pass
    elif isinstance(value, int):
        if value < schema.get("minimum", value):
            raise BadInput(f"{what} must be at least {schema['minimum']}.", field=at)
        if value > schema.get("maximum", value):
            raise BadInput(f"{what} must be at most {schema['maximum']}.", field=at)
    elif isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            raise BadInput(f"{what} has more than {schema['maxItems']} items.", field=at)
        for number, item in enumerate(value, 1):
            check(item, schema["items"], f"{at}[{number}]" if at else f"item {number}")
    elif isinstance(value, dict):
        _check_fields(value, schema, at)


def _is(value, kind: str) -> bool:
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, TYPES[kind])


def _check_text(value: str, schema: dict, what: str, at: str) -> None:
    if len(value) > schema.get("maxLength", len(value)):
        raise BadInput(f"{what} is longer than {schema['maxLength']} characters.", field=at)
    if len(value.strip()) < schema.get("minLength", 0):
        raise BadInput(f"{what} must not be empty.", field=at)
    if HIDDEN.search(value):
        raise BadInput(f"{what} has characters that can not be seen.", field=at)
    if schema.get("format") == "date-time":
        parse_instant(value, what=at or "time")
    if schema.get("format") == "uuid":
        try:
            uuid.UUID(value)
        except ValueError:
            raise BadInput(f"{what} is not a session's number.", field=at) from None


def _check_fields(value: dict, schema: dict, at: str) -> None:
    properties = schema.get("properties", {})
    for name in value:
        if name not in properties and schema.get("additionalProperties") is False:
            known = ", ".join(properties) or "none"
            raise BadInput(f"There is no field “{str(name)[:60]}” here; the fields are {known}.")
    for name in schema.get("required", ()):
        if name not in value:
            raise BadInput(f"The field “{name}” is missing.", field=name)
    for name, inner in properties.items():
        if name in value:
            check(value[name], inner, f"{at}.{name}" if at else name)


def from_query(arguments: dict[str, str], schema: dict) -> dict:
    """Query arguments as the types that the schema names, then checked like a body."""
    values: dict = {}
    for name, given in arguments.items():
        kind = schema.get("properties", {}).get(name, {}).get("type")
        if kind == "integer":
            if not re.fullmatch(r"-?\d{1,18}", given):
                raise BadInput(f"“{name}” must be a whole number.", field=name)
            values[name] = int(given)
        elif kind == "boolean":
            if given not in ("true", "false", "1", "0"):
                raise BadInput(f"“{name}” must be true or false.", field=name)
            values[name] = given in ("true", "1")
        else:
            values[name] = given
    check(values, schema)
    return values
