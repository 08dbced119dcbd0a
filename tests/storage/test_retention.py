"""What is forgotten, in which order, in how small steps; and what never is."""

import sqlite3
from typing import Any

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from master.again import REPEATABLE
from master.changes import Retry
from master.ids import new_id
from master.purger import LEAST_ROWS, MOST_ROWS, TARGET_S, Purger, next_rows
from master.retention import (
    BEGINNING,
    CONTENT_BYTES_A_ROW,
    GRACE_S,
    KEY_S,
    ROWS_OF_A_TASK,
    Keep,
    Purged,
)
from master.search import Wanted
from master.storage import Storage
from tests.storage.cast import Clock, House, by, make_poll, make_result, make_task
from tests.support import until
from wire.errors import Conflict, NotFound
from wire.messages import Done
from wire.states import RunState

DAY_S = 86400.0
WEEK = Keep(age_s=7 * DAY_S)
DEPENDENT = ("outputs", "run_history", "runs", "tasks", "scripts", "purges")


def purge(house, keep=WEEK, most_rows=1000):
    return house.store.purge(keep, BEGINNING, most_rows).wait()


def purge_all(house, keep=WEEK):
    return Purger(house.store, keep, sleep=lambda _: None).round()


def ran(house, agent, script=b"echo hello\n", data=b"out", **values):
    """A task of one run that has ended: (task, run)."""
    task = house.submit([agent], script=script, **values)
    run = house.run_one(agent, hw=highest(house, agent))
    house.finish(run, data=data, output_bytes=len(data))
    return house.task(task.id), house.run(run.id)


def highest(house, agent):
    """The number of the last hand-out, which the agent has confirmed."""
    return house.sql("SELECT granted FROM agents WHERE id = ?", agent)[0][0]


def rows(house):
    return {name: house.sql(f"SELECT COUNT(*) FROM {name}")[0][0] for name in DEPENDENT}


@pytest.fixture
def old(house):
    """(agent, task, run): a task that ended eight days ago, and a newer one behind it."""
    (agent,) = house.enrol("web01")
    task, run = ran(house, agent, script=b"echo old\n", key="key", body_hash="body")
    house.clock.now += 8 * DAY_S
    house.submit([agent])
    return agent, task, run


# ---- what goes


def test_it_forgets_a_task_with_all_that_belongs_to_it(house, old):
    before = rows(house)
    assert purge(house).tasks == 1
    after = rows(house)
    assert (before["tasks"], after["tasks"]) == (2, 1)
    assert (before["runs"], after["runs"]) == (2, 1)
    assert (before["outputs"], after["outputs"]) == (1, 0)
    assert (before["scripts"], after["scripts"]) == (2, 1)
    assert after["purges"] == 0


def test_it_keeps_what_ended_lately(house, old):
    assert purge(house, Keep(age_s=9 * DAY_S)).tasks == 0
    assert rows(house)["tasks"] == 2


def test_it_counts_from_the_end_of_a_task_not_from_its_beginning(house):
    (agent,) = house.enrol("web01")
    house.submit([agent], expires_in=90 * DAY_S)
    run = house.run_one(agent)
    house.clock.now += 30 * DAY_S
    house.finish(run)
    house.submit([agent])
    assert purge(house).tasks == 0
    house.clock.now += 8 * DAY_S
    assert purge(house).tasks == 1


def test_it_keeps_all_without_a_limit(house, old):
    purged = purge(house, Keep())
    nothing = Purged(rows=0, tasks=0, place=BEGINNING, is_last=True, spent_s=purged.spent_s)
    assert purged == nothing


def test_it_keeps_a_script_that_another_task_uses(house):
    (agent,) = house.enrol("web01")
    ran(house, agent)
    house.clock.now += 8 * DAY_S
    newer = house.submit([agent])
    assert purge(house).tasks == 1
    assert house.store.task(newer.id, script=True).wait().script_base64


def test_it_forgets_the_history_of_runs(house):
    (agent,) = house.enrol("web01")
    house.submit([agent], lost_after=60.0)
    run = house.run_one(agent)
    house.clock.now += 3600
    house.store.silence(0.0, 0.0).wait()
    assert house.run(run.id).state is RunState.UNKNOWN
    house.finish(run)
    house.submit([agent])
    assert rows(house)["run_history"] == 1
    house.clock.now += 8 * DAY_S
    assert purge(house).tasks == 1
    assert rows(house)["run_history"] == 0


def test_it_unbinds_the_retries_of_what_it_forgets(house):
    (agent,) = house.enrol("web01")
    house.submit([agent])
    old = house.run_one(agent)
    house.finish(old, state=RunState.FAILED, code=1)
    house.clock.now += 8 * DAY_S
    ids = [
        house.store.retry_task(
            Retry(id=new_id(), task=old.task, states=REPEATABLE, created_by="alice", body_hash=""),
            by(),
        )
        .wait()
        .task.id
        for _ in range(3)
    ]
    purge(house)
    assert [house.task(id).retry_of for id in ids] == [None] * 3


# ---- what stays


def test_it_never_forgets_what_has_not_ended(house):
    (agent,) = house.enrol("web01")
    waiting = house.submit([agent], expires_in=1e9, parallel=1)
    running = house.submit([agent], expires_in=1e9)
    house.submit([agent])
    house.poll(agent, free=2)
    house.clock.now += 1000 * DAY_S
    assert purge_all(house) == 0
    assert purge_all(house, Keep(age_s=0.0, store_bytes=1)) == 0
    assert house.task(waiting.id)
    assert house.task(running.id)


def test_it_never_forgets_a_run_of_which_something_may_still_be_learnt(house):
    (agent,) = house.enrol("web01")
    task = house.submit([agent], lost_after=60.0)
    run = house.run_one(agent)
    later, _ = ran(house, agent)
    house.clock.now += 3600
    house.store.silence(0.0, 0.0).wait()
    house.submit([agent])
    house.clock.now += 1000 * DAY_S
    assert house.task(task.id).ended_at is not None
    assert purge_all(house) == 1, "the one behind it goes all the same"
    with pytest.raises(NotFound):
        house.task(later.id)
    assert house.run(run.id).state is RunState.UNKNOWN
    house.finish(run)
    assert house.run(run.id).state is RunState.SUCCEED
    assert purge_all(house) == 1


def test_it_forgets_a_run_that_is_unknown_for_good(house):
    (agent,) = house.enrol("web01")
    house.submit([agent], lost_after=60.0)
    run = house.run_one(agent)
    house.store.settle_done(agent, Done("", 1, 1, [], [run.id])).wait()
    assert (house.run(run.id).state, house.run(run.id).settled) == (RunState.UNKNOWN, True)
    house.submit([agent])
    house.clock.now += 8 * DAY_S
    assert purge_all(house) == 1


def test_it_keeps_the_newest_task_so_that_no_number_is_given_twice(house):
    (agent,) = house.enrol("web01")
    ran(house, agent)
    newest, _ = ran(house, agent)
    house.clock.now += 1000 * DAY_S
    assert purge_all(house) == 1
    assert house.task(newest.id).seq == 2
    assert house.submit([agent]).seq == 3


# ---- by size


def test_it_forgets_what_ended_first_until_the_store_is_small_enough(house):
    (agent,) = house.enrol("web01")
    tasks = [ran(house, agent, data=bytes(200 << 10))[0] for _ in range(8)]
    house.clock.now += GRACE_S + 1
    purge_all(house, Keep(store_bytes=1 << 20))
    left = [view.id for view in house.store.tasks(100).wait().items]
    assert 1 <= len(left) < 8
    assert left == [task.id for task in reversed(tasks)][: len(left)]


def test_it_leaves_those_who_waited_for_an_end_the_time_to_look(house):
    (agent,) = house.enrol("web01")
    ran(house, agent)
    house.submit([agent])
    assert purge_all(house, Keep(store_bytes=1)) == 0
    house.clock.now += GRACE_S + 1
    assert purge_all(house, Keep(store_bytes=1)) == 1


def test_it_uses_the_room_of_what_was_forgotten_again(house):
    (agent,) = house.enrol("web01")
    for _ in range(5):
        ran(house, agent, data=bytes(200 << 10))
    pages = house.sql("PRAGMA page_count")
    house.clock.now += GRACE_S + 1
    assert purge_all(house, Keep(store_bytes=1)) == 4
    for _ in range(4):
        ran(house, agent, data=bytes(200 << 10))
    assert house.sql("PRAGMA page_count") == pages


# ---- who still asks for it


def test_it_is_gone_for_everybody_before_its_last_row_is(house):
    agents = house.enrol("web01", "db1", "db2")
    task = house.submit(agents, key="key", body_hash="body")
    runs = [house.run_one(agent) for agent in agents]
    for run in runs:
        house.finish(run, data=b"out", output_bytes=3)
    house.submit(agents)
    house.clock.now += 8 * DAY_S
    purge(house, most_rows=2)
    assert house.sql("SELECT COUNT(*) FROM runs WHERE task = ?", task.id) == [(3,)]
    store = house.store
    for gone in (
        store.task(task.id),
        store.runs(task.id, 10),
        store.groups(task.id, 10),
        store.grid(task.id, 0, 10),
        store.targets_of(task.id, tuple(RunState)),
        store.run(runs[0].id),
        store.output(runs[0].id, 0, 10),
        store.cancel_task(task.id, by()),
        store.cancel_run(runs[0].id, by()),
        store.retry_task(
            Retry(id=new_id(), task=task.id, states=REPEATABLE, created_by="alice"), by()
        ),
    ):
        with pytest.raises(NotFound):
            gone.wait()
    assert task.id not in [view.id for view in store.tasks(10).wait().items]
    assert task.id not in [
        view.id for view in store.tasks(10, None, Wanted(agent=agents[0])).wait().items
    ]
    assert [view.task for view in store.runs_of_agent(agents[0], 10).wait().items] != [task.id]


def test_it_takes_what_an_agent_says_of_a_forgotten_run_for_a_stray(house, old):
    _, _, run = old
    for most_rows in (1, 1000):  # half forgotten, and wholly
        purge(house, most_rows=most_rows)
        answer = house.finish(run, data=b"out", output_bytes=3).answer
        assert answer.stray
        assert house.output(run, 3, b"more").refused
        assert rows(house)["outputs"] <= 1


def test_it_still_refuses_a_key_within_a_day_though_its_task_is_gone(house):
    (agent,) = house.enrol("web01")
    new = make_task([agent], key="key", body_hash="body")
    house.store.add_task(new, by()).wait()
    house.finish(house.run_one(agent))
    house.submit([agent])
    house.clock.now += GRACE_S + 1
    assert purge_all(house, Keep(store_bytes=1)) == 1
    again = make_task([agent], key="key", body_hash="body")
    with pytest.raises(Conflict, match=f"task {new.id}, which is no longer kept"):
        house.store.add_task(again, by()).wait()
    house.clock.now += KEY_S
    purge_all(house)
    assert house.store.add_task(again, by()).wait().created


def test_it_keeps_the_key_of_a_task_that_is_kept(house):
    (agent,) = house.enrol("web01")
    new = make_task([agent], key="key", body_hash="body")
    house.store.add_task(new, by()).wait()
    house.clock.now += 1000 * DAY_S
    purge_all(house)
    assert (
        not house.store.add_task(make_task([agent], key="key", body_hash="body"), by())
        .wait()
        .created
    )


# ---- small steps


def changes(house):
    """Rows that this connection's database has lost or changed, by a count of all there are."""
    return sum(rows(house).values())


@pytest.mark.parametrize("most_rows", [1, 2, 7, 50])
def test_it_takes_no_more_than_so_many_rows_in_a_step(house, most_rows):
    agents = house.enrol(*(f"web{n:02}" for n in range(20)))
    house.submit(agents)
    for agent in agents:
        house.finish(house.run_one(agent), data=b"out", output_bytes=3)
    house.submit(agents)
    house.clock.now += 8 * DAY_S
    done, steps = False, 0
    while not done:
        before = changes(house)
        purged = purge(house, most_rows=most_rows)
        assert before - changes(house) <= most_rows + ROWS_OF_A_TASK
        done, steps = purged.is_last, steps + 1
    assert rows(house)["runs"] == 20
    assert steps >= 40 / (most_rows + ROWS_OF_A_TASK)


def test_it_counts_output_by_its_size(house):
    (agent,) = house.enrol("web01")
    house.submit([agent])
    run = house.run_one(agent)
    piece = 128 << 10
    for n in range(20):
        house.output(run, n * piece, bytes(piece))
    house.finish(run, offset=20 * piece)
    house.submit([agent])
    house.clock.now += 8 * DAY_S
    each = 1 + piece // CONTENT_BYTES_A_ROW
    before = rows(house)["outputs"]
    purge(house, most_rows=3 * each)
    assert before - rows(house)["outputs"] <= 3


def test_a_claim_behind_a_step_waits_for_no_more_than_its_rows(house):
    """Both are queued at once: the claim is done first, and the step ends within its bound."""
    agents = house.enrol(*(f"web{n:02}" for n in range(30)))
    house.submit(agents)
    for agent in agents:
        house.finish(house.run_one(agent))
    task = house.submit(agents)
    house.clock.now += 8 * DAY_S - 1
    house.store.expire().wait()
    later = house.submit(agents)
    outcomes: list[Any] = []
    other = sqlite3.connect(house.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    house.store._database.writing(lambda tx: None).then(lambda _: None)
    until(house.store._database._writes.empty, sleep=gevent.sleep)
    house.store.purge(Keep(age_s=DAY_S), BEGINNING, 10).then(outcomes.append)
    house.store.poll(agents[0], make_poll(hw=1)).then(outcomes.append)
    other.execute("COMMIT")
    other.close()
    until(lambda: len(outcomes) == 2, sleep=gevent.sleep)
    claimed, purged = outcomes
    assert [house.run(grant.run).task for grant in claimed.grants] == [later.id]
    assert 0 < purged.rows <= 10
    assert task.id


def test_it_does_larger_steps_while_they_are_quick_and_smaller_when_not():
    def after(rows, spent_s):
        return next_rows(rows, Purged(rows, 0, BEGINNING, False, spent_s))

    assert after(100, TARGET_S / 10) == 151
    assert after(100, TARGET_S) == 100
    assert after(100, TARGET_S * 1.25) == 80
    assert after(100, TARGET_S * 100) == 50
    assert after(LEAST_ROWS, 10.0) == LEAST_ROWS
    assert after(MOST_ROWS, 0.0) == MOST_ROWS


# ---- beside all else, and after a crash


def test_it_goes_on_where_a_killed_master_stopped(house, old):
    _, task, _ = old
    purge(house, most_rows=1)
    assert rows(house)["purges"] == 1
    house.store.close()
    house.store = Storage(house.path, clock=house.clock)
    with pytest.raises(NotFound):
        house.task(task.id)
    assert purge_all(house, Keep()) == 1, "what was begun is done, whatever the limits are now"
    assert rows(house) == {**rows(house), "tasks": 1, "runs": 1, "outputs": 0, "purges": 0}


def test_it_forgets_beside_results_and_claims(house):
    """Claims, results and steps in one queue: nothing is lost, nothing is done twice."""
    agents = house.enrol(*(f"web{n:02}" for n in range(10)))
    for _ in range(5):
        house.submit(agents)
        for agent in agents:
            house.finish(house.run_one(agent, hw=highest(house, agent)))
    house.clock.now += 8 * DAY_S
    task = house.submit(agents)
    steps: list[Any] = []
    ended: list[Any] = []

    def finish(run):
        ended.append(house.finish(house.run(run)))

    def claimed(answer):
        for grant in answer.grants:
            gevent.spawn(finish, grant.run)

    for agent in agents:
        house.store.purge(WEEK, BEGINNING, 20).then(steps.append)
        poll = make_poll(hw=highest(house, agent))
        house.store.poll(agent, poll).then(claimed)
        house.store.purge(WEEK, BEGINNING, 20).then(steps.append)
    until(lambda: len(ended) == 10 and len(steps) == 20, sleep=gevent.sleep)
    purge_all(house)
    assert house.task(task.id).succeed == 10
    assert rows(house) == {**rows(house), "tasks": 1, "runs": 10}


task_kinds = some.sampled_from(["ended", "failed", "waiting", "running", "unknown"])


@settings(max_examples=40)
@given(
    kinds=some.lists(some.tuples(task_kinds, some.integers(0, 20)), min_size=1, max_size=8),
    most_rows=some.integers(1, 12),
)
def test_it_forgets_exactly_what_has_ended_is_settled_and_old(tmp_path_factory, kinds, most_rows):
    clock = Clock()
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    house = House(Storage(path, clock=clock), clock, path)
    try:
        _check_forgotten(house, kinds, most_rows)
    finally:
        house.store.close()


def _check_forgotten(house, kinds, most_rows):
    made = [_make(house, place, kind, days) for place, (kind, days) in enumerate(kinds)]
    newest = house.submit(house.enrol("last"))
    place, done = BEGINNING, False
    while not done:
        purged = house.store.purge(WEEK, place, most_rows).wait()
        place, done = purged.place, purged.is_last
    for (kind, _), (task, run, ended_at) in zip(kinds, made, strict=True):
        is_old = ended_at is not None and ended_at < house.clock.now - WEEK.age_s
        goes = kind in ("ended", "failed") and is_old
        assert house.sql("SELECT COUNT(*) FROM tasks WHERE id = ?", task) == [(not goes,)]
        assert house.sql("SELECT COUNT(*) FROM runs WHERE task = ?", task) == [(not goes,)]
        assert house.sql("SELECT COUNT(*) FROM outputs WHERE run = ?", run)[0][0] <= (not goes)
    assert house.task(newest.id)
    assert house.sql("PRAGMA foreign_key_check") == []
    used = house.sql("SELECT COUNT(*) FROM scripts WHERE sha256 NOT IN (SELECT script FROM tasks)")
    assert used == [(0,)]


def _make(house, place, kind, days):
    """(task, run, when it ended) of an agent of its own; then so many days go by."""
    (agent,) = house.enrol(f"web{place}")
    script = f"echo {place % 2}\n".encode()
    task = house.submit([agent], script=script, expires_in=1e9, lost_after=60.0)
    run_id = ""
    if kind != "waiting":
        run = house.run_one(agent)
        run_id = run.id
        if kind in ("ended", "failed"):
            state = RunState.SUCCEED if kind == "ended" else RunState.FAILED
            result = make_result(run, state=state, data=b"out", output_bytes=3)
            house.store.finish(agent, result).wait()
        elif kind == "unknown":
            house.clock.now += 3600
            house.store.silence(0.0, 0.0, lambda id: 0.0 if id == agent else 1e12).wait()
    ended_at = house.task(task.id).ended_at
    house.clock.now += days * DAY_S
    return task.id, run_id, ended_at
