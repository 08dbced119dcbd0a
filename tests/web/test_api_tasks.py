"""Submitting, listing, watching and cancelling tasks."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.fake_master import BOB, NOW, TASK, make_task
from webserver.body import parse_json
from wire.errors import Busy, Conflict, InvalidValue, Malformed, NotFound, Refusal, Unavailable
from wire.requests import Submission
from wire.views import Added, Page


@pytest.fixture
def accepting(master):
    master.answer("add_task", Added(TASK, True))
    return master


SOUND = {"script": "echo hello\n", "targets": "web*"}


@pytest.mark.parametrize("path", ["/api/v1/tasks", "/task"])
async def test_it_accepts_a_task_on_both_paths(client, accepting, path):
    response = await client.post(path, json=SOUND)
    assert response.status == 201
    assert await response.json() == {"id": TASK}
    assert response.headers["Location"] == f"/api/v1/tasks/{TASK}"
    [asked] = accepting.asked("add_task")
    assert asked.submission.script == "echo hello\n"
    assert asked.submission.targets == "web*"


async def test_it_passes_every_field_on(client, accepting):
    body = {
        "script_base64": "AAEC",
        "targets": ["a" * 32],
        "name": "n",
        "timeout": 1.5,
        "parallel": "25%",
        "fail_rate": 0.5,
        "fail_count": 3,
        "on_limit": "kill",
        "priority": 7,
        "args": ["x"],
        "env": {"A": "b"},
        "user": "root",
        "cwd": "/",
        "grace": 2,
        "expires_in": 60,
        "offline": "skip",
        "lost_after": 30,
        "expect": "d",
    }
    assert (await client.post("/task", json=body)).status == 201
    submission = accepting.asked("add_task")[0].submission
    assert {name: getattr(submission, name) for name in body} == body


async def test_it_does_not_mind_what_curl_calls_the_body(client, accepting):
    response = await client.post(
        "/task",
        data=json.dumps(SOUND),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert response.status == 201


async def test_it_passes_the_idempotency_key_on(client, accepting):
    for _ in range(2):
        response = await client.post("/task", json=SOUND, headers={"Idempotency-Key": "k 1"})
        assert response.status == 201
    assert [asked.key for asked in accepting.asked("add_task")] == ["k 1", "k 1"]


async def test_it_answers_409_to_another_body_under_the_same_key(client, master):
    master.answer("add_task", Conflict("another body", field="Idempotency-Key"))
    response = await client.post("/task", json=SOUND, headers={"Idempotency-Key": "k"})
    assert response.status == 409
    assert (await response.json())["error"]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("key", ["", "k" * 201, "schlüssel"])
async def test_it_refuses_a_key_of_another_form(client, accepting, key):
    response = await client.post("/task", json=SOUND, headers={"Idempotency-Key": key})
    assert response.status == 400
    assert accepting.asked("add_task") == []


async def test_it_says_that_a_task_may_have_been_accepted_and_names_the_key(client, master):
    master.answer("add_task", Unavailable("no answer within 10 s"))
    response = await client.post("/task", json=SOUND, headers={"Idempotency-Key": "my-key"})
    assert response.status == 503
    assert "Retry-After" in response.headers
    message = (await response.json())["error"]["message"]
    assert "may have been accepted" in message
    assert "my-key" in message


async def test_it_makes_a_key_that_a_503_can_name(client, master):
    master.answer("add_task", Unavailable("gone"))
    body = await (await client.post("/task", json=SOUND)).json()
    [asked] = master.asked("add_task")
    assert body["error"]["details"] == {"idempotency_key": asked.key}


async def test_it_does_not_claim_so_when_the_master_was_never_asked(client, master):
    master.answer("add_task", Busy("too many"))
    body = await (await client.post("/task", json=SOUND)).json()
    assert body["error"] == {"code": "busy", "message": "too many"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"script": "a", "colour": 1}', "colour"),
        (b'{"script": 5}', "script"),
        (b'{"timeout": true}', "timeout"),
        (b'{"timeout": "10"}', "timeout"),
        (b'{"timeout": NaN}', "timeout"),
        (b'{"items": [1, [NaN]]}', "items"),
        (b'{"timeout": -Infinity}', "timeout"),
        (b'{"parallel": 1.5}', "parallel"),
        (b'{"parallel": [1]}', "parallel"),
        (b'{"fail_count": 3.5}', "fail_count"),
        (b'{"targets": [1]}', "targets"),
        (b'{"targets": {"a": 1}}', "targets"),
        (b'{"args": "x"}', "args"),
        (b'{"env": {"A": 1}}', "env"),
        (b'{"script": "a", "script": "b"}', "script"),
        (b'{"env": {"A": "1", "A": "2"}}', "A"),
    ],
)
async def test_it_names_the_field_of_another_form(client, accepting, body, field):
    response = await client.post("/task", data=body)
    assert response.status == 400
    error = (await response.json())["error"]
    assert (error["code"], error["field"]) == ("malformed", field)
    assert accepting.asked("add_task") == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"timeout": 1e999}', "timeout"),
        (b'{"priority": 1%s}' % (b"0" * 30), "priority"),
        (b'{"items": [1, [2, 1%s]]}' % (b"0" * 30), "items"),
    ],
)
async def test_it_refuses_numbers_that_no_computer_holds(client, body, field):
    response = await client.post("/task", data=body)
    assert response.status == 422
    assert (await response.json())["error"]["field"] == field


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b'"text"',
        b'{"script": "a"',
        b'{"script": "a"} {}',
        b'\xef\xbb\xbf{"script": "a"}',
        b'{"script": "\xff"}',
        b'{"script": "\\ud800"}',
        b'{"script": "a\x00b"}',
        b"[" * 200_000,
        b'{"env": ' + b'{"a":' * 200_000,
    ],
)
async def test_it_answers_400_to_what_is_no_json_object(client, accepting, body):
    response = await client.post("/task", data=body)
    assert response.status == 400
    assert (await response.json())["error"]["code"] == "malformed"


@given(st.binary(max_size=200))
def test_it_never_breaks_on_bytes(body):
    try:
        parse_json(body, Submission)
    except Refusal as refusal:
        assert refusal.status in (400, 422)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
_NAMES = st.sampled_from(list(Submission.__struct_fields__)) | st.text()


@given(st.dictionaries(_NAMES, _JSON, max_size=4))
def test_it_never_breaks_on_values(values):
    try:
        submission = parse_json(json.dumps(values).encode(), Submission)
    except Refusal as refusal:
        assert refusal.status in (400, 422)
        assert refusal.message
    else:
        assert set(values) <= set(Submission.__struct_fields__)
        assert all(abs(getattr(submission, name)) <= 2**53 for name in ("priority",))


async def test_it_passes_on_what_the_master_says_of_a_value(client, master):
    master.answer("add_task", InvalidValue("script is empty", field="script"))
    response = await client.post("/task", json={})
    assert response.status == 422
    assert (await response.json())["error"] == {
        "code": "invalid_value",
        "message": "script is empty",
        "field": "script",
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [("script", "é" * 600_000), ("script_base64", "QUFB" * 350_000)],
)
async def test_it_refuses_a_script_over_one_mebibyte(client, accepting, field, value):
    body = io.BytesIO(json.dumps({field: value}).encode())
    response = await client.post("/task", data=body)
    assert response.status == 413
    assert (await response.json())["error"]["field"] == field
    assert accepting.asked("add_task") == []


async def test_it_takes_a_script_of_just_one_mebibyte(client, accepting):
    body = io.BytesIO(json.dumps({"script": "x" * (1 << 20)}).encode())
    assert (await client.post("/task", data=body)).status == 201


async def test_it_lists_tasks(client, master):
    master.answer("get_tasks", Page([make_task(script_base64=None)], next="c2"))
    response = await client.get("/api/v1/tasks?state=RUNNING&limit=5&cursor=c")
    body = await response.json()
    assert body["next"] == "c2"
    assert body["items"][0]["created_at"] == NOW
    [asked] = master.asked("get_tasks")
    assert (asked.state, asked.limit, asked.cursor) == ("RUNNING", 5, "c")


async def test_it_knows_the_states_of_a_task(client):
    response = await client.get("/api/v1/tasks?state=DONE")
    assert response.status == 422
    error = (await response.json())["error"]
    assert error["field"] == "state"
    assert "SUCCEED" in error["message"]


async def test_it_shows_a_task(client):
    body = await (await client.get(f"/api/v1/tasks/{TASK}")).json()
    assert (body["id"], body["state"], body["counts"]) == (TASK, "RUNNING", {"RUNNING": 1})


async def test_it_lets_the_wait_park_at_the_master(client, master):
    await client.get(f"/api/v1/tasks/{TASK}?wait=30")
    assert master.asked("get_task")[0].wait == 30
    [timeout_s] = [limit for method, limit in master.timeouts if method == "get_task"]
    assert timeout_s > 30


async def test_it_waits_half_a_minute_at_most(client, master):
    await client.get(f"/api/v1/tasks/{TASK}?wait=3600")
    assert master.asked("get_task")[0].wait == 30


@pytest.mark.parametrize(
    ("wait", "status"), [("x", 400), ("", 400), ("-1", 422), ("nan", 422), ("inf", 422)]
)
async def test_it_refuses_a_wait_that_is_no_duration(client, wait, status):
    response = await client.get(f"/api/v1/tasks/{TASK}?wait={wait}")
    assert response.status == status
    assert (await response.json())["error"]["field"] == "wait"


@pytest.mark.parametrize("id", ["nope", "%00", "a" * 200, "%2e%2e%2fetc", "%ff"])
async def test_it_does_not_find_what_is_not_there(client, id):
    response = await client.get(f"/api/v1/tasks/{id}")
    assert response.status == 404
    assert (await response.json())["error"]["code"] == "not_found"


async def test_it_cancels_and_cancels_again(client, master):
    master.answer("cancel_task", make_task(reason="being stopped"))
    for _ in range(2):
        response = await client.post(f"/api/v1/tasks/{TASK}/cancel")
        assert response.status == 200
        assert (await response.json())["reason"] == "being stopped"


@pytest.mark.parametrize(("body", "status"), [(b"", 200), (b"{}", 200), (b'{"now": true}', 400)])
async def test_it_takes_no_body_for_a_cancel(client, master, body, status):
    master.answer("cancel_task", make_task())
    assert (await client.post(f"/api/v1/tasks/{TASK}/cancel", data=body)).status == status


async def test_it_does_not_cancel_a_task_that_is_not_there(client, master):
    master.answer("cancel_task", NotFound("there is no task x"))
    assert (await client.post("/api/v1/tasks/x/cancel")).status == 404


async def test_it_lets_bob_look_but_not_submit_or_cancel(client, master):
    bob = {"Authorization": f"Bearer {BOB}"}
    assert (await client.get("/api/v1/tasks", headers=bob)).status == 200
    assert (await client.post("/task", json=SOUND, headers=bob)).status == 403
    assert (await client.post(f"/api/v1/tasks/{TASK}/cancel", headers=bob)).status == 403


def test_it_shows_the_value_in_the_sentence():
    with pytest.raises(Malformed, match=r'timeout takes a number, and timeout is "ten"'):
        parse_json(b'{"timeout": "ten"}', Submission)
