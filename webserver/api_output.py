"""How is the output of a run or an attempt served? As it is stored, whole or in a range."""

import re
from dataclasses import dataclass

from aiohttp import web

from webserver.api_runs import find_run
from webserver.body import identifier
from webserver.context import MASTER, Caller, Master
from webserver.endpoint import Header
from webserver.parameters import NoQuery
from webserver.refusals import RangeNotSatisfiable
from wire.errors import NotFound, Refusal
from wire.requests import GetOutput
from wire.views import OutputView

CHUNK_BYTES = 1 << 20

RANGE = {
    "Range": Header(
        "One range of bytes: `bytes=100-` for all from the 101st on. Other forms are ignored."
    )
}

_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))", re.ASCII)


async def get_output(request: web.Request, caller: Caller, _: NoQuery) -> web.StreamResponse:
    """What is stored at this moment; of a run that still writes, ask for the rest by range."""
    run = await find_run(request, caller)
    return await _serve(request, _Source(request.app[MASTER], caller, run.id), run.id)


async def get_attempt_output(
    request: web.Request, caller: Caller, _: NoQuery
) -> web.StreamResponse:
    """What one attempt of a queue's run wrote, also of one that was followed by another."""
    run, number = identifier(request, "run"), request.match_info["attempt"]
    if not _NUMBER.fullmatch(number):
        raise NotFound(f"run {run} has no such attempt; they are counted from 1")
    source = _Source(request.app[MASTER], caller, run, int(number))
    return await _serve(request, source, f"{run}.{number}")


async def _serve(request: web.Request, source: "_Source", name: str) -> web.StreamResponse:
    # An If-Range never matches: what is still written has no validator.
    header = None if "If-Range" in request.headers else request.headers.get("Range")
    first = await source.read(0, CHUNK_BYTES if header is None else 1)
    span = byte_range(header, first.size)
    start, end = span or (0, first.size)
    response = _response(name, start, end, first.size, partial=span is not None)
    if request.method == "HEAD":
        return response
    # Fetched before the headers leave, so that a refusal is still an answer.
    piece = first.data if span is None else (await source.read(start, end - start)).data
    return await _stream(request, response, source, piece, start, end)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """[start, end) of a Range header; None: serve everything (RFC 9110, 14.2).

    A header of another form, or with several ranges, is ignored as the RFC allows.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < start:
            return None
    if start >= size or start >= end:
        raise RangeNotSatisfiable(size)
    return start, end


def _response(name: str, start: int, end: int, size: int, *, partial: bool) -> web.StreamResponse:
    response = web.StreamResponse(status=206 if partial else 200)
    response.content_type = "application/octet-stream"
    response.content_length = end - start
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.out"'
    if partial:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return response


@dataclass(frozen=True)
class _Source:
    """The stored output of one run, for one caller. `attempt` None: of the present one."""

    master: Master
    caller: Caller
    run: str
    attempt: int | None = None

    async def read(self, offset: int, limit: int) -> OutputView:
        limit = min(CHUNK_BYTES, limit)
        ask = GetOutput(self.caller.auth, self.run, offset, limit, self.attempt)
        return await self.master.call("get_output", ask, OutputView)


async def _stream(
    request: web.Request,
    response: web.StreamResponse,
    source: _Source,
    piece: bytes,
    start: int,
    end: int,
) -> web.StreamResponse:
    """Send [start, end), of which `piece` is the beginning.

    When the master stops answering in between, the connection is cut short of
    Content-Length: the client sees that something is missing.
    """
    await response.prepare(request)
    while start < end and piece:
        await response.write(piece[: end - start])
        start += len(piece)
        piece = await _more(source, start, end)
    if start < end and request.transport is not None:
        request.transport.abort()
    else:
        await response.write_eof()
    return response


async def _more(source: _Source, start: int, end: int) -> bytes:
    """The next piece; empty at the end, and when it cannot be had."""
    if start >= end:
        return b""
    try:
        return (await source.read(start, end - start)).data
    except Refusal:
        return b""
