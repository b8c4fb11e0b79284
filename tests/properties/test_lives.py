"""Ten thousand lives of wallets: in one go, cut by looks and restarts, and by the plain rules.

A service that was away catches up to the same entries (rule 17), and they are those of rule 16.
JHUB_USAGE_TEST_THOROUGH=1 lives ten times as many; JHUB_USAGE_TEST_SEED repeats a run.
"""

import os
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from jhub_usage.domain import advance as advancing
from jhub_usage.domain import allowances, periods
from jhub_usage.domain.allowances import TURNS, USES
from jhub_usage.store.engine import Database

from . import memory
from .books import Books, prepare
from .lives import Life, live
from .memory import remembered
from .plain import Plain

THOROUGH = os.environ.get("JHUB_USAGE_TEST_THOROUGH", "") not in ("", "0")
CHUNK = 1000
FEW = 5


def sorted_entries(state: dict) -> dict:
    """What is charged at one instant has no order."""
    return state | {"entries": [sorted(entries) for entries in state["entries"]]}


def differences(found: dict, wanted: dict) -> list[str]:
    """What two states of a life do not agree on, in words."""
    told = []
    for name in ("wallets", "sessions", "refused"):
        if found[name] != wanted[name]:
            told.append(f"{name}: {found[name]}, not {wanted[name]}")
    for n, (a, b) in enumerate(zip(found["entries"], wanted["entries"], strict=True), 1):
        for entry in sorted(set(a) ^ set(b), key=lambda e: e[3])[:6]:
            told.append(f"wallet {n}: {entry} is {'too much' if entry in a else 'missing'}")
        if len(a) != len(b) and set(a) == set(b):
            told.append(f"wallet {n}: an entry is there twice")
    return told


def lived(life: Life) -> list[str]:
    """What is wrong with a life."""
    wanted = sorted_entries(Plain(life.zone, life.begin).run(life.whole()).state())
    whole = sorted_entries(remembered(life, life.whole()).state())
    cut = sorted_entries(remembered(life, life.cut()).state())
    found = [f"in one go, {x}" for x in differences(whole, wanted)]
    return found + [f"cut, {x}" for x in differences(cut, wanted)]


def told(life: Life, found: list[str]) -> str:
    events = "\n".join(f"{at.isoformat()} {verb}{values}" for at, verb, values in life.events)
    looks = "\n".join(f"{at.isoformat()} {kind}" for at, kind in life.looks)
    wrong = "\n".join(found)
    return f"life {life.seed} in {life.zone}:\n{wrong}\nafter\n{events}\nlooks\n{looks}"


@pytest.mark.parametrize("chunk", range(100 if THOROUGH else 10))
def test_ten_thousand_lives(chosen_seed, chunk):
    for number in range(CHUNK):
        life = live(chosen_seed + chunk * CHUNK + number)
        found = lived(life)
        assert not found, told(life, found)


# -- through the real actions ---------------------------------------------------------------------


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def prepared(request, tmp_path_factory):
    """(a Database, a function that makes it fresh again)."""
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("lives")
        made, used = folder / "made.sqlite", folder / "used.sqlite"
        db = Database(f"sqlite:///{made}")
        prepare(db)
        db.dispose()
        db = Database(f"sqlite:///{used}")

        def fresh():
            db.dispose()
            for path in folder.glob("used.sqlite*"):
                path.unlink()
            shutil.copy(made, used)

        yield db, fresh
        db.dispose()
        return
    server = request.getfixturevalue("postgres_server")
    server.ensure_running()
    with server.database() as made:
        db = Database(server.url(made))
        prepare(db)
        db.dispose()
        db = Database(server.url(f"{made}_used"))

        def fresh():
            db.dispose()
            server.execute(f'DROP DATABASE IF EXISTS "{made}_used" WITH (FORCE)')
            server.execute(f'CREATE DATABASE "{made}_used" TEMPLATE "{made}"')

        yield db, fresh
        db.dispose()
        server.execute(f'DROP DATABASE IF EXISTS "{made}_used" WITH (FORCE)')


@pytest.mark.parametrize("few", range(80 if THOROUGH else 8))
def test_lives_in_a_database(prepared, chosen_seed, few):
    """Shorter than two months: beyond that a person must say that the clock is right."""
    db, fresh = prepared
    for number in range(FEW):
        life = live(chosen_seed + few * FEW + number, most_days=61)
        wanted = sorted_entries(remembered(life, life.whole()).state())
        for how in (life.whole, life.cut) if db.sqlite else (life.cut,):
            fresh()
            found = differences(Books(db, life).run(how()).state(), wanted)
            assert not found, told(life, [f"{how.__name__}, {x}" for x in found])


# -- that it can fail -----------------------------------------------------------------------------

advance, turns, moved, turn = (
    advancing.advance, advancing._turns, allowances.moved, allowances.turn
)  # fmt: skip
next_slice, Calendar = advancing.next_slice, periods.Calendar


def expiry_before_charges(wallet, meters, now, calendar):
    first = advance(wallet, (), now, calendar)
    then = advance(first.wallet, meters, now, calendar)
    return replace(then, due=(*first.due, *then.due))


def charged_again(wallet, meters, now, calendar):
    ahead = advance(wallet, meters, now, calendar)
    slices = [d for d in ahead.due if not isinstance(d, advancing.Slice)]
    return replace(ahead, due=(*slices, *(d for d in ahead.due if d not in slices)),
                   meters=tuple(meters))  # fmt: skip


def boundary_not_stored(wallet, meters, now, calendar):
    ahead = advance(wallet, meters, now, calendar)
    return replace(ahead, wallet=replace(ahead.wallet, advanced_until=wallet.advanced_until))


def only_the_last_boundary(*args, **more):
    found = turns(*args, **more)
    return {at: found[at] for at in list(found)[-1:]}


def first_boundary_skipped(*args, **more):
    found = turns(*args, **more)
    return {at: found[at] for at in (list(found)[1:] if len(found) > 1 else found)}


def cap_forgotten(balance, left, allowance):
    return turn(balance, left, replace(allowance, carry_micro=None))


def nothing_carried(balance, left, allowance):
    return turn(balance, left, replace(allowance, carry_micro=0))


def cap_after_the_grant(balance, left, allowance):
    made = turn(balance, left, allowance)
    cap = allowance.carry_micro
    return made if cap is None else replace(made, left_micro=min(made.left_micro, cap))


def debt_forgotten(balance, left, amount, how):
    if how == TURNS:
        return balance + amount, max(0, left + amount)
    return moved(balance, left, amount, how)


def permanent_credit_first(balance, left, amount, how):
    if how == USES:
        return balance + amount, min(left, max(0, balance + amount))
    return moved(balance, left, amount, how)


def late_end_at_the_boundary(meter, until):
    part = next_slice(meter, until)
    return part and replace(part, end=until, at=until)


def fee_forgotten(meter, until):
    part = next_slice(meter, until)
    if part is None or meter.settled_until is not None:
        return part
    return replace(part, amount_micro=part.amount_micro - meter.fee_micro)


class EveryDayHas24Hours(Calendar):
    def boundaries(self, period, after, until):
        found = list(super().boundaries(period, after, until))
        if period != "day" or len(found) < 2:
            return iter(found)
        first = found[0][1]
        return iter([(label, first + n * timedelta(days=1)) for n, (label, _) in enumerate(found)])


class ZoneAtOnce(Calendar):
    def with_zone(self, zone, now):
        return ZoneAtOnce((("", zone),))


#: What is broken -> (where, its name, what stands there then)
BROKEN = {
    broken.__name__: (module, name, broken)
    for module, name, broken in (
        (advancing, "advance", expiry_before_charges),
        (advancing, "advance", charged_again),
        (advancing, "advance", boundary_not_stored),
        (advancing, "_turns", only_the_last_boundary),
        (advancing, "_turns", first_boundary_skipped),
        (advancing, "turn", cap_forgotten),
        (advancing, "turn", nothing_carried),
        (advancing, "turn", cap_after_the_grant),
        (allowances, "moved", debt_forgotten),
        (advancing, "moved", permanent_credit_first),
        (advancing, "next_slice", late_end_at_the_boundary),
        (advancing, "next_slice", fee_forgotten),
        (None, "Calendar", EveryDayHas24Hours),
        (None, "Calendar", ZoneAtOnce),
    )
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_seen(monkeypatch, name):
    module, attribute, broken = BROKEN[name]
    monkeypatch.setattr(module or memory, attribute, broken)
    seen = next((seed for seed in range(300) if lived(live(seed))), None)
    monkeypatch.undo()
    assert seen is not None
    assert not lived(live(seen))
