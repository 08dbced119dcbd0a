"""How do changes reach many open streams with one question? One long poll for the whole process.

The poll goes on while somebody listens, with the token of one of the listeners. What waits to
be sent to a client is never a queue of changes but the newest state of each thing that changed:
so it is bounded by how much there is, not by how fast it changes, and a slow client is sent less.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web

from webserver.context import Caller, Master
from wire.errors import Busy, Forbidden, Refusal, Unauthenticated
from wire.requests import Changes
from wire.views import Event, EventsAnswer

log = logging.getLogger(__name__)

POLL_S = 25.0
POLL_SLACK_S = 10.0
RETRY_S = 1.0
MOST_STREAMS = 2_000
MOST_PENDING = 5_000  # things with changes that were not sent yet; streams share the events
MOST_PUT = 20_000  # changes of runs that one answer of the master may mean to all streams together
BUSY_EVENTS = 20  # in one answer; after more, or a word of many, the next one waits for a while
PAUSE_S = 0.2
PAUSE_A_STREAM_S = 0.001  # with many streams longer: a thousand writes a second are enough
MOST_RUNS = 200  # of one task in one batch; beyond, looking at the grid again is cheaper

TASK, RUN, PLAN = "task", "run", "plan"
WHOLE = (TASK, PLAN)  # kinds of which there are few; the others are of runs


class Gone(Exception):
    """This stream is over: too slow, no longer allowed, or the web server stops."""


@dataclass(frozen=True)
class Batch:
    """What one update of a client has: the newest state of each thing, in order.

    `missed`: there was a gap before these, look afresh; the position to go on from.
    `moved`: tasks of which more runs changed than are sent one by one.
    """

    missed: str | None
    moved: list[str]
    events: list[Event]


class Stream:
    """What has changed for one client since it was sent something; `task` None: of all tasks."""

    def __init__(
        self,
        task: str | None,
        caller: Caller,
        position: str,
        cut: Callable[[], None],
        most: int = MOST_PENDING,
    ):
        """`cut` drops the connection, whose writer may be stuck in a send."""
        self.task = task
        self.caller = caller
        self.position = position
        self._cut = cut
        self._most = most
        self._pending: dict[tuple[str, str], Event] = {}
        self._runs: Counter[str] = Counter()  # pending, by task
        self._moved: set[str] = set()
        self._missed: str | None = None
        self._filled = asyncio.Event()
        self._gone = False

    def put(self, event: Event) -> None:
        """Never blocks: more than is kept for one client ends its stream."""
        if event.moved:
            self._gather(event.task)
        if event.kind in WHOLE or event.task not in self._moved:
            self._keep(event)
        if len(self._pending) > self._most:
            self.end()
            self._cut()
        self._filled.set()

    def crowd(self, task: str) -> None:
        """Many runs of the task have changed, which are not put one by one."""
        self._gather(task)
        self._filled.set()

    def miss(self, position: str) -> None:
        """There was a gap: what is pending is no more worth than looking afresh."""
        self._clear()
        self._missed = position
        self._filled.set()

    def end(self) -> None:
        self._gone = True
        self._clear()
        self._filled.set()

    async def take(self, wait_s: float) -> Batch | None:
        """All that is pending; None when nothing came in time. Raises Gone."""
        try:
            async with asyncio.timeout(wait_s):
                await self._filled.wait()
        except TimeoutError:
            return None
        if self._gone:
            raise Gone
        events = sorted(self._pending.values(), key=lambda event: number_of(event.id)[1])
        batch = Batch(self._missed, sorted(self._moved), events)
        self._clear()
        return batch

    def _keep(self, event: Event) -> None:
        """Only the newest state of a thing; an event of a run also says how much output it has."""
        kind = event.kind if event.kind in WHOLE else RUN
        key = (kind, event.data.get("id", event.id))
        earlier = self._pending.get(key)
        if earlier is None:
            self._pending[key] = event
            self._count(event)
            return
        kind = RUN if RUN in (event.kind, earlier.kind) else event.kind
        newest = max(earlier, event, key=lambda one: number_of(one.id)[1])
        self._pending[key] = msgspec.structs.replace(newest, kind=kind)

    def _count(self, event: Event) -> None:
        if event.kind in WHOLE:
            return
        self._runs[event.task] += 1
        if self._runs[event.task] > MOST_RUNS:
            self._gather(event.task)

    def _gather(self, task: str) -> None:
        """In place of many runs of a task: the word that they have moved."""
        self._moved.add(task)
        if self._runs.pop(task, 0):
            self._pending = {
                key: event
                for key, event in self._pending.items()
                if event.kind in WHOLE or event.task != task
            }

    def _clear(self) -> None:
        self._pending.clear()
        self._runs.clear()
        self._moved.clear()
        self._missed = None
        if not self._gone:
            self._filled.clear()


class Hub:
    """Opens streams, and keeps the one poll going while there are any."""

    def __init__(self, master: Master, most_streams: int = MOST_STREAMS):
        self._master = master
        self._most_streams = most_streams
        self._streams: dict[Stream, None] = {}  # the oldest first: its token asks
        self._position: str | None = None  # up to where the poll has read; None: it does not run
        self._poller: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()

    async def open(self, task: str | None, caller: Caller, cut: Callable[[], None]) -> Stream:
        """A stream of what changes from now on, of one task or (None) of all."""
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
            if len(answer.events) > BUSY_EVENTS or any(event.moved for event in answer.events):
                # Much of what happens meanwhile is one newest state then.
                await asyncio.sleep(max(PAUSE_S, PAUSE_A_STREAM_S * len(self._streams)))

    def _deliver(self, answer: EventsAnswer) -> None:
        self._position = answer.next
        if answer.reset:
            for stream in self._streams:
                stream.miss(answer.next)
        by_task: dict[str | None, list[Stream]] = {}
        for stream in self._streams:
            by_task.setdefault(stream.task, []).append(stream)
        listeners = {
            event.task: by_task.get(event.task, []) + by_task.get(None, [])
            for event in answer.events
        }
        crowds = self._crowds(answer.events, listeners)
        for event in answer.events:
            if event.kind in WHOLE or event.task not in crowds:
                for stream in listeners[event.task]:
                    stream.put(event)

    def _crowds(self, events: list[Event], listeners: dict[str, list[Stream]]) -> set[str]:
        """Tasks of which more runs changed than so many listeners can be told one by one."""
        runs = Counter(event.task for event in events if event.kind not in WHOLE)
        crowds = {task for task, n in runs.items() if n * len(listeners[task]) > MOST_PUT}
        for task in crowds:
            for stream in listeners[task]:
                stream.crowd(task)
        return crowds


HUB: web.AppKey[Hub] = web.AppKey("hub")


def frame(kind: str, data: object, id: str | None = None) -> bytes:
    """One server-sent event. JSON has no raw line ends, so one data line holds it.

    Without an id the client's place in the stream stays where it was.
    """
    place = b"id: %s\n" % id.encode() if id is not None else b""
    return b"%sevent: %s\ndata: %s\n\n" % (place, kind.encode(), msgspec.json.encode(data))


def number_of(id: str) -> tuple[str, int]:
    """("<master start id>", n) of an event's id; n is -1 when it is of another form."""
    start, _, number = id.rpartition("-")
    return start, int(number) if number.isdecimal() and len(number) < 19 else -1
