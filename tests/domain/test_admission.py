"""One pure decision, and what a refusal tells the person (rules 15, 18, 21 to 23)."""

from datetime import UTC, datetime, timedelta

import pytest

from jhub_usage.domain.admission import (
    Ask,
    PersonKey,
    Policy,
    effective_mode,
    hold_of,
    judge,
)
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.periods import UTC_CALENDAR, Calendar
from jhub_usage.domain.rates import Quote
from jhub_usage.domain.sessions import Meter
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting, ask_from_json, ask_to_json
from jhub_usage.domain.wallets import Wallet

T0 = datetime(2026, 11, 20, 9, tzinfo=UTC)
QUOTE = Quote(8_000_000, 0, (), T0)  # the first 15 minutes cost 2 credits
POLICY = Policy()
ASK = Ask(
    session_id="s", hub_id="hub", person=PersonKey("ada", 1, T0), server_name="",
    profile="big", shape=Shape(16_000, 64 * 2**30, (Gpus("nvidia.com/gpu", "A100", 4),)),
    groups=("lab",), requested_at=T0,
)  # fmt: skip


def running(minutes_ago, per_hour=4_000_000, hold=1_000_000):
    begin = T0 - timedelta(minutes=minutes_ago)
    return Meter("r", per_hour, 0, hold, 0, begin, begin, billed_from_at=begin)


def decide(balance=10_000_000, *, overdraft=0, meters=(), limits=(), usage=None, quote=QUOTE,
           closed=False, policy=POLICY, allowance=None, now=T0,
           calendar=UTC_CALENDAR):  # fmt: skip
    left = balance if allowance else 0
    wallet = Wallet(7, "lab", balance, overdraft, None, closed, allowance, left, now)
    return judge(
        ask=ASK, wallet=wallet, meters=meters, quote=quote, limits=limits, usage=usage or {},
        person_id=1, policy=policy, now=now, calendar=calendar,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("story", "arguments", "code"),
    [
        ("money for the first 15 minutes is enough", {"balance": 2_000_000}, "ok"),
        ("a micro-credit less is not", {"balance": 1_999_999}, "wallet"),
        ("an overdraft counts", {"balance": 0, "overdraft": 2_000_000}, "ok"),
        ("no overdraft limit: record only", {"balance": -(10**9), "overdraft": None}, "ok"),
        ("a free server starts on an empty wallet", {"balance": 0, "quote": Quote(0, 0, ())}, "ok"),
        ("but not on one in debt", {"balance": -1, "quote": Quote(0, 0, ())}, "wallet"),
        ("another's hold is not free", {"balance": 2_999_999, "meters": [running(0)]}, "wallet"),
        ("beside it there is room", {"balance": 3_000_000, "meters": [running(0)]}, "ok"),
        # 60 minutes cost 4, the new hold 2, and ten minutes of the running one 0.666666
        ("a start must not kill a running server at once",
         {"balance": 6_666_665, "meters": [running(60)]}, "wallet"),
        ("with its reserve it may", {"balance": 6_666_666, "meters": [running(60)]}, "ok"),
        ("a closed wallet", {"closed": True}, "wallet_closed"),
        ("a limit goes before the money",
         {"balance": 0, "limits": [Limit("everyone", "gpus", 3000)]}, "limit"),
        ("someone else's limit", {"limits": [Limit("person", "gpus", 0, person="ada2")]}, "ok"),
        ("someone else's wallet", {"limits": [Limit("wallet", "gpus", 0, wallet_id=77)]}, "ok"),
    ],
)  # fmt: skip
def test_decisions(story, arguments, code):
    assert decide(**arguments)[0].code == code, story


def test_a_refusal_tells_the_person_what_they_need_to_know():
    text = decide(1_500_000)[0].text
    for part in (
        "The wallet lab has $1.50 left",  # which wallet, what is left
        "4 × A100, 16 cores, 64 GiB",  # what was asked
        "$8.00 per hour",  # what it costs
        "$2.00 must be free for the first 15 min",
        "smaller profile or another wallet, stop a running server, or ask the wallet's manager",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("period", "zone", "comes", "at"),
    [
        ("month", "Europe/Berlin", "2026-12-01 (00:00 Europe/Berlin)", "2026-11-30T23:00:00Z"),
        ("week", "UTC", "2026-11-23 (00:00 UTC)", "2026-11-23T00:00:00Z"),
        ("day", "Asia/Taipei", "2026-11-21 (00:00 Asia/Taipei)", "2026-11-20T16:00:00Z"),
    ],
)
def test_a_refusal_says_when_the_next_allowance_comes(period, zone, comes, at):
    held = Allowance(20_000_000, period)
    reason = decide(1_500_000, allowance=held, calendar=Calendar.of(zone))[0]
    assert f" The next allowance of $20.00 comes on {comes}. You can choose" in reason.text
    assert reason.details["next_allowance_at"] == at
    assert reason.details["next_allowance_micro"] == 20_000_000


def test_so_does_one_for_what_expires_before_the_hold_is_over():
    """What is left pays for the first 15 minutes, but not for those after midnight."""
    late = T0.replace(hour=23, minute=50)
    reason = decide(5_000_000, allowance=Allowance(500_000, "day"), now=late)[0]
    assert "The next allowance of $0.50 comes on 2026-11-21 (00:00 UTC)." in reason.text
    assert reason.details["boundary_at"] == reason.details["next_allowance_at"]


@pytest.mark.parametrize("ended", [None, Allowance(0, "month", 0)])
def test_a_wallet_without_an_allowance_promises_none(ended):
    reason = decide(1_500_000, allowance=ended)[0]
    assert (reason.code, "next allowance" in reason.text) == ("wallet", False)
    assert not [name for name in reason.details if name.startswith("next_allowance")]


def test_a_fee_and_a_reserve_are_named():
    reason, hold, left = decide(
        7_000_000, meters=[running(60)], quote=Quote(8_000_000, 500_000, ())
    )
    assert "and $0.50 per start" in reason.text
    assert "Servers that already run on this wallet need $0.67" in reason.text
    assert (hold, left) == (2_500_000, 3_000_000)
    assert reason.details["available_micro"] == 3_000_000


@pytest.mark.parametrize(
    ("limit", "usage", "parts"),
    [
        (Limit("everyone", "gpus", 8000), {("everyone",): {"gpus": 6000}},
         ["everyone together is 8 GPUs at once", "6 GPUs are in use", "4 GPUs more"]),
        (Limit("wallet", "servers", 2, wallet_id=7), {("wallet", 7): {"servers": 2}},
         ["the wallet lab is 2 servers at once"]),
        (Limit("wallet_person", "cpu", 8000, wallet_id=7, person="*"), {},
         ["each person within the wallet lab is 8 cores"]),
        (Limit("group", "memory", 2**30, group="lab", each=True), {},
         ["each member of lab is 1 GiB"]),
        (Limit("profile", "gpus", 1000, profile="big"), {}, ["profile big is 1 GPUs"]),
        (Limit("person", "gpus", 1000, person="ada"), {}, ["ada is 1 GPUs"]),
    ],
)  # fmt: skip
def test_a_limit_is_named(limit, usage, parts):
    reason = decide(limits=[limit], usage=usage)[0]
    for part in [*parts, "Stop a running server or choose a smaller profile"]:
        assert part in reason.text
    assert reason.details["limit"] == limit.amount


@pytest.mark.parametrize(
    ("session_limit_s", "whole", "hold"),
    [(None, False, 2_000_000), (None, True, 2_000_000), (3600, False, 2_000_000),
     (3600, True, 8_000_000), (450, False, 1_000_000)],
)  # fmt: skip
def test_what_is_held(session_limit_s, whole, hold):
    assert hold_of(QUOTE, Policy(hold_session_limit=whole), session_limit_s) == hold


@pytest.mark.parametrize(
    ("everything", "wallet", "effective"),
    [("off", None, "off"), ("off", "enforce", "off"), ("observe", None, "observe"),
     ("observe", "enforce", "enforce"), ("enforce", "observe", "observe"),
     ("enforce", "off", "off")],
)  # fmt: skip
def test_one_switch_turns_all_off(everything, wallet, effective):
    assert effective_mode(everything, wallet) == effective


def test_what_waits_in_the_spool_comes_back_exactly():
    assert ask_from_json(ask_to_json(ASK)) == ASK
    sighting = Sighting("s", "ended", T0, "poll_exit", "died", {"exit_code": 137})
    assert Sighting.from_json(sighting.to_json()) == sighting
