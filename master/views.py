"""What do people and the hub see of the store? Reading verbs, on committed state only.

Lists are walked by key, never by offset: a page costs the same at the end of a long
list as at its beginning. A cursor is the key of the last row, opaque to the caller.
"""

import base64
from collections.abc import Sequence
from os.path import commonprefix
from typing import Any, TypeVar

import msgspec
from msgspec import structs

from master import again, waves
from master.changes import Hold
from master.intake import same_task
from master.reader import Reader
from master.records import Agent, Run, Task
from master.rows import AgentRow, RunRow, TaskRow, decode_rows, to_json
from utils import iso
from wire.errors import Malformed, NotFound
from wire.keys import fingerprint
from wire.states import AgentState, RunState
from wire.views import (
    LETTERS,
    AgentView,
    GridView,
    OneRun,
    Page,
    PastState,
    RunView,
    TaskView,
    WaveView,
)

MAX_LIMIT = 10_000
LARGEST_KEY = 1 << 62
MOST_HISTORY = 100

T = TypeVar("T")

_decode_cells = msgspec.json.Decoder(list[tuple[int, str, str, RunState]]).decode
_decode_agents = msgspec.json.Decoder(list[tuple[AgentRow, int]], strict=False).decode


# ---- agents


def agent(reader: Reader, id: str) -> AgentView:
    found = _decode_agents(text_of(reader.row("one_agent", id=id)))
    if not found:
        raise NotFound(f"no agent has the id {id}")
    return agent_view(*found[0])


def agent_record(reader: Reader, id: str) -> Agent:
    found = decode_rows(AgentRow, text_of(reader.row("agents_by_id", ids=to_json([id]))))
    if not found:
        raise NotFound(f"no agent has the id {id}")
    return found[0]


def all_agents(reader: Reader) -> list[Agent]:
    return list(decode_rows(AgentRow, text_of(reader.row("all_agents"))))


def agent_view(agent: Agent, busy: int) -> AgentView:
    """`state` is what memory alone knows: the hub replaces it."""
    return AgentView(
        id=agent.id,
        hostname=agent.hostname,
        ip=agent.ip,
        labels=agent.labels,
        facts=agent.facts,
        state=AgentState.OFFLINE,
        standing=agent.standing,
        busy=busy,
        slots=agent.slots,
        last_seen=iso(agent.last_seen),
        version=agent.version,
        registered_at=iso(agent.registered_at),
        instance=agent.instance,
        claimed_hostname=agent.claimed_hostname,
        reason=agent.reason,
        joined_by=agent.joined_by,
        fingerprint=fingerprint(agent.key),
    )


# ---- tasks


def task_record(reader: Reader, id: str) -> TaskRow:
    found = decode_rows(TaskRow, text_of(reader.row("tasks_by_id", ids=to_json([id]))))
    if not found:
        raise NotFound(f"no task has the id {id}")
    return found[0]


def task(reader: Reader, id: str, *, script: bool) -> TaskView:
    record = task_record(reader, id)
    view = task_view(record)
    if script:
        view.script_base64 = base64.b64encode(_script(reader, record)).decode()
    return view


def active_tasks(reader: Reader) -> list[Task]:
    found = decode_rows(TaskRow, text_of(reader.row("active_tasks")))
    return sorted(found, key=lambda task: task.seq)


def count_active_tasks(reader: Reader) -> int:
    row = reader.row("count_active_tasks")
    return row[0] if row else 0


def made_by_key(reader: Reader, key: str, caller: str, body_hash: str) -> str | None:
    """Only to save work: the transaction that adds a task looks again."""
    return same_task(reader.row("idempotency_key", caller=caller, key=key), body_hash)


def task_view(task: Task) -> TaskView:
    return TaskView(
        id=task.id,
        name=task.name,
        state=task.state,
        reason=task.reason,
        created_by=task.created_by,
        created_at=iso(task.created_at) or "",
        started_at=iso(task.started_at),
        ended_at=iso(task.ended_at),
        total=task.total,
        counts={state.value: getattr(task, state.lower()) for state in RunState},
        settings=task.settings,
        retry_of=task.retry_of,
        schedule=task.schedule,
        due_at=iso(task.due_at),
        plan=task.plan,
        wave=_wave_view(task),
        stop=task.stop,
        mode=task.mode,
    )


def _wave_view(task: Task) -> WaveView | None:
    if task.released is None:
        return None
    return WaveView(
        number=task.wave,
        of=waves.waves_in_all(task),
        released=task.released,
        resume_at=iso(task.resume_at),
    )


def _script(reader: Reader, task: TaskRow) -> bytes:
    row = reader.row("script", sha256=task.script)
    assert row is not None, f"the script of task {task.id} is gone"
    content: bytes = row[0]
    return content


# ---- runs


def runs(reader: Reader, task: str, limit: int, cursor: str | None, state: str | None) -> Page:
    """In the order of the targets."""
    task_seq = task_record(reader, task).seq
    after = from_cursor(cursor, int) if cursor else -1
    size = size_of(limit)
    key: dict[str, object] = {"task_seq": task_seq, "seq": after, "limit": size + 1}
    if state is None:
        row = reader.row("list_runs", **key)
    else:
        row = reader.row("list_runs_in_state", **key, state=state)
    found = decode_rows(RunRow, text_of(row))
    found.sort(key=lambda run: run.seq)
    more = to_cursor(found[size - 1].seq) if len(found) > size else None
    return Page([run_view(run) for run in found[:size]], more)


def grid(reader: Reader, task: str, offset: int, limit: int) -> GridView:
    """In the order of the targets. `since` is for the hub to fill in. Raises NotFound."""
    record = task_record(reader, task)
    row = reader.row("grid_of_task", task_seq=record.seq, offset=offset, limit=limit)
    cells = sorted(_decode_cells(text_of(row)))
    prefix = commonprefix([id for _, id, _, _ in cells])  # noqa: RUF071 (letters are meant)
    return GridView(
        offset=offset,
        total=record.total,
        prefix=prefix,
        runs=[id[len(prefix) :] for _, id, _, _ in cells],
        hosts=[hostname for _, _, hostname, _ in cells],
        states="".join(LETTERS[state] for _, _, _, state in cells),
        since="",
    )


def targets_of(reader: Reader, task: str, states: Sequence[RunState]) -> again.Hosts:
    """The hosts of the task's runs in these states, as they are now. Raises NotFound."""
    seq = task_record(reader, task).seq
    row = reader.row("targets_of_task", task_seq=seq, states=to_json(states))
    return again.hosts_of(row)


def run(reader: Reader, id: str) -> OneRun:
    """With what it was called before. Raises NotFound."""
    view = run_view(run_record(reader, id))
    past = [
        PastState(attempt, state, reason, iso(at) or "", iso(replaced_at) or "")
        for attempt, state, reason, at, replaced_at in reader.rows(
            "history_of_run", run=id, limit=MOST_HISTORY
        )
    ]
    return OneRun(**structs.asdict(view), history=past)


def run_record(reader: Reader, id: str) -> RunRow:
    found = run_records(reader, [id])
    if not found:
        raise NotFound(f"no run has the id {id}")
    return found[0]


def run_records(reader: Reader, ids: Sequence[str]) -> list[RunRow]:
    return decode_rows(RunRow, text_of(reader.row("runs_by_id", ids=to_json(ids))))


def waiting_agents(reader: Reader, task: str, limit: int) -> list[str]:
    return [row[0] for row in reader.rows("waiting_agents", task=task, limit=limit)]


def run_view(run: Run) -> RunView:
    """`reason` of a waiting run is what only the hub knows: it replaces it."""
    return RunView(
        id=run.id,
        task=run.task,
        agent=run.agent,
        hostname=run.hostname,
        attempt=run.attempt,
        state=run.state,
        reason=run.reason,
        code=run.code,
        created_at=iso(run.created_at) or "",
        started_at=iso(run.started_at),
        ended_at=iso(run.ended_at),
        output_bytes=run.output_bytes,
        output_stored=run.output_stored,
        output_sha256=run.output_sha256,
        output_gap=run.output_gap,
        killed=run.killed,
        survivors=run.survivors,
        left_running=run.left_running,
        seq=run.seq,
        due_at=iso(run.due_at),
    )


# ---- keys


def held(reader: Reader) -> Hold | None:
    row = reader.row("meta", name="hold")
    return msgspec.json.decode(row[0], type=Hold) if row is not None and row[0] else None


# ---- pages


def to_cursor(key: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode()


def from_cursor(cursor: str, kind: type[T]) -> T:
    """The key in a cursor; Malformed when it is none of ours."""
    try:
        key = msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=kind)
        if isinstance(key, int) and not -1 <= key <= LARGEST_KEY:
            raise ValueError("beyond any row")
        return key
    except (ValueError, msgspec.DecodeError) as error:
        raise Malformed(
            "cursor is not one that a list has answered; begin without it", field="cursor"
        ) from error


def size_of(limit: int) -> int:
    return max(1, min(limit, MAX_LIMIT))


def text_of(row: tuple[Any, ...] | None) -> str:
    return "[]" if row is None or row[0] is None else row[0]
