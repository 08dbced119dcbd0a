"""What do all benchmarks share? Conditions, tables, percentiles, CPU time over many processes."""

import argparse
import json
import os
import platform
import resource
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tests.support import cpu_s, descendants

LIBRARIES = ("zerorpc", "gevent", "pyzmq", "msgpack", "msgspec", "aiohttp")

Value = str | int | float


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write one flat object there")
    made.add_argument(
        "--dir",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where state is kept; choose a real disk, since fsync is part of what is measured",
    )
    return made


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """A directory for the state of one measurement, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="mschedule-bench-", dir=folder) as path:
        yield Path(path)


def conditions(folder: Path) -> dict[str, Value]:
    """Without these a figure says nothing."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "sqlite": sqlite3.sqlite_version,
        "filesystem": _filesystem(folder),
        "load_before": round(os.getloadavg()[0], 2),
    }


def report(found: Mapping[str, Value], around: Mapping[str, Value], file: Path | None) -> None:
    """Print conditions and figures as tables; write both as one flat object if a file is named."""
    for rows in (around, found):
        width = max(map(len, rows))
        print("\n".join(f"{name:{width}}  {value}" for name, value in rows.items()), end="\n\n")
    if file is not None:
        file.write_text(json.dumps({**found, **around}, indent=1) + "\n")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


class CpuMeter:
    """CPU seconds of this process and of everything below it, also of what has ended since.

    Needs to be the parent of orphans (see tests.support.adopt_orphans): the time of a child
    that has ended is in its parent, or in us.
    """

    def __enter__(self) -> "CpuMeter":
        self._below = self._now()
        self._own = time.process_time()
        return self

    def __exit__(self, *ignored: object) -> None:
        # Our own first: looking through /proc is not part of what is measured.
        own = time.process_time() - self._own
        self.spent_s = own + self._now() - self._below

    @staticmethod
    def _now() -> float:
        reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
        below = sum(cpu_s(pid) for pid in descendants(os.getpid(), zombies=True))
        return below + reaped.ru_utime + reaped.ru_stime


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Hardware", "cpu model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    """The type of the file system that holds a folder: the longest mount point above it."""
    path = f"{folder.resolve()}/"
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    above = [
        (point, kind)
        for _, point, kind, *_ in mounts
        if path.startswith(f"{point}/".replace("//", "/"))
    ]
    return max(above, key=lambda mount: len(mount[0]))[1]
