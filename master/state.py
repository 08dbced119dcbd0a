"""Which moves may a run, a task and an agent make? One table each, for every change of state.

A run that was WAITING moves on through UNKNOWN when an agent proves that it was handed out
by a store that no longer remembers it. UNKNOWN is an ended state with one exception: what its
agent can prove replaces it, once.
"""

from wire.states import ENDED_RUN, ENDED_TASK, RUN_FAILURES, RunState, Standing, TaskState

RunMove = tuple[RunState, RunState]
TaskMove = tuple[TaskState, TaskState]
StandingMove = tuple[Standing, Standing]

_PROVEN = ENDED_RUN - {RunState.UNKNOWN}

RUN_MOVES: frozenset[RunMove] = frozenset(
    {
        (RunState.WAITING, RunState.RUNNING),  # handed out
        (RunState.WAITING, RunState.CANCELLED),
        (RunState.WAITING, RunState.SKIPPED),  # limit reached, expired, host gone
        (RunState.WAITING, RunState.UNKNOWN),  # handed out before the store was restored
    }
    | {(RunState.RUNNING, end) for end in ENDED_RUN}
    | {(RunState.UNKNOWN, end) for end in _PROVEN}
)

# A run of a queue may wait again: for its next attempt, or because a person has put it back.
WAITS_AGAIN: frozenset[RunState] = frozenset({RunState.RUNNING}) | RUN_FAILURES

TASK_MOVES: frozenset[TaskMove] = frozenset(
    {
        (TaskState.WAITING, TaskState.RUNNING),
        (TaskState.WAITING, TaskState.PAUSED),
        (TaskState.RUNNING, TaskState.PAUSED),
        (TaskState.PAUSED, TaskState.WAITING),
        (TaskState.PAUSED, TaskState.RUNNING),
    }
    | {
        (begin, end)
        for begin in (TaskState.WAITING, TaskState.RUNNING, TaskState.PAUSED)
        for end in ENDED_TASK
    }
)

STANDING_MOVES: frozenset[StandingMove] = frozenset(
    {
        (Standing.PENDING, Standing.ENROLLED),  # accepted
        (Standing.ENROLLED, Standing.QUARANTINED),
        (Standing.QUARANTINED, Standing.ENROLLED),  # with a new key
        (Standing.REVOKED, Standing.ENROLLED),  # with a new key
        (Standing.ENROLLED, Standing.REVOKED),
        (Standing.QUARANTINED, Standing.REVOKED),
    }
    | {(begin, Standing.DELETED) for begin in Standing if begin is not Standing.DELETED}
)


class IllegalMove(Exception):
    """A move that the table does not have. Nothing was changed."""

    def __init__(self, entity: str, state: str, event: str):
        super().__init__(f"{entity} is {state} and can't become {event}")
        self.entity = entity
        self.state = state
        self.event = event


def move_run(run: str, state: RunState, to: RunState) -> RunState:
    """`to`, if the run (its id is for the error) may become that; raises IllegalMove."""
    if (state, to) not in RUN_MOVES:
        raise IllegalMove(f"run {run}", state, to)
    return to


def wait_again(run: str, state: RunState) -> RunState:
    """WAITING, if this run of a queue (its id is for the error) may; raises IllegalMove."""
    if state not in WAITS_AGAIN:
        raise IllegalMove(f"run {run}", state, RunState.WAITING)
    return RunState.WAITING


def move_task(task: str, state: TaskState, to: TaskState) -> TaskState:
    """`to`, if the task (its id is for the error) may become that; raises IllegalMove."""
    if (state, to) not in TASK_MOVES:
        raise IllegalMove(f"task {task}", state, to)
    return to


def move_standing(agent: str, standing: Standing, to: Standing) -> Standing:
    """`to`, if the agent (its id is for the error) may become that; raises IllegalMove."""
    if (standing, to) not in STANDING_MOVES:
        raise IllegalMove(f"agent {agent}", standing, to)
    return to


def table() -> str:
    """All of them as Markdown, for the documentation: one line a state, in the order of wire/."""
    lines = ["| a run that is | may become |", "|---|---|"]
    for state in RunState:
        lines.append(f"| {state} | {_names([to for to in RunState if (state, to) in RUN_MOVES])} |")
    lines += ["", "| a run of a queue that is | may become besides |", "|---|---|"]
    lines += [f"| {state} | {RunState.WAITING} |" for state in RunState if state in WAITS_AGAIN]
    lines += ["", "| a task that is | may become |", "|---|---|"]
    for begin in TaskState:
        lines.append(
            f"| {begin} | {_names([to for to in TaskState if (begin, to) in TASK_MOVES])} |"
        )
    lines += ["", "| an agent that is | may become |", "|---|---|"]
    for first in Standing:
        lines.append(
            f"| {first} | {_names([to for to in Standing if (first, to) in STANDING_MOVES])} |"
        )
    return "\n".join(lines) + "\n"


def _names(states: list[RunState] | list[TaskState] | list[Standing]) -> str:
    return ", ".join(states) or "nothing"
