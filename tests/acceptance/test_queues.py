"""Do queues work from end to end? Real agents, through HTTP."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import Api, Fleet
from tests.support import kill_all, until
from tests.witness import Witness

AGENTS = 3


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    names = [f"web{number:02}" for number in range(1, AGENTS + 1)]
    with Fleet(tmp_path_factory.mktemp("queues"), names, slots=2) as started:
        yield started


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


def queue(api: Api, script: str, items: list[Any], **fields: Any) -> str:
    return api.submit(script, mode="queue", items=items, **fields)


def results(api: Api, task: str, **query: Any) -> list[dict[str, Any]]:
    return api.items(f"/api/v1/tasks/{task}/results", **query)


def post(api: Api, path: str, body: Any = None) -> Any:
    answer = api.call("POST", path, body)
    assert answer.status == 200, f"{path}: {answer.status} {answer.body!r}"
    return answer.json


def label(api: Api, fleet: Fleet, host: str, **labels: str | None) -> None:
    post(api, "/api/v1/agents/labels", {"labels": {fleet.agent_id(host): labels}})


def test_every_item_is_done_once_with_its_text(api: Api):
    items = [f"10.0.0.{number}" for number in range(100)] + [{"host": "db1", "port": 5432}]
    task = queue(api, 'echo "$1 $MSCHEDULE_ATTEMPT"; [ "$1" = "$MSCHEDULE_ITEM" ]', items)
    ended = api.finished(task, 120)
    assert (ended["state"], ended["counts"]["SUCCEED"]) == ("SUCCEED", 101)
    runs = api.runs(task)
    assert len({run["item"] for run in runs}) == 101
    json = next(run for run in runs if run["item"].startswith("{"))
    assert api.output(task, json["id"]) == b'{"host":"db1","port":5432} 1\n'


def test_what_fails_is_tried_again_and_at_last_given_up(api: Api, witness: Witness):
    script = 'case "$1" in bad) exit 3 ;; late) [ "$MSCHEDULE_ATTEMPT" -ge 2 ] ;; esac'
    task = queue(api, script, ["good", "late", "bad"], retry_pause=0.05, max_attempts=2, open=True)
    until(lambda: api.task(task)["queue"]["dead"] == 1, 60, "the item that is given up")
    until(lambda: api.task(task)["counts"]["SUCCEED"] == 2, 60, "the others")
    (dead,) = results(api, task, states="DEAD")
    assert (dead["item"], dead["attempt"], dead["code"]) == ("bad", 2, 3)
    assert len(api.items(f"/api/v1/runs/{dead['run']}/attempts")) == 1

    assert post(api, f"/api/v1/tasks/{task}/put-back", {"runs": [dead["run"]]})["count"] == 1
    until(
        lambda: [one["attempt"] for one in results(api, task, states="DEAD")] == [4],
        60,
        "its further attempts",
    )
    post(api, f"/api/v1/tasks/{task}/close")
    ended = api.finished(task)
    assert (ended["state"], ended["counts"]["FAILED"]) == ("FAILED", 1)


def test_more_items_are_added_until_it_is_closed(api: Api):
    task = queue(api, 'echo "$1"', [], open=True)
    body = "".join(f"item {number}\n" for number in range(50)).encode()
    headers = {"Content-Type": "text/plain", "Idempotency-Key": "first"}
    for _ in range(2):  # sent again it counts once
        answer = api.call("POST", f"/api/v1/tasks/{task}/items", body, headers)
        assert (answer.status, answer.json["accepted"]) == (200, 50)
    until(lambda: api.task(task)["counts"]["SUCCEED"] == 50, 60, "all items")
    assert api.task(task)["state"] == "RUNNING"
    post(api, f"/api/v1/tasks/{task}/close")
    assert api.finished(task)["state"] == "SUCCEED"
    headers["Idempotency-Key"] = "second"
    answer = api.call("POST", f"/api/v1/tasks/{task}/items", b"more\n", headers)
    assert answer.status == 409


def test_cancel_stops_what_runs_and_counts_what_waits(api: Api, witness: Witness):
    task = queue(api, witness.play(), [str(number) for number in range(1000)])
    witness.wait_for("start", 2 * AGENTS)
    assert api.cancel(task).status == 200
    ended = api.finished(task)
    assert ended["state"] == "CANCELLED"
    assert ended["counts"]["CANCELLED"] == 1000


def test_a_pause_holds_what_waits_and_a_rate_is_changed_while_it_runs(api: Api):
    task = queue(api, "true", [str(number) for number in range(30)], rate=0.001)
    until(lambda: api.task(task)["counts"]["SUCCEED"] == 1, 60, "the first token's item")
    post(api, f"/api/v1/tasks/{task}/pause")
    changed = api.call("PATCH", f"/api/v1/tasks/{task}", {"rate": None})
    assert (changed.status, changed.json["state"]) == (200, "PAUSED")
    assert changed.json["queue"]["waits_for"] == "paused"
    assert api.task(task)["counts"]["WAITING"] == 29
    post(api, f"/api/v1/tasks/{task}/resume")
    assert api.finished(task, 60)["state"] == "SUCCEED"


def test_hosts_take_as_their_labels_say_just_now(api: Api, fleet: Fleet, witness: Witness):
    task = queue(api, witness.play(), ["a", "b"], targets="@zone:lab", parallel=1)
    assert "none is meant" in api.task(task)["queue"]["waits_for"]
    label(api, fleet, "web02", zone="lab")
    witness.wait_for("start", 1)
    label(api, fleet, "web02", zone=None)
    until(lambda: api.task(task)["queue"]["agents"] == 0, 60, "nobody that may take")
    label(api, fleet, "web03", zone="lab")
    until(lambda: api.task(task)["queue"]["agents"] == 1, 60, "the other host")
    witness.open()
    ended = api.finished(task, 60)
    label(api, fleet, "web03", zone=None)
    assert ended["state"] == "SUCCEED"
    hosts = {run["item"]: run["hostname"] for run in api.runs(task)}
    assert hosts == {"a": "web02", "b": "web03"}


def test_two_queues_of_one_priority_share_the_agents(api: Api, witness: Witness):
    items = [str(number) for number in range(60)]
    tasks = [queue(api, witness.play(), items, per_agent=1) for _ in range(2)]
    witness.wait_for("start", 2 * AGENTS)
    witness.open()
    for task in tasks:
        assert api.finished(task, 60)["state"] == "SUCCEED"
        hosts = Counter(run["hostname"] for run in api.runs(task))
        assert len(hosts) == AGENTS


def test_a_plan_runs_a_queue_and_waits_for_it(api: Api):
    plan = {
        "name": "scan",
        "steps": [
            {"name": "scan", "tasks": [{"script": "true", "mode": "queue", "items": ["a", "b"]}]},
            {"name": "report", "tasks": [{"script": "true", "targets": "web01"}]},
        ],
    }
    answer = api.call("POST", "/api/v1/plans", plan)
    assert answer.status == 201, answer.body
    path = f"/api/v1/plans/{answer.json['id']}"
    ended = until(lambda: _if_over(api.get(path)), 60, "the end of the plan")
    assert ended["state"] == "SUCCEED"
    plan["steps"][0]["tasks"][0]["open"] = True  # type: ignore[index]
    refused = api.call("POST", "/api/v1/plans", plan)
    assert (refused.status, refused.json["error"]["field"]) == (422, "steps[0].tasks[0].open")


def _if_over(plan: dict[str, Any]) -> dict[str, Any] | None:
    return plan if plan["state"] in ("SUCCEED", "FAILED", "CANCELLED") else None


def test_an_item_goes_to_another_agent_when_its_own_is_killed(
    make_fleet: Callable[..., Fleet], witness: Witness
):
    fleet = make_fleet(["web01", "web02"], slots=1, heartbeat_s=1.0)
    api = fleet.api
    task = queue(api, witness.play(), ["a"], lost_after=5.0)
    witness.wait_for("start", 1)
    (first,) = [run["hostname"] for run in api.runs(task)]
    below = fleet.runner_pids(first)
    fleet.agents[first].kill()
    kill_all(below)
    witness.wait_for("start", 2)
    witness.open()
    ended = api.finished(task, 60)
    (run,) = api.runs(task)
    assert (ended["state"], run["attempt"]) == ("SUCCEED", 2)
    assert run["hostname"] != first


def test_agents_serve_the_queues_that_they_were_told_in_their_order(
    make_fleet: Callable[..., Fleet], witness: Witness
):
    fleet = make_fleet(["web01"], slots=1)
    agent, api = fleet.agents["web01"], fleet.api
    agent.arguments += ["--queues", "scans,backups"]
    agent.restart()
    until(lambda: agent.log.count("registered as agent") >= 2, 60, "the agent with its queues")
    first = queue(api, witness.play(), ["x"], queue="scans")
    witness.wait_for("start", 1)
    other = queue(api, "true", ["x"])
    backups = queue(api, witness.say("backup"), ["x"], queue="backups", priority=9)
    scans = queue(api, witness.say("scan"), ["x"], queue="scans")
    witness.open()
    for task in (first, scans, backups):
        assert api.finished(task)["state"] == "SUCCEED"
    said = [line.what for line in witness.lines() if line.what in ("scan", "backup")]
    assert said == ["scan", "backup"]
    assert "serve the queue default" in api.task(other)["queue"]["waits_for"]
