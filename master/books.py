"""What must change together when runs move? Counters, limits and ends of tasks, kept in step.

A decision makes its single moves in Books and closes them: that counts every move in the run's
task, and then looks once at each task whether its limit is exceeded and whether it has ended.
Moves of all runs of a task at once are not made one by one, but described by a Sweep.
"""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from master.records import Agent, Run, Task
from master.state import move_run, move_task
from master.task import count, limit_exceeded, verdict
from wire.states import ENDED_RUN, ENDED_TASK, RunState, Stop, Want


class Sweep(Struct, frozen=True, kw_only=True):
    """One move of many runs of a task, to be made in one statement, after the single runs.

    `to`: what the WAITING ones become, None to leave them. `want`: what is wanted of those that
    are RUNNING, or UNKNOWN and not settled, and of which nothing but SKIP is wanted yet; None to
    leave them. The task's counters have it already.
    """

    task: str
    to: RunState | None
    reason: str
    want: Want | None
    at: float
    by: str | None = None  # the person who cancelled


class Change(Struct, frozen=True, kw_only=True):
    """The records as they are to be written; first `runs` and `tasks`, then `sweeps`."""

    agent: Agent | None = None  # None: as it was
    tasks: tuple[Task, ...] = ()
    runs: tuple[Run, ...] = ()
    sweeps: tuple[Sweep, ...] = ()


class Books:
    """The tasks and runs that a decision changes; every move of a run is counted here.

    Single moves come first. What follows from them for a task (its limit is exceeded, it has
    ended) is decided once, by `close`.
    """

    def __init__(self, tasks: Mapping[str, Task], now: float):
        self.now = now
        self._tasks = dict(tasks)
        self._touched: dict[str, None] = {}
        self._runs: dict[str, Run] = {}

    def task(self, run: Run) -> Task:
        return self._tasks[run.task]

    def look_at(self, task: str) -> None:
        """Its limits have changed: see what follows, though no run moves."""
        self._touched[task] = None

    def note(self, run: Run) -> Run:
        """A run that changed without moving."""
        self._runs[run.id] = run
        return run

    def move(self, run: Run, to: RunState, reason: str) -> Run:
        self._count(run, to)
        ended_at = self.now if to in ENDED_RUN else None
        state = move_run(run.id, run.state, to)
        return self.note(replace(run, state=state, reason=reason, ended_at=ended_at))

    def settle_unknown(self, run: Run, reason: str) -> Run:
        """Nothing more can be learnt about this run."""
        if run.state is not RunState.UNKNOWN:
            run = self.move(run, RunState.UNKNOWN, reason)
        return self.note(replace(run, reason=reason, settled=True))

    def prove(self, run: Run, to: RunState, reason: str, **facts: object) -> Run:
        """What the agent says of a run. UNKNOWN is also something it may say, for good."""
        if run.state is RunState.WAITING:
            run = self.move(run, RunState.UNKNOWN, reason)
        if to is RunState.UNKNOWN:
            run = self.settle_unknown(run, reason)
        else:
            run = self.move(run, to, reason)
        facts = {**facts, "ended_at": facts.get("ended_at") or run.ended_at}
        return self.note(replace(run, settled=True, **facts))

    def close(self, agent: Agent | None = None) -> Change:
        tasks, sweeps = [], []
        for task_id in self._touched:
            task, sweep = _consequences(self._tasks[task_id], self.now)
            tasks.append(task)
            if sweep is not None:
                sweeps.append(sweep)
        runs = tuple(self._runs.values())
        return Change(agent=agent, tasks=tuple(tasks), runs=runs, sweeps=tuple(sweeps))

    def _count(self, run: Run, to: RunState) -> None:
        """A task that has ended is not reopened, and its counters stay as they were."""
        task = self._tasks[run.task]
        if task.state not in ENDED_TASK:
            self._tasks[task.id] = count(task, run.state, to)
            self._touched[task.id] = None


def _consequences(task: Task, now: float) -> tuple[Task, Sweep | None]:
    """Stop the task if its limit is exceeded, end it if its last run has ended."""
    sweep = None
    reason = limit_exceeded(task) if task.stop is None else None
    if reason is not None:
        want = Want.LIMIT if task.on_limit == "kill" else None
        if task.waiting or want is not None:
            sweep = sweep_of(task, RunState.SKIPPED, reason, want, now)
        task = count(task, RunState.WAITING, RunState.SKIPPED, task.waiting)
        task = replace(task, stop=Stop.LIMIT, reason=reason)
    return ended(task, now), sweep


def ended(task: Task, now: float) -> Task:
    """The task with its verdict, if all its runs have ended.

    So has one that is only being submitted, if every target was skipped.
    """
    end = verdict(task)
    if end is None or task.state in ENDED_TASK:
        return task
    state, reason = end
    return replace(task, state=move_task(task.id, task.state, state), reason=reason, ended_at=now)


def is_open(run: Run) -> bool:
    """Was it handed out, and may more be learnt about it?"""
    return run.state is RunState.RUNNING or (run.state is RunState.UNKNOWN and not run.settled)


def may_learn(run: Run) -> bool:
    """Can evidence from the agent still change what is said of the run?

    Also of one that WAITS: it was handed out by a store that is no more.
    """
    return run.state not in ENDED_RUN or run.state is RunState.UNKNOWN


def swept(run: Run, sweep: Sweep) -> Run:
    """The run as the sweep leaves it; the same record if it does not concern it."""
    if run.task != sweep.task:
        return run
    if run.state is RunState.WAITING and sweep.to is not None:
        state = move_run(run.id, run.state, sweep.to)
        by = sweep.by or run.cancelled_by
        return replace(run, state=state, reason=sweep.reason, ended_at=sweep.at, cancelled_by=by)
    if is_open(run) and sweep.want is not None:
        return wanted(run, sweep.want, sweep.by)
    return run


def wanted(run: Run, want: Want, by: str | None = None) -> Run:
    """The run, with something wanted of it; what was wanted first stays, unless it was SKIP.

    `by`: the person who cancelled it.
    """
    if run.want not in (None, Want.SKIP):
        return run
    if want is Want.SKIP:
        return replace(run, want=want)
    return replace(run, want=want, reason=being_stopped(by), cancelled_by=by)


def being_stopped(by: str | None) -> str:
    return "being stopped" if by is None else f"being stopped, {cancelled(by)}"


def cancelled(by: str | None, told: str = "cancelled") -> str:
    """What is told of a cancel ("cancelled and killed"), with who wanted it."""
    if by is None or not told.startswith("cancelled"):
        return told
    return told.replace("cancelled", f"cancelled by {by}", 1)


def sweep_of(
    task: Task,
    to: RunState | None,
    reason: str,
    want: Want | None,
    now: float,
    by: str | None = None,
) -> Sweep:
    return Sweep(task=task.id, to=to, reason=reason, want=want, at=now, by=by)
