"""How do tests wait, and how do they look at processes? Nothing here patches or needs gevent."""

import ctypes
import fcntl
import functools
import os
import random
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PR_SET_CHILD_SUBREAPER = 36

_given_ports: set[int] = set()  # by free_port: whoever was given one may not have bound it yet


def until(
    predicate: Callable[[], T | None],
    timeout_s: float = 30.0,
    what: str = "",
    sleep: Callable[[float], object] | None = None,
) -> T:
    """Ask `predicate` until it is true and return what it said; AssertionError after `timeout_s`.

    The one place where a test sleeps. In a process with greenlets pass `gevent.sleep`.
    """
    pause_s = 0.002
    deadline = time.monotonic() + timeout_s
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() > deadline:
            wanted = what or getattr(predicate, "__name__", "it")
            raise AssertionError(f"waited {timeout_s:g} s in vain for {wanted}: last {answer!r}")
        (sleep or time.sleep)(pause_s)
        pause_s = min(pause_s * 1.5, 0.05)


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to outgoing connections.

    A server that is killed and started again must get its port back. Were it one of the
    kernel's own, a client that tries to reconnect meanwhile could be given it first, and
    on the loopback even connect to itself. Tests of another process are never given the
    same one while this process lives: they might bind it before its program has.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(lowest, 10_100))
        if port in _given_ports or not _take_port(port):
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given_ports.add(port)
        return port


def _take_port(port: int) -> bool:
    """Keep other processes from being given a port; False: one of them has been given it."""
    try:
        fcntl.lockf(_ports_taken(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):
        return False
    return True


@functools.cache
def _ports_taken() -> int:
    """A file of which each byte that is locked stands for a port; its locks end with the process.

    The locks are the process's own, which no child inherits; it must never be closed.
    """
    path = Path(tempfile.gettempdir(), f"mschedule-tests-ports-{os.geteuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


# ---- processes


def adopt_orphans() -> None:
    """Become the parent of whatever our descendants leave behind, so that it can be found."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def alive(pid: int) -> bool:
    """Is there such a process, and more of it than a zombie?"""
    fields = _stat(pid)
    return fields is not None and fields[0] not in ("Z", "X")


def descendants(pid: int) -> list[int]:
    """All living processes below `pid`, itself not included."""
    children: dict[int, list[int]] = {}
    for other, fields in _all_stats():
        if fields[0] not in ("Z", "X"):
            children.setdefault(int(fields[1]), []).append(other)
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def kill_all(pids: list[int]) -> None:
    """SIGKILL each, and wait until none is left; those that are our own orphans are reaped."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    until(lambda: not any(alive(pid) for pid in pids), what="the kill of leftovers")
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass


def cpu_s(pid: int) -> float:
    """CPU that a process has used, in user and kernel, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return _memory(pid, "status", "VmRSS:")


def pss_bytes(pid: int) -> int:
    """Resident memory of a process, shared pages counted by share."""
    return _memory(pid, "smaps_rollup", "Pss:")


def _memory(pid: int, file: str, label: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(label):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/{pid}/{file} has no {label}")


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field, the name, may hold spaces and brackets.
    return text.rpartition(")")[2].split()


def _all_stats() -> Iterator[tuple[int, list[str]]]:
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            yield int(entry.name), fields
