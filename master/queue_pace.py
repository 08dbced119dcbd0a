"""How fast does a queue go, how long will it take, and what does it wait for? Pure."""

from collections import deque

from master.changes import QueueState
from master.records import Task
from master.task import has_place
from wire.states import ENDED_TASK, TaskState

OVER_S = 30.0
SAMPLE_S = 1.0


class Pace:
    """Runs that have ended, as the counters said about once a second of the last half minute."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def saw(self, ended: int, now: float) -> None:
        samples = self._samples
        if not samples or now - samples[-1][0] >= SAMPLE_S:
            samples.append((now, ended))
        while len(samples) > 1 and samples[1][0] <= now - OVER_S:
            samples.popleft()

    def per_second(self, ended: int, now: float) -> float:
        """0.0 while too little is known. The clock of the task's beginning counts, not only what
        came lately: a queue that stands slows down to 0."""
        if not self._samples:
            return 0.0
        since, before = self._samples[0]
        if since < now - OVER_S and len(self._samples) == 1:
            since = now - OVER_S
        return max(0, ended - before) / max(SAMPLE_S, now - since)


def ended_of(task: Task) -> int:
    return task.total - task.waiting - task.running


def left_s(task: Task, per_second: float) -> float | None:
    """Until all have ended, at that pace; None: nobody knows."""
    left = task.waiting + task.running
    if not left:
        return 0.0
    return None if per_second <= 0 or task.open else left / per_second


def waits_for(
    task: Task,
    state: QueueState | None,
    *,
    now: float,
    held: str | None,
    named: int,
    serving: int,
    online: int,
) -> str:
    """Why nothing is handed out just now, for people; "": it goes on.

    `named`: hosts that the expression means; `serving`: of them, whose agents serve the queue;
    `online`: of those, that are there and may take.
    """
    if task.state in ENDED_TASK or task.stop is not None:
        return ""
    if task.state is TaskState.PAUSED:
        return "paused"
    if held is not None:
        return f"hand-outs are held: {held}"
    if state is not None and state.filling:
        return "the rest of the items that it repeats"
    if not task.waiting:
        return "more items, or the word that none will come" if task.open else ""
    if state is None:
        return ""
    if not named:
        return "hosts: none is meant by its targets now"
    if not serving:
        return f"agents that serve the queue {state.name}"
    if not online:
        return "hosts: none that may take is online"
    if not has_place(task):
        return f"one of its {task.parallel} places"
    return _for_time(state, now)


def _for_time(state: QueueState, now: float) -> str:
    if state.takable or state.next_at is None:
        return ""
    if not state.untaken and state.next_at - now > 0:
        return f"the next attempt, in {max(1, round(state.next_at - now))} s"
    return "its rate" if state.next_at - now > SAMPLE_S else ""
