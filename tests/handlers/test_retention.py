"""The service deletes what is old once an hour, and only one service of a hub does."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from jhub_usage.actions import leases, privacy, views
from jhub_usage.store import tables as t

BOTH = pytest.mark.parametrize("site_url", ["sqlite", "postgres"], indirect=True)


def old_keys(tx, many: int, *, actor) -> None:
    at = tx.now() - timedelta(days=40)
    tx.execute(
        t.client_keys.insert(),
        [
            {"actor": "person:1", "route": "POST /x", "key": f"k{n}", "body_hash": "",
             "answer": {}, "created_at": at}
            for n in range(many)
        ],
    )  # fmt: skip


def left(site) -> int:
    return site.look(lambda tx: tx.scalar(sa.select(sa.func.count()).select_from(t.client_keys)))


def loop_of(site):
    (loop,) = [x for x in site.service.loops._loops if x.name == "retention"]
    return loop


@BOTH
async def test_a_pass_goes_on_until_nothing_is_due(site):
    site.act(old_keys, privacy.BATCH + 3)
    loop = loop_of(site)
    assert loop.interval_s == 3600
    await site.service.loops.one_pass(loop)
    assert (loop.last_error, loop.notes) == ("", {"client_keys": privacy.BATCH + 3})
    assert left(site) == 0 and site.look(views.audit_rows) == []


async def test_another_service_of_this_hub_does_it(site):
    site.act(old_keys, 3)
    site.act(leases.hold, f"loops:{site.service.settings.hub_id}", "another", 60)
    await site.service.loops.one_pass(loop_of(site))
    assert left(site) == 3


async def test_zero_days_are_for_ever(make_site):
    site = await make_site(keep_client_keys_days=0)
    site.act(old_keys, 3)
    await site.service.loops.one_pass(loop_of(site))
    assert left(site) == 3
