"""What becomes of a message? zerorpc's wire, own dispatch: message → role → handler → answer.

A stock zerorpc client can call it; there are no streams. No greenlet is made for a call:
a handler answers at once, or keeps the Call and answers it later from the hub's thread.
Nothing is done for a peer that it has no right to: the caller's role is looked up by its
CURVE key at each call, and only then are the arguments decoded.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping

import zmq
from msgspec import Struct

from wire import frames
from wire.calls import LATER, Answer, AnyMethod, Call, Caller, Later, Method, method_of_type
from wire.errors import Busy, Forbidden, TooLarge
from wire.keys import KeyPair
from wire.pump import Pump, rest_of
from wire.rates import Rates, Verdict
from wire.zap import DOMAIN, Zap

__all__ = [
    "LATER",
    "LIMITS",
    "STRANGER",
    "Answer",
    "Call",
    "Caller",
    "Later",
    "Limit",
    "Method",
    "Server",
    "Table",
]

MAX_MESSAGE_BYTES = 8 << 20
HANDSHAKE_MS = 5_000
SEND_QUEUE = 1_000  # answers waiting for one peer that does not read; further ones are dropped
RECEIVE_QUEUE = 64  # messages of one peer waiting for the hub; then TCP holds it back
LISTEN_BACKLOG = 4_096  # a fleet that comes back at once
DROPS_LOG_INTERVAL_S = 10.0

STRANGER = "stranger"

# As plain numbers: combining members of zmq's enums costs more than the call that they are for.
_AT_ONCE = int(zmq.DONTWAIT)
_WITH_MORE = int(zmq.DONTWAIT | zmq.SNDMORE)

# A context option of libzmq's that pyzmq has no name for. Received without copying, each
# connection keeps a buffer with room for 250 references beside its 8 KiB of bytes: 3.4 KB more
# of memory for every agent. What we receive is small, and copied in no time.
_ZERO_COPY_RECV = 10

log = logging.getLogger(__name__)


class Limit(Struct, frozen=True):
    """What one key may have under way: calls not answered yet, and bytes of one call's arguments.

    The bytes bound what decoding may allocate: an empty list is one byte on the wire and
    some sixty in memory.
    """

    calls: int
    args_bytes: int


LIMITS: Mapping[str, Limit] = {
    STRANGER: Limit(calls=4, args_bytes=64 << 10),
    "agent": Limit(calls=64, args_bytes=1 << 20),
    "web": Limit(calls=4096, args_bytes=MAX_MESSAGE_BYTES),  # all the people behind it
}


Table = Mapping[str, AnyMethod | Mapping[str, AnyMethod]]


class Server:
    """Listens, and hands calls to the methods of an explicit table; everything else is forbidden.

    `role_of` gives (role, id) of a public key and is asked at every call, so that taking
    a right away works on the next call of an open connection; unknown keys are
    (STRANGER, ""). A nested mapping in `methods` is dispatched by the `type` of its
    {"type": …, "payload": {…}} argument. `on_empty` is called each time that all messages which
    had arrived were dealt with; `on_forbidden` with each call that its caller has no right to.
    """

    def __init__(
        self,
        keys: KeyPair,
        methods: Table,
        role_of: Callable[[str], tuple[str, str]],
        *,
        limits: Mapping[str, Limit] = LIMITS,
        rates: Rates | None = None,
        on_empty: Callable[[], None] = lambda: None,
        on_forbidden: Callable[[Call], None] = lambda call: None,
    ) -> None:
        self._methods = methods
        self._on_forbidden = on_forbidden
        self._role_of = role_of
        self._limits = limits
        self._rates = rates or Rates({})  # None: peers may send as fast as they like
        self._calls: dict[tuple[bytes, bytes], Call] = {}  # by peer and message id
        self._calls_of: Counter[str] = Counter()  # by key
        self._drops = _Drops()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.set(_ZERO_COPY_RECV, 0)
        self._zap = Zap(self._context)
        self._socket = _listener(self._context, keys)
        self._pump = Pump(self._socket, self._take, on_empty)
        self._draining = False
        self._zap.start()

    @property
    def names(self) -> list[str]:
        """Every method, a typed one as `name(type)`: what `wire.probe` takes."""
        names: list[str] = []
        for name, entry in self._methods.items():
            if isinstance(entry, Method):
                names.append(name)
            else:
                names.extend(f"{name}({kind})" for kind in entry)
        return names

    @property
    def in_flight(self) -> int:
        """How many calls wait for their answers."""
        return len(self._calls)

    @property
    def is_empty(self) -> bool:
        """All that had arrived is dealt with."""
        return self._pump.is_empty

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many messages were dropped since the start, by reason."""
        return self._drops.total

    def bind(self, endpoint: str) -> int:
        """Listen on `tcp://ADDRESS:PORT` (port 0: any free one) and return the port. OSError."""
        self._socket.ipv6 = "[" in endpoint
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}") from None
        endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        return int(endpoint.rpartition(":")[2])

    def start(self) -> None:
        """Begin to take calls, on the hub of this thread."""
        self._pump.start()

    def stop(self) -> None:
        """Close at once. Calls not answered yet never are; their callers see the connection end."""
        self._pump.stop()
        self._zap.stop()
        self._calls.clear()
        self._calls_of.clear()
        if not self._context.closed:
            self._socket.close(linger=0)
            self._context.term()

    # ---- what arrives

    def _take(self) -> None:
        """Read one message, and deal with it."""
        self._draining = True
        try:
            first = self._socket.recv(_AT_ONCE, copy=False, track=False)
            parts = rest_of(self._socket, first)
            caller = _stranger(first)
            if len(parts) != 2 or parts[0]:
                self._drops.note("not in zerorpc's frames", caller.key)
            else:
                self._receive(caller, parts[1])
        finally:
            self._draining = False

    def _receive(self, caller: Caller, body: bytes) -> None:
        try:
            event = frames.decode(body)
        except (ValueError, RecursionError):
            self._drops.note("not a zerorpc message of version 3", caller.key)
            return
        refusal: Exception | None = None
        try:
            role, id = self._role_of(caller.key)
            caller = Caller(caller.key, role, id, caller.peer, caller.address)
            verdict = self._rates.judge(caller, len(body))
        except Exception as error:
            refusal, verdict = error, Verdict.BUSY
        if verdict is Verdict.DROP:
            self._drops.note("far too many of one peer", caller.key)
        elif event.header.response_to is not None:
            self._follow_up(caller, event, event.header.response_to)
        elif (caller.peer, event.header.message_id) in self._calls:
            self._drops.note("a message id used twice", caller.key)
        else:
            if verdict is Verdict.BUSY and refusal is None:
                refusal = Busy("this peer sends too much; come back a little later")
            self._begin(caller, event, refusal)

    def _follow_up(self, caller: Caller, event: frames.Event, channel: bytes) -> None:
        """Something on an open channel; only its owner's heartbeats mean anything here."""
        if (caller.peer, channel) not in self._calls:
            if event.name not in (frames.HEARTBEAT, frames.MORE):  # late ones are normal
                self._drops.note("for a channel that is not the peer's", caller.key)
        elif event.name == frames.HEARTBEAT:
            self._send(caller.peer, frames.encode(frames.HEARTBEAT, (0,), channel))
        elif event.name != frames.MORE:
            self._drops.note("a second message of a call", caller.key)

    def _begin(self, caller: Caller, event: frames.Event, refusal: Exception | None) -> None:
        call = Call(caller, event.name, event.header.message_id, self._finish)
        self._calls[caller.peer, event.header.message_id] = call
        self._calls_of[caller.key] += 1
        try:
            if refusal is not None:
                raise refusal
            answer = self._dispatch(call, event)
        except Exception as error:
            call.fail(error)
        else:
            if not isinstance(answer, Later):
                call.ok(answer)

    def _dispatch(self, call: Call, event: frames.Event) -> Answer:
        """Check number, size, right and form, in this order, and call the handler."""
        limit = self._limits.get(call.caller.role) or self._limits[STRANGER]
        if self._calls_of[call.caller.key] > limit.calls:
            raise Busy(f"{limit.calls} calls of this key are under way; try again when some ended")
        role, args = call.caller.role, event.args
        entry = self._methods.get(event.name)
        method: AnyMethod | None = None
        if isinstance(entry, Method):
            method = entry
        elif entry is not None and any(role in each.roles for each in entry.values()):
            method, args = method_of_type(call, entry, args)
        if method is None or role not in method.roles:
            self._on_forbidden(call)
            raise Forbidden(f"{role} may not call {call.method!r}")
        if len(memoryview(args)) > limit.args_bytes:
            raise TooLarge(f"{call.method} takes at most {limit.args_bytes} bytes from {role}")
        if self._rates.judge_method(call.caller, call.method) is not Verdict.PASS:
            raise Busy(f"{call.method} comes too often from this peer; come back a little later")
        return method.run(call, args)

    # ---- what is sent

    def _finish(self, call: Call, body: bytes) -> None:
        """Forget a call and send its answer; called by the Call, once."""
        if self._calls.pop((call.caller.peer, call.message_id), None) is None:
            return  # the server was stopped meanwhile
        key = call.caller.key
        self._calls_of[key] -= 1
        if self._calls_of[key] <= 0:
            del self._calls_of[key]
        self._send(call.caller.peer, body)

    def _send(self, peer: bytes, body: bytes) -> None:
        """Send without waiting. A ROUTER drops what is for a peer that is gone or does not read."""
        try:
            self._socket.send(peer, _WITH_MORE)
            self._socket.send(b"", _WITH_MORE)
            self._socket.send(body, _AT_ONCE)
        except zmq.ZMQError as error:
            log.warning("an answer was not sent and is dropped: %s", error)
        if not self._draining:
            self._pump.check()


class _Drops:
    """Counts what is dropped, and says so now and then: a flood must not flood the log."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self._unsaid: Counter[str] = Counter()
        self._said_at = -DROPS_LOG_INTERVAL_S

    def note(self, reason: str, key: str | None) -> None:
        self.total[reason] += 1
        self._unsaid[reason] += 1
        now = time.monotonic()
        if now - self._said_at < DROPS_LOG_INTERVAL_S:
            return
        self._said_at = now
        what = ", ".join(f"{reason}: {number}" for reason, number in self._unsaid.items())
        log.warning("dropped messages that do not fit (%s); the last came from key %s", what, key)
        self._unsaid.clear()


def _listener(context: "zmq.Context[zmq.Socket[bytes]]", keys: KeyPair) -> "zmq.Socket[bytes]":
    socket = context.socket(zmq.ROUTER)
    socket.linger = 0
    socket.curve_server = True
    socket.curve_secretkey = keys.secret.encode()
    socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # no handler, no entry
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.BACKLOG, LISTEN_BACKLOG)
    socket.sndhwm = SEND_QUEUE
    socket.rcvhwm = RECEIVE_QUEUE
    # A host that lost its power says no goodbye; the kernel finds out within two minutes.
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 60)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 15)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 4)
    return socket


def _stranger(frame: zmq.Frame) -> Caller:
    """Who sent a frame, as the handshake proved it; what may be done by it is not known yet.

    Read from each message and never remembered by routing id: a peer may choose its
    routing id, also one that looks like those libzmq gives out (seen with 4.3.5).
    """
    key, address = str(frame.get("User-Id")), str(frame.get("Peer-Address"))
    return Caller(key, STRANGER, "", frame.bytes, address)
