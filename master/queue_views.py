"""What do people and the hub see of a queue? Reading verbs, on committed state only."""

from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from master.changes import QueueState
from master.output import read
from master.queue_claim import retrying, state_of, untaken
from master.queue_retry import as_run, attempt_id
from master.reader import Reader
from master.records import Queue, Run, Task
from master.rows import AttemptRow, QueueRow, RunRow, TaskRow, decode_rows, to_json
from master.task import QUEUE, failures
from master.views import (
    from_cursor,
    run_record,
    size_of,
    task_record,
    text_of,
    to_cursor,
)
from utils import iso
from wire.errors import Conflict, InvalidValue, NotFound
from wire.queues import AttemptView, QueueView, ResultView, SlowView
from wire.states import RUN_FAILURES, RunState
from wire.views import Page

DEAD = "DEAD"  # in a list of states: those in which a run has failed for good
OUTPUT_BYTES = 16 << 10  # of a result's output, with results
PAGE_BYTES = 2 << 20  # of items and output in one page, at least one result given
SHOWN_CHARACTERS = 200  # of an item, where only its beginning is shown

_decode_active = msgspec.json.Decoder(list[tuple[TaskRow, QueueRow]], strict=False).decode
_decode_run = msgspec.json.Decoder(RunRow, strict=False).decode


class _Row(NamedTuple):
    """An item and what became of it; `run` None: nobody has taken it."""

    seq: int
    items: int
    content: str
    run: RunRow | None


# ---- the queue


def queue_states(reader: Reader) -> list[QueueState]:
    """Of all queues that have not ended."""
    found = _decode_active(text_of(reader.row("active_queues")))
    return [state_of(task, queue, reader.now) for task, queue in found]


def queue_holders(reader: Reader) -> dict[str, dict[str, set[str]]]:
    """{task: {agent: runs}} of what is handed out of queues just now."""
    found: dict[str, dict[str, set[str]]] = {}
    for task, agent, run in reader.rows("queue_holders"):
        found.setdefault(task, {}).setdefault(agent, set()).add(run)
    return found


def filling(reader: Reader) -> list[str]:
    """The tasks of queues that are not full yet."""
    return [task for (task,) in reader.rows("filling_queues")]


def queue_view(reader: Reader, id: str) -> QueueView:
    """What only the hub knows is for it to fill in. Raises NotFound, Conflict for a fan-out."""
    task, queue = _queue(reader, id)
    return replace(_standing(task, queue), slowest=_slowest(reader, task, queue))


def listed_queues(reader: Reader, tasks: Sequence[TaskRow]) -> dict[str, QueueView]:
    """{task: how its queue stands} of those of a list that are queues, by one look."""
    by_id = {task.id: task for task in tasks if task.mode == QUEUE}
    if not by_id:
        return {}
    row = reader.row("queues_by_id", ids=to_json(list(by_id)))
    return {
        queue.id: replace(_standing(by_id[queue.id], queue), agents=None)
        for queue in decode_rows(QueueRow, text_of(row))
    }


def _standing(task: Task, queue: Queue) -> QueueView:
    return QueueView(
        queue=queue.name,
        open=task.open,
        batch=queue.batch,
        rate=queue.rate,
        burst=queue.burst,
        per_agent=queue.per_agent,
        agents_max=queue.agents_max,
        max_attempts=queue.max_attempts,
        retry_pause=queue.retry_pause,
        retry_codes=queue.retry_codes,
        items=queue.items,
        untaken=untaken(task, queue),
        retrying=retrying(task, queue),
        dead=failures(task),
    )


def _slowest(reader: Reader, task: Task, queue: Queue) -> list[SlowView]:
    return [
        SlowView(slow.run, slow.seq, _beginning(reader, task, slow.seq), slow.seconds)
        for slow in queue.slowest
    ]


def beginnings(reader: Reader, task: str, seqs: Sequence[int]) -> dict[int, str]:
    """The beginnings of the items of runs, by the number of the run; none of a fan-out."""
    record = task_record(reader, task)
    if record.mode != QUEUE:
        return {}
    return {seq: _beginning(reader, record, seq) for seq in seqs}


def _beginning(reader: Reader, task: Task, seq: int) -> str:
    row = reader.row("item_beginning", task_seq=task.seq, seq=seq, characters=SHOWN_CHARACTERS)
    return "" if row is None else row[0]


def _queue(reader: Reader, id: str) -> tuple[TaskRow, QueueRow]:
    task = task_record(reader, id)
    found = decode_rows(QueueRow, text_of(reader.row("queues_by_id", ids=to_json([id]))))
    if not found:
        raise Conflict(f"task {id} is a fan-out: it has no items")
    return task, found[0]


# ---- attempts


def attempts(reader: Reader, run: str) -> list[AttemptView]:
    """Those before the run's present one, the first first. Raises NotFound."""
    record = run_record(reader, run)
    found = decode_rows(AttemptRow, text_of(reader.row("attempts_of_run", run=run)))
    earlier = sorted(
        (one for one in found if one.attempt != record.attempt), key=lambda one: one.attempt
    )
    return [
        AttemptView(
            attempt=one.attempt,
            agent=one.agent,
            hostname=one.hostname,
            state=one.state,
            reason=one.reason,
            code=one.code,
            started_at=iso(one.started_at),
            ended_at=iso(one.ended_at),
            output_bytes=one.output_bytes,
            output_stored=one.output_stored,
            output_gap=one.output_gap,
        )
        for one in earlier
    ]


def run_in(reader: Reader, run: str, attempt: int | None) -> Run:
    """The run as it was in an attempt, for its output; None: in the present one. Raises NotFound.

    An attempt of which nobody has said how it ended is UNKNOWN.
    """
    record = run_record(reader, run)
    if attempt is None or attempt == record.attempt:
        return record
    ids = to_json([attempt_id(run, attempt)])
    found = decode_rows(AttemptRow, text_of(reader.row("attempts_by_id", ids=ids)))
    if not found:
        raise NotFound(f"run {run} has no attempt {attempt}")
    (earlier,) = found
    state = RunState(earlier.state) if earlier.told else RunState.UNKNOWN
    return replace(as_run(record, earlier), state=state, settled=earlier.told)


# ---- results


def queue_results(
    reader: Reader,
    id: str,
    limit: int,
    cursor: str | None,
    states: Sequence[str],
    *,
    output: bool,
) -> Page:
    """A page of ResultView in the order of the items. Raises NotFound, Conflict, InvalidValue.

    A page ends early where its items and output are many bytes.
    """
    task, queue = _queue(reader, id)
    after = from_cursor(cursor, int) if cursor else -1
    size = size_of(limit)
    found: list[ResultView] = []
    room = PAGE_BYTES
    for row in islice(_rows(reader, task, queue, _wanted(states), after, size + 1), size + 1):
        if len(found) == size or room <= 0:
            return Page(found, to_cursor(found[-1].seq))
        view = _result(reader, row, queue, output=output)
        room -= len(row.content) + len(view.output)
        found.append(view)
    return Page(found, None)


def _wanted(states: Sequence[str]) -> frozenset[RunState] | None:
    """None: whatever the state."""
    known = {state.value for state in RunState} | {DEAD}
    wrong = sorted(set(states) - known)
    if wrong:
        raise InvalidValue(
            f"states: {wrong[0][:60]!r}; it takes of {', '.join(sorted(known))}", field="states"
        )
    if not states:
        return None
    dead = RUN_FAILURES if DEAD in states else frozenset()
    return dead | {RunState(state) for state in states if state != DEAD}


def _rows(
    reader: Reader,
    task: Task,
    queue: Queue,
    states: frozenset[RunState] | None,
    after: int,
    limit: int,
) -> Iterator[_Row]:
    if states is None:
        return _each(reader, "results_from", task_seq=task.seq, seq=after, limit=limit)
    parts = [
        _each(reader, "results_in_state", task_seq=task.seq, state=state, seq=after, limit=limit)
        for state in sorted(states)
    ]
    if (queue.rest or RunState.WAITING) in states:
        seq = max(after, queue.taken - 1)
        parts.append(_each(reader, "results_from", task_seq=task.seq, seq=seq, limit=limit))
    return merge(*parts, key=lambda row: row.seq)


def _each(reader: Reader, name: str, **values: object) -> Iterator[_Row]:
    for seq, items, content, run in reader.each(name, **values):
        yield _Row(seq, items, content, None if run is None else _decode_run(run))


def _result(reader: Reader, row: _Row, queue: Queue, *, output: bool) -> ResultView:
    items = row.content.split("\n") if queue.batch > 1 else [row.content]
    run = row.run
    if run is None:
        state = queue.rest or RunState.WAITING
        return ResultView(row.seq, items, None, state, attempt=0, reason=queue.rest_reason)
    return ResultView(
        seq=row.seq,
        items=items,
        run=run.id,
        state=run.state,
        attempt=run.attempt,
        reason=run.reason,
        code=run.code,
        agent=run.agent,
        hostname=run.hostname,
        started_at=iso(run.started_at),
        ended_at=iso(run.ended_at),
        seconds=_seconds(run),
        failed_items=[items[place] for place in run.failed_items if place < len(items)],
        output_bytes=run.output_bytes,
        output=read(reader, run, 0, OUTPUT_BYTES).data if output else b"",
    )


def _seconds(run: Run) -> float | None:
    if run.started_at is None or run.ended_at is None:
        return None
    return run.ended_at - run.started_at
