"""How does a task enter the store? Its script, its row and all its runs, in one transaction."""

import hashlib
from typing import Any

from master import audit, callbacks, queue_intake, sealing, waves
from master.audit import Act
from master.books import ended
from master.changes import Added, NewTask
from master.ids import new_ids
from master.records import Task
from master.rolling import rolled
from master.rows import to_json
from master.saved_scripts import runnable
from master.task import FAN_OUT, QUEUE
from master.transaction import Tx
from wire.errors import Conflict
from wire.states import RunState


def add_task(tx: Tx, new: NewTask, act: Act) -> Added:
    """The same idempotency key, or the same id, gives the task that was made then."""
    earlier = _earlier(tx, new)
    if earlier is not None:
        return Added(earlier, created=False)
    if new.saved is not None:
        runnable(tx, *new.saved)  # it may have been disabled since the person looked
    sha256 = hashlib.sha256(new.script).hexdigest()
    tx.execute("insert_script", sha256=sha256, content=new.script)
    _insert(tx, new, sha256)
    if new.queue is not None:
        queue_intake.insert(tx, new.id, new.queue)
    sealing.insert(tx, new.id, new.secrets)
    task = tx.task(new.id)
    assert task is not None
    if new.key is not None:
        tx.execute(
            "insert_idempotency_key",
            caller=new.created_by,
            key=new.key,
            body_hash=new.body_hash,
            task=new.id,
            now=tx.now,
        )
    _note(tx, new, sha256, act)
    begun = ended(rolled(tx, waves.begun(task, tx.now)), tx.now)
    if begun is not task:
        tx.put(begun)
        callbacks.note_task(tx, task, begun)
    return Added(begun, created=True, queues=queue_intake.states(tx, [begun]))


def to_wake(new: NewTask, task: Task) -> list[str]:
    """The agents of a task just made whose runs may start, in order."""
    return [
        agent
        for seq, (agent, _) in enumerate(new.targets)
        if agent not in new.skip and waves.is_released(task, seq)
    ]


def same_task(found: tuple[Any, ...] | None, body_hash: str) -> str | None:
    """The id of the task that the idempotency key made; raises Conflict for another body."""
    if found is None:
        return None
    known_hash, task = found
    if known_hash != body_hash:
        raise Conflict(f"the Idempotency-Key was used for task {task}, with another body")
    id: str = task
    return id


def still_kept(tx: Tx, id: str) -> Task:
    """The task that a key has made. Raises Conflict: a key may outlive its task."""
    task = tx.task(id)
    if task is None:
        raise Conflict(f"the Idempotency-Key was used for task {id}, which is no longer kept")
    return task


def _earlier(tx: Tx, new: NewTask) -> Task | None:
    if new.key is not None:
        found = tx.row("idempotency_key", caller=new.created_by, key=new.key)
        id = same_task(found, new.body_hash)
        if id is not None:
            return still_kept(tx, id)
    return tx.task(new.id)


def _insert(tx: Tx, new: NewTask, sha256: str) -> None:
    skipped = sum(1 for agent, _ in new.targets if agent in new.skip)
    expires_at = tx.now + new.expires_in
    total = len(new.targets) if new.queue is None else queue_intake.runs_of(new.queue)
    row = tx.row(
        "insert_task",
        id=new.id,
        name=new.name,
        created_by=new.created_by,
        parallel=new.parallel,
        fail_count=new.fail_count,
        fail_rate=new.fail_rate,
        on_limit=new.on_limit,
        priority=new.priority,
        offline=new.offline,
        expires_at=expires_at,
        lost_after=new.lost_after,
        total=total,
        waiting=total - skipped,
        skipped=skipped,
        settings=to_json(new.settings),
        script=sha256,
        retry_of=new.retry_of,
        rolling=new.rolling,
        between_waves=new.between_waves,
        wave_pause=new.wave_pause,
        released=0 if new.rolling else None,
        schedule=new.schedule,
        due_at=new.due_at,
        plan=new.plan,
        saved_script=new.saved[0] if new.saved else None,
        saved_version=new.saved[1] if new.saved else None,
        mode=FAN_OUT if new.queue is None else QUEUE,
        open=new.queue is not None and new.queue.open,
        now=tx.now,
    )
    assert row is not None
    tx.execute(
        "insert_runs",
        task=new.id,
        task_seq=row[0],
        priority=new.priority,
        start_by=waves.NEVER if new.rolling else expires_at,
        now=tx.now,
        rows=to_json(_run_rows(tx, new)),
    )
    tx.reread()


def _note(tx: Tx, new: NewTask, sha256: str, act: Act) -> None:
    """What was submitted; not its script, arguments or environment, which may hold secrets."""
    detail: dict[str, Any] = {"name": new.name, "hosts": len(new.targets), "script_sha256": sha256}
    if "targets" in new.settings:
        detail["targets"] = new.settings["targets"]
    if new.settings.get("user") is not None:
        detail["user"] = new.settings["user"]
    if new.queue is not None:
        detail |= {"queue": new.queue.name, "items": len(new.queue.items)}
    if new.retry_of is not None:
        detail["retry_of"] = new.retry_of
    audit.append(tx, act, f"task:{new.id}", **detail)


def _run_rows(tx: Tx, new: NewTask) -> list[tuple[Any, ...]]:
    """(id, seq, agent, hostname, state, reason, ended_at) of each run."""
    ids = new_ids(len(new.targets))
    return [
        (id, seq, agent, hostname, RunState.SKIPPED, new.skip_reason, tx.now)
        if agent in new.skip
        else (id, seq, agent, hostname, RunState.WAITING, "", None)
        for id, (seq, (agent, hostname)) in zip(ids, enumerate(new.targets), strict=True)
    ]
