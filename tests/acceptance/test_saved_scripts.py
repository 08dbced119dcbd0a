"""Does a saved script run with its parameters, and does disabling it stop what waits?"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Api, Fleet
from tests.support import until
from tests.witness import Witness


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("scripts"), ["web01", "web02"]) as started:
        yield started


def save(api: Api, name: str, script: str, **fields: Any) -> None:
    answer = api.call("POST", "/api/v1/scripts", {"name": name, "script": script, **fields})
    assert answer.status == 201, answer.body
    assert answer.headers["location"] == f"/api/v1/scripts/{name}"


def submit(api: Api, **saved: Any) -> Any:
    return api.call("POST", "/api/v1/tasks", {"saved": saved, "targets": "@*", "parallel": 0})


def outputs(api: Api, task: str) -> set[bytes]:
    assert api.finished(task)["state"] == "SUCCEED"
    return {api.output(task, run["id"]) for run in api.runs(task)}


def test_it_runs_the_version_that_is_meant_with_the_values_given(api: Api):
    parameters = [
        {"name": "WORD", "default": "hello"},
        {"name": "ON", "kind": "hosts", "optional": True},
    ]
    save(api, "greet", 'echo "$WORD $ON"', parameters=parameters)
    second = {"script": "echo second", "note": "another"}
    made = api.call("POST", "/api/v1/scripts/greet/versions", second)
    assert (made.status, made.json["latest"]) == (201, 2)

    first = submit(api, script="greet", version=1, parameters={"ON": "web*"})
    assert outputs(api, first.json["id"]) == {b"hello web01 web02\n"}
    latest = submit(api, script="greet")
    assert outputs(api, latest.json["id"]) == {b"second\n"}

    settings = api.task(first.json["id"])["settings"]
    assert settings["saved"] == {"script": "greet", "version": 1, "parameters": {"ON": "web*"}}
    uses = api.get("/api/v1/scripts/greet")["uses"]
    assert [(use["id"], use["version"]) for use in uses] == [
        (latest.json["id"], "2"),
        (first.json["id"], "1"),
    ]


def test_a_secret_parameter_reaches_the_script_and_nobody_else(api: Api, fleet: Fleet):
    script = 'test "$KEY" = hunter22 && echo "have $KEY"'
    save(api, "login", script, parameters=[{"name": "KEY", "kind": "secret"}])
    task = submit(api, script="login", parameters={"KEY": "hunter22"}).json["id"]
    assert outputs(api, task) == {b"have ***\n"}
    assert "hunter22" not in api.call("GET", f"/api/v1/tasks/{task}").body.decode()
    retried = api.call("POST", "/api/v1/tasks", {"saved": {"script": "login"}, "targets": "@*"})
    assert (retried.status, retried.json["error"]["field"]) == (422, "parameters")
    assert "hunter22" not in fleet.logs()


def test_disabling_it_skips_what_waits_and_refuses_what_comes(api: Api, tmp_path: Path):
    witness = Witness(tmp_path / "witness")
    save(api, "slow", witness.play())
    body = {"saved": {"script": "slow"}, "targets": "@*", "parallel": 1}
    task = api.call("POST", "/api/v1/tasks", body).json["id"]
    witness.wait_for("start", 1)
    assert api.call("PATCH", "/api/v1/scripts/slow", {"disabled": True}).json["disabled"]
    until(lambda: api.task(task)["counts"]["SKIPPED"] == 1, 60, "the run that waits")
    (skipped,) = api.runs(task, state="SKIPPED")
    assert skipped["reason"] == "the script slow was disabled by admin"
    witness.open()
    assert api.finished(task)["state"] == "FAILED"
    assert witness.count() == 1
    refused = submit(api, script="slow")
    assert refused.status == 409
    assert refused.json["error"]["message"] == "the script slow is disabled"
    again = api.call("POST", f"/api/v1/tasks/{task}/retry", {"states": ["SKIPPED"]})
    assert again.status == 409


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"saved": {"script": "nope"}}, 404, None),
        ({"saved": {"script": "checked", "version": 9}}, 404, None),
        ({"saved": {"script": "checked", "parameters": {"N": "x"}}}, 422, "parameters"),
        ({"saved": {"script": "checked"}}, 422, "parameters"),
        ({"saved": {"script": "checked", "parameters": {"N": "1"}}, "script": "ls"}, 422, "saved"),
        (
            {"saved": {"script": "checked", "parameters": {"N": "1"}}, "env": {"N": "2"}},
            422,
            "env",
        ),
        ({"saved": {"script": "checked", "colour": "red"}}, 400, "colour"),
    ],
)
def test_it_says_what_is_wrong(api: Api, body: dict[str, Any], status: int, field: str | None):
    api.call(
        "POST",
        "/api/v1/scripts",
        {"name": "checked", "script": "true", "parameters": [{"name": "N", "kind": "number"}]},
    )
    answer = api.call("POST", "/api/v1/tasks", {"targets": "@*", **body})
    assert (answer.status, answer.json["error"].get("field")) == (status, field), answer.body


def test_a_schedule_says_that_it_uses_a_script_and_a_group(api: Api):
    save(api, "nightly", "true")
    group = {"name": "night", "hosts": "web*"}
    assert api.call("POST", "/api/v1/groups", group).status == 201
    when = {"kind": "every", "every": 86400}
    task = {"saved": {"script": "nightly"}, "targets": "@night"}
    body = {"name": "clean-up", "when": when, "task": task}
    assert api.call("POST", "/api/v1/schedules", body).status == 201

    (use,) = api.get("/api/v1/scripts/nightly")["uses"]
    assert (use["kind"], use["name"], use["version"]) == ("schedule", "clean-up", "latest")
    used_by = [{"kind": "schedule", "name": "clean-up"}]
    assert api.get("/api/v1/groups/night")["used_by"] == used_by
    assert api.call("DELETE", "/api/v1/groups/night").status == 409
