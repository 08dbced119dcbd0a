"""Server-sent events: order, resuming, gaps, slow clients."""

import asyncio
import json

import pytest

from tests.web.fake_master import ALICE, TASK, make_task
from webserver.context import Caller
from webserver.events import HUB, Gone, Hub, Missed, Stream
from wire.errors import NotFound, Unavailable
from wire.messages import Auth, Event, EventsAnswer

URL = f"/api/v1/tasks/{TASK}/events"


class Ring:
    """The master's ring of changes, small."""

    def __init__(self, start="m"):
        self.start = start
        self.events = []
        self.more = asyncio.Event()
        self.tokens = []

    def publish(self, kind="run", task=TASK, **data):
        self.events.append(Event(f"{self.start}-{len(self.events) + 1}", kind, task, data))
        self.more.set()

    def restart(self, start):
        self.start, self.events = start, []
        self.more.set()

    async def __call__(self, ask):
        self.tokens.append((ask.auth.token, ask.wait))
        if ask.since is None:
            return EventsAnswer(self.newest, [])
        found = self._since(ask.since)
        if ask.wait and not found.events and not found.reset:
            self.more.clear()
            try:
                await asyncio.wait_for(self.more.wait(), ask.wait)
            except TimeoutError:
                pass
            found = self._since(ask.since)
        return found

    @property
    def newest(self):
        return f"{self.start}-{len(self.events)}"

    def _since(self, since):
        start, n = since.split("-")
        if start != self.start:
            return EventsAnswer(self.newest, [], reset=True)
        return EventsAnswer(self.newest, self.events[int(n) :])


@pytest.fixture
async def ring(master):
    ring = Ring()
    master.answer("changes", ring)
    return ring


async def next_event(response):
    """(event, id, data) of the next event; comments and the retry line are passed over."""
    fields: dict[str, str] = {}
    while True:
        line = (await asyncio.wait_for(response.content.readline(), 5)).decode().rstrip("\n")
        if not line and "data" in fields:
            return fields.get("event"), fields.get("id"), json.loads(fields["data"])
        name, _, value = line.partition(": ")
        fields[name] = value


async def test_it_begins_with_the_task_as_it_is_and_goes_on_with_changes(client, ring):
    async with client.get(URL) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        kind, id, data = await next_event(response)
        assert (kind, id, data["id"]) == ("task", "m-0", TASK)
        ring.publish("run", state="RUNNING")
        ring.publish("output", output_stored=3)
        assert await next_event(response) == ("run", "m-1", {"state": "RUNNING"})
        assert await next_event(response) == ("output", "m-2", {"output_stored": 3})


async def test_it_sends_no_changes_of_other_tasks(client, ring):
    async with client.get(URL) as response:
        await next_event(response)
        ring.publish("run", task="t-other", n=1)
        ring.publish("run", n=2)
        assert await next_event(response) == ("run", "m-2", {"n": 2})


async def test_it_resumes_where_the_client_left_off(client, ring):
    for n in range(1, 4):
        ring.publish("run", n=n)
    async with client.get(URL, headers={"Last-Event-ID": "m-1"}) as response:
        assert (await next_event(response))[1:] == ("m-2", {"n": 2})
        assert (await next_event(response))[1:] == ("m-3", {"n": 3})
        ring.publish("run", n=4)
        assert (await next_event(response))[1:] == ("m-4", {"n": 4})


async def test_it_says_that_there_was_a_gap(client, ring):
    async with client.get(URL, headers={"Last-Event-ID": "older-7"}) as response:
        assert (await next_event(response))[0] == "reset"
        kind, id, data = await next_event(response)
        assert (kind, id, data["id"]) == ("task", "m-0", TASK)


async def test_it_goes_on_after_a_restart_of_the_master(client, ring):
    async with client.get(URL) as response:
        await next_event(response)
        ring.restart("n")
        assert (await next_event(response))[0] == "reset"
        assert (await next_event(response))[:2] == ("task", "n-0")
        ring.publish("run", n=1)
        assert await next_event(response) == ("run", "n-1", {"n": 1})


async def test_it_goes_on_after_the_master_was_away(client, master, ring, monkeypatch):
    monkeypatch.setattr("webserver.events.RETRY_S", 0.01)
    async with client.get(URL) as response:
        await next_event(response)
        master.answer("changes", Unavailable("gone"))
        ring.publish("run", n=1)  # ends the poll that is parked
        assert (await next_event(response))[2] == {"n": 1}
        master.answer("changes", ring)
        ring.publish("run", n=2)
        assert (await next_event(response))[2] == {"n": 2}


async def test_it_parks_one_poll_for_all_clients(client, ring):
    responses = [await client.get(URL) for _ in range(5)]
    for response in responses:
        await next_event(response)
    ring.publish("run", n=1)
    for response in responses:
        assert (await next_event(response))[2] == {"n": 1}
        response.close()
    parked = [token for token, wait in ring.tokens if wait]
    assert len(parked) <= 2
    assert set(parked) == {ALICE}


async def test_it_does_not_stream_a_task_that_is_not_there(client, master, ring):
    master.answer("get_task", NotFound("there is no task x"))
    response = await client.get("/api/v1/tasks/x/events")
    assert response.status == 404


@pytest.mark.parametrize("id", ["a b", "x" * 81, "ü"])
async def test_it_refuses_an_id_that_no_event_had(client, ring, id):
    response = await client.get(URL, headers={"Last-Event-ID": id})
    assert response.status == 400
    assert (await response.json())["error"]["field"] == "Last-Event-ID"


CALLER = Caller(Auth(ALICE), "alice", "admin")


def make_event(n, task=TASK):
    return Event(f"m-{n}", "run", task, {"n": n})


async def test_it_cuts_a_client_that_does_not_keep_up_and_holds_nothing_for_it():
    cuts = []
    stream = Stream(TASK, CALLER, "m-0", lambda: cuts.append(1), most=3)
    for n in range(100):
        stream.put(make_event(n))
    assert cuts
    assert not stream._queue
    with pytest.raises(Gone):
        await stream.next(0)


async def test_it_cuts_a_connection_that_nobody_reads(client, ring):
    hub = client.server.app[HUB]
    reader, writer = await asyncio.open_connection(client.host, client.port, limit=8192)
    writer.write(f"GET {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALICE}\r\n\r\n".encode())
    await reader.readuntil(b"event: task")
    assert hub._streams
    text = "x" * 10_000
    while hub._streams:
        for _ in range(1000):
            ring.publish("output", text=text)
        await asyncio.sleep(0)
    writer.close()


async def test_it_wakes_who_waits_for_a_change():
    stream = Stream(TASK, CALLER, "m-0", lambda: None)
    waiting = asyncio.create_task(stream.next(5))
    await asyncio.sleep(0)
    stream.put(make_event(1))
    assert (await waiting) == make_event(1)
    assert await stream.next(0) is None
    stream.put(Missed("m-9"))
    with pytest.raises(Missed):
        await stream.next(0)


async def test_it_drops_the_client_whose_token_ended_and_keeps_the_others(master, ring):
    hub = Hub(master)
    gone = Caller(Auth("ended-token-123"), "eve", "viewer")
    master.people["ended-token-123"] = master.people[ALICE]
    first = await hub.open(TASK, gone, lambda: None)
    second = await hub.open(TASK, CALLER, lambda: None)
    del master.people["ended-token-123"]
    ring.publish("run", n=1)
    with pytest.raises(Gone):
        while True:
            await first.next(5)
    assert await second.next(5) == make_event(1)
    await hub.stop()


async def test_it_asks_nothing_while_nobody_listens(master, ring):
    hub = Hub(master)
    stream = await hub.open(TASK, CALLER, lambda: None)
    hub.close(stream)
    ring.publish("run", n=1)
    for _ in range(10):
        await asyncio.sleep(0)
    asked = len(ring.tokens)
    ring.publish("run", n=2)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(ring.tokens) == asked
    await hub.stop()


async def test_it_ends_streams_when_the_program_stops(client, ring):
    async with client.get(URL) as response:
        await next_event(response)
        await client.server.close()
        rest = b""
        try:
            rest = await asyncio.wait_for(response.content.read(), 5)
        except Exception as error:
            assert not isinstance(error, TimeoutError), "the stream did not end"
        assert b"event: run" not in rest


async def test_it_shows_the_task_afresh_to_each_client(client, master, ring):
    master.answer("get_task", make_task(state="SUCCEED"))
    async with client.get(URL) as response:
        assert (await next_event(response))[2]["state"] == "SUCCEED"
