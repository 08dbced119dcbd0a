"""What may stand in a query string? A Struct a route says it; parsed strictly, refused by name."""

import functools
import math
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import msgspec
from aiohttp import web
from msgspec import Meta, Struct
from msgspec.inspect import (
    BoolType,
    EnumType,
    FloatType,
    IntType,
    ListType,
    LiteralType,
    Metadata,
    StrType,
    Type,
)

from webserver.body import query
from wire.errors import InvalidValue, Malformed
from wire.states import AgentState, RunState, TaskState

S = TypeVar("S", bound=Struct)

MAX_LIMIT = 10_000
MAX_TEXT = 200
LONGEST_SHOWN = 60
EVENT_ID = "[0-9A-Za-z-]{1,80}"

Limit = Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="How many items a page may have.")]
Cursor = Annotated[str, Meta(description="`next` of the page before; without it, the first page.")]
Offset = Annotated[int, Meta(ge=0, le=10_000_000)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
RunId = Annotated[str, Meta(min_length=1, max_length=128)]

Sort = Literal[
    "hostname", "state", "busy", "last_seen", "version", "clock_skew",
    "-hostname", "-state", "-busy", "-last_seen", "-version", "-clock_skew",
]  # fmt: skip

ResultState = Literal[
    "DEAD", "WAITING", "RUNNING", "SUCCEED", "FAILED", "TIMEOUT", "CANCELLED", "SKIPPED", "UNKNOWN",
]  # fmt: skip

Listed = Literal["enrolled", "pending", "quarantined", "revoked"]


class NoQuery(Struct, frozen=True):
    """Takes no parameters."""


class PageQuery(Struct, frozen=True, kw_only=True):
    limit: Limit = 100
    cursor: Cursor | None = None


class AgentsQuery(PageQuery, frozen=True, kw_only=True):
    text: Annotated[Text, Meta(description="A part of hostname, address or id.")] | None = None
    state: Annotated[AgentState, Meta(description="Only hosts in this state.")] | None = None
    label: (
        Annotated[Text, Meta(description="`key:value`, or `key` with whatever value.")] | None
    ) = None
    sort: Annotated[Sort, Meta(description="`-` before it turns the order round.")] = "hostname"
    offset: Annotated[Offset, Meta(description="Rows to pass over, for a window of a list.")] = 0
    facts: Annotated[bool, Meta(description="false: leave out what agents say of their host.")] = (
        True
    )
    standing: (
        Annotated[Listed, Meta(description="Only these; without it all but pending ones.")] | None
    ) = None
    renamed: Annotated[
        bool, Meta(description="true: only hosts whose new hostname waits to be accepted.")
    ] = False


class TokensQuery(PageQuery, frozen=True, kw_only=True):
    all: Annotated[bool, Meta(description="true: those of everybody, for admins.")] = False


class TasksQuery(PageQuery, frozen=True, kw_only=True):
    state: Annotated[TaskState, Meta(description="Only tasks in this state.")] | None = None
    text: Annotated[Text, Meta(description="A part of the name or the id.")] | None = None
    created_by: Annotated[Text, Meta(description="Only tasks of this person or token.")] | None = (
        None
    )
    agent: (
        Annotated[Text, Meta(description="Only tasks with a run on this host: id or hostname.")]
        | None
    ) = None


class TaskQuery(Struct, frozen=True):
    wait: Annotated[
        float,
        Meta(ge=0, description="Answer at the end of the task, at the latest after so many s."),
    ] = 0.0


class RunsQuery(PageQuery, frozen=True, kw_only=True):
    state: Annotated[RunState, Meta(description="Only runs in this state.")] | None = None


class GroupsQuery(Struct, frozen=True):
    limit: Annotated[Limit, Meta(description="How many groups, the largest first.")] = 100
    states: (
        Annotated[
            list[RunState],
            Meta(
                description="Only runs in one of these states, with commas, the first 10,000 in "
                "each; of a queue FAILED, TIMEOUT and UNKNOWN if it is not given."
            ),
        ]
        | None
    ) = None


class GridQuery(Struct, frozen=True):
    offset: Annotated[Offset, Meta(description="The first run.")] = 0
    limit: Annotated[Limit, Meta(description="How many runs.")] = MAX_LIMIT


class ResultsQuery(PageQuery, frozen=True, kw_only=True):
    states: (
        Annotated[
            list[ResultState],
            Meta(
                description="Only items in one of these states, with commas. "
                "DEAD: given up, which is FAILED, TIMEOUT and UNKNOWN."
            ),
        ]
        | None
    ) = None
    output: Annotated[
        bool, Meta(description="true: each with the beginning of what its script wrote.")
    ] = False
    format: Annotated[
        Literal["json", "csv", "ndjson"],
        Meta(description="json: one page. csv, ndjson: all that fits, as a file."),
    ] = "json"


class DiffQuery(Struct, frozen=True):
    left: Annotated[RunId, Meta(description="Id of the run to compare with.")]
    right: Annotated[RunId, Meta(description="Id of the run that is compared.")]


class TaskTargetsQuery(Struct, frozen=True):
    states: (
        Annotated[
            list[RunState],
            Meta(description="Only hosts whose runs are in one of these states, with commas."),
        ]
        | None
    ) = None


class TargetsQuery(Struct, frozen=True):
    expr: Annotated[str, Meta(description="An expression, such as `web[01-20]` or `@env:prod`.")]


class EventsQuery(Struct, frozen=True):
    since: (
        Annotated[
            str,
            Meta(
                pattern=f"^{EVENT_ID}$",
                description="Id of an event, or `since` of a grid. Last-Event-ID goes first.",
            ),
        ]
        | None
    ) = None


class AuditQuery(PageQuery, frozen=True, kw_only=True):
    who: Annotated[Text, Meta(description="Only acts of this person, token or agent.")] | None = (
        None
    )
    action: (
        Annotated[Text, Meta(description="`task.cancel`, or `task` for all that begin so.")] | None
    ) = None
    object: Annotated[Text, Meta(description="Only acts on this, such as `task:ID`.")] | None = None
    result: (
        Annotated[Text, Meta(description="`ok`, `refused`, or the code of a refusal.")] | None
    ) = None
    since: Annotated[Text, Meta(description="From this time on, ISO 8601; UTC unless it says.")] | (
        None
    ) = None
    until: Annotated[Text, Meta(description="Before this time, ISO 8601.")] | None = None
    format: Annotated[
        Literal["json", "csv", "ndjson"],
        Meta(description="json: one page. csv, ndjson: all that fits, as a file."),
    ] = "json"


def parse_time(text: str | None, name: str) -> float | None:
    """A time in ISO 8601 as a UNIX time; without an offset it is UTC."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.strip())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidValue(
            f"{name} is {_shown(text)}; it takes a time such as 2026-11-21 or 2026-11-21T08:50:00Z",
            field=name,
        ) from None


def parse_query(request: web.Request, kind: type[S]) -> S:
    """The query string as a `kind`: each name at most once, and none that would be ignored."""
    hints = parameters(kind)
    given = query(request, *hints)
    found = {name: _parsed(name, text, hints[name]) for name, text in given.items()}
    for name in required(kind):
        if name not in found:
            raise Malformed(f"{name} is missing", field=name)
    return kind(**found)


@functools.cache
def parameters(kind: type[Struct]) -> dict[str, Any]:
    """The parameters by name, each with the type of its value: one that is absent has no type."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: _present(hints[name]) for name in kind.__struct_fields__}


@functools.cache
def required(kind: type[Struct]) -> tuple[str, ...]:
    """The parameters that must be there."""
    return tuple(field.name for field in msgspec.structs.fields(kind) if field.required)


def _present(hint: Any) -> Any:
    """X of X | None. Only None stands for absence: nobody can write it in a query string."""
    return next((one for one in _union(hint) if one is not type(None)), hint)


def _union(hint: Any) -> tuple[Any, ...]:
    return getattr(hint, "__args__", ()) if type(None) in getattr(hint, "__args__", ()) else ()


def _parsed(name: str, text: str, hint: Any) -> Any:
    given: Any = text.split(",") if isinstance(_type_of(hint), ListType) else text
    try:
        value = msgspec.convert(given, hint, strict=False)
    except msgspec.ValidationError as error:
        wrong_type = ", got `" in str(error)
        raise (Malformed if wrong_type else InvalidValue)(
            f"{name} is {_shown(text)}; it takes {_words(_type_of(hint))}", field=name
        ) from error
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidValue(f"{name} is {text}; it takes a number that ends", field=name)
    return value


@functools.cache
def _type_of(hint: Any) -> Type:
    kind = msgspec.inspect.type_info(hint)
    while isinstance(kind, Metadata):
        kind = kind.type
    return kind


def _words(kind: Type) -> str:
    """What a parameter takes, for a sentence."""
    match kind:
        case IntType(ge=least, le=most):
            return f"a whole number from {least} to {most}"
        case FloatType(ge=least):
            return f"a number, {least:g} or more"
        case BoolType():
            return "true or false"
        case EnumType(cls=names):
            return "one of " + ", ".join(names)
        case LiteralType(values=values):
            return "one of " + ", ".join(str(value) for value in values)
        case ListType(item_type=items):
            return f"{_words(items)}; several with commas between them"
        case StrType(max_length=int(most)):
            return f"a text of at most {most} characters"
    return "the id of an event"


def _shown(text: str) -> str:
    return repr(text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…")
