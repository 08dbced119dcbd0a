"""What becomes of runs whose host reboots, and of all when programs stand still for a while?"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.breakable import BreakableFleet
from tests.faults.checker import check
from tests.faults.history import Play, read_said, uptime
from tests.faults.load import Wish
from tests.faults.scene import Scene
from tests.support import until

STILL_S = 3.0

MakeScene = Callable[[list[str]], Scene]


@pytest.fixture
def make_scene(tmp_path: Path) -> Iterator[MakeScene]:
    with ExitStack() as stack:

        def make(names: list[str]) -> Scene:
            fleet = stack.enter_context(BreakableFleet(tmp_path, names))
            return stack.enter_context(Scene(fleet))

        yield make


def said(scene: Scene, what: str) -> int:
    return sum(line.what == what for line in read_said(scene.folder))


def states(scene: Scene) -> dict[str, str]:
    return {agent["hostname"]: agent["state"] for agent in scene.fleet.api.agents()}


def test_a_run_whose_host_reboots_is_unknown_and_is_not_started_again(make_scene: MakeScene):
    # Given a run under way, and one that has just ended and was not told of
    scene = make_scene(["web01", "db1"])
    api = scene.fleet.api
    with scene.client() as client:
        lost = client.submit(Wish(Play(work_s=60), ["web01"]))
        until(lambda: said(scene, "start") == 1)

        # When the host goes down with all that runs on it, and comes back
        with scene.injector.rebooted("web01"):
            until(lambda: states(scene)["web01"] == "offline", 60, "its absence")
            assert api.run(lost.task)["state"] == "RUNNING"

        # Then nobody says more than is known, and the host works again
        until(lambda: api.run(lost.task)["state"] == "UNKNOWN", 60, "the verdict")
        assert "the host went down" in api.run(lost.task)["reason"]
        client.submit(Wish(Play(), ["web01"]))
        history = scene.collect(float("inf"))
    assert check(history) == []
    assert [task.state for task in history.tasks] == ["FAILED", "SUCCEED"]
    assert (said(scene, "start"), said(scene, "end")) == (2, 1)


def test_programs_that_stand_still_for_a_while_go_on_as_if_nothing_had_been(make_scene: MakeScene):
    # Given runs on hosts of which each has another part stopped
    hosts = ["web01", "web02", "web03", "web04"]
    scene = make_scene([*hosts, "db1"])
    fleet, injector = scene.fleet, scene.injector
    with scene.client() as client:
        client.submit(Wish(Play(work_s=1, lines=500), [*hosts, "db1"], 0, lost_after_s=600))
        until(lambda: said(scene, "start") == 5)
        with ExitStack() as stopped:
            stopped.enter_context(injector.stopped(fleet.agents["web01"]))
            for name, part in zip(hosts[1:], ["runner", "supervisor", "script"], strict=True):
                stopped.enter_context(injector.stopped_part(name, part))

            # When one of them is missed, and there is more to do for all
            until(lambda: states(scene)["web01"] == "offline", 60, "its absence")
            client.submit(Wish(Play(), [*hosts, "db1"], 0))

            # And then web and master stand still as well
            with injector.stopped(fleet.web), injector.stopped(fleet.master):
                over_at = uptime() + STILL_S
                until(lambda: uptime() > over_at)
        until(fleet.is_up, 60)
        client.submit(Wish(Play(), [*hosts, "db1"], 0))
        history = scene.collect(float("inf"))

    # Then every run has come to its own end
    assert check(history) == []
    assert {task.state for task in history.tasks} == {"SUCCEED"}
    assert all(program.running for program in fleet.programs)
