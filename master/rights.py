"""What does a role allow, and what is a credential worth? Decisions without a store.

Each role may do what those before it may. A token is worth the lower of its own role and its
owner's, so that whoever is demoted is demoted in every script too.
"""

from msgspec import Struct

ANYONE = "anyone"  # least role of what needs no credential
VIEWER, OPERATOR, ADMIN = ROLES = ("viewer", "operator", "admin")


class Person(Struct, frozen=True):
    """Whoever holds the credential of a call, and what it grants now.

    A token acts for its owner; one without an owner bears the name it was given.
    """

    name: str  # what tasks are `created_by`
    role: str
    hosts: str | None = None  # expression that limits an operator; None: no limit
    kind: str = "token"  # or session, opened by a password; or nobody
    credential: str = ""  # id of the session or token; also of the token that opened a session
    address: str = ""  # where the person sits, as the web says
    person: str | None = None  # id of the person; None: a token that is nobody's
    session: str | None = None  # id of the session that the call came by, whatever opened it

    @property
    def owner(self) -> "Owner":
        """Whose sessions are one's own: the person's, or those of a token that is nobody's."""
        return Owner(person=self.person) if self.person else Owner(token=self.credential)


class Owner(Struct, frozen=True):
    """Either a person, or a token that has none."""

    person: str | None = None
    token: str | None = None


def covers(role: str, least: str) -> bool:
    """May somebody with this role do what needs the role `least`?"""
    return ROLES.index(role) >= ROLES.index(least)


def person_of_token(
    id: str,
    label: str,
    role: str,
    person: str | None,
    name: str,
    persons_role: str,
    hosts: str | None,
) -> Person:
    """Whom a token acts for: its owner, or nobody in particular."""
    if person is None:
        return Person(label, role, credential=id)
    acts_as = lower(role, persons_role)
    return Person(name, acts_as, limit_of(acts_as, hosts), credential=id, person=person)


def lower(one: str, other: str) -> str:
    return min(one, other, key=ROLES.index)


def limit_of(role: str, hosts: str | None) -> str | None:
    """The hosts that an effective role is limited to. Only operators act on hosts with a limit:
    viewers act on none, admins on all."""
    return hosts if role == OPERATOR else None
