"""How does a task run again, on all of its hosts or on those where it did not succeed?

The new task is one of its own: the runs of the old one never change. Only runs that have
ended are repeated, so a task of which others still run may be retried meanwhile. A run whose
outcome is UNKNOWN may still go on at its host; whoever retries it has been told so.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from master import intake, queue_again, queue_intake, sealing
from master.audit import Act
from master.changes import NewTask, Retried, Retry
from master.effects import queue_of
from master.reach import check_reach
from master.records import Queue, Task
from master.rows import TaskRow, to_json
from master.secrets import Vault
from master.targets import some
from master.task import resolve_parallel
from master.transaction import Tx
from wire.errors import InvalidValue, NotFound
from wire.states import RunState, Standing

REPEATABLE = (
    RunState.FAILED,
    RunState.TIMEOUT,
    RunState.SKIPPED,
    RunState.UNKNOWN,
    RunState.CANCELLED,
)

_decode_found = msgspec.json.Decoder(list[tuple[int, str, str, Standing]]).decode


class Hosts(Struct, frozen=True):
    """Of some runs, in their order, each host once. `left_out`: hostnames no longer enrolled."""

    targets: list[tuple[str, str]]  # (agent id, hostname as it is now)
    left_out: list[str]


def check_states(states: Iterable[str]) -> tuple[RunState, ...]:
    """The states, each once, in one order. Raises InvalidValue."""
    wanted = set(states)
    wrong = sorted(wanted.difference(REPEATABLE))
    if wrong or not wanted:
        raise InvalidValue(
            f"states: {some(wrong) or 'none'} given; it takes of {', '.join(REPEATABLE)}",
            field="states",
        )
    return tuple(state for state in REPEATABLE if state in wanted)


def hosts_of(row: tuple[Any, ...] | None) -> Hosts:
    """What the query targets_of_task has found."""
    found = sorted(_decode_found(row[0] if row and row[0] else "[]"))
    targets = {id: name for _, id, name, standing in found if standing is Standing.ENROLLED}
    left_out = {id: name for _, id, name, standing in found if standing is not Standing.ENROLLED}
    return Hosts(list(targets.items()), list(left_out.values()))


def retry(tx: Tx, wanted: Retry, act: Act, vault: Vault | None = None) -> Retried:
    """Raises NotFound, InvalidValue (nothing to repeat), Forbidden (hosts out of the person's
    reach), Conflict (the key made something else), SecretsUnreadable.
    """
    earlier = _made_before(tx, wanted)
    if earlier is not None:
        return Retried(earlier, created=False)
    old = tx.task(wanted.task)
    if old is None:
        raise NotFound(f"no task has the id {wanted.task}")
    queue = queue_of(tx, old)
    if queue is not None:
        return _retry_queue(tx, wanted, old, queue, act, vault)
    states = to_json(wanted.states)
    hosts = hosts_of(tx.row("targets_of_task", task_seq=old.seq, states=states))
    _refuse_none(hosts, wanted.states)
    check_reach(wanted.reach, dict(hosts.targets))
    new = replace(
        _new_task(tx, wanted, old, hosts.targets),
        secrets=sealing.reseal(tx, old, wanted.id, vault),
    )
    task = intake.add_task(tx, new, act).task
    waiting = tuple(intake.to_wake(new, task))
    return Retried(task, True, waiting, tuple(hosts.left_out))


def _retry_queue(
    tx: Tx, wanted: Retry, old: TaskRow, queue: Queue, act: Act, vault: Vault | None
) -> Retried:
    """Its items are what is repeated; who takes them is looked up as it was for the old one."""
    queue_again.check(old, wanted.states)
    check_reach(wanted.reach, wanted.hosts)
    new = replace(
        _new_task(tx, wanted, old, []),
        expires_in=old.expires_at - old.created_at,
        settings=queue_again.settings_of(old, wanted.within),
        queue=queue_again.as_it_was(queue),
        secrets=sealing.reseal(tx, old, wanted.id, vault),
    )
    made = intake.add_task(tx, new, act).task
    task = queue_again.begin(tx, made, old, wanted.states)
    return Retried(task, True, queues=queue_intake.states(tx, [task]))


def _made_before(tx: Tx, wanted: Retry) -> Task | None:
    if wanted.key is None:
        return None
    found = tx.row("idempotency_key", caller=wanted.created_by, key=wanted.key)
    id = intake.same_task(found, wanted.body_hash)
    return None if id is None else intake.still_kept(tx, id)


def _refuse_none(hosts: Hosts, states: Sequence[RunState]) -> None:
    if hosts.targets:
        return
    if hosts.left_out:
        raise InvalidValue(
            f"states: none of the hosts is enrolled any more: {some(hosts.left_out)}",
            field="states",
        )
    raise InvalidValue(f"states: no run of the task is {' or '.join(states)}", field="states")


def _new_task(tx: Tx, wanted: Retry, old: TaskRow, targets: Sequence[tuple[str, str]]) -> NewTask:
    """As the old one was submitted; a share of the targets is one of the new targets now."""
    row = tx.row("script", sha256=old.script)
    assert row is not None, f"the script of task {old.id} is gone"
    settings = {name: value for name, value in old.settings.items() if name != "targets"}
    return NewTask(
        id=wanted.id,
        script=row[0],
        targets=list(targets),
        name=old.name,
        created_by=wanted.created_by,
        parallel=resolve_parallel(settings.get("parallel", old.parallel), len(targets)),
        fail_count=old.fail_count,
        fail_rate=old.fail_rate,
        on_limit=old.on_limit,
        priority=old.priority,
        offline=old.offline,
        expires_in=float(settings.get("expires_in", old.expires_at - old.created_at)),
        lost_after=old.lost_after,
        settings=settings,
        skip=_skipped(old, wanted, targets),
        key=wanted.key,
        body_hash=wanted.body_hash,
        retry_of=old.id,
        rolling=old.rolling,
        between_waves=old.between_waves,
        wave_pause=old.wave_pause,
        saved=_saved(old),
    )


def _saved(old: Task) -> tuple[str, int] | None:
    if old.saved_script is None or old.saved_version is None:
        return None
    return old.saved_script, old.saved_version


def _skipped(old: Task, wanted: Retry, targets: Sequence[tuple[str, str]]) -> frozenset[str]:
    if old.offline != "skip":
        return frozenset()
    return frozenset(id for id, _ in targets if id in wanted.offline)
