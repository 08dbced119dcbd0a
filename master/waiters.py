"""Who waits for a task to end, or for anything to change? Parked readers of the web."""

import time
from collections.abc import Callable

from msgspec import Struct

from master.records import Task
from wire.states import ENDED_TASK


class Waiter(Struct, eq=False):
    """`answer(task)` is called once: with the ended task, or None at the end of the wait."""

    answer: Callable[[Task | None], None]
    deadline: float


class Waiters:
    """Readers by the task they wait for."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Waiter]] = {}

    def wait(self, task: str, answer: Callable[[Task | None], None], wait_s: float) -> Waiter:
        waiter = Waiter(answer, time.monotonic() + wait_s)
        self._waiting.setdefault(task, []).append(waiter)
        return waiter

    def forget(self, task: str, waiter: Waiter) -> bool:
        """Stop waiting; False if it was answered already."""
        waiting = self._waiting.get(task, [])
        if waiter not in waiting:
            return False
        waiting.remove(waiter)
        if not waiting:
            del self._waiting[task]
        return True

    def saw(self, task: Task) -> None:
        if task.state in ENDED_TASK:
            for waiter in self._waiting.pop(task.id, ()):
                waiter.answer(task)

    def end_overdue(self) -> None:
        now = time.monotonic()
        for task, waiting in list(self._waiting.items()):
            for waiter in [one for one in waiting if one.deadline <= now]:
                self.forget(task, waiter)
                waiter.answer(None)
