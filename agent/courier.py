"""How do the output and the result of one run reach the master? Again and again, until it has them.

Nothing here gives up: a result stays on this host's disk until the master has said that it is
durable. Memory is bounded by one chunk a run, read from the run's directory each time it is sent.
"""

import random
from collections.abc import Callable
from typing import Protocol, TypeVar

import gevent
from gevent.event import AsyncResult
from msgspec import Struct

from agent import decide
from agent.decide import Verdict
from agent.executor import Executor, OutputChunk
from agent.journal import JournalLost
from agent.msg import Message, Snapshot
from agent.records import DoneRecord, Entry
from utils import failpoint, getLogger
from wire.errors import Refusal, RegisterAgain, Unavailable
from wire.messages import MAX_CHUNK_BYTES, OutputAnswer, ResultAnswer

log = getLogger(__name__)

LOOK_S = 0.3  # between looks for new output of a live run
LINGER_MAX_S = 30.0  # between looks at a run whose leftovers still write
AGAIN_MAX_S = 5.0
WRONG_S = 10.0  # before a courier that broke begins again

T = TypeVar("T")


class Backoff:
    """Pauses that grow, fully jittered so that a fleet never returns as one."""

    def __init__(self, first_s: float = 0.1, most_s: float = AGAIN_MAX_S):
        self._first_s = first_s
        self._most_s = most_s
        self._longest_s = first_s

    def next_s(self) -> float:
        """The next pause, never so short that a loop of them is a busy one."""
        pause_s = random.uniform(self._first_s / 2, self._longest_s)
        self._longest_s = min(self._most_s, self._longest_s * 2)
        return pause_s

    def reset(self) -> None:
        self._longest_s = self._first_s


class Link(Protocol):
    """The connection, as a courier sees it."""

    def send(self, type: str, build: Callable[[str], Struct], reply: type[T]) -> T:
        """Build a message for the session there is, once there is one, and send it."""


class Courier:
    """Takes one run's output to the master while it is live, then its result, then the rest.

    `let_go` is called at the end, when nothing of the run is needed here any more.
    """

    def __init__(
        self,
        entry: Entry,
        *,
        link: Link,
        message: Message,
        executor: Executor,
        snapshot: Callable[[], Snapshot],
        let_go: Callable[[DoneRecord], None],
        on_lost: Callable[[JournalLost], None],
    ) -> None:
        self._entry = entry
        self._link = link
        self._message = message
        self._executor = executor
        self._snapshot = snapshot
        self._let_go = let_go
        self._on_lost = on_lost
        self._verdict: AsyncResult = AsyncResult()
        self._offset = 0  # up to where the master has the output
        self._refused = False  # the master wants no more of it
        self._complaint = ""
        self._greenlet = gevent.spawn(self._run)

    def end(self, verdict: Verdict) -> None:
        """The run has ended. The entry may have changed by then, by the cause of a stop."""
        if not self._verdict.ready():
            self._verdict.set(verdict)

    def stop(self) -> None:
        """Let it be; the next process takes it up again."""
        self._greenlet.kill(block=False)

    # ---- the way of a run

    def _run(self) -> None:
        while True:
            try:
                self._deliver()
                return
            except JournalLost as error:
                self._on_lost(error)
                return
            except Exception:
                log.exception(f"{self._name}: delivering broke; it begins again in {WRONG_S:g} s")
                gevent.sleep(WRONG_S)

    def _deliver(self) -> None:
        verdict = self._follow()
        failpoint("ended")
        self._send_result(verdict)
        failpoint("acknowledged")
        self._finish()
        entry = self._entry
        code = None if verdict.exit is None else verdict.exit.code
        self._let_go(DoneRecord(entry.run, entry.attempt, entry.grant, verdict.state, code))

    def _follow(self) -> Verdict:
        """Send output as it comes, until the run has ended."""
        while True:
            verdict: Verdict | None = self._verdict.wait(timeout=LOOK_S)
            if verdict is not None:
                return verdict
            while self._output_left() and not self._verdict.ready():
                self._persist(self._send_output)

    def _send_result(self, verdict: Verdict) -> None:
        answer = self._persist(lambda: self._try_result(verdict))
        self._offset = answer.offset
        self._refused = self._refused or answer.refused or answer.stray

    def _try_result(self, verdict: Verdict) -> ResultAnswer:
        """The whole of a short run's output goes along, so that it costs one message in all."""
        last = self._last_of_output()
        snapshot = self._snapshot()
        return self._link.send(
            "result",
            lambda session: self._message.result(session, self._entry, verdict, snapshot, last),
            ResultAnswer,
        )

    def _last_of_output(self) -> OutputChunk:
        nothing = OutputChunk(offset=self._offset, data=b"")
        left = self._size() - self._offset
        if self._refused or not 0 < left <= MAX_CHUNK_BYTES:
            return nothing
        chunk = self._read()
        fits = chunk.gap_from is None and len(chunk.data) == left
        return chunk if fits else nothing

    def _finish(self) -> None:
        """Send what is left of the output, and wait until nothing of the run is alive.

        A service that the script left behind may hold on for days.
        """
        entry = self._entry
        backoff = Backoff(0.02, LINGER_MAX_S)
        while True:
            swept = self._executor.sweep_clean(entry.run, entry.attempt)
            while self._output_left():
                self._persist(self._send_output)
                backoff.reset()
            if decide.may_prune(acknowledged=True, output_done=True, locked=not swept, swept=swept):
                return
            gevent.sleep(backoff.next_s())

    # ---- output

    def _size(self) -> int:
        return self._executor.output_size(self._entry.run, self._entry.attempt)

    def _output_left(self) -> bool:
        return not self._refused and self._offset < self._size()

    def _read(self) -> OutputChunk:
        entry = self._entry
        return self._executor.read_output(entry.run, entry.attempt, self._offset, MAX_CHUNK_BYTES)

    def _send_output(self) -> None:
        """Send one chunk, and go on from where the master then is: further on, or further back."""
        before = self._offset
        answer = self._link.send(
            "output",
            lambda session: self._message.output(session, self._entry, self._read()),
            OutputAnswer,
        )
        self._refused = answer.refused
        self._offset = answer.offset
        if not self._refused and self._offset <= before:
            gevent.sleep(LOOK_S)  # the master is behind, or takes nothing: don't hurry it

    # ---- persistence

    def _persist(self, send: Callable[[], T]) -> T:
        backoff = Backoff()
        while True:
            try:
                return send()
            except Refusal as refusal:
                self._complain(refusal)
                gevent.sleep(backoff.next_s())

    def _complain(self, refusal: Refusal) -> None:
        """Log what only this run meets, once; that the master is away is told elsewhere."""
        expected = isinstance(refusal, Unavailable | RegisterAgain)
        if not expected and refusal.code != self._complaint:
            self._complaint = refusal.code
            log.warning(f"{self._name}: the master does not take it: {refusal}; sent again")

    @property
    def _name(self) -> str:
        return f"run {self._entry.run}.{self._entry.attempt}"
