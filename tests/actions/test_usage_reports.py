"""Usage within a window, from the database: one instant, names, months to choose from."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from unittest import mock

import pytest

from jhub_usage.actions import usage_reports as reports
from jhub_usage.actions import views, wallets
from jhub_usage.domain.errors import BadInput
from jhub_usage.domain.usage import NodeCores
from jhub_usage.store import usage as rows

from .world import CPU, POLICY, T0

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def asked(tx, *, by=(), window=NOVEMBER, **more):
    return reports.usage(tx, *window, policy=POLICY, by=by, **more)


@pytest.fixture
def ran(world):
    """Ada ran two hours and runs for one; bob ran one hour without GPUs, on a node."""
    world.wallet("lab", 100, pays_for="*")
    first = world.run("ada", "a")
    world.wait(minutes=60)
    second = world.run("bob", "b", shape=CPU, profile="cpu")
    world.tell(second, "seen", node="n1")
    world.wait(minutes=60)
    world.end(first)
    world.end(second)
    world.run("ada", "c")
    world.wait(minutes=60)
    return world


def test_sums_by_person_and_profile(ran):
    found = ran.look(asked, by=("person", "profile"), node_cores=NodeCores({"n1": 8}))
    table = {(r["person"], r["profile"]): s for r, s in (
        (found.shown(r), r.sum) for r in found.rows)}  # fmt: skip
    hour = 3_600_000_000
    assert table[("ada", "gpu")].used.values() == (
        2, 3 * hour, 3000 * hour, 12000 * hour, 3 * 16 * 1024 * hour, 12_000_000
    )  # fmt: skip
    assert table[("bob", "cpu")].used.values() == (
        1, hour, 0, 2000 * hour, 4 * 1024 * hour, 0
    )  # fmt: skip
    assert table[("bob", "cpu")].total_node_us == 250 * hour
    assert found.total.used.starts == 3
    assert found.at == T0 + timedelta(hours=3)


def test_as_a_table(ran):
    heads, lines = ran.look(asked, by=("month", "wallet")).table("USD")
    assert heads == ["month", "wallet", "starts", "hours", "gpu_hours", "core_hours",
                     "memory_gib_hours", "total_core_hours", "total_node_hours", "cost",
                     "currency"]  # fmt: skip
    assert lines == [["2026-11", "lab", 3, Decimal(4), Decimal(3), Decimal(14), Decimal(52),
                      Decimal(12), None, Decimal("12.000000"), "USD"]]  # fmt: skip


def ends_meanwhile(ran):
    """The server that runs ends between the reading of sums and that of what runs."""
    (running,) = ran.look(views.session_views, open_only=True)
    real = rows.open_rows

    def meanwhile(tx, *args):
        ran.end(running.id)
        return real(tx, *args)

    return mock.patch.object(rows, "open_rows", meanwhile)


def test_a_reader_sees_one_instant(ran):
    """A server ends between the reading of sums and that of what runs: it counts once."""
    before = ran.look(asked).total
    with ends_meanwhile(ran):
        assert ran.look(asked).total == before
    assert ran.look(asked).total == before


@pytest.mark.parametrize("ready_url", ["postgres"], indirect=True)
def test_that_instant_is_needed(ran):
    """Where each statement saw its own, that server would be lost. SQLite has no such reads."""
    before = ran.look(asked).total
    with ends_meanwhile(ran), ran.db.write() as tx:
        assert asked(tx).total != before


def test_filters(ran):
    def starts(**only):
        return ran.look(asked, only=reports.Only(**only)).total.used.starts

    ada = ran.look(views.session_views, open_only=True)[0].person_id
    assert (starts(person_id=ada), starts(person_id=0)) == (2, 0)
    assert (starts(profile="cpu"), starts(gpu_model="A100"), starts(gpu_model="")) == (1, 2, 1)
    assert (starts(node="n1"), starts(node="")) == (1, 2)
    assert (starts(wallet_id=1), starts(wallet_id=0), starts(hub_id="other")) == (3, 0, 0)


def test_what_no_wallet_pays_for(observing):
    """It has the number 0, among what has ended and among what runs."""
    observing.end(observing.run("ada", "a"))
    observing.run("ada", "b")
    observing.wait(minutes=5)
    found = observing.look(asked, by=("wallet",))
    assert [found.shown(r) for r in found.rows] == [{"wallet": None, "wallet_id": None}]
    only = observing.look(asked, only=reports.Only(wallet_id=0)).total
    assert only == found.total and only.used.starts == 2
    assert observing.look(asked, only=reports.Only(wallet_id=1)).rows == ()


def test_renamed_wallets_keep_their_rows(ran):
    ran.act(wallets.change, 1, title="New title")
    found = ran.look(asked, by=("wallet",))
    assert [(found.shown(r)["wallet"], found.shown(r)["wallet_id"]) for r in found.rows] == [
        ("lab", 1)
    ]


def test_too_many_rows_are_refused(ran):
    assert len(ran.look(asked, by=("day", "person"), most=2).rows) == 2
    with pytest.raises(BadInput, match="more than 1 rows"):
        ran.look(asked, by=("day", "person"), most=1)


def test_the_usual_window_is_whole_days(ran):
    begin, end = ran.look(reports.usual_window, policy=POLICY)
    assert (begin, end) == (datetime(2026, 10, 22, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC))
    found = ran.look(asked, window=(begin, end))
    assert len(ran.look(reports.days, found, policy=POLICY)) == 30


def test_months_to_choose_from(ran):
    assert ran.look(reports.months, policy=POLICY) == ["2026-11"]
    ran.wait(minutes=70 * 1440)
    assert ran.look(reports.months, policy=POLICY) == ["2027-01", "2026-12", "2026-11"]
    bob = reports.Only(profile="cpu")
    assert ran.look(reports.months, policy=POLICY, only=bob)[-1] == "2026-11"
    assert ran.look(reports.months, policy=POLICY, only=reports.Only(profile="x")) == ["2027-01"]
    with pytest.raises(BadInput, match="is not a month"):
        ran.look(reports.month_window, "2026-13", policy=POLICY)
    for absurd in ("1999-12", "9999-12", "0001-01"):
        with pytest.raises(BadInput, match="between 2000 and 2200"):
            ran.look(reports.month_window, absurd, policy=POLICY)
        with pytest.raises(BadInput, match="between 2000 and 2200"):
            ran.look(reports.instant_of, f"{absurd}-01", policy=POLICY)
