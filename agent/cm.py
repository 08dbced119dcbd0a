"""How does the agent stay in touch with its master? One connection, one session, one parked poll.

The agent calls, the master never does. A poll is always parked, also while all slots are busy:
that is how work and a cancel reach the host at once. When the master is away, everything that
needs it waits for the next session; nothing piles up, and nothing is lost by waiting.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore, Semaphore
from msgspec import Struct

from agent.courier import Backoff
from agent.journal import JournalLost
from agent.msg import Message, Snapshot
from agent.runs import Runs, matters
from agent.steady import keep_going
from utils import getLogger
from wire.client import Client, Trouble
from wire.errors import (
    Busy,
    Forbidden,
    NotEnrolled,
    Pending,
    ProtocolMismatch,
    Refusal,
    Refused,
    RegisterAgain,
    Unavailable,
)
from wire.messages import HeartbeatAnswer, Registered, Word, Work

log = getLogger(__name__)

STEADY_S = 10.0  # a session that lasted so long was a good one
AWAY_MAX_S = 0.5  # before a register, when the last session ended because the master was away
MIN_HEARTBEAT_S, MAX_HEARTBEAT_S = 0.5, 60.0
POLL_MARGIN_S = 10.0  # beyond the time a poll parks
MAX_POLLS = 3  # the master answers an older poll when a newer comes
MAX_SENDS = 8  # outputs and results under way at once
REFUSED_MAX_S = 30.0  # between attempts of an agent that the master does not want
PENDING_S = 10.0  # between two questions of a host that waits to be accepted
SHORT_RUN_S = 0.1  # held back after a grant, so that a short run costs one poll and not two
SAME_POLL_MAX_S = 1.0  # before a poll that says what the last one said, answered at once
LOOK_FOR_ROOM_S = 2.0  # while the disk is full, lest work waits for the end of the poll
SAME_AGAIN_S = 600.0  # before a trouble that has not changed is logged again

# With a master that is away, or does not want this host any more, only a register helps: it
# finds out which.
SESSION_ENDS = (RegisterAgain, Unavailable, Refused, Forbidden)

T = TypeVar("T")


class Troubles:
    """What is wrong between agent and master, in the log: each change once, the same seldom."""

    def __init__(self) -> None:
        self._kind = ""
        self._logged_at = 0.0

    def say(self, kind: str, sentence: str) -> None:
        now = time.monotonic()
        if kind != self._kind or now - self._logged_at >= SAME_AGAIN_S:
            self._kind, self._logged_at = kind, now
            log.warning(f"{kind}: {sentence}")

    def over(self) -> None:
        if self._kind:
            log.info(f"recovered ({self._kind} is over)")
        self._kind = ""


class ConnectionManager:
    """The agent's session with its master: register, heartbeats, polls, and sending for couriers.

    `on_registered` is called at each new session; `on_lost` when the journal can't be written.
    """

    def __init__(
        self,
        *,
        client: Client,
        message: Message,
        runs: Runs,
        token: str | None,
        troubles: Troubles,
        on_registered: Callable[[], None],
        on_lost: Callable[[JournalLost], None],
    ) -> None:
        self._client = client
        self._message = message
        self._runs = runs
        self._token = token
        self._troubles = troubles
        self._on_registered = on_registered
        self._on_lost = on_lost
        self._session: str | None = None
        self._was_away = False  # the master was, and so the last session ended
        self._poll_s = 30.0
        self._heartbeat_s = 5.0
        self._has_session = Event()
        self._session_lost = Event()
        self._poll_due = Event()
        self._answered = False  # the newest poll is, and what it said is done
        self._newest = 0
        self._polls = Semaphore(MAX_POLLS)  # of this session; a new one has turns of its own
        self._sends = BoundedSemaphore(MAX_SENDS)
        self._answer_lock = BoundedSemaphore(1)
        self._greenlets: list[gevent.Greenlet] = []

    def start(self) -> None:
        self._greenlets = [
            gevent.spawn(keep_going, "keeping a session", self._keep_session),
            gevent.spawn(keep_going, "polling", self._keep_polling),
        ]

    def stop(self) -> None:
        gevent.killall(self._greenlets, block=False)

    def changed(self) -> None:
        """The runs changed: perhaps the parked poll says something that is no longer so."""
        self._poll_due.set()

    def send(self, type: str, build: Callable[[str], Struct], reply: type[T]) -> T:
        """Send a message that is built for the session there is, once there is one.

        Raises Refusal. Callers get their turns in order, so that no run crowds out the others.
        """
        with self._sends:
            session = self._wait_for_session()
            try:
                return self._client.send(type, build(session), reply)
            except SESSION_ENDS as refusal:
                self._lose(session, refusal)
                raise

    # ---- session

    def _wait_for_session(self) -> str:
        while self._session is None:
            self._has_session.wait()
        return self._session

    def _lose(self, session: str, refusal: Refusal) -> None:
        """A session did not work; register again, unless that was done meanwhile."""
        if session == self._session:
            self._session = None
            self._was_away = isinstance(refusal, Unavailable)
            self._has_session.clear()
            self._session_lost.set()
            # On a connection that went dead without a word its polls stay for as long as a poll
            # may park. Nobody waits for them any more.
            turns, self._polls = self._polls, Semaphore(MAX_POLLS)
            turns.release()
            self._poll_due.set()

    def _keep_session(self) -> None:
        backoff, away = Backoff(), Backoff(most_s=AWAY_MAX_S)
        refused = Backoff(1.0, REFUSED_MAX_S)
        while True:
            began_at = time.monotonic()
            try:
                self._register()
                refused.reset()
                self._beat()
                if time.monotonic() - began_at > STEADY_S:
                    backoff.reset()
                # Two of one key would end each other's sessions. A master that was away, however
                # often, is wanted back sooner than that takes to calm down.
                gevent.sleep((away if self._was_away else backoff).next_s())
            except Unavailable as refusal:
                self._troubles.say("master unreachable", f"{refusal}; running scripts go on")
                gevent.sleep(backoff.next_s())
            except Pending as refusal:
                self._troubles.say(*_in_words(refusal))
                gevent.sleep(random.uniform(0.8, 1.2) * PENDING_S)
            except Refusal as refusal:
                self._troubles.say(*_in_words(refusal))
                gevent.sleep(refused.next_s())

    def _register(self) -> None:
        answer = self._client.send("register", self._message.register(self._token), Registered)
        self._poll_s = max(0.1, answer.poll_s)
        self._set_heartbeat(answer.heartbeat_s)
        self._session_lost.clear()
        self._session = answer.session
        self._has_session.set()
        self._troubles.over()
        log.info(
            f"registered as agent {self._message.id} with a master of version {answer.version}"
        )
        self._token = None  # it has served; the key is what counts from now on
        self._on_registered()

    def _beat(self) -> None:
        """Say that this host is there, as often as the master wishes, until the session ends."""
        while not self._session_lost.wait(self._heartbeat_s):
            session = self._session
            if session is None:  # lost in the pass of the hub in which the wait was over
                return
            try:
                heartbeat = self._message.heartbeat(session, self._runs.busy)
                answer = self._client.send("heartbeat", heartbeat, HeartbeatAnswer)
            except SESSION_ENDS as refusal:
                self._lose(session, refusal)
            except Busy:
                log.debug("the master was too busy for a heartbeat")
            else:
                self._set_heartbeat(answer.heartbeat_s)

    def _set_heartbeat(self, wished_s: float) -> None:
        self._heartbeat_s = min(MAX_HEARTBEAT_S, max(MIN_HEARTBEAT_S, wished_s))

    # ---- polls

    def _keep_polling(self) -> None:
        """Keep a poll parked that says how things are; send a newer one when that has changed."""
        idle = Backoff(0.02, SAME_POLL_MAX_S)
        while True:
            session = self._wait_for_session()
            turns = self._polls
            turns.acquire()
            if self._session != session:
                turns.release()
                continue
            try:
                snapshot, sent_at = self._runs.snapshot(), time.monotonic()
                self._poll_due.clear()
                self._answered = False
                self._newest += 1
                gevent.spawn(self._poll, self._newest, session, snapshot, turns)
            except BaseException:
                turns.release()
                raise
            told = matters(snapshot)
            self._wait_for_change(session, told)
            if self._session != session:
                continue
            now = self._runs.snapshot()
            if matters(now) == told and time.monotonic() - sent_at < 1.0:
                gevent.sleep(idle.next_s())  # answered at once, for nothing: no race with that
                continue
            idle.reset()
            if now.hw > snapshot.hw:  # a run as short as most is soon over
                self._poll_due.wait(SHORT_RUN_S)

    def _wait_for_change(self, session: str, told: object) -> None:
        """Until a poll has to go out: `told` is what matters of the one that is parked."""
        while self._session == session and not self._answered and self._matters_now() == told:
            # Of room on the disk nothing tells but a look.
            self._poll_due.wait(LOOK_FOR_ROOM_S if self._runs.short_of_room else None)
            self._poll_due.clear()

    def _matters_now(self) -> object:
        return matters(self._runs.snapshot())

    def _poll(self, number: int, session: str, snapshot: Snapshot, turns: Semaphore) -> None:
        try:
            poll = self._message.poll(session, snapshot)
            work = self._client.call("take_task", poll, Work, self._poll_s + POLL_MARGIN_S)
            with self._answer_lock:
                self._handle(work)
        except SESSION_ENDS as refusal:
            self._lose(session, refusal)
        except Refusal as refusal:
            self._troubles.say(*_in_words(refusal))
        except JournalLost as error:
            self._on_lost(error)
        except Exception:
            log.exception("an answer of the master could not be followed; the next poll goes out")
        finally:
            turns.release()
            if number == self._newest:
                self._answered = True
                self._poll_due.set()

    def _handle(self, work: Work) -> None:
        recalls = self._runs.apply(work, self._session)
        if recalls:
            gevent.spawn(self._answer_recalls, recalls)

    def _answer_recalls(self, recalls: list[Word]) -> None:
        """Once: the next poll's answer recalls again what did not arrive."""
        try:
            self.send("done", lambda session: self._runs.done(recalls, session), dict)
        except Refusal as refusal:
            log.info(f"{len(recalls)} done records did not arrive: {refusal}")


def trouble_reporter(troubles: Troubles) -> Callable[[Trouble, str], None]:
    """What to give the client, so that what it meets is logged among the rest."""
    kinds = {
        Trouble.UNREACHABLE: "master unreachable",
        Trouble.WRONG_MASTER_KEY: "wrong master key",
        Trouble.REFUSED: "refused",
    }

    def report(trouble: Trouble, sentence: str) -> None:
        if trouble in kinds:
            troubles.say(kinds[trouble], sentence)

    return report


def _in_words(refusal: Refusal) -> tuple[str, str]:
    """The kind of a trouble, and what to do about it."""
    match refusal:
        case NotEnrolled():
            advice = "give a join string with a valid token (--join-file, --join -, MSCHEDULE_JOIN)"
            return "not enrolled", f"{refusal}; {advice}"
        case Pending():
            return "waiting to be accepted", f"{refusal}; it is asked again"
        case Refused():
            return "refused", f"{refusal}; ask who runs the master"
        case ProtocolMismatch():
            return "protocol mismatch", f"{refusal}; install the same version on both sides"
    return "not served", f"the master answered {refusal.code}: {refusal}; it is asked again"
