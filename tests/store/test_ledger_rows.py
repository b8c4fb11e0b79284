"""The database itself refuses to change or delete an entry (rule 25)."""

import pytest
import sqlalchemy as sa

from jhub_usage.actions import hubs, wallets
from jhub_usage.domain.admission import Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.store.engine import Database

POLICY = Policy()


@pytest.fixture
def db(db_url):
    database = Database(db_url)
    database.upgrade()
    with database.write() as tx:
        hubs.install(tx, "hub", actor=SYSTEM)
        lab = wallets.create(tx, "lab", actor=SYSTEM)
        wallets.grant(tx, lab, 5_000_000, policy=POLICY, actor=SYSTEM, key="k")
    yield database
    database.dispose()


FORBIDDEN = [
    "UPDATE jhub_usage_entries SET amount_micro = 0",
    "UPDATE jhub_usage_entries SET note_id = NULL WHERE id = 1",
    "DELETE FROM jhub_usage_entries",
    "DELETE FROM jhub_usage_entries WHERE id = 1",
]
#: Without CASCADE a table that names entries is in the way even sooner.
ONLY_POSTGRES = ["TRUNCATE jhub_usage_entries", "TRUNCATE jhub_usage_entries CASCADE"]
ONLY_SQLITE = [
    "INSERT OR REPLACE INTO jhub_usage_entries SELECT id, wallet_id, kind, 9, key, effective_at, "
    "posted_at, period, session_id, slice_start, slice_end, corrects_id, goodwill, "
    "counter_wallet_id, actor_kind, actor_id, note_id, elapsed_us FROM jhub_usage_entries",
    "UPDATE OR REPLACE jhub_usage_entries SET amount_micro = 9",
]


@pytest.mark.parametrize("statement", FORBIDDEN + ONLY_POSTGRES + ONLY_SQLITE)
def test_nothing_changes_an_entry(db, statement):
    if statement in (ONLY_POSTGRES if db.sqlite else ONLY_SQLITE):
        return  # not a statement of this database
    why = "foreign key" if statement == ONLY_POSTGRES[0] else "immutable"
    with pytest.raises(sa.exc.DBAPIError, match=why), db.write() as tx:
        tx.conn.exec_driver_sql(statement)
    with db.read() as tx:
        assert tx.conn.exec_driver_sql("SELECT amount_micro FROM jhub_usage_entries").all() == [
            (5_000_000,)
        ]


def test_it_is_the_same_for_a_superuser_in_a_transaction_of_their_own(db):
    with pytest.raises(sa.exc.DBAPIError, match="immutable"), db.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE jhub_usage_entries SET amount_micro = amount_micro")


def test_a_trigger_that_was_switched_off_is_missed(db):
    from jhub_usage.store import triggers

    with db.engine.begin() as conn:
        assert triggers.missing(conn) == []
        if db.sqlite:
            conn.exec_driver_sql("DROP TRIGGER jhub_usage_entries_no_delete")
            assert triggers.missing(conn) == ["jhub_usage_entries_no_delete"]
        else:
            conn.exec_driver_sql(
                "ALTER TABLE jhub_usage_entries DISABLE TRIGGER jhub_usage_entries_no_truncate"
            )
            assert triggers.missing(conn) == ["jhub_usage_entries_no_truncate"]


def test_balances_have_no_floor(db):
    """A charge is a fact (rule 18)."""
    with db.write() as tx:
        tx.conn.exec_driver_sql("UPDATE jhub_usage_wallets SET balance_micro = -1")
