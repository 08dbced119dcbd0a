"""Plans in the store: each step begins once, whoever asks for it, and however often."""

import msgspec
import pytest
from msgspec.structs import replace

from master.callback_book import Callback
from master.changes import NewTask
from master.ids import new_id
from master.plan import Begin, Plan
from master.planning import Advanced, Aim, Placed
from master.retention import BEGINNING, Keep
from master.storage import Storage
from tests.factories import make_plan
from tests.storage.cast import House, by, make_task
from wire.callbacks import EVENTS
from wire.errors import Conflict, NotFound
from wire.host_groups import HostGroup
from wire.plans import PlanState, PlanStep
from wire.requests import Submission
from wire.states import RunState

SETTINGS = {"expires_in": 3600.0}


@pytest.fixture
def agents(house: House) -> list[str]:
    return house.enrol("web01", "web02")


def add(house: House, *needs: str, **fields: object) -> Plan:
    plan = make_plan(*needs, **{"id": new_id(), **fields})
    return house.store.plans.add(plan, by()).wait().plan


def aim(store: Storage, plan: str, *tasks: NewTask) -> Aim:
    """What the next step comes to: these tasks."""
    situation = store.plans.situation(plan).wait()
    begin = situation.decision
    assert isinstance(begin, Begin)
    placed = tuple(Placed(new=replace(task, plan=plan)) for task in tasks)
    return Aim(plan, situation.plan.row_version, begin, placed)


def begin(house: House, plan: str, *tasks: NewTask) -> Advanced:
    return house.store.plans.advance(plan, aim(house.store, plan, *tasks)).wait()


def end(house: House, agents: list[str], state: RunState = RunState.SUCCEED) -> None:
    """Whatever waits on these agents runs and ends."""
    for agent in agents:
        (hw,) = house.sql("SELECT granted FROM agents WHERE id = ?", agent)[0]
        house.finish(house.run_one(agent, hw), state=state)


def test_it_begins_a_step_once_with_all_its_tasks(house, agents):
    plan = add(house)
    found = aim(house.store, plan.id, make_task(agents[:1]), make_task(agents[1:]))
    first = house.store.plans.advance(plan.id, found).wait()
    assert [one.waiting for one in first.opened] == [(agents[0],), (agents[1],)]
    assert (first.plan.id, first.plan.attempt) == (plan.id, 1)
    assert house.store.plans.advance(plan.id, found).wait() == Advanced()
    assert house.sql("SELECT COUNT(*) FROM tasks WHERE plan = ?", plan.id) == [(2,)]


def test_each_task_of_a_step_begins_its_waves_and_is_written_down(house, agents):
    plan = add(house)
    begin(house, plan.id, *(make_task(agents, rolling="1", settings=SETTINGS) for _ in range(2)))
    assert house.sql("SELECT released FROM tasks WHERE plan = ?", plan.id) == [(1,), (1,)]
    acts = house.sql("SELECT object FROM audit WHERE action = 'plan.step'")
    assert len(set(acts)) == 2


def test_two_processes_begin_a_step_once(house, agents):
    plan = add(house)
    other = Storage(house.path, clock=house.clock)
    try:
        mine, theirs = (aim(store, plan.id, make_task(agents)) for store in (house.store, other))
        outcomes = [
            house.store.plans.advance(plan.id, mine).wait(),
            other.plans.advance(plan.id, theirs).wait(),
        ]
    finally:
        other.close()
    assert [len(one.opened) for one in outcomes] == [1, 0]
    assert house.sql("SELECT COUNT(*) FROM tasks") == [(1,)]


def test_it_goes_from_step_to_step_to_its_end(house, agents):
    plan = add(house)
    for number in (1, 2):
        begin(house, plan.id, make_task(agents))
        assert house.store.plans.view(plan.id).wait().step == number
        assert house.store.plans.held_up().wait() == []
        end(house, agents)
        assert house.store.plans.held_up().wait() == [plan.id]
    ended = house.store.plans.advance(plan.id, None).wait().ended
    assert ended.state is PlanState.SUCCEED
    view = house.store.plans.view(plan.id).wait()
    assert [step.state for step in view.steps] == ["SUCCEED", "SUCCEED"]
    assert house.store.plans.held_up().wait() == []


def test_without_an_aim_it_asks_for_one_and_changes_nothing(house, agents):
    plan = add(house)
    assert house.store.plans.advance(plan.id, None).wait() == Advanced(again=True)
    outdated = replace(aim(house.store, plan.id, make_task(agents)), row_version=7)
    assert house.store.plans.advance(plan.id, outdated).wait() == Advanced(again=True)
    assert house.sql("SELECT COUNT(*) FROM plan_tasks") == [(0,)]


def test_a_step_that_cannot_begin_ends_the_plan(house, agents):
    plan = add(house)
    refused = replace(aim(house.store, plan.id), refusal="there is no host named web09")
    ended = house.store.plans.advance(plan.id, refused).wait().ended
    assert ended.state is PlanState.FAILED
    assert ended.reason == "step s0 could not begin: there is no host named web09"


def test_cancelling_stops_what_runs_and_begins_nothing_more(house, agents):
    plan = add(house)
    begin(house, plan.id, make_task(agents), make_task(agents))
    house.run_one(agents[0])
    first = house.store.plans.cancel(plan.id, by("bob")).wait()
    assert (first.again, len(first.changed)) == (True, 2)
    assert (first.plan.cancelled_by, first.plan.state) == ("bob", PlanState.RUNNING)
    assert house.store.plans.advance(plan.id, None).wait() == Advanced()  # one still runs
    assert house.store.plans.cancel(plan.id, by("bob")).wait() == Advanced()
    (run,) = (id for (id,) in house.sql("SELECT id FROM runs WHERE state = 'RUNNING'"))
    house.finish(house.run(run), state=RunState.CANCELLED)
    ended = house.store.plans.advance(plan.id, None).wait().ended
    assert (ended.state, ended.reason) == (PlanState.CANCELLED, "cancelled by bob")


def test_it_is_resumed_at_the_step_that_failed(house, agents):
    plan = add(house)
    begin(house, plan.id, make_task(agents))
    end(house, agents, RunState.FAILED)
    assert house.store.plans.advance(plan.id, None).wait().ended.state is PlanState.FAILED
    resumed = house.store.plans.resume(plan.id, "failed", "bob", "person:2", by("bob")).wait()
    assert (resumed.state, resumed.attempt, resumed.owner) == (PlanState.RUNNING, 2, "bob")
    with pytest.raises(Conflict, match="has not ended"):
        house.store.plans.resume(plan.id, "failed", "bob", "person:2", by("bob")).wait()
    begin(house, plan.id, make_task(agents))
    end(house, agents)
    assert house.store.plans.situation(plan.id).wait().decision == Begin(1, 1)
    step = house.store.plans.view(plan.id).wait().steps[0]
    assert (step.state, step.attempt, len(step.tasks[0].earlier)) == ("SUCCEED", 2, 1)


def test_the_same_key_makes_one_plan(house):
    plan = add(house, key="k", body_hash="1")
    again = make_plan(id=new_id(), key="k", body_hash="1")
    made = house.store.plans.add(again, by()).wait()
    assert (made.plan, made.created) == (plan, False)
    with pytest.raises(Conflict, match=plan.id):
        house.store.plans.add(replace(again, body_hash="2"), by()).wait()
    assert house.store.plans.made_by_key("k", "alice", "1").wait() == plan.id
    assert house.store.plans.made_by_key("k", "bob", "1").wait() is None


def test_it_says_what_became_of_tasks_that_are_no_longer_kept(house, agents):
    plan = add(house, "ended", "succeeded")
    begin(house, plan.id, make_task(agents))
    end(house, agents, RunState.FAILED)
    begin(house, plan.id, make_task(agents))
    end(house, agents)
    house.clock.now += 100
    purge_all(house)  # it may still be asked for what became of the first step
    assert house.sql("SELECT COUNT(*) FROM tasks") == [(2,)]
    house.store.plans.advance(plan.id, None).wait()
    house.submit(agents)
    purge_all(house)
    assert house.sql("SELECT COUNT(*) FROM tasks") == [(1,)]
    steps = house.store.plans.view(plan.id).wait().steps
    assert [step.state for step in steps] == ["FAILED", "SUCCEED"]
    assert steps[0].tasks[0].counts["FAILED"] == 2
    parts = house.store.plans.situation(plan.id).wait().parts
    with pytest.raises(Conflict, match="no longer kept"):
        house.store.plans.host_runs(parts).wait()


def purge_all(house: House) -> None:
    place, is_last = BEGINNING, False
    while not is_last:
        step = house.store.purge(Keep(age_s=50.0), place, 100).wait()
        place, is_last = step.place, step.is_last


def test_old_plans_are_forgotten_and_those_that_go_on_never(house, agents):
    old, going_on = add(house), add(house)
    house.store.plans.cancel(old.id, by()).wait()
    house.store.plans.advance(old.id, None).wait()
    house.clock.now += 100
    assert house.store.plans.forget(house.clock.now - 50, 10).wait() == 1
    with pytest.raises(NotFound):
        house.store.plans.view(old.id).wait()
    assert [one.id for one in house.store.plans.page(10, None).wait().items] == [going_on.id]


def test_it_lists_the_newest_first_page_by_page(house):
    ids = sorted(add(house).id for _ in range(5))  # those of one millisecond in any order
    seen, cursor = [], None
    while True:
        page = house.store.plans.page(2, cursor).wait()
        seen += [line.id for line in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == ids[::-1]


def test_who_did_what_is_written_down(house, agents):
    plan = add(house)
    begin(house, plan.id, make_task(agents))
    house.store.plans.cancel(plan.id, by("bob", action="plan.cancel")).wait()
    rows = house.sql("SELECT who, action, object FROM audit ORDER BY seq DESC LIMIT 3")
    assert (by().who, "thing.do", f"plan:{plan.id}") in house.sql(
        "SELECT who, action, object FROM audit"
    )
    assert ("bob", "plan.cancel", f"plan:{plan.id}") in rows
    assert house.sql("SELECT COUNT(*) FROM audit WHERE action = 'plan.step'") == [(1,)]


def make_callback(names: list[str]) -> Callback:
    """Told of all that happens to what has one of these names."""
    return Callback(
        id=new_id(),
        name=f"for-{names[0].strip('*')}",
        kind="json",
        events=list(EVENTS),
        tasks="chosen",
        names=names,
        schedules=[],
        address="https://example.org",
        username="",
        sender="",
        recipients=[],
        active=True,
        problem="",
        changed_by="alice",
        changed_at=0.0,
        key_id="",
        sealed=b"",
    )


def test_callbacks_are_told_of_its_end_with_all_results(house, agents):
    house.store.callbacks.add(make_callback(names=["dep*"]), by()).wait()
    house.store.callbacks.add(make_callback(names=["other"]), by()).wait()
    plan = add(house)
    begin(house, plan.id, make_task(agents))
    end(house, agents, RunState.FAILED)
    house.store.plans.advance(plan.id, None).wait()
    house.store.plans.advance(plan.id, None).wait()
    rows = house.sql("SELECT payload FROM deliveries WHERE event LIKE 'plan.%'")
    ((payload,),) = rows
    told = msgspec.json.decode(payload)
    assert told["type"] == "plan.failed"
    assert [len(step["tasks"]) for step in told["data"]["plan"]["steps"]] == [1, 0]
    assert told["data"]["plan"]["steps"][0]["tasks"][0]["counts"]["FAILED"] == 2


def test_groups_and_scripts_say_which_plans_that_go_on_use_them(house):
    house.store.groups_of_hosts.add(HostGroup("shop", "@*"), by()).wait()
    steps = [PlanStep("a", [Submission(targets="@shop"), Submission(targets="@shop&@env:x")])]
    plan = add(house, steps=steps, name="ship")
    used = house.store.groups_of_hosts.uses("shop").wait()
    assert [(use.kind, use.name) for use in used] == [("plan", "ship")]
    house.store.plans.cancel(plan.id, by()).wait()
    house.store.plans.advance(plan.id, None).wait()
    assert house.store.groups_of_hosts.uses("shop").wait() == []
