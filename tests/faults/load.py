"""What do people do while everything breaks? Tasks of every kind, drawn by a seed, and clients.

A client is stubborn, as people's programs should be: it repeats a submission under the same
key until it is accepted, a cancel until it is confirmed, and asks until it hears the end.
"""

import http.client
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tests.faults.history import Order, Play, Straggler, uptime
from tests.fleet import ENDED, Answer, Api
from tests.support import until

PAUSE_S = 0.05
AWAY = (OSError, http.client.HTTPException)
STOPPED = ("CANCELLED", "TIMEOUT")


@dataclass(frozen=True)
class Wish:
    """A task to submit."""

    play: Play
    hosts: Sequence[str]
    parallel: int = 1
    tolerated: int | None = None
    kill_on_limit: bool = False
    timeout_s: float = 600.0
    lost_after_s: float = 900.0
    priority: int = 0
    cancel_after_s: float | None = None

    def body(self, folder: Path) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "script": self.play.script(folder),
            "targets": ",".join(self.hosts),
            "parallel": self.parallel,
            "timeout": self.timeout_s,
            "grace": 0.3,
            "lost_after": self.lost_after_s,
            "priority": self.priority,
            "cwd": "/",
        }
        if self.tolerated is not None:
            asked |= {"fail_count": self.tolerated}
            asked |= {"on_limit": "kill"} if self.kill_on_limit else {}
        return asked


def draw(rng: random.Random, hosts: Sequence[str]) -> Wish:
    """One task of some kind; most are small, since it is their number that finds races."""
    some = rng.sample(list(hosts), rng.randint(max(1, len(hosts) // 2), len(hosts)))
    window = rng.choice([0, 0, 1, 2, 3, 5])
    kind = rng.choices(
        ["quick", "slow", "big", "failing", "limited", "hanging", "cancelled", "silent"],
        [50, 8, 5, 14, 10, 4, 7, 2],
    )[0]
    match kind:
        case "slow":
            return Wish(Play(work_s=rng.choice([0.3, 1, 2])), some, window or 4)
        case "big":
            return Wish(Play(lines=rng.choice([3_000, 30_000])), some[:4], window)
        case "failing":
            return Wish(Play(failing=rng.randint(1, 16), work_s=0.05), some, window)
        case "limited":
            play = Play(failing=rng.randint(4, 16), work_s=rng.choice([0, 0.2, 1]))
            return Wish(play, some, window, rng.randint(0, 3), rng.random() < 0.5)
        case "hanging":
            return Wish(Play(hangs=True), some[:3], window or 3, timeout_s=rng.choice([1, 2, 3]))
        case "cancelled":
            play = Play(hangs=rng.random() < 0.7, work_s=1)
            cancel_after_s = rng.choice([0, 0.02, 0.1, 0.5, 1.5])
            return Wish(play, some, window, timeout_s=45, cancel_after_s=cancel_after_s)
        case "silent":
            return Wish(Play(work_s=2), some, window or 4, lost_after_s=5)
    return Wish(Play(lines=rng.choice([0, 1, 40])), some, window)


@dataclass
class Ledger:
    """What the clients have seen; shared by their threads."""

    orders: list[Order] = field(default_factory=list)
    stragglers: list[Straggler] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)  # status → how often
    lock: threading.Lock = field(default_factory=threading.Lock)


class Client:
    """One person's program, in one thread."""

    def __init__(self, api: Api, ids: dict[str, str], folder: Path, ledger: Ledger):
        self._api = api
        self._ids = ids
        self._folder = folder
        self._ledger = ledger

    def carry_out(self, wish: Wish, give_up_at: Callable[[], float]) -> bool:
        """Submit, cancel if wished, and wait for the end; False if that was not reached."""
        order = self.submit(wish)
        if wish.cancel_after_s is not None:
            self._cancel_later(order, wish.cancel_after_s)
        return self.see_end(order.task, give_up_at)

    def submit(self, wish: Wish) -> Order:
        """Repeat it until it is accepted."""
        sent_at = uptime()
        key = {"Idempotency-Key": uuid.uuid4().hex}
        body = wish.body(self._folder)
        answer = self._insist("POST", "/api/v1/tasks", body, key)
        order = Order(
            task=answer.json["id"],
            play=wish.play,
            agents=[self._ids[host] for host in wish.hosts],
            sent_at=sent_at,
            accepted_at=uptime(),
            parallel=wish.parallel,
            tolerated=wish.tolerated,
            kill_on_limit=wish.kill_on_limit,
            timeout_s=wish.timeout_s,
        )
        with self._ledger.lock:
            self._ledger.orders.append(order)
        return order

    def see_end(self, task: str, give_up_at: Callable[[], float]) -> bool:
        while time.monotonic() < give_up_at():
            answer = self._try("GET", f"/api/v1/tasks/{task}?wait=5")
            if answer is None or answer.status >= 500:
                time.sleep(PAUSE_S)
            elif answer.status == 404:
                return True  # gone with an older store, or lost: the checker knows which
            elif answer.status == 200 and answer.json["state"] in ENDED:
                if any(answer.json["counts"][state] for state in STOPPED):
                    self._look_for_stragglers(task)
                return True
        return False

    def cancel(self, task: str) -> None:
        """Repeat it until it is confirmed."""
        self._amend(task, cancel_sent_at=uptime())
        self._insist("POST", f"/api/v1/tasks/{task}/cancel")
        self._amend(task, cancelled_at=uptime())

    def _cancel_later(self, order: Order, after_s: float) -> None:
        time.sleep(after_s)
        self.cancel(order.task)

    def _amend(self, task: str, **changes: float) -> None:
        with self._ledger.lock:
            orders = self._ledger.orders
            (at,) = [n for n, order in enumerate(orders) if order.task == task]
            orders[at] = replace(orders[at], **changes)

    def _look_for_stragglers(self, task: str) -> None:
        """The runs are said to be stopped: does the process table say so?"""
        answer = self._try("GET", f"/api/v1/tasks/{task}/runs?limit=10000")
        if answer is None or answer.status != 200:
            return
        stopped = {run["id"]: run["state"] for run in answer.json["items"]}
        stopped = {run: state for run, state in stopped.items() if state in STOPPED}
        for run, pid in processes_of(stopped):
            with self._ledger.lock:
                self._ledger.stragglers.append(Straggler(run, pid, stopped[run]))

    def _insist(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        def asked() -> Answer | None:
            answer = self._try(method, path, body, headers)
            return answer if answer is not None and answer.status in (200, 201, 404) else None

        return until(asked, 180, f"{method} {path}")

    def _try(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer | None:
        try:
            answer = self._api.call(method, path, body, headers)
        except AWAY:
            return None
        if answer.status >= 400:
            with self._ledger.lock:
                count = self._ledger.refused.get(answer.status, 0)
                self._ledger.refused[answer.status] = count + 1
        assert answer.status in (200, 201, 404, 503, 507), f"{path}: {answer}"
        return answer


def processes_of(runs: Iterable[str]) -> list[tuple[str, int]]:
    """Processes that bear the id of one of the runs in their environment."""
    wanted = {f"MSCHEDULE_RUN_ID={run}".encode(): run for run in runs}
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and wanted:
            try:
                variables = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            found += [(wanted[text], int(name)) for text in variables if text in wanted]
    return found
