"""How is a whole fleet put where every part of it can be broken? A Fleet with handles.

Each agent has a boot id of its own, and, if asked for, a network cable, a small disk, or a
clock that can be stepped; so has the master. `launcher` starts the programs through a file
of the tests, which breaks one promise on purpose.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.rundir import read_cgroup
from agent.tree import in_cgroup
from tests.faults.cable import Cable
from tests.faults.history import Birth, uptime
from tests.fleet import ROOT, Fleet, Program
from tests.support import alive, descendants, until
from utils import write_private

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
DISK_BYTES = 1 << 30


class Part(Program):
    """A program that notes when it is started."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.born_at: list[float] = []

    def start(self, **environ: str) -> None:
        self.born_at.append(uptime())
        super().start(**environ)


class BreakableFleet(Fleet):
    """As a Fleet; `cabled`, `small` and `stepped` name what has a cable, a disk, a clock."""

    def __init__(
        self,
        root: Path,
        agents: Sequence[str],
        *,
        cabled: Collection[str] = (),
        small: Collection[str] = (),
        stepped: Collection[str] = (),
        launcher: Mapping[str, str] | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self._launcher = dict(launcher or {})
        self._stepped = set(stepped)
        self._small = set(small)
        self.cables: dict[str, Cable] = {}
        self._mounts: list[Path] = []
        super().__init__(root, agents, **options)
        self._cabled = {name: seed * 1000 + n for n, name in enumerate(sorted(cabled))}
        if cabled:
            self.master.arguments += ["--bind", "0.0.0.0"]

    def __enter__(self) -> "BreakableFleet":
        super().__enter__()
        return self

    # ---- making

    def _program(self, name: str, script: str, arguments: Sequence[str]) -> Program:
        environ = dict(self.environ)
        if script == "app.py":
            boot = self.root / f"{name}.boot"
            boot.write_text(uuid.uuid4().hex)
            environ["MSCHEDULE_BOOT_ID_FILE"] = str(boot)
        if name in self._stepped:
            environ |= self._clock_of(name)
        if name in self._small:
            self._mount(self.root / name)
        part = Part(name, script, self.root / name, arguments, environ)
        if script in self._launcher:
            part.arguments[:1] = [self._launcher[script], str(ROOT / script)]
        return part

    def add_agent(self, name: str, *, hostname: str | None = None) -> Program:
        if name not in self._cabled:
            return super().add_agent(name, hostname=hostname)
        cable = self.cables[name] = Cable(self._cabled[name])
        file = self.root / f"{name}.join"
        joined = self.join_string("agent").replace("127.0.0.1", cable.near)
        write_private(file, joined.encode())
        agent = self._program(
            name, "app.py", ["--hostname", hostname or name, "--slots", str(self.slots)]
        )
        agent.arguments += ["--join-file", str(file)]
        agent.prefix = cable.command
        self.agents[name] = agent
        agent.start()
        return agent

    def _clock_of(self, name: str) -> dict[str, str]:
        assert FAKETIME is not None, "libfaketime is not installed"
        file = self.root / f"{name}.clock"
        file.write_text("+0")
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def _mount(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        options = f"size={DISK_BYTES},mode=700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
        self._mounts.append(folder)

    def close(self) -> None:
        try:
            for program in self.programs:
                if program.running:
                    program.resume()
            super().close()
        finally:
            for cable in self.cables.values():
                cable.close()
            for folder in self._mounts:
                subprocess.run(["umount", "--lazy", folder], check=False)

    # ---- breaking

    def is_small(self, name: str) -> bool:
        return name in self._small

    def is_stepped(self, name: str) -> bool:
        return name in self._stepped

    def step_clock(self, name: str, by_s: float) -> None:
        """The wall clock of one program jumps; 0 puts it right."""
        (self.root / f"{name}.clock").write_text(f"{by_s:+g}\n")

    def reboot(self, name: str) -> None:
        """All processes of a host at once, and another boot id; the agent is then started."""
        stopped: set[int] = set()
        for _ in range(2):  # one that is just in the midst of exec looks like nobody's
            while new := self._processes_of(name) - stopped:
                for pid in new:  # none of them may see the others go
                    _send(pid, signal.SIGSTOP)
                stopped |= new
            time.sleep(0.02)
        for pid in stopped:
            _send(pid, signal.SIGKILL)
        self.agents[name].wait()
        until(lambda: not any(alive(pid) for pid in stopped), what="the end of a host")
        (self.root / f"{name}.boot").write_text(uuid.uuid4().hex)

    def _processes_of(self, name: str) -> set[int]:
        agent = self.agents[name]
        below = descendants(agent.pid) if agent.running else []
        found = {pid for pid in self.leftovers() if self._belongs(pid, name)} | set(below)
        for mark in (agent.state_dir / "runs").glob("*/mark"):
            found |= in_cgroup(read_cgroup(str(mark.parent)))
        return found | ({agent.pid} if agent.running else set())

    def _belongs(self, pid: int, name: str) -> bool:
        """By the state directory in a command line, or by what a script has in its environment."""
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        folder = os.fsencode(self.agents[name].state_dir) + b"/"
        id = b"MSCHEDULE_AGENT_ID=" + (self.agents[name].state_dir / "id").read_bytes().strip()
        opened = any(folder in os.fsencode(target) for target in open_files(pid))
        return folder in command or id in environ.split(b"\0") or opened

    @contextlib.contextmanager
    def full_disk(self, name: str) -> Iterator[None]:
        """The disk of a host, or of the master, has no room for anything."""
        folder = self.root / name
        until(lambda: _resize(folder, shutil.disk_usage(folder).used), 60, "a disk without room")
        try:
            yield
        finally:
            _resize(folder, DISK_BYTES)

    def births(self) -> list[Birth]:
        """When which process of an agent was started."""
        found = []
        for agent in self.agents.values():
            assert isinstance(agent, Part)
            id = (agent.state_dir / "id").read_text().strip()
            found += [Birth(id, at) for at in agent.born_at]
        return found


def _resize(folder: Path, size_bytes: int) -> bool:
    """Give a small disk another size, of a page at least; False if more of it is used already."""
    size_bytes = max(size_bytes, os.sysconf("SC_PAGE_SIZE"))
    command = ["mount", "-o", f"remount,size={size_bytes}", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def open_files(pid: int) -> list[str]:
    """What its descriptors are of; nothing if it is gone."""
    found = []
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # closed since
                found.append(os.readlink(entry.path))
    return found
