"""Are the promises kept while everything breaks? Real programs, a load, faults, and a verdict.

One thread breaks things and heals them, another holds faults for long on hosts of their own,
clients submit, a watcher notes whose scripts are alive. Then all is healed, what was accepted
must come to its end, and the checker judges what was recorded.
"""

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.breakable import FAKETIME, BreakableFleet
from tests.faults.cable import may_be_laid
from tests.faults.checker import Violation, check
from tests.faults.dice import Dice, Fault, hold
from tests.faults.history import Harm, History, Play, uptime
from tests.faults.load import Wish, draw
from tests.faults.scene import Scene
from tests.fleet import Api, Program
from tests.support import until

CLIENTS = 32
KEEP_S = 0.5
RECOVER_S = 90.0  # beyond, it did not recover


@dataclass
class Outcome:
    """What a run of faults came to."""

    history: History
    violations: list[Violation]
    counts: dict[str, int]
    recover_s: dict[str, list[float]]  # by what was hit: master, web, agent, several
    answer_s: list[float]  # until the API answered again, after a fault of the master
    refused: dict[int, int]
    ended: dict[str, int]  # programs that ended by themselves, by exit code
    seconds: float

    @property
    def faults(self) -> int:
        return sum(self.counts.values())

    @property
    def runs(self) -> int:
        return sum(len(task.runs) for task in self.history.tasks)

    @property
    def all_recover_s(self) -> list[float]:
        return [taken for times in self.recover_s.values() for taken in times]


@dataclass
class Plan:
    """How long, by which seed, on how many hosts, and with what kinds of faults."""

    seconds: float
    seed: int
    agents: int = 10
    long_faults_s: float = 60.0
    restore: bool = True
    steps: bool = True
    patience_s: float = 180.0  # in which all must end once nothing is broken any more


def run_chaos(plan: Plan, root: Path, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """All of it, in `root`."""
    names = [f"web{number:02}" for number in range(1, plan.agents + 1)]
    as_root = may_be_laid()
    steps = plan.steps and FAKETIME is not None
    fleet = BreakableFleet(
        root,
        names,
        slots=6,
        heartbeat_s=1,
        seed=plan.seed,
        cabled=[names[0], names[1], names[-1]] if as_root else [],
        small=["master", names[2]] if as_root else [],
        stepped=[names[3]] if steps else [],
    )
    with fleet, Scene(fleet) as scene:
        return Chaos(plan, scene, names, say).run()


class Chaos:
    """One run of faults against one fleet."""

    def __init__(
        self, plan: Plan, scene: Scene, names: list[str], say: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._scene = scene
        self._fleet = scene.fleet
        self._injector = scene.injector
        self._names = names
        self._say = say
        self._load_over = threading.Event()
        self._give_up_at = float("inf")
        self._wishes = random.Random(f"{plan.seed} load")
        self._drawing = threading.Lock()
        self._recover_s: dict[str, list[float]] = {}
        self._answer_s: list[float] = []
        self._lost: list[Violation] = []
        self._ended: Counter[str] = Counter()
        self._all_over = threading.Event()
        self._restored = threading.Event()

    def run(self) -> Outcome:
        started = time.monotonic()
        with ThreadPoolExecutor(CLIENTS + 3) as threads:
            attending = [threads.submit(self._keep), threads.submit(self._release)]
            clients = [threads.submit(self._use) for _ in range(CLIENTS)]
            try:
                slowly = threads.submit(self._break_for_long, started)
                self._break(started)
                slowly.result()
                self._give_up_at = time.monotonic() + self._plan.patience_s
                self._say("all is healed; what is open must end now")
            except BaseException:
                self._give_up_at = 0.0
                raise
            finally:
                self._load_over.set()
                try:
                    for client in clients:
                        client.result()
                finally:
                    self._all_over.set()
                    self._restored.set()
            for attendant in attending:
                attendant.result()
        history = self._scene.collect(self._give_up_at)
        return Outcome(
            history=history,
            violations=self._lost + check(history),
            counts=dict(self._injector.counts),
            recover_s=self._recover_s,
            answer_s=self._answer_s,
            refused=self._scene.ledger.refused,
            ended=dict(self._ended),
            seconds=time.monotonic() - started,
        )

    # ---- the load

    def _use(self) -> None:
        """One person, who has a new wish whenever the last is fulfilled."""
        with self._scene.client() as client:
            while not self._load_over.is_set():
                with self._drawing:
                    wish = draw(self._wishes, self._names)
                client.carry_out(wish, lambda: self._give_up_at)

    def _keep(self) -> None:
        """Start again what has ended by itself, as systemd does on a real host."""
        while not self._all_over.wait(KEEP_S):
            for program in self._fleet.programs:
                busy = self._injector.busy[program.name]
                if busy.acquire(blocking=False):
                    try:
                        if not program.running:
                            self._note_end(program)
                            program.start()
                    finally:
                        busy.release()

    def _note_end(self, program: Program) -> None:
        """Why does it end? An agent may, once its journal cannot be written; nobody may crash."""
        assert program.process is not None
        code = program.process.returncode
        last = program.log.rstrip().rpartition("\n")[2]
        self._ended[f"{program.name} with {code}"] += 1
        if code < 0:
            what = f"died of signal {-code} by itself: {last}"
            self._lost.append(Violation("programs_do_not_crash", program.name, what))

    # ---- the faults

    def _break(self, started: float) -> None:
        plan, rng = self._plan, random.Random(f"{self._plan.seed} faults")
        dice = Dice(self._injector, self._fleet, rng)
        hosts = self._names[: max(3, len(self._names) - 2)]
        if plan.restore:
            self._restore(rng.choice(hosts))
        standstills = self._standstills()
        while (passed_s := time.monotonic() - started) < plan.seconds:
            if standstills and passed_s > plan.seconds / (len(standstills) + 1):
                name, fault, held_s = standstills.pop()
                hold([(name, fault)], held_s)
                self._recover([name], rng.choice(hosts))
            faults = dice.several(hosts)
            parts = [part for part, _ in faults]
            self._say(f"{passed_s:6.1f} s  {', '.join(parts)}")
            before = Counter(self._injector.counts)
            hold(faults, rng.choice([0, 0, 0.1, 0.3, 1, 2]))
            self._say(f"          {', '.join(self._injector.counts - before)}")
            at_host = next((part for part in parts if part in self._names), rng.choice(hosts))
            self._recover(parts, at_host)

    def _standstills(self) -> list[tuple[str, Fault, float]]:
        """What all wait for stands still once for long, if there is time."""
        long_s = self._plan.long_faults_s
        if self._plan.seconds < 8 * long_s:
            return []
        web, master = self._fleet.web, self._fleet.master
        return [
            (master.name, self._injector.locked_store, long_s / 2),
            (web.name, partial(self._injector.stopped, web), long_s),
            (master.name, partial(self._injector.stopped, master), long_s),
        ]

    def _break_for_long(self, started: float) -> None:
        """Faults of up to a minute, on hosts that nothing else happens to."""
        plan, rng = self._plan, random.Random(f"{self._plan.seed} long")
        dice = Dice(self._injector, self._fleet, rng)
        while True:
            for name in self._names[-2:]:
                held_s = plan.long_faults_s * rng.choice([0.2, 0.5, 1.0])
                if time.monotonic() - started + held_s > plan.seconds:
                    return
                hold([(name, dice.long_one(name))], held_s)

    def _restore(self, host: str) -> None:
        """A copy of the store is put back some seconds later; somebody releases the hand-outs."""
        folder = self._fleet.root / "backup"
        since = self._injector.back_up(folder)
        time.sleep(min(10.0, self._plan.seconds / 10))
        self._injector.put_back(folder)
        self._restored.set()
        self._recover(["older store"], host)
        with closing(self._scene.api()) as api:
            for order in [order for order in self._scene.ledger.orders if order.cancelled_at]:
                # The store has forgotten the cancel, and the task might go on for long.
                _quietly(partial(api.call, "POST", f"/api/v1/tasks/{order.task}/cancel"))
        self._injector.harms.append(Harm(kind="restore", since=since, until=uptime()))

    def _release(self) -> None:
        """Let hand-outs go on after the restore, again and again.

        Every host that was away when the older store came, and that knows more than it, has
        them held once more.
        """
        self._restored.wait()
        with closing(self._scene.api()) as api:
            while not self._all_over.wait(KEEP_S):
                _quietly(lambda: api.call("POST", "/api/v1/handouts/release"))

    def _recover(self, parts: list[str], host: str) -> None:
        """From now, when all is healed, until the host that was hit has run something new."""
        healed_at = time.monotonic()
        kind = "several" if len(parts) > 1 else parts[0] if parts[0] not in self._names else "agent"
        with closing(self._scene.api()) as api, self._scene.client() as client:
            if parts == ["master"]:
                until(lambda: _answers(api), RECOVER_S, "an answer of the API")
                self._answer_s.append(time.monotonic() - healed_at)
            probe = Wish(Play(lines=1), [host], priority=1000)
            if client.carry_out(probe, lambda: healed_at + RECOVER_S):
                taken_s = time.monotonic() - healed_at
                self._recover_s.setdefault(kind, []).append(taken_s)
                self._say(f"          {host} ran something new after {taken_s:.2f} s")
            else:
                what = f"ran nothing new within {RECOVER_S:g} s of the end of {', '.join(parts)}"
                self._lost.append(Violation("work_flows_again", host, what))


def _answers(api: Api) -> bool:
    return _quietly(lambda: api.call("GET", "/api/v1/agents?limit=1").status == 200) is True


def _quietly(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (OSError, http.client.HTTPException):
        return None
