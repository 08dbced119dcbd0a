"""A rolling task in the store: what is handed out, which wave is next, what people change."""

import pytest

from master.changes import Retry
from master.ids import new_id
from tests.storage.cast import House, by
from wire.errors import Conflict, InvalidValue
from wire.requests import TaskChanges
from wire.states import RunState, TaskState

AN_HOUR = {"expires_in": 3600.0}


def claim_all(house: House, agents: list[str]) -> list[str]:
    """The agents that get a run when all of them poll."""
    return [agent for agent in agents if house.poll(agent, hw=granted(house, agent)).grants]


def granted(house: House, agent: str) -> int:
    ((number,),) = house.sql("SELECT granted FROM agents WHERE id = ?", agent)
    return number


def end_all(house: House, task: str, **values: object) -> None:
    for run in house.store.runs(task, 100, state="RUNNING").wait().items:
        house.finish(house.run(run.id), **values)


def test_it_hands_out_one_wave_after_the_other(house):
    agents = house.enrol("web01", "web02", "web03", "web04")
    task = house.submit(agents, rolling="1 2", settings=AN_HOUR)
    assert claim_all(house, agents) == agents[:1]
    end_all(house, task.id)
    assert claim_all(house, agents) == agents[1:3]
    assert claim_all(house, agents) == []
    end_all(house, task.id)
    assert claim_all(house, agents) == agents[3:]
    end_all(house, task.id)
    assert house.task(task.id).state is TaskState.SUCCEED


def test_it_asks_between_waves_and_goes_on_when_told(house):
    agents = house.enrol("web01", "web02")
    task = house.submit(agents, rolling="1", between_waves="ask", settings=AN_HOUR)
    claim_all(house, agents)
    end_all(house, task.id)
    assert house.task(task.id).state is TaskState.PAUSED
    assert claim_all(house, agents) == []
    house.store.resume_task(task.id, by()).wait()
    assert claim_all(house, agents) == agents[1:]
    house.store.resume_task(task.id, by()).wait()
    end_all(house, task.id)
    assert house.task(task.id).state is TaskState.SUCCEED


def test_it_goes_on_by_itself_when_the_pause_is_over(house):
    agents = house.enrol("web01", "web02")
    task = house.submit(agents, rolling="1", wave_pause=60.0, settings=AN_HOUR)
    claim_all(house, agents)
    end_all(house, task.id)
    house.clock.now += 59
    assert house.store.resume_due().wait().tasks == ()
    house.clock.now += 1
    (going_on,) = house.store.resume_due().wait().tasks
    assert (going_on.state, going_on.wave) == (TaskState.RUNNING, 2)
    assert claim_all(house, agents) == agents[1:]


def test_a_wave_of_runs_that_are_skipped_or_cancelled_is_over_as_it_begins(house):
    agents = house.enrol("web01", "web02", "web03")
    task = house.submit(
        agents, rolling="1", skip=frozenset(agents[:1]), offline="skip", settings=AN_HOUR
    )
    assert house.task(task.id).wave == 2
    (run,) = house.store.runs(task.id, 1, cursor=None, state="WAITING").wait().items
    house.store.cancel_run(run.id, by()).wait()
    assert house.task(task.id).wave == 3
    assert claim_all(house, agents) == agents[2:]


def test_the_time_to_start_begins_with_the_wave(house):
    agents = house.enrol("web01", "web02", "web03")
    task = house.submit(agents, rolling="1", expires_in=3600.0, settings=AN_HOUR)
    house.clock.now += 3599
    claim_all(house, agents)
    house.clock.now += 10_000
    house.store.expire().wait()
    assert house.states(task.id) == ["RUNNING", "WAITING", "WAITING"]
    end_all(house, task.id)
    house.clock.now += 3600
    house.store.expire().wait()
    assert house.states(task.id) == ["SUCCEED", "SKIPPED", "WAITING"]
    assert claim_all(house, agents[2:]) == agents[2:]


def test_a_paused_wave_that_expires_does_not_begin_the_next(house):
    agents = house.enrol("web01", "web02")
    task = house.submit(agents, rolling="1", expires_in=3600.0, settings=AN_HOUR)
    house.store.pause_task(task.id, by()).wait()
    house.clock.now += 3600
    house.store.expire().wait()
    house.store.expire().wait()
    assert house.states(task.id) == ["SKIPPED", "WAITING"]
    assert house.task(task.id).reason == "paused by alice"
    house.store.resume_task(task.id, by()).wait()
    assert claim_all(house, agents) == agents[1:]


def test_failures_count_over_all_waves(house):
    agents = house.enrol("web01", "web02", "web03")
    task = house.submit(agents, rolling="1", fail_count=1, settings=AN_HOUR)
    for _ in range(2):
        claim_all(house, agents)
        end_all(house, task.id, state=RunState.FAILED, code=1)
    assert house.states(task.id) == ["FAILED", "FAILED", "SKIPPED"]
    assert house.task(task.id).state is TaskState.FAILED


def test_any_task_can_be_paused_and_goes_on(house):
    agents = house.enrol("web01", "web02")
    task = house.submit(agents, parallel=1)
    claim_all(house, agents)
    house.store.pause_task(task.id, by()).wait()
    end_all(house, task.id)
    assert house.task(task.id).state is TaskState.PAUSED
    assert claim_all(house, agents) == []
    house.store.resume_task(task.id, by()).wait()
    assert claim_all(house, agents) == agents[1:]


def test_a_paused_task_ends_with_its_last_run(house):
    agents = house.enrol("web01")
    task = house.submit(agents)
    claim_all(house, agents)
    house.store.pause_task(task.id, by()).wait()
    end_all(house, task.id)
    assert house.task(task.id).state is TaskState.SUCCEED


def test_a_pause_by_a_person_outlasts_the_one_between_waves(house):
    agents = house.enrol("web01", "web02")
    task = house.submit(agents, rolling="1", wave_pause=60.0, settings=AN_HOUR)
    claim_all(house, agents)
    end_all(house, task.id)
    house.store.pause_task(task.id, by()).wait()
    house.clock.now += 61
    assert house.store.resume_due().wait().tasks == ()
    assert house.task(task.id).reason == "paused by alice"


def test_it_changes_what_is_left(house):
    agents = house.enrol("web01", "web02", "web03", "web04")
    task = house.submit(agents, rolling="1", between_waves="ask", settings=AN_HOUR)
    claim_all(house, agents)
    end_all(house, task.id)
    changes = TaskChanges(rolling="100%", parallel=2, priority=7)
    house.store.change_task(task.id, changes, by()).wait()
    house.store.resume_task(task.id, by()).wait()
    assert claim_all(house, agents) == agents[1:3]
    record = house.task(task.id)
    assert (record.parallel, record.priority) == (2, 7)
    assert record.settings["rolling"] == "100%"
    assert house.sql("SELECT DISTINCT priority FROM runs WHERE state = 'WAITING'") == [(7,)]


def test_a_limit_that_is_exceeded_already_stops_the_task(house):
    agents = house.enrol("web01", "web02")
    task = house.submit(agents, parallel=1)
    claim_all(house, agents)
    end_all(house, task.id, state=RunState.FAILED, code=1)
    house.store.change_task(task.id, TaskChanges(fail_count=0), by()).wait()
    assert house.states(task.id) == ["FAILED", "SKIPPED"]
    assert house.task(task.id).state is TaskState.FAILED


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (TaskChanges(), None),
        (TaskChanges(parallel=-1), "parallel"),
        (TaskChanges(priority=10_000), "priority"),
        (TaskChanges(rolling="10"), "rolling"),
        (TaskChanges(wave_pause=1.0), "wave_pause"),
        (TaskChanges(fail_count=-1, fail_rate=0.5), "fail_count"),
    ],
)
def test_it_refuses_changes_that_make_no_sense(house, changes, field):
    task = house.submit(house.enrol("web01"))
    with pytest.raises(InvalidValue) as refused:
        house.store.change_task(task.id, changes, by()).wait()
    assert refused.value.field == field


def test_nothing_can_be_changed_of_a_task_that_has_ended_or_is_being_stopped(house):
    agents = house.enrol("web01", "web02")
    ended, stopping = house.submit(agents[:1]), house.submit(agents)
    house.store.cancel_task(ended.id, by()).wait()
    claim_all(house, agents)
    house.store.cancel_task(stopping.id, by()).wait()
    for task in (ended, stopping):
        for verb in (
            house.store.pause_task(task.id, by()),
            house.store.resume_task(task.id, by()),
            house.store.change_task(task.id, TaskChanges(priority=1), by()),
        ):
            with pytest.raises(Conflict):
                verb.wait()


def test_a_retry_rolls_as_the_task_did(house):
    agents = house.enrol("web01", "web02", "web03")
    task = house.submit(agents, rolling="1", between_waves="ask", settings=AN_HOUR)
    claim_all(house, agents)
    end_all(house, task.id)
    house.store.cancel_task(task.id, by()).wait()

    wanted = Retry(id=new_id(), task=task.id, states=(RunState.CANCELLED,), created_by="alice")
    retried = house.store.retry_task(wanted, by()).wait()
    assert retried.waiting == (agents[1],)
    assert (retried.task.rolling, retried.task.wave) == ("1", 1)
    assert retried.task.expires_at == pytest.approx(house.clock.now + 3600)
