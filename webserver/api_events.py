"""How are a task's changes streamed? As server-sent events that resume where a client left off."""

import re

from aiohttp import web

from webserver.body import identifier, query
from webserver.context import MASTER, Caller
from webserver.door import DOOR
from webserver.events import HUB, Gone, Hub, Missed, Stream, frame, number_of
from wire.errors import Malformed, Refusal
from wire.messages import ById, Event, TaskView

KEEP_ALIVE_S = 15.0
RETRY_MS = 1000

_CURSOR = re.compile(r"[0-9A-Za-z-]{1,80}")


async def stream_events(request: web.Request, caller: Caller) -> web.StreamResponse:
    """The task as it is now, then each change of it, of its runs and of their output.

    With Last-Event-ID: the changes since then; after a gap, `event: reset` and the task anew.
    """
    query(request)
    task = identifier(request, "task")
    since = _last_event_id(request)
    view = await request.app[MASTER].call("get_task", ById(caller.auth, task), TaskView)
    response = _response()
    if request.method == "HEAD":
        return response
    hub = request.app[HUB]
    stream = await hub.open(task, caller, lambda: _cut(request))
    try:
        await response.prepare(request)
        await response.write(b"retry: %d\n\n" % RETRY_MS)
        writer = _Writer(request, response, hub, stream)
        if since is None:
            await writer.snapshot(view, stream.position)
        else:
            await writer.catch_up(since)
        await writer.follow()
    except (Gone, Refusal):
        pass  # the client comes back with Last-Event-ID, and hears the reason if it lasts
    finally:
        hub.close(stream)
    _cut(request)
    return response


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _last_event_id(request: web.Request) -> str | None:
    header = request.headers.get("Last-Event-ID")
    if header is None or header == "":
        return None
    if not _CURSOR.fullmatch(header):
        raise Malformed("Last-Event-ID takes the id of an event", field="Last-Event-ID")
    return header


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

    async def snapshot(self, view: TaskView, position: str) -> None:
        self._sent = number_of(position)
        await self._response.write(frame("task", position, view))

    async def catch_up(self, since: str) -> None:
        """From the master's ring: what the client has missed before this stream was opened."""
        self._sent = number_of(since)
        while True:
            answer = await self._hub.changes(self._stream.caller, since, 0.0)
            if answer.reset:
                await self._afresh(answer.next)
                return
            for event in answer.events:
                if event.task == self._stream.task:
                    await self._send(event)
            if not answer.events or answer.next == since:
                return
            since = answer.next

    async def follow(self) -> None:
        while True:
            try:
                event = await self._stream.next(KEEP_ALIVE_S)
            except Missed as gap:
                await self._afresh(gap.position)
                continue
            if event is not None:
                await self._send(event)
            else:
                await self._keep_alive()

    async def _send(self, event: Event) -> None:
        start, n = number_of(event.id)
        if start == self._sent[0] and n <= self._sent[1]:
            return
        self._sent = (start, n)
        await self._response.write(frame(event.kind, event.id, event.data))

    async def _afresh(self, position: str) -> None:
        ask = ById(self._stream.caller.auth, self._stream.task)
        view = await self._request.app[MASTER].call("get_task", ask, TaskView)
        await self._response.write(b"event: reset\ndata: {}\n\n")
        await self.snapshot(view, position)

    async def _keep_alive(self) -> None:
        """A comment, so that proxies and clients know the stream lives; and is it still allowed?"""
        await self._request.app[DOOR].confirm(self._stream.caller.auth.token or "", self._request)
        await self._response.write(b": still here\n\n")
