"""Do runs, timeouts and heartbeats mind when somebody sets the clock by an hour?"""

import time
from pathlib import Path

import pytest

from tests.faults.breakable import FAKETIME, BreakableFleet
from tests.faults.checker import check
from tests.faults.history import Play, read_said
from tests.faults.load import Wish
from tests.faults.scene import Scene
from tests.support import until

pytestmark = pytest.mark.skipif(FAKETIME is None, reason="takes the package faketime")

HOUR_S = 3600.0


@pytest.mark.parametrize("by_s", [-HOUR_S, HOUR_S], ids=["back", "forth"])
def test_a_step_of_the_clock_ends_nothing_and_loses_nobody(tmp_path: Path, by_s: float):
    with (
        BreakableFleet(tmp_path, ["web01", "db1"], stepped=["master", "web01"]) as fleet,
        Scene(fleet) as scene,
        scene.client() as client,
    ):
        # Given a run with time to spare, one that hangs, and one that waits for a place
        client.submit(Wish(Play(work_s=4), ["web01"], timeout_s=30, lost_after_s=30))
        client.submit(Wish(Play(hangs=True), ["web01"], timeout_s=5))
        client.submit(Wish(Play(work_s=2), ["web01", "db1"], parallel=1, timeout_s=30))
        until(lambda: len(read_said(scene.folder)) >= 3)

        # When the clock of the master jumps, and that of a host the other way
        fleet.step_clock("master", by_s)
        fleet.step_clock("web01", -by_s)

        # Then nothing is judged by it, and nobody is lost
        history = scene.collect(time.monotonic() + 60)
        assert check(history) == []
        states = [run.state for task in history.tasks for run in task.runs]
        assert states == ["SUCCEED", "TIMEOUT", "SUCCEED", "SUCCEED"]
        assert {agent["state"] for agent in fleet.api.agents()} == {"online"}

        # But the skews are shown, those of both hosts
        until(lambda: is_skewed(fleet, "web01", -2 * by_s), 60, "the skew of a host")
        until(lambda: is_skewed(fleet, "db1", -by_s), 60, "the skew of the master")


def is_skewed(fleet: BreakableFleet, name: str, by_s: float) -> bool:
    (told,) = (a["clock_skew"] for a in fleet.api.agents() if a["hostname"] == name)
    return told is not None and abs(told - by_s) < 60
