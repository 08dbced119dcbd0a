"""Two processes fire the schedules of one store, and are killed at any moment: does each due
instant still have one row, and each firing one task?"""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from tests.storage.schedule_world import ACT, World
from tests.support import until
from wire.requests import Auth, Submission
from wire.schedules import AddSchedule, ScheduleSpec, Timing

ROOT = Path(__file__).resolve().parents[2]
WORKER = ROOT / "tests/faults/schedule_worker.py"
SCHEDULES = 20
KILLS = 14


def test_each_due_instant_is_decided_once_by_two_processes_that_are_killed(tmp_path):
    # Given schedules that are due every second or two, and two processes that fire them
    world = World(tmp_path, 1, time.time())
    desk = world.processes[0].desk
    for number in range(SCHEDULES):
        spec = ScheduleSpec(
            name=f"number {number}",
            when=Timing("every", every=1 + number % 2),
            task=Submission(script="true", targets="@*"),
            overlap="allow",
            misfire=["once", "each", "skip"][number % 3],
        )
        desk.add_schedule(world.alice, AddSchedule(Auth(), spec), ACT)
    world.close()
    workers = [start(world.path), start(world.path)]

    # When one of them is killed and started again, many times
    chance = random.Random(7)
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 0.7))
            place = chance.randrange(2)
            workers[place].send_signal(signal.SIGKILL)
            workers[place].wait()
            workers[place] = start(world.path)
        killed_until = time.time()
        until(lambda: decided_until(world.path) > killed_until, 180, "firings after the last kill")
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()

    # Then each due instant up to where its schedule has come has one row, and each firing a task
    with closing(sqlite3.connect(world.path)) as connection:
        rows = connection.execute("SELECT schedule, due_at, state, task FROM firings").fetchall()
        tasks = connection.execute("SELECT schedule, due_at, id FROM tasks").fetchall()
        schedules = connection.execute(
            "SELECT id, timing ->> 'seconds', created_at, decided_until FROM schedules"
        ).fetchall()
    decided = {(schedule, due) for schedule, due, _, _ in rows}
    for id, seconds, created_at, decided_to in schedules:
        first = int(created_at) + 1
        due = {(id, at) for at in range(first, int(decided_to) + 1) if at % seconds == 0}
        assert {one for one in decided if one[0] == id} == due
    fired = sorted((schedule, due, task) for schedule, due, state, task in rows if task)
    assert fired == sorted(tasks)
    assert all((state == "fired") == (task is not None) for _, _, state, task in rows)
    assert len(fired) > SCHEDULES


def decided_until(path: Path) -> float:
    """How far the schedule has come that is furthest behind."""
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT min(decided_until) FROM schedules").fetchone()
    return float(row[0])


def start(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(path)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
