"""Is a submission that is sent again the same task, and never a second one?"""

from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Answer, Api
from tests.witness import Witness


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


def send(api: Api, body: dict[str, Any], key: str | None, path: str = "/api/v1/tasks") -> Answer:
    return api.call("POST", path, body, {} if key is None else {"Idempotency-Key": key})


def test_the_same_key_is_the_same_task(api: Api, witness: Witness):
    witness.open()
    body = {"script": witness.play(), "targets": "web01"}

    answers = [send(api, body, "same") for _ in range(3)]
    task = answers[0].json["id"]
    api.finished(task)
    answers += [send(api, body, "same"), send(api, body, "same", "/task")]

    assert {(answer.status, answer.json["id"]) for answer in answers} == {(201, task)}
    assert {answer.headers["location"] for answer in answers} == {f"/api/v1/tasks/{task}"}
    assert witness.count() == 1


def test_another_body_under_the_same_key_is_a_conflict(api: Api, witness: Witness):
    body = {"script": witness.say("start"), "targets": "web01"}
    task = send(api, body, "changed").json["id"]
    api.finished(task)

    changes: list[dict[str, Any]] = [
        {"script": "false"},
        {"timeout": 5},
        {"targets": "web02"},
        {"parallel": 2},
    ]
    for change in changes:
        assert send(api, body | change, "changed").status == 409
    assert witness.count() == 1


def test_a_refused_submission_does_not_use_up_its_key(api: Api):
    body = {"script": "true", "targets": "nobody"}
    assert send(api, body, "refused-first").status == 422

    assert send(api, body | {"targets": "web01"}, "refused-first").status == 201


def test_without_a_key_each_submission_is_a_task_of_its_own(api: Api, witness: Witness):
    body = {"script": witness.say("start"), "targets": "web01"}

    ids = {send(api, body, None).json["id"] for _ in range(3)}

    assert len(ids) == 3
    for task in ids:
        api.finished(task)
    assert witness.count() == 3
