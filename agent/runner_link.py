"""How does the agent speak with its runner? A process beside it, a socket pair, one greenlet."""

import os
import socket as socket_constants
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from gevent import socket, subprocess
from gevent.lock import RLock

from utils import getLogger

log = getLogger(__name__)

RUNNER = Path(__file__).with_name("runner.py")
END_S = 2.0  # what the runner gets to end by itself once the agent is gone
MAX_ANSWER_BYTES = 16 << 10


class RunnerLink:
    """One runner after another; a new one is started by the first request after a death.

    `on_answer(directory, pid, reason)`: pid 0 means that no supervisor could be forked, for
    that reason. `on_end(directory)`: a hint that the run has ended, while its supervisor lives
    on. `on_death()`: whatever was asked and not answered has to be asked again. All are called
    from a greenlet of this class.
    """

    def __init__(
        self,
        log_file: Path,
        on_answer: Callable[[str, int, str], None],
        on_end: Callable[[str], None],
        on_death: Callable[[], None],
    ) -> None:
        self._log_file = log_file
        self._on_answer = on_answer
        self._on_end = on_end
        self._on_death = on_death
        self._lock = RLock()
        self._process: Any = None
        self._socket: Any = None
        self._reader: Any = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Have a runner; OSError when none can be started."""
        with self._lock:
            if self._process is None:
                self._start()

    def ask(self, directory: str) -> None:
        """Send one request, to a new runner if the old one is dead; OSError when there is none."""
        with self._lock:
            self.start()
            try:
                self._socket.send(os.fsencode(directory))
            except OSError:
                self._forget()
                self.start()
                self._socket.send(os.fsencode(directory))

    def kill(self) -> None:
        """End a runner that does not answer; its supervisors live on."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.kill()
        self._forget()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(
            socket_constants.AF_UNIX, socket_constants.SOCK_SEQPACKET, 0
        )
        with theirs, open(self._log_file, "ab", opener=_private) as errors:
            try:
                self._process = _spawn(theirs.fileno(), errors)
            except OSError:
                ours.close()
                raise
        self._socket = ours
        self._reader = gevent.spawn(self._read, ours)

    def _read(self, connection: Any) -> None:
        while answer := _receive(connection):
            directory, _, rest = os.fsdecode(answer).partition("\0")
            if rest == "ended":
                self._on_end(directory)
            elif rest.isdecimal():
                self._on_answer(directory, int(rest), "")
            else:
                self._on_answer(directory, 0, rest)
        log.warning("the runner is gone; its runs go on, the next start brings a new one")
        with self._lock:
            if connection is self._socket:  # else the next one has taken its place already
                self._forget()
        self._on_death()

    def _forget(self) -> None:
        """Close our end, which ends the runner, and reap it."""
        process, self._process = self._process, None
        if process is None:
            return
        self._socket.close()
        try:
            process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _spawn(descriptor: int, errors: Any) -> Any:
    """A session of its own, where no terminal signal of ours arrives; without our environment."""
    environment = {
        name: os.environ[name] for name in ("MSCHEDULE_FAILPOINTS",) if name in os.environ
    }
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-X", "utf8", str(RUNNER), str(descriptor)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        cwd="/",
        env=environment,
        pass_fds=[descriptor],
        start_new_session=True,
    )


def _receive(connection: Any) -> bytes:
    """One answer; empty when the runner is gone."""
    try:
        answer: bytes = connection.recv(MAX_ANSWER_BYTES)
    except OSError:
        return b""
    return answer
