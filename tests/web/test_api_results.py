"""Groups, the grid, diffs and retries."""

import hashlib
import json

import pytest

from tests.web.fake_master import BOB, DB1, RUN, TASK, WEB01, make_run
from webserver.diffs import MAX_BYTES
from wire.errors import Conflict, InvalidValue, NotFound, Unavailable
from wire.views import Added, GridView, GroupsView, GroupView, OutputView, TargetsView

OTHER = "r-other"
DIFF = f"/api/v1/tasks/{TASK}/diff"


async def test_it_groups_runs_by_result(client, master):
    group = GroupView("SUCCEED", 0, "ab" * 32, 6, "", 2, "web[01-02]", [RUN], ["web01"])
    master.answer("get_groups", GroupsView([group], 7))
    response = await client.get(f"/api/v1/tasks/{TASK}/groups?limit=1")
    body = await response.json()
    assert (body["total"], body["groups"][0]["nodeset"]) == (7, "web[01-02]")
    assert (master.asked("get_groups")[0].task, master.asked("get_groups")[0].limit) == (TASK, 1)


async def test_it_gives_the_grid_in_columns(client, master):
    master.answer("get_grid", GridView(5, 9, "01a1", ["x", "y"], ["web01", "db1"], "SW", "m-3"))
    response = await client.get(f"/api/v1/tasks/{TASK}/grid?offset=5&limit=2")
    body = await response.json()
    assert (body["states"], body["hosts"], body["since"]) == ("SW", ["web01", "db1"], "m-3")
    [ask] = master.asked("get_grid")
    assert (ask.offset, ask.limit) == (5, 2)


async def test_it_names_the_hosts_of_a_task_to_run_it_again(client, master):
    master.answer("get_task_targets", TargetsView("web01", 1, "d", 0, [WEB01], ["db9"]))
    response = await client.get(f"/api/v1/tasks/{TASK}/targets?states=FAILED,TIMEOUT")
    assert (await response.json())["left_out"] == ["db9"]
    assert master.asked("get_task_targets")[0].states == ["FAILED", "TIMEOUT"]


async def test_it_refuses_a_state_that_no_run_has(client):
    response = await client.get(f"/api/v1/tasks/{TASK}/targets?states=FAILED,BROKEN")
    assert response.status == 422
    assert (await response.json())["error"]["field"] == "states"


# ---- retry


async def test_it_retries_what_failed(client, master):
    master.answer("retry_task", Added("t-new", True, ["db9"]))
    response = await client.post(
        f"/api/v1/tasks/{TASK}/retry",
        json={"states": ["FAILED", "TIMEOUT"]},
        headers={"Idempotency-Key": "k1"},
    )
    assert response.status == 201
    assert response.headers["Location"] == "/api/v1/tasks/t-new"
    assert await response.json() == {"id": "t-new", "left_out": ["db9"]}
    [ask] = master.asked("retry_task")
    assert (ask.id, ask.states, ask.key) == (TASK, ["FAILED", "TIMEOUT"], "k1")


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ({"states": []}, 400), ({"states": "FAILED"}, 400), ({"runs": []}, 400)],
)
async def test_it_wants_to_know_which_runs_to_retry(client, body, status):
    response = await client.post(f"/api/v1/tasks/{TASK}/retry", json=body)
    assert response.status == status


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (InvalidValue("no run of the task is FAILED", field="states"), 422),
        (Conflict("the key was used for another request"), 409),
        (NotFound("no task"), 404),
    ],
)
async def test_it_passes_on_why_nothing_is_retried(client, master, refusal, status):
    master.answer("retry_task", refusal)
    response = await client.post(f"/api/v1/tasks/{TASK}/retry", json={"states": ["FAILED"]})
    assert response.status == status


async def test_it_names_the_key_when_a_retry_may_have_been_accepted(client, master):
    master.answer("retry_task", Unavailable("no answer"))
    response = await client.post(
        f"/api/v1/tasks/{TASK}/retry",
        json={"states": ["FAILED"]},
        headers={"Idempotency-Key": "k1"},
    )
    assert response.status == 503
    assert (await response.json())["error"]["details"] == {"idempotency_key": "k1"}


async def test_it_leaves_retries_to_operators(client):
    response = await client.post(
        f"/api/v1/tasks/{TASK}/retry",
        json={"states": ["FAILED"]},
        headers={"Authorization": f"Bearer {BOB}"},
    )
    assert response.status == 403


# ---- diffs


def outputs(master, left: bytes, right: bytes, **changes):
    """Two runs of the task with these outputs."""
    texts = {RUN: left, OTHER: right}
    hostnames = {RUN: "web01", OTHER: "db1"}

    def run(ask):
        if ask.id not in texts:
            return NotFound(f"no run has the id {ask.id}")
        digest = hashlib.sha256(texts[ask.id]).hexdigest()
        values = {"output_sha256": digest, "agent": DB1, "hostname": hostnames[ask.id]}
        return make_run(ask.id, **(values | changes))

    def output(ask):
        data = texts[ask.run]
        return OutputView(data[: ask.limit], 0, len(data), True)

    master.answer("get_run", run)
    master.answer("get_output", output)


async def diff(client, left=RUN, right=OTHER):
    response = await client.get(DIFF, params={"left": left, "right": right})
    assert response.status == 200, await response.text()
    return await response.json()


async def test_it_says_what_differs(client, master):
    outputs(master, b"one\ntwo\nthree\n", b"one\n2\nthree\n")
    found = await diff(client)
    assert (found["left_hostname"], found["right_hostname"]) == ("web01", "db1")
    assert [(line["kind"], line["text"]) for line in found["lines"]] == [
        ("hunk", "@@ -1,3 +1,3 @@"),
        ("same", "one"),
        ("removed", "two"),
        ("added", "2"),
        ("same", "three"),
    ]
    assert (found["identical"], found["cut"]) == (False, [])


async def test_it_says_that_nothing_differs(client, master):
    outputs(master, b"same\n", b"same\n")
    found = await diff(client)
    assert (found["identical"], found["lines"]) == (True, [])


async def test_it_compares_runs_that_have_not_ended_by_what_there_is(client, master):
    outputs(master, b"same\n", b"same\n", output_sha256=None)
    assert (await diff(client))["identical"] is True
    outputs(master, b"same\n", b"other\n", output_sha256=None)
    assert (await diff(client))["identical"] is False


async def test_it_says_what_of_a_long_output_was_compared(client, master):
    line = b"x" * 1023 + b"\n"
    outputs(master, line * 1000, line * 1000 + b"the end\n")
    found = await diff(client)
    assert not found["identical"]
    assert any(f"only the first {MAX_BYTES >> 10} KiB of left" in text for text in found["cut"])
    assert found["lines"] == []


async def test_it_answers_soon_when_the_comparison_would_take_for_ever(client, master):
    left = b"".join(b"%d\n" % (n % 97) for n in range(9_000))
    right = b"".join(b"%d\n" % (n * n % 97) for n in range(9_000))
    outputs(master, left, right)
    found = await diff(client)
    assert found["lines"]
    assert len(json.dumps(found)) < 2_000_000


async def test_it_compares_only_runs_of_the_task(client, master):
    outputs(master, b"", b"")
    response = await client.get(DIFF, params={"left": RUN, "right": "r-nowhere"})
    assert response.status == 404
    master.answer("get_run", make_run(task="t-other"))
    response = await client.get(DIFF, params={"left": RUN, "right": OTHER})
    assert response.status == 404
    assert (await response.json())["error"]["field"] in ("left", "right")


async def test_it_wants_two_runs_to_compare(client):
    response = await client.get(DIFF, params={"left": RUN})
    assert response.status == 400
    assert (await response.json())["error"]["field"] == "right"


async def test_it_makes_one_diff_at_a_time_and_all_of_them(client, master):
    import asyncio

    outputs(master, b"a\n", b"b\n")
    found = await asyncio.gather(*(diff(client) for _ in range(5)))
    assert all(one == found[0] for one in found)


async def test_it_refuses_a_diff_when_too_many_wait(client, master, monkeypatch):
    monkeypatch.setattr("webserver.diffs.MOST_WAITING", 0)
    outputs(master, b"a\n", b"b\n")
    response = await client.get(DIFF, params={"left": RUN, "right": OTHER})
    assert response.status == 503
    assert "Retry-After" in response.headers


async def test_it_ends_a_diff_that_is_never_made(client, master, monkeypatch, tmp_path):
    stuck = tmp_path / "stuck.py"
    stuck.write_text("import time; time.sleep(600)")
    monkeypatch.setattr("webserver.diffs.WORKER", stuck)
    monkeypatch.setattr("webserver.diffs.TIME_S", 0.2)
    outputs(master, b"a\n", b"b\n")
    response = await client.get(DIFF, params={"left": RUN, "right": OTHER})
    assert response.status == 503


async def test_it_says_so_when_the_process_of_a_diff_breaks(client, master, monkeypatch, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(1)")
    monkeypatch.setattr("webserver.diffs.WORKER", broken)
    outputs(master, b"a\n", b"b\n")
    response = await client.get(DIFF, params={"left": RUN, "right": OTHER})
    assert response.status == 500
    assert (await response.json())["error"]["code"] == "internal"
