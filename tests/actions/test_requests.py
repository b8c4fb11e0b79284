"""Asking for credit: who may ask, who decides, from which wallet; granted once, with one audit row.

The people: mia manages the lab, ada spends from it and has a wallet of her own, gus may spend by
his hub group, pat manages another lab, eve has nothing to do with any of it.
"""

from dataclasses import replace

import pytest

from jhub_usage.actions import check, ownership, request_lists, requests, rules, views, wallets
from jhub_usage.actions.request_lists import Sight
from jhub_usage.domain.admission import PersonKey
from jhub_usage.domain.audit import SYSTEM, Actor
from jhub_usage.domain.errors import BadInput, Conflict, NotAllowed, NotFound
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.money import MAX_AMOUNT_MICRO
from jhub_usage.domain.rules import Rule

from .world import POLICY

CREDIT = 10**6
ADMIN = Actor("person", "root")


class Lab:
    """The small world of the stories below, with verbs in people's names."""

    def __init__(self, world):
        self.world = world
        self.lab = world.wallet("lab", 100)
        self.pats = world.wallet("pats", 50)
        self.reserve = world.wallet("reserve", 30)
        self.closed = world.wallet("closed", 5)
        self.free = world.wallet("free", overdraft_micro=None)
        for wallet_id, name, role in (
            (self.lab, "mia", "manager"), (self.lab, "ada", "spender"),
            (self.reserve, "mia", "manager"), (self.pats, "pat", "manager"),
            (self.closed, "ada", "spender"), (self.free, "ada", "spender"),
            (self.pats, "eve", "spender"),
        ):  # fmt: skip
            self.role(wallet_id, name, role)
        world.act(wallets.remove_member, self.pats, self.who("eve"))
        world.act(wallets.change, self.closed, closed=True)
        world.act(wallets.set_group, self.lab, "vision")
        self.own = world.act(wallets.create, "~ada", owner_id=self.who("ada"))

    def role(self, wallet_id, name, role="spender"):
        self.world.act(ownership.set_role, wallet_id, PersonKey(name), role, hub_id="hub")

    def who(self, name) -> int:
        return self.world.look(ownership.person_id, "hub", PersonKey(name))

    def as_(self, name, action, *args, **more):
        """An action by a person, or by the operator: None."""
        actor = (
            replace(SYSTEM, kind="person", name=name, person_id=self.who(name)) if name else ADMIN
        )
        with self.world.db.write() as tx:
            return action(tx, *args, actor=actor, **more)

    def ask(self, name, wallet_id, credits=10, *, note="a long training run", **more) -> int:
        return self.as_(
            name, requests.ask, wallet_id, self.who(name), int(credits * CREDIT), note=note, **more
        )

    def grant(self, name, request_id, credits=None, *, source=None, **more) -> int:
        """By right when nobody is named."""
        amount = None if credits is None else int(credits * CREDIT)
        return self.as_(
            name, requests.grant, request_id, amount, policy=POLICY, by_right=name is None,
            from_wallet_id=source, **more,
        )  # fmt: skip

    def decline(self, name, request_id, note="no money left this year"):
        self.as_(name, requests.decline, request_id, note=note, by_right=name is None)

    def withdraw(self, name, request_id):
        self.as_(name, requests.withdraw, request_id)

    def one(self, request_id):
        return self.world.look(request_lists.one, request_id)

    def waiting(self, name, **which) -> list[int]:
        rows = self.world.look(request_lists.waiting, Sight(self.who(name)), **which)
        return [r["id"] for r in rows]

    def seen(self, name) -> list[int]:
        rows = self.world.look(request_lists.listed, Sight(self.who(name)).condition())
        return [r["id"] for r in rows]

    def audited(self, request_id) -> list[tuple]:
        rows = self.world.look(views.audit_rows, subject_kind="request", subject_id=str(request_id))
        return [(r["action"], r["actor_name"]) for r in rows][::-1]


@pytest.fixture
def lab(world):
    made = Lab(world)
    yield made
    assert failed(world.look(check.check)) == []


def written(lab):
    """Everything that a refused action must leave as it was."""
    rows = lab.world.look(views.audit_rows, limit=1000)
    return len(rows), lab.world.entries(limit=1000), lab.world.look(request_lists.listed)


@pytest.fixture
def refused(lab):
    """``refused(error, call, ...)``: it raises, and nothing is written."""

    def check(error, call, *args, match=None, **more):
        before = written(lab)
        with pytest.raises(error, match=match):
            call(*args, **more)
        assert written(lab) == before

    return check


# -- asking ---------------------------------------------------------------------------------------


def test_a_request_waits_with_its_reason(lab):
    request = lab.ask("ada", lab.lab, 12.5, note="  eight GPUs for the deadline \n on Friday ")
    row = lab.one(request)
    assert (row["wallet"], row["person"], row["amount_micro"]) == ("lab", "ada", 12_500_000)
    assert (row["state"], row["decided_at"], row["granted_micro"]) == ("open", None, None)
    assert row["note"] == "eight GPUs for the deadline \n on Friday"
    assert lab.audited(request) == [("request.asked", "ada")]
    assert lab.world.balance(lab.lab) == 100 * CREDIT  # asking moves nothing


@pytest.mark.parametrize("amount", [0, -1, MAX_AMOUNT_MICRO + 1, 1.5, True, None, "5"])
def test_absurd_amounts(lab, refused, amount):
    refused(BadInput, lab.as_, "ada", requests.ask, lab.lab, lab.who("ada"), amount, note="x")


def test_a_reason_is_needed_and_has_an_end(lab, refused):
    for note in ("", "  \n "):
        refused(BadInput, lab.ask, "ada", lab.lab, note=note, match="what the credit is for")
    refused(BadInput, lab.ask, "ada", lab.lab, note="x" * 2001, match="2000")
    assert lab.one(lab.ask("ada", lab.lab, 0.000001, note="x" * 2000))["amount_micro"] == 1


def test_only_for_a_wallet_that_is_open_to_the_person(lab, refused):
    """By membership, as the owner, by a hub group, by any rule; else no word of whether it is."""
    lab.ask("ada", lab.own)
    for name, wallet_id in (("ada", lab.pats), ("eve", lab.lab), ("eve", lab.own), ("ada", 999)):
        refused(NotAllowed, lab.ask, name, wallet_id, match="no wallet of that name that is open")
    lab.role(lab.reserve, "gus")
    refused(NotAllowed, lab.ask, "gus", lab.lab)
    lab.ask("gus", lab.lab, groups=("vision", "other"))
    refused(NotAllowed, lab.ask, "gus", lab.lab, groups=("visio",))
    lab.world.act(rules.add, Rule(0, "wallet", lab.pats, person="eve", profile="big"))
    lab.world.act(rules.add, Rule(1, "wallet", lab.reserve, group="vision"))
    lab.ask("eve", lab.pats)
    lab.ask("ada", lab.reserve, groups=("vision",))
    refused(NotAllowed, lab.ask, "ada", lab.reserve)


def test_wallets_that_need_no_credit(lab, refused):
    refused(Conflict, lab.ask, "ada", lab.closed, match="closed")
    refused(Conflict, lab.ask, "ada", lab.free, match="has no limit")


def test_three_wait_at_a_time(lab, refused):
    """Per person and wallet; what is decided or taken back makes room."""
    first, second, _ = (lab.ask("ada", lab.lab) for _ in range(3))
    refused(Conflict, lab.ask, "ada", lab.lab, match="3 open requests")
    lab.ask("ada", lab.own)
    lab.role(lab.lab, "gus")
    lab.ask("gus", lab.lab)
    lab.withdraw("ada", first)
    lab.ask("ada", lab.lab)
    refused(Conflict, lab.ask, "ada", lab.lab)
    lab.decline("mia", second)
    lab.ask("ada", lab.lab)


# -- granting by right ----------------------------------------------------------------------------


def test_an_administrator_grants_new_credit(lab):
    request = lab.ask("ada", lab.own, 10)
    entry = lab.grant(None, request, note="until June")
    row = lab.one(request)
    assert (row["state"], row["granted_micro"], row["entry_id"]) == ("granted", 10 * CREDIT, entry)
    assert (row["answer"], row["decided_kind"]) == ("until June", "person")
    assert row["decided_at"] == lab.world.now
    (booked,) = lab.world.entries(wallet_id=lab.own)
    assert (booked["id"], booked["kind"], booked["amount_micro"]) == (entry, "grant", 10 * CREDIT)
    assert (booked["key"], booked["note"]) == (
        f"grant:request:{request}", f"Request {request}: until June",
    )  # fmt: skip
    assert lab.audited(request) == [("request.asked", "ada"), ("request.granted", "root")]
    actions = [r["action"] for r in lab.world.look(views.audit_rows, limit=2)]
    assert actions == ["request.granted", "request.asked"]  # and no row beside them


def test_a_part_is_granted(lab, refused):
    request = lab.ask("ada", lab.lab, 10)
    refused(BadInput, lab.grant, None, request, 10.000001, match="Only 10 was asked for")
    for amount in (0, -1):
        refused(BadInput, lab.grant, None, request, amount)
    lab.grant(None, request, 4)
    assert lab.one(request)["granted_micro"] == 4 * CREDIT
    assert lab.world.balance(lab.lab) == 104 * CREDIT
    # what was not granted is not owed: only a new request brings it
    refused(Conflict, lab.grant, None, request, 6, match="granted already: 4 of 10")


def test_the_same_grant_again_is_that_grant(lab, refused):
    request = lab.ask("ada", lab.lab, 10)
    entry = lab.grant(None, request, 4)
    before = written(lab)
    assert lab.grant(None, request, 4) == entry
    assert written(lab) == before
    refused(Conflict, lab.grant, None, request)
    refused(Conflict, lab.grant, None, request, 4, source=lab.reserve)
    refused(Conflict, lab.grant, "mia", request, 4, source=lab.reserve)


def test_an_administrator_may_take_it_from_any_wallet(lab, refused):
    request = lab.ask("ada", lab.own, 10)
    refused(NotFound, lab.grant, None, request, source=999)
    refused(NotFound, lab.grant, None, 999)
    lab.grant(None, request, source=lab.pats)
    assert (lab.world.balance(lab.pats), lab.world.balance(lab.own)) == (40 * CREDIT, 10 * CREDIT)


def test_who_has_the_right_may_grant_their_own(lab):
    request = lab.ask("ada", lab.lab)
    lab.as_("ada", requests.grant, request, policy=POLICY, by_right=True)
    assert lab.audited(request)[-1] == ("request.granted", "ada")


# -- granting as a manager ------------------------------------------------------------------------


def test_a_manager_moves_credit_and_makes_none(lab, refused):
    request = lab.ask("ada", lab.lab, 10)
    refused(BadInput, lab.grant, "mia", request, match="from which of your wallets")
    refused(BadInput, lab.grant, "mia", request, source=lab.lab, match="choose another")
    for foreign in (lab.pats, lab.own, 999):
        refused(NotAllowed, lab.grant, "mia", request, source=foreign, match="that you manage")
    before = lab.world.balance(lab.lab) + lab.world.balance(lab.reserve)
    entry = lab.grant("mia", request, 8, source=lab.reserve, note="ok")
    assert lab.world.balance(lab.lab) == 108 * CREDIT
    assert lab.world.balance(lab.lab) + lab.world.balance(lab.reserve) == before
    into = lab.world.entries(wallet_id=lab.lab)[0]
    assert (into["id"], into["kind"], into["counter_wallet"]) == (entry, "transfer", "reserve")
    assert lab.one(request)["decided_by"] == "mia"
    assert lab.audited(request) == [("request.asked", "ada"), ("request.granted", "mia")]
    assert lab.grant("mia", request, 8, source=lab.reserve, note="ok") == entry


def test_only_what_nothing_claims_is_moved(lab, refused):
    request = lab.ask("ada", lab.lab, 1000)
    refused(Conflict, lab.grant, "mia", request, source=lab.reserve, match="reserve has 30 that")
    lab.world.act(wallets.change, lab.reserve, overdraft_micro=500 * CREDIT)
    refused(Conflict, lab.grant, "mia", request, 31, source=lab.reserve)
    lab.world.act(rules.add, Rule(0, "wallet", lab.reserve, person="eve"))
    lab.world.run("eve")  # holds one credit
    refused(Conflict, lab.grant, "mia", request, 29.000001, source=lab.reserve, match="has 29 that")
    lab.grant("mia", request, 29, source=lab.reserve)


def test_nobody_grants_their_own(lab, refused):
    """A manager asks for her lab, and for herself: others decide."""
    for wallet_id in (lab.lab, lab.world.act(wallets.create, "~mia", owner_id=lab.who("mia"))):
        request = lab.ask("mia", wallet_id)
        refused(NotAllowed, lab.grant, "mia", request, source=lab.reserve, match="no request here")
        refused(NotAllowed, lab.decline, "mia", request)
        lab.role(lab.lab, "kim", "manager")  # another manager of the lab may
        lab.role(lab.pats, "kim", "manager")
        lab.grant("kim", request, source=lab.pats)


def test_whom_a_request_for_the_lab_is_put_before(lab, refused):
    """The lab's managers, whoever they are by now; not those of other labs of the same person."""
    lab.role(lab.pats, "ada")
    request = lab.ask("ada", lab.lab)
    assert lab.waiting("mia") == lab.waiting("mia", wallet_id=lab.lab) == [request]
    assert lab.waiting("mia", wallet_id=lab.reserve) == []
    assert lab.seen("mia") == lab.seen("ada") == [request]
    assert lab.waiting("ada") == [] and lab.seen("eve") == lab.seen("pat") == []
    for name in ("pat", "eve", "ada"):
        refused(NotAllowed, lab.grant, name, request, source=lab.pats, match="no request here")
        refused(NotAllowed, lab.decline, name, request, match="no request here")
    lab.role(lab.lab, "mia", "spender")
    refused(NotAllowed, lab.grant, "mia", request, source=lab.reserve)
    lab.role(lab.lab, "kim", "manager")
    assert lab.waiting("kim") == [request] and lab.waiting("mia") == []


def test_whom_a_request_for_ones_own_wallet_is_put_before(lab, refused):
    """The managers of the labs that one was in when one asked, by membership or hub group."""
    lab.world.act(wallets.set_group, lab.pats, "vision")
    alone = lab.ask("ada", lab.own)
    grouped = lab.ask("ada", lab.own, groups=("vision",))
    assert lab.waiting("mia") == [alone, grouped]
    assert lab.waiting("mia", wallet_id=lab.lab) == [alone, grouped]
    assert lab.waiting("pat") == [grouped]
    # taking somebody in shows nothing of what they asked before
    lab.role(lab.pats, "ada")
    assert lab.waiting("pat") == [grouped]
    refused(NotAllowed, lab.grant, "pat", alone, source=lab.pats)
    lab.grant("pat", grouped, source=lab.pats)
    lab.grant("mia", alone, source=lab.lab)
    assert lab.world.balance(lab.own) == 20 * CREDIT


def test_letting_somebody_spend_from_ones_own_wallet_shows_nothing_of_theirs(lab, refused):
    lab.role(lab.own, "eve")
    eves = lab.world.act(wallets.create, "~eve", owner_id=lab.who("eve"))
    request = lab.ask("eve", eves)
    assert lab.seen("ada") == []
    refused(NotAllowed, lab.decline, "ada", request)
    # a request for the wallet itself is its owner's to decide, of other wallets that she has
    request = lab.ask("eve", lab.own)
    assert lab.waiting("ada") == [request]
    lab.role(lab.pats, "ada", "manager")
    lab.grant("ada", request, source=lab.pats)


def test_a_manager_whom_nobody_knows_by_number(lab, refused):
    request = lab.ask("ada", lab.lab)
    for verb in (
        lambda: lab.world.act(requests.grant, request, policy=POLICY, by_right=False,
                              from_wallet_id=lab.reserve),
        lambda: lab.world.act(requests.decline, request, note="x", by_right=False),
        lambda: lab.world.act(requests.withdraw, request),
    ):  # fmt: skip
        refused(NotAllowed, verb)


# -- other ends -----------------------------------------------------------------------------------


def test_declined_with_a_reason(lab, refused):
    request = lab.ask("ada", lab.lab)
    refused(BadInput, lab.decline, "mia", request, " ", match="why it is declined")
    refused(BadInput, lab.decline, "mia", request, "x" * 2001)
    lab.decline("mia", request)
    row = lab.one(request)
    assert (row["state"], row["answer"], row["decided_by"]) == (
        "declined", "no money left this year", "mia",
    )  # fmt: skip
    assert lab.audited(request)[1:] == [("request.declined", "mia")]
    refused(Conflict, lab.decline, None, request, match="is declined")
    refused(Conflict, lab.grant, None, request, match="is declined: only a new one")
    refused(Conflict, lab.withdraw, "ada", request)


def test_taken_back_by_who_asked(lab, refused):
    request = lab.ask("ada", lab.lab)
    for name in ("mia", None):
        refused(NotAllowed, lab.withdraw, name, request)
    refused(NotFound, lab.withdraw, "ada", 999)
    lab.withdraw("ada", request)
    assert (lab.one(request)["state"], lab.one(request)["answer"]) == ("withdrawn", None)
    assert lab.audited(request)[1:] == [("request.withdrawn", "ada")]
    refused(Conflict, lab.grant, None, request, match="is withdrawn")
    refused(Conflict, lab.withdraw, "ada", request)


def test_a_wallet_that_closes_meanwhile(lab, refused):
    request = lab.ask("ada", lab.lab)
    lab.world.act(wallets.change, lab.lab, closed=True)
    refused(Conflict, lab.grant, None, request, match="lab is closed")
    refused(Conflict, lab.grant, "mia", request, source=lab.reserve, match="lab is closed")
    lab.decline("mia", request, "the project is over")


def test_credit_that_arrives_saves_a_server(lab):
    """The story from the other side: what is granted can be spent at once."""
    world = lab.world
    world.act(rules.add, Rule(0, "wallet", lab.own, person="ada"))
    refusal = world.admit(world.ask("ada"))
    assert refusal.decision == "refused"
    lab.grant("mia", lab.ask("ada", lab.own, 5), 1, source=lab.lab)
    world.run("ada")
    assert world.admit(world.ask("ada", "second")).decision == "refused"


# -- lists ----------------------------------------------------------------------------------------


def test_lists(lab):
    lab.role(lab.lab, "gus")
    asked = [lab.ask("ada", lab.lab), lab.ask("gus", lab.lab), lab.ask("ada", lab.own)]
    lab.decline(None, asked[0])
    look = lab.world.look
    everything = Sight(everything=True)
    ids = lambda rows: [r["id"] for r in rows]  # noqa: E731
    assert ids(look(request_lists.listed)) == asked[::-1]
    assert ids(look(request_lists.listed, limit=1)) == asked[2:]
    assert ids(look(request_lists.listed, before_id=asked[2], limit=1)) == [asked[1]]
    assert ids(look(request_lists.listed, state="declined")) == [asked[0]]
    assert ids(look(request_lists.listed, wallet_id=lab.own)) == [asked[2]]
    assert ids(look(request_lists.mine, lab.who("ada"))) == [asked[2], asked[0]]
    assert ids(look(request_lists.mine, lab.who("ada"), limit=0)) == [asked[2]]
    assert ids(look(request_lists.waiting, everything)) == asked[1:]
    assert ids(look(request_lists.waiting, Sight())) == []
    assert ids(look(request_lists.decided)) == [asked[0]]
    assert ids(look(request_lists.listed, Sight().condition())) == []
    assert look(request_lists.open_count) == 2
    assert look(request_lists.one, 999) is None
    purses = look(request_lists.purses, lab.who("mia"), policy=POLICY)
    assert [(p["name"], p["free_micro"]) for p in purses] == [
        ("lab", 100 * CREDIT), ("reserve", 30 * CREDIT),
    ]  # fmt: skip
