"""What do all benchmarks share? Conditions, tables, percentiles, CPU time over many processes."""

import argparse
import json
import os
import platform
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

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
    """CPU seconds of this process and of everything it starts, also of what has ended since.

    By a control group of our own, since runners let the kernel reap supervisors, whose time
    is then in no parent. Where none can be had (it takes root), the busy time of the whole
    machine stands in: never too little, on a quiet machine hardly too much.
    """

    def __init__(self) -> None:
        self.spent_s = 0.0
        self._home, self._group = _own_group()

    @property
    def method(self) -> str:
        return "control group" if self._group else "busy time of the whole machine"

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Adds the CPU time of the block to `spent_s`."""
        before_s = self._now_s()
        yield
        self.spent_s += self._now_s() - before_s

    def close(self) -> None:
        """Leave the group, and remove it if it is empty."""
        if self._home and self._group:
            (self._home / "cgroup.procs").write_text("0")
            for folder in sorted(self._group.rglob("*/"), reverse=True):
                _remove_group(folder)
            _remove_group(self._group)

    def _now_s(self) -> float:
        if self._group:
            return int((self._group / "cpu.stat").read_text().split()[1]) / 1e6
        user, nice, system, _, _, irq, softirq = _machine_ticks()[:7]
        return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _own_group() -> tuple[Path | None, Path | None]:
    """The control group that we are in, and one below it that we have moved into."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [Path(point) for _, point, kind, *_ in mounts if kind == "cgroup2"]
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    paths = [line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    if not roots or not paths:
        return None, None
    home = roots[0] / paths[0]
    group = home / f"mschedule-bench-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text("0")
        assert (group / "cpu.stat").read_text().startswith("usage_usec")
    except OSError:
        _remove_group(group)
        return None, None
    return home, group


def _remove_group(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        pass  # it was never made, or something still runs in it


def _machine_ticks() -> list[int]:
    return [int(ticks) for ticks in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]


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
