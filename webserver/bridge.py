"""How does asyncio reach the master? Through one thread of its own, with its own gevent hub.

This process is not patched, and no coroutine ever waits for a socket of zerorpc: a call
goes to the thread through a queue and an async watcher, the only thing of a hub that
another thread may touch, and its answer comes back with call_soon_threadsafe.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import gevent
import gevent.event
import gevent.pool
import msgspec
from msgspec import Struct

from utils import VERSION
from wire.client import Trouble
from wire.errors import (
    Busy,
    Internal,
    Refusal,
    Unavailable,
)
from wire.messages import PROTOCOL, Envelope
from wire.requests import RegisterWeb, WebRegistered

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_IN_FLIGHT = 2_000
MOST_PARKED = 1_000  # of those: calls that wait at the master and must leave room for quick ones
PROBE_S = 5.0
AWAY_PROBE_S = 1.0
AWAY_LIMIT_S = 2.0  # while the master is known to be away nobody waits the whole time limit
STOP_S = 0.5
SLACK_S = 1.0  # beyond the call's own limit, for the case that the thread itself hangs


class Link(Protocol):
    """What the bridge needs of wire.client.Client; used in the bridge's thread only."""

    def call(
        self, method: str, payload: Struct, reply: type[T], timeout_s: float | None = None
    ) -> T: ...

    def close(self) -> None: ...


OnTrouble = Callable[[Trouble, str], None]


@dataclass(slots=True)
class _Call:
    method: str
    payload: Struct
    reply_type: type[Any]
    limit_s: float
    parked: bool
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]


class Bridge:
    """The master, for coroutines.

    `connect` makes the link, in the bridge's thread, and passes the function that it is
    given on to it: so a connection that ends is known at once.
    """

    def __init__(
        self,
        connect: Callable[[OnTrouble], Link],
        *,
        join_token: str | None = None,
        timeout_s: float = 10.0,
        most_in_flight: int = MOST_IN_FLIGHT,
        most_parked: int = MOST_PARKED,
    ):
        self._connect = connect
        self._join_token = join_token
        self._timeout_s = timeout_s
        self._most_in_flight = most_in_flight
        self._most_parked = most_parked
        self._in_flight = 0
        self._parked = 0
        self._queue: deque[_Call] = deque()
        self._trouble: str | None = "the master has not answered yet"
        self._thread = threading.Thread(target=self._run, name="bridge", daemon=True)
        self._ready = threading.Event()
        self._wake: Any = None  # the hub's async watcher, once the thread runs
        self._stopping = False
        self._serving = gevent.pool.Group()
        self._registered = gevent.event.Event()  # the master knows our key

    @property
    def away(self) -> bool:
        return self._trouble is not None

    async def start(self) -> None:
        """Start the thread; the master need not be there."""
        self._thread.start()
        await asyncio.to_thread(self._ready.wait)

    async def close(self) -> None:
        """Calls that are still out are answered Unavailable. Closing again does nothing."""
        if self._stopping:
            return
        self._stopping = True
        self._wake.send()
        await asyncio.to_thread(self._thread.join, 3.0)

    async def call(
        self, method: str, payload: Struct, reply_type: type[T], timeout_s: float | None = None
    ) -> T:
        """The master's answer, or a Refusal; `timeout_s` is given for calls that park.

        A caller that is cancelled no longer hears of the answer; the call itself goes on,
        and keeps its place among those in flight until it ends.
        """
        call = self._enter(method, payload, reply_type, timeout_s)
        self._queue.append(call)
        self._wake.send()
        try:
            async with asyncio.timeout(call.limit_s + SLACK_S):
                answer: T = await call.answer
        except TimeoutError:
            raise Unavailable(f"the master did not answer within {call.limit_s:g} s") from None
        return answer

    def _enter(
        self, method: str, payload: Struct, reply_type: type[Any], timeout_s: float | None
    ) -> _Call:
        parked = timeout_s is not None and timeout_s > self._timeout_s
        if self._stopping:
            raise Unavailable("the web server is stopping")
        if self._in_flight >= self._most_in_flight or (
            parked and self._parked >= self._most_parked
        ):
            raise Busy("too many requests are under way at this web server; try again in a moment")
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        if self.away:
            limit_s = min(limit_s, AWAY_LIMIT_S)
        self._in_flight += 1
        self._parked += parked
        loop = asyncio.get_running_loop()
        return _Call(method, payload, reply_type, limit_s, parked, loop, loop.create_future())

    def _leave(self, call: _Call, outcome: object) -> None:
        """Back in the loop's thread."""
        self._in_flight -= 1
        self._parked -= call.parked
        if call.answer.done():
            return
        if isinstance(outcome, Refusal):
            call.answer.set_exception(outcome)
        else:
            call.answer.set_result(outcome)

    # ---- from here on: in the bridge's thread

    def _run(self) -> None:
        hub = gevent.get_hub()
        self._wake = hub.loop.async_()
        stopped = gevent.event.Event()
        self._wake.start(self._look, stopped)
        link = self._connect(self._on_trouble)
        self._link = link
        prober = gevent.spawn(self._probe)
        self._ready.set()
        stopped.wait()
        prober.kill()
        link.close()  # ends the calls that are out
        self._serving.join(timeout=STOP_S)
        self._serving.kill(timeout=STOP_S)
        self._refuse_queued()
        self._wake.close()
        hub.destroy(destroy_loop=True)

    def _look(self, stopped: gevent.event.Event) -> None:
        """Runs in the hub, so it only starts greenlets."""
        while self._queue:
            self._serving.spawn(self._serve, self._queue.popleft())
        if self._stopping:
            stopped.set()

    def _serve(self, call: _Call) -> None:
        self._answer(call, self._served(call))

    def _served(self, call: _Call) -> object:
        """Waits until the master has taken us in: before, it would refuse us, not the caller."""
        started = time.monotonic()
        try:
            if not self._registered.wait(call.limit_s):
                return Unavailable(f"the master cannot be asked now: {self._trouble}")
            left_s = max(0.0, call.limit_s - (time.monotonic() - started))
            return self._outcome(call.method, call.payload, call.reply_type, left_s)
        except gevent.GreenletExit:  # it was still out when the program stopped
            return Unavailable("the web server is stopping")

    def _refuse_queued(self) -> None:
        while self._queue:
            self._answer(self._queue.popleft(), Unavailable("the web server is stopping"))

    def _answer(self, call: _Call, outcome: object) -> None:
        try:
            call.loop.call_soon_threadsafe(self._leave, call, outcome)
        except RuntimeError:  # the loop is closed: nobody waits
            pass

    def _outcome(
        self, method: str, payload: Struct, reply_type: type[Any], limit_s: float
    ) -> object:
        """The answer or the Refusal; notes whether the master is there."""
        try:
            answer = self._link.call(method, payload, reply_type, limit_s)
        except Unavailable as refusal:
            self._note(refusal.message)
            return refusal
        except Refusal as refusal:
            self._note(None)
            return refusal
        except Exception:
            reference = secrets.token_hex(4)
            log.exception(f"the call of {method} broke, reference {reference}")
            return Internal(
                f"something broke inside the web server; its log has it under {reference}"
            )
        self._note(None)
        return answer

    def _on_trouble(self, trouble: Trouble, words: str) -> None:
        """What the connection says of itself; that it stands again is for the probe to confirm."""
        if self._stopping:
            return
        recovered = trouble is Trouble.RECOVERED
        log.log(logging.INFO if recovered else logging.WARNING, f"{words} ({trouble})")
        if not recovered:
            self._trouble = words

    def _note(self, trouble: str | None) -> None:
        """Remember whether the master is there, and log when that changes."""
        if self._stopping:
            return
        if trouble is not None and self._trouble is None:
            log.warning(f"the master is away: {trouble}; trying again every {AWAY_PROBE_S:g} s")
        if trouble is None and self._trouble is not None:
            log.info("the master answers")
        self._trouble = trouble

    def _probe(self) -> None:
        """Register at the start and again and again: so /healthz knows without asking."""
        while True:
            try:
                self._register()
            except Exception:
                log.exception("the probe of the master broke; trying again")
            gevent.sleep(AWAY_PROBE_S if self.away else PROBE_S)

    def _register(self) -> None:
        request = RegisterWeb(VERSION, PROTOCOL, self._join_token)
        envelope = Envelope("register_web", msgspec.to_builtins(request))
        try:
            self._link.call("sendmsg", envelope, WebRegistered, AWAY_LIMIT_S)
        except Unavailable as refusal:
            self._note(refusal.message)
        except Refusal as refusal:
            self._refused(refusal)
        else:
            self._join_token = None  # the master knows the key now
            self._registered.set()
            self._note(None)

    def _refused(self, refusal: Refusal) -> None:
        """The master is there, and does not take us: not enrolled, or another protocol."""
        words = f"the master refuses this web server: {refusal.message}"
        if words != self._trouble:
            log.error(f"{words}; trying again every {AWAY_PROBE_S:g} s")
        self._registered.clear()
        self._trouble = words
