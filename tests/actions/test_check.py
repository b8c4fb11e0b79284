"""Every invariant holds over a ledger made by real use, and each is seen to break."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from jhub_usage.actions.check import check
from jhub_usage.domain.invariants import INVARIANTS, failed
from jhub_usage.store import triggers
from jhub_usage.store.engine import Database, Tx

from .story import healthy, session_id

ONE, TWO, FOUR, FIVE, EIGHT, TEN = (f"'{session_id(n)}'" for n in (1, 2, 4, 5, 8, 10))
S, E, A, W, U, R, Q = (
    f"jhub_usage_{x}"
    for x in ("sessions", "entries", "admissions", "wallets", "use_days", "rollup_days",
              "credit_requests")
)  # fmt: skip
FIRST = f"(SELECT min(id) FROM {E} WHERE session_id = {ONE} AND kind = 'charge')"
LAST = f"(SELECT max(id) FROM {E} WHERE session_id = {ONE} AND kind = 'charge')"
GRANT = f"(SELECT min(id) FROM {E} WHERE kind = 'grant')"
TURN = f"(SELECT max(id) FROM {E} WHERE key LIKE 'allowance:%')"
METERED = f"(SELECT min(id) FROM {E} WHERE key LIKE 'charge:metered:%')"
REBOOKED = f"kind = 'correction' AND session_id = {TEN}"
USAGE = {"usage.counters", "usage.rollups"}
HELD = {"months.held"}  # October, which the story closes
IN = f"(SELECT min(id) FROM {E} WHERE key LIKE 'transfer-in:%')"
NO_KEY = {
    "sqlite": f"CREATE TABLE copy AS SELECT * FROM {E}; DROP TABLE {E}; "
    f"ALTER TABLE copy RENAME TO {E}",
    "postgresql": f"ALTER TABLE {E} DROP CONSTRAINT uq_{E}_key",
}

#: (what is done behind our back, the invariants that must then be broken, exactly these)
BREAKS = {
    "balance": (f"UPDATE {W} SET balance_micro = balance_micro + 1 WHERE name = 'lab'",
                {"wallets.balance"}),
    "entry removed": (f"DELETE FROM {E} WHERE id = {GRANT}", {"wallets.balance"} | HELD),
    "amount of a grant": (f"UPDATE {E} SET amount_micro = amount_micro + 1 WHERE id = {GRANT}",
                          {"wallets.balance"} | HELD),
    "negative grant": (f"UPDATE {E} SET amount_micro = -amount_micro WHERE id = {GRANT}",
                       {"wallets.balance", "entries.amounts"} | HELD),
    "absurd amount": (f"UPDATE {E} SET amount_micro = 4000000000000000 WHERE id = {GRANT}",
                      {"wallets.balance", "entries.amounts"} | HELD),
    "charged": (f"UPDATE {S} SET charged_micro = charged_micro - 1 WHERE id = {ONE}",
                {"sessions.charged"}),
    "charge lost": (f"UPDATE {E} SET session_id = NULL, kind = 'correction', "
                    f"key = 'correction:x', corrects_id = {GRANT} WHERE id = {LAST}; "
                    f"UPDATE {E} SET corrects_id = {GRANT} WHERE corrects_id = {LAST}",
                    {"sessions.charged", "sessions.slices", "sessions.total"}),
    "slice of another length": (f"UPDATE {E} SET slice_end = slice_end - 60 * {{second}} "
                                f"WHERE id = {FIRST}", {"sessions.slices"}),
    "slices overlap": (f"UPDATE {E} SET slice_end = slice_end + 60 * {{second}} "
                       f"WHERE id = {FIRST}", {"sessions.slices"}),
    "slice key": (f"UPDATE {E} SET key = 'charge:elsewhere:1' WHERE id = {FIRST}",
                  {"entries.keys"}),
    "charge of another wallet": (f"UPDATE {E} SET wallet_id = (SELECT id FROM {W} WHERE "
                                 f"name = 'poor') WHERE id = {FIRST}",
                                 {"sessions.slices", "wallets.balance", "entries.refunds"}),
    "settled too far": (f"UPDATE {S} SET settled_until = settled_until + 60 * {{second}} "
                        f"WHERE id = {EIGHT}", {"sessions.slices"}),
    "ended and not settled": (f"UPDATE {S} SET billed_until_at = billed_until_at + 60 * {{second}} "
                              f"WHERE id = {ONE}", {"sessions.total"} | USAGE),
    "price changed": (f"UPDATE {S} SET per_hour_micro = per_hour_micro + 1000 WHERE id = {TWO}",
                      {"sessions.quote", "sessions.slices", "sessions.total"} | USAGE),
    "fee changed": (f"UPDATE {S} SET fee_micro = fee_micro + 1 WHERE id = {TWO}",
                    {"sessions.quote", "sessions.slices", "sessions.total"} | USAGE),
    "void but charged": (f"UPDATE {S} SET state = 'void', started_at = NULL, "
                         f"started_evidence = NULL WHERE id = {ONE}",
                         {"sessions.unbilled", "sessions.billed_from"} | USAGE),
    "exempt but charged": (f"UPDATE {S} SET billed = false WHERE id = {ONE}",
                           {"sessions.unbilled"} | USAGE),
    "billed by nobody": (f"UPDATE {S} SET billed = true, wallet_id = NULL WHERE id = {FIVE}",
                         {"sessions.unbilled", "sessions.total"} | USAGE),
    "refund too large": (f"UPDATE {E} SET amount_micro = 800000000 WHERE kind = 'refund' "
                         f"AND corrects_id = {FIRST}", {"entries.refunds", "wallets.balance"}),
    "refund of nothing": (f"UPDATE {E} SET corrects_id = NULL WHERE kind = 'refund'",
                          {"entries.refunds"}),
    "transfer of one side": (f"DELETE FROM {E} WHERE id = {IN}",
                             {"entries.transfers", "wallets.balance"} | HELD),
    "transfer sides differ": (f"UPDATE {E} SET amount_micro = amount_micro + 1 WHERE id = {IN}",
                              {"entries.transfers", "wallets.balance"} | HELD),
    "transfer to itself": (f"UPDATE {E} SET counter_wallet_id = wallet_id WHERE id = {IN}",
                           {"entries.transfers"}),
    "key of another kind": (f"UPDATE {E} SET key = 'refund:1' WHERE id = {GRANT}",
                            {"entries.keys"}),
    "two of one key": (f"{{no_key}}; INSERT INTO {E} (id, wallet_id, kind, amount_micro, "
                       "key, effective_at, posted_at, period, goodwill, actor_kind) "
                       "SELECT 999, wallet_id, kind, "
                       "amount_micro, key, effective_at, posted_at, period, goodwill, actor_kind "
                       f"FROM {E} WHERE id = {GRANT}", {"entries.keys", "wallets.balance"} | HELD),
    "left of an allowance": (f"UPDATE {W} SET allowance_left_micro = allowance_left_micro + 1 "
                             "WHERE name = 'team'", {"wallets.allowance"}),
    "an allowance that stays": (f"UPDATE {E} SET key = 'grant:mine' WHERE id = {TURN}",
                                {"wallets.allowance"}),
    "allowance turned lower": (f"UPDATE {E} SET amount_micro = amount_micro - 1 "
                               f"WHERE id = {TURN}", {"wallets.allowance", "wallets.balance"}),
    "rebooked wrongly": (f"UPDATE {E} SET amount_micro = amount_micro + 1 WHERE {REBOOKED}",
                         {"wallets.balance", "sessions.charged", "sessions.total"} | HELD),
    "rebooking lost": (f"DELETE FROM {E} WHERE {REBOOKED}",
                       {"wallets.balance", "sessions.charged"} | HELD),
    "rebooked to another end": (f"UPDATE {S} SET billed_until_at = billed_until_at + {{second}}, "
                                f"settled_until = settled_until + {{second}} WHERE id = {TEN}",
                                {"sessions.total"} | USAGE),
    "rebooked and not settled": (f"UPDATE {S} SET settled_until = settled_until + {{second}} "
                                 f"WHERE id = {TEN}", {"sessions.total"}),
    "counter": (f"UPDATE {U} SET gpu_us = gpu_us + 1 WHERE group_name = 'physics' AND "
                "person_id = 1", {"usage.counters"}),
    "counters lost": (f"DELETE FROM {U} WHERE person_id = 2", {"usage.counters"}),
    "counter of nobody": (f"INSERT INTO {U} VALUES ('2026-10-30', 1, 999, '', 0, 1, 0)",
                          {"usage.counters"}),
    "group forgotten": ("DELETE FROM jhub_usage_session_groups", {"usage.counters"}),
    "rollup": (f"UPDATE {R} SET memory_us = memory_us + 1 WHERE person_id = 1",
               {"usage.rollups"}),
    "rollup of another node": (f"UPDATE {R} SET node = 'n7' WHERE person_id = 2",
                               {"usage.rollups"}),
    "rollups lost": (f"DELETE FROM {R}", {"usage.rollups"}),
    "session moved": (f"UPDATE {S} SET node = 'n7' WHERE id = {TWO}", {"usage.rollups"}),
    "metered total": ("UPDATE jhub_usage_metered SET exact_pico = exact_pico + 1000000",
                      {"metered"}),
    "metered and not noted": ("UPDATE jhub_usage_metered SET charged_micro = 1", {"metered"}),
    "metered and forgotten": ("DELETE FROM jhub_usage_metered", {"metered"}),
    "charge of what was metered lost": (f"DELETE FROM {E} WHERE id = {METERED}",
                                        {"metered", "wallets.balance"}),
    "charge of something else metered": (f"UPDATE {E} SET key = 'charge:metered:1:disk:2026-11:1' "
                                         f"WHERE id = {METERED}", {"metered"}),
    "charge metered by nobody": (f"UPDATE {E} SET key = 'charge:metered:x' WHERE id = {METERED}",
                                 {"metered"}),
    "granted more than was booked": (f"UPDATE {Q} SET granted_micro = 1000001 "
                                     "WHERE state = 'granted'", {"requests"}),
    "granted more than was asked": (f"UPDATE {Q} SET amount_micro = 999999 "
                                    "WHERE state = 'granted'", {"requests"}),
    "granted without an entry": (f"UPDATE {Q} SET entry_id = NULL "
                                 "WHERE state = 'granted'", {"requests"}),
    "granted by another entry": (f"UPDATE {Q} SET entry_id = {GRANT} "
                                 "WHERE state = 'granted'", {"requests"}),
    "granted to another wallet": (f"UPDATE {Q} SET wallet_id = 2 "
                                  "WHERE state = 'granted'", {"requests"}),
    "open with an entry": (f"UPDATE {Q} SET entry_id = {GRANT} "
                           "WHERE state = 'open'", {"requests"}),
    "booked after the closing": (f"UPDATE {E} SET posted_at = posted_at + 4000000 * {{second}} "
                                 f"WHERE id = {FIRST}", {"months.closed"}),
    "moved into a closed month": (f"UPDATE {E} SET period = '2026-10' WHERE id = {LAST}",
                                  {"months.held"}),
    "an act of closing lost": ("DELETE FROM jhub_usage_month_names; "
                               "DELETE FROM jhub_usage_months", {"months.closed"}),
    "opened again": ("UPDATE jhub_usage_books SET closed_through = ''", {"months.closed"}),
    "month before": (f"UPDATE {E} SET period = '2026-09' WHERE id = {GRANT}",
                     {"entries.period"} | HELD),
    "month to come": (f"UPDATE {E} SET period = '2027-01' WHERE id = {GRANT}",
                      {"entries.period"} | HELD),
    "no admission": (f"DELETE FROM {A} WHERE session_id = {ONE}", {"sessions.admission"}),
    "refused but ran": (f"UPDATE {A} SET decision = 'refused' WHERE session_id = {ONE}",
                        {"sessions.admission"}),
    "voided but ran": (f"UPDATE {A} SET voided_at = decided_at WHERE session_id = {ONE}",
                       {"sessions.admission"}),
    "admitted without session": (f"UPDATE {A} SET decision = 'admitted' WHERE session_id = {FOUR}",
                                 {"admissions.session"}),
    "end before start": (f"UPDATE {S} SET ended_at = started_at - {{second}} WHERE id = {FIVE}",
                         {"sessions.boundaries"}),
    "running and over": (f"UPDATE {S} SET state = 'running' WHERE id = {FIVE}",
                         {"sessions.boundaries"} | USAGE),
    "boundary without evidence": (f"UPDATE {S} SET ready_evidence = NULL WHERE id = {TWO}",
                                  {"sessions.boundaries"}),
    "billed from elsewhere": (f"UPDATE {S} SET billed_from = 'container' WHERE id = {TWO}",
                              {"sessions.billed_from"}),
    "billed and never ready": (f"UPDATE {S} SET ready_at = NULL, ready_evidence = NULL "
                               f"WHERE id = {TWO}", {"sessions.billed_from"}),
    "GPU count": (f"UPDATE {S} SET gpu_count = 3 WHERE id = {ONE}", {"sessions.shape"}),
    "GPU weight": (f"UPDATE {S} SET gpu_milli = 1 WHERE id = {ONE}",
                   {"sessions.shape"} | USAGE),
    "quote lines": (f"UPDATE {S} SET quote_lines = '[]' WHERE id = {TWO}", {"sessions.quote"}),
    "two people of a name": ("DROP INDEX uq_jhub_usage_people_current_name; "
                             "UPDATE jhub_usage_people SET name = 'ada'", {"people.names"}),
    "member without wallet": ("INSERT INTO jhub_usage_wallet_members VALUES (999, 1, 'spender')",
                              {"references"}),
    "group without wallet": ("INSERT INTO jhub_usage_wallet_groups VALUES (999, 'g')",
                             {"references"}),
    "rule without wallet": ("UPDATE jhub_usage_rules SET wallet_id = 999 WHERE person = 'eve'",
                            {"references"}),
    "rule of no target": ("UPDATE jhub_usage_rules SET wallet_id = NULL WHERE person = 'eve'",
                          {"catalog"}),
    "negative limit": ("UPDATE jhub_usage_limits SET amount = -1", {"catalog"}),
    "rate of nothing": ("UPDATE jhub_usage_rates SET resource = 'tpu' WHERE resource = 'cpu'",
                        {"catalog"}),
    "gate gone": ("DELETE FROM jhub_usage_gate", {"gate"}),
    "older schema": ("DELETE FROM jhub_usage_alembic_version", {"schema"}),
}  # fmt: skip


def behind_our_back(path: Path, statements: str) -> None:
    """Run statements without triggers, foreign keys and CHECKs, and put the triggers back."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("PRAGMA ignore_check_constraints = ON")
    for name in triggers.SQLITE:
        conn.execute(f"DROP TRIGGER {name}")
    for statement in statements.split("; "):
        conn.execute(statement)
    for ddl in triggers.SQLITE.values():
        conn.execute(ddl)
    conn.close()


def test_all_hold_over_real_use(db_url):
    story = healthy(db_url)
    with story.db.read() as tx:
        found = check(tx)
    assert [(c.name, c.violations) for c in failed(found)] == []
    assert [c.name for c in found] == list(INVARIANTS)
    compared = {c.name: c.compared for c in found}
    assert all(compared.values()), compared
    assert compared["sessions.slices"] == 9
    assert compared["admissions.session"] == 8
    lapsed = found[-1]
    assert lapsed.ok and lapsed.notes == (f"session {session_id(6)}",)
    # pages of any size see the same
    with story.db.read() as tx:
        assert check(tx, page=2) == found
    story.db.dispose()


@pytest.fixture(scope="module")
def sqlite_story(tmp_path_factory):
    path = tmp_path_factory.mktemp("check") / "healthy.sqlite"
    story = healthy(f"sqlite:///{path}")
    with story.db.engine.connect() as conn:
        conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    story.db.dispose()
    return path, story


def broken(story, url):
    db = Database(url, clock=lambda: story.now)
    with db.read() as tx:
        found = failed(check(tx))
    db.dispose()
    return found


def filled(statements: str, dialect: str) -> str:
    second = {"sqlite": "1000000", "postgresql": "interval '1 second'"}[dialect]
    return statements.format(second=second, no_key=NO_KEY[dialect])


@pytest.mark.parametrize("name", BREAKS)
def test_each_breach_is_seen(name, sqlite_story, tmp_path):
    path, story = sqlite_story
    copy = tmp_path / "broken.sqlite"
    copy.write_bytes(Path(path).read_bytes())
    statements, expected = BREAKS[name]
    behind_our_back(copy, filled(statements, "sqlite"))
    found = broken(story, f"sqlite:///{copy}")
    assert {c.name for c in found} == expected, found
    assert all(c.violations for c in found)


def test_each_breach_is_seen_on_postgres(pg_url):
    """The same, each in a transaction that is taken back."""
    story = healthy(pg_url)
    with story.db.engine.connect() as conn:
        for name, (statements, expected) in BREAKS.items():
            with conn.begin() as transaction:
                # no triggers and no foreign keys; the CHECKs go by hand
                conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
                checks = conn.exec_driver_sql(
                    "SELECT conrelid::regclass::text, conname FROM pg_constraint "
                    "WHERE contype = 'c' AND conname LIKE 'ck_jhub_usage_%%'"
                )
                for table, constraint in checks.all():
                    conn.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
                for statement in filled(statements, "postgresql").split("; "):
                    conn.execute(sa.text(statement))
                found = failed(check(Tx(conn, lambda: story.now)))
                assert {c.name for c in found} == expected, (name, found)
                transaction.rollback()
    story.db.dispose()


def test_lost_triggers_are_seen(db_url):
    story = healthy(db_url)
    with story.db.write() as tx:
        if tx.postgres:
            tx.conn.exec_driver_sql(f"ALTER TABLE {E} DISABLE TRIGGER jhub_usage_entries_no_change")
        else:
            tx.conn.exec_driver_sql("DROP TRIGGER jhub_usage_entries_no_update")
    assert [c.name for c in broken(story, db_url)] == ["triggers"]
    story.db.dispose()


def test_every_invariant_has_a_test_that_breaks_it():
    covered = set().union(*(expected for _, expected in BREAKS.values())) | {"triggers"}
    assert set(INVARIANTS) - covered == {"sessions.lapsed"}


def test_violations_are_named_and_the_rest_counted(sqlite_story, tmp_path):
    path, story = sqlite_story
    copy = tmp_path / "broken.sqlite"
    copy.write_bytes(Path(path).read_bytes())
    rows = ", ".join(f"({n}, 1, 'spender')" for n in range(900, 930))
    behind_our_back(copy, f"INSERT INTO jhub_usage_wallet_members VALUES {rows}")
    (found,) = broken(story, f"sqlite:///{copy}")
    assert (len(found.violations), found.more) == (20, 1)  # a scan of references stops early
