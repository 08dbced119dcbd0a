"""What is a route? A row of the table: who may use it, what answers, what it takes and gives."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Generic, TypeVar

from aiohttp import web
from msgspec import Struct

from webserver.context import Caller
from webserver.parameters import parse_query
from wire.errors import Refusal

Handler = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]
Q = TypeVar("Q", bound=Struct)
T = TypeVar("T")

JSON = "application/json"
BYTES = "application/octet-stream"
EVENTS = "text/event-stream"
CSV = "text/csv"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"


class May(StrEnum):
    """The least role for a route. The master enforces it, on every call."""

    ANYONE = "anyone"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Face(Enum):
    """To whom a route talks: programs (tokens, JSON) or people (sessions, HTML)."""

    API = "api"
    PAGE = "page"


class Listing(Struct, Generic[T]):
    """One page of a list. `next` null: this was the last one. `total`: of all pages, if known."""

    items: list[T]
    next: str | None = None
    total: int | None = None


@dataclass(frozen=True)
class Answer:
    """What a route gives when all is well. `kind` None: `media` is not JSON."""

    kind: Any  # a type that msgspec knows
    status: int = 200
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)  # name → what it says


@dataclass(frozen=True)
class Header:
    """A request header with a meaning of its own; `pattern` None: any value is taken."""

    meaning: str
    pattern: str | None = None


@dataclass(frozen=True)
class About:
    """What a program has to know of a route of the API; the document is made from this."""

    id: str
    summary: str
    explained: str  # the handler's docstring
    query: type[Struct]
    answers: tuple[Answer, ...]
    body: type[Struct] | None
    bare: bool  # the body may be left out
    also_takes: Mapping[str, str]  # another media type of the body → what stands in it
    headers: Mapping[str, Header]
    refuses: tuple[type[Refusal], ...]  # beyond those that any route may answer


@dataclass(frozen=True)
class Route:
    method: str  # a GET answers HEAD as well
    path: str
    handler: Handler
    may: May
    face: Face = Face.PAGE
    about: About | None = None  # of a route of the API


def api(
    method: str,
    path: str,
    handler: Callable[[web.Request, Caller, Q], Awaitable[web.StreamResponse]],
    may: May,
    query: type[Q],
    summary: str,
    *answers: Answer,
    id: str | None = None,
    body: type[Struct] | None = None,
    bare: bool = False,
    also_takes: Mapping[str, str] | None = None,
    headers: Mapping[str, Header] | None = None,
    refuses: tuple[type[Refusal], ...] = (),
) -> Route:
    """A route of the API: `handler` gets the query string as `query`, and nothing else in it."""

    async def parsed(request: web.Request, caller: Caller) -> web.StreamResponse:
        return await handler(request, caller, parse_query(request, query))

    about = About(
        id=id or handler.__name__,
        summary=summary,
        explained=handler.__doc__ or "",
        query=query,
        answers=answers,
        body=body,
        bare=bare,
        also_takes=also_takes or {},
        headers=headers or {},
        refuses=refuses,
    )
    return Route(method, path, parsed, may, Face.API, about)
