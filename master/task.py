"""How many runs at once, how much failure is too much, and how did a task end? Pure functions.

Failures are FAILED, TIMEOUT and UNKNOWN. A run that was killed because the limit was reached is
CANCELLED and counts as none. A limit is exceeded by more than it names, never by as much.
"""

import math
from fractions import Fraction

from msgspec.structs import replace

from master.records import Task
from wire.states import RUN_FAILURES, AgentState, RunState, Stop, TaskState

FAN_OUT, QUEUE = "fan_out", "queue"  # the modes of a task
TELLING = 100  # runs of a queue that must have ended before its fail_rate is looked at
CAME_TOO_LATE = "every run succeeded, the cancel came too late"


def resolve_parallel(parallel: int | str, total: int) -> int:
    """How many runs at once: a number (0 is all), or a share of the targets such as "25%".

    A share is rounded up and is at least 1. Raises ValueError with what would be right.
    """
    if isinstance(parallel, str):
        return max(1, math.ceil(Fraction(_percent(parallel)) * total / 100))
    if isinstance(parallel, bool) or parallel < 0:
        raise ValueError(f'is {parallel!r}; it is 0 for all, a number above 0, or "1%" to "100%"')
    return parallel


def _percent(text: str) -> int:
    digits = text.removesuffix("%")
    plain = text.endswith("%") and digits.isascii() and digits.isdigit() and len(digits) <= 3
    if not plain or not 1 <= int(digits) <= 100:
        raise ValueError(f'is {text!r}; a share of the targets is written "1%" to "100%"')
    return int(digits)


# ---- counters


def count(task: Task, moved_from: RunState, moved_to: RunState, number: int = 1) -> Task:
    """The task with `number` of its runs counted under another state."""
    return replace(
        task,
        **{
            moved_from.lower(): getattr(task, moved_from.lower()) - number,
            moved_to.lower(): getattr(task, moved_to.lower()) + number,
        },
    )


def counts(task: Task) -> dict[RunState, int]:
    """The number of the task's runs in each state; they sum to its total."""
    return {state: getattr(task, state.lower()) for state in RunState}


def failures(task: Task) -> int:
    return sum(getattr(task, state.lower()) for state in RUN_FAILURES)


# ---- limits


def limit_exceeded(task: Task) -> str | None:
    """Why the task must stop, in a sentence; None: its failures are within what it tolerates."""
    failed = failures(task)
    of = _measured(task)
    most = _most_tolerated(task, of)
    if most is None or failed <= most:
        return None
    return f"{failed} of {of or task.total} runs failed, more than {_limits_in_words(task)} allows"


def _measured(task: Task) -> int | None:
    """Of how many runs `fail_rate` is a share just now; None: of too few to say.

    A fan-out has a list of hosts from the start. A queue may have a million items, of which those
    that were tried to an end tell how it goes, and a handful tells nothing.
    """
    if task.mode != QUEUE:
        return task.total
    ended = task.succeed + failures(task)
    return ended if ended >= TELLING else None


def _most_tolerated(task: Task, of: int | None) -> Fraction | None:
    """The most runs that may fail; of two limits the tighter one, as that is exceeded first.

    `of`: see `_measured`. None: no limit was given, or none can be judged yet; fail_count -1 says
    that failures never stop this task.
    """
    if task.fail_count is not None and task.fail_count < 0:
        return None
    limits = []
    if task.fail_count is not None:
        limits.append(Fraction(task.fail_count))
    if task.fail_rate is not None and of is not None:
        # The decimal that a person wrote: as a float, 0.29 of 100 would be less than 29.
        limits.append(Fraction(repr(task.fail_rate)) * of)
    return min(limits, default=None)


def _limits_in_words(task: Task) -> str:
    given = {"fail_count": task.fail_count, "fail_rate": task.fail_rate}
    return " and ".join(f"{name} {value}" for name, value in given.items() if value is not None)


# ---- the end


def verdict(task: Task) -> tuple[TaskState, str] | None:
    """How the task ended, and why; None: some of its runs have not ended yet."""
    if task.waiting or task.running or task.open:
        return None
    if task.succeed == task.total:
        return TaskState.SUCCEED, CAME_TOO_LATE if task.stop is Stop.CANCEL else ""
    if task.stop is Stop.CANCEL:
        by = task.cancelled_by
        return TaskState.CANCELLED, "cancelled" if by is None else f"cancelled by {by}"
    if exceeded := limit_exceeded(task):
        return TaskState.FAILED, exceeded
    if task.stop is Stop.LIMIT:  # a failure that counted then was disproved later
        return TaskState.FAILED, task.reason
    return _within(task)


def _within(task: Task) -> tuple[TaskState, str]:
    """The end of a task that nothing stopped, though not every run succeeded."""
    missed = task.total - task.succeed
    said = f"{missed} of {task.total} runs did not succeed"
    most = _most_tolerated(task, task.total)
    if most is not None and missed <= most:
        return TaskState.SUCCEED, f"{said}, which {_limits_in_words(task)} allows"
    return TaskState.FAILED, said


# ---- why a run is where it is


def waiting_reason(
    task: Task,
    agent: AgentState,
    *,
    free: int | None,
    held: str | None = None,
    released: bool = True,
) -> str:
    """Why a WAITING run waits, for people.

    `free`: slots the agent said it has, None when it has not said. `held`: why the master
    hands nothing out to anybody, None when it does. `released`: its wave has begun.
    """
    if task.state is TaskState.PAUSED:
        return "paused"
    if not released:
        return "its wave has not begun"
    if held is not None:
        return f"hand-outs are held: {held}"
    if agent is AgentState.OFFLINE:
        return "the host is offline"
    if not has_place(task):
        return f"waits for one of {task.parallel} parallel places"
    if free == 0:
        return "all slots of the host are busy"
    return "about to be handed out"


def has_place(task: Task) -> bool:
    """May one more of the task's runs be alive?"""
    return task.parallel == 0 or task.running < task.parallel


def may_hand_out(task: Task) -> bool:
    """Does the task hand out runs at all? It says nothing of places."""
    return task.stop is None and task.state in (TaskState.WAITING, TaskState.RUNNING)
