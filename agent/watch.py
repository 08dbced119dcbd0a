"""How does the agent learn that a process has ended that is no child of its own? By its pidfd."""

import os
from collections.abc import Callable
from typing import Any

import gevent

from agent import tree


class Watch:
    """Who wants to know the end of a run, and the pidfd of its supervisor that tells."""

    def __init__(self) -> None:
        self.on_ended: list[Callable[[], None]] = []
        self._pidfd = -1
        self._watcher: Any = None

    @property
    def armed(self) -> bool:
        return self._watcher is not None

    def arm(self, pid: int, birth: int, on_death: Callable[[], None]) -> None:
        """Be told of the death of `pid`; birth 0: it is surely still who it was."""
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError:
            return  # dead, or a kernel before 5.3: whoever waits has to look now and then
        if birth and tree.born(pid) != birth:
            os.close(self._pidfd)
            return
        self._watcher = gevent.get_hub().loop.io(self._pidfd, 1)
        self._watcher.start(on_death)

    def disarm(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
            os.close(self._pidfd)  # never before its watcher is stopped: libev knows the number
