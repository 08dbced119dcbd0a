"""From a submission to the end of its task: what is handed out, and what comes back."""

from typing import Any

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master.records import Run
from master.search import Wanted
from master.storage import Storage
from tests.storage.cast import INSTANCE, Clock, House, by, make_poll, make_result, make_task
from tests.support import until
from wire.errors import Conflict, Malformed, NotFound
from wire.messages import Done, DoneRecord, Held
from wire.states import RunState, Stage, TaskState, WordKind


def test_it_keeps_a_task_as_it_was_submitted(house):
    agents = house.enrol("web01", "db1")
    task = house.submit(agents, script=b"\0\xff\r\n", name="bytes", settings={"timeout": 5.0})
    view = house.store.task(task.id, script=True).wait()
    assert (view.name, view.total, view.settings) == ("bytes", 2, {"timeout": 5.0})
    assert view.script_base64 == "AP8NCg=="
    assert view.counts["WAITING"] == 2


def test_it_gives_the_same_task_for_the_same_key_and_body(house):
    agents = house.enrol("web01")
    first = house.store.add_task(make_task(agents, key="k", body_hash="b"), by()).wait()
    again = house.store.add_task(make_task(agents, key="k", body_hash="b"), by()).wait()
    assert (first.created, again.created) == (True, False)
    assert again.task.id == first.task.id
    assert house.store.made_by_key("k", "alice", "b").wait() == first.task.id
    assert house.store.made_by_key("k", "bob", "b").wait() is None


def test_it_refuses_the_same_key_with_another_body_and_adds_nothing(house):
    agents = house.enrol("web01")
    house.submit(agents, key="k", body_hash="b")
    with pytest.raises(Conflict):
        house.submit(agents, key="k", body_hash="other")
    assert house.sql("SELECT count(*) FROM tasks") == [(1,)]


def test_it_adds_a_task_once_when_the_submission_is_applied_again(house):
    agents = house.enrol("web01")
    new = make_task(agents)
    assert house.store.add_task(new, by()).wait().created
    assert not house.store.add_task(new, by()).wait().created


def test_it_leaves_nothing_of_a_task_with_a_target_that_does_not_exist(house):
    agents = house.enrol("web01")
    with pytest.raises(Exception, match="FOREIGN KEY"):
        house.submit([*agents, "nobody"])
    assert house.sql("SELECT count(*) FROM tasks") == [(0,)]
    assert house.submit(agents).seq == 1


def test_it_takes_ten_thousand_targets(house):
    agents = house.enrol(*(f"web{number}" for number in range(10)))
    task = house.submit([agents[number % 10] for number in range(10_000)])
    assert task.waiting == 10_000
    page = house.store.runs(task.id, 10_000).wait()
    assert (len(page.items), page.next) == (10_000, None)
    assert len(house.store.waiting_agents(task.id, 20_000).wait()) == 10_000


def test_it_skips_the_offline_hosts_that_it_is_told_of(house):
    web, db = house.enrol("web01", "db1")
    task = house.submit([web, db], skip=frozenset({db}))
    assert house.states(task.id) == ["WAITING", "SKIPPED"]
    ended = house.submit([db], skip=frozenset({db}))
    assert ended.state is TaskState.FAILED
    assert house.task(ended.id).ended_at == house.clock.now


def test_it_hands_out_by_priority_then_age(house):
    (agent,) = house.enrol("web01")
    old, new, urgent = (house.submit([agent], priority=p) for p in (0, 0, 5))
    answer = house.poll(agent, free=2)
    assert [grant.task.id for grant in answer.grants] == [urgent.id, old.id]
    assert [grant.grant for grant in answer.grants] == [1, 2]
    assert house.task(new.id).waiting == 1


def test_it_sends_again_exactly_what_did_not_arrive(house):
    (agent,) = house.enrol("web01")
    house.submit([agent])
    house.submit([agent])
    first = house.poll(agent, free=1).grants
    again = house.poll(agent, free=2).grants
    assert [grant.run for grant in again][:1] == [grant.run for grant in first]
    assert [grant.grant for grant in again] == [1, 2]


def test_it_passes_over_tasks_whose_window_is_full(house):
    web, db = house.enrol("web01", "db1")
    narrow = house.submit([db, web], parallel=1)
    for _ in range(20):
        house.submit([db, web], parallel=1)
    wide = house.submit([web])
    for grant in range(21):
        assert house.poll(db, hw=grant, free=1).grants
    answer = house.poll(web, free=4)
    assert [grant.task.id for grant in answer.grants] == [wide.id]
    assert house.task(narrow.id).running == 1


def test_it_counts_and_ends_a_task_with_its_results(house):
    agents = house.enrol("web01", "db1")
    task = house.submit(agents)
    runs = [house.run_one(agent) for agent in agents]
    house.finish(runs[0], data=b"hello\n", output_bytes=6)
    changed = house.finish(runs[1], state=RunState.FAILED, code=3).changed
    assert changed.ended == (task.id,)
    assert changed.tasks[0].state is TaskState.FAILED
    assert house.states(task.id) == ["SUCCEED", "FAILED"]
    assert house.read(runs[0]) == b"hello\n"
    assert house.task(task.id).running == 0


def test_it_changes_nothing_for_a_result_that_comes_again(house):
    (agent,) = house.enrol("web01")
    house.submit([agent])
    run = house.run_one(agent)
    first = house.finish(run, data=b"out", output_bytes=3)
    before = house.run(run.id)
    again = house.finish(run, state=RunState.FAILED, code=1, data=b"out", output_bytes=3)
    assert (first.answer, again.answer.offset) == (again.answer, 3)
    assert house.run(run.id) == before
    assert again.changed.tasks == ()


def test_it_takes_nothing_for_the_run_of_another_agent(house):
    web, db = house.enrol("web01", "db1")
    task = house.submit([web])
    run = house.run_one(web)
    thief = house.store.finish(db, make_result(run)).wait()
    assert thief.answer.stray
    assert house.task(task.id).running == 1
    held = house.poll(db, held=[Held(run.id, 1, Stage.LIVE)])
    assert [stray.run for stray in held.strays] == [run.id]


def test_it_refuses_a_result_that_is_no_end(house):
    (agent,) = house.enrol("web01")
    house.submit([agent])
    run = house.run_one(agent)
    with pytest.raises(Malformed):
        house.finish(run, state=RunState.WAITING)


def test_it_bounds_what_a_hostile_result_says(house):
    (agent,) = house.enrol("web01")
    house.submit([agent])
    run = house.run_one(agent)
    house.finish(
        run,
        reason="a\0b" * 100_000,
        ended_at=float("inf"),
        started_at=-1e300,
        survivors=list(range(10_000)),
        output_bytes=-5,
        output_sha256="short",
        left_running=1 << 60,
    )
    view = house.store.run(run.id).wait()
    assert "\0" not in view.reason
    assert len(view.reason) == 2000
    assert (len(view.survivors), view.output_sha256, view.output_bytes) == (100, None, 0)


def test_it_keeps_an_unknown_verdict_beside_the_one_that_replaced_it(house):
    (agent,) = house.enrol("web01")
    house.submit([agent, agent], lost_after=10)
    run = house.run_one(agent)
    house.clock.now += 60
    changed = house.store.silence(0.0, 0.0).wait()
    assert [one.state for one in changed.runs] == [RunState.UNKNOWN]
    house.clock.now += 5
    house.finish(run, code=0)
    assert house.run(run.id).state is RunState.SUCCEED
    (past,) = house.store.run(run.id).wait().history
    assert (past.attempt, past.state) == (1, "UNKNOWN")
    assert "not seen since" in past.reason
    assert past.at < past.replaced_at


def test_it_counts_silence_only_while_somebody_listened(house):
    (agent,) = house.enrol("web01")
    house.submit([agent], lost_after=10)
    run = house.run_one(agent)
    house.clock.now += 60
    house.store.silence(house.clock.now - 5, 0.0).wait()
    house.store.silence(0.0, house.clock.now - 5).wait()
    assert house.run(run.id).state is RunState.RUNNING


def test_it_believes_the_master_that_has_heard_an_agent_since_the_store_was_told(house):
    (agent,) = house.enrol("web01")
    house.submit([agent], lost_after=10)
    run = house.run_one(agent)
    house.clock.now += 60
    house.store.silence(0.0, 0.0, lambda id: house.clock.now - 5).wait()
    assert house.run(run.id).state is RunState.RUNNING


def test_it_skips_what_did_not_start_in_time(house):
    web, db = house.enrol("web01", "db1")
    task = house.submit([web, db], expires_in=100)
    run = house.run_one(web)
    house.clock.now += 101
    changed = house.store.expire().wait()
    assert house.states(task.id) == ["RUNNING", "SKIPPED"]
    assert changed.wake == (web,)
    assert house.store.expire().wait().runs == ()
    assert house.poll(web).grants[0].void
    assert house.run(run.id).want == "skip"


def test_it_cancels_what_waits_and_asks_for_what_runs(house):
    web, db, app = house.enrol("web01", "db1", "app1")
    task = house.submit([web, db, app])
    running = house.run_one(web)
    changed = house.store.cancel_task(task.id, by()).wait()
    assert changed.wake == (web,)
    assert house.states(task.id) == ["RUNNING", "CANCELLED", "CANCELLED"]
    assert house.task(task.id).cancelled == 2
    assert house.store.cancel_task(task.id, by()).wait().tasks == ()
    words = house.poll(web, hw=1, held=[Held(running.id, 1, Stage.LIVE)]).words
    assert [word.kind for word in words] == [WordKind.STOP]
    house.finish(running, state=RunState.CANCELLED, code=None)
    assert house.task(task.id).state is TaskState.CANCELLED


def test_it_cancels_one_run(house):
    web, db = house.enrol("web01", "db1")
    task = house.submit([web, db])
    waiting = house.store.runs(task.id, 10).wait().items[1].id
    house.store.cancel_run(waiting, by()).wait()
    assert house.states(task.id) == ["WAITING", "CANCELLED"]
    with pytest.raises(NotFound):
        house.store.cancel_run("nothing", by()).wait()
    with pytest.raises(NotFound):
        house.store.cancel_task("nothing", by()).wait()


def test_it_stops_a_task_whose_limit_is_exceeded(house):
    agents = house.enrol("web01", "db1", "app1")
    task = house.submit(agents, parallel=1, fail_count=0)
    run = house.run_one(agents[0])
    changed = house.finish(run, state=RunState.FAILED, code=1).changed
    assert house.states(task.id) == ["FAILED", "SKIPPED", "SKIPPED"]
    assert changed.ended == (task.id,)
    assert house.task(task.id).skipped == 2


def test_it_says_which_task_has_a_place_free(house):
    agents = house.enrol("web01", "db1")
    task = house.submit(agents, parallel=1)
    assert house.finish(house.run_one(agents[0])).changed.freed == (task.id,)


def test_it_settles_by_the_done_record_and_not_for_another_agent(house):
    web, db = house.enrol("web01", "db1")
    house.submit([web])
    run = house.run_one(web)
    words = house.poll(web, hw=1).words
    assert [(word.kind, word.run) for word in words] == [(WordKind.RECALL, run.id)]
    record = DoneRecord(run.id, 1, 1, RunState.SUCCEED, 0)
    house.store.settle_done(db, Done("", 0, 0, [record], [run.id])).wait()
    assert house.run(run.id).state is RunState.RUNNING
    house.store.settle_done(web, Done("", 1, 0, [record], [run.id])).wait()
    assert house.run(run.id).state is RunState.SUCCEED


def test_an_agent_that_may_not_hold_the_others_is_given_nothing_itself(house):
    web, db = house.enrol("web01", "db1")
    task = house.submit([web, db])
    answer = house.store.poll(web, make_poll(hw=7), may_hold=False).wait()
    assert (answer.hold, answer.grants) == (None, [])
    assert [word.kind for word in answer.words] == ["recall"]
    assert house.store.held().wait() is None
    assert house.poll(db).grants
    assert sorted(house.states(task.id)) == ["RUNNING", "WAITING"]


def test_it_holds_hand_outs_for_everybody_when_the_store_is_older_than_an_agent(house):
    web, db = house.enrol("web01", "db1")
    house.submit([web, db])
    answer = house.poll(web, hw=7)
    assert answer.hold is not None
    assert [word.kind for word in answer.words] == [WordKind.RECALL]
    assert house.poll(db).grants == []
    assert house.store.held().wait().reason == answer.hold
    house.store.settle_done(web, Done("", 7, 0, [], None)).wait()
    house.store.release(by()).wait()
    assert house.store.held().wait() is None
    assert house.poll(db).grants[0].grant == 1
    assert house.poll(web, hw=7).grants[0].grant == 8


def test_it_quarantines_an_agent_that_speaks_as_a_past_instance(house):
    (agent,) = house.enrol("web01")
    house.submit([agent, agent])
    house.run_one(agent)
    house.poll(agent, hw=1, instance="instance-two", free=0)
    answer = house.poll(agent, hw=1, instance=INSTANCE)
    assert answer.standing == "quarantined"
    assert answer.grants == []


def test_it_starts_nothing_again_from_an_old_backup(house, tmp_path):
    (agent,) = house.enrol("web01")
    task = house.submit([agent])
    backup = tmp_path / "backup.sqlite"
    house.sql("VACUUM INTO ?", str(backup))
    run = house.run_one(agent)
    house.finish(run)
    house.store.close()
    house.store = Storage(backup, clock=house.clock)
    assert house.poll(agent, hw=1).grants == []
    record = DoneRecord(run.id, 1, 1, RunState.SUCCEED, 0)
    house.store.settle_done(agent, Done("", 1, 0, [record])).wait()
    house.store.release(by()).wait()
    assert house.poll(agent, hw=1).grants == []
    assert house.states(task.id) == ["SUCCEED"]


def test_it_lists_tasks_newest_first_in_pages_that_meet(house):
    (agent,) = house.enrol("web01")
    made = [house.submit([agent]).id for _ in range(5)]
    first = house.store.tasks(3).wait()
    rest = house.store.tasks(3, first.next).wait()
    assert [view.id for view in (*first.items, *rest.items)] == made[::-1]
    assert rest.next is None
    assert house.store.tasks(3, None, Wanted(state=TaskState.RUNNING)).wait().items == []
    assert len(house.store.tasks(3, None, Wanted(state=TaskState.WAITING)).wait().items) == 3
    assert [task.id for task in house.store.active_tasks().wait()] == made


def test_it_lists_runs_by_state_in_pages_that_meet(house):
    (agent,) = house.enrol("web01")
    task = house.submit([agent] * 5)
    for hw in range(2):
        house.run_one(agent, hw)
    waiting = house.store.runs(task.id, 2, None, "WAITING").wait()
    rest = house.store.runs(task.id, 2, waiting.next, "WAITING").wait()
    assert len(waiting.items) + len(rest.items) == 3
    with pytest.raises(NotFound):
        house.store.runs("nothing", 2).wait()


def test_it_shares_the_places_of_a_task_between_two_masters_on_one_store(house):
    agents = house.enrol(*(f"web{number}" for number in range(20)))
    task = house.submit(agents, parallel=10)
    other = Storage(house.path, clock=house.clock)
    granted: list[Any] = []
    try:
        for place, agent in enumerate(agents):
            store = other if place % 2 else house.store
            store.poll(agent, make_poll()).then(granted.append)
        until(lambda: len(granted) == len(agents), sleep=gevent.sleep)
    finally:
        other.close()
    assert sum(len(answer.grants) for answer in granted) == 10
    assert house.task(task.id).running == house.states(task.id).count("RUNNING") == 10


@settings(max_examples=25)
@given(
    parallel=st.integers(1, 3),
    steps=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40),
)
def test_it_never_has_more_than_parallel_alive(tmp_path_factory, parallel, steps):
    path = tmp_path_factory.mktemp("limits") / "store.sqlite"
    house = House(Storage(path, clock=Clock(), readers=1), Clock(), path)
    try:
        agents = house.enrol(*(f"web{number}" for number in range(6)))
        task = house.submit(agents + agents, parallel=parallel)
        _interleave(house, task.id, agents, steps, parallel)
    finally:
        house.store.close()


def _interleave(house, task, agents, steps, parallel):
    """Polls and results in any order, several in one transaction; then to the end."""
    hw = dict.fromkeys(agents, 0)
    alive: dict[str, Run] = {}
    for place, ends in [*steps, *((n % 6, n % 2 == 0) for n in range(400))]:
        agent = agents[place]
        if ends and alive:
            _, run = alive.popitem()
            house.finish(run)
        else:
            held = [Held(one.id, 1, Stage.LIVE) for one in alive.values() if one.agent == agent]
            for grant in house.poll(agent, hw=hw[agent], held=held).grants:
                assert grant.run not in alive
                alive[grant.run] = house.run(grant.run)
                hw[agent] = grant.grant
        assert len(alive) <= parallel
        record = house.task(task)
        assert record.running == len(alive)
        if record.state in ("SUCCEED", "FAILED"):
            return
    raise AssertionError("the task never ended")
