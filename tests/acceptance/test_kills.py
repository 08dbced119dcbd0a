"""Is every script run once, and every result told, whatever process is killed and whenever?"""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Fleet, paused
from tests.support import alive, until
from tests.witness import Witness

MakeFleet = Callable[..., Fleet]

OUTPUT = b"".join(b"line %d\n" % number for number in range(1, 20_001))
WRITE_OUTPUT = "seq -f 'line %.0f' 1 20000"


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


def again(fleet: Fleet) -> None:
    """A new master over the same store."""
    fleet.master.start()
    fleet.master.port()


def assert_true_end(fleet: Fleet, task: str, witness: Witness, code: int = 7) -> dict[str, Any]:
    """It ran once to its own end, and all that it said has arrived."""
    until(fleet.is_up, 60)
    assert fleet.api.finished(task)["counts"]["FAILED"] == 1
    run = fleet.api.run(task)
    assert (run["state"], run["code"], run["attempt"]) == ("FAILED", code, 1)
    until(lambda: fleet.api.run(task)["output_stored"] == len(OUTPUT), 60, "all output")
    assert fleet.api.output(task, run["id"]) == OUTPUT
    assert (witness.count("start"), witness.count("end")) == (1, 1)
    return run


def gate_script(witness: Witness) -> str:
    return f"{WRITE_OUTPUT}\n{witness.play('exit 7')}"


# ---- the agent


def test_a_script_lives_on_when_its_agent_is_killed(make_fleet: MakeFleet, witness: Witness):
    fleet = make_fleet()
    task = fleet.api.submit(gate_script(witness), "web01")
    (started,) = witness.wait_for("start", 1)

    for _ in range(2):
        fleet.agents["web01"].kill()
        fleet.agents["web01"].start()
        until(fleet.is_up)
    assert alive(started.pid)
    witness.open()

    assert_true_end(fleet, task, witness)


def test_a_script_that_ends_while_its_agent_is_dead_is_told_of(
    make_fleet: MakeFleet, witness: Witness
):
    fleet = make_fleet()
    task = fleet.api.submit(f"{witness.play()}\n{WRITE_OUTPUT}\nexit 7", "web01")
    (started,) = witness.wait_for("start", 1)

    fleet.agents["web01"].kill()
    witness.open()
    until(lambda: not alive(started.pid), what="the end of the script")
    assert fleet.api.run(task)["state"] == "RUNNING"
    fleet.agents["web01"].start()

    run = assert_true_end(fleet, task, witness)
    assert run["started_at"] < run["ended_at"]


@pytest.mark.parametrize("place", ["granted", "journalled", "started", "ended", "acknowledged"])
def test_an_agent_that_is_killed_anywhere_has_the_script_run_once(
    make_fleet: MakeFleet, witness: Witness, place: str
):
    fleet = make_fleet()
    agent = fleet.agents["web01"]
    agent.restart(MSCHEDULE_FAILPOINTS=f"{place}=kill")
    until(fleet.is_up)
    witness.open()

    task = fleet.api.submit(gate_script(witness), "web01")
    assert agent.wait() == -signal.SIGKILL
    agent.start()

    assert_true_end(fleet, task, witness)


def test_an_agent_that_is_terminated_leaves_its_scripts_alone(
    make_fleet: MakeFleet, witness: Witness
):
    fleet = make_fleet()
    agent = fleet.agents["web01"]
    task = fleet.api.submit(gate_script(witness), "web01")
    (started,) = witness.wait_for("start", 1)

    assert agent.terminate() == 0

    assert alive(started.pid)
    witness.open()
    until(lambda: not alive(started.pid), what="the end of the script")
    agent.start()
    assert_true_end(fleet, task, witness)


def test_every_slot_of_a_killed_agent_is_taken_up_again(make_fleet: MakeFleet, tmp_path: Path):
    fleet = make_fleet(slots=3)
    agent = fleet.agents["web01"]
    witnesses = [Witness(tmp_path / f"w{number}") for number in range(4)]
    tasks = [fleet.api.submit(gate_script(witness), "web01") for witness in witnesses]
    for witness in witnesses[:3]:
        witness.wait_for("start", 1)

    agent.kill()
    witnesses[0].open()
    until(lambda: witnesses[0].count("end") == 1)
    agent.start()

    # The place of the one that ended goes to the one that waits; the other two were not touched.
    witnesses[3].wait_for("start", 1)
    for witness in witnesses[1:]:
        witness.open()
    for task, witness in zip(tasks, witnesses, strict=True):
        assert_true_end(fleet, task, witness)


def test_a_service_that_is_no_more_than_its_runner_is_replaced(
    make_fleet: MakeFleet, witness: Witness
):
    fleet = make_fleet()
    runners = fleet.runner_pids("web01")
    assert runners
    fleet.agents["web01"].kill()
    until(lambda: not any(alive(pid) for pid in runners), what="the end of the runner")
    fleet.agents["web01"].start()
    witness.open()

    task = fleet.api.submit(gate_script(witness), "web01")

    assert_true_end(fleet, task, witness)


# ---- the master


def test_a_submission_that_was_not_confirmed_is_made_once_when_it_is_repeated(
    make_fleet: MakeFleet, witness: Witness
):
    # Given a master that dies between commit and answer
    fleet = make_fleet()
    fleet.master.restart(MSCHEDULE_FAILPOINTS="added=kill")
    until(fleet.is_up, 60)
    witness.open()
    body = {"script": gate_script(witness), "targets": "web01"}
    key = {"Idempotency-Key": "once"}

    # When somebody submits: the answer says that it may have been accepted, and how to ask again
    answer = fleet.api.call("POST", "/api/v1/tasks", body, key)
    assert answer.status == 503
    assert "may have been accepted" in answer.json["error"]["message"]
    assert "once" in answer.json["error"]["message"]
    assert fleet.master.wait() == -signal.SIGKILL
    again(fleet)
    until(fleet.is_up, 60)

    # Then the repeat is the same task, and it runs once
    answers = [fleet.api.call("POST", "/api/v1/tasks", body, key) for _ in range(2)]
    assert {answer.status for answer in answers} == {201}
    (task,) = {answer.json["id"] for answer in answers}
    assert_true_end(fleet, task, witness)
    assert [found["id"] for found in fleet.api.items("/api/v1/tasks")] == [task]


def test_a_hand_out_that_was_never_sent_is_sent_by_the_next_master(
    make_fleet: MakeFleet, witness: Witness
):
    # Given a run that waits for its agent
    fleet = make_fleet()
    fleet.agents["web01"].kill()
    fleet.master.kill()
    again(fleet)
    until(lambda: fleet.api.call("GET", "/api/v1/agents").status == 200)
    witness.open()
    task = fleet.api.submit(gate_script(witness), "web01")
    assert fleet.api.run(task)["state"] == "WAITING"

    # When the master dies between the claim and the answer, twice
    fleet.master.kill()
    for _ in range(2):
        # Nobody waits for its port: it may be dead before one has looked.
        fleet.master.start(MSCHEDULE_FAILPOINTS="claimed=kill")
        if not fleet.agents["web01"].running:
            fleet.agents["web01"].start()
        assert fleet.master.wait() == -signal.SIGKILL
    again(fleet)

    # Then the third sends it, and it runs once
    assert_true_end(fleet, task, witness)


def test_a_hand_out_to_an_agent_that_could_not_hear_it_is_sent_again(
    make_fleet: MakeFleet, witness: Witness
):
    # Given an agent that died with its poll parked, so that the answer goes nowhere
    fleet = make_fleet()
    fleet.agents["web01"].kill()
    witness.open()
    task = fleet.api.submit(gate_script(witness), "web01")
    assert witness.lines() == []

    fleet.agents["web01"].start()

    assert_true_end(fleet, task, witness)


def test_a_result_that_was_not_acknowledged_arrives_once(make_fleet: MakeFleet, witness: Witness):
    fleet = make_fleet()
    fleet.master.restart(MSCHEDULE_FAILPOINTS="finished=kill")
    until(fleet.is_up, 60)
    witness.open()

    task = fleet.api.submit(gate_script(witness), "web01")
    assert fleet.master.wait() == -signal.SIGKILL
    again(fleet)

    assert_true_end(fleet, task, witness)


def test_a_master_that_is_killed_while_scripts_run_gets_their_results(
    make_fleet: MakeFleet, witness: Witness
):
    fleet = make_fleet(["web01", "web02", "db1"])
    task = fleet.api.submit(witness.play("echo done"), "@*", parallel=2)
    witness.wait_for("start", 2)

    # Two end while there is no master; the third, which waited, is handed out by the next one.
    fleet.master.kill()
    started = [line.pid for line in witness.lines("start")]
    witness.open()
    until(lambda: not any(alive(pid) for pid in started), what="the end of two scripts")
    again(fleet)

    until(fleet.is_up, 60)
    found = fleet.api.finished(task)
    assert (found["state"], found["counts"]["SUCCEED"]) == ("SUCCEED", 3)
    assert (witness.count("start"), witness.count("end")) == (3, 3)
    assert witness.most_at_once() <= 2
    for run in fleet.api.runs(task):
        assert fleet.api.output(task, run["id"]) == b"done\n"


def test_a_restart_of_the_master_loses_nothing(make_fleet: MakeFleet, witness: Witness):
    fleet = make_fleet(["web01", "web02"])
    finished = fleet.api.submit("echo kept; exit 3", "@*", name="first", parallel=0)
    fleet.api.finished(finished)
    running = fleet.api.submit(gate_script(witness), "web01")
    waiting = fleet.api.submit(witness.play(), "web0[1-2]", expires_in=1000, priority=-1)
    (agent, *_) = fleet.api.agents()
    fleet.api.call("PATCH", f"/api/v1/agents/{agent['id']}", {"labels": {"env": "test"}})
    witness.wait_for("start", 2)
    before = (fleet.api.task(finished), fleet.api.runs(finished))

    fleet.master.restart()
    fleet.master.port()
    until(fleet.is_up, 60)

    assert (fleet.api.task(finished), fleet.api.runs(finished)) == before
    assert [one["labels"] for one in fleet.api.agents() if one["id"] == agent["id"]] == [
        {"env": "test"}
    ]
    for run in before[1]:
        assert fleet.api.output(finished, run["id"]) == b"kept\n"
    assert {fleet.api.task(task)["state"] for task in (running, waiting)} == {"RUNNING"}
    witness.open()
    assert fleet.api.finished(running)["counts"]["FAILED"] == 1
    assert fleet.api.finished(waiting)["counts"]["SUCCEED"] == 2
    assert (witness.count("start"), witness.count("end")) == (3, 3)


def test_agent_and_master_killed_together_lose_nothing(make_fleet: MakeFleet, witness: Witness):
    fleet = make_fleet()
    task = fleet.api.submit(gate_script(witness), "web01")
    witness.wait_for("start", 1)

    fleet.master.kill()
    fleet.agents["web01"].kill()
    witness.open()
    fleet.agents["web01"].start()
    again(fleet)

    assert_true_end(fleet, task, witness)


def test_a_master_that_slept_declares_nobody_lost(make_fleet: MakeFleet, witness: Witness):
    fleet = make_fleet()
    task = fleet.api.submit(gate_script(witness), "web01", lost_after=2)
    witness.wait_for("start", 1)

    asleep_until = time.monotonic() + 3
    with paused(fleet.master):
        until(lambda: time.monotonic() > asleep_until)
    until(fleet.is_up, 60)
    assert fleet.api.run(task)["state"] == "RUNNING"
    witness.open()

    assert_true_end(fleet, task, witness)
