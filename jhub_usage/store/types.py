"""Column types that mean the same on PostgreSQL and SQLite."""

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from ..domain.instants import from_micros, require_utc, to_micros


class Instant(TypeDecorator):
    """A UTC instant: ``timestamptz`` on PostgreSQL, microseconds since 1970 on SQLite.

    SQLite would store an aware value as wall time and forget its offset. A naive value is an
    error on both.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect):
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.BigInteger())
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value, dialect):
        if value is None:
            return None
        return to_micros(value) if dialect.name == "sqlite" else require_utc(value)

    def process_result_value(self, value, dialect):
        if value is None:
            return None
        return from_micros(value) if dialect.name == "sqlite" else require_utc(value)


#: 64 bits on both; SQLite numbers rows by itself only for INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: Micro-credits, microseconds, bytes: whole numbers of 64 bits.
Whole = sa.BigInteger
#: JSON as text that both can hold; never queried into.
Json = sa.JSON
