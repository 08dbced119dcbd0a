"""The pages as a browser without JavaScript uses them."""

import re
from html import unescape

import pytest

from tests.web.fake_master import (
    ALICE,
    BOB,
    DB1,
    RUN,
    TASK,
    WEB01,
    make_agent,
    make_group,
    make_run,
    make_task,
)
from wire.errors import Conflict, InvalidValue, NotFound, TooLarge, Unavailable
from wire.views import Added, GridView, GroupsView, OutputView, Page

FORM = {"script": "echo hello", "timeout": "60", "parallel": "1", "agent": WEB01}


def hidden(page, name):
    """The value of a hidden field; the last one."""
    return unescape(re.findall(rf'name="{name}" value="([^"]*)"', page)[-1])


async def log_in(client, token=ALICE, path="/"):
    page = await (await client.get("/login")).text()
    return await client.post(
        "/login",
        data={"csrf": hidden(page, "csrf"), "token": token, "next": path},
        allow_redirects=False,
    )


@pytest.fixture
async def browser(stranger):
    """Alice, logged in."""
    assert (await log_in(stranger)).status == 303
    return stranger


async def send(browser, path, fields, form_page="/tasks/new", **options):
    page = await (await browser.get(form_page)).text()
    data = {"csrf": hidden(page, "csrf"), **fields}
    return await browser.post(path, data=data, allow_redirects=False, **options)


# ---- coming in


async def test_it_lets_alice_in_and_hands_out_a_strict_cookie(stranger):
    response = await log_in(stranger, path="/hosts")
    assert (response.status, response.headers["Location"]) == (303, "/hosts")
    cookie = next(c for c in response.headers.getall("Set-Cookie") if "mschedule_session" in c)
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert ALICE not in cookie
    assert (await stranger.get("/hosts")).status == 200


@pytest.mark.parametrize("token", ["", "nope", "unknown-token-123", "<b>x</b> é"])
async def test_it_says_beside_the_field_that_a_token_is_wrong(stranger, token):
    response = await log_in(stranger, token)
    assert response.status == 401
    text = await response.text()
    assert "not a valid token" in text
    assert "<b>x" not in text
    assert stranger.session.cookie_jar.filter_cookies(stranger.make_url("/")).keys() == {
        "mschedule_visitor"
    }


async def test_it_refuses_a_login_that_no_page_of_ours_sent(stranger):
    response = await stranger.post("/login", data={"token": ALICE, "csrf": "x"})
    assert response.status == 403
    assert response.content_type == "text/html"


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil", "/a\nb", ""])
async def test_it_leads_nowhere_else_after_the_login(stranger, path):
    assert (await log_in(stranger, path=path)).headers["Location"] == "/"


async def test_it_leads_back_to_the_page_that_was_asked_for(stranger):
    response = await stranger.get(f"/tasks/{TASK}?state=FAILED", allow_redirects=False)
    page = await (await stranger.get(response.headers["Location"])).text()
    assert hidden(page, "next") == f"/tasks/{TASK}?state=FAILED"


async def test_it_lets_go_after_the_logout(browser):
    page = await (await browser.get("/tasks")).text()
    response = await browser.post(
        "/logout", data={"csrf": hidden(page, "csrf")}, allow_redirects=False
    )
    assert response.headers["Location"] == "/login"
    assert (await browser.get("/tasks", allow_redirects=False)).status == 303


async def test_it_asks_to_log_in_again_when_the_session_has_ended(browser, master):
    master.people.clear()
    response = await browser.get("/tasks", allow_redirects=False)
    assert response.headers["Location"].startswith("/login")


async def test_it_serves_the_api_to_its_own_pages_for_reading(browser):
    assert (await browser.get("/api/v1/tasks")).status == 200


async def test_it_wants_the_form_token_for_changes_by_cookie(browser, master):
    master.answer("cancel_task", make_task())
    url = f"/api/v1/tasks/{TASK}/cancel"
    assert (await browser.post(url)).status == 403
    token = hidden(await (await browser.get("/tasks/new")).text(), "csrf")
    assert (await browser.post(url, headers={"X-CSRF-Token": token})).status == 200


# ---- forms


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_it_refuses_forms_of_other_sites(browser, master, headers):
    response = await send(browser, "/tasks/new", FORM, headers=headers)
    assert response.status == 403
    assert master.asked("add_task") == []


@pytest.mark.parametrize("path", ["/tasks/new", f"/tasks/{TASK}/cancel", "/logout"])
async def test_it_refuses_forms_without_their_token(browser, master, path):
    response = await browser.post(path, data=FORM, allow_redirects=False)
    assert response.status == 403
    assert not master.asked("add_task") + master.asked("cancel_task")


async def test_it_takes_a_form_with_the_origin_of_its_own(browser, master):
    master.answer("add_task", Added(TASK, True))
    origin = str(browser.make_url("/")).rstrip("/")
    response = await send(browser, "/tasks/new", FORM, headers={"Origin": origin})
    assert response.status == 303


async def test_it_submits_the_form_and_shows_the_task(browser, master):
    master.answer("add_task", Added(TASK, True))
    fields = FORM | {"parallel": "25%", "fail_count": "2", "fail_rate": "0.5", "name": " n "}
    response = await send(browser, "/tasks/new", fields)
    assert (response.status, response.headers["Location"]) == (303, f"/tasks/{TASK}")
    submission = master.asked("add_task")[0].submission
    assert submission.targets == [WEB01]
    assert (submission.timeout, submission.parallel) == (60, "25%")
    assert (submission.fail_count, submission.fail_rate, submission.name) == (2, 0.5, "n")


async def test_it_gives_the_script_the_line_ends_that_were_typed(browser, master):
    master.answer("add_task", Added(TASK, True))
    await send(browser, "/tasks/new", FORM | {"script": "a\r\nb\r\n"})
    assert master.asked("add_task")[0].submission.script == "a\nb\n"


@pytest.mark.parametrize(
    ("refusal", "status", "name"),
    [
        (InvalidValue("the sentence", field="script"), 422, "script"),
        (TooLarge("the sentence", field="script_base64"), 413, "script"),
        (InvalidValue("the sentence", field="targets"), 422, "targets"),
        (InvalidValue("the sentence", field="fail_rate"), 422, "fail_rate"),
    ],
)
async def test_it_shows_the_mistake_beside_its_field_and_keeps_the_input(
    browser, master, refusal, status, name
):
    master.answer("add_task", refusal)
    fields = FORM | {"script": "<rm> & 'x'", "fail_rate": "0.5"}
    response = await send(browser, "/tasks/new", fields)
    assert response.status == status
    page = await response.text()
    assert f'id="wrong-{name}" role="alert">the sentence' in page
    assert f'aria-describedby="wrong-{name} hint-{name}"' in page
    assert "&lt;rm&gt; &amp; &#39;x&#39;" in page
    assert f'value="{WEB01}" checked' in page
    assert 'value="0.5"' in page


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout", "soon"),
        ("timeout", "nan"),
        ("fail_count", "1.5"),
        ("fail_count", "1e99"),
        ("fail_rate", "inf"),
        ("targets", "web*"),
    ],
)
async def test_it_sees_what_cannot_be_read(browser, master, field, value):
    response = await send(browser, "/tasks/new", FORM | {field: value})
    assert response.status == 422
    assert f'id="wrong-{field}"' in await response.text()
    assert master.asked("add_task") == []


async def test_it_keeps_the_input_while_the_master_is_away(browser, master):
    page = await (await browser.get("/tasks/new")).text()
    for method in ("whoami", "get_agents", "add_task"):
        master.answer(method, Unavailable("gone"))
    fields = {"csrf": hidden(page, "csrf"), "key": hidden(page, "key"), **FORM}
    response = await browser.post("/tasks/new", data=fields)
    assert response.status == 503
    text = await response.text()
    assert "may have been accepted" in text
    assert "echo hello" in text
    assert f'value="{WEB01}" checked' in text
    assert hidden(text, "key") == fields["key"]


async def test_it_sends_the_same_key_for_the_same_form(browser, master):
    master.answer("add_task", Added(TASK, True))
    page = await (await browser.get("/tasks/new")).text()
    fields = {"csrf": hidden(page, "csrf"), "key": hidden(page, "key"), **FORM}
    for _ in range(2):
        await browser.post("/tasks/new", data=fields, allow_redirects=False)
    first, second = master.asked("add_task")
    assert first.key == second.key == fields["key"]


async def test_it_takes_a_new_key_after_a_conflict(browser, master):
    master.answer("add_task", Conflict("another body", field="Idempotency-Key"))
    response = await send(browser, "/tasks/new", FORM | {"key": "k1"})
    assert response.status == 409
    assert hidden(await response.text(), "key") != "k1"


async def test_it_tells_bob_that_he_may_not_submit(stranger, master):
    await log_in(stranger, BOB)
    response = await send(stranger, "/tasks/new", FORM)
    assert response.status == 403
    assert response.content_type == "text/html"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"csrf=%ff", "application/x-www-form-urlencoded"),
        (b"\xff", "application/x-www-form-urlencoded"),
        (b"a&" * 20_001, "application/x-www-form-urlencoded"),
        (b"--x--", "multipart/form-data; boundary=x"),
        (b"{}", "application/json"),
    ],
)
async def test_it_refuses_forms_that_cannot_be_read(browser, body, content_type):
    response = await browser.post("/tasks/new", data=body, headers={"Content-Type": content_type})
    assert response.status == 400


# ---- looking


async def test_it_lists_hosts_with_their_state_in_words(browser, master):
    master.answer(
        "get_agents",
        Page([make_agent(), make_agent(DB1, "db<1>", state="offline", last_seen=None)], "c2"),
    )
    page = await (await browser.get("/hosts")).text()
    assert "db&lt;1&gt;" in page
    assert "</span> offline</span>" in page
    assert "/hosts?cursor=c2" in page


async def test_it_lists_tasks_and_looks_again_while_one_is_under_way(browser, master):
    page = await (await browser.get("/tasks")).text()
    assert f'href="/tasks/{TASK}"' in page
    assert 'http-equiv="refresh"' in page
    master.answer("get_tasks", Page([make_task(state="SUCCEED")]))
    assert 'http-equiv="refresh"' not in await (await browser.get("/tasks")).text()


async def test_it_says_so_when_there_is_nothing(browser, master):
    master.answer("get_tasks", Page([]))
    master.answer("get_agents", Page([]))
    assert "Nothing was submitted yet" in await (await browser.get("/tasks")).text()
    assert "No host has enrolled yet" in await (await browser.get("/hosts")).text()
    assert "No host has enrolled yet" in await (await browser.get("/tasks/new")).text()


async def test_it_shows_each_host_with_its_output_as_text(browser, master):
    master.answer("get_runs", Page([make_run(state="FAILED", code=3, output_stored=40)]))
    output = b"\x1b[31m<script>alert(1)</script>\x00\n"
    master.answer("get_output", OutputView(output, 0, len(output), True))
    master.answer("get_groups", GroupsView([make_group(state="FAILED", code=3)], 1))
    page = await (await browser.get(f"/tasks/{TASK}")).text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;␀" in page
    assert "<script>" not in page
    assert "exit 3" in page
    assert "echo hello" in page


async def test_it_shows_the_end_of_long_output_and_a_link_to_all(browser, master):
    whole = b"".join(b"line %07d\n" % n for n in range(100_000))
    master.answer("get_groups", GroupsView([make_group(output_bytes=len(whole))], 1))
    master.answer(
        "get_output",
        lambda ask: OutputView(
            whole[ask.offset : ask.offset + ask.limit], ask.offset, len(whole), True
        ),
    )
    page = await (await browser.get(f"/tasks/{TASK}")).text()
    assert "line 0099999" in page
    assert "line 0000001" not in page
    assert len(page) < 100_000
    assert f"/api/v1/tasks/{TASK}/runs/{RUN}/output" in page


async def test_it_stays_small_when_a_hundred_hosts_say_much_and_each_another_thing(browser, master):
    whole = b"x" * 79 + b"\n"
    runs = [make_run(f"r{n:016}", output_stored=10 << 20) for n in range(100)]
    groups = [make_group(runs=[run.id], output_bytes=10 << 20) for run in runs]
    master.answer("get_runs", Page(runs, "c2"))
    master.answer("get_groups", GroupsView(groups, 10_000))
    master.answer(
        "get_output", lambda ask: OutputView(whole * (ask.limit // 80), ask.offset, 10 << 20, True)
    )
    page = await (await browser.get(f"/tasks/{TASK}")).text()
    assert len(page) < 600_000
    assert f"/tasks/{TASK}?cursor=c2" in page
    assert "9,900 smaller groups not shown" in page


async def test_it_draws_ten_thousand_hosts_instead_of_writing_them(browser, master):
    names = [f"web{n:05}" for n in range(300)]
    master.answer("get_grid", GridView(0, 10_000, "r", names, names, "S" * 300, "m-1"))
    page = await (await browser.get(f"/tasks/{TASK}")).text()
    assert 'id="drawn"' in page
    assert "web00299" not in page


@pytest.mark.parametrize(
    ("state", "query", "refreshes"),
    [("RUNNING", "", True), ("RUNNING", "?still=1", False), ("SUCCEED", "", False)],
)
async def test_it_refreshes_while_the_task_is_under_way(browser, master, state, query, refreshes):
    master.answer("get_task", make_task(state=state))
    page = await (await browser.get(f"/tasks/{TASK}{query}")).text()
    assert ('http-equiv="refresh"' in page) == refreshes
    assert ("Cancel task" in page) == (state == "RUNNING")


async def test_it_shows_progress(browser, master):
    counts = {"SUCCEED": 3, "FAILED": 1, "RUNNING": 2, "WAITING": 4}
    master.answer("get_task", make_task(total=10, counts=counts))
    page = await (await browser.get(f"/tasks/{TASK}")).text()
    assert '<progress id="done" max="10" value="4"' in page
    assert '<span data-count="FAILED">1</span>' in page
    assert "4 of 10 hosts done" in page


async def test_it_cancels_by_a_button(browser, master):
    master.answer("cancel_task", make_task())
    response = await send(browser, f"/tasks/{TASK}/cancel", {}, form_page=f"/tasks/{TASK}")
    assert (response.status, response.headers["Location"]) == (303, f"/tasks/{TASK}")
    assert master.asked("cancel_task")[0].id == TASK


async def test_it_shows_one_run(browser, master):
    master.answer("get_run", make_run(killed=True, survivors=[42], output_stored=3))
    master.answer("get_output", OutputView(b"hi\n", 0, 3, True))
    page = await (await browser.get(f"/tasks/{TASK}/runs/{RUN}")).text()
    assert "still alive: 42" in page
    assert ">hi\n</pre>" in page


async def test_it_shows_nothing_older_than_the_position_from_which_it_is_told(browser, master):
    position = GridView(0, 1, "r0123456789", ["abcdef"], ["web01"], "C", "m-7")

    def ends_right_now(_):
        master.answer("get_task", make_task(state="CANCELLED"))
        master.answer("get_runs", Page([make_run(state="CANCELLED")]))
        return position

    master.answer("get_task", make_task(state="RUNNING"))
    master.answer("get_runs", Page([make_run(state="RUNNING")]))
    master.answer("get_grid", ends_right_now)
    page = await (await browser.get(f"/tasks/{TASK}")).text()
    assert 'data-since="m-7"' in page
    assert '<span id="state"><span class="state cancelled">' in page
    assert '<td><span class="state cancelled">' in page


@pytest.mark.parametrize("path", [f"/tasks/t-other/runs/{RUN}", "/tasks/nope", "/nowhere"])
async def test_it_has_a_page_for_what_is_not_there(browser, path):
    response = await browser.get(path)
    assert (response.status, response.content_type) == (404, "text/html")


async def test_it_tells_the_truth_while_the_master_is_away(browser, master):
    master.answer("get_tasks", Unavailable("no answer"))
    response = await browser.get("/tasks")
    assert response.status == 503
    page = await response.text()
    assert "The master is away" in page
    assert 'http-equiv="refresh"' in page


async def test_it_does_not_fail_for_an_output_that_is_gone(browser, master):
    master.answer("get_output", NotFound("gone"))
    assert (await browser.get(f"/tasks/{TASK}")).status == 200


@pytest.mark.parametrize("path", ["/login", "/tasks", "/tasks/new", "/hosts", f"/tasks/{TASK}"])
async def test_it_has_no_inline_script_and_no_inline_style(browser, path):
    page = await (await browser.get(path)).text()
    for script in re.findall(r"<script[^>]*>[^<]*", page):
        assert re.fullmatch(r'<script type="module" src="/static/[\w-]{12}/\w+\.js">', script)
    assert "style=" not in page
    assert not re.search(r'\son[a-z]+="', page)
    assert "http://" not in page and "https://" not in page
