"""What a spawn has shown, and what its end therefore is: the Hub's event table without a Hub."""

from datetime import UTC, datetime, timedelta

import pytest

from jhub_usage.spawning.run import Run

T = datetime(2026, 3, 1, tzinfo=UTC)
END = T + timedelta(hours=1)


def at(minutes):
    return T + timedelta(minutes=minutes)


def running(*, ready=True):
    run = Run("s", admitted=True, start_returned=True)
    run.starts(at(1), "start_returned")
    run.ready = ready
    return run


def restored():
    return Run.from_state(running().to_state())


def words(sighting):
    return sighting and (sighting.kind, sighting.at, sighting.evidence, sighting.reason)


def test_a_normal_stop():
    run = running()
    run.stop_called_at = at(50)
    assert words(run.close(END)) == ("ended", END, "post_stop_hook", "stopped")


def test_the_end_is_told_once():
    run = running()
    assert run.close(END) is not None and run.close(END) is None


@pytest.mark.parametrize("admitted", [None, False])
def test_what_was_never_admitted_has_no_end(admitted):
    assert Run("s", admitted=admitted).close(END) is None


def test_a_start_that_raised_is_void():
    assert words(Run("s", admitted=True).close(END)) == (
        "void",
        END,
        "start_failed",
        "start_failed",
    )


def test_a_start_that_was_given_up_is_void():
    run = Run("s", admitted=True, cancelled=True)
    assert words(run.close(END)) == ("void", END, "cancelled", "cancelled")


def test_a_server_that_never_answered_failed_to_start():
    run = running(ready=False)
    run.stop_called_at = at(20)
    assert run.close(END).reason == "start_failed"


def test_a_person_who_stops_a_starting_server_pays_for_it():
    run = running(ready=False)
    run.stop_called_at, run.cancelled = at(20), True
    assert run.close(END).reason == "stopped"


def test_a_server_that_died_ended_when_that_was_seen():
    run = running()
    run.polled(137, at(30), None)
    run.polled(1, at(31), None)
    last = run.close(END)
    assert words(last) == ("ended", at(30), "poll_exit", "died")
    assert last.extra == {"exit_code": 137}


def test_kubernetes_knows_better():
    run = running()
    run.polled(0, at(30), at(29))
    assert words(run.close(END)) == ("ended", at(29), "terminated_at", "died")


def test_gone_after_a_stop_is_not_a_death():
    run = running()
    run.stop_called_at = at(30)
    run.polled(0, at(31), None)
    assert words(run.close(END)) == ("ended", END, "post_stop_hook", "stopped")


def test_a_poll_before_the_start_returned_says_nothing():
    run = Run("s", admitted=True)
    run.polled(1, at(1), None)
    assert run.dead_at is None


def test_it_died_while_the_hub_was_down():
    run = restored()
    run.polled(0, at(30), None)
    assert words(run.close(END)) == ("ended", END, "hub_restart", "died")


def test_it_was_taken_over_and_died_later():
    run = restored()
    run.polled(None, at(30), None)
    run.polled(1, at(40), None)
    assert words(run.close(END)) == ("ended", at(40), "poll_exit", "died")


def test_it_was_taken_over_and_stopped():
    run = restored()
    run.polled(None, at(30), None)
    run.stop_called_at = at(40)
    assert words(run.close(END)) == ("ended", END, "post_stop_hook", "stopped")


def test_a_stop_that_failed_is_no_end():
    run = running()
    run.stop_called_at, run.stop_failed = at(30), True
    assert words(run.close(END)) == ("seen", END, "stop_called", "stop_failed")


def test_the_state_carries_the_start_over_a_restart():
    run = restored()
    assert (run.session_id, run.started.at, run.started.evidence) == ("s", at(1), "start_returned")
    assert run.to_state() == running().to_state()


@pytest.mark.parametrize("state", [None, {}, [], {"session": 3}, "x"])
def test_a_foreign_state_is_none(state):
    assert Run.from_state(state) is None


def test_no_state_of_what_did_not_start_or_is_over():
    assert Run("s").to_state() is None and Run("s", admitted=False).to_state() is None
    run = running()
    run.close(END)
    assert run.to_state() is None
