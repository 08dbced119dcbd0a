"""What does a verb see and change? One unit of work over the store's one transaction.

Records are read once and kept for the length of the transaction, so a hundred
results of one task read and write its counters once. A verb works in an overlay of
its own: `keep` lets the verbs after it see what it put, `drop` leaves nothing of it.
`flush` writes all that was kept, each row only if it still has the version that was
read; otherwise Stale, and the whole transaction is rolled back and decided again.
"""

import operator
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from master.books import Sweep, is_open, swept
from master.chain import START, Entry, Link, following
from master.engine import used_bytes
from master.records import Agent, Attempt, Item, Queue, Run, Task
from master.rows import (
    AgentRow,
    AttemptRow,
    QueueRow,
    Row,
    RunRow,
    TaskRow,
    decode_rows,
    encode_changes,
    encode_whole,
    to_json,
)
from master.task import QUEUE
from wire.states import RunState

CANDIDATES = 16  # waiting runs looked at for one poll before asking again
DUE = 64  # runs of a queue that wait for another attempt, read at once
FEW, AHEAD = 4, 64  # items of a queue that are read at once: at first, and at most


class Stale(Exception):
    """A row changed between its reading and its writing: somebody else writes this store too."""


class Needs(Struct, frozen=True):
    """What a verb is going to read, so that a batch of verbs reads it in one statement each.

    Only a hint: what is not named is read when it is asked for. `direct`: the verb
    runs statements of its own that change rows, and needs a savepoint around them.
    """

    runs: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    open_runs_of: tuple[str, ...] = ()
    claimable_by: tuple[str, ...] = ()
    direct: bool = False


class Chunk(NamedTuple):
    run: str
    attempt: int
    start: int
    content: bytes


class NewDelivery(NamedTuple):
    """What a callback has to tell of; `payload` is JSON, `path` that of the page about it."""

    id: str
    callback: str
    event: str
    object: str
    path: str
    payload: str


class _Table(Generic[Row]):
    """The records of one table: as read or kept, and as the present verb put them."""

    def __init__(self, name: str, row: type[Row]):
        self.name = name
        self.row = row
        self.base: dict[str, Row | None] = {}
        self.own: dict[str, Row] = {}
        self.dirty: set[str] = set()
        self.new: set[str] = set()  # of the dirty ones, those that are to be inserted
        self.own_new: set[str] = set()

    def add(self, id: str, record: Row) -> None:
        """A record of which there is no row yet."""
        self.own[id] = record
        self.own_new.add(id)

    def keep(self) -> None:
        if self.own:
            self.base.update(self.own)
            self.dirty.update(self.own)
            self.new.update(self.own_new)
            self.own, self.own_new = {}, set()

    def drop(self) -> None:
        self.own, self.own_new = {}, set()

    def written(self) -> None:
        for id in self.dirty - self.new:
            record: Any = self.base[id]
            self.base[id] = replace(record, row_version=record.row_version + 1)
        self.dirty, self.new = set(), set()

    def forget(self) -> None:
        self.drop()
        self.base, self.dirty, self.new = {}, set(), set()


class _Due:
    """The runs of a queue that wait for another attempt, as far as they were read."""

    def __init__(self, ids: Iterable[str], until: float | None):
        self.ids = set(ids)
        self.until = until  # there may be more that are due then or later; None: these are all


class Tx:
    """`now` is one moment for all verbs of the transaction."""

    def __init__(self, connection: sqlite3.Connection, queries: Mapping[str, str], now: float):
        self.now = now
        self._connection = connection
        self._queries = queries
        self._agents = _Table("agents", AgentRow)
        self._tasks = _Table("tasks", TaskRow)
        self._runs = _Table("runs", RunRow)
        self._queues = _Table("queues", QueueRow)
        self._attempts = _Table("attempts", AttemptRow)
        # Written in this order, so that two writers cannot wait for each other; a row that refers
        # to another comes after it.
        self._tables: tuple[_Table[Any], ...] = (
            self._tasks,
            self._queues,
            self._agents,
            self._runs,
            self._attempts,
        )
        self._due: dict[str, _Due] = {}  # by task
        self._ahead = FEW
        self._items: dict[tuple[int, int], Item] = {}  # by task_seq and seq; they never change
        self._open: dict[str, set[str]] = {}  # runs of an agent that are open, or were
        self._to_claim: set[str] = set()  # agents that are going to claim
        self._claimable: dict[str, list[str]] = {}
        self._retried: set[str] = set()  # runs with another attempt
        self._replaced: list[RunRow] = []  # as they were when their verdict was UNKNOWN
        self._sweeps: list[Sweep] = []
        self._own_sweeps: list[Sweep] = []
        self._meta: dict[str, str | None] = {}
        self._own_meta: dict[str, str] = {}
        self._dirty_meta: set[str] = set()
        self._chunks: list[Chunk] = []
        self._own_chunks: list[Chunk] = []
        self._acts: list[Entry] = []
        self._own_acts: list[Entry] = []
        self._last_act: Link | None = None  # of the audit log; None: not read yet
        self._deliveries: list[NewDelivery] = []
        self._own_deliveries: list[NewDelivery] = []

    # ---- reading

    def agent(self, id: str) -> AgentRow | None:
        return self._one(self._agents, id)

    def task(self, id: str) -> TaskRow | None:
        return self._one(self._tasks, id)

    def queue(self, task: str) -> QueueRow | None:
        """Of a task that is one."""
        return self._one(self._queues, task)

    def attempt(self, id: str) -> AttemptRow | None:
        """An attempt that was followed by another, by `attempt_id` of master/queue_retry.py."""
        return self._one(self._attempts, id)

    def run(self, id: str) -> RunRow | None:
        run = self._one(self._runs, id)
        if self._sweeps or self._own_sweeps:
            return _swept(run, (*self._sweeps, *self._own_sweeps))
        return run

    def meta(self, name: str) -> str | None:
        """A value of which the store has one."""
        if name in self._own_meta:
            return self._own_meta[name]
        if name not in self._meta:
            row = self.row("meta", name=name)
            self._meta[name] = None if row is None else row[0]
        return self._meta[name]

    def open_runs(self, agent: str) -> list[RunRow]:
        """RUNNING, or UNKNOWN and not settled, in the order of their grants."""
        if agent not in self._open:
            self.flush()
            self._fetch_open([agent])
        ids = self._open[agent].union(
            id for id, run in self._runs.own.items() if run.agent == agent
        )
        runs = [run for id in ids if (run := self.run(id)) is not None]
        found = [run for run in runs if run.agent == agent and is_open(run)]
        return sorted(found, key=lambda run: run.grant or 0)

    def claimable(self, agent: str, *, afresh: bool = False) -> list[RunRow]:
        """At most CANDIDATES waiting runs of tasks that may start one, the first to start first.

        The task's counters are for the caller to look at again: verbs of this
        transaction may have changed them. `afresh` looks past those given before.
        """
        if afresh or agent not in self._claimable:
            self.flush()
            self._fetch_claimable([agent] if afresh else {agent, *self._to_claim})
            self._to_claim = set()
        found = [self.run(id) for id in self._claimable[agent]]
        return [run for run in found if run is not None and run.state is RunState.WAITING]

    def runs_of_task(self, task: TaskRow, *states: RunState) -> list[RunRow]:
        self.flush()
        return self._current(
            self._collect(RunRow, "runs_of_task_in", task_seq=task.seq, states=to_json(states)),
            states,
        )

    def waiting_below(self, task: Task, place: int, limit: int) -> list[RunRow]:
        """The first runs of the task that wait before this place, at most `limit`."""
        self.flush()
        most = limit + sum(run.task == task.id for run in self._runs.own.values())
        found = self.rows("waiting_below", task_seq=task.seq, place=place, limit=most)
        waiting = (self.run(id) for (id,) in found)
        return [run for run in waiting if run is not None and run.state is RunState.WAITING][:limit]

    def waiting_runs_of_agent(self, agent: str) -> list[RunRow]:
        self.flush()
        return self._current(
            self._collect(RunRow, "waiting_runs_of_agent", agent=agent), (RunState.WAITING,)
        )

    def unconfirmed_attempts(self, agent: str, hw: int) -> list[AttemptRow]:
        """Earlier attempts of the agent whose hand-outs have numbers above `hw`."""
        found = self._collect(AttemptRow, "attempts_above", agent=agent, hw=hw)
        ids = [one.id for one in self._learn(self._attempts, found)]
        known = {**self._attempts.base, **self._attempts.own}
        added = [id for id, one in known.items() if one is not None and one.agent == agent]
        current = (self.attempt(id) for id in dict.fromkeys([*ids, *added]))
        return [one for one in current if one is not None and one.grant > hw]

    def attempts(self, ids: Iterable[str]) -> list[AttemptRow]:
        """Those that there are, read in one statement."""
        wanted = list(ids)
        self._fetch(self._attempts, wanted)
        return [one for id in wanted if (one := self.attempt(id)) is not None]

    def due_runs(self, task: Task) -> list[RunRow]:
        """Runs of a queue that wait for another attempt, the first of them that are due, by time.

        None are left out that are due before one that is given; see `due_until` for the others.
        """
        known = self._due.get(task.id)
        if known is None:
            return self._read_due(task)
        found = self._waiting_of(task, known)
        return self._read_due(task) if not found and known.until is not None else found

    def due_until(self, task: Task) -> float | None:
        """From when on more may be due than `due_runs` has given; None: it has given all."""
        return self._due[task.id].until

    def item(self, task: Task, seq: int) -> Item | None:
        """What a run of the queue is made of."""
        if (task.seq, seq) not in self._items:
            self._read_items(task, seq, 1)
        return self._items.get((task.seq, seq))

    def next_item(self, task: Task, seq: int) -> Item | None:
        """As `item`, with those behind it: the more claims share this transaction, the more of
        them are read at once."""
        if (task.seq, seq) not in self._items:
            self._read_items(task, seq, self._ahead)
            self._ahead = min(2 * self._ahead, AHEAD)
        return self._items.get((task.seq, seq))

    # ---- changing

    def runs(self, ids: Iterable[str]) -> list[RunRow]:
        """Those that there are, read in one statement."""
        wanted = list(ids)
        self._fetch(self._runs, wanted)
        self._fetch(self._tasks, {run.task for id in wanted if (run := self._runs.base[id])})
        return [run for id in wanted if (run := self.run(id)) is not None]

    def add_run(self, run: Run) -> RunRow:
        """A run of a queue, which is made when it is handed out."""
        row = RunRow(**asdict(run))
        self._runs.add(row.id, row)
        return row

    def add_attempt(self, attempt: Attempt) -> None:
        row = AttemptRow(**asdict(attempt))
        self._attempts.add(row.id, row)

    def put(self, record: Agent | Task | Run | Queue | Attempt) -> None:
        """A record that was fetched here, with some fields replaced."""
        match record:
            case RunRow():
                self._runs.own[record.id] = record
            case TaskRow():
                self._tasks.own[record.id] = record
            case AgentRow():
                self._agents.own[record.id] = record
            case QueueRow():
                self._queues.own[record.id] = record
            case AttemptRow():
                self._attempts.own[record.id] = record
            case _:
                raise TypeError(f"{type(record).__name__} was not fetched from this transaction")

    def sweep_waiting(self, sweep: Sweep) -> None:
        """Move all runs of the task that wait, in one statement; its counters are the caller's."""
        self._own_sweeps.append(sweep)

    def put_meta(self, name: str, value: str) -> None:
        self._own_meta[name] = value

    def add_output(self, run: Run, start: int, content: bytes) -> None:
        self._own_chunks.append(Chunk(run.id, run.attempt, start, content))

    def put_act(self, entry: Entry) -> None:
        """A record for the audit log, see master/audit.py. It is numbered when it is written."""
        self._own_acts.append(entry)

    def put_delivery(self, delivery: NewDelivery) -> None:
        """Something to be told by a callback, see master/callbacks.py."""
        self._own_deliveries.append(delivery)

    def execute(self, name: str, /, **values: object) -> int:
        """A statement by name, for verbs with `direct`; the number of rows it changed."""
        return self._connection.execute(self._queries[name], values).rowcount

    def rows(self, name: str, /, **values: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(self._queries[name], values).fetchall()

    def row(self, name: str, /, **values: object) -> tuple[Any, ...] | None:
        found = self.rows(name, **values)
        return found[0] if found else None

    def used_bytes(self) -> int:
        """What the store has in use on disk."""
        return used_bytes(self._connection)

    # ---- for the writer

    def prefetch(self, needs: Iterable[Needs]) -> None:
        """One statement a table, whatever the number of verbs.

        What may be claimed is read at the first claim, when the results before it are written.
        """
        runs: set[str] = set()
        agents: set[str] = set()
        open_of: set[str] = set()
        for need in needs:
            runs.update(need.runs)
            agents.update(need.agents)
            open_of.update(need.open_runs_of)
            self._to_claim.update(need.claimable_by)
        self._fetch(self._runs, runs)
        self._fetch(self._agents, agents)
        if open_of:
            self._fetch_open(open_of)
        self._fetch_tasks()

    def keep(self) -> None:
        for id, run in self._runs.own.items():
            if run.agent in self._open:
                self._open[run.agent].add(id)
            if run.due_at is not None and run.task in self._due:
                self._due[run.task].ids.add(id)
            old = self._runs.base.get(id)
            if old is not None and _is_replaced(old, run):
                self._replaced.append(old)
            if old is not None and _of_retries(old) != _of_retries(run):
                self._retried.add(id)
        for table in self._tables:
            table.keep()
        self._sweeps += self._own_sweeps
        self._chunks += self._own_chunks
        self._meta.update(self._own_meta)
        self._dirty_meta.update(self._own_meta)
        self._acts += self._own_acts
        self._deliveries += self._own_deliveries
        self._own_deliveries = []
        self._own_sweeps, self._own_chunks, self._own_meta, self._own_acts = [], [], {}, []

    def drop(self) -> None:
        self._own_deliveries = []
        for table in self._tables:
            table.drop()
        self._own_sweeps, self._own_chunks, self._own_meta, self._own_acts = [], [], {}, []

    def reread(self) -> None:
        """For verbs with `direct`, after a statement that changes what was read before. What the
        verb has put so far is written; its acts and deliveries stay its own until it is over, for
        it may still fail."""
        acts, deliveries = self._own_acts, self._own_deliveries
        self._own_acts, self._own_deliveries = [], []
        self.keep()
        self.flush()
        self.forget()
        self._own_acts, self._own_deliveries = acts, deliveries

    def forget(self) -> None:
        """What was read or put may be wrong now. Only after a flush: what was kept must be
        written."""
        self.drop()
        for table in self._tables:
            table.forget()
        self._open, self._claimable, self._meta, self._due = {}, {}, {}, {}

    def flush(self) -> None:
        """Write what was kept."""
        for table in self._tables:
            if table is self._runs:
                self._write_retries()
            self._write(table)
        self._write_history()
        self._write_sweeps()
        self._write_chunks()
        self._write_meta()

    def finish(self) -> None:
        """Before the commit. Acts are numbered and written last, in one statement for all verbs."""
        self.flush()
        self._write_deliveries()
        self._write_acts()

    # ---- below: fetching

    def _one(self, table: _Table[Row], id: str) -> Row | None:
        if id in table.own:
            return table.own[id]
        if id not in table.base:
            self._fetch(table, [id])
        return table.base[id]

    def _fetch(self, table: _Table[Row], ids: Iterable[str]) -> None:
        missing = [id for id in ids if id not in table.base]
        if not missing:
            return
        table.base.update(dict.fromkeys(missing))
        found = self._collect(table.row, f"{table.name}_by_id", ids=to_json(missing))
        self._learn(table, found)

    def _fetch_open(self, agents: Iterable[str]) -> None:
        ids = list(agents)
        self._open.update({id: set() for id in ids})
        for run in self._learn(self._runs, self._collect(RunRow, "open_runs", agents=to_json(ids))):
            self._open[run.agent].add(run.id)

    def _fetch_claimable(self, agents: Iterable[str]) -> None:
        ids = list(agents)
        self._claimable.update({id: [] for id in ids})
        found = self._collect(RunRow, "claimable_runs", agents=to_json(ids), limit=CANDIDATES)
        for run in sorted(self._learn(self._runs, found), key=_claim_order):
            self._claimable[run.agent].append(run.id)
        self._fetch_tasks()

    def _fetch_tasks(self) -> None:
        """Of all runs that were read."""
        self._fetch(self._tasks, {run.task for run in self._runs.base.values() if run is not None})
        tasks = (task for task in self._tasks.base.values() if task is not None)
        self._fetch(self._queues, [task.id for task in tasks if task.mode == QUEUE])

    def _read_items(self, task: Task, seq: int, number: int) -> None:
        row = self.row("items_from", task_seq=task.seq, seq=seq, until=seq + number)
        found = _decode_items(row[0]) if row else []
        self._items.update({(task.seq, item.seq): item for item in found})

    def _read_due(self, task: Task) -> list[RunRow]:
        self.flush()
        rows = self.rows("due_runs", task_seq=task.seq, limit=DUE)
        ids = [id for id, _ in rows]
        self._due[task.id] = known = _Due(ids, rows[-1][1] if len(rows) == DUE else None)
        self._fetch(self._runs, ids)
        return self._waiting_of(task, known)

    def _waiting_of(self, task: Task, known: _Due) -> list[RunRow]:
        own = [run.id for run in self._runs.own.values() if run.task == task.id]
        runs = [run for id in known.ids.union(own) if (run := self.run(id)) is not None]
        waiting = [
            (run.due_at, run.seq, run)
            for run in runs
            if run.state is RunState.WAITING
            and run.due_at is not None
            and (known.until is None or run.due_at <= known.until)
        ]
        return [run for _, _, run in sorted(waiting, key=lambda one: one[:2])]

    def _current(self, found: list[RunRow], states: tuple[RunState, ...]) -> list[RunRow]:
        """What was just read, as the verbs of this transaction have left it."""
        ids = [run.id for run in self._learn(self._runs, found)]
        current = (self.run(id) for id in ids)
        return sorted(
            (run for run in current if run is not None and run.state in states),
            key=lambda run: (run.task_seq, run.seq),
        )

    def _collect(self, row: type[Row], name: str, /, **values: object) -> list[Row]:
        answer = self._connection.execute(self._queries[name], values).fetchone()
        return decode_rows(row, answer[0])

    def _learn(self, table: _Table[Row], found: list[Row]) -> list[Row]:
        for record in found:
            id: str = record.id  # type: ignore[attr-defined]
            if table.base.get(id) is None:
                table.base[id] = record
        return found

    # ---- below: writing

    def _write(self, table: _Table[Row]) -> None:
        if not table.dirty:
            return
        if table.new:
            added = [record for id in table.new if (record := table.base[id]) is not None]
            self.execute(f"insert_new_{table.name}", rows=encode_whole(table.name, added))
        changed = [
            record for id in table.dirty - table.new if (record := table.base[id]) is not None
        ]
        if not changed:
            table.written()
            return
        written = self.execute(f"update_{table.name}", rows=encode_changes(table.name, changed))
        if written != len(changed):
            raise Stale(f"{len(changed) - written} of {len(changed)} {table.name} had changed")
        table.written()

    def _write_retries(self) -> None:
        if not self._retried:
            return
        ids = self._retried - self._runs.new
        runs = [run for id in ids if (run := self._runs.base[id]) is not None]
        self.execute("update_retries", rows=to_json([(run.id, *_of_retries(run)) for run in runs]))
        self._retried = set()

    def _write_history(self) -> None:
        if not self._replaced:
            return
        rows = [
            (run.id, run.attempt, run.state, run.reason, run.ended_at or self.now, self.now)
            for run in self._replaced
        ]
        self.execute("insert_history", rows=to_json(rows))
        self._replaced = []

    def _write_sweeps(self) -> None:
        for sweep in self._sweeps:
            self.execute(
                "sweep_waiting",
                task=sweep.task,
                state=sweep.to,
                reason=sweep.reason,
                at=sweep.at,
                by=sweep.by,
            )
            for id, run in self._runs.base.items():
                after = _swept(run, [sweep])
                if after is not None and after is not run:
                    self._runs.base[id] = replace(after, row_version=after.row_version + 1)
        self._sweeps = []

    def _write_meta(self) -> None:
        for name in self._dirty_meta:
            self.execute("set_meta", name=name, value=self._meta[name])
        self._dirty_meta = set()

    def _write_deliveries(self) -> None:
        if self._deliveries:
            self.execute("insert_deliveries", rows=to_json(self._deliveries), now=self.now)
            self._deliveries = []

    def _write_acts(self) -> None:
        if not self._acts:
            return
        if self._last_act is None:
            last = self.row("last_audit")
            self._last_act = START if last is None else Link(*last)
        rows = []
        for entry in self._acts:
            self._last_act = following(self._last_act, entry)
            rows.append((*self._last_act, *entry))
        self.execute("insert_audit", rows=to_json(rows))
        self._acts = []

    def _write_chunks(self) -> None:
        if not self._chunks:
            return
        rows, place = [], 1
        for chunk in self._chunks:
            rows.append((chunk.run, chunk.attempt, chunk.start, place, len(chunk.content)))
            place += len(chunk.content)
        content = b"".join(chunk.content for chunk in self._chunks)
        self.execute("insert_outputs", rows=to_json(rows), content=content)
        self._chunks = []


_decode_items = msgspec.json.Decoder(list[Item]).decode


# What only another attempt changes of a run, in the order of `update_retries`.
_of_retries = operator.attrgetter("agent", "hostname", "due_at", "tries", "failed_items")


def _is_replaced(old: RunRow, new: RunRow) -> bool:
    return old.state is RunState.UNKNOWN and new.state is not RunState.UNKNOWN


def _swept(run: RunRow | None, sweeps: Sequence[Sweep]) -> RunRow | None:
    """A waiting run as the sweeps leave it that are not written yet."""
    if run is None or run.state is not RunState.WAITING:
        return run
    for sweep in sweeps:
        if run.task == sweep.task:
            after = swept(run, sweep)
            assert isinstance(after, RunRow)
            return after
    return run


def _claim_order(run: Run) -> tuple[int, int, int]:
    return (-run.priority, run.task_seq, run.seq)
