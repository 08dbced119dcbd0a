"""How do runs of a queue that failed for good get their attempts again? By a person's wish."""

from collections.abc import Sequence

from master import audit
from master.audit import Act
from master.books import Books
from master.changes import PutBackTaken
from master.effects import Effects
from master.queue_intake import open_queue
from master.records import Queue, Run, Task
from master.rows import to_json
from master.transaction import Tx
from wire.errors import Conflict, NotFound
from wire.queues import PutBackDone
from wire.states import ENDED_TASK, RUN_FAILURES

AT_ONCE = 1_000  # runs that one verb puts back


def put_back(tx: Tx, id: str, runs: Sequence[str] | None, act: Act) -> PutBackTaken:
    """Those of `runs`, or of all, that failed for good wait again; the others stay as they are.

    Raises NotFound (task, or a run of it), Conflict (a fan-out, or one that has ended).
    """
    task, queue = open_queue(tx, id)
    _check_goes_on(task, queue)
    dead, left = _dead(tx, task, runs)
    books = Books({id: task}, tx.now, {id: queue})
    for run in dead:
        books.put_back(run)
    effects = Effects(tx)
    effects.apply(books.close())
    if dead:
        audit.append(tx, act, f"task:{id}", runs=len(dead))
    return PutBackTaken(PutBackDone(len(dead), left), effects.changed())


def _check_goes_on(task: Task, queue: Queue) -> None:
    if task.state in ENDED_TASK:
        raise Conflict(
            f"task {task.id} has ended, {task.state}; retry it instead: what failed becomes a task "
            "of its own"
        )
    if task.stop is not None or queue.rest is not None:
        raise Conflict(f"task {task.id} hands nothing out any more: nothing of it can be put back")


def _dead(tx: Tx, task: Task, runs: Sequence[str] | None) -> tuple[list[Run], bool]:
    """Which, and are there more?"""
    if runs is not None:
        found = tx.runs(dict.fromkeys(runs[:AT_ONCE]))
        _refuse_strangers(task, runs[:AT_ONCE], found)
        return [run for run in found if run.state in RUN_FAILURES], len(runs) > AT_ONCE
    tx.flush()
    rows = tx.rows(
        "dead_runs", task_seq=task.seq, states=to_json(sorted(RUN_FAILURES)), limit=AT_ONCE + 1
    )
    found = tx.runs(id for (id,) in rows[:AT_ONCE])
    return [run for run in found if run.state in RUN_FAILURES], len(rows) > AT_ONCE


def _refuse_strangers(task: Task, asked: Sequence[str], found: Sequence[Run]) -> None:
    known = {run.id for run in found if run.task == task.id}
    unknown = [id for id in asked if id not in known]
    if unknown:
        raise NotFound(
            f"runs: task {task.id} has no run {', '.join(unknown[:20])}",
            field="runs",
            details={"unknown": unknown[:1000]},
        )
