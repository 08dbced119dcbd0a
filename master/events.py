"""What changed lately? A numbered ring that feeds every live page.

A cursor is "<start id of this master>-<n>": a reader that comes back after a
restart of the master, or too late, is told to look afresh instead of waiting for a
number that never comes. Records are frozen, so a view of one is made only when
somebody reads it, and of several changes of one run or task only the newest. Of very
many runs of one task nobody gets each: the word that they have moved is enough.
"""

import secrets
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from gevent.event import Event as Signal
from msgspec import Struct

from master.records import Run, Task
from wire.plans import PlanLine
from wire.views import Event, EventsAnswer

KEPT = 50_000
MOST_IN_ONE_ANSWER = 5_000
MOST_RUNS = 200  # of one task in one answer; beyond, looking at the grid again is cheaper

Record = Run | Task | PlanLine
View = Callable[[Record], dict[str, Any]]


class Change(Struct, frozen=True):
    n: int
    kind: str  # task, run, output or plan
    record: Record
    moved: bool = False  # many runs of the task, which are not listed


class Ring:
    """The last changes in order; `view` makes of a record what readers get."""

    def __init__(self, view: View, kept: int = KEPT):
        self.start = secrets.token_hex(4)
        self._view = view
        self._changes: deque[Change] = deque(maxlen=kept)
        self._n = 0
        self._news = Signal()

    def publish(self, kind: str, record: Record, *, moved: bool = False) -> None:
        self._n += 1
        self._changes.append(Change(self._n, kind, record, moved))
        self._news.set()

    def wait(self, timeout_s: float) -> bool:
        """Block the greenlet until something is published; False at the end of the wait."""
        self._news.clear()
        return bool(self._news.wait(timeout_s))

    def since(self, cursor: str | None) -> EventsAnswer:
        """The changes after the cursor, oldest first; None stands for the newest change."""
        after = self._position(cursor)
        if after is None:
            return EventsAnswer(next=self._cursor(self._n), events=[], reset=True)
        found = self._after(after)
        last = found[-1].n if found else after
        return EventsAnswer(next=self._cursor(last), events=self._newest_of_each(found))

    def _cursor(self, n: int) -> str:
        return f"{self.start}-{n}"

    def _position(self, cursor: str | None) -> int | None:
        """The number in the cursor; None when the ring can't go on from there."""
        if cursor is None:
            return self._n
        start, _, number = cursor.partition("-")
        if start != self.start or not number.isascii() or not number.isdecimal():
            return None
        after = int(number[:18])
        return after if self._n - len(self._changes) <= after <= self._n else None

    def _after(self, after: int) -> list[Change]:
        """Walked from the new end, where readers nearly always are."""
        found: list[Change] = []
        for change in reversed(self._changes):
            if change.n <= after:
                break
            found.append(change)
        found.reverse()
        return found[:MOST_IN_ONE_ANSWER]

    def _newest_of_each(self, changes: list[Change]) -> list[Event]:
        newest = {(change.kind, change.record.id): change for change in changes}
        crowds = _crowds(newest)
        told = [change for change in newest.values() if _task_of(change.record) not in crowds]
        told += [newest["task", task] for task in crowds]
        told.sort(key=lambda change: change.n)
        moved = {change.record.id for change in changes if change.moved}.union(crowds)
        return [self._event(one, moved=one.record.id in moved) for one in told]

    def _event(self, change: Change, *, moved: bool) -> Event:
        record = change.record
        return Event(
            self._cursor(change.n), change.kind, _task_of(record), self._view(record), moved
        )


def _task_of(record: Record) -> str:
    """ "" of a plan, which is no task's."""
    if isinstance(record, PlanLine):
        return ""
    return record.task if isinstance(record, Run) else record.id


def _crowds(newest: dict[tuple[str, str], Change]) -> set[str]:
    """Tasks of which more runs changed than are told one by one; their own change says so."""
    runs = Counter(one.record.task for one in newest.values() if isinstance(one.record, Run))
    return {task for task, n in runs.items() if n > MOST_RUNS and ("task", task) in newest}
