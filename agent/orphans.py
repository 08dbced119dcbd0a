"""What becomes of a script whose supervisor was killed? It can be stopped, and keeps its timeout.

How it ends cannot be known any more; that it ends can be seen to.
"""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import gevent

from agent import evidence, rundir, tree

TICK_S = 0.1  # between looks at a tree that is being killed,
SLOWEST_TICK_S = 2.0  # at last, should it be stuck in the kernel


class Orphans:
    """Kills the trees of runs without a supervisor, each in a greenlet of its own.

    `on_dead(directory)` is called when nothing of a tree is left.
    """

    def __init__(self, on_dead: Callable[[str], None]) -> None:
        self._on_dead = on_dead
        self._dying: dict[str, Any] = {}  # greenlets, by the run's directory

    def kill(self, directory: str, run: str, grace_s: float) -> None:
        """TERM, grace, KILL, until nothing is left; repeating it is harmless."""
        if directory not in self._dying:
            self._dying[directory] = gevent.spawn(self._kill, directory, run, grace_s)

    def kill_if_overdue(self, directory: str, run: str) -> None:
        """Keep the timeout that the supervisor cannot keep any more."""
        if directory not in self._dying:
            spec = rundir.decode_spec(rundir.read_file(f"{directory}/spec") or b"")
            if 0 < spec.timeout_s < _age_s(directory, run):
                self.kill(directory, run, spec.grace_s)

    def _kill(self, directory: str, run: str, grace_s: float) -> None:
        try:
            self._kill_at(directory, run, time.monotonic() + grace_s, grace_s)
        finally:
            del self._dying[directory]
        self._on_dead(directory)

    def _kill_at(self, directory: str, run: str, kill_at: float, grace_s: float) -> None:
        pause_s = TICK_S
        _signal_all(directory, run, signal.SIGTERM)
        while evidence.orphans(directory, run):
            request = rundir.read_stop(directory)
            if time.monotonic() >= kill_at or (request and request[1] < grace_s):
                _signal_all(directory, run, signal.SIGKILL)
                pause_s = min(pause_s * 1.2, SLOWEST_TICK_S)
            gevent.sleep(pause_s)


def _signal_all(directory: str, run: str, number: int) -> None:
    for process in evidence.orphans(directory, run):
        tree.send(process, number)


def _age_s(directory: str, run: str) -> float:
    """Since the script began, by the clock of the boot; 0 if nothing of it is left.

    Its supervisor may be far older: it carries one run after another through. Where nobody
    could write down the script's first process, the oldest that is left of it counts.
    """
    main = rundir.read_main(directory)
    born = main[1] if main else 0
    born = born or min((process.born for process in evidence.orphans(directory, run)), default=0)
    if not born:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - born / os.sysconf("SC_CLK_TCK")
