"""What does a program need to know of the API? An OpenAPI document, made from the routes.

Nothing in it is written by hand: paths, parameters, bodies and answers come from the rows of
the table and the types that handlers parse and answer with, refusals from their classes.
"""

import hashlib
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from utils import VERSION
from webserver.answers import json_bytes
from webserver.body import IDENTIFIER
from webserver.context import Caller
from webserver.endpoint import JSON, About, Answer, May, Route
from webserver.errors import ErrorAnswer
from webserver.parameters import NoQuery, parameters
from webserver.refusals import RequestTimeout
from wire.errors import (
    Busy,
    Forbidden,
    Internal,
    InvalidValue,
    Malformed,
    NotFound,
    Refusal,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

OPENAPI = "3.1.0"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
REF = "#/components/schemas/{name}"

_IN_PATH = re.compile(r"\{(\w+)\}")
_PLACES = {
    "task": "Id of a task.",
    "run": "Id of a run.",
    "agent": "Id of an agent.",
    "script": "Name of a saved script.",
    "version": "Number of a version, from 1.",
    "attempt": "Number of an attempt, from 1.",
    "group": "Name of a saved group, without the @.",
    "join_token": "Id of a join token.",
    "plan": "Id of a plan.",
    "callback": "Id of a callback.",
    "delivery": "Id of a delivery.",
    "person": "Id of a person.",
    "schedule": "Id of a schedule.",
    "session": "Id of a session.",
    "token": "Id of a token, which is not its secret.",
}
_REFUSAL_HEADERS = {
    401: "WWW-Authenticate",
    416: "Content-Range",
    429: "Retry-After",
    503: "Retry-After",
}

Json = dict[str, Any]


@dataclass(frozen=True)
class Document:
    """The document, as a tree for our own page and as bytes for everybody else."""

    tree: Json
    body: bytes
    etag: str


DOCUMENT: web.AppKey[Document] = web.AppKey("openapi")


async def get_document(request: web.Request, _: Caller, __: NoQuery) -> web.StreamResponse:
    """This document: for generators of clients, and for tests."""
    document = request.app[DOCUMENT]
    headers = {"ETag": document.etag, "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == document.etag:
        return web.Response(status=304, headers=headers)
    return await json_bytes(request, document.body, headers=headers)


def make_document(routes: Sequence[Route]) -> Document:
    described = [(route, route.about) for route in routes if route.about is not None]
    schemas = _Schemas([about for _, about in described])
    paths: dict[str, Json] = {}
    for route, about in described:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, about, schemas)
    tree = {
        "openapi": OPENAPI,
        "jsonSchemaDialect": DIALECT,
        "info": {
            "title": "mschedule",
            "version": VERSION,
            "description": "Shell scripts on every host of a fleet. HEAD works wherever GET does.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    body = msgspec.json.encode(tree)
    return Document(tree, body, f'"{hashlib.sha256(body).hexdigest()[:16]}"')


class _Schemas:
    """The schemas of all types that the routes name, made together so that they share parts."""

    def __init__(self, abouts: Sequence[About]):
        kinds: list[Any] = [ErrorAnswer]
        for about in abouts:
            kinds += [answer.kind for answer in about.answers if answer.kind is not None]
            kinds += [about.body] if about.body is not None else []
            kinds += parameters(about.query).values()
        found, self.components = msgspec.json.schema_components(kinds, ref_template=REF)
        self._found = list(zip(kinds, found, strict=True))

    def of(self, kind: Any) -> Json:
        return next(schema for known, schema in self._found if known == kind)


def _operation(route: Route, about: About, schemas: _Schemas) -> Json:
    operation: Json = {
        "operationId": about.id,
        "summary": about.summary,
        "description": _description(route, about),
        "parameters": [
            *_path_parameters(route),
            *_query_parameters(about.query, schemas),
            *_header_parameters(about),
        ],
        "responses": {**_answers(about, schemas), **_refusals(route, about, schemas)},
    }
    if about.body is not None:
        operation["requestBody"] = _body(about.body, about, schemas)
    if route.may is May.ANYONE:
        operation["security"] = []
    return operation


def _description(route: Route, about: About) -> str:
    who = "Anybody may." if route.may is May.ANYONE else f"For roles from {route.may} up."
    return f"{inspect.cleandoc(about.explained)}\n\n{who}".strip()


def _path_parameters(route: Route) -> Iterator[Json]:
    for name in _IN_PATH.findall(route.path):
        schema = {"type": "string", "pattern": f"^{IDENTIFIER}$"}
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PLACES[name],
            "schema": schema,
        }


def _query_parameters(query: type[Struct], schemas: _Schemas) -> Iterator[Json]:
    hints = parameters(query)
    for field in msgspec.structs.fields(query):
        schema = dict(schemas.of(hints[field.name]))
        description = schema.pop("description", "")
        if field.default not in (msgspec.NODEFAULT, None):
            schema["default"] = field.default
        parameter = {
            "name": field.name,
            "in": "query",
            "required": field.required,
            "description": description,
            "schema": schema,
        }
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter


def _header_parameters(about: About) -> Iterator[Json]:
    for name, header in about.headers.items():
        schema = {"type": "string"}
        if header.pattern is not None:
            schema["pattern"] = f"^{header.pattern}$"
        yield {
            "name": name,
            "in": "header",
            "required": False,
            "description": header.meaning,
            "schema": schema,
        }


def _body(kind: type[Struct], about: About, schemas: _Schemas) -> Json:
    content: Json = {JSON: {"schema": schemas.of(kind)}}
    for media, description in about.also_takes.items():
        content[media] = {"schema": {"type": "string", "description": description}}
    return {"required": not about.bare, "content": content}


def _answers(about: About, schemas: _Schemas) -> Json:
    """By status; one that comes in several media types has them side by side."""
    found: Json = {}
    for answer in about.answers:
        made = _answer(answer, schemas)
        same = found.setdefault(str(answer.status), made)
        same["content"] |= made["content"]
    return found


def _answer(answer: Answer, schemas: _Schemas) -> Json:
    schema = {"type": "string"} if answer.kind is None else schemas.of(answer.kind)
    found: Json = {
        "description": HTTPStatus(answer.status).phrase,
        "content": {answer.media: {"schema": schema}},
    }
    if answer.headers:
        found["headers"] = {
            name: {"description": text, "schema": {"type": "string"}, "required": True}
            for name, text in answer.headers.items()
        }
    return found


def _refusals(route: Route, about: About, schemas: _Schemas) -> Json:
    """By status; those that share one are told apart by their code."""
    by_status: dict[int, list[type[Refusal]]] = {}
    for refusal in _possible(route, about):
        by_status.setdefault(refusal.status, []).append(refusal)
    return {str(status): _refusal(by_status[status], schemas) for status in sorted(by_status)}


def _refusal(kinds: list[type[Refusal]], schemas: _Schemas) -> Json:
    found: Json = {
        "description": "\n\n".join(_told(refusal) for refusal in kinds),
        "content": {JSON: {"schema": schemas.of(ErrorAnswer)}},
    }
    name = _REFUSAL_HEADERS.get(kinds[0].status)
    if name is not None:
        found["headers"] = {name: {"schema": {"type": "string"}, "required": True}}
    return found


def _told(refusal: type[Refusal]) -> str:
    return f"`{refusal.code}`: {inspect.getdoc(refusal)}"


def _possible(route: Route, about: About) -> list[type[Refusal]]:
    """What the row says, and what follows from its path, its query, its body and its role."""
    found: list[type[Refusal]] = [Malformed, Internal, *about.refuses]
    if route.may is not May.ANYONE:
        found += [Unauthenticated, Forbidden, Unavailable, Busy]
    if _IN_PATH.search(route.path):
        found.append(NotFound)
    if about.query is not NoQuery:
        found.append(InvalidValue)
    if route.method != "GET":
        found += [TooLarge, RequestTimeout]
    if about.body is not None:
        found.append(InvalidValue)
    return list(dict.fromkeys(found))
