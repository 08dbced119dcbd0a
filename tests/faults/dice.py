"""What is broken when, and what together? Faults, drawn by a seed."""

import random
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from tests.faults.breakable import BreakableFleet
from tests.faults.injector import (
    AGENT_PLACES,
    MASTER_PLACES,
    SUPERVISOR_PLACES,
    WEATHERS,
    Injector,
)
from tests.fleet import Program

Fault = Callable[[], AbstractContextManager[None]]


class Dice:
    """Draws faults. The same seed and the same names give the same faults, in the same order."""

    def __init__(self, injector: Injector, fleet: BreakableFleet, rng: random.Random) -> None:
        self._injector = injector
        self._fleet = fleet
        self._rng = rng

    def several(self, names: list[str]) -> list[tuple[str, Fault]]:
        """One to three faults to be held together, each with the part that it hits."""
        number = self._rng.choices([1, 2, 3], [3, 4, 3])[0]
        parts = self._rng.choices(["master", "web", "agent"], [4, 1, 7], k=number)
        hosts = self._rng.sample(names, number)
        hit = [host if part == "agent" else part for part, host in zip(parts, hosts, strict=True)]
        return [(part, self._of(part)) for part in dict.fromkeys(hit)]

    def _of(self, part: str) -> Fault:
        if part == "master":
            return self._of_master()
        if part == "web":
            return self._of_program(self._fleet.web)
        return self._of_agent(part)

    def _of_master(self) -> Fault:
        rng, injector, master = self._rng, self._injector, self._fleet.master
        place, hit = rng.choice(MASTER_PLACES), rng.randint(1, 8)
        choices: list[Fault] = [
            self._of_program(master),
            self._of_program(master),
            lambda: injector.dying_at(master, place, hit),
            lambda: injector.dying_at(master, place, hit),
            injector.locked_store,
        ]
        if self._fleet.is_small("master"):
            choices.append(lambda: injector.full_disk("master"))
        if self._fleet.is_stepped("master"):
            by_s = rng.choice([-3600.0, 3600.0])
            choices.append(lambda: injector.stepped_clock("master", by_s))
        return rng.choice(choices)

    def _of_program(self, program: Program) -> Fault:
        injector = self._injector
        choices: list[Fault] = [
            lambda: injector.killed(program),
            lambda: injector.killed(program),
            lambda: injector.killed(program, signal.SIGTERM),
            lambda: injector.stopped(program),
        ]
        return self._rng.choice(choices)

    def _of_agent(self, name: str) -> Fault:
        rng, injector, agent = self._rng, self._injector, self._fleet.agents[name]
        place, hit = rng.choice(AGENT_PLACES), rng.randint(1, 3)
        deep = rng.choice([*SUPERVISOR_PLACES, "before-exec"])
        part = rng.choice(["runner", "supervisor", "script"])
        own = random.Random(rng.random())
        choices: list[tuple[int, Fault]] = [
            (6, self._of_program(agent)),
            (6, lambda: injector.dying_at(agent, place, hit)),
            (3, lambda: injector.supervisors_dying_at(name, deep)),
            (3, lambda: injector.rebooted(name)),
            (3, lambda: injector.killed_runner(name)),
            (4, lambda: injector.killed_supervisor(name, own)),
            (4, lambda: injector.killed_script(name, own)),
            (2, lambda: injector.stopped_part(name, part)),
            (2, lambda: injector.torn_journal(name)),
            (2, lambda: injector.no_descriptors(agent)),
        ]
        if name in self._fleet.cables:
            kind = rng.choice(list(WEATHERS))
            choices.append((10, lambda: injector.bad_weather(name, kind)))
            choices.append((2, lambda: injector.moved(name)))
        if self._fleet.is_small(name):
            choices.append((6, lambda: injector.full_disk(name)))
        if self._fleet.is_stepped(name):
            by_s = rng.choice([-3600.0, 3600.0])
            choices.append((6, lambda: injector.stepped_clock(name, by_s)))
        return rng.choices([f for _, f in choices], [weight for weight, _ in choices])[0]

    def long_one(self, name: str) -> Fault:
        """What is held for long, on a host that nothing else happens to."""
        injector, agent = self._injector, self._fleet.agents[name]
        choices: list[Fault] = [
            lambda: injector.stopped(agent),
            lambda: injector.killed(agent),
        ]
        if name in self._fleet.cables:
            kind = self._rng.choice(["cut", "cut to the master", "cut from the master"])
            choices += [lambda: injector.bad_weather(name, kind)] * 2
        return self._rng.choice(choices)


def hold(faults: list[tuple[str, Fault]], for_s: float) -> None:
    """All of them at once, for so long."""
    with ExitStack() as stack:
        for _, fault in faults:
            stack.enter_context(fault())
        time.sleep(for_s)
