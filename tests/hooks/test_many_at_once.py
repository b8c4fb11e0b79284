"""Forty people press Start at the same moment, on one wallet that pays for seven of them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from jhub_usage.actions import check, hubs, limits, modes, rules, views, wallets
from jhub_usage.domain.admission import Policy
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.limits import Limit
from jhub_usage.domain.rules import Rule
from jhub_usage.store.engine import Database
from tests.support.processes import free_port

PEOPLE = [f"p{number:02}" for number in range(40)]
PAYS_FOR = 7
CONFIG = """
import jhub_usage
c.JupyterHub.spawner_class = "simple"
c.Authenticator.allowed_users = {people!r}
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 30}}
c.JHubUsage.database_url = {url!r}
c.JHubUsage.decision_timeout_s = 20
c.JHubUsage.service_port = {port}
c.JHubUsage.profiles = [
    {{"slug": "gpu", "display_name": "GPU", "cpu": 1, "memory": "1G", "default": True,
      "gpus": [{{"model": "A100", "count": 1}}]}},
]
jhub_usage.configure(c)
"""


@pytest.mark.xdist_group("many")
@pytest.mark.parametrize("cap", ["wallet", "limit"])
def test_exactly_as_many_start_as_the_wallet_or_the_limit_allows(hub_factory, db_url, cap):
    db = Database(db_url)
    db.upgrade()
    policy = Policy()
    with db.write() as tx:
        hubs.install(tx, "hub", actor=SYSTEM)
        modes.set_mode(tx, "enforce", actor=SYSTEM)
        # one hour of one GPU costs 4 credits, so the hold of 15 minutes is 1
        wallet = wallets.create(tx, "lab", actor=SYSTEM)
        credit = PAYS_FOR if cap == "wallet" else 1000
        wallets.grant(tx, wallet, credit * 1_000_000, policy=policy, actor=SYSTEM)
        rules.replace(tx, [Rule(0, "wallet", wallet)], actor=SYSTEM)
        if cap == "limit":
            limits.add(tx, Limit("everyone", "gpus", PAYS_FOR * 1000), actor=SYSTEM)
    config = CONFIG.format(people=set(PEOPLE), url=db_url, port=free_port())
    hub = hub_factory("hub6", config)

    def start(name):
        hub.api("POST", f"/users/{name}")
        return hub.api("POST", f"/users/{name}/server", json={})

    with ThreadPoolExecutor(len(PEOPLE)) as pool:
        answers = list(pool.map(start, PEOPLE))
    started = [name for name, (status, _) in zip(PEOPLE, answers, strict=True) if status == 201]
    refused = [answer for status, answer in answers if status == 403]
    assert len(started) == PAYS_FOR, [status for status, _ in answers]
    assert len(refused) == len(PEOPLE) - PAYS_FOR
    word = "The wallet lab has" if cap == "wallet" else "7 GPUs at once"
    assert all(word in str(answer) for answer in refused), refused[0]

    with db.read() as tx:
        shown = views.session_views(tx)
        assert sorted(s.person for s in shown) == started
        assert {s.state for s in shown} == {"running"}
        (lab,) = views.wallet_views(tx, ids=[wallet])
        assert lab.available_micro >= 0
        assert not [v for c in check.check(tx) for v in c.violations]
    db.dispose()
