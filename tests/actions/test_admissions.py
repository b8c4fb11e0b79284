"""Admission as a whole: who pays, modes, exemptions, prices, records (rules 4, 19 to 23)."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from jhub_usage.actions import (
    admissions,
    exemptions,
    limits,
    modes,
    rates,
    rules,
    sessions,
    views,
    wallets,
)
from jhub_usage.domain.admission import PersonKey, Policy
from jhub_usage.domain.errors import Conflict, NotFound
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.rules import Rule
from jhub_usage.store import people

from .world import BORN, CPU, POLICY, T0, Gpus, Shape


def test_an_admission_is_recorded_with_all_that_it_rested_on(world):
    world.wallet("lab", 10, pays_for="*")
    decision = world.admit(world.ask("ada", "x", groups=("b", "a", "b"), requested_at=T0))
    view = world.session(decision.session_id)
    assert (view.person, view.server_name, view.wallet) == ("ada", "x", "lab")
    assert view.state == "admitted"
    assert (view.per_hour_micro, view.hold_micro, view.mode) == (4_000_000, 1_000_000, "enforce")
    assert [line["amount_micro"] for line in view.quote_lines] == [4_000_000]
    stored = world.look(views.decision, decision.session_id)
    assert (stored["decision"], stored["reason"], stored["hold_micro"]) == (
        "admitted", "ok", 1_000_000
    )  # fmt: skip


def test_a_refusal_leaves_no_session_and_no_claim(world):
    lab = world.wallet("lab", 0.5, pays_for="*")
    refused = world.admit(world.ask())
    assert not refused.may_start and not refused.billed
    assert world.look(views.session_views) == []
    (wallet,) = world.look(views.wallet_views, ids=[lab])
    assert (wallet.available_micro, wallet.claims_micro) == (500_000, 0)
    assert "lab has $0.50 left" in refused.reason.text
    assert "1 × A100, 4 cores, 16 GiB" in refused.reason.text


def test_a_seen_price_holds_for_the_whole_session(world):
    lab = world.wallet("lab", 100, pays_for="*")
    session_id = world.run()
    world.wait(minutes=30)
    world.act(rates.add, "gpu", 99_000_000)
    world.wait(minutes=30)
    world.end(session_id)
    assert world.balance(lab) == 96_000_000
    assert world.admit(world.ask("ada", "b")).quote.per_hour_micro == 99_000_000


def test_a_start_while_the_database_was_away_has_the_price_of_its_moment(world):
    world.wallet("lab", 100, pays_for="*")
    world.wait(minutes=10)
    let_in = world.now
    world.wait(minutes=10)
    world.act(rates.add, "gpu", 99_000_000)
    world.wait(minutes=10)
    made = world.act(admissions.fail_open, world.ask(), let_in, policy=POLICY, cache=world.cache)
    assert made.decision == "failed_open" and made.decided_at == let_in
    assert made.quote.per_hour_micro == 4_000_000
    assert made.quote.quoted_at == let_in


def test_a_rate_may_not_start_before_a_quote_that_used_its_predecessor(world):
    world.wallet("lab", 100, pays_for="*")
    world.wait(minutes=10)
    world.run()
    world.wait(minutes=10)
    with pytest.raises(Conflict, match="already quoted"):
        world.act(rates.add, "gpu", 1, starts_at=T0)
    world.act(rates.add, "gpu", 1, model="T4", starts_at=T0)  # nobody was quoted that
    first = world.act(rates.add, "gpu", 1, starts_at=T0 + timedelta(days=1))
    assert world.act(rates.add, "gpu", 1, starts_at=T0 + timedelta(days=1)) == first
    with pytest.raises(Conflict, match="same instant"):
        world.act(rates.add, "gpu", 2, starts_at=T0 + timedelta(days=1))


@pytest.mark.parametrize(
    ("everything", "of_wallet", "decision", "billed"),
    [
        ("enforce", None, "refused", False),
        ("observe", None, "observed", True),
        ("off", None, "admitted", False),
        ("observe", "enforce", "refused", False),
        ("enforce", "observe", "observed", True),
        ("off", "enforce", "admitted", False),
    ],
)
def test_modes(world, everything, of_wallet, decision, billed):
    lab = world.wallet("lab", 0, pays_for="*")
    world.act(modes.set_mode, everything)
    world.act(wallets.change, lab, mode=of_wallet)
    made = world.admit(world.ask())
    assert (made.decision, made.billed) == (decision, billed)


def test_the_mode_is_seen_by_every_process_at_once(world):
    """Each keeps a copy of the catalog; the gate's version ends it."""
    world.wallet("lab", 0, pays_for="*")
    assert world.admit(world.ask()).decision == "refused"
    world.act(modes.set_mode, "observe")
    assert world.admit(world.ask()).decision == "observed"
    world.act(exemptions.set_exempt, "group", "staff", True)
    assert world.admit(world.ask("bob", groups=("staff",))).reason.code == "exempt"


def test_exempt_people_are_recorded_and_not_billed(world):
    lab = world.wallet("lab", 0, pays_for="*")
    world.act(exemptions.set_exempt, "person", "ada", True)
    session_id = world.run("ada")
    world.wait(minutes=600)
    world.end(session_id)
    assert world.balance(lab) == 0
    assert world.session(session_id).cost_micro == 0
    world.act(limits.add, Limit("person", "servers", 0, person="ada"))
    assert world.admit(world.ask("ada")).reason.code == "limit"  # a limit binds them too


def test_a_choice_that_is_not_open_names_the_alternatives(world):
    world.wallet("default", 10, pays_for="*")
    lab = world.wallet("lab", 10)
    world.wallet("closed", 10)
    world.act(wallets.set_group, lab, "physics")
    refused = world.admit(world.ask(wallet_name="no such"))
    assert refused.reason.text.endswith("Open to you: default.")
    assert world.admit(world.ask(wallet_name="lab")).reason.code == "wallet_choice"
    assert world.admit(world.ask(groups=("physics",), wallet_name="lab")).wallet_id == lab
    world.act(wallets.change, lab, closed=True)
    refused = world.admit(world.ask("bob", groups=("physics",), wallet_name="lab"))
    assert refused.reason.code == "wallet_choice"


def test_membership_is_checked_again_at_each_start(world):
    world.wallet("default", 10, pays_for="*")
    lab = world.wallet("lab", 10)
    world.end(world.run("ada"))
    ada = world.look(people.by_name, "hub", "ada").id
    world.act(wallets.set_member, lab, ada, "manager")
    assert world.admit(world.ask("ada", wallet_name="lab")).wallet_id == lab
    world.act(wallets.remove_member, lab, ada)
    assert world.admit(world.ask("ada", "b", wallet_name="lab")).reason.code == "wallet_choice"
    with pytest.raises(NotFound):
        world.act(wallets.remove_member, lab, ada)


def test_a_closed_wallet_pays_for_what_runs_and_starts_nothing(world):
    lab = world.wallet("lab", 10, pays_for="*")
    session_id = world.run()
    world.act(wallets.change, lab, closed=True)
    assert world.admit(world.ask("bob")).reason.code == "wallet_closed"
    world.wait(minutes=60)
    world.end(session_id)
    assert world.balance(lab) == 6_000_000


@pytest.mark.parametrize(
    ("policy", "model", "code"),
    [
        (Policy(), "H100", "no_rate"),
        (Policy(), "A100", "ok"),
        (Policy(), "unknown", "no_rate"),
        (Policy(refuse_unknown_model=True), "unknown", "no_rate"),
    ],
)
def test_a_model_without_a_rate(world, policy, model, code):
    world.wallet("lab", 100, pays_for="*")
    world.act(rates.add, "gpu", 4_000_000, model="A100")
    world.act(rates.add, "gpu", None)
    shape = Shape(0, 0, (Gpus("nvidia.com/gpu", model, 1),))
    made = world.admit(world.ask(shape=shape), policy=policy)
    assert made.reason.code == code


def test_advice_is_what_admission_would_say_and_writes_nothing(world):
    world.act(rules.replace, [Rule(0, "personal", starting_grant_micro=1_500_000)])
    ask = world.ask("new")
    advice = world.look(admissions.advise, ask, policy=POLICY, cache=world.cache)
    assert (advice.decision, advice.wallet_name) == ("admitted", "your own wallet")
    assert world.look(people.by_name, "hub", "new") is None
    assert world.admit(ask).decision == "admitted"
    advice = world.look(admissions.advise, world.ask("new", "b"), policy=POLICY, cache=world.cache)
    assert (advice.decision, advice.wallet_name) == ("refused", "~new")
    chosen = world.ask("new", "b", wallet_name="no such")
    advice = world.look(admissions.advise, chosen, policy=POLICY, cache=world.cache)
    assert advice.reason.code == "wallet_choice"


def test_the_next_of_a_batch_sees_the_one_before(world):
    world.wallet("lab", 2, pays_for="*")
    world.act(limits.add, Limit("person", "gpus", 1000, person="bob"))
    asks = [world.ask("ada", "a"), world.ask("bob", "a"), world.ask("bob", "b"), world.ask("eve")]
    assert [d.reason.code for d in world.admit(*asks)] == ["ok", "ok", "limit", "wallet"]


def test_names_that_were_swapped_within_one_batch(world):
    """ada is called bob now, and bob ada: each keeps their id."""
    world.wallet("lab", 100, pays_for="*")
    world.admit(world.ask("ada", "1", number=1), world.ask("bob", "1", number=2))
    before = {n: world.look(people.find, "hub", PersonKey(n, k, BORN)).id
              for n, k in (("ada", 1), ("bob", 2))}  # fmt: skip
    world.admit(world.ask("bob", "2", number=1), world.ask("ada", "2", number=2))
    assert world.look(people.by_name, "hub", "bob").id == before["ada"]
    assert world.look(people.by_name, "hub", "ada").id == before["bob"]


@pytest.mark.parametrize("name", ["o'brien", "Ünï ©ødé", "a b", "實驗室", "x" * 255, "%_"])
def test_people_with_any_name(world, name):
    world.act(rules.replace, [Rule(0, "personal", starting_grant_micro=9_000_000)])
    made = world.admit(world.ask(name))
    assert made.decision == "admitted" and made.wallet_name == f"~{name}"[:255]
    assert world.look(sessions.open_session_of, "hub", world.ask(name).person, "") == (
        made.session_id
    )


def test_sessions_of_free_shapes_need_no_money(world):
    world.wallet("lab", 0, pays_for="*")
    assert world.admit(world.ask(shape=CPU)).decision == "admitted"


def test_a_persons_account_number_that_the_hub_gave_again(world):
    """Another account has the number of a deleted one, at another time: another person."""
    world.wallet("lab", 100, pays_for="*")
    first = world.admit(world.ask("ada", number=7))
    second = world.admit(world.ask("eve", number=7, born=T0))
    views_ = {v.id: v.person_id for v in world.look(views.session_views)}
    assert views_[first.session_id] != views_[second.session_id]


def test_an_admission_takes_few_round_trips(world):
    """Who asks, the wallet's lock, what is open, one write: what a start waits for (PostgreSQL)."""
    if world.db.sqlite:
        return
    world.db.clock = None
    world.wallet("lab", 100, pays_for="*")
    world.admit(world.ask("ada", "a"))
    said = []

    def listen(conn, cursor, statement, parameters, context, executemany):
        said.append(statement.split("\n")[0])

    sa.event.listen(world.db.engine, "before_cursor_execute", listen)
    ask = world.ask("bob", "b", groups=("physics",))
    assert world.admit(world.ask("ada", "b")).decision == "admitted"
    assert len(said) <= 6, said  # she has a server: its row is read as well, and the gate
    said.clear()
    assert world.admit(ask).decision == "admitted"
    assert len(said) <= 9, said  # somebody new
