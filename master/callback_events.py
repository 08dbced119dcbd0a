"""What of a task's change is an event, what does it say, and which callbacks want it? Pure."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct

from master import waves
from master.plan import Part, Plan
from master.records import Queue, Task
from master.task import failures
from utils import iso
from wire.callbacks import ALL, CHOSEN
from wire.plans import PlanState
from wire.states import ENDED_TASK, RunState, Stop, TaskState

ENDS = {
    TaskState.SUCCEED: "task.succeeded",
    TaskState.FAILED: "task.failed",
    TaskState.CANCELLED: "task.cancelled",
}

PLAN_ENDS = {
    PlanState.SUCCEED: "plan.succeeded",
    PlanState.FAILED: "plan.failed",
    PlanState.CANCELLED: "plan.cancelled",
}


class Event(Struct, frozen=True):
    """`path` is that of the page about it. The last three are what callbacks choose by:
    the name of the task or None, that of its schedule or None, and the callbacks that the task
    names."""

    type: str
    object: str
    path: str
    content: dict[str, Any]
    task_name: str | None = None
    schedule: str | None = None
    callbacks: frozenset[str] = frozenset()


class Wants(Struct, frozen=True):
    """What a callback wants to be told of."""

    id: str
    name: str
    events: frozenset[str]
    tasks: str  # all | chosen | named
    names: tuple[str, ...]
    schedules: frozenset[str]


def may_tell(before: Task, after: Task) -> bool:
    """Can there be an event at all? Asked at each change of a task, most of which only count."""
    return before.state is not after.state or before.stop is not after.stop


def types_of(before: Task, after: Task) -> list[str]:
    """The events of one change of a task, in their order."""
    found = []
    if before.started_at is None and after.started_at is not None:
        found.append("task.started")
    if before.stop is None and after.stop is Stop.LIMIT:
        found.append("task.limit_exceeded")
    if _waits_between_waves(after) and before.state is not TaskState.PAUSED:
        found.append("task.wave_waiting")
    if after.state in ENDED_TASK and before.state not in ENDED_TASK:
        found.append(ENDS[after.state])
        if after.schedule is not None and after.state is TaskState.FAILED:
            found.append("schedule.failed")
    return found


def _waits_between_waves(task: Task) -> bool:
    """For a person, and not because one has paused it."""
    is_between = task.expires_at == waves.NEVER
    return task.state is TaskState.PAUSED and task.resume_at is None and is_between


def of_task(type: str, task: Task, schedule: str | None, queue: Queue | None = None) -> Event:
    """`schedule`: the name of the one that made the task. `queue`: of a task that is one."""
    content: dict[str, Any] = {"task": _told(task) | {"queue": _queue_told(task, queue)}}
    if schedule is not None:
        content |= _of_schedule(task.schedule, schedule, task.due_at)
    return Event(
        type=type,
        object=f"task:{task.id}",
        path=f"/tasks/{task.id}",
        content=content,
        task_name=task.name,
        schedule=schedule,
        callbacks=frozenset(task.settings.get("callbacks", ())),
    )


def of_firing(
    state: str, schedule: Mapping[str, str], due_at: float, until: float | None, reason: str
) -> Event:
    """A due instant, or all from it `until` then, that was missed or skipped."""
    return Event(
        type=f"schedule.{state}",
        object=f"schedule:{schedule['id']}",
        path=f"/schedules/{schedule['id']}",
        content={
            "schedule": dict(schedule),
            "due_at": iso(due_at),
            "until": iso(until),
            "reason": reason,
        },
        schedule=schedule["name"],
    )


def types_of_end(plan: Plan) -> list[str]:
    """The events of the end of a plan, in their order."""
    failed = plan.schedule is not None and plan.state is PlanState.FAILED
    return [PLAN_ENDS[plan.state], *(["schedule.failed"] if failed else [])]


def of_plan(type: str, plan: Plan, parts: Sequence[Part], schedule: str | None) -> Event:
    """The end of a plan, with what all of its tasks came to; told also to whom its tasks name.

    `schedule`: the name of the one that made the plan.
    """
    named = {name for step in plan.steps for task in step.tasks for name in task.callbacks}
    content: dict[str, Any] = {"plan": _plan_told(plan, parts)}
    if schedule is not None:
        content |= _of_schedule(plan.schedule, schedule, plan.due_at)
    return Event(
        type=type,
        object=f"plan:{plan.id}",
        path=f"/plans/{plan.id}",
        content=content,
        task_name=plan.name,
        schedule=schedule,
        callbacks=frozenset(named),
    )


def _of_schedule(id: str | None, name: str, due_at: float | None) -> dict[str, Any]:
    return {"schedule": {"id": id, "name": name}, "due_at": iso(due_at)}


def _plan_told(plan: Plan, parts: Sequence[Part]) -> dict[str, Any]:
    return {
        "id": plan.id,
        "name": plan.name,
        "state": plan.state,
        "reason": plan.reason,
        "created_by": plan.created_by,
        "created_at": iso(plan.created_at),
        "ended_at": iso(plan.ended_at),
        "steps": [
            {"name": step.name, "tasks": [_result(one) for one in parts if one.step == at]}
            for at, step in enumerate(plan.steps)
        ],
    }


def _result(part: Part) -> dict[str, Any]:
    """`id` None: the task was skipped, for the reason."""
    return {
        "id": part.task,
        "attempt": part.attempt,
        "state": part.state or RunState.SKIPPED,
        "reason": part.reason,
        "counts": part.counts,
    }


def wants(callback: Wants, event: Event) -> bool:
    if event.type not in callback.events:
        return False
    if callback.name in event.callbacks or callback.tasks == ALL:
        return True
    if callback.tasks != CHOSEN:
        return False
    return event.schedule in callback.schedules or (
        event.task_name is not None
        and any(fnmatchcase(event.task_name, pattern) for pattern in callback.names)
    )


def _queue_told(task: Task, queue: Queue | None) -> dict[str, Any] | None:
    """Numbers alone, so that a letter about a million items is as short as any other."""
    if queue is None:
        return None
    return {
        "name": queue.name,
        "items": queue.items,
        "batch": queue.batch,
        "dead": failures(task),
    }


def _told(task: Task) -> dict[str, Any]:
    """Not its settings, which may hold what is nobody else's business."""
    return {
        "id": task.id,
        "name": task.name,
        "state": task.state,
        "reason": task.reason,
        "created_by": task.created_by,
        "created_at": iso(task.created_at),
        "started_at": iso(task.started_at),
        "ended_at": iso(task.ended_at),
        "retry_of": task.retry_of,
        "mode": task.mode,
        "wave": task.wave,
        "total": task.total,
        "waiting": task.waiting,
        "running": task.running,
        "succeed": task.succeed,
        "failed": task.failed,
        "timeout": task.timeout,
        "cancelled": task.cancelled,
        "skipped": task.skipped,
        "unknown": task.unknown,
    }
