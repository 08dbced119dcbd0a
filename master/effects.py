"""How does what a decision returned come into the store, and what has the hub to know of it?"""

from collections.abc import Iterable, Iterator

from master import callbacks
from master.books import Change, Sweep, swept, with_rest
from master.changes import Changed, QueueState
from master.queue_claim import state_of
from master.records import Agent, Attempt, Queue, Run, Task
from master.rolling import rolled
from master.rows import AgentRow, QueueRow, TaskRow
from master.task import QUEUE
from master.transaction import Tx
from wire.errors import NotFound
from wire.states import ENDED_TASK, RunState


class Effects:
    """Applies changes to the transaction and remembers what the hub has to know of them."""

    def __init__(self, tx: Tx):
        self._tx = tx
        self._tasks: dict[str, Task] = {}
        self._runs: dict[str, Run] = {}
        self._wake: dict[str, None] = {}
        self._ended: dict[str, None] = {}
        self._freed: dict[str, None] = {}
        self._moved: dict[str, None] = {}
        self._queues: dict[str, None] = {}

    def apply(self, change: Change | None) -> None:
        """First the single runs and tasks, then the sweeps, as the decision counted them."""
        if change is None:
            return
        if change.agent is not None:
            self.agent(change.agent)
        for run in change.runs:
            self.run(run)
        for attempt in change.attempts:
            self.attempt(attempt)
        for task in change.tasks:
            self.task(task)
        for queue in change.queues:
            self.queue(queue)
        for sweep in change.sweeps:
            self._sweep(sweep)
        for task in change.tasks:
            self.task(rolled(self._tx, task_of(self._tx, task.id)))

    def agent(self, agent: Agent) -> None:
        if agent != self._tx.agent(agent.id):
            self._tx.put(agent)

    def task(self, task: Task) -> None:
        before = self._tx.task(task.id)
        assert before is not None
        if task == before:
            return
        self._tx.put(task)
        self._tasks[task.id] = task
        callbacks.note_task(self._tx, before, task)
        if task.state in ENDED_TASK and before.state not in ENDED_TASK:
            self._ended[task.id] = None
        if task.running < before.running and task.waiting:
            self._freed[task.id] = None

    def run(self, run: Run) -> None:
        """A run of which something is wanted now wakes its agent."""
        before = self._tx.run(run.id)
        if run == before:
            return
        self._tx.put(run)
        self._runs[run.id] = run
        if before is not None and run.want != before.want:
            self._wake[run.agent] = None

    def new_run(self, run: Run) -> None:
        """One that is handed out as it is made."""
        self._runs[run.id] = self._tx.add_run(run)

    def queue(self, queue: Queue) -> None:
        if queue != self._tx.queue(queue.id):
            self._tx.put(queue)
            self._queues[queue.id] = None

    def attempt(self, attempt: Attempt) -> None:
        if self._tx.attempt(attempt.id) is None:
            self._tx.add_attempt(attempt)
        else:
            self._tx.put(attempt)

    def changed(self) -> Changed:
        return Changed(
            tasks=tuple(self._tasks.values()),
            runs=tuple(self._runs.values()),
            wake=tuple(self._wake),
            ended=tuple(self._ended),
            freed=tuple(self._freed),
            moved=tuple(self._moved),
            queues=tuple(self._states()),
        )

    def _states(self) -> Iterator[QueueState]:
        queues = [task.id for task in self._tasks.values() if task.mode == QUEUE]
        for id in dict.fromkeys([*queues, *self._queues]):
            queue = self._tx.queue(id)
            assert queue is not None
            yield state_of(task_of(self._tx, id), queue, self._tx.now)

    def _sweep(self, sweep: Sweep) -> None:
        task = task_of(self._tx, sweep.task)
        if sweep.want is not None:
            for run in self._tx.runs_of_task(task, RunState.RUNNING, RunState.UNKNOWN):
                self.run(swept(run, sweep))
        if sweep.to is not None:
            self._tx.sweep_waiting(sweep)
            self._moved[sweep.task] = None
            if (queue := queue_of(self._tx, task)) is not None:
                self.queue(with_rest(queue, sweep))


# ---- fetching what a decision needs


def agent_of(tx: Tx, id: str) -> AgentRow:
    agent = tx.agent(id)
    if agent is None:
        raise NotFound(f"no agent has the id {id}")
    return agent


def task_of(tx: Tx, id: str) -> TaskRow:
    task = tx.task(id)
    if task is None:
        raise NotFound(f"no task has the id {id}")
    return task


def queue_of(tx: Tx, task: Task) -> QueueRow | None:
    """None: the task is no queue."""
    return tx.queue(task.id) if task.mode == QUEUE else None


def queues_of(tx: Tx, tasks: Iterable[Task]) -> dict[str, Queue]:
    """Of the tasks that are one."""
    found = {task.id: queue_of(tx, task) for task in tasks}
    return {id: queue for id, queue in found.items() if queue is not None}
