"""Who asks, and may they? The master judges the credential that the web passes through.

The web itself holds no authority: each call carries the token of the person or
program behind it.
"""

import hashlib
import time

from msgspec import Struct

from master.storage import Storage
from wire.errors import Forbidden, Unauthenticated
from wire.requests import Auth

ANYONE = "anyone"  # least role of what needs no credential
LEVELS = {"viewer": 0, "operator": 1, "admin": 2}
REMEMBERED_S = 2.0  # a token revoked by another process works this much longer at most
MOST_REMEMBERED = 10_000
MAX_TOKEN_CHARACTERS = 200


class Person(Struct, frozen=True):
    """Whoever holds the credential, and what it grants now.

    A token acts for its owner, with the lower of the two roles; one without an owner bears the
    name it was given.
    """

    name: str  # what tasks are `created_by`
    role: str
    hosts: str | None = None  # expression that limits an operator; None: no limit
    kind: str = "token"  # or session, or nobody
    credential: str = ""  # id of the session or token
    address: str = ""  # where the person sits, as the web says
    person: str | None = None  # id of the person; None: a token that is nobody's


class Gate:
    """Judges tokens; good ones are remembered for a moment, by their hash."""

    def __init__(self, storage: Storage):
        self._storage = storage
        self._known: dict[bytes, tuple[float, Person]] = {}

    def admit(self, auth: Auth, least: str) -> Person:
        """The person behind the call, who has at least the role `least`; for ANYONE nobody.

        Raises Unauthenticated without a good token, Forbidden with too small a role.
        Blocks the greenlet on the store for a token not seen lately.
        """
        if least == ANYONE:
            return Person("", ANYONE, kind="nobody", address=auth.address)
        person = self._person(auth.token)
        if LEVELS[person.role] < LEVELS[least]:
            raise Forbidden(f"this needs the role {least}, and {person.name} is {person.role}")
        return person

    def forget(self) -> None:
        """A token was revoked: the next call of each asks the store."""
        self._known.clear()

    def _person(self, token: str | None) -> Person:
        if not token or len(token) > MAX_TOKEN_CHARACTERS:
            raise Unauthenticated("a token is needed: send the header Authorization: Bearer TOKEN")
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        until, person = self._known.get(digest, (0.0, None))
        if person is None or until < time.monotonic():
            person = self._look_up(token)
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[digest] = (time.monotonic() + REMEMBERED_S, person)
        return person

    def _look_up(self, token: str) -> Person:
        credential = self._storage.token_role(token).wait()
        if credential is None:
            raise Unauthenticated("the token is not known here, or it was revoked")
        return Person(credential.label, credential.role)
