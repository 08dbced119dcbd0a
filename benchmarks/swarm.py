"""How does one master bear ten thousand agents?

Simulated agents (benchmarks/hive.py: real CURVE connections, the real messages, several
thousand to a process, scripts that end at once) against the real master and web, SQLite
at full durability. Everything shares this machine, also the load generator.

With --plot SVG it draws how results per second and memory grow with the number of agents.
Each part checks that no run was handed out twice and that none was lost.
"""

import multiprocessing
import resource
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import hive, plot
from benchmarks.common import Value, conditions, parser, percentile, report, workplace
from tests.fleet import Api, Fleet
from tests.support import cpu_s, rss_bytes, until
from wire.keys import parse_join

GENERATORS = 3
PARTS = ("idle", "ping", "burst", "window", "singles", "hundred", "latency", "cancel", "restart")
SIZES = (100, 1_000, 3_000, 10_000)  # agents, for the plot
IDLE_S = 20.0
REAL = "real01"  # one real agent among the simulated ones, for latencies


class Swarm:
    """The load generators, told what to do over pipes."""

    def __init__(self, join: str, agents: int):
        self.size = agents
        self.generators = GENERATORS
        self._pipes: list[Connection] = []
        context = multiprocessing.get_context("spawn")
        for n in range(GENERATORS):
            ours, theirs = context.Pipe()
            share = agents // GENERATORS + (n < agents % GENERATORS)
            offset = n * (agents // GENERATORS + 1)
            arguments = (theirs, parse_join(join), share, offset)
            context.Process(target=hive.run, args=arguments, daemon=True).start()
            self._pipes.append(ours)
        for pipe in self._pipes:
            assert pipe.recv() == "ready"

    def tell(self, word: str = "count") -> list[hive.Count]:
        for pipe in self._pipes:
            pipe.send(word)
        return [pipe.recv() for pipe in self._pipes]

    def tell_one(self, number: int, word: str) -> hive.Count:
        """One generator after another, as the number grows."""
        pipe = self._pipes[number % len(self._pipes)]
        pipe.send(word)
        found: hive.Count = pipe.recv()
        return found

    def total(self, field: str) -> int:
        return sum(getattr(count, field) for count in self.tell())

    def end(self) -> None:
        for pipe in self._pipes:
            pipe.send("end")


class Bench:
    """One fleet, one swarm, and what was found so far."""

    def __init__(self, fleet: Fleet, swarm: Swarm):
        self.fleet = fleet
        self.swarm = swarm
        self.found: dict[str, Value] = {}
        self.runs_expected = 0

    @property
    def master(self) -> int:
        return self.fleet.master.pid

    # ---- parts

    def connect(self) -> None:
        """All connect, enrol and poll."""
        before_kb = rss_bytes(self.master) / 1024
        began = time.monotonic()
        self.swarm.tell("connect")
        until(lambda: self.swarm.total("registered") >= self.swarm.size, 300, "all registered")
        self.found["register_s"] = round(time.monotonic() - began, 1)
        time.sleep(2)  # the polls that follow
        grown_kb = rss_bytes(self.master) / 1024 - before_kb
        self.found["rss_kb_per_agent"] = round(grown_kb / self.swarm.size, 1)

    def idle(self) -> None:
        cpu_s = self._master_cpu_s()
        time.sleep(IDLE_S)
        self.found["idle_core_fraction"] = round((self._master_cpu_s() - cpu_s) / IDLE_S, 3)

    def ping(self) -> None:
        """All hosts asked, through the API, while nothing else goes on."""
        found = self.fleet.api.call("POST", "/api/v1/ping", {"timeout": 10}).json
        taken_ms = [pong["ms"] for pong in found["agents"] if pong["ms"] is not None]
        assert found["answered"] == self.swarm.size + 1, f"{found['answered']} answered"
        self.found["ping_s"] = round(found["seconds"], 2)
        self.found["ping_p50_ms"] = round(percentile(taken_ms, 0.5), 1)
        self.found["ping_p99_ms"] = round(percentile(taken_ms, 0.99), 1)

    def burst(self) -> None:
        """One task to all, from POST to the last durable result."""
        wall_s, cpu_s = self._all_at_once(0)
        self.found["results_per_s"] = round(self.swarm.size / wall_s)
        self.found["burst_wall_s"] = round(wall_s, 2)
        self.found["master_us_per_result"] = round(cpu_s / self.swarm.size * 1e6)
        self.found["rss_mb_after_burst"] = round(rss_bytes(self.master) / 1024**2, 1)

    def window(self) -> None:
        wall_s, cpu_s = self._all_at_once(500)
        self.found["window_results_per_s"] = round(self.swarm.size / wall_s)
        self.found["window_us_per_result"] = round(cpu_s / self.swarm.size * 1e6)

    def _all_at_once(self, parallel: int) -> tuple[float, float]:
        cpu_s, began = self._master_cpu_s(), time.time()
        task = self._submit("sim*", parallel=parallel)
        ended = self.fleet.api.finished(task, timeout_s=300)
        self._check(ended, self.swarm.size)
        last = max(count.last_result_at for count in self.swarm.tell())
        return max(last, time.time() - 0.001) - began, self._master_cpu_s() - cpu_s

    def singles(self) -> None:
        """1,000 tasks of one target each from 50 submitters."""
        names = iter(sorted(a["id"] for a in self._agents())[:1000])
        lock, times, began = threading.Lock(), [], time.monotonic()

        def submitter(api: Api) -> None:
            while True:
                with lock:
                    target = next(names, None)
                if target is None:
                    return
                start = time.monotonic()
                ended = api.finished(api.submit("echo hello", [target]), timeout_s=60)
                times.append(time.monotonic() - start)
                self._check(ended, 1)

        _at_once([(submitter, self.fleet.connect(self.fleet.token)) for _ in range(50)])
        self.found["submits_per_s"] = round(len(times) / (time.monotonic() - began))
        self.found["single_p50_ms"] = _ms(times, 0.5)
        self.found["single_p99_ms"] = _ms(times, 0.99)

    def hundred(self) -> None:
        """100 tasks active at once, each on every tenth agent."""
        ids = sorted(agent["id"] for agent in self._agents())
        began = time.monotonic()
        tasks = [self._submit(ids[n % 10 :: 10], parallel=0) for n in range(100)]
        runs = 0
        for n, task in enumerate(tasks):
            runs += len(ids[n % 10 :: 10])
            self._check(self.fleet.api.finished(task, timeout_s=600), len(ids[n % 10 :: 10]))
        self.found["hundred_results_per_s"] = round(runs / (time.monotonic() - began))

    def latency(self) -> None:
        """One real agent: among the idle ones, and then with a fan-out going on beside it."""
        quiet = [self._one_real() for _ in range(200)]
        self.found["p50_ms"] = _ms(quiet, 0.5)
        self.found["quiet_p99_ms"] = _ms(quiet, 0.99)
        going, busy = True, []

        def fan_out(api: Api) -> None:
            while going:
                api.finished(api.submit("echo hello", "sim*", parallel=500), timeout_s=300)
                self.runs_expected += self.swarm.size

        thread = threading.Thread(target=fan_out, args=[self.fleet.connect(self.fleet.token)])
        thread.start()
        for _ in range(200):
            busy.append(self._one_real())
        going = False
        thread.join()
        self.found["p99_ms"] = _ms(busy, 0.99)
        self.found["busy_p50_ms"] = _ms(busy, 0.5)

    def _one_real(self) -> float:
        began = time.monotonic()
        task = self.fleet.api.submit("echo hello", REAL)
        assert self.fleet.api.finished(task)["state"] == "SUCCEED"
        return time.monotonic() - began

    def cancel(self) -> None:
        """A task of all agents that waits, cancelled; `PAUSED` windows are not needed for that."""
        self.fleet.agents[REAL].pause()
        task = self.fleet.api.submit("sleep 60", f"{REAL},sim*", parallel=1)
        began = time.monotonic()
        self.fleet.api.cancel(task)
        self.found["cancel_answer_s"] = round(time.monotonic() - began, 2)
        self.fleet.agents[REAL].resume()
        ended = self.fleet.api.finished(task, timeout_s=120)
        self.found["cancel_ended_s"] = round(time.monotonic() - began, 2)
        assert ended["state"] == "CANCELLED", ended["reason"]
        self.runs_expected += ended["counts"]["SUCCEED"]

    def restart(self) -> None:
        """kill -9 of the master, started again at once: until all are back."""
        self.fleet.master.kill()
        self.fleet.master.start()
        self.swarm.tell("lost")
        began = time.monotonic()
        until(lambda: self.swarm.total("registered") >= self.swarm.size, 300, "all back")
        self.found["restart_all_back_s"] = round(time.monotonic() - began, 1)
        self._check(
            self.fleet.api.finished(self._submit("sim*", parallel=0), timeout_s=300),
            self.swarm.size,
        )

    # ---- helpers

    def _agents(self) -> list[dict[str, Any]]:
        return [a for a in self.fleet.api.agents() if a["hostname"].startswith("sim")]

    def _submit(self, targets: Any, **fields: Any) -> str:
        return self.fleet.api.submit("echo hello", targets, **fields)

    def _check(self, task: dict[str, Any], runs: int) -> None:
        """Every run of the task succeeded."""
        assert task["counts"]["SUCCEED"] == runs == task["total"], task["counts"]
        self.runs_expected += runs

    def _master_cpu_s(self) -> float:
        return cpu_s(self.master)


def _at_once(work: list[tuple[Callable[[Api], None], Api]]) -> None:
    threads = [threading.Thread(target=do, args=[api]) for do, api in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _ms(times: list[float], share: float) -> float:
    return round(percentile(times, share) * 1000, 1)


def measured(folder: Path, agents: int, parts: list[str]) -> dict[str, Value]:
    """All parts with so many agents on a fleet of its own; what was found."""
    with workplace(folder) as root, Fleet(root, [REAL], heartbeat_s=5) as fleet:
        swarm = Swarm(fleet.join_string("agent"), agents)
        bench = Bench(fleet, swarm)
        for part in ("connect", *parts):
            print(f"{part} …", file=sys.stderr, flush=True)
            getattr(bench, part)()
            print(bench.found, file=sys.stderr, flush=True)
        bench.found["doubled"] = swarm.total("granted_twice")
        bench.found["lost"] = bench.runs_expected - swarm.total("results")
        bench.found["client_errors"] = swarm.total("errors")
        errors = {count.last_error for count in swarm.tell() if count.last_error}
        swarm.end()
    if errors:
        print("errors of simulated agents, among them:", "; ".join(errors), file=sys.stderr)
    return {"agents": agents, **bench.found}


def curve(folder: Path) -> list[dict[str, Value]]:
    """A burst with each of SIZES agents."""
    return [measured(folder, agents, ["burst"]) for agents in SIZES]


def picture(found: list[dict[str, Value]], around: dict[str, Value]) -> str:
    """Results per second and memory against the number of agents, as an SVG."""

    def points(name: str) -> list[tuple[int, float]]:
        return [(int(one["agents"]), float(one[name])) for one in found]

    curves = [
        plot.Curve("durable results a second, one task on all", points("results_per_s")),
        plot.Curve("memory of the master, MB", points("rss_mb_after_burst")),
    ]
    return plot.svg(curves, f"agents; {around['cores']} cores, shared with the load generator")


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--agents", type=int, default=10_000, help="how many to simulate")
    options.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    options.add_argument(
        "--plot",
        type=Path,
        metavar="SVG",
        help=f"draw a burst with {', '.join(map(str, SIZES))} agents there, instead of all else",
    )
    given = options.parse_args()
    parts = given.only.split(",")
    if unknown := set(parts) - set(PARTS):
        options.error(f"--only has {', '.join(sorted(unknown))}; parts are {', '.join(PARTS)}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    around = {**conditions(given.dir), "open_files_limit": hard, "generators": GENERATORS}
    if given.plot is None:
        found = [measured(given.dir, given.agents, parts)]
        report(found[0], around, given.json)
    else:
        found = curve(given.dir)
        given.plot.write_text(picture(found, around))
        named = {f"{k}_at_{one['agents']}": v for one in found for k, v in one.items()}
        report(named, around, given.json)
    return 1 if any(one["doubled"] or int(one["lost"]) > 0 for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
