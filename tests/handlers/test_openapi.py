"""The description is valid, whole, and made from the table that is also what runs."""

import re

from openapi_spec_validator import validate

from jhub_usage.handlers.openapi import document
from jhub_usage.handlers.routes import API_ROUTES, ROUTES, pattern


def test_document_is_valid():
    validate(document("/services/usage/"))


def test_every_route_is_described():
    described = document("/services/usage/")
    assert described["openapi"].startswith("3.1")
    operations = [
        (method, path) for path, methods in described["paths"].items() for method in methods
    ]
    assert len(operations) == len(API_ROUTES)
    ids = [described["paths"][p][m]["operationId"] for m, p in operations]
    assert len(set(ids)) == len(ids)
    for route in API_ROUTES:
        path = "/" + re.sub(r":\w+", "", route.path.removeprefix("api/"))
        operation = described["paths"][path][route.method.lower()]
        assert operation["summary"]
        assert route.need.text in operation["description"]
        assert (route.body is not None) == ("requestBody" in operation)


def test_money_writes_take_a_key():
    described = document("/services/usage/")["paths"]
    for path in ("grant", "transfer"):
        parameters = described[f"/wallets/{{wallet_id}}/{path}"]["post"]["parameters"]
        assert "Idempotency-Key" in [p["name"] for p in parameters]


def test_names_and_paths_are_unique():
    assert len({r.name for r in ROUTES}) == len(ROUTES)
    for route in ROUTES:
        re.compile(pattern(route.path))


async def test_anyone_may_read_it(site):
    answer = await site.ask(None, "GET", "api/openapi.json")
    assert answer.status == 200
    validate(answer.json)
