"""Queue tasks for programs: uploads, closing, putting back, results, attempts."""

import asyncio
import csv
import io
import json

import msgspec
import pytest

from tests.web.fake_master import BOB, RUN, TASK, make_result, make_run, make_task
from webserver import body, item_file
from webserver import upload as uploading
from wire.errors import Conflict, Unavailable
from wire.queues import ITEMS_AT_ONCE, AttemptView, ItemsAdded, PutBackDone
from wire.views import Added, OutputView, Page

URL = f"/api/v1/tasks/{TASK}"
TEXT = {"Content-Type": "text/plain"}
NDJSON = {"Content-Type": "application/x-ndjson"}


class Store:
    """The items of one task, added as the master adds them: what is there is passed over."""

    def __init__(self):
        self.uploads = {}
        self.calls = 0

    @property
    def items(self):
        return [item for upload in self.uploads.values() for item in upload]

    def add(self, ask):
        self.calls += 1
        there = self.uploads.setdefault(ask.upload, [])
        assert ask.start <= len(there), "a part came before the one in front of it"
        there += ask.items[len(there) - ask.start :]
        return ItemsAdded(len(there), len(self.items))


@pytest.fixture
def store(master):
    store = Store()
    master.answer("add_items", store.add)
    return store


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Nothing waits longer than it must to be seen."""
    monkeypatch.setattr(uploading, "PAUSE_S", 0.001)


async def problem(response, status):
    assert response.status == status, await response.text()
    return (await response.json())["error"]


async def pieces(*parts):
    for part in parts:
        yield part


async def test_each_line_of_a_text_is_an_item(client, store):
    response = await client.post(f"{URL}/items", data=b"web01\nweb 02\n\nweb03", headers=TEXT)
    assert response.status == 200
    assert await response.json() == {"accepted": 3, "items": 3}
    assert store.items == ["web01", "web 02", "web03"]


async def test_each_line_may_be_a_json_value(client, store):
    lines = b'"a"\n{"host": "b", "port": 80}\n'
    response = await client.post(f"{URL}/items", data=lines, headers=NDJSON)
    assert response.status == 200
    assert store.items == ["a", '{"host":"b","port":80}']


async def test_items_may_stand_in_a_json_body(client, store):
    response = await client.post(f"{URL}/items", json={"items": ["a", 1.5, {"b": [None]}]})
    assert await response.json() == {"accepted": 3, "items": 3}
    assert store.items == ["a", "1.5", '{"b":[null]}']


async def test_a_body_without_items_adds_none(client, store):
    response = await client.post(f"{URL}/items", data=b"\n", headers=TEXT)
    assert await response.json() == {"accepted": 0, "items": 0}


async def test_many_items_go_to_the_master_in_parts_and_in_order(client, store, monkeypatch):
    monkeypatch.setattr(body, "MAX_BODY_BYTES", 1)  # not for this route
    count = ITEMS_AT_ONCE * 3 + 5
    lines = [b"%d\n" % n for n in range(count)]
    response = await client.post(f"{URL}/items", data=pieces(*lines), headers=TEXT)
    assert await response.json() == {"accepted": count, "items": count}
    assert store.items == [str(n) for n in range(count)]
    assert store.calls == 4


async def test_an_upload_that_is_repeated_adds_only_what_is_not_there(client, store):
    headers = TEXT | {"Idempotency-Key": "hosts of today"}
    for text in (b"a\nb\n", b"a\nb\n", b"a\nb\nc\n"):
        response = await client.post(f"{URL}/items", data=text, headers=headers)
        assert response.status == 200
    assert store.items == ["a", "b", "c"]


async def test_without_a_key_each_request_adds(client, store):
    for _ in range(2):
        await client.post(f"{URL}/items", data=b"a\n", headers=TEXT)
    assert store.items == ["a", "a"]


async def test_a_wrong_line_is_named_and_what_came_before_it_stays(client, store):
    lines = b"".join(b"%d\n" % n for n in range(ITEMS_AT_ONCE + 10)) + b"a\0b\n"
    found = await problem(await client.post(f"{URL}/items", data=lines, headers=TEXT), 422)
    assert found["field"] == "items"
    assert found["details"]["line"] == ITEMS_AT_ONCE + 11
    assert found["details"]["accepted"] == len(store.items) == ITEMS_AT_ONCE
    assert found["details"]["idempotency_key"] in found["message"]


@pytest.mark.parametrize("items", [["a\0"], ["x" * 70_000]])
async def test_a_wrong_item_of_a_json_body_is_named(client, store, items):
    found = await problem(await client.post(f"{URL}/items", json={"items": items}), 422)
    assert found["message"].startswith("items[0] ")
    assert store.calls == 0


async def test_a_part_whose_answer_is_lost_is_sent_again_and_counts_once(client, master, store):
    answers = iter([Unavailable("no answer"), None, Unavailable("no answer")])

    def add(ask):
        done = store.add(ask)
        return next(answers, None) or done

    master.answer("add_items", add)
    response = await client.post(f"{URL}/items", data=b"a\nb\n", headers=TEXT)
    assert await response.json() == {"accepted": 2, "items": 2}
    assert store.items == ["a", "b"]


async def test_a_master_that_stays_away_is_503_with_the_name_to_go_on_with(
    client, master, monkeypatch
):
    monkeypatch.setattr(uploading, "PATIENCE_S", 0.05)
    master.answer("add_items", Unavailable("the master is away"))
    response = await client.post(f"{URL}/items", data=b"a\n", headers=TEXT)
    found = await problem(response, 503)
    assert found["details"]["accepted"] == 0
    assert found["details"]["idempotency_key"] in found["message"]
    assert response.headers["Retry-After"]


async def test_a_closed_queue_is_said_at_the_first_part(client, master):
    master.answer("add_items", Conflict("the queue is closed"))
    found = await problem(await client.post(f"{URL}/items", data=b"a\n", headers=TEXT), 409)
    assert "closed" in found["message"]
    assert len(master.asked("add_items")) == 1


async def test_a_client_that_falls_silent_is_sent_away(client, store, monkeypatch):
    monkeypatch.setattr(body, "STREAM_IDLE_S", 0.05)

    async def slow():
        yield b"a\n"
        await asyncio.Event().wait()

    response = await client.post(f"{URL}/items", data=slow(), headers=TEXT)
    assert (await problem(response, 408))["code"] == "request_timeout"


async def test_a_body_of_another_kind_is_told_what_is_right(client, store):
    response = await client.post(f"{URL}/items", data=b"a\nb\n", headers={"Content-Type": "a/b"})
    assert "text/plain" in (await problem(response, 400))["message"]
    response = await client.post(
        f"{URL}/items", data=b"a", headers={"Content-Type": "text/plain; charset=latin-1"}
    )
    assert (await problem(response, 400))["field"] == "Content-Type"


async def test_a_viewer_may_not_add(stranger, store):
    response = await stranger.post(
        f"{URL}/items", data=b"a\n", headers=TEXT | {"Authorization": f"Bearer {BOB}"}
    )
    await problem(response, 403)
    assert store.calls == 0


async def test_a_queue_is_closed_by_word(client, master):
    master.answer("close_queue", make_task())
    response = await client.post(f"{URL}/close")
    assert response.status == 200
    assert master.asked("close_queue")[0].id == TASK


async def test_dead_runs_are_put_back_all_or_by_name(client, master):
    master.answer("put_back", PutBackDone(2, left=True))
    response = await client.post(f"{URL}/put-back", json={})
    assert await response.json() == {"count": 2, "left": True}
    await client.post(f"{URL}/put-back", json={"runs": [RUN]})
    assert [ask.runs for ask in master.asked("put_back")] == [None, [RUN]]
    await problem(await client.post(f"{URL}/put-back", json={"runs": []}), 400)


async def test_results_are_a_page_as_json(client, master):
    views = [make_result(), make_result(seq=1, run=None, state="WAITING", agent=None)]
    master.answer("get_results", Page(views, "c2"))
    response = await client.get(f"{URL}/results?states=DEAD,WAITING&limit=2")
    found = await response.json()
    assert [one["item"] for one in found["items"]] == ["10.0.0.1", "10.0.0.1"]
    assert found["next"] == "c2"
    assert "output" not in found["items"][0]
    ask = master.asked("get_results")[0]
    assert (ask.states, ask.limit, ask.output) == (["DEAD", "WAITING"], 2, False)


def pages_of(views, size=2):
    """The master's pages of these results."""

    def answer(ask):
        start = int(ask.cursor or 0)
        end = start + size
        return Page(views[start:end], str(end) if end < len(views) else None)

    return answer


async def test_results_are_streamed_as_ndjson_with_output(client, master):
    views = [
        make_result(seq=0, output=b"up\n", output_bytes=3),
        make_result(seq=1, output=b"\xff\0", output_bytes=2),
        make_result(seq=2, output="ß".encode()[:1], output_bytes=9),
        make_result(seq=3, items=["a", "b"], failed_items=["b"]),
    ]
    master.answer("get_results", pages_of(views))
    response = await client.get(f"{URL}/results?format=ndjson&output=true")
    assert response.content_type == "application/x-ndjson"
    assert f'filename="{TASK}.ndjson"' in response.headers["Content-Disposition"]
    rows = [json.loads(line) for line in (await response.text()).splitlines()]
    assert [row["seq"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["output"] == "up\n"
    assert rows[1]["output_base64"] == "/wA="
    assert "output" not in rows[1]
    assert rows[2]["output"] == ""  # half a character is no reason to say it is not text
    assert (rows[3]["item"], rows[3]["failed_items"]) == ("a\nb", ["b"])


async def test_results_are_csv_that_a_spreadsheet_takes_for_nothing_but_text(client, master):
    item = '=HYPERLINK("x"),\n"y"'
    view = make_result(items=[item], run=None, code=None, output=b"a\xff\0", output_bytes=3)
    master.answer("get_results", pages_of([view]))
    response = await client.get(f"{URL}/results?format=csv&output=true")
    assert response.content_type == "text/csv"
    [row] = csv.DictReader(io.StringIO(await response.text(), newline=""))
    assert row["item"] == "'" + item
    assert (row["run"], row["code"], row["seconds"]) == ("", "", "0.25")
    assert row["output"] == "a\ufffd\ufffd"


async def test_a_file_that_cannot_be_finished_is_cut(client, master):
    calls = []

    def answer(ask):
        calls.append(ask)
        return Page([make_result()], "c2") if len(calls) == 1 else Unavailable("away")

    master.answer("get_results", answer)
    response = await client.get(f"{URL}/results?format=ndjson")
    with pytest.raises(Exception, match=r"(?i)payload|closed|disconnect|reset"):
        await response.read()


async def test_a_refusal_of_results_is_an_answer(client, master):
    master.answer("get_results", Conflict("this task is no queue"))
    await problem(await client.get(f"{URL}/results?format=csv"), 409)


async def test_attempts_of_a_run_are_listed(client, master):
    view = AttemptView(
        1, "a1", "web01", "LAPSED", "web01 was not heard of for 60 s", None, None, None
    )
    master.answer("get_attempts", Page([view]))
    response = await client.get(f"/api/v1/runs/{RUN}/attempts")
    assert msgspec.convert((await response.json())["items"], list[AttemptView]) == [view]
    assert master.asked("get_attempts")[0].id == RUN


# ---- items that another task wrote


def wrote(master, outputs):
    """The runs of another task and what they wrote, in order; each an output or a run."""
    runs = [
        make_run(id=f"r{n}", hostname=f"web{n}", output_stored=len(text), output_bytes=len(text))
        for n, text in enumerate(outputs)
    ]

    def output(ask):
        text = outputs[int(ask.run[1:])]
        data = text[ask.offset : ask.offset + min(ask.limit, 4)]
        return OutputView(data, ask.offset, len(text), True)

    master.answer("get_runs", pages_of(runs))
    master.answer("get_output", output)
    master.answer("add_task", Added("t2", True))
    return runs


FROM = {"script": "true", "mode": "queue", "items_from": {"task": "t1"}}


async def test_each_line_that_another_task_wrote_is_an_item(client, master):
    wrote(master, [b"a\n\nbbbbbb\n", b"", "ß\nlast".encode()])
    response = await client.post("/api/v1/tasks", json=FROM)
    assert response.status == 201
    assert (await response.json())["id"] == "t2"
    given = master.asked("add_task")[0].submission
    assert (given.items, given.items_from, given.open) == (
        ["a", "bbbbbb", "ß", "last"],
        None,
        False,
    )
    assert {ask.state for ask in master.asked("get_runs")} == {"SUCCEED"}


async def test_the_whole_output_of_a_run_may_be_one_item(client, master):
    wrote(master, [b"a\nb", b"c\n"])
    source = {"task": "t1", "split": "output", "states": ["SUCCEED", "FAILED"]}
    await client.post("/api/v1/tasks", json=FROM | {"items_from": source})
    assert master.asked("add_task")[0].submission.items == ["a\nb", "c"]


async def test_very_many_lines_are_added_in_parts(client, master, store, monkeypatch):
    monkeypatch.setattr(item_file, "SMALL_BYTES", 10)
    wrote(master, [b"one\ntwo\nthree\n"])
    master.answer("close_queue", make_task())
    headers = {"Idempotency-Key": "k1"}
    response = await client.post("/api/v1/tasks", json=FROM, headers=headers)
    assert response.status == 201
    assert store.uploads == {"k1": ["one", "two", "three"]}
    assert master.asked("add_task")[0].submission.open is True
    assert len(master.asked("close_queue")) == 1


@pytest.mark.parametrize(
    ("outputs", "source", "words"),
    [
        ([b"ok\n\xff\n"], {}, "line 2 of the output of web0 (run r0) is not UTF-8"),
        ([b""], {}, "wrote nothing"),
        ([b"a"], {"split": "words"}, "lines or output"),
        ([b"a"], {"states": ["RUNNING"]}, "items_from.states"),
        ([b"a"], {"states": []}, "items_from.states"),
    ],
)
async def test_what_cannot_be_items_makes_no_task(client, master, outputs, source, words):
    wrote(master, outputs)
    body = FROM | {"items_from": {"task": "t1", **source}}
    found = await problem(await client.post("/api/v1/tasks", json=body), 422)
    assert words in found["message"]
    assert not master.asked("add_task")


async def test_an_output_without_its_middle_is_no_list_of_items(client, master):
    [run] = wrote(master, [b"a\n"])
    run.output_gap = (10, 20)
    found = await problem(await client.post("/api/v1/tasks", json=FROM), 422)
    assert "the middle was not kept" in found["message"]
