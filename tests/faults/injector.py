"""What is broken, when, and for how long? Faults as `with` blocks, drawn by a seed.

Entering a fault breaks something; leaving it heals what was broken. So several can be held
together, and the moment at which all is whole again is known: from there on time is taken
until the next result arrives.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from tests.faults.breakable import BreakableFleet, open_files
from tests.faults.cable import CUT, FINE, Weather
from tests.faults.history import Harm, uptime
from tests.fleet import Program
from tests.support import descendants

Fault = Callable[[], AbstractContextManager[None]]

MASTER_PLACES = ("claimed", "added", "finished")
AGENT_PLACES = ("granted", "journalled", "prepared", "started", "ended", "acknowledged")
SUPERVISOR_PLACES = ("cgroup", "mark-made", "exited", "exit-written")
FIRES_WITHIN_S = 3.0
AFTERMATH_S = 3.0  # what was forked by an old runner may still come to the place
WEATHERS = {
    "cut": CUT,
    "cut to the master": Weather(drop_up=1),
    "cut from the master": Weather(drop_down=1),
    "30% loss": Weather(drop_up=0.3, drop_down=0.3),
    "500 ms delay": Weather(delay_s=0.5),
    "disorder": Weather(jitter_s=0.05, repeat=0.3),
}


class Injector:
    """Breaks a fleet. `harms` is for the checker, `counts` for people."""

    def __init__(self, fleet: BreakableFleet, ids: dict[str, str]) -> None:
        self._fleet = fleet
        self._ids = ids
        self.harms: list[Harm] = []
        self.counts: Counter[str] = Counter()
        # Held while a program is down on purpose; else somebody may start what has ended.
        self.busy: dict[str, threading.Lock] = defaultdict(threading.Lock)

    # ---- whole programs

    @contextlib.contextmanager
    def killed(self, program: Program, number: int = signal.SIGKILL) -> Iterator[None]:
        """kill -9, or a SIGTERM, and no program until the end."""
        self._count(f"{_kind(program)} {signal.Signals(number).name}")
        with self.busy[program.name]:
            _end(program, number)
            try:
                yield
            finally:
                program.start()

    @contextlib.contextmanager
    def stopped(self, program: Program) -> Iterator[None]:
        self._count(f"{_kind(program)} SIGSTOP")
        program.pause()
        try:
            yield
        finally:
            program.resume()

    @contextlib.contextmanager
    def dying_at(self, program: Program, place: str, hit: int) -> Iterator[None]:
        """Started anew so that it dies at a named place, at the Nth time that it comes there."""
        self._count(f"{_kind(program)} dies at {place}")
        with self.busy[program.name]:
            _end(program)
            program.start(MSCHEDULE_FAILPOINTS=f"{place}=kill:{hit}")
            deadline = time.monotonic() + FIRES_WITHIN_S
            try:
                yield
            finally:
                while program.running and time.monotonic() < deadline:
                    time.sleep(0.01)
                _end(program)
                program.start()

    @contextlib.contextmanager
    def supervisors_dying_at(self, name: str, place: str) -> Iterator[None]:
        """Every supervisor that the host starts meanwhile is killed at a named place."""
        kind = "script" if place == "before-exec" else "supervisor"
        self._count(f"{kind} dies at {place}")
        agent = self._fleet.agents[name]
        since = uptime()
        with self.busy[name]:
            _end(agent)
            agent.start(MSCHEDULE_FAILPOINTS=f"{place}=kill")
            try:
                yield
            finally:
                _end(agent)
                agent.start()
                self._harm(kind, name, since, uptime() + AFTERMATH_S)

    @contextlib.contextmanager
    def rebooted(self, name: str) -> Iterator[None]:
        """Everything on the host ends, and it comes back with another boot id."""
        self._count("host reboots")
        since = uptime()
        with self.busy[name]:
            self._fleet.reboot(name)
            self._harm("reboot", name, since, uptime())
            try:
                yield
            finally:
                self._fleet.agents[name].start()

    # ---- parts of a host

    @contextlib.contextmanager
    def killed_runner(self, name: str) -> Iterator[None]:
        agent = self._fleet.agents[name]
        below = descendants(agent.pid) if agent.running else []
        for pid in (pid for pid in below if b"runner.py" in _read(pid, "cmdline")):
            self._count("runner SIGKILL")
            self._harm("start", name, uptime(), uptime() + AFTERMATH_S)
            _send(pid, signal.SIGKILL)
            break
        yield

    @contextlib.contextmanager
    def killed_supervisor(self, name: str, rng: random.Random) -> Iterator[None]:
        """kill -9 of one that has a run just now, if there is one."""
        folder = str(self._fleet.agents[name].state_dir / "runs")
        if found := sorted(_holders(folder)):
            pid, run = rng.choice(found)
            self._count("supervisor SIGKILL")
            _send(pid, signal.SIGKILL)
            self._harm("supervisor", name, uptime(), uptime(), run)
        yield

    @contextlib.contextmanager
    def killed_script(self, name: str, rng: random.Random) -> Iterator[None]:
        folder = os.fsencode(self._fleet.agents[name].state_dir / "runs") + b"/"
        if found := sorted(_scripts(folder)):
            pid, run = rng.choice(found)
            self._count("script SIGKILL")
            _send(pid, signal.SIGKILL)
            self._harm("script", name, uptime(), uptime(), run)
        yield

    # ---- what programs stand on

    @contextlib.contextmanager
    def bad_weather(self, name: str, kind: str) -> Iterator[None]:
        self._count(f"network {kind}")
        cable = self._fleet.cables[name]
        cable.weather = WEATHERS[kind]
        try:
            yield
        finally:
            cable.weather = FINE

    @contextlib.contextmanager
    def moved(self, name: str) -> Iterator[None]:
        self._count("network address changes")
        self._fleet.cables[name].change_address()
        yield

    @contextlib.contextmanager
    def full_disk(self, name: str) -> Iterator[None]:
        self._count(f"{'master' if name == 'master' else 'agent'} disk full")
        since = uptime()
        with self._fleet.full_disk(name):
            yield
        if name != "master":
            self._harm("disk", name, since, uptime() + AFTERMATH_S)

    @contextlib.contextmanager
    def stepped_clock(self, name: str, by_s: float) -> Iterator[None]:
        self._count(f"{'master' if name == 'master' else 'agent'} clock {by_s:+g} s")
        self._fleet.step_clock(name, by_s)
        try:
            yield
        finally:
            self._fleet.step_clock(name, 0)

    # ---- an old copy of the store

    def back_up(self, folder: Path) -> float:
        """Copy the store while no master runs; when that was."""
        master = self._fleet.master
        with self.busy[master.name]:
            _end(master, signal.SIGTERM)
            since = uptime()
            folder.mkdir()
            for file in master.state_dir.glob("store.sqlite*"):
                shutil.copy2(file, folder)
            master.start()
        return since

    def put_back(self, folder: Path) -> None:
        """The copy takes the store's place. Hand-outs go on when somebody releases them."""
        self._count("older store put back")
        master = self._fleet.master
        with self.busy[master.name]:
            _end(master)
            for file in master.state_dir.glob("store.sqlite*"):
                file.unlink()
            for file in folder.iterdir():
                shutil.copy2(file, master.state_dir)
            master.start()

    # ---- accounts

    def _count(self, what: str) -> None:
        self.counts[what] += 1

    def _harm(
        self, kind: str, name: str, since: float, until: float, run: str | None = None
    ) -> None:
        harm = Harm(kind=kind, agent=self._ids[name], run=run, since=since, until=until)
        self.harms.append(harm)


class Dice:
    """Draws faults. The same seed and the same names give the same faults, in the same order."""

    def __init__(self, injector: Injector, fleet: BreakableFleet, rng: random.Random) -> None:
        self._injector = injector
        self._fleet = fleet
        self._rng = rng

    def several(self, names: list[str]) -> list[tuple[str, Fault]]:
        """One to three faults to be held together, each with the part that it hits."""
        number = self._rng.choices([1, 2, 3], [5, 4, 2])[0]
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
        own = random.Random(rng.random())
        choices: list[tuple[int, Fault]] = [
            (6, self._of_program(agent)),
            (6, lambda: injector.dying_at(agent, place, hit)),
            (3, lambda: injector.supervisors_dying_at(name, deep)),
            (3, lambda: injector.rebooted(name)),
            (3, lambda: injector.killed_runner(name)),
            (4, lambda: injector.killed_supervisor(name, own)),
            (4, lambda: injector.killed_script(name, own)),
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


def _kind(program: Program) -> str:
    return program.name if program.name in ("master", "web") else "agent"


def _end(program: Program, number: int = signal.SIGKILL) -> None:
    if program.running:
        program.signal(number)
        try:
            program.wait()
        except subprocess.TimeoutExpired:  # a program that is stopped, or slow to end
            program.kill()


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _holders(folder: str) -> Iterator[tuple[int, str]]:
    """Supervisors: who holds the lock of a run's directory below `folder`, and the run's id."""
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        for target in open_files(int(name)):
            if target.startswith(f"{folder}/") and target.endswith("/lock"):
                yield int(name), target.split("/")[-2].rpartition(".")[0]


def _scripts(folder: bytes) -> Iterator[tuple[int, str]]:
    """First processes of scripts below `folder`, each with its run's id."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            words = _read(int(name), "cmdline").split(b"\0")
            for word in words[1:2]:
                if word.startswith(folder) and word.endswith(b"/script"):
                    yield int(name), word.decode().split("/")[-2].rpartition(".")[0]
