"""What becomes of runs when the network of their host is cut, one way or both, bad, or another?

Each host has a network namespace and a cable of our own. Nothing says goodbye on it: what the
cable drops is gone, as behind a firewall that has forgotten the connection.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.breakable import BreakableFleet
from tests.faults.cable import CUT, FINE, Weather, may_be_laid
from tests.faults.checker import check
from tests.faults.history import Play, read_said
from tests.faults.injector import WEATHERS
from tests.faults.load import Wish
from tests.faults.scene import Scene
from tests.support import until
from tests.witness import Witness

pytestmark = pytest.mark.skipif(not may_be_laid(), reason="takes root and /dev/net/tun")

CUTS = [kind for kind in WEATHERS if kind.startswith("cut")]
BAD = [kind for kind in WEATHERS if kind not in CUTS]

MakeFleet = Callable[[list[str]], BreakableFleet]


@pytest.fixture
def make_fleet(tmp_path: Path) -> Iterator[MakeFleet]:
    """A fleet of hosts with a cable each, and db1, which has none."""
    with ExitStack() as stack:

        def make(cabled: list[str]) -> BreakableFleet:
            fleet = BreakableFleet(tmp_path, [*cabled, "db1"], cabled=cabled)
            return stack.enter_context(fleet)

        yield make


def offline(fleet: BreakableFleet) -> set[str]:
    return {agent["hostname"] for agent in fleet.api.agents() if agent["state"] == "offline"}


def test_what_runs_behind_a_cut_is_heard_of_when_it_is_over(make_fleet: MakeFleet):
    # Given hosts whose networks are cut in every way while they run something
    kinds = dict(zip(["web01", "web02", "web03"], CUTS, strict=True))
    fleet = make_fleet([*kinds])
    with Scene(fleet) as scene, scene.client() as client:
        client.submit(Wish(Play(work_s=0.5, lines=3000), [*kinds, "db1"], 0))
        until(lambda: len(read_said(scene.folder)) >= 4)
        for name, kind in kinds.items():
            fleet.cables[name].weather = WEATHERS[kind]
        until(lambda: offline(fleet) == {*kinds}, 60, "their absence")

        # When one more run waits for each of them, and the cut is over
        later = client.submit(Wish(Play(), [*kinds], 0))
        assert {run["state"] for run in fleet.api.runs(later.task)} == {"WAITING"}
        for name in kinds:
            fleet.cables[name].weather = FINE

        # Then all come to their end, and nothing is wrong
        until(lambda: fleet.api.task(later.task)["state"] == "SUCCEED", 60, "the end")
        assert check(scene.collect(float("inf"))) == []


def test_work_goes_on_over_a_bad_network(make_fleet: MakeFleet):
    kinds = dict(zip(["web01", "web02", "web03"], BAD, strict=True))
    fleet = make_fleet([*kinds])
    with Scene(fleet) as scene, scene.client() as client:
        for name, kind in kinds.items():
            fleet.cables[name].weather = WEATHERS[kind]
        for number in range(4):
            client.submit(Wish(Play(lines=10**number), [*kinds, "db1"], 0))

        history = scene.collect(float("inf"))

        assert check(history) == []
        assert {task.state for task in history.tasks} == {"SUCCEED"}


def test_an_agent_that_gets_another_address_goes_on(make_fleet: MakeFleet, tmp_path: Path):
    # Given runs that end one after the other while nothing gets through, so that polls pile up
    # on a connection that will never carry an answer
    fleet = make_fleet(["web01"])
    witness = Witness(tmp_path / "said")
    tasks = [fleet.api.submit(witness.play(gate=f"go{n}"), "web01") for n in range(4)]
    witness.wait_for("start", 4)
    cable = fleet.cables["web01"]
    cable.weather = CUT
    for number in range(4):
        witness.open(gate=f"go{number}")
        witness.wait_for("end", number + 1)

    # When the host comes back under another address
    cable.change_address()
    cable.weather = FINE

    # Then it needs a new connection, but not the end of the old polls
    for task in tasks:
        assert fleet.api.finished(task)["state"] == "SUCCEED"
    after = fleet.api.submit(witness.say("after"), "web01")
    assert fleet.api.finished(after)["state"] == "SUCCEED"
    until(lambda: fleet.api.agents()[0]["ip"] != [], 60)
    assert (witness.count("start"), witness.count("end")) == (4, 4)


def test_a_cancel_reaches_a_host_when_the_network_is_back(make_fleet: MakeFleet):
    fleet = make_fleet(["web01"])
    with Scene(fleet) as scene, scene.client() as client:
        order = client.submit(Wish(Play(hangs=True), ["web01"], timeout_s=600))
        until(lambda: read_said(scene.folder))
        cable = fleet.cables["web01"]
        cable.weather = Weather(drop_down=1)
        client.cancel(order.task)
        assert fleet.api.run(order.task)["state"] == "RUNNING"
        cable.weather = FINE

        history = scene.collect(float("inf"))

        assert [task.state for task in history.tasks] == ["CANCELLED"]
        assert check(history) == []
