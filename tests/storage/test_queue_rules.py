"""Who may take how much of a queue, and what stops it: rate, places, limits, cancel, expiry."""

import pytest

from master.changes import Retry
from master.ids import new_id
from tests.storage.cast import by, make_poll
from tests.storage.queues import counts, enrol, put_back, results, run_of, silence, submit
from wire.errors import Conflict, Forbidden, InvalidValue, NotFound
from wire.states import RunState, Standing, TaskState

# ---- pace and places


def test_it_hands_out_no_more_than_the_rate_allows(house):
    agents = enrol(house, "web01", "db1")
    task = submit(house, *(str(n) for n in range(100)), rate=2.0, burst=3)
    taken = sum(len(agent.poll(task, free=10).grants) for agent in agents)
    assert taken == 3
    for _ in range(20):
        house.clock.now += 0.5
        taken += sum(len(agent.poll(task, free=10).grants) for agent in agents)
    assert taken == 3 + 20


def test_it_says_from_when_on_the_rate_gives_something(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", "b", rate=4.0, burst=1)
    (state,) = web.poll(task, free=4).changed.queues
    assert (state.takable, state.next_at) == (False, house.clock.now + 0.25)
    house.clock.now = state.next_at
    assert web.take(task).item == "b"
    (state,) = house.store.queue_states().wait()
    assert (state.takable, state.next_at, state.untaken) == (False, None, 0)


def test_a_batch_costs_as_many_tokens_as_it_has_items(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *"abcdefgh", batch=4, rate=1.0, burst=4)
    assert len(web.poll(task, free=4).grants) == 1
    house.clock.now += 3.5
    assert not web.poll(task, free=4).grants
    house.clock.now += 0.5
    assert len(web.poll(task, free=4).grants) == 1


def test_another_attempt_costs_tokens_too(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", rate=1.0, burst=1, retry_pause=0.0)
    web.fail(web.take(task))
    assert not web.poll(task).grants
    house.clock.now += 1
    assert web.take(task).attempt == 2


def test_a_clock_that_was_set_back_gives_no_tokens_and_takes_none(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *"abc", rate=1.0, burst=1)
    web.take(task)
    house.clock.now -= 500
    assert not web.poll(task).grants
    house.clock.now += 1
    assert web.take(task).item == "b"


def test_it_gives_no_host_more_at_once_than_its_share(house):
    web, db = enrol(house, "web01", "db1")
    task = submit(house, *"abcdef", per_agent=2)
    first, _ = web.poll(task, free=4).grants
    assert not web.poll(task, free=4).grants
    assert len(db.poll(task, free=4).grants) == 2
    web.finish(first)
    assert len(web.poll(task, free=4).grants) == 1


def test_it_keeps_to_the_places_of_the_task(house):
    web, db = enrol(house, "web01", "db1")
    task = submit(house, *"abcdef", parallel=3)
    assert len(web.poll(task, free=2).grants) == 2
    grant = db.take(task, free=4)
    assert not web.poll(task, free=4).grants
    assert db.finish(grant).changed.queues[0].takable


def test_it_takes_turns_between_queues_of_a_level(house):
    (web,) = enrol(house, "web01")
    tasks = [submit(house, *(f"{name}{n}" for n in range(4))) for name in "abc"]
    answer = web.poll(*tasks, free=7)
    assert [grant.item for grant in answer.grants] == ["a0", "b0", "c0", "a1", "b1", "c1", "a2"]


def test_what_is_for_a_host_alone_comes_first_at_the_same_priority(house):
    (web,) = enrol(house, "web01")
    high, low = submit(house, *"ab", priority=5), submit(house, *"cd", priority=1)
    own = {p: house.submit([web.id], priority=p).id for p in (0, 1, 5)}
    serves = ((high.id,), (low.id,))
    answer = house.store.poll(web.id, make_poll(free=10), serves).wait()
    given = [grant.item or grant.task.id for grant in answer.grants]
    assert given == [own[5], "a", "b", own[1], "c", "d", own[0]]


def test_it_is_idle_only_if_no_queue_could_give_more_now(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *"ab")
    assert not web.poll(task).idle
    assert web.poll(task).idle is False  # its first run is open
    slow = submit(house, *"ab", rate=1.0, burst=1)
    (db,) = enrol(house, "db1")
    assert db.poll(slow, free=4).idle
    assert db.poll(hw=0, free=4).idle is False


# ---- the end


def test_a_cancel_counts_all_items_over_and_touches_no_row_of_them(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *(str(n) for n in range(500)), retry_pause=60.0)
    web.fail(web.take(task))
    running = web.take(task)
    house.store.cancel_task(task.id, by()).wait()
    assert counts(house, task) == {"CANCELLED": 499, "RUNNING": 1}
    assert not web.poll(task).grants
    changed = web.finish(running, RunState.CANCELLED, cause="cancel").changed
    assert changed.ended == (task.id,)
    assert changed.queues[0].takable is False
    found = results(house, task)
    assert [one.state for one in found].count("CANCELLED") == 500
    assert (found[2].run, found[2].reason) == (None, "cancelled by alice")


def test_a_failure_after_a_cancel_is_not_tried_again(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", "b")
    first, second = web.poll(task, free=2).grants
    house.store.cancel_run(first.run, by()).wait()
    web.fail(first)
    assert counts(house, task) == {"FAILED": 1, "RUNNING": 1}
    house.store.cancel_task(task.id, by()).wait()
    web.finish(second, RunState.UNKNOWN)
    assert counts(house, task) == {"FAILED": 1, "UNKNOWN": 1}


def test_it_cancels_a_run_that_waits_for_another_attempt(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", retry_pause=60.0)
    first = web.take(task)
    web.fail(first)
    assert house.store.cancel_run(first.run, by()).wait().ended == (task.id,)
    assert counts(house, task) == {"CANCELLED": 1}


def test_what_nobody_took_in_time_is_skipped_and_nothing_is_tried_again(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *"abc", expires_in=100.0, open=True)
    running = web.take(task)
    house.clock.now += 100
    assert not web.poll(task).grants
    house.store.expire().wait()
    assert counts(house, task) == {"SKIPPED": 2, "RUNNING": 1}
    assert house.task(task.id).open is False
    assert web.fail(running).changed.ended == (task.id,)
    assert counts(house, task) == {"SKIPPED": 2, "FAILED": 1}


def test_an_open_queue_without_items_expires(house):
    task = submit(house, open=True, expires_in=100.0)
    house.clock.now += 100
    assert house.store.expire().wait().ended == (task.id,)


def test_a_share_of_failures_is_looked_at_from_the_hundredth_end_on(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *(str(n) for n in range(300)), fail_rate=0.1, max_attempts=1)
    for n in range(99):
        web.finish(web.take(task), RunState.FAILED if n < 50 else RunState.SUCCEED)
    assert house.task(task.id).stop is None
    web.finish(web.take(task))
    ended = house.task(task.id)
    assert (ended.state, ended.skipped) == (TaskState.FAILED, 200)
    assert ended.reason == "50 of 100 runs failed, more than fail_rate 0.1 allows"


def test_a_short_queue_is_measured_at_its_end(house):
    (web,) = enrol(house, "web01")
    within = submit(house, *"abcd", fail_rate=0.25, max_attempts=1)
    beyond = submit(house, *"abcd", fail_rate=0.25, max_attempts=1)
    for task, failing in ((within, 1), (beyond, 2)):
        for n in range(4):
            web.finish(web.take(task), RunState.FAILED if n < failing else RunState.SUCCEED)
    assert house.task(within.id).state is TaskState.SUCCEED
    assert house.task(beyond.id).state is TaskState.FAILED


def test_attempts_that_failed_are_no_failures_of_the_task(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", fail_count=0, retry_pause=0.0)
    for _ in range(2):
        web.fail(web.take(task))
    assert house.task(task.id).stop is None
    web.finish(web.take(task))
    assert house.task(task.id).state is TaskState.SUCCEED


def test_a_limit_that_is_reached_skips_the_items_and_kills_what_runs(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *"abcdef", fail_count=0, on_limit="kill", max_attempts=1, open=True)
    first, second = web.poll(task, free=2).grants
    assert web.fail(first).changed.wake == (web.id,)
    assert counts(house, task) == {"FAILED": 1, "RUNNING": 1, "SKIPPED": 4}
    web.finish(second, RunState.CANCELLED, cause="limit")
    assert house.task(task.id).state is TaskState.FAILED


def test_a_paused_queue_gives_nothing_and_goes_on_where_it_was(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *"ab", retry_pause=0.0)
    web.fail(web.take(task))
    house.store.pause_task(task.id, by()).wait()
    assert not web.poll(task).grants
    assert house.store.resume_task(task.id, by()).wait().queues[0].takable
    assert web.take(task).attempt == 2


# ---- dead letters


def test_it_gives_dead_runs_their_attempts_again(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", "b", open=True, max_attempts=2, retry_pause=0.0)
    for _ in range(2):
        web.fail(web.take(task))
    web.finish(web.take(task))
    dead = run_of(house, task, 0)
    assert counts(house, task) == {"FAILED": 1, "SUCCEED": 1}
    taken = put_back(house, task)
    assert (taken.answer.count, taken.answer.left) == (1, False)
    assert taken.changed.queues[0].takable
    assert put_back(house, task).answer.count == 0
    third = web.take(task)
    assert (third.run, third.attempt, third.item) == (dead.id, 3, "a")
    web.fail(third)
    assert web.take(task).attempt == 4


def test_it_puts_back_those_that_are_named_and_no_others(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *"abc", open=True, max_attempts=1)
    for _ in range(3):
        web.fail(web.take(task))
    dead = run_of(house, task, 1)
    assert put_back(house, task, [dead.id]).answer.count == 1
    assert put_back(house, task, [dead.id]).answer.count == 0
    with pytest.raises(NotFound, match="no run nobody"):
        put_back(house, task, ["nobody"])
    assert counts(house, task) == {"FAILED": 2, "WAITING": 1}


def test_it_puts_nothing_back_of_a_queue_that_has_ended(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", max_attempts=1)
    web.fail(web.take(task))
    with pytest.raises(Conflict, match="retry it instead"):
        put_back(house, task)


def test_a_host_that_went_silent_may_still_speak_of_what_was_put_back(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", open=True, max_attempts=1)
    first = web.take(task)
    silence(house)
    put_back(house, task)
    web.finish(first)
    assert counts(house, task) == {"SUCCEED": 1}


def test_a_fan_out_has_no_items(house):
    agents = house.enrol("web01")
    task = house.submit(agents)
    for refused in (
        lambda: house.store.add_items(task.id, "u", 0, ["a"], by()).wait(),
        lambda: house.store.close_queue(task.id, by()).wait(),
        lambda: put_back(house, task),
        lambda: house.store.queue_view(task.id).wait(),
        lambda: results(house, task),
    ):
        with pytest.raises(Conflict, match="fan-out"):
            refused()
    with pytest.raises(NotFound):
        house.store.close_queue("nothing", by()).wait()


def test_an_agent_that_is_not_enrolled_is_given_nothing(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a")
    house.store.bury_agent(web.id, Standing.REVOKED, "gone", by()).wait()
    assert web.poll(task).grants == []


# ---- a retry of what did not succeed


def retry(house, task, *states, **values):
    given = {"id": new_id(), "task": task.id, "states": states, "created_by": "alice", **values}
    return house.store.retry_task(Retry(**given), by()).wait()


def test_a_retry_is_a_queue_of_what_did_not_succeed(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *"abcdef", max_attempts=1, name="scans", rate=50.0, burst=9)
    for state in (RunState.SUCCEED, RunState.FAILED, RunState.TIMEOUT, RunState.FAILED):
        web.finish(web.take(task), state)
    house.store.cancel_task(task.id, by()).wait()
    retried = retry(house, task, RunState.FAILED, RunState.CANCELLED, RunState.TIMEOUT)
    new = retried.task
    assert (retried.created, new.retry_of, new.total, new.open) == (True, task.id, 5, False)
    assert [one.items for one in results(house, new)] == [["b"], ["c"], ["d"], ["e"], ["f"]]
    view = house.store.queue_view(new.id).wait()
    assert (view.queue, view.items, view.rate, view.burst) == ("scans", 5, 50.0, 9)
    for grant in web.poll(new, free=9).grants:
        web.finish(grant)
    assert house.task(new.id).state is TaskState.SUCCEED


def test_a_retry_takes_of_a_batch_what_is_not_done(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *"abcdef", batch=3, max_attempts=1)
    first, second = web.poll(task, free=2).grants
    web.finish(first, failed_items=[0, 2])
    web.fail(second)
    new = retry(house, task, RunState.FAILED).task
    assert [one.items for one in results(house, new)] == [["a", "c"], ["d", "e", "f"]]
    assert house.store.queue_view(new.id).wait().items == 5


def test_a_retry_of_a_queue_needs_something_that_may_be_repeated(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", "b")
    web.finish(web.take(task))
    with pytest.raises(InvalidValue, match="no run of the task is FAILED"):
        retry(house, task, RunState.FAILED)


def test_a_limit_of_hosts_holds_for_the_retry_of_a_queue_and_for_the_queue_that_it_makes(house):
    web, db = enrol(house, "web01", "db1")
    task = submit(house, "a", max_attempts=1)
    web.fail(web.take(task))
    reach, limit = frozenset([web.id]), "@env:staging"
    across = {web.id: "web01", db.id: "db1"}
    with pytest.raises(Forbidden, match="db1"):
        retry(house, task, RunState.FAILED, reach=reach, within=limit, hosts=across)
    inside = {web.id: "web01"}
    new = retry(house, task, RunState.FAILED, reach=reach, within=limit, hosts=inside).task
    assert house.task(new.id).settings["within"] == limit
    web.fail(web.take(new))
    third = retry(house, new, RunState.FAILED).task
    assert house.task(third.id).settings["within"] == limit
