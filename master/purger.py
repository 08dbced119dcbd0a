"""How is the store kept small while it is busy? Small steps, with pauses, in good time.

A step is sized by how long the last one took in the writer's thread: whoever comes just behind
it waits for it and its share of the commit, which together are to stay far below 10 ms.
"""

from collections.abc import Callable

import gevent

from master.retention import BEGINNING, Keep, Place, Purged
from master.storage import Storage
from utils import getLogger

log = getLogger(__name__)

FIRST_ROWS = 50
LEAST_ROWS = 10
MOST_ROWS = 400
FIRINGS_AT_ONCE = 200
TARGET_S = 0.001  # of a step; the pages that it changed cost about as much again in the commit
PAUSE_S = 0.02
PAUSES_A_STEP = 4  # the pause is so many times as long as the step: the writer is for the others
BUSY_QUEUED = 100  # verbs that wait; then a step is put off,
BUSY_S = 0.5  # … but not for ever


class Purger:
    """Forgets what is not to be kept; `sleep` pauses between the steps."""

    def __init__(self, storage: Storage, keep: Keep, sleep: Callable[[float], None] = gevent.sleep):
        self._storage = storage
        self._keep = keep
        self._sleep = sleep
        self._rows = FIRST_ROWS

    def round(self) -> int:
        """Until nothing is left to forget; the number of tasks that are gone. Blocks the greenlet.

        What has to be passed over is passed once in a round, not in each step.
        """
        place, tasks = self._steps(BEGINNING)
        for seq in self._queues_beyond():
            if self._storage.begin_forgetting(seq).wait():
                place, more = self._steps(place)
                tasks += more
        if tasks:
            log.info(f"{tasks} tasks that ended long ago, or first, are forgotten with their runs")
        self._forget_firings()
        return tasks

    def _steps(self, place: Place) -> tuple[Place, int]:
        """Until nothing is left to forget behind `place`: (where that is, tasks that are gone)."""
        tasks = 0
        while True:
            purged = self._storage.purge(self._keep, place, self._rows).wait()
            place, tasks = purged.place, tasks + purged.tasks
            if purged.is_last:
                return place, tasks
            self._rows = next_rows(self._rows, purged)
            self._rest(purged.spent_s)

    def _queues_beyond(self) -> list[int]:
        if self._keep.items is None:
            return []
        return self._storage.queues_beyond(self._keep.items).wait()

    def _forget_firings(self) -> None:
        """What became of due instants is kept as long as what they have made."""
        age_s = self._keep.age_s
        while age_s is not None:
            if self._storage.schedules.forget(age_s, FIRINGS_AT_ONCE).wait() < FIRINGS_AT_ONCE:
                return
            self._rest(TARGET_S)

    def _rest(self, spent_s: float) -> None:
        self._sleep(max(PAUSE_S, PAUSES_A_STEP * spent_s))
        if self._storage.queued > BUSY_QUEUED:
            self._sleep(BUSY_S)


def next_rows(rows: int, purged: Purged) -> int:
    """How many rows the next step may take: at most half as many again, at least half of it."""
    fitting = rows * TARGET_S / max(purged.spent_s, 1e-6)
    return int(min(max(fitting, rows / 2, LEAST_ROWS), rows * 1.5 + 1, MOST_ROWS))
