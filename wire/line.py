"""How does a call travel? As zerorpc's events, on one connection, with one answer each.

zerorpc's own channels would take two greenlets and three queues for it, for heartbeats and
streams that nothing here needs, and look at their socket each second. On a host that mostly
waits, that would be most of what the agent does.
"""

from collections.abc import Callable
from itertools import count

import gevent
import zmq
from gevent.event import AsyncResult
from zerorpc.events import Event

from wire.errors import Internal, from_wire
from wire.frames import ERR, OK
from wire.keys import KeyPair
from wire.monitor import Monitor
from wire.pump import Pump, rest_of

HANDSHAKE_MS = 3_000
CONNECT_MS = 5_000  # a host that swallows packets
RECONNECT_MS = 100
SEND_QUEUE = 64
FULL_S = 0.02  # between two looks whether a full queue has room again

# As plain numbers: zmq's enums are slow.
_AT_ONCE = int(zmq.DONTWAIT)
_WITH_MORE = int(zmq.DONTWAIT | zmq.SNDMORE)


class LineLost(Exception):
    """Of a call whose connection ended before the answer."""


class Line:
    """One connection to the master, and the calls that wait for their answers on it."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        keys: KeyPair,
        server_key: str,
        retry_max_ms: int,
    ) -> None:
        self.is_up = False
        self._answers: dict[bytes, AsyncResult] = {}  # to come, by the id of the call
        self._ids = count(1)
        self._monitor: Monitor | None = None
        self._socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
        self._pump = Pump(self._socket, self._take)
        _configure(self._socket, keys, server_key)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, retry_max_ms)

    @property
    def is_used(self) -> bool:
        """Whether calls wait for their answers."""
        return bool(self._answers)

    def connect(self, endpoint: str, on_event: Callable[[zmq.Event, int], None]) -> None:
        self._monitor = Monitor(self._socket, on_event)
        self._socket.ipv6 = "[" in endpoint  # else "localhost" may mean ::1 only
        self._socket.connect(endpoint)
        self._pump.start()

    def call(self, method: str, argument: object) -> object:
        """Make a call and wait for its answer, without limit.

        Refusal: what the master says no with. LineLost: the connection ended. Who gives the
        call up leaves nothing behind but what was sent.
        """
        id = next(self._ids).to_bytes(8, "big")
        self._answers[id] = answer = AsyncResult()
        try:
            self._send(Event(method, (argument,), None, {"message_id": id, "v": 3}).pack())
            event = answer.get()
        finally:
            del self._answers[id]
        match event.name, event.args:
            case "OK", [result]:
                return result
            case "ERR", [str(name), str(message), rest]:
                raise from_wire(name, message, rest if isinstance(rest, str) else None)
        raise Internal(f"the master answered {method} in a form that is not zerorpc's")

    def close(self) -> None:
        """Close at once, dropping what was not sent; repeating it is harmless."""
        if self._socket.closed:
            return
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        self._pump.stop()
        self._socket.close(linger=0)
        for answer in self._answers.values():
            answer.set_exception(LineLost())

    def _send(self, body: bytes) -> None:
        """Into libzmq's queue, as soon as that has room; it takes a message whole or not at all."""
        while True:
            if self._monitor is None:
                raise LineLost
            try:
                self._socket.send(b"", _WITH_MORE)
                self._socket.send(body, _AT_ONCE)
            except zmq.Again:
                gevent.sleep(FULL_S)
            else:
                self._pump.check()
                return

    def _take(self) -> None:
        """Read one message, and hand it to who waits for it; to others it is no news any more."""
        parts = rest_of(self._socket, self._socket.recv(_AT_ONCE, copy=False, track=False))
        if len(parts) != 1:
            raise ValueError(f"a message of {len(parts) + 1} frames; zerorpc's have 2")
        event = Event.unpack(parts[0])
        answer = self._answers.get(event.header.get("response_to"))
        if answer is not None and event.name in (OK, ERR):
            answer.set(event)


def _configure(socket: "zmq.Socket[bytes]", keys: KeyPair, server_key: str) -> None:
    socket.curve_publickey = keys.public.encode()
    socket.curve_secretkey = keys.secret.encode()
    socket.curve_serverkey = server_key.encode()
    socket.linger = 0
    socket.sndhwm = SEND_QUEUE
    socket.setsockopt(zmq.IMMEDIATE, 1)  # no queue for a connection that does not stand
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 30)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 10)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
