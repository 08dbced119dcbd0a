"""Queues that have ended are forgotten by the number of their items, the first that ended first."""

from typing import Any

import pytest

from master.purger import Purger
from master.records import Task
from master.retention import BEGINNING, GRACE_S, Keep
from tests.storage.cast import House, by
from tests.storage.queues import Agent, enrol, submit
from wire.errors import NotFound
from wire.states import RunState

KEPT = Keep(items=5)


def ended(house: House, agent: Agent, items: int, **values: Any) -> Task:
    """A queue of so many items that were done; the next one ends a second later."""
    task = submit(house, *(f"item {n}" for n in range(items)), **values)
    for grant in agent.poll(task, free=items).grants:
        agent.finish(grant)
    house.clock.now += 1.0
    return house.task(task.id)


def later(house: House, agent: Agent) -> None:
    """A while after all that ended, and something newer is there."""
    house.clock.now += GRACE_S + 1
    house.submit([agent.id])


def purge(house: House, keep: Keep = KEPT) -> int:
    return Purger(house.store, keep, sleep=lambda _: None).round()


def kept(house: House, *tasks: Task) -> list[bool]:
    found = {id for (id,) in house.sql("SELECT id FROM tasks")}
    return [task.id in found for task in tasks]


def test_the_queues_that_ended_first_go_until_no_more_items_are_left(house: House) -> None:
    (web,) = enrol(house, "web01")
    first, second, third, fourth = (ended(house, web, n) for n in (2, 3, 2, 3))
    later(house, web)
    assert purge(house) == 2
    assert kept(house, first, second, third, fourth) == [False, False, True, True]
    assert house.sql("SELECT COUNT(*) FROM items") == [(5,)]
    assert house.sql("SELECT COUNT(*) FROM queues") == [(2,)]
    assert purge(house) == 0


def test_items_are_counted_and_not_the_runs_of_batches(house: House) -> None:
    (web,) = enrol(house, "web01")
    batches, single = ended(house, web, 6, batch=3), ended(house, web, 5)
    later(house, web)
    assert purge(house, Keep(items=10)) == 1
    assert kept(house, batches, single) == [False, True]


def test_as_many_items_as_are_kept_are_not_too_many(house: House) -> None:
    (web,) = enrol(house, "web01")
    tasks = [ended(house, web, 5)]
    later(house, web)
    assert purge(house) == 0
    assert kept(house, *tasks) == [True]


def test_other_tasks_and_queues_that_go_on_neither_count_nor_go(house: House) -> None:
    web, db = enrol(house, "web01", "db1")
    house.submit([db.id])
    house.finish(house.run_one(db.id))
    going = submit(house, *"abcdefghij")
    done = ended(house, web, 3)
    later(house, web)
    assert purge(house) == 0
    assert kept(house, going, done) == [True, True]
    house.store.cancel_task(going.id, by()).wait()
    assert purge(house) == 1
    assert kept(house, going, done) == [True, False]


def test_what_ended_a_moment_ago_stays_though_it_is_too_much(house: House) -> None:
    (web,) = enrol(house, "web01")
    large = ended(house, web, 6)
    house.submit([web.id])
    assert purge(house) == 0
    later(house, web)
    assert purge(house) == 1
    assert kept(house, large) == [False]


def test_a_queue_of_which_a_host_may_still_tell_stays(house: House) -> None:
    (web,) = enrol(house, "web01")
    task = submit(house, *"abcdef", max_attempts=1)
    grants = web.poll(task, free=6).grants
    for grant in grants[:-1]:
        web.finish(grant)
    house.clock.now += 3600.0
    house.store.silence(house.clock.now - 3600.0, 0.0).wait()
    assert house.run(grants[-1].run).state is RunState.UNKNOWN
    later(house, web)
    assert purge(house) == 0
    web.finish(grants[-1])
    assert purge(house) == 1
    assert kept(house, task) == [False]


def test_without_a_limit_no_queue_goes_and_age_holds_beside_it(house: House) -> None:
    (web,) = enrol(house, "web01")
    old = ended(house, web, 9)
    house.clock.now += 3600.0
    new = ended(house, web, 2)
    later(house, web)
    assert purge(house, Keep()) == 0
    assert purge(house, Keep(age_s=1800.0, items=5)) == 1
    assert kept(house, old, new) == [False, True]


def test_a_master_that_is_killed_between_two_steps_goes_on(house: House) -> None:
    (web,) = enrol(house, "web01")
    large, small = ended(house, web, 40), ended(house, web, 5)
    later(house, web)
    assert house.store.queues_beyond(5).wait() == [large.seq]
    assert house.store.begin_forgetting(large.seq).wait()
    assert house.store.purge(KEPT, BEGINNING, 10).wait().tasks == 0
    with pytest.raises(NotFound):
        house.store.task(large.id).wait()
    assert purge(house) == 1
    assert kept(house, large, small) == [False, True]


def test_what_must_stay_or_is_gone_is_not_begun_with(house: House) -> None:
    (web,) = enrol(house, "web01")
    done, going = ended(house, web, 1), submit(house, "a", open=True)
    newest = ended(house, web, 1)
    begin = house.store.begin_forgetting
    assert [begin(seq).wait() for seq in (going.seq, newest.seq, 10_000)] == [False] * 3
    assert [begin(done.seq).wait() for _ in range(2)] == [True, False]
