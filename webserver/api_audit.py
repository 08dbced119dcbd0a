"""What does the API say of the audit log? A page as JSON, or all of it as a file to keep."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
from aiohttp import web

from webserver import export
from webserver.answers import json_answer
from webserver.context import MASTER, Caller
from webserver.endpoint import CSV, NDJSON
from webserver.parameters import AuditQuery, parse_time
from wire.audit import AuditPage, AuditRecord, GetAudit

AT_ONCE = 1_000  # records that an export asks the master for
COLUMNS = AuditRecord.__struct_fields__


async def get_audit(request: web.Request, caller: Caller, asked: AuditQuery) -> web.StreamResponse:
    """Newest first. `format` csv or ndjson: from the cursor on all that fits, as a file."""
    if asked.format == "json":
        return await json_answer(request, await page_of(request, caller, asked))
    return await as_file(request, caller, asked)


async def as_file(request: web.Request, caller: Caller, asked: AuditQuery) -> web.StreamResponse:
    """All that fits, as it comes from the master: the whole log need not be in memory."""
    line, head, media = _FILES[asked.format]
    first = await page_of(request, caller, asked, AT_ONCE)

    async def rest() -> AsyncIterator[bytes]:
        async for page in _pages(request, caller, asked, first):
            yield b"".join(map(line, page.items))
            await asyncio.sleep(0)

    return await export.as_file(request, f"audit.{asked.format}", media, head, rest())


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
    return export.csv_line(texts)


def ndjson_line(record: AuditRecord) -> bytes:
    return msgspec.json.encode(record) + b"\n"


_FILES: dict[str, tuple[Callable[[AuditRecord], bytes], bytes, str]] = {
    "csv": (csv_line, (",".join(COLUMNS) + "\r\n").encode(), CSV),
    "ndjson": (ndjson_line, b"", NDJSON),
}
FORMATS = tuple(_FILES)
