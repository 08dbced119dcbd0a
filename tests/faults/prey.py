"""Which processes carry the runs of a host? Found from outside, by what /proc shows of them."""

import os
from collections.abc import Iterator
from pathlib import Path

from tests.faults.breakable import open_files


def supervisors(folder: str) -> Iterator[tuple[int, str]]:
    """Who holds the lock of a run's directory below `folder`, and the run's id."""
    for pid in filter(is_of_runner, _pids()):  # the agent opens such files, too
        for run in held_by(pid, folder):
            yield pid, run


def held_by(pid: int, folder: str) -> set[str]:
    """Ids of the runs below `folder` that a supervisor has just now: one, or none."""
    files = [target for target in open_files(pid) if target.endswith("/spec")]
    return {_run_of(file) for file in files if file.startswith(f"{folder}/")}


def scripts(folder: bytes) -> Iterator[tuple[int, str]]:
    """First processes of scripts below `folder`, each with its run's id."""
    for pid in _pids():
        for word in _read(pid, "cmdline").split(b"\0")[1:2]:
            if word.startswith(folder) and word.endswith(b"/script"):
                yield pid, _run_of(word.decode())


def is_of_runner(pid: int) -> bool:
    """Is it a runner, or was it forked by one and never became anything else?"""
    return b"runner.py" in _read(pid, "cmdline")


def stands_still(pid: int) -> bool:
    """Has SIGSTOP come to it, or is it gone?"""
    state = _read(pid, "stat").rpartition(b")")[2].split()[:1]
    return state in ([], [b"T"], [b"Z"], [b"X"])


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _run_of(file: str) -> str:
    """Its directory is named after run and attempt."""
    return file.split("/")[-2].rpartition(".")[0]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
