"""Which runs does this agent hold, and what becomes of them? Does what agent/decide.py decides.

Every change of a run's standing passes here. `apply` and `recover` are called by one greenlet at
a time; `_ended` comes from the executor at any moment, and touches nothing but memory.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import gevent

from agent import batch, decide
from agent.courier import Courier, Link
from agent.decide import Finding, Leave, Stopping, Verdict
from agent.executor import Executor
from agent.framelog import NoRoom
from agent.journal import Journal, JournalLost, Key
from agent.msg import Message, Snapshot
from agent.records import DoneRecord, Entry
from utils import failpoint, getLogger
from wire.messages import Done, Grant, Word, Work
from wire.states import Cause, Stage, WordKind

log = getLogger(__name__)

DONE_MOST = 5_000  # records in one message, which the master takes up to 1 MiB
RESERVE_BYTES = 64 << 20  # of the state directory's disk, or …
RESERVE_SHARE = 0.01  # … this share of it if that is less: no run is taken below
LOOK_AT_DISK_S = 1.0
WATCH_AGAIN_S = 1.0

SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")  # it becomes the name of a directory
UNDER_WAY = frozenset({Finding.LIVE, Finding.ORPHANED})
WAITING = frozenset({Finding.READY, Finding.TO_VOID})


class Runs:
    """The runs of the journal: where each stands, and who takes care of it.

    `on_change` is called when the next poll should say something else than the last one.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        executor: Executor,
        message: Message,
        slots: int,
        directory: Path,
        on_change: Callable[[], None],
        on_lost: Callable[[JournalLost], None],
    ) -> None:
        self._journal = journal
        self._executor = executor
        self._message = message
        self._slots = slots
        self._directory = directory
        self._on_change = on_change
        self._on_lost = on_lost
        self._link: Link | None = None
        self._findings: dict[Key, Finding] = {}
        self._couriers: dict[Key, Courier] = {}
        self.short_of_room = False  # so said the newest snapshot, which then has no free slots
        self._disk_has_room = True
        self._room_seen_at = -LOOK_AT_DISK_S

    # ---- what is held

    def snapshot(self) -> Snapshot:
        """What the journal holds now, and how many runs more could be taken."""
        held = decide.held(self._journal.entries, self._findings)
        self.short_of_room = not self._has_room()
        free = decide.free_slots(self._slots, held, has_room=not self.short_of_room)
        return Snapshot(self._journal.hw, free, tuple(held))

    @property
    def busy(self) -> int:
        """How many runs execute now."""
        return sum(finding in UNDER_WAY for finding in self._findings.values())

    def _has_room(self) -> bool:
        """Looked up once a second at most: a run asks ten times, and a disk fills more slowly."""
        now = time.monotonic()
        if now - self._room_seen_at >= LOOK_AT_DISK_S:
            disk = os.statvfs(self._directory)
            reserve = min(RESERVE_BYTES, int(disk.f_blocks * disk.f_frsize * RESERVE_SHARE))
            self._disk_has_room = disk.f_bavail * disk.f_frsize >= reserve
            self._room_seen_at = now
        return self._disk_has_room and self._journal.has_room()

    # ---- start-up

    def recover(self, link: Link) -> None:
        """Find out where every journalled run stands, before the first poll tells of it."""
        self._link = link
        for entry in list(self._journal.entries.values()):
            finding = decide.recover(entry, self._executor.look(entry), self._message.instance)
            log.info(f"run {entry.run}.{entry.attempt} was found {finding}")
            self._settle(entry, finding)
        for key in self._executor.directories():
            if key not in self._journal.entries:
                self._clear_away(key)

    def _clear_away(self, key: Key) -> None:
        """Remove what a run left that the journal does not know, unless something in it runs."""
        if self._executor.sweep_clean(*key):
            self._executor.remove(*key)
        else:
            log.warning(f"run {key[0]}.{key[1]} is not in the journal, and runs; it is left alone")

    def _settle(self, entry: Entry, finding: Finding) -> None:
        key = (entry.run, entry.attempt)
        self._findings[key] = finding
        if finding is Finding.READY:
            return
        if finding is Finding.TO_VOID:
            self._stop(key, entry.cause or Cause.SKIP)
        elif finding in UNDER_WAY:
            self._watch(entry)
            if entry.cause is not None:  # the kill was journalled, and may not have been asked for
                self._kill(entry, entry.cause)
        else:
            self._executor.drop_secrets(entry.run, entry.attempt)
            self._courier(entry).end(self._verdict(entry, finding))

    def stop_couriers(self) -> None:
        for courier in self._couriers.values():
            courier.stop()

    # ---- an answer of the master

    def apply(self, work: Work, session: str | None) -> list[Word]:
        """Do what an answer says; the recalls in it come back, to be answered with `done`."""
        if bad := [grant.run for grant in work.grants if not SAFE_ID.fullmatch(grant.run)]:
            raise ValueError(f"run {bad[0]!r}: must be of letters, digits, - and _")
        if work.grants:
            failpoint("granted")
        accepted = decide.accept(
            work,
            session=session,
            hw=self._journal.hw,
            held=self._journal.entries,
            instance=self._message.instance,
            boot_now=boot_now(),
        )
        if accepted.hw is not None:
            if not self._kept_secrets(accepted.entries, work.grants):
                return []
            if not self._journalled(accepted.entries, accepted.hw):
                return []
            failpoint("journalled")
        for entry in accepted.start:
            self._start(entry)
        for entry in accepted.void:
            self._stop((entry.run, entry.attempt), entry.cause or Cause.SKIP)
        return [word for word in accepted.words if not self._follow(word)]

    def done(self, recalls: Iterable[Word], session: str) -> Done:
        """The done records that the recalls ask for."""
        asked = [word.run for word in recalls if word.run is not None]
        since = [word.since for word in recalls if word.run is None]
        if since:
            records, floor = self._journal.done_since(min(since), DONE_MOST)
            return self._message.done(session, self._journal.hw, floor, records, None)
        records = self._journal.done_of(asked)
        return self._message.done(session, self._journal.hw, self._journal.floor, records, asked)

    def _journalled(self, entries: tuple[Entry, ...], hw: int) -> bool:
        """Journal what was granted. Without room the master sends it again, to a later poll."""
        # Known before they are held: a snapshot may be taken while the disk is written.
        self._findings |= {(entry.run, entry.attempt): Finding.TO_VOID for entry in entries}
        try:
            self._journal.accept(entries, hw)
        except NoRoom as error:
            for entry in entries:
                del self._findings[entry.run, entry.attempt]
                self._executor.drop_secrets(entry.run, entry.attempt)
            log.error(f"{len(entries)} runs were not taken: {error}")
            return False
        return True

    def _kept_secrets(self, entries: tuple[Entry, ...], grants: Sequence[Grant]) -> bool:
        """Put secrets aside, since the journal gets their names alone; see agent/secret.py."""
        new = {(entry.run, entry.attempt) for entry in entries}
        try:
            for grant in grants:
                key, task = (grant.run, grant.attempt), grant.task
                if key in new and task is not None and task.has_secrets:
                    self._executor.keep_secrets(*key, task)
        except OSError as error:
            log.error(
                f"{len(entries)} runs were not taken: their secrets could not be written "
                f"({error.strerror}); the master sends them again"
            )
            for key in new:
                self._executor.drop_secrets(*key)
            return False
        return True

    def _follow(self, word: Word) -> bool:
        """Do what a word says; False for a recall, which wants an answer."""
        if word.kind is WordKind.RECALL:
            return False
        key = (word.run or "", word.attempt)
        if word.kind is WordKind.GO:
            self._go(key)
        else:
            self._stop(key, word.cause or Cause.CANCEL)
        return True

    def _go(self, key: Key) -> None:
        """Start what is held ready; anything else that is held has gone on already."""
        if self._findings.get(key) is not Finding.READY:
            return
        entry = self._journal.entries[key]
        if decide.may_start(entry, self._message.instance, boot_now(), Leave.GO):
            self._start(entry)
        else:
            self._stop(key, Cause.SKIP)

    def _start(self, entry: Entry) -> None:
        self._findings[entry.run, entry.attempt] = Finding.LIVE
        self._executor.start(entry)
        failpoint("started")
        self._watch(entry)

    def _stop(self, key: Key, cause: Cause) -> None:
        """Stop a run: for good if it has not started, by a kill if it has."""
        finding = self._findings.get(key)
        if finding not in UNDER_WAY | WAITING:
            return
        entry = self._journal.entries[key]
        try:
            made_void = self._executor.void(*key)
        except OSError as error:
            log.error(
                f"run {key[0]}.{key[1]} can't be stopped now ({error}); the master asks again"
            )
            return
        mark = None if made_void else self._executor.look(entry).mark
        match decide.on_stop(cause, made_void=made_void, mark=mark):
            case Stopping.NEVER_STARTED:
                self._end_void(key, cause)
            case Stopping.KILL:
                self._kill(self._journal.stop(*key, cause), cause)
                self._on_change()
            case Stopping.LEAVE:
                log.info(f"run {entry.run}.{entry.attempt} had started in time; it goes on")

    def _end_void(self, key: Key, cause: Cause) -> None:
        """Known as ended before the cause is journalled: the executor sees the mark meanwhile, and
        the end that it brings has no cause.
        """
        finding, self._findings[key] = self._findings[key], Finding.NEVER_STARTED
        try:
            entry = self._journal.stop(*key, cause)
        except BaseException:
            self._findings[key] = finding  # the master asks again
            raise
        self._end(entry, Finding.NEVER_STARTED)

    def _stop_apart(self, key: Key) -> None:
        """Stop a run in a greenlet of its own, which has no caller to hear of a lost journal."""
        try:
            self._stop(key, Cause.SKIP)
        except JournalLost as error:
            self._on_lost(error)

    def _kill(self, entry: Entry, cause: Cause) -> None:
        grace_s = 0.0 if entry.task is None else entry.task.grace
        try:
            self._executor.stop(entry.run, entry.attempt, cause, grace_s)
        except OSError as error:
            log.error(f"run {entry.run}.{entry.attempt} can't be killed now: {error}")

    # ---- the end of a run

    def _watch(self, entry: Entry) -> None:
        self._courier(entry)
        key = (entry.run, entry.attempt)
        self._executor.watch(*key, lambda: self._ended(key))

    def _ended(self, key: Key) -> None:
        """The executor says that a run has ended: find out how."""
        entry = self._journal.entries.get(key)
        if entry is None or self._findings[key] not in UNDER_WAY:
            return
        if self._executor.exit_of(*key) is not None:
            self._end(entry, Finding.ENDED)
            return
        finding = decide.recover(entry, self._executor.look(entry), self._message.instance)
        if finding in UNDER_WAY:
            gevent.spawn_later(WATCH_AGAIN_S, self._watch, entry)
        elif finding in WAITING:  # the start went wrong before there was a mark
            gevent.spawn(self._stop_apart, key)
        else:
            self._end(entry, finding)

    def _end(self, entry: Entry, finding: Finding) -> None:
        self._findings[entry.run, entry.attempt] = finding
        self._executor.drop_secrets(entry.run, entry.attempt)
        self._courier(entry).end(self._verdict(entry, finding))
        self._on_change()

    def _verdict(self, entry: Entry, finding: Finding) -> Verdict:
        if finding is Finding.NEVER_STARTED:
            return decide.never_started(entry.cause)
        exit = self._executor.exit_of(entry.run, entry.attempt)
        if exit is not None:
            verdict = decide.result_of(entry, exit)
            return self._of_batch(entry, verdict) if entry.batch else verdict
        return decide.unknown(self._executor.look(entry))

    def _of_batch(self, entry: Entry, verdict: Verdict) -> Verdict:
        content = self._executor.failed_items(entry.run, entry.attempt)
        return batch.judge(verdict, (entry.item or "").split("\n"), content)

    def _courier(self, entry: Entry) -> Courier:
        """Who takes care of the run; made if it has nobody yet."""
        key = (entry.run, entry.attempt)
        if key not in self._couriers:
            assert self._link is not None, "recover comes first"
            self._couriers[key] = Courier(
                entry,
                link=self._link,
                message=self._message,
                executor=self._executor,
                snapshot=self.snapshot,
                let_go=self._let_go,
                on_lost=self._on_lost,
            )
        return self._couriers[key]

    def _let_go(self, record: DoneRecord) -> None:
        """The master has all that it wants of the run, and nothing of it is alive."""
        key = (record.run, record.attempt)
        self._journal.let_go(record)
        self._executor.remove(*key)
        del self._findings[key], self._couriers[key]


def matters(snapshot: Snapshot) -> tuple[object, ...]:
    """What of a snapshot the master should hear at once when it has changed."""
    alive = frozenset(
        (run.run, run.attempt, run.stage) for run in snapshot.held if run.stage is not Stage.ENDED
    )
    return snapshot.hw, snapshot.free, alive


def boot_now() -> float:
    """Seconds since the boot, suspended ones too; no clock step changes it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
