"""Server-sent events: order, resuming, gaps, slow clients."""

import asyncio
import json

import pytest
from aiohttp import ClientError

from tests.web.fake_master import ALICE, TASK, make_task
from webserver.context import Caller
from webserver.events import HUB, MOST_RUNS, Batch, Gone, Hub, Stream
from wire.errors import NotFound, Unavailable
from wire.requests import Auth
from wire.views import Event, EventsAnswer, TaskRights, WhoAmI

URL = f"/api/v1/tasks/{TASK}/events"
ALL = "/api/v1/events"


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
        line = (await asyncio.wait_for(response.content.readline(), 60)).decode().rstrip("\n")
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


CALLER = Caller(Auth(ALICE), WhoAmI("alice", "admin"))


def make_event(n, task=TASK, kind="run", moved=False, **data):
    return Event(f"m-{n}", kind, task, data or {"n": n}, moved)


def make_stream(task=TASK, **changes):
    return Stream(task, CALLER, "m-0", lambda: None, **changes)


async def test_it_sends_only_the_newest_state_of_a_run():
    stream = make_stream()
    stream.put(make_event(1, id="r1", state="RUNNING"))
    stream.put(make_event(2, id="r2", state="RUNNING"))
    stream.put(make_event(3, id="r1", state="SUCCEED"))
    batch = await stream.take(0)
    assert [(event.id, event.data["state"]) for event in batch.events] == [
        ("m-2", "RUNNING"),
        ("m-3", "SUCCEED"),
    ]


async def test_it_says_that_a_run_changed_also_when_its_output_grew_afterwards():
    stream = make_stream()
    stream.put(make_event(1, id="r1", state="RUNNING", output_stored=0))
    stream.put(make_event(2, kind="output", id="r1", state="RUNNING", output_stored=7))
    [event] = (await stream.take(0)).events
    assert (event.kind, event.id, event.data["output_stored"]) == ("run", "m-2", 7)


async def test_it_keeps_the_newer_state_when_an_older_one_is_caught_up_with_later():
    stream = make_stream()
    stream.put(make_event(9, id="r1", state="SUCCEED"))
    stream.put(make_event(3, id="r1", state="RUNNING"))
    [event] = (await stream.take(0)).events
    assert (event.id, event.data["state"]) == ("m-9", "SUCCEED")


async def test_it_sends_one_word_in_place_of_very_many_runs():
    stream = make_stream(None)
    for n in range(10_000):
        stream.put(make_event(n, id=f"r{n}"))
    stream.put(make_event(10_000, "t-other", id="r-other"))
    stream.put(make_event(10_001, kind="task", id=TASK))
    batch = await stream.take(0)
    assert batch.moved == [TASK]
    assert [event.data["id"] for event in batch.events] == ["r-other", TASK]


async def test_it_sends_runs_one_by_one_again_in_the_next_update():
    stream = make_stream()
    for n in range(MOST_RUNS + 1):
        stream.put(make_event(n, id=f"r{n}"))
    assert (await stream.take(0)).moved == [TASK]
    stream.put(make_event(999, id="r1"))
    assert await stream.take(0) == Batch(None, [], [make_event(999, id="r1")])


async def test_it_passes_on_that_many_runs_moved_together():
    stream = make_stream()
    stream.put(make_event(1, id="r1"))
    stream.put(make_event(2, kind="task", id=TASK, moved=True))
    batch = await stream.take(0)
    assert batch.moved == [TASK]
    assert [event.kind for event in batch.events] == ["task"]


async def test_it_tells_a_client_that_many_runs_moved(client, ring):
    async with client.get(URL) as response:
        await next_event(response)
        ring.events.append(Event("m-1", "task", TASK, {"id": TASK}, moved=True))
        ring.more.set()
        assert await next_event(response) == ("moved", None, {"task": TASK})
        assert (await next_event(response))[:2] == ("task", "m-1")


async def test_it_spares_many_clients_the_single_runs_of_a_crowd(client, ring, monkeypatch):
    """One client is told of three runs; the same to two is more than is put at once."""
    monkeypatch.setattr("webserver.events.MOST_PUT", 5)

    def three_runs_and_their_task():
        place = len(ring.events)
        for n in range(3):
            ring.events.append(Event(f"m-{place + n + 1}", "run", TASK, {"id": f"r{n}"}))
        ring.publish("task", TASK, id=TASK)

    async with client.get(URL) as alone:
        await next_event(alone)
        three_runs_and_their_task()
        assert [(await next_event(alone))[0] for _ in range(4)] == ["run", "run", "run", "task"]
        async with client.get(URL) as other:
            await next_event(other)
            three_runs_and_their_task()
            for response in (alone, other):
                assert await next_event(response) == ("moved", None, {"task": TASK})
                assert (await next_event(response))[0] == "task"


async def test_it_streams_all_tasks_to_who_asks_for_all(client, ring):
    async with client.get(ALL) as response:
        assert await next_event(response) == ("reset", "m-0", {})
        ring.publish("run", task="t1", n=1)
        ring.publish("task", task="t2", n=2)
        assert await next_event(response) == ("run", "m-1", {"n": 1})
        assert await next_event(response) == ("task", "m-2", {"n": 2})


async def test_it_says_to_who_watches_all_that_there_was_a_gap(client, ring):
    async with client.get(ALL, headers={"Last-Event-ID": "older-7"}) as response:
        assert await next_event(response) == ("reset", "m-0", {})


@pytest.mark.parametrize("url", [URL, ALL])
async def test_it_goes_on_from_the_place_in_the_url(client, ring, url):
    for n in range(1, 4):
        ring.publish("run", n=n)
    async with client.get(url, params={"since": "m-2"}) as response:
        assert await next_event(response) == ("run", "m-3", {"n": 3})


async def test_it_takes_the_place_of_the_header_when_a_browser_comes_back(client, ring):
    for n in range(1, 4):
        ring.publish("run", n=n)
    headers = {"Last-Event-ID": "m-2"}
    async with client.get(ALL, params={"since": "m-0"}, headers=headers) as response:
        assert await next_event(response) == ("run", "m-3", {"n": 3})


async def test_it_ends_a_busy_stream_whose_token_was_revoked(client, master, ring, monkeypatch):
    monkeypatch.setattr("webserver.api_events.KEEP_ALIVE_S", 0)
    monkeypatch.setattr("webserver.door.BELIEVED_S", -1)
    async with client.get(URL) as response:
        await next_event(response)
        del master.people[ALICE]
        ring.publish("run", n=1)
        with pytest.raises((ClientError, asyncio.IncompleteReadError)):
            while await asyncio.wait_for(response.content.readline(), 60):
                pass
            raise asyncio.IncompleteReadError(b"", None)


async def test_it_cuts_a_client_that_does_not_keep_up_and_holds_nothing_for_it():
    cuts = []
    stream = Stream(TASK, CALLER, "m-0", lambda: cuts.append(1), most=3)
    for n in range(100):
        stream.put(make_event(n))
    assert cuts
    assert not stream._pending
    with pytest.raises(Gone):
        await stream.take(0)


async def test_it_cuts_a_connection_that_nobody_reads(client, ring, monkeypatch):
    monkeypatch.setattr("webserver.api_events.PAUSE_S", 0)
    monkeypatch.setattr("webserver.api_events.SEND_S", 0.1)
    hub = client.server.app[HUB]
    reader, writer = await asyncio.open_connection(client.host, client.port, limit=8192)
    writer.write(f"GET {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ALICE}\r\n\r\n".encode())
    await reader.readuntil(b"event: task")
    [stream] = hub._streams
    for n in range(MOST_RUNS):
        ring.publish("output", id=f"r{n}", text="x" * 100_000)
    with pytest.raises(Gone):
        while True:
            await stream.take(5)
    writer.close()


async def test_it_wakes_who_waits_for_a_change():
    stream = Stream(TASK, CALLER, "m-0", lambda: None)
    waiting = asyncio.create_task(stream.take(5))
    await asyncio.sleep(0)
    stream.put(make_event(1))
    assert (await waiting) == Batch(None, [], [make_event(1)])
    assert await stream.take(0) is None
    stream.miss("m-9")
    assert await stream.take(0) == Batch("m-9", [], [])


async def test_it_drops_the_client_whose_token_ended_and_keeps_the_others(master, ring):
    hub = Hub(master)
    gone = Caller(Auth("ended-token-123"), WhoAmI("eve", "viewer"))
    master.people["ended-token-123"] = master.people[ALICE]
    first = await hub.open(TASK, gone, lambda: None)
    second = await hub.open(TASK, CALLER, lambda: None)
    del master.people["ended-token-123"]
    ring.publish("run", n=1)
    with pytest.raises(Gone):
        while True:
            await first.take(5)
    batch = await second.take(5)
    assert batch is not None and batch.events == [make_event(1)]
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
            rest = await asyncio.wait_for(response.content.read(), 60)
        except Exception as error:
            assert not isinstance(error, TimeoutError), "the stream did not end"
        assert b"event: run" not in rest


async def test_it_shows_the_task_afresh_to_each_client(client, master, ring):
    master.answer("get_task", make_task(state="SUCCEED"))
    async with client.get(URL) as response:
        assert (await next_event(response))[2]["state"] == "SUCCEED"


async def test_what_a_person_may_do_is_no_part_of_an_event(client, ring, master):
    master.answer("get_task", make_task(may=TaskRights(True, ["FAILED"])))
    async with client.get(URL) as response:
        _, _, data = await next_event(response)
        assert (data["may"], data["script_base64"]) == (None, None)


async def test_changes_of_plans_are_among_those_of_all_tasks_and_of_no_one_task(client, ring):
    async with client.get(URL) as of_task, client.get(ALL) as of_all:
        await next_event(of_task)
        await next_event(of_all)
        ring.publish("plan", task="", id="p1", state="RUNNING")
        ring.publish("run", n=1)
        assert await next_event(of_all) == ("plan", "m-1", {"id": "p1", "state": "RUNNING"})
        assert await next_event(of_task) == ("run", "m-2", {"n": 1})


async def test_many_plans_that_change_are_sent_one_by_one():
    stream = Stream(None, CALLER, "m-0", lambda: None)
    for n in range(2 * MOST_RUNS):
        stream.put(Event(f"m-{n}", "plan", "", {"id": f"p{n}"}))
    stream.put(Event("m-1000", "plan", "", {"id": "p0", "state": "SUCCEED"}))
    batch = await stream.take(60)
    assert batch is not None
    assert (batch.moved, len(batch.events)) == ([], 2 * MOST_RUNS)
    assert batch.events[-1].data == {"id": "p0", "state": "SUCCEED"}
