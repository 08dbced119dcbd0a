"""What if a program can have no more descriptors, memory or processes, or its store is locked?

What can't be done is refused or put off, in words; and as soon as there is enough again all goes
on by itself.
"""

import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.faults.breakable import BreakableFleet
from tests.faults.checker import check
from tests.faults.history import Play, read_said
from tests.faults.injector import limited
from tests.faults.load import Wish
from tests.faults.scene import Scene
from tests.fleet import Program
from tests.support import until

LOCKED_S = 4.0  # twice what the engine waits

MakeScene = Callable[[], Scene]


@pytest.fixture
def make_scene(tmp_path: Path) -> Iterator[MakeScene]:
    with ExitStack() as stack:

        def make() -> Scene:
            fleet = stack.enter_context(BreakableFleet(tmp_path, ["web01", "db1"]))
            return stack.enter_context(Scene(fleet))

        yield make


def is_up_again(scene: Scene, agent: Program) -> bool:
    if not agent.running:
        agent.start()
    return scene.fleet.is_up()


def no_memory(pid: int) -> AbstractContextManager[None]:
    """It may not grow by more than some pages."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    return limited(pid, resource.RLIMIT_AS, pages * resource.getpagesize() + (64 << 10))


def test_an_agent_without_descriptors_goes_on_once_it_has_some(make_scene: MakeScene):
    scene = make_scene()
    agent = scene.fleet.agents["web01"]
    with scene.client() as client:
        # Given a run that is under way
        client.submit(Wish(Play(work_s=1, lines=500), ["web01"]))
        until(lambda: read_said(scene.folder))

        # When the agent can open nothing, and has to connect anew
        with scene.injector.no_descriptors(agent):
            client.submit(Wish(Play(), ["web01", "db1"], 0))
            until(lambda: any(said.what == "end" for said in read_said(scene.folder)))
            scene.fleet.master.restart()
            scene.fleet.master.port()
            client.submit(Wish(Play(), ["db1"]))

        # Then it goes on, with the same process, whatever it needs next
        until(scene.fleet.is_up, 60)
        scene.fleet.master.restart()
        until(scene.fleet.is_up, 60)
        client.submit(Wish(Play(), ["web01", "db1"], 0))
        history = scene.collect(float("inf"))
    assert check(history) == []
    assert history.tasks[-1].state == "SUCCEED"
    assert agent.running


def test_a_host_without_processes_says_so_and_starts_nothing(make_scene: MakeScene):
    scene = make_scene()
    agent = scene.fleet.agents["web01"]
    with scene.client() as client:
        # Given a host whose fork fails
        agent.restart(MSCHEDULE_FAILPOINTS="fork=raise")
        until(scene.fleet.is_up, 60)
        with scene.injector.scarce("web01"):
            order = client.submit(Wish(Play(), ["web01", "db1"], 0))
            scene.fleet.api.finished(order.task)
        runs = {run["hostname"]: run for run in scene.fleet.api.runs(order.task)}
        assert (runs["web01"]["state"], runs["web01"]["code"]) == ("FAILED", None)
        assert "no room for another process" in runs["web01"]["reason"]

        # When it has processes again
        agent.restart()
        until(scene.fleet.is_up, 60)
        client.submit(Wish(Play(), ["web01"]))
        history = scene.collect(float("inf"))
    assert check(history) == []
    assert history.tasks[-1].state == "SUCCEED"


@pytest.mark.parametrize("who", ["agent", "runner"])
def test_a_host_without_memory_goes_on_once_it_has_some(make_scene: MakeScene, who: str):
    scene = make_scene()
    agent = scene.fleet.agents["web01"]
    pid = agent.pid if who == "agent" else scene.fleet.runner_pids("web01")[0]
    with scene.client() as client:
        client.submit(Wish(Play(work_s=1, lines=500), ["web01"]))
        until(lambda: read_said(scene.folder))

        # When it gets no memory, and is to take a large script and connect anew
        with scene.injector.scarce("web01", "supervisor"), no_memory(pid):
            order = client.submit(Wish(Play(lines=30_000), ["web01", "db1"], 0))
            until(lambda: scene.fleet.api.run(order.task, "db1")["state"] == "SUCCEED", 60)
            scene.fleet.master.restart()
            scene.fleet.master.port()
            client.submit(Wish(Play(), ["db1"]))

        # Then it goes on, perhaps as another process that a service manager has started
        until(lambda: is_up_again(scene, agent), 60)
        client.submit(Wish(Play(), ["web01", "db1"], 0))
        history = scene.collect(float("inf"))
    assert check(history) == []
    assert history.tasks[-1].state == "SUCCEED"


def test_a_master_without_descriptors_serves_who_is_there_and_heals(make_scene: MakeScene):
    scene = make_scene()
    fleet = scene.fleet
    with scene.client() as client:
        # Given a master that can open nothing more
        with scene.injector.no_descriptors(fleet.master):
            client.submit(Wish(Play(lines=500), ["web01", "db1"], 0))
            assert fleet.api.call("GET", "/api/v1/tasks").status == 200
            fleet.agents["db1"].restart()
            until(lambda: fleet.api.agents(), 60)

        # When it can, then who was turned away comes in
        until(fleet.is_up, 60)
        client.submit(Wish(Play(), ["web01", "db1"], 0))
        history = scene.collect(float("inf"))
    assert check(history) == []
    assert {task.state for task in history.tasks} == {"SUCCEED"}


def test_a_store_that_is_locked_delays_and_loses_nothing(make_scene: MakeScene):
    scene = make_scene()
    fleet = scene.fleet
    with scene.client() as client:
        client.submit(Wish(Play(work_s=0.2, lines=500), ["web01", "db1"], 0))
        until(lambda: read_said(scene.folder))

        # When somebody holds the lock for longer than the engine waits by itself
        with ThreadPoolExecutor(1) as thread, scene.injector.locked_store():
            later = thread.submit(client.submit, Wish(Play(), ["web01", "db1"], 0))
            until(lambda: sum(said.what == "end" for said in read_said(scene.folder)) == 2)
            assert fleet.api.call("GET", "/api/v1/tasks").status == 200  # reads go on
            with pytest.raises(TimeoutError):
                later.result(LOCKED_S)

        # Then all that waited is done, once
        history = scene.collect(float("inf"))
    assert check(history) == []
    assert {task.state for task in history.tasks} == {"SUCCEED"}
