"""What if a program dies in the middle of a decision? At every named place, singly and together.

The places are calls of failpoint() in the programs: between claim and answer, answer and journal,
journal and start, start mark and exec, exit and exit record, result and acknowledgement, commit
and reply.
"""

import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.faults.breakable import BreakableFleet
from tests.faults.checker import check
from tests.faults.history import Play, TaskSeen
from tests.faults.injector import AGENT_PLACES, MASTER_PLACES, SUPERVISOR_PLACES
from tests.faults.load import Client, Wish
from tests.faults.scene import Scene
from tests.fleet import ROOT, Fleet, Program
from tests.support import until
from tests.witness import Witness

SCHEDULES = "/api/v1/schedules"
PLAY = Play(lines=2000, work_s=0.1)
DIED = -signal.SIGKILL
RUNS_OF_PLACE = {  # what becomes of a run whose supervisor, or script, dies there
    "fork": "FAILED",  # the runner dies: nothing was started, and that can be proven
    "mark-made": "UNKNOWN",  # for all that anybody knows it has started something
    "cgroup": "UNKNOWN",
    "before-exec": "FAILED",  # of a script that is killed the end is known
    "exited": "UNKNOWN",
    "exit-written": "SUCCEED",
}

FIRED = "fired"  # of a master: a schedule's task is committed, and nobody has been told

MakeScene = Callable[[list[str]], Scene]


@pytest.fixture
def make_scene(tmp_path: Path) -> Iterator[MakeScene]:
    with ExitStack() as stack:

        def make(names: list[str]) -> Scene:
            fleet = stack.enter_context(BreakableFleet(tmp_path, names))
            return stack.enter_context(Scene(fleet))

        yield make


def arm(program: Program, place: str, hit: int = 1) -> None:
    program.restart(MSCHEDULE_FAILPOINTS=f"{place}=kill:{hit}")


def died_and_again(program: Program) -> None:
    """It has come to its place. The next process is a sound one."""
    assert program.wait(60) == DIED
    program.start()


@contextmanager
def submitting(client: Client, wish: Wish) -> Iterator[None]:
    """Somebody repeats a submission until it is accepted, which may take another master."""
    with ThreadPoolExecutor(1) as thread:
        submission = thread.submit(client.submit, wish)
        yield
        submission.result()


def states(scene: Scene, task: TaskSeen) -> dict[str, str]:
    names = {id: name for name, id in scene.ids.items()}
    return {names[run.agent]: run.state for run in task.runs}


def test_every_place_is_tried():
    found = set()
    for file in ROOT.glob("*/*.py"):
        found |= set(re.findall(r'\bfailpoint\("([\w-]+)"\)', file.read_text()))

    here = {*MASTER_PLACES, *AGENT_PLACES, *SUPERVISOR_PLACES, "before-exec", FIRED}
    tests = [file.read_text() for file in ROOT.glob("tests/*/test_*.py")]
    elsewhere = "".join(text for text in tests if "MSCHEDULE_FAILPOINTS" in text)
    assert here <= found
    assert {place for place in found - here if f'"{place}"' not in elsewhere} == set()
    assert {*RUNS_OF_PLACE} == {*SUPERVISOR_PLACES, "before-exec"}


def test_a_program_that_dies_at_any_place_loses_nothing_and_starts_nothing_twice(
    make_scene: MakeScene,
):
    # Given a host for each place of an agent, and one more
    places = {f"web{number:02}": place for number, place in enumerate(AGENT_PLACES, 1)}
    scene = make_scene([*places, "db1"])
    fleet = scene.fleet
    with scene.client() as client:
        # When each agent dies there
        for name, place in places.items():
            arm(fleet.agents[name], place)
        until(fleet.is_up, 60)
        client.submit(Wish(PLAY, [*places, "db1"], 0))
        for name in places:
            died_and_again(fleet.agents[name])

        # And the master at each of its own, while a window moves over the hosts
        for place in MASTER_PLACES:
            arm(fleet.master, place)
            with submitting(client, Wish(PLAY, [*places, "db1"], 3)):
                died_and_again(fleet.master)

        # And all of them together
        for name, place in places.items():
            arm(fleet.agents[name], place)
        arm(fleet.master, "finished")
        with submitting(client, Wish(PLAY, [*places, "db1"], 0)):
            died_and_again(fleet.master)
            for name in places:
                died_and_again(fleet.agents[name])

        # Then every run comes to its own end, once
        until(fleet.is_up, 60)
        history = scene.collect(float("inf"))
    assert check(history) == []
    assert {run.state for task in history.tasks for run in task.runs} == {"SUCCEED"}


def test_what_became_of_a_run_is_told_truly_wherever_its_supervisor_dies(make_scene: MakeScene):
    places = {f"web{number:02}": place for number, place in enumerate(RUNS_OF_PLACE, 1)}
    scene = make_scene([*places])
    with scene.client() as client, ExitStack() as armed:
        for name, place in places.items():
            armed.enter_context(scene.injector.supervisors_dying_at(name, place))
        until(scene.fleet.is_up, 60)
        order = client.submit(Wish(PLAY, [*places], 0))
        scene.fleet.api.finished(order.task, 60)

    history = scene.collect(float("inf"))

    assert check(history) == []
    assert states(scene, history.tasks[0]) == {
        name: RUNS_OF_PLACE[place] for name, place in places.items()
    }


def test_a_firing_is_neither_lost_nor_repeated_when_its_master_dies_of_it(tmp_path: Path):
    # Given a schedule of a task a second, and a master that dies as soon as it has fired
    witness = Witness(tmp_path / "witness")
    with Fleet(tmp_path, ["web01"]) as fleet:
        arm(fleet.master, FIRED)
        until(fleet.is_up, 60)
        task = {"script": witness.say("fired"), "targets": "@*"}
        # Not at once: it is told that it was made before its master dies of it.
        start = datetime.now(UTC) + timedelta(seconds=4)
        every_second = {"kind": "every", "every": 1, "start": start.isoformat(timespec="seconds")}
        body = {"name": "each", "when": every_second, "task": task, "overlap": "allow"}
        answer = fleet.api.call("POST", SCHEDULES, body | {"misfire": "each"})
        assert answer.status == 201, answer
        path = f"{SCHEDULES}/{answer.json['id']}"

        # When that happens, twice, and a sound one comes after
        assert fleet.master.wait(60) == DIED
        fleet.master.start(MSCHEDULE_FAILPOINTS=f"{FIRED}=kill:2")
        died_and_again(fleet.master)
        until(fleet.is_up, 60)
        witness.wait_for("fired", 3)
        until(lambda: fleet.api.call("POST", f"{path}/pause").status == 200, 60)

        # Then each due second has one firing, each firing one task, and each task ran once
        firings = fleet.api.items(f"{path}/firings", limit=1000)
        due = sorted(datetime.fromisoformat(firing["due_at"]).timestamp() for firing in firings)
        assert due == [due[0] + second for second in range(len(due))]
        assert {firing["state"] for firing in firings} == {"fired"}
        tasks = [firing["task"] for firing in firings]
        assert {fleet.api.finished(id)["state"] for id in tasks} == {"SUCCEED"}
        runs = [fleet.api.run(id)["id"] for id in tasks]
        assert sorted(line.run for line in witness.lines("fired")) == sorted(runs)
