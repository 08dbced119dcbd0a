"""Does the web stay itself while its master is away, and come back with it?"""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.fleet import Answer, Api, Fleet
from tests.support import until
from tests.witness import Witness

ASKED = ["/api/v1/agents", "/task/targets", "/api/v1/tasks", "/api/v1/targets?expr=web01"]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("away"), ["web01"]) as started:
        yield started


@pytest.fixture(params=["killed", "stopped"])
def away(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Fleet]:
    """The fleet while its master is not there, or does not answer; it is back at the end."""
    {"killed": fleet.master.kill, "stopped": fleet.master.pause}[request.param]()
    yield fleet
    come_back(fleet)
    until(fleet.is_up, 60, "a fleet that works again by itself")


def come_back(fleet: Fleet) -> None:
    if fleet.master.running:
        fleet.master.resume()
    else:
        fleet.master.start()
        fleet.master.port()


class Asking(threading.Thread):
    """One call that takes its time, on a connection of its own."""

    def __init__(self, api: Api, method: str, path: str, body: object = None, key: str = ""):
        super().__init__()
        headers = {"Idempotency-Key": key} if key else {}
        self.ask = partial(api.call, method, path, body, headers)
        self.answer: Answer | None = None
        self.start()

    def run(self) -> None:
        self.answer = self.ask()

    def answered(self) -> Answer:
        self.join()
        assert self.answer is not None
        return self.answer


def test_it_says_503_then_works_again_and_serves_meanwhile_what_needs_no_master(
    away: Fleet, tmp_path: Path, request: pytest.FixtureRequest
):
    # Given people who want something of the master
    witness = Witness(tmp_path / "witness")
    body = {"script": witness.say("start"), "targets": "web01"}
    key = request.node.callspec.id
    asking = [Asking(away.connect(away.token), "GET", path) for path in ASKED]
    submitting = Asking(away.connect(away.token), "POST", "/api/v1/tasks", body, key)

    # Then others are served meanwhile
    stranger = away.connect(None)
    assert stranger.call("GET", "/healthz").status in (200, 503)
    assert stranger.call("GET", "/login").status == 200
    assert stranger.call("GET", "/api/v1/agents").status == 401

    # And they hear that the master is away, all of them
    for call in [*asking, submitting]:
        assert call.answered().status == 503
        assert call.answered().json["error"]["message"]

    # When it is back, the submission is made once, whether or not the first had reached it
    come_back(away)

    def repeat() -> Answer | None:
        answer = Asking(away.connect(away.token), "POST", "/api/v1/tasks", body, key).answered()
        return answer if answer.status == 201 else None

    task = until(repeat, 60, "an answer").json["id"]
    assert away.api.finished(task)["state"] == "SUCCEED"
    assert witness.count() == 1
