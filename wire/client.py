"""How does a program call the master? By zerorpc, made to fail truthfully.

What ZeroMQ would rather do is queue a call while the master is away and have it carried out
after its caller gave up. Here a call is handed to it only while the connection stands, fails
as soon as the connection breaks, and whatever a given-up call may have left behind is thrown
away with the connection it was made on.
"""

import logging
import random
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
import gevent.event
import msgspec
import zmq
from msgspec import Struct

from wire.errors import Internal, Refusal, Unavailable
from wire.keys import KeyPair
from wire.line import RECONNECT_MS, Line, LineLost
from wire.monitor import Trouble, trouble_of

__all__ = ["Client", "Trouble"]

RECONNECT_MAX_MS = 3_000  # after handshakes that failed
RETRY_MAX_S = 2.0  # where nothing listens

T = TypeVar("T")

log = logging.getLogger(__name__)


class Client:
    """Calls the master's methods, from any number of greenlets of one hub.

    It connects at the first call, by itself, and comes back by itself. `on_trouble` is
    told, once a change, what is wrong with the connection and when it is right again.
    Where nothing listens it tries again less and less often, at last every `retry_max_s`.
    """

    def __init__(
        self,
        endpoint: str,
        server_key: str,
        keys: KeyPair,
        *,
        timeout_s: float = 10.0,
        retry_max_s: float = RETRY_MAX_S,
        on_trouble: Callable[[Trouble, str], None] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._server_key = server_key
        self._keys = keys
        self._timeout_s = timeout_s
        # A little less, and not the same for all: libzmq's own pauses have no jitter.
        self._retry_max_ms = round(retry_max_s * random.uniform(750, 1000))
        self._on_trouble = on_trouble
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._line: Line | None = None  # the connection for new calls
        self._retired: set[Line] = set()  # those that only end the calls they have
        self._reopening: gevent.Greenlet | None = None
        self._up = gevent.event.Event()
        self._failures = 0  # in a row, of connecting
        self._trouble: Trouble | None = None
        self._words = "has not answered yet"
        self._closed = False

    def call(
        self,
        method: str,
        payload: Struct | dict[str, Any],
        reply: type[T],
        timeout_s: float | None = None,
    ) -> T:
        """Call `method` and return its answer as a `reply`.

        Refusal: what the master says no with. Unavailable: there was no answer, within
        the limit or ever; whether the call was carried out is then unknown, unless the
        sentence says that it was not sent.
        """
        argument = msgspec.to_builtins(payload, builtin_types=(bytes,))
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        answer = self._exchange(method, argument, limit_s)
        try:
            return msgspec.convert(answer, reply)
        except msgspec.ValidationError as error:
            raise Internal(f"the master's answer to {method} has another form: {error}") from None

    def send(
        self,
        type: str,
        payload: Struct | dict[str, Any],
        reply: "type[T]",
        timeout_s: float | None = None,
    ) -> T:
        """Send one of `sendmsg`'s messages, as `call` does."""
        return self.call("sendmsg", {"type": type, "payload": payload}, reply, timeout_s)

    def close(self) -> None:
        """Close the connection. Calls under way fail as Unavailable."""
        self._closed = True
        if self._reopening is not None:
            self._reopening.kill(block=False)
        for line in [self._line, *self._retired]:
            if line is not None:
                line.close()
        self._line = None
        self._retired.clear()
        self._up.set()
        if self._context is not None:
            self._context.term()
            self._context = None

    # ---- one call

    def _exchange(self, method: str, argument: object, limit_s: float) -> object:
        sent = False
        with gevent.Timeout(limit_s) as timeout:
            try:
                line = self._connected()
                sent = True
                return self._through(line, method, argument)
            except gevent.Timeout as expired:
                if expired is not timeout:
                    raise
        if sent:
            raise Unavailable(f"no answer to {method} from {self._master} within {limit_s:g} s")
        raise Unavailable(f"{self._master} {self._words}; {method} was not sent")

    def _connected(self) -> Line:
        """The connection, once it stands."""
        while True:
            if self._closed:
                raise Unavailable("the connection to the master was closed by this program")
            if self._line is None and self._reopening is None:
                self._open()
            if self._line is not None and self._line.is_up:
                return self._line
            self._up.wait()

    def _through(self, line: Line, method: str, argument: object) -> object:
        try:
            return line.call(method, argument)
        except Refusal:
            raise
        except LineLost:
            raise Unavailable(
                f"the connection to {self._master} was lost before {method} was answered"
            ) from None
        except BaseException:  # given up: time is over, or the greenlet is being killed
            self._retire(line)
            raise
        finally:
            self._sweep(line)

    # ---- connections

    def _open(self) -> None:
        """Begin to connect. Needs no answer: the monitor tells how it goes."""
        self._reopening = None
        if self._context is None:
            self._context = zmq.Context()
        self._up.clear()
        line = Line(self._context, self._keys, self._server_key, self._retry_max_ms)
        try:
            line.connect(self._endpoint, lambda event, value: self._on_event(line, event, value))
        except BaseException:  # no descriptors, say: the next call tries again
            line.close()
            raise
        self._line = line

    def _retire(self, line: Line) -> None:
        """Let a connection end the other calls that it has, and make a new one for what comes.

        What the given-up call left in it, a channel or a message not sent yet, goes with it.
        """
        if self._line is line:
            self._retired.add(line)
            self._line = None
            self._open()

    def _sweep(self, line: Line) -> None:
        """Close a retired connection whose last call has ended."""
        if line in self._retired and not line.is_used:
            self._retired.discard(line)
            line.close()

    def _on_event(self, line: Line, event: zmq.Event, value: int) -> None:
        if event == zmq.Event.HANDSHAKE_SUCCEEDED:
            self._rise(line)
            return
        trouble = trouble_of(event, value)
        if line is self._line and trouble is not None:
            self._report(*trouble)
        if event == zmq.Event.DISCONNECTED:
            self._fall(line)

    def _rise(self, line: Line) -> None:
        line.is_up = True
        if line is self._line:
            self._failures = 0
            self._up.set()
            self._report(Trouble.RECOVERED, "can be reached again")

    def _fall(self, line: Line) -> None:
        """A connection ended, or failed in its handshake: drop it whole, and make another.

        libzmq would go on with it by itself, but ten times a second after a failed
        handshake, never after some, and with whatever waits to be sent.
        """
        was_up, line.is_up = line.is_up, False
        self._retired.discard(line)
        was_current = line is self._line
        if was_current:
            self._line = None
            self._up.clear()
            self._reopening = gevent.spawn_later(self._pause_s(was_up), self._open)
        line.close()
        if was_current and was_up:
            self._report(Trouble.UNREACHABLE, "has gone: the connection ended")

    def _pause_s(self, was_up: bool) -> float:
        """How long to wait before connecting again; spread, so that no fleet returns as one."""
        if was_up:
            return random.uniform(0, RECONNECT_MS) / 1000
        self._failures += 1
        longest_ms = min(RECONNECT_MAX_MS, RECONNECT_MS << min(self._failures, 10))
        return random.uniform(longest_ms / 2, longest_ms) / 1000

    def _report(self, trouble: Trouble, words: str) -> None:
        now = None if trouble is Trouble.RECOVERED else trouble
        self._words = words
        if now is self._trouble:
            return
        self._trouble = now
        if self._on_trouble is not None:
            self._on_trouble(trouble, f"{self._master} {words}")

    @property
    def _master(self) -> str:
        return f"the master at {self._endpoint.removeprefix('tcp://')}"
