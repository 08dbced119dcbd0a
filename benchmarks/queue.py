"""How fast does a queue go, and how exact is its rate? Items of `echo`, real and simulated agents.

Parts, each on a fleet of its own, with SQLite at full durability; everything shares this machine:

- real: so many items on some real agents, one a run and then in batches; from the POST of the
  task until the answer that all have ended. `lost` counts items without a result.
- sim: the same with simulated agents (benchmarks/hive.py), whose scripts take no time.
- accept: a million items as lines of one upload, and the memory of master and web meanwhile.
- claim: what a claim costs the store at the first of a million items, and at the last.
- rate: how far from its rate a queue is in the long run, while agents come and go.
- fair: tasks of one priority side by side, and a small one beside a large one.
- pages: what pages, lists and files of a million items that have ended cost, one in 20 dead.
- retry: a million dead items run again, while others submit tasks.
- celery: the same items by Celery and Redis, where they are installed.
"""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
if Path(sys.path[0] or ".").resolve() == _HERE:  # else this file hides the library's own queue
    sys.path[0] = str(_HERE.parent)

import argparse  # noqa: E402
import http.client  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator, Sequence  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from typing import Any  # noqa: E402

from benchmarks import celery_peer  # noqa: E402
from benchmarks.common import Value, conditions, parser, report, workplace  # noqa: E402
from benchmarks.queue_claims import claims_us  # noqa: E402
from benchmarks.queue_large import pages, retry  # noqa: E402
from benchmarks.swarm import Swarm  # noqa: E402
from tests.fleet import Api, Fleet  # noqa: E402
from tests.support import cpu_s, rss_bytes, until  # noqa: E402
from wire.queues import ITEMS_AT_ONCE  # noqa: E402

Found = dict[str, Value]
SCRIPT = 'echo "$1"\n'
BATCH_SCRIPT = 'while read -r item; do echo "$item"; done < "$1"\n'
BATCH = 50
WAIT_S = 1_800.0
COME_AND_GO_S = 3.0  # a third of the simulated agents loses its session so often
SETTLE_S = 2.0  # of a rate, before it is counted
TASKS_SIDE_BY_SIDE = 10


# ---- submitting


def submit(api: Api, items: Sequence[str], script: str = SCRIPT, **fields: Any) -> str:
    """A queue with these items, uploaded as lines; its id."""
    task = api.submit(script, fields.pop("targets", "@*"), mode="queue", open=True, **fields)
    upload(api, task, "".join(f"{item}\n" for item in items).encode())
    closed = api.call("POST", f"/api/v1/tasks/{task}/close")
    assert closed.status == 200, closed.body
    return task


def upload(api: Api, task: str, lines: bytes) -> None:
    """As a client does that has them in a file: in pieces of 64 KB, as they are taken."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=WAIT_S)
    headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "text/plain"}
    pieces = (lines[at : at + (64 << 10)] for at in range(0, len(lines), 64 << 10))
    path = f"/api/v1/tasks/{task}/items"
    connection.request("POST", path, body=pieces, headers=headers, encode_chunked=True)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status == 200, body


def results(api: Api, task: str) -> list[dict[str, Any]]:
    answer = api.call("GET", f"/api/v1/tasks/{task}/results?format=ndjson")
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body.splitlines()]


def numbered(count: int) -> list[str]:
    return [f"item-{number:07}" for number in range(count)]


def missing(api: Api, task: str, items: Sequence[str]) -> int:
    """How many of the items have no success, or more than one."""
    ended = [one for one in results(api, task) if one["state"] == "SUCCEED"]
    done = [item for one in ended for item in one["item"].split("\n")]
    return len(set(items) ^ set(done)) + len(done) - len(set(done))


def drained_s(api: Api, items: Sequence[str], script: str = SCRIPT, **fields: Any) -> float:
    """From the submission to the end of the task; no item may be lost."""
    began = time.monotonic()
    task = submit(api, items, script, **fields)
    ended = api.finished(task, timeout_s=WAIT_S)
    taken_s = time.monotonic() - began
    assert ended["state"] == "SUCCEED", ended["reason"]
    lost = missing(api, task, items)
    assert not lost, f"{lost} of {len(items)} items are lost or were done twice"
    return taken_s


# ---- fleets


@contextmanager
def fleet_of(given: argparse.Namespace, agents: Sequence[str]) -> Iterator[Fleet]:
    with (
        workplace(given.dir) as root,
        Fleet(root, agents, slots=given.slots, heartbeat_s=5) as fleet,
    ):
        yield fleet


@contextmanager
def swarm_of(
    given: argparse.Namespace, agents: int, *, come: bool = True
) -> Iterator[tuple[Fleet, Swarm]]:
    """Simulated agents alone, polling unless they are to come later."""
    with fleet_of(given, []) as fleet:
        swarm = Swarm(fleet.join_string("agent"), agents)
        if come:
            connect(swarm)
        yield fleet, swarm
        swarm.end()


def connect(swarm: Swarm) -> None:
    swarm.tell("connect")
    until(lambda: swarm.total("registered") >= swarm.size, 300, "all simulated agents")


# ---- parts


def real(given: argparse.Namespace) -> Found:
    items = numbered(given.items)
    with fleet_of(given, [f"web{number:02}" for number in range(given.agents)]) as fleet:
        api = fleet.api
        drained_s(api, numbered(200))
        cpu_before_s = cpu_s(fleet.master.pid)
        singly_s = drained_s(api, items)
        master_s = cpu_s(fleet.master.pid) - cpu_before_s
        batched_s = drained_s(api, items, BATCH_SCRIPT, batch=BATCH)
    return {
        "items": len(items),
        "agents": given.agents,
        "slots": given.slots,
        "items_per_s": round(len(items) / singly_s),
        "master_us_per_item": round(master_s / len(items) * 1e6),
        f"items_per_s_batch_{BATCH}": round(len(items) / batched_s),
        "lost": 0,  # else drained_s had not returned
    }


def sim(given: argparse.Namespace) -> Found:
    items = numbered(given.sim_items)
    with swarm_of(given, given.sim_agents) as (fleet, swarm):
        cpu_before_s = cpu_s(fleet.master.pid)
        taken_s = drained_s(fleet.api, items)
        master_s = cpu_s(fleet.master.pid) - cpu_before_s
        doubled = swarm.total("granted_twice")
    return {
        "sim_items": len(items),
        "sim_agents": given.sim_agents,
        "sim_items_per_s": round(len(items) / taken_s),
        "sim_master_us_per_item": round(master_s / len(items) * 1e6),
        "sim_doubled": doubled,
    }


def accept(given: argparse.Namespace) -> Found:
    lines = "".join(f"{item}\n" for item in numbered(given.million)).encode()
    with fleet_of(given, []) as fleet:
        warm, task = (fleet.api.submit(SCRIPT, mode="queue", open=True) for _ in range(2))
        upload(fleet.api, warm, b"an item\n" * ITEMS_AT_ONCE)
        pids = {"master": fleet.master.pid, "web": fleet.web.pid}
        before = {name: rss_bytes(pid) for name, pid in pids.items()}
        began = time.monotonic()
        upload(fleet.api, task, lines)
        taken_s = time.monotonic() - began
        grown = {name: peak_bytes(pid) - before[name] for name, pid in pids.items()}
        assert fleet.api.task(task)["total"] == given.million
    return {
        "accepted": given.million,
        "accept_million_s": round(taken_s / given.million * 1e6, 1),
        **{f"accept_{name}_rss_mb": round(size / 1024**2, 1) for name, size in before.items()},
        **{f"accept_{name}_peak_grows_mb": round(g / 1024**2, 1) for name, g in grown.items()},
    }


def peak_bytes(pid: int) -> int:
    """The most resident memory that a process ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no VmHWM")


def claim(given: argparse.Namespace) -> Found:
    with workplace(given.dir) as root:
        first_us, last_us = claims_us(root / "store.sqlite", given.million)
    return {"claim_first_us": round(first_us), "claim_last_us": round(last_us)}


def rate(given: argparse.Namespace) -> Found:
    """The share by which the items started in a window differ from what the rate allows."""
    items = numbered(round(given.rate * (given.rate_s + 3 * SETTLE_S)))
    with swarm_of(given, given.rate_agents) as (fleet, swarm):
        task = submit(fleet.api, items, rate=given.rate)
        until(lambda: fleet.api.task(task)["counts"].get("SUCCEED", 0) > 0, 30, "the first item")
        came_and_went = _come_and_go(swarm, SETTLE_S + given.rate_s + SETTLE_S)
        ended = fleet.api.finished(task, timeout_s=WAIT_S)
        assert ended["state"] == "SUCCEED", ended["reason"]
        starts = sorted(_seconds(one["started_at"]) for one in results(fleet.api, task))
    begin = starts[0] + SETTLE_S
    started = sum(begin <= at < begin + given.rate_s for at in starts)
    return {
        "rate": given.rate,
        "rate_s": given.rate_s,
        "rate_agents": given.rate_agents,
        "rate_sessions_lost": came_and_went,
        "rate_error": round(abs(started / (given.rate * given.rate_s) - 1), 4),
    }


def _come_and_go(swarm: Swarm, for_s: float) -> int:
    """A third of the agents after another is away for some seconds; how many sessions that cost."""
    until_at, turn = time.monotonic() + for_s, 0
    while time.monotonic() < until_at:
        swarm.tell_one(turn, "lost")
        turn += 1
        time.sleep(COME_AND_GO_S)
    return turn * swarm.size // swarm.generators


def _seconds(time_of: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(time_of).timestamp()


def fair(given: argparse.Namespace) -> Found:
    """When tasks that began together end, and when a small one starts beside a large one."""
    items = numbered(given.sim_items // TASKS_SIDE_BY_SIDE)
    with swarm_of(given, given.sim_agents, come=False) as (fleet, swarm):
        api = fleet.api
        tasks = [submit(api, items) for _ in range(TASKS_SIDE_BY_SIDE)]
        began = time.time()
        connect(swarm)
        ends = [_seconds(api.finished(task, timeout_s=WAIT_S)["ended_at"]) for task in tasks]
        large = submit(api, numbered(given.sim_items * 10))
        until(lambda: api.task(large)["counts"].get("SUCCEED", 0) > 100, 60, "the large task")
        small_at = time.time()
        small = submit(api, numbered(10))
        until(lambda: any(one["started_at"] for one in results(api, small)), 60, "the small one")
        first = min(_seconds(o["started_at"]) for o in results(api, small) if o["started_at"])
        api.cancel(large)
    return {
        "fair_tasks": len(tasks),
        "fair_spread": round((max(ends) - min(ends)) / (max(ends) - began), 3),
        "small_starts_s": round(first - small_at, 3),
    }


def celery(given: argparse.Namespace) -> Found:
    why_not = celery_peer.why_not()
    if why_not:
        print(f"celery is passed over: {why_not}", file=sys.stderr)
        return {}
    with workplace(given.dir) as root:
        return {"celery_items_per_s": round(celery_peer.items_per_s(root, given.items))}


PARTS: dict[str, Callable[[argparse.Namespace], Found]] = {
    part.__name__: part for part in (real, sim, accept, claim, rate, fair, pages, retry, celery)
}


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    options.add_argument("--items", type=int, default=20_000, help="items of real agents")
    options.add_argument("--agents", type=int, default=4, help="how many real agents")
    options.add_argument("--slots", type=int, default=16, help="of each real agent")
    options.add_argument("--sim-items", type=int, default=60_000)
    options.add_argument("--sim-agents", type=int, default=1_000)
    options.add_argument("--million", type=int, default=1_000_000, help="items to accept")
    options.add_argument("--rate", type=float, default=50.0, help="items a second")
    options.add_argument("--rate-s", type=float, default=60.0, help="for how long it must hold")
    options.add_argument("--rate-agents", type=int, default=20)
    given = options.parse_args()
    parts = given.only.split(",")
    if unknown := set(parts) - set(PARTS):
        options.error(f"--only has {', '.join(sorted(unknown))}; parts are {', '.join(PARTS)}")
    around = conditions(given.dir)
    found: Found = {}
    for part in parts:
        print(f"{part} …", file=sys.stderr, flush=True)
        found |= PARTS[part](given)
        print(found, file=sys.stderr, flush=True)
    report(found, around, given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
