"""How does the agent start, watch, stop and read runs? Through their directories and one runner.

The files of a run's directory are the truth; what the runner answers and what a pidfd tells are
only hints to look there. So a run that an earlier agent process started is a run like any other.
"""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from msgspec import Struct

from agent import batch, capture, evidence, rundir, secret, tree
from agent.evidence import CannotPrepare, ExitRecord, OutputChunk
from agent.orphans import Orphans
from agent.records import Entry, Mark, RunDirectory, TaskSpec
from agent.runner_link import RunnerLink
from agent.steady import keep_going
from agent.watch import Watch
from utils import failpoint, getLogger
from wire.states import Cause

__all__ = ["Executor", "ExitRecord", "OutputChunk"]

log = getLogger(__name__)

Key = tuple[str, int]  # run, attempt

LOOK_S = 2.0  # how often watched runs are looked at, should a hint have been lost
BLIND_LOOK_S = 0.5  # … while one of them has no pidfd to give hints
ANSWER_S = 10.0  # a runner that has not answered after that is replaced
START_TRIES = 2

_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class _Asked(Struct):
    """A start that the runner has not answered yet."""

    tries: int
    since: float  # monotonic


class Executor:
    """Starts, watches, stops and reads runs. All methods belong to the hub's thread."""

    def __init__(self, state_dir: Path, agent_id: str) -> None:
        self._agent_id = agent_id
        self._runs = state_dir / "runs"
        self._runs_path = str(self._runs)
        self._runner = RunnerLink(
            state_dir / "runner.log", self._on_answer, self._on_end, self._on_runner_death
        )
        self._asked: dict[Key, _Asked] = {}
        self._pids: dict[Key, int] = {}  # supervisors, as the runner named them
        self._watches: dict[Key, Watch] = {}
        self._exits: dict[Key, ExitRecord] = {}  # read before, or found by us and not writable
        self._voided: set[Key] = set()  # decided, but the disk had no room for it
        self._orphans = Orphans(self._on_end)
        self._to_look: set[Key] = set()
        self._hint = Event()
        self._keeper: Any = None

    def start_runner(self) -> None:
        """Begin to work. Users of runs may pass through the folders, not list them."""
        self._runs.mkdir(mode=0o711, parents=True, exist_ok=True)
        for folder in (self._runs, self._runs.parent):  # whatever the umask made of them
            folder.chmod(folder.stat().st_mode & 0o777 | 0o011)
        rundir.write_agent(str(self._runs), os.getpid(), tree.born(os.getpid()))
        self._keeper = gevent.spawn(keep_going, "looking at runs", self._keep)
        try:
            self._runner.start()
        except OSError as error:
            log.error(f"no runner can be started ({error}); the next start tries again")

    def close(self) -> None:
        """Let the runner end and stop watching. Running scripts and their supervisors go on."""
        if self._keeper is not None:
            self._keeper.kill()
        for watch in self._watches.values():
            watch.disarm()
        self._watches.clear()
        self._runner.close()

    @property
    def runner_pid(self) -> int | None:
        return self._runner.pid

    # ---- secrets

    def keep_secrets(self, run: str, attempt: int, task: TaskSpec) -> None:
        """Put them aside for the start, before the journal has the run; OSError without room."""
        try:
            evidence.keep_secrets(self._directory((run, attempt)), task)
        except CannotPrepare as error:
            log.error(f"run {run}.{attempt} cannot start: {error}")  # start() does not find them

    def drop_secrets(self, run: str, attempt: int) -> None:
        """The run has ended, so that nobody needs them any more; repeating it is harmless."""
        try:
            secret.remove(self._directory((run, attempt)))
        except OSError as error:
            log.error(f"secrets of run {run}.{attempt} stay until it is pruned: {error}")

    # ---- start, void, stop

    def start(self, entry: Entry) -> None:
        """Prepare the directory and ask the runner. Never raises for what a run can cause:

        one that cannot be started ends at once, and its exit_of says cause broken and why.
        (A run id that is no file name is the master's fault, and a ValueError everywhere here.)
        """
        key = (entry.run, entry.attempt)
        try:
            evidence.prepare(self._directory(key), entry, self._agent_id)
            failpoint("prepared")
        except CannotPrepare as error:
            self._break(key, str(error))
        except OSError as error:
            self._break(key, f"the run's files could not be written: {error.strerror}")
        except MemoryError:
            self._break(key, "the run's files could not be written: the agent has no memory left")
        else:
            self._ask(key, tries=1)

    def void(self, run: str, attempt: int) -> bool:
        """Make the mark void. True: this call made it, so the script never started.

        Where the disk has no room even for that and there is no mark, no supervisor can make
        one either while this agent lives: it is remembered, and start() obeys.
        """
        key = (run, attempt)
        directory = self._directory(key)
        try:
            os.makedirs(directory, exist_ok=True)
            made = rundir.make_mark(directory, rundir.VOID)
        except OSError:
            if key in self._asked or key in self._pids or rundir.read_mark(directory):
                raise
            self._voided.add(key)
            made = True
        self._look_soon(key)
        return made

    def stop(self, run: str, attempt: int, cause: Cause, grace_s: float) -> None:
        """Ask for the kill of a started run; repeating it is harmless, a shorter grace hurries."""
        key = (run, attempt)
        directory = self._directory(key)
        rundir.write_stop(directory, cause.value, grace_s)
        mark = rundir.read_mark(directory)
        if mark is None or mark[0] == rundir.VOID:
            return  # a supervisor that makes its mark later reads the request then
        if rundir.is_locked(directory):
            _wake(*mark[1:])
        elif self.exit_of(run, attempt) is None:
            self._orphans.kill(directory, run, grace_s)

    # ---- look

    def look(self, entry: Entry) -> RunDirectory:
        """What the directory shows. The lock is read before the exit: a supervisor that ends

        in between has then written its exit, and is not taken for one that died without.
        """
        key = (entry.run, entry.attempt)
        directory = self._directory(key)
        mark = Mark.VOID if key in self._voided else _mark(directory)
        locked = rundir.is_locked(directory)
        exited = self.exit_of(*key) is not None
        lost = mark is Mark.STARTED and not locked and not exited
        return RunDirectory(
            mark=mark,
            locked=locked,
            alive=lost and bool(evidence.orphans(directory, entry.run)),
            exited=exited,
        )

    def exit_of(self, run: str, attempt: int) -> ExitRecord | None:
        """None: there is no exit record, or a torn one, which says as little."""
        key = (run, attempt)
        if key not in self._exits:
            record = evidence.read_exit(self._directory(key))
            if record is None or _mark(self._directory(key)) is not Mark.STARTED:
                return None
            self._exits[key] = record
        return self._exits[key]

    def read_output(self, run: str, attempt: int, offset: int, limit: int) -> OutputChunk:
        record = self.exit_of(run, attempt)
        return evidence.read_output(self._directory((run, attempt)), record, offset, limit)

    def failed_items(self, run: str, attempt: int) -> bytes | None:
        """What the script of a batch has named as failed; see agent/batch.py."""
        return batch.read_failed(self._directory((run, attempt)))

    def output_size(self, run: str, attempt: int) -> int:
        """The logical offset up to which output can be read now."""
        record = self.exit_of(run, attempt)
        if record is not None:
            return record.output_bytes
        return capture.readable_bytes(self._directory((run, attempt)))

    def sweep_clean(self, run: str, attempt: int) -> bool:
        """No supervisor holds the directory, and nothing that should be dead is alive."""
        directory = self._directory((run, attempt))
        if rundir.is_locked(directory):
            return False
        if _mark(directory) is not Mark.STARTED:
            return True
        record = self.exit_of(run, attempt)
        if record is not None and not record.survivors:
            return True
        return not evidence.orphans(directory, run)

    def remove(self, run: str, attempt: int) -> None:
        """Forget the run: its directory, its cgroup if that is empty, and what is in memory."""
        key = (run, attempt)
        directory = self._directory(key)
        self._forget_watch(key)
        self._asked.pop(key, None)
        self._pids.pop(key, None)
        self._exits.pop(key, None)
        self._voided.discard(key)
        tree.remove_cgroup(rundir.read_cgroup(directory))
        _remove_flat(directory)

    def directories(self) -> list[Key]:
        """Every run that has a directory, whether the journal knows it or not."""
        names = (path.name.rpartition(".") for path in self._runs.iterdir() if path.is_dir())
        return sorted((run, int(attempt)) for run, _, attempt in names if attempt.isdecimal())

    # ---- watch

    def watch(self, run: str, attempt: int, on_ended: Callable[[], None]) -> None:
        """Call `on_ended` once, in a greenlet of ours, when the run has ended, never before this

        returns: an exit is there, the mark is void, or the supervisor died and its tree is gone.
        """
        key = (run, attempt)
        self._watches.setdefault(key, Watch()).on_ended.append(on_ended)
        if key not in self._asked:  # else the runner's answer is the first that there is to see
            self._look_soon(key)

    def _look_soon(self, key: Key) -> None:
        if key in self._watches:
            self._to_look.add(key)
            self._hint.set()

    def _keep(self) -> None:
        """Look at watched runs when a hint comes, and now and then in case one was lost."""
        while True:
            if not self._hint.wait(self._pause_s()):
                self._to_look.update(self._watches)
                self._replace_silent_runner()
            self._hint.clear()
            while self._to_look:
                self._look_at(self._to_look.pop())

    def _pause_s(self) -> float | None:
        """None: until the next hint, since there is nothing to look at."""
        if not self._watches and not self._asked:
            return None
        return LOOK_S if all(watch.armed for watch in self._watches.values()) else BLIND_LOOK_S

    def _look_at(self, key: Key) -> None:
        try:
            if self._has_ended(key):
                self._tell(key)
        except Exception:
            log.exception(f"run {key[0]}.{key[1]} could not be looked at; it is tried again")

    def _has_ended(self, key: Key) -> bool:
        watch = self._watches.get(key)
        if watch is None:
            return False
        watch.disarm()
        directory = self._directory(key)
        mark = rundir.read_mark(directory)
        if key in self._voided or (mark is not None and mark[0] == rundir.VOID):
            return True
        if rundir.is_locked(directory) and mark is not None:
            watch.arm(mark[1], mark[2], lambda: self._look_soon(key))
            return False
        if self.exit_of(*key) is not None:
            return True
        if mark is None:
            return self._has_failed_to_start(key, watch)
        if not evidence.orphans(directory, key[0]):
            return True
        self._orphans.kill_if_overdue(directory, key[0])
        return False

    def _has_failed_to_start(self, key: Key, watch: Watch) -> bool:
        """Nobody has made the mark: has the supervisor that was to make it died?"""
        pid = self._pids.get(key)
        if pid is None:
            return False  # not asked for, or not answered yet
        process = tree.look_up(pid)
        if process is not None and not process.zombie:
            watch.arm(pid, process.born, lambda: self._look_soon(key))
            return False
        self._break(key, "its supervisor died before the script was started")
        self._look_soon(key)  # which sees the mark, if there was one after all
        return False

    def _tell(self, key: Key) -> None:
        watch = self._watches[key]
        self._forget_watch(key)
        self._pids.pop(key, None)
        for on_ended in watch.on_ended:
            try:
                on_ended()
            except Exception:
                log.exception(f"the end of run {key[0]}.{key[1]} was not taken in")

    def _forget_watch(self, key: Key) -> None:
        watch = self._watches.pop(key, None)
        if watch is not None:
            watch.disarm()

    # ---- the runner

    def _ask(self, key: Key, tries: int) -> None:
        """Once more is safe whatever became of the first time: the mark can be made once."""
        self._asked[key] = _Asked(tries, time.monotonic())
        try:
            self._runner.ask(self._directory(key))
        except OSError as error:
            del self._asked[key]
            self._break(key, f"the host cannot start the agent's runner: {error.strerror}")
        except MemoryError:
            del self._asked[key]
            self._break(key, "the host cannot start the agent's runner: there is no memory left")
        self._hint.set()

    def _on_answer(self, directory: str, pid: int, reason: str) -> None:
        key = _key_of(directory)
        self._asked.pop(key, None)
        if pid:
            self._pids[key] = pid
        else:
            self._break(key, f"the host has no room for another process: {reason}")
        self._look_soon(key)

    def _on_end(self, directory: str) -> None:
        self._look_soon(_key_of(directory))

    def _on_runner_death(self) -> None:
        for key, asked in list(self._asked.items()):
            if rundir.read_mark(self._directory(key)) is not None:
                del self._asked[key]
            elif asked.tries < START_TRIES:
                self._ask(key, asked.tries + 1)
            else:
                del self._asked[key]
                self._break(key, "the agent's runner died each time it was to start the script")
            self._look_soon(key)

    def _replace_silent_runner(self) -> None:
        now = time.monotonic()
        if any(now - asked.since > ANSWER_S for asked in self._asked.values()):
            log.error("the runner does not answer; it is killed and replaced")
            self._runner.kill()

    # ---- ends that the agent brings about itself

    def _break(self, key: Key, reason: str) -> None:
        """The run could not be started. Kept in memory where the disk does not take it."""
        if key in self._voided:
            return
        record = ExitRecord(cause=Cause.BROKEN, code=None, reason=reason, ended_at=time.time())
        try:
            if not evidence.write_broken(self._directory(key), record):
                return  # somebody else has decided, and that counts
        except OSError as error:
            log.warning(f"run {key[0]}.{key[1]}: {reason}; kept in memory only: {error.strerror}")
        self._exits[key] = record
        self._look_soon(key)

    def _directory(self, key: Key) -> str:
        run, attempt = key
        if not _SAFE_ID.fullmatch(run):
            raise ValueError(f"run: {run!r} is no id; it must be letters, digits, - and _")
        return f"{self._runs_path}/{run}.{attempt}"


def _remove_flat(directory: str) -> None:
    """Remove a run's directory, which holds files alone. (shutil would cost each host 0.6 MB.)"""
    try:
        for name in os.listdir(directory):
            os.unlink(f"{directory}/{name}")
        os.rmdir(directory)
    except OSError as error:
        log.warning(f"the directory {directory} could not be removed: {error.strerror}")


def _key_of(directory: str) -> Key:
    run, _, attempt = os.path.basename(directory).rpartition(".")
    return run, int(attempt)


def _mark(directory: str) -> Mark | None:
    mark = rundir.read_mark(directory)
    return None if mark is None else Mark(mark[0])


def _wake(pid: int, birth: int) -> None:
    """Have the supervisor read what `stop` says; the pid of a dead one is left alone."""
    process = tree.look_up(pid)
    if process is not None and process.born == birth:
        tree.send(process, signal.SIGUSR1)
