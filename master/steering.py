"""What may people change of a task that goes on? Whether it does, limits, places, coming waves."""

from typing import Any

from msgspec.structs import replace

from master import audit, waves
from master.audit import Act
from master.books import Books, Change
from master.changes import Changed
from master.effects import Effects, queue_of, task_of
from master.ledger import SWEPT_AT_ONCE
from master.queue_claim import filled
from master.records import Queue, Task
from master.rolling import is_between
from master.rows import to_json
from master.submission import Plan, check_changes
from master.task import resolve_parallel
from master.transaction import Tx
from wire.defaults import burst_of
from wire.errors import Conflict
from wire.requests import Submission, TaskChanges
from wire.states import ENDED_TASK, TaskState

_PLAIN = ("priority", "rolling", "between_waves", "wave_pause")


def pause(tx: Tx, id: str, act: Act) -> Changed:
    """Nothing more of the task is handed out; what runs goes on. Repeating it changes nothing.

    A pause between two waves that would have ended by itself now waits for a person.
    """
    task = _open_task(tx, id)
    if task.state is TaskState.PAUSED and task.resume_at is None:
        return Changed()
    reason = f"paused by {act.who}"
    if task.state is TaskState.PAUSED:
        return _put(tx, replace(task, reason=reason, resume_at=None), act)
    return _put(tx, waves.paused(task, reason), act)


def resume(tx: Tx, id: str, act: Act) -> Changed:
    """A paused task goes on, with its next wave if it was between two. A task that is not paused
    stays as it is."""
    task = _open_task(tx, id)
    if task.state is not TaskState.PAUSED:
        return Changed()
    return _put(tx, waves.resumed(task, tx.now, wave_over=is_between(tx, task)), act)


def resume_due(tx: Tx) -> Changed:
    """Tasks whose pause between two waves is over go on; at most SWEPT_AT_ONCE, then the next."""
    effects = Effects(tx)
    for (id,) in tx.rows("resuming_tasks", now=tx.now, limit=SWEPT_AT_ONCE):
        task = task_of(tx, id)
        going_on = waves.resumed(task, tx.now, wave_over=is_between(tx, task))
        effects.apply(Change(tasks=(going_on,)))
    return effects.changed()


def change(tx: Tx, id: str, changes: TaskChanges, act: Act) -> Changed:
    """New limits, places, priority or waves. Raises NotFound, InvalidValue, Conflict.

    A limit that the failures exceed already stops the task.
    """
    task = _open_task(tx, id)
    given, plan = check_changes(task, changes)
    tx.execute("set_task_settings", id=id, settings=to_json({**task.settings, **given}))
    if task.priority != given.get("priority", task.priority):
        tx.execute("set_priority_of_waiting", task_seq=task.seq, priority=given["priority"])
    tx.reread()
    books = Books({id: _changed(task_of(tx, id), given, plan)}, tx.now)
    books.look_at(id)
    effects = Effects(tx)
    queue = queue_of(tx, task)
    if queue is not None:
        effects.queue(paced(queue, plan.submission, tx.now))
    effects.apply(books.close())
    audit.append(tx, act, f"task:{id}", changes=given)
    return effects.changed()


def _changed(task: Task, given: dict[str, Any], plan: Plan) -> Task:
    plain = {name: given[name] for name in _PLAIN if name in given}
    task = replace(task, fail_count=plan.fail_count, fail_rate=plan.fail_rate, **plain)
    if "parallel" in given:
        task = replace(task, parallel=resolve_parallel(plan.parallel, task.total))
    if "rolling" in given:
        task = replace(task, wave_part=0)  # the new expression begins with the next wave
    return task


def paced(queue: Queue, wanted: Submission, now: float) -> Queue:
    """The queue as it is to go on. What its bucket holds by now stays in it, as far as it still
    has room; a rate where there was none begins with an empty one."""
    queue = replace(filled(queue, now), tokens_at=now)
    burst = wanted.burst
    if burst is None:
        burst = burst_of(wanted.rate, queue.batch)
    tokens = 0.0 if queue.rate is None else min(queue.tokens, float(burst))
    return replace(
        queue,
        rate=wanted.rate,
        burst=burst,
        tokens=tokens,
        per_agent=wanted.per_agent,
        agents_max=wanted.agents_max,
        max_attempts=wanted.max_attempts,
    )


def _open_task(tx: Tx, id: str) -> Task:
    task = task_of(tx, id)
    if task.state in ENDED_TASK:
        raise Conflict(f"task {id} has ended, {task.state}: nothing of it can be changed")
    if task.stop is not None:
        raise Conflict(f"task {id} is being stopped: nothing of it can be changed")
    return task


def _put(tx: Tx, task: Task, act: Act) -> Changed:
    effects = Effects(tx)
    effects.apply(Change(tasks=(task,)))
    audit.append(tx, act, f"task:{task.id}")
    return effects.changed()
