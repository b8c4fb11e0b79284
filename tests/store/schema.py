"""What a database really holds, read back from it, in a form that can be compared."""

import re

import sqlalchemy as sa

from jhub_usage.store.tables import PREFIX, VERSION_TABLE


def described(engine: sa.Engine) -> dict:
    """Tables with columns, keys, indexes and CHECKs by name, as the database says."""
    inspector = sa.inspect(engine)
    found = {}
    for table in inspector.get_table_names():
        if not table.startswith(PREFIX) or table == VERSION_TABLE:
            continue
        found[table] = {
            "columns": {
                c["name"]: (_type(c["type"], engine.dialect), c["nullable"], _default(c["default"]))
                for c in inspector.get_columns(table)
            },
            "primary": inspector.get_pk_constraint(table)["constrained_columns"],
            "foreign": sorted(
                (*k["constrained_columns"], k["referred_table"], *k["referred_columns"])
                for k in inspector.get_foreign_keys(table)
            ),
            "unique": sorted(
                (u["name"], *u["column_names"]) for u in inspector.get_unique_constraints(table)
            ),
            "indexes": sorted(
                (i["name"], bool(i["unique"]), *map(str, i["column_names"]), _where(i))
                for i in inspector.get_indexes(table)
            ),
            "checks": {
                c["name"]: _squeeze(c["sqltext"]) for c in inspector.get_check_constraints(table)
            },
        }
    return found


def _type(kind, dialect) -> str:
    return kind.compile(dialect=dialect)


def _default(text) -> str:
    return re.sub(r"::[\w ]+|[()]", "", str(text)) if text is not None else ""


def _where(index) -> str:
    for key, value in (index.get("dialect_options") or {}).items():
        if key.endswith("_where"):
            return _squeeze(str(value))
    return ""


def _squeeze(text: str) -> str:
    """A condition without the ways in which a database spells it anew."""
    return re.sub(r"::[\w ]+(\[\])?|[\s()]", "", text)
