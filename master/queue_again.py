"""How is a queue retried? What of it did not succeed becomes the items of a new queue.

Items go over as they were grouped; of a batch, the lines that are not done. A million of them go
in steps of a bounded size, in the order of the items; the first is part of the transaction that
makes the task. The queue keeps how far that has come, hands nothing out before it is full, and
counts what is there. A run is judged when its turn comes.
"""

import time
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from master.changes import Filled, NewQueue
from master.effects import Effects, task_of
from master.queue_retry import content_of
from master.queue_rules import WITHIN
from master.records import Filling, Item, Queue, Task
from master.rows import TaskRow, to_json
from master.task import counts
from master.transaction import Tx
from wire.errors import InvalidValue
from wire.states import ENDED_TASK, RunState

FIRST_RUNS = 500  # that go over with the task itself


def as_it_was(queue: Queue) -> NewQueue:
    """The same queue without items, and open until some are there."""
    return NewQueue(
        open=True,
        name=queue.name,
        batch=queue.batch,
        rate=queue.rate,
        burst=queue.burst,
        per_agent=queue.per_agent,
        agents_max=queue.agents_max,
        max_attempts=queue.max_attempts,
        retry_pause=queue.retry_pause,
        retry_codes=queue.retry_codes,
    )


def settings_of(old: Task, within: str | None) -> dict[str, Any]:
    """Those of the old queue, that never goes beyond the hosts to which who retries it is limited.
    Who has no limit keeps to the one that the old queue had."""
    return old.settings if within is None else old.settings | {WITHIN: within}


def check(old: Task, states: Sequence[RunState]) -> None:
    """May what is in these states become a queue? Raises InvalidValue."""
    if not sum(counts(old)[state] for state in states):
        raise InvalidValue(f"states: no run of the task is {' or '.join(states)}", field="states")


# ---- filling


def begin(tx: Tx, new: Task, old: TaskRow, states: Sequence[RunState]) -> Task:
    """Give a queue that was just made the first items; it is closed from now on."""
    _fill(tx, Effects(tx), new.id, old, Filling(states=list(states)), FIRST_RUNS)
    tx.put(replace(task_of(tx, new.id), open=False))
    return task_of(tx, new.id)


def fill(tx: Tx, id: str, most_runs: int) -> Filled:
    """The next items of a queue that is not full; what has ended meanwhile gets no more."""
    began_s = time.perf_counter()
    task, queue = tx.task(id), tx.queue(id)
    if task is None or queue is None or queue.filling is None:
        return Filled()
    effects = Effects(tx)
    old = None if task.retry_of is None else tx.task(task.retry_of)
    if old is None or task.state in ENDED_TASK or queue.rest is not None:
        effects.queue(replace(queue, filling=None))
    else:
        _fill(tx, effects, id, old, queue.filling, most_runs)
    return Filled(effects.changed(), time.perf_counter() - began_s)


def _fill(
    tx: Tx, effects: Effects, id: str, old: TaskRow, filling: Filling, most_runs: int
) -> None:
    """One step; the runs of the old task keep their order."""
    task, queue, source = task_of(tx, id), tx.queue(id), tx.queue(old.id)
    assert queue is not None and source is not None
    found = list(islice(_to_copy(tx, old, source, filling, most_runs), most_runs))
    items = _copy(tx, task, old, source, found)
    is_last = len(found) < most_runs
    after = None if is_last else replace(filling, next=found[-1] + 1)
    count = len(found)
    effects.task(replace(task, total=task.total + count, waiting=task.waiting + count))
    effects.queue(replace(queue, items=queue.items + items, filling=after))


def _to_copy(tx: Tx, old: TaskRow, source: Queue, filling: Filling, limit: int) -> Iterator[int]:
    """The numbers of what is to be repeated, in order: of runs, then of what nobody has taken."""
    given = {"task_seq": old.seq, "limit": limit}
    taken = (
        tx.rows("runs_in_state", state=state, seq=filling.next, **given) for state in filling.states
    )
    for (seq,) in merge(*taken):
        yield seq
    if source.rest in filling.states:
        first = max(filling.next, source.taken)
        for (seq,) in tx.rows("items_beyond", seq=first, **given):
            yield seq


def _copy(tx: Tx, new: TaskRow, old: TaskRow, source: Queue, found: Sequence[int]) -> int:
    """These, behind what is there; how many items they are."""
    places = {seq: place for place, seq in enumerate(found, new.total)}
    cut = dict(_cut(tx, old, found)) if source.batch > 1 else {}
    whole = [(place, seq) for seq, place in places.items() if seq not in cut]
    part = [(places[seq], number, content) for seq, (number, content) in cut.items()]
    tx.execute("copy_items", task_seq=new.seq, old_seq=old.seq, rows=to_json(whole))
    tx.execute("insert_items", task_seq=new.seq, rows=to_json(part))
    row = tx.row("count_items", task_seq=new.seq, seq=new.total)
    assert row is not None
    return row[0] or 0


def _cut(tx: Tx, old: TaskRow, found: Sequence[int]) -> Iterator[tuple[int, tuple[int, str]]]:
    """Of the batches that are done in part the lines that are left: (number, (lines, content))."""
    for seq, content, places in tx.rows("batches_in_part", task_seq=old.seq, seqs=to_json(found)):
        left = _decode_places(places)
        yield seq, (len(left), content_of(Item(seq, 0, content), left))


_decode_places = msgspec.json.Decoder(list[int]).decode
