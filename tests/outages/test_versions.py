"""Do two releases work together, and is one replaced by the other under runs that go on?"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.releases import unpack_release
from tests.fleet import ROOT, Fleet, Program
from tests.support import until
from tests.witness import Witness
from wire.messages import PROTOCOL

OLDER, NEWER = "0.0.9", "99.0"

MakeFleet = Callable[..., Fleet]


@pytest.fixture
def make_fleet(tmp_path: Path) -> Iterator[MakeFleet]:
    """A fleet whose programs are those of this tree, but for some that another folder has."""
    with ExitStack() as stack:

        def make(agents: list[str], **others: Path) -> Fleet:
            return stack.enter_context(MixedFleet(tmp_path / "fleet", agents, others))

        yield make


class MixedFleet(Fleet):
    """`others`: the folder of the release that a program is of, by the program's name."""

    def __init__(self, root: Path, agents: list[str], others: dict[str, Path]):
        root.mkdir()
        self._others = others
        super().__init__(root, agents)

    def _program(self, name: str, script: str, arguments: Any) -> Program:
        program = super()._program(name, script, arguments)
        of_release(program, self._others.get(name, ROOT))
        return program


def of_release(program: Program, folder: Path) -> None:
    """From its next start on the program is that of this release."""
    program.arguments[0] = str(folder / Path(program.arguments[0]).name)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


def versions(fleet: Fleet) -> dict[str, str]:
    return {agent["hostname"]: agent["version"] for agent in fleet.api.agents()}


def assert_runs_everywhere(fleet: Fleet, witness: Witness) -> None:
    before = witness.count("both")
    task = fleet.api.submit(f"{witness.say('both')}\necho hello", "@*", parallel=0)
    assert fleet.api.finished(task)["state"] == "SUCCEED"
    for run in fleet.api.runs(task):
        assert fleet.api.output(task, run["id"]) == b"hello\n"
    assert witness.count("both") - before == len(fleet.agents)


def test_an_agent_of_an_older_release_serves_a_newer_master(
    make_fleet: MakeFleet, tmp_path: Path, witness: Witness
):
    older = unpack_release(tmp_path / "older", OLDER)

    fleet = make_fleet(["web01", "db1"], web01=older)

    assert versions(fleet)["web01"] == OLDER != versions(fleet)["db1"]
    assert_runs_everywhere(fleet, witness)


def test_an_agent_of_a_newer_release_serves_an_older_master(
    make_fleet: MakeFleet, tmp_path: Path, witness: Witness
):
    older = unpack_release(tmp_path / "older", OLDER)

    fleet = make_fleet(["web01"], master=older, web=older)

    assert f"with a master of version {OLDER}" in fleet.agents["web01"].log
    assert_runs_everywhere(fleet, witness)


def test_releases_that_do_not_understand_each_other_say_so_on_both_sides(
    make_fleet: MakeFleet, tmp_path: Path, witness: Witness
):
    # Given a script that runs on a host
    fleet = make_fleet(["web01", "db1"])
    agent = fleet.agents["web01"]
    task = fleet.api.submit(witness.play("echo done"), "web01")
    witness.wait_for("start", 1)

    # When its agent comes back with another protocol
    agent.terminate()
    of_release(agent, unpack_release(tmp_path / "newer", NEWER, protocol=PROTOCOL + 1))
    agent.start()

    # Then both name the two protocols
    speaks = f"protocol {PROTOCOL + 1}"
    until(lambda: "protocol mismatch" in agent.log and speaks in agent.log, 60)
    until(lambda: speaks in fleet.master.log and "web01" in fleet.master.log, 60)

    # And once the agent is a right one, the run's result arrives
    witness.open()
    witness.wait_for("end", 1)
    agent.terminate()
    of_release(agent, ROOT)
    agent.start()
    assert fleet.api.finished(task)["state"] == "SUCCEED"
    assert witness.count("start") == 1


def test_a_run_that_replaces_its_agent_and_restarts_it_is_told_of(
    make_fleet: MakeFleet, tmp_path: Path, witness: Witness
):
    # Given an agent that is installed in a folder, and a newer one beside it
    installed = unpack_release(tmp_path / "installed", OLDER)
    newer = unpack_release(tmp_path / "newer", NEWER)
    fleet = make_fleet(["web01"], web01=installed)
    agent = fleet.agents["web01"]
    assert versions(fleet) == {"web01": OLDER}

    # When a script puts the newer one in its place, and has the service restarted
    script = [
        witness.say("start"),
        "echo before",
        f"rm -r '{installed}' && cp -r '{newer}' '{installed}'",
        f"kill -TERM {agent.pid}",
        witness.wait(),
        "echo after",
        "exit 3",
    ]
    task = fleet.api.submit("\n".join(script), "web01")
    assert agent.wait(60) == 0
    agent.start()  # as systemd does
    until(lambda: versions(fleet) == {"web01": NEWER}, 60)
    assert fleet.api.run(task)["state"] == "RUNNING"
    witness.open()

    # Then its result arrives, with all of its output, and it ran once
    assert fleet.api.finished(task)["counts"]["FAILED"] == 1
    run = fleet.api.run(task)
    assert (run["code"], fleet.api.output(task, run["id"])) == (3, b"before\nafter\n")
    assert witness.count("start") == 1
    assert_runs_everywhere(fleet, witness)
