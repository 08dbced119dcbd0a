"""What is asked and answered about plans? Tasks in steps, one step after another."""

from enum import StrEnum

from msgspec import Struct

from wire.requests import Auth, Submission


class PlanState(StrEnum):
    RUNNING = "RUNNING"
    SUCCEED = "SUCCEED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


# ---- what people say


class PlanStep(Struct, forbid_unknown_fields=True):
    """One or several tasks that begin at once. The next step needs all of them to have
    `succeeded`, or only to have `ended`.

    The targets of a task may name hosts by what became of them in an earlier step:
    `@STEP:failed`, and in the same way succeed, timeout, unknown, cancelled, skipped and all.
    """

    name: str
    tasks: list[Submission]
    needs: str = "succeeded"  # or "ended"


class PlanSpec(Struct, forbid_unknown_fields=True, kw_only=True):
    """A plan as a person submits it. Only that of a schedule may have no name, and gets its."""

    name: str = ""
    steps: list[PlanStep]


# ---- what the web asks


class AddPlan(Struct):
    auth: Auth
    spec: PlanSpec
    key: str | None = None  # Idempotency-Key


class ListPlans(Struct):
    """Newest first."""

    auth: Auth
    limit: int = 100
    cursor: str | None = None


class ResumePlan(Struct):
    """Take up a plan that failed or was cancelled at its present step. What succeeded of the step
    is kept; the other tasks run again on the hosts that did not succeed (`failed`), or on `all`
    that their targets name now."""

    auth: Auth
    id: str
    hosts: str = "failed"


# ---- what the master answers


class PlanAdded(Struct):
    """`created` False: the same key had made this plan before."""

    id: str
    created: bool


class PlanTaskView(Struct):
    """A task of a step. `state`: that of the task, WAITING before it is made, or SKIPPED with the
    reason. `earlier`: the tasks of former attempts, oldest first."""

    name: str
    targets: str
    state: str
    reason: str = ""
    task: str | None = None
    total: int = 0
    counts: dict[str, int] = {}
    earlier: list[str] = []


class PlanStepView(Struct):
    """`state`: WAITING, RUNNING, SUCCEED, FAILED, CANCELLED or SKIPPED (it never began).

    A step that only has to end may be FAILED while the plan goes on. `attempt`: how often it has
    begun; 0: not yet.
    """

    name: str
    needs: str
    state: str
    waits_for: str | None  # name of the step before, while that is not over
    attempt: int
    tasks: list[PlanTaskView]


class PlanRights(Struct):
    """What the person who asks may do with a plan. `cancel` counts while it goes on; `resume`, once
    it failed or was cancelled, has the `hosts` that may be named: failed, all."""

    cancel: bool
    resume: list[str]


class PlanView(Struct):
    """`step`: the number of the present step, from 1, or of the last that began.

    `reason`: why it ended as it did. `owner`: with whose rights its steps begin. `may` is there
    when one plan was asked for.
    """

    id: str
    name: str
    state: str
    reason: str
    step: int
    steps: list[PlanStepView]
    owner: str
    created_by: str
    created_at: str
    ended_at: str | None
    cancelled_by: str | None = None
    schedule: str | None = None  # id of the schedule that made it
    due_at: str | None = None
    may: PlanRights | None = None


class PlanLine(Struct):
    """A plan in a list. `steps`: how many it has; `step_name`: the name of the present one."""

    id: str
    name: str
    state: str
    reason: str
    step: int
    steps: int
    step_name: str
    created_by: str
    created_at: str
    ended_at: str | None
