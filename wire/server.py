"""What becomes of a message? zerorpc's wire, own dispatch: message → role → handler → answer.

A stock zerorpc client can call it; there are no streams. No greenlet is made for a call:
a handler answers at once, or keeps the Call and answers it later from the hub's thread.
Nothing is done for a peer that it has no right to: the caller's role is looked up by its
CURVE key at each call, and only then are the arguments decoded.
"""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Generic, TypeVar

import msgspec
import zmq
from msgspec import Meta, Raw, Struct

from wire import frames
from wire.errors import Busy, Forbidden, Internal, Malformed, Refusal, TooLarge
from wire.keys import KeyPair
from wire.pump import Pump
from wire.zap import DOMAIN, Zap

MAX_MESSAGE_BYTES = 8 << 20
HANDSHAKE_MS = 5_000
SEND_QUEUE = 1_000  # answers waiting for one peer that does not read; further ones are dropped
RECEIVE_QUEUE = 64  # messages of one peer waiting for the hub; then TCP holds it back
LISTEN_BACKLOG = 4_096  # a fleet that comes back at once
DROPS_LOG_INTERVAL_S = 10.0

STRANGER = "stranger"

log = logging.getLogger(__name__)

P = TypeVar("P", bound=Struct)


class Later:
    """The type of LATER."""


LATER = Later()  # a handler's answer: "I keep the call and answer it later"

Answer = Struct | dict[str, Any] | Later | None


class Caller(Struct, frozen=True, gc=False):
    """Who calls. `role` and `id` are what the master knows of the key; nothing is the peer's claim.

    `peer` names the connection, for this process only.
    """

    key: str
    role: str
    id: str
    peer: bytes


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


class Call:
    """One call that waits for its answer. Exactly one answer is sent; later ones are ignored.

    `ok` and `fail` are for the hub's thread only. The peer may be gone: then the answer
    is dropped, and nobody is told.
    """

    __slots__ = ("_message_id", "_server", "answered", "caller", "method")

    def __init__(self, server: "Server", caller: Caller, method: str, message_id: bytes) -> None:
        self.caller = caller
        self.method = method
        self.answered = False
        self._server = server
        self._message_id = message_id

    def ok(self, value: Struct | dict[str, Any] | None) -> None:
        """Answer with a value."""
        self._answer(frames.OK, (value,))

    def fail(self, error: BaseException) -> None:
        """Answer with an error; one that is no Refusal is logged, and only its reference sent."""
        if not self.answered:
            refusal = error if isinstance(error, Refusal) else _internal(error, self)
            self._answer(frames.ERR, refusal.to_wire())

    def _answer(self, name: str, args: tuple[object, ...]) -> None:
        if self.answered:
            return
        try:
            body = frames.encode(name, args, self._message_id)
        except Exception as error:
            body = frames.encode(frames.ERR, _internal(error, self).to_wire(), self._message_id)
        self.answered = True
        self._server._finish(self, self._message_id, body)


class Method(Generic[P]):
    """A method, who may call it, and the record its one argument is decoded into."""

    __slots__ = ("decode", "handler", "payload", "roles")

    def __init__(
        self,
        roles: frozenset[str],
        payload: type[P],
        handler: Callable[[Call, P], Answer],
    ) -> None:
        self.roles = roles
        self.payload = payload
        self.handler = handler
        self.decode = msgspec.msgpack.Decoder(tuple[payload]).decode  # type: ignore[valid-type]

    def run(self, call: Call, args: Raw) -> Answer:
        """Decode the arguments and call the handler."""
        try:
            (payload,) = self.decode(args)
        except (ValueError, RecursionError) as error:
            raise _malformed(call.method, error) from None
        return self.handler(call, payload)


class _Typed(Struct):
    """The argument of a method whose payload's form depends on its type."""

    type: Annotated[str, Meta(max_length=64)]
    payload: Raw = Raw(b"\x80")  # an empty map


_typed = msgspec.msgpack.Decoder(tuple[_Typed])

AnyMethod = Method[Any]
Table = Mapping[str, AnyMethod | Mapping[str, AnyMethod]]


class Server:
    """Listens, and hands calls to the methods of an explicit table; everything else is forbidden.

    `role_of` gives (role, id) of a public key and is asked at every call, so that taking
    a right away works on the next call of an open connection; unknown keys are
    (STRANGER, ""). A nested mapping in `methods` is dispatched by the `type` of its
    {"type": …, "payload": {…}} argument.
    """

    def __init__(
        self,
        keys: KeyPair,
        methods: Table,
        role_of: Callable[[str], tuple[str, str]],
        *,
        limits: Mapping[str, Limit] = LIMITS,
    ) -> None:
        self._methods = methods
        self._role_of = role_of
        self._limits = limits
        self._calls: dict[tuple[bytes, bytes], Call] = {}  # by peer and message id
        self._calls_of: Counter[str] = Counter()  # by key
        self._drops = _Drops()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._zap = Zap(self._context)
        self._socket = _listener(self._context, keys)
        self._pump = Pump(self._socket, self._take)
        self._draining = False
        self._zap.start()

    @property
    def names(self) -> list[str]:
        """Every method, a typed one as `name(type)`: what `wire.probe` takes."""
        return [
            name if isinstance(entry, Method) else f"{name}({kind})"
            for name, entry in self._methods.items()
            for kind in ([""] if isinstance(entry, Method) else entry)
        ]

    @property
    def in_flight(self) -> int:
        """How many calls wait for their answers."""
        return len(self._calls)

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
            first = self._socket.recv(zmq.DONTWAIT, copy=False, track=False)
            parts = self._rest()
            key = _user_id(first)
            if key is None or len(parts) != 2 or parts[0]:
                self._drops.note("not in zerorpc's frames", key)
            else:
                self._receive(first.bytes, key, parts[1])
        finally:
            self._draining = False

    def _rest(self) -> list[bytes]:
        """The frames of a message after its first. Surplus ones are read off, and not kept."""
        parts: list[bytes] = []
        surplus = False
        while self._socket.getsockopt(zmq.RCVMORE):
            part = self._socket.recv(zmq.DONTWAIT)
            if len(parts) < 2:
                parts.append(part)
            else:
                surplus = True
        return [] if surplus else parts

    def _receive(self, peer: bytes, key: str, body: bytes) -> None:
        try:
            event = frames.decode(body)
        except (ValueError, RecursionError):
            self._drops.note("not a zerorpc message of version 3", key)
            return
        if event.header.response_to is not None:
            self._follow_up(peer, key, event, event.header.response_to)
        elif (peer, event.header.message_id) in self._calls:
            self._drops.note("a message id used twice", key)
        else:
            self._begin(peer, key, event)

    def _follow_up(self, peer: bytes, key: str, event: frames.Event, channel: bytes) -> None:
        """Something on an open channel; only its owner's heartbeats mean anything here."""
        if (peer, channel) not in self._calls:
            if event.name not in (frames.HEARTBEAT, frames.MORE):  # late ones are normal
                self._drops.note("for a channel that is not the peer's", key)
        elif event.name == frames.HEARTBEAT:
            self._send(peer, frames.encode(frames.HEARTBEAT, (0,), channel))
        elif event.name != frames.MORE:
            self._drops.note("a second message of a call", key)

    def _begin(self, peer: bytes, key: str, event: frames.Event) -> None:
        call = Call(self, Caller(key, STRANGER, "", peer), event.name, event.header.message_id)
        self._calls[peer, event.header.message_id] = call
        self._calls_of[key] += 1
        try:
            role, id = self._role_of(key)
            call.caller = Caller(key, role, id, peer)
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
        args = event.args
        entry = self._methods.get(event.name)
        if isinstance(entry, Method):
            method: AnyMethod | None = entry
        else:
            method, args = self._typed(call, entry, args)
        if method is None or call.caller.role not in method.roles:
            raise Forbidden(f"{call.caller.role} may not call {call.method!r}")
        if len(memoryview(args)) > limit.args_bytes:
            raise TooLarge(
                f"{call.method} takes at most {limit.args_bytes} bytes from {call.caller.role}"
            )
        return method.run(call, args)

    def _typed(
        self, call: Call, entry: Mapping[str, AnyMethod] | None, args: Raw
    ) -> tuple[AnyMethod | None, Raw]:
        """The method that an argument's `type` selects, and the arguments it is to get."""
        if entry is None or not any(call.caller.role in method.roles for method in entry.values()):
            return None, args
        try:
            (typed,) = _typed.decode(args)
        except (ValueError, RecursionError) as error:
            raise _malformed(call.method, error) from None
        call.method = f"{call.method}({typed.type})"
        return entry.get(typed.type), Raw(b"\x91" + memoryview(typed.payload))

    # ---- what is sent

    def _finish(self, call: Call, message_id: bytes, body: bytes) -> None:
        """Forget a call and send its answer; called by the Call, once."""
        if self._calls.pop((call.caller.peer, message_id), None) is None:
            return  # the server was stopped meanwhile
        key = call.caller.key
        self._calls_of[key] -= 1
        if self._calls_of[key] <= 0:
            del self._calls_of[key]
        self._send(call.caller.peer, body)

    def _send(self, peer: bytes, body: bytes) -> None:
        """Send without waiting. A ROUTER drops what is for a peer that is gone or does not read."""
        try:
            self._socket.send_multipart((peer, b"", body), zmq.DONTWAIT)
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


def _user_id(frame: zmq.Frame) -> str | None:
    """The key that the handshake proved.

    Read from each message and never remembered by routing id: a peer may choose its
    routing id, also one that looks like those libzmq gives out (seen with 4.3.5).
    """
    try:
        return str(frame.get("User-Id"))
    except (zmq.ZMQError, ValueError):
        return None


def _malformed(method: str, error: BaseException) -> Malformed:
    """msgspec's sentence, its path starting at the payload rather than at the list around it."""
    return Malformed(f"{method}: {error}".replace("`$[0]", "`$"))


def _internal(error: BaseException, call: Call) -> Internal:
    reference = secrets.token_hex(4)
    log.error(
        "%s of %s %s failed; the caller was told reference %s",
        call.method,
        call.caller.role,
        call.caller.id or call.caller.key,
        reference,
        exc_info=error,
    )
    return Internal(f"something broke inside; the master's log has it under {reference}")
