"""What every table shares: the prefix, the names of constraints, values out of a list."""

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, text

PREFIX = "jhub_usage_"
VERSION_TABLE = "jhub_usage_alembic_version"

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

OPEN_STATES = text("state IN ('admitted', 'running')")


def one_of(column: str, values) -> CheckConstraint:
    listed = ", ".join(f"'{v}'" for v in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)
