"""GET agents and targets, and labels."""

import pytest

from tests.web.fake_master import BOB, DB1, NOW, WEB01, make_agent, make_run
from webserver.api_agents import parse_csv
from wire.errors import InvalidValue, Malformed, NotFound
from wire.views import Changed, Page, TargetsView


async def test_it_lists_agents_page_by_page(client, master):
    master.answer("get_agents", Page([make_agent()], next="c2"))
    response = await client.get("/api/v1/agents?limit=1&cursor=c1")
    assert response.status == 200
    body = await response.json()
    assert body["next"] == "c2"
    assert body["items"][0]["hostname"] == "web01"
    [asked] = master.asked("get_agents")
    assert (asked.limit, asked.cursor) == (1, "c1")


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("limit=x", 400, "limit"),
        ("limit=1.5", 400, "limit"),
        ("limit=0", 422, "limit"),
        ("limit=-3", 422, "limit"),
        ("limit=10001", 422, "limit"),
        ("limit=٣", 400, "limit"),
        ("limit=1&limit=2", 400, "limit"),
        ("colour=red", 400, "colour"),
    ],
)
async def test_it_names_the_parameter_that_is_wrong(client, query, status, field):
    response = await client.get(f"/api/v1/agents?{query}")
    assert response.status == status
    assert (await response.json())["error"]["field"] == field


async def test_it_passes_on_what_the_master_says_of_a_cursor(client, master):
    master.answer("get_agents", Malformed("this is no cursor of this list", field="cursor"))
    response = await client.get("/api/v1/agents?cursor=zzz")
    assert response.status == 400
    assert (await response.json())["error"]["field"] == "cursor"


async def test_it_gives_all_targets_as_one_bare_array(client, master):
    pages = {
        None: Page([make_agent()], next="c2"),
        "c2": Page([make_agent(DB1, "db1")]),
    }
    master.answer("get_agents", lambda ask: pages[ask.cursor])
    response = await client.get("/task/targets")
    assert [agent["hostname"] for agent in await response.json()] == ["web01", "db1"]


async def test_it_gives_an_empty_array_without_agents(client, master):
    master.answer("get_agents", Page([]))
    assert await (await client.get("/task/targets")).json() == []


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_it_compresses_large_lists(client, master, coding):
    master.answer("get_agents", Page([make_agent(f"{n:032x}", f"web{n}") for n in range(10_000)]))
    response = await client.get("/task/targets", headers={"Accept-Encoding": coding})
    assert response.headers["Content-Encoding"] == coding
    assert response.headers["Vary"] == "Accept-Encoding"
    assert int(response.headers["Content-Length"]) < 1_000_000
    assert len(await response.json()) == 10_000


async def test_it_sends_small_and_unwanted_compression_plain(client):
    response = await client.get("/task/targets", headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in response.headers


async def test_it_previews_an_expression(client, master):
    master.answer("get_targets", TargetsView("web[01-02]", 2, "d1", 0, [WEB01, DB1]))
    response = await client.get("/api/v1/targets", params={"expr": "web*"})
    assert await response.json() == {
        "nodeset": "web[01-02]",
        "count": 2,
        "digest": "d1",
        "offline": 0,
        "ids": [WEB01, DB1],
        "left_out": [],
    }
    assert master.asked("get_targets")[0].expr == "web*"


async def test_it_wants_an_expression_to_preview(client):
    response = await client.get("/api/v1/targets")
    assert response.status == 400
    assert (await response.json())["error"]["field"] == "expr"


async def test_it_lists_unknown_hosts_of_an_expression(client, master):
    master.answer(
        "get_targets",
        InvalidValue("unknown hosts: web99", field="expr", details={"unknown": ["web99"]}),
    )
    response = await client.get("/api/v1/targets", params={"expr": "web99"})
    assert response.status == 422
    assert (await response.json())["error"] == {
        "code": "invalid_value",
        "message": "unknown hosts: web99",
        "field": "expr",
        "details": {"unknown": ["web99"]},
    }


async def test_it_sets_and_removes_labels_of_one_agent(client, master):
    master.answer("set_labels", Changed(1))
    response = await client.patch(
        f"/api/v1/agents/{WEB01}", json={"labels": {"env": "test", "rack": None}}
    )
    assert (response.status, await response.json()) == (200, {"changed": 1})
    assert master.asked("set_labels")[0].labels == {WEB01: {"env": "test", "rack": None}}


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "labels"), ({"labels": {"env": 3}}, "labels"), ({"labels": {}, "ip": []}, "ip")],
)
async def test_it_refuses_labels_of_another_form(client, body, field):
    response = await client.patch(f"/api/v1/agents/{WEB01}", json=body)
    assert response.status == 400
    assert (await response.json())["error"]["field"] == field


async def test_it_sets_many_labels_by_id_and_by_hostname(client, master):
    master.answer("set_labels", Changed(2))
    body = {"labels": {"web01": {"env": "prod"}, DB1: {"env": None}}}
    response = await client.post("/api/v1/agents/labels", json=body)
    assert await response.json() == {"changed": 2}
    assert master.asked("set_labels")[0].labels == {WEB01: {"env": "prod"}, DB1: {"env": None}}


async def test_it_asks_for_no_hostnames_when_all_are_ids(client, master):
    master.answer("set_labels", Changed(1))
    await client.post("/api/v1/agents/labels", json={"labels": {WEB01: {}}})
    assert master.asked("get_agents") == []


async def test_it_takes_labels_as_csv(client, master):
    master.answer("set_labels", Changed(2))
    response = await client.post(
        "/api/v1/agents/labels",
        data='hostname,env,rack\r\nweb01,prod,"A, 1"\r\ndb1,,B2\r\n',
        headers={"Content-Type": "text/csv; charset=utf-8"},
    )
    assert response.status == 200
    assert master.asked("set_labels")[0].labels == {
        WEB01: {"env": "prod", "rack": "A, 1"},
        DB1: {"env": None, "rack": "B2"},
    }


@pytest.mark.parametrize("named", [{"web99": {}}, {"twin": {}}, {"web01": {}, WEB01: {}}])
async def test_it_refuses_names_that_are_not_of_one_agent(client, master, named):
    master.answer(
        "get_agents",
        Page([make_agent(), make_agent("1" * 32, "twin"), make_agent("2" * 32, "twin")]),
    )
    response = await client.post("/api/v1/agents/labels", json={"labels": named})
    assert response.status == 422
    assert (await response.json())["error"]["field"] == "labels"
    assert master.asked("set_labels") == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n\n",
        b"agent\nweb01\n",
        b"host,env\nweb01,prod\n",
        b"agent,env,env\nweb01,a,b\n",
        b"agent,,env\nweb01,a,b\n",
        b"agent,env\nweb01\n",
        b'agent,env\nweb01,"open\n',
        b"agent,env\n\xff,prod\n",
    ],
)
def test_it_refuses_csv_that_it_would_have_to_guess(text):
    with pytest.raises(Malformed):
        parse_csv(text)


def test_it_refuses_an_agent_with_two_rows():
    with pytest.raises(InvalidValue):
        parse_csv(b"agent,env\nweb01,a\nweb01,b\n")


async def test_it_leaves_labels_to_admins(client, master):
    response = await client.patch(
        f"/api/v1/agents/{WEB01}",
        json={"labels": {}},
        headers={"Authorization": f"Bearer {BOB}"},
    )
    assert response.status == 403
    assert (await response.json())["error"]["code"] == "forbidden"


async def test_it_passes_filters_order_and_window_on(client, master):
    master.answer("get_agents", Page([make_agent()], total=41))
    asked = {"text": "eu", "state": "online", "label": "env:prod", "sort": "-last_seen"}
    response = await client.get(
        "/api/v1/agents", params=asked | {"offset": 20, "limit": 1, "facts": "false"}
    )
    assert (await response.json())["total"] == 41
    [ask] = master.asked("get_agents")
    assert (ask.text, ask.state, ask.label, ask.sort) == ("eu", "online", "env:prod", "-last_seen")
    assert (ask.offset, ask.limit, ask.facts) == (20, 1, False)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("state=null", 422),
        ("state=ONLINE", 422),
        ("sort=colour", 422),
        ("sort=", 422),
        ("facts=perhaps", 400),
        ("offset=-1", 422),
        ("offset=1e99", 400),
        ("text=" + "x" * 201, 422),
    ],
)
async def test_it_refuses_a_filter_that_it_would_have_to_guess(client, query, status):
    response = await client.get(f"/api/v1/agents?{query}")
    assert response.status == status
    error = (await response.json())["error"]
    assert error["field"] == query.partition("=")[0]
    assert "it takes" in error["message"]


async def test_it_shows_one_agent(client, master):
    master.answer("get_agent", make_agent(registered_at=NOW))
    response = await client.get(f"/api/v1/agents/{WEB01}")
    assert (await response.json())["registered_at"] == NOW
    assert master.asked("get_agent")[0].id == WEB01


async def test_it_says_that_there_is_no_such_agent(client, master):
    master.answer("get_agent", NotFound("no agent has the id x"))
    assert (await client.get("/api/v1/agents/x")).status == 404


async def test_it_lists_the_runs_of_one_agent(client, master):
    master.answer("get_runs_of_agent", Page([make_run(task_name="say hello")], next="c2"))
    response = await client.get(f"/api/v1/agents/{WEB01}/runs?limit=1&cursor=c1")
    body = await response.json()
    assert (body["items"][0]["task_name"], body["next"]) == ("say hello", "c2")
    [ask] = master.asked("get_runs_of_agent")
    assert (ask.agent, ask.limit, ask.cursor) == (WEB01, 1, "c1")
