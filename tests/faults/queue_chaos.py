"""Is every item of a queue done or given up, whatever breaks? A real fleet, faults, and a verdict.

Leases are short here, so that hosts that stand still or are cut off lose theirs and come back.
"""

import http.client
import json
import random
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.breakable import BreakableFleet
from tests.faults.cable import may_be_laid
from tests.faults.checker import Violation
from tests.faults.dice import Dice, Fault, hold
from tests.faults.history import read_said, uptime
from tests.faults.load import processes_of
from tests.faults.queue_checker import Done, Held, QueueHistory, RunResult, check_queue
from tests.faults.scene import LAST_DEATH_S, LOOK_S, Scene
from tests.fleet import ENDED, Answer, Api
from tests.support import until

LEASE_S = 4.0
LONG_S = 2 * LEASE_S  # for which a host is held that shall lose its leases
MAX_ATTEMPTS = 8  # so many that hardly anything is given up that can be done
AT_ONCE = 5_000  # items in one upload
AWAY = (OSError, http.client.HTTPException)
KINDS = ["plain"] * 40 + ["slow"] * 2 + ["flaky"] * 3
SCRIPT = """
read -r now _ < /proc/uptime
who="$MSCHEDULE_TASK_ID $MSCHEDULE_RUN_ID $MSCHEDULE_ATTEMPT $$"
echo "start $who $now 0" >> {folder}/"$MSCHEDULE_AGENT_ID".said
code=0
try() {{
  case "$1" in
    bad*) fail "$1"; return ;;
    slow*) sleep 1 ;;
    flaky*) if [ "$MSCHEDULE_ATTEMPT" = 1 ]; then fail "$1"; return; fi ;;
  esac
  echo "$1 $MSCHEDULE_RUN_ID $MSCHEDULE_ATTEMPT 1"
}}
fail() {{
  code=7
  [ -z "$MSCHEDULE_FAILED" ] || echo "$1" >> "$MSCHEDULE_FAILED"
}}
if [ -n "$MSCHEDULE_ITEMS" ]; then
  while IFS= read -r item; do try "$item"; done < "$MSCHEDULE_ITEMS"
else
  try "$1"
fi >> {folder}/"$MSCHEDULE_AGENT_ID".done
read -r now _ < /proc/uptime
echo "end $who $now $code" >> {folder}/"$MSCHEDULE_AGENT_ID".said
exit $code
"""


@dataclass
class QueuePlan:
    """How many items, how many to a run, by which seed, and for how long things break."""

    items: int
    seed: int
    seconds: float
    batch: int = 1
    agents: int = 4
    hopeless: int = 3
    patience_s: float = 180.0  # in which all must end once nothing is broken any more


@dataclass
class QueueOutcome:
    history: QueueHistory
    violations: list[Violation]
    counts: dict[str, int]  # faults
    attempts: int  # that scripts have begun

    @property
    def faults(self) -> int:
        return sum(self.counts.values())


def run_queue_chaos(plan: QueuePlan, root: Path) -> QueueOutcome:
    """All of it, in `root`."""
    names = [f"web{number:02}" for number in range(1, plan.agents + 1)]
    fleet = BreakableFleet(
        root,
        names,
        slots=6,
        heartbeat_s=1,
        seed=plan.seed,
        cabled=[names[-1]] if may_be_laid() else [],
    )
    with fleet, Scene(fleet) as scene, closing(scene.api()) as api:
        return QueueChaos(plan, scene, names, api).run()


class QueueChaos:
    """One queue in one fleet."""

    def __init__(self, plan: QueuePlan, scene: Scene, names: list[str], api: Api) -> None:
        self._plan = plan
        self._scene = scene
        self._names = names
        self._api = api
        self._rng = random.Random(f"{plan.seed} queue")
        kinds = self._rng.choices(KINDS, k=plan.items - plan.hopeless) + ["bad"] * plan.hopeless
        self._rng.shuffle(kinds)
        self._held: list[Held] = []
        self._items = [f"{kind}{number}" for number, kind in enumerate(kinds)]

    def run(self) -> QueueOutcome:
        task = self._submit()
        self._break()
        deadline = time.monotonic() + self._plan.patience_s
        state = self._see_end(task, deadline)
        history = self._collect(task, state)
        return QueueOutcome(
            history=history,
            violations=check_queue(history),
            counts=dict(self._scene.injector.counts),
            attempts=sum(said.what == "start" for said in history.said),
        )

    # ---- the queue

    def _submit(self) -> str:
        """An open queue, to which the items are added in parts, while things break already."""
        plan = self._plan
        body = {
            "mode": "queue",
            "script": SCRIPT.format(folder=self._scene.folder),
            "targets": "@*",
            "batch": plan.batch,
            "open": True,
            "max_attempts": MAX_ATTEMPTS,
            "retry_pause": 0.02,
            "lost_after": LEASE_S,
            "timeout": 60,
            "cwd": "/",
        }
        task: str = self._insist("/api/v1/tasks", body, "the task").json["id"]
        for start in range(0, plan.items, AT_ONCE):
            part = "".join(f"{item}\n" for item in self._items[start : start + AT_ONCE])
            self._insist(f"/api/v1/tasks/{task}/items", part.encode(), f"part {start}")
        self._insist(f"/api/v1/tasks/{task}/close", None, "closed")
        return task

    def _insist(self, path: str, body: Any, key: str) -> Answer:
        headers = {"Idempotency-Key": f"{self._plan.seed} {key}"}
        if isinstance(body, bytes):
            headers["Content-Type"] = "text/plain"

        def asked() -> Answer | None:
            answer = self._ask("POST", path, body, headers)
            return answer if answer is not None and answer.status in (200, 201) else None

        return until(asked, 180, f"POST {path}")

    def _ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer | None:
        try:
            answer = self._api.call(method, path, body, headers)
        except AWAY:
            return None
        assert answer.status in (200, 201, 503, 507), f"{path}: {answer}"
        return answer

    def _see_end(self, task: str, deadline: float) -> str:
        state = "unknown"
        while state not in ENDED and time.monotonic() < deadline:
            answer = self._ask("GET", f"/api/v1/tasks/{task}?wait=5")
            if answer is not None and answer.status == 200:
                state = answer.json["state"]
        return state

    # ---- the faults

    def _break(self) -> None:
        injector, fleet = self._scene.injector, self._scene.fleet
        dice = Dice(injector, fleet, self._rng)
        until_s = time.monotonic() + self._plan.seconds
        while time.monotonic() < until_s:
            if self._rng.random() < 0.3:
                name = self._names[-1]
                losing: list[Fault] = [
                    partial(injector.stopped, fleet.agents[name]),
                    partial(injector.killed, fleet.agents[name]),
                ]
                if name in fleet.cables:
                    losing.append(partial(injector.bad_weather, name, "cut"))
                self._hold([(name, self._rng.choice(losing))], LONG_S)
            else:
                self._hold(dice.several(self._names), self._rng.choice([0, 0.1, 0.3, 1]))
            time.sleep(self._rng.choice([0.1, 0.5, 1.0]))
            for program in fleet.programs:  # one that has ended by itself, as systemd would
                if not program.running:
                    program.start()

    def _hold(self, faults: list[tuple[str, Fault]], for_s: float) -> None:
        since, ids = uptime(), self._scene.ids
        hold(faults, for_s)
        self._held += [Held(ids[part], since, uptime()) for part, _ in faults if part in ids]

    # ---- what is recorded

    def _collect(self, task: str, state: str) -> QueueHistory:
        results = [self._result(row) for row in self._rows(task)]
        runs = [result.run for result in results if result.run is not None]
        return QueueHistory(
            accepted=self._items,
            hopeless=[item for item in self._items if item.startswith("bad")],
            max_attempts=MAX_ATTEMPTS,
            state=state,
            results=results,
            said=read_said(self._scene.folder),
            done=_read_done(self._scene.folder),
            presences=self._scene.presences,
            held=self._held,
            alive=_at_rest(runs),
        )

    def _rows(self, task: str) -> list[dict[str, Any]]:
        answer = until(
            lambda: self._ask("GET", f"/api/v1/tasks/{task}/results?format=ndjson"), 60, "results"
        )
        return [json.loads(line) for line in answer.body.splitlines()]

    def _result(self, row: dict[str, Any]) -> RunResult:
        ends: dict[int, str] = {}
        if row["attempt"] > 1:
            told = self._api.items(f"/api/v1/runs/{row['run']}/attempts")
            ends = {attempt["attempt"]: attempt["state"] for attempt in told}
        return RunResult(
            run=row["run"],
            items=row["item"].split("\n"),
            failed_items=row.get("failed_items", []),
            state=row["state"],
            attempt=row["attempt"],
            ends=ends,
        )


def _at_rest(runs: list[str]) -> list[str]:
    """Those of which a process lives on; one of an attempt that was lost may take a moment."""
    deadline = time.monotonic() + LAST_DEATH_S
    while (alive := processes_of(runs)) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    return [run for run, _ in alive]


def _read_done(folder: Path) -> list[Done]:
    found = []
    for file in folder.glob("*.done"):
        for line in file.read_text().splitlines():
            item, run, attempt, well = line.split()
            found.append(Done(item, run, int(attempt), well == "1"))
    return found
