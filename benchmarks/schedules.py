"""How soon do schedules fire? A thousand in one second, an edit, and the lateness of single ones.

`fire_1000_s`: from the due second until the last of 1,000 schedules has its task, as read over
HTTP. `edit_s`: from the call of an edit that makes a schedule due at once until its task is there,
less the wait for the due second. `lateness_p50_ms`: from the due instant until the script itself
has run `date`, on a host of this machine.
"""

import math
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from benchmarks.common import Value, conditions, parser, percentile, report, workplace
from tests.fleet import Api, Fleet

SCHEDULES = "/api/v1/schedules"
AHEAD_S = 3  # an edit makes a schedule due so many seconds later


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--count", type=int, default=1000, help="schedules due in one second")
    options.add_argument("--edits", type=int, default=10, help="how many edits are measured")
    options.add_argument("--single", type=int, default=40, help="firings whose lateness is taken")
    chosen = options.parse_args(argv)
    around = conditions(chosen.dir)
    with workplace(chosen.dir) as folder, Fleet(folder, ["web01"], heartbeat_s=5) as fleet:
        late_ms = lateness_ms(fleet.api, chosen.single)
        edits_s = [edit_s(fleet.api, number) for number in range(chosen.edits)]
        fired_s = fire_s(fleet.api, chosen.count)
    found: dict[str, Value] = {
        "schedules": chosen.count,
        f"fire_{chosen.count}_s": round(fired_s, 3),
        "edit_s": round(percentile(edits_s, 0.5), 3),
        "edit_max_s": round(max(edits_s), 3),
        "lateness_p50_ms": round(percentile(late_ms, 0.5), 1),
        "lateness_p99_ms": round(percentile(late_ms, 0.99), 1),
    }
    report(found, around, chosen.json)
    return 0


def lateness_ms(api: Api, count: int) -> list[float]:
    """One schedule that is due every second; its script says when it ran."""
    every_second = {"kind": "every", "every": 1}
    made = make(api, "ticking", every_second, "date +%s.%N", overlap="allow")
    time.sleep(count + 2)
    api.call("POST", f"{SCHEDULES}/{made['id']}/pause")
    late = []
    for firing in api.items(f"{SCHEDULES}/{made['id']}/firings", limit=1000):
        if firing["state"] == "fired":
            api.finished(firing["task"])
            (run,) = api.items(f"/api/v1/tasks/{firing['task']}/runs")
            path = f"/api/v1/tasks/{firing['task']}/runs/{run['id']}/output"
            ran_at = float(api.call("GET", path).body)
            late.append((ran_at - stamp(firing["due_at"])) * 1000)
    return late[:count]


def edit_s(api: Api, number: int) -> float:
    """A schedule that is due next year is edited to be due in a few seconds."""
    far = {"kind": "once", "at": iso(time.time() + 300 * 86_400)}
    made = make(api, f"edited {number}", far, "true")
    due = math.ceil(time.time()) + AHEAD_S
    began = time.time()
    api.call("PATCH", f"{SCHEDULES}/{made['id']}", {"when": {"kind": "once", "at": iso(due)}})
    answered_s = time.time() - began
    return max(answered_s, until_fired(api, made["id"]) - due)


def until_fired(api: Api, id: str) -> float:
    """When the firing is there to be read."""
    while not api.get(f"{SCHEDULES}/{id}/firings")["items"]:
        time.sleep(0.005)
    return time.time()


def fire_s(api: Api, count: int) -> float:
    """From the due second until all are decided, and can be read."""
    due = math.ceil(time.time() + 5 + count / 50)
    for number in range(count):
        make(api, f"crowd {number}", {"kind": "once", "at": iso(due)}, "true")
    assert time.time() < due, "the schedules were made too slowly"
    time.sleep(due - time.time())
    while fired(api, due, count) < count:
        time.sleep(0.2)  # a look costs as much as some firings
    return time.time() - due


def fired(api: Api, due: int, count: int) -> int:
    page = api.get("/api/v1/firings", limit=min(count, 10_000))
    return sum(firing["due_at"] == iso(due, ".000Z") for firing in page["items"])


def make(api: Api, name: str, when: dict[str, Any], script: str, **fields: Any) -> dict[str, Any]:
    body = {"name": name, "when": when, "task": {"script": script, "targets": "@*"}, **fields}
    answer = api.call("POST", SCHEDULES, body)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json
    return made


def iso(at: float, end: str = "Z") -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%S") + end


def stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    sys.exit(main())
