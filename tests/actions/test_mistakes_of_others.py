"""Mistakes that other accounting for hubs has made, each as a story that would show it here.

Names matched by their beginning, minutes rounded down, checks without a hold, ledgers clamped at
zero, waits without an end, money in floats, orphans never charged, a namesake who inherits.
"""

import time
from datetime import datetime, timedelta, timezone

import pytest

from jhub_usage.actions import (
    exemptions,
    hubs,
    limits,
    rates,
    rules,
    sessions,
    stops,
    views,
    wallets,
)
from jhub_usage.context import Context
from jhub_usage.domain.admission import PersonKey
from jhub_usage.domain.errors import BadInput, DatabaseUnavailable
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.rules import Rule
from jhub_usage.domain.sightings import Sighting
from jhub_usage.store import people

from .world import BORN, POLICY, T0, Gpus, Policy, Shape, World


class TestNamesThatBeginAlike:
    """`alice` was charged for all that `alice2` had run."""

    def test_rules(self, world):
        mine = world.wallet("alice's", 10, pays_for="alice")
        other = world.wallet("other", 10, pays_for="*")
        world.end(world.run("alice2"))
        assert world.admit(world.ask("alice2", "b")).wallet_id == other
        assert world.admit(world.ask("ali", "b")).wallet_id == other
        assert world.admit(world.ask("alice", "b")).wallet_id == mine

    def test_limits_and_what_counts_against_them(self, world):
        world.wallet("lab", 100, pays_for="*")
        world.act(limits.add, Limit("person", "servers", 1, person="alice"))
        world.run("alice2", "a")
        world.run("alice2", "b")
        assert world.admit(world.ask("alice", "a")).decision == "admitted"
        assert world.admit(world.ask("alice", "b")).reason.code == "limit"

    def test_groups_and_profiles(self, world):
        world.wallet("lab", 100, pays_for="*")
        world.act(limits.add, Limit("group", "servers", 0, group="lab"))
        world.act(limits.add, Limit("profile", "servers", 0, profile="gpu"))
        fine = world.ask("ada", groups=("lab2", "my lab"), profile="gpu-big")
        assert world.admit(fine).decision == "admitted"
        assert (
            world.admit(world.ask("ada", "b", groups=("lab",), profile="x")).reason.code == "limit"
        )

    def test_exemptions(self, world):
        world.wallet("lab", 100, pays_for="*")
        world.act(exemptions.set_exempt, "person", "alice", True)
        assert world.admit(world.ask("alice")).billed is False
        assert world.admit(world.ask("alice2")).billed is True

    def test_choosing_a_wallet(self, world):
        lab = world.wallet("lab", 10, pays_for="ada")
        world.wallet("lab2", 10)
        assert world.admit(world.ask("ada", wallet_name="lab")).wallet_id == lab
        refused = world.admit(world.ask("ada", "b", wallet_name="lab2"))
        assert refused.reason.code == "wallet_choice"
        assert "Open to you: lab." in refused.reason.text

    def test_patterns_are_letters(self, world):
        """A name that means everything to LIKE or to a regular expression."""
        world.wallet("lab", 100, pays_for="a%")
        world.wallet("lab_", 100, pays_for=".*")
        assert world.admit(world.ask("ada")).reason.code == "no_wallet"
        assert world.admit(world.ask("a%")).decision == "admitted"
        assert world.look(wallets.find, "lab").id != world.look(wallets.find, "lab_").id


class TestMinutesRoundedDown:
    def test_forty_short_sessions_are_charged_exactly(self, world):
        """40 times 59 seconds of a GPU were free elsewhere."""
        lab = world.wallet("lab", 100, pays_for="*")
        for _ in range(40):
            session_id = world.run()
            world.wait(seconds=59)
            world.end(session_id)
        each = 4_000_000 * 59 // 3600
        assert world.balance(lab) == 100_000_000 - 40 * each
        assert each == 65_555

    def test_a_second_is_not_free(self, world):
        lab = world.wallet("lab", 100, pays_for="*")
        session_id = world.run()
        world.wait(seconds=1)
        world.end(session_id)
        assert world.balance(lab) == 100_000_000 - 1111


class TestCheckWithoutHold:
    def test_two_servers_on_money_for_one(self, world):
        """Both were let in, since the first had cost nothing yet."""
        world.wallet("lab", 1, pays_for="*")
        first, second = world.admit(world.ask("ada", "a"), world.ask("ada", "b"))
        assert (first.decision, second.decision) == ("admitted", "refused")
        assert world.admit(world.ask("bob")).decision == "refused"

    def test_a_size_that_nobody_asked_about(self, world):
        world.wallet("lab", 1, pays_for="*")
        assert world.admit(world.ask("ada")).hold_micro == 1_000_000

    def test_a_hold_that_stays_for_ever(self, world):
        """Reserved time got stuck and was never released: here it ends by itself."""
        world.wallet("lab", 1, pays_for="*")
        assert world.admit(world.ask("ada")).decision == "admitted"
        assert world.admit(world.ask("bob")).decision == "refused"
        world.wait(minutes=8)  # the Hub died in between: nobody says anything
        assert world.admit(world.ask("bob")).decision == "admitted"


class TestLedgersClampedAtZero:
    def test_rows_sum_to_the_balance_below_zero_too(self, world):
        lab = world.wallet("lab", 1, pays_for="*")
        session_id = world.run()
        world.wait(minutes=60)
        world.end(session_id)
        assert world.balance(lab) == -3_000_000
        assert sum(e["amount_micro"] for e in world.entries(wallet_id=lab)) == -3_000_000

    def test_what_could_not_be_paid_is_not_forgiven(self, world):
        lab = world.wallet("lab", 1, pays_for="*")
        session_id = world.run()
        world.wait(minutes=120)
        world.end(session_id, reason="wallet_empty")
        assert world.session(session_id).charged_micro == 8_000_000
        assert world.balance(lab) == -7_000_000


class TestWaitsWithoutAnEnd:
    async def test_a_database_that_never_answers(self, pg_url, fault_proxy):
        """A check of half a minute and more, with the server's start waiting behind it."""
        world = World(fault_proxy.url(pg_url.rsplit("/", 1)[1]))
        world.wallet("lab", 1, pays_for="*")

        class Settings:
            def policy(self):
                return POLICY

        ctx = Context(Settings(), world.db)
        fault_proxy.blackhole()
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await ctx.run(world.admit, world.ask("ada"), timeout_s=0.5)
        assert time.monotonic() - begun < 2
        fault_proxy.cut()
        ctx.close()
        world.close()


class TestMoneyInFloats:
    def test_no_door_takes_one(self, world):
        lab = world.wallet("lab")
        for wrong in (0.1, 1e6, float("nan"), True, "1"):
            with pytest.raises(BadInput):
                world.act(wallets.grant, lab, wrong, policy=POLICY)
        assert world.balance(lab) == 0
        with pytest.raises(BadInput):
            world.act(rates.add, "gpu", 0.5)

    def test_a_million_small_amounts_lose_nothing(self, world):
        """Sixteen dear GPUs for 40 hours overflow 64 bits where SQL multiplies."""
        world.act(rates.add, "gpu", 77_777_777, model="H100")
        big = Shape(0, 0, (Gpus("nvidia.com/gpu", "H100", 16),))
        lab = world.wallet("lab", overdraft_micro=None, pays_for="*")
        session_id = world.run(shape=big)
        world.wait(minutes=100 * 60, seconds=0.000001)
        world.end(session_id)
        assert world.balance(lab) == -16 * 77_777_777 * 100


class TestOrphans:
    def test_a_session_that_lost_its_hub_is_charged(self, world):
        """Twenty hours were set to eight, and those were never charged."""
        lab = world.wallet("lab", 100, pays_for="*")
        session_id = world.run()
        world.wait(minutes=20 * 60)
        world.tell(session_id, "seen")
        world.wait(minutes=5)
        world.end(session_id, reason="lost", evidence="last_seen", at=T0 + timedelta(hours=20))
        assert world.balance(lab) == 20_000_000
        assert world.session(session_id).charged_micro == 80_000_000

    def test_a_new_start_of_the_same_server_ends_the_old_one(self, world):
        lab = world.wallet("lab", 100, pays_for="*")
        old = world.run("ada", "a")
        world.wait(minutes=60)
        world.tell(old, "seen")
        world.wait(minutes=600)
        world.run("ada", "a")
        view = world.session(old)
        assert (view.state, view.end_reason) == ("ended", "lost")
        assert world.balance(lab) == 96_000_000


class TestNamesakes:
    """A re-created "ada" is another person (rule 28)."""

    def personal(self, world):
        world.act(rules.replace, [Rule(0, "personal", starting_grant_micro=5_000_000)])

    def test_inherits_nothing(self, world):
        self.personal(world)
        world.wallet("lab", 50)
        first = world.admit(world.ask("ada", number=1))
        world.tell(first.session_id, "void")
        lab = world.look(wallets.find, "lab").id
        ada = world.look(people.find, "hub", PersonKey("ada", 1, BORN))
        world.act(wallets.set_member, lab, ada.id, "spender")
        again = world.ask("ada", number=1, born=T0, wallet_name="lab")
        assert world.admit(again).reason.code == "wallet_choice"
        second = world.admit(world.ask("ada", number=1, born=T0))
        assert second.wallet_name == "~ada-2" and second.wallet_id != first.wallet_id
        mine = world.look(views.offer, PersonKey("ada", 1, T0), "hub", (), policy=POLICY,
                          cache=world.cache)  # fmt: skip
        assert [w.name for w in mine.wallets] == ["~ada-2"]

    def test_no_second_starting_grant(self, world):
        self.personal(world)
        for _ in range(3):
            decision = world.admit(world.ask("ada", number=1))
            world.tell(decision.session_id, "void")
        grants = [e for e in world.entries() if e["kind"] == "grant"]
        assert [g["amount_micro"] for g in grants] == [5_000_000]

    def test_a_rename_keeps_the_wallet(self, world):
        self.personal(world)
        first = world.admit(world.ask("ada", number=1))
        renamed = world.admit(world.ask("ada.lovelace", "b", number=1))
        assert renamed.wallet_id == first.wallet_id
        someone_else = world.admit(world.ask("ada", number=2))
        assert someone_else.wallet_id != first.wallet_id


class TestLocalTime:
    def test_a_naive_instant_is_refused(self, world):
        with pytest.raises(BadInput, match="no time zone"):
            world.act(rates.add, "gpu", 1, starts_at=datetime(2027, 1, 1))

    def test_an_offset_is_the_instant_that_it_means(self, world):
        lab = world.wallet("lab", 100, pays_for="*")
        taipei = timezone(timedelta(hours=8))
        decision = world.admit(world.ask())
        world.wait(minutes=60)
        world.tell(decision.session_id, "started", at=T0.astimezone(taipei))
        world.end(decision.session_id, at=(T0 + timedelta(minutes=30)).astimezone(taipei))
        assert world.balance(lab) == 98_000_000

    def test_a_clock_that_is_ahead_starts_nothing_in_the_future(self, world):
        lab = world.wallet("lab", 100, pays_for="*")
        decision = world.admit(world.ask())
        world.tell(decision.session_id, "started", at=T0 + timedelta(days=3650))
        world.wait(minutes=15)
        world.end(decision.session_id, at=T0 + timedelta(days=3650))
        assert world.balance(lab) == 99_000_000

    def test_a_late_hour_of_a_month_belongs_to_its_zone(self, world):
        world.now = datetime(2026, 11, 30, 18, tzinfo=T0.tzinfo)
        lab = world.act(wallets.create, "lab")
        world.act(wallets.grant, lab, 1, policy=Policy(timezone="Asia/Taipei"))
        assert [e["period"] for e in world.entries()] == ["2026-12"]


def test_a_server_from_before_the_install_is_not_stopped_in_its_first_day(world):
    """Rule 23: recorded, billed from the install, protected."""
    world.wallet("lab", 0, pays_for="*")
    ask = world.ask("ada")
    world.act(hubs.adopt, ask, T0 - timedelta(days=3), policy=POLICY, cache=world.cache)
    view = world.session(ask.session_id)
    assert view.boundaries["started"]["at"] == T0
    for _ in range(5):
        world.wait(minutes=60)
        assert world.act(stops.plan, "hub", policy=POLICY).orders == ()
    world.wait(minutes=20 * 60)
    assert [o.session_id for o in world.act(stops.plan, "hub", policy=POLICY).orders] == [
        ask.session_id
    ]


def test_a_sighting_is_kept_with_its_evidence(world):
    world.wallet("lab", 10, pays_for="*")
    session_id = world.run()
    told = Sighting(session_id, "stop_accepted", T0, "stop_called")
    world.act(sessions.record, told, policy=POLICY)
    shown = world.session(session_id).boundaries
    assert shown["stop_accepted"] == {"at": T0, "evidence": "stop_called"}
