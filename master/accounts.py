"""What can people do about people, sessions and tokens?

Each method answers one call of the web, in a greenlet of its own, for whom the gate has
admitted. Whatever changes a right makes the gate forget, so that it holds for the next call.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from msgspec import UNSET

from master import setup_file
from master.audit import Act
from master.beside import beside
from master.board import check_limit
from master.database import Verb
from master.gate import Gate
from master.login import Login
from master.passwords import Passwords
from master.people import Change
from master.people_store import PeopleStore
from master.person_rules import (
    check_expiry,
    check_limited,
    check_name,
    check_password,
    check_role,
    check_token_name,
)
from master.rights import ADMIN, Owner, Person, covers
from master.sessions import Opened, Span
from master.targets import Fleet
from utils import getLogger
from wire.errors import Conflict, Forbidden, InvalidValue
from wire.people import (
    AddPerson,
    AddToken,
    ChangePassword,
    ChangePerson,
    Doors,
    GetDoors,
    ListPeople,
    ListTokens,
    LogIn,
    LogOutEverywhere,
    NewSession,
    NewToken,
    PersonView,
    SetUp,
)
from wire.requests import ById, JustAuth
from wire.views import Page, WhoAmI

log = getLogger(__name__)

T = TypeVar("T")


class Accounts:
    """`directory` is the master's state directory; `fleet` gives the hosts of this moment."""

    def __init__(
        self,
        people: PeopleStore,
        gate: Gate,
        span: Span,
        passwords: Passwords,
        login: Login,
        fleet: Callable[[], Fleet],
        directory: Path,
    ):
        self._people = people
        self._gate = gate
        self._span = span
        self._passwords = passwords
        self._login = login
        self._fleet = fleet
        self._directory = directory

    # ---- coming in and going out

    def get_doors(self, person: Person, asked: GetDoors) -> Doors:
        return Doors(self._people.is_setup_open().wait())

    def log_in(self, person: Person, asked: LogIn, act: Act) -> NewSession:
        opened = self._login.by_password(asked, act)
        self._gate.forget()
        return _new_session(opened)

    def set_up(self, person: Person, asked: SetUp, act: Act) -> NewSession:
        opened = self._login.by_code(asked, act)
        self._gate.forget()
        setup_file.remove(self._directory)
        return _new_session(opened)

    def log_in_by_token(self, person: Person, asked: JustAuth, act: Act) -> NewSession:
        """For a browser: its cookie then holds a session, and not the token."""
        if person.session is not None:
            raise Conflict("this is a session already; a token opens one")
        return _new_session(self._changing(self._people.log_in_by_token(person, self._span, act)))

    def whoami(self, person: Person, asked: JustAuth) -> WhoAmI:
        return _who(person)

    def log_out(self, person: Person, asked: JustAuth, act: Act) -> dict[str, Any]:
        if person.session is None:
            raise Conflict("a token has no session to end; revoke it instead")
        self._changing(self._people.end_session(person.session, person.owner, act))
        return {}

    def log_out_everywhere(
        self, person: Person, asked: LogOutEverywhere, act: Act
    ) -> dict[str, Any]:
        """One's own sessions; an admin ends those of others too."""
        whose, name = person.owner, person.name
        if asked.person is not None and asked.person != person.person:
            _need_admin(person, "end the sessions of others")
            name = self._people.account(asked.person).wait().name
            whose = Owner(person=asked.person)
        self._changing(self._people.end_sessions(whose, act))
        log.info(f"all sessions of {name} ended by {person.name}")
        return {}

    # ---- one's own

    def change_password(self, person: Person, asked: ChangePassword, act: Act) -> dict[str, Any]:
        """All other sessions of the person end."""
        if person.kind != "session" or person.person is None:
            raise Forbidden("a token cannot change a password; log in with the password")
        account = self._people.account(person.person).wait()
        check_password(asked.new, account.name, field="new")
        self._login.check(account, asked.old, person.address)
        password = self._passwords.hash(asked.new)
        spared = person.session or ""
        self._changing(
            self._people.change_password(account.id, account.password, password, spared, act)
        )
        log.info(f"{account.name} has a new password")
        return {}

    def get_sessions(self, person: Person, asked: JustAuth) -> Page:
        idle_s = self._span.idle_s
        views = self._people.sessions(person.owner, person.session, idle_s).wait()
        return Page(views, total=len(views))

    def end_session(self, person: Person, asked: ById, act: Act) -> dict[str, Any]:
        self._changing(self._people.end_session(asked.id, person.owner, act))
        return {}

    # ---- tokens

    def get_tokens(self, person: Person, asked: ListTokens) -> Page:
        limit = check_limit(asked.limit)
        if asked.all:
            _need_admin(person, "see the tokens of others")
            return self._people.tokens(limit, asked.cursor, None).wait()
        if person.person is None:  # nobody's token owns nothing but itself
            return Page([self._people.token(person.credential).wait()])
        return self._people.tokens(limit, asked.cursor, person.person).wait()

    def add_token(self, person: Person, asked: AddToken, act: Act) -> NewToken:
        """Its owner is the person; a token that is nobody's makes others that are nobody's.

        Only an admin's token may make tokens: any other that leaks shall not outlive its
        revocation in one that it has made.
        """
        check_token_name(asked.name)
        check_role(asked.role)
        check_expiry(asked.expires_in)
        if person.kind == "token" and person.role != ADMIN:
            raise Forbidden("only an admin's token makes tokens; log in with a password to do so")
        if not covers(person.role, asked.role):
            raise Forbidden(f"{person.name} is {person.role} and cannot make a token of more")
        made = self._people.make_token(
            asked.name, asked.role, person.person, asked.expires_in, act=act
        ).wait()
        log.info(f"token {made.id} made by {person.name}")
        return NewToken(made.secret, self._people.token(made.id).wait())

    def revoke_token(self, person: Person, asked: ById, act: Act) -> dict[str, Any]:
        """One's own; an admin revokes any; and every token may revoke itself."""
        if asked.id == person.credential or person.role == ADMIN:
            self._changing(self._people.revoke_token(asked.id, None, act))
        else:
            self._changing(self._people.revoke_token(asked.id, person.person or "", act))
        log.info(f"token {asked.id} revoked by {person.name}")
        return {}

    # ---- people

    def get_people(self, person: Person, asked: ListPeople) -> Page:
        limit = check_limit(asked.limit)
        return self._people.page(limit, asked.cursor, self._span.idle_s).wait()

    def get_person(self, person: Person, asked: ById) -> PersonView:
        return self._people.view(asked.id, self._span.idle_s).wait()

    def add_person(self, person: Person, asked: AddPerson, act: Act) -> PersonView:
        check_name(asked.name)
        check_role(asked.role)
        check_password(asked.password, asked.name)
        hosts = asked.hosts or None
        check_limited(asked.role, hosts)
        self._check_hosts(hosts)
        password = self._passwords.hash(asked.password)
        added = self._people.add(asked.name, asked.role, hosts, password, act).wait()
        log.info(f"{added.name} added as {added.role} by {person.name}")
        return self._people.view(added.id, self._span.idle_s).wait()

    def change_person(self, person: Person, asked: ChangePerson, act: Act) -> PersonView:
        """All or nothing; what ends sessions spares the one that asks."""
        account = self._people.account(asked.id).wait()
        if asked.role is not None:
            check_role(asked.role)
        self._check_hosts(asked.hosts or None)
        wanted = Change(
            role=UNSET if asked.role is None else asked.role,
            hosts=UNSET if asked.hosts is None else asked.hosts or None,
            password=self._new_hash(asked.password, account.name),
            disabled=UNSET if asked.disabled is None else asked.disabled,
        )
        spared = person.session if person.person == account.id else None
        self._changing(self._people.change(account.id, wanted, spared, act=act))
        log.info(f"{account.name} changed by {person.name}")
        return self._people.view(account.id, self._span.idle_s).wait()

    def remove_person(self, person: Person, asked: ById, act: Act) -> dict[str, Any]:
        """With sessions and tokens; tasks keep the name."""
        gone = self._changing(self._people.remove(asked.id, act))
        log.info(f"{gone.name} removed by {person.name}")
        return {}

    # ---- below

    def _new_hash(self, password: str | None, name: str) -> Any:
        if password is None:
            return UNSET
        check_password(password, name)
        return self._passwords.hash(password)

    def _check_hosts(self, hosts: str | None) -> None:
        """A limit that cannot be resolved would let its operator do nothing."""
        if hosts is None:
            return
        fleet = self._fleet()
        try:
            beside(lambda: fleet.resolve(hosts))
        except InvalidValue as error:
            sentence = error.message.removeprefix("targets: ")
            raise InvalidValue(f"hosts: {sentence}", field="hosts") from None

    def _changing(self, verb: Verb[T]) -> T:
        """The gate forgets also after a failure: the change may have been made all the same."""
        try:
            return verb.wait()
        finally:
            self._gate.forget()


def _need_admin(person: Person, what: str) -> None:
    if person.role != ADMIN:
        raise Forbidden(f"only an admin may {what}, and {person.name} is {person.role}")


def _new_session(opened: Opened) -> NewSession:
    return NewSession(opened.secret, _who(opened.person))


def _who(person: Person) -> WhoAmI:
    return WhoAmI(person.name, person.role, person.hosts, person.kind, person.person)
