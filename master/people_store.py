"""What can be done with people, sessions and tokens? Verbs of the store, as in master/storage.py.

Whoever changes something here tells the gate to forget whom it remembers.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from master import audit, people, sessions, setup_code, tokens
from master.audit import Act
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

    def add(
        self, name: str, role: str, hosts: str | None, password: str, act: Act
    ) -> Verb[Account]:
        """`password` as it is kept. Raises Conflict when the name is taken."""

        def op(tx: Tx) -> Account:
            added = people.add(tx, name, role, hosts, password)
            audit.append(tx, act, f"person:{added.id}", name=name, role=role, hosts=hosts)
            return added

        return self._database.writing(op, DIRECT)

    def change(
        self, id: str, wanted: Change, spared: str | None = None, *, act: Act
    ) -> Verb[Account]:
        """Raises NotFound, InvalidValue, and Conflict for the last admin; see master/people.py."""

        def op(tx: Tx) -> Account:
            before = people.account(tx, id)
            after = people.change(tx, id, wanted, spared)
            audit.append(tx, act, f"person:{id}", **people.told(before, after))
            return after

        return self._database.writing(op, DIRECT)

    def change_password(self, id: str, old: str, new: str, spared: str, act: Act) -> Verb[Account]:
        """From hash to hash; the session `spared` stays. Raises Conflict when it was changed."""

        def op(tx: Tx) -> Account:
            changed = people.change_password(tx, id, old, new, spared)
            audit.append(tx, act, f"person:{id}", name=changed.name)
            return changed

        return self._database.writing(op, DIRECT)

    def remove(self, id: str, act: Act) -> Verb[Account]:
        """With sessions and tokens. Raises NotFound, Conflict for the last admin."""

        def op(tx: Tx) -> Account:
            gone = people.remove(tx, id)
            audit.append(tx, act, f"person:{id}", name=gone.name)
            return gone

        return self._database.writing(op, DIRECT)

    # ---- sessions

    def log_in(
        self,
        verified: Account,
        rehashed: str | None,
        address: str,
        old: str | None,
        span: Span,
        act: Act,
    ) -> Verb[Opened]:
        """A session for whose password was right. Unauthenticated if that is so no more."""

        def op(tx: Tx) -> Opened:
            return _noted(tx, sessions.log_in(tx, verified, rehashed, address, old, span), act)

        return self._database.writing(op, DIRECT)

    def log_in_by_token(self, person: Person, span: Span, act: Act) -> Verb[Opened]:
        """A session for who came by a token. Unauthenticated if it was revoked meanwhile."""

        def op(tx: Tx) -> Opened:
            return _noted(tx, sessions.log_in_by_token(tx, person, span), act)

        return self._database.writing(op, DIRECT)

    def sessions(self, whose: Owner, current: str | None, idle_s: float) -> Verb[list[SessionView]]:
        return self._database.reading(
            lambda reader: sessions.of_owner(reader, whose, current, idle_s)
        )

    def end_session(self, id: str, whose: Owner, act: Act) -> Verb[None]:
        """Raises NotFound when it is not one of theirs."""

        def op(tx: Tx) -> None:
            sessions.end(tx, id, whose)
            audit.append(tx, act, f"session:{id}")

        return self._database.writing(op, DIRECT)

    def end_sessions(self, whose: Owner, act: Act) -> Verb[None]:
        """All of them."""

        def op(tx: Tx) -> None:
            sessions.end_all(tx, whose)
            audit.append(
                tx, act, f"person:{whose.person}" if whose.person else f"token:{whose.token}"
            )

        return self._database.writing(op, DIRECT)

    # ---- the one-time code

    def make_setup_code(self, lasts_s: float | None, act: Act) -> Verb[str]:
        """A new code; the one before is void. `lasts_s` None: until there is a person."""

        def op(tx: Tx) -> str:
            audit.append(tx, act, "")
            return setup_code.make(tx, lasts_s)

        return self._database.writing(op, DIRECT)

    def is_setup_open(self) -> Verb[bool]:
        return self._database.reading(setup_code.is_open)

    def check_setup_code(self, code: str) -> Verb[None]:
        """Raises Unauthenticated."""
        return self._database.reading(lambda reader: setup_code.check(reader, code))

    def set_up(
        self,
        code: str,
        name: str,
        password: str,
        address: str,
        old: str | None,
        span: Span,
        act: Act,
    ) -> Verb[Opened]:
        """An admin, made or repaired, and logged in; the code is used. Raises Unauthenticated."""

        def op(tx: Tx) -> Opened:
            return _noted(tx, setup_code.use(tx, code, name, password, address, old, span), act)

        return self._database.writing(op, DIRECT)

    # ---- tokens

    def make_token(
        self,
        name: str,
        role: str,
        owner: str | None = None,
        expires_in: float | None = None,
        *,
        act: Act,
    ) -> Verb[NewSecret]:
        """`owner` None: it is nobody's; `expires_in` seconds, None: never. Raises Conflict."""

        def op(tx: Tx) -> NewSecret:
            made = tokens.make(tx, name, role, owner, expires_in)
            audit.append(
                tx, act, f"token:{made.id}", name=name, role=role, owner=owner, lasts_s=expires_in
            )
            return made

        return self._database.writing(op, DIRECT)

    def is_any_token_there(self) -> Verb[bool]:
        return self._database.reading(tokens.is_any_there)

    def tokens(self, limit: int, cursor: str | None, owner: str | None) -> Verb[Page]:
        """Of TokenView, the newest first; `owner` None: of everybody."""
        return self._database.reading(lambda reader: tokens.page(reader, limit, cursor, owner))

    def token(self, id: str) -> Verb[TokenView]:
        """Raises NotFound."""
        return self._database.reading(lambda reader: tokens.view(reader, id))

    def revoke_token(self, id: str, owner: str | None, act: Act) -> Verb[None]:
        """`owner` None: whosever it is. Raises NotFound."""

        def op(tx: Tx) -> None:
            tokens.revoke(tx, id, owner)
            audit.append(tx, act, f"token:{id}")

        return self._database.writing(op, DIRECT)


def _noted(tx: Tx, opened: Opened, act: Act) -> Opened:
    """Who has come in is known only now; nobody was it before."""
    person = opened.person
    came = replace(act, who=person.name, kind=person.kind, credential=person.credential)
    audit.append(tx, came, f"session:{person.session}", person=person.person, role=person.role)
    return opened
