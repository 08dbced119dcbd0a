"""How is a queue retried? What of it did not succeed becomes the items of a new queue.

Items go over as they were grouped; of a batch, the lines that are not done. That is a statement
for each state, in the one transaction that makes the task, so there is a bound to it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from master.changes import NewQueue
from master.effects import task_of
from master.queue_retry import content_of
from master.queue_rules import WITHIN
from master.records import Item, Queue, Task
from master.rows import to_json
from master.task import counts
from master.transaction import Tx
from wire.errors import InvalidValue
from wire.states import RunState

MOST_RUNS = 50_000  # some 0.2 s, for which whatever else comes has to wait
CUT_AT_ONCE = 100  # batches, which may be long


def as_it_was(queue: Queue) -> NewQueue:
    """The same queue without items, and open until they are there."""
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
    number = sum(counts(old)[state] for state in states)
    if not number:
        raise InvalidValue(f"states: no run of the task is {' or '.join(states)}", field="states")
    if number > MOST_RUNS:
        raise InvalidValue(
            f"states: {number} runs of the task are {' or '.join(states)}; at most {MOST_RUNS} are "
            "retried at once. Choose fewer states, or download the results in these states as "
            "ndjson and upload their items to a new queue",
            field="states",
        )


def fill(tx: Tx, new: Task, old: Task, queue: Queue, states: Sequence[RunState]) -> Task:
    """Give a queue that was just made the items of the old one; it is closed then."""
    made = 0
    for state in states:
        source = {"task_seq": new.seq, "old_seq": old.seq}
        made += tx.execute("copy_items_of_runs", first=made, state=state, **source)
        made += _copy_cut(tx, made, new, old, state)
        if state is queue.rest:
            first = made - queue.taken
            made += tx.execute("copy_items_not_taken", first=first, taken=queue.taken, **source)
    row = tx.row("count_items", task_seq=new.seq)
    record, filled = task_of(tx, new.id), tx.queue(new.id)
    assert row is not None and filled is not None
    tx.put(replace(filled, items=row[0] or 0))
    tx.put(replace(record, open=False, total=made, waiting=made))
    return task_of(tx, new.id)


def _copy_cut(tx: Tx, first: int, new: Task, old: Task, state: RunState) -> int:
    """Of batches that are done in part, the other lines; how many runs they make."""
    made, after = 0, -1
    while True:
        found = tx.rows(
            "partial_items", task_seq=old.seq, state=state, after=after, limit=CUT_AT_ONCE
        )
        if not found:
            return made
        rows = []
        for seq, content, places in found:
            left = _decode_places(places)
            rows.append((first + made, len(left), content_of(Item(seq, 0, content), left)))
            made, after = made + 1, seq
        tx.execute("insert_items", task_seq=new.seq, rows=to_json(rows))


_decode_places = msgspec.json.Decoder(list[int]).decode
