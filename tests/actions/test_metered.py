"""Charging what is metered elsewhere: exactly, once, in its month (rule 31)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from jhub_usage.actions import allowances, check, metered, modes, months, privacy, views, wallets
from jhub_usage.domain.admission import Policy
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.audit import Actor
from jhub_usage.domain.errors import BadInput, KeyReused, NotFound
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.privacy import Keep
from jhub_usage.store import tables as t

from .world import POLICY, T0

#: Four tenths of a micro-credit.
PRICE = "0.0000004"
MONTH_END = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)


class Meter:
    """A wallet that something is metered for."""

    def __init__(self, world):
        self.world, self.lab, self.number = world, world.wallet("lab", 10), 0

    def tell(self, quantity=1, price=PRICE, *, key=None, resource="tokens", policy=POLICY, **more):
        self.number += 1
        return self.world.act(
            metered.meter, more.pop("wallet_id", self.lab), resource, quantity, price,
            key=key or f"event {self.number}", policy=policy, **more,
        )  # fmt: skip

    def charges(self) -> list:
        found = self.world.entries(wallet_id=self.lab)
        return [e for e in found if e["kind"] == "charge"][::-1]

    def spent(self) -> int:
        return 10 * 10**6 - self.world.balance(self.lab)

    def listed(self) -> list:
        return self.world.look(metered.listed, self.lab)


@pytest.fixture
def meter(world):
    made = Meter(world)
    yield made
    assert failed(world.look(check.check)) == []


def test_events_are_charged_as_a_whole(meter):
    charged = [meter.tell()["charged_micro"] for _ in range(10)]
    assert charged == [0, 0, 1, 0, 1, 0, 0, 1, 0, 1]
    assert meter.spent() == 4
    assert [e["key"].rsplit(":", 1)[-1] for e in meter.charges()] == ["1", "2", "3", "4"]
    assert meter.tell(999_990)["charged_micro"] == 399_996
    assert meter.spent() == 400_000
    assert meter.listed() == [
        {"resource": "tokens", "period": "2026-11", "month_charged_micro": 400_000,
         "month_exact": "0.4"}
    ]  # fmt: skip


def test_the_answer_says_what_came_of_it(meter):
    nothing = meter.tell(Decimal("1.0"))
    assert nothing == {
        "resource": "tokens", "period": "2026-11", "billed": True, "charged_micro": 0,
        "entry_id": None, "month_charged_micro": 0, "month_exact": "0.0000004",
    }  # fmt: skip
    some = meter.tell("2.5")
    (entry,) = meter.charges()
    assert (some["charged_micro"], some["entry_id"]) == (1, entry["id"])
    assert (entry["amount_micro"], entry["session_id"], entry["period"]) == (-1, None, "2026-11")
    assert entry["note"] == "metered: tokens"
    rows = meter.world.look(views.audit_rows)
    told = [r for r in rows if r["action"] == "wallet.metered"]
    assert [r["after"]["quantity"] for r in told] == ["2.5", "1"]


def test_an_event_told_again_changes_nothing(meter):
    """Also one that charges nothing yet: it would count towards the next."""
    first = meter.tell(key="a")
    assert first["charged_micro"] == 0
    for _ in range(3):
        assert meter.tell("1.00", "0.00000040", key="a") == first
    assert meter.listed()[0]["month_exact"] == "0.0000004"
    charged = meter.tell(5, key="b")
    assert charged["charged_micro"] == 2
    assert meter.tell(5, key="b") == charged
    assert meter.spent() == 2
    for other in ({"quantity": 6}, {"price": "1"}, {"resource": "disk"}, {"at": T0}):
        with pytest.raises(KeyReused):
            meter.tell(**{"quantity": 5, "key": "b"} | other)
    assert meter.spent() == 2


def test_keys_belong_to_who_tells(meter):
    def tell(name):
        with meter.world.db.write() as tx:
            return metered.meter(tx, meter.lab, "tokens", 5, PRICE, key="a", policy=POLICY,
                                 actor=Actor("service", name))  # fmt: skip

    assert tell("s3")["charged_micro"] == tell("llm")["charged_micro"] == 2
    assert tell("s3")["charged_micro"] == 2
    assert meter.spent() == 4


def test_resources_and_wallets_round_apart(meter):
    other = meter.world.wallet("other", 1)
    for resource in ("a", "b"):
        for wallet_id in (meter.lab, other):
            assert meter.tell(2, resource=resource, wallet_id=wallet_id)["charged_micro"] == 0
    assert meter.tell(1, resource="a")["charged_micro"] == 1
    assert meter.tell(1, resource="a", wallet_id=other)["charged_micro"] == 1


def test_prices_may_change_within_a_month(meter):
    assert meter.tell(1, "0.0000006")["charged_micro"] == 0
    assert meter.tell(1, "0.000000399999")["charged_micro"] == 0
    assert meter.tell(1, "0.000000000001")["charged_micro"] == 1


def test_a_month_begins_at_nothing_again(meter):
    meter.world.now = MONTH_END
    assert meter.tell(2)["period"] == "2026-11"
    meter.world.wait(seconds=2)
    assert (meter.tell(2)["period"], meter.spent()) == ("2026-12", 0)
    # what is told late counts where it happened
    late = meter.tell(1, at=MONTH_END - timedelta(hours=1))
    assert (late["period"], late["charged_micro"]) == ("2026-11", 1)
    (entry,) = meter.charges()
    assert entry["effective_at"] == MONTH_END - timedelta(hours=1)
    assert [r["period"] for r in meter.listed()] == ["2026-12", "2026-11"]


def test_the_month_is_that_of_the_hub(meter):
    meter.world.now = datetime(2026, 11, 30, 20, tzinfo=UTC)
    assert meter.tell(policy=Policy(timezone="Asia/Taipei"))["period"] == "2026-12"


def test_after_the_closing_it_is_booked_in_the_open_month(meter):
    """And still rounds with its own."""
    meter.world.now = MONTH_END
    assert meter.tell(2)["charged_micro"] == 0
    meter.world.wait(minutes=5 * 1440)
    meter.world.act(months.close, "2026-11", policy=POLICY)
    told = meter.tell(1, at=MONTH_END)
    assert (told["period"], told["charged_micro"]) == ("2026-11", 1)
    (entry,) = meter.charges()
    assert (entry["period"], entry["key"]) == ("2026-12", "charge:metered:1:tokens:2026-11:1")


def test_what_lies_ahead_is_now_and_what_is_long_past_is_refused(meter):
    meter.tell(5, at=meter.world.now + timedelta(days=40))
    assert meter.charges()[0]["effective_at"] == meter.world.now
    with pytest.raises(BadInput, match="within 366 days"):
        meter.tell(5, at=meter.world.now - timedelta(days=367))


def test_an_allowance_is_used_first(meter):
    meter.world.act(
        allowances.set_allowance, meter.lab, Allowance(1_000_000, "month", 0), policy=POLICY
    )
    meter.tell(1_000_000)
    held = meter.world.look(wallets.find, meter.lab)
    assert (held.balance_micro, held.left_micro) == (10_600_000, 600_000)


def test_usage_is_a_fact(meter):
    """A wallet that is closed or has nothing left is charged all the same."""
    meter.tell(20, "1")
    assert meter.world.balance(meter.lab) == -10_000_000
    meter.world.act(wallets.change, meter.lab, closed=True)
    assert meter.tell(1, "1")["charged_micro"] == 1_000_000


def test_switched_off_nothing_is_metered(meter):
    meter.tell(2)
    meter.world.act(modes.set_mode, "off")
    told = meter.tell(1_000_000, key="off")
    assert (told["billed"], told["charged_micro"], told["month_exact"]) == (False, 0, "0.0000008")
    meter.world.act(modes.set_mode, "observe")
    assert meter.tell(1_000_000, key="off") == told
    assert meter.tell(1)["charged_micro"] == 1
    meter.world.act(wallets.change, meter.lab, mode="off")
    assert not meter.tell(7)["billed"]
    assert meter.spent() == 1


def test_a_charge_of_it_can_be_given_back(meter):
    told = meter.tell(5, "1")
    meter.world.act(wallets.refund, told["entry_id"], 2_000_000, policy=POLICY, note="sorry")
    assert meter.spent() == 3_000_000
    assert meter.tell(1, "1")["charged_micro"] == 1_000_000, "the sum goes on as it was"
    meter.world.act(wallets.refund, told["entry_id"], None, policy=POLICY, note="all of it")
    assert meter.spent() == 1_000_000


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"quantity": 0}, "more than nothing"),
        ({"quantity": -1}, "negative"),
        ({"quantity": 0.5}, "as text"),
        ({"price": "-1"}, "negative"),
        ({"price": "0.0000000000001"}, "twelve decimals"),
        ({"quantity": "0.5", "price": "0.000000000001"}, "twelfth decimal"),
        ({"resource": "a:b"}, "does not name a resource"),
        ({"key": "x" * 201}, "at most 200"),
        ({"quantity": 10**9, "price": 10**6}, "9,223,372 credits a month"),
    ],
)
def test_what_can_not_be_metered_leaves_nothing(meter, told, why):
    def rows():
        with meter.world.db.read() as tx:
            return [len(tx.execute(sa.select(x)).all())
                    for x in (t.metered, t.client_keys, t.audit, t.entries)]  # fmt: skip

    before = rows()
    with pytest.raises(BadInput, match=why):
        meter.tell(**told)
    assert rows() == before


def test_there_must_be_a_wallet(meter):
    with pytest.raises(NotFound, match="no wallet 999"):
        meter.tell(wallet_id=999)


def test_a_free_resource_is_counted_for_nothing(meter):
    assert meter.tell(10**18, 0)["charged_micro"] == 0
    assert meter.listed()[0]["month_exact"] == "0"


def test_keys_are_kept_as_long_as_the_setting_says(meter):
    """What is told again later than that is another event: the documents say so."""
    meter.tell(5, key="a")
    meter.world.wait(minutes=29 * 1440)
    meter.world.act(privacy.retain, Keep(client_keys_days=30))
    meter.tell(5, key="a")
    assert meter.spent() == 2
    meter.world.wait(minutes=2 * 1440)
    meter.world.act(privacy.retain, Keep(client_keys_days=30))
    meter.tell(5, key="a")
    assert meter.spent() == 4
