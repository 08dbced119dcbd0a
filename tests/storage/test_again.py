"""A task runs again where it did not succeed: a new task, and the old one stays as it was."""

import pytest

from master.again import check_states
from master.changes import Retry
from master.ids import new_id
from tests.storage.cast import by
from wire.errors import Conflict, InvalidValue, NotFound
from wire.states import RunState, Standing, TaskState

FAILED, TIMEOUT, SKIPPED = RunState.FAILED, RunState.TIMEOUT, RunState.SKIPPED


@pytest.fixture
def three(house):
    """web01 succeeds, web02 fails, web03 times out."""
    agents = house.enrol("web01", "web02", "web03")
    task = house.submit(
        agents,
        name="deploy",
        script=b"\0deploy\n",
        fail_count=-1,
        priority=7,
        settings={"parallel": "50%", "timeout": 5.0, "args": ["x"], "targets": "web[01-03]"},
        parallel=2,
        expires_in=120.0,
        lost_after=30.0,
    )
    for agent, state in zip(agents, (RunState.SUCCEED, FAILED, TIMEOUT), strict=True):
        house.finish(house.run_one(agent), state=state, code=0)
    return agents, task


def retry(house, task, *states, **fields):
    wanted = Retry(
        id=fields.pop("id", None) or new_id(),
        task=task.id,
        states=states,
        created_by=fields.pop("by", "bob"),
        **fields,
    )
    return house.store.retry_task(wanted, by()).wait()


def hosts(house, task):
    return [run.agent for run in house.store.runs(task.id, 100).wait().items]


def test_it_runs_again_on_the_hosts_of_the_runs_in_these_states(house, three):
    (_, web02, web03), old = three
    retried = retry(house, old, FAILED, TIMEOUT)
    assert retried.created
    assert hosts(house, retried.task) == [web02, web03]
    assert retried.waiting == (web02, web03)
    assert hosts(house, retry(house, old, TIMEOUT).task) == [web03]


def test_it_keeps_the_script_and_the_settings_but_not_the_expression(house, three):
    _, old = three
    new = retry(house, old, FAILED).task
    view = house.store.task(new.id, script=True).wait()
    assert view.retry_of == old.id
    assert view.script_base64 == house.store.task(old.id, script=True).wait().script_base64
    assert view.settings == {"parallel": "50%", "timeout": 5.0, "args": ["x"]}
    assert (view.name, view.created_by) == ("deploy", "bob")
    assert (new.fail_count, new.priority, new.lost_after) == (-1, 7, 30.0)
    assert new.expires_at == house.clock.now + 120.0
    assert new.parallel == 1


def test_it_leaves_the_old_task_and_its_runs_as_they_were(house, three):
    _, old = three
    before = house.store.runs(old.id, 100).wait(), house.task(old.id)
    new = retry(house, old, FAILED, TIMEOUT).task
    house.finish(house.run_one(hosts(house, new)[0], hw=1))
    assert (house.store.runs(old.id, 100).wait(), house.task(old.id)) == before
    assert house.task(old.id).retry_of is None


def test_it_takes_ended_runs_of_a_task_that_still_goes_on(house):
    web01, web02 = house.enrol("web01", "web02")
    task = house.submit([web01, web02], fail_count=-1)
    house.finish(house.run_one(web01), state=FAILED, code=1)
    house.run_one(web02)
    assert house.task(task.id).state is TaskState.RUNNING
    assert hosts(house, retry(house, task, FAILED).task) == [web01]


def test_it_leaves_out_hosts_that_are_no_longer_enrolled_and_names_them(house, three):
    (_, web02, web03), old = three
    house.store.bury_agent(web02, Standing.REVOKED, "sold", by()).wait()
    retried = retry(house, old, FAILED, TIMEOUT)
    assert hosts(house, retried.task) == [web03]
    assert retried.left_out == ("web02",)
    with pytest.raises(InvalidValue, match="web02") as refused:
        retry(house, old, FAILED)
    assert refused.value.field == "states"


def test_it_refuses_when_no_run_is_in_those_states(house, three):
    _, old = three
    with pytest.raises(InvalidValue, match="no run of the task is SKIPPED") as refused:
        retry(house, old, SKIPPED)
    assert refused.value.field == "states"
    assert len(house.store.tasks(100).wait().items) == 1


def test_it_knows_no_task_of_that_id(house):
    with pytest.raises(NotFound):
        house.store.retry_task(
            Retry(id=new_id(), task="nothing", states=(FAILED,), created_by="bob"),
            by(),
        ).wait()


def test_it_makes_one_task_for_one_key(house, three):
    _, old = three
    first = retry(house, old, FAILED, key="k", body_hash="failed")
    again = retry(house, old, FAILED, key="k", body_hash="failed")
    assert (again.created, again.task.id) == (False, first.task.id)
    with pytest.raises(Conflict):
        retry(house, old, TIMEOUT, key="k", body_hash="timeout")
    assert retry(house, old, FAILED, key="k", body_hash="failed", by="carol").created


def test_it_skips_hosts_that_are_offline_if_the_task_does(house):
    web01, web02 = house.enrol("web01", "web02")
    task = house.submit([web01, web02], offline="skip", skip=frozenset([web01, web02]))
    retried = retry(house, task, SKIPPED, offline=frozenset([web02]))
    assert house.states(retried.task.id) == ["WAITING", "SKIPPED"]
    assert retried.waiting == (web01,)


def test_a_retry_can_be_retried(house, three):
    _, old = three
    first = retry(house, old, FAILED).task
    house.finish(house.run_one(hosts(house, first)[0], hw=1), state=FAILED, code=1)
    second = retry(house, first, FAILED).task
    assert house.store.task(second.id).wait().retry_of == first.id


@pytest.mark.parametrize("states", [[], ["SUCCEED"], ["WAITING"], ["FAILED", "failed"], ["x"]])
def test_it_refuses_states_that_are_no_ends_without_success(states):
    with pytest.raises(InvalidValue) as refused:
        check_states(states)
    assert refused.value.field == "states"


def test_it_takes_states_in_any_order_and_once():
    assert check_states(["TIMEOUT", "FAILED", "TIMEOUT"]) == (FAILED, TIMEOUT)


def test_it_gives_the_hosts_of_a_task_to_run_it_again_from_a_form(house, three):
    (web01, web02, web03), old = three
    house.store.bury_agent(web01, Standing.REVOKED, "sold", by()).wait()
    found = house.store.targets_of(old.id, tuple(RunState)).wait()
    assert found.targets == [(web02, "web02"), (web03, "web03")]
    assert found.left_out == ["web01"]
    assert house.store.targets_of(old.id, (TIMEOUT,)).wait().targets == [(web03, "web03")]
