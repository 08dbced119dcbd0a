"""What do readers hear of a queue that ends a thousand runs a second? That it goes on, now and
then, and how it stands.

Of a queue that is slow each run is told, as of other tasks. Of a fast one the task is told twice a
second, with the word that runs have moved: who wants to see them looks again.
"""

from collections.abc import Callable

from msgspec import Struct

from master.records import Run, Task
from wire.states import TaskState

PAUSE_S = 0.5  # between two words of one task
RUNS_A_SECOND = 20  # of one task, told one by one

Tell = Callable[[Task, bool], None]


class _Told(Struct, eq=False):
    """What was told of a task. `late`: how it stands since, which is not told yet."""

    at: float
    state: TaskState
    late: Task | None = None
    moved: bool = False  # runs that were not told
    runs: int = 0  # told in the second that began …
    runs_since: float = 0.0  # … then


class QueueNews:
    """`tell(task, moved)` publishes how a task stands."""

    def __init__(self, tell: Tell, clock: Callable[[], float]):
        self._tell = tell
        self._clock = clock
        self._told: dict[str, _Told] = {}

    def tells(self, run: Run) -> bool:
        """Is this run told by itself? If not, its task will be said to have moved."""
        told = self._told.setdefault(run.task, _Told(-PAUSE_S, TaskState.WAITING))
        now = self._clock()
        if now - told.runs_since >= 1.0:
            told.runs, told.runs_since = 0, now
        told.runs += 1
        if told.runs <= RUNS_A_SECOND:
            return True
        told.moved = True
        return False

    def saw(self, task: Task, *, moved: bool) -> None:
        """A task changed: it is told at once, or in a moment with what comes until then."""
        told = self._told.setdefault(task.id, _Told(-PAUSE_S, task.state))
        told.moved = told.moved or moved
        if task.state is not told.state or self._clock() - told.at >= PAUSE_S:
            self._say(task, told)
        else:
            told.late = task

    def catch_up(self) -> None:
        """Tell what has waited for its moment; called about as often as that."""
        now = self._clock()
        for told in list(self._told.values()):
            if told.late is not None and now - told.at >= PAUSE_S:
                self._say(told.late, told)

    def forget(self, task: str) -> None:
        self._told.pop(task, None)

    def _say(self, task: Task, told: _Told) -> None:
        moved, told.moved = told.moved, False
        told.late, told.state, told.at = None, task.state, self._clock()
        self._tell(task, moved)
