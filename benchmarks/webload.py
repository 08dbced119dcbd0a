"""What does the web bear: submits, and open streams on a busy task?

The real master and web at full durability, with simulated agents (benchmarks/hive.py). Everything
shares this machine: the clients and the agents too.
"""

import asyncio
import http.client
import json
import multiprocessing
import os
import resource
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.common import Value, conditions, parser, percentile, report, workplace
from benchmarks.swarm import Swarm
from tests.fleet import Fleet
from tests.support import cpu_s, until

CLIENTS_NAME = "clients"
CLIENTS = 20  # that submit, each on one kept connection
SUBMIT_S = 8.0
WARM_UP_S = 1.0
PARALLEL = 200  # runs at once of the busy task
ROUNDS = 5  # busy tasks without streams and with, in turn


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--agents", type=int, default=5_000, help="how many to simulate")
    options.add_argument("--streams", type=int, default=500, help="on the busy task")
    given = options.parse_args(argv)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    around = {**conditions(given.dir), "agents": given.agents}
    with workplace(given.dir) as root, Fleet(root, [], heartbeat_s=5) as fleet:
        swarm = Swarm(fleet.join_string("agent"), given.agents)
        swarm.tell("connect")
        until(lambda: swarm.total("registered") >= swarm.size, 300, "all registered")
        time.sleep(WARM_UP_S)
        found = _submits(fleet)
        found |= _streams(fleet, swarm, given.streams)
        swarm.end()
    report(found, around, given.json)
    return 0


# ---- submits


def _submits(fleet: Fleet) -> dict[str, Value]:
    """Tasks of one target, as fast as the clients can."""
    hosts = [agent["id"] for agent in fleet.api.agents()]
    with _Clients(_submitting, fleet.web_port, fleet.token, hosts) as clients:
        before_s, began = cpu_s(fleet.web.pid), time.monotonic()
        master_before_s = cpu_s(fleet.master.pid)
        times = clients.ask("go")
        spent_s = time.monotonic() - began
        web_s, master_s = cpu_s(fleet.web.pid) - before_s, cpu_s(fleet.master.pid) - master_before_s
    return {
        "submits_per_s": round(len(times) / spent_s),
        "submit_p50_ms": round(percentile(times, 0.5) * 1000, 1),
        "submit_p99_ms": round(percentile(times, 0.99) * 1000, 1),
        "web_ms_per_submit": round(web_s / len(times) * 1000, 2),
        "master_ms_per_submit_and_run": round(master_s / len(times) * 1000, 2),
    }


def _submitting(pipe: Connection, port: int, token: str, hosts: list[str]) -> None:
    """The main of the clients' process: answers "go" with the times of all submits."""
    pipe.send("ready")
    assert pipe.recv() == "go"
    times: list[float] = []
    end = time.monotonic() + SUBMIT_S
    threads = [
        threading.Thread(target=_submit_until, args=(end, port, token, hosts[n::CLIENTS], times))
        for n in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.send(times)


def _submit_until(end: float, port: int, token: str, hosts: list[str], times: list[float]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    n = 0
    while time.monotonic() < end:
        body = json.dumps({"script": "echo hello\n", "targets": [hosts[n % len(hosts)]]})
        began = time.monotonic()
        connection.request("POST", "/api/v1/tasks", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 201, (answer.status, content)
        times.append(time.monotonic() - began)
        n += 1
    connection.close()


# ---- streams


def _streams(fleet: Fleet, swarm: Swarm, count: int) -> dict[str, Value]:
    """Results per second of a busy task, without readers and with; in turn, the medians."""
    alone, watched = [], []
    figures: dict[str, Value] = {"streams": count}
    with _Clients(_streaming, fleet.web_port, fleet.token, count) as clients:
        _busy(fleet, swarm, lambda task: None)  # warms up
        for _ in range(ROUNDS):
            alone.append(_busy(fleet, swarm, lambda task: None))
            before_s, began = cpu_s(fleet.web.pid), time.monotonic()
            watched.append(_busy(fleet, swarm, lambda task: clients.ask(("open", task))))
            figures["web_core_fraction"] = round(
                (cpu_s(fleet.web.pid) - before_s) / (time.monotonic() - began), 2
            )
            alive, received = clients.ask(("close", ""))
            assert alive == count, f"{count - alive} of {count} streams have ended"
            figures["mb_sent"] = round(received / 1e6, 1)
    without, beside = statistics.median(alone), statistics.median(watched)
    return figures | {
        "results_per_s_alone": round(without),
        "results_per_s_with_streams": round(beside),
        "slowdown": round(1 - beside / without, 3),
    }


def _busy(fleet: Fleet, swarm: Swarm, watch: Callable[[str], object]) -> float:
    """Results per second of a task on all agents, who stand still until it is watched."""
    with _still():
        task = fleet.api.submit("echo hello", "sim*", parallel=PARALLEL)
        watch(task)
        began = time.time()
    ended = fleet.api.finished(task, timeout_s=120)
    assert ended["counts"]["SUCCEED"] == swarm.size, ended["counts"]
    last = max(count.last_result_at for count in swarm.tell())
    return swarm.size / (last - began)


@contextmanager
def _still() -> Iterator[None]:
    """The agents' processes are stopped for a while, shorter than their silence is noticed."""
    children = multiprocessing.active_children()
    pids = [one.pid for one in children if one.pid is not None and one.name != CLIENTS_NAME]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


class _Reader(asyncio.Protocol):
    """One open stream, whose bytes are only counted."""

    def __init__(self, request: bytes, opened: Callable[[], None]):
        self.received = 0
        self.is_open = True
        self._request = request
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.received:
            assert data.startswith(b"HTTP/1.1 200 "), data
            self._opened()
        self.received += len(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False


def _streaming(pipe: Connection, port: int, token: str, count: int) -> None:
    """The main of the readers' process: ("open", task) and ("close", "")."""
    asyncio.run(_read_streams(pipe, port, token, count))


async def _read_streams(pipe: Connection, port: int, token: str, count: int) -> None:
    loop = asyncio.get_running_loop()
    pipe.send("ready")
    while True:
        _, task = await asyncio.to_thread(pipe.recv)
        request = (
            f"GET /api/v1/tasks/{task}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
        opened = asyncio.Semaphore(0)
        readers: list[_Reader] = []

        def reader(request: bytes = request, opened: asyncio.Semaphore = opened) -> _Reader:
            return _Reader(request, opened.release)

        for _ in range(count):
            _, made = await loop.create_connection(reader, "127.0.0.1", port)
            readers.append(made)
        for _ in range(count):
            await opened.acquire()
        pipe.send(None)
        await asyncio.to_thread(pipe.recv)
        pipe.send((sum(one.is_open for one in readers), sum(one.received for one in readers)))
        for one in readers:
            one.transport.abort()


# ---- below


class _Clients:
    """A process of clients that is told what to do over a pipe."""

    def __init__(self, run: Callable[..., None], *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=run, args=(theirs, *arguments), daemon=True, name=CLIENTS_NAME
        )

    def __enter__(self) -> "_Clients":
        self._process.start()
        assert self._pipe.recv() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def ask(self, word: Any) -> Any:
        self._pipe.send(word)
        return self._pipe.recv()


if __name__ == "__main__":
    sys.exit(main())
