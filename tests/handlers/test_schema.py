"""The checks of bodies: clear refusals, and no other idea of a schema than the public one."""

import jsonschema
import pytest

from jhub_usage.domain.errors import BadInput
from jhub_usage.handlers import schema as s
from jhub_usage.handlers.routes import API_ROUTES

PERSON = s.obj(
    {
        "name": s.text(least=1, most=8),
        "age": s.whole(least=0, most=150),
        "kind": s.maybe(s.one_of("a", "b")),
        "tags": s.listed(s.text(), most=2),
    },
    optional=("kind", "tags"),
)

TABLE = [
    ({"name": "ada", "age": 3}, None),
    ({"name": "ada", "age": 3, "kind": None, "tags": ["x"]}, None),
    ({"name": "ada"}, "“age” is missing"),
    ({"name": "ada", "age": True}, "“age” must be a whole number"),
    ({"name": "ada", "age": 1.5}, "“age” must be a whole number"),
    ({"name": "ada", "age": -1}, "at least 0"),
    ({"name": "ada", "age": 999}, "at most 150"),
    ({"name": "", "age": 1}, "“name” must not be empty"),
    ({"name": "x" * 9, "age": 1}, "longer than 8"),
    ({"name": 7, "age": 1}, "“name” must be text"),
    ({"name": "ada", "age": 1, "kind": "c"}, "one of a, b"),
    ({"name": "ada", "age": 1, "tags": ["x", "y", "z"]}, "more than 2"),
    ({"name": "ada", "age": 1, "tags": ["x", 2]}, "“tags[2]” must be text"),
    ({"name": "ada", "age": 1, "salary": 2}, "no field “salary” here; the fields are name, age"),
    (["ada"], "The body must be an object"),
    ("ada", "The body must be an object"),
    (None, "The body must be an object"),
]


@pytest.mark.parametrize("value, problem", TABLE)
def test_table(value, problem):
    fits = True
    try:
        jsonschema.validate(value, PERSON)
    except jsonschema.ValidationError:
        fits = False
    assert fits == (problem is None), "the public reading of the schema differs"
    if problem is None:
        s.check(value, PERSON)
        return
    with pytest.raises(BadInput) as caught:
        s.check(value, PERSON)
    assert problem in caught.value.message


@pytest.mark.parametrize("name", ["a\nb", "a\u202eb", "\u200b", "a\x00", "\ud800"])
def test_what_can_not_be_seen_is_refused(name):
    with pytest.raises(BadInput, match=r"can not be seen|must not be empty"):
        s.check({"name": name, "age": 1}, PERSON)


@pytest.mark.parametrize("name", ["O'Brien", "Zoë", "李 雷", "a b", "<b>", "😀"])
def test_names_of_real_people_are_fine(name):
    s.check({"name": name, "age": 1}, PERSON)


def test_naive_times_are_refused():
    with pytest.raises(BadInput, match="no time zone"):
        s.check("2026-11-20T10:00:00", s.instant())
    s.check("2026-11-20T10:00:00+08:00", s.instant())


def test_query_arguments_become_what_they_are():
    query = s.obj({"limit": s.whole(least=1), "all": s.flag()}, optional=("limit", "all"))
    assert s.from_query({"limit": "7", "all": "true"}, query) == {"limit": 7, "all": True}
    for bad in ({"limit": "x"}, {"limit": "0"}, {"all": "yes"}, {"other": "1"}):
        with pytest.raises(BadInput):
            s.from_query(bad, query)


def test_every_body_in_the_table_is_closed():
    """A misspelt field is never ignored."""
    for route in API_ROUTES:
        for part in (route.body, route.query):
            assert part is None or part["additionalProperties"] is False, route.name
