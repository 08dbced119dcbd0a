"""Records of the master with sensible values, for tests that decide on them."""

from typing import Any

from master.callback_book import Callback
from master.ids import new_id
from master.plan import Plan
from master.records import Agent, Queue, Run, Task
from wire.callbacks import EVENTS
from wire.messages import Held, Poll, Result
from wire.plans import PlanState, PlanStep
from wire.requests import Submission
from wire.states import Cause, RunState, Stage, Standing, TaskState

NOW = 1_000.0
START_BY = 2_000.0

WAITING, RUNNING = RunState.WAITING, RunState.RUNNING


def make_task(total: int = 1, **fields: Any) -> Task:
    """A task of `total` runs that wait; what is not waiting has to be counted in `fields`."""
    counted = sum(fields.get(state.lower(), 0) for state in RunState if state is not WAITING)
    state = TaskState.RUNNING if counted else TaskState.WAITING
    values: dict[str, Any] = {
        "id": "t1",
        "seq": 1,
        "name": "",
        "state": state,
        "reason": "",
        "stop": None,
        "created_by": "alice",
        "created_at": NOW,
        "started_at": None,
        "ended_at": None,
        "parallel": 0,
        "fail_count": None,
        "fail_rate": None,
        "on_limit": "finish",
        "priority": 0,
        "offline": "wait",
        "expires_at": START_BY,
        "lost_after": 900.0,
        "total": total,
        "waiting": total - counted,
        "running": 0,
    }
    return Task(**(values | fields))


def make_queue(**fields: Any) -> Queue:
    values: dict[str, Any] = {
        "id": "t1",
        "task_seq": 1,
        "name": "default",
        "batch": 1,
        "rate": None,
        "burst": 1,
        "tokens": 0.0,
        "tokens_at": NOW,
        "per_agent": 0,
        "agents_max": 0,
        "max_attempts": 3,
        "retry_pause": 1.0,
        "retry_codes": None,
        "items": 10,
    }
    return Queue(**(values | fields))


def make_run(id: str = "r1", **fields: Any) -> Run:
    """A run of web01. One that is not waiting was handed out as number 1."""
    out = fields.get("state", WAITING) is not WAITING
    values: dict[str, Any] = {
        "id": id,
        "task": "t1",
        "seq": 0,
        "agent": "a1",
        "hostname": "web01",
        "attempt": 1,
        "state": WAITING,
        "reason": "",
        "want": None,
        "grant": 1 if out else None,
        "instance": "i1" if out else None,
        "start_by": START_BY,
        "settled": False,
        "created_at": NOW,
        "priority": 0,
        "task_seq": 1,
    }
    return Run(**(values | fields))


def make_agent(**fields: Any) -> Agent:
    values: dict[str, Any] = {
        "id": "a1",
        "key": "",
        "hostname": "web01",
        "ip": [],
        "labels": {},
        "facts": {},
        "version": "1",
        "machine": "m1",
        "instance": "i1",
        "past_instances": [],
        "slots": 4,
        "standing": Standing.ENROLLED,
        "last_seen": NOW,
    }
    return Agent(**(values | fields))


def make_poll(hw: int = 0, free: int = 4, instance: str = "i1", **stages: Stage) -> Poll:
    """`stages`: what is held, as run=stage."""
    held = [Held(run=run, attempt=1, stage=stage) for run, stage in stages.items()]
    return Poll(session="s1", instance=instance, hw=hw, free=free, held=held)


def make_result(state: RunState = RunState.SUCCEED, **fields: Any) -> Result:
    values: dict[str, Any] = {
        "session": "s1",
        "hw": 1,
        "free": 4,
        "run": "r1",
        "attempt": 1,
        "grant": 1,
        "state": state,
        "cause": Cause.EXIT,
        "code": 0 if state is RunState.SUCCEED else 1,
        "started_at": NOW + 1,
        "ended_at": NOW + 2,
    }
    return Result(**(values | fields))


def make_plan(*needs: str, **fields: Any) -> Plan:
    """A plan whose steps, of two tasks each, need what is given."""
    values: dict[str, Any] = {
        "id": "p1",
        "name": "deploy",
        "steps": [
            PlanStep(f"s{number}", [Submission(), Submission()], need)
            for number, need in enumerate(needs or ("succeeded", "succeeded"))
        ],
        "state": PlanState.RUNNING,
        "reason": "",
        "step": 0,
        "attempt": 1,
        "again": "failed",
        "owner": "alice",
        "owner_id": "person:1",
        "created_by": "alice",
        "created_at": 0.0,
        "ended_at": None,
        "cancelled_by": None,
        "key": None,
        "body_hash": "",
    }
    return Plan(**(values | fields))


def make_callback(**fields: Any) -> Callback:
    plain: dict[str, Any] = {
        "id": new_id(), "name": "ops", "kind": "json", "events": list(EVENTS), "tasks": "all",
        "names": [], "schedules": [], "address": "https://example.org", "username": "",
        "sender": "", "recipients": [], "active": True, "problem": "", "changed_by": "",
        "changed_at": 0.0, "key_id": "k1", "sealed": b"sealed",
    }  # fmt: skip
    return Callback(**{**plain, **fields})
