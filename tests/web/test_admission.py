"""Pages and API of hosts that are let in or sent away, and of join tokens."""

import pytest

from tests.web.fake_master import ALICE, BOB, DB1, NOW, WEB01, make_agent, make_status
from tests.web.test_pages import hidden, log_in
from wire.errors import Conflict, InvalidValue
from wire.joining import JoinTokensView, JoinTokenView, NewJoin
from wire.views import Page

JOIN = "mschedule://master:9000?key=k&token=secret-token"
VERBS = ["accept", "refuse", "delete"]


def make_join_token(**changes):
    values = {
        "id": "j1",
        "name": "web servers",
        "role": "agent",
        "state": "good",
        "labels": {"env": "prod"},
        "accept": "by hand",
        "agent": None,
        "used": 1,
        "uses_left": None,
        "created_at": NOW,
        "created_by": "alice",
        "expires_at": NOW,
    }
    return JoinTokenView(**(values | changes))


@pytest.fixture(autouse=True)
def joined(master):
    master.answer("get_join_tokens", JoinTokensView([make_join_token()]))
    master.answer("add_join_token", NewJoin(make_join_token(), JOIN))
    master.answer("reenrol_agent", NewJoin(make_join_token(agent=WEB01), JOIN))
    master.answer("remove_join_token", {})
    for method in ("accept", "refuse", "revoke", "delete"):
        master.answer(f"{method}_agent", make_agent())
    master.answer("accept_hostname", make_agent())


# ---- API


@pytest.mark.parametrize("verb", VERBS)
async def test_it_passes_on_what_is_done_with_a_host(client, master, verb):
    response = await client.post(f"/api/v1/agents/{WEB01}/{verb}")
    assert response.status == 200
    assert (await response.json())["id"] == WEB01
    assert [asked.id for asked in master.asked(f"{verb}_agent")] == [WEB01]


async def test_a_revocation_may_say_why_and_need_not(client, master):
    await client.post(f"/api/v1/agents/{WEB01}/revoke", json={"reason": "stolen"})
    await client.post(f"/api/v1/agents/{WEB01}/revoke")
    assert [asked.reason for asked in master.asked("revoke_agent")] == ["stolen", ""]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (f"/api/v1/agents/{WEB01}/revoke", {"why": "stolen"}, "why"),
        (f"/api/v1/agents/{WEB01}/accept-hostname", {}, "hostname"),
        ("/api/v1/join-tokens", {}, "name"),
        ("/api/v1/join-tokens", {"name": "x", "uses": "many"}, "uses"),
        ("/api/v1/join-tokens", {"name": "x", "labels": ["env"]}, "labels"),
    ],
)
async def test_it_names_the_field_that_is_wrong(client, path, body, field):
    response = await client.post(path, json=body)
    assert response.status == 400
    assert (await response.json())["error"]["field"] == field


async def test_it_answers_a_join_string_once_and_never_lists_it(client, master):
    wish = {"name": "web servers", "labels": {"env": "prod"}, "uses": 3, "accept": "by hand"}
    response = await client.post("/api/v1/join-tokens", json=wish)
    assert (response.status, (await response.json())["join"]) == (201, JOIN)
    [asked] = master.asked("add_join_token")
    assert (asked.labels, asked.uses, asked.accept) == ({"env": "prod"}, 3, "by hand")
    listed = await (await client.get("/api/v1/join-tokens")).text()
    assert "secret-token" not in listed and "web servers" in listed
    assert (await client.delete("/api/v1/join-tokens/j1")).status == 200


async def test_it_lists_hosts_by_standing(client, master):
    response = await client.get("/api/v1/agents?standing=pending&renamed=true")
    assert response.status == 200
    [asked] = master.asked("get_agents")
    assert (asked.standing, asked.renamed) == ("pending", True)
    assert (await client.get("/api/v1/agents?standing=deleted")).status == 422


async def test_a_conflict_is_409(client, master):
    master.answer("accept_agent", Conflict("agent is revoked"))
    assert (await client.post(f"/api/v1/agents/{WEB01}/accept")).status == 409


# ---- pages


@pytest.fixture
async def browser(stranger):
    """Alice, logged in."""
    assert (await log_in(stranger)).status == 303
    return stranger


async def text_of(browser, path):
    response = await browser.get(path)
    assert response.status == 200, await response.text()
    return await response.text()


def by_kind(asked):
    """A fleet in which each kind of decision waits."""
    if asked.standing == "pending":
        return Page([make_agent(DB1, "new01", standing="pending", fingerprint="aaaa-bbbb")])
    if asked.standing == "quarantined":
        return Page([make_agent(standing="quarantined", reason="two hosts speak")])
    if asked.renamed:
        return Page([make_agent(claimed_hostname="db9")])
    return Page([make_agent()], total=1)


async def test_the_list_of_hosts_tells_first_what_has_to_be_decided(browser, master):
    master.answer("get_agents", by_kind)
    master.answer("get_status", make_status(pending=1, quarantined=1, renamed=1))
    page = await text_of(browser, "/hosts")
    for words in ("aaaa-bbbb", "two hosts speak", "--new-identity", "Accept db9", "1 quarantined"):
        assert words in page
    assert "aaaa-bbbb" not in await text_of(browser, "/hosts?text=web")


async def test_every_page_says_that_hosts_are_quarantined(browser, master):
    master.answer("get_status", make_status(quarantined=2))
    assert "2 quarantined" in await text_of(browser, "/tasks")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"standing": "quarantined", "reason": "copied"}, "copied"),
        ({"standing": "revoked", "reason": "revoked by alice"}, "revoked by alice"),
        ({"standing": "deleted", "reason": "deleted by alice"}, "joins as a new host"),
        ({"standing": "pending"}, "waits to be accepted"),
        ({"claimed_hostname": "db9"}, "no name, wildcard or group means this host"),
        ({"joined_by": "web servers of Berlin"}, "web servers of Berlin"),
    ],
)
async def test_the_page_of_a_host_says_how_it_stands(browser, master, changes, words):
    master.answer("get_agent", make_agent(**changes))
    assert words in await text_of(browser, f"/hosts/{WEB01}")


@pytest.mark.parametrize("verb", [*VERBS, "revoke", "accept-hostname"])
async def test_each_button_does_what_it_says_and_leads_on(browser, master, verb):
    page = await text_of(browser, f"/hosts/{WEB01}")
    form = {"csrf": hidden(page, "csrf"), "reason": "stolen", "hostname": "db9"}
    response = await browser.post(f"/hosts/{WEB01}/{verb}", data=form, allow_redirects=False)
    assert (response.status, response.headers["Location"][:6]) == (303, "/hosts")
    method = verb.replace("-", "_") if "-" in verb else f"{verb}_agent"
    assert [asked.id for asked in master.asked(method)] == [WEB01]


async def test_no_button_works_from_another_page(browser, master):
    for path in (f"/hosts/{WEB01}/revoke", "/join-tokens"):
        assert (await browser.post(path, data={"name": "x"})).status == 403
    assert master.asked("revoke_agent") == master.asked("add_join_token") == []


async def test_a_new_key_is_shown_once_with_the_command_that_takes_it(browser):
    page = await text_of(browser, f"/hosts/{WEB01}")
    response = await browser.post(
        f"/hosts/{WEB01}/re-enrol", data={"csrf": hidden(page, "csrf")}, allow_redirects=False
    )
    text = await response.text()
    assert "secret-token" in text and "mschedule-agent --join -" in text
    assert response.headers["Cache-Control"] == "no-store"


async def test_a_join_token_is_made_from_a_form(browser, master):
    page = await text_of(browser, "/join-tokens")
    form = {
        "csrf": hidden(page, "csrf"),
        "name": "web servers",
        "labels": "env:prod, role:web",
        "uses": "",
        "expires_in": "604800",
        "accept": "by hand",
    }
    response = await browser.post("/join-tokens", data=form)
    assert "secret-token" in await response.text()
    [asked] = master.asked("add_join_token")
    assert (asked.labels, asked.uses) == ({"env": "prod", "role": "web"}, None)
    assert (asked.expires_in, asked.accept) == (604800.0, "by hand")


@pytest.mark.parametrize(
    "wrong", [{"uses": "many"}, {"labels": "env"}, {"labels": "a:b a:c"}, {"expires_in": "5"}]
)
async def test_a_mistake_in_the_form_is_said_beside_its_field(browser, master, wrong):
    page = await text_of(browser, "/join-tokens")
    form = {"csrf": hidden(page, "csrf"), "name": "kept", "expires_in": "3600", **wrong}
    response = await browser.post("/join-tokens", data=form)
    text = await response.text()
    assert response.status == 422
    assert f'id="wrong-{next(iter(wrong))}"' in text
    assert 'value="kept"' in text
    assert master.asked("add_join_token") == []


async def test_what_the_master_refuses_of_a_token_is_said_too(browser, master):
    master.answer("add_join_token", InvalidValue("name is empty", field="name"))
    page = await text_of(browser, "/join-tokens")
    form = {"csrf": hidden(page, "csrf"), "name": "", "expires_in": "3600"}
    response = await browser.post("/join-tokens", data=form)
    assert (response.status, "name is empty" in await response.text()) == (422, True)


async def test_a_viewer_sees_what_waits_and_has_no_buttons(stranger, master):
    assert (await log_in(stranger, token=BOB)).status == 303
    master.answer("get_agents", by_kind)
    page = await text_of(stranger, "/hosts")
    assert "aaaa-bbbb" in page
    assert ">Accept<" not in page and "/join-tokens" not in page
    assert "Revoke" not in await text_of(stranger, f"/hosts/{WEB01}")


@pytest.mark.parametrize(("token", "offered"), [(ALICE, True), (BOB, False)])
async def test_an_empty_fleet_offers_join_strings_to_admins_alone(stranger, master, token, offered):
    assert (await log_in(stranger, token=token)).status == 303
    master.answer("get_agents", Page([], total=0))
    page = await text_of(stranger, "/hosts")
    assert "--print-join agent" in page
    assert ('href="/join-tokens"' in page) == offered
