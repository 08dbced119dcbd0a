"""What does the API say and take about queue tasks, beyond what all tasks have?"""

from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta, Struct

from webserver.answers import json_answer
from webserver.api_tasks import idempotency_key
from webserver.body import body_pieces, identifier, parse_json, read_body, refuse_body
from webserver.context import MASTER, Caller
from webserver.endpoint import NDJSON, TEXT
from webserver.items import Lines, Parse, checked, of_json, of_text, of_value, parts_of
from webserver.parameters import NoQuery, ResultsQuery
from webserver.queue_results import AT_ONCE_WITH_OUTPUT, as_file, page_of
from webserver.upload import Upload, send_lines
from wire.errors import InvalidValue, Malformed
from wire.queues import ItemsAdded, PutBack, PutBackDone
from wire.requests import ById
from wire.views import Page, TaskView

MOST_NAMED = 10_000  # runs that one request puts back by name

_PARSERS: dict[str, Parse] = {TEXT: of_text, NDJSON: of_json}


class Items(Struct, forbid_unknown_fields=True):
    """Items in the body: texts, or other JSON values, each of which its script gets as text."""

    items: list[Any]


class Chosen(Struct, forbid_unknown_fields=True):
    """Which dead runs; without `runs` all of the task."""

    runs: Annotated[list[str], Meta(min_length=1, max_length=MOST_NAMED)] | None = None


async def add_items(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """More items for an open queue, of any number: the body is taken as it comes, and each part
    of it is on disk before the next is read.

    A repeat under the same Idempotency-Key adds only what is not there yet. When a line is wrong,
    what came before it stays, and the refusal says the line and how many items that are.
    """
    key = idempotency_key(request.headers.getall("Idempotency-Key", []))
    upload = Upload(request.app[MASTER], caller, identifier(request, "task"), key)
    parse = _PARSERS.get(request.content_type)
    if parse is not None:
        _check_charset(request)
        added = await send_lines(upload, body_pieces(request), Lines(parse))
    else:
        added = await _add_listed(request, upload)
    return await json_answer(request, added)


async def _add_listed(request: web.Request, upload: Upload) -> ItemsAdded:
    try:
        values = parse_json(await read_body(request), Items).items
    except Malformed as error:
        raise Malformed(
            f"{error.message}; items that are lines are sent as Content-Type: {TEXT} or {NDJSON}",
            field=error.field,
        ) from error
    for part in parts_of(checked_items(values)):
        await upload.send(part)
    return await upload.finish()


def checked_items(values: list[Any]) -> list[str]:
    """The values of a JSON body as items. Raises InvalidValue with the place of a wrong one."""
    items = []
    for place, value in enumerate(values):
        try:
            items.append(checked(of_value(value)))
        except ValueError as error:
            raise InvalidValue(f"items[{place}] {error}", field="items") from error
    return items


def _check_charset(request: web.Request) -> None:
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Malformed(f"the body is in {request.charset}; this takes UTF-8", field="Content-Type")


async def close_queue(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """No more items can be added; the task ends with its last one. 200 also when it is closed."""
    await refuse_body(request)
    ask = ById(caller.auth, identifier(request, "task"))
    return await json_answer(request, await request.app[MASTER].call("close_queue", ask, TaskView))


async def put_back(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Items that were given up have all their attempts again. `left`: there are more of them than
    one request puts back; send it again."""
    chosen = parse_json(await read_body(request), Chosen)
    done = await request.app[MASTER].call(
        "put_back", PutBack(caller.auth, identifier(request, "task"), chosen.runs), PutBackDone
    )
    return await json_answer(request, done)


async def get_results(
    request: web.Request, caller: Caller, asked: ResultsQuery
) -> web.StreamResponse:
    """What became of each item, in their order. `format` csv or ndjson: all that fits, as a file.

    A CSV is for spreadsheets: a text that begins like a formula has a ' before it there, and what
    is no UTF-8 is replaced. NDJSON has everything as it is.
    """
    if asked.format != "json":
        return await as_file(request, caller, asked)
    limit = min(asked.limit, AT_ONCE_WITH_OUTPUT) if asked.output else asked.limit
    return await json_answer(request, await page_of(request, caller, asked, limit))


async def get_attempts(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """Attempts of a queue's run that were not its last word, the first one first."""
    ask = ById(caller.auth, identifier(request, "run"))
    return await json_answer(request, await request.app[MASTER].call("get_attempts", ask, Page))
