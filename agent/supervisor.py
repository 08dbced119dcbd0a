"""How is one run carried through, whatever becomes of the agent? Mark, start, read, stop, record.

A supervisor owns one run directory, in a process that carries runs through one after another
(agent/carrier.py), and needs nobody: it starts the script, reads its output, keeps time and kills
by itself, and writes the exit record. The agent speaks to it through the directory (`stop`) and
wakes it with SIGUSR1.

Loaded by the runner, whose memory counts on every host: a few built-in modules only.
"""

import fcntl
import os
import select
import sys
import termios
import time

from agent import capture, launch, rundir, secret, spawn, tree
from agent.failpoint import failpoint
from agent.mask import Mask

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # the module without its enums, which cost 0.8 MB

READ_BYTES = 64 << 10
MOST_DESCRIPTORS = 1 << 20

# The death of a child of ours wakes us; only for deaths deeper in the tree we look now and then.
GRACE_TICK_S = 0.25
KILL_TICK_S = 0.01
MAX_SLEEP_S = 3600.0  # poll() takes no more than 24 days
# What cannot be killed for so long (a process stuck in the kernel) is reported as a survivor.
SWEEP_S = 30.0


class Supervisor:
    """The one run that this process has now."""

    def __init__(
        self,
        directory: str,
        spec: rundir.Spec,
        secrets: secret.Secrets,
        lock: int,
        wake: int,
        cgroup_home: str | None,
    ) -> None:
        self._directory = directory
        self._spec = spec
        self._secrets = secrets
        self._lock = lock
        mask = Mask(secrets.values) if secrets else None
        self._home = cgroup_home
        self._capture = capture.Capture(directory, spec.head_bytes, spec.tail_bytes, mask)
        self._cgroup = tree.make_cgroup(tree.cgroup_of(cgroup_home, os.path.basename(directory)))
        self._wake = wake
        self._poll = select.poll()
        self._poll.register(wake, select.POLLIN)
        self._output = -1  # read end of the script's pipe; -1: every writer has closed it
        self._errors = -1  # read end of the pipe that tells why exec failed
        self._broken = b""  # that sentence
        self._main = 0  # pid of the script's first process
        self._status: int | None = None  # its wait status, once it has ended
        self._gone = False  # nothing of the tree is left: as subreaper we would have it
        self._strayed = False  # we live in the run's cgroup and cannot leave it
        self._woken = True  # a stop may have been asked for
        self._cause = "exit"
        self._started_at = self._ended_at = time.time()
        # On the monotonic clock, so that stepping the wall clock changes nothing. None: never.
        self._timeout_at: float | None = None
        self._kill_at: float | None = None
        self._give_up_at: float | None = None
        self._look_at = 0.0

    def run(self) -> None:
        self._start()
        while not self._ended():
            self._wait()
            self._reap()
            self._consider_stop()
            self._sweep_if_due()
        failpoint("exited")
        self._finish()

    def let_go(self) -> bool:
        """Close what is still open. True: no process and no secret of the run is left with us."""
        for descriptor in (self._output, self._errors):
            if descriptor != -1:
                os.close(descriptor)
        return not (self._strayed or self._secrets or _has_children())

    # ---- start

    def _start(self) -> None:
        self._output, output = os.pipe()
        self._errors, errors = os.pipe()
        self._started_at = time.time()
        if self._spec.timeout_s > 0:
            self._timeout_at = time.monotonic() + self._spec.timeout_s
        if not self._spawned(output):
            self._fork(output, errors)
        os.close(output)
        os.close(errors)
        for descriptor in (self._output, self._errors):
            os.set_blocking(descriptor, False)
            self._poll.register(descriptor, select.POLLIN)

    def _spawned(self, output: int) -> bool:
        """The cheap way; False where it is not for this run, and a child has to see to it."""
        cgroup, home = self._cgroup, self._home
        if cgroup is None or home is None or not spawn.may_spawn(self._spec, self._secrets):
            return False
        try:
            command = spawn.command_of(self._directory)
            if command is None:
                return False
            self._main = spawn.spawn(self._directory, self._spec, command, output, cgroup)
        except launch.CannotStart as error:
            self._fail(str(error))
        except OSError:
            return False  # no cgroup for us, or no script to be read: nothing was started
        finally:
            if not spawn.is_back(home):  # a kill of the cgroup would hit us, too
                self._cgroup, self._strayed = None, True
        return True

    def _fork(self, output: int, errors: int) -> None:
        try:
            self._main = os.fork()
        except OSError as error:
            self._fail(f"the host has no room for another process: {error.strerror}")
        else:
            if self._main == 0:
                self._be_script(output, errors)

    def _fail(self, reason: str) -> None:
        """There is no script, and nothing to wait for."""
        self._broken = reason.encode("utf-8", "replace")[: rundir.MAX_REASON_CHARS]
        self._status, self._gone = 0, True

    def _be_script(self, output: int, errors: int) -> None:
        """In the child: first what finds the tree again should its supervisor die, then exec."""
        os.close(self._lock)  # which our parent holds, for as long as it lives
        try:
            pid = os.getpid()
            rundir.write_main(self._directory, pid, tree.born(pid))
            if self._cgroup is not None:
                tree.join_cgroup(self._cgroup)
        except OSError:
            pass  # the tree is still ours by descent
        launch.become_script(self._directory, self._spec, self._secrets, output, errors)

    # ---- the loop

    def _ended(self) -> bool:
        """The script has ended, and if it is being killed, its tree is gone or will not go."""
        if self._kill_at is None:
            return self._status is not None
        return self._gone or (self._give_up_at is not None and time.monotonic() >= self._give_up_at)

    def _wait(self) -> None:
        """Sleep until output, a death, a wake-up or a deadline, and take in what is there."""
        for descriptor, _ in self._poll.poll(self._sleep_ms()):
            if descriptor == self._output:
                self._read_output(READ_BYTES)
            elif descriptor == self._errors:
                self._read_errors()
            else:
                self._read_wakeups()

    def _sleep_ms(self) -> float | None:
        """Up to what no descriptor announces; None: for ever."""
        if self._kill_at is not None:
            until = min(self._kill_at, self._look_at) if self._give_up_at is None else self._look_at
        elif self._timeout_at is not None:
            until = self._timeout_at
        else:
            return None
        return min(max(0.0, until - time.monotonic()), MAX_SLEEP_S) * 1000 + 1

    def _read_output(self, limit: int) -> int:
        """Read once, at most `limit` bytes; how many there were."""
        try:
            chunk = os.read(self._output, limit)
        except BlockingIOError:
            return 0
        if chunk:
            self._capture.add(chunk)
        else:
            self._output = self._close(self._output)
        return len(chunk)

    def _read_errors(self) -> None:
        """The end without a word means that exec succeeded."""
        try:
            chunk = os.read(self._errors, READ_BYTES)
        except BlockingIOError:
            return
        self._broken += chunk
        if not chunk:
            self._errors = self._close(self._errors)

    def _read_wakeups(self) -> None:
        os.read(self._wake, READ_BYTES)
        self._woken = True
        self._look_at = 0.0

    def _close(self, descriptor: int) -> int:
        self._poll.unregister(descriptor)
        os.close(descriptor)
        return -1

    def _reap(self) -> None:
        """Collect every child that has ended, orphans of the tree included."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._main:
                    self._status, self._ended_at = status, time.time()
        except ChildProcessError:
            self._gone = True

    # ---- stop

    def _consider_stop(self) -> None:
        """Begin a kill that is due or asked for; a later request can only shorten the grace."""
        if self._status is not None and self._kill_at is None:
            return  # it ended by itself first, and keeps its own result
        now = time.monotonic()
        if self._kill_at is None and self._timeout_at is not None and now >= self._timeout_at:
            self._stop("timeout", now + self._spec.grace_s)
        if self._woken:
            self._woken = False
            request = rundir.read_stop(self._directory)
            if request is not None:
                self._stop(request[0], now + request[1])

    def _stop(self, cause: str, kill_at: float) -> None:
        if self._kill_at is not None:
            self._kill_at = min(self._kill_at, kill_at)
            return
        self._cause, self._kill_at = cause, kill_at
        for number in (_signal.SIGTERM, _signal.SIGCONT):  # a stopped process has to wake for it
            self._signal_group(number)

    def _signal_group(self, number: int) -> None:
        """Called before the first process is reaped, so the group's number is still its own."""
        table = tree.all_processes()
        members = {pid for pid, process in table.items() if process.group == self._main}
        if members and self._spared(members, table) == members:
            os.killpg(self._main, number)
            return
        for pid in self._spared(members | {self._main}, table):
            if pid in table:
                tree.send(table[pid], number)

    def _sweep_if_due(self) -> None:
        """Kill the whole tree when the grace is over, or nobody is left who could use it."""
        now = time.monotonic()
        if self._kill_at is None or self._gone or now < min(self._look_at, self._kill_at):
            return
        table = tree.all_processes()
        living = self._living(table)
        if not any(table[pid].group == self._main for pid in living):
            self._kill_at = min(self._kill_at, now)
        if now >= self._kill_at:
            self._give_up_at = self._give_up_at or now + SWEEP_S
            self._kill(living, table)
        self._look_at = now + (GRACE_TICK_S if self._give_up_at is None else KILL_TICK_S)

    def _kill(self, living: set[int], table: dict[int, tree.Process]) -> None:
        """One round. What is forked meanwhile is found by the next."""
        if self._status is not None and not living:
            self._gone = True  # but for what is spared
            return
        inside = tree.in_cgroup(self._cgroup)
        if self._cgroup is not None and self._spared(inside, table) == inside:
            tree.kill_cgroup(self._cgroup)
        for pid in living:
            tree.send(table[pid], _signal.SIGKILL)

    def _living(self, table: dict[int, tree.Process]) -> set[int]:
        """The run's processes that are alive: by descent and by cgroup, never the agent."""
        found = tree.descendants(os.getpid(), table) | tree.in_cgroup(self._cgroup)
        alive = {pid for pid in found if pid in table and not table[pid].zombie}
        return self._spared(alive, table)

    def _spared(self, pids: set[int], table: dict[int, tree.Process]) -> set[int]:
        """`pids` less those of the agent: a script may have started it anew."""
        agent = rundir.read_agent(self._directory)
        if agent is None or not tree.is_alive(*agent):
            return pids
        return tree.without_agent(pids, agent[0], table)

    # ---- the end

    def _finish(self) -> None:
        self._drain()
        living = set[int]() if self._gone else self._living(tree.all_processes())
        record = {**self._verdict(sorted(living)), **self._capture.close()}
        self._remove_secrets()
        if self._spec.batch:
            rundir.sync_failed(self._directory)
        rundir.write_exit(self._directory, record)
        failpoint("exit-written")
        rundir.free_lock(self._lock)
        if living:
            self._leave_drainer()
        else:
            tree.remove_cgroup(self._cgroup)

    def _drain(self) -> None:
        """What the pipe holds now; a writer that was left running does not prolong the run."""
        if self._errors != -1:
            self._read_errors()
        if self._output == -1:
            return
        held = fcntl.ioctl(self._output, termios.FIONREAD, b"\0" * 4)
        left = int.from_bytes(held, sys.byteorder)
        while left > 0 and self._output != -1:
            left -= self._read_output(min(left, READ_BYTES)) or left

    def _verdict(self, living: list[int]) -> dict[str, object]:
        killed = self._kill_at is not None
        broken = bool(self._broken) and not killed
        return {
            "cause": "broken" if broken else self._cause,
            "code": None if self._broken else _exit_code(self._status),
            "reason": self._masked(self._broken).decode("utf-8", "replace"),
            "started_at": self._started_at,
            "ended_at": self._ended_at or time.time(),
            "killed": killed,
            "survivors": living[: rundir.MAX_SURVIVORS] if killed else [],
            "left_running": 0 if killed else len(living),
            "signalled": self._status is not None and os.WIFSIGNALED(self._status),
        }

    def _remove_secrets(self) -> None:
        try:
            secret.remove(self._directory)
        except OSError:
            pass  # the agent tries it again, and tells of it; the verdict matters more

    def _masked(self, text: bytes) -> bytes:
        mask = Mask(self._secrets.values)
        return mask.feed(text) + mask.end()

    def _leave_drainer(self) -> None:
        """Go on reading in a process of its own, so that a service left behind does not die of
        SIGPIPE; our own end tells the agent that the run has ended."""
        if self._output == -1:
            return
        try:
            if os.fork() != 0:
                return
        except OSError:
            pass  # no room for a process: it is this one that stays, and the agent looks in time
        os.closerange(3, self._output)  # above all the runner's pipes
        os.closerange(self._output + 1, MOST_DESCRIPTORS)
        os.set_blocking(self._output, True)
        while os.read(self._output, READ_BYTES):
            pass
        tree.remove_cgroup(self._cgroup)
        os._exit(0)


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _exit_code(status: int | None) -> int | None:
    """As a shell reports it: 128 and the signal's number for a death by signal."""
    if status is None:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
