"""What is recorded while a fleet is broken? A scene: clients, witnesses, a watcher, and at the end
a history, ready to be judged."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.faults.breakable import BreakableFleet
from tests.faults.history import (
    History,
    Presence,
    RunSeen,
    Straggler,
    TaskSeen,
    pieces_of,
    read_said,
    uptime,
)
from tests.faults.injector import Injector
from tests.faults.load import STOPPED, Client, Ledger, processes_of
from tests.fleet import Api

LOOK_S = 0.1
LAST_OUTPUT_S = 15.0  # which may come after the verdict
LAST_DEATH_S = 15.0  # of what an older store took for stopped, or never started


class Scene:
    """One fleet, all that is done to it, and all that is seen of it.

    with Scene(fleet) as scene, scene.client() as client:
        client.submit(wish)
        …
        violations = check(scene.collect(give_up_at))
    """

    def __init__(self, fleet: BreakableFleet) -> None:
        self.fleet = fleet
        self.ids = {agent["hostname"]: agent["id"] for agent in fleet.api.agents()}
        self.folder = fleet.root / "witness"
        self.folder.mkdir()
        self.ledger = Ledger()
        self.injector = Injector(fleet, self.ids)
        self._token = fleet.token
        self._watcher = Watcher(self.folder)
        self._watching = threading.Thread(target=self._watcher.watch)

    def __enter__(self) -> "Scene":
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watcher.stop()
        self._watching.join()

    @property
    def presences(self) -> list[Presence]:
        """What the watcher has seen so far."""
        return self._watcher.presences

    def api(self) -> Api:
        """A connection of one's own, for one thread."""
        return Api(self.fleet.web_port, self._token, timeout_s=20)

    @contextmanager
    def client(self) -> Iterator[Client]:
        with closing(self.api()) as api:
            yield Client(api, self.ids, self.folder, self.ledger)

    def collect(self, give_up_at: float) -> History:
        """See every task to its end, until `give_up_at` (monotonic), and record what is told."""
        with self.client() as client, closing(self.api()) as api:
            for order in self.ledger.orders:  # an older store may have begun some anew
                client.see_end(order.task, lambda: give_up_at)
            tasks = [seen for o in self.ledger.orders if (seen := self._task(api, o.task))]
        return History(
            orders=self.ledger.orders,
            said=read_said(self.folder),
            presences=self._watcher.presences,
            harms=self.injector.harms,
            births=self.fleet.births(),
            tasks=tasks,
            stragglers=self.ledger.stragglers + _at_rest(tasks),
        )

    def _task(self, api: Api, id: str) -> TaskSeen | None:
        """None: there is no such task."""
        answer = api.call("GET", f"/api/v1/tasks/{id}")
        if answer.status == 404:
            return None
        assert answer.status == 200, answer
        replaced = _replaced(self.fleet.master.state_dir / "store.sqlite", id)
        runs = [_run(api, run, replaced.get(run["id"], [])) for run in api.runs(id)]
        return TaskSeen(id=id, state=answer.json["state"], counts=answer.json["counts"], runs=runs)


def _at_rest(tasks: list[TaskSeen]) -> list[Straggler]:
    """What lives of runs that are stopped, and does not end."""
    stopped = {run.id: run.state for task in tasks for run in task.runs if run.state in STOPPED}
    deadline = time.monotonic() + LAST_DEATH_S
    while (alive := processes_of(stopped)) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    return [Straggler(run, pid, stopped[run], at_rest=True) for run, pid in alive]


def _run(api: Api, told: dict[str, Any], replaced: list[str]) -> RunSeen:
    """A run with its output; the last of it may come a moment after the verdict."""
    path = f"/api/v1/tasks/{told['task']}/runs/{told['id']}"
    deadline = time.monotonic() + LAST_OUTPUT_S
    while _lacks_output(told) and time.monotonic() < deadline:
        time.sleep(0.05)
        told = api.get(path)
    gap = tuple(told["output_gap"]) if told["output_gap"] else None
    stored = api.output(told["task"], told["id"]) if told["output_stored"] else b""
    return RunSeen(
        id=told["id"],
        agent=told["agent"],
        attempt=told["attempt"],
        state=told["state"],
        code=told["code"],
        survivors=told["survivors"],
        output_bytes=told["output_bytes"],
        output_sha256=told["output_sha256"],
        output_gap=gap,
        pieces=pieces_of(stored, told["output_bytes"], gap),
        replaced=replaced,
    )


def _lacks_output(told: dict[str, Any]) -> bool:
    gap = told["output_gap"] or (0, 0)
    return bool(told["output_stored"] + gap[1] - gap[0] < told["output_bytes"])


def _replaced(store: Path, task: str) -> dict[str, list[str]]:
    """The verdicts that evidence has replaced, by run. The API shows only the one that holds."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=10)) as connection:
        rows = connection.execute(
            "SELECT run, state FROM run_history WHERE run IN "
            "(SELECT id FROM runs WHERE task = ?) ORDER BY run, replaced_at",
            (task,),
        ).fetchall()
    found: dict[str, list[str]] = {}
    for run, state in rows:
        found.setdefault(run, []).append(state)
    return found


class Watcher:
    """Looks again and again which scripts that said start are alive."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}
        self._alive: dict[tuple[str, int], Presence] = {}
        self._done: list[Presence] = []
        self._stopping = threading.Event()

    @property
    def presences(self) -> list[Presence]:
        return [*self._done, *self._alive.values()]

    def stop(self) -> None:
        self._stopping.set()

    def watch(self) -> None:
        while not self._stopping.wait(LOOK_S):
            self._read_more()
            for key, presence in list(self._alive.items()):
                self._look(key, presence)

    def _look(self, key: tuple[str, int], presence: Presence) -> None:
        run, pid = key
        now = uptime()
        if _is_script_of(pid, run):
            # Alive at a moment after `now` was read: never later than the truth.
            self._alive[key] = Presence(run, pid, now, None)
        else:
            self._done.append(Presence(run, pid, presence.seen_at, uptime()))
            del self._alive[key]

    def _read_more(self) -> None:
        for file in self._folder.glob("*.said"):
            with file.open() as lines:
                lines.seek(self._read.get(file.name, 0))
                for line in iter(lines.readline, ""):
                    if not line.endswith("\n"):
                        break
                    self._read[file.name] = lines.tell()
                    self._hear(line)

    def _hear(self, line: str) -> None:
        what, _, run, _, pid, at, _ = line.split()
        if what == "start":
            self._alive[run, int(pid)] = Presence(run, int(pid), float(at), None)


def _is_script_of(pid: int, run: str) -> bool:
    """Is it that process, and alive? The script's path, with the run's id, is in its arguments."""
    try:
        return run.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
