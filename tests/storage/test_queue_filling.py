"""A retry of a queue with many items gets them in steps: what holds between two, and afterwards."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from master import queue_again
from master.audit_log import Filters
from master.changes import Changed, Retry
from master.filler import LEAST_RUNS, MOST_RUNS, TARGET_S, Filler, next_runs
from master.ids import new_id
from master.purger import Purger
from master.retention import Keep
from master.storage import Storage
from tests.storage.cast import Clock, House, by
from tests.storage.queues import counts, enrol, results, submit
from wire.errors import Conflict
from wire.states import RunState, TaskState

ROOT = Path(__file__).resolve().parents[2]
ALL = (RunState.FAILED, RunState.CANCELLED)

# Fills what is not full, one run a step, and prints a line once the store has said so.
FILL_SLOWLY = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from master.storage import Storage
store = Storage(Path(sys.argv[2]))
while tasks := store.filling().wait():
    store.fill(tasks[0], 1).wait()
    sys.stdout.write("a step\\n")
    sys.stdout.flush()
"""


@pytest.fixture(autouse=True)
def _two_at_first(monkeypatch):
    monkeypatch.setattr(queue_again, "FIRST_RUNS", 2)


def retry(house, task, *states, **values):
    given = {"id": new_id(), "task": task.id, "states": states or ALL, "created_by": "alice"}
    return house.store.retry_task(Retry(**given | values), by(action="task.retry")).wait()


def fill(house, most_runs=2):
    """To the end; what the steps said that they had changed."""
    told: list[Changed] = []
    while tasks := house.store.filling().wait():
        told += [house.store.fill(task, most_runs).wait().changed for task in tasks]
    return told


def cancelled(house, *items, **values):
    task = submit(house, *items, **values)
    house.store.cancel_task(task.id, by()).wait()
    return task


def items_of(house, task):
    return ["\n".join(one.items) for one in results(house, task)]


def test_it_gets_all_its_items_in_their_order(house):
    (web,) = enrol(house, "web01")
    old = submit(house, *"abcdefghi", max_attempts=1)
    for state in (RunState.FAILED, RunState.SUCCEED, RunState.FAILED, RunState.TIMEOUT):
        web.finish(web.take(old), state)
    house.store.cancel_task(old.id, by()).wait()
    made = retry(house, old)
    assert (made.task.total, made.task.open, made.queues[0].filling) == (2, False, True)
    fill(house)
    assert items_of(house, made.task) == list("acefghi")
    new = house.task(made.task.id)
    assert (new.total, new.waiting) == (7, 7)
    assert house.store.queue_view(new.id).wait().items == 7
    for grant in web.poll(new, free=9).grants:
        web.finish(grant)
    assert house.task(new.id).state is TaskState.SUCCEED


def test_what_fits_into_the_first_step_is_there_at_once(house):
    made = retry(house, cancelled(house, "a"))
    assert not made.queues[0].filling
    assert items_of(house, made.task) == ["a"]
    assert house.store.filling().wait() == []


def test_nothing_is_handed_out_before_all_items_are_there(house):
    (web,) = enrol(house, "web01")
    new = retry(house, cancelled(house, *"abcd")).task
    polled = web.poll(new, free=9)
    assert polled.grants == []
    (state,) = house.store.queue_states().wait()
    assert (state.filling, state.takable, state.next_at) == (True, False, None)
    (*_, last) = (state for changed in fill(house) for state in changed.queues)
    assert (last.filling, last.takable, last.untaken) == (False, True, 4)
    assert [grant.item for grant in web.poll(new, free=9).grants] == list("abcd")


def test_of_batches_that_are_done_in_part_it_gets_the_lines_that_are_left(house):
    (web,) = enrol(house, "web01")
    old = submit(house, *"abcdefghijkl", batch=3, max_attempts=1)
    for failed in ([0, 2], [], [1]):
        grant = web.take(old)
        web.finish(grant, failed_items=failed) if failed else web.fail(grant)
    house.store.cancel_task(old.id, by()).wait()
    new = retry(house, old).task
    fill(house)
    assert items_of(house, new) == ["a\nc", "d\ne\nf", "h", "j\nk\nl"]
    assert house.store.queue_view(new.id).wait().items == 9


def test_it_takes_no_items_from_people_and_closing_it_changes_nothing(house):
    new = retry(house, cancelled(house, *"abcd")).task
    with pytest.raises(Conflict, match="closed"):
        house.store.add_items(new.id, "mine", 0, ["x"], by()).wait()
    assert house.store.close_queue(new.id, by()).wait() == Changed()
    fill(house)
    assert items_of(house, new) == list("abcd")


def test_the_same_key_is_the_same_task_also_while_it_is_not_full(house):
    old = cancelled(house, *"abcd")
    first = retry(house, old, key="k")
    assert retry(house, old, key="k").task.id == first.task.id
    fill(house)
    again = retry(house, old, key="k")
    assert (again.task.id, again.created) == (first.task.id, False)
    assert items_of(house, first.task) == list("abcd")


def test_it_is_one_act_in_the_audit_log_however_many_steps_it_takes(house):
    new = retry(house, cancelled(house, *"abcdefgh")).task
    fill(house)
    wanted = Filters(object=f"task:{new.id}")
    acts = house.store.audit_records(10, None, wanted).wait().items
    assert [act.action for act in acts] == ["task.retry"]


@pytest.mark.parametrize("expires", [False, True])
def test_one_that_has_ended_before_it_is_full_gets_no_more(house, expires):
    new = retry(house, cancelled(house, *"abcdef", expires_in=60.0)).task
    house.store.fill(new.id, 1).wait()
    if expires:
        house.clock.now += 61.0
        house.store.expire().wait()
    else:
        house.store.cancel_task(new.id, by()).wait()
    fill(house)
    ended = RunState.SKIPPED if expires else RunState.CANCELLED
    assert counts(house, new) == {ended: 3}
    assert items_of(house, new) == list("abc")
    assert items_of(house, retry(house, new, ended).task) == list("ab")  # and so on


def test_what_waits_again_when_its_turn_comes_is_left_to_the_old_task(house):
    (web,) = enrol(house, "web01")
    old = submit(house, *"abcd", max_attempts=1, open=True)
    grants = web.poll(old, free=4).grants
    for grant in grants:
        web.fail(grant)
    new = retry(house, old, RunState.FAILED).task
    house.store.put_back(old.id, [grants[0].run, grants[3].run], by()).wait()
    fill(house)
    assert items_of(house, new) == list("abc")


def test_a_pause_between_two_steps_stays_and_what_it_says_is_counted(house):
    new = retry(house, cancelled(house, *"abcd")).task
    house.store.pause_task(new.id, by()).wait()
    fill(house)
    task = house.task(new.id)
    assert (task.state, task.waiting, task.total) == (TaskState.PAUSED, 4, 4)


def test_what_it_is_filled_from_is_not_forgotten_before(house):
    old = cancelled(house, *"abcdef")
    new = retry(house, old).task
    house.submit([])  # the newest task always stays
    house.clock.now += 30 * 86400.0
    purger = Purger(house.store, Keep(age_s=86400.0), sleep=lambda _: None)
    assert purger.round() == 0
    house.clock.now -= 30 * 86400.0
    fill(house)
    house.clock.now += 30 * 86400.0
    assert purger.round() == 1
    assert house.store.active_tasks().wait()[0].id == new.id
    assert items_of(house, new) == list("abcdef")


def test_a_store_that_is_opened_again_between_two_steps_goes_on(house):
    new = retry(house, cancelled(house, *"abcdefg")).task
    while tasks := house.store.filling().wait():
        house.store.fill(tasks[0], 1).wait()
        house.store.close()
        house.store = Storage(house.path, clock=house.clock)
    assert items_of(house, new) == list("abcdefg")


def test_a_master_that_is_killed_while_it_fills_loses_no_item_and_doubles_none(tmp_path):
    path, items = tmp_path / "store.sqlite", [str(n) for n in range(300)]
    house = House(Storage(path, clock=Clock()), Clock(), path)
    new = retry(house, cancelled(house, *items)).task
    for _ in range(3):
        before = house.task(new.id).total
        house.store.close()
        command = [sys.executable, "-c", FILL_SLOWLY, str(ROOT), str(path)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(5)]
        os.kill(child.pid, signal.SIGKILL)
        child.stdout.close()
        child.wait()
        house.store = Storage(path, clock=Clock())
        there = items_of(house, new)
        assert there == items[: len(there)]
        assert house.task(new.id).total == len(there)
        # Once it is full, it has nothing more to say.
        assert len(there) == len(items) or len(there) >= before + len(said)
    fill(house)
    assert items_of(house, new) == items
    house.store.close()


# ---- who sees to it


def test_it_fills_several_in_turn_and_tells_what_has_changed(house):
    tasks = [retry(house, cancelled(house, *"abcdefgh")).task for _ in range(3)]
    told: list[Changed] = []
    Filler(house.store, told.append, sleep=lambda _: None).round()
    for task in tasks:
        assert items_of(house, task) == list("abcdefgh")
        last = [one for changed in told for one in changed.tasks if one.id == task.id][-1]
        assert (last.total, last.waiting) == (8, 8)


def test_one_that_cannot_be_filled_holds_up_no_other(house, monkeypatch):
    broken, sound = sorted(retry(house, cancelled(house, *"abcd")).task.id for _ in range(2))
    fill_one = house.store.fill

    def refuse(task, most_runs):
        if task == broken:
            raise Conflict("not now")
        return fill_one(task, most_runs)

    monkeypatch.setattr(house.store, "fill", refuse)
    filler = Filler(house.store, lambda _: None, sleep=lambda _: None)
    filler.round()
    assert house.store.filling().wait() == [broken]
    assert house.task(sound).total == 4
    monkeypatch.undo()
    filler.round()
    assert house.store.filling().wait() == []


def test_steps_take_about_as_long_as_they_may():
    assert next_runs(1000, TARGET_S) == 1000
    assert next_runs(1000, TARGET_S * 4) == 500
    assert next_runs(100, 0.0) == 200
    assert next_runs(MOST_RUNS, 0.0) == MOST_RUNS
    assert next_runs(LEAST_RUNS, 60.0) == LEAST_RUNS
