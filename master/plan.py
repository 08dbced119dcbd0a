"""What is to become of a plan? Pure: its record and what its tasks came to in, one decision out.

A plan is at one step at a time. The step begins with all of its tasks at once; when the last of
them has ended, the plan goes on with the next step, or ends. Nothing but the records counts, so
the same decision is made after whatever was killed, and the primary key of a step's tasks says
whether it was carried out.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from wire.plans import PlanSpec, PlanState, PlanStep
from wire.states import ENDED_TASK, RunState, TaskState

SUCCEEDED, ENDED = NEEDS = ("succeeded", "ended")
ONLY_FAILED, ALL_HOSTS = AGAIN = ("failed", "all")
ALL = "all"  # hosts of a step, whatever became of them

# What counts for a host with several runs in a step: the first of these that one of them has.
WORST_FIRST = (
    RunState.FAILED,
    RunState.TIMEOUT,
    RunState.UNKNOWN,
    RunState.CANCELLED,
    RunState.SKIPPED,
    RunState.SUCCEED,
)
HOST_STATES = (*(state.lower() for state in WORST_FIRST), ALL)

_RANK = {state: rank for rank, state in enumerate(WORST_FIRST)}


class Plan(Struct, array_like=True, frozen=True, kw_only=True):
    """The row of a plan. `step` counts from 0; `attempt` of the present step, from 1."""

    id: str
    name: str
    steps: list[PlanStep]
    state: PlanState
    reason: str
    step: int
    attempt: int
    again: str  # on which hosts an attempt after the first runs: failed | all
    owner: str  # whose rights count when a step begins: who submitted or last resumed it
    owner_id: str
    created_by: str
    created_at: float
    ended_at: float | None
    cancelled_by: str | None
    key: str | None  # Idempotency-Key
    body_hash: str
    schedule: str | None = None  # that made it
    due_at: float | None = None
    key_id: str | None = None  # of the key that its secrets are sealed with; None: it has none
    row_version: int = 0


def begun(
    spec: PlanSpec,
    *,
    id: str,
    owner: str,
    owner_id: str,
    created_by: str,
    at: float,
    key: str | None = None,
    body_hash: str = "",
) -> Plan:
    """A plan before its first step."""
    return Plan(
        id=id,
        name=spec.name,
        steps=spec.steps,
        state=PlanState.RUNNING,
        reason="",
        step=0,
        attempt=1,
        again=ONLY_FAILED,
        owner=owner,
        owner_id=owner_id,
        created_by=created_by,
        created_at=at,
        ended_at=None,
        cancelled_by=None,
        key=key,
        body_hash=body_hash,
    )


class Part(Struct, frozen=True, kw_only=True):
    """One task of a step in one attempt. `task` None: it was skipped, for the `reason`.

    `counts`: its runs by state. An attempt that could take over what succeeded before names the
    same task again.
    """

    step: int
    attempt: int
    place: int  # among the tasks of the step, from 0
    task: str | None
    reason: str = ""
    state: TaskState | None = None
    counts: dict[str, int] = {}
    is_kept: bool = True  # the task has not been forgotten

    @property
    def is_over(self) -> bool:
        return self.task is None or self.state in ENDED_TASK

    @property
    def has_succeeded(self) -> bool:
        return self.task is None or self.state is TaskState.SUCCEED


class Begin(Struct, frozen=True):
    """Make the tasks of this step."""

    step: int
    attempt: int


class End(Struct, frozen=True):
    state: PlanState
    reason: str


Decision = Begin | End | None  # None: tasks are under way, or the plan has ended


def decide(plan: Plan, parts: Sequence[Part]) -> Decision:
    """`parts`: of all steps and attempts; those of others than the present are not looked at."""
    if plan.ended_at is not None:
        return None
    present = present_parts(plan, parts)
    if not all(part.is_over for part in present):
        return None
    if plan.cancelled_by is not None:
        return End(PlanState.CANCELLED, f"cancelled by {plan.cancelled_by}")
    if not present:
        return Begin(plan.step, plan.attempt)
    step = plan.steps[plan.step]
    if step.needs == SUCCEEDED and not all(part.has_succeeded for part in present):
        return End(PlanState.FAILED, f"step {step.name}: {_shortfall(present)}")
    if plan.step + 1 < len(plan.steps):
        return Begin(plan.step + 1, 1)
    return End(PlanState.SUCCEED, _went_on(plan, parts))


def present_parts(plan: Plan, parts: Iterable[Part]) -> list[Part]:
    return [part for part in parts if (part.step, part.attempt) == (plan.step, plan.attempt)]


def _shortfall(parts: Sequence[Part]) -> str:
    """Such as "2 FAILED and 1 TIMEOUT of 10 runs"."""
    total = sum(sum(part.counts.values()) for part in parts)
    short = {
        state: sum(part.counts.get(state, 0) for part in parts)
        for state in WORST_FIRST
        if state is not RunState.SUCCEED
    }
    told = [f"{count} {state}" for state, count in short.items() if count]
    if told:
        return f"{' and '.join(told)} of {total} run{'s' if total != 1 else ''}"
    states = [str(part.state) for part in parts if not part.has_succeeded]
    return f"{len(states)} of {len(parts)} tasks {', '.join(sorted(set(states)))}"


def _went_on(plan: Plan, parts: Sequence[Part]) -> str:
    """Which steps only had to end, and did not succeed; "" for none."""
    last = {part.step: part.attempt for part in parts}
    short = {
        part.step for part in parts if part.attempt == last[part.step] and not part.has_succeeded
    }
    names = ", ".join(plan.steps[step].name for step in sorted(short))
    return f"went on though not all of {names} succeeded" if names else ""


# ---- what a step came to, host by host


class HostRun(Struct, frozen=True, array_like=True):
    """A run of a step. `place` and `attempt` are those of its task."""

    place: int
    attempt: int
    agent: str
    state: RunState


def states_of_hosts(runs: Iterable[HostRun]) -> dict[str, RunState]:
    """One state a host: of each task of the step its latest run, and the worst of these."""
    latest: dict[tuple[int, str], HostRun] = {}
    for run in runs:
        known = latest.get((run.place, run.agent))
        if known is None or run.attempt >= known.attempt:
            latest[run.place, run.agent] = run
    worst: dict[str, RunState] = {}
    for run in latest.values():
        known_state = worst.get(run.agent, run.state)
        worst[run.agent] = min(known_state, run.state, key=_rank)
    return worst


def hosts_by_state(states: Mapping[str, RunState]) -> dict[str, set[str]]:
    """{failed: ids, …, all: ids}; each host is in exactly one of them, and in `all`."""
    found: dict[str, set[str]] = {state: set() for state in HOST_STATES}
    for agent, state in states.items():
        found[ALL].add(agent)
        if state in _RANK:
            found[state.lower()].add(agent)
    return found


def _rank(state: RunState) -> int:
    return _RANK.get(state, len(_RANK))


def variables(step: str, hosts: Mapping[str, set[str]]) -> dict[str, str]:
    """What scripts of later steps are told: MSCHEDULE_STEP_NAME_FAILED and so on."""
    return {f"{variable(step)}_{state.upper()}": str(len(ids)) for state, ids in hosts.items()}


def variable(step: str) -> str:
    """The beginning of the names of a step's variables."""
    return "MSCHEDULE_STEP_" + re.sub(r"[^A-Z0-9]", "_", step.upper())
