"""What does a queue of a million items cost those who look at it, or run it again?"""

import argparse
import http.client
import multiprocessing
import statistics
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.common import Value, percentile, workplace
from benchmarks.queue_past import ENDS, make_past_queue
from master.views import to_cursor
from tests.fleet import Api, Fleet
from tests.support import until
from webserver.cookies import SESSION, VISITOR
from webserver.seals import seal_of

Found = dict[str, Value]
ONE_DEAD_OF = 20
ROUNDS = 9
QUIET = 200  # submissions without anything beside them
LONGEST_S = 600.0


@contextmanager
def fleet_with_past(given: argparse.Namespace, dead_of: int) -> Iterator[tuple[Fleet, str]]:
    """A master and a web, and the id of a queue in their store that has ended."""
    with workplace(given.dir) as root:
        task = _apart(root / "master", given.million, dead_of)
        with Fleet(root, []) as fleet:
            yield fleet, task


def _apart(folder: Path, items: int, dead_of: int) -> str:
    """The store is filled by a process of its own, which takes its memory with it."""
    folder.mkdir(mode=0o700)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(make_past_queue, (folder / "store.sqlite", items, dead_of))


# ---- looking


def pages(given: argparse.Namespace) -> Found:
    """Milliseconds of each, the first time and the median of the next; files until they begin."""
    with fleet_with_past(given, ONE_DEAD_OF) as (fleet, task):
        path, last = f"/api/v1/tasks/{task}", to_cursor(given.million - 100)
        looks = {
            "page": f"/tasks/{task}",
            "page_failed": f"/tasks/{task}?state=FAILED",
            "tasks_page": "/tasks",
            "task": path,
            "runs_first": f"{path}/runs?limit=100",
            "runs_last": f"{path}/runs?limit=100&cursor={last}",
            "runs_unknown": f"{path}/runs?limit=100&state=UNKNOWN",
            "groups": f"{path}/groups",
            "groups_succeed": f"{path}/groups?states=SUCCEED",
            "grid": f"{path}/grid?limit=1000",
            "results_first": f"{path}/results?limit=100",
            "results_last": f"{path}/results?limit=100&cursor={last}",
            "results_dead": f"{path}/results?limit=100&states=DEAD",
            "ndjson_begins": f"{path}/results?format=ndjson",
            "csv_output_begins": f"{path}/results?format=csv&output=true",
            "dead_csv_begins": f"{path}/results?format=csv&states=DEAD",
        }
        found: Found = {"pages_items": given.million}
        session = _log_in(fleet)
        for name, address in looks.items():
            first_ms, *more = (_begins_ms(fleet, session, address) for _ in range(1 + ROUNDS))
            found[f"{name}_first_ms"] = round(first_ms, 1)
            found[f"{name}_ms"] = round(statistics.median(more), 1)
    return found


def _log_in(fleet: Fleet) -> str:
    """The cookie of a session, as a browser gets it by the form."""
    visitor = "a" * 22
    form = {"csrf": seal_of(visitor), "next": "/", "token": fleet.token}
    connection = http.client.HTTPConnection("127.0.0.1", fleet.web_port, timeout=LONGEST_S)
    headers = {
        "Cookie": f"{VISITOR}={visitor}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": fleet.url,
    }
    connection.request("POST", "/login", urllib.parse.urlencode(form), headers)
    answer = connection.getresponse()
    cookies = [value for name, value in answer.getheaders() if name.lower() == "set-cookie"]
    connection.close()
    (session,) = (one.split(";")[0] for one in cookies if one.startswith(f"{SESSION}="))
    return session


def _begins_ms(fleet: Fleet, session: str, address: str) -> float:
    """Until the first bytes of the body are here; what is no file is here as a whole then."""
    connection = http.client.HTTPConnection("127.0.0.1", fleet.web_port, timeout=LONGEST_S)
    began = time.perf_counter()
    connection.request("GET", address, headers={"Cookie": session})
    answer = connection.getresponse()
    first = answer.read(64) if "format=" in address else answer.read()
    taken_s = time.perf_counter() - began
    connection.close()
    assert answer.status == 200, f"{address}: {answer.status}"
    assert first, f"{address}: nothing came"
    return taken_s * 1000


# ---- running again


def retry(given: argparse.Namespace) -> Found:
    """A million dead items become a queue of their own, while others submit tasks."""
    with fleet_with_past(given, 1) as (fleet, task):
        quiet = [_submit_ms(fleet.api) for _ in range(QUIET)]
        ended = threading.Event()
        beside: list[float] = []
        submitter = threading.Thread(target=_submit_until, args=(fleet, ended, beside))
        submitter.start()
        began = time.monotonic()
        again = fleet.api.call("POST", f"/api/v1/tasks/{task}/retry", {"states": list(ENDS)})
        answered_s = time.monotonic() - began
        assert again.status == 201, again.body
        new = again.json["id"]
        until(lambda: _total(fleet.api, new) == given.million, LONGEST_S, "all items")
        taken_s = time.monotonic() - began
        ended.set()
        submitter.join()
    return {
        "retried": given.million,
        "retry_answer_s": round(answered_s, 3),
        "retry_million_s": round(taken_s, 1),
        "retry_quiet_submit_p50_ms": round(percentile(quiet, 0.50), 1),
        "retry_quiet_submit_p99_ms": round(percentile(quiet, 0.99), 1),
        "retry_beside_submit_p50_ms": round(percentile(beside, 0.50), 1),
        "retry_beside_submit_p99_ms": round(percentile(beside, 0.99), 1),
    }


def _submit_until(fleet: Fleet, ended: threading.Event, taken_ms: list[float]) -> None:
    api = Api(fleet.web_port, fleet.token)
    while not ended.is_set():
        taken_ms.append(_submit_ms(api))
    api.close()


def _submit_ms(api: Api) -> float:
    began = time.perf_counter()
    api.submit("true", mode="queue", items=["an item"])
    return (time.perf_counter() - began) * 1000


def _total(api: Api, task: str) -> int:
    total: int = api.task(task)["total"]
    return total
