"""Coming in and going out: passwords, tokens, the one-time code; and nothing kept in the web."""

import pytest

from tests.web.fake_master import ALICE, BOB, OTTO, PASSWORD, TASK, make_task
from tests.web.test_pages import hidden, send
from webserver import make_app
from wire.errors import Busy, Conflict, Forbidden, TooManyAttempts, Unauthenticated, Unavailable
from wire.people import Doors, NewSession
from wire.views import WhoAmI

SESSION = "mschedule_session"


def cookies(browser):
    return browser.session.cookie_jar.filter_cookies(browser.make_url("/"))


async def post_to_door(browser, path="/login", **fields):
    page = await (await browser.get(path)).text()
    data = {"csrf": hidden(page, "csrf"), **fields}
    return await browser.post(path, data=data, allow_redirects=False)


async def log_in(browser, name="alice", password=PASSWORD, **fields):
    return await post_to_door(browser, name=name, password=password, **fields)


@pytest.fixture
async def alice(stranger):
    assert (await log_in(stranger)).status == 303
    return stranger


async def test_it_lets_people_in_by_name_and_password(stranger, master):
    response = await log_in(stranger, next="/hosts")
    assert (response.status, response.headers["Location"]) == (303, "/hosts")
    assert cookies(stranger)[SESSION].value.startswith("mss_")
    assert "mschedule_visitor" not in cookies(stranger)
    page = await (await stranger.get("/tasks")).text()
    assert "alice" in page
    [asked] = master.asked("log_in")
    assert (asked.auth.token, asked.auth.address) == (None, "127.0.0.1")


async def test_it_says_in_one_sentence_that_name_or_password_is_wrong(stranger):
    response = await log_in(stranger, "alice", "wrong <b>password</b>")
    page = await response.text()
    assert response.status == 401
    assert page.count('role="alert"') == 1
    assert 'value="alice"' in page
    assert "wrong &lt;b&gt;" not in page and "wrong <b>" not in page
    assert SESSION not in cookies(stranger)


async def test_it_says_when_to_try_again(stranger, master):
    slow_down = TooManyAttempts("try again in 3 s", details={"retry_after_s": 2.2})
    master.answer("log_in", slow_down)
    response = await log_in(stranger)
    assert (response.status, response.headers["Retry-After"]) == (429, "3")
    assert "try again in 3 s" in await response.text()


@pytest.mark.parametrize("refusal", [Busy("too many log-ins"), Unavailable("no answer")])
async def test_it_keeps_the_name_while_the_master_cannot_look(stranger, master, refusal):
    master.answer("log_in", refusal)
    response = await log_in(stranger, "otto")
    page = await response.text()
    assert response.status == 503
    assert refusal.message in page
    assert 'value="otto"' in page


async def test_a_new_login_ends_the_session_that_the_browser_had(alice, master):
    first = cookies(alice)[SESSION].value
    await log_in(alice, "otto")
    second = cookies(alice)[SESSION].value
    assert first != second
    assert master.asked("log_in")[-1].auth.token == first
    assert first not in master.people
    await post_to_door(alice, token=BOB)
    assert second not in master.people
    assert "bob" in await (await alice.get("/tasks")).text()


async def test_it_takes_no_session_that_the_browser_brings_along(stranger, master):
    stranger.session.cookie_jar.update_cookies({SESSION: "mss_" + "a" * 43})
    await log_in(stranger)
    assert cookies(stranger)[SESSION].value != "mss_" + "a" * 43


async def test_a_token_opens_a_session_and_is_no_cookie(stranger, master):
    response = await post_to_door(stranger, token=f"  {OTTO} ")
    assert response.status == 303
    assert OTTO not in str(response.headers)
    assert cookies(stranger)[SESSION].value.startswith("mss_")


async def test_whoever_is_logged_in_stays_so_when_the_web_is_restarted(
    alice, master, aiohttp_client
):
    master.answer("cancel_task", make_task())
    form = hidden(await (await alice.get(f"/tasks/{TASK}")).text(), "csrf")
    restarted = await aiohttp_client(make_app(master), cookies=dict(cookies(alice)))
    assert (await restarted.get("/tasks", allow_redirects=False)).status == 200
    sent = await restarted.post(f"/tasks/{TASK}/cancel", data={"csrf": form}, allow_redirects=False)
    assert sent.status == 303


async def test_it_keeps_nothing_of_a_session_that_the_master_ended(alice, master):
    master.people.clear()
    assert (await alice.get("/account", allow_redirects=False)).status == 303
    page = await (await alice.get("/nowhere")).text()
    assert "alice" not in page


async def test_it_shows_who_one_was_while_the_master_is_away(alice, master):
    await alice.get("/tasks")
    for method in ("whoami", "get_tasks", "get_status"):
        master.answer(method, Unavailable("no answer"))
    response = await alice.get("/tasks")
    assert response.status == 503
    assert "alice" in await response.text()


async def test_a_restarted_web_has_nobody_to_show_while_the_master_is_away(
    alice, master, aiohttp_client
):
    restarted = await aiohttp_client(make_app(master), cookies=dict(cookies(alice)))
    master.answer("whoami", Unavailable("no answer"))
    response = await restarted.get("/tasks")
    assert response.status == 503
    assert "alice" not in await response.text()


# ---- the one-time code


async def test_it_leads_to_the_set_up_while_there_is_a_code(stranger, master):
    assert "/setup" not in await (await stranger.get("/login")).text()
    response = await stranger.get("/setup", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (303, "/login")
    master.answer("get_doors", Doors(True))
    assert 'href="/setup"' in await (await stranger.get("/login")).text()
    assert (await stranger.get("/setup")).status == 200


async def test_it_makes_the_first_account(stranger, master):
    master.answer("get_doors", Doors(True))
    secret = "mss_" + "s" * 43
    who = master.people[secret] = WhoAmI("zoe", "admin", kind="session")
    master.answer("set_up", NewSession(secret, who))
    response = await post_to_door(stranger, "/setup", code=" c0de ", name="zoe", password=PASSWORD)
    assert (response.status, response.headers["Location"]) == (303, "/")
    [asked] = master.asked("set_up")
    assert (asked.code, asked.name, asked.password) == ("c0de", "zoe", PASSWORD)
    assert cookies(stranger)[SESSION].value == secret
    assert "zoe" in await (await stranger.get("/tasks")).text()


async def test_it_says_that_the_code_is_wrong_and_keeps_the_name(stranger, master):
    master.answer("get_doors", Doors(True))
    master.answer("set_up", Unauthenticated("the code does not fit"))
    response = await post_to_door(stranger, "/setup", code="x", name="zoe", password=PASSWORD)
    page = await response.text()
    assert response.status == 401
    assert "the code does not fit" in page
    assert 'value="zoe"' in page
    assert PASSWORD not in page


@pytest.mark.parametrize("path", ["/login", "/setup"])
async def test_a_door_takes_no_form_of_another_browser(stranger, master, aiohttp_client, path):
    master.answer("get_doors", Doors(True))
    other = await aiohttp_client(make_app(master))
    theirs = hidden(await (await other.get(path)).text(), "csrf")
    await stranger.get(path)
    data = {"csrf": theirs, "name": "alice", "password": PASSWORD}
    assert (await stranger.post(path, data=data)).status == 403
    assert master.asked("log_in") + master.asked("set_up") == []


# ---- going out


async def test_it_ends_the_session_at_the_master(alice, master):
    secret = cookies(alice)[SESSION].value
    page = await (await alice.get("/tasks")).text()
    response = await alice.post(
        "/logout", data={"csrf": hidden(page, "csrf")}, allow_redirects=False
    )
    assert response.headers["Location"] == "/login"
    assert secret not in master.people
    assert SESSION not in cookies(alice)


@pytest.mark.parametrize("refusal", [Unauthenticated("ended"), Conflict("no session")])
async def test_it_lets_go_of_a_session_that_had_ended(alice, master, refusal):
    master.answer("log_out", refusal)
    page = await (await alice.get("/tasks")).text()
    response = await alice.post(
        "/logout", data={"csrf": hidden(page, "csrf")}, allow_redirects=False
    )
    assert response.headers["Location"] == "/login"


async def test_it_says_so_when_the_master_could_not_be_told(alice, master):
    master.answer("log_out", Unavailable("no answer"))
    page = await (await alice.get("/tasks")).text()
    response = await alice.post("/logout", data={"csrf": hidden(page, "csrf")})
    assert response.status == 503
    assert "this browser alone" in await response.text()
    assert SESSION not in cookies(alice)


# ---- what is shown to whom


@pytest.mark.parametrize("path", ["/people", "/tokens", "/people/p1"])
async def test_pages_of_admins_are_for_admins(stranger, path):
    await log_in(stranger, "otto")
    response = await stranger.get(path)
    assert response.status == 403
    assert "needs the role admin, and you are operator" in await response.text()


async def test_bob_is_shown_no_form_that_he_may_not_send(stranger, master):
    await log_in(stranger, "bob")
    assert (await stranger.get("/tasks/new")).status == 403
    page = await (await stranger.get("/tasks")).text()
    assert "/tasks/new" not in page and 'href="/people"' not in page
    token = hidden(page, "csrf")
    await stranger.post("/tasks/new", data={"csrf": token, "script": "x", "targets": "@*"})
    assert master.asked("add_task") != []  # it is the master who refuses, and notes it


async def test_otto_is_told_his_limit_before_and_after(stranger, master):
    await log_in(stranger, "otto")
    for secret, who in master.people.items():
        if secret.startswith("mss_"):
            who.hosts = "@env:staging"
    page = await (await stranger.get("/tasks/new")).text()
    assert "<code>@env:staging</code> alone" in page
    master.answer("add_task", Forbidden("not among your hosts: db1", field="targets"))
    response = await send(stranger, "/tasks/new", {"script": "echo mine", "targets": "db1"})
    page = await response.text()
    assert response.status == 403
    assert "not among your hosts: db1" in page
    assert "echo mine" in page


# ---- other sites


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/v1/tasks"), ("DELETE", "/api/v1/tokens/t1")]
)
async def test_no_change_comes_from_another_site_whatever_it_carries(client, master, method, path):
    headers = {"Origin": "https://evil.example", "Authorization": f"Bearer {ALICE}"}
    response = await client.request(method, path, headers=headers)
    assert response.status == 403
    assert master.calls == []


async def test_no_answer_lets_other_sites_read_it(client):
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for method in ("GET", "OPTIONS"):
        response = await client.request(method, "/api/v1/tasks", headers=headers)
        assert not [name for name in response.headers if name.startswith("Access-Control")]
