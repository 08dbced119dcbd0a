"""How do deliveries get to their receivers? By the postman, a process of its own, over a socket.

The master never waits for a receiver: it gives the postman what is due and writes down how each
try went. So many letters of one callback are under way at once, and so few callbacks can there
be, that the slowest receiver takes no place from another. A letter counts as delivered when that
is in the store; whoever dies before, it is tried again, under the same id.
"""

import subprocess  # an interpreter of our own, no shell  # nosec B404
import sys
from collections.abc import Callable
from pathlib import Path

import gevent
import msgspec
from gevent import socket
from gevent.event import Event
from gevent.subprocess import Popen
from msgspec import Struct

from master.callback_desk import Destination, opened
from master.callback_store import CallbackStore
from master.callbacks import Due
from master.secrets import Vault
from utils import getLogger
from wire.errors import SecretsUnreadable
from wire.letters import HEAD, Letter, Reply, Rules, framed, size_of

log = getLogger(__name__)

PROGRAM = Path(__file__).resolve().parent.parent / "apppostman.py"
UNDER_WAY_OF_ONE = 4  # letters of one callback at once
LOOK_S = 0.25  # how often it is looked for what is due
LOOK_IDLE_S = 2.0  # … while there is no callback
OVERDUE_S = 120.0  # a postman that is silent for so long about a letter is replaced
RESTART_S = 1.0
STOP_S = 2.0
FORGET_AT_ONCE = 100


class Postman:
    """The process, and the socket to it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = Popen([sys.executable, str(PROGRAM)], stdin=theirs)

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def give(self, message: Struct) -> None:
        """Raises OSError when it has ended."""
        self._socket.sendall(framed(message))

    def next_reply(self) -> Reply:
        """Blocks the greenlet. Raises EOFError or OSError when it has ended."""
        content = self._exactly(size_of(self._exactly(HEAD.size)))
        return msgspec.msgpack.decode(content, type=Reply)

    def end(self) -> int | None:
        """Its exit code. What it has under way is tried again, so there is nothing to wait for."""
        if self._process.poll() is None:
            self._process.kill()
        try:
            code: int = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            log.error(f"the postman, process {self.pid}, does not end")
            return None
        return code

    def _exactly(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            more = self._socket.recv(size - len(content))
            if not more:
                raise EOFError
            content += more
        return content


class _UnderWay(Struct):
    callback: str
    since: float


class PostOffice:
    """`clock` is the master's. Nothing is started before there is something to deliver."""

    def __init__(
        self,
        store: CallbackStore,
        vault: Vault,
        rules: Rules,
        patience_s: float,
        clock: Callable[[], float],
    ):
        self._store = store
        self._vault = vault
        self._rules = rules
        self._patience_s = patience_s
        self._clock = clock
        self._woken = Event()
        self._under_way: dict[str, _UnderWay] = {}
        self._replies: list[Reply] = []
        self._postman: Postman | None = None
        self._start_at = 0.0
        self._is_anyone_there = False

    def wake(self) -> None:
        """Something may be due now."""
        self._woken.set()

    def run(self) -> None:
        """For ever, in a greenlet of its own."""
        try:
            while True:
                self._woken.clear()
                try:
                    self._turn()
                except Exception:
                    log.exception("delivering callbacks failed; it is tried again")
                self._woken.wait(LOOK_S if self._is_anyone_there else LOOK_IDLE_S)
        finally:
            self.stop()

    def stop(self) -> None:
        """What is under way is tried again after the next start."""
        postman, self._postman = self._postman, None
        if postman is not None:
            postman.end()

    def forget(self, before: float) -> None:
        """Delete the log from before then, in small steps. Blocks the greenlet."""
        while self._store.forget(before, FORGET_AT_ONCE).wait() == FORGET_AT_ONCE:
            gevent.sleep(0.02)

    def _turn(self) -> None:
        self._record()
        self._replace_if_overdue()
        found, self._is_anyone_there = self._store.due(self._busy(), UNDER_WAY_OF_ONE).wait()
        for due in found:
            self._send(due)
        self._record()

    def _busy(self) -> dict[str, frozenset[str]]:
        busy: dict[str, set[str]] = {}
        for id, one in self._under_way.items():
            busy.setdefault(one.callback, set()).add(id)
        return {callback: frozenset(ids) for callback, ids in busy.items()}

    def _record(self) -> None:
        """Until a reply is in the store its letter is under way, and not sent again."""
        replies = [reply for reply in self._replies if reply.id in self._under_way]
        if replies:
            self._store.record(replies, self._patience_s).wait()
        for reply in replies:
            self._under_way.pop(reply.id, None)
        told = {reply.id for reply in replies}
        self._replies = [reply for reply in self._replies if reply.id not in told]

    # ---- to the postman

    def _send(self, due: Due) -> None:
        callback = due.callback
        try:
            letter = _letter(due, opened(self._vault, callback), self._clock())
        except SecretsUnreadable as error:
            self._under_way[due.id] = _UnderWay(callback.id, self._clock())
            self._replies.append(Reply(due.id, None, str(error), b"", 0.0))
            return
        postman = self._running()
        if postman is None:
            return
        self._under_way[due.id] = _UnderWay(callback.id, self._clock())
        try:
            postman.give(letter)
        except OSError:
            log.warning("the postman takes no letters; it is replaced")
            postman.end()

    def _running(self) -> Postman | None:
        """None: it ended just now, and is started again in a moment."""
        if self._postman is None and self._clock() >= self._start_at:
            self._start_at = self._clock() + RESTART_S
            self._postman = Postman()
            gevent.spawn(self._listen, self._postman)
            self._postman.give(self._rules)
            log.info(f"the postman, process {self._postman.pid}, delivers callbacks")
        return self._postman

    def _replace_if_overdue(self) -> None:
        oldest = min((one.since for one in self._under_way.values()), default=None)
        if oldest is not None and self._clock() - oldest > OVERDUE_S and self._postman is not None:
            log.warning("the postman does not say how a letter went; it is replaced")
            self._postman.end()

    # ---- from the postman

    def _listen(self, postman: Postman) -> None:
        """In a greenlet of its own, until it has ended."""
        try:
            while True:
                reply = postman.next_reply()
                self._replies.append(reply)  # of now: the list may be another one since
                self._woken.set()
        except (EOFError, OSError, ValueError, msgspec.DecodeError):
            pass
        code = postman.end()
        if self._postman is postman:
            self._postman = None
            self._lost(code)

    def _lost(self, code: int | None) -> None:
        """A letter that ends the postman must not end it for ever: each counts as tried."""
        log.warning(f"the postman has ended with {code}; it is started again when it is needed")
        told = {reply.id for reply in self._replies}
        error = "the process that delivers has ended; it may have been delivered"
        self._replies += [
            Reply(id, None, error, b"", 0.0) for id in self._under_way if id not in told
        ]
        self._woken.set()


def _letter(due: Due, destination: Destination, now: float) -> Letter:
    callback = due.callback
    signs_old = callback.old_secret_until is not None and now < callback.old_secret_until
    return Letter(
        id=due.id,
        kind=callback.kind,
        url=destination.url,
        secret=destination.secret,
        event=msgspec.json.decode(due.payload),
        path=due.path,
        username=callback.username,
        sender=callback.sender,
        recipients=callback.recipients,
        old_secret=destination.old_secret if signs_old else "",
    )
