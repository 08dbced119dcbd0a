"""A house whose work lies in queues: what its hosts take, and how they finish it."""

from typing import Any

from master.changes import NewQueue, PollAnswer
from master.records import Run, Task
from tests.storage.cast import House, by, make_poll
from wire.messages import Grant, Result
from wire.states import Cause, RunState

LOST_AFTER_S = 60.0


class Agent:
    """One host and how far its journal is."""

    def __init__(self, house: House, id: str):
        self.house = house
        self.id = id
        self.hw = 0

    def poll(self, *tasks: Task, free: int = 1, **values: Any) -> PollAnswer:
        """One look; what it is granted is in its journal afterwards."""
        answer = self.lose(*tasks, free=free, **values)
        self.hw = max([self.hw, *(grant.grant for grant in answer.grants)])
        return answer

    def lose(self, *tasks: Task, free: int = 1, **values: Any) -> PollAnswer:
        """One look whose answer never arrives."""
        given = {"hw": self.hw, "free": free, **values}
        serves = (tuple(task.id for task in tasks),) if tasks else ()
        return self.house.store.poll(self.id, make_poll(**given), serves).wait()

    def take(self, *tasks: Task, **values: Any) -> Grant:
        (grant,) = self.poll(*tasks, **values).grants
        return grant

    def finish(self, grant: Grant, state: RunState = RunState.SUCCEED, **values: Any) -> Any:
        given: dict[str, Any] = {
            "session": "",
            "hw": self.hw,
            "free": 1,
            "run": grant.run,
            "attempt": grant.attempt,
            "grant": grant.grant,
            "state": state,
            "cause": Cause.EXIT,
            "code": {RunState.SUCCEED: 0, RunState.FAILED: 1}.get(state),
            **values,
        }
        return self.house.store.finish(self.id, Result(**given)).wait()

    def fail(self, grant: Grant, **values: Any) -> Any:
        return self.finish(grant, RunState.FAILED, **values)


def enrol(house: House, *names: str) -> list[Agent]:
    return [Agent(house, id) for id in house.enrol(*names)]


def submit(house: House, *items: str, **values: Any) -> Task:
    """`values`: of the queue, and of its task those that are named here."""
    of_task = ("fail_count", "fail_rate", "on_limit", "priority", "parallel", "expires_in", "id")
    given = {name: values.pop(name) for name in of_task if name in values}
    given = {"lost_after": LOST_AFTER_S, **given}
    return house.submit([], queue=NewQueue(items=items, **values), **given)


def silence(house: House, seconds: float = LOST_AFTER_S) -> Any:
    """So much later, with this master listening all the time and nobody heard."""
    house.clock.now += seconds
    return house.store.silence(house.clock.now - seconds, 0.0).wait()


def run_of(house: House, task: Task, seq: int) -> Run:
    (found,) = house.sql("SELECT id FROM runs WHERE task = ? AND seq = ?", task.id, seq)
    return house.run(found[0])


def counts(house: House, task: Task) -> dict[str, int]:
    """Of the states in which there are runs; they sum to the task's total."""
    record = house.task(task.id)
    found = {state.value: getattr(record, state.lower()) for state in RunState}
    assert sum(found.values()) == record.total
    return {state: number for state, number in found.items() if number}


def attempts(house: House, run: str) -> list[tuple[int, str]]:
    return [(one.attempt, one.state) for one in house.store.attempts(run).wait()]


def put_back(house: House, task: Task, runs: list[str] | None = None) -> Any:
    return house.store.put_back(task.id, runs, by()).wait()


def results(house: House, task: Task, *states: str, **values: Any) -> list[Any]:
    return house.store.queue_results(task.id, 1000, None, states, **values).wait().items
