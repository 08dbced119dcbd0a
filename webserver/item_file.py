"""How does a form bring very many items? As a file, judged whole before anything is done with it.

What is small stays in memory; more goes to a temporary file that nobody else can open.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from typing import IO, TypeVar

import msgspec
from aiohttp import BodyPartReader, web

from webserver.body import MAX_BODY_BYTES, MAX_FORM_FIELDS, STREAM_IDLE_S
from webserver.cookies import SESSION, read_cookie
from webserver.door import FORM_TOKEN_FIELD, check_form_token
from webserver.forms import Form, own_form
from webserver.items import Lines, of_text
from webserver.refusals import RequestTimeout
from wire.errors import InvalidValue, Malformed, TooLarge
from wire.queues import MAX_ITEMS

T = TypeVar("T")

SMALL_BYTES = 2 << 20  # of what one message to the master has room for
MAX_FILE_BYTES = 256 << 20
PIECE_BYTES = 256 << 10
FILE = "file"  # the field


class Spool:
    """Items in order, as many as come; `items` has them as long as they are few."""

    def __init__(self) -> None:
        self.items: list[str] | None = []
        self.count = 0
        self._bytes = 0
        self._file: IO[bytes] | None = None

    def add(self, item: str) -> None:
        if self.count >= MAX_ITEMS:
            raise TooLarge(f"there are more than {MAX_ITEMS:,} items", field="items")
        self.count += 1
        self._bytes += len(item.encode())
        if self.items is not None:
            self.items.append(item)
            if self._bytes + 8 * self.count > SMALL_BYTES:
                self._spill(self.items)
        else:
            self._write(item)

    def _spill(self, items: list[str]) -> None:
        self.items = None
        self._file = tempfile.TemporaryFile(prefix="mschedule-items-")  # noqa: SIM115 (see close)
        for item in items:
            self._write(item)

    def _write(self, item: str) -> None:
        assert self._file is not None  # from the spill on
        self._file.write(msgspec.json.encode(item) + b"\n")

    async def pieces(self) -> AsyncIterator[bytes]:
        """All of them again, each as a line of JSON."""
        if self._file is None:
            yield b"".join(msgspec.json.encode(item) + b"\n" for item in self.items or ())
            return
        self._file.seek(0)
        while piece := await asyncio.to_thread(self._file.read, PIECE_BYTES):
            yield piece

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@dataclass
class FormWithFile:
    """A form with a file: its fields, and the items of the file. `wrong`: what the file is not."""

    form: Form = field(default_factory=lambda: Form({}))
    name: str = ""
    wrong: str = ""


async def own_upload(request: web.Request, spool: Spool) -> FormWithFile:
    """The form, if it comes from a page that we gave to this browser; else Forbidden.

    Its token is looked at before the file is, which the browser sends behind it. A form without
    a file may come as every other form does.
    """
    if request.content_type != "multipart/form-data":
        return FormWithFile(await own_form(request))
    if (request.content_length or 0) > MAX_FILE_BYTES:
        raise TooLarge(
            f"the file is larger than {MAX_FILE_BYTES >> 20} MiB: send it through the API"
        )
    upload, left = FormWithFile(), MAX_BODY_BYTES
    try:
        reader = await request.multipart()
        while (part := await _timed(reader.next())) is not None:
            if not isinstance(part, BodyPartReader) or not part.name:
                raise Malformed("the form has a part without a name")
            if part.name == FILE:
                _check(request, upload.form)
                await _take_file(part, upload, spool)
            else:
                left -= await _take_field(part, upload.form, left)
    except (ValueError, RuntimeError, AssertionError, web.RequestPayloadError) as error:
        raise Malformed("the form cannot be read: it is cut off, or not well formed") from error
    _check(request, upload.form)
    return upload


def _check(request: web.Request, form: Form) -> None:
    check_form_token(read_cookie(request, SESSION), form.text(FORM_TOKEN_FIELD))


async def _take_field(part: BodyPartReader, form: Form, most_bytes: int) -> int:
    taken = b""
    while not part.at_eof():
        taken += await _timed(part.read_chunk(PIECE_BYTES))
        if len(taken) > most_bytes:
            raise TooLarge(f"the fields of the form have more than {MAX_BODY_BYTES} bytes")
    if sum(map(len, form.fields.values())) >= MAX_FORM_FIELDS:
        raise Malformed("the form has too many fields")
    form.fields.setdefault(part.name or "", []).append(taken.decode().replace("\r\n", "\n"))
    return len(taken)


async def _take_file(part: BodyPartReader, upload: FormWithFile, spool: Spool) -> None:
    """Its lines to the spool; of a file with a wrong one the rest is read and forgotten."""
    upload.name = (part.filename or "")[:100]
    lines, size = Lines(of_text, f" of {upload.name}" if upload.name else ""), 0
    while not part.at_eof():
        piece = await _timed(part.read_chunk(PIECE_BYTES))
        size += len(piece)
        if size > MAX_FILE_BYTES:
            raise TooLarge(f"the file is larger than {MAX_FILE_BYTES >> 20} MiB: use the API")
        _take(upload, spool, lines, piece)
    _take(upload, spool, lines, None)


def _take(upload: FormWithFile, spool: Spool, lines: Lines, piece: bytes | None) -> None:
    """`piece` None: the file has ended."""
    if upload.wrong:
        return
    try:
        for item in lines.end() if piece is None else lines.feed(piece):
            spool.add(item)
    except (InvalidValue, TooLarge) as refusal:
        upload.wrong = refusal.message[:1].upper() + refusal.message[1:] + "."


async def _timed(awaited: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(STREAM_IDLE_S):
            return await awaited
    except TimeoutError:
        raise RequestTimeout(f"of the form nothing came for {STREAM_IDLE_S:.0f} s") from None
