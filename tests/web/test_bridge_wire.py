"""The real bridge and the real client, against a real server of the wire in a thread of its own."""

import asyncio
import threading

import gevent
import gevent.event
import pytest

from tests.support import free_port, until
from webserver.bridge import Bridge
from wire.client import Client
from wire.errors import Forbidden, NotFound, Unavailable
from wire.keys import make_keys
from wire.requests import Auth, ById, JustAuth, RegisterWeb, WebRegistered
from wire.server import LATER, Method, Server
from wire.views import WhoAmI

ASK = JustAuth(Auth("t"))
WEB = frozenset({"web"})
TOKEN = "join-token"


class Master:
    """A master of four methods; a key is a web's once it came with the token."""

    def __init__(self):
        self.keys = make_keys()
        self.port = free_port()
        self.webs = set()
        self._thread = None

    @property
    def endpoint(self):
        return f"tcp://127.0.0.1:{self.port}"

    def start(self):
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(60)

    def stop(self):
        if self._thread is not None:
            self._stopped = True
            self._wake.send()
            self._thread.join(60)
            self._thread = None

    def _run(self, ready):
        hub = gevent.get_hub()
        stop = gevent.event.Event()
        self._wake = hub.loop.async_()
        self._wake.start(stop.set)
        server = Server(self.keys, self._methods(), self._role_of)
        server.bind(self.endpoint)
        server.start()
        ready.set()
        stop.wait()
        server.stop()
        self._wake.close()
        hub.destroy(destroy_loop=True)

    def _methods(self):
        either = frozenset({"web", "stranger"})
        return {
            "sendmsg": {"register_web": Method(either, RegisterWeb, self._register)},
            "whoami": Method(WEB, JustAuth, lambda call, ask: WhoAmI("alice", "admin")),
            "get_task": Method(WEB, ById, self._missing),
            "keep": Method(WEB, JustAuth, lambda call, ask: LATER),
        }

    def _role_of(self, key):
        return ("web", "") if key in self.webs else ("stranger", "")

    def _register(self, call, message):
        if message.token == TOKEN:
            self.webs.add(call.caller.key)
        elif call.caller.role != "web":
            raise Forbidden("no valid join token")
        return WebRegistered("0.1.0", 1)

    def _missing(self, call, ask):
        raise NotFound(f"there is no task {ask.id}", field="id")


@pytest.fixture
def master():
    master = Master()
    yield master
    master.stop()


@pytest.fixture
async def bridge_to(master, monkeypatch):
    monkeypatch.setattr("webserver.bridge.AWAY_PROBE_S", 0.05)
    monkeypatch.setattr("webserver.bridge.PROBE_S", 0.05)
    bridges = []

    async def make(token=TOKEN, timeout_s=20.0):
        keys = make_keys()
        bridge = Bridge(
            lambda on_trouble: Client(
                master.endpoint,
                master.keys.public,
                keys,
                timeout_s=timeout_s,
                on_trouble=on_trouble,
            ),
            join_token=token,
            timeout_s=timeout_s,
        )
        await bridge.start()
        bridges.append(bridge)
        return bridge

    yield make
    for bridge in bridges:
        await bridge.close()


async def eventually(predicate):
    await asyncio.to_thread(until, predicate)


async def test_it_enrols_and_carries_calls_and_refusals(master, bridge_to):
    master.start()
    bridge = await bridge_to()
    assert await bridge.call("whoami", ASK, WhoAmI) == WhoAmI("alice", "admin")
    with pytest.raises(NotFound) as refused:
        await bridge.call("get_task", ById(Auth("t"), "t1"), WhoAmI)
    assert refused.value.field == "id"
    answers = await asyncio.gather(*(bridge.call("whoami", ASK, WhoAmI) for _ in range(200)))
    assert len(answers) == 200


async def test_it_works_again_by_itself_after_the_master_was_away(master, bridge_to):
    bridge = await bridge_to(timeout_s=2.0)
    with pytest.raises(Unavailable):
        await bridge.call("whoami", ASK, WhoAmI)
    assert bridge.away
    master.start()
    await eventually(lambda: not bridge.away)
    assert (await bridge.call("whoami", ASK, WhoAmI)).name == "alice"
    master.stop()
    await eventually(lambda: bridge.away)
    master.start()
    await eventually(lambda: not bridge.away)
    assert (await bridge.call("whoami", ASK, WhoAmI)).name == "alice"


async def test_it_is_refused_without_a_token_and_says_so(master, bridge_to):
    master.start()
    bridge = await bridge_to(token=None, timeout_s=5.0)
    with pytest.raises(Unavailable, match="refuses this web server"):
        await bridge.call("whoami", ASK, WhoAmI)


async def test_it_answers_other_calls_while_one_is_parked(master, bridge_to):
    master.start()
    bridge = await bridge_to()
    await eventually(lambda: not bridge.away)
    parked = asyncio.create_task(bridge.call("keep", ASK, WhoAmI, 30))
    assert (await bridge.call("whoami", ASK, WhoAmI)).name == "alice"
    await bridge.close()
    with pytest.raises(Unavailable):
        await parked
