"""From items to the end of a queue: what is taken, how it ends, and what is handed out again."""

import pytest

from tests.storage.cast import by
from tests.storage.queues import (
    attempts,
    counts,
    enrol,
    put_back,
    results,
    silence,
    submit,
)
from wire.messages import Held, Output
from wire.states import Cause, RunState, Stage, Standing, TaskState, WordKind


def held(grant, stage=Stage.LIVE):
    return [Held(run=grant.run, attempt=grant.attempt, stage=stage)]


# ---- from items to an end


def test_it_gives_each_item_to_whoever_asks_in_their_order(house):
    web, db = enrol(house, "web01", "db1")
    task = submit(house, "a", "b", "c")
    first, second, third = web.take(task), db.take(task), web.take(task)
    assert [grant.item for grant in (first, second, third)] == ["a", "b", "c"]
    assert not db.poll(task).grants
    for agent, grant in ((web, first), (db, second), (web, third)):
        agent.finish(grant)
    ended = house.task(task.id)
    assert (ended.state, ended.succeed, ended.total) == (TaskState.SUCCEED, 3, 3)


def test_it_makes_a_run_only_when_an_item_is_taken(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *(f"item {n}" for n in range(1000)))
    assert house.sql("SELECT count(*) FROM runs") == [(0,)]
    grants = web.poll(task, free=3).grants
    assert [grant.grant for grant in grants] == [1, 2, 3]
    assert house.sql("SELECT seq, state FROM runs ORDER BY seq") == [
        (0, "RUNNING"),
        (1, "RUNNING"),
        (2, "RUNNING"),
    ]
    assert counts(house, task) == {"WAITING": 997, "RUNNING": 3}


def test_it_sends_a_hand_out_that_was_lost_again_with_its_item(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", "b")
    (lost,) = web.lose(task).grants
    again = web.take(task)
    assert (again.run, again.grant, again.item) == (lost.run, lost.grant, "a")


def test_it_leaves_nothing_of_a_claim_whose_commit_failed(house):
    """The runs that a claim made are gone with it: the item is the next one's."""
    (web,) = enrol(house, "web01")
    task = submit(house, "a")
    house.store._specs.of = None  # the claim fails after its decision
    with pytest.raises(TypeError):
        web.poll(task)
    del house.store._specs.of
    assert house.sql("SELECT count(*) FROM runs") == [(0,)]
    assert web.take(task).item == "a"


def test_it_ends_no_queue_that_is_open(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", open=True)
    web.finish(web.take(task))
    assert house.task(task.id).state is TaskState.RUNNING
    changed = house.store.close_queue(task.id, by()).wait()
    assert changed.ended == (task.id,)
    assert house.task(task.id).state is TaskState.SUCCEED
    assert house.store.close_queue(task.id, by()).wait().tasks == ()


def test_it_ends_an_empty_queue_as_it_is_closed(house):
    task = submit(house, open=True)
    assert task.state is TaskState.WAITING
    house.store.close_queue(task.id, by()).wait()
    assert house.task(task.id).state is TaskState.SUCCEED


# ---- another attempt


def test_it_tries_a_failed_item_again_after_growing_pauses(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", retry_pause=10.0)
    web.fail(web.take(task))
    assert counts(house, task) == {"WAITING": 1}
    assert not web.poll(task).grants
    house.clock.now += 10
    second = web.take(task)
    assert (second.attempt, second.item) == (2, "a")
    state = web.fail(second).changed.queues[0]
    assert (state.retrying, state.next_at) == (1, house.clock.now + 20)
    house.clock.now += 20
    web.fail(web.take(task))
    ended = house.task(task.id)
    assert (ended.state, ended.failed) == (TaskState.FAILED, 1)
    assert attempts(house, second.run) == [(1, "FAILED"), (2, "FAILED")]
    assert house.run(second.run).attempt == 3


def test_it_tries_again_before_it_begins_with_something_new(house):
    web, db = enrol(house, "web01", "db1")
    task = submit(house, "a", "b", "c", retry_pause=0.0)
    web.fail(web.take(task))
    assert db.take(task).item == "a"
    assert web.take(task).item == "b"


def test_it_tries_only_the_exit_codes_that_were_chosen_again(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", "b", "c", retry_codes=[75], retry_pause=0.0)
    first, second, third = web.poll(task, free=3).grants
    web.fail(first, code=2)
    web.fail(second, code=75)
    web.finish(third, RunState.TIMEOUT, code=None)
    assert counts(house, task) == {"FAILED": 1, "WAITING": 2}


@pytest.mark.parametrize("state", [RunState.UNKNOWN, RunState.TIMEOUT, RunState.FAILED])
def test_it_tries_whatever_went_wrong_until_no_attempt_is_left(house, state):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", max_attempts=2, retry_pause=0.0)
    web.finish(web.take(task), state)
    assert web.finish(web.take(task), state).changed.ended == (task.id,)
    assert counts(house, task) == {state.value: 1}


def test_it_changes_nothing_for_the_result_of_an_attempt_that_comes_again(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", retry_pause=0.0)
    first = web.take(task)
    web.fail(first, data=b"out", output_bytes=3)
    before = house.run(first.run)
    again = web.fail(first, data=b"out", output_bytes=3)
    assert (again.answer.offset, again.answer.stray) == (3, False)
    assert house.run(first.run) == before
    second = web.take(task)
    web.fail(first)
    assert house.run(first.run).state is RunState.RUNNING
    web.finish(second)
    web.fail(first)
    assert counts(house, task) == {"SUCCEED": 1}


def test_it_keeps_the_output_of_each_attempt_apart(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", retry_pause=0.0)
    first = web.take(task)
    web.fail(first, data=b"first", output_bytes=10)
    second = web.take(task)
    late = Output("", first.run, 1, 5, b" late", None)
    assert house.store.append_output(web.id, late).wait().answer.offset == 10
    web.finish(second, data=b"second", output_bytes=6)
    assert house.read(house.run(first.run)) == b"second"
    stored = house.sql(
        "SELECT attempt, CAST(content AS TEXT) FROM outputs WHERE run = ? ORDER BY 1, start_at",
        first.run,
    )
    assert stored == [(1, "first"), (1, " late"), (2, "second")]


# ---- leases


def test_it_hands_an_item_of_a_silent_host_to_the_next(house):
    web, db = enrol(house, "web01", "db1")
    task = submit(house, "a")
    first = web.take(task)
    assert not db.poll(task).grants
    changed = silence(house)
    assert changed.queues[0].takable
    second = db.take(task)
    assert (second.run, second.attempt) == (first.run, 2)
    assert attempts(house, first.run) == [(1, "LAPSED")]
    assert house.run(first.run).hostname == "db1"


def test_a_late_success_settles_an_item_that_still_waits(house):
    web, db = enrol(house, "web01", "db1")
    task = submit(house, "a")
    first = web.take(task)
    silence(house)
    changed = web.finish(first, data=b"late", output_bytes=4).changed
    assert changed.ended == (task.id,)
    run = house.run(first.run)
    assert (run.state, run.attempt, run.hostname) == (RunState.SUCCEED, 1, "web01")
    assert house.read(run) == b"late"
    assert attempts(house, first.run) == []
    assert not db.poll(task).grants
    assert web.finish(first).answer.stray is False
    assert counts(house, task) == {"SUCCEED": 1}


def test_a_late_success_is_history_once_the_next_attempt_runs(house):
    web, db = enrol(house, "web01", "db1")
    task = submit(house, "a")
    first = web.take(task)
    silence(house)
    second = db.take(task)
    web.finish(first)
    assert counts(house, task) == {"RUNNING": 1}
    assert attempts(house, first.run) == [(1, "SUCCEED")]
    db.fail(second)
    assert counts(house, task) == {"WAITING": 1}


def test_a_late_failure_changes_nothing_but_what_is_known_of_the_attempt(house):
    web, _ = enrol(house, "web01", "db1")
    task = submit(house, "a")
    first = web.take(task)
    silence(house)
    web.fail(first, code=7)
    assert counts(house, task) == {"WAITING": 1}
    (attempt,) = house.store.attempts(first.run).wait()
    assert (attempt.state, attempt.code) == ("FAILED", 7)


def test_it_settles_the_last_attempt_by_what_its_host_tells_later(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", "b", max_attempts=1)
    first = web.take(task)
    silence(house)
    assert counts(house, task) == {"UNKNOWN": 1, "WAITING": 1}
    web.finish(first)
    assert counts(house, task) == {"SUCCEED": 1, "WAITING": 1}


def test_it_leaves_an_attempt_alone_while_the_next_waits_and_stops_it_afterwards(house):
    web, db = enrol(house, "web01", "db1")
    task = submit(house, "a")
    first = web.take(task)
    silence(house)
    assert web.poll(held=held(first)).words == []
    (word,) = web.poll(held=held(first, Stage.READY)).words
    assert (word.kind, word.attempt) == (WordKind.STOP, 1)
    db.take(task)
    answer = web.poll(held=held(first))
    (word,) = answer.words
    assert (word.kind, word.run, word.attempt) == (WordKind.STOP, first.run, 1)
    assert answer.strays == ()


def test_it_gives_an_item_to_nobody_who_still_works_on_it(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", "b")
    first = web.take(task)
    silence(house)
    (other,) = web.poll(task, free=2, held=held(first)).grants
    assert other.item == "b"


def test_a_poll_that_is_older_than_a_result_keeps_nobody_from_the_next_attempt(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", retry_pause=0.0)
    first = web.take(task)
    web.fail(first)
    (second,) = web.poll(task, held=held(first)).grants
    assert (second.run, second.attempt) == (first.run, 2)
    silence(house)
    both = [*held(first), *held(second)]
    assert web.poll(task, held=both).grants == []  # the second may still go on


def test_it_sends_a_hand_out_that_lapsed_before_it_arrived_as_void(house):
    web, db = enrol(house, "web01", "db1")
    task = submit(house, "a", "b")
    (lost,) = web.lose(task).grants
    silence(house)
    db.take(task)
    void, fresh = web.poll(task).grants
    assert (void.run, void.attempt, void.grant) == (lost.run, 1, lost.grant)
    assert (void.void, void.task, void.item) == (True, None, None)
    assert (fresh.item, fresh.void, fresh.grant) == ("b", False, lost.grant + 1)
    assert not web.poll(hw=fresh.grant).grants


def test_a_host_that_lost_its_journal_gives_its_items_back(house):
    web, db = enrol(house, "web01", "db1")
    task = submit(house, "a")
    first = web.take(task)
    web.poll(held=held(first))
    web.poll(hw=0, instance="another journal")
    assert attempts(house, first.run) == [(1, "UNKNOWN")]
    assert db.take(task).attempt == 2


@pytest.mark.parametrize("standing", [Standing.REVOKED, Standing.DELETED, Standing.QUARANTINED])
def test_a_host_that_is_let_go_gives_its_items_back(house, standing):
    web, db = enrol(house, "web01", "db1")
    task = submit(house, "a", "b", retry_pause=5.0)
    web.fail(web.take(task))
    web.take(task)
    house.store.bury_agent(web.id, standing, "gone", by()).wait()
    assert counts(house, task) == {"WAITING": 2}
    house.clock.now += 5
    assert {grant.item for grant in db.poll(task, free=2).grants} == {"a", "b"}


def test_a_last_attempt_that_never_began_leaves_the_item_given_up(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", max_attempts=1, open=True)
    (lost,) = web.lose(task).grants
    silence(house)
    assert counts(house, task) == {"UNKNOWN": 1}
    (void,) = web.poll(task).grants
    assert (void.run, void.attempt, void.void) == (lost.run, 1, True)

    web.finish(void, RunState.SKIPPED, cause=Cause.SKIP, reason="not started in time")

    assert counts(house, task) == {"UNKNOWN": 1}
    (dead,) = results(house, task, "DEAD")
    assert (dead.run, dead.reason) == (lost.run, "not started in time")
    put_back(house, task)
    fresh = web.take(task)
    assert (fresh.run, fresh.attempt, fresh.item) == (lost.run, 2, "a")
    web.finish(fresh)
    assert counts(house, task) == {"SUCCEED": 1}


def test_a_master_that_was_away_lapses_nothing(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a")
    web.take(task)
    house.clock.now += 1000
    house.store.silence(house.clock.now - 59, 0.0).wait()
    assert counts(house, task) == {"RUNNING": 1}
    house.store.silence(0.0, 0.0, lambda agent: house.clock.now - 59).wait()
    assert counts(house, task) == {"RUNNING": 1}
    house.store.silence(0.0, 0.0).wait()
    assert counts(house, task) == {"WAITING": 1}


# ---- batches


def test_it_gives_a_batch_of_items_to_one_run(house):
    (web,) = enrol(house, "web01")
    task = submit(house, "a", "b", "c", batch=2)
    assert task.total == 2
    first, second = web.poll(task, free=2).grants
    assert (first.item, first.batch, second.item) == ("a\nb", True, "c")


def test_it_tries_only_the_failed_items_of_a_batch_again(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *"abcd", batch=4, retry_pause=0.0)
    web.finish(web.take(task), failed_items=[1, 3, 3, 99])
    second = web.take(task)
    assert second.item == "b\nd"
    web.finish(second, failed_items=[1])
    third = web.take(task)
    assert third.item == "d"
    web.fail(third)
    (result,) = results(house, task)
    assert (result.state, result.items, result.failed_items) == ("FAILED", list("abcd"), ["d"])


def test_it_tries_the_whole_batch_again_when_it_was_killed(house):
    (web,) = enrol(house, "web01")
    task = submit(house, *"ab", batch=2, retry_pause=0.0)
    web.finish(web.take(task), RunState.TIMEOUT, cause="timeout", failed_items=[0])
    assert web.take(task).item == "a\nb"
