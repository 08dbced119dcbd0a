"""When may something of a queue be handed out, and what is the run that is made of it?

Pure functions of the records of the task and its queue. The rate is one bucket of tokens, filled
by the clock and emptied by whoever takes, so it holds for all agents together. Each hand-out of
an item costs a token, further attempts too: what the rate protects does not ask which it is.
"""

from msgspec import Struct
from msgspec.structs import replace

from master.changes import QueueState
from master.records import Agent, Item, Queue, Run, Task
from master.state import move_run, move_task
from master.task import count, has_place, may_hand_out
from wire.states import RunState, Standing, TaskState

ROUNDING = 1e-6  # of a token: what adding up floats may lose
# What the bucket holds besides the burst: it hands no more out at once, but whoever looks a little
# late loses nothing of the next token.
SPARE = 0.5


class Taken(Struct, frozen=True):
    """The records as they are once the run is handed out."""

    task: Task
    queue: Queue
    agent: Agent
    run: Run


# ---- the bucket


def filled(queue: Queue, now: float) -> Queue:
    """The queue with the tokens that it has now; a clock that was set back gives none."""
    if queue.rate is None or now == queue.tokens_at:
        return queue
    more = max(0.0, now - queue.tokens_at) * queue.rate
    return replace(queue, tokens=min(queue.burst + SPARE, queue.tokens + more), tokens_at=now)


def paid(queue: Queue, cost: int, now: float) -> Queue | None:
    """The queue less so many tokens; None: it has not got them yet.

    What costs more than the bucket holds goes when it is full, and leaves a debt.
    """
    if queue.rate is None:
        return queue
    queue = filled(queue, now)
    if queue.tokens + ROUNDING < min(cost, queue.burst):
        return None
    return replace(queue, tokens=queue.tokens - cost)


def payable_at(queue: Queue, cost: int, now: float) -> float:
    """From when on there are so many tokens; at or before `now`: they are there."""
    if queue.rate is None:
        return now
    missing = min(cost, queue.burst) - filled(queue, now).tokens
    return now if missing <= ROUNDING else now + missing / queue.rate


# ---- what there is to take


def untaken(task: Task, queue: Queue) -> int:
    """Runs to be of which something will still become."""
    return 0 if queue.rest is not None else task.total - queue.taken


def retrying(task: Task, queue: Queue) -> int:
    """Runs that wait for another attempt: what waits besides what was not taken."""
    return task.waiting - untaken(task, queue)


def state_of(task: Task, queue: Queue, now: float) -> QueueState:
    """Where the queue stands, for whoever hands out."""
    at = _takable_at(task, queue, now)
    is_now = at is not None and at <= now
    return QueueState(
        task=task.id,
        name=queue.name,
        untaken=untaken(task, queue),
        retrying=retrying(task, queue),
        takable=is_now and has_place(task),
        next_at=None if is_now else at,
        room=_room(queue, now),
        per_agent=queue.per_agent,
        agents_max=queue.agents_max,
        filling=queue.filling is not None,
    )


def _room(queue: Queue, now: float) -> int | None:
    if queue.rate is None:
        return None
    cost = min(queue.batch, queue.burst)
    return max(0, int((filled(queue, now).tokens + ROUNDING) // cost))


def _takable_at(task: Task, queue: Queue, now: float) -> float | None:
    if not may_hand_out(task) or queue.filling is not None or now >= task.expires_at:
        return None
    times = [now] if untaken(task, queue) else []
    if queue.retry_at is not None and retrying(task, queue):
        times.append(max(now, queue.retry_at))
    if not times:
        return None
    at = max(min(times), payable_at(queue, queue.batch, now))
    return at if at < task.expires_at else None


# ---- taking


def may_take(
    task: Task, queue: Queue, agent: Agent, instance: str, alive_here: int, now: float
) -> bool:
    """May the agent be given one more of it? `alive_here`: runs of it that the agent has.

    The tokens are looked at when it is known what is to be taken.
    """
    return (
        may_hand_out(task)
        and queue.filling is None
        and has_place(task)
        and now < task.expires_at
        and agent.standing is Standing.ENROLLED
        and instance == agent.instance
        and (queue.per_agent == 0 or alive_here < queue.per_agent)
    )


def take_item(
    task: Task, queue: Queue, agent: Agent, item: Item, run_id: str, now: float
) -> Taken | None:
    """The next item as a new run; the agent may take it, see `may_take`. None: no tokens yet."""
    assert item.seq == queue.taken, f"item {item.seq} of task {task.id} is not the next one"
    after = paid(queue, item.items, now)
    if after is None:
        return None
    run = Run(
        id=run_id,
        task=task.id,
        seq=item.seq,
        agent=agent.id,
        hostname=agent.hostname,
        attempt=1,
        state=RunState.WAITING,
        reason="",
        want=None,
        grant=None,
        instance=None,
        start_by=task.expires_at,
        settled=False,
        created_at=now,
        priority=task.priority,
        task_seq=task.seq,
    )
    return _taken(task, replace(after, taken=queue.taken + 1), agent, run, now)


def take_again(
    task: Task, queue: Queue, agent: Agent, run: Run, cost: int, now: float
) -> Taken | None:
    """A run whose next attempt is due; as `take_item`."""
    assert run.state is RunState.WAITING and run.due_at is not None, f"run {run.id} is not due"
    after = paid(queue, cost, now)
    if after is None or now < run.due_at:
        return None
    return _taken(task, after, agent, run, now)


def _taken(task: Task, queue: Queue, agent: Agent, run: Run, now: float) -> Taken:
    if task.state is TaskState.WAITING:
        task = replace(task, state=move_task(task.id, task.state, TaskState.RUNNING))
    task = replace(
        count(task, RunState.WAITING, RunState.RUNNING),
        started_at=now if task.started_at is None else task.started_at,
    )
    agent = replace(agent, granted=agent.granted + 1)
    run = replace(
        run,
        state=move_run(run.id, run.state, RunState.RUNNING),
        reason="",
        agent=agent.id,
        hostname=agent.hostname,
        grant=agent.granted,
        instance=agent.instance,
        start_by=task.expires_at,
        due_at=None,
        granted_at=now,
        started_at=now,
    )
    return Taken(task, queue, agent, run)
