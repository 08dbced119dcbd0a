"""How does a run end? By its agent's word, by people, by time: decisions on records.

As in master/handout.py: records and `now` come in, the records to be written go out. None says
that nothing changes, which is no error: messages come twice and late, people cancel twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from master import queue_retry
from master.books import (
    NO_QUEUES,
    Books,
    Change,
    Queues,
    being_stopped,
    cancelled,
    ended,
    is_open,
    may_learn,
    sweep_of,
    wanted,
    without_waiting,
)
from master.handout import lost
from master.records import Agent, Attempt, Queue, Run, Task
from master.state import move_standing
from master.task import count
from master.waves import NEVER
from utils import iso
from wire.messages import Done, DoneRecord, Result
from wire.states import ENDED_TASK, RUN_FAILURES, Cause, RunState, Standing, Stop, Want

# ---- the agent's word


def confirmed(agent: Agent, hw: int) -> Agent:
    """The agent with the `hw` that a result has told; what no store has granted is a poll's to say.

    The poll that follows then has nothing to write.
    """
    if not agent.acked < hw <= agent.granted:
        return agent
    return replace(agent, acked=hw)


def finish(
    task: Task, run: Run, result: Result, now: float, queue: Queue | None = None
) -> Change | None:
    """What a result changes; None: nothing, and it is acknowledged all the same.

    A repeat, a result of an earlier attempt and one that comes after another verdict change
    nothing; UNKNOWN is replaced, once. `queue`: of the task, if it is one; the run may then wait
    for another attempt. Raises IllegalMove if `result.state` is no end.
    """
    if result.attempt != run.attempt or not may_learn(run):
        return None
    books = Books({task.id: task}, now, {} if queue is None else {queue.id: queue})
    state, reason = proven_state(run, result.state), cancelled(run.cancelled_by, result.reason)
    if queue is not None and queue.batch > 1:
        state, reason, left = of_batch(run, result, state, reason)
        books.prove(run, state, reason, failed_items=left, **_facts(run, result))
    else:
        books.prove(run, state, reason, **_facts(run, result))
    return books.close()


def is_of_present(run: Run, agent: str, attempt: int) -> bool:
    """Does an agent that says something of this attempt speak of the run as it is now?

    What it says of an earlier one must not touch the attempt that another agent is at.
    """
    return run.agent == agent and run.attempt == attempt


def finish_earlier(
    task: Task, queue: Queue, run: Run, attempt: Attempt, result: Result, now: float
) -> Change | None:
    """What the result of an attempt changes that was followed by another; None: nothing.

    While the next one still waits, a success settles the run, which takes that attempt back.
    Otherwise it is history.
    """
    if attempt.told:
        return None
    books = Books({task.id: task}, now, {queue.id: queue})
    state, reason = proven_state(run, result.state), result.reason
    if queue.batch > 1:
        state, reason, _ = of_batch(run, result, state, reason)
    facts = _facts(queue_retry.as_run(run, attempt), result)
    if is_settled_late(run, state):
        books.move(run, RunState.UNKNOWN, reason)
        books.prove(queue_retry.as_run(run, attempt), state, reason, failed_items=[], **facts)
    kept = state if state in _SAID_OF_ATTEMPTS else attempt.state
    gone = ("killed", "survivors", "left_running", "output_gap")
    kept_facts = {name: fact for name, fact in facts.items() if name not in gone}
    books.record(replace(attempt, state=kept, reason=reason, told=True, **kept_facts))
    return books.close()


_SAID_OF_ATTEMPTS = (*RUN_FAILURES, RunState.SUCCEED)


def is_settled_late(run: Run, said: RunState) -> bool:
    """Does a late success settle the run? Not once the next attempt was handed out: that may
    have done other things meanwhile, and its own end is told."""
    return said is RunState.SUCCEED and run.state is RunState.WAITING


def of_batch(
    run: Run, result: Result, state: RunState, reason: str
) -> tuple[RunState, str, list[int]]:
    """State, reason and the lines that are not done. What was killed may have told too little."""
    if state is RunState.SUCCEED and not result.failed_items:
        return state, reason, []
    if result.cause is not Cause.EXIT or not result.failed_items:
        return state, reason, run.failed_items
    left = queue_retry.lines_left(run, result.failed_items)
    told = f"{len(left)} items of the batch failed"
    return RunState.FAILED, f"{told}; {reason}" if reason else told, left


def _facts(run: Run, result: Result) -> dict[str, Any]:
    return {
        "code": result.code,
        "started_at": result.started_at,
        "ended_at": result.ended_at,
        "killed": result.killed,
        "survivors": result.survivors,
        "left_running": result.left_running,
        "output_bytes": max(run.output_bytes, result.output_bytes),
        "output_sha256": result.output_sha256,
        "output_gap": result.output_gap,
    }


def proven_state(run: Run, said: RunState) -> RunState:
    """What a run ended as. Why one never started, the agent may have forgotten; the master not."""
    if said is RunState.SKIPPED and run.want is Want.CANCEL:
        return RunState.CANCELLED
    return said


def settle_done(
    agent: Agent,
    runs: Iterable[Run],
    tasks: Mapping[str, Task],
    done: Done,
    now: float,
    queues: Queues = NO_QUEUES,
) -> Change:
    """Take over the done records that were recalled.

    `runs`: those of the agent that the records or `done.asked` name, and, while `done.hw` is
    above `agent.granted`, all of its WAITING ones. `tasks`: theirs.
    """
    books = Books(tasks, now, queues)
    records = {(record.run, record.attempt): record for record in done.records}
    behind = done.asked is None and done.hw > agent.granted
    torn = behind and too_short(agent, done)
    for run in runs:
        record = records.get((run.id, run.attempt))
        if record is not None:
            _settle(books, run, record)
        elif is_open(run) and done.asked is not None and run.id in done.asked:
            books.settle_unknown(run, "the agent no longer knows how it ended")
        elif torn and run.state is RunState.WAITING:
            books.settle_unknown(run, "it may have run before the store was restored")
    if behind:
        agent = replace(agent, granted=done.hw, acked=done.hw)
    return books.close(agent)


def too_short(agent: Agent, done: Done) -> bool:
    """Has the agent forgotten hand-outs that this store has never known?"""
    return done.floor > agent.granted


def _settle(books: Books, run: Run, record: DoneRecord) -> None:
    if may_learn(run):
        books.prove(
            run, proven_state(run, record.state), "as the agent remembers it", code=record.code
        )


# ---- people and time


def cancel_task(task: Task, now: float, by: str | None = None) -> Change | None:
    """Stop a task for good; None: there is nothing left to stop. `by`: who wants it.

    The first cause stays: a task that a limit had stopped ends FAILED, but what still runs of
    it is stopped now. The task has not ended before its last run.
    """
    if task.state in ENDED_TASK or task.stop is not None:
        if task.running + task.unknown == 0:
            return None
        return Change(sweeps=(sweep_of(task, None, "", Want.CANCEL, now, by),))
    sweep = sweep_of(task, RunState.CANCELLED, cancelled(by), Want.CANCEL, now, by)
    task = replace(
        count(task, RunState.WAITING, RunState.CANCELLED, task.waiting),
        stop=Stop.CANCEL,
        reason=being_stopped(by),
        cancelled_by=by,
        open=False,
    )
    return Change(tasks=(ended(task, now),), sweeps=(sweep,))


def cancel_run(task: Task, run: Run, now: float, by: str | None = None) -> Change | None:
    """Stop one run; None: it has ended, or is being stopped already."""
    books = Books({task.id: task}, now)
    if run.state is RunState.WAITING:
        books.move(replace(run, cancelled_by=by), RunState.CANCELLED, cancelled(by))
        return books.close()
    if not is_open(run) or run.want in (Want.CANCEL, Want.LIMIT):
        return None
    books.note(wanted(run, Want.CANCEL, by))
    return books.close()


def expire_task(task: Task, now: float) -> Change | None:
    """Skip all that waits of a task whose time to start has passed; None: it has not.

    Every run of a task has the task's `expires_at` as its start_by. A queue takes no more items.
    """
    if task.state in ENDED_TASK or now < task.expires_at or not (task.waiting or task.open):
        return None
    return without_waiting(task, f"not started by {iso(task.expires_at)}", now)


def close_queue(task: Task, now: float) -> Change | None:
    """No more items are to come; None: they were not to come any more."""
    return Change(tasks=(ended(replace(task, open=False), now),)) if task.open else None


def expire_wave(task: Task, late: Sequence[Run], now: float) -> Change | None:
    """Skip what waits of a wave whose time to start has passed; None: it has not.

    `late`: its waiting runs, or the first of them. The time of later waves has not begun.
    """
    if task.state in ENDED_TASK or now < task.expires_at:
        return None
    if not late:
        return Change(tasks=(replace(task, expires_at=NEVER),))
    books = Books({task.id: task}, now)
    for run in late:
        books.move(run, RunState.SKIPPED, f"not started by {iso(task.expires_at)}")
    return books.close()


def expire_run(task: Task, agent: Agent, run: Run, now: float) -> Change | None:
    """Skip a run whose time to start has passed; None: it has not, or the run may have started.

    One that was handed out and is not confirmed is asked for as void; if it turns out to have
    started in time, it goes on.
    """
    if now < run.start_by:
        return None
    books = Books({task.id: task}, now)
    if run.state is RunState.WAITING:
        books.move(run, RunState.SKIPPED, f"not started by {iso(run.start_by)}")
        return books.close()
    if not (is_open(run) and run.want is None and lost(run, agent.acked)):
        return None
    books.note(wanted(run, Want.SKIP))
    return books.close()


def silent_since(agent: Agent, listening_since: float, last_stall: float) -> float:
    """From when on the silence of an agent counts.

    While this master was not there, or was stalled, no agent could be heard: without this, a
    master that slept would declare the whole fleet lost.
    """
    return max(agent.last_seen, listening_since, last_stall)


def lose_run(
    task: Task,
    agent: Agent,
    run: Run,
    silent_since: float,
    now: float,
    queue: Queue | None = None,
) -> Change | None:
    """Give up waiting for a run's agent, see `silent_since`; None: not yet.

    A queue's run is handed out again.
    """
    if run.state is not RunState.RUNNING or now - silent_since < task.lost_after:
        return None
    books = Books({task.id: task}, now, {} if queue is None else {queue.id: queue})
    books.lose(run, f"agent not seen since {iso(agent.last_seen)}")
    return books.close()


def bury_agent(
    agent: Agent,
    runs: Iterable[Run],
    tasks: Mapping[str, Task],
    standing: Standing,
    reason: str,
    now: float,
    queues: Queues = NO_QUEUES,
) -> Change:
    """Quarantine, revoke or delete an agent. `runs`: its RUNNING and WAITING ones, `tasks`: theirs.

    Runs of a queue that wait are nobody's, and not among them. Raises IllegalMove.
    """
    standing = move_standing(agent.id, agent.standing, standing)
    books = Books(tasks, now, queues)
    for run in runs:
        if run.state is RunState.RUNNING:
            books.lose(run, reason)
        elif run.state is RunState.WAITING:
            books.move(run, RunState.SKIPPED, reason)
    return books.close(replace(agent, standing=standing, reason=reason))
