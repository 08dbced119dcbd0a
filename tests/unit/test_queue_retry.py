"""Does a run of a queue wait for another attempt, and what is kept of the one before?"""

from typing import Any

import pytest
from msgspec.structs import replace

from master import outcome
from master.books import Books, with_rest, without_waiting
from master.queue_retry import (
    LAPSED,
    content_of,
    lines_left,
    may_wait_again,
    pause_after,
    with_retry,
    with_slow,
)
from master.records import Item, Task
from master.state import IllegalMove, wait_again
from tests.factories import NOW, make_agent, make_queue, make_result, make_run, make_task
from wire.states import Cause, RunState, Standing, Stop, TaskState, Want

RUNNING: dict[str, Any] = {"state": RunState.RUNNING}


def queue_task(**fields: Any) -> Task:
    return make_task(1, mode="queue", running=1, **fields)


def finish(result: Any, run: Any = None, queue: Any = None, **task: Any) -> Any:
    run = run or make_run(**RUNNING)
    return outcome.finish(queue_task(**task), run, result, NOW, queue or make_queue(items=1))


def lapse() -> Any:
    run = make_run(**RUNNING)
    return outcome.lose_run(queue_task(), make_agent(), run, NOW - 900, NOW, make_queue())


@pytest.mark.parametrize("to", [RunState.FAILED, RunState.TIMEOUT, RunState.UNKNOWN])
def test_a_failure_is_tried_again_while_attempts_are_left(to):
    task, queue = queue_task(), make_queue()
    assert may_wait_again(task, queue, make_run(tries=2, **RUNNING), to, None, NOW)
    assert not may_wait_again(task, queue, make_run(tries=3, **RUNNING), to, None, NOW)


@pytest.mark.parametrize("to", [RunState.SUCCEED, RunState.CANCELLED, RunState.SKIPPED])
def test_what_is_no_failure_is_not_tried_again(to):
    assert not may_wait_again(queue_task(), make_queue(), make_run(**RUNNING), to, None, NOW)


@pytest.mark.parametrize(
    ("task", "queue", "run"),
    [
        ({"stop": Stop.CANCEL}, {}, {}),
        ({"state": TaskState.FAILED}, {}, {}),
        ({"expires_at": NOW}, {}, {}),
        ({}, {"rest": RunState.SKIPPED}, {}),
        ({}, {}, {"want": Want.CANCEL}),
    ],
)
def test_what_is_being_stopped_is_not_tried_again(task, queue, run):
    args = queue_task(**task), make_queue(**queue), make_run(**RUNNING, **run)
    assert not may_wait_again(*args, RunState.FAILED, 1, NOW)


@pytest.mark.parametrize(
    ("to", "code", "again"),
    [
        (RunState.FAILED, 75, True),
        (RunState.FAILED, 1, False),
        (RunState.FAILED, None, True),  # it could not be started there
        (RunState.TIMEOUT, None, True),
        (RunState.UNKNOWN, None, True),
    ],
)
def test_codes_are_asked_of_exits_alone(to, code, again):
    queue = make_queue(retry_codes=[75])
    assert may_wait_again(queue_task(), queue, make_run(**RUNNING), to, code, NOW) is again


def test_what_a_batch_names_as_failed_is_tried_again_though_its_script_ended_well():
    task, queue, run = queue_task(), make_queue(retry_codes=[75]), make_run(**RUNNING)

    assert may_wait_again(task, queue, run, RunState.FAILED, 0, NOW)


def test_pauses_double_up_to_ten_minutes():
    queue = make_queue(retry_pause=1.5)
    assert [pause_after(queue, tries) for tries in (1, 2, 3)] == [1.5, 3.0, 6.0]
    assert pause_after(queue, 1000) == 600.0
    assert pause_after(make_queue(retry_pause=0.0), 1000) == 0.0


def test_only_a_run_that_runs_or_has_failed_may_wait_again():
    for state in (RunState.SUCCEED, RunState.CANCELLED, RunState.SKIPPED, RunState.WAITING):
        with pytest.raises(IllegalMove):
            wait_again("r1", state)


def test_a_failed_attempt_leaves_its_facts_and_a_clean_run():
    run = make_run(**RUNNING, output_stored=7, output_bytes=7)
    change = finish(make_result(RunState.FAILED, code=3, output_bytes=7), run)
    (after,), (attempt,), (queue,) = change.runs, change.attempts, change.queues
    assert (after.state, after.attempt, after.tries, after.grant) == (RunState.WAITING, 2, 2, None)
    assert (after.code, after.output_stored, after.due_at) == (None, 0, NOW + 1)
    assert after.reason == "attempt 1 was FAILED"
    assert (attempt.attempt, attempt.state, attempt.code, attempt.told) == (1, "FAILED", 3, True)
    assert (attempt.grant, attempt.output_stored) == (1, 7)
    assert queue.retry_at == NOW + 1
    assert (change.tasks[0].waiting, change.tasks[0].running) == (1, 0)


def test_what_is_not_known_is_tried_again_at_once():
    change = finish(make_result(RunState.UNKNOWN, cause=Cause.LOST))
    assert change.runs[0].due_at == NOW


def test_a_lapse_leaves_open_how_the_attempt_ended():
    change = lapse()
    assert (change.attempts[0].state, change.attempts[0].told) == (LAPSED, False)
    assert change.runs[0].state is RunState.WAITING


def test_a_fan_out_run_is_never_tried_again():
    change: Any = outcome.finish(
        make_task(1, running=1), make_run(**RUNNING), make_result(RunState.FAILED), NOW
    )
    assert change.runs[0].state is RunState.FAILED
    buried = outcome.bury_agent(
        make_agent(),
        [make_run(**RUNNING)],
        {"t1": make_task(1, running=1)},
        Standing.REVOKED,
        "gone",
        NOW,
    )
    assert buried.runs[0].state is RunState.UNKNOWN


def test_a_late_success_takes_the_run_back_and_later_ones_change_nothing():
    change = lapse()
    (task,), (run,), (attempt,) = change.tasks, change.runs, change.attempts
    queue = change.queues[0]
    settled: Any = outcome.finish_earlier(task, queue, run, attempt, make_result(), NOW)
    (after,) = settled.runs
    assert (after.state, after.attempt, after.grant) == (RunState.SUCCEED, 1, 1)
    assert settled.tasks[0].state is TaskState.SUCCEED
    told = settled.attempts[0]
    assert outcome.finish_earlier(task, queue, run, told, make_result(), NOW) is None


def test_a_sweep_tells_the_queue_what_became_of_the_rest():
    change = without_waiting(make_task(5, mode="queue", open=True), "too late", NOW)
    (task,), (sweep,) = change.tasks, change.sweeps
    assert (task.skipped, task.open, task.state) == (5, False, TaskState.FAILED)
    queue = with_rest(make_queue(retry_at=NOW), sweep)
    assert (queue.rest, queue.rest_reason, queue.retry_at) == (RunState.SKIPPED, "too late", None)
    assert with_rest(queue, replace(sweep, to=RunState.CANCELLED)) == queue


def test_what_is_put_back_begins_to_count_anew():
    dead = make_run(state=RunState.FAILED, tries=3, attempt=3, settled=True)
    books = Books(
        {"t1": make_task(1, mode="queue", failed=1, open=True)}, NOW, {"t1": make_queue()}
    )
    run = books.put_back(dead)
    assert (run.state, run.attempt, run.tries, run.due_at) == (RunState.WAITING, 4, 1, NOW)
    assert books.close().tasks[0].failed == 0


# ---- batches and the slowest


def test_it_follows_lines_through_attempts():
    run = make_run(**RUNNING)
    assert lines_left(run, [3, 1, 3, -1, 5000]) == [1, 3]
    assert lines_left(replace(run, failed_items=[1, 3]), [1, 7]) == [3]


def test_it_gives_the_lines_that_are_left():
    item = Item(0, 3, "a\nb\nc")
    assert content_of(item, []) == "a\nb\nc"
    assert content_of(item, [0, 2, 9]) == "a\nc"


def test_a_batch_that_reports_failed_lines_has_failed():
    queue = make_queue(batch=3)
    change = finish(make_result(failed_items=[2]), queue=queue)
    assert change.runs[0].failed_items == [2]
    assert change.attempts[0].reason == "1 items of the batch failed"


def test_it_keeps_the_earliest_time_of_another_attempt():
    queue = with_retry(make_queue(), NOW + 5)
    assert with_retry(queue, NOW + 9).retry_at == NOW + 5
    assert with_retry(queue, NOW + 1).retry_at == NOW + 1


def test_it_keeps_the_slowest_in_their_order():
    queue = make_queue()
    for seconds in range(1, 21):
        run = make_run(f"r{seconds}", started_at=NOW, ended_at=NOW + seconds)
        queue = with_slow(queue, run)
    assert [slow.seconds for slow in queue.slowest] == [float(n) for n in range(20, 10, -1)]
    assert with_slow(queue, make_run("r", started_at=NOW, ended_at=float("inf"))) is queue
    assert with_slow(queue, make_run("r", started_at=NOW)) is queue
