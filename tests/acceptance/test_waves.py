"""Do waves start one after the other, and wait when they are told to, whatever is killed?"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.fleet import Api, Fleet
from tests.support import until
from tests.witness import Witness

HOSTS = 5


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    names = [f"web{number:02}" for number in range(1, HOSTS + 1)]
    with Fleet(tmp_path_factory.mktemp("waves"), names) as started:
        yield started


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


def is_paused(api: Api, task: str) -> str | None:
    """The reason, once it is."""
    found = api.task(task)
    return str(found["reason"]) if found["state"] == "PAUSED" else None


def say(api: Api, task: str, word: str) -> None:
    assert api.call("POST", f"/api/v1/tasks/{task}/{word}").status == 200


def test_it_lets_no_run_of_a_wave_start_before_the_last_wave_is_over(api: Api, witness: Witness):
    task = api.submit(witness.play(), "@*", rolling="1 +1", parallel=0)
    for released in (1, 3, 5):
        witness.wait_for("start", released)
        assert witness.count() == released
        waiting = [run for run in api.runs(task) if run["state"] == "WAITING"]
        assert {run["reason"] for run in waiting} <= {"its wave has not begun"}
        for run in witness.present():
            witness.open(run)
        witness.wait_for("end", released)
    assert api.finished(task)["state"] == "SUCCEED"


def test_it_holds_parallel_within_a_wave(api: Api, witness: Witness):
    witness.open()
    task = api.submit(witness.play(), "@*", rolling="3 2", parallel=1)
    assert api.finished(task)["state"] == "SUCCEED"
    assert witness.most_at_once() == 1


def test_it_pauses_after_a_failure_and_goes_on_when_told(api: Api, witness: Witness):
    script = witness.say("start") + "\n" + witness.first_fail(1)
    task = api.submit(script, "@*", rolling="1", between_waves="pause_after_failure", fail_count=1)
    reason = until(lambda: is_paused(api, task), 60, "the pause after the failure")
    assert reason == "1 of wave 1 failed: waits for a person before wave 2 of 5"
    assert witness.count() == 1
    say(api, task, "resume")
    assert api.finished(task)["state"] == "SUCCEED"
    assert witness.count() == HOSTS


def test_a_pause_ends_by_itself(api: Api, witness: Witness):
    task = api.submit(witness.say("start"), "@*", rolling="4", wave_pause=0.5, parallel=0)
    assert api.finished(task)["state"] == "SUCCEED"
    assert witness.count() == HOSTS


def test_a_master_that_is_killed_in_a_pause_still_waits_for_a_person(
    api: Api, fleet: Fleet, witness: Witness
):
    task = api.submit(witness.say("start"), "@*", rolling="2 100%", between_waves="ask", parallel=0)
    until(lambda: is_paused(api, task), 60, "the pause between the waves")
    fleet.master.kill()
    fleet.master.start()
    until(fleet.is_up, 60, "the fleet")
    assert is_paused(api, task) == "waits for a person before wave 2 of 2"
    assert witness.count() == 2
    say(api, task, "resume")
    assert api.finished(task)["state"] == "SUCCEED"
    assert witness.count() == HOSTS


def test_a_master_that_is_killed_in_a_timed_pause_goes_on_with_it(
    api: Api, fleet: Fleet, witness: Witness
):
    task = api.submit(witness.say("start"), "@*", rolling="2 100%", wave_pause=2, parallel=0)
    until(lambda: is_paused(api, task), 60, "the pause between the waves")
    fleet.master.kill()
    fleet.master.start()
    until(fleet.is_up, 60, "the fleet")
    assert api.finished(task)["state"] == "SUCCEED"
    assert witness.count() == HOSTS


def test_what_is_left_can_be_stopped_or_changed_in_a_pause(api: Api, witness: Witness):
    tasks = [
        api.submit(witness.say("start"), "@*", rolling="1", between_waves="ask") for _ in range(2)
    ]
    for task in tasks:
        until(partial(is_paused, api, task), 60, "the pause between the waves")
    stopped, changed = tasks
    assert api.cancel(stopped).json["state"] == "CANCELLED"
    changes = {"rolling": "100%", "parallel": 0}
    assert api.call("PATCH", f"/api/v1/tasks/{changed}", changes).json["wave"]["of"] == 2
    say(api, changed, "resume")
    assert api.finished(changed)["state"] == "SUCCEED"
    assert api.task(stopped)["counts"]["CANCELLED"] == HOSTS - 1


def test_any_task_pauses_and_resumes(api: Api, witness: Witness):
    task = api.submit(witness.play(), "@*")
    witness.wait_for("start", 1)
    say(api, task, "pause")
    witness.open()
    witness.wait_for("end", 1)
    until(lambda: api.task(task)["counts"]["RUNNING"] == 0, 60, "the end of the first run")
    assert (witness.count(), api.task(task)["state"]) == (1, "PAUSED")
    assert {run["reason"] for run in api.runs(task, state="WAITING")} == {"paused"}
    say(api, task, "resume")
    assert api.finished(task)["state"] == "SUCCEED"


def test_it_says_what_is_wrong_with_waves(api: Api):
    for body, field in (
        ({"rolling": "+1"}, "rolling"),
        ({"rolling": "0"}, "rolling"),
        ({"between_waves": "ask"}, "between_waves"),
        ({"rolling": "1", "between_waves": "maybe"}, "between_waves"),
        ({"rolling": "1", "wave_pause": -1}, "wave_pause"),
    ):
        answer = api.call("POST", "/api/v1/tasks", {"script": "true", "targets": "@*", **body})
        assert (answer.status, answer.json["error"]["field"]) == (422, field)
