"""The pages of hosts, of retries and of previews, as a browser without JavaScript uses them."""

import pytest
from msgspec import structs

from tests.web.fake_master import (
    BOB,
    DB1,
    NOW,
    OTTO,
    RUN,
    TASK,
    WEB01,
    make_agent,
    make_group,
    make_run,
    make_status,
    make_task,
)
from tests.web.test_pages import FORM, hidden, log_in, send
from wire.errors import Conflict, InvalidValue, NotFound, Unavailable
from wire.views import Added, Changed, GroupsView, OneRun, Page, PastState, TargetsView


@pytest.fixture
async def browser(stranger):
    """Alice, logged in."""
    assert (await log_in(stranger)).status == 303
    return stranger


async def text_of(browser, path):
    response = await browser.get(path)
    assert response.status == 200, await response.text()
    return await response.text()


# ---- hosts


async def test_it_asks_for_hosts_as_the_url_says(browser, master):
    await text_of(browser, "/hosts?text=web&state=&label=env:prod&sort=-busy")
    ask = master.asked("get_agents")[-1]
    assert (ask.text, ask.state, ask.label, ask.sort) == ("web", None, "env:prod", "-busy")
    assert not ask.facts


async def test_it_keeps_the_filter_when_one_sorts_or_goes_on(browser, master):
    master.answer("get_agents", Page([make_agent()], "c2", 1000))
    page = await text_of(browser, "/hosts?text=web&sort=hostname")
    assert "/hosts?text=web&amp;sort=-hostname" in page
    assert "/hosts?text=web&amp;sort=hostname&amp;cursor=c2" in page
    assert 'aria-sort="ascending"' in page
    assert 'aria-rowcount="1001"' in page


@pytest.mark.parametrize("query", ["sort=colour", "state=happy", "nope=1"])
async def test_it_refuses_filters_that_are_not_there(browser, query):
    assert (await browser.get(f"/hosts?{query}")).status in (400, 422)


async def test_it_says_how_a_first_host_joins(browser, master):
    master.answer("get_agents", Page([]))
    assert "mschedule-master --print-join agent" in await text_of(browser, "/hosts")
    assert "No host fits this filter" in await text_of(browser, "/hosts?text=x")


async def test_it_shows_a_host_with_its_facts_and_its_runs(browser, master):
    host = make_agent(facts={"os": "<linux>", "cpus": 8}, standing="quarantined", clock_skew=-2.5)
    master.answer("get_agent", host)
    page = await text_of(browser, f"/hosts/{WEB01}")
    assert "&lt;linux&gt;" in page
    assert "quarantined: it is given no work" in page
    assert "-2.5 s against the master" in page
    assert "say hello" in page
    assert "Run a script here" not in page


async def test_it_has_a_page_for_a_host_that_is_not_there(browser, master):
    master.answer("get_agent", NotFound("there is no agent x"))
    assert (await browser.get("/hosts/x")).status == 404


async def test_it_sets_and_removes_labels(browser, master):
    master.answer("set_labels", Changed(1))
    path, page = f"/hosts/{WEB01}/labels", f"/hosts/{WEB01}"
    fields = {"label": " rack ", "value": "A1", "add": "1"}
    assert (await send(browser, path, fields, form_page=page)).status == 303
    assert (await send(browser, path, {"remove": "env"}, form_page=page)).status == 303
    first, second = master.asked("set_labels")
    assert first.labels == {WEB01: {"rack": "A1"}}
    assert second.labels == {WEB01: {"env": None}}


async def test_it_says_beside_the_label_what_is_wrong_and_keeps_it(browser, master):
    master.answer("set_labels", InvalidValue("that is no label", field="labels"))
    path, page = f"/hosts/{WEB01}/labels", f"/hosts/{WEB01}"
    response = await send(browser, path, {"label": "a b", "value": "c"}, form_page=page)
    assert response.status == 422
    text = await response.text()
    assert "that is no label" in text
    assert 'value="a b"' in text
    response = await send(browser, path, {"label": "a"}, form_page=page)
    assert response.status == 422


async def test_it_shows_bob_labels_and_no_button(stranger, master):
    await log_in(stranger, BOB)
    page = await text_of(stranger, f"/hosts/{WEB01}")
    assert "env:prod" in page
    assert "Set label" not in page
    assert "Run a script here" not in page


# ---- tasks


async def test_it_asks_for_tasks_as_the_url_says(browser, master):
    master.answer("get_tasks", Page([make_task()], "c2"))
    page = await text_of(browser, "/tasks?text=hello&created_by=alice&agent=web01&state=RUNNING")
    ask = master.asked("get_tasks")[-1]
    assert (ask.text, ask.created_by, ask.agent, ask.state) == (
        "hello",
        "alice",
        "web01",
        "RUNNING",
    )
    assert "/tasks?state=FAILED&amp;text=hello&amp;created_by=alice&amp;agent=web01" in page
    assert "agent=web01&amp;cursor=c2" in page


async def test_it_goes_on_with_a_search_that_has_found_nothing_yet(browser, master):
    master.answer("get_tasks", Page([], "c2"))
    page = await text_of(browser, "/tasks?text=old")
    assert "No task here fits this filter" in page
    assert "Older tasks" in page


async def test_it_retries_in_the_states_that_are_ticked(browser, master):
    counts = {"FAILED": 2, "SKIPPED": 1, "SUCCEED": 4}
    master.answer("get_task", make_task(state="FAILED", total=7, counts=counts))
    page = await text_of(browser, f"/tasks/{TASK}")
    assert 'value="FAILED" checked' in page
    assert f"/tasks/new?from={TASK}&amp;states=FAILED%2CSKIPPED" in page
    data = {"csrf": hidden(page, "csrf"), "key": "k1", "state": ["FAILED", "SUCCEED"]}
    response = await browser.post(f"/tasks/{TASK}/retry", data=data, allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (303, "/tasks/t2")
    ask = master.asked("retry_task")[0]
    assert (ask.id, ask.states, ask.key) == (TASK, ["FAILED"], "k1")


async def test_it_wants_a_state_to_retry(browser, master):
    response = await send(browser, f"/tasks/{TASK}/retry", {}, form_page=f"/tasks/{TASK}")
    assert response.status == 422
    assert master.asked("retry_task") == []


async def test_it_offers_bob_nothing_to_press(stranger):
    await log_in(stranger, BOB)
    page = await text_of(stranger, f"/tasks/{TASK}")
    assert "Cancel task" not in page
    assert "Run again" not in page


async def test_it_compares_smaller_groups_with_the_largest(browser, master):
    small = make_group(output_sha256="ffff", runs=["r2"], hosts=["db1"])
    waiting = make_group(state="WAITING", code=None, output_sha256=None, output_bytes=None, count=9)
    master.answer("get_groups", GroupsView([waiting, make_group(count=5), small], 3))
    page = await text_of(browser, f"/tasks/{TASK}")
    assert page.count("what differs from the largest group") == 1
    assert f"/tasks/{TASK}/diff?left=r0123456789abcdef&amp;right=r2" in page


async def test_it_says_why_a_run_waits(browser, master):
    master.answer("get_runs", Page([make_run(state="WAITING", reason="the host is offline")]))
    assert "the host is offline" in await text_of(browser, f"/tasks/{TASK}")


async def test_it_says_what_a_run_was_called_before(browser, master):
    past = PastState(1, "UNKNOWN", "not heard of for 10 s", NOW, NOW)
    known = OneRun(**structs.asdict(make_run(state="FAILED", code=3)), history=[past])
    master.answer("get_run", known)
    page = await text_of(browser, f"/tasks/{TASK}/runs/{RUN}")
    assert "not heard of for 10 s" in page
    assert 'class="state unknown"' in page


async def test_it_cancels_one_run_by_a_button(browser, master):
    run = make_run(state="RUNNING")
    master.answer("get_run", run)
    master.answer("cancel_run", run)
    path = f"/tasks/{TASK}/runs/{run.id}"
    response = await send(browser, f"{path}/cancel", {}, form_page=path)
    assert (response.status, response.headers["Location"]) == (303, path)
    assert master.asked("cancel_run")[0].id == run.id


# ---- the form


async def test_it_previews_without_submitting(browser, master):
    fields = FORM | {"agent": "", "targets": "web*", "do": "preview", "parallel": "2"}
    del fields["agent"]
    page = await (await send(browser, "/tasks/new", fields)).text()
    assert "Run on 2 hosts, all at once, whatever fails" in page
    assert hidden(page, "expect") == "d1"
    assert "echo hello" in page
    assert master.asked("add_task") == []


async def test_it_previews_a_piece_of_the_page_for_its_module(browser, master):
    master.answer("get_targets", TargetsView("web[1-9]", 9, "d9", 1, [DB1]))
    offline = make_agent(DB1, "db1", state="offline")
    master.answer("get_agents", Page([offline, make_agent(WEB01, "gone", state="offline")]))
    page = await (await send(browser, "/tasks/new/preview", {"targets": "web*"})).text()
    assert "<html" not in page
    assert "1 host offline now: db1" in page


async def test_it_previews_hosts_that_are_ticked_by_their_names(browser, master):
    master.answer("get_agent", lambda ask: make_agent(ask.id, f"host-{ask.id[0]}"))
    page = await (await send(browser, "/tasks/new/preview", FORM)).text()
    assert "Run on 1 host" in page
    assert master.asked("get_targets")[0].expr == "host-0"


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (InvalidValue("there is no host named x", field="targets"), "there is no host named x"),
        (Unavailable("gone"), "The master is away"),
    ],
)
async def test_it_says_why_there_is_no_preview(browser, master, refusal, words):
    master.answer("get_targets", refusal)
    page = await (await send(browser, "/tasks/new/preview", {"targets": "x"})).text()
    assert words in page


async def test_it_says_in_the_preview_which_field_cannot_be_read(browser):
    fields = {"targets": "web*", "expires_in": "soon"}
    page = await (await send(browser, "/tasks/new/preview", fields)).text()
    assert "expires in: This takes a duration" in page


async def test_it_carries_the_digest_and_previews_anew_when_the_fleet_is_another(browser, master):
    master.answer("add_task", Conflict("web09 has come", field="expect"))
    fields = {"script": "x", "targets": "web*", "expect": "d0"}
    response = await send(browser, "/tasks/new", fields)
    assert response.status == 409
    page = await response.text()
    assert master.asked("add_task")[0].submission.expect == "d0"
    assert "web09 has come" in page
    assert hidden(page, "expect") == "d1"


async def test_it_starts_from_a_task(browser, master):
    settings = {"parallel": "25%", "timeout": 90.0, "targets": "web*", "env": {"A": "b"}}
    master.answer("get_task", make_task(settings=settings))
    page = await text_of(browser, f"/tasks/new?from={TASK}")
    assert 'value="25%"' in page
    assert 'value="1 min 30 s"' in page
    assert 'value="web*"' in page
    assert "echo hello" in page
    assert 'id="more" open' in page


async def test_it_starts_from_the_runs_that_failed(browser, master):
    master.answer("get_task_targets", TargetsView("db1", 1, "d", 0, [DB1], ["gone1"]))
    page = await text_of(browser, f"/tasks/new?from={TASK}&states=FAILED,TIMEOUT")
    assert master.asked("get_task_targets")[0].states == ["FAILED", "TIMEOUT"]
    assert f'value="{DB1}" checked' in page
    assert "No longer there, and left out: gone1." in page


async def test_it_starts_from_many_hosts_by_an_expression(browser, master):
    ids = [f"{n:032x}" for n in range(500)]
    master.answer("get_task_targets", TargetsView("web[001-500]", 500, "d5", 0, ids))
    page = await text_of(browser, f"/tasks/new?from={TASK}&states=FAILED")
    assert 'value="web[001-500]"' in page


async def test_it_refuses_to_start_from_runs_that_succeeded(browser):
    assert (await browser.get(f"/tasks/new?from={TASK}&states=SUCCEED")).status == 422


# ---- the frame


async def test_it_shows_that_hand_outs_are_held_and_lets_alice_release_them(browser, master):
    held = make_status(
        held="agents know more than the store", held_since="2026-11-21T08:50:00.000Z"
    )
    master.answer("get_status", held)
    master.answer("release_handouts", {})
    page = await text_of(browser, "/tasks")
    assert "agents know more than the store" in page
    assert "Release hand-outs" in page
    assert (await send(browser, "/handouts/release", {}, form_page="/tasks")).status == 303
    assert master.asked("release_handouts")


async def test_it_shows_otto_no_button_to_release(stranger, master):
    master.answer("get_status", make_status(held="a restore", held_since=None))
    await log_in(stranger, OTTO)
    page = await text_of(stranger, "/tasks")
    assert "An admin can release" in page
    assert "Release hand-outs" not in page


async def test_it_keeps_static_files_for_ever_under_their_version(browser):
    page = await text_of(browser, "/tasks")
    url = page.partition('<link rel="stylesheet" href="')[2].partition('"')[0]
    response = await browser.get(url)
    assert "immutable" in response.headers["Cache-Control"]
    assert response.content_type == "text/css"
    response = await browser.get("/static/older/live.js")
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.content_type in ("text/javascript", "application/javascript")
    assert (await browser.get("/static/older/nothing.js")).status == 404


async def test_it_submits_all_that_the_form_has(browser, master):
    master.answer("add_task", Added(TASK, True))
    fields = FORM | {"on_limit": "kill", "grace": "1 min", "env": "A=b", "args": "one"}
    assert (await send(browser, "/tasks/new", fields)).status == 303
    submission = master.asked("add_task")[0].submission
    assert (submission.on_limit, submission.grace) == ("kill", 60.0)
    assert (submission.env, submission.args) == ({"A": "b"}, ["one"])
