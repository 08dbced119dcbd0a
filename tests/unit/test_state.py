"""Which moves are legal?"""

import pytest

from master.state import RUN_MOVES, TASK_MOVES, IllegalMove, move_run, move_task, table
from wire.states import ENDED_RUN, ENDED_TASK, RunState, TaskState


def test_it_lets_a_waiting_run_be_handed_out():
    assert move_run("r1", RunState.WAITING, RunState.RUNNING) is RunState.RUNNING


def test_it_names_run_state_and_event_of_an_illegal_move():
    with pytest.raises(IllegalMove, match="run r1 is SUCCEED and can't become FAILED") as error:
        move_run("r1", RunState.SUCCEED, RunState.FAILED)

    assert (error.value.entity, error.value.state, error.value.event) == (
        "run r1",
        "SUCCEED",
        "FAILED",
    )


@pytest.mark.parametrize("end", sorted(ENDED_RUN - {RunState.UNKNOWN}))
def test_it_never_moves_a_run_that_has_ended(end):
    assert not [to for to in RunState if (end, to) in RUN_MOVES]


@pytest.mark.parametrize("end", sorted(ENDED_RUN - {RunState.UNKNOWN}))
def test_it_lets_evidence_replace_unknown(end):
    assert move_run("r1", RunState.UNKNOWN, end) is end


@pytest.mark.parametrize("to", [RunState.WAITING, RunState.RUNNING, RunState.UNKNOWN])
def test_it_never_starts_an_unknown_run_again(to):
    with pytest.raises(IllegalMove):
        move_run("r1", RunState.UNKNOWN, to)


def test_it_never_lets_a_run_wait_again():
    assert not [begin for begin in RunState if (begin, RunState.WAITING) in RUN_MOVES]


@pytest.mark.parametrize("to", sorted(ENDED_RUN - {RunState.CANCELLED, RunState.SKIPPED}))
def test_it_gives_a_waiting_run_no_verdict_that_takes_a_start(to):
    legal = (RunState.WAITING, to) in RUN_MOVES

    assert legal is (to is RunState.UNKNOWN)


@pytest.mark.parametrize("end", sorted(ENDED_TASK))
def test_it_never_reopens_a_task(end):
    assert not [to for to in TaskState if (end, to) in TASK_MOVES]
    with pytest.raises(IllegalMove, match="task t1"):
        move_task("t1", end, TaskState.RUNNING)


def test_it_pauses_and_resumes_a_task():
    assert move_task("t1", TaskState.RUNNING, TaskState.PAUSED) is TaskState.PAUSED
    assert move_task("t1", TaskState.PAUSED, TaskState.RUNNING) is TaskState.RUNNING


def test_it_shows_every_state_and_every_move_in_the_table():
    lines = table().splitlines()

    for state in (*RunState, *TaskState):
        assert any(line.startswith(f"| {state} |") for line in lines)
    assert "| WAITING | RUNNING, CANCELLED, SKIPPED, UNKNOWN |" in lines
    assert "| SUCCEED | nothing |" in lines
