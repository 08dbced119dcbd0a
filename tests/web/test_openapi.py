"""The OpenAPI document: made from the routes, complete, and true."""

import re
from pathlib import Path

import msgspec
import pytest

from tests.web.fake_master import TASK
from webserver.endpoint import Face, May
from webserver.routes import API, ROUTES
from wire.errors import BY_CODE
from wire.requests import Submission

API_DOC = Path(__file__).resolve().parents[2] / "docs/api.md"
ROW = pytest.mark.parametrize("route", API, ids=lambda route: f"{route.method} {route.path}")


@pytest.fixture
async def document(stranger):
    response = await stranger.get("/api/openapi.json")
    assert response.status == 200
    return await response.json()


async def test_it_has_each_route_of_the_api_and_no_other(document):
    described = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert described == {(route.method, route.path) for route in API}
    assert described == {(r.method, r.path) for r in ROUTES if r.face is Face.API}
    assert all(route.about is not None for route in API)


async def test_it_names_each_operation_once(document):
    ids = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(set(ids)) == len(ids)


async def test_it_says_in_a_sentence_what_each_is_for(document):
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            for parameter in operation["parameters"]:
                assert parameter["description"], (path, parameter["name"])


async def test_every_reference_in_it_leads_somewhere(document):
    named = set(
        re.findall(r'"#/components/schemas/([^"]+)"', msgspec.json.encode(document).decode())
    )
    assert named <= set(document["components"]["schemas"])


async def test_it_has_the_fields_of_a_submission_as_the_parser_has_them(document):
    schema = document["components"]["schemas"]["Submission"]
    assert list(schema["properties"]) == list(Submission.__struct_fields__)
    assert schema["additionalProperties"] is False


@ROW
async def test_it_has_every_place_in_the_path(document, route):
    operation = document["paths"][route.path][route.method.lower()]
    places = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
    assert places == set(re.findall(r"{(\w+)}", route.path))


@ROW
async def test_it_says_who_needs_a_token(document, route):
    operation = document["paths"][route.path][route.method.lower()]
    assert ("401" in operation["responses"]) == (route.may is not May.ANYONE)
    assert (operation.get("security") == []) == (route.may is May.ANYONE)


async def test_each_code_in_it_is_one_that_the_programs_know(document):
    refusals = [
        answer["description"]
        for path in document["paths"].values()
        for operation in path.values()
        for status, answer in operation["responses"].items()
        if status >= "400"
    ]
    codes = set(re.findall(r"`([a-z_]+)`: ", "\n".join(refusals)))
    web_only = {"method_not_allowed", "request_timeout", "range_not_satisfiable"}
    assert codes <= set(BY_CODE) | web_only
    assert {"conflict", "too_large", "invalid_value", "unavailable", "store_full"} <= codes


async def test_it_need_not_be_sent_again(stranger):
    response = await stranger.get("/api/openapi.json")
    again = await stranger.get(
        "/api/openapi.json", headers={"If-None-Match": response.headers["ETag"]}
    )
    assert again.status == 304
    assert await again.read() == b""


async def test_it_is_there_to_read_as_a_page(stranger):
    response = await stranger.get("/api")
    page = await response.text()
    assert response.status == 200
    assert response.content_type == "text/html"
    assert "/api/v1/tasks/{task}/retry" in page
    assert 'id="Submission"' in page
    assert "style=" not in page
    assert "<script" not in page.replace('<script type="module" src=', "")


@ROW
async def test_it_refuses_parameters_that_are_not_in_the_document(client, route):
    path = re.sub(r"{(\w+)}", lambda place: TASK if place[1] == "task" else "x1", route.path)
    response = await client.request(route.method, path, params={"colour": "red"})
    assert response.status == 400
    assert (await response.json())["error"]["field"] == "colour"


def test_the_table_of_the_documentation_has_each_route():
    rows = re.findall(
        r"^\| (GET|POST|PUT|PATCH|DELETE) \| (.*?) \|", API_DOC.read_text(), re.MULTILINE
    )
    told = {
        (method, path.partition("?")[0])
        for method, cell in rows
        for path in re.findall(r"`([^`]+)`", cell)
    }
    assert told | {("GET", "/api/openapi.json")} == {(route.method, route.path) for route in API}
