"""What do pages and lists cost when there is much to show? 10,000 hosts, a task on all of them.

The store is filled through its own verbs; then the real master and web serve it, and Chromium
looks. With --events, clients watch all tasks while so much happens, and the web's memory is read.
"""

import gzip
import hashlib
import http.client
import json
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, CDPSession, sync_playwright

from benchmarks.common import Value, conditions, parser, report, workplace
from tests.browser.driving import launch, log_in
from tests.fleet import Api, Fleet
from tests.support import rss_bytes

AT_ONCE = 256  # verbs in flight while the store is filled
ROUNDS = 9
PAINTS = 5
WATCHERS = 20  # clients that read the events of all tasks
WARM_UP = 0.2  # of the events, before memory is read for the first time
READINGS = 10
TOGETHER_S = 0.1  # pieces that come closer than that are of one update
FACTS = {"os": "Debian GNU/Linux 12", "kernel": "6.1.0-28-amd64", "cpus": 2, "memory": 4 << 30}

# Main content: a row of a host; a group of results, and the grid, whichever way it is drawn.
HOSTS_SHOWN = ["#hosts tbody tr"]
TASK_SHOWN = ["#groups article", "#cells li:visible, #drawn:visible"]

PAINTED = """() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null"""


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--hosts", type=int, default=10_000, help="in the store, all in one task")
    options.add_argument("--events", type=int, default=0, help="changes to watch; 36000: an hour's")
    chosen = options.parse_args(argv)
    around = conditions(chosen.dir)
    with workplace(chosen.dir) as folder:
        _apart(_fill, folder / "master", chosen.hosts)
        with Fleet(folder, []) as fleet:
            found: dict[str, Value] = {"hosts": chosen.hosts}
            found |= _lists(fleet)
            found |= _paints(fleet)
            if chosen.events:
                found |= _memory(fleet, chosen.events)
    report(found, around, chosen.json)
    return 0


# ---- the store


def _apart(work: Callable[..., None], *arguments: object) -> None:
    """In a process of its own: the store wants gevent, the browser's driver wants asyncio."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0, "the store was not filled"


def _fill(folder: Path, count: int) -> None:
    """Hosts with labels and facts, and a task that has ended on all of them in some twenty ways."""
    from gevent.pool import Pool

    from master.audit import Act
    from master.storage import Storage

    act = Act("benchmark", "system", "benchmark.do", address="10.0.0.1")
    folder.mkdir(mode=0o700)
    storage = Storage(folder / "store.sqlite")
    pool = Pool(AT_ONCE)

    def all_of(verbs: Iterable[Any]) -> list[Any]:
        return list(pool.map(lambda verb: verb.wait(), verbs))

    try:
        token = storage.make_join_token("agent", "benchmark").wait().secret
        agents = [f"{number:032x}" for number in range(1, count + 1)]
        hosts = [_host(n, id, token) for n, id in enumerate(agents)]
        all_of(storage.enrol(f"key of {host.id}", host, act) for host in hosts)
        storage.set_labels({id: _labels(n) for n, id in enumerate(agents)}, act).wait()
        storage.add_task(_task(agents), act).wait()
        answers = all_of(storage.poll(id, _poll()) for id in agents)
        all_of(
            storage.finish(id, _result(n, answer.grants[0]))
            for n, (id, answer) in enumerate(zip(agents, answers, strict=True))
        )
    finally:
        storage.close()


def _host(number: int, id: str, token: str) -> Any:
    from wire.messages import Register

    return Register(
        id=id,
        hostname=f"web{number + 1:05}",
        ip=[f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"],
        instance="0" * 32,
        machine=id,
        slots=4,
        version="0.1.0",
        protocol=1,
        facts={
            "os": "Debian GNU/Linux 12",
            "kernel": "6.1.0-28-amd64",
            "cpus": 2,
            "memory": 4 << 30,
        },
        token=token,
    )


def _labels(number: int) -> dict[str, str | None]:
    return {"env": ("prod", "test", "dev")[number % 3], "rack": f"r{number % 50:02}"}


def _task(agents: list[str]) -> Any:
    from master.changes import NewTask
    from master.ids import new_id

    return NewTask(
        id=new_id(),
        script=b"#!/bin/sh\ndf -h /\n",
        targets=[(id, f"web{number + 1:05}") for number, id in enumerate(agents)],
        name="free space",
        created_by="benchmark",
        parallel=0,
        fail_count=None,
        fail_rate=None,
        on_limit="finish",
        priority=0,
        offline="wait",
        expires_in=86400.0,
        lost_after=900.0,
        settings={"targets": "@*", "parallel": 0, "timeout": 3600.0},
    )


def _poll() -> Any:
    from wire.messages import Poll

    return Poll(session="", instance="0" * 32, hw=0, free=1)


def _result(number: int, grant: Any) -> Any:
    """Most alike, a tail of others: 17 ways to succeed and 3 to fail, each with its own output."""
    from wire.messages import Result
    from wire.states import Cause, RunState

    kind = 0 if number % 4 else number // 4 % 20
    output = b"Filesystem  Size  Used  Avail\n/dev/sda1    40G   %2dG    %2dG\n" % (kind, 40 - kind)
    failed = kind >= 17
    now = time.time()
    return Result(
        session="",
        hw=grant.grant,
        free=1,
        run=grant.run,
        attempt=grant.attempt,
        grant=grant.grant,
        state=RunState.FAILED if failed else RunState.SUCCEED,
        cause=Cause.EXIT,
        code=int(failed),
        reason="exit code 1" if failed else "",
        started_at=now - 1,
        ended_at=now,
        output_bytes=len(output),
        output_sha256=hashlib.sha256(output).hexdigest(),
        data=output,
    )


# ---- lists


def _lists(fleet: Fleet) -> dict[str, Value]:
    [task] = fleet.api.get("/api/v1/tasks")["items"]
    count = task["total"]
    hosts_s, hosts_bytes = _timed(fleet, "/api/v1/agents?limit=10000", "items", count)
    plain_s, plain_bytes = _timed(fleet, "/task/targets", None, count)
    window = "/api/v1/agents?limit=100&sort=-last_seen&offset=" + str(count // 2)
    window_s, _ = _timed(fleet, window, "items", min(100, count - count // 2))
    groups_s, _ = _timed(fleet, f"/api/v1/tasks/{task['id']}/groups", "groups", None)
    grid_s, grid_bytes = _timed(fleet, f"/api/v1/tasks/{task['id']}/grid", "runs", count)
    return {
        "hosts_api_s": hosts_s,
        "hosts_api_bytes": hosts_bytes,
        "targets_api_s": plain_s,
        "targets_api_bytes": plain_bytes,
        "hosts_window_s": window_s,
        "groups_s": groups_s,
        "grid_s": grid_s,
        "grid_bytes": grid_bytes,
    }


def _timed(fleet: Fleet, path: str, list_name: str | None, count: int | None) -> tuple[float, int]:
    """Median seconds until the whole answer is here, compressed, and its bytes on the wire."""
    taken_s: list[float] = []
    headers = {"Accept-Encoding": "gzip"}
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = fleet.api.call("GET", path, None, headers)
        taken_s.append(time.perf_counter() - began)
    assert answer.status == 200, answer
    _check_length(answer.body, list_name, count)
    return round(statistics.median(taken_s), 4), len(answer.body)


def _check_length(body: bytes, list_name: str | None, count: int | None) -> None:
    found = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
    items = found if list_name is None else found[list_name]
    assert count is None or len(items) == count, f"{len(items)} of {count}"


# ---- pages


def _paints(fleet: Fleet) -> dict[str, Value]:
    [task] = fleet.api.get("/api/v1/tasks")["items"]
    with sync_playwright() as playwright:
        browser = launch(playwright)
        try:
            hosts = _paint(browser, fleet, "/hosts", HOSTS_SHOWN)
            shown = _paint(browser, fleet, f"/tasks/{task['id']}", TASK_SHOWN)
        finally:
            browser.close()
    return {f"hosts_{name}": value for name, value in hosts.items()} | {
        f"task_{name}": value for name, value in shown.items()
    }


def _paint(browser: Browser, fleet: Fleet, path: str, shown: Sequence[str]) -> dict[str, Value]:
    """Medians of first visits: nothing is in the browser's cache."""
    visits = [_visit(browser, fleet, path, shown) for _ in range(PAINTS)]
    paint_s, shown_s, count = (statistics.median(column) for column in zip(*visits, strict=True))
    return {
        "first_paint_s": round(paint_s, 3),
        "paint_s": round(max(paint_s, shown_s), 3),
        "bytes": int(count),
    }


def _visit(
    browser: Browser, fleet: Fleet, path: str, shown: Sequence[str]
) -> tuple[float, float, int]:
    """Seconds to the first paint, seconds until the main content is visible, bytes received."""
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        log_in(page, fleet, "/api")
        page.wait_for_url("**/api")
        network = context.new_cdp_session(page)
        counter = _Bytes(network)
        network.send("Network.setCacheDisabled", {"cacheDisabled": True})
        began = time.perf_counter()
        page.goto(f"{fleet.url}{path}", wait_until="commit")
        for selector in shown:
            page.locator(selector).first.wait_for(state="visible")
        shown_s = time.perf_counter() - began
        page.wait_for_load_state("load")
        page.wait_for_function(f"({PAINTED})() !== null")
        return page.evaluate(PAINTED) / 1000, shown_s, counter.total


class _Bytes:
    """What came over the wire, headers included."""

    def __init__(self, network: CDPSession):
        self.total = 0
        network.on("Network.loadingFinished", self._add)
        network.send("Network.enable")

    def _add(self, event: dict[str, Any]) -> None:
        self.total += int(event["encodedDataLength"])


# ---- memory


def _memory(fleet: Fleet, events: int) -> dict[str, Value]:
    """RSS of the web while clients watch tasks come and go, read at even distances."""
    watchers = [_Watcher(fleet) for _ in range(WATCHERS)]
    readings: list[int] = []
    made = 0
    began = time.perf_counter()
    while made < events:
        _one_task(fleet.api)
        assert all(watcher.follows for watcher in watchers), "a stream ended"
        made = watchers[0].position
        if made >= events * (WARM_UP + (1 - WARM_UP) * len(readings) / (READINGS - 1)):
            readings.append(rss_bytes(fleet.web.pid))
    taken_s = time.perf_counter() - began
    for watcher in watchers:
        watcher.close()
    first, last = statistics.mean(readings[:3]), statistics.mean(readings[-3:])
    return {
        "events": made,
        "events_s": round(taken_s, 1),
        "watchers": WATCHERS,
        "updates_each_per_s": round(max(w.updates for w in watchers) / taken_s, 2),
        "web_rss_mb": round(last / 2**20, 1),
        "web_rss_growth_mb": round((last - first) / 2**20, 2),
    }


def _one_task(api: Api) -> None:
    """A task of one host that never starts, and its end: four or five changes."""
    task = api.submit("true", "web00001")
    answer = api.cancel(task)
    assert answer.status == 200, answer


class _Watcher:
    """A client that follows all tasks; `position` is how many changes the master has counted."""

    def __init__(self, fleet: Fleet):
        self.position = 0
        self.updates = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", fleet.web_port)
        headers = {"Authorization": f"Bearer {fleet.token}"}
        self._connection.request("GET", "/api/v1/events", headers=headers)
        self._response = self._connection.getresponse()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def follows(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        self._connection.close()

    def _read(self) -> None:
        rest, read_at = b"", 0.0
        try:
            while piece := self._response.read1(1 << 20):
                self.updates += time.perf_counter() - read_at > TOGETHER_S
                read_at = time.perf_counter()
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if line.startswith(b"id: "):
                        self.position = int(line.rpartition(b"-")[2])
        except (OSError, AttributeError, http.client.HTTPException):
            return  # closed by us


if __name__ == "__main__":
    sys.exit(main())
