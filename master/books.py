"""What must change together when runs move? Counters, limits and ends of tasks, kept in step.

A run of a queue that fails may wait again; that is decided here too, for whatever made it fail.

A decision makes its single moves in Books and closes them: that counts every move in the run's
task, and then looks once at each task whether its limit is exceeded and whether it has ended.
Moves of all runs of a task at once are not made one by one, but described by a Sweep.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from master import queue_retry
from master.queue_retry import LAPSED
from master.records import Agent, Attempt, Queue, Run, Task
from master.state import move_run, move_task
from master.task import count, limit_exceeded, verdict
from wire.states import ENDED_RUN, ENDED_TASK, RunState, Stop, Want

Queues = Mapping[str, Queue]
NO_QUEUES: Queues = {}


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
    queues: tuple[Queue, ...] = ()
    attempts: tuple[Attempt, ...] = ()


class Books:
    """The tasks and runs that a decision changes; every move of a run is counted here.

    Single moves come first. What follows from them for a task (its limit is exceeded, it has
    ended) is decided once, by `close`.
    """

    def __init__(self, tasks: Mapping[str, Task], now: float, queues: Queues = NO_QUEUES):
        """`queues`: those of the tasks that are one."""
        self.now = now
        self._tasks = dict(tasks)
        self._queues = dict(queues)
        self._paced: dict[str, None] = {}  # queues that changed
        self._attempts: list[Attempt] = []
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

    def lose(self, run: Run, reason: str) -> Run:
        """A RUNNING run whose agent is not heard of, or is none any more. A queue's is handed out
        again while it has attempts left, any other is UNKNOWN until its agent tells."""
        if self._may_wait_again(run, RunState.UNKNOWN):
            return self._again(run, LAPSED, reason, self.now)
        return self.move(run, RunState.UNKNOWN, reason)

    def settle_unknown(self, run: Run, reason: str) -> Run:
        """Nothing more can be learnt about this run, or this attempt."""
        if self._may_wait_again(run, RunState.UNKNOWN):
            return self._again(run, RunState.UNKNOWN, reason, self.now)
        if run.state is not RunState.UNKNOWN:
            run = self.move(run, RunState.UNKNOWN, reason)
        return self.note(replace(run, reason=reason, settled=True))

    def prove(self, run: Run, to: RunState, reason: str, **facts: Any) -> Run:
        """What the agent says of a run. UNKNOWN is also something it may say, for good."""
        if self._may_wait_again(run, to, facts.get("code")):
            queue, pause = self._queues[run.task], 0.0
            if to is not RunState.UNKNOWN:
                pause = queue_retry.pause_after(queue, run.tries)
            return self._again(run, to, reason, self.now + pause, told=True, **facts)
        if run.state is RunState.WAITING:
            run = self.move(run, RunState.UNKNOWN, reason)
        if self._stays_given_up(run, to):
            to = RunState.UNKNOWN
        if to is RunState.UNKNOWN:
            run = self.settle_unknown(run, reason)
        else:
            run = self.move(run, to, reason)
        facts = {**facts, "ended_at": facts.get("ended_at") or run.ended_at}
        run = self.note(replace(run, settled=True, **facts))
        self._time(run)
        return run

    def record(self, attempt: Attempt) -> None:
        """What is known of an attempt that was followed by another."""
        self._attempts.append(attempt)

    def put_back(self, run: Run) -> Run:
        """A run of a queue that had failed for good gets its attempts again."""
        run = self._again(run, run.state, run.reason, self.now, told=run.settled)
        return self.note(replace(run, tries=1, reason="put back"))

    def close(self, agent: Agent | None = None) -> Change:
        tasks, sweeps = [], []
        for task_id in self._touched:
            task, sweep = _consequences(self._tasks[task_id], self.now)
            tasks.append(task)
            if sweep is not None:
                sweeps.append(sweep)
        return Change(
            agent=agent,
            tasks=tuple(tasks),
            runs=tuple(self._runs.values()),
            sweeps=tuple(sweeps),
            queues=tuple(self._queues[id] for id in self._paced),
            attempts=tuple(self._attempts),
        )

    def _may_wait_again(self, run: Run, to: RunState, code: int | None = None) -> bool:
        queue = self._queues.get(run.task)
        if queue is None or run.state is not RunState.RUNNING:
            return False
        return queue_retry.may_wait_again(self.task(run), queue, run, to, code, self.now)

    def _stays_given_up(self, run: Run, to: RunState) -> bool:
        """Has the last attempt of an item, after which it was given up, turned out never to have
        begun? The attempts before it did, and the item was not left out: it can be put back."""
        given_up = run.task in self._queues and run.state is RunState.UNKNOWN
        return given_up and to is RunState.SKIPPED

    def _again(
        self,
        run: Run,
        state: str,
        reason: str,
        due_at: float,
        *,
        told: bool = False,
        **facts: Any,
    ) -> Run:
        """The attempt is over, the run waits for the next."""
        self._count(run, RunState.WAITING)
        if run.grant is not None:  # None: of a store that is no more
            self._attempts.append(queue_retry.attempt_of(run, state, reason, told=told, **facts))
        self._put(queue_retry.with_retry(self._queues[run.task], due_at))
        return self.note(queue_retry.waiting_again(run, state, reason, due_at, **facts))

    def _time(self, run: Run) -> None:
        """Remember the slowest runs of a queue."""
        if (queue := self._queues.get(run.task)) is not None:
            self._put(queue_retry.with_slow(queue, run))

    def _put(self, queue: Queue) -> None:
        if queue != self._queues[queue.id]:
            self._queues[queue.id] = queue
            self._paced[queue.id] = None

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
        task = replace(task, stop=Stop.LIMIT, reason=reason, open=False)
    return ended(task, now), sweep


def without_waiting(task: Task, reason: str, now: float) -> Change:
    """Skip all that waits of the task; what runs goes on. A queue takes no more items, and tries
    nothing again."""
    sweep = sweep_of(task, RunState.SKIPPED, reason, None, now)
    task = count(replace(task, open=False), RunState.WAITING, RunState.SKIPPED, task.waiting)
    return Change(tasks=(ended(task, now),), sweeps=(sweep,))


def with_rest(queue: Queue, sweep: Sweep) -> Queue:
    """The queue after a sweep of what waits: its items that nobody took have come to that end."""
    if sweep.to is None or queue.rest is not None:
        return queue
    return replace(queue, rest=sweep.to, rest_reason=sweep.reason, retry_at=None)


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
