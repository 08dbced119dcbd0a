"""What does an agent take from the queues that it is offered? Fetch, decide, put; one run a turn.

The rules are in master/queue_claim.py. Who is offered what, and whose turn is first, is the
hub's to say; whether there is a place, a token and an item is decided here, by the rows.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from master.effects import Effects, agent_of, task_of
from master.handout import Sent
from master.ids import new_id
from master.queue_claim import Taken, filled, may_take, state_of, take_again, take_item, untaken
from master.queue_retry import attempt_id, content_of
from master.records import Item, Run
from master.rows import QueueRow, TaskRow
from master.specs import Specs
from master.transaction import Tx
from wire.messages import Poll
from wire.states import RunState

ANSWER_CHARACTERS = 2 << 20  # of scripts and items in one answer, or one run with more


class Turns:
    """One agent's claims from queues, in one poll."""

    def __init__(self, tx: Tx, effects: Effects, agent: str, asked: Poll, specs: Specs):
        self._tx = tx
        self._effects = effects
        self._specs = specs
        self._room = ANSWER_CHARACTERS
        self._agent = agent
        self._instance = asked.instance
        self._held: defaultdict[str, list[int]] = defaultdict(list)  # attempts by run
        for held in asked.held:
            self._held[held.run].append(held.attempt)
        running = (run for run in tx.open_runs(agent) if run.state is RunState.RUNNING)
        self._alive = Counter(run.task for run in running)

    def take(self, tasks: Sequence[str], places: int) -> list[Sent]:
        """One run of each of these queues in turn, until the places are filled, no queue gives
        anything, or the answer is long enough: the rest is for the next poll."""
        sent: list[Sent] = []
        giving = list(tasks)
        while giving:
            for task in list(giving):
                if len(sent) == places or self._room <= 0:
                    return sent
                if (one := self._one(task)) is None:
                    giving.remove(task)
                else:
                    sent.append(one)
        return sent

    def could_take(self, tasks: Iterable[str]) -> bool:
        """Would any of these queues give the agent one more now, if it had a place?"""
        return any(self._gives(task) for task in tasks)

    def _gives(self, id: str) -> bool:
        found = self._open(id)
        return found is not None and state_of(*found, self._tx.now).takable

    def _open(self, id: str) -> tuple[TaskRow, QueueRow] | None:
        """The task and its queue, if the agent may take from it."""
        task, queue = self._tx.task(id), self._tx.queue(id)
        if task is None or queue is None:
            return None
        agent, alive = agent_of(self._tx, self._agent), self._alive[id]
        may = may_take(task, queue, agent, self._instance, alive, self._tx.now)
        return (task, queue) if may else None

    def _one(self, id: str) -> Sent | None:
        found = self._open(id)
        if found is None:
            return None
        task, queue = found
        due = self._due(task, queue)
        if due is not None:
            return self._again(task, queue, due)
        return self._next(task, self._tx.queue(id) or queue)

    def _due(self, task: TaskRow, queue: QueueRow) -> Run | None:
        """The first run whose next attempt is due. Not one that the agent still holds of an
        attempt before: the two would run side by side on one host."""
        if queue.retry_at is None or queue.retry_at > self._tx.now:
            return None
        waiting = self._tx.due_runs(task)
        if not waiting or (waiting[0].due_at or 0.0) > self._tx.now:
            self._note_retries(task)
        for run in waiting:
            if (run.due_at or 0.0) > self._tx.now:
                break
            if not self._works_on(run):
                return run
        return None

    def _works_on(self, run: Run) -> bool:
        """Has the agent an attempt of it that has not ended? A poll that waits may be older than
        the result of what it holds: that is over."""
        ids = (attempt_id(run.id, number) for number in self._held.get(run.id, ()))
        attempts = (self._tx.attempt(id) for id in ids)
        return any(attempt is None or not attempt.told for attempt in attempts)

    def _again(self, task: TaskRow, queue: QueueRow, run: Run) -> Sent | None:
        item = _there(self._tx.item(task, run.seq), task, run.seq)
        cost = len(run.failed_items) or item.items
        agent = agent_of(self._tx, self._agent)
        taken = take_again(task, queue, agent, run, cost, self._tx.now)
        if taken is None:
            self._wait_for_tokens(queue)
            return None
        self._put(taken)
        self._effects.run(taken.run)
        self._note_retries(task)
        return self._sent(taken, item)

    def _next(self, task: TaskRow, queue: QueueRow) -> Sent | None:
        if not untaken(task, queue):
            return None
        item = _there(self._tx.next_item(task, queue.taken), task, queue.taken)
        agent = agent_of(self._tx, self._agent)
        taken = take_item(task, queue, agent, item, new_id(), self._tx.now)
        if taken is None:
            self._wait_for_tokens(queue)
            return None
        self._put(taken)
        self._effects.new_run(taken.run)
        return self._sent(taken, item)

    def _put(self, taken: Taken) -> None:
        self._effects.task(taken.task)
        self._effects.queue(taken.queue)
        self._effects.agent(taken.agent)
        self._alive[taken.task.id] += 1

    def _wait_for_tokens(self, queue: QueueRow) -> None:
        """After a step back of the clock they come from now on."""
        if queue.tokens_at > self._tx.now:
            self._effects.queue(filled(queue, self._tx.now))

    def _note_retries(self, task: TaskRow) -> None:
        """From when on the next attempt of anything is due."""
        waiting = self._tx.due_runs(task)
        queue = self._tx.queue(task.id)
        assert queue is not None
        at = waiting[0].due_at if waiting else self._tx.due_until(task)
        self._effects.queue(replace(queue, retry_at=at))

    def _sent(self, taken: Taken, item: Item) -> Sent:
        content = content_of(item, taken.run.failed_items)
        spec = self._specs.of(self._tx, task_of(self._tx, taken.run.task))
        self._room -= len(content) + len(spec.script)
        return Sent(run=taken.run, item=content, batch=taken.queue.batch > 1)


def with_item(tx: Tx, sent: Sent) -> Sent:
    """A hand-out that is sent again, with its item if its task is a queue."""
    if sent.cause is not None:
        return sent
    task = tx.task(sent.run.task)
    queue = None if task is None else tx.queue(sent.run.task)
    if task is None or queue is None:
        return sent
    item = _there(tx.item(task, sent.run.seq), task, sent.run.seq)
    content = content_of(item, sent.run.failed_items)
    return replace(sent, item=content, batch=queue.batch > 1)


def _there(item: Item | None, task: TaskRow, seq: int) -> Item:
    assert item is not None, f"item {seq} of task {task.id} is gone"
    return item
