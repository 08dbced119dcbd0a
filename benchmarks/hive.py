"""What is a simulated agent? A real CURVE connection and the real messages; scripts end at once.

Thousands to a process, on plain ZeroMQ sockets and one epoll, since a load generator
must not cost more than what it measures. Runs as a process of its own, told what to do
over a pipe.
"""

import hashlib
import heapq
import os
import random
import select
import time
import uuid
from collections.abc import Callable
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

import msgspec
import zmq
from msgspec import Struct

from wire.frames import ERR, OK, Event
from wire.keys import Join, KeyPair, make_keys
from wire.messages import (
    PROTOCOL,
    Done,
    DoneRecord,
    Grant,
    Heartbeat,
    HeartbeatAnswer,
    Held,
    Poll,
    Register,
    Registered,
    Result,
    ResultAnswer,
    Work,
)
from wire.states import Cause, RunState, Stage, WordKind

OUTPUT = b"hello\n"
SHA256 = hashlib.sha256(OUTPUT).hexdigest()
CONNECTS_PER_S = 2_000  # of one process; spread, as a fleet's backoff spreads them
RETRY_S = 2.0
COME_BACK_S = 3.0  # the agent's jitter after a lost connection

_encode = msgspec.msgpack.Encoder().encode
_event = msgspec.msgpack.Decoder(Event).decode
_answers: dict[type, Callable[[Any], Any]] = {
    kind: msgspec.msgpack.Decoder(tuple[kind]).decode  # type: ignore[valid-type]
    for kind in (Registered, Work, ResultAnswer, HeartbeatAnswer, dict)
}


class Count(Struct):
    """What a hive has seen. `granted_twice`: hand-outs of a run that was already started here."""

    registered: int = 0
    runs: int = 0
    results: int = 0
    granted_twice: int = 0
    polls: int = 0
    errors: int = 0
    last_error: str = ""
    last_result_at: float = 0.0


class Agent:
    """One simulated agent: journal in memory, one script at a time that takes no time."""

    def __init__(self, hive: "Hive", number: int, keys: KeyPair, hostname: str):
        self.hive = hive
        self.id = uuid.UUID(int=random.getrandbits(128), version=4).hex
        self.keys = keys
        self.hostname = hostname
        self.number = number
        self.session = ""
        self.hw = 0
        self.started: set[tuple[str, int]] = set()
        self.held: dict[str, Result] = {}
        self.done: list[DoneRecord] = []
        self.calls: dict[bytes, tuple[type, Callable[[Any], None]]] = {}
        self.socket: zmq.Socket[bytes] | None = None
        self.beat_s = 5.0
        self.newest_poll = 0

    # ---- connection

    def connect(self) -> None:
        socket = self.hive.context.socket(zmq.DEALER)
        socket.linger = 0
        socket.curve_publickey = self.keys.public.encode()
        socket.curve_secretkey = self.keys.secret.encode()
        socket.curve_serverkey = self.hive.join.key.encode()
        socket.setsockopt(zmq.RECONNECT_IVL, 500)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 4000)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 30_000)
        socket.connect(self.hive.join.endpoint)
        self.socket = socket
        self.hive.listen(self)
        self.register()

    def register(self) -> None:
        self.session = ""
        self.calls.clear()
        message = Register(
            self.id, self.hostname, ["10.0.0.1"], f"instance of {self.id}", f"machine {self.id}",
            4, "0.1.0", PROTOCOL, token=self.hive.join.token, queues=[],
        )  # fmt: skip
        self._send("register", message, Registered, self._registered)
        self.hive.later(RETRY_S + random.random() * 8, self._register_again)

    def _register_again(self) -> None:
        if not self.session:
            self.register()

    def _registered(self, answer: Registered) -> None:
        self.session, self.beat_s = answer.session, answer.heartbeat_s
        self.hive.count.registered += 1
        self.hive.later(random.random() * self.beat_s, self._beat)
        for result in list(self.held.values()):
            self._report(result)
        self._poll()

    def _beat(self) -> None:
        session = self.session
        if not session:
            return
        beat = Heartbeat(session, self.id, self.hostname, ["10.0.0.1"], 0, time.time())
        self._send("heartbeat", beat, HeartbeatAnswer, self._beaten)
        self.hive.later(self.beat_s, lambda: self._beat_again(session))

    def _beaten(self, answer: HeartbeatAnswer) -> None:
        self.beat_s = answer.heartbeat_s

    def _beat_again(self, session: str) -> None:
        if session == self.session:
            self._beat()

    def lost(self) -> None:
        """The connection ended, as a real agent sees at once: come back, with jitter."""
        self.session = ""
        self.hive.later(0.1 + random.random() * COME_BACK_S, self._register_again)

    # ---- work

    def _poll(self) -> None:
        self.hive.count.polls += 1
        self.newest_poll += 1
        number = self.newest_poll
        held = [Held(run, result.attempt, Stage.ENDED) for run, result in self.held.items()]
        poll = Poll(self.session, f"instance of {self.id}", self.hw, 4, held)
        self._call("take_task", poll, Work, lambda work: self._take(work, number))

    def _take(self, work: Work, number: int) -> None:
        if work.session != self.session:
            return
        for grant in sorted(work.grants, key=lambda grant: grant.grant):
            if grant.grant > self.hw:
                self.hw = grant.grant
                self._run(grant)
        recalls = [word for word in work.words if word.kind is WordKind.RECALL]
        if recalls:
            asked = [word.run for word in recalls if word.run is not None]
            done = Done(self.session, self.hw, 0, self.done, asked or None)
            self._send("done", done, dict, lambda answer: None)
        if not self.held and number == self.newest_poll:  # an older one is answered empty
            self._poll()

    def _run(self, grant: Grant) -> None:
        key = (grant.run, grant.attempt)
        if key in self.started:
            self.hive.count.granted_twice += 1
        self.started.add(key)
        now = time.time()
        result = Result(
            self.session, self.hw, 4, grant.run, grant.attempt, grant.grant, RunState.SUCCEED,
            Cause.EXIT, 0, started_at=now, ended_at=now, output_bytes=len(OUTPUT),
            output_sha256=SHA256, data=OUTPUT,
        )  # fmt: skip
        if grant.void:
            result = msgspec.structs.replace(
                result, state=RunState.CANCELLED, cause=Cause.CANCEL, code=None, data=b"",
                output_bytes=0, output_sha256=None,
            )  # fmt: skip
        else:
            self.hive.count.runs += 1
        self.held[grant.run] = result
        self._report(result)

    def _report(self, result: Result) -> None:
        result.session, result.hw = self.session, self.hw
        self._send("result", result, ResultAnswer, lambda answer: self._reported(result))

    def _reported(self, result: Result) -> None:
        if self.held.pop(result.run, None) is None:
            return
        self.hive.count.results += 1
        self.hive.count.last_result_at = time.time()
        self.done.append(
            DoneRecord(result.run, result.attempt, result.grant, result.state, result.code)
        )
        if not self.held:
            self._poll()

    # ---- the wire

    def _send(self, type: str, payload: Struct, reply: type, then: Callable[[Any], None]) -> None:
        self._call("sendmsg", {"type": type, "payload": payload}, reply, then)

    def _call(self, method: str, payload: Any, reply: Any, then: Callable[[Any], None]) -> None:
        assert self.socket is not None
        id = next(self.hive.ids).to_bytes(8, "big")
        self.calls[id] = (reply, then)
        header = {"message_id": id, "v": 3}
        try:
            frames = (b"", _encode((header, method, (payload,))))
            self.socket.send_multipart(frames, zmq.DONTWAIT, copy=True)
        except zmq.Again:
            self._trouble("cannot send")
        self.hive.touched.add(self)

    def read(self) -> None:
        """Take all that has arrived; epoll tells only of changes."""
        assert self.socket is not None
        while int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            _, body = self.socket.recv_multipart(zmq.DONTWAIT)
            event = _event(body)
            call = self.calls.pop(event.header.response_to or b"", None)
            if call is not None:
                self._answered(event, *call)

    def _answered(self, event: Event, reply: type, then: Callable[[Any], None]) -> None:
        if event.name == OK:
            then(_answers[reply](event.args)[0])
        elif event.name == ERR:
            code, sentence, _ = msgspec.msgpack.decode(event.args)
            if code == "register_again":
                if self.session:
                    self.register()
            else:
                self._trouble(f"{code}: {sentence}")

    def _trouble(self, what: str) -> None:
        self.hive.count.errors += 1
        self.hive.count.last_error = what
        self.session = ""
        self.hive.later(RETRY_S * random.random(), self._register_again)


class Hive:
    """Some thousand agents in this process."""

    def __init__(self, join: Join, agents: int, offset: int):
        self.join = join
        self.count = Count()
        self.ids = count(1)
        self.context: zmq.Context[Any] = zmq.Context(io_threads=1)
        self.context.set(zmq.MAX_SOCKETS, agents + 100)
        self._epoll = select.epoll()
        self._timers: list[tuple[float, int, Callable[[], Any]]] = []
        self._order = count()
        self._by_fd: dict[int, Agent] = {}
        self.touched: set[Agent] = set()  # sent something: that may have eaten the edge of an event
        self.agents = [Agent(self, n, make_keys(), f"sim{offset + n:05}") for n in range(agents)]

    def listen(self, agent: Agent) -> None:
        assert agent.socket is not None
        fd = agent.socket.fileno()
        self._by_fd[fd] = agent
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)

    def later(self, delay_s: float, do: Callable[[], Any]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), do))

    def serve(self, pipe: Connection) -> None:
        """Follow the pipe: connect, lost, end. Every word but end is answered with the counts."""
        self._epoll.register(pipe.fileno(), select.EPOLLIN)
        while True:
            for fd, _ in self._epoll.poll(self._patience_s(), 256):
                if fd == pipe.fileno():
                    word = pipe.recv()
                    if word == "end":
                        os._exit(0)
                    self._obey(word)
                    pipe.send(self.count)
                else:
                    self._by_fd[fd].read()
            self._run_timers()
            while self.touched:
                self.touched.pop().read()

    def _obey(self, word: str) -> None:
        if word == "connect":
            for n, agent in enumerate(self.agents):
                self.later(n / CONNECTS_PER_S, agent.connect)
        elif word == "lost":
            self.count.registered = 0
            for agent in self.agents:
                agent.lost()

    def _patience_s(self) -> float:
        if not self._timers:
            return 1.0
        return max(0.0, min(1.0, self._timers[0][0] - time.monotonic()))

    def _run_timers(self) -> None:
        now = time.monotonic()
        touched = 0
        while self._timers and self._timers[0][0] <= now and touched < 200:
            heapq.heappop(self._timers)[2]()
            touched += 1


def run(pipe: Connection, join: Join, agents: int, offset: int) -> None:
    """The main of a hive's process; says "ready" when its keys are made."""
    hive = Hive(join, agents, offset)
    pipe.send("ready")
    hive.serve(pipe)
