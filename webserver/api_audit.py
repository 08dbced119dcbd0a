"""What does the API say of the audit log? A page as JSON, or all of it as a file to keep."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
from aiohttp import web

from webserver.answers import json_answer
from webserver.context import MASTER, Caller
from webserver.parameters import AuditQuery, parse_time
from wire.audit import AuditPage, AuditRecord, GetAudit
from wire.errors import Refusal

AT_ONCE = 1_000  # records that an export asks the master for
COLUMNS = AuditRecord.__struct_fields__
NDJSON = "application/x-ndjson"
CSV = "text/csv"


async def get_audit(request: web.Request, caller: Caller, asked: AuditQuery) -> web.StreamResponse:
    """Newest first. `format` csv or ndjson: from the cursor on all that fits, as a file."""
    if asked.format == "json":
        return await json_answer(request, await page_of(request, caller, asked))
    return await as_file(request, caller, asked)


async def as_file(request: web.Request, caller: Caller, asked: AuditQuery) -> web.StreamResponse:
    """All that fits, as it comes from the master: the whole log need not be in memory."""
    line, head, media = _FILES[asked.format]
    first = await page_of(request, caller, asked, AT_ONCE)  # a refusal is still an answer here
    response = web.StreamResponse()
    response.content_type = media
    response.charset = "utf-8"
    response.headers["Content-Disposition"] = f'attachment; filename="audit.{asked.format}"'
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    await response.write(head)
    try:
        async for page in _pages(request, caller, asked, first):
            await response.write(b"".join(map(line, page.items)))
            await asyncio.sleep(0)
    except Refusal:
        # Cut without the last chunk: the client sees that something is missing.
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


async def page_of(
    request: web.Request, caller: Caller, asked: AuditQuery, limit: int | None = None
) -> AuditPage:
    ask = GetAudit(
        caller.auth,
        limit or asked.limit,
        asked.cursor,
        who=asked.who,
        action=asked.action,
        object=asked.object,
        result=asked.result,
        since=parse_time(asked.since, "since"),
        until=parse_time(asked.until, "until"),
    )
    return await request.app[MASTER].call("get_audit", ask, AuditPage)


async def _pages(
    request: web.Request, caller: Caller, asked: AuditQuery, first: AuditPage
) -> AsyncIterator[AuditPage]:
    page = first
    yield page
    while page.next is not None:
        asked = msgspec.structs.replace(asked, cursor=page.next)
        page = await page_of(request, caller, asked, AT_ONCE)
        yield page


def csv_line(record: AuditRecord) -> bytes:
    """RFC 4180, each value in quotes."""
    values = (getattr(record, name) for name in COLUMNS)
    texts = (
        msgspec.json.encode(value).decode() if isinstance(value, dict) else str(value)
        for value in values
    )
    return (",".join(map(_cell, texts)) + "\r\n").encode()


def _cell(text: str) -> str:
    """A spreadsheet takes a text that begins like a formula for one, and runs it."""
    if text[:1] in "=+-@\t\r\n" and text:
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"'


def ndjson_line(record: AuditRecord) -> bytes:
    return msgspec.json.encode(record) + b"\n"


_FILES: dict[str, tuple[Callable[[AuditRecord], bytes], bytes, str]] = {
    "csv": (csv_line, (",".join(COLUMNS) + "\r\n").encode(), CSV),
    "ndjson": (ndjson_line, b"", NDJSON),
}
FORMATS = tuple(_FILES)
