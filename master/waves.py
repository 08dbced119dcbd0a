"""Which runs of a rolling task may start by now, and what comes after them? Pure functions.

A rolling task releases its runs in waves, in the order of its targets: `released` of them may be
handed out, the rest waits. A wave is over when none of what was released waits or runs; then the
next begins, at once or after a pause, or the task is PAUSED until a person says so. Failures
count over the whole task.

An expression such as "1 10% +10" gives the sizes: one host, then a tenth of all, then ten more
than before each time. The last part repeats, and the last wave is what is left.
"""

import math
import re
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from master.records import Run, Task
from master.state import move_task
from master.task import failures
from wire.states import TaskState

GO, AFTER_FAILURE, ASK = "go", "pause_after_failure", "ask"
BETWEEN = (GO, AFTER_FAILURE, ASK)
MAX_PARTS = 100
NEVER = 253402214400.0  # the last day of the year 9999

_PART = re.compile(r"([+*]?)([1-9][0-9]{0,5})(%?)")


class Part(Struct, frozen=True):
    """One part of an expression: "10", "10%", "+10" or "*10"."""

    sign: str  # "" or + or *, which continue from the wave before
    number: int
    percent: bool

    def size(self, before: int, total: int) -> int:
        """How many hosts, of `total` in all, after a wave of `before`; more than there may be."""
        if self.percent:
            return -(-self.number * total // 100)
        if self.sign == "+":
            return before + self.number
        if self.sign == "*":
            return min(before * self.number, total)
        return self.number


@lru_cache(maxsize=1024)
def parse(expression: str) -> tuple[Part, ...]:
    """The parts of the expression. Raises ValueError with what would be right."""
    words = expression.split()
    if not 1 <= len(words) <= MAX_PARTS:
        raise ValueError(f"has {len(words)} parts; it takes 1 to {MAX_PARTS}, such as 1 10% +10")
    return tuple(_part(word, first=place == 0) for place, word in enumerate(words))


def _part(word: str, *, first: bool) -> Part:
    found = _PART.fullmatch(word)
    shown = repr(word if len(word) <= 20 else word[:20] + "…")
    if found is None or (found[1] and found[3]):
        raise ValueError(f"has the part {shown}; a part is written 10, 10%, +10 or *2")
    if found[1] and first:
        raise ValueError(f"begins with {shown}, and there is no wave before the first to add to")
    if found[3] and int(found[2]) > 100:
        raise ValueError(f"has the part {shown}; a share of the hosts is 1% to 100%")
    return Part(found[1], int(found[2]), found[3] == "%")


def begun(task: Task, now: float) -> Task:
    """The task with its next wave released; one whose last wave was released stays as it is."""
    if is_whole(task):
        return task
    parts = parse(task.rolling)
    size = parts[min(task.wave_part, len(parts) - 1)].size(task.wave_size, task.total)
    return replace(
        task,
        wave=task.wave + 1,
        wave_part=task.wave_part + 1,
        wave_size=size,
        wave_failed=failures(task),
        released=min(task.total, (task.released or 0) + size),
        expires_at=now + _expires_in(task),
    )


def is_whole(task: Task) -> bool:
    """Were all of its runs released? So they are from the start in a task that does not roll."""
    return task.released is None or task.released >= task.total


def is_released(task: Task, seq: int) -> bool:
    """May the run at this place of the task be handed out, as far as waves go?"""
    return task.released is None or seq < task.released


def waves_in_all(task: Task) -> int:
    """How many waves there will have been, if the expression stays."""
    return task.wave + _waves_left(
        task.rolling, task.wave_part, task.wave_size, task.total, task.released or 0
    )


@lru_cache(maxsize=1024)
def _waves_left(rolling: str, part: int, size: int, total: int, released: int) -> int:
    parts = parse(rolling)
    left = 0
    while released < total:
        if part >= len(parts) and not parts[-1].sign:  # the same size from now on
            size = parts[-1].size(size, total)
            return left + math.ceil((total - released) / size)
        size = parts[min(part, len(parts) - 1)].size(size, total)
        released += size
        part += 1
        left += 1
    return left


def after_wave(task: Task, now: float) -> Task:
    """The task whose wave is over: paused, or with the next wave released."""
    if is_whole(task) or task.stop is not None or task.state is TaskState.PAUSED:
        return task
    failed = failures(task) - task.wave_failed
    ahead = f"before wave {task.wave + 1} of {waves_in_all(task)}"
    if task.between_waves == ASK:
        return _between(task, f"waits for a person {ahead}", None)
    if task.between_waves == AFTER_FAILURE and failed:
        reason = f"{failed} of wave {task.wave} failed: waits for a person {ahead}"
        return _between(task, reason, None)
    if task.wave_pause:
        reason = f"pauses for {task.wave_pause:g} s {ahead}"
        return _between(task, reason, now + task.wave_pause)
    return begun(task, now)


def _between(task: Task, reason: str, resume_at: float | None) -> Task:
    """Nothing that was released waits, so nothing can expire before the next wave begins."""
    return replace(paused(task, reason), resume_at=resume_at, expires_at=NEVER)


def paused(task: Task, reason: str) -> Task:
    """The task, handing nothing out any more; what runs goes on."""
    state = move_task(task.id, task.state, TaskState.PAUSED)
    return replace(task, state=state, reason=reason, resume_at=None)


def resumed(task: Task, now: float, *, wave_over: bool) -> Task:
    """The paused task, going on; with its next wave, if the one before is over."""
    state = TaskState.WAITING if task.started_at is None else TaskState.RUNNING
    state = move_task(task.id, task.state, state)
    task = replace(task, state=state, reason="", resume_at=None)
    return begun(task, now) if wave_over else task


def start_by(task: Task, run: Run) -> float:
    """The time of its wave counts for a run of a rolling task, not that of its submission."""
    return task.expires_at if task.rolling else run.start_by


def _expires_in(task: Task) -> float:
    return float(task.settings.get("expires_in", 86400.0))
