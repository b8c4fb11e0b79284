"""What files declare, what is wrong with them, and the difference to what there is."""

from datetime import UTC, datetime, timedelta

import pytest

from jhub_usage.adapters import files
from jhub_usage.domain import plans
from jhub_usage.domain.allowances import Allowance
from jhub_usage.domain.declared import Problems, limit_amount_text, parse_limit_amount
from jhub_usage.domain.declaring import declare
from jhub_usage.domain.held import Held, HeldWallet
from jhub_usage.domain.limits import SCALE
from jhub_usage.domain.rates import Rate

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
EMPTY = Held(NOW, "observe")


def declared(text, name="lab.yaml"):
    return declare(files.parse(text.encode(), name))


def lines(text, held=EMPTY):
    return [str(line) for line in plans.plan(declared(text), held).lines]


def problems(text, held=EMPTY, name="lab.yaml"):
    with pytest.raises(Problems) as caught:
        plans.plan(declared(text, name), held)
    return [str(p) for p in caught.value.problems]


def test_a_new_wallet_with_its_people():
    text = """
    wallets:
      - name: lab
        overdraft: 12.5
        starting_credit: 0.000001
        people: {ada: manager, bob: spender}
        groups: [physics]
    """
    assert lines(text) == [
        "+ wallet lab: overdraft 12.5",
        "+ credit lab: 0.000001 once, to start with",
        "+ person ada: not seen by the hub yet",
        "+ member lab: ada: manager",
        "+ person bob: not seen by the hub yet",
        "+ member lab: bob: spender",
        "+ group lab: physics",
    ]
    plan = plans.plan(declared(text), EMPTY)
    assert plan.new_wallets[0].overdraft_micro == 12_500_000
    assert plan.grants == [("lab", 1)]


def test_a_known_wallet_changes_only_in_what_is_given():
    held = Held(NOW, "observe", {"lab": HeldWallet(
        7, "lab", "Lab", 5_000_000, None, False, "", 9_000_000,
        {"ada": "manager", "bob": "spender"}, frozenset({"physics", "maths"}),
    )}, people={"ada": 1, "bob": 2})  # fmt: skip
    assert lines("wallets: [{name: lab}]", held) == []
    assert lines("wallets: [{name: lab, overdraft: 5, title: Lab}]", held) == []
    assert lines(
        "wallets: [{name: lab, overdraft: unlimited, closed: true, mode: 'off'}]", held
    ) == ["~ wallet lab: overdraft 5 -> unlimited, mode default -> off, closed no -> yes"]
    assert lines("wallets: [{name: lab, people: {bob: manager}, groups: [maths]}]", held) == [
        "- member lab: ada: was manager",
        "~ member lab: bob: spender -> manager",
        "- group lab: physics",
    ]
    # a list of people elsewhere adds to what is there, and to a wallet's own list
    assert lines("people: [{person: bob, wallet: lab}]", held) == []
    assert lines("people: [{person: cy, wallet: lab}]", held) == [
        "+ person cy: not seen by the hub yet",
        "+ member lab: cy: spender",
    ]
    text = """
    wallets: [{name: lab, people: {bob: spender}}]
    people: [{person: ada, wallet: lab, role: manager}]
    """
    assert lines(text, held) == []


def test_starting_credit_is_given_once():
    held = Held(NOW, "observe", {"lab": HeldWallet(7, "lab", starting_credit_micro=500_000_000)})
    assert lines("wallets: [{name: lab, starting_credit: 500}]", held) == []
    plan = plans.plan(declared("wallets: [{name: lab, starting_credit: 600}]"), held)
    assert plan.grants == [] and plan.changes == []
    assert [line.sign for line in plan.lines] == ["="]


def allowed(amount=100, period="month", carry=20, **more):
    """The wallet lab with an allowance."""
    kept = None if carry is None else carry * 10**6
    made = Allowance(amount * 10**6, period, kept) if amount else None
    wallet = HeldWallet(7, "lab", allowance=made, **more)
    return Held(NOW, "observe", {"lab": wallet}, {"ada": 1, "bob": 2})


@pytest.mark.parametrize(
    ("declared_", "held", "expected"),
    [
        ("{amount: 100, period: month, carry: 20}", EMPTY,
         "+ allowance lab: 100 per month, keeps 20; from now on"),
        ("{amount: 100, period: month, carry: 20}", allowed(0),
         "+ allowance lab: 100 per month, keeps 20; from now on"),
        ("{amount: 7.5, period: day}", allowed(0, allowance_ends=True),
         "+ allowance lab: 7.5 per day, keeps nothing; from the next day on"),
        ("{amount: 120, period: month, carry: 20}", allowed(),
         "~ allowance lab: 100 -> 120 per month, keeps 20; from the next month on"),
        ("{amount: 100, period: month}", allowed(),
         "~ allowance lab: 100 per month, keeps 20 -> keeps nothing; from the next month on"),
        ("{amount: 30, period: week, carry: full}", allowed(),
         "~ allowance lab: 100 per month, keeps 20 -> 30 per week, keeps everything; "
         "from the next week on"),
        ("none", allowed(), "- allowance lab: was 100 per month, keeps 20; "
                            "what is left expires at the end of the month"),
        ("{}", allowed(period="day"), "- allowance lab: was 100 per day, keeps 20; "
                                      "what is left expires at the end of the day"),
    ],
)  # fmt: skip
def test_an_allowance(declared_, held, expected):
    said = lines(f"wallets: [{{name: lab, allowance: {declared_}}}]", held)
    assert said[-1] == expected and len(said) == (2 if held is EMPTY else 1)


@pytest.mark.parametrize(
    ("declared_", "held"),
    [
        ("{amount: 100, period: month, carry: 20}", allowed()),
        ("{amount: '100.000000', period: month, carry: full}", allowed(carry=None)),
        ("none", allowed(0)),
        ("{}", allowed(0, allowance_ends=True)),
        ("", allowed()),  # a field without a value is one that is not given
    ],
)
def test_an_allowance_that_is_so_already(declared_, held):
    text = f"wallets: [{{name: lab, allowance: {declared_}}}]"
    plan = plans.plan(declared(text), held)
    assert (plan.lines, plan.allowances) == ([], [])


EACH = """
group_wallets:
  - name: "{group}"
    rule: false
    groups: [lab, empty]
    allowance: {amount: 100, period: month, carry: 20, per: member}
"""


def test_an_allowance_for_each_person_with_a_role():
    """Counted as they will be: who goes by the same files does not count, who comes does."""
    people = (
        "wallets: [{name: lab, people: {bob: spender, cy: manager}}]\n"
        "people: [{person: dan, wallet: lab}]\n"
    )
    held = Held(NOW, "observe", {
        "lab": HeldWallet(7, "lab", people={"ada": "manager", "bob": "manager"},
                          groups=frozenset({"lab"})),
        "empty": HeldWallet(8, "empty", groups=frozenset({"empty"})),
    }, people={"ada": 1, "bob": 2})  # fmt: skip
    said = lines(people + EACH, held)
    assert said[-2:] == [
        "+ allowance lab: 300 per month, keeps 60 (3 x 100); from now on",
        "= wallets 1: no allowance, as nobody has a role in empty",
    ]
    plan = plans.plan(declared(people + EACH), held)
    assert plan.allowances == [("lab", Allowance(300_000_000, "month", 60_000_000))]
    # when the last one goes, so does the allowance
    gone = lines("wallets: [{name: lab, people: {}}]\n" + EACH, allowed(people={"ada": "spender"}))
    assert "- allowance lab: was 100 per month, keeps 20; what is left expires at the end of the " \
           "month" in gone  # fmt: skip
    # what a wallet says of itself goes first
    own = "wallets: [{name: lab, people: {ada: spender}, allowance: {amount: 1, period: day}}]\n"
    assert "+ allowance lab: 1 per day, keeps nothing; from now on" in lines(own + EACH)


def test_an_allowance_for_each_group():
    text = EACH.replace(", per: member", ", per: group")
    assert [x for x in lines(text) if "allowance" in x] == [
        "+ allowance empty: 100 per month, keeps 20; from now on",
        "+ allowance lab: 100 per month, keeps 20; from now on",
    ]


def test_an_allowance_for_so_many_that_nobody_could_count_it():
    people = ", ".join(f"p{n}: spender" for n in range(11))
    text = f"wallets: [{{name: lab, people: {{{people}}}}}]\n" + EACH.replace("100", "100000000")
    (problem,) = problems(text)
    assert "allowance of 'lab'" in problem and "beyond 1,000,000,000" in problem


def test_a_template_makes_a_wallet_and_a_rule_for_each_group():
    text = """
    groups: [physics, maths]
    group_wallets: {name: "lab-{group}", title: "{group} lab", starting_credit: 500}
    wallets:
      - {name: lab-maths, overdraft: 100}
    rules:
      - {person: root, wallet: lab-maths}
      - {target: personal}
    """
    made = plans.plan(declared(text), EMPTY)
    assert {w.name: (w.title, w.overdraft_micro) for w in made.new_wallets} == {
        "lab-maths": ("maths lab", 100_000_000),
        "lab-physics": ("physics lab", 0),
    }
    assert sorted(made.grants) == [("lab-maths", 500_000_000), ("lab-physics", 500_000_000)]
    assert sorted(made.groups) == [
        ("lab-maths", "maths", True),
        ("lab-physics", "physics", True),
    ]
    # before the rule for everybody, which would otherwise hide them
    assert [plans.rule_text(r) for r in made.rules] == [
        "person root -> lab-maths",
        "group physics -> lab-physics",
        "group maths -> lab-maths",
        "everybody -> their own wallet, overdraft 0",
    ]


def test_templates_name_their_groups_or_take_all_that_are_named():
    for text, expected in (
        ("group_wallets: {name: 'g-{group}', groups: [a]}\ngroups: [a, b]", {"g-a"}),
        ("group_wallets: {name: 'g-{group}', groups: all}\ngroups: [a, b]", {"g-a", "g-b"}),
        (
            "group_wallets: [{name: 'g-{group}', rule: false}]\nlimits: [{resource: gpus, "
            "amount: 1, group: c}]\nexemptions: [{group: d}]\nwallets: [{name: w, groups: [e]}]",
            {"g-c", "g-d", "g-e", "w"},
        ),
    ):
        made = plans.plan(declared(text), EMPTY)
        assert {w.name for w in made.new_wallets} == expected


def test_rates_have_dates_and_are_never_edited():
    past = NOW - timedelta(days=9)
    rates = (
        Rate("gpu", "", "", 4_000_000, past),
        Rate("gpu", "", "", 9_000_000, NOW + timedelta(days=1)),
    )
    held = Held(NOW, "observe", rates=rates)
    assert lines("rates: [{resource: gpu, price: 4}]", held) == []
    assert lines("rates: [{resource: gpu, price: '4.25'}]", held) == [
        "~ rate gpu: 4 -> 4.25 from now"
    ]
    assert lines("rates: [{resource: gpu, price: none}]", held) == [
        "~ rate gpu: 4 -> none from now"
    ]
    assert lines("rates: [{resource: gpu, model: H100, price: none}]", held) == []
    same = f"rates: [{{resource: gpu, price: 4, starts_at: '{past.isoformat()}'}}]"
    assert lines(same, held) == []
    (text,) = problems(same.replace("price: 4", "price: 5"), held)
    assert "never edited" in text and "lab.yaml, line 1, rates[1]" in text


def test_rules_limits_and_exemptions_are_whole_lists():
    first = plans.plan(declared("rules: [{wallet: w}]\nwallets: [{name: w}]"), EMPTY)
    held = Held(NOW, "observe", {"w": HeldWallet(1, "w")}, rules=first.rules,
                exempt=frozenset({("person", "ada")}))  # fmt: skip
    assert lines("rules: [{wallet: w}]", held) == []
    assert lines("mode: observe", held) == []
    assert lines("rules:\nexemptions:\n", held) == []
    assert lines("rules: []\nexemptions: []\n", held) == [
        "- rule 1: everybody -> w",
        "- exemption person ada",
    ]
    limit = "limits: [{resource: gpus, amount: 4, person: '*', wallet: w}]"
    made = plans.plan(declared(limit), held)
    assert (made.limits[0].limit.subject, made.limits[0].limit.amount) == ("wallet_person", 4000)
    assert [str(x) for x in made.lines] == ["+ limit each person within the wallet w: 4 GPUs"]


@pytest.mark.parametrize(
    ("resource", "text", "amount"),
    [
        ("gpus", "1.5", 1500), ("cpu", "0.001", 1), ("memory", "0.5", 2**29), ("servers", "3", 3),
        ("session_hours", "1.25", 4500), ("session_hours", "100 s", 100),
        ("memory", "1e3", 1000 * 2**30),
    ],
)  # fmt: skip
def test_limits_are_read_in_units_of_people(resource, text, amount):
    assert parse_limit_amount(resource, text) == amount


@pytest.mark.parametrize("resource", SCALE)
@pytest.mark.parametrize("amount", [0, 1, 7, 999, 3600, 2**30, 2**53 - 1])
def test_limits_are_written_exactly(resource, amount):
    assert parse_limit_amount(resource, limit_amount_text(resource, amount)) == amount


BAD = [
    ("wallets: [{name: a, allowance: 100}]", "must be fields (amount, period, carry)"),
    ("wallets: [{name: a, allowance: {amount: 1}}]", "allowance: The field 'period' is missing"),
    ("wallets: [{name: a, allowance: {amount: 1, period: year}}]", "one of day, week, month"),
    ("wallets: [{name: a, allowance: {amount: 0, period: day}}]", "`allowance: none` takes it"),
    ("wallets: [{name: a, allowance: {amount: -1, period: day}}]", "amount must not be negative"),
    ("wallets: [{name: a, allowance: {amount: x, period: day}}]", "'x' is not a number"),
    ("wallets: [{name: a, allowance: {amount: 1, period: day, carry: some}}]", "'some' is not a"),
    ("wallets: [{name: a, allowance: {amount: 1, period: day, carry: -1}}]", "carry must not be"),
    ("wallets: [{name: a, allowance: {amount: 1, period: day, per: member}}]", "no field 'per'"),
    ("group_wallets: {name: '{group}', allowance: {amount: 1, period: day, per: head}}",
     "one of group, member"),
    ("wallets: [{name: lab, overdraft: -1}]", "wallets[1].overdraft: The overdraft must not"),
    ("wallets: [{name: lab, overdraft: 1e12}]", "beyond 1,000,000,000 credits"),
    ("wallets: [{name: lab, overdraft: 0.0000001}]", "more than six decimals"),
    ("wallets: [{name: lab, overdraft: nan}]", "is not a number"),
    ("wallets: [{name: lab, overdraft: lots}]", "wallets[1].overdraft: The overdraft 'lots'"),
    ("wallets: [{name: lab, overdraft: [1]}]", "must be text or a number, not a list"),
    ("wallets: [{name: lab}, {name: lab}]", "wallets[2]: The wallet 'lab'. It is also at"),
    ("wallets: [{title: x}]", "The field 'name' is missing."),
    ("wallets: [{name: lab, colour: red}]", "There is no field 'colour' here"),
    ("wallets: {name: lab}", "wallets: This must be a list, not a group of fields."),
    ("wallets: [lab]", "This must be fields"),
    (f"wallets: [{{name: {'x' * 256}}}]", "longer than 255 characters"),
    ("wallets: [{name: ' lab'}]", "begin or end with a blank"),
    ('wallets: [{name: "a\\u202eb"}]', "can not be seen"),
    ("wallets: [{name: ~ada}]", "needs an owner"),
    ("wallets: [{name: lab, mode: on}]", "one of off, observe, enforce, default, not 'on'"),
    ("wallets: [{name: lab, closed: maybe}]", "not 'maybe'"),
    ("wallets: [{name: lab, people: {ada: boss}}]", "wallets[1].people.ada: This is one of"),
    ("wallets: [{name: lab, people: {ada: }}]", "A role is one of manager, spender."),
    ("people: [{person: ada, wallet: nope}]", "There is no wallet 'nope'"),
    ("people: [{person: ada, role: manager}]", "A role needs a wallet."),
    ("rates: [{resource: tpu, price: 1}]", "There is no resource 'tpu'"),
    ("rates: [{resource: cpu, model: H100, price: 1}]", "A rate for cpu has no GPU model."),
    ("rates: [{resource: gpu, price: -1}]", "must not be negative"),
    ("rates: [{resource: gpu, price: 1, starts_at: 2026-12-01T00:00:00}]", "has no time zone"),
    ("rates: [{resource: gpu, price: 1, starts_at: tomorrow}]", "is not an ISO time"),
    ("rates: [{resource: gpu, price: 1}, {resource: gpu, price: 2}]", "rates[2]: Another rate"),
    ("rates: [{resource: gpu}]", "The field 'price' is missing."),
    ("rules: [{person: ada}]", "A rule names a wallet, or its target is personal."),
    ("rules: [{wallet: nope}]", "There is no wallet 'nope'"),
    ("rules: [{wallet: w, starting_grant: 5}]", "go with target: personal"),
    ("limits: [{resource: gpus, amount: -1}]", "must not be negative"),
    ("limits: [{resource: gpus, amount: 1e40}]", "too large"),
    ("limits: [{resource: gpus, amount: 0.0001}]", "finer than gpus are counted"),
    ("limits: [{resource: gpu, amount: 1}]", "one of gpus, cpu, memory, servers, gpu_hours"),
    ("limits: [{resource: gpus, amount: 1, group: a, person: b}]", "not for group and person"),
    ("limits: [{resource: gpus, amount: 1, person: a, each: true}]", "Only a limit for a group"),
    ("limits: [{resource: gpus, amount: 1, everyone: yes, person: a}]", "has no person"),
    ("limits: [{resource: session_hours, amount: 1}]", "Hours per session are limited for"),
    ("limits: [{resource: gpus, amount: 1}, {resource: gpus, amount: 2}]", "Another limit"),
    ("exemptions: [{person: a, group: b}]", "names one person, group or profile"),
    ("group_wallets: {name: lab}", "must hold {group}"),
    ("mode: banana", "mode: This is one of off, observe, enforce, not 'banana'."),
    ("moode: off", "There is no field 'moode' here"),
    ("[1, 2]", "This must be fields"),
    ("a: 1\na: 2", "is there twice"),
    ("wallets: [", "This is no YAML"),
    ("x: &a [1]\ny: *a", "Anchors and aliases"),
    ("x: !!python/object/apply:os.system [ls]", "There is no field 'x' here"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_bad_input_is_named_with_its_place(text, expected):
    found = problems(text)
    assert any(expected in line for line in found), found
    assert all(line.startswith("lab.yaml") for line in found)


def test_all_problems_of_all_files_are_told_at_once(tmp_path):
    (tmp_path / "a.yaml").write_text("wallets:\n  - name: a\n    overdraft: x\n  - title: b\n")
    (tmp_path / "rates.csv").write_text("resource,price\ngpu,4\ntpu,1\n")
    with pytest.raises(Problems) as caught:
        files.read_files([tmp_path / "a.yaml", tmp_path / "rates.csv"])
    places = [(p.where.rsplit("/", 1)[-1], p.path) for p in caught.value.problems]
    assert places == [
        ("a.yaml, line 3", "wallets[1].overdraft"),
        ("a.yaml, line 4", "wallets[2]"),
        ("rates.csv, line 3", "rates[2]"),
    ]
    with pytest.raises(Problems) as caught:
        files.read_files([tmp_path / "none.yaml", tmp_path / "also-none.csv"])
    assert len(caught.value.problems) == 2


def test_thousands_of_problems_fill_no_screen():
    with pytest.raises(Problems) as caught:
        declared("wallets:\n" + "  - {overdraft: -1}\n" * 3000)
    assert len(caught.value.problems) == 3000
    assert len(caught.value.message.splitlines()) == 51


def test_a_nested_bomb_is_refused_quickly():
    levels = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    levels += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert any("Anchors" in p for p in problems("\n".join(levels)))


@pytest.mark.parametrize(
    ("name", "text", "same_as"),
    [
        ("wallets.csv", "name,overdraft,groups\nlab,12.5,a; b\n",
         "wallets: [{name: lab, overdraft: 12.5, groups: [a, b]}]"),
        ("wallets.csv", "name,allowance,period,carry\nlab,12.5,week,full\nold,none,,\nx,,,\n",
         "wallets: [{name: lab, allowance: {amount: 12.5, period: week, carry: full}}, "
         "{name: old, allowance: none}, {name: x}]"),
        ("x.csv", "\ufeffperson;wallet;role\nada;lab;manager\nbob;lab;\ncy;;\n",
         "people: [{person: ada, wallet: lab, role: manager}, {person: bob, wallet: lab}, "
         "{person: cy}]"),
        ("groups-2026.csv", 'group\n"a, b"\n\nc\n', "groups: ['a, b', c]"),
        ("rates.csv", "resource,model,price,starts_at\ngpu,H100,4.5,2026-01-01T00:00:00Z\n",
         "rates: [{resource: gpu, model: H100, price: 4.5, starts_at: '2026-01-01T00:00:00Z'}]"),
        ("limits.csv", "resource,amount,person,each\ngpus,4,*,\n",
         "limits: [{resource: gpus, amount: 4, person: '*'}]"),
        ("rules.csv", "group,wallet,target\nphysics,lab,\n,,personal\n",
         "rules: [{group: physics, wallet: lab}, {target: personal}]"),
        ("e.csv", "kind,name\nperson,ada\n", "exemptions: [{person: ada}]"),
    ],
)  # fmt: skip
def test_csv_says_the_same_as_yaml(name, text, same_as):
    def plain(d):
        import dataclasses

        def strip(x):
            if dataclasses.is_dataclass(x):
                return {f.name: strip(getattr(x, f.name)) for f in dataclasses.fields(x)
                        if f.name != "at"}  # fmt: skip
            if isinstance(x, dict):
                return {k: strip(v) for k, v in x.items()}
            return [strip(v) for v in x] if isinstance(x, tuple | list) else x

        return strip(d)

    assert plain(declared(text, name)) == plain(declared(same_as))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("what.csv", "a,b\n1,2\n", "is not clear"),
        ("wallets.csv", "name,overdraft,period\nlab,0,month\n", "The field 'amount' is missing"),
        ("wallets.csv", "name,colour\n", "There is no column 'colour' for wallets"),
        ("wallets.csv", "name,name\n", "is there twice"),
        ("wallets.csv", "", "must name the columns"),
        ("wallets.csv", "name\na,b,c\n", "only 1 columns"),
        ("wallets.csv", 'name\n"abc\n', "This is no CSV"),
    ],
)
def test_bad_csv(name, text, expected):
    assert any(expected in p for p in problems(text, name=name))


def test_files_that_are_no_text():
    for name in ("a.csv", "a.yaml"):
        with pytest.raises(Problems):
            files.parse(b"\xff\xfe\x00\xd8", name)
