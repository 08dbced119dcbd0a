"""The bridge between asyncio and the thread of zerorpc: first over a link of the tests' own."""

import asyncio
import threading

import gevent
import pytest

from tests.support import until
from webserver.bridge import Bridge
from wire.client import Trouble
from wire.errors import Busy, Internal, InvalidValue, NotEnrolled, Unavailable
from wire.requests import Auth, JustAuth, WebRegistered
from wire.views import WhoAmI

ASK = JustAuth(Auth("t"))


class FakeLink:
    """Answers in the bridge's thread; `gate` holds calls named "park" until it is set."""

    def __init__(self):
        self.thread = None
        self.on_trouble = lambda trouble, words: None
        self.registered = WebRegistered("0.1.0", 1)
        self.tokens = []
        self.answers = {}
        self.gate = gevent.event.Event()
        self.closed = False
        self.limits = []

    def call(self, method, payload, reply, timeout_s=None):
        self.thread = threading.current_thread()
        if method == "sendmsg":
            self.tokens.append(payload.payload["token"])
            answer: object = self.registered
        elif method == "park":
            self.limits.append(timeout_s)
            with gevent.Timeout(timeout_s, Unavailable("no answer")):
                self.gate.wait()
            answer = WhoAmI("alice", "admin")
        else:
            answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed = True


async def eventually(predicate):
    await asyncio.to_thread(until, predicate)


@pytest.fixture
async def bridged():
    """(link, make): bridges over one fake link, closed at the end."""
    bridges = []

    async def make(link_made=None, **settings):
        made = []

        def connect(on_trouble):
            made.append(FakeLink())
            made[0].on_trouble = on_trouble
            if link_made:
                link_made(made[0])
            return made[0]

        bridge = Bridge(connect, **settings)
        await bridge.start()
        bridges.append(bridge)
        return bridge, made[0]

    yield make
    for bridge in bridges:
        await bridge.close()


async def test_it_brings_answers_back_from_its_own_thread(bridged):
    bridge, link = await bridged()
    link.answers["whoami"] = WhoAmI("alice", "admin")
    assert await bridge.call("whoami", ASK, WhoAmI) == WhoAmI("alice", "admin")
    assert link.thread is not threading.current_thread()


async def test_it_brings_refusals_back(bridged):
    bridge, link = await bridged()
    link.answers["add"] = InvalidValue("no", field="script")
    with pytest.raises(InvalidValue) as refused:
        await bridge.call("add", ASK, WhoAmI)
    assert refused.value.field == "script"


async def test_it_turns_a_fault_into_a_reference(bridged, caplog):
    bridge, link = await bridged()
    link.answers["add"] = ZeroDivisionError("secret")
    with pytest.raises(Internal) as refused:
        await bridge.call("add", ASK, WhoAmI)
    assert "secret" not in refused.value.message
    assert refused.value.message.split()[-1] in caplog.text


async def test_it_has_many_calls_in_flight(bridged):
    bridge, link = await bridged()
    parked = [asyncio.create_task(bridge.call("park", ASK, WhoAmI)) for _ in range(50)]
    link.answers["whoami"] = WhoAmI("bob", "viewer")
    assert (await bridge.call("whoami", ASK, WhoAmI)).name == "bob"
    link.gate.set()
    link.answers["wake"] = WhoAmI("x", "y")
    await bridge.call("wake", ASK, WhoAmI)  # so that the hub sees the gate
    assert [who.name for who in await asyncio.gather(*parked)] == ["alice"] * 50


async def test_it_says_busy_instead_of_queueing_without_end(bridged):
    bridge, _ = await bridged(most_in_flight=2)
    parked = [asyncio.create_task(bridge.call("park", ASK, WhoAmI)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await bridge.call("whoami", ASK, WhoAmI)
    for task in parked:
        task.cancel()
    await asyncio.gather(*parked, return_exceptions=True)


async def test_it_keeps_room_for_quick_calls_beside_parked_ones(bridged):
    bridge, link = await bridged(most_parked=1, timeout_s=5)
    await eventually(lambda: not bridge.away)
    parked = asyncio.create_task(bridge.call("park", ASK, WhoAmI, 30))
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await bridge.call("park", ASK, WhoAmI, 30)
    link.answers["whoami"] = WhoAmI("bob", "viewer")
    assert (await bridge.call("whoami", ASK, WhoAmI)).name == "bob"
    parked.cancel()
    await asyncio.gather(parked, return_exceptions=True)


async def test_it_answers_a_parked_call_within_its_limit(bridged):
    bridge, _ = await bridged()
    with pytest.raises(Unavailable):
        await bridge.call("park", ASK, WhoAmI, 0.05)


async def test_it_drops_the_answer_of_a_caller_that_left(bridged):
    bridge, link = await bridged(most_in_flight=1)
    left = asyncio.create_task(bridge.call("park", ASK, WhoAmI, 0.05))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    link.answers["whoami"] = WhoAmI("bob", "viewer")

    async def answered():
        while True:
            try:
                return await bridge.call("whoami", ASK, WhoAmI)
            except Busy:  # the call that nobody waits for keeps its place until it ends
                await asyncio.sleep(0.005)

    assert (await asyncio.wait_for(answered(), 60)).name == "bob"


async def test_it_registers_with_the_join_token_until_it_is_enrolled(bridged):
    bridge, link = await bridged(join_token="j-1")
    await eventually(lambda: not bridge.away)
    assert link.tokens == ["j-1"]


async def test_it_knows_that_the_master_is_away_without_asking(bridged, monkeypatch):
    monkeypatch.setattr("webserver.bridge.AWAY_PROBE_S", 0.05)
    monkeypatch.setattr("webserver.bridge.PROBE_S", 0.05)
    bridge, link = await bridged()
    await eventually(lambda: not bridge.away)
    link.registered = Unavailable("gone")
    await eventually(lambda: bridge.away)
    link.registered = WebRegistered("0.1.0", 1)
    await eventually(lambda: not bridge.away)


async def test_it_hears_at_once_that_the_connection_ended(bridged):
    bridge, link = await bridged()
    await eventually(lambda: not bridge.away)
    link.on_trouble(Trouble.UNREACHABLE, "the connection ended")
    assert bridge.away


async def test_it_lets_nobody_wait_long_for_a_master_that_is_away(bridged, monkeypatch):
    monkeypatch.setattr("webserver.bridge.PROBE_S", 0.05)
    bridge, link = await bridged(timeout_s=60)
    await eventually(lambda: not bridge.away)
    link.registered = Unavailable("gone")
    await eventually(lambda: bridge.away)
    task = asyncio.create_task(bridge.call("park", ASK, WhoAmI))
    await eventually(lambda: link.limits)
    assert link.limits[0] <= 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_does_not_blame_the_caller_when_it_is_not_enrolled_itself(bridged):
    def strange(link):
        link.registered = NotEnrolled("the key is not known")

    bridge, _ = await bridged(strange, timeout_s=5)
    with pytest.raises(Unavailable, match="refuses this web server: the key is not known"):
        await bridge.call("whoami", ASK, WhoAmI)


async def test_it_answers_everybody_when_it_closes(bridged):
    bridge, link = await bridged()
    parked = asyncio.create_task(bridge.call("park", ASK, WhoAmI))
    await eventually(lambda: link.limits)
    await bridge.close()
    assert link.closed
    with pytest.raises(Unavailable, match="stopping"):
        await parked
    with pytest.raises(Unavailable):
        await bridge.call("whoami", ASK, WhoAmI)
