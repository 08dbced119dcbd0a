"""What becomes of work when a disk is full, the master's or that of a host?"""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.breakable import BreakableFleet
from tests.faults.checker import check
from tests.faults.history import Play, read_said
from tests.faults.load import Wish
from tests.faults.scene import Scene
from tests.fleet import Answer
from tests.support import until
from tests.witness import Witness

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to mount small disks")

MakeScene = Callable[[str], Scene]


@pytest.fixture
def make_scene(tmp_path: Path) -> Iterator[MakeScene]:
    with ExitStack() as stack:

        def make(small: str) -> Scene:
            fleet = BreakableFleet(tmp_path, ["web01", "db1"], small=[small])
            return stack.enter_context(Scene(stack.enter_context(fleet)))

        yield make


def try_to_submit(scene: Scene, **fields: Any) -> Answer:
    body = {"script": "true\n" * 2000, "targets": "web01", **fields}
    key = {"Idempotency-Key": uuid.uuid4().hex}
    return scene.fleet.api.call("POST", "/api/v1/tasks", body, key)


def test_a_master_without_room_refuses_new_tasks_and_goes_on_with_the_rest(make_scene: MakeScene):
    # Given a script that runs
    scene = make_scene("master")
    with scene.client() as client:
        order = client.submit(Wish(Play(work_s=1, lines=20_000), ["web01"]))
        until(lambda: read_said(scene.folder))

        # When the master's disk is full
        with scene.fleet.full_disk("master"):
            until(lambda: try_to_submit(scene).status == 507, 60, "a refusal")
            before = len(scene.fleet.api.items("/api/v1/tasks"))
            answer = try_to_submit(scene)

            # Then new tasks are refused, in words, and not half accepted; all can be read
            assert (answer.status, answer.json["error"]["code"]) == (507, "store_full")
            assert len(scene.fleet.api.items("/api/v1/tasks")) == before
            assert scene.fleet.api.task(order.task)["id"] == order.task
            until(lambda: any(said.what == "end" for said in read_said(scene.folder)))

        # And with room again it heals by itself, and the result arrives
        client.submit(Wish(Play(), ["web01", "db1"], 0))
        assert check(scene.collect(float("inf"))) == []
    assert scene.fleet.master.running


def test_a_host_without_room_takes_no_runs_until_it_has_some(make_scene: MakeScene):
    scene = make_scene("web01")
    with scene.client() as client:
        with scene.fleet.full_disk("web01"):
            waiting = client.submit(Wish(Play(), ["web01", "db1"], 0))
            until(lambda: scene.fleet.api.run(waiting.task, "db1")["state"] == "SUCCEED", 60)
            state = scene.fleet.api.run(waiting.task, "web01")["state"]
            assert state in ("WAITING", "RUNNING", "FAILED")  # it may have been handed out before

        client.submit(Wish(Play(), ["web01"]))
        history = scene.collect(float("inf"))

    assert {task.state for task in history.tasks} <= {"SUCCEED", "FAILED"}
    assert history.tasks[-1].state == "SUCCEED"
    assert scene.fleet.agents["web01"].running


def test_output_for_which_a_host_has_no_room_is_marked_as_missing(
    make_scene: MakeScene, tmp_path: Path
):
    # Given a script that has said nothing yet
    scene = make_scene("web01")
    api = scene.fleet.api
    witness = Witness(tmp_path / "gates")
    task = api.submit(f"{witness.play()}\nseq 1000\n{witness.say('written')}\nexit 6", "web01")
    witness.wait_for("start", 1)

    # When its output finds a full disk
    with scene.fleet.full_disk("web01"):
        witness.open()
        witness.wait_for("written", 1)
        api.finished(task)

    # Then its exit code is true, all of its output is a gap, and the host is done with it
    run = until(lambda: with_gap(api.run(task)), 60, "the gap")
    assert (run["state"], run["code"], run["output_gap"]) == ("FAILED", 6, [0, run["output_bytes"]])
    assert run["output_bytes"] == len("".join(f"{number}\n" for number in range(1, 1001)))
    runs = scene.fleet.agents["web01"].state_dir / "runs"
    until(lambda: not any(runs.glob("*.*/")), 60, "a host that has let go of the run")


def with_gap(run: dict[str, Any]) -> dict[str, Any] | None:
    return run if run["output_gap"] else None


def test_a_record_of_the_journal_that_was_torn_is_dropped_and_nothing_else(make_scene: MakeScene):
    scene = make_scene("db1")
    agent = scene.fleet.agents["web01"]
    with scene.client() as client:
        # Given a run under way, and another that has ended
        client.submit(Wish(Play(work_s=2, lines=500), ["web01"]))
        client.submit(Wish(Play(), ["web01"]))
        until(lambda: any(said.what == "end" for said in read_said(scene.folder)))

        # When the host's last write was cut short
        with scene.injector.torn_journal("web01"):
            pass

        until(scene.fleet.is_up, 60)
        client.submit(Wish(Play(), ["web01"]))
        history = scene.collect(float("inf"))
    assert "never finished" in agent.log
    assert check(history) == []
    assert {task.state for task in history.tasks} == {"SUCCEED"}
