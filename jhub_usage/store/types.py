"""Column types that mean the same on PostgreSQL and SQLite."""

from datetime import UTC, datetime

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

    # Whole processors instead of ``process_*``: an admission reads hundreds of instants.

    def bind_processor(self, dialect):
        make = to_micros if dialect.name == "sqlite" else require_utc
        return lambda value: None if value is None else make(value)

    def result_processor(self, dialect, coltype):
        make = from_micros if dialect.name == "sqlite" else _to_utc
        return lambda value: None if value is None else make(value)

    def process_literal_param(self, value, dialect):
        raise NotImplementedError("An instant is never written into SQL.")


def _to_utc(at: datetime) -> datetime:
    # the driver gives the server's zone; arithmetic within a zone is wrong across its changes
    return at if at.tzinfo is UTC else at.astimezone(UTC)


#: 64 bits on both; SQLite numbers rows by itself only for INTEGER.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: Micro-credits, microseconds, bytes: whole numbers of 64 bits.
Whole = sa.BigInteger
#: JSON as text that both can hold; never queried into.
Json = sa.JSON
