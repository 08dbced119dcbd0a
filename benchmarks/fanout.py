"""What does one script on many hosts cost? Real agents on this machine, `echo hello` on all.

The rounds follow each other, so that the agents still have the supervisors of the one before;
`cold` are rounds after a pause in which those have ended.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import closing

from benchmarks.common import CpuMeter, Value, conditions, parser, percentile, report, workplace
from tests.fleet import Api, Fleet
from tests.support import pss_bytes, rss_bytes, until


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--agents", type=int, default=40, help="how many agent processes")
    options.add_argument("--rounds", type=int, default=20, help="how many tasks are measured")
    options.add_argument("--cold-rounds", type=int, default=5, help="how many after a rest each")
    options.add_argument("--warm-up", type=int, default=3, help="how many go before them")
    chosen = options.parse_args(argv)
    names = [f"web{number:03}" for number in range(1, chosen.agents + 1)]
    around = conditions(chosen.dir)
    meter = CpuMeter()
    with (
        closing(meter),
        workplace(chosen.dir) as folder,
        Fleet(folder, names, heartbeat_s=5) as fleet,
    ):
        api = fleet.api
        ids = [agent["id"] for agent in api.agents()]
        for _ in range(chosen.warm_up):
            once_s(api, ids)
        with meter.measured():
            taken_s = [once_s(api, ids) for _ in range(chosen.rounds)]
        cold_s = []
        for _ in range(chosen.cold_rounds):
            wait_for_rest(fleet, names)
            cold_s.append(once_s(api, ids))
        wait_for_rest(fleet, names)
        memory = [agent_bytes(fleet, name) / (1 << 20) for name in names]
    found: dict[str, Value] = {
        "agents": len(names),
        "rounds": len(taken_s),
        "wall_s": round(percentile(taken_s, 0.5), 3),
        "wall_max_s": round(max(taken_s), 3),
        "cold_wall_s": round(percentile(cold_s, 0.5), 3),
        "cpu_s": round(meter.spent_s / len(taken_s), 3),
        "cpu_measured_by": meter.method,
        "agent_rss_mb": round(max(memory), 1),
    }
    report(found, around, chosen.json)
    return 0


def once_s(api: Api, ids: list[str]) -> float:
    """Submit `echo hello` to all, all at once, wait for the end; the seconds that it took."""
    started = time.perf_counter()
    task = api.submit("echo hello", ids, parallel=0)
    ended = api.get(f"/api/v1/tasks/{task}", wait=30)
    taken_s = time.perf_counter() - started
    assert ended["state"] == "SUCCEED" and ended["counts"]["SUCCEED"] == len(ids), ended
    return taken_s


def wait_for_rest(fleet: Fleet, names: Sequence[str]) -> None:
    """Until each agent has its runner and nothing else."""
    until(lambda: all(len(fleet.runner_pids(name)) == 1 for name in names), 30, "agents at rest")


def agent_bytes(fleet: Fleet, name: str) -> int:
    """Memory of an agent: its own RSS, and the share of its runner in what is resident."""
    runner = sum(pss_bytes(pid) for pid in fleet.runner_pids(name))
    return rss_bytes(fleet.agents[name].pid) + runner


if __name__ == "__main__":
    sys.exit(main())
