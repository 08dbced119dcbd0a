"""Do plans go from step to step as they say, whatever is killed, cancelled or mended meanwhile?"""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Api, Fleet
from tests.support import until
from tests.web_peer import web_peer
from tests.witness import Witness

HOSTS = ["web01", "web02", "web03"]
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("plans"), HOSTS) as started:
        yield started


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


def step(
    name: str, script: str, targets: Any = "@*", needs: str = "succeeded", **fields: Any
) -> dict[str, Any]:
    task = {"script": script, "targets": targets, "parallel": 0, **fields}
    return {"name": name, "needs": needs, "tasks": [task]}


def submit(api: Api, *steps: dict[str, Any], name: str = "deploy") -> str:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    answer = api.call("POST", "/api/v1/plans", {"name": name, "steps": list(steps)}, headers)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def get(api: Api, plan: str) -> dict[str, Any]:
    return dict(api.get(f"/api/v1/plans/{plan}"))


def ended(api: Api, plan: str, timeout_s: float = 30.0) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        view = get(api, plan)
        return view if view["state"] != "RUNNING" else None

    return until(found, timeout_s, f"the end of plan {plan}")


def states(view: dict[str, Any]) -> list[str]:
    return [one["state"] for one in view["steps"]]


def outputs(api: Api, task: str) -> dict[str, str]:
    return {run["hostname"]: api.output(task, run["id"]).decode() for run in api.runs(task)}


def test_it_runs_the_steps_one_after_another(api: Api, witness: Witness):
    plan = submit(api, step("build", witness.play()), step("ship", witness.say("ship")))
    witness.wait_for("start", 3)
    view = get(api, plan)
    assert (view["state"], view["step"], states(view)) == ("RUNNING", 1, ["RUNNING", "WAITING"])
    assert view["steps"][1]["waits_for"] == "build"
    witness.open()
    view = ended(api, plan)
    assert (view["state"], view["reason"], states(view)) == ("SUCCEED", "", ["SUCCEED", "SUCCEED"])
    assert view["steps"][1]["tasks"][0]["counts"]["SUCCEED"] == 3
    task = api.task(view["steps"][0]["tasks"][0]["task"])
    assert (task["plan"], task["created_by"], task["name"]) == (
        plan,
        "plan deploy",
        "deploy: build",
    )


def test_later_steps_use_what_became_of_earlier_ones(api: Api, fleet: Fleet):
    failing = fleet.agent_id("web02")
    plan = submit(
        api,
        step("try", f'test "$MSCHEDULE_AGENT_ID" != {failing}', needs="ended", fail_count=-1),
        step("mend", "echo $MSCHEDULE_STEP_TRY_FAILED of $MSCHEDULE_STEP_TRY_ALL", "@try:failed"),
        step("wonder", "true", "@try:unknown"),
        step("rest", "true", "@*!@try:succeed"),
    )
    view = ended(api, plan)
    assert (view["state"], states(view)) == (
        "SUCCEED",
        ["FAILED", "SUCCEED", "SKIPPED", "SUCCEED"],
    )
    assert view["reason"] == "went on though not all of try succeeded"
    mend, wonder, rest = (one["tasks"][0] for one in view["steps"][1:])
    assert outputs(api, mend["task"]) == {"web02": "1 of 3\n"}
    assert (wonder["state"], wonder["reason"]) == ("SKIPPED", "@try:unknown names no host")
    assert list(outputs(api, rest["task"])) == ["web02"]


def test_several_tasks_of_a_step_run_at_once(api: Api, witness: Witness):
    both = step("both", witness.play(), "web01")
    both["tasks"].append({"script": witness.play(), "targets": "web02"})
    plan = submit(api, both)
    witness.wait_for("start", 2)
    witness.open()
    assert ended(api, plan)["state"] == "SUCCEED"


def test_it_stops_at_a_step_that_fails_and_is_resumed_on_the_hosts_that_did(
    api: Api, fleet: Fleet, tmp_path: Path
):
    mended = tmp_path / "mended"
    failing = fleet.agent_id("web02")
    script = f'echo once; test "$MSCHEDULE_AGENT_ID" != {failing} || test -e {mended}'
    plan = submit(api, step("build", script, fail_count=-1), step("ship", "true"))
    view = ended(api, plan)
    assert (view["state"], states(view)) == ("FAILED", ["FAILED", "SKIPPED"])
    assert view["reason"] == "step build: 1 FAILED of 3 runs"
    first = view["steps"][0]["tasks"][0]["task"]
    mended.touch()
    assert api.call("POST", f"/api/v1/plans/{plan}/resume", {}).status == 200
    view = ended(api, plan)
    assert (view["state"], states(view)) == ("SUCCEED", ["SUCCEED", "SUCCEED"])
    build = view["steps"][0]["tasks"][0]
    assert build["earlier"] == [first]
    assert list(outputs(api, build["task"])) == ["web02"]
    assert view["steps"][0]["attempt"] == 2
    answer = api.call("POST", f"/api/v1/plans/{plan}/resume", {"hosts": "all"})
    assert (answer.status, answer.json["error"]["code"]) == (409, "conflict")


def test_it_is_cancelled_in_the_middle_of_a_step_and_resumed(api: Api, witness: Witness):
    plan = submit(api, step("build", witness.play()), step("ship", witness.say("ship")))
    witness.wait_for("start", 3)
    assert api.call("POST", f"/api/v1/plans/{plan}/cancel").json["cancelled_by"] == "admin"
    view = ended(api, plan)
    assert (view["state"], view["reason"]) == ("CANCELLED", "cancelled by admin")
    assert states(view) == ["CANCELLED", "SKIPPED"]
    assert view["steps"][0]["tasks"][0]["counts"]["CANCELLED"] == 3
    witness.open()
    assert api.call("POST", f"/api/v1/plans/{plan}/resume", {"hosts": "all"}).status == 200
    assert ended(api, plan)["state"] == "SUCCEED"


@pytest.mark.parametrize("place", ["step_due", "step_begun", "plan_added"])
def test_a_master_that_is_killed_between_two_steps_begins_the_next_one_once(
    api: Api, fleet: Fleet, witness: Witness, place: str
):
    """At the third hit the last step of three is due; the second plan is added once."""
    hit = {"step_due": ":2", "step_begun": ":2", "plan_added": ""}[place]
    fleet.master.kill()
    fleet.master.start(MSCHEDULE_FAILPOINTS=f"{place}=kill{hit}")
    until(fleet.is_up, 60, "the fleet")
    body = {
        "name": "killed",
        "steps": [step(name, witness.say(name)) for name in ("one", "two", "three")],
    }
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first = api.call("POST", "/api/v1/plans", body, headers)
    fleet.master.wait(60)
    fleet.master.start()
    until(fleet.is_up, 60, "the fleet")
    again = api.call("POST", "/api/v1/plans", body, headers)
    assert again.status == 201
    assert first.status != 201 or again.json == first.json
    view = ended(api, again.json["id"])
    assert (view["state"], states(view)) == ("SUCCEED", ["SUCCEED"] * 3)
    assert [witness.count(name) for name in ("one", "two", "three")] == [3, 3, 3]
    made = [task for task in api.items("/api/v1/tasks") if task["plan"] == again.json["id"]]
    assert len(made) == 3


def test_a_limited_operator_reaches_no_further_by_a_plan(api: Api, fleet: Fleet):
    code = (fleet.master.state_dir / "setup-code").read_text().strip()
    with web_peer(fleet.join_string("web")) as peer:
        alice = peer.call("set_up", code=code, name="alice", password=PASSWORD)["secret"]
        otto_is = {"name": "otto", "role": "operator", "hosts": "web01", "password": PASSWORD}
        peer.call("add_person", alice, **otto_is)
        session = peer.log_in("otto", PASSWORD)
        token = peer.call("add_token", session, name="plans", role="operator")["secret"]
    otto = fleet.connect(token)
    far = {"name": "far", "steps": [step("one", "true", "web02")]}
    assert otto.call("POST", "/api/v1/plans", far).status == 403
    plan = submit(otto, step("one", "true", "web01"), step("two", "true", "@one:succeed"))
    assert ended(otto, plan)["state"] == "SUCCEED"
    others = submit(api, step("one", "true"))
    assert otto.call("POST", f"/api/v1/plans/{others}/cancel").status == 403


def test_its_steps_have_secrets_that_nobody_sees(api: Api, fleet: Fleet):
    secret: dict[str, Any] = {"secrets": {"TOKEN": "correct horse battery"}}
    script = 'echo "$TOKEN"; printf %s "$TOKEN" | wc -c'
    plan = submit(api, step("one", "true", "web01"), step("two", script, "web01", **secret))
    view = ended(api, plan)
    assert view["state"] == "SUCCEED"
    task = view["steps"][1]["tasks"][0]["task"]
    assert outputs(api, task)["web01"].split() == ["***", "21"]
    spec = api.get(f"/api/v1/plans/{plan}/spec")
    assert spec["steps"][1]["tasks"][0]["secrets"] == {"TOKEN": ""}
    again = api.call("POST", "/api/v1/plans", spec)
    assert again.status == 422
    assert "TOKEN has no value" in again.json["error"]["message"]


def test_it_says_what_is_wrong_with_a_plan(api: Api):
    for steps, field in (
        ([], "steps"),
        ([step("a", "true", "nowhere")], "steps[0].tasks[0].targets"),
        ([step("a", "")], "steps[0].tasks[0].script"),
        ([step("a", "true"), step("b", "true", "@a:lost")], "steps[1].tasks[0].targets"),
        ([step("a", "true", secrets={"X": "123"})], "steps[0].tasks[0].secrets"),
        ([step("a", "true", needs="luck")], "steps[0].needs"),
    ):
        answer = api.call("POST", "/api/v1/plans", {"name": "wrong", "steps": steps})
        assert (answer.status, answer.json["error"]["field"]) == (422, field)
    assert api.call("GET", "/api/v1/plans/nothing").status == 404


def test_a_script_that_is_disabled_stops_the_plan_that_refers_to_it(api: Api, witness: Witness):
    saved = {"name": "ship-it", "script": "echo shipped"}
    assert api.call("POST", "/api/v1/scripts", saved).status == 201
    last = {"name": "ship", "tasks": [{"saved": {"script": "ship-it"}, "targets": "web01"}]}
    plan = submit(api, step("build", witness.play(), "web01"), last)
    witness.wait_for("start", 1)
    (use,) = api.get("/api/v1/scripts/ship-it")["uses"]
    assert (use["kind"], use["id"]) == ("plan", plan)
    assert api.call("PATCH", "/api/v1/scripts/ship-it", {"disabled": True}).status == 200
    witness.open()
    view = ended(api, plan)
    assert view["reason"] == "step ship could not begin: the script ship-it is disabled"
    assert (view["state"], states(view)) == ("FAILED", ["SUCCEED", "FAILED"])
    assert api.call("PATCH", "/api/v1/scripts/ship-it", {"disabled": False}).status == 200
    assert api.call("POST", f"/api/v1/plans/{plan}/resume").status == 200
    assert ended(api, plan)["state"] == "SUCCEED"
