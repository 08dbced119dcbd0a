"""Runs and their output."""

import pytest

from tests.web.fake_master import RUN, TASK, make_run
from webserver.api_output import byte_range
from webserver.refusals import RangeNotSatisfiable
from wire.errors import NotFound, Unavailable
from wire.views import OneRun, OutputView, Page

OUTPUT = bytes(range(256)) * 10_000  # 2.5 MB: more than one piece
URL = f"/api/v1/tasks/{TASK}/runs/{RUN}"


@pytest.fixture
def loud(master):
    """A run with output, as the master serves it: from an offset, at most `limit` bytes."""

    def read(ask):
        return OutputView(
            OUTPUT[ask.offset : ask.offset + ask.limit], ask.offset, len(OUTPUT), True
        )

    master.answer("get_output", read)
    return master


async def test_it_lists_runs_by_state(client, master):
    master.answer("get_runs", Page([make_run(state="FAILED", code=3)], next="c2"))
    response = await client.get(f"/api/v1/tasks/{TASK}/runs?state=FAILED&limit=7&cursor=c")
    body = await response.json()
    assert (body["items"][0]["code"], body["next"]) == (3, "c2")
    [asked] = master.asked("get_runs")
    assert (asked.task, asked.state, asked.limit, asked.cursor) == (TASK, "FAILED", 7, "c")


async def test_it_knows_the_states_of_a_run(client):
    response = await client.get(f"/api/v1/tasks/{TASK}/runs?state=failed")
    assert response.status == 422
    assert (await response.json())["error"]["field"] == "state"


async def test_it_shows_a_run_with_every_field(client):
    body = await (await client.get(URL)).json()
    assert list(body) == list(OneRun.__struct_fields__)


@pytest.mark.parametrize("path", ["", "/output"])
async def test_it_does_not_find_a_run_under_another_task(client, loud, path):
    response = await client.get(f"/api/v1/tasks/t-other/runs/{RUN}{path}")
    assert response.status == 404


async def test_it_does_not_cancel_a_run_under_another_task(client, master):
    response = await client.post(f"/api/v1/tasks/t-other/runs/{RUN}/cancel")
    assert response.status == 404
    assert master.asked("cancel_run") == []


async def test_it_cancels_a_run_and_again(client, master):
    master.answer("cancel_run", make_run(state="CANCELLED", code=None))
    for _ in range(2):
        response = await client.post(URL + "/cancel")
        assert (response.status, (await response.json())["state"]) == (200, "CANCELLED")


async def test_it_sends_output_byte_for_byte(client, loud):
    response = await client.get(URL + "/output")
    assert response.status == 200
    assert await response.read() == OUTPUT
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{RUN}.out"'
    assert response.headers["Accept-Ranges"] == "bytes"


async def test_it_sends_empty_output(client, master):
    master.answer("get_output", OutputView(b"", 0, 0, False))
    response = await client.get(URL + "/output")
    assert (response.status, await response.read()) == (200, b"")


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=2500000-", 2_500_000, len(OUTPUT)),
        ("bytes=5-99999999999", 5, len(OUTPUT)),
        ("bytes=-7", len(OUTPUT) - 7, len(OUTPUT)),
        ("bytes=-99999999999", 0, len(OUTPUT)),
        ("bytes=100-2200000", 100, 2_200_001),
    ],
)
async def test_it_sends_a_range(client, loud, header, start, end):
    response = await client.get(URL + "/output", headers={"Range": header})
    assert response.status == 206
    assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(OUTPUT)}"
    assert await response.read() == OUTPUT[start:end]


@pytest.mark.parametrize("header", ["bytes=2560000-", "bytes=9999999-99999999", "bytes=-0"])
async def test_it_answers_416_to_a_range_behind_the_end(client, loud, header):
    response = await client.get(URL + "/output", headers={"Range": header})
    assert response.status == 416
    assert response.headers["Content-Range"] == f"bytes */{len(OUTPUT)}"
    assert (await response.json())["error"]["code"] == "range_not_satisfiable"


@pytest.mark.parametrize(
    "header", ["bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=", "bytes=x-"]
)
async def test_it_sends_everything_when_the_range_is_of_another_form(client, loud, header):
    response = await client.get(URL + "/output", headers={"Range": header})
    assert response.status == 200
    assert await response.read() == OUTPUT


async def test_it_sends_everything_when_a_range_depends_on_a_validator(client, loud):
    headers = {"Range": "bytes=1-2", "If-Range": '"abc"'}
    assert (await client.get(URL + "/output", headers=headers)).status == 200


def test_it_finds_no_range_in_nothing():
    with pytest.raises(RangeNotSatisfiable):
        byte_range("bytes=0-", 0)


async def test_it_answers_head_with_the_length(client, loud):
    response = await client.head(URL + "/output")
    assert response.status == 200
    assert response.headers["Content-Length"] == str(len(OUTPUT))


async def test_it_sends_the_output_of_one_attempt_in_ranges_too(client, loud):
    url = f"/api/v1/runs/{RUN}/attempts/2/output"
    response = await client.get(url)
    assert await response.read() == OUTPUT
    assert response.headers["Content-Disposition"] == f'attachment; filename="{RUN}.2.out"'
    response = await client.get(url, headers={"Range": "bytes=-7"})
    assert (response.status, await response.read()) == (206, OUTPUT[-7:])
    assert {(ask.run, ask.attempt) for ask in loud.asked("get_output")} == {(RUN, 2)}


@pytest.mark.parametrize("attempt", ["0", "-1", "x", "1.5", "9999999999", "²"])
async def test_what_is_no_number_of_an_attempt_is_not_found(client, loud, attempt):
    response = await client.get(f"/api/v1/runs/{RUN}/attempts/{attempt}/output")
    assert response.status == 404
    assert loud.asked("get_output") == []


async def test_it_cuts_the_connection_when_the_master_goes_away_in_between(client, loud):
    whole = loud.answers["get_output"]
    loud.answer("get_output", lambda ask: whole(ask) if ask.offset == 0 else Unavailable("gone"))
    response = await client.get(URL + "/output")
    with pytest.raises(Exception, match=r"(?i)payload|closed|disconnected"):
        await response.read()


async def test_it_refuses_before_the_first_byte(client, master):
    master.answer("get_output", NotFound("the output is gone"))
    response = await client.get(URL + "/output")
    assert response.status == 404
    assert response.headers["Content-Type"] == "application/json"
