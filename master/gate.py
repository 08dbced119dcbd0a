"""Who asks, and may they? The master judges the credential that the web passes through.

The web itself holds no authority: each call carries the session or the token of the person or
program behind it.
"""

import hashlib
import time
from collections.abc import Callable

from msgspec.structs import replace

from master.people_store import PeopleStore
from master.rights import ANYONE, Person, covers
from wire.errors import Forbidden, Unauthenticated
from wire.people import SESSION_PREFIX
from wire.requests import Auth

REMEMBERED_S = 2.0  # what another process takes back works this much longer at most
MOST_REMEMBERED = 10_000
MAX_TOKEN_CHARACTERS = 200


class Gate:
    """Judges credentials; good ones are remembered for a moment, by their hash.

    `idle_s`: how long a session may be unused. `clock` is the master's.
    """

    def __init__(self, people: PeopleStore, idle_s: float, clock: Callable[[], float]):
        self._people = people
        self._idle_s = idle_s
        self._clock = clock
        self._known: dict[bytes, tuple[float, Person]] = {}
        self._changes = 0  # grows whenever what is remembered, or being looked up, may be wrong
        self._sessions_used: dict[str, float] = {}
        self._tokens_used: dict[str, float] = {}

    def admit(self, auth: Auth, least: str) -> Person:
        """The person behind the call, who has at least the role `least`; for ANYONE nobody.

        Raises Unauthenticated without a good credential, Forbidden with too small a role.
        Blocks the greenlet on the store for a credential not seen lately.
        """
        if least == ANYONE:
            return Person("", ANYONE, kind="nobody", address=auth.address)
        person = self._person(auth.token)
        if not covers(person.role, least):
            raise Forbidden(f"this needs the role {least}, and {person.name} is {person.role}")
        self._note_used(person)
        return replace(person, address=auth.address)

    def forget(self) -> None:
        """Something about people, sessions or tokens has changed: the next call of each asks the
        store."""
        self._changes += 1
        self._known.clear()

    def save_used(self) -> None:
        """Tell the store which credentials were used since the last time. Blocks the greenlet."""
        sessions, self._sessions_used = self._sessions_used, {}
        tokens, self._tokens_used = self._tokens_used, {}
        if sessions or tokens:
            self._people.note_used(sessions, tokens).wait()

    def _note_used(self, person: Person) -> None:
        now = self._clock()
        if person.session is not None:
            self._sessions_used[person.session] = now
        if person.kind == "token":
            self._tokens_used[person.credential] = now

    def _person(self, secret: str | None) -> Person:
        if not secret or len(secret) > MAX_TOKEN_CHARACTERS:
            raise Unauthenticated("a token is needed: send the header Authorization: Bearer TOKEN")
        digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
        until, person = self._known.get(digest, (0.0, None))
        if person is None or until < time.monotonic():
            person = self._look_up(secret, digest)
        return person

    def _look_up(self, secret: str, digest: bytes) -> Person:
        changes = self._changes
        person = self._people.holder(secret, self._idle_s).wait()
        if person is None:
            raise Unauthenticated(_unknown(secret))
        if changes == self._changes:  # else this answer may be older than the change
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[digest] = (time.monotonic() + REMEMBERED_S, person)
        return person


def _unknown(secret: str) -> str:
    if secret.startswith(SESSION_PREFIX):
        return "this session has ended: log in again"
    return "the token is not known here, has expired, or was revoked"
