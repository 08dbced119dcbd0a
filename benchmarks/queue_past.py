"""A store with a queue of very many items that have ended, made in seconds: the runs by SQL."""

from pathlib import Path

from msgspec.structs import replace

from benchmarks.store import ACT, INSTANCE, enrol, new_task
from master.changes import NewQueue
from master.engine import connect
from master.storage import Storage
from wire.queues import ITEMS_AT_ONCE
from wire.states import RunState

HOSTS = 50
ENDS = (RunState.FAILED, RunState.TIMEOUT, RunState.UNKNOWN)  # of what is dead, in turn


def make_past_queue(file: Path, items: int, dead_of: int) -> str:
    """The id of a queue whose items have ended: one of so many is dead, each with another output;
    the others have succeeded."""
    storage = Storage(file)
    try:
        enrol(storage, HOSTS)
        new = replace(new_task([]), queue=NewQueue(open=True))
        task = storage.add_task(new, ACT).wait().task.id
        for start in range(0, items, ITEMS_AT_ONCE):
            part = [f"item-{n:07}" for n in range(start, min(items, start + ITEMS_AT_ONCE))]
            storage.add_items(task, "benchmark", start, part, ACT).wait()
        storage.close_queue(task, ACT).wait()
    finally:
        storage.close()
    _end(file, task, items, dead_of)
    return task


def _end(file: Path, task: str, items: int, dead_of: int) -> None:
    """As if agents had taken each item and told of it, one after the other."""
    connection = connect(file)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TEMP TABLE hosts AS SELECT rowid AS place, id, hostname FROM agents")
    values = {"task": task, "each": dead_of, "instance": INSTANCE, "hosts": HOSTS}
    dead = (
        f"CASE WHEN i.seq % :each THEN 'SUCCEED' WHEN i.seq / :each % 3 = 0 THEN '{ENDS[0]}'"
        f" WHEN i.seq / :each % 3 = 1 THEN '{ENDS[1]}' ELSE '{ENDS[2]}' END"
    )
    connection.execute(
        "INSERT INTO runs (id, task, seq, agent, hostname, attempt, state, reason, granted_no,"
        " instance, start_by, settled, created_at, priority, task_seq, started_at, ended_at,"
        " granted_at, code, killed, survivors, left_running, output_bytes, output_stored,"
        " output_sha256, row_version, tries)"
        " SELECT printf('%032x', i.seq + (1 << 40)), t.id, i.seq, h.id, h.hostname, 1,"
        f" {dead}, '', 1 + i.seq / :hosts, :instance, t.expires_at, 1, t.created_at, 0, t.seq,"
        " t.created_at, t.created_at + 1, t.created_at, CASE WHEN i.seq % :each THEN 0 ELSE 1 END,"
        " 0, '[]', 0, 13, 13, CASE WHEN i.seq % :each THEN printf('%064x', 1)"
        " ELSE printf('%064x', i.seq + 2) END, 2, 1"
        " FROM tasks t JOIN items i ON i.task_seq = t.seq"
        " JOIN hosts h ON h.place = 1 + i.seq % :hosts WHERE t.id = :task",
        values,
    )
    connection.execute(
        "INSERT INTO outputs SELECT r.id, 1, 0, 13, CAST(i.content || char(10) AS BLOB)"
        " FROM tasks t JOIN items i ON i.task_seq = t.seq"
        " JOIN runs r ON r.task_seq = i.task_seq AND r.seq = i.seq WHERE t.id = :task",
        values,
    )
    connection.execute("UPDATE agents SET granted = :items, acked = :items", {"items": items})
    connection.execute(
        "UPDATE tasks SET state = 'FAILED', started_at = created_at, ended_at = created_at + 1,"
        " waiting = 0, "
        + ", ".join(
            f"{state.lower()} = (SELECT COUNT(*) FROM runs WHERE task_seq = tasks.seq"
            f" AND state = '{state}')"
            for state in (RunState.SUCCEED, *ENDS)
        )
        + " WHERE id = :task",
        values,
    )
    connection.execute("UPDATE queues SET taken = items WHERE id = :task", values)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
