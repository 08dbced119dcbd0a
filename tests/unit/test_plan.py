"""What is to become of a plan? Decided on its record and on what its tasks came to."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from master.plan import (
    HOST_STATES,
    Begin,
    End,
    HostRun,
    Part,
    decide,
    hosts_by_state,
    states_of_hosts,
    variables,
)
from tests.factories import make_plan
from wire.plans import PlanState
from wire.states import ENDED_RUN, ENDED_TASK, RunState, TaskState

SUCCEED, FAILED, CANCELLED = TaskState.SUCCEED, TaskState.FAILED, TaskState.CANCELLED


def parts(*states: TaskState | None, step: int = 0, attempt: int = 1, **counts: int) -> list[Part]:
    """One task a state; None is a task that was skipped."""
    return [
        Part(
            step=step,
            attempt=attempt,
            place=place,
            task=None if state is None else f"t{step}{attempt}{place}",
            state=state,
            counts=counts,
        )
        for place, state in enumerate(states)
    ]


def test_it_begins_with_the_first_step():
    assert decide(make_plan(), []) == Begin(0, 1)


@pytest.mark.parametrize("state", sorted(set(TaskState) - ENDED_TASK))
def test_it_waits_for_the_last_task_of_a_step(state):
    assert decide(make_plan(), parts(SUCCEED, state)) is None
    assert decide(make_plan("ended"), parts(FAILED, state)) is None


def test_it_goes_on_when_all_have_succeeded():
    assert decide(make_plan(), parts(SUCCEED, SUCCEED)) == Begin(1, 1)


def test_it_fails_at_a_step_that_needed_to_succeed_and_says_what_did_not():
    failed = parts(SUCCEED, FAILED, FAILED=2, TIMEOUT=1, SUCCEED=2)
    assert decide(make_plan(), failed) == End(
        PlanState.FAILED, "step s0: 4 FAILED and 2 TIMEOUT of 10 runs"
    )


def test_it_goes_on_past_failures_where_a_step_only_has_to_end():
    plan = make_plan("ended", "succeeded")
    assert decide(plan, parts(FAILED, CANCELLED)) == Begin(1, 1)
    last = make_plan("ended", "succeeded", step=1)
    done = [*parts(FAILED, SUCCEED), *parts(SUCCEED, None, step=1)]
    assert decide(last, done) == End(PlanState.SUCCEED, "went on though not all of s0 succeeded")


def test_a_step_of_which_all_was_skipped_is_over():
    assert decide(make_plan(), parts(None, None)) == Begin(1, 1)


def test_it_is_cancelled_when_its_last_task_has_ended():
    plan = make_plan(cancelled_by="bob")
    assert decide(plan, parts(SUCCEED, TaskState.RUNNING)) is None
    end = End(PlanState.CANCELLED, "cancelled by bob")
    assert decide(plan, parts(SUCCEED, CANCELLED)) == end
    assert decide(plan, []) == end


def test_a_resumed_step_begins_once_more_whatever_came_of_it_before():
    plan = make_plan(attempt=2)
    assert decide(plan, parts(SUCCEED, FAILED)) == Begin(0, 2)
    again = [*parts(SUCCEED, FAILED), *parts(SUCCEED, SUCCEED, attempt=2)]
    assert decide(plan, again) == Begin(1, 1)


def test_nothing_becomes_of_a_plan_that_has_ended():
    assert decide(make_plan(ended_at=1.0), []) is None


@given(
    some.lists(some.sampled_from(["succeeded", "ended"]), min_size=1, max_size=6),
    some.data(),
)
def test_it_always_ends_and_begins_each_step_once(needs, data):
    plan = make_plan(*needs)
    made: list[Part] = []
    begun: list[tuple[int, int]] = []
    while isinstance(decision := decide(plan, made), Begin):
        begun.append((decision.step, decision.attempt))
        plan = make_plan(*needs, step=decision.step, attempt=decision.attempt)
        outcome = data.draw(some.lists(some.sampled_from([None, *sorted(ENDED_TASK)]), max_size=3))
        made += parts(*(outcome or [None]), step=decision.step)
    assert isinstance(decision, End)
    assert begun == [(step, 1) for step in range(len(begun))]
    met = len(begun) == len(needs) and decision.state is PlanState.SUCCEED
    last_failed = not all(part.has_succeeded for part in made if part.step == begun[-1][0])
    assert met != (needs[begun[-1][0]] == "succeeded" and last_failed)


RUNS = some.lists(
    some.builds(
        HostRun,
        some.integers(0, 2),
        some.integers(1, 3),
        some.sampled_from(["a", "b", "c", "d"]),
        some.sampled_from(sorted(ENDED_RUN)),
    ),
    max_size=30,
)


@given(RUNS)
def test_each_host_is_in_one_state(runs):
    hosts = hosts_by_state(states_of_hosts(runs))
    assert tuple(hosts) == HOST_STATES
    assert hosts["all"] == {run.agent for run in runs}
    single = [state for state in HOST_STATES if state != "all"]
    assert sum(len(hosts[state]) for state in single) == len(hosts["all"])
    assert set().union(*(hosts[state] for state in single)) == hosts["all"]


def test_the_worst_of_several_tasks_counts_and_of_one_task_the_latest():
    runs = [
        HostRun(0, 1, "a", RunState.FAILED),
        HostRun(0, 2, "a", RunState.SUCCEED),
        HostRun(0, 1, "b", RunState.SUCCEED),
        HostRun(1, 1, "b", RunState.TIMEOUT),
    ]
    assert states_of_hosts(runs) == {"a": RunState.SUCCEED, "b": RunState.TIMEOUT}


def test_it_tells_scripts_how_many_hosts_came_to_what():
    told = variables("build-1.x", hosts_by_state({"a": RunState.FAILED, "b": RunState.SUCCEED}))
    assert told["MSCHEDULE_STEP_BUILD_1_X_FAILED"] == "1"
    assert told["MSCHEDULE_STEP_BUILD_1_X_ALL"] == "2"
    assert told["MSCHEDULE_STEP_BUILD_1_X_TIMEOUT"] == "0"
