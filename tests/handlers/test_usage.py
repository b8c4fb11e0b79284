"""Usage through the API and the page: one's own, a wallet's, everybody's; and what is metered."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from bs4 import BeautifulSoup

from jhub_usage.actions import usage, views, wallets
from jhub_usage.scopes import ACCESS

from .fakes import Role
from .world import World

SCOPE = "custom:jhub-usage:"
ADA, MIA, EVE = Role("ada-token", "ada"), Role("mia-token", "mia"), Role("eve-token", "eve")
READER = Role("read-token", "reader", (ACCESS, SCOPE + "read"))
ACCOUNTANT = Role("manage-token", "accountant", (ACCESS, SCOPE + "manage"))
METER = Role("meter-service", "storage", (SCOPE + "manage",), kind="service")
ROOT = Role("root-browser", "root", browser=True, admin=True)
ADA_BROWSER = Role("ada-browser", "ada", browser=True)
MIA_BROWSER = Role("mia-browser", "mia", browser=True)
HOSTILE = """</script><script>alert(1)</script>"'<img src=x onerror=alert(2)>{{7*7}}"""


@pytest.fixture
async def world(make_site):
    """Ada ran an hour on the lab, and runs; mia ran half an hour on it with another profile."""
    site = await make_site(cores_of_nodes={"n1": 8})
    for role in (ADA, MIA, EVE, READER, ACCOUNTANT, METER, ROOT, ADA_BROWSER, MIA_BROWSER):
        site.login(role)
    made = World(site)
    made.end(made.start("mia", "x", ago_s=1800, profile="big"))
    return made


async def ask(world, role, query="", status=200):
    answer = await world.site.ask(role, "GET", f"api/usage{query}")
    assert answer.status == status, answer.text
    return answer.json if status == 200 else answer


def people(found) -> set:
    return {r["person"] for r in found["rows"]}


async def test_one_sees_ones_own_by_day(world):
    found = await ask(world, ADA, "?by=day,profile")
    assert found["by"] == ["day", "profile"]
    assert {r["profile"] for r in found["rows"]} == {"gpu"}
    total = found["totals"]
    assert total["starts"] == 2
    assert 1.0 <= float(total["gpu_hours"]) < 1.1
    assert float(total["core_hours"]) == pytest.approx(2 * float(total["hours"]), abs=1e-5)
    assert total["total_core_hours"] == total["core_hours"]
    assert total["total_node_hours"] == "0"
    assert 4_000_000 <= total["cost_micro"] < 4_400_000
    days = {r["day"] for r in found["rows"]}
    now = datetime.now(UTC)
    assert days <= {(now - timedelta(hours=h)).date().isoformat() for h in range(3)}
    begin, end = datetime.fromisoformat(found["begin"]), datetime.fromisoformat(found["end"])
    assert end - begin == timedelta(days=30) and begin < now < end
    assert "By when it happened" in found["counted"]


async def test_nobody_sees_anybody_elses(world):
    assert (await ask(world, EVE))["rows"] == []
    own = await ask(world, EVE, "?by=person&person=eve")
    assert own["rows"] == []
    for query in ("?person=ada", "?person=nobody", "?by=day&person=mia"):
        answer = await ask(world, EVE, query, 403)
        assert answer.code == "not_allowed"
    lab = await ask(world, EVE, f"?wallet_id={world.lab}", 403)
    gone = await ask(world, EVE, "?wallet_id=999999", 403)
    assert lab.text == gone.text
    await ask(world, EVE, "?wallet_id=0", 403)


async def test_a_manager_sees_all_of_the_wallet_and_a_spender_their_part(world):
    lab = f"wallet_id={world.lab}"
    assert people(await ask(world, MIA, f"?by=person&{lab}")) == {"ada", "mia"}
    assert people(await ask(world, MIA, f"?by=person&{lab}&person=ada")) == {"ada"}
    assert people(await ask(world, MIA, "?by=person")) == {"mia"}
    await ask(world, MIA, "?person=ada", 403)
    assert people(await ask(world, ADA, f"?by=person&{lab}")) == {"ada"}
    await ask(world, ADA, f"?person=mia&{lab}", 403)
    # a role through a hub group is that of a spender
    world.site.act(wallets.set_group, world.lab, "physics")
    pal = world.site.login(Role("pal-token", "pal", groups=("physics",)))
    assert (await ask(world, pal, f"?by=person&{lab}"))["rows"] == []


async def test_rights(world):
    everything = await ask(world, READER, "?by=person,wallet")
    assert {(r["person"], r["wallet"]) for r in everything["rows"]} == {
        ("ada", "lab"), ("mia", "lab")
    }  # fmt: skip
    assert everything["totals"]["starts"] == 3
    assert (await ask(world, READER, "?person=mia"))["totals"]["starts"] == 1
    assert (await ask(world, READER, "?person=nobody"))["rows"] == []
    assert (await ask(world, READER, "?wallet_id=0"))["rows"] == []
    assert (await ask(world, READER, "?profile=big&by="))["totals"]["starts"] == 1
    assert (await ask(world, READER, "?gpu_model=A100&node="))["totals"]["starts"] == 3
    assert (await ask(world, READER, "?gpu_model="))["rows"] == []
    # who manages wallets sees all of each, and of the rest their own
    assert people(await ask(world, ACCOUNTANT, f"?by=person&wallet_id={world.lab}")) == {
        "ada", "mia"
    }  # fmt: skip
    assert (await ask(world, ACCOUNTANT))["rows"] == []
    await ask(world, ACCOUNTANT, "?person=ada", 403)


async def test_a_namesake_sees_nothing_of_who_had_the_name(world):
    site = world.site
    again = site.login(Role("ada2-token", "ada"))
    site.hub.add("ada", created_at=datetime(2026, 11, 1, tzinfo=UTC))
    assert (await ask(world, again))["rows"] == []


@pytest.mark.parametrize("site_url", ["sqlite", "postgres"], indirect=True)
async def test_windows(world):
    now = datetime.now(UTC)
    today, tomorrow = now.date(), now.date() + timedelta(days=1)
    whole = await ask(world, READER, f"?by=&begin={today - timedelta(days=1)}&end={tomorrow}")
    assert whole["totals"]["starts"] == 3
    assert whole["begin"] == f"{today - timedelta(days=1)}T00:00:00Z"
    since = (now - timedelta(minutes=45)).isoformat().replace("+00:00", "Z")
    part = await ask(world, READER, f"?begin={since}&by=person")
    assert part["totals"]["starts"] == 2, "ada's first one began before"
    future = (now + timedelta(days=9)).date()
    assert (await ask(world, READER, f"?begin={future}&end={future + timedelta(1)}"))["rows"] == []
    # parts sum to the whole
    cut = (now - timedelta(minutes=20)).isoformat().replace("+00:00", "Z")
    old = now.date() - timedelta(days=2)
    first = await ask(world, READER, f"?by=&begin={old}&end={cut}&person=mia")
    second = await ask(world, READER, f"?by=&begin={cut}&person=mia")
    both = await ask(world, READER, f"?by=&begin={old}&person=mia")
    for name in ("starts", "cost_micro"):
        assert first["totals"][name] + second["totals"][name] == both["totals"][name]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("?by=colour", "grouped by day, week"),
        ("?by=day,month", "one of day, week and month"),
        ("?by=person,person", "each thing once"),
        ("?end=2026-11-20", "has a begin"),
        ("?begin=2026-11-20&end=2026-11-20", "to a later one"),
        ("?begin=2026-11-20T00:00:00", "no time zone"),
        ("?begin=soon", "not an ISO time"),
        ("?begin=1999-12-31", "between 2000 and 2200"),
        ("?begin=0001-01-01", "between 2000 and 2200"),
        ("?begin=2026-11-01&end=9999-12-31", "between 2000 and 2200"),
        ("?begin=2026-13-01", "is not a day"),
        ("?begin=2026-11-01&end=2300-01-01T00:00:00Z", "between 2000 and 2200"),
        ("?wallet_id=x", "whole number"),
        ("?nonsense=1", "no field"),
    ],
)
async def test_what_can_not_be_asked(world, query, why):
    answer = await ask(world, READER, query.replace(" ", "%20"), 400)
    assert why in answer.json["error"]["message"], answer.text


async def test_as_csv(world):
    answer = await world.site.ask(READER, "GET", "api/usage?by=day,person&format=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="usage-2')
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert {r["person"] for r in rows} == {"ada", "mia"}
    (mia,) = (r for r in rows if r["person"] == "mia")
    assert (mia["starts"], mia["gpu_hours"][:3], mia["currency"]) == ("1", "0.5", "USD")
    assert mia["cost"].startswith("2.")


async def test_rollups_may_be_dropped_at_any_time(world):
    """They hold nothing that the sessions do not."""
    query = f"?by=day,person,profile&begin=2026-01-01&end={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    before = await ask(world, READER, query)
    world.site.act(usage.rebuild, policy=world.site.policy)
    assert (await ask(world, READER, query))["rows"] == before["rows"]


# -- the page -------------------------------------------------------------------------------------


async def page(world, role, query="") -> BeautifulSoup:
    answer = await world.site.ask(role, "GET", f"usage{query}")
    assert answer.status == 200, answer.text
    assert " style=" not in answer.text, "the browser would refuse it"
    return BeautifulSoup(answer.text, "html.parser")


def words(soup) -> str:
    return " ".join(soup.find("main").get_text(" ", strip=True).split())


async def test_the_page_draws_what_its_table_says(world):
    soup = await page(world, ROOT, "?by=person")
    text = words(soup)
    assert "Everybody's servers, the last 30 days" in text
    svg = soup.find("svg", {"role": "img"})
    title = svg.find(id="usage-chart-title").get_text()
    assert title == "GPU hours per day, by person"
    bars = [g.find("title").get_text() for g in svg.find_all("g")]
    assert len(bars) == 30
    drawn = [b for b in bars if "ada: " in b]
    table = soup.find("details").find("table")
    heads = [th.get_text(strip=True) for th in table.find("thead").find_all("th")]
    assert heads == ["Day", "ada", "mia", "Sum"]
    rows = [[td.get_text(strip=True) for td in tr.find_all("td")]
            for tr in table.find("tbody").find_all("tr")]  # fmt: skip
    for bar, row in zip([b for b in bars if ": 0" not in b.splitlines()[0]], rows, strict=True):
        assert bar.splitlines()[0].endswith(f": {row[-1]}"), (bar, row)
    assert drawn
    # each part of a bar has the colour of its head
    assert len(svg.find_all("rect", {"class": "usage-c0"})) == len(drawn)


async def test_everybody_has_the_page(world):
    soup = await page(world, ADA_BROWSER)
    text = words(soup)
    assert "Your servers, the last 30 days" in text and "mia" not in text
    assert soup.find("a", {"href": "/services/usage/usage"})["aria-current"] == "page"
    assert soup.find("select", {"name": "wallet"}) is not None
    assert soup.find("input", {"name": "person"}) is None
    splits = [o["value"] for o in soup.find("select", {"name": "by"}).find_all("option")]
    assert "person" not in splits
    other = await page(world, ADA_BROWSER, "?person=mia")
    assert "You see your own usage" in words(other) and "Your servers" in words(other)
    for name in ("other", "nowhere"):
        refused = await page(world, ADA_BROWSER, f"?wallet={name}")
        assert "There is no wallet here that you may see." in words(refused), name


async def test_a_manager_looks_at_the_wallet(world):
    soup = await page(world, MIA_BROWSER, "?wallet=lab&by=person&show=starts")
    text = words(soup)
    assert "All that ran on the wallet lab" in text and "ada" in text
    link = soup.find("a", string="ada")["href"]
    for part in ("person=ada", "wallet=lab", "by=profile", "show=starts"):
        assert part in link
    one = await page(world, MIA_BROWSER, link.removeprefix("/services/usage/usage"))
    assert "What ada ran on the wallet lab" in words(one) and "big" not in words(one)


async def test_months(world):
    month = f"{datetime.now(UTC):%Y-%m}"
    soup = await page(world, ROOT, f"?month={month}&show=cost")
    assert f"{datetime.now(UTC):%B %Y}" in words(soup)
    chosen = soup.find("select", {"name": "month"}).find("option", {"selected": ""})
    assert chosen["value"] == month
    assert "$" in soup.find("svg", {"role": "img"}).find("g").find("title").get_text()
    for wrong in ("2019-01", "9999-99", "x"):
        assert "the last 30 days" in words(await page(world, ROOT, f"?month={wrong}"))


async def test_the_page_offers_the_file_of_what_it_shows(world):
    soup = await page(world, MIA_BROWSER, "?wallet=lab&by=person")
    link = soup.find("a", {"download": ""})["href"]
    answer = await world.site.ask(MIA_BROWSER, "GET", link.removeprefix("/services/usage/"))
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert {r["person"] for r in rows} == {"ada", "mia"}
    assert {"day", "person", "gpu_hours", "cost"} <= set(rows[0])


async def test_hostile_names_stay_words(world):
    site = world.site
    site.act(wallets.create, HOSTILE)
    world.end(world.start("ada", "y", ago_s=60, profile=HOSTILE))
    answer = await site.ask(ROOT, "GET", "usage")
    soup = BeautifulSoup(answer.text, "html.parser")
    assert "alert(1)" not in "".join(s.get_text() for s in soup.find_all("script"))
    assert not soup.find("img", {"src": "x"})
    assert HOSTILE in [a.get_text() for a in soup.find_all("a")]


async def test_an_empty_page_says_so(world):
    world.site.login(Role("new-browser", "new", browser=True))
    soup = await page(world, Role("new-browser", "new", browser=True))
    assert "Nothing was used in this time." in words(soup)
    assert soup.find("svg", {"role": "img"}) is None
    assert "Names are compared whole." in words(await page(world, ROOT, "?person=nobody"))


# -- metered --------------------------------------------------------------------------------------


def event(key, **more) -> dict:
    return {"resource": "tokens", "quantity": "1", "price": "0.0000004", "key": key} | more


async def test_a_service_tells_events(world):
    path = f"api/wallets/{world.lab}/metered"
    tell = world.site.ask
    charged = [(await tell(METER, "POST", path, event(f"e{n}"))).json for n in range(5)]
    assert [c["charged_micro"] for c in charged] == [0, 0, 1, 0, 1]
    assert (await tell(METER, "POST", path, event("e2"))).json == charged[2]
    assert (await tell(METER, "POST", path, event("e2", quantity="2"))).code == "key_reused"
    listed = (await tell(MIA, "GET", path)).json["metered"]
    assert [(m["resource"], m["month_exact"]) for m in listed] == [("tokens", "0.000002")]
    rows = world.site.look(views.audit_rows)
    told = [r for r in rows if r["action"] == "wallet.metered"]
    assert len(told) == 5 and {r["actor_name"] for r in told} == {"storage"}
    entries = (await tell(MIA, "GET", f"api/wallets/{world.lab}/entries")).json["entries"]
    assert [e["note"] for e in entries if e["amount_micro"] == -1] == ["metered: tokens"] * 2


async def test_who_may_meter(world):
    path = f"api/wallets/{world.lab}/metered"
    for role in (ADA, MIA, READER):
        answer = await world.site.ask(role, "POST", path, event("x"))
        assert answer.status == 403, role
    for role in (ADA, EVE):
        assert (await world.site.ask(role, "GET", path)).status == 403
    answer = await world.site.ask(METER, "POST", "api/wallets/999999/metered", event("x"))
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (event("a", quantity="-1"), "quantity"),
        (event("a", quantity="1e99"), "quantity"),
        (event("a", price="x"), "price"),
        (event("a", resource="a b"), "resource"),
        (event(""), "key"),
        (event("a", at="2026-11-20T10:00:00"), None),
        ({"resource": "x", "quantity": "1", "price": "1"}, "key"),
    ],
)
async def test_what_can_not_be_metered(world, body, field):
    answer = await world.site.ask(METER, "POST", f"api/wallets/{world.lab}/metered", body)
    assert (answer.status, answer.code) == (400, "bad_input")
    assert field is None or answer.json["error"]["field"] == field


async def test_a_spender_does_not_see_what_is_metered_for_the_wallet(world):
    await world.site.ask(METER, "POST", f"api/wallets/{world.lab}/metered", event("a", price="1"))
    entries = (await world.site.ask(ADA, "GET", f"api/wallets/{world.lab}/entries")).json
    assert {e["kind"] for e in entries["entries"]} == {"charge"}
    assert all(e["session_id"] for e in entries["entries"])
