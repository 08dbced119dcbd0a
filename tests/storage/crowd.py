"""What do tests of people share? A store with a cast, and the room that answers for it."""

from pathlib import Path
from typing import Any

from master.accounts import Accounts
from master.gate import Gate
from master.login import Login
from master.passwords import Passwords
from master.people import Account
from master.rights import Person
from master.sessions import Span
from master.targets import Fleet, Host
from master.throttle import Throttle
from tests.storage.cast import House, by
from wire.people import AddPerson, LogIn, NewSession, PersonView
from wire.requests import Auth

HOUR, DAY = 3600.0, 86400.0
SPAN = Span(idle_s=12 * HOUR, life_s=7 * DAY)
PASSWORD = "correct horse"
HOME, CAFE = "192.0.2.7", "198.51.100.9"

STAGING = "1" * 32
PRODUCTION = "2" * 32
HOSTS = Fleet(
    [
        Host(STAGING, "web01", {"env": "staging"}),
        Host(PRODUCTION, "db1", {"env": "prod"}),
    ]
)


class Crowd:
    """Alice is an admin, otto an operator, bob a viewer, once they were added."""

    def __init__(self, house: House, directory: Path):
        self.house = house
        self.store = house.store.people
        self.directory = directory
        self.gate = Gate(self.store, SPAN.idle_s, house.clock)
        passwords = Passwords(time_cost=1, memory_kib=64)
        self.throttle = Throttle(lambda: house.clock.now)
        login = Login(self.store, passwords, self.throttle, SPAN)
        self.accounts = Accounts(
            self.store, self.gate, SPAN, passwords, login, lambda: HOSTS, directory
        )
        self.root = self.by_token(self.store.make_token("root", "admin", act=by()).wait().secret)

    def add(self, name: str, role: str, hosts: str | None = None) -> PersonView:
        return self.accounts.add_person(
            self.root, AddPerson(Auth(), name, role, PASSWORD, hosts), by()
        )

    def log_in(self, name: str, password: str = PASSWORD, **auth: Any) -> NewSession:
        asked = LogIn(Auth(**{"address": HOME, **auth}), name, password)
        nobody = self.gate.admit(asked.auth, "anyone")
        return self.accounts.log_in(nobody, asked, by())

    def by_token(self, secret: str, least: str = "viewer") -> Person:
        """Whom a call with this credential comes from."""
        return self.gate.admit(Auth(secret, HOME), least)

    def here(self, name: str) -> Person:
        """A person in a new session."""
        return self.by_token(self.log_in(name).secret)

    def account(self, name: str) -> Account:
        account = self.store.account_by_name(name).wait()
        assert account is not None, name
        return account
