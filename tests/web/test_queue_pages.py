"""The pages of queues: the form, the page of a task, its buttons, a run with its attempts."""

import re
from typing import Any

import pytest
from aiohttp import FormData

from tests.web.fake_master import RUN, TASK, make_group, make_queue, make_run, make_task
from tests.web.test_api_queues import Store, wrote
from tests.web.test_pages import hidden, log_in, send
from webserver import item_file
from wire.errors import Conflict, InvalidValue, Unavailable
from wire.queues import AttemptView, PutBackDone, SlowView
from wire.requests import TaskChanges
from wire.views import Added, GroupsView, Page, TargetsView

FORM = "/tasks/new/queue"
PAGE = f"/tasks/{TASK}"
DEAD = ["FAILED", "TIMEOUT", "UNKNOWN"]


@pytest.fixture
async def browser(stranger):
    """Alice, logged in."""
    assert (await log_in(stranger)).status == 303
    return stranger


@pytest.fixture
def store(master):
    store = Store()
    master.answer("add_items", store.add)
    master.answer("add_task", Added(TASK, True))
    master.answer("close_queue", make_task())
    return store


def queue_task(**changes):
    """A task that is a queue; what is of its queue goes by the name of the field."""
    of_queue = {name: changes.pop(name) for name in [*changes] if name in QUEUE_FIELDS}
    values: dict[str, Any] = {"mode": "queue", "total": 10, "counts": {"RUNNING": 2, "WAITING": 8}}
    return make_task(**(values | changes), queue=make_queue(**({"items": 10} | of_queue)))


QUEUE_FIELDS = frozenset(make_queue().__struct_fields__)


async def post(browser, path, fields, file=None, page=FORM):
    """As a browser sends a form with a file."""
    text = await (await browser.get(page)).text()
    data = FormData(default_to_multipart=True)
    for name, value in {"csrf": hidden(text, "csrf"), **fields}.items():
        data.add_field(name, value)
    if file is not None:
        data.add_field("file", file, filename="hosts.txt", content_type="text/plain")
    return await browser.post(path, data=data, allow_redirects=False)


async def submitted(browser, fields, file=None):
    return await post(browser, FORM, {"do": "submit", "targets": "@*", **fields}, file)


# ---- the form


async def test_the_two_forms_lead_to_each_other(browser):
    assert f'href="{FORM}"' in await (await browser.get("/tasks/new")).text()
    page = await (await browser.get(FORM)).text()
    assert 'href="/tasks/new"' in page
    assert 'role="alert"' not in page
    assert 'value="@*"' in page


async def test_it_submits_typed_items_in_one_message(browser, master, store):
    fields = {
        "script": 'ping "$1"\n', "items": "a\r\n\r\nb c\r\n", "rate": "30/min", "batch": "2",
        "max_attempts": "5", "retry_codes": "75, 111", "key": "k1", "parallel": "1",
        "retry_pause": "2 s", "queue": "scans", "agents_max": "3",
    }  # fmt: skip
    response = await submitted(browser, fields)
    assert (response.status, response.headers["Location"]) == (303, PAGE)
    [ask] = master.asked("add_task")
    given = ask.submission
    assert ask.key == "k1"
    assert (given.mode, given.items, given.open, given.targets) == (
        "queue",
        ["a", "b c"],
        False,
        "@*",
    )
    assert (given.rate, given.batch, given.max_attempts, given.parallel) == (0.5, 2, 5, 1)
    assert (given.retry_codes, given.retry_pause) == ([75, 111], 2.0)
    assert (given.queue, given.agents_max, given.expires_in) == ("scans", 3, 30 * 86400.0)
    assert store.calls == 0


async def test_the_lines_of_a_small_file_are_items_as_well(browser, master, store):
    await submitted(browser, {"script": "true", "items": "z"}, b"a\nb\n")
    assert master.asked("add_task")[0].submission.items == ["a", "b", "z"]


async def test_without_a_file_it_may_come_as_any_other_form(browser, master, store):
    fields = {"do": "submit", "script": "true", "targets": "@*", "items": "a\r\nb"}
    assert (await send(browser, FORM, fields, FORM)).status == 303
    assert master.asked("add_task")[0].submission.items == ["a", "b"]


async def test_a_large_file_is_added_in_parts_and_the_queue_is_closed(
    browser, master, store, monkeypatch
):
    monkeypatch.setattr(item_file, "SMALL_BYTES", 1000)
    file = b"".join(b"host%d\n" % n for n in range(5000))
    response = await submitted(browser, {"script": "true", "key": "k1"}, file)
    assert response.status == 303
    assert (master.asked("add_task")[0].submission.items, store.calls) == ([], 3)
    assert master.asked("add_task")[0].submission.open is True
    assert store.items == [f"host{n}" for n in range(5000)]
    assert list(store.uploads) == ["k1"]
    assert [ask.id for ask in master.asked("close_queue")] == [TASK]


async def test_what_a_task_wrote_becomes_items(browser, master, store):
    wrote(master, [b"a\nb\n"])
    page = await (await browser.get(f"{FORM}?output=t1")).text()
    assert 'name="items_from" value="t1"' in page
    assert "each line of the output of task t1" in page
    response = await submitted(browser, {"script": "true", "items_from": "t1"})
    assert response.status == 303
    assert master.asked("add_task")[0].submission.items == ["a", "b"]
    assert master.asked("add_task")[0].submission.items_from is None


async def test_a_task_that_wrote_nothing_is_said_beside_the_field(browser, master, store):
    wrote(master, [b""])
    response = await submitted(browser, {"script": "true", "items_from": "t1"})
    assert response.status == 422
    assert 'id="wrong-items_from"' in await response.text()


async def test_a_large_file_of_a_queue_that_stays_open_does_not_close_it(
    browser, master, store, monkeypatch
):
    monkeypatch.setattr(item_file, "SMALL_BYTES", 10)
    await submitted(browser, {"script": "true", "open": "yes"}, b"one\ntwo\nthree\n")
    assert store.items == ["one", "two", "three"]
    assert not master.asked("close_queue")


async def test_a_form_that_is_sent_again_adds_no_item_twice(browser, master, store, monkeypatch):
    monkeypatch.setattr(item_file, "SMALL_BYTES", 10)
    for _ in range(2):
        await submitted(browser, {"script": "true", "key": "k1"}, b"one\ntwo\n")
    assert store.items == ["one", "two"]


async def test_a_wrong_line_of_a_file_is_named_and_nothing_is_submitted(browser, master, store):
    response = await submitted(browser, {"script": "true", "name": "keep me"}, b"a\nb\0\n")
    page = await response.text()
    assert response.status == 422
    assert "Line 2 of hosts.txt holds a NUL" in page
    assert "Choose the file again" in page
    assert 'value="keep me"' in page
    assert not master.asked("add_task")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", "fast"),
        ("batch", "many"),
        ("retry_codes", "x"),
        ("targets", ""),
        ("lost_after", "x"),
    ],
)
async def test_what_cannot_be_read_is_said_beside_its_field(browser, master, store, name, value):
    response = await submitted(browser, {"script": "true", "items": "a", name: value})
    assert response.status == 422
    assert f'id="wrong-{name}"' in await response.text()
    assert not master.asked("add_task")


async def test_what_the_master_refuses_is_said_beside_its_field(browser, master):
    master.answer("add_task", InvalidValue("items is []; give items", field="items"))
    response = await submitted(browser, {"script": "true"})
    assert response.status == 422
    assert 'id="wrong-items"' in await response.text()


async def test_a_master_that_is_away_leaves_the_form_with_its_key(browser, master):
    master.answer("add_task", Unavailable("away"))
    response = await submitted(browser, {"script": "true", "items": "a", "key": "k1"})
    page = await response.text()
    assert response.status == 503
    assert "never makes a second task" in page
    assert hidden(page, "key") == "k1"


async def test_a_form_of_another_site_is_refused_before_its_file_is_read(browser, master, store):
    data = FormData(default_to_multipart=True)
    data.add_field("csrf", "wrong")
    data.add_field("file", b"a\0", filename="x")
    response = await browser.post(FORM, data=data)
    assert response.status == 403


async def test_the_button_says_what_will_happen(browser, master):
    master.answer("get_targets", TargetsView("web[01-12]", 12, "d", 2, []))
    fields = {"count": "1234", "targets": "web*", "rate": "50", "batch": "10", "parallel": "20"}
    page = await (await send(browser, FORM + "/preview", fields, FORM)).text()
    assert re.findall(r'class="go">([^<]*)', page) == [
        "Run for each of 1,234 items on 12 hosts, 10 in one run, 50 a second at most, 20 at a time"
    ]
    assert "2 of them are offline" in page


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"file_name": "hosts.txt", "count": "0"}, "Run for each line of hosts.txt on 2 hosts"),
        ({"count": "1"}, "Run for 1 item on 2 hosts"),
        ({"count": "0", "open": "yes"}, "Open the queue on 2 hosts; items are added later"),
        ({"count": "0"}, "Run for each item"),
        ({"count": "900000", "rate": "0.1"}, "is skipped"),
        ({"count": "1", "rate": "x"}, "items a second"),
    ],
)
async def test_the_preview_knows_what_is_there(browser, fields, words):
    fields = {"targets": "@*", **fields}
    assert words in await (await send(browser, FORM + "/preview", fields, FORM)).text()


async def test_it_says_when_no_host_may_take_the_items(browser, master):
    master.answer("get_targets", TargetsView("", 0, "d", 0, []))
    assert "they wait for one" in await (await browser.get(FORM)).text()


async def test_run_again_leads_to_the_form_of_a_queue_with_what_it_was(browser, master):
    settings = {
        "mode": "queue", "targets": "@zone:office", "batch": 7, "rate": 1.5, "burst": None,
        "max_attempts": 3, "retry_codes": [75], "queue": "scans", "parallel": 4,
    }  # fmt: skip
    master.answer("get_task", queue_task(settings=settings, rate=2.5, max_attempts=9))
    response = await browser.get(f"/tasks/new?from={TASK}")
    assert response.url.path == FORM
    page = await response.text()
    for name, value in {
        "targets": "@zone:office", "batch": "7", "rate": "2.5", "max_attempts": "9",
        "retry_codes": "75", "queue": "scans", "parallel": "4",
    }.items():  # fmt: skip
        assert f'name="{name}" value="{value}"' in page, name


# ---- the page of a queue


async def test_the_page_says_how_far_it_is_without_looking_at_all_runs(browser, master):
    master.answer(
        "get_task",
        queue_task(
            total=1_000_000, counts={"SUCCEED": 250_000, "WAITING": 750_000}, untaken=750_000,
            rate=50.0, per_second=48.0, left_s=15_625.0, agents=4, items=1_000_000,
            waits_for="its rate", slowest=[SlowView(RUN, 7, "10.0.0.7", 12.5)],
        ),
    )  # fmt: skip
    master.answer("get_runs", Page([make_run(item="10.0.0.1", attempt=2)], "c2"))
    page = await (await browser.get(PAGE)).text()
    assert "250,000 of 1,000,000 items done" in page
    assert "48 a second" in page
    assert "about 4 h 20 min left" in page
    assert "Waits for its rate." in page
    assert "750,000 items that nobody has taken yet are not listed" in page
    assert "10.0.0.7" in page
    assert 'rel="next"' in page
    assert "results?format=csv" in page
    assert not master.asked("get_grid")
    assert not master.asked("get_groups")  # nothing was given up


async def test_what_was_given_up_is_grouped_and_can_be_put_back(browser, master):
    counts = {"FAILED": 2, "SUCCEED": 8}
    master.answer("get_task", queue_task(counts=counts, dead=2))
    group = make_group(state="FAILED", code=3, count=2, reason="exit code 3")
    master.answer("get_groups", GroupsView([group], 1))
    master.answer("get_runs", Page([make_run(state="FAILED", code=3, item="bad")]))
    page = await (await browser.get(PAGE)).text()
    assert master.asked("get_groups")[0].states == DEAD
    assert "Try all of them again" in page
    assert "<strong>2 items</strong>" in page
    assert "states=DEAD" in page
    assert f'name="run" value="{RUN}"' in page


async def test_of_a_queue_that_has_ended_what_was_given_up_is_retried(browser, master):
    counts = {"FAILED": 2, "SKIPPED": 3, "SUCCEED": 5}
    task = queue_task(state="FAILED", counts=counts, dead=2)
    master.answer("get_task", task)
    page = await (await browser.get(PAGE)).text()
    assert "put-back" not in page
    assert f'action="{PAGE}/retry"' in page
    assert re.findall(r'name="state" value="(\w+)"', page) == ["FAILED", "SKIPPED"]


async def test_putting_back_goes_on_until_nothing_is_left(browser, master):
    answers = iter([PutBackDone(1000, True), PutBackDone(7)])
    master.answer("put_back", lambda ask: next(answers))
    response = await send(browser, f"{PAGE}/put-back", {})
    assert (response.status, response.headers["Location"]) == (303, PAGE)
    assert [ask.runs for ask in master.asked("put_back")] == [None, None]


async def test_one_run_is_put_back_by_its_button(browser, master):
    master.answer("put_back", PutBackDone(1))
    await send(browser, f"{PAGE}/put-back", {"run": RUN})
    assert master.asked("put_back")[0].runs == [RUN]


async def test_an_open_queue_takes_more_items_and_is_closed(browser, master, store):
    master.answer("get_task", queue_task(open=True))
    page = await (await browser.get(PAGE)).text()
    assert f'action="{PAGE}/items"' in page
    assert f'action="{PAGE}/close"' in page
    response = await post(browser, f"{PAGE}/items", {"items": "x\r\n"}, b"y\n", PAGE)
    assert response.status == 303
    assert store.items == ["y", "x"]
    assert (await send(browser, f"{PAGE}/close", {})).status == 303
    assert len(master.asked("close_queue")) == 1


async def test_of_items_with_a_wrong_one_none_is_added(browser, master, store):
    response = await post(browser, f"{PAGE}/items", {"items": ""}, b"a\n\xff\n")
    assert response.status == 422
    assert "Line 2 of hosts.txt is not UTF-8" in await response.text()
    assert store.calls == 0


async def test_a_queue_that_was_closed_meanwhile_says_so(browser, master):
    master.answer("add_items", Conflict("the queue is closed"))
    response = await post(browser, f"{PAGE}/items", {"items": "a"})
    assert response.status == 409
    assert "the queue is closed" in await response.text()


async def test_a_closed_queue_offers_neither(browser, master):
    master.answer("get_task", queue_task())
    page = await (await browser.get(PAGE)).text()
    assert "/items" not in page
    assert f'action="{PAGE}/close"' not in page


async def test_only_what_was_changed_is_sent_on(browser, master):
    settings = {"mode": "queue", "targets": "@*", "parallel": 0, "priority": 0}
    master.answer("get_task", queue_task(settings=settings, rate=50.0, per_agent=2))
    master.answer("change_task", make_task())
    fields = {"rate": "10", "burst": "", "parallel": "0", "per_agent": "2", "agents_max": "5"}
    await send(browser, f"{PAGE}/change", fields)
    assert master.asked("change_task")[0].changes == TaskChanges(rate=10.0, agents_max=5)
    await send(browser, f"{PAGE}/change", {"rate": "", "parallel": "1"})
    assert master.asked("change_task")[1].changes == TaskChanges(rate=None, parallel=1)


async def test_a_viewer_sees_it_without_buttons(stranger, master):
    await log_in(stranger, "bob-viewer-token")
    master.answer("get_task", queue_task(open=True, dead=1, counts={"FAILED": 1}))
    page = await (await stranger.get(PAGE)).text()
    assert "<form" not in page.split("<main")[1]


async def test_a_run_shows_its_item_and_the_attempts_before(browser, master):
    master.answer("get_task", queue_task())
    master.answer("get_run", make_run(item="10.0.0.9", attempt=3))
    silent = AttemptView(
        1, "a1", "db1", "LAPSED", "db1 was not heard of for 60 s", None, None, None
    )
    loud = AttemptView(2, "a2", "db2", "FAILED", "exit code 3", 3, None, None, 2048, 2048)
    master.answer("get_attempts", Page([silent, loud]))
    page = await (await browser.get(f"{PAGE}/runs/{RUN}")).text()
    assert "10.0.0.9" in page
    assert "Earlier attempts" in page
    assert "db1 was not heard of for 60 s" in page
    assert re.findall(rf'href="/api/v1/runs/{RUN}/attempts/(\d)/output"', page) == ["2"]


async def test_a_first_attempt_asks_for_none_before_it(browser, master):
    master.answer("get_task", queue_task())
    master.answer("get_run", make_run(item="10.0.0.9"))
    assert (await browser.get(f"{PAGE}/runs/{RUN}")).status == 200
    assert not master.asked("get_attempts")


async def test_the_list_of_tasks_shows_a_queue_as_one(browser, master):
    task = queue_task(open=True, dead=3, counts={"FAILED": 3, "WAITING": 7}, left_s=90.0)
    master.answer("get_tasks", Page([task]))
    page = await (await browser.get("/tasks")).text()
    assert "queue, open" in page
    assert "3 of 10 items are done" in page
    assert "given up" in page
    assert "1 min 30 s left" in page
