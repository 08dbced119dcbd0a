"""How do items come into the store? Grouped into what one run is made of, part by part.

An upload has a name, and the store knows how much of it is here: a part that comes again is
passed over as far as it is known, and so is what has arrived of one whose answer was lost. A part
is one transaction of some milliseconds, so nobody waits for a million items.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from master import audit, outcome
from master.audit import Act
from master.changes import Changed, ItemsTaken, NewQueue, QueueState
from master.effects import Effects, queue_of, task_of
from master.queue_claim import state_of
from master.records import Task
from master.rows import QueueRow, TaskRow, to_json
from master.task import QUEUE
from master.transaction import Tx
from wire.errors import Conflict, InvalidValue, NotFound, TooLarge
from wire.queues import ITEMS_AT_ONCE, ITEMS_BYTES_AT_ONCE, MAX_ITEM_BYTES, MAX_ITEMS, ItemsAdded
from wire.states import ENDED_TASK

MAX_UPLOAD_CHARACTERS = 200


# ---- a new queue


def runs_of(new: NewQueue) -> int:
    """How many runs its items make."""
    return -(-len(new.items) // new.batch)


def insert(tx: Tx, task: str, new: NewQueue) -> None:
    """The queue of a task whose row is in the store, with its first items."""
    seq = task_of(tx, task).seq
    tx.execute(
        "insert_queue",
        id=task,
        task_seq=seq,
        name=new.name,
        batch=new.batch,
        rate=new.rate,
        burst=new.burst,
        per_agent=new.per_agent,
        agents_max=new.agents_max,
        max_attempts=new.max_attempts,
        retry_pause=new.retry_pause,
        retry_codes=None if new.retry_codes is None else to_json(new.retry_codes),
        items=len(new.items),
        now=tx.now,
    )
    _insert_items(tx, seq, 0, new.items, new.batch)


def states(tx: Tx, tasks: Iterable[Task]) -> tuple[QueueState, ...]:
    """Of the tasks that are queues."""
    found = ((task, queue_of(tx, task)) for task in tasks)
    return tuple(state_of(task, queue, tx.now) for task, queue in found if queue is not None)


def _insert_items(tx: Tx, task_seq: int, first: int, items: Sequence[str], batch: int) -> int:
    """From the place `first` on; how many runs they make."""
    groups = [items[place : place + batch] for place in range(0, len(items), batch)]
    rows = [(seq, len(group), "\n".join(group)) for seq, group in enumerate(groups, first)]
    tx.execute("insert_items", task_seq=task_seq, rows=to_json(rows))
    return len(rows)


# ---- more items


def check_part(upload: str, start: int, items: Sequence[str]) -> None:
    """What can be said of a part of an upload without the store. Raises InvalidValue, TooLarge."""
    if not 0 < len(upload) <= MAX_UPLOAD_CHARACTERS:
        raise InvalidValue(
            f"upload has {len(upload)} characters; it takes 1 to {MAX_UPLOAD_CHARACTERS}",
            field="upload",
        )
    if not 0 <= start <= MAX_ITEMS:
        raise InvalidValue(f"start is {start}; it takes 0 to {MAX_ITEMS}", field="start")
    if len(items) > ITEMS_AT_ONCE:
        raise TooLarge(f"items: {len(items)}; a part has at most {ITEMS_AT_ONCE}", field="items")
    sizes = [_size_of(place, item) for place, item in enumerate(items)]
    if sum(sizes) > ITEMS_BYTES_AT_ONCE:
        raise TooLarge(
            f"items: {sum(sizes)} bytes; a part has at most {ITEMS_BYTES_AT_ONCE}", field="items"
        )


def _size_of(place: int, item: str) -> int:
    if "\0" in item:
        raise InvalidValue(f"items[{place}] has a NUL character", field="items")
    try:
        size = len(item.encode())
    except UnicodeEncodeError:
        raise InvalidValue(f"items[{place}] has a lone surrogate", field="items") from None
    if size > MAX_ITEM_BYTES:
        raise TooLarge(
            f"items[{place}] has {size} bytes; an item has at most {MAX_ITEM_BYTES}", field="items"
        )
    return size


def add_items(
    tx: Tx, id: str, upload: str, start: int, items: Sequence[str], act: Act
) -> ItemsTaken:
    """What is new of a part. Raises NotFound, Conflict (the queue is closed, or what is before
    the part is not here), TooLarge, InvalidValue."""
    task, queue = open_queue(tx, id)
    row = tx.row("upload", task_seq=task.seq, upload=upload)
    known = 0 if row is None else row[0]
    if start > known:
        raise Conflict(
            f"upload: {known} items of it are here, and the part begins with item {start}; "
            f"send on from item {known}",
            field="start",
            details={"accepted": known},
        )
    new = items[known - start :]
    if not new:
        return ItemsTaken(ItemsAdded(accepted=known, items=queue.items))
    _check_room(task, queue, new)
    added = _insert_items(tx, task.seq, task.total, new, queue.batch)
    accepted = known + len(new)
    tx.execute("set_upload", task_seq=task.seq, upload=upload, accepted=accepted)
    if row is None:
        audit.append(tx, act, f"task:{id}", upload=upload)
    effects = Effects(tx)
    effects.task(replace(task, total=task.total + added, waiting=task.waiting + added))
    effects.queue(replace(queue, items=queue.items + len(new)))
    return ItemsTaken(ItemsAdded(accepted, queue.items + len(new)), effects.changed())


def _check_room(task: Task, queue: QueueRow, new: Sequence[str]) -> None:
    if task.state in ENDED_TASK:
        raise Conflict(f"task {task.id} has ended, {task.state}: it takes no more items")
    if not task.open:
        raise Conflict(f"task {task.id} is closed: it takes no more items")
    if queue.items + len(new) > MAX_ITEMS:
        raise TooLarge(
            f"items: {queue.items} are here and {len(new)} more are given; a task takes at most "
            f"{MAX_ITEMS}",
            field="items",
        )
    if queue.batch > 1:
        for place, item in enumerate(new):
            if "\n" in item or "\r" in item:
                raise InvalidValue(
                    f"items[{place}] has a line break; with batch each item is a line of a file",
                    field="items",
                )


def close(tx: Tx, id: str, act: Act) -> Changed:
    """No more items come; the task ends with the last of those that are here."""
    task, _ = open_queue(tx, id)
    change = outcome.close_queue(task, tx.now)
    if change is None:
        return Changed()
    effects = Effects(tx)
    effects.apply(change)
    audit.append(tx, act, f"task:{id}")
    return effects.changed()


def open_queue(tx: Tx, id: str) -> tuple[TaskRow, QueueRow]:
    """The task and its queue; it may have ended. Raises NotFound, Conflict for a fan-out."""
    task = tx.task(id)
    if task is None:
        raise NotFound(f"no task has the id {id}")
    queue = tx.queue(id) if task.mode == QUEUE else None
    if queue is None:
        raise Conflict(f"task {id} is a fan-out: its runs are those of its targets")
    return task, queue
