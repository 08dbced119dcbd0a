"""Does an old copy of the store start nothing again, and what becomes of what it does not know?"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fleet import Api, Fleet
from tests.support import alive, until
from tests.witness import Witness

MakeFleet = Callable[..., Fleet]


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


class Backup:
    """A copy of the store, made and put back while no master runs, as an operator would."""

    def __init__(self, fleet: Fleet, folder: Path):
        self.fleet = fleet
        self.folder = folder
        fleet.master.terminate()
        folder.mkdir()
        for file in self._files(fleet.master.state_dir):
            shutil.copy2(file, folder)
        self._start_master()

    def put_back(self) -> None:
        self.fleet.master.terminate()
        for file in self._files(self.fleet.master.state_dir):
            file.unlink()
        for file in self._files(self.folder):
            shutil.copy2(file, self.fleet.master.state_dir)
        self._start_master()

    def _start_master(self) -> None:
        self.fleet.master.start()
        self.fleet.master.port()
        until(lambda: is_served(self.fleet.api), 90, "an API that works again")

    @staticmethod
    def _files(folder: Path) -> list[Path]:
        return list(folder.glob("store.sqlite*"))


def is_served(api: Api) -> bool:
    return api.call("GET", "/api/v1/agents").status == 200


def hold_of(api: Api, task: str) -> bool:
    """Does a run of the task wait because hand-outs are held?"""
    return any("hand-outs are held" in run["reason"] for run in api.runs(task, state="WAITING"))


def release(api: Api) -> None:
    for _ in range(2):  # repeating it is harmless
        assert api.call("POST", "/api/v1/handouts/release").status == 200


def test_what_has_run_since_the_backup_is_settled_and_not_started_again(
    make_fleet: MakeFleet, witness: Witness, tmp_path: Path
):
    # Given a backup in which one run waits and another is under way
    fleet = make_fleet(["web01", "web02"], slots=1)
    api = fleet.api
    first = api.submit(witness.play("exit 3", gate="first"), "web01")
    second = api.submit(witness.play("exit 4", gate="second"), "web01")
    witness.wait_for("start", 1)
    backup = Backup(fleet, tmp_path / "backup")

    # When both have run, and a third of which the backup knows nothing, and it is put back
    witness.open(gate="first")
    witness.open(gate="second")
    for task in (first, second):
        assert api.finished(task)["counts"]["FAILED"] == 1
    third = api.submit(witness.say("third"), "web01")
    assert api.finished(third)["state"] == "SUCCEED"
    backup.put_back()

    # Then the agent tells how they ended, and starts none of them
    assert api.finished(first)["counts"]["FAILED"] == 1
    assert api.finished(second)["counts"]["FAILED"] == 1
    assert [api.run(first)["code"], api.run(second)["code"]] == [3, 4]
    assert api.call("GET", f"/api/v1/tasks/{third}").status == 404
    assert (witness.count("start"), witness.count("third")) == (2, 1)


def test_hand_outs_to_all_wait_for_an_operator(
    make_fleet: MakeFleet, witness: Witness, tmp_path: Path
):
    fleet = make_fleet(["web01", "web02"])
    api = fleet.api
    backup = Backup(fleet, tmp_path / "backup")
    assert api.finished(api.submit(witness.say("lost"), "web01"))["state"] == "SUCCEED"
    backup.put_back()
    probe = api.submit("true", "web01")
    until(lambda: hold_of(api, probe), 90, "the hold")

    # Given a store that is known to be older than an agent, nothing starts anywhere
    task = api.submit(witness.say("start"), "@*", parallel=0)
    until(lambda: hold_of(api, task), 90, "the hold")
    api.cancel(task, api.run(task, "web02")["id"])
    held = api.submit(witness.say("start"), "web02")
    until(lambda: hold_of(api, held), 90, "the hold")
    assert witness.count() == 0

    # Nor after another restart of the master
    fleet.master.restart()
    fleet.master.port()
    until(fleet.is_up, 60)
    assert hold_of(api, task)
    assert hold_of(api, held)
    assert witness.count() == 0

    # Until somebody has looked and says so
    release(api)
    assert api.finished(held)["state"] == "SUCCEED"
    assert api.finished(task)["counts"]["SUCCEED"] == 1
    assert (witness.count(), witness.count("lost")) == (2, 1)


def test_a_script_that_the_old_store_never_handed_out_is_left_to_finish(
    make_fleet: MakeFleet, witness: Witness, tmp_path: Path
):
    # Given a task that waits in the backup, and another that it does not know; both run
    fleet = make_fleet(slots=2)
    api = fleet.api
    fleet.agents["web01"].kill()
    until(lambda: [agent["state"] for agent in api.agents()] == ["offline"], 90, "its absence")
    waiting = api.submit(witness.play("exit 5"), "web01")
    backup = Backup(fleet, tmp_path / "backup")
    fleet.agents["web01"].start()
    until(fleet.is_up, 60)
    stray = api.submit(witness.play(), "web01")
    started = witness.wait_for("start", 2)

    # When the old store is put back
    backup.put_back()

    # Then neither is killed or started again; what the store knows gets its result
    assert api.call("GET", f"/api/v1/tasks/{stray}").status == 404
    assert all(alive(line.pid) for line in started)
    witness.open()
    until(lambda: api.run(waiting)["state"] == "FAILED", 90, "the result")
    assert api.run(waiting)["code"] == 5
    witness.wait_for("end", 2)
    release(api)
    after = api.submit(witness.say("after"), "web01")
    assert api.finished(after)["state"] == "SUCCEED"
    assert (witness.count("start"), witness.count("end")) == (2, 2)
