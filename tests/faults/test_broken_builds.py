"""Does the checker hear of it when a promise is broken? Real programs, each with one mistake."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.breakable import BreakableFleet
from tests.faults.broken import BREACHES
from tests.faults.checker import Violation, check
from tests.faults.history import Play, read_said
from tests.faults.load import Wish
from tests.faults.scene import Scene
from tests.support import until

BROKEN = str(Path(__file__).with_name("broken.py"))
CALM_S = 4.0  # what is lost does not come, however long one waits,
PATIENCE_S = 60.0  # and what is not lost does, also on a busy machine

MakeScene = Callable[..., Scene]


@pytest.fixture
def make_scene(tmp_path: Path) -> Iterator[MakeScene]:
    """A scene whose programs start through broken.py, sound until they are started with BROKEN."""
    with ExitStack() as stack:

        def make(*names: str) -> Scene:
            launcher = {"app.py": BROKEN, "appserver.py": BROKEN}
            fleet = BreakableFleet(tmp_path, names or ("web01",), launcher=launcher)
            return stack.enter_context(Scene(stack.enter_context(fleet)))

        yield make


def judged(scene: Scene, breach: str) -> list[Violation]:
    until(scene.fleet.is_up, 60)
    return check(scene.collect(time.monotonic() + (CALM_S if breach else PATIENCE_S)))


def rules(violations: list[Violation]) -> set[str]:
    return {violation.rule for violation in violations}


def said(scene: Scene, what: str) -> int:
    """How often scripts said it."""
    return sum(line.what == what for line in read_said(scene.folder))


def submit(scene: Scene, wish: Wish) -> None:
    with scene.client() as client:
        client.submit(wish)


def scenario_of_the_journal(scene: Scene, breach: str) -> list[Violation]:
    """The agent is killed while its run is under way, and comes back when it is over."""
    agent = scene.fleet.agents["web01"]
    agent.restart(BROKEN=breach)
    until(scene.fleet.is_up, 60)
    submit(scene, Wish(Play(work_s=0.5), ["web01"]))
    until(lambda: said(scene, "start"))
    agent.kill()
    until(lambda: said(scene, "end"))
    agent.start(BROKEN=breach)
    return judged(scene, breach)


def scenario_of_the_start(scene: Scene, breach: str) -> list[Violation]:
    """The agent is killed once it has started a script."""
    agent = scene.fleet.agents["web01"]
    agent.restart(BROKEN=breach, MSCHEDULE_FAILPOINTS="between=kill")
    until(scene.fleet.is_up, 60)
    submit(scene, Wish(Play(), ["web01"]))
    if breach:
        assert agent.wait(60) == -signal.SIGKILL
        agent.start()
        until(lambda: said(scene, "start") > 1, PATIENCE_S)
    return judged(scene, breach)


def scenario_of_results(scene: Scene, breach: str) -> list[Violation]:
    scene.fleet.master.restart(BROKEN=breach)
    until(scene.fleet.is_up, 60)
    submit(scene, Wish(Play(), ["web01"]))
    if breach:
        until(lambda: said(scene, "start") > 1, PATIENCE_S)
    return judged(scene, breach)


def scenario_of_the_commit(scene: Scene, breach: str) -> list[Violation]:
    """The master is killed once it has accepted a task."""
    scene.fleet.master.restart(BROKEN=breach)
    until(scene.fleet.is_up, 60)
    submit(scene, Wish(Play(), ["web01"]))
    scene.fleet.master.kill()
    scene.fleet.master.start()
    return judged(scene, breach)


def scenario_of_the_window(scene: Scene, breach: str) -> list[Violation]:
    scene.fleet.master.restart(BROKEN=breach)
    until(scene.fleet.is_up, 60)
    submit(scene, Wish(Play(work_s=2), ["web01", "web02", "db1"], parallel=1))
    if breach:
        until(lambda: said(scene, "start") > 1, PATIENCE_S)
    return judged(scene, breach)


# What the checker may say of it: one suffices.
SCENARIOS = {
    # Handed out again, if the agent was killed before it had told that it has the run.
    "skip_the_journal": (
        scenario_of_the_journal,
        {"nothing_waits_for_ever", "verdicts_are_true", "started_at_most_once"},
    ),
    "start_before_the_journal": (scenario_of_the_start, {"started_at_most_once"}),
    "hand_out_twice": (scenario_of_results, {"started_at_most_once"}),
    "acknowledge_before_commit": (scenario_of_the_commit, {"accepted_means_present"}),
    "forget_the_window": (scenario_of_the_window, {"parallel_is_kept"}),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_the_checker_hears_of_a_build_that_would(make_scene: MakeScene, breach: str):
    scenario, expected = SCENARIOS[breach]

    assert expected & rules(scenario(make_scene("web01", "web02", "db1"), breach))


@pytest.mark.parametrize("breach", BREACHES)
def test_the_checker_has_no_complaint_when_the_build_is_sound(make_scene: MakeScene, breach: str):
    scenario, _ = SCENARIOS[breach]

    assert scenario(make_scene("web01", "web02", "db1"), "") == []
