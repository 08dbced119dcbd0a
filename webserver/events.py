"""How do changes reach many open streams with one question? One long poll for the whole process.

The poll goes on while somebody listens, with the token of one of the listeners. Each
stream has a queue of its own, bounded: a client that does not keep up is cut, and
resumes with Last-Event-ID from the master's ring.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

import msgspec
from aiohttp import web

from webserver.context import Caller, Master
from wire.errors import Busy, Forbidden, Refusal, Unauthenticated
from wire.messages import Changes, Event, EventsAnswer

log = logging.getLogger(__name__)

POLL_S = 25.0
POLL_SLACK_S = 10.0
RETRY_S = 1.0
MOST_STREAMS = 2_000
MOST_QUEUED = 5_000  # more than one answer of the master holds; streams share the events


class Gone(Exception):
    """This stream is over: too slow, no longer allowed, or the web server stops."""


class Missed(Exception):
    """There was a gap in the changes: look afresh, and go on from `position`."""

    def __init__(self, position: str):
        super().__init__(position)
        self.position = position


class Stream:
    """The changes of one task for one client, in order, from `position` on."""

    def __init__(
        self,
        task: str,
        caller: Caller,
        position: str,
        cut: Callable[[], None],
        most: int = MOST_QUEUED,
    ):
        """`cut` drops the connection, whose writer may be stuck in a send."""
        self.task = task
        self.caller = caller
        self.position = position
        self._cut = cut
        self._most = most
        self._queue: deque[Event | Missed] = deque()
        self._filled = asyncio.Event()
        self._gone = False

    def put(self, item: Event | Missed) -> None:
        """Never blocks: a queue that is full ends the stream."""
        if len(self._queue) >= self._most:
            self.end()
            self._cut()
            return
        self._queue.append(item)
        self._filled.set()

    def end(self) -> None:
        self._gone = True
        self._queue.clear()
        self._filled.set()

    async def next(self, wait_s: float) -> Event | None:
        """The next change; None when none came in time. Raises Missed or Gone."""
        if not self._queue and not self._gone:
            self._filled.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._filled.wait()
            except TimeoutError:
                return None
        if self._gone:
            raise Gone
        item = self._queue.popleft()
        if isinstance(item, Missed):
            raise item
        return item


class Hub:
    """Opens streams, and keeps the one poll going while there are any."""

    def __init__(self, master: Master, most_streams: int = MOST_STREAMS):
        self._master = master
        self._most_streams = most_streams
        self._streams: dict[Stream, None] = {}  # the oldest first: its token asks
        self._position: str | None = None  # up to where the poll has read; None: it does not run
        self._poller: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()

    async def open(self, task: str, caller: Caller, cut: Callable[[], None]) -> Stream:
        """A stream of what changes from now on."""
        if len(self._streams) >= self._most_streams:
            raise Busy("too many event streams are open at this web server; try again later")
        async with self._opening:
            if self._position is None:
                self._position = (await self.changes(caller, None, 0.0)).next
            stream = Stream(task, caller, self._position, cut)
            self._streams[stream] = None
            if self._poller is None:
                self._poller = asyncio.create_task(self._poll())
        return stream

    def close(self, stream: Stream) -> None:
        self._streams.pop(stream, None)
        stream.end()

    async def stop(self) -> None:
        """End all streams; at the end of the program."""
        for stream in list(self._streams):
            self.close(stream)
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)

    async def changes(self, caller: Caller, since: str | None, wait_s: float) -> EventsAnswer:
        ask = Changes(caller.auth, since, wait_s)
        timeout_s = wait_s + POLL_SLACK_S if wait_s else None
        return await self._master.call("changes", ask, EventsAnswer, timeout_s)

    async def _poll(self) -> None:
        """Until nobody listens any more."""
        try:
            while self._streams:
                await self._poll_once(next(iter(self._streams)))
        finally:
            self._position = None
            self._poller = None

    async def _poll_once(self, asker: Stream) -> None:
        try:
            answer = await self.changes(asker.caller, self._position, POLL_S)
        except (Unauthenticated, Forbidden):
            self.close(asker)  # its token ended; the others go on
        except Refusal as refusal:
            log.info(f"no changes from the master ({refusal.message}); trying again")
            await asyncio.sleep(RETRY_S)
        else:
            self._deliver(answer)

    def _deliver(self, answer: EventsAnswer) -> None:
        self._position = answer.next
        if answer.reset:
            for stream in self._streams:
                stream.put(Missed(answer.next))
        by_task: dict[str, list[Stream]] = {}
        for stream in self._streams:
            by_task.setdefault(stream.task, []).append(stream)
        for event in answer.events:
            for stream in by_task.get(event.task, ()):
                stream.put(event)


HUB: web.AppKey[Hub] = web.AppKey("hub")


def frame(kind: str, id: str, data: object) -> bytes:
    """One server-sent event. JSON has no raw line ends, so one data line holds it."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (
        id.encode(),
        kind.encode(),
        msgspec.json.encode(data),
    )


def number_of(id: str) -> tuple[str, int]:
    """("<master start id>", n) of an event's id; n is -1 when it is of another form."""
    start, _, number = id.rpartition("-")
    return start, int(number) if number.isdecimal() and len(number) < 19 else -1
