"""Does a whole fleet come back at once when its master is killed, and is nobody turned away?

A thousand simulated agents, each with a connection, keys and messages of its own. How long it
takes is measured by benchmarks/swarm.py.
"""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.swarm import Swarm
from tests.fleet import Fleet
from tests.support import until

HERD = 1000


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    """As a service of this size is given; the programs inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def run_on_all(fleet: Fleet, swarm: Swarm) -> None:
    task = fleet.api.finished(fleet.api.submit("echo hello", "sim*", parallel=0), 180)
    assert (task["state"], task["counts"]["SUCCEED"]) == ("SUCCEED", HERD)


def online(fleet: Fleet) -> int:
    return sum(agent["state"] == "online" for agent in fleet.api.agents())


def all_registered(swarm: Swarm) -> bool:
    return swarm.total("registered") >= HERD


def test_a_thousand_agents_come_back_to_a_master_that_was_killed(tmp_path: Path):
    with Fleet(tmp_path, [], heartbeat_s=5) as fleet:
        swarm = Swarm(fleet.join_string("agent"), HERD)
        try:
            # Given a fleet that is at work
            swarm.tell("connect")
            until(lambda: all_registered(swarm), 180, "a fleet")
            run_on_all(fleet, swarm)

            # When its master is killed
            fleet.master.kill()
            fleet.master.start()
            swarm.tell("lost")

            # Then all are back, and have work again
            until(lambda: all_registered(swarm), 180, "all to be back")
            run_on_all(fleet, swarm)
            assert swarm.total("granted_twice") == 0
            until(lambda: swarm.total("results") >= 2 * HERD, what="all results to be acknowledged")
            assert swarm.total("results") == 2 * HERD
            until(lambda: online(fleet) == HERD, what="all to be online")
        finally:
            swarm.end()
