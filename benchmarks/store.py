"""How fast is the store? One master's worth of verbs on a real SQLite file, without any network.

python benchmarks/store.py --agents 10000 --json out.json
"""

import argparse
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import gevent
from gevent.event import Event

from master.audit import Act
from master.changes import NewTask, PollAnswer
from master.database import Verb
from master.ids import new_id
from master.storage import Storage
from wire.messages import Poll, Register, Result
from wire.states import Cause, RunState

ACT = Act("benchmark", "system", "benchmark.do", address="10.0.0.1")
IN_FLIGHT = 256  # verbs given and not answered; a busy master has as many agents talking
SINGLE = 500
INSTANCE = "0" * 32


def main() -> None:
    options = _options()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        storage = Storage(Path(directory) / "store.sqlite")
        try:
            _measure(storage, options.agents, figures)
        finally:
            storage.close()
    _print(options, figures)
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")


def _measure(storage: Storage, count: int, figures: dict[str, float]) -> None:
    agents = enrol(storage, count)
    begin = time.perf_counter()
    storage.add_task(new_task(agents), ACT).wait()
    figures["add_task_ms"] = (time.perf_counter() - begin) * 1000
    figures["claims_per_s"], grants = _claims(storage, agents)
    cpu = time.process_time()
    figures["results_per_s"] = _results(storage, grants)
    figures["result_cpu_us"] = (time.process_time() - cpu) / count * 1e6
    task = storage.add_task(new_task(agents), ACT).wait().task
    _, grants = _claims(storage, agents, hw=1)
    with _BusyHub():
        figures["results_per_s_busy_hub"] = _results(storage, grants)
    figures["groups_ms"] = _median_ms(lambda: storage.groups(task.id, 100).wait(), 9)
    figures["grid_ms"] = _median_ms(lambda: storage.grid(task.id, 0, 10_000).wait(), 9)
    run = grants[agents[0]].run
    figures["commit_p50_ms"], figures["commit_p99_ms"] = _latency(storage, agents[0], run)


class _BusyHub:
    """A hub that is never idle: it decodes and routes, a fifth of a millisecond at a time."""

    def __enter__(self) -> None:
        self._over = False
        gevent.spawn(self._spin)

    def __exit__(self, *_: object) -> None:
        self._over = True

    def _spin(self) -> None:
        while not self._over:
            until = time.perf_counter() + 0.0002
            while time.perf_counter() < until:
                pass
            gevent.sleep(0)


def enrol(storage: Storage, count: int) -> list[str]:
    token = storage.make_join_token("agent", "benchmark").wait().secret
    agents = [new_id() for _ in range(count)]
    pipelined(
        storage.enrol(f"key-{id}", _register(id, number, token), ACT)
        for number, id in enumerate(agents)
    )
    return agents


def _register(id: str, number: int, token: str) -> Register:
    facts = {"os": "Debian GNU/Linux 12", "kernel": "6.1.0-28-amd64", "cpus": 2, "memory": 4 << 30}
    return Register(
        id=id,
        hostname=f"web{number:05}",
        ip=[f"10.0.{number >> 8}.{number & 255}"],
        instance=INSTANCE,
        machine=id,
        slots=4,
        version="1.0",
        protocol=1,
        facts=facts,
        token=token,
    )


def new_task(agents: list[str]) -> NewTask:
    """`echo hello`, on all of them at once."""
    return NewTask(
        id=new_id(),
        script=b"echo hello\n",
        targets=[(id, f"web{number:05}") for number, id in enumerate(agents)],
        name="benchmark",
        created_by="benchmark",
        parallel=0,
        fail_count=None,
        fail_rate=None,
        on_limit="finish",
        priority=0,
        offline="wait",
        expires_in=86400.0,
        lost_after=900.0,
        settings={},
    )


def _claims(storage: Storage, agents: list[str], hw: int = 0) -> tuple[float, dict[str, Any]]:
    """Claims a second, and the grant of each agent."""
    begin = time.perf_counter()
    answers: list[PollAnswer] = pipelined(
        storage.poll(id, Poll(session="", instance=INSTANCE, hw=hw, free=1)) for id in agents
    )
    rate = len(agents) / (time.perf_counter() - begin)
    grants = {id: answer.grants[0] for id, answer in zip(agents, answers, strict=True)}
    return rate, grants


def _results(storage: Storage, grants: dict[str, Any]) -> float:
    begin = time.perf_counter()
    pipelined(storage.finish(id, _result(grant)) for id, grant in grants.items())
    return len(grants) / (time.perf_counter() - begin)


def _result(grant: Any) -> Result:
    now = time.time()
    return Result(
        session="",
        hw=grant.grant,
        free=1,
        run=grant.run,
        attempt=grant.attempt,
        grant=grant.grant,
        state=RunState.SUCCEED,
        cause=Cause.EXIT,
        code=0,
        started_at=now,
        ended_at=now,
        output_bytes=6,
        output_sha256="5" * 64,
        data=b"hello\n",
    )


def _latency(storage: Storage, agent: str, run: str) -> tuple[float, float]:
    """Of one verb that changes something, from the hub to the disk and back."""
    times = []
    for number in range(SINGLE):
        begin = time.perf_counter()
        storage.set_labels({agent: {"number": str(number)}}, ACT).wait()
        times.append((time.perf_counter() - begin) * 1000)
    times.sort()
    return times[SINGLE // 2], times[SINGLE * 99 // 100]


def _median_ms(work: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken)


def pipelined(verbs: Iterable[Verb[Any]]) -> list[Any]:
    """All results in order; never more than IN_FLIGHT verbs at once."""
    results: list[Any] = []
    failed: list[BaseException] = []
    waiting = iter(verbs)
    over = Event()
    flying = 0

    def more() -> None:
        nonlocal flying
        while flying < IN_FLIGHT:
            verb = next(waiting, None)
            if verb is None:
                if not flying:
                    over.set()
                return
            place = len(results)
            results.append(None)
            flying += 1
            verb.then(partial(arrived, place))

    def arrived(place: int, result: Any) -> None:
        nonlocal flying
        flying -= 1
        if isinstance(result, BaseException):
            failed.append(result)
            over.set()
        results[place] = result
        more()

    more()
    over.wait()
    if failed:
        raise failed[0]
    return results


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--directory", help="where the store's file is made", default=None)
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def _print(options: argparse.Namespace, figures: dict[str, float]) -> None:
    print(
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, gevent"
        f" {gevent.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f},"
        f" {options.agents} agents, {IN_FLIGHT} verbs in flight,"
        f" switch interval {sys.getswitchinterval() * 1000:g} ms,"
        f" {threading.active_count()} thread(s) of Python's own"
    )
    for name, value in figures.items():
        print(f"{name:28} {value:12,.2f}")


if __name__ == "__main__":
    main()
