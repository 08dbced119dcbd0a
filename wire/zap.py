"""Who may connect? Anyone with a CURVE key: what the key may do is decided at each call.

ZeroMQ asks a socket at inproc://zeromq.zap.01 of the same context about each handshake
(RFC 27). The answer lets the key in and becomes the `User-Id` of all its frames, which no
peer can forge. A key that is not known must come in too, or it could never register; and
a refusal here would be for good: libzmq's clients do not come back after a 400.
"""

import zmq
import zmq.utils.z85

from wire.pump import Pump

ENDPOINT = "inproc://zeromq.zap.01"
DOMAIN = b"mschedule"


class Zap:
    """Answers ZeroMQ's questions about handshakes in `context`. Start it before binding."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._pump = Pump(self._socket, self._take)

    def start(self) -> None:
        self._socket.bind(ENDPOINT)
        self._pump.start()

    def stop(self) -> None:
        self._pump.stop()
        self._socket.close()

    def _take(self) -> None:
        request = self._socket.recv_multipart(zmq.DONTWAIT)
        self._socket.send_multipart(answer(request), zmq.DONTWAIT)


def answer(request: list[bytes]) -> list[bytes]:
    """The reply to one request: [version, id, domain, address, routing id, mechanism, key]."""
    if len(request) == 7 and request[2] == DOMAIN and request[5] == b"CURVE":
        return [*request[:2], b"200", b"OK", zmq.utils.z85.encode(request[6]), b""]
    return [*request[:2], b"400", b"CURVE with a key is the only way in", b"", b""]
