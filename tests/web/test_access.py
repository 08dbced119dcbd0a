"""Who may come in, and what every answer carries."""

import asyncio
import logging
import re

import pytest

from tests.web.fake_master import ALICE, TASK, FakeMaster
from webserver.routes import ROUTES, Face, May
from wire.errors import Unavailable
from wire.views import Added

CLOSED_API = [route for route in ROUTES if route.face is Face.API and route.may is not May.ANYONE]
CLOSED_PAGES = [
    route for route in ROUTES if route.face is Face.PAGE and route.may is not May.ANYONE
]
EVERY = pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")


def filled(path: str) -> str:
    places = {"task": TASK, "name": "style.css", "version": "v1"}
    return re.sub(r"{(\w+)}", lambda place: places.get(place[1], "x1"), path)


@pytest.mark.parametrize("route", CLOSED_API, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer x", "Basic YTpi", "Bearer unknown-token-123"]
)
async def test_it_answers_401_on_every_route_of_the_api(stranger, route, header):
    headers = {} if header is None else {"Authorization": header}
    response = await stranger.request(route.method, filled(route.path), headers=headers)
    assert response.status == 401
    assert (await response.json())["error"]["code"] == "unauthenticated"
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("route", CLOSED_PAGES, ids=lambda route: f"{route.method} {route.path}")
async def test_it_leads_every_page_to_the_login(stranger, route):
    response = await stranger.request(route.method, filled(route.path), allow_redirects=False)
    assert response.status == 303
    assert response.headers["Location"].startswith("/login")


@EVERY
async def test_it_answers_every_route_under_a_strict_policy(stranger, route):
    response = await stranger.request(route.method, filled(route.path), allow_redirects=False)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_it_takes_the_scheme_in_any_case(stranger):
    response = await stranger.get("/api/v1/tasks", headers={"Authorization": f"bearer {ALICE}"})
    assert response.status == 200


async def test_it_answers_401_before_it_reads_the_body(stranger):
    """The body is never sent: an answer means that nobody waited for it."""
    reader, writer = await asyncio.open_connection(stranger.host, stranger.port)
    writer.write(
        b"POST /task HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer unknown-token-123\r\n"
        b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    )
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 401 ")


async def test_it_asks_for_the_body_once_it_knows_the_caller(client, master):
    master.answer("add_task", Added(TASK, True))
    body = b'{"script": "true", "targets": "*"}'
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(
        f"POST /task HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALICE}\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 201 ")


async def test_it_answers_413_without_reading_it_all(client):
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(
        f"POST /task HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALICE}\r\n"
        "Content-Length: 4194305\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 413 ")


async def test_it_answers_413_to_a_body_that_hides_its_length(client):
    async def endless():
        for _ in range(10_000):
            yield b" " * 65536

    response = None
    try:
        response = await client.post("/task", data=endless())
    except ConnectionError:
        pass  # cut while we were still sending is as good
    assert response is None or response.status == 413


async def test_it_answers_400_to_a_body_that_is_not_encoded_as_it_says(client):
    response = await client.post(
        "/task", data=b"not gzip at all", headers={"Content-Encoding": "gzip"}, skip_auto_headers=[]
    )
    assert response.status == 400


async def test_it_does_not_ask_the_master_about_a_token_again_and_again(client, master):
    for _ in range(5):
        assert (await client.get("/api/v1/tasks")).status == 200
    assert len(master.asked("whoami")) == 1
    assert len(master.asked("get_tasks")) == 5


async def test_it_believes_a_refused_token_no_longer_than_the_master(client, master):
    """The web's short memory grants nothing: the call itself is judged."""
    assert (await client.get("/api/v1/tasks")).status == 200
    del master.people[ALICE]
    assert (await client.get("/api/v1/tasks")).status == 401


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/v1/tasks", "GET, HEAD, POST"),
        ("GET", "/task", "POST"),
        ("PUT", "/healthz", "GET, HEAD"),
        ("OPTIONS", "/api/v1/tasks", "GET, HEAD, POST"),
    ],
)
async def test_it_answers_405_with_what_it_takes(client, method, path, allow):
    response = await client.request(method, path)
    assert response.status == 405
    assert response.headers["Allow"] == allow
    assert (await response.json())["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v2/tasks", "/api/v1/", "/task/other", "/api/v1/tasks/x/y"]
)
async def test_it_answers_404_as_json_below_the_api(client, path):
    response = await client.get(path)
    assert response.status == 404
    assert (await response.json())["error"]["code"] == "not_found"


async def test_it_answers_404_as_a_page_elsewhere(stranger):
    response = await stranger.get("/<script>alert(1)</script>")
    assert response.status == 404
    assert response.content_type == "text/html"
    assert "<script>" not in await response.text()


@pytest.mark.parametrize(
    "path", ["/api/v1/agents", "/api/v1/tasks", "/healthz", f"/api/v1/tasks/{TASK}/events"]
)
async def test_it_answers_head_where_it_answers_get(client, path):
    response = await client.head(path)
    assert (response.status, await response.read()) == (200, b"")


async def test_it_answers_500_with_a_reference_and_nothing_else(client, master, caplog):
    master.answer("get_tasks", ZeroDivisionError("secret detail"))
    response = await client.get("/api/v1/tasks")
    assert response.status == 500
    error = (await response.json())["error"]
    assert error["code"] == "internal"
    assert "secret detail" not in error["message"]
    assert error["message"].split()[-1] in caplog.text


async def test_it_serves_health_and_style_while_the_master_is_away(client, master):
    master.away = True
    master.answer("whoami", Unavailable("no answer"))
    assert await (await client.get("/healthz")).json() == {"status": "ok", "master": "away"}
    assert (await client.get("/static/v1/style.css")).status == 200
    assert (await client.get("/login")).status == 200
    response = await client.get("/api/v1/tasks")
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0


async def test_it_serves_again_when_the_master_is_back(client, master):
    master.answer("whoami", Unavailable("no answer"))
    assert (await client.get("/api/v1/tasks")).status == 503
    del master.answers["whoami"]
    assert (await client.get("/api/v1/tasks")).status == 200


async def test_it_keeps_static_files_for_ever_by_their_version(stranger):
    page = await (await stranger.get("/login")).text()
    url = page.split('rel="stylesheet" href="')[1].split('"')[0]
    response = await stranger.get(url)
    assert "immutable" in response.headers["Cache-Control"]
    assert response.content_type == "text/css"
    again = await stranger.get(url, headers={"If-None-Match": response.headers["ETag"]})
    assert again.status == 304


@pytest.mark.parametrize("name", ["nothing.css", "..%2fprogram.py", "%2fetc%2fpasswd"])
async def test_it_serves_nothing_but_its_static_files(stranger, name):
    assert (await stranger.get(f"/static/v1/{name}")).status == 404


async def test_it_logs_neither_query_nor_token(aiohttp_server, aiohttp_client, caplog):
    from webserver import make_app
    from webserver.logs import AccessLog

    caplog.set_level(logging.INFO)
    server = await aiohttp_server(make_app(FakeMaster()), access_log_class=AccessLog)
    client = await aiohttp_client(server)
    await client.get("/api/v1/tasks?cursor=hidden", headers={"Authorization": f"Bearer {ALICE}"})
    await client.close()
    assert "/api/v1/tasks 200" in caplog.text
    assert "hidden" not in caplog.text
    assert ALICE not in caplog.text
