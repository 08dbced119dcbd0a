"""What do people see of plans? Each step with its tasks, and what waits for what."""

from collections.abc import Sequence

from master.plan import Part, Plan
from master.planning import decoded, known, parts_of
from master.reader import Reader
from master.views import from_cursor, size_of, to_cursor
from utils import iso
from wire.plans import PlanLine, PlanState, PlanStep, PlanStepView, PlanTaskView, PlanView
from wire.requests import Submission
from wire.states import RunState, TaskState
from wire.views import Page

NEWEST = "~"  # behind all ids
MAX_TARGETS_CHARACTERS = 300

WAITING, RUNNING, SKIPPED = TaskState.WAITING, TaskState.RUNNING, RunState.SKIPPED


def one(reader: Reader, id: str) -> PlanView:
    plan = known(reader, id)
    parts = parts_of(reader, id)
    steps = [
        _step(plan, number, step, [part for part in parts if part.step == number])
        for number, step in enumerate(plan.steps)
    ]
    return PlanView(
        id=plan.id,
        name=plan.name,
        state=plan.state,
        reason=plan.reason,
        step=plan.step + 1,
        steps=steps,
        owner=plan.owner,
        created_by=plan.created_by,
        created_at=iso(plan.created_at) or "",
        ended_at=iso(plan.ended_at),
        cancelled_by=plan.cancelled_by,
        schedule=plan.schedule,
        due_at=iso(plan.due_at),
    )


def page(reader: Reader, limit: int, cursor: str | None) -> Page:
    before = from_cursor(cursor, str) if cursor else NEWEST
    size = size_of(limit)
    plans = decoded(reader.rows("plans_newest_first", before=before, limit=size + 1))
    more = to_cursor(plans[size - 1].id) if len(plans) > size else None
    return Page([line(plan) for plan in plans[:size]], more)


def line(plan: Plan) -> PlanLine:
    """As lists and events have it."""
    return PlanLine(
        id=plan.id,
        name=plan.name,
        state=plan.state,
        reason=plan.reason,
        step=plan.step + 1,
        steps=len(plan.steps),
        step_name=plan.steps[plan.step].name,
        created_by=plan.created_by,
        created_at=iso(plan.created_at) or "",
        ended_at=iso(plan.ended_at),
    )


def _step(plan: Plan, number: int, step: PlanStep, parts: Sequence[Part]) -> PlanStepView:
    attempt = max((part.attempt for part in parts), default=0)
    is_to_come = number >= plan.step and not parts
    return PlanStepView(
        name=step.name,
        needs=step.needs,
        state=_state(plan, number, [part for part in parts if part.attempt == attempt]),
        waits_for=plan.steps[number - 1].name
        if number > plan.step and is_to_come and plan.ended_at is None
        else None,
        attempt=attempt,
        tasks=[
            _task(plan, task, [part for part in parts if part.place == place])
            for place, task in enumerate(step.tasks)
        ],
    )


def _state(plan: Plan, number: int, parts: Sequence[Part]) -> str:
    if not parts:
        if plan.ended_at is None:
            return WAITING
        failed_to_begin = number == plan.step and plan.state is PlanState.FAILED
        return TaskState.FAILED if failed_to_begin else SKIPPED
    if not all(part.is_over for part in parts):
        return RUNNING
    if all(part.has_succeeded for part in parts):
        return SKIPPED if all(part.task is None for part in parts) else TaskState.SUCCEED
    states = {part.state for part in parts if not part.has_succeeded}
    return TaskState.CANCELLED if states == {TaskState.CANCELLED} else TaskState.FAILED


def _task(plan: Plan, task: Submission, parts: Sequence[Part]) -> PlanTaskView:
    """`parts`: the same task in each attempt, the last one last."""
    view = PlanTaskView(
        name=task.name,
        targets=_targets(task),
        state=WAITING if plan.ended_at is None else SKIPPED,
    )
    if not parts:
        return view
    last = parts[-1]
    earlier = [part.task for part in parts[:-1] if part.task and part.task != last.task]
    view.earlier = list(dict.fromkeys(earlier))
    view.reason, view.task = last.reason, last.task
    view.state = SKIPPED if last.task is None else last.state or WAITING
    view.total, view.counts = sum(last.counts.values()), last.counts
    return view


def _targets(task: Submission) -> str:
    if isinstance(task.targets, str):
        text = task.targets
        return text if len(text) <= MAX_TARGETS_CHARACTERS else text[:MAX_TARGETS_CHARACTERS] + "…"
    return f"{len(task.targets)} host{'s' if len(task.targets) != 1 else ''}"
