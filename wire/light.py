"""What of zerorpc's client does a plain call need? Its events and its channel, and no more.

zerorpc wraps each call's channel twice, for heartbeats and for streams, which takes two
greenlets and two queues a call; and its socket looks about once a second. On a host
that mostly waits, that is most of what the agent would do.
"""

from typing import Any

import zerorpc
import zerorpc.gevent_zmq
import zmq

_EVENTS = int(zmq.EVENTS)  # plain numbers: zmq's enums are slow
_READABLE = int(zmq.POLLIN)
_WRITABLE = int(zmq.POLLOUT)
_AT_ONCE = int(zmq.DONTWAIT)
_MORE_FOLLOWS = int(zmq.SNDMORE)
_MORE_TO_COME = int(zmq.RCVMORE)


class LightSocket(zerorpc.gevent_zmq.Socket):  # type: ignore[misc]  # zerorpc has no types
    """zerorpc's socket, asleep until something happens.

    The descriptor of a ZeroMQ socket tells of changes once, and any operation may swallow
    that. So the state is read after each message, and again right before each wait; never in
    the middle of one, when libzmq would take away a connection that has just ended.
    """

    def _on_state_changed(self, event: object = None, _evtype: object = None) -> None:
        state = _READABLE | _WRITABLE if self.closed else int(self.getsockopt(_EVENTS))
        if state & _WRITABLE:
            self._writable.set()
        if state & _READABLE:
            self._readable.set()

    def send(self, data: Any, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        done = self._when(self._writable, zmq.Socket.send, data, int(flags), copy, track)
        if not int(flags) & _MORE_FOLLOWS:
            self._on_state_changed()
        return done

    def recv(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        done = self._when(self._readable, zmq.Socket.recv, int(flags), copy, track)
        if not self.getsockopt(_MORE_TO_COME):
            self._on_state_changed()
        return done

    def _when(self, ready: Any, operation: Any, *arguments: Any) -> Any:
        """Do it as soon as it can be done; the flags are the third argument from the end."""
        *data, flags, copy, track = arguments
        while True:
            try:
                return operation(self, *data, flags | _AT_ONCE, copy, track)
            except zmq.Again:
                if flags & _AT_ONCE:
                    raise
            ready.clear()
            self._on_state_changed()
            ready.wait()


class LightContext(zerorpc.Context):  # type: ignore[misc]
    """zerorpc's context, with sockets of ours."""

    def socket(self, socket_type: int) -> LightSocket:
        return LightSocket(self, socket_type)


class LightClient(zerorpc.Client):  # type: ignore[misc]
    """zerorpc's client for calls with one answer. Who gives a call up leaves nothing behind."""

    def __call__(self, method: str, *args: object) -> object:
        channel = self._multiplexer.channel()
        try:
            channel.emit_event(channel.new_event(method, args))
            answer = channel.recv()
        finally:
            channel.close()
        if answer.name == "OK":
            return answer.args[0]
        raise self._handle_remote_error(answer)
