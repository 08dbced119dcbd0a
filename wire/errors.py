"""How does a refusal look? One class a code; the same object on the wire, in HTTP and in a log.

On zerorpc's wire an error is ERR (name, message, traceback): name is the code,
message the sentence for a person, and the traceback's place holds a small JSON
object {"field": …, "details": …}; never a traceback.
"""

from typing import Any, ClassVar

import msgspec


class Refusal(Exception):
    """Base of everything that is said no to: a stable code, an HTTP status, a sentence."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(
        self, message: str = "", *, field: str | None = None, details: dict[str, Any] | None = None
    ):
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])
        self.message = str(self)
        self.field = field
        self.details = details

    def to_wire(self) -> tuple[str, str, str]:
        rest = {"field": self.field, "details": self.details}
        return self.code, self.message, msgspec.json.encode(rest).decode()


class Internal(Refusal):
    """Something broke inside; the log has it under the reference."""


class Malformed(Refusal):
    """The message is not of the form the method takes."""

    code, status = "malformed", 400


class InvalidValue(Refusal):
    """The form is right, a value is not."""

    code, status = "invalid_value", 422


class Unauthenticated(Refusal):
    """No valid token or session came with the request."""

    code, status = "unauthenticated", 401


class Forbidden(Refusal):
    """The caller is known and may not do this."""

    code, status = "forbidden", 403


class TooManyAttempts(Refusal):
    """Too many log-ins failed; details say after how many seconds the next is looked at."""

    code, status = "too_many_attempts", 429


class NotFound(Refusal):
    """There is nothing of that name."""

    code, status = "not_found", 404


class Conflict(Refusal):
    """What is asked for does not fit what is there now."""

    code, status = "conflict", 409


class SecretsUnreadable(Refusal):
    """The secrets of a task cannot be opened with the key that the master has."""

    code, status = "secrets_unreadable", 409


class TooLarge(Refusal):
    """More bytes than are taken."""

    code, status = "too_large", 413


class Busy(Refusal):
    """Too much is under way for this caller; the same call may go through later."""

    code, status = "busy", 503


class Unavailable(Refusal):
    """The master cannot be reached or cannot answer now."""

    code, status = "unavailable", 503


class StoreFull(Refusal):
    """The store has no room; nothing was accepted."""

    code, status = "store_full", 507


class RegisterAgain(Refusal):
    """The session is not known here, or a newer one exists: register first."""

    code, status = "register_again", 409


class ProtocolMismatch(Refusal):
    """The two sides speak different protocol numbers."""

    code, status = "protocol_mismatch", 409


class NotEnrolled(Refusal):
    """The key is not known and no valid join token came with it."""

    code, status = "not_enrolled", 401


class Refused(Refusal):
    """The agent is revoked or quarantined."""

    code, status = "refused", 403


class Pending(Refusal):
    """The agent waits until an admin accepts it; it asks again."""

    code, status = "pending", 403


BY_CODE: dict[str, type[Refusal]] = {cls.code: cls for cls in Refusal.__subclasses__()}


def from_wire(name: str, message: str, rest: str | None) -> Refusal:
    """The Refusal that a peer sent; an unknown code becomes Internal, with the code in the text."""
    cls = BY_CODE.get(name)
    if cls is None:
        return Internal(f"{name}: {message}")
    try:
        extra = msgspec.json.decode(rest or "{}", type=dict[str, Any])
    except msgspec.DecodeError:
        extra = {}
    return cls(message, field=extra.get("field"), details=extra.get("details"))
