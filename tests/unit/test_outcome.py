"""How does a run end? By its agent's word, by people, by time."""

import pytest

from master import handout, outcome
from master.books import Sweep, ended, swept, wanted
from master.records import Run, Task
from master.state import IllegalMove
from tests.factories import (
    NOW,
    START_BY,
    make_agent,
    make_result,
    make_run,
    make_task,
)
from wire.messages import Done, DoneRecord
from wire.states import (
    Cause,
    RunState,
    Standing,
    Stop,
    TaskState,
    Want,
)


def only(change) -> tuple[Run, Task]:
    """The one run and the one task that a change is about."""
    (run,), (task,) = change.runs, change.tasks
    return run, task


def make_done(*records, asked=None, hw=1, floor=0) -> Done:
    return Done(session="s1", hw=hw, floor=floor, records=list(records), asked=asked)


def remembered(state, run="r1", grant=1) -> DoneRecord:
    return DoneRecord(run=run, attempt=1, grant=grant, state=state, code=0)


# ---- done lists


def test_it_settles_a_restored_store_by_the_done_list():
    runs = [make_run("r1"), make_run("r2"), make_run("r3")]
    done = make_done(remembered(RunState.SUCCEED, "r1", 1), hw=2)

    change = outcome.settle_done(make_agent(), runs, {"t1": make_task(3)}, done, NOW)

    run, task = only(change)
    assert (run.id, run.state, run.code) == ("r1", RunState.SUCCEED, 0)
    assert (task.waiting, task.succeed) == (2, 1)
    assert change.agent is not None
    assert (change.agent.granted, change.agent.acked) == (2, 2)


def test_it_starts_nothing_that_a_short_done_list_may_have_forgotten():
    done = make_done(hw=9, floor=8)

    change = outcome.settle_done(
        make_agent(granted=3), [make_run()], {"t1": make_task(2)}, done, NOW
    )

    run, _ = only(change)
    assert (run.state, run.settled) == (RunState.UNKNOWN, True)


def test_it_lets_waiting_runs_wait_when_the_done_list_is_long_enough():
    done = make_done(hw=9, floor=3)

    change = outcome.settle_done(make_agent(granted=3), [make_run()], {"t1": make_task()}, done, 0)

    assert change.runs == ()


def test_it_settles_what_was_asked_for():
    runs = [make_run(id, state=RunState.RUNNING) for id in ("r1", "r2")]
    done = make_done(remembered(RunState.FAILED, "r1"), asked=["r1", "r2"])
    task = make_task(2, running=2)

    change = outcome.settle_done(make_agent(granted=1), runs, {"t1": task}, done, NOW)

    known, unknown = change.runs
    assert known.state is RunState.FAILED
    assert (unknown.state, unknown.settled) == (RunState.UNKNOWN, True)
    assert unknown.reason == "the agent no longer knows how it ended"


def test_it_takes_a_done_list_twice():
    run = make_run(state=RunState.SUCCEED)
    task = make_task(2, succeed=1)

    change = outcome.settle_done(
        make_agent(granted=1, acked=1), [run], {"t1": task}, make_done(asked=["r1"]), NOW
    )

    assert change.runs == () and change.tasks == ()


# ---- results


def test_it_ends_a_run_and_with_it_the_task():
    run = make_run(state=RunState.RUNNING)

    change = outcome.finish(make_task(running=1), run, make_result(output_bytes=6), NOW + 3)

    assert change is not None
    ended, task = only(change)
    assert (ended.state, ended.code, ended.settled) == (RunState.SUCCEED, 0, True)
    assert (ended.started_at, ended.ended_at) == (NOW + 1, NOW + 2)
    assert ended.output_bytes == 6
    assert (task.state, task.succeed, task.ended_at) == (TaskState.SUCCEED, 1, NOW + 3)


@pytest.mark.parametrize(
    "run",
    [
        {"state": RunState.SUCCEED},  # a repeat
        {"state": RunState.CANCELLED},  # after another verdict
        {"state": RunState.RUNNING, "attempt": 2},  # of an earlier attempt
    ],
)
def test_it_changes_nothing_by_a_result_that_comes_late(run):
    late = make_run(**run)
    task = make_task(2, **{late.state.lower(): 1})

    assert outcome.finish(task, late, make_result(RunState.FAILED), NOW) is None


def test_it_replaces_unknown_by_what_the_agent_proves_once():
    run = make_run(state=RunState.UNKNOWN)
    task = make_task(2, unknown=1)

    change = outcome.finish(task, run, make_result(), NOW)

    assert change is not None
    proven, counted = only(change)
    assert proven.state is RunState.SUCCEED
    assert (counted.unknown, counted.succeed) == (0, 1)
    assert outcome.finish(counted, proven, make_result(RunState.FAILED), NOW) is None


def test_it_settles_a_run_of_a_task_that_has_ended_without_reopening_it():
    task = make_task(1, unknown=1, state=TaskState.FAILED)

    change = outcome.finish(task, make_run(state=RunState.UNKNOWN), make_result(), NOW)

    assert change is not None
    assert [run.state for run in change.runs] == [RunState.SUCCEED]
    assert change.tasks == ()


def test_it_believes_an_agent_that_says_unknown():
    result = make_result(RunState.UNKNOWN, cause=Cause.LOST, reason="the host went down")

    change = outcome.finish(make_task(running=1), make_run(state=RunState.RUNNING), result, NOW)

    assert change is not None
    run, _ = only(change)
    assert (run.state, run.settled, run.reason) == (RunState.UNKNOWN, True, "the host went down")


def test_it_takes_a_result_of_a_run_that_a_restored_store_thinks_waits():
    change = outcome.finish(make_task(2), make_run(), make_result(), NOW)

    assert change is not None
    run, task = only(change)
    assert run.state is RunState.SUCCEED
    assert (task.waiting, task.unknown, task.succeed) == (1, 0, 1)


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.WAITING])
@pytest.mark.parametrize("was", [RunState.RUNNING, RunState.WAITING])
def test_it_refuses_a_result_that_is_no_end(state, was):
    task = make_task(2, running=1)

    with pytest.raises(IllegalMove):
        outcome.finish(task, make_run(state=was), make_result(state), NOW)


def test_it_knows_why_a_run_never_started_though_the_agent_has_forgotten():
    run = make_run(state=RunState.RUNNING, want=Want.CANCEL)

    change = outcome.finish(make_task(running=1), run, make_result(RunState.SKIPPED), NOW)

    assert change is not None and change.runs[0].state is RunState.CANCELLED


# ---- limits


def test_it_skips_what_waits_when_a_limit_is_exceeded():
    task = make_task(10, running=2, fail_count=0)

    change = outcome.finish(
        task, make_run(state=RunState.RUNNING), make_result(RunState.FAILED), NOW
    )

    assert change is not None
    _, stopped = only(change)
    assert (stopped.state, stopped.stop) == (TaskState.RUNNING, Stop.LIMIT)
    assert (stopped.waiting, stopped.running, stopped.failed, stopped.skipped) == (0, 1, 1, 8)
    reason = "1 of 10 runs failed, more than fail_count 0 allows"
    assert stopped.reason == reason
    assert change.sweeps == (
        Sweep(task="t1", to=RunState.SKIPPED, reason=reason, want=None, at=NOW),
    )


def test_it_ends_the_task_failed_when_nothing_runs_any_more():
    task = make_task(10, running=1, fail_rate=0.0)

    change = outcome.finish(
        task, make_run(state=RunState.RUNNING), make_result(RunState.TIMEOUT), NOW
    )

    assert change is not None
    _, ended = only(change)
    assert (ended.state, ended.skipped, ended.ended_at) == (TaskState.FAILED, 9, NOW)


def test_it_kills_what_runs_when_the_task_says_so():
    task = make_task(3, running=2, fail_count=0, on_limit="kill")

    change = outcome.finish(
        task, make_run(state=RunState.RUNNING), make_result(RunState.FAILED), NOW
    )

    assert change is not None
    (sweep,) = change.sweeps
    assert (sweep.to, sweep.want) == (RunState.SKIPPED, Want.LIMIT)


def test_it_counts_runs_killed_by_the_limit_as_no_failures():
    task = make_task(3, running=1, failed=2, fail_count=1, stop=Stop.LIMIT, reason="2 of 3")

    change = outcome.finish(
        task, make_run(state=RunState.RUNNING), make_result(RunState.CANCELLED), NOW
    )

    assert change is not None
    _, ended = only(change)
    assert (ended.state, ended.failed, ended.cancelled) == (TaskState.FAILED, 2, 1)


def test_it_stops_nothing_while_the_limit_is_only_equalled():
    task = make_task(10, running=2, fail_count=1)

    change = outcome.finish(
        task, make_run(state=RunState.RUNNING), make_result(RunState.FAILED), NOW
    )

    assert change is not None and change.sweeps == ()
    assert change.tasks[0].stop is None


# ---- cancel


def test_it_cancels_a_task():
    task = make_task(10_000, running=2, succeed=1)

    change = outcome.cancel_task(task, NOW)

    assert change is not None
    (cancelled,) = change.tasks
    assert (cancelled.stop, cancelled.waiting, cancelled.cancelled) == (Stop.CANCEL, 0, 9_997)
    assert (cancelled.state, cancelled.reason) == (TaskState.RUNNING, "being stopped")
    assert change.sweeps == (
        Sweep(task="t1", to=RunState.CANCELLED, reason="cancelled", want=Want.CANCEL, at=NOW),
    )


@pytest.mark.parametrize("state", [TaskState.WAITING, TaskState.PAUSED])
def test_it_ends_a_cancelled_task_at_once_when_nothing_runs(state):
    change = outcome.cancel_task(make_task(3, state=state), NOW)

    assert change is not None
    assert (change.tasks[0].state, change.tasks[0].ended_at) == (TaskState.CANCELLED, NOW)


def test_it_changes_nothing_when_an_ended_task_is_cancelled():
    task = make_task(1, succeed=1, state=TaskState.SUCCEED)

    assert outcome.cancel_task(task, NOW) is None


def test_it_cancels_what_runs_of_a_task_that_a_limit_had_stopped():
    task = make_task(3, running=1, failed=1, skipped=1, stop=Stop.LIMIT)

    change = outcome.cancel_task(task, NOW)

    assert change is not None and change.tasks == ()
    assert [(sweep.to, sweep.want) for sweep in change.sweeps] == [(None, Want.CANCEL)]


def test_it_stops_an_unknown_run_of_a_cancelled_task_when_its_agent_is_back():
    task = make_task(2, unknown=1, succeed=1, state=TaskState.FAILED)

    change = outcome.cancel_task(task, NOW)

    assert change is not None
    unknown = swept(make_run(state=RunState.UNKNOWN), change.sweeps[0])
    assert unknown.want is Want.CANCEL


def test_it_says_that_a_cancel_came_too_late():
    task = make_task(2, running=1, succeed=1, stop=Stop.CANCEL, reason="being stopped")

    change = outcome.finish(task, make_run(state=RunState.RUNNING), make_result(), NOW)

    assert change is not None
    assert change.tasks[0].state is TaskState.SUCCEED
    assert "too late" in change.tasks[0].reason


def test_it_cancels_a_waiting_run():
    change = outcome.cancel_run(make_task(2), make_run(), NOW)

    assert change is not None
    run, task = only(change)
    assert (run.state, run.ended_at) == (RunState.CANCELLED, NOW)
    assert (task.waiting, task.cancelled, task.stop) == (1, 1, None)


@pytest.mark.parametrize("want", [None, Want.SKIP])
@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.UNKNOWN])
def test_it_asks_for_the_stop_of_a_run_that_was_handed_out(state, want):
    run = make_run(state=state, want=want)

    change = outcome.cancel_run(make_task(2, **{state.lower(): 1}), run, NOW)

    assert change is not None and change.tasks == ()
    assert (change.runs[0].want, change.runs[0].reason) == (Want.CANCEL, "being stopped")


@pytest.mark.parametrize(
    "run",
    [
        {"state": RunState.RUNNING, "want": Want.CANCEL},
        {"state": RunState.RUNNING, "want": Want.LIMIT},
        {"state": RunState.SUCCEED},
        {"state": RunState.UNKNOWN, "settled": True},
    ],
)
def test_it_changes_nothing_when_there_is_nothing_to_cancel(run):
    held = make_run(**run)

    assert outcome.cancel_run(make_task(2, **{held.state.lower(): 1}), held, NOW) is None


# ---- time


def test_it_skips_all_that_waits_of_a_task_that_has_expired():
    task = make_task(3, succeed=1)

    change = outcome.expire_task(task, START_BY)

    assert change is not None
    assert (change.tasks[0].skipped, change.tasks[0].state) == (2, TaskState.FAILED)
    assert change.sweeps[0].to is RunState.SKIPPED
    assert change.sweeps[0].want is None


def test_it_leaves_a_task_that_has_time_or_nothing_that_waits():
    assert outcome.expire_task(make_task(3), START_BY - 1) is None
    assert outcome.expire_task(make_task(3, running=3), START_BY) is None


def test_it_skips_a_waiting_run_that_was_not_started_in_time():
    change = outcome.expire_run(make_task(2), make_agent(), make_run(), START_BY)

    assert change is not None
    assert change.runs[0].state is RunState.SKIPPED
    assert change.runs[0].reason == "not started by 1970-01-01T00:33:20.000Z"


def test_it_asks_for_an_unconfirmed_run_back_as_void():
    run = make_run(state=RunState.RUNNING, grant=4)
    task = make_task(2, running=1)

    change = outcome.expire_run(task, make_agent(granted=4, acked=3), run, START_BY)

    assert change is not None and change.runs[0].want is Want.SKIP
    assert outcome.expire_run(task, make_agent(granted=4, acked=4), run, START_BY) is None
    assert outcome.expire_run(task, make_agent(granted=4, acked=3), run, START_BY - 1) is None


def test_it_gives_up_a_run_whose_agent_is_silent():
    agent = make_agent(last_seen=NOW)
    task, run = make_task(running=1, lost_after=900.0), make_run(state=RunState.RUNNING)

    assert outcome.lose_run(task, agent, run, NOW, NOW + 899) is None
    change = outcome.lose_run(task, agent, run, NOW, NOW + 900)

    assert change is not None
    lost, ended = only(change)
    assert (lost.state, lost.settled) == (RunState.UNKNOWN, False)
    assert lost.reason == "agent not seen since 1970-01-01T00:16:40.000Z"
    assert (ended.running, ended.unknown) == (0, 1)


@pytest.mark.parametrize(
    ("last_seen", "listening_since", "last_stall", "since"),
    [(300.0, 100.0, 200.0, 300.0), (100.0, 300.0, 200.0, 300.0), (100.0, 200.0, 300.0, 300.0)],
)
def test_it_counts_silence_only_while_it_could_have_heard(
    last_seen, listening_since, last_stall, since
):
    agent = make_agent(last_seen=last_seen)

    assert outcome.silent_since(agent, listening_since, last_stall) == since


def test_it_frees_the_place_of_a_lost_run():
    task = make_task(3, running=1, parallel=1)

    change = outcome.lose_run(task, make_agent(), make_run(state=RunState.RUNNING), 0.0, NOW)

    assert change is not None
    claimed = handout.claim(change.tasks[0], make_agent(granted=1), make_run("r2"), "i1", NOW)
    assert claimed is not None


def test_it_buries_an_agent():
    runs = [make_run("r1", state=RunState.RUNNING), make_run("r2"), make_run("r3", task="t2")]
    tasks = {"t1": make_task(2, running=1), "t2": make_task(2, id="t2")}

    change = outcome.bury_agent(make_agent(), runs, tasks, Standing.REVOKED, "host revoked", NOW)

    assert [run.state for run in change.runs] == [
        RunState.UNKNOWN,
        RunState.SKIPPED,
        RunState.SKIPPED,
    ]
    assert {run.reason for run in change.runs} == {"host revoked"}
    assert [task.state for task in change.tasks] == [TaskState.FAILED, TaskState.WAITING]
    assert change.agent is not None and change.agent.standing is Standing.REVOKED


def test_it_ends_a_task_at_submission_when_all_its_targets_were_skipped():
    task = ended(make_task(2, skipped=2, state=TaskState.WAITING), NOW)

    assert (task.state, task.ended_at) == (TaskState.FAILED, NOW)
    assert ended(make_task(2, skipped=1), NOW).ended_at is None


# ---- sweeps


def test_it_sweeps_only_what_it_names():
    sweep = Sweep(task="t1", to=RunState.CANCELLED, reason="cancelled", want=Want.CANCEL, at=NOW)

    waiting = swept(make_run(), sweep)
    running = swept(make_run(state=RunState.RUNNING), sweep)
    ended = make_run(state=RunState.SUCCEED)
    other = make_run(task="t2")

    assert (waiting.state, waiting.reason, waiting.ended_at) == (
        RunState.CANCELLED,
        "cancelled",
        NOW,
    )
    assert (running.state, running.want) == (RunState.RUNNING, Want.CANCEL)
    assert swept(ended, sweep) is ended
    assert swept(other, sweep) is other


def test_it_keeps_what_was_wanted_first_unless_it_was_only_skip():
    assert wanted(make_run(want=Want.LIMIT), Want.CANCEL).want is Want.LIMIT
    assert wanted(make_run(want=Want.CANCEL), Want.LIMIT).want is Want.CANCEL
    assert wanted(make_run(want=Want.SKIP), Want.CANCEL).want is Want.CANCEL
