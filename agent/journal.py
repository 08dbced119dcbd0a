"""What must an agent not forget? The runs it was handed, the highest grant number, what it let go.

Files, in a directory of their own:

- `log`: the frames (agent/framelog.py), one frame a sync, one or more records a frame.
- `id`: the anchor. The journal's identity, a part of the agent's instance, is the device and
  inode of this file and the random text in it. It can't be those of `log`, which gets another
  inode at each compaction; the anchor is never rewritten. The random text is there because a file
  system hands out the inode of a deleted file again. A log that is lost or damaged always gets a
  new anchor *before* the new, empty log appears: an instance never has less than it once had.

Memory holds the entries and two numbers. Done records are only counted: they are read from the
file when the master recalls them, which is rare, and thirty days of them may be many.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import gevent
import msgspec
from gevent.lock import RLock
from msgspec import Struct

from agent.framelog import Broken, FrameLog, NoRoom
from agent.records import DoneRecord, Entry
from utils import write_private
from wire.states import Cause, RunState

KEEP_DONE_S = 30 * 86400.0
KEEP_DONE_LEAST = 10_000
KEEP_DONE_MOST = 100_000  # bounds disk and start-up, some 6 MB; `floor` says what it cost
RECORDS_A_FRAME = 1_000  # when compacting
COMPACT_BYTES = 8 << 20  # the least growth that makes compacting worth its while
SPARE_BYTES = 1 << 20  # of the room, left for causes and done records when an entry is refused
SLOW_SYNC_S = 0.02  # syncs that take longer are worth a thread, which costs 0.4 MB

Key = tuple[str, int]  # run, attempt


class JournalLost(Exception):
    """The journal can't be written any more. What is on disk is only known by loading it afresh."""


class _HighWater(Struct, frozen=True, array_like=True, tag="h"):
    hw: int


class _Accepted(Struct, frozen=True, array_like=True, tag="e"):
    entry: Entry


class _Stopped(Struct, frozen=True, array_like=True, tag="c"):
    run: str
    attempt: int
    cause: Cause


class _LetGo(Struct, frozen=True, array_like=True, tag="d"):
    """The done record; where an entry was held, it is dropped by the same record."""

    run: str
    attempt: int
    grant: int
    state: RunState
    code: int | None
    at: float

    def record(self) -> DoneRecord:
        return DoneRecord(
            run=self.run, attempt=self.attempt, grant=self.grant, state=self.state, code=self.code
        )


class _Floor(Struct, frozen=True, array_like=True, tag="f"):
    floor: int


_Record = _HighWater | _Accepted | _Stopped | _LetGo | _Floor
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Record]).decode


class _Batch:
    """Records that go out in one frame, and what went wrong with it."""

    def __init__(self) -> None:
        self.records: list[_Record] = []
        self.error: Exception | None = None


class Journal:
    """The durable memory of an agent. Every method returns once its change is on disk.

    Callers are greenlets; what several of them append in the same pass of the hub is written as
    one frame with one sync. `set_aside` is where a journal that had to be given up was moved to
    at this start, None when there was none; `dropped_bytes` are those of a torn last frame.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time):
        self._directory = directory
        self._clock = clock
        self._clear()
        self._batch = _Batch()
        self._lock = RLock()
        self._usual_sync_s = 0.0
        self._lost: str | None = None
        self.set_aside: Path | None = None
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log = self._open()
        self.dropped_bytes = self._log.dropped_bytes
        self.identity = self._read_anchor()
        self._compact_at = self._next_compaction()

    def accept(self, entries: Sequence[Entry], hw: int) -> None:
        """Journal the entries of one answer and the new high-water mark, together or not at all.

        Raises NoRoom with nothing changed if the disk gives no room; what was granted then
        stays above hw, and the master sends it again.
        """
        if hw <= self.hw or any(not self.hw < entry.grant <= hw for entry in entries):
            raise ValueError(f"grants {[e.grant for e in entries]} up to {hw} after {self.hw}")
        records: list[_Record] = [_Accepted(entry) for entry in entries]
        if self.hw == 0 and (unknown := min([hw, *(entry.grant for entry in entries)]) - 1) > 0:
            # The first grant ever seen here is not the agent's first: an earlier journal is gone.
            records.append(_Floor(unknown))
        records.append(_HighWater(hw))
        needed = len(_encode(records)) + SPARE_BYTES
        if self._log.room_bytes < needed and not self._log.make_room(needed):
            raise NoRoom(f"the disk has no room for {len(entries)} more runs in the journal")
        self._append(records)

    def stop(self, run: str, attempt: int, cause: Cause) -> Entry:
        """Journal why a run is stopped, before its first signal. The first cause stays."""
        entry = self.entries[run, attempt]
        if entry.cause is not None:
            return entry
        self._append([_Stopped(run, attempt, cause)])
        # It may have ended by itself meanwhile, and be let go by the same frame.
        return self.entries.get((run, attempt)) or msgspec.structs.replace(entry, cause=cause)

    def let_go(self, record: DoneRecord) -> None:
        """Remember how a run ended and drop its entry, in one sync."""
        r = record
        self._append([_LetGo(r.run, r.attempt, r.grant, r.state, r.code, self._clock())])

    def done_of(self, runs: Iterable[str]) -> list[DoneRecord]:
        """The done records of these runs, oldest first; those that are not kept are absent."""
        wanted = frozenset(runs)
        with self._lock:
            return [gone.record() for gone in self._done() if gone.run in wanted]

    def done_since(self, since: int, most: int) -> tuple[list[DoneRecord], int]:
        """The done records with a grant above `since`, and the floor above which all are there.

        At most `most`, those with the highest grants; the floor rises over what was left out.
        """
        with self._lock:
            found = [gone.record() for gone in self._done() if gone.grant > since]
            floor = self.floor
        found.sort(key=lambda record: record.grant)
        left_out = found[:-most] if len(found) > most else []
        floor = max([floor, *(record.grant for record in left_out)])
        return found[len(left_out) :], floor

    def has_room(self) -> bool:
        """Would the entries of an answer fit? Asks the disk for more room if it is needed."""
        return self._log.make_room()

    def close(self) -> None:
        self._log.close()

    # ---- opening

    def _clear(self) -> None:
        self.hw = 0
        self.floor = 0  # every done record with a grant above this is still kept
        self.entries: dict[Key, Entry] = {}
        self._done_count = 0

    def _open(self) -> FrameLog:
        path = self._directory / "log"
        path.with_name("log.new").unlink(missing_ok=True)  # of a compaction that was cut short
        if not path.exists():
            self._renew_anchor()
            return FrameLog.create(path)
        log = FrameLog(path)
        try:
            for payload in log.load():
                for record in _decode(payload):
                    self._apply(record)
        except (Broken, msgspec.DecodeError, KeyError):
            log.close()
            return self._give_up(path)
        if not (self._directory / "id").exists():
            self._renew_anchor()
        return log

    def _give_up(self, path: Path) -> FrameLog:
        """Begin a new journal under a new identity, and keep the damaged one for people to see."""
        self._clear()
        self._renew_anchor()
        self.set_aside = path.with_name(f"log.broken-{int(self._clock())}")
        os.rename(path, self.set_aside)
        return FrameLog.create(path)

    def _renew_anchor(self) -> None:
        write_private(self._directory / "id", os.urandom(16).hex().encode() + b"\n")

    def _read_anchor(self) -> str:
        path = self._directory / "id"
        status = path.stat()
        return f"{status.st_dev:x}:{status.st_ino:x}:{path.read_text().strip()}"

    # ---- writing

    def _append(self, records: Iterable[_Record]) -> None:
        """Write records, with whatever else is waiting, in one frame. Returns when it is synced."""
        batch = self._batch
        batch.records.extend(records)
        with self._lock:
            if batch is self._batch:
                gevent.sleep(0)  # lets the others that run in this pass of the hub add theirs
                self._batch = _Batch()
                self._write(batch)
        if batch.error is not None:
            raise batch.error

    def _write(self, batch: _Batch) -> None:
        """Commit a batch and apply it to memory; what went wrong is for all that wait for it."""
        try:
            if self._lost is not None:
                raise JournalLost(self._lost)
            self._commit(_encode(batch.records))
            for record in batch.records:
                self._apply(record)
            if self._log.size_bytes > self._compact_at:
                self._compact()
        except (JournalLost, NoRoom) as error:
            batch.error = error
        except OSError as error:
            self._lost = f"the journal can't be written: {error}"
            batch.error = JournalLost(self._lost)
        except BaseException:  # killed, while a thread goes on: others must not take it as synced
            self._lost = "the journal was left while it was being written"
            batch.error = JournalLost(self._lost)
            raise

    def _commit(self, payload: bytes) -> None:
        """Sync a frame: here while syncs are quick, on a thread of the hub's pool once not.

        The way to a thread and back takes longer than a sync usually does.
        """
        if self._usual_sync_s > SLOW_SYNC_S:
            gevent.get_hub().threadpool.apply(self._timed_append, (payload,))
        else:
            self._timed_append(payload)

    def _timed_append(self, payload: bytes) -> None:
        started = time.monotonic()
        self._log.append(payload)
        self._usual_sync_s += (time.monotonic() - started - self._usual_sync_s) / 8

    def _apply(self, record: _Record) -> None:
        match record:
            case _HighWater(hw):
                self.hw = max(self.hw, hw)
            case _Accepted(entry):
                self.entries[entry.run, entry.attempt] = entry
            case _Stopped(run, attempt, cause):
                entry = self.entries[run, attempt]
                self.entries[run, attempt] = msgspec.structs.replace(entry, cause=cause)
            case _LetGo(run, attempt):
                self.entries.pop((run, attempt), None)
                self._done_count += 1
            case _Floor(floor):
                self.floor = max(self.floor, floor)

    # ---- compacting

    def _next_compaction(self) -> int:
        return self._log.size_bytes + max(COMPACT_BYTES, self._log.size_bytes)

    def _compact(self) -> None:
        """Rewrite the log without what no longer counts. Without room for that, it grows on."""
        floor, kept = self.floor, 0

        def frames() -> Iterator[bytes]:
            nonlocal floor, kept
            batch: list[_Record] = []
            for gone, keep in self._sift(self._clock()):
                if not keep:
                    floor = max(floor, gone.grant)
                    continue
                kept += 1
                batch.append(gone)
                if len(batch) == RECORDS_A_FRAME:
                    yield _encode(batch)
                    batch = []
            yield _encode([*batch, _Floor(floor), _HighWater(self.hw)])
            for entry in self.entries.values():
                yield _encode([_Accepted(entry)])

        try:
            gevent.get_hub().threadpool.apply(self._log.replace, (frames(),))
        except NoRoom:
            pass  # tried again after the next growth
        else:
            self.floor, self._done_count = floor, kept
        self._compact_at = self._next_compaction()

    def _sift(self, now: float) -> Iterator[tuple[_LetGo, bool]]:
        """Every done record, oldest first, and whether it is kept."""
        for later, gone in zip(range(self._done_count - 1, -1, -1), self._done(), strict=True):
            recent = now - gone.at <= KEEP_DONE_S and later < KEEP_DONE_MOST
            yield gone, recent or later < KEEP_DONE_LEAST

    def _done(self) -> Iterator[_LetGo]:
        for payload in self._log.read():
            for record in _decode(payload):
                if isinstance(record, _LetGo):
                    yield record
