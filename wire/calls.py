"""What is a call to a handler, and what is a method to the server?"""

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from wire import frames
from wire.errors import Internal, Malformed, Refusal

P = TypeVar("P", bound=Struct)

log = logging.getLogger(__name__)


class Later:
    """The type of LATER."""


LATER = Later()  # a handler's answer: "I keep the call and answer it later"

Answer = Struct | dict[str, Any] | Later | None


class Caller(Struct, frozen=True, gc=False):
    """Who calls. `role` and `id` are what the master knows of the key; nothing is the peer's claim.

    `address` is the IP address it connected from. `peer` names the connection, for this
    process only, and is told to no peer.
    """

    key: str
    role: str
    id: str
    peer: bytes
    address: str = ""


class Call:
    """One call that waits for its answer. Exactly one answer is sent; later ones are ignored.

    `ok` and `fail` are for the hub's thread only. The peer may be gone: then the answer
    is dropped, and nobody is told.
    """

    __slots__ = ("_send", "answered", "caller", "message_id", "method")

    def __init__(
        self, caller: Caller, method: str, message_id: bytes, send: Callable[["Call", bytes], None]
    ) -> None:
        self.caller = caller
        self.method = method
        self.message_id = message_id
        self.answered = False
        self._send = send

    def ok(self, value: Struct | dict[str, Any] | None) -> None:
        """Answer with a value."""
        if self.answered:
            return
        try:
            body = frames.encode(frames.OK, (value,), self.message_id)
        except Exception as error:
            self.fail(error)
        else:
            self._answer(body)

    def fail(self, error: BaseException) -> None:
        """Answer with an error; one that is no Refusal is logged, and only its reference sent."""
        if self.answered:
            return
        refusal = error if isinstance(error, Refusal) else self._internal(error)
        try:
            body = frames.encode(frames.ERR, refusal.to_wire(), self.message_id)
        except Exception as broken:  # its details cannot be sent
            body = frames.encode(frames.ERR, self._internal(broken).to_wire(), self.message_id)
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        self.answered = True
        self._send(self, body)

    def _internal(self, error: BaseException) -> Internal:
        reference = secrets.token_hex(4)
        who = f"{self.caller.role} {self.caller.id or self.caller.key}"
        log.error(
            f"{self.method} of {who} failed; the caller was told reference {reference}",
            exc_info=error,
        )
        return Internal(f"something broke inside; the master's log has it under {reference}")


class Method(Generic[P]):
    """A method: who may call it, the record that its one argument becomes, and what it does.

    The handler answers by returning, by raising a Refusal, or returns LATER and answers
    the Call when it can. It runs in the greenlet that reads the socket, and must not wait.
    """

    __slots__ = ("_decode", "handler", "payload", "roles")

    def __init__(
        self,
        roles: frozenset[str],
        payload: type[P],
        handler: Callable[[Call, P], Answer],
    ) -> None:
        self.roles = roles
        self.payload = payload
        self.handler = handler
        self._decode = msgspec.msgpack.Decoder(tuple[payload]).decode  # type: ignore[valid-type]

    def run(self, call: Call, args: Raw) -> Answer:
        """Decode the arguments and call the handler. Malformed: they are not of its form."""
        try:
            (payload,) = self._decode(args)
        except (ValueError, RecursionError) as error:
            raise malformed(call.method, error) from None
        return self.handler(call, payload)


AnyMethod = Method[Any]


class _Typed(Struct):
    """The argument of a method that is several: its `type` says which."""

    type: Annotated[str, Meta(max_length=64)]
    payload: Raw = Raw(b"\x80")  # an empty map


_typed = msgspec.msgpack.Decoder(tuple[_Typed])


def method_of_type(
    call: Call, methods: Mapping[str, AnyMethod], args: Raw
) -> tuple[AnyMethod | None, Raw]:
    """The method that the argument's `type` names, None for none, and the arguments it gets.

    Nothing of the payload is decoded yet. The call's method becomes `name(type)`.
    """
    try:
        (typed,) = _typed.decode(args)
    except (ValueError, RecursionError) as error:
        raise malformed(call.method, error) from None
    call.method = f"{call.method}({typed.type})"
    return methods.get(typed.type), Raw(b"\x91" + bytes(typed.payload))


def malformed(method: str, error: BaseException) -> Malformed:
    """msgspec's sentence, its path starting at the payload rather than at the list around it."""
    return Malformed(f"{method}: {error}".replace("`$[0]", "`$"))
