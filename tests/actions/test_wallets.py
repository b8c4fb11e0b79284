"""What moves money by hand: refused without a trace, or done once and audited (rules 18, 24)."""

import pytest

from jhub_usage.actions import check, hubs, keys, sessions, views, wallets
from jhub_usage.domain.errors import BadInput, Conflict, KeyReused, NotFound
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.money import MAX_AMOUNT_MICRO

from .world import POLICY


@pytest.fixture(autouse=True)
def every_invariant_holds_in_the_end(world):
    yield
    assert failed(world.look(check.check)) == []


def actions_of(world):
    return [row["action"] for row in world.look(views.audit_rows)][::-1]


@pytest.mark.parametrize("amount", [0, -1, MAX_AMOUNT_MICRO + 1, 10**30])
def test_absurd_amounts_change_nothing(world, amount):
    lab, other = world.wallet("lab", 5), world.wallet("other")
    before = actions_of(world)
    with pytest.raises(BadInput):
        world.act(wallets.grant, lab, amount, policy=POLICY)
    with pytest.raises(BadInput):
        world.act(wallets.transfer, lab, other, amount, policy=POLICY)
    assert world.balance(lab) == 5_000_000 and actions_of(world) == before


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"name": ""}, BadInput),
        ({"name": "a\nb"}, BadInput),
        ({"name": "~ada"}, BadInput),
        ({"name": "lab"}, Conflict),
        ({"name": "x", "overdraft_micro": -1}, BadInput),
        ({"name": "x", "mode": "sometimes"}, BadInput),
    ],
)
def test_wallets_that_can_not_be(world, arguments, error):
    world.wallet("lab")
    with pytest.raises(error):
        world.act(wallets.create, **arguments)
    assert len(world.look(views.wallet_views)) == 1


@pytest.mark.parametrize("name", ["a lab", "o'brien's", '"quoted"', "實驗室", "x" * 200])
def test_wallets_with_any_name(world, name):
    lab = world.wallet(name, 1)
    assert world.look(wallets.find, name).id == lab
    assert world.look(views.wallet_views)[0].name == name


def test_a_key_is_one_grant(world):
    lab = world.wallet("lab")
    first = world.act(wallets.grant, lab, 5, policy=POLICY, key="k")
    assert world.act(wallets.grant, lab, 5, policy=POLICY, key="k") == first
    with pytest.raises(KeyReused):
        world.act(wallets.grant, lab, 6, policy=POLICY, key="k")
    assert world.balance(lab) == 5
    assert actions_of(world).count("wallet.granted") == 1


def test_a_transfer_is_two_sides_and_one_audit_row(world):
    a, b = world.wallet("a", 5), world.wallet("b")
    done = world.act(
        wallets.transfer, a, b, 2_000_000, policy=POLICY, key="k", note="for the month"
    )
    assert world.act(wallets.transfer, a, b, 2_000_000, policy=POLICY, key="k",
                     note="for the month") == done  # fmt: skip
    assert (world.balance(a), world.balance(b)) == (3_000_000, 2_000_000)
    entry = world.entries(wallet_id=a)[0]
    assert (entry["counter_wallet"], entry["note"]) == ("b", "for the month")
    assert actions_of(world).count("wallet.transferred") == 1


def test_only_credit_that_nothing_claims_can_be_moved(world):
    a, b = world.wallet("a", 5, pays_for="*"), world.wallet("b")
    world.admit(world.ask())
    with pytest.raises(Conflict, match="has 4 that nothing else claims"):
        world.act(wallets.transfer, a, b, 4_000_001, policy=POLICY)
    world.act(wallets.transfer, a, b, 4_000_000, policy=POLICY)
    world.act(wallets.change, a, overdraft_micro=10**9)
    with pytest.raises(Conflict):  # what may be overdrawn is nobody's to give away
        world.act(wallets.transfer, a, b, 1, policy=POLICY)
    world.act(wallets.change, a, closed=True)
    with pytest.raises(Conflict, match="closed"):
        world.act(wallets.transfer, b, a, 1, policy=POLICY)
    with pytest.raises(NotFound):
        world.act(wallets.transfer, b, 999, 1, policy=POLICY)


def test_a_correction_names_what_it_corrects_and_why(world):
    lab = world.wallet("lab", 5)
    grant = world.entries(wallet_id=lab)[0]["id"]
    with pytest.raises(BadInput, match="reason"):
        world.act(wallets.correct, grant, -1, policy=POLICY, note=" ")
    world.act(wallets.correct, grant, -6_000_000, policy=POLICY, note="typed twice")
    entry = world.entries(wallet_id=lab)[0]
    assert (entry["corrects_id"], entry["note"]) == (grant, "typed twice")
    assert world.balance(lab) == -1_000_000  # below zero: a fact, not an error
    with pytest.raises(BadInput, match="Only a charge"):
        world.act(wallets.refund, grant, 1, policy=POLICY)
    with pytest.raises(NotFound):
        world.act(wallets.refund, 999, 1, policy=POLICY)


def test_a_charge_is_corrected_once_its_session_ended(world):
    """What is charged of a session that runs is part of its claim: it would free what it needs."""
    lab = world.wallet("lab", 20, pays_for="*")
    session_id = world.run()
    world.wait(minutes=60)
    world.act(sessions.settle, session_id, world.now, policy=POLICY)
    (charge,) = [e["id"] for e in world.entries(wallet_id=lab) if e["kind"] == "charge"]
    for amount in (1_000_000, -1_000_000):
        with pytest.raises(Conflict, match="still runs: correct it when it has ended"):
            world.act(wallets.correct, charge, amount, policy=POLICY, note="why")
    world.end(session_id)
    made = world.act(wallets.correct, charge, 1_000_000, policy=POLICY, note="why", key="once")
    again = world.act(wallets.correct, charge, 1_000_000, policy=POLICY, note="why", key="once")
    assert made == again
    with pytest.raises(Conflict, match="3 of this charge is left"):
        world.act(wallets.correct, charge, 3_000_001, policy=POLICY, note="why")
    assert world.balance(lab) == 17_000_000
    assert world.session(session_id).charged_micro == 3_000_000


def test_a_clients_key_is_scoped_and_bound_to_its_body(world):
    def again(actor, body, key="k"):
        made = []

        def act(tx):
            made.append(1)
            return {"n": len(made)}

        with world.db.write() as tx:
            return keys.once(tx, actor, "POST /x", key, body, act), len(made)

    assert again("ada", {"a": 1}) == ({"n": 1}, 1)
    assert again("ada", {"a": 1}) == ({"n": 1}, 0)
    assert again("bob", {"a": 2}) == ({"n": 1}, 1)
    with pytest.raises(KeyReused):
        again("ada", {"a": 2})


def test_what_failed_leaves_its_key_free(world):
    lab = world.wallet("lab")

    def grant(amount):
        with world.db.write() as tx:
            return keys.once(tx, "ada", "POST /x", "k", {}, lambda tx: {
                "id": wallets.grant(tx, lab, amount, policy=POLICY, actor=hubs.Actor("cli", "x"))
            })  # fmt: skip

    with pytest.raises(BadInput):
        grant(-1)
    assert grant(1)["id"]
    assert world.balance(lab) == 1


def test_installing_again_changes_nothing(world):
    before = world.look(views.catalog)
    world.act(hubs.install, "hub")
    world.act(hubs.install, "another hub")
    assert world.look(views.catalog) == before
