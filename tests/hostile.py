"""Mallory: a peer whose key is enrolled, and who sends whatever may do harm, as fast as may be."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import zmq

from wire.keys import KeyPair

CONNECTIONS = 8
HELD = 500  # runs that a poll claims to hold
KEPT = 200  # messages kept for replays

_encode = msgspec.msgpack.encode


class Mallory:
    """Endless hostile messages, the same for the same seed; `session` is a good one of hers."""

    def __init__(self, seed: int, session: str, id: str):
        self._random = random.Random(seed)
        self._session = session
        self._id = id
        self._number = 0
        self._sent: list[list[bytes]] = []

    def messages(self) -> Iterator[list[bytes]]:
        """Frames, without the first that a DEALER does not send."""
        kinds: list[Callable[[], list[bytes]]] = [
            self._nonsense,
            self._heartbeat,
            self._poll,
            self._output,
            self._large_output,
            self._result,
            self._done,
            self._register,
            self._of_the_web,
            self._on_a_channel,
            self._mutated,
            self._replayed,
        ]
        while True:
            message = self._random.choice(kinds)()
            if len(self._sent) < KEPT:
                self._sent.append(message)
            else:
                self._sent[self._random.randrange(KEPT)] = message
            yield message

    def _nonsense(self) -> list[bytes]:
        count = self._random.randrange(1, 5)
        return [self._random.randbytes(self._random.randrange(300)) for _ in range(count)]

    def _heartbeat(self) -> list[bytes]:
        return self._typed(
            "heartbeat",
            session=self._session,
            id=self._id,
            hostname="mallory",
            ip=["10.6.6.6"] * self._random.randrange(100),
            busy=self._random.randrange(-5, 1 << 40),
            clock=self._random.choice([0.0, 1e300, float("nan")]),
        )

    def _poll(self) -> list[bytes]:
        held = [
            {"run": f"{n:032x}", "attempt": n, "stage": self._random.choice(["ready", "live"])}
            for n in range(self._random.randrange(HELD))
        ]
        poll = {"session": self._session, "instance": "i", "hw": 0, "free": 1, "held": held}
        return self._event("take_task", poll)

    def _output(self, size: int = 100) -> list[bytes]:
        return self._typed(
            "output",
            session=self._session,
            run=f"{self._random.getrandbits(128):032x}",
            attempt=1,
            offset=self._random.choice([0, -1, 1 << 62]),
            data=b"x" * size,
        )

    def _large_output(self) -> list[bytes]:
        return self._output(self._random.choice([256 << 10, 1 << 20]))

    def _result(self) -> list[bytes]:
        return self._typed(
            "result",
            session=self._session,
            hw=self._random.getrandbits(60),
            free=1,
            run=f"{self._random.getrandbits(128):032x}",
            attempt=1,
            grant=1,
            state="SUCCEED",
            cause="exit",
            code=0,
            reason="r" * 10_000,
        )

    def _done(self) -> list[bytes]:
        record = {"run": "x", "attempt": 1, "grant": 1, "state": "SUCCEED", "code": 0}
        return self._typed(
            "done", session=self._session, hw=0, floor=0, records=[record] * 2_000, asked=None
        )

    def _register(self) -> list[bytes]:
        return self._typed("register", id="0" * 32, hostname="x" * 5_000, facts={"a": "b" * 9_000})

    def _of_the_web(self) -> list[bytes]:
        name = self._random.choice(["add_task", "get_tasks", "get_run", "log_in", "get_audit"])
        return self._event(name, {"auth": {"token": "mst_" + "x" * 43}, "id": "x"})

    def _on_a_channel(self) -> list[bytes]:
        header = {"message_id": b"m", "v": 3, "response_to": b"%d" % self._random.randrange(9_000)}
        return [b"", _encode((header, "_zpc_hb", (0,)))]

    def _mutated(self) -> list[bytes]:
        body = bytearray(self._heartbeat()[1])
        for _ in range(self._random.randrange(1, 6)):
            body[self._random.randrange(len(body))] = self._random.randrange(256)
        return [b"", bytes(body)]

    def _replayed(self) -> list[bytes]:
        return self._random.choice(self._sent) if self._sent else self._nonsense()

    def _typed(self, kind: str, **payload: Any) -> list[bytes]:
        return self._event("sendmsg", {"type": kind, "payload": payload})

    def _event(self, name: str, argument: object) -> list[bytes]:
        self._number += 1
        header = {"message_id": b"%d" % self._number, "v": 3}
        return [b"", _encode((header, name, (argument,)))]


def connect(
    context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str, server_key: str, keys: KeyPair
) -> "zmq.Socket[bytes]":
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.curve_publickey = keys.public.encode()
    socket.curve_secretkey = keys.secret.encode()
    socket.curve_serverkey = server_key.encode()
    socket.connect(endpoint)
    return socket
