"""The pages of accounts, people and tokens, and the same by the API."""

import pytest

from tests.web.fake_master import ALICE, PERSON, SESSION, TOKEN, make_person, make_token
from tests.web.test_login import log_in
from tests.web.test_pages import hidden
from wire.errors import Conflict, Forbidden, InvalidValue, NotFound, Unavailable
from wire.people import NewToken
from wire.views import Page, TargetsView


@pytest.fixture
async def alice(stranger):
    """Alice, logged in with her password."""
    assert (await log_in(stranger)).status == 303
    return stranger


async def send(browser, path, form_page=None, **fields):
    page = await (await browser.get(form_page or path)).text()
    data = {"csrf": hidden(page, "csrf"), **fields}
    return await browser.post(path, data=data, allow_redirects=False)


# ---- one's account


async def test_it_shows_sessions_and_tokens(alice):
    page = await (await alice.get("/account")).text()
    assert "this browser" in page
    assert f"/account/tokens/{TOKEN}/revoke" in page
    assert page.count(">End</button>") == 1  # the other session, not this one


async def test_it_shows_a_new_token_once(alice, master):
    secret = "mst_" + "q" * 43
    master.answer("add_token", NewToken(secret, make_token(name="<nightly>")))
    fields = {"name": "<nightly>", "role": "operator", "days": "30"}
    response = await send(alice, "/account/tokens", "/account", **fields)
    page = await response.text()
    assert response.status == 200
    assert page.count(secret) == 1
    assert "<nightly>" not in page
    assert response.headers["Cache-Control"] == "no-store"
    [asked] = master.asked("add_token")
    assert (asked.name, asked.role, asked.expires_in) == ("<nightly>", "operator", 30 * 86_400)
    assert secret not in await (await alice.get("/account")).text()


async def test_a_token_lives_for_ever_only_when_that_is_chosen(alice, master):
    await send(alice, "/account/tokens", "/account", name="x", role="viewer", days="")
    assert master.asked("add_token")[0].expires_in is None


@pytest.mark.parametrize("days", ["-1", "nan", "1e9", "7000", " "])
async def test_it_makes_no_token_with_a_life_that_is_not_offered(alice, master, days):
    response = await send(alice, "/account/tokens", "/account", name="x", role="viewer", days=days)
    assert response.status == 422
    assert master.asked("add_token") == []


async def test_it_says_why_there_is_no_token_and_keeps_what_was_typed(alice, master):
    master.answer("add_token", InvalidValue("name is too long", field="name"))
    response = await send(
        alice, "/account/tokens", "/account", name="long", role="viewer", days="7"
    )
    page = await response.text()
    assert response.status == 422
    assert "name is too long" in page
    assert 'value="long"' in page


async def test_it_changes_the_password_and_says_so(alice, master):
    response = await send(alice, "/account/password", "/account", old="a", new=" b ")
    assert "The password is changed" in await response.text()
    [asked] = master.asked("change_password")
    assert (asked.old, asked.new) == ("a", " b ")  # blanks are part of a password


async def test_a_wrong_old_password_logs_nobody_out(alice, master):
    master.answer("change_password", InvalidValue("old is not your password", field="old"))
    response = await send(alice, "/account/password", "/account", old="a", new="b")
    assert response.status == 422
    assert "old is not your password" in await response.text()
    assert (await alice.get("/account", allow_redirects=False)).status == 200


async def test_it_ends_one_session_or_all(alice, master):
    ended = await send(alice, f"/account/sessions/{SESSION}/end", "/account")
    assert ended.headers["Location"] == "/account#sessions"
    assert master.asked("end_session")[0].id == SESSION
    response = await send(alice, "/account/log-out-everywhere", "/account")
    assert response.headers["Location"] == "/login"
    assert master.asked("log_out_everywhere")[0].person is None
    assert (await alice.get("/account", allow_redirects=False)).status == 303


@pytest.mark.parametrize("refusal", [Forbidden("none of yours"), Unavailable("no answer")])
async def test_an_account_without_lists_is_still_a_page(alice, master, refusal):
    master.answer("get_sessions", refusal)
    master.answer("get_tokens", refusal)
    assert (await alice.get("/account")).status == 200


# ---- people


async def test_it_adds_a_person(alice, master):
    fields = {"do": "add", "name": " otto ", "role": "operator", "hosts": " web* "}
    response = await send(alice, "/people", password="a long password", **fields)
    assert response.headers["Location"] == "/people"
    [asked] = master.asked("add_person")
    assert (asked.name, asked.role, asked.hosts) == ("otto", "operator", "web*")


async def test_it_says_which_hosts_a_limit_means_without_adding(alice, master):
    master.answer("get_targets", TargetsView("web[01-40]", 40, "d", 0, []))
    response = await send(alice, "/people", do="preview", name="otto", hosts="web*")
    page = await response.text()
    assert "Now 40 hosts: web[01-40]" in page
    assert 'value="otto"' in page
    assert master.asked("add_person") == []


@pytest.mark.parametrize("field", ["name", "role", "password", "hosts", None, "other"])
async def test_it_says_what_is_wrong_and_keeps_all_but_the_password(alice, master, field):
    master.answer("add_person", InvalidValue("this is wrong", field=field))
    fields = {"name": "otto", "role": "viewer", "hosts": "web*", "password": "long password"}
    response = await send(alice, "/people", do="add", **fields)
    page = await response.text()
    assert (response.status, page.count("this is wrong")) == (422, 1)
    assert 'value="otto"' in page and 'value="web*"' in page
    assert "long password" not in page


@pytest.mark.parametrize(
    ("fields", "method", "expected"),
    [
        ({"do": "change", "role": "viewer", "hosts": ""}, "change_person", ("viewer", "", None)),
        ({"do": "disable"}, "change_person", (None, None, True)),
        ({"do": "enable"}, "change_person", (None, None, False)),
        ({"do": "password", "password": "a new long one"}, "change_person", (None, None, None)),
    ],
)
async def test_it_changes_what_the_button_says(alice, master, fields, method, expected):
    response = await send(alice, f"/people/{PERSON}", **fields)
    assert response.headers["Location"] == f"/people/{PERSON}"
    [asked] = master.asked(method)
    assert (asked.role, asked.hosts, asked.disabled) == expected
    assert asked.password == fields.get("password")


async def test_it_logs_out_and_removes_a_person(alice, master):
    await send(alice, f"/people/{PERSON}", do="log out")
    assert master.asked("log_out_everywhere")[0].person == PERSON
    response = await send(alice, f"/people/{PERSON}", do="remove")
    assert response.headers["Location"] == "/people"
    assert master.asked("remove_person")[0].id == PERSON


async def test_it_keeps_the_last_admin(alice, master):
    master.answer("change_person", Conflict("alice is the last admin who can log in"))
    response = await send(alice, f"/people/{PERSON}", do="disable")
    assert response.status == 409
    assert "the last admin" in await response.text()


async def test_it_takes_no_button_that_is_not_there(alice, master):
    assert (await send(alice, f"/people/{PERSON}", do="promote")).status == 400
    assert master.asked("change_person") == []


async def test_a_person_who_is_gone_has_no_page(alice, master):
    master.answer("get_person", NotFound("there is no such person"))
    assert (await alice.get("/people/p1")).status == 404


async def test_names_and_limits_are_shown_as_text(alice, master):
    odd = make_person(name="<b>x</b>", hosts="<i>", disabled=True)
    master.answer("get_people", Page([odd], next="c2"))
    page = await (await alice.get("/people")).text()
    assert "<b>x" not in page and "<i>" not in page
    assert 'href="/people?cursor=c2"' in page


async def test_it_lists_the_tokens_of_everybody_and_revokes_them(alice, master):
    states = [make_token(id=f"k{n}", state=state) for n, state in enumerate(("active", "revoked"))]
    master.answer("get_tokens", Page(states))
    page = await (await alice.get("/tokens")).text()
    assert master.asked("get_tokens")[0].all is True
    assert "/tokens/k0/revoke" in page and "/tokens/k1/revoke" not in page
    assert (await send(alice, "/tokens/k0/revoke", "/tokens")).status == 303
    assert master.asked("revoke_token")[0].id == "k0"


# ---- the same for programs


async def test_programs_make_and_revoke_tokens(client, master):
    body = {"name": "nightly", "role": "viewer", "expires_in": 60}
    made = await client.post("/api/v1/tokens", json=body)
    assert made.status == 201
    assert (await made.json())["secret"].startswith("mst_")
    assert (await client.delete(f"/api/v1/tokens/{TOKEN}")).status == 200
    await client.get("/api/v1/tokens?all=true&limit=5")
    asked = master.asked("get_tokens")[0]
    assert (asked.all, asked.limit) == (True, 5)


async def test_programs_add_change_and_remove_people(client, master):
    body = {"name": "otto", "role": "operator", "password": "a long password", "hosts": "web*"}
    added = await client.post("/api/v1/people", json=body)
    assert (added.status, added.headers["Location"]) == (201, f"/api/v1/people/{PERSON}")
    changed = await client.patch(f"/api/v1/people/{PERSON}", json={"disabled": True})
    assert changed.status == 200
    assert master.asked("change_person")[0].role is None
    assert (await client.delete(f"/api/v1/people/{PERSON}/sessions")).status == 200
    assert master.asked("log_out_everywhere")[0].person == PERSON
    assert (await client.delete(f"/api/v1/people/{PERSON}")).status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/people", {"name": "otto"}),
        ("/api/v1/people", {"name": 1, "role": "viewer", "password": "x"}),
        ("/api/v1/tokens", {"name": "x", "role": "viewer", "secret": "mine"}),
        ("/api/v1/tokens", {"name": "x", "role": "viewer", "expires_in": "long"}),
        ("/api/v1/me/password", {"old": "x"}),
    ],
)
async def test_programs_are_told_what_a_body_takes(client, master, path, body):
    response = await client.post(path, json=body)
    assert response.status == 400
    assert (await response.json())["error"]["field"]


async def test_a_revoked_token_is_nobody_at_once(client, master):
    assert (await client.get("/api/v1/me")).status == 200
    del master.people[ALICE]
    assert (await client.get("/api/v1/me")).status == 401
