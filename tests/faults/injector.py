"""What can be broken? Faults as `with` blocks.

Entering a fault breaks something; leaving it heals what was broken. So several can be held
together, and the moment at which all is whole again is known: from there on time is taken
until the next result arrives.
"""

import contextlib
import os
import random
import resource
import shutil
import signal
import sqlite3
import struct
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.faults.breakable import BreakableFleet
from tests.faults.cable import CUT, FINE, Weather
from tests.faults.history import Harm, uptime
from tests.faults.prey import held_by, is_of_runner, scripts, stands_still, supervisors
from tests.fleet import Program
from tests.support import descendants, until

MASTER_PLACES = ("claimed", "added", "finished")
AGENT_PLACES = ("granted", "journalled", "prepared", "started", "ended", "acknowledged")
SUPERVISOR_PLACES = ("fork", "mark-made", "cgroup", "exited", "exit-written")
RECORD_MAGIC = b"\xff\xfe\xfdJ"  # with which a record of the journal begins
RECORD_LENGTH, RECORD_LENGTH_AT, RECORD_HEADER_BYTES = struct.Struct("<I"), 12, 20
FIRES_WITHIN_S = 3.0
ENDS_WITHIN_S = 10.0
BOOT_S = 30.0
AFTERMATH_S = 10.0  # what was forked by an old runner may still come to the place
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
            try:
                yield
            finally:
                self._fleet.agents[name].start()
                # Until it is heard of again, what was handed out went to the boot before.
                self._harm("reboot", name, since, uptime() + BOOT_S)

    # ---- parts of a host

    @contextlib.contextmanager
    def stopped_part(self, name: str, part: str) -> Iterator[None]:
        """SIGSTOP of a runner, or of all supervisors or scripts that the host has just now."""
        pids = self._parts(name)[part]
        if pids:
            self._count(f"{part} SIGSTOP")
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                _send(pid, signal.SIGCONT)

    def _parts(self, name: str) -> dict[str, list[int]]:
        agent = self._fleet.agents[name]
        folder = str(agent.state_dir / "runs")
        below = descendants(agent.pid) if agent.running else []
        return {
            "runner": [pid for pid in below if is_of_runner(pid)][:1],
            "supervisor": [pid for pid, _ in supervisors(folder)],
            "script": [pid for pid, _ in scripts(os.fsencode(folder) + b"/")],
        }

    @contextlib.contextmanager
    def killed_runner(self, name: str) -> Iterator[None]:
        agent = self._fleet.agents[name]
        below = descendants(agent.pid) if agent.running else []
        for pid in filter(is_of_runner, below):
            self._count("runner SIGKILL")
            self._harm("start", name, uptime(), uptime() + AFTERMATH_S)
            _send(pid, signal.SIGKILL)
            break
        yield

    @contextlib.contextmanager
    def killed_supervisor(self, name: str, rng: random.Random) -> Iterator[None]:
        """kill -9 of one that has a run just now, if there is one.

        By then it may have another run, or have been given one that it has not begun.
        """
        folder = str(self._fleet.agents[name].state_dir / "runs")
        if found := sorted(supervisors(folder)):
            pid, _ = rng.choice(found)
            self._count("supervisor SIGKILL")
            _send(pid, signal.SIGSTOP)
            until(lambda: stands_still(pid), what="a supervisor that stands still")
            for run in held_by(pid, folder):
                self._harm("supervisor", name, uptime(), uptime(), run)
            self._harm("start", name, uptime(), uptime() + AFTERMATH_S)
            _send(pid, signal.SIGKILL)
        yield

    @contextlib.contextmanager
    def killed_script(self, name: str, rng: random.Random) -> Iterator[None]:
        folder = os.fsencode(self._fleet.agents[name].state_dir / "runs") + b"/"
        if found := sorted(scripts(folder)):
            pid, run = rng.choice(found)
            self._count("script SIGKILL")
            _send(pid, signal.SIGKILL)
            self._harm("script", name, uptime(), uptime(), run)
        yield

    @contextlib.contextmanager
    def torn_journal(self, name: str) -> Iterator[None]:
        """The host stops while a record is written: of it there is a part, and no more."""
        self._count("journal record torn")
        agent = self._fleet.agents[name]
        with self.busy[name]:
            _end(agent)
            _tear(agent.state_dir / "journal" / "log")
            try:
                yield
            finally:
                agent.start()

    # ---- what programs stand on

    @contextlib.contextmanager
    def locked_store(self) -> Iterator[None]:
        """Somebody else's transaction on the master's store, as of one who looks at it by hand."""
        self._count("store locked")
        store = self._fleet.master.state_dir / "store.sqlite"
        with contextlib.closing(sqlite3.connect(store, timeout=60, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                other.execute("ROLLBACK")

    @contextlib.contextmanager
    def no_descriptors(self, program: Program) -> Iterator[None]:
        """It can open nothing more: no number below the limit is free."""
        self._count(f"{_kind(program)} without descriptors")
        used = _descriptors(program.pid)
        lowest = min(set(range(len(used) + 1)) - used)
        since = uptime()
        with limited(program.pid, resource.RLIMIT_NOFILE, lowest):
            yield
        if program.name in self._ids:
            self._harm("start", program.name, since, uptime() + AFTERMATH_S)

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
    def scarce(self, name: str, kind: str = "start") -> Iterator[None]:
        """A host that is short of something: runs cannot be started, or supervisors die of it."""
        since = uptime()
        try:
            yield
        finally:
            self._harm(kind, name, since, uptime() + AFTERMATH_S)

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


@contextlib.contextmanager
def limited(pid: int, what: int, number: int) -> Iterator[None]:
    """A limit of a process that runs, and back, if it still does."""
    try:
        before = resource.prlimit(pid, what)
        resource.prlimit(pid, what, (number, before[1]))
    except ProcessLookupError:
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, what, before)


def _kind(program: Program) -> str:
    return program.name if program.name in ("master", "web") else "agent"


def _end(program: Program, number: int = signal.SIGKILL) -> None:
    if program.running:
        program.signal(number)
        try:
            program.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:  # a program that is stopped, or slow to end
            program.kill()


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _tear(log: Path) -> None:
    """Behind the last whole record the first half of it again, as of a write that was cut short."""
    content = log.read_bytes()
    begin = end = content.index(b"\n") + 1
    while content.startswith(RECORD_MAGIC, end):
        begin = end
        (length,) = RECORD_LENGTH.unpack_from(content, begin + RECORD_LENGTH_AT)
        end += RECORD_HEADER_BYTES + length
    with log.open("r+b") as file:
        file.seek(end)
        file.write(content[begin : (begin + end) // 2])


def _descriptors(pid: int) -> set[int]:
    """Their numbers; none if the process is gone."""
    try:
        return {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    except OSError:
        return set()
