"""A closed month's statement is the same bytes, whatever is renamed, given back or learnt later."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from jhub_usage.actions import (
    advancing,
    allowances,
    check,
    corrections,
    limits,
    months,
    ownership,
    privacy,
    rates,
    refunds,
    statements,
    wallets,
)
from jhub_usage.domain.admission import PersonKey, Policy
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.audit import Actor
from jhub_usage.domain.errors import BadInput, NotFound
from jhub_usage.domain.invariants import failed
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.money import Currency
from jhub_usage.domain.statements import canonical, csv_text, hours
from jhub_usage.store import people
from jhub_usage.store import tables as t

from .test_months import close
from .world import BORN, CPU, POLICY

NOVEMBER, DECEMBER = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def every_invariant_holds_in_the_end(world):
    yield
    assert failed(world.look(check.check)) == []


def statement(world, wallet_id, label="2026-11", policy=POLICY, **more):
    return world.look(statements.statement, wallet_id, label, policy=policy, **more)


def kinds(s):
    return {k["kind"]: k["amount_micro"] for k in s["kinds"]}


def person_id(world, name):
    return world.look(ownership.id_of_name, "hub", name)


def charges_of(world, session_id):
    return [e["id"] for e in world.entries(session_id=session_id)[::-1] if e["kind"] == "charge"]


class Lab:
    """A month of two labs: servers over both of its ends, allowances, refunds, corrections."""

    def __init__(self, world):
        self.world = world
        world.now = NOVEMBER - timedelta(hours=3)
        self.physics = world.wallet("physics", 200, pays_for="*", title="The physicists")
        self.biology = world.wallet("biology", 50, pays_for="bob")
        world.act(allowances.set_allowance, self.biology, Allowance(20_000_000, "week", 5_000_000),
                  policy=POLICY)  # fmt: skip
        self.quiet = world.wallet("quiet", 7)
        self.over_the_begin = world.run("ada", "begin")
        world.now = NOVEMBER + timedelta(hours=5)
        world.end(self.over_the_begin)
        self.ordinary = self.ran("cy", hours=3)
        self.cheap = self.ran("bob", "cpu", hours=2, shape=CPU, profile="cpu")
        self.big = self.ran("bob", hours=10)
        self.failed = world.admit(world.ask("dan", "broken")).session_id
        world.tell(self.failed, "started")  # and never answers: given back by itself
        world.wait(minutes=30)
        world.end(self.failed, "died", evidence="poll_exit")
        world.now = NOVEMBER + timedelta(days=20)
        _, second = charges_of(world, self.over_the_begin)
        world.act(wallets.refund, second, 1_500_000, policy=POLICY, note="the disk was slow")
        (charge,) = charges_of(world, self.ordinary)
        world.act(wallets.correct, charge, -2_000_000, policy=POLICY, note="a licence")
        world.act(wallets.transfer, self.physics, self.biology, 3_000_000, policy=POLICY)
        world.now = DECEMBER - timedelta(hours=7)
        self.over_the_end = world.run("ada", "end")
        self.stuck = world.run("eve", "stuck")
        world.now = DECEMBER + timedelta(days=3)
        close(world, "2026-10")
        close(world, "2026-11")

    def ran(self, name, server="", *, hours, **more) -> str:
        session_id = self.world.run(name, server, **more)
        self.world.wait(minutes=60 * hours)
        self.world.end(session_id, evidence="post_stop_hook")
        return session_id

    @property
    def ids(self):
        return (self.physics, self.biology, self.quiet)

    def bytes(self, policy=POLICY) -> dict:
        """Every statement of the month, of wallets and of people, as it is made now."""
        world = self.world
        made = {i: statement(world, i, policy=policy) for i in self.ids}
        for name in ("ada", "bob"):
            made[name] = statement(world, self.physics, policy=policy,
                                   person_id=self.people[name])  # fmt: skip
        return {key: (canonical(s), csv_text(s)) for key, s in made.items()}

    @property
    def people(self):
        rows = self.world.look(lambda tx: list(tx.execute(sa.select(t.sessions_))))
        by_session = {r.id: r.person_id for r in rows}
        return {"ada": by_session[self.over_the_begin], "bob": by_session[self.big]}


@pytest.fixture
def lab(world):
    return Lab(world)


def test_the_statement_of_a_month(world, lab):
    s = statement(world, lab.physics)
    assert (s["state"], s["month"], s["currency"], s["timezone"]) == (
        "closed", "2026-11", "USD", "UTC",
    )  # fmt: skip
    assert s["wallet"] == {"id": lab.physics, "name": "physics", "title": "The physicists"}
    # 3 hours of October were charged before; 5 + 3 + half + twice 7 hours are November's
    assert s["opening_micro"] == 200_000_000 - 12_000_000
    assert kinds(s) == {
        "charge": -(20 + 12 + 2 + 56) * 10**6, "refund": 3_500_000, "correction": -2_000_000,
        "transfer": -3_000_000,
    }  # fmt: skip
    assert s["closing_micro"] == s["opening_micro"] + sum(kinds(s).values())
    assert s["total"]["amount_micro"] == sum(kinds(s).values())
    people = {p["person"]: (p["amount_micro"], hours(p["gpu_us"])) for p in s["people"]}
    assert people == {
        "ada": (-20_000_000 + 1_500_000 - 28_000_000, "12"),
        "cy": (-14_000_000, "3"),
        "dan": (0, "0.5"),
        "eve": (-28_000_000, "7"),
        None: (-3_000_000, "0"),
    }
    assert [p["profile"] for p in s["profiles"]] == ["gpu", None]
    assert "pending" not in s
    later = statement(world, lab.physics, "2026-12")
    assert later["opening_micro"] == s["closing_micro"]
    assert later["state"] == "open" and later["pending_micro"] == -2 * 72 * 4_000_000
    october = statement(world, lab.physics, "2026-10")
    assert (october["state"], october["opening_micro"]) == ("closed", 0)
    assert october["closing_micro"] == s["opening_micro"]


def test_allowances_and_transfers_name_what_they_are(world, lab):
    s = statement(world, lab.biology)
    # all of one week's was used, of the next one's nothing; then nothing comes that does not go
    grants = [(e["allowance"], e["amount_micro"]) for e in s["entries"] if e["kind"] == "grant"]
    assert grants == [("2026-W45", 20_000_000), ("2026-W46", 5_000_000)]
    (moved,) = [e for e in s["entries"] if e["kind"] == "transfer"]
    assert (moved["counter_wallet"], moved["amount_micro"]) == ("physics", 3_000_000)
    assert statement(world, lab.quiet)["entries"] == []
    assert statement(world, lab.quiet)["closing_micro"] == 7_000_000


def test_it_is_the_same_bytes_whatever_happens_later(world, lab):
    before = lab.bytes()
    # renames, of a person and of both kinds of wallets
    with world.db.write() as tx:
        tx.execute(t.people.update().where(t.people.c.name == "ada").values(name="ada.lovelace"))
        tx.execute(t.wallets_.update().where(t.wallets_.c.id == lab.biology).values(name="bio"))
    world.act(wallets.change, lab.physics, title="Physics, theoretical", closed=True)
    # prices, limits, the allowance
    world.act(rates.add, "gpu", 9_999_999)
    world.act(rates.add, "start", 250_000)
    world.act(limits.add, Limit("everyone", "gpus", 1000))
    world.act(allowances.set_allowance, lab.biology, Allowance(1, "day", None), policy=POLICY)
    # gifts and corrections of that month's entries
    (charge,) = charges_of(world, lab.big)
    world.act(wallets.refund, charge, None, policy=POLICY, note="all of it")
    _, charge = charges_of(world, lab.over_the_begin)
    world.act(wallets.correct, charge, -1_000_000, policy=POLICY, note="more")
    world.act(refunds.waive, lab.ordinary, note="sorry", policy=POLICY)
    # late evidence, by a person and by itself: earlier and later, over the end of the month, too
    by = Actor("person", "olga")
    with world.db.write() as tx:
        for session_id, more in (
            (lab.big, {"ended_at": world.session(lab.big).boundaries["started"]["at"]
                       + timedelta(hours=1)}),
            (lab.over_the_begin, {"started_at": NOVEMBER - timedelta(hours=2, minutes=30)}),
        ):  # fmt: skip
            corrections.correct_boundaries(
                tx, session_id, note="the log says so", policy=POLICY, actor=by, **more
            )
    world.tell(lab.failed, "ended", at=world.session(lab.failed).boundaries["started"]["at"],
               evidence="terminated_at", reason="died")  # fmt: skip
    world.end(lab.over_the_end, at=DECEMBER - timedelta(hours=1), evidence="last_seen")
    assert lab.bytes() == before
    # the wallets go on, and so do the months
    world.wait(minutes=60)
    world.end(lab.stuck)
    world.now = datetime(2027, 1, 5, tzinfo=UTC)
    close(world, "2026-12", policy=Policy(timezone="UTC", currency=Currency("EUR", "€", 2)))
    assert lab.bytes() == before
    # another currency and another zone of the setting, too
    assert lab.bytes(Policy(currency=Currency("EUR", "€", 0), timezone="Asia/Tokyo")) == before
    assert failed(world.look(check.check)) == []
    # what came later stands in December, with what it corrects and with negative usage
    december = statement(world, lab.biology, "2026-12")
    assert (december["state"], december["currency"]) == ("closed", "EUR")
    back = {e["corrects_month"] for e in december["entries"] if e["kind"] == "refund"}
    assert back == {"2026-11"}
    (rebooked,) = [e for e in december["entries"] if e["session_id"] == lab.big
                   and e["kind"] == "correction" and not e["goodwill"]]  # fmt: skip
    assert (rebooked["amount_micro"], rebooked["elapsed_us"]) == (36_000_000, -9 * 3_600_000_000)
    assert next(x for x in december["sessions"] if x["id"] == lab.big)["gpu_us"] < 0
    assert december["wallet"]["name"] == "bio"


def test_only_a_pseudonym_changes_it(world, lab):
    with world.db.write() as tx:
        tx.execute(t.sessions_.update().where(t.sessions_.c.id == lab.big).values(server_name=""))
    before = statement(world, lab.biology)
    who = lab.people["bob"]
    world.act(privacy.pseudonymise, who, hub_id="hub")
    after = statement(world, lab.biology)
    assert canonical(after) != canonical(before)
    text = canonical(after).decode()
    assert "bob" not in text and f"person-{who}" in text

    def without_names(value):
        if isinstance(value, dict):
            return {k: without_names(v) for k, v in value.items()
                    if k not in ("person", "server_name", "note")}  # fmt: skip
        return [without_names(v) for v in value] if isinstance(value, list) else value

    assert without_names(after) == without_names(before)
    assert canonical(statement(world, lab.biology)) == canonical(after)


def test_a_re_created_person_of_the_same_name_is_another_line(world):
    world.wallet("lab", 100, pays_for="*")
    for number, born in ((1, BORN), (2, BORN + timedelta(days=100))):
        ran = world.run("ada", str(number), number=number, born=born)
        world.wait(minutes=60)
        world.end(ran)
    s = statement(world, 1)
    assert [(p["person"], p["amount_micro"]) for p in s["people"]] == [
        ("ada", -4_000_000), ("ada", -4_000_000), (None, 100_000_000),
    ]  # fmt: skip


def test_one_person_sees_their_own_lines_only(world, lab):
    s = statement(world, lab.physics, person_id=lab.people["ada"])
    assert (s["only_person"], s["opening_micro"], s["closing_micro"]) == ("ada", None, None)
    assert {x["person"] for x in s["sessions"]} == {"ada"}
    assert kinds(s) == {"charge": -48_000_000, "refund": 1_500_000}
    assert b'"dan"' not in canonical(s) and b'"ada"' in canonical(s)
    december = statement(world, lab.physics, "2026-12", person_id=lab.people["ada"])
    assert [e["session_id"] for e in december["pending"]] == [lab.over_the_end]
    nobody = statement(world, lab.quiet, person_id=lab.people["ada"])
    assert (nobody["entries"], nobody["only_person"]) == ([], "ada")


def test_an_open_month_shows_what_is_not_booked_yet(world):
    """A server over the month's end, while nothing was booked yet: each part in its month."""
    lab = world.wallet("lab", 100, pays_for="*")
    world.act(allowances.set_allowance, lab, Allowance(10_000_000, "month", 0), policy=POLICY)
    world.now = DECEMBER - timedelta(hours=2)
    ran = world.run()
    world.now = DECEMBER + timedelta(hours=3)
    november, december = statement(world, lab), statement(world, lab, "2026-12")
    assert [(e["kind"], e["amount_micro"], e["session_id"]) for e in november["pending"]] == [
        ("charge", -8_000_000, ran),
    ]  # fmt: skip
    assert [(e["kind"], e["amount_micro"], e["session_id"]) for e in december["pending"]] == [
        ("grant", 8_000_000, None), ("charge", -12_000_000, ran),
    ]  # fmt: skip
    assert december["opening_micro"] == november["closing_micro"]
    assert [x["person"] for x in december["sessions"]] == ["ada"]
    # and what is booked then is what was foretold
    world.act(advancing.advance_due, policy=POLICY)
    world.end(ran)
    for label, told in (("2026-11", november), ("2026-12", december)):
        booked = statement(world, lab, label)
        assert booked["pending"] == []
        assert booked["total"]["amount_micro"] == (
            told["total"]["amount_micro"] + told["pending_micro"]
        )
        assert booked["total"]["gpu_us"] == sum(e["gpu_us"] for e in told["pending"])


def test_what_belongs_to_a_closed_month_is_pending_in_the_first_open_one(world):
    world.wallet("lab", 100, pays_for="*")
    world.now = DECEMBER - timedelta(seconds=60)
    ask = world.ask()
    world.admit(ask)
    world.now = DECEMBER + timedelta(days=3)
    close(world, "2026-11")
    # it did start in November, as the spool tells now
    world.tell(ask.session_id, "started", at=DECEMBER - timedelta(seconds=36))
    s = statement(world, 1, "2026-12")
    assert [(e["slice_end"], e["amount_micro"]) for e in s["pending"]] == [
        ("2026-12-01T00:00:00Z", -40_000), ("2026-12-04T00:00:00Z", -288_000_000),
    ]  # fmt: skip
    world.end(ask.session_id)
    assert {e["period"] for e in world.entries(session_id=ask.session_id)} == {"2026-12"}


@pytest.mark.parametrize(
    ("label", "error"),
    [
        ("2026-13", BadInput), ("2027-01", BadInput), ("2026-10", NotFound), ("2024-02", NotFound),
        ("9999-12", BadInput), ("0001-01", NotFound),
    ],
)  # fmt: skip
def test_months_without_a_statement(world, label, error):
    lab = world.wallet("lab", 1)
    with pytest.raises(error):
        statement(world, lab, label)


def test_wallets_without_a_statement(world):
    world.wallet("lab", 1)
    world.now = DECEMBER
    close(world, "2026-11")
    late = world.wallet("late", 1)
    with pytest.raises(NotFound, match="no such wallet when 2026-11 was closed"):
        statement(world, late)
    with pytest.raises(NotFound, match="There is no wallet 99"):
        statement(world, 99)
    assert statement(world, late, "2026-12")["closing_micro"] == 1_000_000
    assert world.look(statements.labels, late, policy=POLICY) == [("2026-12", "open")]
    assert world.look(statements.labels, 1, policy=POLICY) == [
        ("2026-12", "open"), ("2026-11", "closed"),
    ]  # fmt: skip
    assert world.look(statements.labels, 99, policy=POLICY) == []


def test_the_wallets_of_a_month(world, lab):
    def of(label, **more):
        rows = world.look(statements.of_month, label, policy=POLICY, **more)
        return [(r["name"], r["opening_micro"], r["closing_micro"]) for r in rows]

    november = of("2026-11")
    assert [name for name, *_ in november] == ["biology", "physics"]  # nothing booked for quiet
    for wallet_id, row in zip((lab.biology, lab.physics), november, strict=True):
        s = statement(world, wallet_id)
        assert row[1:] == (s["opening_micro"], s["closing_micro"])
    assert of("2026-11", limit=1) == november[:1]
    assert of("2026-11", after=("biology", lab.biology)) == november[1:]
    with world.db.write() as tx:
        tx.execute(t.wallets_.update().where(t.wallets_.c.id == lab.biology).values(name="zoology"))
    assert of("2026-11") == november
    world.act(wallets.grant, lab.biology, 5, policy=POLICY)
    assert [name for name, *_ in of("2026-12")] == ["zoology"]
    assert [m.count for m in world.look(months.listed, policy=POLICY)][:2] == [
        1, len(statement(world, lab.physics)["entries"])
        + len(statement(world, lab.biology)["entries"]),
    ]  # fmt: skip


def test_a_statement_is_whole_numbers_and_text(world, lab):
    def leaves(value):
        if isinstance(value, dict):
            return {x for v in value.values() for x in leaves(v)}
        if isinstance(value, list):
            return {x for v in value for x in leaves(v)}
        return {type(value)}

    made = json.loads(canonical(statement(world, lab.physics)))
    assert leaves(made) <= {int, str, bool, type(None)}
    assert made == statement(world, lab.physics)


def test_who_booked_it_is_named(world):
    lab = world.wallet("lab")
    with world.db.write() as tx:
        who = people.resolve(tx, "hub", [PersonKey("olga", 9, BORN)], tx.now())
        (olga,) = who.values()
        by = Actor("person", "olga", person_id=olga.id)
        wallets.grant(tx, lab, 1_000_000, policy=POLICY, actor=by, note="a gift")
    world.now = DECEMBER
    close(world, "2026-11")
    with world.db.write() as tx:
        tx.execute(t.people.update().values(name="other"))
    (entry,) = statement(world, lab)["entries"]
    assert (entry["actor_kind"], entry["actor"], entry["note"]) == ("person", "olga", "a gift")
