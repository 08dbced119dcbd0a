"""What time is it, for decisions? The wall clock as it was at the start, plus the time since.

Stepping the clock of a machine must not expire, lose or time out anything while the
master runs. At its start the wall clock is believed.
"""

import time


class SteadyClock:
    """Callable: UNIX time in seconds, never stepping."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() + self._offset


class Attention:
    """Since when has this master been listening without a pause?

    Silence of an agent counts only while somebody listened: a master that slept,
    or was stopped, would otherwise declare its whole fleet lost when it wakes.
    """

    STALL_S = 3.0

    def __init__(self, now: float):
        self.listening_since = now
        self.last_stall = now
        self._last_tick = now

    def tick(self, now: float) -> None:
        """Called about once a second by the loop that would notice a stall."""
        if now - self._last_tick > self.STALL_S:
            self.last_stall = now
        self._last_tick = now
