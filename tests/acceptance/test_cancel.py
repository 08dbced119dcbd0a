"""Does a cancel win, wherever the run stands and whether or not its host can be reached?"""

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Api, Fleet, paused
from tests.support import alive, until
from tests.witness import Witness

MakeFleet = Callable[..., Fleet]

BEING_STOPPED = "being stopped, cancelled by admin"


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


def catch_up(api: Api, *hosts: str) -> None:
    """Let the hosts do all that they have been told before: what is submitted now comes after."""
    task = api.submit("true", ",".join(hosts), parallel=0)
    assert api.finished(task)["state"] == "SUCCEED"


def is_away(api: Api, hostname: str) -> bool:
    (host,) = (host for host in api.agents() if host["hostname"] == hostname)
    return bool(host["state"] != "online")


def cancelled(api: Api, task: str, run: str | None = None) -> dict[str, Any]:
    answer = api.cancel(task, run)
    assert answer.status == 200, answer.body
    return dict(answer.json)


# ---- hosts that are there


def test_a_cancel_ends_what_waits_and_kills_what_runs(api: Api, witness: Witness):
    task = api.submit(witness.play(), "@*", parallel=1)
    (started,) = witness.wait_for("start", 1)

    cancelled(api, task)

    found = api.finished(task)
    assert (found["state"], found["reason"]) == ("CANCELLED", "cancelled by admin")
    assert found["counts"]["CANCELLED"] == 3
    runs = {run["id"]: run for run in api.runs(task)}
    killed = runs.pop(started.run)
    assert (killed["killed"], killed["survivors"], killed["code"]) == (True, [], 143)
    assert [(run["code"], run["started_at"]) for run in runs.values()] == [(None, None)] * 2
    assert not alive(started.pid)
    assert (witness.count("start"), witness.count("end")) == (1, 0)


def test_a_task_is_not_cancelled_before_its_last_run_is_dead(api: Api, witness: Witness):
    # Given a script that takes its time to clean up
    script = f"trap '{witness.say('cleaning')}; {witness.wait('clean')}; exit 9' TERM"
    task = api.submit(f"{script}\n{witness.play()}", "web01", grace=1000)
    witness.wait_for("start", 1)

    # When it is cancelled
    assert cancelled(api, task)["state"] == "RUNNING"
    witness.wait_for("cleaning", 1)

    # Then it is being stopped until it has ended
    found = api.task(task)
    assert (found["state"], found["reason"]) == ("RUNNING", BEING_STOPPED)
    run = api.run(task)
    assert (run["state"], run["reason"]) == ("RUNNING", BEING_STOPPED)
    witness.open(gate="clean")
    assert api.finished(task)["state"] == "CANCELLED"
    run = api.run(task)
    assert (run["state"], run["code"], run["killed"]) == ("CANCELLED", 9, True)


def test_a_cancel_may_be_repeated(api: Api, witness: Witness):
    task = api.submit(witness.play(), "web01")
    witness.wait_for("start", 1)
    run = api.run(task)["id"]

    for _ in range(3):
        cancelled(api, task)
        cancelled(api, task, run)
    first = api.finished(task)

    assert cancelled(api, task) == first
    assert cancelled(api, task, run)["state"] == "CANCELLED"


def test_a_cancel_of_what_has_ended_changes_nothing(api: Api):
    task = api.submit("exit 3", "web01")
    before = api.finished(task)

    assert cancelled(api, task) == before
    assert cancelled(api, task, api.run(task)["id"])["state"] == "FAILED"
    assert api.task(task) == before


@pytest.mark.parametrize("path", ["", "/runs/{run}"])
def test_a_cancel_of_what_is_not_there_is_a_404(api: Api, path: str):
    nobody = "0" * 32
    answer = api.call("POST", f"/api/v1/tasks/{nobody}{path.format(run=nobody)}/cancel")
    assert answer.status == 404


def test_a_waiting_run_that_is_cancelled_never_starts_and_the_others_do(api: Api, witness: Witness):
    task = api.submit(witness.play(), "@*", parallel=1)
    (first,) = witness.wait_for("start", 1)
    waiting = api.runs(task, state="WAITING")

    answer = cancelled(api, task, waiting[0]["id"])
    witness.open()

    assert (answer["state"], answer["code"]) == ("CANCELLED", None)
    found = api.finished(task)
    assert (found["state"], found["counts"]["SUCCEED"]) == ("FAILED", 2)
    assert found["reason"] == "1 of 3 runs did not succeed"
    assert {line.run for line in witness.lines("start")} == {first.run, waiting[1]["id"]}


def test_a_running_run_that_is_cancelled_gives_its_place_to_the_next(api: Api, witness: Witness):
    task = api.submit(witness.play(), "@*", parallel=1, fail_count=0)
    (first,) = witness.wait_for("start", 1)

    cancelled(api, task, first.run)

    # One that was cancelled is no failure, so the limit does not stop the task.
    witness.wait_for("start", 2)
    witness.open()
    found = api.finished(task)
    assert (found["counts"]["CANCELLED"], found["counts"]["SUCCEED"]) == (1, 2)
    assert not alive(first.pid)
    assert witness.most_at_once() <= 2  # the killed one never said its end


def test_a_script_that_had_ended_keeps_its_result(make_fleet: MakeFleet, witness: Witness):
    fleet = make_fleet()
    task = fleet.api.submit(witness.play("exit 0"), "web01")
    (started,) = witness.wait_for("start", 1)

    with paused(fleet.agents["web01"]):
        witness.open()
        until(lambda: not alive(started.pid), what="the end of the script")
        assert cancelled(fleet.api, task)["reason"] == BEING_STOPPED

    found = fleet.api.finished(task)
    assert found["state"] == "SUCCEED"
    assert "came too late" in found["reason"]
    assert (fleet.api.run(task)["code"], fleet.api.run(task)["killed"]) == (0, False)


# ---- hosts that are away, and return


def test_a_run_that_waits_for_a_dead_agent_never_starts_once_cancelled(
    make_fleet: MakeFleet, witness: Witness
):
    fleet = make_fleet(["web01", "web02"])
    fleet.agents["web02"].kill()
    until(lambda: is_away(fleet.api, "web02"), 60, "the master to miss web02")
    task = fleet.api.submit(witness.play(), "@*", parallel=1)
    (started,) = witness.wait_for("start", 1)

    cancelled(fleet.api, task)

    # Only the run that is alive has to be waited for, not the host that is away.
    assert fleet.api.finished(task)["state"] == "CANCELLED"
    fleet.agents["web02"].start()
    witness.open()
    catch_up(fleet.api, "web01", "web02")
    assert [line.run for line in witness.lines("start")] == [started.run]


def test_a_run_of_a_killed_agent_is_killed_when_the_agent_returns(
    make_fleet: MakeFleet, witness: Witness
):
    fleet = make_fleet()
    task = fleet.api.submit(witness.play(), "web01")
    (started,) = witness.wait_for("start", 1)
    fleet.agents["web01"].kill()

    found = cancelled(fleet.api, task)
    assert (found["state"], found["reason"]) == ("RUNNING", BEING_STOPPED)
    assert alive(started.pid)
    fleet.agents["web01"].start()

    assert fleet.api.finished(task)["state"] == "CANCELLED"
    run = fleet.api.run(task)
    assert (run["state"], run["killed"], run["survivors"]) == ("CANCELLED", True, [])
    assert not alive(started.pid)
    assert (witness.count("start"), witness.count("end")) == (1, 0)


def test_a_run_of_a_stopped_agent_is_killed_when_the_agent_wakes_up(
    make_fleet: MakeFleet, witness: Witness
):
    fleet = make_fleet()
    task = fleet.api.submit(witness.play(), "web01")
    (started,) = witness.wait_for("start", 1)

    with paused(fleet.agents["web01"]):
        assert cancelled(fleet.api, task)["state"] == "RUNNING"
        assert alive(started.pid)

    assert fleet.api.finished(task)["state"] == "CANCELLED"
    assert not alive(started.pid)
    assert witness.count("end") == 0


def test_a_run_that_a_stopped_agent_was_handed_is_dead_or_never_started(
    make_fleet: MakeFleet, witness: Witness
):
    fleet = make_fleet()
    task = until(lambda: handed_out_and_cancelled(fleet, witness), 120, "an agent with a poll")

    assert fleet.api.finished(task)["state"] == "CANCELLED"
    assert fleet.api.run(task)["survivors"] == []
    assert witness.survivors() == []
    assert witness.count("start") <= 1
    assert witness.count("end") == 0


def handed_out_and_cancelled(fleet: Fleet, witness: Witness) -> str | None:
    """A task that lies in the socket of an agent that cannot read it, as the answer to its poll.

    None: the agent was stopped before it had sent one, so that nothing was handed out.
    """
    with paused(fleet.agents["web01"]):
        task = fleet.api.submit(witness.play(), "web01")
        with contextlib.suppress(AssertionError):
            until(lambda: fleet.api.run(task)["state"] == "RUNNING", 3)
        return task if cancelled(fleet.api, task)["state"] == "RUNNING" else None


@pytest.mark.parametrize("place", ["granted", "journalled"])
def test_no_agent_that_was_born_after_the_cancel_starts_the_run(
    make_fleet: MakeFleet, witness: Witness, place: str
):
    # Given an agent that dies over a hand-out, before or after it is in its journal
    fleet = make_fleet()
    agent = fleet.agents["web01"]
    agent.restart(MSCHEDULE_FAILPOINTS=f"{place}=kill")
    until(fleet.is_up)
    task = fleet.api.submit(witness.play(), "web01")
    assert agent.wait() == -signal.SIGKILL

    # When the task is cancelled, and the agent comes back
    assert cancelled(fleet.api, task)["state"] == "RUNNING"
    agent.start()

    # Then nothing has started, nor will it
    assert fleet.api.finished(task)["state"] == "CANCELLED"
    witness.open()
    catch_up(fleet.api, "web01")
    assert witness.lines() == []
    assert fleet.api.run(task)["code"] is None


def test_a_cancel_outlives_the_master(make_fleet: MakeFleet, witness: Witness):
    fleet = make_fleet()
    task = fleet.api.submit(witness.play(), "web01")
    (started,) = witness.wait_for("start", 1)

    with paused(fleet.agents["web01"]):
        cancelled(fleet.api, task)
        fleet.master.kill()
        fleet.master.start()
        fleet.master.port()

    until(lambda: not alive(started.pid), 60, "the death of the script")
    until(fleet.is_up, 60)
    assert fleet.api.finished(task)["state"] == "CANCELLED"
    assert witness.count("end") == 0
