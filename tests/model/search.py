"""Does a promise break in any World that can be reached? The first trace found is a shortest."""

import gc
from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from tests.model.promises import Violated, at_rest, check, check_at_rest
from tests.model.steps import Model
from tests.model.world import Budget, Setting, What, World, begin


class Outcome(Struct, frozen=True):
    """`violation` None: the search is complete, and every promise held in all `worlds`."""

    worlds: int
    violation: str | None = None
    trace: tuple[str, ...] = ()

    def told(self) -> str:
        steps = "".join(f"\n  {number:3} {step}" for number, step in enumerate(self.trace, 1))
        return f"{self.violation or 'no violation'} ({self.worlds} worlds){steps}"


def search(budget: Budget, *, runs: int = 1, setting: Setting | None = None) -> Outcome:
    """Look at every world within the budget of faults, then whether each can come to rest."""
    gc.disable()  # worlds never form cycles, and walking a million of them takes half the time
    try:
        return _Search(setting or Setting(), begin(budget, runs)).outcome()
    finally:
        gc.enable()


class _Search:
    def __init__(self, setting: Setting, first: World):
        self.setting = setting
        self.model = Model(setting)
        self.first = first
        self.came_from: dict[World, tuple[World, What] | None] = {first: None}

    def outcome(self) -> Outcome:
        todo = deque([self.first])
        calm: set[World] = set()
        while todo:
            world = todo.popleft()
            try:
                check(world, self.setting)
                self._come_to_rest(world, calm)
                steps = [*self.model.calm_steps(world), *self.model.faults(world)]
            except Violated as violation:
                return self._violated(world, str(violation))
            for name, after in steps:
                if after not in self.came_from:
                    self.came_from[after] = (world, name)
                    todo.append(after)
        return Outcome(len(self.came_from))

    def _come_to_rest(self, world: World, calm: set[World]) -> None:
        """Without further faults, always taking the most pressing step, everything must end."""
        path: dict[World, What] = {}
        while world not in calm:
            if world in path:
                raise Violated(f"it never ends: {_listed(path.values())}, and again")
            step = next(self.model.calm_steps(world), None)
            path[world] = step[0] if step else "nothing"
            if step is None:
                if not at_rest(world):
                    raise Violated(f"stuck after {_listed(path.values())}")
                check_at_rest(world)
                break
            world = step[1]
        calm.update(path)

    def _violated(self, world: World, violation: str) -> Outcome:
        steps: list[str] = []
        before = self.came_from[world]
        while before is not None:
            steps.append(_told(before[1]))
            before = self.came_from[before[0]]
        return Outcome(len(self.came_from), violation, tuple(reversed(steps)))


def _told(what: What) -> str:
    return what if isinstance(what, str) else f"{what[0]} {what[1]}"


def _listed(steps: Iterable[What]) -> str:
    return ", ".join(map(_told, steps))
