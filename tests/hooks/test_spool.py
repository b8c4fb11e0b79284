"""The spool: nothing lost, nothing twice, in order, and one bad event blocks nothing."""

import fcntl
import json
import os
from datetime import UTC, datetime

import pytest

from jhub_usage.domain.admission import Ask, PersonKey
from jhub_usage.domain.errors import CatchUpNeeded, DatabaseUnavailable, SchemaTooOld
from jhub_usage.domain.shapes import Gpus, Shape
from jhub_usage.domain.sightings import Sighting
from jhub_usage.spawning.spool import FailedOpen, Spool, replay

T = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)


def sighting(session="s1", kind="started", **more):
    return Sighting(session, kind, T, "start_returned", **more)


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "deep" / "spool")


def test_what_was_written_is_read_the_same(spool):
    ask = Ask("s2", "hub", PersonKey("ädä", 3, T), "", "p", Shape(1, 2, (Gpus("g/gpu", "A", 1),)))
    events = [sighting(extra={"node": "n"}), FailedOpen(ask, T), sighting("s2", "void")]
    for event in events:
        spool.write(event)
    got = []
    assert spool.replay(got.append) == 3
    assert got == events and spool.files() == []


def test_only_the_owner_can_read_it(spool):
    path = spool.write(sighting())
    assert spool.directory.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    spool.directory.chmod(0o755)
    spool.write(sighting())
    assert spool.directory.stat().st_mode & 0o777 == 0o700


def test_names_grow_even_if_the_clock_goes_back(spool, monkeypatch):
    first = spool.write(sighting())
    monkeypatch.setattr("time.time_ns", lambda: 5)
    second = spool.write(sighting())
    third = Spool(spool.directory).write(sighting())  # another process, after a restart
    assert first.name < second.name < third.name
    assert spool.files() == [first, second, third]


@pytest.mark.parametrize("error", [DatabaseUnavailable(), SchemaTooOld()])
def test_an_error_that_passes_keeps_the_rest_in_order(spool, error):
    for number in range(3):
        spool.write(sighting(f"s{number}"))
    got = []

    def once(event):
        if got:
            raise error
        got.append(event.session_id)

    assert spool.replay(once) == 1
    assert spool.replay(lambda e: got.append(e.session_id)) == 2
    assert got == ["s0", "s1", "s2"]


def test_a_wallet_that_waits_for_a_person_holds_up_nobody_else(spool):
    for session, kind in (
        ("late", "started"), ("s1", "started"), ("late", "ended"), ("s1", "ended"),
    ):  # fmt: skip
        spool.write(sighting(session, kind))
    got = []

    def record(event):
        if event.session_id == "late":
            raise CatchUpNeeded("lab")
        got.append((event.session_id, event.kind))

    assert spool.replay(record) == 2
    assert got == [("s1", "started"), ("s1", "ended")]
    kept = []
    assert spool.replay(lambda e: kept.append((e.session_id, e.kind))) == 2
    assert kept == [("late", "started"), ("late", "ended")]


def test_a_bad_event_is_set_aside_with_the_reason(spool):
    bad = spool.write(sighting("bad"))
    spool.write(sighting("good"))
    (spool.directory / "00000000000000000001-x.json").write_text("{")
    got = []

    def apply(event):
        if event.session_id == "bad":
            raise ValueError("no such thing")
        got.append(event.session_id)

    assert spool.replay(apply) == 1
    assert got == ["good"] and spool.files() == []
    aside = spool.rejected_files()
    assert len(aside) == 2 and aside[1].name == bad.name
    assert "no such thing" in aside[1].with_suffix(".error").read_text()
    assert json.loads(aside[1].read_text())["sighting"]["session_id"] == "bad"


def test_half_a_file_is_none(spool):
    spool.write(sighting())
    (spool.directory / "99999999999999999999-s.part").write_text("{")
    assert spool.replay(lambda event: None) == 1


def test_two_processes_do_not_replay_at_once(spool):
    spool.write(sighting())
    handle = os.open(spool.directory / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert spool.replay(lambda event: 1 / 0) == 0
    os.close(handle)
    assert spool.replay(lambda event: None) == 1


def test_has_compares_whole_names(spool):
    spool.write(sighting("ab-cd"))
    assert spool.has("ab-cd") and not spool.has("cd") and not spool.has("b-cd")


def test_a_crash_between_commit_and_removal_changes_nothing(books, spool):
    """The same events again, in the same order, after they were all recorded."""
    ask = Ask("s9", "hub", PersonKey("ada", 1, T), "", "", Shape(gpus=(Gpus("g/gpu", "A", 1),)))
    now = books.ctx.look(lambda tx: tx.now())
    events = [
        FailedOpen(ask, now),
        Sighting("s9", "started", now, "start_returned"),
        Sighting("s9", "ended", now, "post_stop_hook", "stopped"),
    ]
    for _ in range(2):
        for event in events:
            spool.write(event)
        assert replay(books.ctx, spool) == 3
        rows = books.sessions("ada")
        assert [(r.id, r.state) for r in rows] == [("s9", "ended")]
    assert spool.rejected_files() == []


def test_an_end_without_a_session_is_set_aside(books, spool):
    spool.write(sighting("nobody", "ended"))
    spool.write(sighting("tombstone", "void"))
    assert replay(books.ctx, spool) == 1
    assert len(spool.rejected_files()) == 1
    assert [a.session_id for a in books.admissions()] == ["tombstone"]
