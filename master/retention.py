"""What is forgotten, and when? Tasks that have ended, the one that ended first before the others.

A task is forgotten for everybody at once, by a row in `purges`: from then on there is no such
task and no such run, so what an agent still says about one is a stray. Its rows then go in steps
of a bounded size, each a verb of its own behind all others, so that nobody waits for them; a
master that is killed between two steps goes on with the next.

Never forgotten are tasks that have not ended, and those with a run of which its agent may still
tell how it ended; nor the newest task, whose number the next one is counted from.
"""

import time
from typing import Any, NamedTuple

from msgspec import Struct

from master.reader import Reader
from master.rows import to_json
from master.transaction import Tx

KEY_S = 86400.0  # an idempotency key holds at least so long, its task or no task
GRACE_S = 30.0  # whoever waited for the end of a task still finds it, also in a full store
CONTENT_BYTES_A_ROW = 16 << 10  # so much output costs about as much as a row
ROWS_OF_A_TASK = 4  # its own, its key's, its script's, and its place in `purges`


class Keep(Struct, frozen=True):
    """What is kept. None: no limit. `store_bytes`: all that the store has in use on disk.
    `items`: of queues that have ended, in all."""

    age_s: float | None = None
    store_bytes: int | None = None
    items: int | None = None


class Place(NamedTuple):
    """The task that was looked at last, in the order of ends."""

    ended_at: float
    seq: int


BEGINNING = Place(0.0, 0)


class Purged(Struct, frozen=True):
    """What one step has done. `is_last`: nothing is left to forget behind `place`."""

    rows: int
    tasks: int  # that are wholly gone
    place: Place
    is_last: bool
    spent_s: float  # in the writer's thread, without the commit


def purge(tx: Tx, keep: Keep, place: Place, most_rows: int) -> Purged:
    """One step: at most `most_rows` rows, and what belongs to the task that is done last."""
    began_s = time.perf_counter()
    step = _Step(tx, keep, place, most_rows)
    while step.left > 0 and step.go_on():
        pass
    tx.reread()
    return Purged(
        rows=most_rows - step.left,
        tasks=step.tasks,
        place=step.place,
        is_last=step.is_last,
        spent_s=time.perf_counter() - began_s,
    )


# ---- queues, by the number of their items


def queues_beyond(reader: Reader, items: int) -> list[int]:
    """The numbers of the tasks that go so that ended queues have no more items than that, in the
    order of their ends. What ended a moment ago counts, and stays."""
    ended = sorted(reader.rows("ended_queues"), reverse=True)
    kept, gone = 0, []
    for ended_at, seq, count in ended:
        kept += count
        if kept > items and ended_at < reader.now - GRACE_S:
            gone.append(seq)
    return gone[::-1]


def begin(tx: Tx, seq: int) -> bool:
    """Forget this task next; its rows go in steps. False: it is gone already, or must stay."""
    found = tx.row("may_forget", seq=seq)
    if found is None or found[0]:
        return False
    tx.execute("insert_purge", seq=seq)
    tx.reread()
    return True


# ---- a step


class _Step:
    """Forgets in pieces until `left` rows are spent."""

    def __init__(self, tx: Tx, keep: Keep, place: Place, most_rows: int):
        self.left = most_rows
        self.place = place
        self.tasks = 0
        self.is_last = False
        self._tx = tx
        self._keep = keep

    def go_on(self) -> bool:
        """A piece of the task that is being forgotten, or begin with the next; False: all done."""
        begun = self._tx.row("purge_under_way")
        if begun is not None:
            self._forget_some(*begun)
        elif not self._forget_keys() and not self._begin_next():
            self.is_last = True
        return not self.is_last

    # ---- which task is next

    def _begin_next(self) -> bool:
        """Take on the next task, or pass it over if it must stay; False: there is none."""
        before = self._before()
        found = before is not None and self._tx.row(
            "next_ended_task", before=before, ended_at=self.place.ended_at, seq=self.place.seq
        )
        if not found:
            return False
        ended_at, seq, is_unsettled = found
        self.place = Place(ended_at, seq)
        self.left -= 1
        if not is_unsettled:
            self._tx.execute("insert_purge", seq=seq)
        return True

    def _before(self) -> float | None:
        """What ended before this time goes; None: nothing does."""
        keep, now = self._keep, self._tx.now
        if keep.store_bytes is not None and self._tx.used_bytes() > keep.store_bytes:
            return now - GRACE_S
        return None if keep.age_s is None else now - keep.age_s

    # ---- its rows, the dependent ones first

    def _forget_some(self, seq: int, id: str, script: str) -> None:
        if retries := self._tx.execute("unbind_retries", task=id, limit=self.left):
            self.left -= retries
            return
        half = max(1, self.left // 2)
        runs = to_json([run for (run,) in self._tx.rows("first_runs", task_seq=seq, limit=half)])
        if chunks := self._tx.rows("chunks_of_runs", runs=runs, limit=self.left):
            self._forget_chunks(chunks)
        elif runs != "[]":
            self.left -= self._tx.execute("delete_history", runs=runs)
            self.left -= self._tx.execute("delete_attempts", runs=runs)
            self.left -= self._tx.execute("delete_runs", runs=runs)
        elif items := self._tx.rows("first_items", task_seq=seq, limit=self.left):
            self.left -= self._tx.execute("delete_items", task_seq=seq, seq=items[-1][0])
        else:
            self._forget_task(seq, id, script)

    def _forget_chunks(self, chunks: list[tuple[Any, ...]]) -> None:
        """One at least, and of the others as many as there is room for."""
        rows = []
        for run, attempt, start_at, size_bytes in chunks:
            rows.append((run, attempt, start_at))
            self.left -= 1 + size_bytes // CONTENT_BYTES_A_ROW
            if self.left <= 0:
                break
        self._tx.execute("delete_chunks", rows=to_json(rows))

    def _forget_task(self, seq: int, id: str, script: str) -> None:
        self._tx.execute("orphan_key", task=id)
        self._tx.execute("delete_purge", seq=seq)
        self.left -= self._tx.execute("delete_secrets", task=id)
        self.left -= self._tx.execute("delete_uploads", task_seq=seq)
        self.left -= self._tx.execute("delete_queue", task_seq=seq)
        self._tx.execute("delete_task", seq=seq)
        self._tx.execute("delete_unused_script", sha256=script)
        self.left -= ROWS_OF_A_TASK
        self.tasks += 1

    def _forget_keys(self) -> int:
        before = self._tx.now - KEY_S
        gone = self._tx.execute("delete_orphan_keys", before=before, limit=self.left)
        self.left -= gone
        return gone
