"""A server with a few methods, and clients to call it: ours, the stock one, a bare socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import msgspec
import zerorpc
import zmq
from msgspec import Struct

from tests.support import until
from wire.client import Client, Trouble
from wire.errors import NotFound
from wire.keys import KeyPair, make_keys
from wire.server import LATER, STRANGER, Answer, Call, Method, Server, Table

AGENT = frozenset({"agent"})
WEB = frozenset({"web"})


class Word(Struct):
    """The argument of every method here."""

    text: str = ""
    number: int = 0
    blob: bytes = b""
    anything: Any = None


class House:
    """A server on the loopback, the roles of its keys, and the calls that it keeps."""

    def __init__(self, keys: KeyPair | None = None, port: int = 0) -> None:
        self.keys = keys or make_keys()
        self.roles: dict[str, tuple[str, str]] = {}
        self.kept: list[Call] = []
        self.seen: list[str] = []
        self.server = Server(self.keys, self.methods(), self.role_of)
        self.port = self.server.bind(f"tcp://127.0.0.1:{port}")
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self.server.start()

    def methods(self) -> Table:
        return {
            "echo": Method(AGENT | WEB, Word, lambda call, word: word),
            "whoami": Method(AGENT | WEB, Word, self.whoami),
            "keep": Method(AGENT, Word, self.keep),
            "missing": Method(AGENT, Word, self.missing),
            "broken": Method(AGENT, Word, self.broken),
            "unsendable": Method(AGENT, Word, lambda call, word: {"it": object()}),
            "nothing": Method(AGENT, Word, lambda call, word: None),
            "sendmsg": {
                "register": Method(frozenset({STRANGER, "agent"}), Word, self.whoami),
                "heartbeat": Method(AGENT, Word, self.whoami),
            },
        }

    def role_of(self, key: str) -> tuple[str, str]:
        return self.roles.get(key, (STRANGER, ""))

    def whoami(self, call: Call, word: Word) -> Answer:
        self.seen.append(word.text)
        caller = call.caller
        return {
            "role": caller.role,
            "id": caller.id,
            "method": call.method,
            "address": caller.address,
        }

    def keep(self, call: Call, word: Word) -> Answer:
        self.seen.append(word.text)
        self.kept.append(call)
        return LATER

    def missing(self, call: Call, word: Word) -> Answer:
        raise NotFound("there is no run abc", field="run", details={"id": "abc"})

    def broken(self, call: Call, word: Word) -> Answer:
        raise ZeroDivisionError("a secret of the inside")

    def enrol(self, role: str = "agent", id: str = "web01") -> KeyPair:
        keys = make_keys()
        self.roles[keys.public] = (role, id)
        return keys

    def answers_others(self) -> bool:
        """Whether somebody who just came is served."""
        with client_of(self) as client:
            return client.call("echo", {"number": 7}, Word).number == 7


@contextmanager
def house_of(keys: KeyPair | None = None, port: int = 0) -> Iterator[House]:
    house = House(keys, port)
    try:
        yield house
    finally:
        house.server.stop()


@contextmanager
def client_of(
    house: House,
    keys: KeyPair | None = None,
    *,
    server_key: str | None = None,
    troubles: list[Trouble] | None = None,
    timeout_s: float = 60.0,
) -> Iterator[Client]:
    def on_trouble(trouble: Trouble, sentence: str) -> None:
        if troubles is not None:
            troubles.append(trouble)

    client = Client(
        house.endpoint,
        server_key or house.keys.public,
        keys or house.enrol(),
        timeout_s=timeout_s,
        on_trouble=on_trouble,
    )
    try:
        yield client
    finally:
        client.close()


@contextmanager
def stock_client_of(house: House, keys: KeyPair | None = None, **options: Any) -> Iterator[Any]:
    """zerorpc's client as anyone would use it, with CURVE."""
    keys = keys or house.enrol()
    context = zerorpc.Context()
    client = zerorpc.Client(context=context, **options)
    client._events.setsockopt(zmq.CURVE_SERVERKEY, house.keys.public.encode())
    client._events.setsockopt(zmq.CURVE_PUBLICKEY, keys.public.encode())
    client._events.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())
    client._events.setsockopt(zmq.LINGER, 0)
    client.connect(house.endpoint)
    try:
        yield client
    finally:
        client.close()
        context.term()


class Bare:
    """A peer that sends what it likes."""

    def __init__(self, house: House, keys: KeyPair, routing_id: bytes | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = 0  # it must never wait: the server shares its thread
        self.socket.curve_publickey = keys.public.encode()
        self.socket.curve_secretkey = keys.secret.encode()
        self.socket.curve_serverkey = house.keys.public.encode()
        if routing_id is not None:
            self.socket.setsockopt(zmq.ROUTING_ID, routing_id)
        self.socket.connect(house.endpoint)

    def send(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def event(self, header: Any, name: Any, args: Any) -> None:
        self.send(b"", msgspec.msgpack.encode((header, name, args)))

    def call(self, message_id: bytes, name: str, **word: Any) -> None:
        self.event({"message_id": message_id, "v": 3}, name, (word,))

    def receive(self, timeout_s: float = 60.0) -> tuple[dict[str, Any], str, Any]:
        """The next message: header, name, arguments."""
        until(self._has_mail, timeout_s, "an answer", gevent.sleep)
        header, name, args = msgspec.msgpack.decode(self.socket.recv_multipart()[-1])
        return header, name, args

    def _has_mail(self) -> bool:
        return bool(self.socket.poll(0))

    def close(self) -> None:
        self.socket.close()
        self._context.term()


@contextmanager
def bare_peer_of(
    house: House, keys: KeyPair | None = None, routing_id: bytes | None = None
) -> Iterator[Bare]:
    peer = Bare(house, keys or house.enrol(), routing_id)
    try:
        yield peer
    finally:
        peer.close()
