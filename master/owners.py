"""Who stands behind a schedule now? Judged at each firing, for nobody is asked then.

Whoever made or last edited a schedule is its owner: a person, or a token that is nobody's. What
they may do no longer, their schedules do no longer either. So it is with plans, and who
submitted or last resumed one, at each of its steps.
"""

from master.people_store import PeopleStore
from master.rights import OPERATOR, Person, covers, limit_of
from wire.errors import Forbidden, NotFound

PERSON, TOKEN = "person", "token"


def owner_id(person: Person) -> str:
    """As a schedule keeps it."""
    return f"{PERSON}:{person.person}" if person.person else f"{TOKEN}:{person.credential}"


_MEND = "; whoever edits the schedule becomes its owner"


def owner(people: PeopleStore, name: str, id: str, mend: str = _MEND) -> Person:
    """The owner with the rights of now. Raises Forbidden, with the reason and how to `mend` it.
    Blocks the greenlet."""
    kind, _, key = id.partition(":")
    try:
        found = _person(people, key, mend) if kind == PERSON else _token(people, key, mend)
    except NotFound:
        raise Forbidden(f"its owner {name} is no longer known here{mend}") from None
    if not covers(found.role, OPERATOR):
        raise Forbidden(f"its owner {name} is {found.role} now{mend}")
    return found


def _person(people: PeopleStore, id: str, mend: str) -> Person:
    account = people.account(id).wait()
    if account.disabled:
        raise Forbidden(f"its owner {account.name} is disabled{mend}")
    return Person(
        account.name, account.role, limit_of(account.role, account.hosts), person=account.id
    )


def _token(people: PeopleStore, id: str, mend: str) -> Person:
    token = people.token(id).wait()
    if token.acts_as is None:
        raise Forbidden(f"the token {token.name} that owns it is {token.state}{mend}")
    return Person(token.name, token.acts_as, credential=token.id)
