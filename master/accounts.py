"""What can people do about people, sessions and tokens?"""

from typing import NoReturn

from master.gate import Person
from wire.errors import Unavailable
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
from wire.views import Page


def _later() -> NoReturn:
    raise Unavailable("this master cannot do that yet")


class Accounts:
    """Answers the web's calls about people, for whom the gate has admitted."""

    def get_doors(self, person: Person, asked: GetDoors) -> Doors:
        _later()

    def log_in(self, person: Person, asked: LogIn) -> NewSession:
        _later()

    def set_up(self, person: Person, asked: SetUp) -> NewSession:
        _later()

    def log_out(self, person: Person, asked: JustAuth) -> dict[str, str]:
        _later()

    def log_out_everywhere(self, person: Person, asked: LogOutEverywhere) -> dict[str, str]:
        _later()

    def change_password(self, person: Person, asked: ChangePassword) -> dict[str, str]:
        _later()

    def get_sessions(self, person: Person, asked: JustAuth) -> Page:
        _later()

    def end_session(self, person: Person, asked: ById) -> dict[str, str]:
        _later()

    def get_tokens(self, person: Person, asked: ListTokens) -> Page:
        _later()

    def add_token(self, person: Person, asked: AddToken) -> NewToken:
        _later()

    def revoke_token(self, person: Person, asked: ById) -> dict[str, str]:
        _later()

    def get_people(self, person: Person, asked: ListPeople) -> Page:
        _later()

    def get_person(self, person: Person, asked: ById) -> PersonView:
        _later()

    def add_person(self, person: Person, asked: AddPerson) -> PersonView:
        _later()

    def change_person(self, person: Person, asked: ChangePerson) -> PersonView:
        _later()

    def remove_person(self, person: Person, asked: ById) -> dict[str, str]:
        _later()
