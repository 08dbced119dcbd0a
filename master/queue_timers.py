"""When is it time to look at a queue again? One time each; the hub sleeps until the first."""

import heapq


class Timers:
    """Times by name. Setting one replaces what was set before."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def set(self, name: str, at: float | None) -> None:
        """None: never."""
        if at is None:
            self._at.pop(name, None)
        elif self._at.get(name) != at:
            self._at[name] = at
            heapq.heappush(self._heap, (at, name))

    def first(self) -> float | None:
        while self._heap and self._is_past(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[tuple[str, float]]:
        """(name, time) of those whose time has come; each is told once."""
        found = []
        while (at := self.first()) is not None and at <= now:
            _, name = heapq.heappop(self._heap)
            found.append((name, self._at.pop(name)))
        return found

    def _is_past(self, at: float, name: str) -> bool:
        """Was it replaced by another time?"""
        return self._at.get(name) != at
