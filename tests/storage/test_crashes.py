"""What is said to be durable is durable: killed processes, synced files, full disks."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from master.storage import Storage
from tests.storage.cast import Clock, House, by, make_task
from wire.errors import StoreFull
from wire.states import RunState

ROOT = Path(__file__).resolve().parents[2]

# Finishes runs one by one and prints the id of each only after the store has said so.
FINISHER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from master.storage import Storage
from tests.storage.cast import make_result
store = Storage(Path(sys.argv[2]))
for id in sys.argv[3].split(","):
    run = store.run_record(id).wait()
    answer = store.finish(run.agent, make_result(run, data=b"out", output_bytes=3)).wait().answer
    assert answer.offset == 3
    sys.stdout.write(id + "\\n")
    sys.stdout.flush()
"""


@pytest.fixture
def running(tmp_path):
    """A store with runs handed out, closed again: (path, ids)."""
    path = tmp_path / "store.sqlite"
    house = House(Storage(path, clock=Clock()), Clock(), path)
    (agent,) = house.enrol("web01")
    house.submit([agent] * 200)
    ids = [grant.run for grant in house.poll(agent, free=200).grants]
    hw = len(ids)
    while len(ids) < 100:
        more = house.poll(agent, hw=hw, free=200).grants
        ids += [grant.run for grant in more]
        hw = len(ids)
    house.store.close()
    return path, ids


def finisher(path, ids, *before):
    command = [*before, sys.executable, "-c", FINISHER, str(ROOT), str(path), ",".join(ids)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_it_has_all_that_was_acknowledged_when_it_is_killed(running):
    path, ids = running
    child = finisher(path, ids)
    said = [child.stdout.readline().strip() for _ in range(20)]
    os.kill(child.pid, signal.SIGKILL)
    said += child.stdout.read().split("\n")[:-1]
    child.wait()
    child.stdout.close()
    store = Storage(path, clock=Clock())
    try:
        for id in filter(None, said):
            assert store.run_record(id).wait().state is RunState.SUCCEED
            assert store.output(id, 0, 10).wait().data == b"out"
        task = store.active_tasks().wait()[0]
        states = [view.state for view in store.runs(task.id, 1000).wait().items]
        assert task.succeed == states.count("SUCCEED")
        assert task.running == states.count("RUNNING")
        assert task.waiting == states.count("WAITING")
    finally:
        store.close()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_it_syncs_a_result_before_it_says_so(running, tmp_path):
    """Between what one result wrote to the log and the word that it is done, the log is synced."""
    path, ids = running
    trace = tmp_path / "trace"
    calls = "trace=pwrite64,write,fsync,fdatasync"
    child = finisher(path, ids[:5], "strace", "-f", "-y", "-s", "64", "-e", calls, "-o", str(trace))
    child.stdout.read()
    child.stdout.close()
    assert child.wait() == 0
    lines = trace.read_text().splitlines()
    for id in ids[:5]:
        said = next(n for n, line in enumerate(lines) if f'"{id}' in line and "write(1<" in line)
        before = lines[:said]
        wrote = _last(before, "pwrite64(", "-wal>")
        synced = max(_last(before, "fdatasync(", "-wal>"), _last(before, "fsync(", "-wal>"))
        assert 0 <= wrote < synced
        lines = lines[said + 1 :]


def _last(lines, call, file):
    return max((n for n, line in enumerate(lines) if call in line and file in line), default=-1)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_it_refuses_when_the_disk_is_full_and_goes_on_when_it_is_not(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system can't be mounted here")
    try:
        _fill(small)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def _fill(small):
    path = small / "store.sqlite"
    house = House(Storage(path, clock=Clock()), Clock(), path)
    try:
        (agent,) = house.enrol("web01")
        task = house.submit([agent])
        ballast = small / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        with pytest.raises(StoreFull):
            for _ in range(1000):
                house.submit([agent] * 100, script=os.urandom(4096))
        assert house.states(task.id) == ["WAITING"]
        ballast.unlink()
        added = house.store.add_task(make_task([agent]), by()).wait()
        assert house.task(added.task.id).waiting == 1
        assert house.sql("PRAGMA integrity_check") == [("ok",)]
    finally:
        house.store.close()


def test_it_applies_verbs_again_when_the_disk_failed(tmp_path, monkeypatch):
    """An error of the disk: the file is opened anew, and what was queued is done once."""
    path = tmp_path / "store.sqlite"
    house = House(Storage(path, clock=Clock()), Clock(), path)
    try:
        (agent,) = house.enrol("web01")
        writer: Any = house.store._database._writer
        real = writer._connection
        writer._connection = _Failing(real)
        task = house.submit([agent])
        assert writer._connection is not real
        assert house.states(task.id) == ["WAITING"]
        assert house.sql("SELECT count(*) FROM tasks") == [(1,)]
    finally:
        house.store.close()


class _Failing:
    """A connection whose first COMMIT is done, and then reported as failed."""

    def __init__(self, real):
        self._real = real
        self._failed = False

    def execute(self, sql, *values):
        result = self._real.execute(sql, *values)
        if sql == "COMMIT" and not self._failed:
            self._failed = True

            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return result

    def __getattr__(self, name):
        return getattr(self._real, name)
