"""What does a claim from a queue cost the store, at the first of very many items and at the last?

The store alone, on a real file. So that the last ones are reached in seconds, the queue's row is
put forward over the items between, which changes nothing of what a claim reads or writes.
"""

import sqlite3
import time
from pathlib import Path

from msgspec.structs import replace

from benchmarks.store import ACT, INSTANCE, enrol, new_task, pipelined
from master.changes import NewQueue
from master.storage import Storage
from wire.messages import Poll
from wire.queues import ITEMS_AT_ONCE

AGENTS = 500  # that claim at the beginning, and as many others at the end
A_POLL = 4  # claims of one poll


def claims_us(file: Path, items: int) -> tuple[float, float]:
    """Microseconds a claim: of the first 2,000 items, and of the last."""
    storage = Storage(file)
    try:
        agents = enrol(storage, 2 * AGENTS)
        task = _queue(storage, items)
        first = _claims_us(storage, agents[:AGENTS], task)
        _put_forward(file, task, items - AGENTS * A_POLL)
        return first, _claims_us(storage, agents[AGENTS:], task)
    finally:
        storage.close()


def _queue(storage: Storage, items: int) -> str:
    new = replace(new_task([]), queue=NewQueue(open=True))
    task = storage.add_task(new, ACT).wait().task.id
    for start in range(0, items, ITEMS_AT_ONCE):
        part = [f"item-{n:07}" for n in range(start, min(items, start + ITEMS_AT_ONCE))]
        storage.add_items(task, "benchmark", start, part, ACT).wait()
    return task


def _claims_us(storage: Storage, agents: list[str], task: str) -> float:
    poll = Poll(session="", instance=INSTANCE, hw=0, free=A_POLL)
    began = time.perf_counter()
    answers = pipelined(storage.poll(agent, poll, ((task,),)) for agent in agents)
    taken_s = time.perf_counter() - began
    claims = sum(len(answer.grants) for answer in answers)
    assert claims == AGENTS * A_POLL, f"{claims} claims"
    return taken_s / claims * 1e6


def _put_forward(file: Path, task: str, to: int) -> None:
    """All before the item `to` counts as taken and done."""
    connection = sqlite3.connect(file)
    with connection:
        (taken,) = connection.execute("SELECT taken FROM queues WHERE id = ?", [task]).fetchone()
        connection.execute(
            "UPDATE queues SET taken = ?, row_version = row_version + 1 WHERE id = ?", [to, task]
        )
        connection.execute(
            "UPDATE tasks SET waiting = waiting - ?, succeed = succeed + ?,"
            " row_version = row_version + 1 WHERE id = ?",
            [to - taken, to - taken, task],
        )
    connection.close()
