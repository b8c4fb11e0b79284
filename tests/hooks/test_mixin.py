"""Spawners that are not KubeSpawner: what their shape and profile are taken from."""

import re
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from jupyterhub.spawner import Spawner
from tornado.web import HTTPError

from jhub_usage.actions import allowances, hubs, views
from jhub_usage.domain.admission import Policy
from jhub_usage.domain.allowances import Allowance
from jhub_usage.spawning.form import _templates, wallet_line
from jhub_usage.spawning.shapes import person_of

from .books import BIG, GPU, PROFILES
from .nocluster import make_spawner, spawn, stop


class Plain(Spawner):
    """Starts at once, runs until it is stopped."""

    running = False

    async def start(self):
        self.running = True
        return "http://127.0.0.1:1"

    async def stop(self, now=False):
        self.running = False

    async def poll(self):
        return None if self.running else 0


@pytest.fixture
def make(config, books):
    return lambda **more: make_spawner(Plain, config, **more)


async def recorded(spawner, books):
    await spawn(spawner)
    spawner.add_poll_callback(lambda: None)
    await spawner._usage_gateway.drain()
    return books.last("ada")


async def test_a_profile_that_nobody_declared_has_no_say(make, books):
    """A rate, a rule or an exemption may depend on the profile: its name is not the user's word."""
    assert (await recorded(make(options={"profile": "cheap"}), books)).profile == ""


@pytest.mark.parametrize(("basis", "cpu", "memory"), [("request", 500, 1), ("limit", 2000, 4)])
async def test_limits_and_guarantees_count_by_setting(make, books, config, basis, cpu, memory):
    config.JHubUsage.resource_basis = basis
    config.Spawner.update(
        {"cpu_limit": 2, "cpu_guarantee": 0.5, "mem_limit": "4G", "mem_guarantee": "1G"}
    )
    row = await recorded(make(), books)
    assert (row.cpu_milli, row.memory_bytes) == (cpu, memory * 2**30)


async def test_beside_an_admins_own_form_the_declared_gpus_count(make, books, config):
    config.JHubUsage.profiles = PROFILES
    config.Spawner.options_form = "<input name=profile>"
    config.Spawner.cpu_limit = 3
    config.Spawner.options_from_form = lambda data: {"profile": data["profile"][0]}
    spawner = make()
    form = await spawner.get_options_form()
    assert form.startswith("<input name=profile>") and "jhub-usage-profiles" not in form
    spawner.user_options = await spawner.run_options_from_form({"profile": [GPU]})
    row = await recorded(spawner, books)
    assert (row.profile, row.gpu_model, row.cpu_milli) == (GPU, "A100", 3000)


@pytest.mark.parametrize("with_spawner", [True, False])
async def test_an_admins_own_reading_of_the_form_stays(make, books, config, with_spawner):
    books.wallet("lab", "5", group="lab")
    config.Spawner.options_form = "<b>mine</b>"
    if with_spawner:
        config.Spawner.options_from_form = lambda data, spawner: {"who": spawner.user.name, **data}
    else:
        config.Spawner.options_from_form = lambda data: {"who": "ada", **data}
    spawner = make(groups=["lab"])
    form = {"x": ["1"], "jhub_usage_wallet": ["lab"]}
    options = await spawner.run_options_from_form(form)
    assert options == {"who": "ada", "x": ["1"], "jhub_usage_wallet": "lab"}


async def test_without_a_form_there_is_none(make):
    assert await make().get_options_form() == ""


async def test_a_choice_of_wallets_and_how_long_they_last(make, books, config):
    config.JHubUsage.profiles = PROFILES
    books.wallet("lab <x>", "50", group="lab")
    books.wallet("other", "5", group="lab")
    form = await make(groups=["lab"]).get_options_form()
    assert 'name="jhub_usage_wallet"' in form and "<x>" not in form
    assert 'value="lab &lt;x&gt;"' in form and "$50.00 left" in form
    assert "<b>Big</b>" not in form


async def test_what_is_left_of_an_allowance_stands_on_the_form(make, books, config):
    """In words, with the day on which it expires in the zone of the setting."""
    config.JHubUsage.profiles = PROFILES
    config.JHubUsage.timezone = "Asia/Tokyo"
    lab = books.wallet("lab", "50", group="lab")
    books.act(allowances.set_allowance, lab, Allowance(100 * 10**6, "month", 20 * 10**6),
              policy=Policy(timezone="Asia/Tokyo"))  # fmt: skip
    books.act(hubs.install, "hub", timezone="Asia/Tokyo")
    spawner = make(groups=["lab"])
    form = await spawner.get_options_form()
    words = (
        r"\$100\.00 is left of the monthly \$100\.00; \$80\.00 of it expires on \w{3} 1 \w{3} 00:00"
    )
    assert re.search(words + r", when \$100\.00 comes\.", form)
    # the balance on the Hub's pages says the same, and is made of the same line
    offer = await spawner._usage_gateway.offer(person_of(spawner), ["lab"])
    (line,) = [wallet_line(w, spawner._usage_settings) for w in offer.wallets if w.name == "lab"]
    assert re.match(words, line["allowance"])
    page = _templates().get_template("jhub-usage/balance.html")
    balance = SimpleNamespace(balance=lambda user=None: {"mode": "enforce", "wallets": [line]})
    assert re.search(words, page.render(jhub_usage=balance))


async def test_a_wallet_lasts_through_what_comes(make, books, config):
    """Two hours are left of it, and at midnight there is a day's allowance more."""
    lab = books.wallet("lab", "0", group="lab")
    books.act(allowances.set_allowance, lab, Allowance(10**9, "day"), policy=Policy())
    (view,) = books.ctx.look(views.wallet_views, ids=[lab])
    at = view.at.replace(hour=12)
    low = replace(view, at=at, available_micro=8 * 10**6, burn_per_hour_micro=4 * 10**6)
    line = wallet_line(replace(low, dry_at=at + timedelta(hours=50)), make()._usage_settings)
    assert line["lasts"] == "2 d 2 h"
    assert wallet_line(low, make()._usage_settings)["lasts"] == ""
    plain = replace(low, allowance=None, outlook=None)
    assert wallet_line(plain, make()._usage_settings)["lasts"] == "2 h"


async def test_one_run_after_the_other_on_the_same_object(make, books):
    spawner = make()
    first = await recorded(spawner, books)
    await stop(spawner)
    second = await recorded(spawner, books)
    await stop(spawner)
    rows = books.sessions("ada")
    assert [r.id for r in rows] == [first.id, second.id]
    assert {(r.state, r.end_reason) for r in rows} == {("ended", "stopped")}


async def test_a_stop_that_never_had_a_start_ends_nothing(make, books):
    """`apply_user_options` raises: the Hub stops what our hook never saw, while an older session
    of the same server is still open because its own stop failed."""
    await recorded(make(), books)
    next_one = make()  # another object, as the Hub makes one for each spawn
    next_one.clear_state()
    await stop(next_one)
    await next_one._usage_gateway.drain()
    assert books.last("ada").state == "running"


async def test_a_refusal_over_the_limit_names_it(make, books, config):
    config.JHubUsage.profiles = PROFILES
    books.limit(subject="person", person="*", resource="gpus", amount=2000)
    with pytest.raises(HTTPError) as caught:
        await spawn(make(options={"profile": BIG}))
    assert "2 GPUs" in caught.value.jupyterhub_message
