"""How does an answer leave? As JSON, encoded once and compressed where that is worth it."""

import asyncio
import zlib
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from webserver.context import MASTER

COMPRESS_FROM_BYTES = 2 << 10
THREAD_FROM_BYTES = 64 << 10  # below that a thread costs more than it frees
LEVEL = 1  # a list of ten thousand hosts in some 30 ms; level 6 takes three times that


async def json_answer(
    request: web.Request, value: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """`value` may hold anything that came from the master: it is encoded as it stands."""
    return await json_bytes(request, msgspec.json.encode(value), status=status, headers=headers)


async def relay(
    request: web.Request, method: str, ask: Struct, reply_type: type[Any], *, status: int = 200
) -> web.Response:
    """What the master answers to this, as it is."""
    reply = await request.app[MASTER].call(method, ask, reply_type)
    return await json_answer(request, reply, status=status)


async def json_bytes(
    request: web.Request, body: bytes, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """As json_answer, of what is JSON already."""
    response = web.Response(
        status=status, headers=headers, content_type="application/json", charset="utf-8"
    )
    coding = accepted_coding(request.headers.get("Accept-Encoding", ""))
    if len(body) >= COMPRESS_FROM_BYTES:
        response.headers["Vary"] = "Accept-Encoding"
        if coding is not None:
            body = await _compressed(body, coding)
            response.headers["Content-Encoding"] = coding
    response.body = body
    return response


def accepted_coding(header: str) -> str | None:
    """gzip or deflate, whichever the client takes, or None."""
    accepted = set()
    for item in header.lower().split(","):
        name, _, parameter = item.strip().partition(";")
        if parameter.strip().removeprefix("q=").rstrip("0.") or not parameter.strip():
            accepted.add(name.strip())
    for coding in ("gzip", "deflate"):
        if coding in accepted:
            return coding
    return None


async def _compressed(body: bytes, coding: str) -> bytes:
    if len(body) < THREAD_FROM_BYTES:
        return _compress(body, coding)
    return await asyncio.to_thread(_compress, body, coding)


def _compress(body: bytes, coding: str) -> bytes:
    window_bits = 31 if coding == "gzip" else 15
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, window_bits)
    return compressor.compress(body) + compressor.flush()
