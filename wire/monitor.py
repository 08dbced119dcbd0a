"""How fares a connection? What libzmq's socket monitor says, told apart and put into words."""

import errno
import itertools
import os
import struct
from collections.abc import Callable
from enum import StrEnum

import zmq

from wire.pump import Pump

EVENTS = (
    zmq.Event.HANDSHAKE_SUCCEEDED
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_AUTH
    | zmq.Event.DISCONNECTED
    | zmq.Event.CONNECT_RETRIED
)

HUNG_UP = (
    "hung up during the key exchange, most likely because its key is not the one that this"
    " program was given"
)

_numbers = itertools.count(1)


class Trouble(StrEnum):
    """What is wrong with the connection to the master, or that nothing is any more."""

    UNREACHABLE = "unreachable"
    WRONG_MASTER_KEY = "wrong master key"
    REFUSED = "refused"
    RECOVERED = "recovered"


class Monitor:
    """Watches one client socket. `on_event` gets the event and its value, from one greenlet."""

    def __init__(
        self, socket: "zmq.Socket[bytes]", on_event: Callable[[zmq.Event, int], None]
    ) -> None:
        self._watched = socket
        self._on_event = on_event
        address = f"inproc://monitor-{next(_numbers)}"
        socket.monitor(address, EVENTS)
        self._socket: zmq.Socket[bytes] = zmq.Socket(socket.context, zmq.PAIR)
        self._socket.linger = 0
        self._socket.connect(address)
        self._pump = Pump(self._socket, self._take)
        self._pump.start()

    def close(self) -> None:
        """Stop watching; the watched socket must still be open."""
        self._pump.stop()
        self._watched.disable_monitor()
        self._socket.close()

    def _take(self) -> None:
        # zmq.utils.monitor would unpack it too, and bring asyncio along: 6 MB in every agent.
        event, value = struct.unpack("=HI", self._socket.recv_multipart(zmq.DONTWAIT)[0])
        self._on_event(zmq.Event(event), value)


def trouble_of(event: zmq.Event, value: int) -> tuple[Trouble, str] | None:
    """What a failure means, and the rest of the sentence "the master at … …".

    None: the event is no failure, or the one before it said more.

    A server that cannot open our greeting, because it was sealed for another key, just
    hangs up; so does anything else that hangs up early, which the words allow for.
    """
    match event:
        case zmq.Event.CONNECT_RETRIED:
            return Trouble.UNREACHABLE, "cannot be reached: nothing answers there"
        case zmq.Event.HANDSHAKE_FAILED_AUTH:
            return Trouble.REFUSED, f"refuses this key (status {value})"
        case zmq.Event.HANDSHAKE_FAILED_PROTOCOL:
            return Trouble.WRONG_MASTER_KEY, "is something else than a master: it speaks otherwise"
        case zmq.Event.HANDSHAKE_FAILED_NO_DETAIL if value in (errno.EAGAIN, errno.ETIMEDOUT):
            return Trouble.UNREACHABLE, "takes connections but does not answer on them"
        case zmq.Event.HANDSHAKE_FAILED_NO_DETAIL:
            return Trouble.WRONG_MASTER_KEY, f"{HUNG_UP} ({os.strerror(value)})"
    return None
