"""How long from a submit over HTTP until its result can be read over HTTP? One agent, durable."""

import sys
import time
from collections.abc import Sequence

from benchmarks.common import Value, conditions, parser, percentile, report, workplace
from tests.fleet import Api, Fleet


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--count", type=int, default=300, help="how many tasks are measured")
    options.add_argument("--warm-up", type=int, default=20, help="how many go before them")
    chosen = options.parse_args(argv)
    around = conditions(chosen.dir)
    with workplace(chosen.dir) as folder, Fleet(folder, ["web01"], heartbeat_s=5) as fleet:
        api = fleet.api
        agent = fleet.agent_id("web01")
        for _ in range(chosen.warm_up):
            once_s(api, agent)
        taken_ms = [once_s(api, agent) * 1000 for _ in range(chosen.count)]
    found: dict[str, Value] = {
        "tasks": len(taken_ms),
        "p50_ms": round(percentile(taken_ms, 0.5), 2),
        "p90_ms": round(percentile(taken_ms, 0.9), 2),
        "p99_ms": round(percentile(taken_ms, 0.99), 2),
        "max_ms": round(max(taken_ms), 2),
    }
    report(found, around, chosen.json)
    return 0


def once_s(api: Api, agent: str) -> float:
    """Submit `echo hello`, wait for its end; the seconds that it took."""
    started = time.perf_counter()
    task = api.submit("echo hello", [agent])
    ended = api.get(f"/api/v1/tasks/{task}", wait=30)
    taken_s = time.perf_counter() - started
    assert ended["state"] == "SUCCEED", ended
    return taken_s


if __name__ == "__main__":
    sys.exit(main())
