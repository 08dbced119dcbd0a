"""What becomes of runs whose host is busy, away, or gone for good?"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Api, Fleet, paused
from tests.support import alive, until
from tests.witness import Witness

MakeFleet = Callable[..., Fleet]


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


def until_state(api: Api, hostname: str, state: str) -> None:
    def is_so() -> bool:
        return [a["state"] for a in api.agents() if a["hostname"] == hostname] == [state]

    until(is_so, 90, f"{hostname} to be {state}")


def until_run(api: Api, task: str, state: str, hostname: str | None = None) -> dict[str, Any]:
    def as_wanted() -> dict[str, Any] | None:
        run = api.run(task, hostname)
        return run if run["state"] == state else None

    return until(as_wanted, 90, f"a run that is {state}")


def until_reason(api: Api, task: str, reason: str, hostname: str | None = None) -> None:
    until(
        lambda: api.run(task, hostname)["reason"] == reason, 90, f"a run that waits since {reason}"
    )


# ---- busy hosts


def test_no_more_runs_than_slots_are_alive_on_a_host(make_fleet: MakeFleet, witness: Witness):
    api = make_fleet(slots=2).api
    tasks = [api.submit(witness.play(), "web01") for _ in range(5)]
    witness.wait_for("start", 2)

    waiting = [task for task in tasks if api.run(task)["state"] == "WAITING"]
    assert len(waiting) == 3
    for task in waiting:
        until_reason(api, task, "all slots of the host are busy")
    witness.open()

    assert {api.finished(task)["state"] for task in tasks} == {"SUCCEED"}
    assert witness.most_at_once() == 2
    assert witness.count() == 5


def test_a_slot_goes_to_the_highest_priority_then_to_the_oldest(
    make_fleet: MakeFleet, witness: Witness
):
    api = make_fleet(slots=1).api
    blocker = api.submit(witness.play(gate="blocker"), "web01")
    witness.wait_for("start", 1)
    tasks = {
        name: api.submit(witness.say(name), "web01", priority=priority)
        for name, priority in [("low", -5), ("older", 0), ("younger", 0), ("high", 5)]
    }
    witness.open(gate="blocker")

    for task in [blocker, *tasks.values()]:
        assert api.finished(task)["state"] == "SUCCEED"
    order = [line.what for line in witness.lines()]
    assert order == ["start", "end", "high", "older", "younger", "low"]


def test_a_place_goes_to_a_host_that_had_been_busy_when_there_was_none(
    make_fleet: MakeFleet, tmp_path: Path
):
    # Given a task with one place, which web02 has, since web01 had no slot
    api = make_fleet(["web01", "web02"], slots=1).api
    first, second = Witness(tmp_path / "first"), Witness(tmp_path / "second")
    blocker = api.submit(first.play(), "web01")
    first.wait_for("start", 1)
    task = api.submit(second.play(), "web0[1-2]", parallel=1)
    (on_web02,) = second.wait_for("start", 1)
    assert on_web02.run == api.run(task, "web02")["id"]

    # When web01 becomes free, and then the place
    first.open()
    assert api.finished(blocker)["state"] == "SUCCEED"
    until_reason(api, task, "waits for one of 1 parallel places", "web01")
    second.open(on_web02.run)

    # Then web01 gets it
    second.wait_for("start", 2)
    second.open()
    assert api.finished(task)["counts"]["SUCCEED"] == 2


def test_a_run_that_does_not_start_in_time_is_skipped_and_one_that_has_started_goes_on(
    api: Api, witness: Witness
):
    task = api.submit(witness.play(), "web0[1-2]", parallel=1, expires_in=3)
    (started,) = witness.wait_for("start", 1)
    assert {run["reason"] for run in api.runs(task, state="WAITING")} <= {
        "waits for one of 1 parallel places"
    }

    until(lambda: api.task(task)["counts"]["SKIPPED"] == 1, 90, "the expiry")
    assert api.task(task)["state"] == "RUNNING"
    witness.open()

    assert api.finished(task)["state"] == "FAILED"
    (skipped,) = api.runs(task, state="SKIPPED")
    assert skipped["reason"].startswith("not started by 20")
    assert (skipped["code"], skipped["started_at"]) == (None, None)
    assert [line.run for line in witness.lines("end")] == [started.run]


# ---- hosts that are away


def test_a_host_that_is_offline_is_waited_for_or_skipped(make_fleet: MakeFleet, witness: Witness):
    fleet = make_fleet(["web01", "web02"])
    api = fleet.api
    fleet.agents["web02"].kill()
    until_state(api, "web02", "offline")
    assert api.get("/api/v1/targets", expr="@*")["offline"] == 1

    # Skipped, and not counted as a success
    skipping = {"offline": "skip", "parallel": 0}
    outcomes = [
        api.finished(api.submit("true", "@*", **skipping, **limit))
        for limit in ({}, {"fail_count": 0}, {"fail_count": 1})
    ]
    assert [task["state"] for task in outcomes] == ["FAILED", "FAILED", "SUCCEED"]
    for task in outcomes:
        assert (task["counts"]["SUCCEED"], task["counts"]["SKIPPED"]) == (1, 1)
        assert "offline" in api.run(task["id"], "web02")["reason"]
    nobody = api.finished(api.submit("true", "web02", offline="skip"))
    assert (nobody["state"], nobody["counts"]["SKIPPED"]) == ("FAILED", 1)

    # Waited for, until it is back or the time to start is over
    waiting = api.submit(witness.play(), "@*", parallel=0)
    expiring = api.submit(witness.say("late"), "web02", expires_in=1)
    until_reason(api, waiting, "the host is offline", "web02")
    assert "not started by" in until_run(api, expiring, "SKIPPED")["reason"]
    assert api.task(expiring)["state"] == "FAILED"
    witness.open()
    until_run(api, waiting, "SUCCEED", "web01")
    fleet.agents["web02"].start()
    assert api.finished(waiting)["counts"]["SUCCEED"] == 2
    assert (witness.count("start"), witness.count("late")) == (2, 0)


def test_a_hand_out_that_did_not_arrive_in_time_never_starts(
    make_fleet: MakeFleet, witness: Witness
):
    # Given an agent that died with its poll parked, so that the run counts as handed out
    fleet = make_fleet()
    fleet.agents["web01"].kill()
    task = fleet.api.submit(witness.say("start"), "web01", expires_in=1)
    later = fleet.api.submit(witness.say("later"), "web01")

    # When the agent is back after the time to start
    until(lambda: _is_past(fleet.api.task(task)["created_at"], 1.5), 90, "the expiry")
    fleet.agents["web01"].start()

    assert fleet.api.finished(task)["counts"]["SKIPPED"] == 1
    assert fleet.api.finished(later)["state"] == "SUCCEED"
    assert [line.what for line in witness.lines()] == ["later"]


def _is_past(created_at: str, seconds: float) -> bool:
    created = datetime.fromisoformat(created_at)
    return datetime.now(UTC) - created > timedelta(seconds=seconds)


# ---- hosts that are gone for good


def test_a_lost_host_frees_its_place_and_what_it_proves_later_counts(
    make_fleet: MakeFleet, witness: Witness
):
    # Given a run on one host, one that waits for its place, and one there that goes on all along
    fleet = make_fleet(["web01", "web02"])
    api = fleet.api
    task = api.submit(witness.play(), "web0[1-2]", parallel=1, lost_after=6)
    (running,) = until(lambda: api.runs(task, state="RUNNING"), 90, "a run")
    host = running["hostname"]
    (other,) = {"web01", "web02"} - {host}
    steady = api.submit(witness.play(gate="steady"), other, lost_after=6)
    witness.wait_for("start", 2)

    # When the agent of the first is gone
    fleet.agents[host].kill()
    lost = until_run(api, task, "UNKNOWN", host)

    # Then its run is UNKNOWN, and its place is free
    assert lost["reason"].startswith("agent not seen since 20")
    assert lost["code"] is None
    witness.wait_for("start", 3)
    assert api.task(task)["counts"]["UNKNOWN"] == 1
    assert api.task(task)["state"] == "RUNNING"

    # And when it returns it tells how the run ended, and the task counts that
    witness.open(running["id"])
    fleet.agents[host].start()
    settled = until_run(api, task, "SUCCEED", host)
    assert (settled["code"], settled["attempt"]) == (0, 1)
    assert api.task(task)["counts"]["UNKNOWN"] == 0
    witness.open()
    assert api.finished(task)["counts"]["SUCCEED"] == 2
    assert api.run(steady)["state"] == "RUNNING"
    witness.open(gate="steady")
    assert api.finished(steady)["state"] == "SUCCEED"
    assert witness.count("start") == witness.count("end") == 3


def test_a_task_that_ended_with_a_lost_host_is_not_reopened(
    make_fleet: MakeFleet, witness: Witness
):
    fleet = make_fleet()
    api = fleet.api
    task = api.submit(witness.play(), "web01", lost_after=1)
    cancelled = api.submit(witness.play(gate="never"), "web01", lost_after=1)
    started = witness.wait_for("start", 2)
    fleet.agents["web01"].kill()

    ended = api.finished(task)
    assert (ended["state"], ended["counts"]["UNKNOWN"]) == ("FAILED", 1)
    api.finished(cancelled)
    assert api.cancel(cancelled).status == 200
    witness.open()
    fleet.agents["web01"].start()

    # The run is settled by what the agent proves; the task and its counts stay as they were.
    assert until_run(api, task, "SUCCEED")["code"] == 0
    assert api.task(task) == ended
    # A cancel reaches a lost run all the same.
    assert until_run(api, cancelled, "CANCELLED")["killed"]
    assert not any(alive(line.pid) for line in started)
    assert (witness.count("start"), witness.count("end")) == (2, 1)


# ---- a ping of all


def test_a_ping_tells_who_answers_and_who_does_not(make_fleet: MakeFleet):
    fleet = make_fleet(["web01", "web02"])
    with paused(fleet.agents["web02"]):
        found = fleet.api.call("POST", "/api/v1/ping", {"timeout": 3}).json

    assert (found["asked"], found["answered"]) == (2, 1)
    silent, there = found["agents"]
    assert (silent["hostname"], silent["ms"]) == ("web02", None)
    assert there["hostname"] == "web01" and there["ms"] >= 0
    assert fleet.api.call("POST", "/api/v1/ping", {}).json["answered"] == 2
