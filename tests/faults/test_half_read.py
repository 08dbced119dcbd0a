"""Does a connection that ends while one of its messages is being read end only itself?"""

import gevent
import zmq
from pytest import MonkeyPatch

from wire.light import LightContext, LightSocket


def test_the_state_of_a_socket_is_not_asked_for_in_the_middle_of_a_message(
    monkeypatch: MonkeyPatch,
):
    # Given a message of three parts; asking for the state lets libzmq take away connections
    asked_with: list[int] = []
    look = LightSocket._on_state_changed

    def spy(self: LightSocket, *arguments: object) -> None:
        asked_with.append(len(parts))
        look(self, *arguments)

    parts: list[zmq.Frame] = []
    context = LightContext()
    sender, receiver = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
    try:
        port = receiver.bind_to_random_port("tcp://127.0.0.1")
        sender.connect(f"tcp://127.0.0.1:{port}")
        with gevent.Timeout(10):
            sender.send_multipart([b"one", b"two", b"three"])
            parts.append(receiver.recv(copy=False))
            monkeypatch.setattr(LightSocket, "_on_state_changed", spy)

            # When the rest is read
            while parts[-1].more:
                parts.append(receiver.recv(copy=False))

        # Then it was asked for after the last part alone
        assert [part.bytes for part in parts] == [b"one", b"two", b"three"]
        assert asked_with == [2]
    finally:
        monkeypatch.undo()
        for socket in (sender, receiver):
            socket.close()
        context.term()
