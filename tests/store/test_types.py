"""Instants and amounts come back from both databases as they went in (rules 1 and 2)."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from jhub_usage.domain.errors import BadInput
from jhub_usage.store.engine import Database, normal_url
from jhub_usage.store.types import Instant

TAIPEI = timezone(timedelta(hours=8))
table = sa.Table(
    "jhub_usage_test_types",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", Instant),
    sa.Column("amount", sa.BigInteger),
)


@pytest.fixture
def db(db_url):
    database = Database(db_url)
    table.metadata.create_all(database.engine)
    yield database
    database.dispose()


INSTANTS = [
    datetime(2026, 11, 20, 9, 30, 0, 123456, tzinfo=UTC),
    datetime(2026, 11, 20, 9, 30, tzinfo=TAIPEI),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2199, 1, 1, tzinfo=UTC),
    None,
]


@pytest.mark.parametrize("at", INSTANTS)
def test_an_instant_comes_back_as_utc(db, at):
    with db.write() as tx:
        tx.execute(table.insert().values(id=1, at=at))
    with db.read() as tx:
        found = tx.scalar(sa.select(table.c.at))
        assert found == at
        assert at is None or found.utcoffset() == timedelta(0)
        assert tx.scalar(sa.select(sa.func.count()).where(table.c.at == at)) == 1


def test_instants_sort_by_time_and_not_by_wall(db):
    early = datetime(2026, 11, 20, 9, tzinfo=TAIPEI)
    late = datetime(2026, 11, 20, 2, tzinfo=UTC)
    with db.write() as tx:
        tx.execute(table.insert(), [{"id": 1, "at": late}, {"id": 2, "at": early}])
    with db.read() as tx:
        assert list(tx.execute(sa.select(table.c.id).order_by(table.c.at)).scalars()) == [2, 1]


def test_a_naive_instant_changes_nothing(db):
    with pytest.raises((BadInput, sa.exc.StatementError), match="no time zone"), db.write() as tx:
        tx.execute(table.insert().values(id=1, at=datetime(2026, 11, 20)))
    with db.read() as tx:
        assert tx.scalar(sa.select(sa.func.count()).select_from(table)) == 0


@pytest.mark.parametrize("amount", [0, -1, 10**15, -(10**15), 2**62])
def test_amounts_stay_whole(db, amount):
    with db.write() as tx:
        tx.execute(table.insert().values(id=1, amount=amount))
        tx.execute(table.update().values(amount=table.c.amount + 1))
    with db.read() as tx:
        found = tx.scalar(sa.select(table.c.amount))
        assert found == amount + 1 and isinstance(found, int)


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "postgresql+asyncpg://x/y",
     "sqlite+aiosqlite:///x"],
)  # fmt: skip
def test_databases_that_can_not_be(url):
    with pytest.raises(BadInput):
        normal_url(url)


def test_the_usual_names_of_postgresql():
    assert normal_url("postgresql://h/d").drivername == "postgresql+psycopg"
    assert normal_url("postgres://h/d").drivername == "postgresql+psycopg"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="folder"):
        Database(f"sqlite:///{tmp_path / 'no' / 'such' / 'x.sqlite'}")
