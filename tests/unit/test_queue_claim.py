"""When may something of a queue be handed out?"""

from typing import Any

import pytest
from msgspec.structs import replace

from master.queue_claim import (
    filled,
    may_take,
    paid,
    payable_at,
    retrying,
    state_of,
    take_again,
    take_item,
    untaken,
)
from master.records import Item, Task
from tests.factories import NOW, START_BY, make_agent, make_queue, make_run, make_task
from wire.states import RunState, Standing, Stop, TaskState


def queue_task(**fields: Any) -> Task:
    return make_task(10, mode="queue", **fields)


# ---- the bucket


def test_it_fills_with_the_time_up_to_the_burst():
    queue = make_queue(rate=2.0, burst=5, tokens=1.0)
    assert filled(queue, NOW + 1).tokens == 3.0
    assert filled(queue, NOW + 100).tokens == 5.5
    assert filled(queue, NOW + 1).tokens_at == NOW + 1


def test_a_clock_that_was_set_back_neither_gives_nor_takes():
    after = filled(make_queue(rate=2.0, burst=5, tokens=1.0), NOW - 500)
    assert (after.tokens, after.tokens_at) == (1.0, NOW - 500)


def test_it_is_paid_from_what_is_there():
    queue = make_queue(rate=1.0, burst=3, tokens=2.0)
    after = paid(queue, 2, NOW)
    assert after is not None and after.tokens == 0.0
    assert paid(after, 1, NOW + 0.5) is None
    assert payable_at(after, 1, NOW + 0.5) == NOW + 1


def test_what_costs_more_than_the_bucket_holds_leaves_a_debt():
    after = paid(make_queue(rate=1.0, burst=2, tokens=2.0), 5, NOW)
    assert after is not None and after.tokens == -3.0
    assert payable_at(after, 1, NOW) == NOW + 4


def test_without_a_rate_nothing_is_paid():
    queue = make_queue()
    assert paid(queue, 1000, NOW) is queue
    assert payable_at(queue, 1000, NOW) == NOW


@pytest.mark.parametrize("rate", [0.1, 3.0, 50.0, 9999.0])
def test_the_rate_is_exact_however_often_one_looks(rate):
    queue, now, taken = make_queue(rate=rate, burst=1, tokens=1.0), NOW, 0
    until = NOW + 200 / rate
    while now <= until:
        after = paid(queue, 1, now)
        if after is None:
            queue, now = filled(queue, now), now + 0.07 / rate
        else:
            queue, taken = after, taken + 1
    assert 195 <= taken <= 201


# ---- what there is


def test_it_counts_what_nobody_took_and_what_waits_for_another_attempt():
    task = queue_task(running=2, succeed=1)  # 7 wait
    queue = make_queue(taken=5)
    assert (untaken(task, queue), retrying(task, queue)) == (5, 2)
    swept = replace(queue, rest=RunState.CANCELLED)
    assert untaken(replace(task, waiting=0), swept) == 0
    assert retrying(replace(task, waiting=0), swept) == 0


@pytest.mark.parametrize(
    ("task", "queue", "takable", "next_at"),
    [
        ({}, {}, True, None),
        ({}, {"taken": 10, "retry_at": NOW + 5}, False, NOW + 5),
        ({}, {"taken": 10, "retry_at": NOW - 5}, True, None),
        ({}, {"rate": 2.0}, False, NOW + 0.5),
        ({}, {"rate": 2.0, "batch": 4, "burst": 4}, False, NOW + 2),
        ({"parallel": 1, "running": 1}, {"taken": 1}, False, None),
        ({"state": TaskState.PAUSED}, {}, False, None),
        ({"stop": Stop.CANCEL}, {}, False, None),
        ({"expires_at": NOW}, {}, False, None),
        ({"expires_at": NOW + 1}, {"rate": 0.1}, False, None),
        ({"waiting": 0, "succeed": 10}, {"taken": 10}, False, None),
    ],
)
def test_it_says_whether_and_when_something_can_be_taken(task, queue, takable, next_at):
    state = state_of(queue_task(**task), make_queue(**queue), NOW)
    assert (state.takable, state.next_at) == (takable, next_at)


# ---- taking


@pytest.mark.parametrize(
    ("task", "queue", "agent", "alive"),
    [
        ({"state": TaskState.PAUSED}, {}, {}, 0),
        ({"stop": Stop.LIMIT}, {}, {}, 0),
        ({"parallel": 1, "running": 1}, {}, {}, 0),
        ({"expires_at": NOW}, {}, {}, 0),
        ({}, {"per_agent": 2}, {}, 2),
        ({}, {}, {"standing": Standing.QUARANTINED}, 0),
        ({}, {}, {"instance": "another"}, 0),
    ],
)
def test_an_agent_may_not_take_what_is_not_to_be_given(task, queue, agent, alive):
    args = queue_task(**task), make_queue(**queue), make_agent(**agent)
    assert not may_take(*args, "i1", alive, NOW)
    assert may_take(queue_task(), make_queue(per_agent=2), make_agent(), "i1", 1, NOW)


def test_an_item_becomes_a_run_that_is_handed_out():
    taken = take_item(queue_task(), make_queue(taken=3), make_agent(), Item(3, 1, "x"), "r", NOW)
    assert taken is not None
    run = taken.run
    assert (run.seq, run.attempt, run.state, run.grant) == (3, 1, RunState.RUNNING, 1)
    assert (run.agent, run.hostname, run.start_by) == ("a1", "web01", START_BY)
    assert (taken.queue.taken, taken.task.waiting, taken.task.running) == (4, 9, 1)
    assert taken.task.state is TaskState.RUNNING


def test_it_takes_nothing_without_tokens():
    queue = make_queue(rate=1.0, burst=5)
    assert take_item(queue_task(), queue, make_agent(), Item(0, 1, "x"), "r", NOW) is None


def test_another_attempt_is_handed_out_when_it_is_due():
    run = make_run("r", attempt=2, tries=2, due_at=NOW + 1, agent="a9", failed_items=[1])
    args = queue_task(), make_queue(taken=1), make_agent(), run, 1
    assert take_again(*args, NOW) is None
    taken = take_again(*args, NOW + 1)
    assert taken is not None
    after = taken.run
    assert (after.agent, after.attempt, after.due_at, after.failed_items) == ("a1", 2, None, [1])
    assert taken.queue.taken == 1
