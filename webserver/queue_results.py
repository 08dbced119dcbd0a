"""What became of the items of a queue, for programs: rows of a page, lines of a file."""

import asyncio
import codecs
from collections.abc import AsyncIterator, Callable

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from webserver import export
from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.endpoint import CSV, NDJSON
from webserver.parameters import ResultsQuery
from wire.queues import GetResults, ResultView
from wire.views import Page

AT_ONCE = 1_000  # rows that a file asks the master for
AT_ONCE_WITH_OUTPUT = 200


class Result(Struct, omit_defaults=True):
    """What became of an item, or of the items of a batch, whose lines `item` has.

    `output` (if it was asked for) is what the script wrote, or the beginning of it: `output_bytes`
    says how much there is. What is no UTF-8 is `output_base64` instead.
    """

    seq: int
    item: str
    state: str
    reason: str
    attempt: int
    run: str | None  # null: nobody has taken it
    agent: str | None
    hostname: str | None
    code: int | None
    started_at: str | None
    ended_at: str | None
    seconds: float | None  # of the last attempt
    output_bytes: int
    failed_items: list[str] | UnsetType = UNSET  # of a batch: what is not done of it
    output: str | UnsetType = UNSET
    output_base64: bytes | UnsetType = UNSET


class Results(Struct):
    """A page of them, in the order of the items."""

    items: list[Result]
    next: str | None


async def page_of(request: web.Request, caller: Caller, asked: ResultsQuery, limit: int) -> Results:
    ask = GetResults(
        caller.auth,
        identifier(request, "task"),
        limit,
        asked.cursor,
        list(asked.states or ()),
        asked.output,
    )
    page = await request.app[MASTER].call("get_results", ask, Page)
    views = msgspec.convert(page.items, list[ResultView])
    return Results([_result(view, asked.output) for view in views], page.next)


async def as_file(request: web.Request, caller: Caller, asked: ResultsQuery) -> web.StreamResponse:
    """All that fits, page by page: neither the web nor the master ever has all of it."""
    line, head, media = _FILES[asked.format]
    limit = AT_ONCE_WITH_OUTPUT if asked.output else AT_ONCE
    first = await page_of(request, caller, asked, limit)

    async def rest() -> AsyncIterator[bytes]:
        page, place = first, asked
        while True:
            yield b"".join(map(line, page.items))
            if page.next is None:
                return
            await asyncio.sleep(0)  # others have their turn though the client takes it all at once
            place = msgspec.structs.replace(place, cursor=page.next)
            page = await page_of(request, caller, place, limit)

    name = f"{identifier(request, 'task')}.{asked.format}"
    return await export.as_file(request, name, media, head(asked), rest())


def _result(view: ResultView, with_output: bool) -> Result:
    found = Result(
        seq=view.seq,
        item="\n".join(view.items),
        state=view.state,
        reason=view.reason,
        attempt=view.attempt,
        run=view.run,
        agent=view.agent,
        hostname=view.hostname,
        code=view.code,
        started_at=view.started_at,
        ended_at=view.ended_at,
        seconds=None if view.seconds is None else round(view.seconds, 3),
        output_bytes=view.output_bytes,
    )
    if view.failed_items:
        found.failed_items = view.failed_items
    if with_output:
        _add_output(found, view)
    return found


def _add_output(found: Result, view: ResultView) -> None:
    """As text where it is text; a character that the end cuts in two is left out."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        found.output = decoder.decode(view.output, final=len(view.output) >= view.output_bytes)
    except UnicodeDecodeError:
        found.output_base64 = view.output


# ---- files

COLUMNS = (
    "seq", "item", "state", "reason", "code", "attempt", "run", "agent", "hostname",
    "started_at", "ended_at", "seconds", "output_bytes", "failed_items",
)  # fmt: skip


def _csv_head(asked: ResultsQuery) -> bytes:
    return (",".join((*COLUMNS, *(["output"] if asked.output else []))) + "\r\n").encode()


def _csv_line(result: Result) -> bytes:
    texts = [_text(getattr(result, name)) for name in COLUMNS]
    if result.output is not UNSET:
        texts.append(result.output)
    elif result.output_base64 is not UNSET:
        texts.append(result.output_base64.decode("utf-8", "replace"))
    return export.csv_line(text.replace("\0", "\ufffd") for text in texts)


def _text(value: object) -> str:
    if value is None or value is UNSET:
        return ""
    return "\n".join(value) if isinstance(value, list) else str(value)


def _ndjson_head(_: ResultsQuery) -> bytes:
    return b""


def _ndjson_line(result: Result) -> bytes:
    return msgspec.json.encode(result) + b"\n"


_FILES: dict[str, tuple[Callable[[Result], bytes], Callable[[ResultsQuery], bytes], str]] = {
    "csv": (_csv_line, _csv_head, CSV),
    "ndjson": (_ndjson_line, _ndjson_head, NDJSON),
}
FORMATS = tuple(_FILES)
