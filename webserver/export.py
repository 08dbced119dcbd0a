"""How does a long list become a file? Piece by piece as it comes, in quotes where it is CSV."""

from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from wire.errors import Refusal


async def as_file(
    request: web.Request, name: str, media: str, first: bytes, rest: AsyncIterator[bytes]
) -> web.StreamResponse:
    """`first` is there already, so that a refusal of it could still be an answer.

    When the rest cannot be had, the file is cut without its last chunk: the client sees that
    something is missing.
    """
    response = web.StreamResponse()
    response.content_type = media
    response.charset = "utf-8"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    await response.write(first)
    try:
        async for piece in rest:
            await response.write(piece)
    except Refusal:
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


def csv_line(texts: Iterable[str]) -> bytes:
    """RFC 4180, each value in quotes."""
    return (",".join(map(_cell, texts)) + "\r\n").encode()


def _cell(text: str) -> str:
    """A spreadsheet takes a text that begins like a formula for one, and runs it."""
    if text[:1] in "=+-@\t\r\n" and text:
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"'
