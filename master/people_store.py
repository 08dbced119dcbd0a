"""What can be done with people, sessions and tokens? Verbs of the store, as in master/storage.py.

Whoever changes something here tells the gate to forget whom it remembers.
"""

from collections.abc import Mapping

from master import people, sessions, setup_code, tokens
from master.changes import NewSecret
from master.database import Database, Verb
from master.people import Account, Change
from master.rights import Owner, Person
from master.sessions import Opened, Span
from master.transaction import Needs, Tx
from wire.people import SESSION_PREFIX, PersonView, SessionView, TokenView
from wire.views import Page

DIRECT = Needs(direct=True)


class PeopleStore:
    """The part of a Storage that is about people."""

    def __init__(self, database: Database):
        self._database = database

    # ---- credentials

    def holder(self, secret: str, idle_s: float) -> Verb[Person | None]:
        """Whom a session's secret or a token lets in now; `idle_s`: how long a session may be
        unused. None: nobody."""
        if secret.startswith(SESSION_PREFIX):
            return self._database.reading(lambda reader: sessions.holder(reader, secret, idle_s))
        return self._database.reading(lambda reader: tokens.holder(reader, secret))

    def note_used(
        self, sessions_at: Mapping[str, float], tokens_at: Mapping[str, float]
    ) -> Verb[None]:
        """Write down when credentials were last used, by their ids; called now and then for all."""

        def op(tx: Tx) -> None:
            sessions.note_used(tx, sessions_at)
            tokens.note_used(tx, tokens_at)

        return self._database.writing(op, DIRECT)

    # ---- people

    def account(self, id: str) -> Verb[Account]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: people.account(reader, id))

    def account_by_name(self, name: str) -> Verb[Account | None]:
        return self._database.reading(lambda reader: people.account_by_name(reader, name))

    def is_anybody_there(self) -> Verb[bool]:
        return self._database.reading(people.is_anybody_there)

    def page(self, limit: int, cursor: str | None, idle_s: float) -> Verb[Page]:
        """Of PersonView, by name."""
        return self._database.reading(lambda reader: people.page(reader, limit, cursor, idle_s))

    def view(self, id: str, idle_s: float) -> Verb[PersonView]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: people.view(reader, id, idle_s))

    def add(self, name: str, role: str, hosts: str | None, password: str) -> Verb[Account]:
        """`password` as it is kept. Raises Conflict when the name is taken."""
        return self._database.writing(
            lambda tx: people.add(tx, name, role, hosts, password), DIRECT
        )

    def change(self, id: str, wanted: Change, spared: str | None = None) -> Verb[Account]:
        """Raises NotFound, InvalidValue, and Conflict for the last admin; see master/people.py."""
        return self._database.writing(lambda tx: people.change(tx, id, wanted, spared), DIRECT)

    def change_password(self, id: str, old: str, new: str, spared: str) -> Verb[Account]:
        """From hash to hash; the session `spared` stays. Raises Conflict when it was changed."""
        return self._database.writing(
            lambda tx: people.change_password(tx, id, old, new, spared), DIRECT
        )

    def remove(self, id: str) -> Verb[Account]:
        """With sessions and tokens. Raises NotFound, Conflict for the last admin."""
        return self._database.writing(lambda tx: people.remove(tx, id), DIRECT)

    # ---- sessions

    def log_in(
        self, verified: Account, rehashed: str | None, address: str, old: str | None, span: Span
    ) -> Verb[Opened]:
        """A session for whose password was right. Unauthenticated if that is so no more."""
        return self._database.writing(
            lambda tx: sessions.log_in(tx, verified, rehashed, address, old, span), DIRECT
        )

    def log_in_by_token(self, person: Person, span: Span) -> Verb[Opened]:
        """A session for who came by a token. Unauthenticated if it was revoked meanwhile."""
        return self._database.writing(lambda tx: sessions.log_in_by_token(tx, person, span), DIRECT)

    def sessions(self, whose: Owner, current: str | None, idle_s: float) -> Verb[list[SessionView]]:
        return self._database.reading(
            lambda reader: sessions.of_owner(reader, whose, current, idle_s)
        )

    def end_session(self, id: str, whose: Owner) -> Verb[None]:
        """Raises NotFound when it is not one of theirs."""
        return self._database.writing(lambda tx: sessions.end(tx, id, whose), DIRECT)

    def end_sessions(self, whose: Owner) -> Verb[None]:
        """All of them."""
        return self._database.writing(lambda tx: sessions.end_all(tx, whose), DIRECT)

    # ---- the one-time code

    def make_setup_code(self, lasts_s: float | None) -> Verb[str]:
        """A new code; the one before is void. `lasts_s` None: until there is a person."""
        return self._database.writing(lambda tx: setup_code.make(tx, lasts_s), DIRECT)

    def is_setup_open(self) -> Verb[bool]:
        return self._database.reading(setup_code.is_open)

    def check_setup_code(self, code: str) -> Verb[None]:
        """Raises Unauthenticated."""
        return self._database.reading(lambda reader: setup_code.check(reader, code))

    def set_up(
        self, code: str, name: str, password: str, address: str, old: str | None, span: Span
    ) -> Verb[Opened]:
        """An admin, made or repaired, and logged in; the code is used. Raises Unauthenticated."""
        return self._database.writing(
            lambda tx: setup_code.use(tx, code, name, password, address, old, span), DIRECT
        )

    # ---- tokens

    def make_token(
        self, name: str, role: str, owner: str | None = None, expires_in: float | None = None
    ) -> Verb[NewSecret]:
        """`owner` None: it is nobody's; `expires_in` seconds, None: never. Raises Conflict."""
        return self._database.writing(
            lambda tx: tokens.make(tx, name, role, owner, expires_in), DIRECT
        )

    def is_any_token_there(self) -> Verb[bool]:
        return self._database.reading(tokens.is_any_there)

    def tokens(self, limit: int, cursor: str | None, owner: str | None) -> Verb[Page]:
        """Of TokenView, the newest first; `owner` None: of everybody."""
        return self._database.reading(lambda reader: tokens.page(reader, limit, cursor, owner))

    def token(self, id: str) -> Verb[TokenView]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: tokens.view(reader, id))

    def revoke_token(self, id: str, owner: str | None) -> Verb[None]:
        """`owner` None: whosever it is. Raises NotFound."""
        return self._database.writing(lambda tx: tokens.revoke(tx, id, owner), DIRECT)
