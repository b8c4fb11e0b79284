"""What the processes run that race for requests for credit. All begin at one instant."""

import functools
from dataclasses import replace

from jhub_usage.actions import requests
from jhub_usage.domain.audit import SYSTEM
from jhub_usage.domain.errors import UsageError

from . import work


def _each(url, start_at, jobs) -> list:
    """What came of each: a result, or the code of what was wrong."""

    def once(job):
        try:
            return work._with_retries(url, job)
        except UsageError as error:
            return error.code

    return work._at_once(start_at, [functools.partial(once, job) for job in jobs])


def person(person_id: int):
    return replace(SYSTEM, kind="person", person_id=person_id)


def grant(url, person_id, request_ids, amount, source, times, start_at) -> list:
    """A person grants these, so many times each; by right when there is no source."""

    def one(tx, request_id):
        return requests.grant(
            tx, request_id, amount, policy=work.POLICY, actor=person(person_id),
            by_right=source is None, from_wallet_id=source,
        )  # fmt: skip

    jobs = [functools.partial(one, request_id=i) for i in request_ids for _ in range(times)]
    return _each(url, start_at, jobs)


def decline(url, person_id, request_ids, start_at) -> list:
    def one(tx, request_id):
        requests.decline(tx, request_id, note="no", actor=person(person_id), by_right=False)
        return "done"

    return _each(url, start_at, [functools.partial(one, request_id=i) for i in request_ids])


def withdraw(url, person_id, request_ids, start_at) -> list:
    def one(tx, request_id):
        requests.withdraw(tx, request_id, actor=person(person_id))
        return "done"

    return _each(url, start_at, [functools.partial(one, request_id=i) for i in request_ids])


def ask(url, wallet_id, person_id, times, start_at) -> list:
    def one(tx):
        requests.ask(tx, wallet_id, person_id, 10**6, note="x", actor=person(person_id))
        return "done"

    return _each(url, start_at, [one] * times)
