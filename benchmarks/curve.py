"""Does anything cost more with a million past runs in the store? The curve of each verb.

A store with --agents hosts is filled with past runs, by SQL since that is quick, and at several
sizes on the way its verbs are timed at full durability: what agents say (many at once, as a busy
master hears them), what people ask. At the end the past is forgotten again, beside claims.
"""

import hashlib
import random
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import gevent
from gevent.event import Event

from benchmarks.common import Value, conditions, parser, percentile, report, workplace
from master.audit import Act
from master.changes import NewTask, PollAnswer
from master.database import Done, Verb
from master.engine import connect
from master.ids import new_id
from master.purger import Purger
from master.retention import Keep
from master.search import Wanted
from master.storage import Storage
from wire.messages import Grant, Poll, Register, Result
from wire.states import Cause, RunState, TaskState

SHARES = (0.0, 0.1, 0.3, 1.0)  # of the past that is there when verbs are timed
ACT = Act("benchmark", "system", "benchmark.do", address="10.0.0.1")
IN_FLIGHT = 256
AT_ONCE = 2_000  # runs that are claimed and finished in one measurement
ROUNDS = 3
ASKED = 25  # times that a page is asked for
FAN_OUT = 1_000  # runs of a large past task; a small one has SMALL
SMALL = 10
SMALL_A_LARGE = 100  # so half of the past runs are of large tasks
WATCHED_S = 5.0  # claims are timed so long, without and with forgetting beside them
FACTOR, SLACK_MS = 1.5, 0.3  # what may lie between the first and the last point of a flat curve
# These look at more tasks the more there are, up to a bound that master/search.py sets.
BOUNDED_MS = {"tasks_of_agent": 50.0, "tasks_by_name": 50.0, "runs_of_agent": 50.0}
BAR = 40
OUTPUT = b"hello\n"
SHA256 = hashlib.sha256(OUTPUT).hexdigest()
INSTANCE = "0" * 32
HOUR_S = 3600.0

T = TypeVar("T")
Figures = dict[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=1_000_000, help="past runs at the end")
    options.add_argument("--agents", type=int, default=10_000, help="hosts; at least 2,000")
    given = options.parse_args(argv)
    around = conditions(given.dir)
    curve: dict[int, Figures] = {}
    with workplace(given.dir) as folder:
        past = Past(folder / "store.sqlite", max(given.agents, AT_ONCE))
        for share in SHARES:
            past.grow_to(round(given.runs * share))
            curve[past.runs] = _timed(past)
            _say(past)
        found = _forgetting(past)
    _draw(curve)
    found |= {
        f"{name}_ms_at_{runs}": round(value, 3)
        for runs, row in curve.items()
        for name, value in row.items()
    }
    grown = _grown(curve)
    found["grown"] = ", ".join(grown) or "nothing"
    report(found, around, given.json)
    return 1 if grown else 0


# ---- the past


class Past:
    """A store whose past grows. `granted`: the last hand-out of each agent."""

    def __init__(self, path: Path, count: int):
        self.path = path
        self.runs = 0
        self.large: str = ""  # the newest large task of the past
        self._tasks = 0
        self._chance = random.Random(1)
        self._begin_s = time.time() - 80 * 24 * HOUR_S
        storage = Storage(path)
        self.agents = _enrol(storage, count)
        storage.add_task(_task(self.agents[:1]), ACT).wait()  # its script is that of all past tasks
        storage.close()
        self.granted = dict.fromkeys(self.agents, 0)

    def grow_to(self, runs: int) -> None:
        connection = connect(self.path)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -200000")
        (self._tasks,) = connection.execute("SELECT MAX(seq) FROM tasks").fetchone()
        while self.runs < runs:
            connection.execute("BEGIN IMMEDIATE")
            for size in (FAN_OUT, *[SMALL] * SMALL_A_LARGE):
                self._add_task(connection, min(size, max(1, runs - self.runs)))
            connection.execute("COMMIT")
        self._set_granted(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def _add_task(self, connection: sqlite3.Connection, size: int) -> None:
        self._tasks += 1
        at = self._begin_s + self._tasks
        id = _id_at(at, self._chance)
        if size == FAN_OUT:
            self.large = id
        connection.execute(
            "INSERT INTO tasks (id, seq, name, state, reason, created_by, created_at, started_at,"
            " ended_at, parallel, on_limit, priority, offline, expires_at, lost_after, total,"
            " waiting, running, succeed, failed, timeout, cancelled, skipped, unknown, settings,"
            " script, row_version) SELECT ?, ?, ?, 'SUCCEED', '', 'alice', ?, ?, ?, 0, 'finish', 0,"
            " 'wait', ?, 900, ?, 0, 0, ?, 0, 0, 0, 0, 0, '{}', sha256, 4 FROM scripts LIMIT 1",
            (id, self._tasks, f"task {self._tasks}", at, at, at + 1, at + HOUR_S, size, size),
        )
        ids = [_id_at(at, self._chance) for _ in range(size)]
        agents = self._chance.sample(self.agents, size)
        connection.executemany(
            "INSERT INTO runs (id, task, seq, agent, hostname, attempt, state, reason, granted_no,"
            " instance, start_by, settled, created_at, priority, task_seq, started_at, ended_at,"
            " granted_at, code, killed, survivors, left_running, output_bytes, output_stored,"
            " output_sha256, row_version) VALUES (?, ?, ?, ?, ?, 1, 'SUCCEED', '', ?, ?, ?, 1, ?,"
            " 0, ?, ?, ?, ?, 0, 0, '[]', 0, 6, 6, ?, 2)",
            (
                (
                    run,
                    id,
                    seq,
                    agent,
                    f"sim{seq:05}",
                    self._next_grant(agent),
                    INSTANCE,
                    at + HOUR_S,
                )
                + (at, self._tasks, at, at + 1, at, SHA256)
                for seq, (run, agent) in enumerate(zip(ids, agents, strict=True))
            ),
        )
        connection.executemany(
            "INSERT INTO outputs VALUES (?, 1, 0, 6, ?)", ((run, OUTPUT) for run in ids)
        )
        connection.execute(
            "INSERT INTO idempotency_keys (caller, key, body_hash, task, created_at)"
            " VALUES ('alice', ?, '', ?, ?)",
            (id, id, at),
        )
        self.runs += size

    def _next_grant(self, agent: str) -> int:
        self.granted[agent] += 1
        return self.granted[agent]

    def _set_granted(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "UPDATE agents SET granted = ?, acked = ? WHERE id = ?",
            ((number, number, agent) for agent, number in self.granted.items()),
        )
        connection.execute("COMMIT")


def _id_at(at: float, chance: random.Random) -> str:
    """As master/ids.py makes them, of a time that has passed."""
    return f"{int(at * 1000):012x}{chance.getrandbits(80):020x}"


def _enrol(storage: Storage, count: int) -> list[str]:
    token = storage.make_join_token("agent", "benchmark").wait().secret
    forms = [
        Register(
            new_id(), f"sim{n:05}", ["10.0.0.1"], INSTANCE, "machine", 4, "0.1.0", 1, token=token
        )
        for n in range(count)
    ]
    _all(storage.enrol(f"key of {form.id}", form, ACT) for form in forms)
    return [form.id for form in forms]


# ---- the verbs


def _timed(past: Past) -> Figures:
    """Median times in ms; those of agents and of 10,000 runs are of one run among many."""
    storage = Storage(past.path)
    try:
        rounds = [_work(past, storage) for _ in range(ROUNDS)]
        figures = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        return figures | _pages(past, storage)
    finally:
        storage.close()


def _work(past: Past, storage: Storage) -> Figures:
    """A task of many, claimed and finished; and tasks of one."""
    agents = past.agents[:AT_ONCE]
    began = time.perf_counter()
    storage.add_task(_task(agents), ACT).wait()
    added = time.perf_counter()
    grants = _claim(past, storage, agents)
    assert len(grants) == len(agents)
    claimed = time.perf_counter()
    _all(storage.finish(agent, _result(grant.run, grant.grant)) for agent, grant in grants)
    finished = time.perf_counter()
    singles = [_once(storage.add_task(_task(agents[:1]), ACT)) for _ in range(ASKED)]
    _end(past, storage, agents[0])
    return {
        "add_task_of_one": statistics.median(singles),
        "add_task_a_run": (added - began) * 1000 / len(agents),
        "claim": (claimed - added) * 1000 / len(agents),
        "result": (finished - claimed) * 1000 / len(agents),
    }


def _claim(past: Past, storage: Storage, agents: Sequence[str]) -> list[tuple[str, Grant]]:
    """One run for each agent: (agent, its hand-out)."""
    found: list[tuple[str, Grant]] = []

    def taken(agent: str) -> Verb[PollAnswer]:
        verb = storage.poll(agent, _poll(past.granted[agent]))

        def begin(done: Done[PollAnswer]) -> None:
            def noted(answer: PollAnswer | BaseException) -> None:
                if isinstance(answer, PollAnswer):
                    found.extend((agent, grant) for grant in answer.grants)
                done(answer)

            verb.then(noted)

        return Verb(begin)

    _all(taken(agent) for agent in agents)
    past.granted.update({agent: grant.grant for agent, grant in found})
    return found


def _end(past: Past, storage: Storage, agent: str) -> None:
    """Finish what waits for the agent, so that the next round finds the store as this one did."""
    while grants := storage.poll(agent, _poll(past.granted[agent], free=16)).wait().grants:
        for grant in grants:
            past.granted[agent] = max(past.granted[agent], grant.grant)
        _all(storage.finish(agent, _result(grant.run, grant.grant)) for grant in grants)


def _pages(past: Past, storage: Storage) -> Figures:
    """What people look at. The list of hosts is not here: it is made from memory alone."""
    agent = past.agents[len(past.agents) // 2]
    task = past.large or storage.tasks(1).wait().items[0].id
    run = storage.runs(task, 1).wait().items[0].id
    asked: dict[str, Callable[[], Verb[Any]]] = {
        "tasks_page": lambda: storage.tasks(50),
        "tasks_active": lambda: storage.tasks(50, None, Wanted(state=TaskState.RUNNING)),
        "tasks_of_person": lambda: storage.tasks(50, None, Wanted(created_by="alice")),
        "tasks_of_agent": lambda: storage.tasks(20, None, Wanted(agent=agent)),
        "tasks_by_name": lambda: storage.tasks(20, None, Wanted(text="no such name")),
        "runs_page": lambda: storage.runs(task, 50),
        "runs_of_agent": lambda: storage.runs_of_agent(agent, 20),
        "groups": lambda: storage.groups(task, 50),
        "grid": lambda: storage.grid(task, 0, 1000),
        "host": lambda: storage.agent(agent),
        "run": lambda: storage.run(run),
        "output": lambda: storage.output(run, 0, 1 << 16),
    }
    return {
        name: statistics.median(_once(ask()) for _ in range(ASKED)) for name, ask in asked.items()
    }


def _task(agents: Sequence[str]) -> NewTask:
    return NewTask(
        id=new_id(),
        script=b"echo hello\n",
        targets=[(agent, f"sim{n:05}") for n, agent in enumerate(agents)],
        name="now",
        created_by="alice",
        parallel=0,
        fail_count=None,
        fail_rate=None,
        on_limit="finish",
        priority=0,
        offline="wait",
        expires_in=HOUR_S,
        lost_after=900.0,
        settings={},
        key=new_id(),
    )


def _poll(hw: int, free: int = 1) -> Poll:
    return Poll("", INSTANCE, hw, free)


def _result(run: str, grant: int) -> Result:
    now = time.time()
    return Result(
        "", grant, 1, run, 1, grant, RunState.SUCCEED, Cause.EXIT, 0, started_at=now, ended_at=now,
        output_bytes=len(OUTPUT), output_sha256=SHA256, data=OUTPUT,
    )  # fmt: skip


# ---- forgetting


class Watched(NamedTuple):
    """How long claims took, in ms, one after the other."""

    p50_ms: float
    p99_ms: float
    most_ms: float


def _forgetting(past: Past) -> dict[str, Value]:
    """Claims with nothing beside them, and then while the past is being forgotten."""
    storage = Storage(past.path)
    try:
        alone = _watched(past, storage)
        before = _count_runs(past)
        purger = _Recorded(storage, Keep(age_s=HOUR_S))
        forgetting = gevent.spawn(purger.round)
        beside = _watched(past, storage)
        forgetting.kill()
        gone = before - _count_runs(past)
    finally:
        storage.close()
    steps_ms = purger.steps_ms or [0.0]
    return {
        "claim_alone_p50_ms": alone.p50_ms,
        "claim_alone_p99_ms": alone.p99_ms,
        "claim_alone_most_ms": alone.most_ms,
        "claim_beside_forgetting_p50_ms": beside.p50_ms,
        "claim_beside_forgetting_p99_ms": beside.p99_ms,
        "claim_beside_forgetting_most_ms": beside.most_ms,
        "forgetting_step_p50_ms": round(percentile(steps_ms, 0.5), 2),
        "forgetting_step_p99_ms": round(percentile(steps_ms, 0.99), 2),
        "forgetting_step_most_ms": round(max(steps_ms), 2),
        "forgotten_runs_per_s": round(gone / WATCHED_S),
    }


class _Recorded(Purger):
    """Notes how long each step took."""

    def __init__(self, storage: Storage, keep: Keep):
        super().__init__(storage, keep)
        self.steps_ms: list[float] = []

    def _rest(self, spent_s: float) -> None:
        self.steps_ms.append(spent_s * 1000)
        super()._rest(spent_s)


def _watched(past: Past, storage: Storage) -> Watched:
    """Looks for work that find none, as an idle agent's, which still pass through the writer."""
    times, agent = [], past.agents[0]
    end = time.perf_counter() + WATCHED_S
    while time.perf_counter() < end:
        times.append(_once(storage.poll(agent, _poll(past.granted[agent]))))
        gevent.sleep(0.001)
    return Watched(*(round(percentile(times, share), 2) for share in (0.5, 0.99, 1.0)))


def _count_runs(past: Past) -> int:
    connection = sqlite3.connect(past.path)
    (count,) = connection.execute("SELECT COUNT(*) FROM runs").fetchone()
    connection.close()
    return int(count)


# ---- below


def _once(verb: Verb[Any]) -> float:
    """How long the verb took, in ms."""
    began = time.perf_counter()
    verb.wait()
    return (time.perf_counter() - began) * 1000


def _all(verbs: Iterable[Verb[T]]) -> list[T]:
    """Give IN_FLIGHT verbs at a time; all results, in the order of the ends."""
    results: list[T] = []
    failed: list[BaseException] = []
    waiting: Iterator[Verb[T]] = iter(verbs)
    flying, over = 0, Event()

    def begin(count: int) -> None:
        nonlocal flying
        for verb in islice(waiting, count):
            flying += 1
            verb.then(done)
        if not flying:
            over.set()

    def done(result: T | BaseException) -> None:
        nonlocal flying
        flying -= 1
        (failed if isinstance(result, BaseException) else results).append(result)  # type: ignore[arg-type]
        begin(1)

    begin(IN_FLIGHT)
    over.wait()
    if failed:
        raise failed[0]
    return results


def _say(past: Past) -> None:
    size_mb = past.path.stat().st_size / 1e6
    print(f"{past.runs:,} past runs, {size_mb:,.0f} MB …", file=sys.stderr, flush=True)


def _draw(curve: dict[int, Figures]) -> None:
    """A bar for each size, all bars of one verb on the same scale."""
    for name in next(iter(curve.values())):
        most = max(row[name] for row in curve.values())
        print(name)
        for runs, row in curve.items():
            bar = "#" * max(1, round(row[name] / most * BAR))
            print(f"  {runs:>9,} runs {row[name]:9.3f} ms {bar}")
    print()


def _grown(curve: dict[int, Figures]) -> list[str]:
    """Verbs that take longer with the whole past than with the first part of it.

    Without any past some have nothing to look at, so that is no measure.
    """
    sizes = [runs for runs in curve if runs]
    if len(sizes) < 2:
        return []
    first, last = curve[sizes[0]], curve[sizes[-1]]
    return [
        name for name in first if last[name] > BOUNDED_MS.get(name, FACTOR * first[name] + SLACK_MS)
    ]


if __name__ == "__main__":
    sys.exit(main())
