"""Would the checker of queues hear of a lie?"""

import pytest

from tests.faults.history import Presence, Said
from tests.faults.queue_checker import Done, Held, QueueHistory, RunResult, check_queue


def said(what: str, run: str, attempt: int, at: float, agent: str = "a") -> Said:
    return Said(agent, what, "task", run, attempt, attempt, at, 0)


@pytest.fixture
def history() -> QueueHistory:
    """A sound one: one item done at the second attempt, a batch of which one item is given up."""
    return QueueHistory(
        accepted=["i1", "i2", "bad3"],
        hopeless=["bad3"],
        max_attempts=2,
        state="FAILED",
        results=[
            RunResult(
                run="r1",
                items=["i1"],
                failed_items=[],
                state="SUCCEED",
                attempt=2,
                ends={1: "LAPSED"},
            ),
            RunResult(
                run="r2",
                items=["i2", "bad3"],
                failed_items=["bad3"],
                state="FAILED",
                attempt=2,
                ends={1: "FAILED"},
            ),
        ],
        said=[
            said("start", "r1", 1, 1.0),
            said("start", "r1", 2, 5.0, "b"),
            said("end", "r1", 2, 6.0, "b"),
            said("end", "r1", 1, 7.0),
            said("start", "r2", 1, 1.0),
            said("end", "r2", 1, 2.0),
            said("start", "r2", 2, 3.0),
            said("end", "r2", 2, 4.0),
        ],
        done=[Done("i1", "r1", 2, True), Done("i2", "r2", 1, True)],
        presences=[],
        alive=[],
    )


def broken(history: QueueHistory) -> set[str]:
    return {violation.rule for violation in check_queue(history)}


def test_it_has_no_complaint_about_a_sound_history(history: QueueHistory):
    assert check_queue(history) == []


def test_it_hears_of_an_item_that_is_lost(history: QueueHistory):
    history.accepted.append("i4")

    assert broken(history) == {"each_item_ends_once"}


def test_it_hears_of_an_item_that_is_there_twice(history: QueueHistory):
    history.results[1].items.append("i1")

    assert "each_item_ends_once" in broken(history)


def test_it_hears_of_a_run_that_waits_for_ever(history: QueueHistory):
    history.results.append(
        RunResult(run=None, items=["i4"], failed_items=[], state="WAITING", attempt=1, ends={})
    )
    history.accepted.append("i4")

    assert broken(history) == {"each_item_ends_once"}


def test_it_hears_of_a_success_that_no_script_has_seen(history: QueueHistory):
    history.done = history.done[1:]

    assert broken(history) == {"what_succeeded_was_done"}


def test_it_hears_of_an_item_of_a_batch_that_is_neither_done_nor_named(history: QueueHistory):
    history.done = history.done[:1]

    assert broken(history) == {"what_succeeded_was_done"}


def test_it_hears_of_one_that_cannot_be_done_and_is_said_to_be(history: QueueHistory):
    history.hopeless.append("i1")

    assert broken(history) == {"what_succeeded_was_done"}


def test_it_hears_of_an_item_that_was_given_up_early(history: QueueHistory):
    history.max_attempts = 3

    assert broken(history) == {"what_is_dead_was_tried_enough"}


def test_it_hears_of_an_attempt_that_is_not_told_of(history: QueueHistory):
    history.results[0].ends.clear()

    assert "what_is_dead_was_tried_enough" in broken(history)


def test_it_hears_of_an_attempt_that_was_started_twice(history: QueueHistory):
    history.said.append(said("start", "r2", 2, 3.5))

    assert broken(history) == {"an_attempt_starts_once"}


def test_it_hears_of_two_attempts_at_once_unless_the_first_had_lost_its_lease(
    history: QueueHistory,
):
    history.results[0].ends[1] = "FAILED"

    assert broken(history) == {"no_two_attempts_hold_an_item"}


def test_a_host_that_was_held_may_have_lost_its_lease_and_tell_its_end_later(
    history: QueueHistory,
):
    history.results[0].ends[1] = "FAILED"
    history.held.append(Held("b", 0.5, 6.0))  # another host
    assert broken(history) == {"no_two_attempts_hold_an_item"}

    history.held.append(Held("a", 0.5, 6.0))
    assert broken(history) == set()


def test_it_hears_of_a_process_that_was_seen_beside_the_next_attempt(history: QueueHistory):
    history.presences.append(Presence("r2", 1, 3.5, None))

    assert broken(history) == {"no_two_attempts_hold_an_item"}


def test_it_hears_of_what_lives_on(history: QueueHistory):
    history.alive.append("r1")

    assert broken(history) == {"nothing_lives_on"}
