"""Schedules with the real programs: kills, edits at the due second, rights at each firing."""

import random
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from tests.fleet import Api, Fleet
from tests.support import until
from tests.web_peer import web_peer

SCHEDULES = "/api/v1/schedules"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with Fleet(tmp_path_factory.mktemp("fleet"), ["web01", "db1"]) as started:
        yield started


def test_it_runs_a_script_at_its_time_on_the_hosts_of_then(fleet):
    made = make(fleet, "soon", once(2), "echo $MSCHEDULE_TASK_ID", targets="web*")
    (firing,) = until(lambda: firings(fleet, made), what="the firing")
    task = fleet.api.finished(firing["task"])
    assert (task["state"], task["schedule"], task["created_by"]) == (
        "SUCCEED",
        made["id"],
        "schedule soon",
    )
    assert task["due_at"] == firing["due_at"] == made["next_at"]
    assert [run["hostname"] for run in fleet.api.items(f"/api/v1/tasks/{task['id']}/runs")] == [
        "web01"
    ]
    assert fleet.api.get(f"{SCHEDULES}/{made['id']}")["state"] == "ended"


def test_it_runs_a_plan_at_its_time_and_tells_what_became_of_it(fleet):
    steps = [
        {"name": name, "tasks": [{"script": script, "targets": targets}]}
        for name, script, targets in (("try", "true", "web*"), ("ship", "true", "@try:succeed"))
    ]
    body = {"name": "ship soon", "when": once(2), "plan": {"steps": steps}}
    made = fleet.api.call("POST", SCHEDULES, body)
    assert made.status == 201, made.body
    (firing,) = until(lambda: firings(fleet, made.json), what="the firing")
    path = f"/api/v1/plans/{firing['plan']}"
    until(lambda: fleet.api.get(path)["state"] != "RUNNING", 60, what="the end of the plan")
    plan = fleet.api.get(path)
    assert (plan["state"], plan["name"], plan["schedule"]) == (
        "SUCCEED",
        "ship soon",
        made.json["id"],
    )
    assert plan["due_at"] == firing["due_at"] == made.json["next_at"]
    (firing,) = firings(fleet, made.json)
    assert (firing["plan_state"], firing["task"]) == ("SUCCEED", None)


def test_it_takes_an_edit_at_the_due_second(fleet):
    """Whatever comes first, each due instant has one row and the schedule goes on as edited."""
    made = make(fleet, "edited", {"kind": "every", "every": 1}, "true", overlap="allow")
    for _ in range(5):
        now = time.time()
        time.sleep(max(0.0, 1 - now % 1 + random.uniform(-0.01, 0.01)))  # the point of this test
        when = {"kind": "every", "every": random.choice([1, 2, 3])}
        edited = fleet.api.call("PATCH", f"{SCHEDULES}/{made['id']}", {"when": when})
        assert edited.status == 200, edited.body
    fleet.api.call("POST", f"{SCHEDULES}/{made['id']}/pause")
    rows = firings(fleet, made)
    seen = Counter(row["due_at"] for row in rows)
    assert seen and max(seen.values()) == 1
    # One that came up while the master was busy for long may have been missed, and says so.
    fired = Counter(row["due_at"] for row in rows if row["state"] != "missed")
    tasks = [task for task in fleet.api.items("/api/v1/tasks") if task["schedule"] == made["id"]]
    assert Counter(task["due_at"] for task in tasks) == fired


def test_it_misses_nothing_silently_when_the_master_is_killed_again_and_again(fleet):
    made = make(
        fleet,
        "through kills",
        {"kind": "every", "every": 1},
        "true",
        overlap="allow",
        misfire="each",
        misfire_most=100,
    )
    for _ in range(4):
        time.sleep(random.uniform(0.3, 1.5))  # at any moment
        fleet.master.kill()
        fleet.master.start()
    until(lambda: paused(fleet.api, made), 60, what="the master to be there")
    rows = firings(fleet, made)
    due = sorted(datetime.fromisoformat(row["due_at"]).timestamp() for row in rows)
    assert due == [due[0] + place for place in range(len(due))], "one row for each second"
    assert {row["state"] for row in rows} == {"fired"}
    tasks = [task for task in fleet.api.items("/api/v1/tasks") if task["schedule"] == made["id"]]
    assert sorted(row["task"] for row in rows) == sorted(task["id"] for task in tasks)


def test_it_runs_now_and_once_for_one_key(fleet):
    made = make(fleet, "by hand", {"kind": "every", "every": 86_400}, "sleep 60")
    key = {"Idempotency-Key": "one"}
    first = fleet.api.call("POST", f"{SCHEDULES}/{made['id']}/run", None, key)
    again = fleet.api.call("POST", f"{SCHEDULES}/{made['id']}/run", None, key)
    assert (first.status, again.status) == (201, 201), first.body
    assert first.json == again.json
    other = fleet.api.call("POST", f"{SCHEDULES}/{made['id']}/run")
    assert other.status == 409
    assert first.json["id"] in other.json["error"]["message"]
    fleet.api.call("POST", f"/api/v1/tasks/{first.json['id']}/cancel")


def test_it_judges_the_owner_at_each_firing(fleet):
    otto = person(fleet, "otto", "operator", "web01")
    mine = make(fleet, "of otto", {"kind": "every", "every": 1}, "true", api=otto, targets="web01")
    until(lambda: firings(fleet, mine), what="a firing")
    refused = otto.call(
        "PATCH",
        f"{SCHEDULES}/{mine['id']}",
        {"task": {"script": "true", "targets": "db1"}},
    )
    assert refused.status == 403, refused.body
    (id,) = [one["id"] for one in fleet.api.items("/api/v1/people") if one["name"] == "otto"]
    changed = fleet.api.call("PATCH", f"/api/v1/people/{id}", {"hosts": "db1"})
    assert changed.status == 200, changed.body
    row = until(
        lambda: next((row for row in firings(fleet, mine) if "limited" in row["reason"]), None),
        what="a firing that is skipped",
    )
    assert (row["state"], row["task"]) == ("skipped", None)
    assert "web01" in row["reason"]
    disabled = fleet.api.call("PATCH", f"/api/v1/people/{id}", {"disabled": True})
    assert disabled.status == 200, disabled.body
    until(
        lambda: any("disabled" in row["reason"] for row in firings(fleet, mine)),
        what="a firing that is skipped since its owner is disabled",
    )
    fleet.api.call("DELETE", f"{SCHEDULES}/{mine['id']}")


def test_it_writes_down_who_did_what_with_a_schedule(fleet):
    made = make(fleet, "audited", {"kind": "every", "every": 86_400}, "true")
    fleet.api.call("POST", f"{SCHEDULES}/{made['id']}/pause")
    fleet.api.call("DELETE", f"{SCHEDULES}/{made['id']}")
    acts = fleet.api.items("/api/v1/audit", object=f"schedule:{made['id']}")
    assert [act["action"] for act in acts] == [
        "schedule.delete",
        "schedule.pause",
        "schedule.add",
    ]


def make(fleet, name, when, script, api: Api | None = None, targets="@*", **fields):
    body = {"name": name, "when": when, "task": {"script": script, "targets": targets}, **fields}
    answer = (api or fleet.api).call("POST", SCHEDULES, body)
    assert answer.status == 201, answer.body
    return answer.json


def once(in_s):
    at = datetime.fromtimestamp(int(time.time()) + in_s, UTC)
    return {"kind": "once", "at": at.isoformat()}


def firings(fleet, schedule):
    return fleet.api.items(f"{SCHEDULES}/{schedule['id']}/firings", limit=1000)


def paused(api, schedule):
    return api.call("POST", f"{SCHEDULES}/{schedule['id']}/pause").status == 200


def person(fleet, name, role, hosts):
    """The API as somebody with a token of their own."""
    password = "a long first password"
    given = {"name": name, "role": role, "hosts": hosts, "password": password}
    assert fleet.api.call("POST", "/api/v1/people", given).status == 201
    with web_peer(fleet.join_string("web")) as peer:
        session = peer.log_in(name, password)
        made = peer.call("add_token", session, name="of the test", role=role)
    return fleet.connect(made["secret"])
