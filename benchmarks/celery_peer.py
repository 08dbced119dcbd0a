"""How fast is the same work by Celery and Redis? Neither is needed for anything else.

Redis keeps everything in memory, which is its fastest and loses all with the process; Celery
acknowledges early, its default, and has as many worker processes as there are cores.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WAIT_S = 1_800.0
START_S = 60.0
WORKER = """
import os, subprocess
import redis
from celery import Celery

SOCKET = os.environ["BENCH_REDIS"]
app = Celery("bench", broker="redis+socket://" + SOCKET)
app.conf.broker_connection_retry_on_startup = True
count = redis.Redis(unix_socket_path=SOCKET)

@app.task(name="echo", ignore_result=True)
def echo(item):
    subprocess.run(["/bin/sh", "-c", 'echo "$1"', "sh", item], check=True, capture_output=True)
    count.incr("done")
"""


def why_not() -> str:
    """What is missing; empty if it can be measured."""
    missing = [name for name in ("celery", "redis") if importlib.util.find_spec(name) is None]
    if shutil.which("redis-server") is None:
        missing.append("redis-server")
    return f"{', '.join(missing)} is not installed" if missing else ""


def items_per_s(folder: Path, items: int) -> float:
    """From the first item that is sent until the last is done."""
    with _redis(folder) as (server, environ), _worker(folder, environ):
        client = _client(environ)
        _send(client, 200)
        _wait(server, 200)
        began = time.monotonic()
        _send(client, items)
        _wait(server, 200 + items)
        return items / (time.monotonic() - began)


def _client(environ: dict[str, str]) -> Any:
    from celery import Celery  # type: ignore[import-not-found]

    return Celery("bench", broker=f"redis+socket://{environ['BENCH_REDIS']}")


def _send(client: Any, items: int) -> None:
    for number in range(items):
        client.send_task("echo", [f"item-{number:07}"], ignore_result=True)


def _wait(server: Any, count: int) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while int(server.get("done") or 0) < count:
        assert time.monotonic() < give_up_at, f"Celery did {server.get('done')} of {count} items"
        time.sleep(0.05)


@contextmanager
def _redis(folder: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    import redis  # type: ignore[import-not-found]

    socket = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        server = redis.Redis(unix_socket_path=str(socket))
        _until(lambda: socket.exists() and server.ping(), "Redis")
        yield server, {**os.environ, "BENCH_REDIS": str(socket)}
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _worker(folder: Path, environ: dict[str, str]) -> Iterator[None]:
    (folder / "bench_worker.py").write_text(WORKER)
    cores = len(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "celery", "-A", "bench_worker", "worker"]
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--concurrency", str(cores), "--loglevel", "ERROR"],
            cwd=folder, env=environ, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _until(is_so: Any, what: str) -> None:
    give_up_at = time.monotonic() + START_S
    while not is_so():
        assert time.monotonic() < give_up_at, f"{what} did not start"
        time.sleep(0.05)
