"""A ping of all hosts, by the API and by the button on the page of hosts."""

import pytest

from tests.web.fake_master import BOB, DB1, OTTO, WEB01
from tests.web.test_pages import log_in, send
from webserver.page_ping import ON_A_PAGE
from wire.ping import PingView, PongView

FOUND = PingView(
    asked=2,
    answered=1,
    seconds=5.012,
    agents=[
        PongView(DB1, "db1", "stale", None, "0.1.0", None),
        PongView(WEB01, "web01", "online", 2.44, "0.1.0", -0.5),
    ],
)


@pytest.fixture(autouse=True)
def answering(master):
    master.answer("ping_agents", FOUND)


@pytest.fixture
async def browser(stranger):
    await log_in(stranger, OTTO)
    return stranger


async def test_it_answers_who_answered(client, master):
    response = await client.post("/api/v1/ping")
    assert response.status == 200
    found = await response.json()
    assert (found["asked"], found["answered"]) == (2, 1)
    assert [pong["ms"] for pong in found["agents"]] == [None, 2.44]
    assert [asked.timeout for asked in master.asked("ping_agents")] == [5.0]


async def test_it_takes_another_time_limit(client, master):
    assert (await client.post("/api/v1/ping", json={"timeout": 1.5})).status == 200
    assert [asked.timeout for asked in master.asked("ping_agents")] == [1.5]


@pytest.mark.parametrize("body", [{"timeout": "soon"}, {"limit": 1}, []])
async def test_it_refuses_another_body(client, master, body):
    assert (await client.post("/api/v1/ping", json=body)).status == 400
    assert not master.asked("ping_agents")


async def test_it_is_not_for_viewers(client, master):
    response = await client.post("/api/v1/ping", headers={"Authorization": f"Bearer {BOB}"})
    assert response.status == 403


async def test_the_page_of_hosts_has_the_button_for_operators(browser):
    page = await (await browser.get("/hosts")).text()
    assert 'action="/hosts/ping"' in page


async def test_the_page_of_hosts_has_no_button_for_viewers(stranger):
    await log_in(stranger, BOB)
    assert "/hosts/ping" not in await (await stranger.get("/hosts")).text()


async def test_the_button_leads_to_a_table_of_answers(browser, master):
    response = await send(browser, "/hosts/ping", {}, form_page="/hosts")
    assert response.status == 200
    page = await response.text()
    assert "1 of 2 answered" in page
    assert page.index("no answer") < page.index("2.4 ms")
    assert "Ping again" in page


async def test_whoever_reloads_finds_the_button_and_asks_nobody(browser, master):
    page = await (await browser.get("/hosts/ping")).text()
    assert "Ping all" in page
    assert not master.asked("ping_agents")


async def test_a_ping_that_no_page_of_ours_sent_is_refused(browser, master):
    assert (await browser.post("/hosts/ping", data={})).status == 403
    assert not master.asked("ping_agents")


async def test_the_page_shows_the_slowest_of_very_many(browser, master):
    many = [
        PongView(f"{n:032x}", f"host{n}", "online", 9.0, "1", 0.0) for n in range(ON_A_PAGE + 50)
    ]
    master.answer("ping_agents", PingView(len(many), len(many), 3.0, many))
    page = await (await send(browser, "/hosts/ping", {}, form_page="/hosts")).text()
    assert page.count('<td class="answer">') == ON_A_PAGE
    assert "50 faster ones are not shown" in page
