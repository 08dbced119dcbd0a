"""What can be asked of the master? The table of RPC methods, each with its role.

Handlers for agents answer from the completion of a verb, without a greenlet. What people may
ask, through a web server, is in `methods`.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct

from master import audit
from master.audit import Act
from master.changes import Appended, Changed, Enrolled, Finished, Peer
from master.claims import Foreign, check_claims, check_protocol, check_register
from master.database import Verb
from master.dispatch import POLL_S, Dispatcher
from master.enrolment import refusal_of
from master.gate import Gate
from master.methods import Desks, Methods
from master.reception import Reception
from master.refusals import Refusals
from master.roster import AGENT, REFUSED, STRANGER, WEB, Cloned, Presence, Roster
from master.storage import Storage
from utils import VERSION, failpoint, getLogger
from wire.errors import Conflict, Forbidden, InvalidValue, NotEnrolled, Refused
from wire.keys import fingerprint
from wire.messages import (
    PROTOCOL,
    Done,
    Heartbeat,
    HeartbeatAnswer,
    Output,
    Poll,
    Register,
    Registered,
    Result,
)
from wire.requests import (
    RegisterWeb,
    WebRegistered,
)
from wire.server import LATER, Call, Later, Method
from wire.states import Standing

log = getLogger(__name__)

T = TypeVar("T")

ONLY_AGENT = frozenset({AGENT})
MOST_HELD = 4_096  # runs in one poll; an agent has at most 1,024 slots


class ConnectionManager:
    """Sessions of agents, and one short method a message."""

    def __init__(
        self,
        storage: Storage,
        roster: Roster,
        dispatcher: Dispatcher,
        gate: Gate,
        clock: Callable[[], float],
        desks: Desks,
    ):
        self._storage = storage
        self._roster = roster
        self._dispatcher = dispatcher
        self._clock = clock
        self._foreign = Foreign()
        self._pinger = desks.pinger
        self.refusals = Refusals(storage.note, clock)
        self._for_people = Methods(desks, Reception(gate, self.refusals, roster.is_web)).all()

    def methods(self) -> dict[str, Method[Any] | dict[str, Method[Any]]]:
        """The whole surface: what is not here can't be called."""
        register = Method(frozenset({STRANGER, AGENT, REFUSED}), Register, self.register)
        return {
            "sendmsg": {
                "register": register,
                "reg": register,
                "register_web": Method(frozenset({STRANGER, WEB}), RegisterWeb, self.register_web),
                "heartbeat": Method(ONLY_AGENT, Heartbeat, self.heartbeat),
                "output": Method(ONLY_AGENT, Output, self.output),
                "result": Method(ONLY_AGENT, Result, self.result),
                "done": Method(ONLY_AGENT, Done, self.done),
            },
            "take_task": Method(ONLY_AGENT, Poll, self.take_task),
            **self._for_people,
        }

    def overreached(self, call: Call) -> None:
        """A host has called what is for people, as no agent does by itself: a key may be stolen."""
        caller = call.caller
        if caller.id and call.method in self._for_people:
            act = audit.of_agent(caller.id, "agent.overreach", caller.address)
            self.refusals.note(act, f"method:{call.method}", Forbidden())

    # ---- strangers

    def register(self, call: Call, message: Register) -> Later:
        """An agent says who it is; a key that is not known needs a join token."""
        self._foreign.note(call.caller.key, message.protocol, f"agent {message.hostname[:80]!r}")
        check_register(message)
        act = audit.of_agent(message.id, "agent.enrol", call.caller.address)
        verb = self._storage.enrol(call.caller.key, message, act)
        refused = partial(self._not_enrolled, act, f"agent:{message.id}")
        _reply(call, verb, partial(self._registered, call, message), refused)
        return LATER

    def _not_enrolled(self, act: Act, object: str, error: BaseException) -> None:
        """What a known agent is told again and again is no attempt to enrol."""
        if isinstance(error, NotEnrolled | Conflict):
            self.refusals.note(act, object, error)

    def _registered(self, call: Call, message: Register, enrolled: Enrolled) -> Registered:
        agent = enrolled.agent
        if enrolled.rekeyed:
            self._dispatcher.refuse(agent.id, NotEnrolled(f"agent {agent.id} has a new key"))
            self._roster.rekeyed(agent)
        self._dispatcher.drop(agent.id)
        known = agent.id in self._roster
        session = self._roster.registered(agent, self._clock(), message.nonce, message.queues)
        self._dispatcher.queues.came(agent.id)
        self._dispatcher.apply(enrolled.changed)
        who = f"agent {agent.id} ({agent.hostname})"
        if agent.standing is Standing.PENDING and not known:
            log.warning(f"{who} waits to be accepted, see /hosts or POST …/agents/ID/accept")
        elif agent.standing is Standing.QUARANTINED:
            log.error(f"{who} is quarantined: {agent.reason}")
        if agent.standing is not Standing.ENROLLED:
            raise refusal_of(agent)
        if agent.claimed_hostname is not None:
            log.warning(f"{who} calls itself {agent.claimed_hostname}: only its id names it now")
        what = "enrolled" if enrolled.created else "registered"
        if enrolled.rekeyed:
            what = "has a new key and registered"
        log.info(f"{who} {what} with version {message.version}")
        return Registered(session, self._roster.heartbeat_s, POLL_S, VERSION, PROTOCOL)

    def register_web(self, call: Call, message: RegisterWeb) -> WebRegistered | Later:
        """A web server says who it is; a key that is not known needs a join token."""
        self._foreign.note(call.caller.key, message.protocol, "a web server")
        check_protocol(message.protocol)
        if call.caller.role == WEB:
            return WebRegistered(VERSION, PROTOCOL)
        act = Act("", "nobody", "web.enrol", address=call.caller.address)
        verb = self._storage.webs.enrol(call.caller.key, message.token, act)
        _reply(
            call,
            verb,
            partial(self._web_registered, call.caller.address),
            partial(self._not_enrolled, act, f"web:{fingerprint(call.caller.key)}"),
        )
        return LATER

    def _web_registered(self, address: str, peer: Peer) -> WebRegistered:
        self._roster.add_web(peer.key)
        log.info(f"a web server enrolled from {address}, its key {fingerprint(peer.key)}")
        return WebRegistered(VERSION, PROTOCOL)

    def refuse_webs(self, keys: list[str]) -> None:
        """Web servers whose keys were revoked beside this master: their calls are a stranger's."""
        for key in keys:
            self._roster.forget_web(key)
            log.warning(f"web server {fingerprint(key)} is refused from now on: it was revoked")

    # ---- agents; whom they are is their key's business, never the payload's

    def heartbeat(self, call: Call, message: Heartbeat) -> HeartbeatAnswer:
        presence = self._speaks(call, message.session)
        check_claims(message.hostname, message.ip)
        skew_s = self._roster.beat(message, presence, time.time())
        return HeartbeatAnswer(self._roster.heartbeat_s, skew_s)

    def take_task(self, call: Call, message: Poll) -> Later:
        """Parks; answered at once when there are grants or words, or empty after POLL_S."""
        if len(message.held) > MOST_HELD:
            raise InvalidValue(f"held: {len(message.held)} runs; at most {MOST_HELD}", field="held")
        self._speaks(call, message.session)
        self._dispatcher.park(call.caller.id, call, message)
        return LATER

    def result(self, call: Call, message: Result) -> Later:
        """Acknowledged once the verdict is durable; repeating it changes nothing."""
        self._speaks(call, message.session)
        verb = self._storage.finish(call.caller.id, message)
        _reply(call, verb, self._finished)
        return LATER

    def _finished(self, finished: Finished) -> Struct:
        failpoint("finished")
        self._dispatcher.apply(finished.changed)
        return finished.answer

    def output(self, call: Call, message: Output) -> Later:
        self._speaks(call, message.session)
        verb = self._storage.append_output(call.caller.id, message)
        _reply(call, verb, self._appended)
        return LATER

    def _appended(self, appended: Appended) -> Struct:
        if appended.grown and appended.record is not None:
            self._dispatcher.grew(appended.record)
        return appended.answer

    def done(self, call: Call, message: Done) -> Later:
        self._speaks(call, message.session)
        verb = self._storage.settle_done(call.caller.id, message)
        _reply(call, verb, self._settled)
        return LATER

    def _settled(self, changed: Changed) -> dict[str, Any]:
        self._dispatcher.apply(changed)
        return {}

    def _speaks(self, call: Call, session: str) -> Presence:
        id = call.caller.id
        try:
            presence = self._roster.speaks(id, session, self._clock())
        except Cloned:
            self._quarantine(id, "two hosts speak with its key in turn: its identity was copied")
            raise Refused(f"agent {id} is quarantined; an admin can re-enrol it") from None
        self._pinger.heard(id)
        return presence

    def _quarantine(self, id: str, reason: str) -> None:
        """At once in memory, so that nothing more is answered; then in the store."""
        log.error(f"agent {id} is quarantined: {reason}")

        def quarantine() -> None:
            self._roster.set_standing(id, Standing.QUARANTINED, reason)
            self._dispatcher.refuse(id, Refused(f"agent {id} is quarantined"))

        def done(outcome: Changed | BaseException) -> None:
            if isinstance(outcome, BaseException):
                log.error(f"agent {id} could not be quarantined in the store: {outcome}")
                return
            quarantine()  # again: it may have registered meanwhile
            self._dispatcher.apply(outcome)

        quarantine()
        act = audit.of_system("agent.quarantine")
        self._storage.bury_agent(id, Standing.QUARANTINED, reason, act).then(done)


def _reply(
    call: Call,
    verb: Verb[T],
    convert: Callable[[T], Struct | dict[str, Any]],
    refused: Callable[[BaseException], None] | None = None,
) -> None:
    """Answer the call when the verb is committed; if it is not, also tell `refused`."""

    def done(outcome: T | BaseException) -> None:
        if isinstance(outcome, BaseException):
            call.fail(outcome)
            if refused is not None:
                refused(outcome)
            return
        try:
            call.ok(convert(outcome))
        except Exception as error:
            call.fail(error)

    verb.then(done)
