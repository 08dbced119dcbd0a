"""The cast of the storage tests: a house with hosts, and what they say to it."""

import sqlite3
from pathlib import Path
from typing import Any

from master.audit import Act
from master.changes import NewTask, PollAnswer
from master.ids import new_id
from master.records import Run, Task
from master.storage import Storage
from wire.messages import Output, OutputAnswer, Poll, Register, Result
from wire.states import Cause, RunState

INSTANCE = "instance-one"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class House:
    """A store with what is needed to talk to it in few words."""

    def __init__(self, store: Storage, clock: Clock, path: Path):
        self.store = store
        self.clock = clock
        self.path = path
        self.join_token = store.make_join_token("agent", "all").wait().secret

    def enrol(self, *names: str, **values: Any) -> list[str]:
        ids = []
        for name in names:
            register = make_register(hostname=name, token=self.join_token, **values)
            self.store.enrol(f"key of {name}", register, by(register.id, "agent")).wait()
            ids.append(register.id)
        return ids

    def submit(self, agents: list[str], **values: Any) -> Task:
        return self.store.add_task(make_task(agents, **values), by()).wait().task

    def poll(self, agent: str, **values: Any) -> PollAnswer:
        return self.store.poll(agent, make_poll(**values)).wait()

    def run_one(self, agent: str, hw: int = 0) -> Run:
        """Claim one run for the agent."""
        answer = self.poll(agent, hw=hw)
        return self.run(answer.grants[0].run)

    def finish(self, run: Run, **values: Any) -> Any:
        return self.store.finish(run.agent, make_result(run, **values)).wait()

    def output(
        self, run: Run, offset: int, data: bytes, gap_from: int | None = None
    ) -> OutputAnswer:
        message = Output("", run.id, run.attempt, offset, data, gap_from)
        return self.store.append_output(run.agent, message).wait().answer

    def read(self, run: Run) -> bytes:
        return self.store.output(run.id, 0, 1 << 30).wait().data

    def task(self, id: str) -> Task:
        return self.store.task_record(id).wait()

    def run(self, id: str) -> Run:
        return self.store.run_record(id).wait()

    def states(self, task: str) -> list[str]:
        return [run.state for run in self.store.runs(task, 10_000).wait().items]

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What another connection sees: what is committed."""
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()


def by(who: str = "alice", kind: str = "session", action: str = "thing.do") -> Act:
    """An act of somebody, where it does not matter which."""
    return Act(who, kind, action)


def make_register(**values: Any) -> Register:
    given: dict[str, Any] = {
        "id": new_id(),
        "hostname": "web01",
        "ip": ["10.0.0.1"],
        "instance": INSTANCE,
        "machine": "machine",
        "slots": 4,
        "version": "1.0",
        "protocol": 1,
        **values,
    }
    return Register(**given)


def make_task(agents: list[str], **values: Any) -> NewTask:
    given: dict[str, Any] = {
        "id": new_id(),
        "script": b"echo hello\n",
        "targets": [(agent, f"host{place}") for place, agent in enumerate(agents)],
        "name": "",
        "created_by": "alice",
        "parallel": 0,
        "fail_count": None,
        "fail_rate": None,
        "on_limit": "finish",
        "priority": 0,
        "offline": "wait",
        "expires_in": 86400.0,
        "lost_after": 900.0,
        "settings": {},
        **values,
    }
    return NewTask(**given)


def make_poll(**values: Any) -> Poll:
    given: dict[str, Any] = {"session": "", "instance": INSTANCE, "hw": 0, "free": 1, **values}
    return Poll(**given)


def make_result(run: Run, **values: Any) -> Result:
    given: dict[str, Any] = {
        "session": "",
        "hw": run.grant,
        "free": 1,
        "run": run.id,
        "attempt": run.attempt,
        "grant": run.grant,
        "state": RunState.SUCCEED,
        "cause": Cause.EXIT,
        "code": 0,
        **values,
    }
    return Result(**given)
