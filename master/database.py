"""How do many verbs share one fsync, while the hub never waits for the disk?

One native thread writes. It takes all verbs that were queued meanwhile, runs them in
one transaction, results before claims, commits, and only then hands their results to
the hub. Reader threads have connections of their own and see committed state only.

Under gevent's patches threading.Thread is a greenlet, and a commit in it would stop
the hub: threads and queues here are the native ones.
"""

import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, Generic, TypeVar

import gevent
from gevent.event import AsyncResult
from gevent.monkey import get_original

from master.engine import Trouble, connect, migrate, refusal_of, trouble_of
from master.reader import Reader
from master.rows import load_queries
from master.transaction import Needs, Stale, Tx
from wire.errors import Busy, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
Done = Callable[[T | BaseException], None]

MAX_BATCH = 200  # verbs in one transaction: some 20 ms, for which whatever comes has to wait
MAX_QUEUED = 50_000  # verbs waiting; beyond, Busy
PATIENCE_S = 45.0  # a verb may wait so long for a store that is locked or broken
PAUSE_S = 0.05  # between two attempts at a broken store
STALE_ATTEMPTS = 5

_start_thread = get_original("_thread", "start_new_thread")
_Queue = get_original("queue", "SimpleQueue")
_Empty = get_original("queue", "Empty")
_sleep = get_original("time", "sleep")


class Urgency(IntEnum):
    """The order within one transaction: what frees places goes before what takes them, and what
    nobody waits for is last."""

    RESULT = 0
    CHANGE = 1
    CLAIM = 2
    CHORE = 3


class Verb(Generic[T]):
    """One domain verb that has not begun: `wait` for it, or say what to do `then`."""

    __slots__ = ("_begin",)

    def __init__(self, begin: Callable[[Done[T]], None]):
        self._begin = begin

    def then(self, done: Done[T]) -> None:
        """Returns at once; `done` is called on the hub with the result or the exception, and must
        not block. Raises Busy when too much is queued already."""
        self._begin(done)

    def wait(self, timeout_s: float | None = None, *, told: Callable[[T], None] | None = None) -> T:
        """Blocks the calling greenlet; the verb goes on when the greenlet gives up waiting.

        `told` is called on the hub with the result, and must not block: before anybody hears of
        what was committed later, as the greenlet, which has to wait for its turn, may not be.
        """
        answer: AsyncResult[T] = AsyncResult()

        def done(result: T | BaseException) -> None:
            if isinstance(result, BaseException):
                answer.set_exception(result)
                return
            answer.set(result)
            if told is not None:
                told(result)

        self._begin(done)
        result: T = answer.get(timeout=timeout_s)
        return result


class _Item:
    """A queued verb on its way through a thread and back."""

    __slots__ = ("done", "needs", "op", "queued_at", "result", "urgency")

    def __init__(self, op: Callable[[Any], Any], done: Done[Any], needs: Needs, urgency: Urgency):
        self.op = op
        self.done = done
        self.needs = needs
        self.urgency = urgency
        self.queued_at = time.monotonic()
        self.result: Any = None


class Database:
    """The store's file, opened and brought up to date; belongs to the hub that made it."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time, readers: int = 2):
        self.queries = load_queries()
        self._path = path
        self._clock = clock
        self._queued = 0
        self._closed = False
        connection = connect(path)
        try:
            self.schema = migrate(connection)
        except BaseException:
            connection.close()
            raise
        self._hand_back = _HandBack()
        self._writes: Any = _Queue()
        self._reads: Any = _Queue()
        self._threads = 1 + readers
        self._writer = _Writer(path, connection, self.queries, clock)
        _start_thread(self._write_forever, ())
        for _ in range(readers):
            _start_thread(self._read_forever, ())

    def writing(
        self,
        op: Callable[[Tx], T],
        needs: Needs = Needs(),  # noqa: B008 (frozen)
        urgency: Urgency = Urgency.CHANGE,
    ) -> Verb[T]:
        """`op` may be run again, after its first changes were rolled back: it must only use Tx."""
        return Verb(lambda done: self._put(self._writes, _Item(op, done, needs, urgency)))

    def reading(self, op: Callable[[Reader], T]) -> Verb[T]:
        return Verb(lambda done: self._put(self._reads, _Item(op, done, Needs(), Urgency.CHANGE)))

    @property
    def queued(self) -> int:
        """Verbs that were given and whose outcome is not yet known."""
        return self._queued

    def close(self) -> None:
        """Finish what is queued, then stop the threads. Further verbs are Unavailable."""
        if self._closed:
            return
        self._closed = True
        ended: AsyncResult[None] = AsyncResult()

        def stopped(_: object) -> None:
            self._threads -= 1
            if not self._threads:
                ended.set(None)

        for _ in range(self._threads - 1):
            self._reads.put(stopped)
        self._writes.put(stopped)
        ended.get()
        self._hand_back.close()

    # ---- on the hub

    def _put(self, queue: Any, item: _Item) -> None:
        if self._closed:
            raise Unavailable("the store is closed")
        if self._queued >= MAX_QUEUED:
            raise Busy(f"{self._queued} changes wait for the store already")
        self._queued += 1
        queue.put(item)

    def _deliver(self, items: list[_Item]) -> None:
        """On the hub: the outcome is durable, now it may be spoken of."""
        self._queued -= len(items)
        for item in items:
            try:
                item.done(item.result)
            except Exception:
                log.exception("what follows a verb of the store failed; the store is not affected")

    # ---- in the threads

    def _write_forever(self) -> None:
        while True:
            batch, last = _take(self._writes)
            if batch:
                self._writer.commit(batch)
                self._hand_back.send(self._deliver, batch)
            if last is not None:
                self._writer.close()
                self._hand_back.send(last, None)
                return

    def _read_forever(self) -> None:
        reader = Reader(self._path, self.queries, self._clock)
        while True:
            item = self._reads.get()
            if not isinstance(item, _Item):
                reader.close()
                self._hand_back.send(item, None)
                return
            item.result = reader.attempt(item.op)
            self._hand_back.send(self._deliver, [item])


def _take(queue: Any) -> tuple[list[_Item], Callable[[object], None] | None]:
    """All that is queued now, at least one; and what says that there will be no more."""
    batch: list[_Item] = []
    item = queue.get()
    while True:
        if not isinstance(item, _Item):
            return batch, item
        batch.append(item)
        if len(batch) >= MAX_BATCH:
            return batch, None
        try:
            item = queue.get_nowait()
        except _Empty:
            return batch, None


class _HandBack:
    """Calls from native threads, run on the hub in their order."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._watcher = gevent.get_hub().loop.async_()
        self._watcher.start(self._run)

    def send(self, call: Callable[[Any], None], argument: object) -> None:
        self._calls.append((call, argument))
        self._watcher.send_ignoring_arg(None)

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()

    def _run(self) -> None:
        while self._calls:
            call, argument = self._calls.popleft()
            call(argument)


class _Writer:
    """Group commit, in the writing thread. It never raises: each item gets a result."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        queries: Mapping[str, str],
        clock: Callable[[], float],
    ):
        self._path = path
        self._connection: sqlite3.Connection | None = connection
        self._queries = queries
        self._clock = clock

    def commit(self, batch: list[_Item]) -> None:
        """All in one transaction; one by one when together they fail.

        The batch is left in the order in which it was done, in which the hub shall hear of it:
        the last it hears of a record is what the store has.
        """
        batch.sort(key=lambda item: item.urgency)
        waiting = batch
        while waiting:
            error = self._try(waiting)
            if error is None:
                return
            if not _may_pass(error):
                break
            waiting = _still_patient(waiting, error)
            _sleep(PAUSE_S)
        for item in waiting:
            self._commit_alone(item)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit_alone(self, item: _Item) -> None:
        stale = 0
        while (error := self._try([item])) is not None:
            stale += isinstance(error, Stale)
            again = stale < STALE_ATTEMPTS if stale else _may_pass(error)
            if not (again and _still_patient([item], error)):
                item.result = _said(error)
                return
            _sleep(PAUSE_S)

    def _try(self, items: list[_Item]) -> Exception | None:
        """None: committed. Otherwise what went wrong; whether it was committed may be unknown,
        and doing it again is harmless, since all is decided on what the store has then."""
        try:
            connection = self._connected()
            connection.execute("BEGIN IMMEDIATE")
            tx = Tx(connection, self._queries, self._clock())
            tx.prefetch(item.needs for item in items)
            for item in items:
                self._run(tx, connection, item)
            tx.finish()
            connection.execute("COMMIT")
        except Exception as error:
            self._roll_back(error)
            return error
        return None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path)
        return self._connection

    def _roll_back(self, error: Exception) -> None:
        """Back to no transaction; after an error of input or output with a new connection."""
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if trouble_of(error) is not Trouble.BROKEN:
                return
        except sqlite3.Error:
            pass
        self._connection = None
        connection.close()

    def _run(self, tx: Tx, connection: sqlite3.Connection, item: _Item) -> None:
        """One verb. What it raises is its result; trouble of the store is everybody's."""
        if item.needs.direct:
            tx.flush()
            connection.execute("SAVEPOINT verb")
        try:
            item.result = item.op(tx)
        except Exception as error:
            if _is_everybodys(error):
                raise
            item.result = error
            if item.needs.direct:
                connection.execute("ROLLBACK TO verb")
                connection.execute("RELEASE verb")
                tx.forget()
            tx.drop()
            return
        tx.keep()
        if item.needs.direct:
            tx.flush()
            connection.execute("RELEASE verb")


def _is_everybodys(error: Exception) -> bool:
    return isinstance(error, Stale) or trouble_of(error) is not Trouble.OURS


def _still_patient(items: list[_Item], error: Exception) -> list[_Item]:
    """Those that may be tried again; the others have waited long enough to be refused."""
    since = time.monotonic() - PATIENCE_S
    for item in items:
        if item.queued_at < since:
            item.result = _said(error)
    return [item for item in items if item.queued_at >= since]


def _may_pass(error: Exception) -> bool:
    return trouble_of(error) in (Trouble.BUSY, Trouble.BROKEN)


def _said(error: Exception) -> Exception:
    if isinstance(error, Stale):
        return Unavailable("the store is changed by somebody else all the time")
    return refusal_of(error)
