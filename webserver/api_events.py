"""How are changes streamed? As server-sent events that resume where a client left off.

A client is sent at most four updates a second, however much happens: each has the newest state
of what has changed since the one before. The first of a quiet time leaves at once.
"""

import asyncio
import re

from aiohttp import web

from webserver.body import identifier
from webserver.context import MASTER, Caller
from webserver.door import DOOR
from webserver.events import HUB, TASK, Batch, Gone, Hub, Stream, frame, number_of
from webserver.parameters import EVENT_ID, EventsQuery
from wire.errors import Malformed, Refusal
from wire.requests import ById
from wire.views import TaskView

KEEP_ALIVE_S = 15.0
PAUSE_S = 0.25
SEND_S = 30.0  # a client that takes nothing for so long is gone
RETRY_MS = 1000

_CURSOR = re.compile(EVENT_ID)


async def stream_task(
    request: web.Request, caller: Caller, asked: EventsQuery
) -> web.StreamResponse:
    """The task as it is now, then what changes of it, of its runs and of their output.

    After Last-Event-ID: what has changed since; after a gap `reset`, and the task anew.
    """
    task = identifier(request, "task")
    view = await _task(request, caller, task)
    return await _stream(request, caller, task, view, _since(request, asked))


async def stream_all(
    request: web.Request, caller: Caller, asked: EventsQuery
) -> web.StreamResponse:
    """As the events of one task, of all tasks; `reset` comes first: look at what you show anew."""
    return await _stream(request, caller, None, None, _since(request, asked))


async def _task(request: web.Request, caller: Caller, id: str) -> TaskView:
    """Without its script, as in every event, and what the person may do with it."""
    view = await request.app[MASTER].call("get_task", ById(caller.auth, id), TaskView)
    view.script_base64, view.may = None, None
    return view


def _since(request: web.Request, asked: EventsQuery) -> str | None:
    """Where the client left off. A browser repeats its first URL, and adds the header."""
    header = request.headers.get("Last-Event-ID")
    if header is None or header == "":
        return asked.since
    if not _CURSOR.fullmatch(header):
        raise Malformed("Last-Event-ID takes the id of an event", field="Last-Event-ID")
    return header


async def _stream(
    request: web.Request, caller: Caller, task: str | None, view: TaskView | None, since: str | None
) -> web.StreamResponse:
    response = _response()
    if request.method == "HEAD":
        return response
    hub = request.app[HUB]
    stream = await hub.open(task, caller, lambda: _cut(request))
    try:
        await response.prepare(request)
        writer = _Writer(request, response, hub, stream)
        await writer.begin(view, since)
        await writer.follow()
    except (Gone, Refusal, TimeoutError):
        pass  # the client comes back with Last-Event-ID, and hears the reason if it lasts
    finally:
        hub.close(stream)
    _cut(request)
    return response


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _response() -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_type = "text/event-stream"
    response.charset = "utf-8"
    response.headers["X-Accel-Buffering"] = "no"  # a proxy that collects would hold events back
    return response


class _Writer:
    """Writes one stream, and remembers what was sent last, so that nothing is sent twice."""

    def __init__(
        self, request: web.Request, response: web.StreamResponse, hub: Hub, stream: Stream
    ):
        self._request = request
        self._response = response
        self._hub = hub
        self._stream = stream
        self._sent = number_of(stream.position)
        self._now = asyncio.get_running_loop().time
        self._confirmed_at = self._now()

    async def begin(self, view: TaskView | None, since: str | None) -> None:
        """With what there is, or with what was missed since a client left."""
        await self._write(b"retry: %d\n\n" % RETRY_MS)
        if since is not None:
            await self._catch_up(since)
        elif view is not None:
            await self._write(frame(TASK, view, self._stream.position))
        else:
            await self._write(frame("reset", {}, self._stream.position))

    async def follow(self) -> None:
        while True:
            batch = await self._stream.take(KEEP_ALIVE_S)
            if batch is not None:
                await self._send(batch)
            else:  # so that proxies and clients know the stream lives
                await self._write(b": still here\n\n")
            await self._confirm()
            await asyncio.sleep(PAUSE_S)

    async def _catch_up(self, since: str) -> None:
        """From the master's ring: what the client has missed before this stream was opened."""
        self._sent = number_of(since)
        while True:
            answer = await self._hub.changes(self._stream.caller, since, 0.0)
            if answer.reset:
                self._stream.miss(answer.next)
                return
            for event in answer.events:
                if self._stream.task in (None, event.task):
                    self._stream.put(event)
            if not answer.events or answer.next == since:
                return
            since = answer.next

    async def _send(self, batch: Batch) -> None:
        """One update, in one piece. What has no id stands first, so that a cut repeats it."""
        pieces = [] if batch.missed is None else [await self._afresh(batch.missed)]
        pieces += [frame("moved", {"task": task}) for task in batch.moved]
        for event in batch.events:
            start, n = number_of(event.id)
            if start != self._sent[0] or n > self._sent[1]:
                self._sent = (start, n)
                pieces.append(frame(event.kind, event.data, event.id))
        await self._write(b"".join(pieces))

    async def _afresh(self, position: str) -> bytes:
        self._sent = number_of(position)
        if self._stream.task is None:
            return frame("reset", {}, position)
        view = await _task(self._request, self._stream.caller, self._stream.task)
        return frame("reset", {}) + frame(TASK, view, position)

    async def _write(self, piece: bytes) -> None:
        async with asyncio.timeout(SEND_S):
            await self._response.write(piece)

    async def _confirm(self) -> None:
        """Is it still allowed? A token may be revoked while its stream goes on."""
        if self._now() - self._confirmed_at >= KEEP_ALIVE_S:
            token = self._stream.caller.auth.token or ""
            await self._request.app[DOOR].confirm(token, self._request)
            self._confirmed_at = self._now()
