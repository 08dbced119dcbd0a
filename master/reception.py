"""How is a call of a person served? Judged at the gate, answered in a greenlet, and written down.

The rows that are made here say for each method of the web what it takes and which role it
needs, and for one that changes something also the name of the act. A method that changes
something is given the Act, which it has to hand to the store; if it is refused, that is
written here.
"""

from collections.abc import Callable
from typing import Any

import gevent
from msgspec import Struct

from master.audit import Act
from master.gate import Gate
from master.refusals import Refusals
from master.rights import ANYONE, VIEWER, Person, covers
from master.roster import WEB
from wire.errors import Forbidden, Refusal
from wire.server import LATER, Call, Later, Method

Answer = Struct | dict[str, Any]
Look = Callable[[Person, Any], Answer]
Change = Callable[[Person, Any, Act], Answer]

ONLY_WEB = frozenset({WEB})


class ForPeople(Method[Any]):
    """A row of the table of methods. `action` is None for one that changes nothing."""

    __slots__ = ("action", "least")

    def __init__(
        self,
        form: type[Struct],
        least: str,
        action: str | None,
        handler: Callable[[Call, Any], Later],
    ):
        super().__init__(ONLY_WEB, form, handler)
        self.least = least
        self.action = action


class Reception:
    """Makes the rows, and serves their calls."""

    def __init__(self, gate: Gate, refusals: Refusals, is_web: Callable[[str], bool]):
        self._gate = gate
        self._refusals = refusals
        self._is_web = is_web

    def looking(self, form: type[Struct], least: str, answer: Look) -> ForPeople:
        """A method that changes nothing, for persons with the role `least` or a higher one."""

        def serve(person: Person, payload: Any) -> Answer:
            return answer(person, payload)

        def handler(call: Call, payload: Any) -> Later:
            gevent.spawn(self._serve, call, payload, least, serve)
            return LATER

        return ForPeople(form, least, None, handler)

    def changing(
        self,
        form: type[Struct],
        least: str,
        action: str,
        answer: Change,
        of: Callable[[Any], str] | None = None,
    ) -> ForPeople:
        """A method that changes something.

        `of`: what a refused attempt was about, as kind:id; None: the `id` of the message, of the
        kind that `action` begins with.
        """
        about = of or (lambda payload: _object_of(action, payload))

        def serve(person: Person, payload: Any) -> Answer:
            return answer(person, payload, act_of(person, action))

        def refused(person: Person, payload: Any, refusal: Refusal) -> None:
            self._refusals.note(act_of(person, action), about(payload), refusal)

        def handler(call: Call, payload: Any) -> Later:
            gevent.spawn(self._serve, call, payload, least, serve, refused)
            return LATER

        return ForPeople(form, least, action, handler)

    def _serve(
        self,
        call: Call,
        payload: Any,
        least: str,
        serve: Callable[[Person, Any], Answer],
        refused: Callable[[Person, Any, Refusal], None] | None = None,
    ) -> None:
        person = Person("", ANYONE, kind="nobody", address=payload.auth.address)
        try:
            person = self._gate.admit(payload.auth, ANYONE if least == ANYONE else VIEWER)
            _need(person, least)
            self._answer(call, serve(person, payload))
        except Exception as error:
            call.fail(error)
            if refused is not None and isinstance(error, Refusal):
                refused(person, payload, error)

    def _answer(self, call: Call, answer: Answer) -> None:
        """What waited here meanwhile is not told to a web server that was revoked."""
        if self._is_web(call.caller.key):
            call.ok(answer)
        else:
            call.fail(Forbidden("the key of this web server was revoked"))


def _need(person: Person, least: str) -> None:
    if least != ANYONE and not covers(person.role, least):
        raise Forbidden(f"this needs the role {least}, and {person.name} is {person.role}")


def act_of(person: Person, action: str) -> Act:
    return Act(person.name, person.kind, action, person.credential, person.address)


def _object_of(action: str, payload: Any) -> str:
    id = getattr(payload, "id", None)
    return f"{action.partition('.')[0]}:{id}" if isinstance(id, str) else ""
