"""How does a retry of a queue get its many items while everybody else is served?

In small steps, each a verb of its own behind all others, with pauses between them. How far it has
come is in the store, so a master that was killed goes on where it was.
"""

from collections.abc import Callable

import gevent
from gevent.event import Event as Signal

from master.changes import Changed
from master.queue_again import FIRST_RUNS
from master.storage import Storage
from utils import getLogger

log = getLogger(__name__)

LEAST_RUNS = 10  # in a step; items may be long
MOST_RUNS = 2_000
TARGET_S = 0.005  # of a step in the writer's thread; a commit comes on top
SHARE = 1.0  # the pause is so many times as long as the step
LONGEST_S = 10.0  # between two looks for something to fill


class Filler:
    """`apply` tells everybody what a step has changed; `sleep` pauses between steps."""

    def __init__(
        self,
        storage: Storage,
        apply: Callable[[Changed], None],
        sleep: Callable[[float], None] = gevent.sleep,
    ):
        self._storage = storage
        self._apply = apply
        self._sleep = sleep
        self._runs = FIRST_RUNS
        self._signal = Signal()

    def wake(self) -> None:
        """There is a queue to fill."""
        self._signal.set()

    def run(self) -> None:
        """Never returns. A store that fails for a while does not end it."""
        while True:
            self._signal.clear()
            try:
                self.round()
            except Exception:
                log.exception("queues that are not full are looked for a little later")
            self._signal.wait(LONGEST_S)

    def round(self) -> None:
        """Until all queues are full, a step of each in turn. Blocks the greenlet. One that cannot
        be filled now holds up no other."""
        failed: set[str] = set()
        while tasks := [id for id in self._storage.filling().wait() if id not in failed]:
            for task in tasks:
                try:
                    self._step(task)
                except Exception:
                    failed.add(task)
                    log.exception(f"task {task} gets the rest of its items a little later")

    def _step(self, task: str) -> None:
        filled = self._storage.fill(task, self._runs).wait()
        self._apply(filled.changed)
        self._runs = next_runs(self._runs, filled.spent_s)
        self._sleep(SHARE * filled.spent_s)


def next_runs(runs: int, spent_s: float) -> int:
    """How many runs the next step may take: at most twice as many, at least half of it."""
    fitting = runs * TARGET_S / max(spent_s, 1e-6)
    return int(min(max(fitting, runs / 2, LEAST_RUNS), 2 * runs, MOST_RUNS))
