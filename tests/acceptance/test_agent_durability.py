"""What the agent relies on is on the disk first: the order of its system calls, as strace saw it.

A kill proves nothing here, since the page cache outlives the process.
"""

import re
import shutil
import subprocess
from collections.abc import Callable

import pytest

from tests.agent_peers import master_and_host

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

CALLS = "pwrite64,fdatasync,sendto,unlink,unlinkat,rmdir,symlink,kill,pidfd_send_signal"


@pytest.fixture
def peers(tmp_path):
    with master_and_host(tmp_path) as peers:
        yield peers


def traced(peers, act: Callable[[], None]) -> list[str]:
    """The system calls of the agent while `act` runs, in order, one a line."""
    master, host = peers
    trace = host.state.with_name("trace")
    command = ["strace", "-f", "-y", "-s", "4096", "-e", f"trace={CALLS}", "-o", str(trace)]
    log = host.state.with_name("strace.log")
    with log.open("wb") as errors:
        strace = subprocess.Popen([*command, "-p", str(host.agent.pid)], stderr=errors)
        try:
            master.until(lambda: "attached" in log.read_text())
            act()
        finally:
            strace.terminate()
            strace.wait()
    return trace.read_text().splitlines()


def index_of(lines: list[str], pattern: str, after: int = -1) -> int:
    """The first line after `after` that matches; strace cuts a call in two when another runs."""
    for number, line in enumerate(lines):
        if number > after and re.search(pattern, line):
            return number
    raise AssertionError(f"no {pattern!r} after line {after} of\n" + "\n".join(lines))


def end_of_sync(lines: list[str], after: int) -> int:
    started = index_of(lines, r"fdatasync\(\d+<.*/journal/log>", after)
    if lines[started].rstrip().endswith("= 0"):
        return started
    thread = lines[started].split()[0]
    return index_of(lines, rf"^{thread} .*fdatasync resumed>.*= 0", started)


def test_an_entry_is_synced_before_its_supervisor_is_asked_for(peers):
    master, host = peers
    host.start()

    def run_one() -> None:
        master.grant("traced", "echo hello")
        master.result_of("traced")
        master.until(host.is_idle)

    lines = traced(peers, run_one)
    written = index_of(lines, r"pwrite64\(\d+<.*/journal/log>.*traced")
    synced = end_of_sync(lines, written)
    asked = index_of(lines, r"sendto\(.*runs/traced\.1")
    assert written < synced < asked


def test_a_done_record_is_synced_before_the_directory_goes(peers):
    master, host = peers
    host.start()

    def run_one() -> None:
        master.grant("traced", "echo hello")
        master.result_of("traced")
        master.until(host.is_idle)

    lines = traced(peers, run_one)
    asked = index_of(lines, r"sendto\(.*runs/traced\.1")
    written = index_of(lines, r"pwrite64\(\d+<.*/journal/log>.*traced", asked)
    synced = end_of_sync(lines, written)
    removed = index_of(lines, r"(unlink|unlinkat|rmdir)\(.*(traced\.1|AT_REMOVEDIR)", asked)
    assert written < synced < removed


def test_the_cause_of_a_kill_is_synced_before_the_kill(peers):
    master, host = peers
    host.start()
    master.grant("traced", "echo up; sleep 600")
    master.until(lambda: master.output_of("traced") == b"up\n")

    def cancel() -> None:
        master.cancel("traced")
        master.result_of("traced")

    lines = traced(peers, cancel)
    written = index_of(lines, r"pwrite64\(\d+<.*/journal/log>.*cancel")
    synced = end_of_sync(lines, written)
    requested = index_of(lines, r"symlink\(.*cancel.*traced\.1/stop")
    woken = index_of(lines, r"(kill|pidfd_send_signal)\(.*SIGUSR1")
    assert written < synced < requested < woken
