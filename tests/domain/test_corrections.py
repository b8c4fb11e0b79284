"""What boundaries become when a session's start or end was wrong, and what is refused."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from jhub_usage.domain.corrections import Boundaries, corrected, require_correction
from jhub_usage.domain.errors import BadInput, Conflict
from jhub_usage.domain.sightings import ENDS_BY, EVIDENCE, is_better_end

T0 = datetime(2026, 11, 20, 9, tzinfo=UTC)


def at(minute):
    return None if minute is None else T0 + timedelta(minutes=minute)


def row(started=1, ended=61, *, billed_from="container", scheduled=None, ready=3, stop=None,
        grace_s=0, since=None, **more):  # fmt: skip
    """Asked for at minute 0, ended; minutes after nine."""
    fields = {
        "state": "ended", "billed": True, "per_hour_micro": 60_000_000, "fee_micro": 0,
        "requested_at": at(0), "admitted_at": at(0), "started_at": at(started),
        "ended_at": at(ended), "scheduled_at": at(scheduled), "ready_at": at(ready),
        "billed_from": billed_from, "billed_from_at": at(started if since is None else since),
        "billed_until_at": at(ended), "platform_us": 0, "stop_accepted_at": at(stop),
        "grace_s": grace_s,
    }  # fmt: skip
    return SimpleNamespace(**fields | more)


#: (story, session, start, end) -> (billed from, billed until, minutes of the platform)
STORIES = [
    ("it ended earlier", row(), None, 31, (1, 31, 0)),
    ("it ended later", row(), None, 91, (1, 91, 0)),
    ("it started later", row(), 11, None, (11, 61, 0)),
    ("both", row(), 11, 31, (11, 31, 0)),
    ("it lasted no time", row(), None, 1, (1, 1, 0)),
    ("after a stop the wallet pays the grace and a minute", row(stop=20, grace_s=60), None, 51,
     (1, 22, 29)),
    ("less than that is all its own", row(stop=20, grace_s=60), None, 21, (1, 21, 0)),
    ("it ended before the stop", row(stop=20), None, 11, (1, 11, 0)),
    ("billed from ready: another start is the same bill", row(billed_from="ready", since=3), 2,
     None, (3, 61, 0)),
    ("nothing answers before it started", row(billed_from="ready", since=3), 5, None, (5, 61, 0)),
    ("billed from ready, and it ended before that: nothing", row(billed_from="ready", since=3),
     None, 2, (3, 3, 0)),
    ("billed from ready, and it never was: nothing", row(billed_from="ready", ready=None,
     billed_from_at=None), 2, 30, (None, 30, 0)),
    ("billed from the node", row(billed_from="scheduled", scheduled=0.5, since=0.5), 2, None,
     (0.5, 61, 0)),
    ("a start before it had a node", row(billed_from="scheduled", scheduled=2, since=1), 0.5, None,
     (0.5, 61, 0)),
    # the node became known when the start was: that is not taken back by another end
    ("the node was learnt late", row(billed_from="scheduled", scheduled=0.5, since=1), None, 31,
     (1, 31, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("story", "session", "start", "end", "expected"), STORIES,
                         ids=[s[0] for s in STORIES])  # fmt: skip
def test_the_bill_follows(story, session, start, end, expected):
    found = corrected(session, at(start), at(end))
    since, until, platform = expected
    assert (found.billed_from_at, found.billed_until_at) == (at(since), at(until))
    assert found.platform_us == platform * 60 * 10**6
    minutes = 0 if since is None else until - since
    assert found.billed_us == minutes * 60 * 10**6
    assert found.cost(session) == minutes * 10**6
    assert found.ready_at is None or found.ready_at >= found.started_at


def test_nothing_given_is_what_it_is():
    assert corrected(row()) == Boundaries.of(row())


def test_what_is_not_billed_costs_nothing():
    session = row(billed=False)
    assert corrected(session, None, at(31)).cost(session) == 0


@pytest.mark.parametrize(
    ("session", "start", "end", "error", "text"),
    [
        (row(), None, None, BadInput, "Say when"),
        (row(), None, 0.5, BadInput, "before its start"),
        (row(), 62, None, BadInput, "before its start"),
        (row(), 70, 65, BadInput, "before its start"),
        (row(), None, 121, BadInput, "lies ahead"),
        (row(), -1, None, BadInput, "asked for"),
        (row(state="running", ended=None), None, 31, Conflict, "is not over"),
        (row(state="admitted", ended=None), None, 31, Conflict, "is not over"),
        (row(state="void", started=None), None, 31, Conflict, "never ran"),
    ],
)
def test_what_can_not_be(session, start, end, error, text):
    with pytest.raises(error, match=text):
        require_correction(session, at(start), at(end), now=at(120), installed_at=at(-999))


@pytest.mark.parametrize(
    ("installed", "start", "fine"), [(-999, 0, True), (0.5, 0, False), (0.5, 0.5, True),
                                     (30, 0.5, False), (30, 1, True), (30, 2, True)],
)  # fmt: skip
def test_nothing_is_billed_before_the_go_live(installed, start, fine):
    def correct():
        return require_correction(
            row(), at(start), None, now=at(120), installed_at=at(installed)
        ).started_at

    if fine:
        assert correct() == at(start)
    else:
        with pytest.raises(BadInput):
            correct()


def test_a_server_from_before_the_install_may_have_started_when_it_did():
    adopted = row(started=-50, requested_at=at(-100))
    found = require_correction(adopted, at(-90), None, now=at(120), installed_at=at(-95))
    assert found.started_at == at(-90)


# -- whose word counts -----------------------------------------------------------------------------


def test_better_evidence_corrects_a_worse_one_and_never_the_other_way_round():
    assert set(ENDS_BY) <= set(EVIDENCE)
    for n, told in enumerate(ENDS_BY):
        for m, known in enumerate(ENDS_BY):
            assert is_better_end(told, known) == (n > m)
    assert ENDS_BY[-1] == "operator" and ENDS_BY[0] == "last_seen"


@pytest.mark.parametrize("other", ["hub_restart", "test", "void", "", None, "start_returned"])
def test_other_words_correct_nothing_and_are_not_corrected(other):
    for known in ENDS_BY:
        assert not is_better_end(other or "", known)
        assert not is_better_end(known, other)
