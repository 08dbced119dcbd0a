"""A master that forgets: through the API, ended tasks are gone after their time, others stay."""

import uuid

import pytest

from tests.fleet import Fleet
from tests.support import until

SOON_DAYS = 3 / 86400


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    keep = ["--keep-days", f"{SOON_DAYS:.8f}"]
    with Fleet(tmp_path_factory.mktemp("fleet"), ["web01"], master_arguments=keep) as fleet:
        yield fleet


def is_gone(fleet, path):
    return fleet.api.call("GET", f"/api/v1/tasks/{path}").status == 404


def test_it_forgets_ended_tasks_and_keeps_those_that_run(fleet):
    api = fleet.api
    old = api.submit("echo old", "web01")
    assert api.finished(old)["state"] == "SUCCEED"
    run = api.run(old)["id"]
    running = api.submit("sleep 600", "web01")
    newest = api.submit("echo new", "web01")
    until(lambda: is_gone(fleet, old), 60, "the end of an old task")
    assert is_gone(fleet, f"{old}/runs")
    assert is_gone(fleet, f"{old}/runs/{run}")
    assert is_gone(fleet, f"{old}/runs/{run}/output")
    assert is_gone(fleet, f"{old}/groups")
    listed = [task["id"] for task in api.items("/api/v1/tasks")]
    assert listed == [newest, running]
    retried = api.call(
        "POST",
        f"/api/v1/tasks/{old}/retry",
        {"states": ["FAILED"]},
        {"Idempotency-Key": uuid.uuid4().hex},
    )
    assert retried.status == 404
    assert api.cancel(old).status == 404
    api.cancel(running)


def test_it_goes_on_after_a_kill(fleet):
    api = fleet.api
    old = api.submit("echo old", "web01")
    api.finished(old)
    fleet.master.kill()
    fleet.master.start()
    until(fleet.is_up, 60, "a fleet that is up again")
    newest = api.submit("echo new", "web01")
    until(lambda: is_gone(fleet, old), 60, "the end of an old task")
    assert api.finished(newest)["state"] == "SUCCEED"
