"""How does gevent's hub wait for a ZeroMQ socket? One greenlet a socket, and no lost wake-ups.

A ZeroMQ socket has a file descriptor that becomes readable when its state may have
changed, once: any later operation on the socket, a send too, may swallow that news. The
rule that makes it safe (zmq_getsockopt(3), ZMQ_FD): after reading, go on until there is
nothing; after sending, look at ZMQ_EVENTS. Sockets here are zmq's plain ones, used
without blocking; zmq.green's do more work a message, and wait with timers.
"""

import logging
from collections.abc import Callable

import gevent
import zmq
from gevent.hub import Waiter, get_hub

BATCH = 64  # messages taken before other greenlets get their turn

CLOSED = (zmq.ENOTSOCK, zmq.ETERM)  # stop the pump first; going on would spin

log = logging.getLogger(__name__)


_EVENTS = int(zmq.EVENTS)  # plain numbers: zmq's enums are slow
_READABLE = int(zmq.POLLIN)
_AT_ONCE = int(zmq.DONTWAIT)

MOST_PARTS = 2  # frames after the first: no message here has more


class Pump:
    """Calls `take` for each message that arrives on `socket`, until stopped.

    `take` reads one message with zmq.DONTWAIT and deals with it; it lets zmq.Again pass,
    which says that nothing is left; `on_empty` is called each time that is so. The pump belongs
    to the hub that starts it.
    """

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        take: Callable[[], None],
        on_empty: Callable[[], None] = lambda: None,
    ) -> None:
        self._socket = socket
        self._take = take
        self._on_empty = on_empty
        self._waiter: Waiter | None = None  # set while it waits for the descriptor
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        self._hub = get_hub()
        self._watcher = self._hub.loop.io(self._socket.getsockopt(zmq.FD), 1)
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Stop before the socket is closed: libev remembers descriptors by number."""
        if self._greenlet is None:
            return
        self._watcher.stop()
        self._watcher.close()
        if self._greenlet is not gevent.getcurrent():
            self._greenlet.kill(block=False)
        self._greenlet = None

    def check(self) -> None:
        """Call after each send: it may have swallowed the news that messages are there."""
        waiter = self._waiter
        if waiter is not None and int(self._socket.getsockopt(_EVENTS)) & _READABLE:
            self._waiter = None
            self._hub.loop.run_callback(waiter.switch, None)

    def _run(self) -> None:
        while self._greenlet is not None:
            if self._drain() and not self._has_more_after(self._on_empty):
                self._wait()
            else:
                gevent.sleep(0)

    def _drain(self) -> bool:
        """Take up to a batch of messages; whether nothing is left."""
        for _ in range(BATCH):
            if self._greenlet is None:  # stopped by what the last message led to
                return False
            try:
                self._take()
            except zmq.Again:
                return True
            except Exception as error:
                if isinstance(error, zmq.ZMQError) and error.errno in CLOSED:
                    raise
                log.exception("dealing with a message failed; the next one is taken")
        return False

    @property
    def is_empty(self) -> bool:
        """All that had arrived is read, and it waits for more."""
        return self._waiter is not None

    def _has_more_after(self, call: Callable[[], None]) -> bool:
        """What it sent may have swallowed the news that more is there."""
        try:
            call()
        except Exception:
            log.exception("what waited for a quiet moment failed")
        return bool(int(self._socket.getsockopt(_EVENTS)) & _READABLE)

    def _wait(self) -> None:
        self._waiter = waiter = Waiter()
        self._watcher.start(waiter.switch, None)
        try:
            waiter.get()
        finally:
            self._waiter = None
            self._watcher.stop()


def rest_of(socket: "zmq.Socket[bytes]", first: zmq.Frame) -> list[bytes]:
    """The frames of a message after its first; [] if they are too many, which are read off."""
    parts: list[bytes] = []
    last, surplus = first, False
    while last.more:
        last = socket.recv(_AT_ONCE, copy=False, track=False)
        if len(parts) < MOST_PARTS:
            parts.append(last.bytes)
        else:
            surplus = True
    return [] if surplus else parts
